"""Taking back an order whose chain stopped half way: its posted invoices first, each by its own plan; then what bills
on in billing, by one durable transaction (`q2c/flows/order_unwinding.py`); then the sale, by a person in the CRM.

Proposed and agreed on as an invoice's plan is: bound to what exists, void by name once that moved.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from django.urls import reverse

from connectors import links_out
from connectors.models import Connection
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import plan_signing, standing
from exceptions.resolving.going import going_of
from exceptions.resolving.standing import ABSENT, SILENT, UNASKED, Row, Standing
from exceptions.resolving.unwinding import (
    VOID,
    Plans,
    signed_effects,
    signed_rows,
    signed_steps,
)
from mappings.models import CrossReference
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.posting import ArInvoice
from q2c.canonical.unwinding import OrderUnwinding, Unwinding
from q2c.core import audit, ids
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AccountingPeriod, Person, Proposal
from q2c.core.money import ZERO, spoken_money
from q2c.core.templatetags.words import spoken_noun
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.order_unwinding import ENDED, ORDER_UNWINDING
from q2c.flows.tasks import nudge
from q2c.flows.unwinding_to_erp import UNWINDING_TO_ERP
from q2c.posting import plans
from q2c.posting.plans import Plan, Step
from q2c.transactions.models import BusinessTransaction, LineageLink
from q2c.transactions.selectors import steps_gave
from q2c.transactions.steps import decode_output

KIND = "order_unwinding"  # of the proposals
FLOW = "order_to_subscription"
BECAME = ("subscription", "schedule", "invoice")  # what an order becomes in billing


@dataclass(frozen=True)
class Became:
    """What an order became in billing, and the invoices of it that are posted."""

    row: Row
    is_ended: bool
    invoices: tuple[Step, ...]


def plans_of(user: Person, txn: BusinessTransaction, *, asks: bool, reason: str = "") -> Plans:
    """What exists of an order's journey and the two plans over it; with `asks` by a fresh look."""
    found = standing.look(user, txn, asks=asks)
    number = txn.number or txn.source_id
    forward = plans.plan_forward(number, going_of(user, found), items=None, is_posted=False)
    if found.is_partial:
        return Plans(found, forward, Plan(why_not=(
            f"More documents hang together with {number} than the {standing.ROWS_MAX} that a plan looks at, so nobody "
            "can say here what of it stands. Take each invoice back by its own plan, and end it in billing."
        )))  # fmt: skip
    became = _became(txn, found)
    if became is None:
        held = txn.state == BusinessTransaction.State.HELD
        why_not = f"Nothing of {number} exists in billing, so there’s nothing to end." + (
            " Its case waives it; mark the sale in the CRM." if held else ""
        )
        return Plans(found, forward, Plan(why_not=why_not))
    unwind = plans.plan_order_back(
        number, subscription=_end_step(found, became), invoices=became.invoices, is_ended=became.is_ended,
        sale=_sale_step(found),
    )  # fmt: skip
    if why_not := _why_not(txn, became):
        return Plans(found, forward, unwind, why_not_yet=why_not)
    return Plans(found, forward, unwind, order=_unwinding_of(txn, became, reason))


def _became(txn: BusinessTransaction, found: Standing) -> Became | None:
    key = f"{txn.source_connection}:{txn.source_type}:{txn.source_id}"
    reference = CrossReference.objects.filter(
        record_type="order", record_key=key, external_type__in=BECAME
    ).select_related("connection").first()  # fmt: skip
    if reference is None:
        return None
    row = found.row((reference.connection.code, reference.external_type, reference.external_id))
    if row is None or row.says == ABSENT:
        return None
    latest = latest_of(txn)
    is_ended = row.status in ENDED or (latest is not None and latest.state == "completed")
    return Became(row, is_ended, tuple(_invoice_steps(txn, found)))


