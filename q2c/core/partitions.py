"""Range-partitioned tables on a rising UUIDv7 key, made in a way that keeps `makemigrations --check` quiet."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import migrations
from django.db.migrations.operations.models import CreateModel

from q2c.core.ids import uuid7_bound


class CreatePartitioned(CreateModel):
    """CreateModel whose table is partitioned by range of `partition_by` (a column of the primary key)."""

    partition_by = "id"

    def __init__(self, *args: Any, partition_by: str = "id", **kwargs: Any) -> None:
        self.partition_by = partition_by
        super().__init__(*args, **kwargs)

    def deconstruct(self):
        name, args, kwargs = super().deconstruct()
        return name, args, {**kwargs, "partition_by": self.partition_by}

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        plain = schema_editor.table_sql

        def partitioned(model):
            sql, params = plain(model)
            return f'{sql} PARTITION BY RANGE ("{self.partition_by}")', params

        schema_editor.table_sql = partitioned
        try:
            super().database_forwards(app_label, schema_editor, from_state, to_state)
        finally:
            schema_editor.table_sql = plain


def month_partition_sql(table: str, year: int, month: int) -> str:
    """SQL that makes one month's partition of a table if it isn't there."""
    start = dt.datetime(year, month, 1, tzinfo=dt.UTC)
    end = dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=dt.UTC)
    low, high = (uuid7_bound(int(t.timestamp() * 1000)) for t in (start, end))
    return (
        f'CREATE TABLE IF NOT EXISTS "{table}_{year}_{month:02d}" PARTITION OF "{table}" '
        f"FOR VALUES FROM ('{low}') TO ('{high}')"
    )


class MakePartitions(migrations.RunSQL):
    """The default partition as a net, and the months of two years from `first` (year, month)."""

    def __init__(self, table: str, first: tuple[int, int] = (2026, 1), months: int = 36) -> None:
        self.table, self.first, self.months = table, first, months
        year, month = first
        statements: list[Any] = [f'CREATE TABLE IF NOT EXISTS "{table}_default" PARTITION OF "{table}" DEFAULT']
        for _ in range(months):
            statements.append(month_partition_sql(table, year, month))
            year, month = year + month // 12, month % 12 + 1
        super().__init__(statements, migrations.RunSQL.noop)

    def deconstruct(self):
        return self.__class__.__qualname__, [self.table], {"first": self.first, "months": self.months}
