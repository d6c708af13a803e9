"""Salesforce's verbs of the CRM family, over the REST API: SOQL, composite reads, the status of what was sold."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from connectors.auth import FetchedToken
from connectors.errors import Absent
from connectors.families import Page, Polled, Registered
from connectors.fields import instant, needed
from connectors.http import Line, Telephone
from connectors.paging import walk_pages
from connectors.rows import read_every, read_rows
from connectors.salesforce import asked, inbound, inbound_orders, outbound, register, rounds
from connectors.salesforce.ids import full_id
from connectors.salesforce.rounds import stamp
from q2c.canonical import contract, party, posting
from q2c.core.problems import Category, Problem

VERSION = "v68.0"
ROWS_PER_POLL = 500
IDS_PER_QUERY = 200
CATALOGUE = ("Product2", "PricebookEntry")  # read whole at the first time: what is sold was priced long ago
ORDER_PREFIX, OPPORTUNITY_PREFIX = "801", "006"
ORDER_PREFIXES = (ORDER_PREFIX, OPPORTUNITY_PREFIX)
MERGED = "MergedAccount"  # accounts that were merged into another: deleted, so only queryAll shows them
MERGES_FOLLOWED = 10
_VENDOR_HOSTS = (".salesforce.com", ".force.com", ".salesforce.mil", ".cloudforce.com")


class Client:
    """One Salesforce organisation."""

    # A merge is told before the sales that it moved to another account.
    streams = ("Account", MERGED, "Product2", "PricebookEntry", "Opportunity", "Order")
    ranges = asked.RANGES
    registers = register.MADE_BEFORE

    def __init__(self, line: Line, telephone: Telephone) -> None:
        self.line = line
        self.telephone = telephone
        self.app_url = line.settings.get("app_url", "").rstrip("/")
        self._fields = asked.fields_of(line.settings)

    def _has(self, what: str) -> bool:
        return asked.has(self.line.settings, what)

    async def order(self, order_id: str) -> contract.Order:
        """An opportunity or an order of Salesforce as an order, sold or not, in one call. Raises Problem
        `record_gone`."""
        read = self._signed_order if _kind(order_id) == "Order" else self._order
        return (await read(order_id))[1]

    async def closed_won_order(self, order_id: str) -> contract.Order | None:
        """The order of an opportunity that is won; None while it isn't, or when it was deleted."""
        try:
            opportunity, order = await self._order(order_id)
        except Absent:
            return None
        return order if needed(opportunity, "IsWon") else None

    async def activated_order(self, order_id: str) -> contract.Order | None:
        """An order that is activated; None while it's a draft, or when it was deleted."""
        try:
            raw, order = await self._signed_order(order_id)
        except Absent:
            return None
        return order if needed(raw, "StatusCode") == "Activated" else None

    async def customer(self, customer_id: str) -> party.Customer:
        """An account. Raises Problem `record_gone`."""
        raw = await self._record("Account", customer_id, verb="customer")
        return inbound.customer(raw, connection=self.line.code, settings=self.line.settings)

    async def account(self, customer_id: str) -> party.Customer | None:
        """An account, or None when it was deleted meanwhile."""
        try:
            return await self.customer(customer_id)
        except Absent:
            return None

    async def surviving_account(self, customer_id: str) -> party.Customer | None:
        """The account into which this one was merged, over several merges; None when it wasn't, or that one is gone."""
        key = master = full_id(customer_id)
        for _ in range(MERGES_FOLLOWED):
            soql = f"SELECT MasterRecordId FROM Account WHERE Id = '{master}'"
            rows = [row async for row in self._query(soql, verb="surviving_account", resource="queryAll")]
            if not rows or not rows[0].get("MasterRecordId"):
                break
            master = full_id(rows[0]["MasterRecordId"])
        return await self.account(master) if master != key else None

    async def publish_status(self, *, order_id: str, fields: dict[str, str]) -> posting.SavedRecord:
        """Write our status fields on the opportunity or order. Safe to repeat: it sets values. One that billing knows
        by another number is found by its external id (upsert with `updateOnly`: none is ever made)."""
        try:
            body = outbound.order_status(fields)
        except ValueError as error:
            raise Problem(
                "unsupported_document", Category.VALIDATION, str(error), connection=self.line.code, document=order_id
            ) from error
        path, query, known = self._record_of(order_id)
        reply = await self.telephone.call("PATCH", await self._url(path), verb="publish_status", query=query, json=body)
        if query and reply.status == 200:  # by external id it answers with the record's own id, in older versions not
            known = str(reply.json("id")["id"])
        elif reply.status != 204:
            raise reply.strange("a change answers 204")
        return self._saved(known, fields.get("status", ""))

    async def publish_hold(
        self, document_type: str, document_id: str, *, fields: dict[str, str], key: str
    ) -> posting.SavedRecord:
        """Write on an opportunity or order what holds it, or take that away. Safe to repeat (`key` isn't needed): it
        sets values. Raises as `publish_status`."""
        path, query, known = self._record_of(document_id)
        body = outbound.hold_note(fields)
        reply = await self.telephone.call("PATCH", await self._url(path), verb="publish_hold", query=query, json=body)
        if query and reply.status == 200:
            known = str(reply.json("id")["id"])
        elif reply.status != 204:
            raise reply.strange("a change answers 204")
        return self._saved(known, fields.get("status", ""))

    def _record_of(self, order_id: str) -> tuple[str, list[tuple[str, str]], str]:
        """Where an order's record is changed, with which query, and its id as far as it's known: by id, or by the
        external id under which the org keeps orders of others. Raises Problem `target_gone` where it keeps none."""
        try:
            key = full_id(order_id) if order_id.startswith(ORDER_PREFIXES) else ""
        except ValueError:
            key = ""
        if key:
            return f"sobjects/{_kind(key)}/{key}", [], key
        field = self.line.settings.get("order_key_field", "")
        if not field:
            raise Problem(
                "target_gone",
                Category.MAPPING,
                f"{order_id} isn't an order of Salesforce, and no field of its opportunities keeps numbers of others",
                connection=self.line.code,
                document=order_id,
            )
        return f"sobjects/Opportunity/{field}/{quote(order_id, safe='')}", [("updateOnly", "true")], ""

    async def changes(self, stream: str, position: dict[str, Any]) -> Page:
        """Records of an object by SystemModstamp, oldest first, with an overlap at the beginning of each round
        (`rounds`). A round that finds nothing leaves the position as it was where the record that it stands on should
        have been listed."""
        if stream == "Order" and not self._has("orders"):
            return Page((), position)
        since = position.get("modstamp") or (rounds.START if stream in CATALOGUE else rounds.an_hour_ago())
        rows = await self._read(stream, rounds.condition(position, since), verb="changes")
        found, unread = read_rows(rows, partial(self._polled, stream))
        if unread:
            return Page(found, position, unread=unread)
        has_more = len(rows) == ROWS_PER_POLL
        after = rounds.following(position, since, rows, has_more=has_more)
        if not rows and after["id"] and not position.get("is_within") and await self._has_left(stream, after["id"]):
            after["id"] = ""  # nobody is to miss it
        return Page(found, after, has_more)

    async def _has_left(self, stream: str, record_id: str) -> bool:
        """Whether a record that a stream listed has a reason to be in it no more: it was deleted, or is won no longer.
        One that not even `queryAll` has is hidden from our user."""
        soql = f"SELECT Id, IsDeleted FROM {asked.OBJECTS.get(stream, stream)} WHERE Id = '{full_id(record_id)}'"
        rows = [row async for row in self._query(soql, verb="changes", resource="queryAll")]
        if not rows:
            return stream == MERGED  # what was merged is deleted, and leaves the recycle bin after weeks
        if rows[0]["IsDeleted"] and stream != MERGED:
            return True
        return not await self._read(stream, f"Id = '{full_id(record_id)}'", verb="changes")

    async def between(self, what: str, since: dt.datetime, until: dt.datetime, position: dict[str, Any]) -> Page:
        """Records of an object whose SystemModstamp lies in a time, oldest first, as they are now."""
        if what == "Order" and not self._has("orders"):
            return Page((), position)
        after = f"SystemModstamp >= {stamp(since)}"
        if position:
            at, last = position["modstamp"], full_id(position["id"])
            after = f"(SystemModstamp > {at} OR (SystemModstamp = {at} AND Id > '{last}'))"
        rows = await self._read(what, f"{after} AND SystemModstamp < {stamp(until)}", verb="between")
        found, unread = read_rows(rows, partial(self._polled, what))
        if unread:
            return Page(found, position, unread=unread)
        has_more = len(rows) == ROWS_PER_POLL
        following = {"modstamp": stamp(instant(rows[-1]["SystemModstamp"])), "id": rows[-1]["Id"]} if rows else {}
        return Page(found, following if has_more else position, has_more)

    async def again(self, object_ids: Sequence[str]) -> list[Polled]:
        """The present state of accounts, opportunities that are won and orders that are activated; what Salesforce
        hasn't, or we don't read so, is left out."""
        by_object: dict[str, list[str]] = {}
        for object_id in object_ids:
            what = asked.OBJECT_OF.get(object_id[:3])
            if what is not None and (key := _known_id(object_id)):
                by_object.setdefault(what, []).append(key)
        found: list[Polled] = []
        for what, keys in sorted(by_object.items()):
            names = ",".join(f"'{key}'" for key in keys)
            found += read_every(await self._read(what, f"Id IN ({names})", verb="again"), partial(self._polled, what))
        return found

    async def _read(self, what: str, where: str, *, verb: str) -> list[dict[str, Any]]:
        final = f" AND {asked.FINAL[what]}" if what in asked.FINAL else ""
        soql = (
            f"SELECT {self._fields[what]} FROM {asked.OBJECTS.get(what, what)} WHERE {where}{final} "
            f"ORDER BY SystemModstamp, Id LIMIT {ROWS_PER_POLL}"
        )
        return [row async for row in self._query(soql, verb=verb, resource=asked.RESOURCES.get(what, "query"))]

    async def register(
        self, document_type: str, *, since: dt.datetime, until: dt.datetime
    ) -> AsyncIterator[Registered]:
        """What Salesforce has sold, of what was changed from an instant to before another one. A count goes first."""
        for stream in self._sold_in():
            span = (stamp(since), stamp(until))
            query = [("q", register.soql(stream, "COUNT()", *span))]
            reply = await self.telephone.call("GET", await self._url("query"), verb="register", query=query)
            if reply.json("totalSize")["totalSize"]:
                async for raw in self._query(register.soql(stream, self._fields[stream], *span), verb="register"):
                    yield register.entry(stream, raw, self.line.settings)

    async def registered(self, document_type: str, document_id: str) -> Registered | None:
        """One sale as the register has it; None where it isn't sold, or is gone."""
        stream = _kind(document_id)
        rows = await self._read(stream, f"Id = '{full_id(document_id)}'", verb="registered")
        return register.entry(stream, rows[0], self.line.settings) if rows else None

    async def messages_of(self, document_type: str, entries: Sequence[Registered]) -> list[Polled]:
        """The records as a poll brings them."""
        found = []
        for place in range(0, len(entries), IDS_PER_QUERY):
            found += await self.again([entry.id for entry in entries[place : place + IDS_PER_QUERY]])
        return found

    def _sold_in(self) -> tuple[str, ...]:
        return register.STREAMS if self._has("orders") else register.STREAMS[:1]

    async def check_connection(self) -> str:
        """One cheap read; gives a sentence for the connections screen. Raises Problem."""
        rows = [row async for row in self._query("SELECT Id, Name FROM Organization LIMIT 1", verb="check_connection")]
        return f"Salesforce answers as {rows[0]['Name']}" if rows else "Salesforce answers"

    async def _order(self, order_id: str) -> tuple[dict[str, Any], contract.Order]:
        key = full_id(order_id)
        found = await self._composite(asked.opportunity_queries(self._fields, key, cpq=self._has("cpq")), verb="order")
        if not found["opportunity"]:
            raise Absent("Salesforce has the opportunity no more", connection=self.line.code, document=key)
        quotes = found.get("quotes", [])
        opportunity = found["opportunity"][0]
        name = f"The opportunity {opportunity.get('Name') or key}"
        if len(quotes) > 1:
            raise self._incomplete(f"{name} has {len(quotes)} primary quotes", key)
        try:
            order = inbound.order(
                opportunity,
                connection=self.line.code,
                lines=found["lines"],
                quote=quotes[0] if quotes else None,
                quote_lines=found.get("quote_lines", []),
                settings=self.line.settings,
            )
        except (ValueError, KeyError) as error:
            says = f"{name} lacks something, or says it in a way that we don't read: {error}"
            raise self._incomplete(says, key) from error
        return opportunity, order

    async def _signed_order(self, order_id: str) -> tuple[dict[str, Any], contract.Order]:
        key = full_id(order_id)
        found = await self._composite(asked.order_queries(self._fields, key), verb="order")
        if not found["order"]:
            raise Absent("Salesforce has the order no more", connection=self.line.code, document=key)
        raw = found["order"][0]
        name = f"Order {raw['OrderNumber']}" if raw.get("OrderNumber") else "An order"
        if raw.get("IsReductionOrder") and raw.get("StatusCode") == "Activated":
            raise Problem(
                "order_changed_after_won",
                Category.CONFLICT,
                f"{name} takes back a part of an earlier one",
                connection=self.line.code,
                order=key,
            )
        try:
            order = inbound_orders.signed_order(
                raw, connection=self.line.code, items=found["items"], settings=self.line.settings
            )
        except (ValueError, KeyError) as error:
            says = f"{name} lacks something, or says it in a way that we don't read: {error}"
            raise self._incomplete(says, key) from error
        return raw, order

    def _incomplete(self, says: str, key: str) -> Problem:
        return Problem("order_incomplete", Category.VALIDATION, says, connection=self.line.code, document=key)

    async def _record(self, kind: str, record_id: str, *, verb: str) -> dict[str, Any]:
        path = await self._url(f"sobjects/{kind}/{full_id(record_id)}")
        query = [("fields", self._fields[kind])]
        raw: dict[str, Any] = (await self.telephone.call("GET", path, verb=verb, query=query)).json("Id")
        return raw

    async def _composite(self, queries: dict[str, str], *, verb: str) -> dict[str, list[dict[str, Any]]]:
        """Several queries in one call; the refusal of one (`manifest.hides_errors`) is that of all."""
        base = f"/services/data/{VERSION}"
        parts = [
            {"method": "GET", "url": f"{base}/query?{urlencode({'q': soql})}", "referenceId": name}
            for name, soql in queries.items()
        ]
        body = {"allOrNone": False, "compositeRequest": parts}
        reply = await self.telephone.call("POST", await self._url("composite"), verb=verb, json=body, is_write=False)
        rows = {}
        for part in reply.json("compositeResponse")["compositeResponse"]:
            name, answer = needed(part, "referenceId"), part["body"]
            rows[name] = needed(answer, "records")
            if not needed(answer, "done"):
                more = await self._url(answer["nextRecordsUrl"])
                rows[name] += [row async for row in self._pages(more, [], verb=verb)]
        return rows

    async def _query(self, soql: str, *, verb: str, resource: str = "query") -> AsyncIterator[dict[str, Any]]:
        async for row in self._pages(await self._url(resource), [("q", soql)], verb=verb):
            yield row

    def _pages(self, first: str, query: list[tuple[str, str]], *, verb: str) -> AsyncIterator[dict[str, Any]]:
        async def fetch(following: str | None) -> tuple[list[Any], str | None]:
            url, given = (await self._url(following), []) if following else (first, query)
            answer = (await self.telephone.call("GET", url, verb=verb, query=given)).json("records", "done")
            return needed(answer, "records"), None if needed(answer, "done") else answer["nextRecordsUrl"]

        return walk_pages(fetch, connection=self.line.code)

    async def _url(self, path: str) -> str:
        """The full address at the instance that sign-in named; only there may the session go."""
        auth = self.telephone.auth
        instance = self.telephone.base_url
        if isinstance(auth, FetchedToken):
            token = await auth.token(self.telephone)
            instance = str(token.extra.get("instance_url") or instance).rstrip("/")
            self._check_instance(instance)
        return instance + path if path.startswith("/") else f"{instance}/services/data/{VERSION}/{path}"

    def _check_instance(self, instance: str) -> None:
        host, own = urlsplit(instance).hostname or "", urlsplit(self.telephone.base_url).hostname
        if host != own and not host.endswith(_VENDOR_HOSTS):
            raise Problem(
                "address_refused",
                Category.VALIDATION,
                f"Salesforce's sign-in names an instance that isn't Salesforce's: {host}",
                connection=self.line.code,
            )

    def _polled(self, stream: str, row: dict[str, Any]) -> Polled:
        key = full_id(row["Id"])
        return Polled(
            event_type=stream,
            source_id=key,
            dedupe_key=f"{stream}:{key}:{row['SystemModstamp']}",
            body=msgspec.json.encode(row),
            occurred_at=instant(row["SystemModstamp"]),
        )

    def _saved(self, order_id: str, status: str) -> posting.SavedRecord:
        key = full_id(order_id) if order_id else ""
        url = f"{self.app_url}/{key}" if self.app_url and key else ""
        return posting.SavedRecord(document_type="status", id=key, status=status, url=url)


def _known_id(text: str) -> str:
    """An id in its long form, or "" for what can't be one."""
    try:
        return full_id(text)
    except ValueError:
        return ""


def _kind(order_id: str) -> str:
    """The object of an order's id, by its first three characters, which never change for a standard object."""
    return "Order" if order_id.startswith(ORDER_PREFIX) else "Opportunity"