def _invoice_steps(txn: BusinessTransaction, found: Standing) -> list[Step]:
    """The order's invoices that were posted, newest first: each is taken back by its own plan, by people."""
    sources = {row.key[2] for row in found.rows if row.key[1] == "invoice"}
    posted = BusinessTransaction.objects.filter(
        flow=standing.INVOICES, source_id__in=sources, state=BusinessTransaction.State.COMPLETED
    )
    back = {}
    rows = BusinessTransaction.objects.filter(flow=UNWINDING_TO_ERP.code, source_id__in=sources, state="completed")
    for made in rows.order_by("lane_sequence"):
        decided: Unwinding = schema.from_json(bytes(made.fact), Unwinding)
        back[made.source_connection, made.source_id] = not decided.reposts
    credited: dict[str, Decimal] = defaultdict(Decimal)
    told = LineageLink.objects.filter(source_id__in=sources, source_type="invoice", relation="credited by")
    for invoice, amount in told.values_list("source_id", "amount"):
        credited[invoice] -= amount or ZERO
    voided = {row.key[2] for row in found.rows if row.key[1] == "invoice" and row.status == VOID}
    invoices = list(posted.defer("fact").order_by("-id"))
    booked = _booked(invoices)
    books: dict[tuple[str, str], dict[str, AccountingPeriod]] = {}
    for own in invoices:
        book = (own.legal_entity_code, own.target_connection)
        books[book] = books.get(book) or standing.periods_of(own.legal_entity_code, own.target_connection)
    return [
        _invoice_step(
            own, booked.get(own.pk), books[own.legal_entity_code, own.target_connection],
            is_done=back.get((own.source_connection, own.source_id), False) or own.source_id in voided
            or (own.amount is not None and credited[own.source_id] >= own.amount > ZERO),
        )
        for own in invoices
    ]  # fmt: skip


def _booked(invoices: Sequence[BusinessTransaction]) -> dict[Any, ArInvoice]:
    """What stands in the ledger of each invoice: what it was posted with, or posted again with by its last plan. What
    isn't kept any more, or went to the ledger as something else, is left out."""
    named = {(own.source_connection, own.source_id): own.pk for own in invoices if own.target_type != "ar_credit_memo"}
    keys = [(standing.INVOICES, *source, "posting") for source in named]
    keys += [(UNWINDING_TO_ERP.code, *source, "reposting") for source in named]
    found: dict[Any, ArInvoice] = {}
    for (_, connection, source_id, _), output in sorted(steps_gave(keys).items()):  # a plan's comes last
        document: ArInvoice | None = decode_output(output, ArInvoice | None)
        if document is not None:
            found[named[connection, source_id]] = document
    return found


def _invoice_step(
    own: BusinessTransaction, booked: ArInvoice | None, periods: Mapping[str, AccountingPeriod], *, is_done: bool
) -> Step:  # fmt: skip
    """What taking one invoice back changes: the opposite of what it booked, in its own period or the next open one."""
    name = own.number or own.source_id
    if is_done or booked is None:
        effect = "" if is_done else " What it booked isn’t kept any more: its own plan says it."
        return Step(
            f"Take invoice {name} back", own.target_connection, "look", does=plans.PERSON, is_done=is_done,
            effect=f"By its own plan; a paid one by a credit note.{effect}",
            link=reverse("portal:plan_detail", args=[own.pk]), currency=own.currency,
        )  # fmt: skip
    period = periods.get(booked.period)
    later = (row for row in periods.values() if period and row.start_date > period.end_date and row.is_receivables_open)
    day = period if period is not None and period.is_receivables_open else next(later, None)
    money_of = partial(spoken_money, currency=own.currency)
    net, tax = money_of(booked.total - booked.tax_total), money_of(booked.tax_total)
    if day is None:
        when = f"nowhere: {period.name if period else 'its period'} is closed for receivables, and no later one is open"
    elif day == period:
        when = f"{day.name}, where it’s posted"
    else:
        when = f"{day.name}: {period.name if period else 'its period'}, where it’s posted, is closed for receivables"
    return Step(
        f"Take invoice {name} back", own.target_connection, "look", day.name if day else "",
        plans.turned(booked.journal),
        f"{money_of(booked.total)} ({net} net, {tax} tax), in {when}. By its own plan; a paid one by a credit note.",
        does=plans.PERSON, link=reverse("portal:plan_detail", args=[own.pk]), currency=own.currency,
    )  # fmt: skip


