"""Which system owns which field today, by the rules in force; and records that follow when the rules change."""

from __future__ import annotations

import datetime as dt

from django.db.transaction import atomic
from django.utils import timezone

from mappings.models import ChangeSet, MappingRule
from mappings.survivorship import KEYS, Owner, owner_of
from q2c import ports
from q2c.records.models import GoldenRecord
from q2c.records.store import OwnerOf, survive_again

OWNER, REFUSAL = "field_owner", "refused_update"
_ANY = frozenset(KEYS)
_PAIRS = {(kind, key) for kind in (OWNER, REFUSAL) for key in KEYS}
RECORDS_AT_ONCE = 500


def field_owners(on: dt.date | None = None) -> OwnerOf:
    """Who owns a field of a record type for an entity, by the rules known now and in force on a date (today, UTC)."""
    day = on or timezone.now().date()
    rules = ports.known_rules().for_document()
    rules.fetch(_PAIRS)

    def find(record_type: str, field: str, legal_entity: str) -> Owner:
        key = f"{record_type}|{field}"
        if key not in _ANY:
            return owner_of(record_type, field)
        said = rules.find(OWNER, key, on=day, legal_entity=legal_entity)
        refusal = rules.find(REFUSAL, key, on=day, legal_entity=legal_entity)
        return owner_of(record_type, field, said=said.value if said else "", refusal=refusal.value if refusal else "")

    return find


def follow_owners(limit: int = 20) -> int:
    """Compute anew the records whose fields' owners changed since: a rule was approved, or begins or ends today.
    Returns how many records came out otherwise. At most `limit` rounds; the next call goes on."""
    since = _changed_at(timezone.now().date())
    if since is None:
        return 0
    owners, changed = field_owners(), 0
    for _ in range(limit):
        with atomic():
            rows = GoldenRecord.objects.select_for_update(skip_locked=True).filter(survived_at__lt=since)
            batch = list(rows.order_by("survived_at")[:RECORDS_AT_ONCE])
            changed += survive_again(batch, owner_of=owners)
        if len(batch) < RECORDS_AT_ONCE:
            break
    return changed


def _changed_at(today: dt.date) -> dt.datetime | None:
    """When the owners last changed; None while no rule has ever said any."""
    rules = MappingRule.objects.filter(kind__in=(OWNER, REFUSAL))
    dates: set[dt.date] = set()
    numbers: set[int] = set()
    for begins, ends, known_from, known_to in rules.values_list(
        "effective_from", "effective_to", "known_from", "known_to"
    ):
        dates |= {day for day in (begins, ends) if day is not None and day <= today}
        numbers |= {number for number in (known_from, known_to) if number is not None}
    if not numbers:
        return None
    approved = ChangeSet.objects.filter(number__in=numbers, approved_at__isnull=False)
    instants = [at for at in approved.values_list("approved_at", flat=True) if at is not None]
    instants += [dt.datetime.combine(day, dt.time(), dt.UTC) for day in dates]
    return max(instants, default=None)
