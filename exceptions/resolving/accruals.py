"""Accruing late documents: what they earned is shown in their own period, while they post in the next.

Only where receivables are closed and the ledger still takes entries. What is accrued is read from what would be sent,
as it's signed for: each document's lines that defer nothing, net of tax. One journal per document posts it
(`q2c/flows/accrual_to_erp.py`), and the ERP takes it back in the period in which the document posts.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from exceptions.resolving.agreeing import Agreed
from exceptions.resolving.booking import account_words
from exceptions.resolving.journals import is_taken_back
from mappings.days import rules_today
from mappings.resolve import Snapshot
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.posting import Accrual, ArCreditMemo, ArInvoice
from q2c.core import audit, ids
from q2c.core.models import AccountingPeriod
from q2c.core.money import ZERO, spoken_money
from q2c.flows import trial
from q2c.flows.accrual_to_erp import ACCRUAL_TO_ERP, ROLE
from q2c.flows.dispatch import Fact, dispatch_facts
from q2c.flows.steps.dates import POSTING_DATE
from q2c.flows.tasks import nudge
from q2c.posting.accruals import FLOWS, accrued_lines, name_accrual
from q2c.transactions.models import BusinessTransaction

_POLICY = ("detail", "revenue_owner")
_UNNAMED = "accrued revenue"  # an account that the ERP’s list doesn’t hold


@dataclass(frozen=True)
class Way:
    """Why nothing can be accrued, as a sentence; or, where it can, the account of accrued revenue by currency."""

    why_not: str = ""
    accounts: Mapping[str, str] = field(default_factory=dict)


def way_of(
    place: tuple[str, str, str, str], name: str, closed: AccountingPeriod | None, following: AccountingPeriod | None,
    documents: Sequence[BusinessTransaction],
) -> Way:  # fmt: skip
    """Whether late documents of a book and period can be accrued now, and to which accounts."""
    entity, erp, _, _ = place
    if why_not := _why_closed(place, name, closed, following, documents):
        return Way(why_not)
    assert closed is not None  # it would have been said
    scope = {"legal_entity": entity}
    rules = Snapshot.load([*(("posting_policy", name, scope) for name in _POLICY), ("account", ROLE, scope)])
    on = rules_today(entity)
    says = {name: rules.find("posting_policy", name, on=on, legal_entity=entity) for name in _POLICY}
    if (owner := says["revenue_owner"]) is not None and owner.value != "erp":
        return Way(f"The revenue of {entity} is owned by {owner.value}, which accrues it by itself.")
    if (detail := says["detail"]) is not None and detail.value == "summary":
        return Way(f"The documents of {entity} go to the ledger in summaries.")
    currencies = sorted({txn.currency for txn in documents if txn.flow in FLOWS})
    asked: dict[str, Any] = {"on": closed.end_date, "legal_entity": entity, "connection": erp}
    found = {code: rules.find("account", ROLE, **asked, currency=code) for code in currencies}
    if missing := [code for code, rule in found.items() if rule is None]:
        why_not = f"No account for accrued revenue in {', '.join(missing)} is mapped for {entity} (role {ROLE})."
        return Way(why_not)
    return Way("", {c: account_words(erp, rule.value) or _UNNAMED for c, rule in found.items() if rule is not None})


def _why_closed(
    place: tuple[str, str, str, str], name: str, closed: AccountingPeriod | None, following: AccountingPeriod | None,
    documents: Sequence[BusinessTransaction],
) -> str:  # fmt: skip
    entity, _, _, ledger = place
    if ledger == "ledger" or closed is None or not closed.is_ledger_open:
        return f"{name} of {entity} is closed for the whole ledger, so nothing can be accrued in it."
    if following is None:
        return f"No later period of {entity} is open in the ERP’s own list."
    if not following.is_ledger_open:
        return f"{following.name} of {entity} is closed for the ledger, so an accrual couldn’t be taken back in it."
    if not any(txn.flow in FLOWS for txn in documents):
        return "Only invoices and credit memos are accrued."
    return ""


def booked_words(accruals: Iterable[Accrual], debited: str) -> str:
    """What these accruals of one book and currency book together, by account: "debits GBP 250.00 to 1110 Unbilled, and
    credits GBP 250.00 to 4160 Postage"."""
    accruals = list(accruals)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in accruals:
        sums[debited] += row.amount
        for line in row.lines:
            sums[account_words(row.erp, line.account)] -= line.amount
    money = accruals[0].currency
    debits = [f"{spoken_money(amount, money)} to {name}" for name, amount in sums.items() if amount > 0]
    credits = [f"{spoken_money(-amount, money)} to {name}" for name, amount in sums.items() if amount < 0]
    return f"debits {_listed(debits)}, and credits {_listed(credits)}"


