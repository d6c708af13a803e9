"""What was suggested and what people chose: kept as it happened, and counted into how often each reason was right."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db import connection
from django.utils import timezone

from mappings.drafts import Line
from mappings.models import ChangeLine, ChangeSet, SuggestionChoice, SuggestionRate
from q2c.core.models import Person


def note_choice(line: Line, *, offered: str, reason: str, by: Person) -> None:
    """Keep that this value was offered, for this reason, to who chose what the line says."""
    SuggestionChoice.objects.create(
        kind=line.kind, key=line.key, connection_code=line.connection, legal_entity_code=line.legal_entity,
        currency=line.currency, offered=offered, reason=reason, chosen=line.value, by=by, at=timezone.now(),
    )  # fmt: skip


def refused_values(kind: str, keys: Collection[str]) -> set[tuple[str, str]]:
    """Key and value of what was offered and not taken, or taken and rejected by who had to agree. Two statements."""
    passed = SuggestionChoice.objects.filter(kind=kind, key__in=keys).order_by("pk")
    found = {}
    for key, offered, chosen in passed.values_list("key", "offered", "chosen"):
        found[key, offered] = offered != chosen  # the last word counts
    lines = ChangeLine.objects.filter(kind=kind, key__in=keys, change_set__state=ChangeSet.State.REJECTED)
    return {pair for pair, was_passed in found.items() if was_passed} | set(lines.values_list("key", "value"))


def rates_of(kind: str) -> dict[str, tuple[int, int]]:
    """How often suggestions of each reason were decided about, and how often they were right: as last counted."""
    rows = SuggestionRate.objects.filter(kind=kind).order_by("reason", "-pk").distinct("reason")
    return {reason: (tried, right) for reason, tried, right in rows.values_list("reason", "tried", "right")}


def count_rates() -> int:
    """Count anew from what became of every suggestion; a row is added where that changed. Returns how many.

    One is decided once a rule stands at its place or its row was rejected; it was right while the rule that stands
    there is the one that was offered: what was taken and changed afterwards wasn't.
    """
    with connection.cursor() as cursor:
        cursor.execute(_DECIDED)
        counted = {(kind, reason): (tried, right) for kind, reason, tried, right in cursor.fetchall()}
    last: Mapping[tuple[str, str], tuple[int, int]] = {
        (kind, reason): (tried, right)
        for kind, reason, tried, right in SuggestionRate.objects.order_by("kind", "reason", "-pk")
        .distinct("kind", "reason")
        .values_list("kind", "reason", "tried", "right")
    }
    now = timezone.now()
    fresh = [
        SuggestionRate(kind=kind, reason=reason, tried=tried, right=right, at=now)
        for (kind, reason), (tried, right) in sorted(counted.items())
        if last.get((kind, reason)) != (tried, right)
    ]
    return len(SuggestionRate.objects.bulk_create(fresh))


_DECIDED = """
    SELECT kind, reason, count(*), count(*) FILTER (WHERE value = offered)
      FROM (SELECT DISTINCT ON (c.kind, c.key, c.connection_code, c.legal_entity_code, c.currency)
                   c.kind, c.reason, c.offered, coalesce(r.value, CASE WHEN l.id IS NOT NULL THEN '' END) AS value
              FROM mappings_suggestionchoice c
              LEFT JOIN mappings_mappingrule r
                     ON r.kind = c.kind AND r.key = c.key AND r.known_to IS NULL
                    AND r.connection_code = c.connection_code AND r.legal_entity_code = c.legal_entity_code
                    AND r.currency = c.currency AND r.conditions_key = ''
              LEFT JOIN LATERAL (
                    SELECT l.id FROM mappings_changeline l JOIN mappings_changeset s ON s.id = l.change_set_id
                     WHERE l.kind = c.kind AND l.key = c.key AND l.legal_entity_code = c.legal_entity_code
                       AND l.value = c.offered AND s.state = 'rejected' LIMIT 1) l ON true
             ORDER BY c.kind, c.key, c.connection_code, c.legal_entity_code, c.currency, c.id DESC,
                      r.effective_from DESC) decided
     WHERE value IS NOT NULL GROUP BY kind, reason
"""
