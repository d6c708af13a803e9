"""The end of an emergency: what it put in force is taken back, and what stood before holds again.

Knowledge goes on: a change set of its own ends what the emergency made known and makes known again what it had ended,
in the words of those who agreed on that. What two people agreed on meanwhile stays. No posted document is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from django.db.transaction import atomic
from django.utils import timezone

from mappings import spans
from mappings.approvals import KIND, lock_numbers
from mappings.conflicts import find_conflicts
from mappings.drafts import rules_by_identity
from mappings.known import KnownRule, known_of, store_rules
from mappings.lines import CREATE, RETIRE, Line, identity, identity_of, line_of, retirement_of, span_after
from mappings.models import ChangeLine, ChangeSet, MappingRule
from mappings.planning import remainder
from mappings.resolve import latest_change_set
from q2c.core import audit, emergencies
from q2c.core.history import save_with_reason
from q2c.core.models import EmergencyUse, Person

_OTHER_WAY = {"create": "retire", "change": "change", "retire": "create"}


def end_due(*, by: Person) -> list[ChangeSet]:
    """End every emergency whose hours are over or that was objected to. Safe at any time and twice."""
    return [ended for use in emergencies.due_to_end(KIND) if (ended := end_emergency(use, by=by)) is not None]


def end_emergency(use: EmergencyUse, *, by: Person) -> ChangeSet | None:
    """Take back what an emergency put in force, in a change set of its own; None if it had ended or was let stay."""
    with atomic():
        lock_numbers()
        locked = EmergencyUse.objects.select_for_update().get(pk=use.pk)
        if locked.ended_at is not None or locked.verdict == EmergencyUse.Verdict.STAYS:
            return None
        change_set = ChangeSet.objects.get(proposal=locked.pk)
        ended = _take_back(change_set, by=by)
        emergencies.note_end(locked)
        audit.record(
            by,
            "end_emergency",
            "change_set",
            change_set.pk,
            why=ended.why,
            data={"number": ended.number, "by": ended.pk},
        )
    return ended


def rules_of_use(use: EmergencyUse) -> list[int]:
    """The rules that it made known, of whichever time."""
    rows = MappingRule.objects.filter(change_line__change_set__proposal=use.pk)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def _take_back(change_set: ChangeSet, *, by: Person) -> ChangeSet:
    number, now = latest_change_set() + 1, timezone.now()
    rows = list(change_set.lines.select_related("rule__change_line").order_by("pk"))
    mine = MappingRule.objects.filter(change_line__change_set=change_set, known_to=None)
    made: dict[int, list[MappingRule]] = {}
    for rule in mine:
        made.setdefault(rule.change_line_id or 0, []).append(rule)
    restored = _restored(rows, made, number)
    why = f"The emergency by which CS-{change_set.pk} was in force is over"
    ended = ChangeSet(
        title=f"End of emergency: {change_set.title}"[:200], why=why, state=ChangeSet.State.APPROVED, number=number,
        proposed_by=by, created_at=now, approved_at=now, case_id=change_set.case_id,
    )  # fmt: skip
    save_with_reason(ended, why=why, by=by)
    ChangeLine.objects.bulk_create(_lines(ended, rows, made), batch_size=2000)
    mine.update(known_to=number)
    store_rules(restored)
    return ended


def _restored(rows: Sequence[ChangeLine], made: dict[int, list[MappingRule]], number: int) -> list[KnownRule]:
    """What stood before, on the days that the emergency alone decides still: there its own rule holds, or its
    retirement does and nobody has agreed on anything since."""
    own = {rule.pk for rules in made.values() for rule in rules}
    wanted: list[KnownRule] = []
    over = set(EmergencyUse.objects.exclude(ended_at=None).values_list("proposal__change_set", flat=True))
    known = rules_by_identity({(row.kind, row.key, row.legal_entity_code) for row in rows})
    later = _agreed_since(rows, over)
    for row in rows:
        old = _not_ended(row.rule, over)
        if old is None:
            continue
        taken = [(r.effective_from, r.effective_to) for r in known.get(identity_of(old), ()) if r.pk not in own]
        if row.act == RETIRE:
            decided: list[spans.Span] = [(row.effective_from, None)]
            taken += later.get(identity_of(old), ())
        else:
            decided = [(rule.effective_from, rule.effective_to) for rule in made.get(row.pk, ())]
        for days in decided:
            held = spans.shared((old.effective_from, old.effective_to), days)
            for start, end in spans.free(held, taken) if held else ():
                wanted.append(remainder(known_of(old), number, start, end))
    lines = [_as_line(rule) for rule in wanted]
    rivals = {fault.line for fault in find_conflicts(list(enumerate(lines)), ending=own)}
    return [rule for place, rule in enumerate(wanted) if place not in rivals]


def _agreed_since(rows: Sequence[ChangeLine], over: set[int]) -> dict[tuple[Any, ...], list[spans.Span]]:
    """The days of which later change sets spoke, by the rule that they are about, where these rows retire it. An
    emergency that is over says nothing any more, nor does its end. Whoever ended what the retirement had left of a
    rule wants nothing of it from that day on; another version of it ends with its own days."""
    retired = [row for row in rows if row.act == RETIRE]
    found: dict[tuple[Any, ...], list[spans.Span]] = {}
    if not retired:
        return found
    left = {row.rule.change_line_id for row in retired if row.rule}
    lines = ChangeLine.objects.filter(
        change_set__number__gt=retired[0].change_set.number, change_set__proposal__isnull=False,
        kind__in={row.kind for row in retired}, key__in={row.key for row in retired},
    ).exclude(change_set__in=over)  # fmt: skip
    for line in lines.select_related("rule"):
        start, end = span_after(line)
        if line.act == RETIRE and line.rule is not None and line.rule.change_line_id not in left:
            end = line.rule.effective_to
        found.setdefault(identity(line_of(line)), []).append((start, end))
    return found


def _not_ended(rule: MappingRule | None, over: set[int]) -> MappingRule | None:
    """The rule, or what stood before it where it was made known by an emergency that is over itself."""
    while rule is not None and rule.change_line is not None and rule.change_line.change_set_id in over:
        rule = rule.change_line.rule
    return rule


def _as_line(rule: KnownRule) -> Line:
    line = retirement_of(rule, rule.effective_from)
    return replace(line, act=CREATE, effective_to=rule.effective_to, rule_id=None)


def _lines(ended: ChangeSet, rows: Iterable[ChangeLine], made: dict[int, list[MappingRule]]) -> Iterable[ChangeLine]:
    """The rows of the ending set, as its page shows them: each change the other way round."""
    for row in rows:
        rules = made.get(row.pk, [])
        if row.act != RETIRE and not rules:
            continue  # somebody agreed on something else meanwhile
        facts = {
            f.attname: getattr(row, f.attname) for f in ChangeLine._meta.concrete_fields
            if f.attname not in ("id", "change_set_id", "rule_id", "act")
        }  # fmt: skip
        facts["old_value"] = "" if row.act == RETIRE else row.value
        if row.rule is not None:
            facts |= {"value": row.rule.value, "value_label": row.rule.value_label}
        yield ChangeLine(change_set=ended, act=_OTHER_WAY[row.act], rule_id=rules[0].pk if rules else None, **facts)