def _listed(parts: list[str]) -> str:
    return ", ".join(parts) or "nothing"


def accruals_of(
    chosen: Mapping[UUID, dict[str, Any]], periods: Mapping[UUID, AccountingPeriod], reason: str
) -> dict[UUID, Accrual]:
    """What would be accrued of each of these held documents, where they post as chosen; `periods` are their own. A
    document is left out of which nothing is."""
    found = {}
    tried = {row.transaction_id: row for row in trial.try_held(list(chosen), Snapshot.load([]), chosen=chosen)}
    rows = BusinessTransaction.objects.filter(pk__in=list(chosen), flow__in=FLOWS).defer("fact").order_by("pk")
    for txn in rows:
        posting = tried[txn.pk].prepared if txn.pk in tried and tried[txn.pk].outcome == trial.POSTS else None
        if not isinstance(posting, ArInvoice | ArCreditMemo):
            continue
        lists = (ports.reference(txn.target_connection, name) for name in ("items", "accounts"))
        lines = accrued_lines(posting, *lists)
        if lines:
            found[txn.pk] = Accrual(
                source=Source(
                    connection=txn.source_connection, object_type="accrual",
                    object_id=_named(txn, periods[txn.pk].code),
                ),
                document_type=txn.source_type, document_id=txn.source_id, number=txn.number or txn.source_id,
                legal_entity=txn.legal_entity_code, erp=txn.target_connection, currency=txn.currency,
                document_date=periods[txn.pk].end_date, lines=lines,
                reversed_on=dt.date.fromisoformat(chosen[txn.pk][POSTING_DATE]["posting_date"]),
                amount=sum((line.amount for line in lines), ZERO), reason=reason[:200],
            )  # fmt: skip
    return found


def standing_of(documents: Iterable[BusinessTransaction], period: str) -> list[str]:
    """The numbers of those documents of which an accrual in this period stands: posted, or on its way, and not taken
    back for good by a plan."""
    numbers = {(txn.source_connection, _named(txn, period)): txn.number for txn in documents if txn.flow in FLOWS}
    rows = BusinessTransaction.objects.filter(flow=ACCRUAL_TO_ERP.code, source_id__in=[name for _, name in numbers])
    made = [row for row in rows.exclude(state="cancelled") if not is_taken_back(row)]
    keys = {(row.source_connection, row.source_id) for row in made}
    return sorted({numbers[key] for key in keys if key in numbers})


def _named(txn: BusinessTransaction, period: str) -> str:
    return name_accrual(txn.source_type, txn.source_id, period)


def start_accruals(agreed: Agreed, documents: Iterable[UUID]) -> None:
    """Make the transaction that posts it of each of these documents that was signed for, in the transaction of the last
    signature."""
    signed = agreed.terms["accruals"]
    accruals: list[tuple[UUID, Accrual]] = [
        (i, schema.from_builtins(signed[str(i)], Accrual)) for i in documents if str(i) in signed
    ]
    if not accruals:
        return
    rows = BusinessTransaction.objects.defer("fact").in_bulk([i for i, _ in accruals])
    made = dispatch_facts([_fact(rows[i], accrual) for i, accrual in accruals]).ids
    audit.record_all(
        audit.Act(actor=agreed.proposer, verb="accrue", subject=("transaction", pk), why=agreed.why,
                  data={"case": agreed.case.pk, "document": str(i), "amount": str(accrual.amount),
                        "currency": accrual.currency})
        for pk, (i, accrual) in zip(made, accruals, strict=True)
    )  # fmt: skip
    nudge({ACCRUAL_TO_ERP.code})


def _fact(txn: BusinessTransaction, accrual: Accrual) -> Fact:
    source = accrual.source
    names = {"connection": source.connection, "object_type": source.object_type, "object_id": source.object_id}
    return Fact(
        flow=ACCRUAL_TO_ERP.code,
        business_key=ids.business_key(**names, content_hash=schema.content_hash(accrual)),
        lane=ids.lane(connection=source.connection, object_type=source.object_type, object_id=txn.source_id),
        document=accrual, source_connection=source.connection, source_type=source.object_type,
        source_id=source.object_id, number=f"{accrual.number}-AC", legal_entity_code=accrual.legal_entity,
        customer_id=txn.customer_id, customer_name=txn.customer_name, currency=accrual.currency,
        amount=accrual.amount, line_count=len(accrual.lines), document_date=accrual.document_date,
        correlation_id=txn.correlation_id,
    )  # fmt: skip
