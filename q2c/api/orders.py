"""Orders by API: validated against what we know already, so that a vendor's outage never refuses one."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from django.db.models import Q
from django.utils import timezone

from connectors.families import Family
from connectors.models import Connection, ReferenceEntry
from mappings.models import MappingRule
from mappings.systems import roles_of
from q2c.api.callers import Caller
from q2c.api.problems import ApiProblem, FieldFault
from q2c.canonical.base import Source
from q2c.canonical.contract import Order, OrderLine
from q2c.canonical.events import OrderClosedWon
from q2c.canonical.schema import to_json
from q2c.core.ids import uuid7
from q2c.core.models import LegalEntity
from q2c.flows.api_orders import API_CODE, API_ORDER_PREFIX
from q2c.flows.intake import carry_these_events
from q2c.flows.steps.orders import PERIOD_MONTHS
from q2c.inbox.models import InboundEvent
from q2c.inbox.once import Accepted
from q2c.inbox.receive import Arrival, receive
from q2c.records.models import GoldenRecord
from q2c.records.store import alias_of
from q2c.transactions.models import BusinessTransaction

FREQUENCIES = ("one_time", "monthly", "quarterly", "semiannual", "annual")
FIELDS = frozenset({"account", "legal_entity", "currency", "start_date", "term_months", "billing_frequency", "lines"})
LINE_FIELDS = frozenset({"sku", "quantity", "unit_price"})
MOST_LINES = 500
MOST_MONTHS = 120
MOST_ALIKE = 20  # records that are named where several are meant
LIMIT = Decimal(10) ** 14


def submit_order(body: Any, caller: Caller) -> Accepted:
    """Take an order in: through the inbox, translated and dispatched in the caller's transaction.

    Raises ApiProblem 422 naming each field.
    """
    order = read_order(body, caller)
    event = OrderClosedWon(occurred_at=timezone.now(), order=order)
    arrival = Arrival("OrderClosedWon", order.source.object_id, order.source.object_id, to_json(event))
    (event_id,) = receive(_own_connection().pk, [arrival], via=InboundEvent.Via.API).new
    carry_these_events([event_id])
    transaction_id = BusinessTransaction.objects.values_list("id", flat=True).get(
        event_id=event_id, flow="order_to_subscription"
    )
    return Accepted(202, {"transaction": str(transaction_id)}, f"/api/v1/transactions/{transaction_id}")


def _own_connection() -> Connection:
    found, _ = Connection.objects.get_or_create(
        code=API_CODE, defaults={"name": "Our own API", "vendor": API_CODE, "base_url": "https://localhost/"}
    )
    return found


def read_order(body: Any, caller: Caller) -> Order:
    """The canonical order of a request. Raises ApiProblem 422 with every fault at once."""
    if not isinstance(body, dict):
        raise ApiProblem(400, "malformed", "The request can't be read", "The body is a JSON object.")
    read = _Reader(body)
    read.refuse_unknown(body, FIELDS, "")
    account = read.field("account", _text, "the id or number of a CRM account")
    entity = read.field("legal_entity", _text, "the code of a legal entity")
    currency = read.field("currency", _currency, "an ISO 4217 code such as GBP")
    start = read.field("start_date", _date, "a date such as 2026-12-01")
    months = read.field("term_months", _months, f"a whole number from 1 to {MOST_MONTHS}")
    frequency = read.field("billing_frequency", _frequency, "one of " + ", ".join(FREQUENCIES))
    lines = read.lines()
    account_key = _check_account(account, read) if account else ""
    if entity:
        _check_entity(entity, caller, read)
    if currency:
        _check_currency(currency, read)
    _check_skus([line["sku"] for line in lines], read)
    period = PERIOD_MONTHS.get(frequency or "", 1)
    if months and months % period:
        read.fault("term_months", "invalid", f"The term isn't a whole number of {frequency} periods",
                   f"Send a multiple of {period}.")  # fmt: skip
    if read.faults:
        raise ApiProblem(422, "validation", "The order can't be taken as it is",
                         f"{len(read.faults)} fields need repair.", errors=read.faults)  # fmt: skip
    order_id = f"{API_ORDER_PREFIX}{uuid7()}"
    return Order(
        source=Source(connection=API_CODE, object_type="order", object_id=order_id),
        number=order_id,
        customer_id=account_key,
        currency=currency,
        start_date=start,
        term_months=months,
        billing_frequency=frequency,
        legal_entity=entity,
        lines=tuple(
            OrderLine(line_id=str(n), sku=line["sku"], quantity=line["quantity"], unit_price=line["unit_price"],
                      billing_frequency=frequency)
            for n, line in enumerate(lines, start=1)
        ),
    )  # fmt: skip


class _Reader:
    """Reads fields and gathers what is wrong with them."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.body = body
        self.faults: list[FieldFault] = []

    def fault(self, field: str, code: str, message: str, remedy: str) -> None:
        self.faults.append(FieldFault(field, code, message, remedy))

    def refuse_unknown(self, given: dict[str, Any], known: frozenset[str], where: str) -> None:
        for name in sorted(set(given) - known):
            self.fault(f"{where}{name}", "unknown_field", "This field isn't known", "Leave it out.")

    def field(self, name: str, read: Callable[[Any], Any], wanted: str, *, given: Any = None, where: str = "") -> Any:
        source = self.body if given is None else given
        if source.get(name) is None:
            self.fault(f"{where}{name}", "required", "This field is missing", f"Send {wanted}.")
            return None
        try:
            return read(source[name])
        except (ValueError, TypeError, InvalidOperation):
            self.fault(f"{where}{name}", "invalid", f"This isn't {wanted}", f"Send {wanted}.")
            return None

    def lines(self) -> list[dict[str, Any]]:
        given = self.body.get("lines")
        if not isinstance(given, list) or not given:
            self.fault("lines", "required", "An order has at least one line", "Send a list of lines.")
            return []
        if len(given) > MOST_LINES:
            self.fault("lines", "too_many", f"More than {MOST_LINES} lines", "Split the order.")
            return []
        lines = [self._line(line, f"lines[{n}].") for n, line in enumerate(given)]
        whole = [line for line in lines if line.get("quantity") and line.get("unit_price")]
        if sum((line["quantity"] * line["unit_price"] for line in whole), Decimal(0)) >= LIMIT:
            self.fault("lines", "invalid", f"They come to {LIMIT:,} or more", "Look at the quantities and prices.")
        return lines

    def _line(self, given: Any, where: str) -> dict[str, Any]:
        if not isinstance(given, dict):
            self.fault(where[:-1], "invalid", "A line is an object", "Send sku, quantity and unit_price.")
            return {"sku": None}
        self.refuse_unknown(given, LINE_FIELDS, where)
        wanted = "a positive number as a string such as 10"
        return {
            "sku": self.field("sku", _text, "a SKU of the catalogue", given=given, where=where),
            "quantity": self.field("quantity", _positive, wanted, given=given, where=where),
            "unit_price": self.field(
                "unit_price", _price, "an amount as a string such as 19.90", given=given, where=where
            ),
        }


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 120 or "\x00" in value:
        raise ValueError(value)
    return value.strip()


