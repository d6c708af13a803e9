"""What a change set would do, found out on real data before anybody signs: what it releases, and what it would alter.

Held documents are tried and posted ones derived again under the draft's rules, in memory; nothing is sent, and no
posting changes. Small sets at once, large ones in a task with its progress. What is signed is a copy of `content`.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Min, Q
from django.db.transaction import atomic
from django.utils import timezone

from exceptions.concerned import DOCUMENTS_MAX, Concerned, count_uses, facts_of, find_concerned
from exceptions.kinds import kind_of
from mappings.days import rules_today
from mappings.models import ChangeSet, Evidence, EvidenceDocument
from mappings.planning import mark_of, overlay_of, rules_touched
from mappings.resolve import Snapshot, latest_change_set
from q2c.core import approvals, jcs
from q2c.core.models import AccountingPeriod
from q2c.flows import backtest, trial
from q2c.flows.backtest import BackTest
from q2c.flows.trial import Tried
from q2c.transactions.restart import Restarted

SMALL = 300  # documents: so many are looked at while the person waits
LINES_SMALL = 1000  # rows
OVERDUE = dt.timedelta(minutes=1)
PERIODS, PERIODS_MAX = 3, 24  # that a back-test posts again in memory, unless somebody chooses
HELD, POSTED, TESTED = "held", "posted", "tested"


def ask(
    change_set: ChangeSet, *, proposes: bool = False, periods: int | None = None, run_later: Callable[[int], object]
) -> Evidence:
    """Have the evidence computed: at once if few documents are concerned, else by `run_later`, which is given the
    change set's number and calls `gather` in a task. `periods`: how many the back-test goes back; None as last time."""
    periods = periods or Evidence.objects.filter(pk=change_set.pk).values_list("periods", flat=True).first() or PERIODS
    is_small = change_set.lines.count() <= LINES_SMALL and count_uses(rules_touched(change_set)) <= SMALL
    concerned = find_concerned(change_set, periods) if is_small else None
    is_later = concerned is None or concerned.total > SMALL
    evidence, _ = Evidence.objects.update_or_create(
        change_set=change_set,
        defaults={
            "state": Evidence.State.COMPUTING, "asked_at": timezone.now(), "done": 0, "periods": periods,
            "proposes": proposes and is_later,  # else whoever asked proposes it, and hears what is refused
            "total": concerned.total if concerned else 0,
        },
    )  # fmt: skip
    if concerned is None or is_later:
        run_later(change_set.pk)
        return evidence
    return _gather(evidence, change_set, concerned)


def gather(evidence: Evidence, *, told: Callable[[], object]) -> Evidence:
    """Compute the evidence that was asked for; telling how far it is, and `told` that it goes on."""
    change_set = evidence.change_set
    return _gather(evidence, change_set, find_concerned(change_set, evidence.periods), told=told)


def unfinished() -> list[int]:
    """The drafts whose evidence was asked for a while ago and isn't there, or is there and wasn't proposed as wished:
    the nudge was lost, or its worker died."""
    rows = Evidence.objects.filter(
        Q(state=Evidence.State.COMPUTING) | Q(state=Evidence.State.READY, proposes=True),
        change_set__state=ChangeSet.State.DRAFT, asked_at__lt=timezone.now() - OVERDUE,
    )  # fmt: skip
    return list(rows.order_by("asked_at").values_list("pk", flat=True))


def unreleased() -> list[int]:
    """Change sets in force for a while whose held documents nobody continued: the process died after the signature."""
    rows = ChangeSet.objects.filter(
        state=ChangeSet.State.APPROVED, approved_at__lt=timezone.now() - OVERDUE, evidence__documents__part=HELD,
        evidence__documents__became="",
    )  # fmt: skip
    return list(rows.order_by("pk").distinct().values_list("pk", flat=True))


def is_fresh(evidence: Evidence | None, change_set: ChangeSet) -> bool:
    """Whether it still says what the change set would do: computed for these rows, within 24 hours, and no rule has
    come into force since."""
    return (
        evidence is not None
        and evidence.state == Evidence.State.READY
        and evidence.as_of is not None
        and timezone.now() - evidence.as_of <= approvals.EVIDENCE_KEPT
        and evidence.knowledge == latest_change_set()
        and evidence.rows_hash == mark_of(change_set)
    )


def note_results(change_set: ChangeSet, results: Iterable[Restarted]) -> None:
    """Write beside each held document what became of it when the change set came into force."""
    became = {result.transaction_id: result for result in results}
    rows = list(EvidenceDocument.objects.filter(evidence=change_set.pk, part=HELD, transaction_id__in=list(became)))
    for row in rows:
        result = became[row.transaction_id]
        row.became, row.became_says = ("released" if result.is_restarted else "dropped"), result.why_not[:300]
    EvidenceDocument.objects.bulk_update(rows, ["became", "became_says"], batch_size=1000)
    EvidenceDocument.objects.filter(evidence=change_set.pk, part=HELD, became="").update(
        became="dropped", became_says="it moved before it was proposed"
    )


