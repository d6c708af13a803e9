"""A host is cut off in the middle of a transaction: PostgreSQL lets go of its locks within half a minute, not after two
hours, since `prepare_database` told it so. A PostgreSQL of its own, on a host of its own."""

from __future__ import annotations

import os
import shutil
import sys
import time

import psycopg
import pytest

from q2c.core.databases import give_up_vanished_clients
from q2c.servers import Place
from tests.journeys.netns import DATABASE, NET, Network, why_not
from tests.journeys.stage import await_that

WHY_NOT = why_not()
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=f"hosts of our own: {WHY_NOT}"),
    pytest.mark.skipif(os.environ.get("Q2C_EVERY_FLOW") != "1", reason="takes half a minute: part of make check-all"),
]
HOLDS = """
import sys, time, psycopg
wire = psycopg.connect(sys.argv[1])
wire.execute("UPDATE held SET n = 2")
time.sleep(600)
"""


@pytest.fixture
def network(tmp_path):
    network = Network(tmp_path / "hosts")
    yield network
    network.close()


@pytest.fixture
def place(network, tmp_path):
    """A cluster whose server listens on the shared host."""
    (tmp_path / "home").mkdir()
    place = Place(tmp_path / "home")
    place.make_cluster()
    with (place.data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {NET}.0/24 scram-sha-256\n")
    command = place.postgres().command
    command[command.index("-h") + 1] = DATABASE.partition(":")[0]
    who = [f"--reuid={place.who['user']}", f"--regid={place.who['group']}", "--clear-groups"]
    network.host("shared").run(["setpriv", *who, *command])
    yield place
    network.hosts[0].close_programs()
    for folder in {place.folder, place.sockets}:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_locks_of_a_host_that_is_cut_off_are_free_within_half_a_minute(place, network, record_property):
    owner = place.postgres_urls()["DATABASE_OWNER_URL"]

    def answers() -> bool:
        try:
            psycopg.connect(owner).close()
        except psycopg.OperationalError:
            return False
        return True

    await_that(answers, seconds=30, what="the database answers")
    with psycopg.connect(owner, autocommit=True) as wire:
        give_up_vanished_clients(wire.cursor())
        wire.execute("CREATE TABLE held AS SELECT 1 AS n")
        left = network.host("left")
        password = place.passwords()["q2c_owner"]
        left.run([sys.executable, "-c", HOLDS, f"postgresql://q2c_owner:{password}@{DATABASE}/q2c"])

        def is_held() -> bool:
            return bool(wire.execute("SELECT 1 FROM pg_stat_activity WHERE state = 'idle in transaction'").fetchone())

        await_that(is_held, seconds=30, what="the row is held")
        with left.cut_off():
            since = time.monotonic()
            await_that(lambda: not is_held(), seconds=90, what="the session is given up")
            record_property("said", f"a vanished host's locks were free after {time.monotonic() - since:.0f} s")
        assert wire.execute("UPDATE held SET n = 3 RETURNING n").fetchone() == (3,)
