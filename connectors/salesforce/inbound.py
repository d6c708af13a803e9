"""Salesforce's records in our words. Pure.

Amounts are JSON numbers in major units. A CPQ quote line says what a term costs; what we carry is the price of one
billing
period, so that the billing platform can charge it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from connectors.fields import date, decimal, dig, needed
from connectors.salesforce.countries import iso_country
from connectors.salesforce.ids import full_id
from q2c.canonical import catalog, contract, party
from q2c.canonical.base import Source
from q2c.core.terms import months_of

UNQUOTED_MONTHS = 12  # of an opportunity without a quote, which has no field for a term
PERIOD_MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "annual": 12}
_FREQUENCIES: dict[str, contract.Frequency] = {
    "monthly": "monthly", "months": "monthly", "quarterly": "quarterly", "semiannual": "semiannual",
    "semi-annual": "semiannual", "annual": "annual", "one-time": "one_time", "onetime": "one_time",
}  # fmt: skip
NUMBER_MAX = 80  # as long as a document's number may be
_PRICE_DIGITS = Decimal("0.000001")


def order(
    opportunity: Mapping[str, Any],
    *,
    connection: str,
    lines: Sequence[Mapping[str, Any]],
    quote: Mapping[str, Any] | None = None,
    quote_lines: Sequence[Mapping[str, Any]] = (),
    settings: Mapping[str, Any],
) -> contract.Order:
    """A closed-won opportunity with its lines: those of its primary quote where there is one, else its own.

    An opportunity has no number: people know it by its quote's, or else by its name.

    Raises ValueError (or KeyError) for a record without what every opportunity has.
    """
    said = quote or {}
    usual = usual_frequency(settings, said.get("SBQQ__BillingFrequency__c"))
    served = map(_quoted_start, quote_lines) if quote_lines else (line.get("ServiceDate") for line in lines)
    first = said.get("SBQQ__StartDate__c") or min(filter(None, served), default=needed(opportunity, "CloseDate"))
    start = date(first)
    term = term_of(
        start, end=said.get("SBQQ__EndDate__c"), said=said.get("SBQQ__SubscriptionTerm__c"), settings=settings,
        or_else=0 if said else UNQUOTED_MONTHS,
    )  # fmt: skip
    sold: tuple[contract.OrderLine, ...]
    if quote_lines:
        sold = tuple(quote_line(line, term_months=term, usual=usual) for line in quote_lines)
    else:
        sold = tuple(order_line(line, usual=usual) for line in lines)
    entity_field = str(settings.get("legal_entity_field") or "")
    name = str(opportunity.get("Name") or "")
    return contract.Order(
        source=Source(connection=connection, object_type="Opportunity", object_id=full_id(opportunity["Id"])),
        number=str(said.get("Name") or name[:NUMBER_MAX] or full_id(opportunity["Id"])),
        name=name,
        customer_id=full_id(opportunity["AccountId"]) if opportunity.get("AccountId") else "",
        currency=currency_of(opportunity, settings),
        start_date=start,
        term_months=term,
        lines=sold,
        legal_entity=legal_entity_of(opportunity, entity_field),
        billing_frequency=usual,
        amount=optional(opportunity.get("Amount")),
        quote_id=full_id(said["Id"]) if said else "",
        quote_status=str(said.get("SBQQ__Status__c") or ""),
        payment_terms=str(said.get("SBQQ__PaymentTerms__c") or ""),
    )


def term_of(start: dt.date, *, end: Any, said: Any, settings: Mapping[str, Any], or_else: int = 0) -> int:
    """The months of a term: to its last day, which supersedes a number that is given besides (so does CPQ); else that
    number, else the connection's. 0 where nobody says: such an order is held, its term isn't guessed.

    Raises ValueError for days that aren't whole months.
    """
    return months_of(start, date(end)) if end else int(said or settings.get("term_months") or or_else)


def order_line(raw: Mapping[str, Any], *, usual: contract.Frequency) -> contract.OrderLine:
    """A line item: its unit price is per billing period, which its selling model names where the org has such."""
    entry = raw.get("PricebookEntry") or {}
    said = _frequency(dig(entry, "ProductSellingModel.PricingTermUnit"))
    frequency: contract.Frequency = "one_time" if _is_once(entry) else said or usual
    return contract.OrderLine(
        line_id=full_id(raw["Id"]),
        sku=_sku(raw.get("ProductCode"), raw.get("Product2")),
        quantity=decimal(raw["Quantity"]),
        unit_price=decimal(raw["UnitPrice"]),
        description=str(dig(raw, "Product2.Name") or raw.get("Name") or ""),
        list_price=optional(raw.get("ListPrice")),
        billing_frequency=frequency,
        service_start=_optional_date(raw.get("ServiceDate")),
    )


def quote_line(raw: Mapping[str, Any], *, term_months: int, usual: contract.Frequency) -> contract.OrderLine:
    """A CPQ quote line. Its net total covers its whole term; the unit price here is one billing period's share of it.
    A term of its own is carried only where it's another than the order's `term_months`."""
    is_once = raw.get("SBQQ__ChargeType__c") == "One-Time" or raw.get("SBQQ__SubscriptionType__c") == "One-time"
    frequency: contract.Frequency = "one_time" if is_once else _frequency(raw.get("SBQQ__BillingFrequency__c")) or usual
    quantity = decimal(raw["SBQQ__Quantity__c"])
    own = int(raw.get("SBQQ__SubscriptionTerm__c") or 0)
    term = own or term_months
    net = optional(raw.get("SBQQ__NetPrice__c")) or Decimal(0)
    total = optional(raw.get("SBQQ__NetTotal__c"))
    end = raw.get("SBQQ__EffectiveEndDate__c") or raw.get("SBQQ__EndDate__c")
    return contract.OrderLine(
        line_id=full_id(raw["Id"]),
        sku=_sku(raw.get("SBQQ__ProductCode__c"), raw.get("SBQQ__Product__r")),
        quantity=quantity,
        unit_price=price_of_period(
            total / quantity if total is not None and quantity else net, frequency=frequency, term_months=term
        ),
        description=str(dig(raw, "SBQQ__Product__r.Name") or ""),
        list_price=optional(raw.get("SBQQ__ListPrice__c")),
        billing_frequency=frequency,
        service_start=_optional_date(_quoted_start(raw)),
        service_end=_optional_date(end),
        term_months=own if own not in (0, term_months) and frequency != "one_time" else None,
    )


def _quoted_start(raw: Mapping[str, Any]) -> Any:
    return raw.get("SBQQ__EffectiveStartDate__c") or raw.get("SBQQ__StartDate__c")


def price_of_period(per_unit: Decimal, *, frequency: contract.Frequency, term_months: int) -> Decimal:
    """The price of one billing period, of what a unit costs over its whole term; whole where the term isn't known."""
    is_whole = frequency == "one_time" or not term_months
    share = Decimal(1) if is_whole else Decimal(PERIOD_MONTHS[frequency]) / Decimal(term_months)
    return _shortest((per_unit * share).quantize(_PRICE_DIGITS))


