"""What lies outside every month is moved into months by the runbook's own words, and the net is there again."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from q2c.core import metrics
from q2c.transactions.models import StepRun
from tests.architecture.house import ROOT
from tests.core.keeping import LONG_AGO, TABLES, make_old, make_old_message, march

pytestmark = pytest.mark.django_db
RUNBOOKS = (ROOT / "docs" / "operations" / "runbooks.md").read_text()
ITS_TABLE = "'transactions_steprun'"


def follow_the_runbook(table: str) -> None:
    """Run the SQL of the default partition's runbook for a table."""
    found = re.search(r"```sql\n(.*?)```", RUNBOOKS.partition("## Q2CDefaultPartitionUsed")[2], re.S)
    assert found
    assert found[1].count(ITS_TABLE) == 1
    with connection.cursor() as cursor:
        cursor.execute(found[1].replace(ITS_TABLE, f"'{table}'"))


def parts(table: str) -> dict[str, str]:
    """The partitions of a table with their bounds."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid"
            " WHERE inhparent = %s::regclass",
            [table],
        )
        return dict(cursor.fetchall())


def lying_in(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM ONLY "{table}"')
        return int(cursor.fetchone()[0])


def triggers(table: str) -> set[str]:
    """What guards its rows: append-only tables refuse changes and deletions by them."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal", [table])
        return {name for (name,) in cursor.fetchall()}


def strays() -> set[str]:
    with connection.cursor() as cursor:
        return {name for name, _ in metrics._strays(cursor)}


def test_rows_outside_every_month_are_moved_into_months_and_the_net_takes_the_next_ones():
    first, second = make_old(), make_old(at=LONG_AGO.replace(year=2018))
    assert "transactions_steprun_default" in strays()
    before, guarded = parts("transactions_steprun"), triggers("transactions_steprun_default")
    assert guarded
    follow_the_runbook("transactions_steprun")
    after = parts("transactions_steprun")
    assert set(after) - set(before) == {march("transactions_steprun"), "transactions_steprun_2018_03"}
    assert after["transactions_steprun_default"] == "DEFAULT"
    assert "transactions_steprun_default" not in strays()
    assert triggers("transactions_steprun_default") == triggers(march("transactions_steprun")) == guarded
    assert lying_in(march("transactions_steprun")) == lying_in("transactions_steprun_2018_03") == 1
    assert set(StepRun.objects.values_list("transaction_id", flat=True)) >= {first.pk, second.pk}
    make_old(at=LONG_AGO.replace(year=2017))  # the next row outside every month isn't refused
    assert lying_in("transactions_steprun_default") == 1


@pytest.mark.parametrize("table", TABLES)
def test_every_table_of_months_can_be_moved_twice_over(table):
    make_old()
    make_old_message()
    held = lying_in(f"{table}_default")
    for _ in range(2):
        follow_the_runbook(table)
        assert parts(table)[f"{table}_default"] == "DEFAULT"
        assert lying_in(f"{table}_default") == 0
    assert (march(table) in parts(table)) is bool(held)
