"""NetSuite's verbs of the ERP family, over the REST record API and SuiteQL.

A create answers 204 with a Location and no body, so every post is read back: number, total, and the period and rate
that
NetSuite really took. A read-back that fails leaves the outcome unknown, never "refused".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from typing import Any

from connectors.errors import Absent
from connectors.families import ReferenceRow
from connectors.http import Line, Reply, Telephone
from connectors.netsuite import inbound, outbound
from connectors.netsuite.records import (
    BY_NUMBER,
    CUSTOMER_SUBSIDIARIES,
    LISTS,
    OURS,
    PERIODS_BY_SUBSIDIARY,
    PLAIN_LISTS,
    READ_BACK,
    TOTAL_LINES,
    TOTALS,
    TYPES,
)
from q2c.canonical import posting
from q2c.core.problems import Category, NotAnswered, Problem

RECORDS = "/services/rest/record/v1"
SUITEQL = "/services/rest/query/v1/suiteql"
PAGE = 1000
PAGES_MAX = 100  # SuiteQL gives 100,000 rows at most
RATE_DAYS = 14
LIKE_MAX = 10
_STRICT = {"X-NetSuite-PropertyNameValidation": "Error"}  # the default drops names it doesn't know, silently


class Client:
    """One NetSuite account."""

    def __init__(self, line: Line, telephone: Telephone) -> None:
        self.line = line
        self.telephone = telephone
        self.account_url = line.settings.get("app_url", "").rstrip("/")

    async def find(self, document_type: str, external_id: str) -> posting.PostedDocument | None:
        """What NetSuite holds under our external id, or None. Reads its own writes (README)."""
        try:
            return await self._get(document_type, f"eid:{external_id}", verb=f"find_{document_type}")
        except Absent:
            return None

    async def read(self, document_type: str, document_id: str) -> posting.PostedDocument:
        """A document by NetSuite's own id, with what it's applied to. Raises Problem `record_gone`."""
        return await self._get(document_type, document_id, verb=f"read_{document_type}")

    async def find_by_number(self, document_type: str, number: str) -> list[posting.PostedDocument]:
        """The documents of this type and number, whoever made them: NetSuite lets several have one. Ten at most."""
        record = TYPES[document_type]
        params = [record.code, number]
        rows = [raw async for raw in self._query(BY_NUMBER, params, verb=f"find_{document_type}_by_number")]
        return [await self.read(document_type, str(raw["id"])) for raw in rows[:LIKE_MAX]]

    async def save_customer(self, customer: posting.ErpCustomer) -> posting.PostedDocument:
        """Upsert by external id: master data may be sent twice; its sublists are replaced, not added to."""
        path = f"{RECORDS}/customer/eid:{customer.external_id}"
        body = outbound.erp_customer(customer)
        query = [("replace", "addressbook")] if "addressbook" in body else []
        reply = await self.telephone.call("PUT", path, verb="save_customer", json=body, query=query, headers=_STRICT)
        reply.expect(204, "an upsert answers 204")
        return await self._read_back("customer", f"eid:{customer.external_id}", customer.external_id)

    async def find_customer_use(self, use: posting.ErpCustomerUse) -> posting.PostedDocument | None:
        """The customer as that subsidiary may bill it in that currency, or None while it may not."""
        has_subsidiary, has_currency = await self._uses(use)
        return inbound.customer_use(use, account_url=self.account_url) if has_subsidiary and has_currency else None

    async def save_customer_use(self, use: posting.ErpCustomerUse) -> posting.PostedDocument:
        """Let a subsidiary bill a customer in a currency. Looks first and adds only what is missing, so a repeat is
        harmless."""
        has_subsidiary, has_currency = await self._uses(use)
        if not has_subsidiary:
            path = f"{RECORDS}/customerSubsidiaryRelationship/eid:{use.external_id}"
            body = outbound.customer_subsidiary(use)
            reply = await self.telephone.call("PUT", path, verb="add_customer_subsidiary", json=body, headers=_STRICT)
            reply.expect(204, "an upsert answers 204")
        if not has_currency:
            path, body = f"{RECORDS}/customer/{use.customer}", outbound.customer_currency(use)
            reply = await self.telephone.call("PATCH", path, verb="add_customer_currency", json=body, headers=_STRICT)
            reply.expect(204, "a change answers 204")
        return inbound.customer_use(use, account_url=self.account_url)

    async def _uses(self, use: posting.ErpCustomerUse) -> tuple[bool, bool]:
        """Whether the customer has this subsidiary (its own or by relationship) and this currency."""
        reply = await self.telephone.call(
            "GET", f"{RECORDS}/customer/{use.customer}", verb="read_customer", query=[("expandSubResources", "true")]
        )
        raw = reply.json("id", "subsidiary")
        more = [row async for row in self._query(CUSTOMER_SUBSIDIARIES, [use.customer], verb="read_customer")]
        return use.subsidiary in inbound.subsidiaries(raw, more), use.currency in inbound.currencies(raw)

    async def post_invoice(self, invoice: posting.ArInvoice) -> posting.PostedDocument:
        """Create an invoice. Raises AlreadyThere when NetSuite has one with this external id."""
        return await self._post("ar_invoice", outbound.ar_invoice(invoice), invoice)

    async def post_credit_memo(self, memo: posting.ArCreditMemo) -> posting.PostedDocument:
        """Create a credit memo, applied to what it names. Raises AlreadyThere as `post_invoice` does."""
        return await self._post("ar_credit_memo", outbound.ar_credit_memo(memo), memo)

    async def post_receipt(self, receipt: posting.CashReceipt) -> posting.PostedDocument:
        """Create a customer payment on account. Raises AlreadyThere as `post_invoice` does."""
        return await self._post("receipt", outbound.cash_receipt(receipt), receipt)

    async def find_refund(self, refund: posting.CashRefund) -> posting.PostedDocument | None:
        """The refund under our external id, or None."""
        return await self.find(_refund_type(refund), refund.external_id)

    async def refund(self, refund: posting.CashRefund) -> posting.PostedDocument:
        """Create a customer refund that pays out credit memos or a payment; with neither, which NetSuite doesn't take,
        a journal. Raises AlreadyThere as `post_invoice` does."""
        body = outbound.cash_refund(refund) if refund.apply_to else outbound.refund_journal(refund)
        return await self._post(_refund_type(refund), body, refund)

    async def post_journal(self, journal: posting.Journal) -> posting.PostedDocument:
        """Create a journal entry. Raises AlreadyThere as `post_invoice` does."""
        return await self._post("journal", outbound.journal(journal), journal)

    async def apply_payment(self, application: posting.CashApplication) -> posting.PostedDocument:
        """Apply a customer payment to open invoices: merged into what it's applied to already."""
        return await self._apply("receipt", application)

    async def apply_credit_memo(self, application: posting.CashApplication) -> posting.PostedDocument:
        """Apply a credit memo to open invoices."""
        return await self._apply("ar_credit_memo", application)

    async def find_application(self, application: posting.CashApplication) -> posting.PostedDocument | None:
        """The application, if the payment or credit memo says that it's applied so; None if it isn't.

        NetSuite keeps no external id for an application: the apply line of the open item, with its amount, is the fact.
        """
        holder = await self.read(_holder(application.kind), application.payment)
        held = {a.document: a.amount for a in holder.applied}
        is_applied = all(held.get(a.document) == a.amount for a in application.apply_to)
        if is_applied and not held.keys() & set(application.released):
            return _as_application(holder, application)
        return None

    async def journal_lines(self, document_id: str) -> tuple[posting.JournalLine, ...]:
        """The lines of a journal as NetSuite holds them now. Raises Problem `record_gone`."""
        reply = await self._journal(document_id)
        return reply.read(inbound.journal_lines, "line")

    async def reverse(
        self, document_type: str, document_id: str, *, external_id: str, on: dt.date, period: str = "", memo: str = ""
    ) -> posting.PostedDocument:
        """The opposite document: a credit memo for an invoice, an opposite journal for a journal, of the lines that
        NetSuite holds. With a `period` (its id) it's asked for that one. Raises AlreadyThere as `post_invoice` does.

        Raises Problem `unsupported_document` for what NetSuite's REST API can't reverse without deleting it.
        """
        asked: dict[str, Any] = {"externalId": external_id, "tranDate": on.isoformat(), "memo": memo[:999]}
        if period:
            asked["postingPeriod"] = {"id": period}
        if document_type == "ar_invoice":
            path = f"{RECORDS}/invoice/{document_id}/!transform/creditMemo"
            body = {**asked, "memo": asked["memo"] or "Reversal"}
            reply = await self.telephone.call("POST", path, verb="reverse_invoice", json=body, headers=_STRICT)
            return await self._read_back("ar_credit_memo", self._made_id(reply), external_id)
        if document_type == "journal":
            return await self._reverse_journal(document_id, asked)
        raise Problem(
            "unsupported_document",
            Category.VALIDATION,
            f"NetSuite's REST API has no reversal of a {document_type}",
            connection=self.line.code,
            document=document_id,
            prefix=document_type,
        )

    async def reference(self, list_name: str) -> AsyncIterator[ReferenceRow]:
        """A list of NetSuite's, whole, by SuiteQL. `rates` are of the last fortnight, so that the newest of each pair
        is there."""
        params = (
            [(dt.datetime.now(dt.UTC).date() - dt.timedelta(days=RATE_DAYS)).isoformat()]
            if list_name == "rates"
            else []
        )
        own_states = await self._period_states() if list_name == "periods" else {}
        async for raw in self._listed(list_name, params):
            row = inbound.reference_row(list_name, raw)
            if row.external_id in own_states:
                row.attributes["by_subsidiary"] = own_states[row.external_id]
            yield row

    async def _listed(self, list_name: str, params: list[str]) -> AsyncIterator[dict[str, Any]]:
        """The rows of a list; without the columns of features that the account hasn't switched on: then the first page
        is refused. A later one that fails leaves the list unread."""
        verb, is_begun = f"reference_{list_name}", False
        try:
            async for raw in self._query(LISTS[list_name], params, verb=verb):
                is_begun = True
                yield raw
        except Problem as problem:
            if is_begun or problem.category is not Category.VALIDATION or list_name not in PLAIN_LISTS:
                raise
            async for raw in self._query(PLAIN_LISTS[list_name], params, verb=verb):
                yield raw

    async def rates_since(self, since: dt.date) -> AsyncIterator[ReferenceRow]:
        """The rate table from a date on, oldest first."""
        async for raw in self._query(LISTS["rates"], [since.isoformat()], verb="reference_rates"):
            yield inbound.reference_row("rates", raw)

    async def totals(self, *, since: dt.date, until: dt.date, external_id_prefix: str = "") -> list[dict[str, Any]]:
        """What the ledger holds of ours between two document dates, by document type and currency (amounts in it)."""
        params = [since.isoformat(), until.isoformat(), f"{external_id_prefix}%", external_id_prefix]
        sums = [raw async for raw in self._query(TOTALS, params, verb="totals")]
        lines = {
            (raw["type"], raw["currency"]): raw["lines"]
            async for raw in self._query(TOTAL_LINES, params, verb="totals")
        }
        return [inbound.totals_row({**raw, "lines": lines.get((raw["type"], raw["currency"]), 0)}) for raw in sums]

    async def documents_of_ours(self, *, since: dt.date) -> AsyncIterator[posting.PostedDocument]:
        """The transactions with an external id of our form, made on or after a day, as far as SuiteQL tells them."""
        async for raw in self._query(OURS, [since.isoformat()], verb="documents_of_ours"):
            yield inbound.listed_document(raw)

    async def check_connection(self) -> str:
        """One cheap read; gives a sentence for the connections screen. Raises Problem."""
        found = [row async for row in self.reference("subsidiaries")]
        return f"NetSuite answers, with {len(found)} subsidiaries"

    async def _post(self, document_type: str, body: dict[str, Any], document: Any) -> posting.PostedDocument:
        path = f"{RECORDS}/{TYPES[document_type].name}"
        reply = await self.telephone.call("POST", path, verb=f"post_{document_type}", json=body, headers=_STRICT)
        return await self._read_back(document_type, self._made_id(reply), document.external_id)

    def _made_id(self, reply: Reply) -> str:
        """The internal id in the Location of a create. Raises NotAnswered when there's none: perhaps it was made."""
        location = reply.headers.get("Location", "")
        made = location.rsplit("/", 1)[-1]
        if reply.status != 204 or not made.isdigit():
            raise reply.strange("a create answers 204 with the new record's Location")
        return made

    async def _read_back(self, document_type: str, path_id: str, external_id: str) -> posting.PostedDocument:
        try:
            return await self._get(document_type, path_id, verb=f"read_{document_type}")
        except Problem as problem:
            raise NotAnswered(
                f"NetSuite accepted {external_id}, but it couldn't be read back: {problem.summary}",
                connection=self.line.code,
                external_id=external_id,
            ) from problem

    async def _get(self, document_type: str, path_id: str, *, verb: str) -> posting.PostedDocument:
        record = TYPES[document_type]
        if document_type == "customer":
            query = [("fields", "id,externalId,entityId,companyName,currency,subsidiary")]
        elif record.reads_lines:
            query = [("expandSubResources", "true")]
        else:
            query = [("fields", READ_BACK)]
        reply = await self.telephone.call("GET", f"{RECORDS}/{record.name}/{path_id}", verb=verb, query=query)
        read = partial(inbound.posted_document, document_type=document_type, account_url=self.account_url)
        return reply.read(read, "id")

    async def _apply(self, document_type: str, application: posting.CashApplication) -> posting.PostedDocument:
        path = f"{RECORDS}/{TYPES[document_type].name}/{application.payment}"
        body = outbound.cash_application(application)
        reply = await self.telephone.call("PATCH", path, verb=f"apply_{document_type}", json=body, headers=_STRICT)
        reply.expect(204, "a change answers 204")
        holder = await self._read_back(document_type, application.payment, application.external_id)
        return _as_application(holder, application)

    async def _journal(self, document_id: str) -> Reply:
        path, query = f"{RECORDS}/journalEntry/{document_id}", [("expandSubResources", "true")]
        return await self.telephone.call("GET", path, verb="read_journal", query=query)

    async def _reverse_journal(self, document_id: str, asked: dict[str, Any]) -> posting.PostedDocument:
        raw = (await self._journal(document_id)).json("id", "line")
        body = {
            **asked,
            **{k: {"id": str(raw[k]["id"])} for k in ("subsidiary", "currency") if raw.get(k)},
            # The rate of another day would leave a gain or loss.
            **({"exchangeRate": raw["exchangeRate"]} if raw.get("exchangeRate") else {}),
            "memo": asked["memo"] or f"Reversal of {raw.get('tranId') or document_id}",
            "line": {"items": outbound.reversed_lines(raw["line"]["items"])},
        }
        reply = await self.telephone.call(
            "POST", f"{RECORDS}/journalEntry", verb="reverse_journal", json=body, headers=_STRICT
        )
        return await self._read_back("journal", self._made_id(reply), asked["externalId"])

    async def _period_states(self) -> dict[str, dict[str, dict[str, bool]]]:
        """Locks of single subsidiaries by period id. An account that closes periods for all at once has no such table;
        one whose first page came has it, and is read whole or not at all."""
        states: dict[str, dict[str, dict[str, bool]]] = {}
        try:
            async for raw in self._query(PERIODS_BY_SUBSIDIARY, [], verb="reference_periods"):
                receivables, ledger = inbound.period_state(raw)
                states.setdefault(str(raw["accountingperiod"]), {})[str(raw["subsidiary"])] = {
                    "is_receivables_open": receivables,
                    "is_ledger_open": ledger,
                }
        except Problem as problem:
            if states or problem.category is not Category.VALIDATION:
                raise
        return states

    async def _query(self, sql: str, params: list[str], *, verb: str) -> AsyncIterator[dict[str, Any]]:
        for page in range(PAGES_MAX):
            reply = await self.telephone.call(
                "POST",
                SUITEQL,
                verb=verb,
                query=[("limit", str(PAGE)), ("offset", str(page * PAGE))],
                json={"q": sql, "params": params},
                headers={"Prefer": "transient"},
                is_write=False,
            )
            answer = reply.json("items", "hasMore")
            for raw in answer["items"]:
                yield raw
            if not answer["hasMore"]:
                return
        raise Problem(
            "answer_not_understood",
            Category.VALIDATION,
            f"NetSuite has more than {PAGES_MAX * PAGE:,} rows for {verb}, which SuiteQL can't page through",
            connection=self.line.code,
        )


def _holder(kind: str) -> str:
    return "ar_credit_memo" if kind == "credit_memo" else "receipt"


def _refund_type(refund: posting.CashRefund) -> str:
    return "ar_refund" if refund.apply_to else "journal"


def _as_application(holder: posting.PostedDocument, application: posting.CashApplication) -> posting.PostedDocument:
    """What the holder applies to whatever this application is about: what it released too, as long as it's there."""
    asked = {a.document for a in application.apply_to}
    lines = tuple(a for a in holder.applied if a.document in asked or a.document in application.released)
    return posting.PostedDocument(
        document_type="application",
        id=holder.id,
        external_id=application.external_id,
        number=holder.number,
        currency_code=holder.currency_code or application.currency_code,
        total=sum((a.amount for a in lines if a.document in asked), Decimal(0)),
        applied=lines,
        url=holder.url,
    )