def customer(raw: Mapping[str, Any], *, connection: str, settings: Mapping[str, Any]) -> party.Customer:
    """An account. `parent_id` is the account above it."""
    return party.Customer(
        source=Source(connection=connection, object_type="Account", object_id=full_id(raw["Id"])),
        name=str(raw["Name"]).strip(),
        number=str(raw.get("AccountNumber") or ""),
        phone=str(raw.get("Phone") or ""),
        currency=currency_of(raw, settings),
        bill_to=_address(raw, "Billing"),
        ship_to=_address(raw, "Shipping"),
        parent_id=full_id(raw["ParentId"]) if raw.get("ParentId") else "",
        legal_entity=legal_entity_of(raw, str(settings.get("legal_entity_field") or "")),
        crm_id=full_id(raw["Id"]),
    )


def product(raw: Mapping[str, Any], *, connection: str) -> catalog.Product:
    """A product of the catalogue. Its SKU is its product code, as on the lines of orders."""
    return catalog.Product(
        source=Source(connection=connection, object_type="Product2", object_id=full_id(raw["Id"])),
        sku=_sku(raw.get("ProductCode"), raw),
        name=str(raw["Name"]),
        family=str(raw.get("Family") or ""),
        is_active=raw.get("IsActive") is not False,
    )


def price(raw: Mapping[str, Any], *, connection: str, settings: Mapping[str, Any]) -> catalog.Price:
    """An entry of a price book, per billing period of its selling model (once, without one that says a period)."""
    frequency = "one_time" if _is_once(raw) else _frequency(dig(raw, "ProductSellingModel.PricingTermUnit")) or ""
    return catalog.Price(
        source=Source(connection=connection, object_type="PricebookEntry", object_id=full_id(raw["Id"])),
        sku=_sku(raw.get("ProductCode"), raw.get("Product2")),
        currency=currency_of(raw, settings),
        unit_price=decimal(raw["UnitPrice"]),
        billing_frequency=frequency,
        is_active=raw.get("IsActive") is not False,
    )


def _is_once(entry: Mapping[str, Any]) -> bool:
    return dig(entry, "ProductSellingModel.SellingModelType") == "OneTime"


def _sku(code: Any, product: Any) -> str:
    of_product = product or {}
    return str(code or of_product.get("ProductCode") or of_product.get("StockKeepingUnit") or "").strip()


def legal_entity_of(raw: Mapping[str, Any], field: str) -> str:
    """The seller, on the record itself or on its account; empty where nobody says."""
    return str(raw.get(field) or dig(raw, f"Account.{field}") or "") if field else ""


def currency_of(raw: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The record's ISO currency, or the org's only one."""
    return str(raw.get("CurrencyIsoCode") or settings.get("currency") or "").upper()


def _frequency(value: Any) -> contract.Frequency | None:
    return _FREQUENCIES.get(str(value or "").strip().lower())


def usual_frequency(
    settings: Mapping[str, Any], said: Any = None, or_else: contract.Frequency = "annual"
) -> contract.Frequency:
    """How often it's billed where a line doesn't say: as the quote says, else as the connection does."""
    return _frequency(said) or _frequency(settings.get("billing_frequency")) or or_else


def _address(raw: Mapping[str, Any], kind: str) -> party.Address:
    country = raw.get(f"{kind}CountryCode") or iso_country(str(raw.get(f"{kind}Country") or ""))
    street = str(raw.get(f"{kind}Street") or "").splitlines()
    return party.Address(
        line1=street[0].strip() if street else "",
        line2=", ".join(part.strip() for part in street[1:]),
        city=str(raw.get(f"{kind}City") or ""),
        state=str(raw.get(f"{kind}State") or ""),
        postal_code=str(raw.get(f"{kind}PostalCode") or ""),
        country=str(country or ""),
    )


def optional(value: Any) -> Decimal | None:
    """An amount, if there is one."""
    return None if value is None else _shortest(decimal(value))


def _optional_date(value: Any) -> dt.date | None:
    return date(value) if value else None


def _shortest(amount: Decimal) -> Decimal:
    """Without the zeros that JSON floats drag along, but never in exponent form."""
    short = amount.normalize()
    return short if short.as_tuple().exponent <= 0 else short.quantize(Decimal(1))  # type: ignore[operator]
