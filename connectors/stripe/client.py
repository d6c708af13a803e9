"""Stripe's verbs of the billing and payments families. Form-encoded requests, pinned version, an idempotency key on
each write."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from connectors.errors import Absent
from connectors.families import Page, Polled, Registered, SubscriptionPlan
from connectors.fields import plain_id
from connectors.http import Line, Telephone
from connectors.paging import walk_pages
from connectors.rows import read_every, read_rows
from connectors.stripe import balances, days, inbound, inbound_cash, outbound, past, register, voids
from connectors.stripe.catalogue import Catalogue
from connectors.stripe.drafts import Drafts
from connectors.stripe.polling import read_events
from q2c.canonical import billing, contract, party, posting
from q2c.core.problems import Category, Problem

VERSION = "2026-10-28.endive"
PAGE = 100
SEARCHABLE_AFTER_SECONDS = 3600  # a minute as Stripe says; "longer during outages"
_NOTED = {"invoice": "invoices", "credit_note": "credit_notes", "customer": "customers", "refund": "refunds"}
_ENDED = frozenset({"canceled", "incomplete_expired"})


class Client:
    """One Stripe account."""

    streams = ("events",)
    ranges = past.RANGES
    registers = register.MADE_BEFORE
    numbers = ("invoice",)

    def __init__(self, line: Line, telephone: Telephone) -> None:
        self.line = line
        self.telephone = telephone
        telephone.headers["Stripe-Version"] = VERSION
        self.app_url = line.settings.get("app_url", "").rstrip("/")
        self._catalogue = Catalogue(self._get, self._post, connection=line.code)
        self._drafts = Drafts(self._list, self._post, self._delete)

    # Billing: reading

    async def invoice(self, invoice_id: str) -> billing.Invoice:
        """An invoice with all its lines (the embedded list holds only the first ten). Raises Problem
        `record_gone`."""
        raw = await self._get(f"/v1/invoices/{invoice_id}", "invoice", [("expand[]", "customer")])
        lines = await self._all_lines(raw["lines"], f"/v1/invoices/{invoice_id}/lines")
        raw["lines"] = {"data": await self._catalogue.with_rates(await self._catalogue.with_skus(lines))}
        invoice = inbound.invoice(raw, self.line.code)
        return balances.with_balance(invoice, await self._ledger(raw, "invoice"), self.line.code)

    async def credit_note(self, credit_note_id: str) -> billing.CreditMemo:
        """A credit note with all lines; each takes the SKU of the invoice line that it credits."""
        raw = await self._get(f"/v1/credit_notes/{credit_note_id}", "credit_note", [("expand[]", "customer")])
        lines = await self._all_lines(raw["lines"], f"/v1/credit_notes/{credit_note_id}/lines")
        raw["lines"] = {"data": await self._catalogue.with_rates(lines)}
        credited = {line.get("invoice_line_item") for line in raw["lines"]["data"]} - {None}
        original = await self.invoice(inbound.id_of(raw["invoice"])) if credited and raw.get("invoice") else None
        return inbound.credit_memo(raw, self.line.code, original=original)

    async def invoice_void(self, invoice_id: str) -> billing.DocumentVoid:
        """A voided invoice with the credit notes that had lowered it and stand, and the credit that it gave back."""
        raw = await self._get(f"/v1/invoices/{invoice_id}", "invoice_void")
        notes = [n async for n in self._list("/v1/credit_notes", "invoice_void", [("invoice", invoice_id)])]
        standing = [await self.credit_note(str(note["id"])) for note in notes if note.get("status") != "void"]
        return voids.invoice_void(raw, self.line.code, standing, await self._ledger(raw, "invoice_void"))

    async def _ledger(self, raw: Mapping[str, Any], verb: str) -> list[dict[str, Any]]:
        """The ledger of the balance of an invoice's customer, oldest first; empty where it used and collected none."""
        if not balances.uses_balance(raw):
            return []
        path = f"/v1/customers/{inbound.id_of(raw.get('customer'))}/balance_transactions"
        return [entry async for entry in self._list(path, verb)][::-1]

    async def subscription(self, subscription_id: str) -> contract.Subscription:
        """A subscription as it stands, or a schedule by which one begins later; of one that has begun, the subscription
        under it. Raises Problem `record_gone`."""
        schedule_id = ""
        if subscription_id.startswith("sub_sched_"):
            raw = await self._get(f"/v1/subscription_schedules/{subscription_id}", "subscription")
            if not (begun := inbound.begun_under(raw)):
                return inbound.schedule(raw, self.line.code)
            schedule_id, subscription_id = subscription_id, begun
        raw = await self._get(f"/v1/subscriptions/{subscription_id}", "subscription")
        return inbound.subscription(raw, self.line.code, schedule_id=schedule_id)

    # Billing: customers

    async def customer(self, customer_id: str) -> party.Customer:
        """A customer with the last digits of what it pays from. Raises Problem `record_gone`: also of a deleted one, of
        which Stripe answers with its id and little else."""
        query = [("expand[]", "invoice_settings.default_payment_method")]
        raw = await self._get(f"/v1/customers/{customer_id}", "customer", query)
        if raw.get("deleted"):
            raise Absent("Stripe has the customer no more", connection=self.line.code, document=customer_id)
        return inbound.customer(raw, self.line.code)

    async def known_customer(self, customer_id: str) -> party.Customer | None:
        """A customer, or None when it was deleted meanwhile."""
        try:
            return await self.customer(customer_id)
        except Absent:
            return None

    async def find_customer(self, external_id: str) -> posting.SavedRecord | None:
        """The customer with our external id in its metadata: by searching, and among those that are too new to be
        found so (search lags behind writes by a minute, more in an incident) by listing."""
        query = [("query", f"metadata['external_id']:'{external_id}'"), ("limit", str(PAGE))]
        found = await self._get("/v1/customers/search", "find_customer", query, needs=("data",))
        since = int(dt.datetime.now(dt.UTC).timestamp()) - SEARCHABLE_AFTER_SECONDS
        if (searched := _named(found["data"], external_id)) is None:
            recent = self._list("/v1/customers", "find_customer", [("created[gte]", str(since))], is_listing=True)
            searched = _named([raw async for raw in recent], external_id)
        return None if searched is None else self._saved("customer", searched, was_found=True)

    async def save_customer(self, customer: party.Customer, *, external_id: str, key: str) -> posting.SavedRecord:
        """Create a customer, or update it where `customer` is Stripe's own record. Safe to repeat with the same key."""
        is_theirs = customer.source.connection == self.line.code and customer.source.object_id.startswith("cus_")
        path = f"/v1/customers/{customer.source.object_id}" if is_theirs else "/v1/customers"
        body = outbound.customer(customer, external_id=external_id)
        return self._saved("customer", await self._post(path, body, verb="save_customer", key=key))

    async def publish_hold(
        self, document_type: str, document_id: str, *, fields: dict[str, str], key: str
    ) -> posting.SavedRecord:
        """Write on a record what holds it, or take that away: our own keys of its metadata. Safe to repeat. Stripe says
        `<type>.updated` of it, which `events.is_corrected` knows to be ours."""
        path = f"/v1/{_NOTED[document_type]}/{document_id}"
        return self._saved(
            document_type, await self._post(path, outbound.hold_note(fields), verb="publish_hold", key=key)
        )

    # Billing: subscriptions

    async def create_subscription(self, plan: SubscriptionPlan, *, key: str) -> posting.SavedRecord:
        """Create the subscription, or a schedule where it started later than it was planned, with products and prices
        it needs. Where nothing recurs, it's an invoice over the single sales, at once."""
        try:
            outbound.check_plan(plan)
            prices = {line.line_id: await self._catalogue.price_of(line, plan, key=key) for line in plan.lines}
            if not outbound.recurs(plan):
                return await self._bill_once(plan, prices, key=key)
            if outbound.starts_at(plan) > plan.planned_at:
                path, body, kind = "/v1/subscription_schedules", outbound.schedule(plan, prices), "schedule"
            else:
                path, body, kind = "/v1/subscriptions", outbound.subscription(plan, prices), "subscription"
        except ValueError as error:
            raise Problem(
                "unsupported_document",
                Category.VALIDATION,
                str(error),
                connection=self.line.code,
                document=plan.order_id,
            ) from error
        return self._saved(kind, await self._post(path, body, verb="create_subscription", key=key))

    async def _bill_once(self, plan: SubscriptionPlan, prices: Mapping[str, str], *, key: str) -> posting.SavedRecord:
        """Draft, lines, finalize. A draft has no effect; only the finalized invoice counts as made."""
        draft = await self._drafts.complete(plan, prices, key=key)
        path = f"/v1/invoices/{draft}/finalize"
        return self._saved("invoice", await self._post(path, [], verb="create_subscription", key=key))

    async def find_subscription(
        self, external_id: str, *, customer_id: str = "", order_id: str = ""
    ) -> posting.SavedRecord | None:
        """The subscription, schedule or finalized invoice with our external id (or the order's), of one customer where
        that is known."""
        wanted = {"external_id": external_id, "order_id": order_id}
        of_customer = [("customer", customer_id)] if customer_id else []
        lists: tuple[tuple[str, str, list[tuple[str, str]]], ...] = (
            ("/v1/subscriptions", "subscription", [("status", "all")]),
            ("/v1/subscription_schedules", "schedule", []),
            ("/v1/invoices", "invoice", []),  # of single sales: a subscription's own invoices name no order themselves
        )
        for path, kind, query in lists:
            async for raw in self._list(path, "find_subscription", [*of_customer, *query]):
                notes = raw.get("metadata") or {}
                if raw.get("status") == "draft":
                    continue
                if any(value and notes.get(name) == value for name, value in wanted.items()):
                    return self._saved(kind, raw, was_found=True)
        return None

    async def cancel_subscription(self, subscription_id: str, *, on: dt.date, key: str) -> posting.SavedRecord:
        """Cancel when a day begins where the seller is (`days`), or at once when it has begun there; the period that
        has been billed stays billed. A schedule is cancelled at once, and where it has begun let go first, then its
        subscription cancelled so. An invoice of single sales is voided."""
        if subscription_id.startswith("in_"):
            path = f"/v1/invoices/{subscription_id}/void"
            return self._saved("invoice", await self._post(path, [], verb="cancel_subscription", key=key))
        if subscription_id.startswith("sub_sched_"):
            ended, subscription_id = await self._end_schedule(subscription_id, key=key)
            if not subscription_id:
                return self._saved("schedule", ended)
        raw = await self._get(f"/v1/subscriptions/{subscription_id}", "cancel_subscription")
        zone = inbound.zone_of(raw)
        if raw.get("status") in _ENDED:
            return self._saved("subscription", raw)
        if not days.has_begun(on, zone, now=dt.datetime.now(dt.UTC)):
            body = outbound.cancellation(on, zone)
            raw = await self._post(f"/v1/subscriptions/{subscription_id}", body, verb="cancel_subscription", key=key)
        else:
            reply = await self.telephone.call(
                "DELETE", f"/v1/subscriptions/{subscription_id}", verb="cancel_subscription", accept=(404,)
            )
            if reply.status == 404:  # a cancelled subscription can't be cancelled again: then it is what we want
                raw = await self._get(f"/v1/subscriptions/{subscription_id}", "cancel_subscription")
                if raw.get("status") not in _ENDED:
                    raise reply.strange("it isn't cancelled, yet can't be")
            else:
                raw = reply.json("id")
        return self._saved("subscription", raw)

    async def _end_schedule(self, schedule_id: str, *, key: str) -> tuple[dict[str, Any], str]:
        """Cancel a schedule before it begins, or let go of the subscription that began under it, whose id is then given
        too: to be cancelled on its own. What begins at this very moment is cancelled with its schedule."""
        path, verb = f"/v1/subscription_schedules/{schedule_id}", "cancel_subscription"
        raw = await self._get(path, verb)
        if raw.get("status") == "not_started":
            return await self._post(f"{path}/cancel", outbound.schedule_end(), verb=verb, key=key), ""
        if raw.get("status") == "active":
            raw = await self._post(f"{path}/release", [], verb=verb, key=f"{key}-release"[:255])
        return raw, inbound.begun_under(raw)

    # Payments

    async def payment(self, payment_id: str) -> billing.Payment:
        """A payment intent or charge, with the invoices that it pays and their entity. Raises Problem `record_gone`."""
        is_intent = payment_id.startswith("pi_")
        path = f"/v1/{'payment_intents' if is_intent else 'charges'}/{payment_id}"
        raw = await self._get(path, "payment", [("expand[]", "customer")])
        paid = await self._paid_by(payment_id, "payment", [("expand[]", "data.invoice")]) if is_intent else []
        entity = next((found for p in paid if (found := inbound.invoice_notes(p["invoice"]).get("legal_entity"))), "")
        at = dt.datetime.fromtimestamp(int(raw["created"]), dt.UTC)
        invoices = tuple(sorted({inbound.id_of(p["invoice"]) for p in paid}))
        return inbound_cash.payment(raw, self.line.code, received_at=at, legal_entity=entity, invoice_ids=invoices)

    async def refund(self, refund_id: str) -> billing.Refund:
        """A refund with the credit notes that name it, of the invoices it paid back. Raises Problem `record_gone`."""
        raw = await self._get(f"/v1/refunds/{refund_id}", "refund")
        intent = inbound.id_of(raw.get("payment_intent"))
        paid = await self._paid_by(intent, "refund") if intent else []
        notes = [
            note
            for invoice in dict.fromkeys(inbound.id_of(p["invoice"]) for p in paid)
            async for note in self._list("/v1/credit_notes", "refund", [("invoice", invoice)])
        ]
        return inbound_cash.refund(raw, self.line.code, credit_notes=notes)

    async def _paid_by(
        self, intent_id: str, verb: str, more: list[tuple[str, str]] | None = None
    ) -> list[dict[str, Any]]:
        """What a payment intent paid of invoices."""
        query = [("payment[type]", "payment_intent"), ("payment[payment_intent]", intent_id), *(more or [])]
        return [p async for p in self._list("/v1/invoice_payments", verb, query)]

    async def payout(self, payout_id: str) -> billing.Payout:
        """A payout with every balance transaction that it pays out, each with the charge, refund or dispute behind."""
        raw = await self._get(f"/v1/payouts/{payout_id}", "payout")
        owner = self.line.settings.get("legal_entity") or ""
        return inbound_cash.payout(raw, await self._paid_out(raw), self.line.code, legal_entity=owner)

    async def _paid_out(self, raw: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What an automatic payout pays out. Stripe refuses to say it of one asked for by hand, and may of one that
        failed; one that was paid and then failed is asked about, for its event of before."""
        if raw.get("automatic") is False:
            return []
        query = [("payout", str(raw["id"])), ("expand[]", "data.source")]
        try:
            return [m async for m in self._list("/v1/balance_transactions", "payout", query)]
        except Problem as refusal:
            if raw.get("status") == "failed" and refusal.code == "vendor_refused":
                return []
            raise

    # Polling

    async def changes(self, stream: str, position: dict[str, Any]) -> Page:
        """Events that a webhook may have lost, oldest first; the inbox knows its own. Raises Problem `feed_gap`."""

        def list_events(query: list[tuple[str, str]]) -> AsyncIterator[dict[str, Any]]:
            return self._list("/v1/events", "changes", query)

        return await read_events(list_events, position, connection=self.line.code)

    # Its past

    async def between(self, what: str, since: dt.datetime, until: dt.datetime, position: dict[str, Any]) -> Page:
        """Events of a time, or documents made in it, newest first. Raises Problem `feed_gap` where none are kept."""
        if what == past.EVENTS:
            past.check_kept(since, connection=self.line.code)
        asked = [*past.span(since, until), ("limit", str(PAGE))]
        if position:
            asked.append(("starting_after", position["after"]))
        path = f"/v1/{past.paths(what)}"
        answer = await self._get(path, "between", asked, needs=("data", "has_more"), is_listing=True)
        rows = answer["data"]
        said, unread = read_rows(rows, partial(past.polled_of, what))
        found = tuple(polled for row in said for polled in row)
        if unread:
            return Page(found, position, unread=unread)
        has_more = bool(rows and answer["has_more"])
        return Page(found, {"after": rows[-1]["id"]} if has_more else position, has_more)

    async def again(self, object_ids: Sequence[str]) -> list[Polled]:
        """The present state of invoices, credit notes and customers; what Stripe hasn't is left out."""
        found: list[Polled] = []
        for object_id in object_ids:
            if (what := past.kind_of(object_id)) is None:
                continue
            path = f"/v1/{past.paths(what)}/{object_id}"
            reply = await self.telephone.call("GET", path, verb="again", accept=(404,))
            if reply.status != 404:
                (said,) = read_every([reply.json("id")], partial(past.polled_of, what))
                found += said
        return found

    # The register

    async def register(
        self, document_type: str, *, since: dt.datetime, until: dt.datetime
    ) -> AsyncIterator[Registered]:
        """What Stripe's own lists hold of a type, of what was made from an instant to before another one."""
        made = [("created[gte]", str(int(since.timestamp()))), ("created[lt]", str(int(until.timestamp())))]
        made += register.expanded(document_type, "data.")
        for path in register.LISTS[document_type]:
            async for raw in self._list(path, "register", made, is_listing=True):
                if (entry := register.entry(document_type, raw)) is not None:
                    yield entry

    async def registered(self, document_type: str, document_id: str) -> Registered | None:
        """One document as the register has it; None where Stripe has none, or none yet."""
        path = f"{register.path_of(document_type, document_id)}/{document_id}"
        try:
            raw = await self._get(path, "registered", register.expanded(document_type))
        except Absent:
            return None
        return register.entry(document_type, raw)

    async def numbered(self, document_type: str, number: str) -> Registered | None:
        """The invoice of a number, by searching, which lags behind by a minute; None where Stripe finds none."""
        query = [("query", f'number:"{number}"'), ("limit", "1")]
        found = await self._get("/v1/invoices/search", "numbered", query, needs=("data",))
        return register.entry(document_type, found["data"][0]) if found["data"] else None

    async def messages_of(self, document_type: str, entries: Sequence[Registered]) -> list[Polled]:
        """The events that say what these are. Raises Problem."""

        def list_events(query: list[tuple[str, str]]) -> AsyncIterator[dict[str, Any]]:
            return self._list("/v1/events", "messages_of", query)

        async def read(path: str, query: list[tuple[str, str]]) -> dict[str, Any]:
            return await self._get(path, "messages_of", query)

        return await register.bring(document_type, entries, list_events, read)

    async def check_connection(self) -> str:
        """One cheap read; gives a sentence for the connections screen. Raises Problem."""
        await self._get("/v1/events", "check_connection", [("limit", "1")], needs=("data",))
        return "Stripe answers"

    # The wire

    async def _get(
        self, path: str, verb: str, query: list[tuple[str, str]] | None = None, *, needs: tuple[str, ...] = ("id",),
        is_listing: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        reply = await self.telephone.call("GET", path, verb=verb, query=query or [], is_listing=is_listing)
        found: dict[str, Any] = reply.json(*needs)
        return found

    async def _post(self, path: str, body: outbound.Form, *, verb: str, key: str) -> dict[str, Any]:
        reply = await self.telephone.call("POST", path, verb=verb, form=body, headers={"Idempotency-Key": key})
        made: dict[str, Any] = reply.json("id")
        return made

    async def _delete(self, path: str, *, verb: str) -> None:
        """Gone already is as good."""
        await self.telephone.call("DELETE", path, verb=verb, accept=(404,))

    async def _all_lines(self, embedded: Mapping[str, Any], path: str) -> list[dict[str, Any]]:
        if not embedded.get("has_more"):
            return list(embedded["data"])
        return [raw async for raw in self._list(path, "lines")]

    def _list(
        self, path: str, verb: str, query: list[tuple[str, str]] | None = None, *, is_listing: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        async def fetch(after: str | None) -> tuple[list[Any], str | None]:
            asked = [*(query or []), ("limit", str(PAGE))]
            if after:
                asked.append(("starting_after", after))
            answer = await self._get(path, verb, asked, needs=("data", "has_more"), is_listing=is_listing)
            rows = answer["data"]
            return rows, rows[-1]["id"] if rows and answer["has_more"] else None

        return walk_pages(fetch, connection=self.line.code)

    def _saved(self, kind: str, raw: Mapping[str, Any], *, was_found: bool = False) -> posting.SavedRecord:
        pages = {"customer": "customers", "subscription": "subscriptions", "schedule": "subscription_schedules",
                 **_NOTED}  # fmt: skip
        return posting.SavedRecord(
            document_type="subscription" if kind == "schedule" else kind,
            id=plain_id(raw["id"]),
            external_id=str((raw.get("metadata") or {}).get("external_id") or ""),
            status="scheduled" if raw.get("status") == "not_started" else str(raw.get("status") or ""),
            url=f"{self.app_url}/{pages[kind]}/{raw['id']}" if self.app_url else "",
            was_found=was_found,
        )


def _named(rows: Iterable[Mapping[str, Any]], external_id: str) -> Mapping[str, Any] | None:
    """The record with our external id: searching doesn't tell capitals apart, and our ids do."""
    return next((raw for raw in rows if (raw.get("metadata") or {}).get("external_id") == external_id), None)
