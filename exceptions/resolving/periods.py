"""A document that came after its period was closed: post it in the next open one, with what it earned accrued in its
own period or without, or ask for a reopening.

Which of them an entity allows is posting policy (`late_documents`), and the clause is stored with the decision. The
portal opens no period itself: an agreed reopening waits until the ERP's own list says that it's open, and then the
documents that were signed for post by themselves, on their own dates.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import UUID

from django.utils import timezone

from exceptions import cases
from exceptions.kind_words import ACCRUE, CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.models import ExceptionCase, Snooze
from exceptions.resolutions import WORK, ResolutionRefused, check_case, repost_documents
from exceptions.resolving import accruals, agreeing
from exceptions.resolving.agreeing import Agreed, Wished, note_choices, wish
from exceptions.resolving.held import NEVER_WAIVED, held_documents
from mappings.days import rules_today
from mappings.resolve import Snapshot
from q2c.canonical import schema
from q2c.canonical.posting import Accrual
from q2c.core.history import save_with_reason
from q2c.core.models import AccountingPeriod, Person, Proposal
from q2c.core.money import ZERO, spoken_money
from q2c.flows import catalog
from q2c.flows.accrual_to_erp import ACCRUAL_TO_ERP
from q2c.flows.steps.dates import POSTING_DATE, check_ledger_period
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.restart import Restarted
from q2c.transactions.resuming import standing_writes
from q2c.transactions.steps import Flow, Read, Step, Write, parameters

NEXT, REOPEN, ACCRUED, EITHER = "next period", "reopen", "accrue", "either"
POLICY = "late_documents"
NOTHING_ACCRUED = "their lines defer revenue, or they wouldn’t post as they are."
NOT_ACCRUED = "Tax isn’t accrued, nor are lines that defer revenue: the ERP’s own plan makes theirs."
Place = tuple[str, str, str, str]  # legal entity, ERP, code of the closed period, ledger


@dataclass(frozen=True)
class Option:
    """One way for late documents, with its consequences in plain words, or why it isn't open to anybody now."""

    code: str  # the resolution
    title: str
    happens: list[str]
    why_not: str = ""
    accounts: Mapping[Place, Mapping[str, str]] = field(default_factory=dict)  # of accrued revenue, by currency


@dataclass(frozen=True)
class Late:
    """Late documents of one book and period, and the next period of it that is open."""

    place: Place
    name: str  # the closed period, as the ERP calls it
    documents: list[BusinessTransaction]
    next_period: AccountingPeriod | None
    closed: AccountingPeriod | None  # its row, where the ERP's list has it
    begun: frozenset[UUID] = frozenset()  # of which the ERP has something already, and not what was refused


def late_documents(case: ExceptionCase, by: Person, transaction_ids: Iterable[UUID] | None = None) -> list[Late]:
    """The case's held documents that this person may act on by book and period, with where they could go. Four
    statements, whatever their number."""
    rows = held_documents(case, by, WORK)
    if transaction_ids is not None:
        rows = rows.filter(transaction_id__in=list(transaction_ids))
    problems = rows.values_list("transaction_id", "problem")
    subjects: dict[UUID, Mapping[str, Any]] = {i: p.get("subject", {}) for i, p in problems if i is not None}
    held = BusinessTransaction.objects.filter(pk__in=subjects, state="held").defer("fact").order_by("pk")
    grouped: dict[Place, list[BusinessTransaction]] = defaultdict(list)
    for txn in held:
        subject = subjects[txn.pk]  # an accrual's may name the period in which it's taken back
        period, ledger = str(subject.get("period") or txn.period_code), subject.get("ledger") or _ledger_of(txn.flow)
        grouped[txn.legal_entity_code, txn.target_connection, period, ledger].append(txn)
    periods: dict[tuple[str, str], list[AccountingPeriod]] = defaultdict(list)
    known = AccountingPeriod.objects.filter(subsidiary__legal_entity__code__in={place[0] for place in grouped})
    for row in known.select_related("subsidiary__legal_entity", "subsidiary__connection").order_by("start_date"):
        periods[row.subsidiary.legal_entity.code, row.subsidiary.connection.code].append(row)
    found, begun = [], _begun(held)
    for place, documents in sorted(grouped.items()):
        own = periods[place[0], place[1]]
        closed = next((p for p in own if p.code == place[2]), None)
        later = (p for p in own if p.code > place[2] and _is_open(p, place[3]))
        found.append(Late(place, closed.name if closed else place[2], documents, next(later, None), closed, begun))
    return found


def _begun(held: Iterable[BusinessTransaction]) -> frozenset[UUID]:
    """Those of which a write before the one that's held stands, with all that was read for it. One that had nothing to
    write doesn't count. A statement only where a flow has such writes."""
    before = {txn.pk: {step.name for step in _steps_before(txn) if isinstance(step, Write)} for txn in held}
    flows = {txn.pk: catalog.BY_CODE[txn.flow] for txn in held if before[txn.pk]}
    return frozenset(pk for pk, stands in standing_writes(flows).items() if stands & before[pk])