def _end_step(found: Standing, became: Became) -> Step:
    noun = spoken_noun(became.row.key[1]).lower()
    return Step(
        f"End {noun} {became.row.number or became.row.key[2]}", became.row.key[0], "cancel_subscription",
        effect="It bills nothing from today on; the CRM is told so. No entry in the ledger.",
        needs=("Every posted invoice of it is taken back",) if became.invoices else (),
    )  # fmt: skip


def _sale_step(found: Standing) -> Step:
    txn = found.txn
    connection = Connection.objects.filter(code=txn.source_connection).first()
    name = connection.name if connection else txn.source_connection
    return Step(
        f"Mark the sale in {name}", txn.source_connection, does=plans.PERSON,
        effect="Only sales can say what becomes of it: lost, or to be sold anew under another order.",
        link=links_out.record_url(connection, txn.source_type, txn.source_id),
    )  # fmt: skip


def _why_not(txn: BusinessTransaction, became: Became) -> str:
    if became.is_ended:
        return f"{spoken_noun(became.row.key[1])} {became.row.key[2]} is ended already."
    if waits := [step.title for step in became.invoices if not step.is_done]:
        return f"First: {'; '.join(waits)}."
    if _rows(txn).exclude(state__in=("completed", "cancelled")).exists():
        return f"A plan about {txn.number} is under way already."
    return ""


def _rows(txn: BusinessTransaction) -> Any:
    return BusinessTransaction.objects.filter(flow=ORDER_UNWINDING.code, lane=_lane(txn))


def _lane(txn: BusinessTransaction) -> str:
    return ids.lane(connection=txn.source_connection, object_type=KIND, object_id=txn.source_id)


def latest_of(txn: BusinessTransaction) -> BusinessTransaction | None:
    """The transaction that carries, or carried, the newest plan about this order."""
    found: BusinessTransaction | None = _rows(txn).defer("fact").order_by("-lane_sequence").first()
    return found


def _unwinding_of(txn: BusinessTransaction, became: Became, reason: str) -> OrderUnwinding:
    made = _rows(txn).count()
    system, kind, identifier = became.row.key
    return OrderUnwinding(
        source=Source(connection=txn.source_connection, object_type=KIND, object_id=f"{txn.source_id}-{made + 1}"),
        generation=made + 1, order_id=txn.source_id, order_number=txn.number or txn.source_id,
        customer_id=_customer_of(txn), customer_name=txn.customer_name, legal_entity=txn.legal_entity_code,
        billing=system, subscription_id=identifier, subscription_type=kind, status=became.row.note,
        on=ports.Calendar().local_now(txn.legal_entity_code).date(), currency=txn.currency, amount=txn.amount,
        reason=reason[:120],
    )  # fmt: skip


def _customer_of(txn: BusinessTransaction) -> str:
    """Billing's id of the customer, as the order's own step gave it; empty where none did (a look-up lists more)."""
    asked = (FLOW, txn.source_connection, txn.source_id, "customer_id")
    body = steps_gave([asked]).get(asked)
    return str(json.loads(body) or "") if body is not None else ""


