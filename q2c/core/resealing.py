"""Sealing anew what an older master key sealed, after a rotation: a column at a time, in batches, found by the key id
that each sealed value begins with. So it can be stopped and begun again at any moment, beside running processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import BinaryField, F, Func, QuerySet
from psycopg import sql

from q2c.core import vault

BATCH = 500


@dataclass
class Resealed:
    """Of one column: how many values were sealed anew, and how many no key that we have opens."""

    done: int = 0
    unopened: int = 0


def under_older_keys(rows: QuerySet, column: str) -> QuerySet:
    """Those of these rows whose sealed column isn't under the newest master key."""
    key_id = Func(F(column), 2, 4, function="SUBSTRING", output_field=BinaryField())
    sealed = rows.exclude(**{column: None}).exclude(**{column: b""}).annotate(sealed_by=key_id)
    return sealed.exclude(sealed_by=vault.newest_key_id())


def reseal(rows: QuerySet, column: str) -> Resealed:
    """Seal this column of these rows under the newest master key. A value that changed meanwhile is left as it is: who
    wrote it sealed it. What can't be opened is counted, and stays."""
    found = Resealed()
    for batch in _batches(under_older_keys(rows, column), column):
        anew = []
        for key, sealed in batch:
            try:
                anew.append((key, sealed, vault.seal_with_master(vault.open_with_master(sealed))))
            except vault.Unsealable:
                found.unopened += 1
        found.done += _write(rows.model, column, anew)
    return found


def _batches(rows: QuerySet, column: str) -> Iterator[list[tuple[Any, bytes]]]:
    ordered, last = rows.order_by("pk"), None
    while True:
        page = ordered if last is None else ordered.filter(pk__gt=last)
        batch = [(key, bytes(sealed)) for key, sealed in page.values_list("pk", column)[:BATCH]]
        if not batch:
            return
        yield batch
        last = batch[-1][0]


def _write(model: Any, column: str, anew: list[tuple[Any, bytes, bytes]]) -> int:
    if not anew:
        return 0
    meta = model._meta
    statement = sql.SQL(
        "UPDATE {table} t SET {column} = n.sealed FROM unnest(%s::{type}[], %s::bytea[], %s::bytea[])"
        " AS n (id, was, sealed) WHERE t.{key} = n.id AND t.{column} = n.was"
    ).format(
        table=sql.Identifier(meta.db_table), column=sql.Identifier(meta.get_field(column).column),
        key=sql.Identifier(meta.pk.column), type=sql.SQL(meta.pk.rel_db_type(connection)),
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(statement, [list(values) for values in zip(*anew, strict=True)])
        return cursor.rowcount
