"""Salesforce's own orders (the object Order) in our words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from connectors.fields import date, decimal, dig
from connectors.salesforce import inbound
from connectors.salesforce.ids import full_id
from q2c.canonical import contract
from q2c.canonical.base import Source
from q2c.core.terms import months_of

_ONCE = "One-Time"


def signed_order(
    raw: Mapping[str, Any], *, connection: str, items: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]
) -> contract.Order:
    """An order with its products. `opportunity_id` names the sale that it's the order of, itself or through its CPQ
    quote.

    Raises ValueError (or KeyError) for one without what every order has, with a term that isn't of whole months, or
    made from a quote without saying of which opportunity: it might be sold already.
    """
    opportunity = raw.get("OpportunityId") or dig(raw, "SBQQ__Quote__r.SBQQ__Opportunity2__c")
    if raw.get("QuoteId") and not opportunity:
        raise ValueError(f"it was made from quote {raw['QuoteId']}, and names no opportunity")
    start = date(raw["EffectiveDate"])
    quoted = raw.get("SBQQ__Quote__r") or {}
    end, said = raw.get("EndDate") or quoted.get("SBQQ__EndDate__c"), quoted.get("SBQQ__SubscriptionTerm__c")
    term = inbound.term_of(start, end=end, said=said, settings=settings)
    usual = inbound.usual_frequency(settings, quoted.get("SBQQ__BillingFrequency__c"))
    quote = raw.get("SBQQ__Quote__c") or raw.get("QuoteId")
    return contract.Order(
        source=Source(connection=connection, object_type="Order", object_id=full_id(raw["Id"])),
        number=str(raw.get("OrderNumber") or full_id(raw["Id"])),
        customer_id=full_id(raw["AccountId"]) if raw.get("AccountId") else "",
        currency=inbound.currency_of(raw, settings),
        start_date=start,
        term_months=term,
        lines=tuple(order_item(item, term_months=term, usual=usual) for item in items),
        legal_entity=inbound.legal_entity_of(raw, str(settings.get("legal_entity_field") or "")),
        billing_frequency=usual,
        amount=inbound.optional(raw.get("TotalAmount")),
        quote_id=full_id(str(quote)) if quote else "",
        payment_terms=str(quoted.get("SBQQ__PaymentTerms__c") or ""),
        po_number=str(raw.get("PoNumber") or ""),
        opportunity_id=full_id(str(opportunity)) if opportunity else "",
    )


def order_item(raw: Mapping[str, Any], *, term_months: int, usual: contract.Frequency) -> contract.OrderLine:
    """A product of an order. Its unit price is per billing period, as on an opportunity; one that CPQ made says what
    its whole term costs, as the quote line behind it."""
    line = inbound.order_line(raw, usual=usual)
    line = msgspec.structs.replace(line, service_end=date(raw["EndDate"]) if raw.get("EndDate") else None)
    charged, billed = raw.get("SBQQ__ChargeType__c"), raw.get("SBQQ__BillingFrequency__c")
    if not (charged or billed):
        return line
    is_once = charged == _ONCE or billed == _ONCE
    frequency: contract.Frequency = "one_time" if is_once else inbound.usual_frequency({}, billed, usual)
    term = term_months
    if line.service_start and line.service_end:
        term = months_of(line.service_start, line.service_end)
    has_total = raw.get("TotalPrice") is not None and line.quantity
    per_unit = decimal(raw["TotalPrice"]) / line.quantity if has_total else line.unit_price
    price = inbound.price_of_period(per_unit, frequency=frequency, term_months=term)
    return msgspec.structs.replace(line, unit_price=price, billing_frequency=frequency)