def _steps_before(txn: BusinessTransaction) -> tuple[Step, ...]:
    steps = catalog.BY_CODE[txn.flow].steps if txn.flow in catalog.BY_CODE else ()
    return steps[: next((n for n, step in enumerate(steps) if step.name == txn.held_step), 0)]


def _ledger_of(flow: str) -> str:
    """Which of the ledgers the flow's documents need open, where the ERP refused one without saying that."""
    steps = catalog.BY_CODE[flow].steps if flow in catalog.BY_CODE else ()
    return "ledger" if any(isinstance(s, Read) and s.run is check_ledger_period for s in steps) else "receivables"


def _why_no_other_date(txn: BusinessTransaction, row: Late) -> str:
    """Why another posting date makes no way for this document; empty where a repost would read one that people choose,
    and what was refused is dated by it: not the settlement of documents that stand already, nor what comes after
    something was written."""
    flow = catalog.BY_CODE.get(txn.flow)
    if txn.pk in row.begun:
        return (
            "Part of it is in the ERP already, and the rest goes by what was read for that: another posting date makes "
            "no way for it."
        )
    where = f"in {row.name}" if row.name else "in a closed period"
    reads = [] if flow is None else [s for s in flow.steps if isinstance(s, Read) and s.gives == POSTING_DATE]
    if flow is None or not reads or not _is_dated(flow, flow.steps[len(_steps_before(txn))]):
        return f"What the ERP refused changes what stands {where} already: another posting date makes no way for it."
    if not any("txn" in parameters(step.run) for step in reads):
        return "Its posting date is that of what it’s about, so nobody chooses another one."
    return ""


def _is_dated(flow: Flow, step: Step) -> bool:
    """Whether a step writes what has a posting date; one that reads comes before that."""
    if not isinstance(step, Write):
        return True
    given = next(each.output_type for each in flow.steps if each.gives == step.prepared)
    return any(POSTING_DATE in getattr(kind, "__struct_fields__", ()) for kind in (given, *get_args(given)))


def options_of(late: Sequence[Late]) -> list[Option]:
    """The ways that there are, each with what it would do, in the order in which they're offered."""
    clauses = [clause_of(row.place[0]) for row in late]
    accrue = _accrue_option(late, clauses)
    return [_next_option(late, clauses, is_accrued=not accrue.why_not), accrue, _reopen_option(late, clauses)]


def clause_of(entity: str) -> dict[str, Any]:
    """What the entity's posting policy says about late documents today: its words, and the rule that says so."""
    rules = Snapshot.load([("posting_policy", POLICY, {})])
    rule = rules.find("posting_policy", POLICY, on=rules_today(entity), legal_entity=entity)
    if rule is None:
        return {"entity": entity, "field": POLICY, "says": EITHER, "rule": None, "version": None}
    return {"entity": entity, "field": POLICY, "says": rule.value, "rule": rule.rule_id, "version": rule.version}


def choose_period(
    case: ExceptionCase, *, by: Person, reason: str, option: str, transaction_ids: Iterable[UUID] | None = None
) -> tuple[Proposal | None, list[Restarted]]:
    """Wish that late documents post in the next open period, accrued or not, or that theirs be reopened. Raises
    ResolutionRefused for another kind of case, and where policy or the ERP's calendar doesn't allow it."""
    check_case(case, reason, CHOOSE_PERIOD)
    late = late_documents(case, by, transaction_ids)
    if not late:
        raise ResolutionRefused("No document of it is held any more.")
    found = next((row for row in options_of(late) if row.code == option), None)
    if found is None:
        raise ResolutionRefused("Choose one of the ways that are offered.")
    if found.why_not:
        raise ResolutionRefused(found.why_not)
    terms: dict[str, Any] = {"clauses": [clause_of(row.place[0]) for row in late]}
    terms["places"] = [list(row.place) for row in late]
    happens, chosen = found.happens, _choices(late) if option != REOPEN_PERIOD else None
    if option == ACCRUE and chosen is not None:
        agreeing.check_count([txn.pk for row in late for txn in row.documents])
        own = {txn.pk: row.closed for row in late for txn in row.documents if row.closed is not None}
        accrued = accruals.accruals_of(chosen, own, reason)
        if not accrued:
            raise ResolutionRefused("Nothing of them is accrued: " + NOTHING_ACCRUED)
        terms["accruals"] = {str(i): schema.to_builtins(accrual) for i, accrual in accrued.items()}
        happens = [*_accrued_words(late, accrued, found.accounts), *happens]
    wished = Wished(
        resolution=option, case=case, by=by, reason=reason, title=f"{found.title}: {_what(late)}", happens=happens,
        documents=[txn.pk for row in late for txn in row.documents], terms=terms, chosen=chosen,
    )  # fmt: skip
    return wish(wished, _APPLIES[option])


