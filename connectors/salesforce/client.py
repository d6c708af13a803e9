"""Salesforce's verbs of the CRM family, over the REST API: SOQL, composite reads, an opportunity's status."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from connectors.auth import FetchedToken
from connectors.errors import Absent
from connectors.families import Page, Polled
from connectors.fields import instant
from connectors.http import Line, Reply, Telephone
from connectors.paging import walk_pages
from connectors.salesforce import inbound, outbound
from connectors.salesforce.ids import full_id
from q2c.canonical import contract, party, posting
from q2c.core.problems import Category, Problem

VERSION = "v68.0"
ROWS_PER_POLL = 500
OVERLAP = dt.timedelta(minutes=5)  # long transactions commit late, with an earlier SystemModstamp
CATALOGUE = ("Product2", "PricebookEntry")  # read whole at the first time: what is sold was priced long ago
THE_START = "2000-01-01T00:00:00.000Z"
_VENDOR_HOSTS = (".salesforce.com", ".force.com", ".salesforce.mil", ".cloudforce.com")
_ACCOUNT = (
    "Id,Name,AccountNumber,ParentId,Phone,BillingStreet,BillingCity,BillingState,BillingPostalCode,BillingCountry,"
    "ShippingStreet,ShippingCity,ShippingState,ShippingPostalCode,ShippingCountry,IsDeleted,SystemModstamp"
)
_OPPORTUNITY = "Id,Name,AccountId,StageName,Amount,CloseDate,IsWon,IsClosed,SystemModstamp"
_PRODUCT = "Id,Name,ProductCode,StockKeepingUnit,Family,IsActive,SystemModstamp"
_PRICE = "Id,ProductCode,Product2.ProductCode,Product2.StockKeepingUnit,UnitPrice,IsActive,SystemModstamp"
_PRICE_MODEL = ",ProductSellingModel.SellingModelType,ProductSellingModel.PricingTermUnit"
_LINE = (
    "Id,Product2Id,ProductCode,Name,Quantity,UnitPrice,ListPrice,ServiceDate,Product2.Name,Product2.ProductCode,"
    "Product2.StockKeepingUnit"
)
_MODEL = ",PricebookEntry.ProductSellingModel.SellingModelType,PricebookEntry.ProductSellingModel.PricingTermUnit"
_QUOTE = (
    "Id,Name,SBQQ__Status__c,SBQQ__StartDate__c,SBQQ__SubscriptionTerm__c,SBQQ__PaymentTerms__c,"
    "SBQQ__BillingFrequency__c"
)
_QUOTE_LINE = (
    "Id,SBQQ__ProductCode__c,SBQQ__Quantity__c,SBQQ__ListPrice__c,SBQQ__NetPrice__c,SBQQ__NetTotal__c,SBQQ__StartDate__c,"
    "SBQQ__EndDate__c,SBQQ__EffectiveStartDate__c,SBQQ__EffectiveEndDate__c,SBQQ__SubscriptionTerm__c,"
    "SBQQ__SubscriptionType__c,SBQQ__BillingFrequency__c,SBQQ__ChargeType__c,SBQQ__Product__r.Name,"
    "SBQQ__Product__r.ProductCode,SBQQ__Product__r.StockKeepingUnit"
)


class Client:
    """One Salesforce organisation."""

    streams = ("Account", "Product2", "PricebookEntry", "Opportunity")

    def __init__(self, line: Line, telephone: Telephone) -> None:
        self.line = line
        self.telephone = telephone
        self.app_url = line.settings.get("app_url", "").rstrip("/")
        extra = ["CurrencyIsoCode"] if self._has("several_currencies") else []
        entity = line.settings.get("legal_entity_field", "")
        own = [*extra, *([entity] if entity else [])]
        self._fields = {
            "Account": ",".join([_ACCOUNT, *own]),
            "Opportunity": ",".join([_OPPORTUNITY, *own, *([f"Account.{entity}"] if entity else [])]),
            "Product2": _PRODUCT,
            "PricebookEntry": ",".join([_PRICE, *extra]) + (_PRICE_MODEL if self._has("selling_models") else ""),
        }

    def _has(self, what: str) -> bool:
        return self.line.settings.get(f"has_{what}", "yes").lower() in ("yes", "true", "1")

    async def order(self, order_id: str) -> contract.Order:
        """An opportunity as an order, won or not, in one call. Raises Problem `record_gone`."""
        return (await self._order(order_id))[1]

    async def closed_won_order(self, order_id: str) -> contract.Order | None:
        """The order of an opportunity that is won; None while it isn't, or when it was deleted."""
        try:
            opportunity, order = await self._order(order_id)
        except Absent:
            return None
        return order if opportunity.get("IsWon") else None

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

    async def publish_status(self, *, order_id: str, fields: dict[str, str]) -> posting.SavedRecord:
        """Write our status fields on the opportunity. Safe to repeat: it sets values."""
        try:
            body = outbound.order_status(fields)
        except ValueError as error:
            raise Problem(
                "unsupported_document", Category.VALIDATION, str(error), connection=self.line.code, document=order_id
            ) from error
        path = await self._url(f"sobjects/Opportunity/{full_id(order_id)}")
        reply = await self.telephone.call("PATCH", path, verb="publish_status", json=body)
        reply.expect(204, "a change answers 204")
        return self._saved(order_id, fields.get("status", ""))

    async def find_status(self, *, order_id: str, fields: dict[str, str]) -> posting.SavedRecord | None:
        """The opportunity, if it shows these status fields already; None if it doesn't."""
        wanted = outbound.order_status(fields)
        raw = await self._record("Opportunity", order_id, verb="find_status", fields=",".join(["Id", *wanted]))
        if all((raw.get(name) or "") == value for name, value in wanted.items()):
            return self._saved(order_id, fields.get("status", ""), was_found=True)
        return None

    async def changes(self, stream: str, position: dict[str, Any]) -> Page:
        """Records of an object by SystemModstamp, oldest first, with an overlap at the beginning of each round.

        `position` is {"modstamp", "id", "is_within"}: within a round it goes on after the last record, also where more
        records than a page share one instant; a new round begins some minutes before the newest one.
        """
        since = position.get("modstamp") or (THE_START if stream in CATALOGUE else _stamp(_an_hour_ago()))
        if position.get("is_within"):
            after = f"(SystemModstamp > {since} OR (SystemModstamp = {since} AND Id > '{full_id(position['id'])}'))"
        else:
            after = f"SystemModstamp >= {_stamp(instant(since) - OVERLAP)}"
        won = " AND IsWon = true" if stream == "Opportunity" else ""
        soql = (
            f"SELECT {self._fields[stream]} FROM {stream} WHERE {after}{won} "
            f"ORDER BY SystemModstamp, Id LIMIT {ROWS_PER_POLL}"
        )
        rows = [row async for row in self._query(soql, verb="changes")]
        found = tuple(self._polled(stream, row) for row in rows)
        has_more = len(rows) == ROWS_PER_POLL
        newest = max([instant(since), *(p.occurred_at for p in found if p.occurred_at)])
        following = {"modstamp": _stamp(newest), "id": found[-1].source_id if found else "", "is_within": has_more}
        return Page(found, following, has_more)

    async def check_connection(self) -> str:
        """One cheap read; gives a sentence for the connections screen. Raises Problem."""
        rows = [row async for row in self._query("SELECT Id, Name FROM Organization LIMIT 1", verb="check_connection")]
        return f"Salesforce answers as {rows[0]['Name']}" if rows else "Salesforce answers"

    async def _order(self, order_id: str) -> tuple[dict[str, Any], contract.Order]:
        key = full_id(order_id)
        model = _MODEL if self._has("selling_models") else ""
        asked = {
            "opportunity": f"SELECT {self._fields['Opportunity']} FROM Opportunity WHERE Id = '{key}'",
            "lines": f"SELECT {_LINE}{model} FROM OpportunityLineItem WHERE OpportunityId = '{key}' ORDER BY Id",
        }
        if self._has("cpq"):
            primary = f"SBQQ__Opportunity2__c = '{key}' AND SBQQ__Primary__c = true"
            of_quote = " AND ".join(f"SBQQ__Quote__r.{part}" for part in primary.split(" AND "))
            asked["quotes"] = f"SELECT {_QUOTE} FROM SBQQ__Quote__c WHERE {primary} ORDER BY Id"
            asked["quote_lines"] = f"SELECT {_QUOTE_LINE} FROM SBQQ__QuoteLine__c WHERE {of_quote} ORDER BY Id"
        found = await self._composite(asked, verb="order")
        if not found["opportunity"]:
            raise Absent(f"Salesforce has no opportunity {key}", connection=self.line.code, document=key)
        quotes = found.get("quotes", [])
        if len(quotes) > 1:
            raise Problem(
                "order_incomplete",
                Category.VALIDATION,
                f"The opportunity {found['opportunity'][0].get('Name') or key} has {len(quotes)} primary quotes",
                connection=self.line.code,
                document=key,
            )
        try:
            order = inbound.order(
                found["opportunity"][0],
                connection=self.line.code,
                lines=found["lines"],
                quote=quotes[0] if quotes else None,
                quote_lines=found.get("quote_lines", []),
                settings=self.line.settings,
            )
        except (ValueError, KeyError) as error:
            name = found["opportunity"][0].get("Name") or key
            says = f"The opportunity {name} lacks something, or says it in a way that we don't read: {error}"
            raise Problem(
                "order_incomplete", Category.VALIDATION, says, connection=self.line.code, document=key
            ) from error
        return found["opportunity"][0], order

    async def _record(self, kind: str, record_id: str, *, verb: str, fields: str = "") -> dict[str, Any]:
        path = await self._url(f"sobjects/{kind}/{full_id(record_id)}")
        query = [("fields", fields or self._fields[kind])]
        raw: dict[str, Any] = (await self.telephone.call("GET", path, verb=verb, query=query)).json("Id")
        return raw

    async def _composite(self, asked: dict[str, str], *, verb: str) -> dict[str, list[dict[str, Any]]]:
        """Several queries in one call. An answer of 200 hides the failure of a part, so each part is looked at."""
        base = f"/services/data/{VERSION}"
        parts = [
            {"method": "GET", "url": f"{base}/query?{urlencode({'q': soql})}", "referenceId": name}
            for name, soql in asked.items()
        ]
        body = {"allOrNone": False, "compositeRequest": parts}
        reply = await self.telephone.call("POST", await self._url("composite"), verb=verb, json=body, is_write=False)
        rows = {}
        for part in reply.json("compositeResponse")["compositeResponse"]:
            if part["httpStatusCode"] != 200:
                raise self._part_refused(part, reply)
            rows[part["referenceId"]] = part["body"]["records"]
            if not part["body"]["done"]:
                more = await self._url(part["body"]["nextRecordsUrl"])
                rows[part["referenceId"]] += [row async for row in self._pages(more, [], verb=verb)]
        return rows

    def _part_refused(self, part: dict[str, Any], reply: Reply) -> Problem:
        body = msgspec.json.encode(part["body"])
        return self.telephone.explain(Reply(part["httpStatusCode"], {}, body, reply.connection, False))

    async def _query(self, soql: str, *, verb: str) -> AsyncIterator[dict[str, Any]]:
        async for row in self._pages(await self._url("query"), [("q", soql)], verb=verb):
            yield row

    def _pages(self, first: str, query: list[tuple[str, str]], *, verb: str) -> AsyncIterator[dict[str, Any]]:
        async def fetch(following: str | None) -> tuple[list[Any], str | None]:
            url, asked = (await self._url(following), []) if following else (first, query)
            answer = (await self.telephone.call("GET", url, verb=verb, query=asked)).json("records", "done")
            return answer["records"], None if answer["done"] else answer["nextRecordsUrl"]

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

    def _saved(self, order_id: str, status: str, *, was_found: bool = False) -> posting.SavedRecord:
        key = full_id(order_id)
        url = f"{self.app_url}/{key}" if self.app_url else ""
        return posting.SavedRecord(document_type="status", id=key, status=status, url=url, was_found=was_found)


def _an_hour_ago() -> dt.datetime:
    return dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)


def _stamp(at: dt.datetime) -> str:
    """An unquoted SOQL literal, to the millisecond: SystemModstamp has none below the second, but a round mustn't
    lose it."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
