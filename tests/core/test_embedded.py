"""The embedded servers: who may sign in, where the sockets lie, and what is left when the owner is killed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import psycopg
import pytest
import redis

from q2c import embedded, launch, servers

ROOT = Path(__file__).resolve().parents[2]
SHOW = "import os, json; print(json.dumps({k: v for k, v in os.environ.items() if k.endswith('_URL')}))"


@pytest.fixture
def without_urls(monkeypatch):
    for name in ("DATABASE_URL", "DATABASE_OWNER_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path, without_urls):
    home = tmp_path / ("a-deep-folder-" * 8) / "home"
    home.mkdir(parents=True)
    yield home
    place = servers.Place(home)
    for folder in {place.folder, place.sockets} - {home}:  # root keeps what nobody else may reach elsewhere
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def start_owner(home: Path) -> tuple[subprocess.Popen, dict]:
    """A process that owns the servers and stays until its input ends; its addresses."""
    owner = subprocess.Popen(
        [sys.executable, "-m", "q2c.embedded", str(home), sys.executable, "-c", f"{SHOW}; "
         "import sys; sys.stdout.flush(); sys.stdin.read()"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    return owner, json.loads(owner.stdout.readline())


def test_a_killed_owner_leaves_no_server_and_its_data_is_found_again(home):
    owner, urls = start_owner(home)
    with psycopg.connect(urls["DATABASE_OWNER_URL"]) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('still here')")
    owner.kill()
    owner.wait()

    owner, again = start_owner(home)  # at once: the killed owner's servers may still be ending
    assert again == urls
    with psycopg.connect(again["DATABASE_OWNER_URL"]) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("still here",)]
    assert redis.from_url(again["REDIS_URL"]).ping() is True

    owner.communicate("", timeout=120)
    assert owner.returncode == 0
    sockets = servers.Place(home).sockets
    assert sorted(p.name for p in sockets.iterdir()) == []


@pytest.mark.parametrize(("still", "is_refused"), [(False, False), (True, True)])
def test_an_orphan_that_ends_by_itself_before_it_is_told_to_is_no_trouble(home, monkeypatch, still, is_refused):
    """It listened when it was looked for, and has no process any more that `pg_ctl` could end."""
    place, seen = servers.Place(home), iter([True, still])
    monkeypatch.setattr(servers.Server, "is_listening", lambda server: next(seen))
    with pytest.raises(RuntimeError, match="pg_ctl failed") if is_refused else nullcontext():
        place.postgres()
    assert list(seen) == []


def test_nobody_signs_in_without_a_password_or_as_superuser(home):
    owner, urls = start_owner(home)
    try:
        sockets = servers.Place(home).sockets
        assert sockets.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(sockets / ".s.PGSQL.5432")) <= 107
        for role in ("q2c_super", "q2c_owner"):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(f"postgresql://{role}@/q2c?host={sockets}")
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(unix_socket_path=str(sockets / "valkey.sock")).ping()
        for url in (urls["DATABASE_URL"], urls["DATABASE_OWNER_URL"]):
            with psycopg.connect(url) as connection:
                assert connection.info.parameter_status("is_superuser") == "off"
    finally:
        owner.send_signal(signal.SIGTERM)
        owner.communicate(timeout=120)


def test_a_second_starter_uses_the_servers_of_the_first(home):
    owner, urls = start_owner(home)
    second, seen = start_owner(home)
    second.communicate("", timeout=120)
    assert seen == urls
    with psycopg.connect(urls["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    owner.communicate("", timeout=120)


def test_given_addresses_are_honoured(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/else")
    monkeypatch.setenv("REDIS_URL", "redis://somewhere/1")
    started = embedded.missing_servers(tmp_path / "home").start()
    assert started.environment == {}
    assert not (tmp_path / "home").exists()


def test_two_demos_at_once_share_no_lock_server_password_or_door(tmp_path, without_urls, monkeypatch):
    seen, locks = [], []
    for name, door in (("one", 8101), ("two", 8201)):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setenv("Q2C_PORT", str(door))
        monkeypatch.setenv("Q2C_SANDBOX_PORT", str(door + 1))
        locks.append(launch.take_lock(folder / "demo.lock"))
        place = servers.Place(folder)
        urls = place.postgres_urls() | {"REDIS_URL": place.valkey_url()}
        _, portal = launch.environments(folder, urls)
        own = ("DATABASE_URL", "REDIS_URL", "Q2C_HOME", "Q2C_PORT", "Q2C_SANDBOX_PORT", "PROMETHEUS_MULTIPROC_DIR")
        seen.append({portal[key] for key in own} | {str(place.data), str(place.sockets), *place.passwords().values()})
        for elsewhere in {place.folder, place.sockets} - {folder}:
            subprocess.run(["rm", "-rf", str(elsewhere)], check=True)
    assert None not in locks
    assert [len(each) for each in seen] == [11, 11]
    assert seen[0] & seen[1] == set()