def apply_period(agreed: Agreed) -> list[Restarted]:
    """Note the new posting date of each document, and repost them: their steps find it."""
    note_choices(agreed, POSTING_DATE)
    return repost_documents(
        agreed.documents, by=agreed.by, reason=f"posts in another period: {agreed.why}", permission=None
    )


def apply_accrual(agreed: Agreed) -> list[Restarted]:
    """As `apply_period`, and the accrual of each document that went on."""
    results = apply_period(agreed)
    accruals.start_accruals(agreed, [row.transaction_id for row in results if row.is_restarted])
    return results


def apply_reopening(agreed: Agreed) -> list[Restarted]:
    """The case waits for the period to open; the ERP's people open it there."""
    Snooze.objects.filter(case=agreed.case, woken_at__isnull=True).update(
        woken_at=timezone.now(), woken_by="a reopening was agreed"
    )
    Snooze.objects.create(
        case=agreed.case, until=Snooze.Until.PERIOD, wakes={"places": agreed.terms["places"]}, why=agreed.why,
        proposal=agreed.proposal, by=agreed.proposer, at=timezone.now(),
    )  # fmt: skip
    locked = cases.lock_case(agreed.case.pk)
    assert locked is not None  # a case is never deleted
    locked.snoozed_at = timezone.now()
    save_with_reason(locked, why="it waits for a reopening", by=agreed.by)
    cases.note(agreed.case, verb="snoozed", text=f"until it’s open in the ERP: {agreed.why}", by=agreed.by)
    return []


_APPLIES = {CHOOSE_PERIOD: apply_period, ACCRUE: apply_accrual, REOPEN_PERIOD: apply_reopening}


class UnknownPeriod(LookupError):
    """The ERP's list has no such period, so it says neither that it's open nor that it's closed."""


def are_open(places: Iterable[Sequence[str]]) -> bool:
    """Whether each of these books takes documents in its period again, as the ERP's own lists say. Raises
    UnknownPeriod."""
    for entity, erp, code, ledger in places:
        rows = AccountingPeriod.objects.filter(
            subsidiary__legal_entity__code=entity, subsidiary__connection__code=erp, code=code
        )
        known = [_is_open(row, ledger) for row in rows]
        if not known:
            raise UnknownPeriod(f"the ERP’s list has no period {code or 'of that name'} of {entity}")
        if not any(known):
            return False
    return True


def _is_open(period: AccountingPeriod, ledger: str) -> bool:
    return period.is_ledger_open if ledger == "ledger" else period.is_receivables_open


def _next_option(late: Sequence[Late], clauses: list[dict[str, Any]], *, is_accrued: bool) -> Option:
    title = "Post in the next open period"
    for row, clause in zip(late, clauses, strict=True):
        if why_not := _why_undated(row):
            return Option(CHOOSE_PERIOD, title, [], why_not)
        if clause["says"] == ACCRUED and is_accrued:
            return Option(CHOOSE_PERIOD, title, [], f"The policy of {row.place[0]} has late documents accrued.")
        if clause["says"] == REOPEN:
            return Option(
                CHOOSE_PERIOD, title, [], f"The policy of {row.place[0]} has late documents wait for a reopening."
            )
        if row.next_period is None:
            return Option(CHOOSE_PERIOD, title, [], f"No later period of {row.place[0]} is open in the ERP’s own list.")
    return Option(CHOOSE_PERIOD, title, _posts_next(late))


def _why_undated(row: Late) -> str:
    """Why these documents can't have another posting date, and what is left; empty where they can."""
    if any(txn.flow == ACCRUAL_TO_ERP.code for txn in row.documents):
        return "An accrual belongs to its own period: have it reopened, or waive it."
    why_not = next(filter(None, (_why_no_other_date(txn, row) for txn in row.documents)), "")
    waived = "" if any(txn.flow in NEVER_WAIVED for txn in row.documents) else ", or waive it"
    return f"{why_not} Have that period reopened{waived}." if why_not else ""


def _posts_next(late: Sequence[Late]) -> list[str]:
    happens = []
    for row in late:
        assert row.next_period is not None  # its option was open
        happens.append(
            f"{_count(row.documents)} of {row.place[0]} in {row.name} {_one(row.documents, 'posts', 'post')} on "
            f"{_day(row.next_period.start_date)}, in {row.next_period.name}."
        )
    return [
        *happens,
        "Invoices and credit memos keep their own date; each document’s memo names its date and the closed period.",
        "Rate, accounts and dimensions are those of the new posting date; tax and due date stay the document’s.",
    ]