def closed_words(content: Mapping[str, Any]) -> str:
    """Why it can't come into force: what it would alter in closed periods, and the first date allowed; else empty."""
    if not content.get("is_complete", True):
        return (
            f"It would concern more than {DOCUMENTS_MAX:,} documents that are posted already; let it begin in a period"
            " that has no such document yet."
        )
    closed = content.get("closed", [])
    if not closed:
        return ""
    parts = [
        f"{c['count']:,} {'document' if c['count'] == 1 else 'documents'} of {c['name']}, closed in {c['legal_entity']}"
        for c in closed
    ]
    first = max(c["first_date"] for c in closed)
    return f"It would alter {'; '.join(parts)}. The first date allowed is {first}."


def closed_since(content: Mapping[str, Any]) -> str:
    """As `closed_words`, by the periods as they stand now: one may have been closed after the proposal."""
    altered = {(entity, period): count for entity, period, count in content.get("altered", [])}
    return closed_words({**content, "closed": jcs.as_plain(_closed(altered))}) if altered else ""


def _gather(
    evidence: Evidence, change_set: ChangeSet, concerned: Concerned, *, told: Callable[[], object] = lambda: None
) -> Evidence:
    as_of, number = timezone.now(), latest_change_set()
    before, after = Snapshot.load([], number), Snapshot.load([], number, overlay=overlay_of(change_set))

    def tell(count: int) -> None:
        told()
        if concerned.total > SMALL:
            Evidence.objects.filter(pk=evidence.pk).update(done=count, total=concerned.total)

    tried = trial.try_held(concerned.held, after, told=tell)
    reached = backtest.derive_again(
        concerned.posted, before=before, after=after, told=lambda count: tell(len(tried) + count)
    )
    documents = [*_documents_held(evidence, tried), *_documents_posted(evidence, reached, POSTED)]
    tested = None
    if concerned.tested:
        early = Snapshot.load([], number, overlay=overlay_of(change_set, since=concerned.tested_since))
        so_far = len(tried) + len(concerned.posted)
        tested = backtest.derive_again(
            concerned.tested, before=before, after=early, told=lambda count: tell(so_far + count)
        )
        documents += _documents_posted(evidence, tested, TESTED)
    with atomic():
        evidence.documents.all().delete()
        EvidenceDocument.objects.bulk_create(documents, batch_size=2000)
        groups = {found.transaction_id: _group(found) for found in tried}
        content = _content(concerned, documents, groups, reached, since=min_date(change_set))
        evidence.content = jcs.as_plain(content | _back_test(concerned, documents, tested or reached, evidence.periods))
        evidence.state, evidence.as_of, evidence.knowledge = Evidence.State.READY, as_of, number
        evidence.rows_hash, evidence.done, evidence.total = mark_of(change_set), concerned.total, concerned.total
        evidence.save()
    return evidence


def min_date(change_set: ChangeSet) -> dt.date:
    """The first day on which one of its rows takes effect."""
    first: dt.date | None = change_set.lines.aggregate(first=Min("effective_from"))["first"]
    return first or rules_today()


