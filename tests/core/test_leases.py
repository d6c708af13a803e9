"""One holder at a time, by PostgreSQL's clock."""

import pytest
from django.db import connection

from q2c.core.leases import living, living_workers, release_lease, take_lease

pytestmark = pytest.mark.django_db


def test_a_lease_is_held_by_one_until_it_lapses():
    assert take_lease("beat", holder="first", seconds=60) is True
    assert take_lease("beat", holder="second", seconds=60) is False
    assert take_lease("beat", holder="first", seconds=60) is True
    with connection.cursor() as cursor:
        cursor.execute("UPDATE core_lease SET until = clock_timestamp() - interval '1 second'")
    assert living("beat") == 0
    assert take_lease("beat", holder="second", seconds=60) is True
    assert take_lease("beat", holder="first", seconds=60) is False
    assert living("beat") == 1


def test_a_lease_given_back_is_free_at_once_and_a_foreign_one_stays():
    take_lease("beat", holder="first", seconds=60)
    release_lease("beat", holder="second")
    assert take_lease("beat", holder="second", seconds=60) is False
    release_lease("beat", holder="first")
    assert take_lease("beat", holder="second", seconds=60) is True


def test_living_counts_by_the_beginning_of_the_name():
    take_lease("worker:flows@a", holder="a", seconds=60)
    take_lease("worker:flows@b", holder="b", seconds=60)
    take_lease("worker:doors@c", holder="c", seconds=60)
    take_lease("worker:doors+flows+reconciliation@d", holder="d", seconds=60)
    assert (living("worker:"), living("beat")) == (4, 0)
    assert [living_workers(queue) for queue in ("doors", "flows", "reconciliation", "flow")] == [2, 3, 1, 0]
