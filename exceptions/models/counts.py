"""How many cases are open, and for how much, by queue, kind, entity and blocked close: summed, never counted."""

from __future__ import annotations

import pgtrigger
from django.db import models

_PLACE = "queue, kind, legal_entity_code, blocks_entity, blocks_period"
_ADD = """
    INSERT INTO exceptions_openchange ({place}, case_count, amount_at_risk)
    SELECT {place}, sum(one), sum(amount) FROM ({rows}) x
     GROUP BY 1, 2, 3, 4, 5 HAVING sum(one) <> 0 OR sum(amount) <> 0;
    RETURN NULL;
"""
_NOW = f"SELECT {_PLACE}, 1 AS one, amount_at_risk AS amount FROM new_cases WHERE closed_at IS NULL"
_THEN = f"SELECT {_PLACE}, -1, -amount_at_risk FROM old_cases WHERE closed_at IS NULL"

# Once per statement, so that 10,000 cases opened at once append a few rows. PostgreSQL allows a trigger with transition
# tables one event only.
COUNTED = [
    pgtrigger.Trigger(
        name="count_opened", level=pgtrigger.Statement, when=pgtrigger.After, operation=pgtrigger.Insert,
        referencing=pgtrigger.Referencing(new="new_cases"), func=_ADD.format(place=_PLACE, rows=_NOW),
    ),
    pgtrigger.Trigger(
        name="count_moved", level=pgtrigger.Statement, when=pgtrigger.After, operation=pgtrigger.Update,
        referencing=pgtrigger.Referencing(old="old_cases", new="new_cases"),
        func=_ADD.format(place=_PLACE, rows=f"{_NOW} UNION ALL {_THEN}"),
    ),
]  # fmt: skip


class _Place(models.Model):
    queue = models.CharField(max_length=30)
    kind = models.CharField(max_length=60)
    legal_entity_code = models.CharField(max_length=20, blank=True)  # empty: of several
    blocks_entity = models.CharField(max_length=20, blank=True)
    blocks_period = models.CharField(max_length=20, blank=True)
    case_count = models.BigIntegerField()
    amount_at_risk = models.DecimalField(max_digits=26, decimal_places=2)  # in reporting currency

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.queue} {self.blocks_entity} {self.blocks_period}: {self.case_count}"


class OpenChange(_Place):
    """What one statement added to or took from a place: appended by the database itself, and gone once rolled up."""

    id = models.BigAutoField(primary_key=True)


class OpenCount(_Place):
    """What all changes that were rolled up make: with those that weren't yet, the open cases of a place."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["queue", "kind", "legal_entity_code", "blocks_entity", "blocks_period"],
                name="one_count_per_place",
            )
        ]
