"""A small disk of its own for the database, where this machine lets us make one: it can be filled without harm."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SIZE_MB = 900
FILLER = "filler"
WAL_SETTINGS = ("-c", "max_wal_size=160MB", "-c", "min_wal_size=64MB")  # so that the disk is filled by us alone


def make_small(folder: Path) -> bool:
    """Mount a small disk in memory there; whether the rights allow it."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    options = f"size={SIZE_MB}m,mode=0755"
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
    return done.returncode == 0


def take_away(folder: Path) -> None:
    """Unmount it, also one that a killed run left."""
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def fill(folder: Path) -> None:
    """Take every byte that is left."""
    room = os.statvfs(folder)
    handle = os.open(folder / FILLER, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(handle, 0, max(1, room.f_bavail * room.f_frsize - 65536))
    except OSError:
        pass  # somebody wrote meanwhile: it's full all the same
    finally:
        os.close(handle)


def empty(folder: Path) -> None:
    """Give the room back."""
    (folder / FILLER).unlink(missing_ok=True)
