"""How many cases are open and for how much, by queue, kind, entity and blocked close, whatever the table's size.

The database appends a row for what each statement changed (`exceptions.models.counts`); beat adds them up. Whoever
reads takes the sums, what wasn't added yet and what is snoozed in one statement: exact at every moment.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import connection as database
from django.db.models import Count, Sum
from django.db.transaction import atomic

from exceptions.closes import Place
from exceptions.models import ExceptionCase, OpenChange, OpenCount, Snooze
from q2c.core import access

BATCH = 10_000
_PLACE = "queue, kind, legal_entity_code, blocks_entity, blocks_period"
_ADD_UP = f"""
    WITH taken AS (
        DELETE FROM exceptions_openchange WHERE id IN (
            SELECT id FROM exceptions_openchange ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)
        RETURNING *),
    summed AS (SELECT {_PLACE}, sum(case_count) AS cases, sum(amount_at_risk) AS amount, count(*) AS changes
                 FROM taken GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5),
    kept AS (
        INSERT INTO exceptions_opencount AS c ({_PLACE}, case_count, amount_at_risk)
        SELECT {_PLACE}, cases, amount FROM summed
        ON CONFLICT ({_PLACE}) DO UPDATE SET case_count = c.case_count + excluded.case_count,
                                             amount_at_risk = c.amount_at_risk + excluded.amount_at_risk)
    SELECT coalesce(sum(changes), 0) FROM summed
"""


def add_up() -> int:
    """Bring what was appended into the sums. Returns how many changes were taken; several may do it at once."""
    taken = 0
    while True:
        with atomic(), database.cursor() as cursor:
            cursor.execute(_ADD_UP, [BATCH])
            count = int(cursor.fetchone()[0])
        taken += count
        if count < BATCH:
            return taken


def open_by_close(user: Any) -> dict[Place, tuple[int, Decimal]]:
    """Open cases of the person's queues, kinds and entities by the entity and period that they block, and their amount
    at risk in reporting currency: those that wait for somebody, as the list behind the number shows them. Cases about
    several entities aside, of which each is seen in part."""
    snoozed = ExceptionCase.objects.filter(
        access.places_q(user), closed_at__isnull=True, snoozed_at__isnull=False,
        pk__in=Snooze.objects.filter(woken_at__isnull=True).values("case"),  # by its index: there are few
    )  # fmt: skip
    rows: list[Any] = [
        model.objects.filter(access.places_q(user))
        .exclude(legal_entity_code="")
        .values_list("blocks_entity", "blocks_period")
        .annotate(cases=Sum("case_count"), amount=Sum("amount_at_risk"))
        .order_by()
        for model in (OpenCount, OpenChange)
    ]
    rows.append(
        snoozed.exclude(legal_entity_code="")
        .values_list("blocks_entity", "blocks_period")
        .annotate(cases=-Count("pk"), amount=-Sum("amount_at_risk"))
        .order_by()
    )
    found: dict[Place, tuple[int, Decimal]] = {}
    for entity, period, cases, amount in rows[0].union(*rows[1:], all=True):  # one statement, or a change counts twice
        count, total = found.get((entity, period), (0, Decimal(0)))
        found[entity, period] = (count + cases, total + amount)
    return {place: sums for place, sums in found.items() if sums[0]}
