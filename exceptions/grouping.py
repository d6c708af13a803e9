"""Which problems are the same piece of work: fingerprint version 1, readable from the kind's `same_when`. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

VERSION = 1
_INDEX = re.compile(r"\[\d+\]")


def fingerprint(kind: str, same_when: Iterable[str], facts: Mapping[str, str]) -> str:
    """The hex SHA-256 of the kind and of the facts that `same_when` names, in its order; a missing one is empty.

    A `field` counts without the number of its line: the third line fails for the same reason as the first.
    """
    counted = {**facts, "field": _INDEX.sub("[]", facts.get("field", ""))}
    parts = [f"v{VERSION}", kind, *(f"{name}={counted.get(name, '')}" for name in same_when)]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