def _content(
    concerned: Concerned, documents: list[EvidenceDocument], groups: Mapping[UUID, str], reached: BackTest, *,
    since: dt.date,
) -> dict[str, Any]:  # fmt: skip
    """What it releases, and what its dates reach: what would really have come out differently."""
    released: dict[tuple[str, ...], list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    altered: dict[tuple[str, str], int] = defaultdict(int)
    for row in documents:
        if row.part == HELD:
            place = (row.outcome, groups[row.transaction_id], row.legal_entity_code, row.period_code, row.currency)
            group = released[place]
            group[0] += 1
            group[1] += row.amount or Decimal(0)
        elif row.part == POSTED:
            altered[row.legal_entity_code, row.period_code] += 1
    return {
        "released": [[*key, count, amount] for key, (count, amount) in sorted(released.items())],
        "cases": [case.pk for case in concerned.cases],
        "in_flight": concerned.in_flight,
        "used": concerned.used,
        "use_count": concerned.use_count,
        "since": since,
        "reached": _counts(reached),
        "altered": [[*place, count] for place, count in sorted(altered.items())],
        "closed": _closed(altered),
        "is_complete": concerned.is_complete,
    }


def _back_test(
    concerned: Concerned, documents: Iterable[EvidenceDocument], tested: BackTest, count: int
) -> dict[str, Any]:
    """The chosen periods posted again under the new rules as if they had held throughout, by account and dimensions.

    Where the rows' dates reach all of them that's the same as what they reach, older periods included.
    """
    part = TESTED if concerned.tested else POSTED
    cells: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    places: dict[tuple[str, str], int] = defaultdict(int)
    for row in documents:
        if row.part != part:
            continue
        places[row.legal_entity_code, row.period_code] += 1
        for account, department, class_, location, amount in row.moves:
            cell = (row.legal_entity_code, row.currency, account, department, class_, location, row.period_code)
            cells[cell] += Decimal(amount)
    return {
        "derived": _counts(tested),
        "cells": [[*place, amount] for place, amount in sorted(cells.items()) if amount],
        "periods": _periods({entity for entity, _ in places}, places, count),
        "back_test": {
            "part": part,
            "periods": count,
            "since": concerned.tested_since,
            "changed": [[*place, changed] for place, changed in sorted(places.items())],
            "is_complete": len(concerned.tested) < DOCUMENTS_MAX,
        },
    }


def _counts(tested: BackTest) -> dict[str, int]:
    return {"documents": tested.document_count, "lines": tested.line_count, "changed": len(tested.changed)}


def _documents_held(evidence: Evidence, tried: list[Tried]) -> Iterable[EvidenceDocument]:
    facts = dict(facts_of([t.transaction_id for t in tried]))
    for found in tried:
        known = facts[found.transaction_id]
        yield EvidenceDocument(
            evidence=evidence, part=HELD, transaction_id=found.transaction_id, number=known["number"],
            legal_entity_code=found.legal_entity or known["legal_entity"], period_code=found.period or known["period"],
            currency=known["currency"], amount=Decimal(known["amount"]) if known["amount"] else None,
            outcome=found.outcome, says=found.says[:300],
        )  # fmt: skip


def _group(found: Tried) -> str:
    """What documents that stay held have in common: a missing rule's own sentence, else the kind of problem."""
    if not found.code:
        return ""
    return found.says if found.code.startswith("missing_") else kind_of(found.code).title


def _documents_posted(evidence: Evidence, tested: BackTest, part: str) -> Iterable[EvidenceDocument]:
    for change in tested.changed:
        yield EvidenceDocument(
            evidence=evidence, part=part, transaction_id=change.transaction_id, number=change.number[:80],
            legal_entity_code=change.legal_entity, period_code=change.period, currency=change.currency,
            outcome=change.outcome, says=change.says[:300],
            amount=sum((amount for amount in change.moves.values() if amount > 0), Decimal(0)),
            moves=[[*cell, str(amount)] for cell, amount in change.moves.items()],
        )  # fmt: skip


def _periods(entities: set[str], altered: Mapping[tuple[str, str], int], count: int) -> list[list[Any]]:
    """The last so many periods of each entity up to today, and any older one that differs: entity, code, open."""
    rows = AccountingPeriod.objects.filter(
        subsidiary__legal_entity__code__in=entities, start_date__lte=rules_today()
    ).order_by("-start_date")
    shown: dict[str, dict[str, bool]] = defaultdict(dict)
    columns = ("subsidiary__legal_entity__code", "code", "is_receivables_open", "is_ledger_open")
    for entity, code, receivables, ledger in rows.values_list(*columns):
        known = shown[entity]
        if code in known or len(known) < count or (entity, code) in altered:
            known[code] = known.get(code, True) and receivables and ledger  # of books in two ERPs one may be closed
    return [[entity, code, shown[entity][code]] for entity in sorted(shown) for code in reversed(shown[entity])]


def _closed(altered: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """What would be altered in periods that the ERP has closed, with the first date from which nothing of it is."""
    rows = AccountingPeriod.objects.filter(
        subsidiary__legal_entity__code__in={entity for entity, _ in altered}
    ).order_by("start_date")
    columns = ("subsidiary__legal_entity__code", "code", "name", "end_date", "is_receivables_open", "is_ledger_open")
    found: list[dict[str, Any]] = []
    for entity, code, name, end, receivables, ledger in rows.values_list(*columns):
        if receivables and ledger:
            continue
        first_date = end + dt.timedelta(days=1)
        for earlier in found:  # closed periods that follow one another
            if earlier["legal_entity"] == entity:
                earlier["first_date"] = first_date
        is_told = any((other["legal_entity"], other["period"]) == (entity, code) for other in found)  # of two ERPs
        if (entity, code) in altered and not is_told:
            found.append({"legal_entity": entity, "period": code, "name": name, "count": altered[entity, code],
                          "first_date": first_date})  # fmt: skip
    return found
