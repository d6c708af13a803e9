"""A real PgBouncer in transaction mode before the tests' PostgreSQL; each transaction gets the session that was idle
longest, so whatever is kept in a session is missed by the next statement."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from django.db import connection

from q2c.processes import die_with_parent, wait_until
from q2c.servers import unprivileged

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
SESSIONS = 6  # so few that each is shared by many, so many that hardly two transactions in a row get the same


class Pooler:
    """One PgBouncer."""

    def __init__(self) -> None:
        own = connection.settings_dict
        self.port = free_port()
        self.who = unprivileged() if os.geteuid() == 0 else {}
        self.folder = Path(tempfile.mkdtemp(prefix="q2c-pooler-"))
        (self.folder / "users.txt").write_text(f'"{own["USER"]}" "{own["PASSWORD"]}"\n')
        (self.folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={own['HOST']}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {self.folder}/users.txt\n"
            f"pool_mode = transaction\nserver_round_robin = 1\nmin_pool_size = {SESSIONS}\n"
            f"default_pool_size = {SESSIONS}\nmax_client_conn = 500\nlog_connections = 0\nlog_disconnections = 0\n"
        )
        for path in (self.folder, *self.folder.iterdir()):
            if self.who:
                os.chown(path, self.who["user"], self.who["group"])
            path.chmod(0o700 if path.is_dir() else 0o600)
        self.process: subprocess.Popen | None = None

    def start(self) -> Pooler:
        """Listen."""
        log = open(self.folder / "pgbouncer.log", "wb")  # noqa: SIM115 - it writes to it until the end
        self.process = subprocess.Popen(
            [str(PROGRAM), str(self.folder / "pgbouncer.ini")],
            stdout=log, stderr=log, preexec_fn=die_with_parent(signal.SIGINT), **self.who,
        )  # fmt: skip
        wait_until(self._is_listening, process=self.process)
        return self

    def stop(self) -> None:
        """End it, with everything that it wrote."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self) -> str:
        """The address of the test's database through it."""
        own = connection.settings_dict
        return f"postgresql://{own['USER']}:{quote(own['PASSWORD'], safe='')}@127.0.0.1:{self.port}/{own['NAME']}"

    def _is_listening(self) -> bool:
        with socket.socket() as door:
            return door.connect_ex(("127.0.0.1", self.port)) == 0


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port
