"""`manage.py load_retail FILE`: real invoice lines into Stripe's sandbox, declared first, delivered once."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from connectors.sandbox.remote import ControlDoor, SandboxAway, SandboxRefused
from q2c.demo.delivery import deliver
from q2c.demo.progress import Progress
from q2c.demo.retail import CURRENCY, FEED, RetailProblem, open_file, read_lines
from q2c.demo.spool import Spool
from q2c.processes import take_lock
from q2c.reconciliation.feeds import declare_documents
from q2c.reconciliation.models import FeedDocument


class Command(BaseCommand):
    """Exit 0 when everything is in the sandbox. Running it again delivers only what is missing."""

    help = "Deliver a file of invoice lines (columns of UCI Online Retail, .csv or .csv.gz) through Stripe's sandbox"

    def add_arguments(self, parser: CommandParser) -> None:
        """The file, and the control door's port."""
        parser.add_argument("file", type=Path)
        parser.add_argument("--port", type=int, default=settings.SANDBOX_PORT, help="the sandboxes' control door")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read and check the whole file, declare it, deliver it."""
        path: Path = options["file"]
        with tempfile.TemporaryDirectory(prefix="retail-") as folder, Spool(Path(folder) / "spool.sqlite3") as spool:
            try:
                file_hash = hash_file(path)
                with open_file(path) as text:
                    total = spool.add_lines(read_lines(text))
            except RetailProblem as problem:
                raise CommandError(f"{path}: {problem}. Nothing was delivered.") from problem
            except (OSError, EOFError, UnicodeDecodeError) as error:
                raise CommandError(f"{path} can't be read as UTF-8 text: {error}. Nothing was delivered.") from error
            declare_documents(describe(spool, file_hash))
            with alone(settings.HOME / f"load_retail-{options['port']}.lock", self.stderr.write):
                progress = Progress(total, "documents")
                try:
                    result = deliver(spool, ControlDoor(options["port"]), progress.show)
                except (SandboxAway, SandboxRefused) as error:
                    raise CommandError(
                        f"Not everything was delivered: {error}. Run it again to deliver the rest."
                    ) from error
        self.stdout.write(f"{result.made:,} documents delivered, {result.found:,} were there already")


@contextmanager
def alone(path: Path, say: Callable[[str], Any]) -> Iterator[None]:
    """While nobody else delivers to these sandboxes: two at once would each make what the other is making. A file's
    lock, since the sandboxes are this machine's, and it ends with its process however that ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = take_lock(path)
    if lock is None:
        say("Another delivery is running; this one begins when it has ended.")
    while lock is None:
        time.sleep(0.2)
        lock = take_lock(path)
    try:
        yield
    finally:
        os.close(lock)


def describe(spool: Spool, file_hash: str) -> Iterator[FeedDocument]:
    """What the file declares, document by document."""
    for document in spool.documents():
        yield FeedDocument(
            feed=FEED,
            number=document.number,
            document_type=document.feed_type,
            currency=CURRENCY,
            lines=len(document.lines),
            amount=document.declared_total,
            file_hash=file_hash,
        )


def hash_file(path: Path) -> str:
    """SHA-256 of the file as it lies there."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
