"""What a completed transaction leaves for other ERPs: the other records of a changed customer, the rest of a payout.

Each is a fact of its own with its own transaction; while books are kept in one ERP there's never any.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from mappings.models import CrossReference
from q2c import ports
from q2c.canonical.base import Source
from q2c.canonical.party import CustomerUse, CustomerWanted
from q2c.canonical.schema import content_hash
from q2c.core import ids
from q2c.flows.customer_to_erp import CUSTOMER_TO_ERP
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.payout_to_erp import PAYOUT_TO_ERP
from q2c.flows.steps.payouts import part_of
from q2c.flows.told import record_key
from q2c.transactions.batch import Run
from q2c.transactions.models import BusinessTransaction


def fact_of_need(needed: Any, *, customer_name: str, correlation_id: str) -> Fact:
    """The fact whose own flow brings what a waiting document needs."""
    if isinstance(needed, CustomerUse):
        return _customer_use(needed, customer_name=customer_name, correlation_id=correlation_id)
    return _customer(needed, correlation_id=correlation_id)


def dispatch_elsewhere(runs: list[Run]) -> None:
    """Hand on what these completed runs leave for other ERPs. In the caller's commit."""
    if len({erp for _, erp in ports.books()}) < 2:
        return
    customers = [r for r in runs if r.flow is CUSTOMER_TO_ERP and not r.facts["document"].erp]
    facts = [*(_customers(customers) if customers else ()), *_rests(r for r in runs if r.flow is PAYOUT_TO_ERP)]
    dispatch_facts(facts)


def _customers(runs: list[Run]) -> Iterator[Fact]:
    """The customer again for each further ERP in which it stands, as one of its entities there."""
    by_key = {record_key(run.facts["document"].source): run for run in runs}
    rows = CrossReference.objects.filter(record_type="customer", record_key__in=by_key).order_by("pk")
    for key, erp, entity in rows.values_list("record_key", "connection__code", "legal_entity_code"):
        run = by_key[key]
        document: CustomerWanted = run.facts["document"]
        entity = entity or run.legal_entity_code
        if erp != run.facts["book"].connection and (entity, erp) in ports.books():
            wanted = msgspec.structs.replace(document, erp=erp, legal_entity=entity)
            # The change's own key beside the content: a customer may return to an earlier one.
            yield _customer(wanted, change=run.business_key, correlation_id=run.correlation_id)


def _rests(runs: Iterable[Run]) -> Iterator[Fact]:
    """What of a payout stands in other ERPs; the transaction that brought it here keeps its own part's amount, so that
    the parts sum to the payout."""
    for run in runs:
        payout, taken = run.facts["payout"], run.facts["document"]
        here = {movement.source.object_id for movement in taken.movements}
        rest = tuple(movement for movement in payout.movements if movement.source.object_id not in here)
        if rest:
            own = BusinessTransaction.objects.filter(pk=run.id)
            own.update(amount=taken.amount, line_count=len(taken.movements))
            part = part_of(payout, rest)
            yield _fact(
                "payout_to_erp", part, part.source, correlation_id=run.correlation_id,
                legal_entity_code=run.legal_entity_code, currency=part.currency, amount=part.amount,
                line_count=len(rest), document_date=part.document_date,
            )  # fmt: skip


def _customer_use(use: CustomerUse, **around: Any) -> Fact:
    return _fact(
        "customer_use_to_erp", use, use.source, legal_entity_code=use.legal_entity, customer_id=use.source.object_id,
        currency=use.currency, priority=4, **around,
    )  # fmt: skip


def _customer(customer: CustomerWanted, *, change: str = "", **around: Any) -> Fact:
    return _fact(
        "customer_to_erp", customer, customer.source, change=change, number=customer.number,
        legal_entity_code=customer.legal_entity, customer_id=customer.source.object_id, customer_name=customer.name,
        currency=customer.currency if len(customer.currency) == 3 else "", priority=4, **around,
    )  # fmt: skip


def _fact(flow: str, document: Any, source: Source, *, change: str = "", **columns: Any) -> Fact:
    names = {"connection": source.connection, "object_type": source.object_type, "object_id": source.object_id}
    content = content_hash(document)
    return Fact(
        flow=flow,
        business_key=ids.business_key(**names, content_hash=ids.digest(content, change) if change else content),
        lane=ids.lane(**names),
        document=document,
        source_connection=source.connection,
        source_type=source.object_type,
        source_id=source.object_id,
        **columns,
    )
