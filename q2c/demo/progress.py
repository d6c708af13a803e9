"""A progress bar on stderr: drawn over itself on a terminal, a line for each tenth elsewhere."""

from __future__ import annotations

import sys
from typing import TextIO

WIDTH = 40


class Progress:
    """How many of a known number are done."""

    def __init__(self, total: int, what: str, stream: TextIO | None = None):
        self.total, self.what = max(1, total), what
        self.stream = stream or sys.stderr
        self.is_terminal = self.stream.isatty()
        self.tenth = -1

    def show(self, done: int) -> None:
        """Draw."""
        share = min(1.0, done / self.total)
        if not self.is_terminal and int(share * 10) == self.tenth:
            return
        self.tenth = int(share * 10)
        bar = "█" * int(share * WIDTH)
        text = f"{bar:·<{WIDTH}} {done:,} of {self.total:,} {self.what} {share:4.0%}"
        self.stream.write(f"\r{text}" if self.is_terminal else f"{text}\n")
        if self.is_terminal and done >= self.total:
            self.stream.write("\n")
        self.stream.flush()