def _accrue_option(late: Sequence[Late], clauses: list[dict[str, Any]]) -> Option:
    title, to = "Accrue, and post in the next open period", {}
    for row, clause in zip(late, clauses, strict=True):
        if clause["says"] not in (ACCRUED, EITHER):
            how = "wait for a reopening" if clause["says"] == REOPEN else "post in the next open period as they are"
            return Option(ACCRUE, title, [], f"The policy of {row.place[0]} has late documents {how}.")
        if why_not := _why_undated(row):
            return Option(ACCRUE, title, [], why_not)
        way = accruals.way_of(row.place, row.name, row.closed, row.next_period, row.documents)
        if way.why_not:
            return Option(ACCRUE, title, [], way.why_not)
        to[row.place] = way.accounts
    happens = []
    for row in late:
        assert row.next_period is not None  # nothing else can be accrued
        assert row.closed is not None
        happens.append(
            f"What they earned, net of tax, is shown in {row.name} by a journal of {_day(row.closed.end_date)} "
            f"({', '.join(sorted(set(to[row.place].values())))} against their own accounts), which the ERP takes back "
            f"on {_day(row.next_period.start_date)}."
        )
    return Option(ACCRUE, title, [*happens, NOT_ACCRUED, *_posts_next(late)], accounts=to)


def _accrued_words(
    late: Sequence[Late], accrued: Mapping[UUID, Accrual], accounts: Mapping[Place, Mapping[str, str]]
) -> list[str]:
    """What is accrued, of each book and currency: how much, and to which accounts."""
    said = []
    for row in late:
        by_currency: dict[str, list[Accrual]] = defaultdict(list)
        for txn in row.documents:
            if txn.pk in accrued:
                by_currency[accrued[txn.pk].currency].append(accrued[txn.pk])
        for currency, own in sorted(by_currency.items()):
            total = sum((each.amount for each in own), ZERO)
            booked = accruals.booked_words(own, accounts[row.place][currency])
            said.append(
                f"{spoken_money(total, currency)}, net of tax, is accrued in {row.name} of {row.place[0]}, for "
                f"{len(own):,} of {_count(row.documents)}: it {booked}."
            )
    return said


def _reopen_option(late: Sequence[Late], clauses: list[dict[str, Any]]) -> Option:
    title = "Ask for the period to be reopened"
    for row, clause in zip(late, clauses, strict=True):
        if clause["says"] in (NEXT, ACCRUED) and not _why_undated(row):
            how = "accrued" if clause["says"] == ACCRUED else "post in the next open period"
            return Option(REOPEN_PERIOD, title, [], f"The policy of {row.place[0]} has late documents {how}.")
        if row.closed is None:
            which = f"{row.name} of {row.place[0]}" if row.name else f"of {row.place[0]} that was refused"
            why_not = f"The ERP’s list has no period {which}: nobody would see it open."
            return Option(REOPEN_PERIOD, title, [], why_not)
        if accrued := accruals.standing_of(row.documents, row.place[2]):
            who = f"{accrued[0]} and {len(accrued) - 1:,} more are" if len(accrued) > 1 else f"{accrued[0]} is"
            why_not = f"{who} accrued in {row.name} already: posted there too, it would count twice."
            return Option(REOPEN_PERIOD, title, [], why_not)
    happens = [
        f"The people of the ERP are asked to open {row.name} in {row.place[0]}; {_count(row.documents)} "
        f"{_one(row.documents, 'waits', 'wait')} for it."
        for row in late
    ]
    happens += [
        "Nothing posts before the ERP’s own list says that it’s open. The portal can’t open a period.",
        "Then what was signed for posts by itself, on its own date and in its own period.",
    ]
    return Option(REOPEN_PERIOD, title, happens)


def _choices(late: Sequence[Late]) -> dict[UUID, dict[str, Any]]:
    found = {}
    for row in late:
        assert row.next_period is not None  # its option was open
        for txn in row.documents:
            own = f"dated {txn.document_date.isoformat()}, " if txn.document_date else ""
            found[txn.pk] = {
                POSTING_DATE: {
                    "posting_date": row.next_period.start_date.isoformat(),
                    "period": row.next_period.code,
                    "memo": f"{own}posted late: {row.name} was closed",
                }
            }
    return found


def _what(late: Sequence[Late]) -> str:
    return ", ".join(f"{_count(row.documents)} of {row.place[0]} in {row.name}" for row in late)


def _count(documents: Sequence[object]) -> str:
    return f"{len(documents):,} {_one(documents, 'document', 'documents')}"


def _one(documents: Sequence[object], one: str, many: str) -> str:
    return one if len(documents) == 1 else many


def _day(date: dt.date) -> str:
    return f"{date.day} {date:%B %Y}"