def _currency(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 3 or not (value.isascii() and value.isalpha() and value.isupper()):
        raise ValueError(value)
    return value


def _date(value: Any) -> dt.date:
    if not isinstance(value, str) or len(value) != 10:
        raise ValueError(value)
    return dt.date.fromisoformat(value)


def _months(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST_MONTHS:
        raise ValueError(value)
    return value


def _frequency(value: Any) -> str:
    if value not in FREQUENCIES:
        raise ValueError(value)
    return str(value)


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, str) and "_" in value):
        raise ValueError(value)
    number = Decimal(value)
    exponent = number.as_tuple().exponent
    if not number.is_finite() or abs(number) >= LIMIT or not isinstance(exponent, int) or exponent < -6:
        raise ValueError(value)
    return number


def _positive(value: Any) -> Decimal:
    number = _decimal(value)
    if number <= 0:
        raise ValueError(value)
    return number


def _price(value: Any) -> Decimal:
    number = _decimal(value)
    if number < 0:
        raise ValueError(value)
    return number


# What must be known: cached lists and golden records only.


def _check_account(account: str, read: _Reader) -> str:
    """The golden key of the account, of which the flow makes a billing customer: by a CRM's own id, else by our key,
    else by its number. What several customers are called is no choice of ours."""
    systems = Connection.objects.values_list("code", "vendor")
    aliases = [alias_of(code, account) for code, vendor in systems if Family.CRM in roles_of(vendor)]
    for named in (Q(aliases__overlap=aliases), Q(record_key=account), Q(number=account)):
        rows = GoldenRecord.objects.filter(named, record_type="customer").values_list("merged_into", "record_key")
        found = sorted({merged_into or own for merged_into, own in rows[:MOST_ALIKE]})
        if len(found) == 1:
            return found[0]
        if found:
            read.fault("account", "ambiguous", f"{len(found)} customers are called {account}",
                       f"Send the id of one of them: {', '.join(found)}.")  # fmt: skip
            return ""
    read.fault(
        "account", "unknown", "We don't know this account", "Send the id of an account that the CRM has told us of."
    )
    return ""


def _check_entity(entity: str, caller: Caller, read: _Reader) -> None:
    if not LegalEntity.objects.filter(code=entity, is_active=True).exists() or not caller.sells_for(entity):
        mine = LegalEntity.objects.filter(is_active=True).values_list("code", flat=True)
        known = ", ".join(code for code in sorted(mine) if caller.sells_for(code))
        read.fault("legal_entity", "unknown", "The client isn't bound to such a legal entity", f"Send one of {known}.")


def _check_currency(currency: str, read: _Reader) -> None:
    known = set(ReferenceEntry.objects.filter(list_name="currencies", is_active=True).values_list("code", flat=True))
    known |= set(LegalEntity.objects.filter(is_active=True).values_list("currency", flat=True))
    if currency not in known:
        read.fault(
            "currency", "unknown", "No book keeps this currency", f"Send one of {', '.join(sorted(known - {''}))}."
        )


def _check_skus(skus: list[str | None], read: _Reader) -> None:
    asked = {sku for sku in skus if sku}
    known = set(
        GoldenRecord.objects.filter(record_type="product", number__in=asked).values_list("number", flat=True)
    ) | set(
        MappingRule.objects.filter(kind__in=("item", "billing_product"), key__in=asked, known_to__isnull=True)
        .values_list("key", flat=True)
    )  # fmt: skip
    for n, sku in enumerate(skus):
        if sku and sku not in known:
            read.fault(f"lines[{n}].sku", "unknown", f"The catalogue has no {sku}", "Send a SKU of the catalogue.")