def propose(txn: BusinessTransaction, *, by: Person, reason: str) -> Proposal:
    """Propose to end what the order became. Looks at every system first. Raises ResolutionRefused."""
    plan_signing.check_may_propose(txn, by=by, reason=reason)
    made = plans_of(by, txn, asks=True, reason=reason)
    if made.order is None:
        raise ResolutionRefused(made.why_not_yet or made.unwind.why_not)
    if silent := _silent(made):
        raise ResolutionRefused(silent)
    content = {
        "order_unwinding": schema.to_builtins(made.order), "stands": signed_rows(made),
        "steps": signed_steps(made, made.order.billing), "effects": signed_effects(made), "changes": [],
        "currency": made.order.currency,
    }  # fmt: skip
    title = f"Take order {made.order.order_number} back: end what it became in billing"
    return plan_signing.propose(KIND, txn, content=content, title=title, by=by, reason=reason)


def decide(proposal: Proposal, *, by: Person, approve: bool, why: str = "", seen_hash: str = "") -> str:
    """Sign a plan; the last signature starts it. What moved since it was proposed voids it by name. Raises
    ApprovalRefused."""
    return plan_signing.decide(
        proposal, by=by, approve=approve, why=why, seen_hash=seen_hash, what_moved=_what_moved, start=_start
    )


def _what_moved(proposal: Proposal) -> str:
    signed: OrderUnwinding = schema.from_builtins(proposal.content["order_unwinding"], OrderUnwinding)
    txn = BusinessTransaction.objects.get(pk=proposal.subject_id)
    made = plans_of(proposal.proposed_by, txn, asks=True, reason=proposal.why)
    if silent := _silent(made):
        raise ApprovalRefused("moved", silent)
    if made.order is None:
        return f"{signed.order_number} moved: {made.why_not_yet or made.unwind.why_not}"
    for name, what in (("subscription_id", "what it became"), ("status", "how that stands in billing")):
        if getattr(made.order, name) != getattr(signed, name):
            return f"{signed.order_number} moved: {what}."
    return ""


def _silent(made: Plans) -> str:
    """That billing couldn't say how it stands, as a sentence; empty where it could, and where nothing can be asked by
    this kind of id."""
    if made.order is None:
        return ""
    row = made.standing.row((made.order.billing, made.order.subscription_type, made.order.subscription_id))
    if row is None or row.says in (SILENT, ABSENT) or (row.says == UNASKED and row.key[1] == "subscription"):
        return f"Billing can’t say how {made.order.subscription_id} stands{f': {row.note}' if row else ''}."
    return ""


def _start(proposal: Proposal) -> None:
    """Make the transaction that carries it out, once, in the transaction of the last signature."""
    txn = BusinessTransaction.objects.select_for_update().get(pk=proposal.subject_id)
    unwinding: OrderUnwinding = schema.from_builtins(proposal.content["order_unwinding"], OrderUnwinding)
    if _rows(txn).exclude(state__in=("completed", "cancelled")).exists():
        raise ApprovalRefused("moved", f"A plan about {txn.number} is under way already.")
    names = {"connection": txn.source_connection, "object_type": KIND, "object_id": txn.source_id}
    fact = Fact(
        flow=ORDER_UNWINDING.code,
        business_key=ids.business_key(**names, content_hash=schema.content_hash(unwinding)),
        lane=_lane(txn), document=unwinding, source_connection=txn.source_connection, source_type=KIND,
        source_id=unwinding.source.object_id, number=f"{unwinding.order_number}-U{unwinding.generation}",
        legal_entity_code=txn.legal_entity_code, customer_id=txn.customer_id, customer_name=txn.customer_name,
        currency=txn.currency, amount=txn.amount, document_date=unwinding.on, correlation_id=txn.correlation_id,
    )  # fmt: skip
    (made_id,) = dispatch_facts([fact]).ids
    audit.record(
        proposal.proposed_by, "unwind_order", "transaction", made_id, why=proposal.why,
        data={"proposal": proposal.pk, "order": str(txn.pk), "ends": unwinding.subscription_id},
    )  # fmt: skip
    nudge({ORDER_UNWINDING.code})
