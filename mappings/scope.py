"""How specific a rule is, and which facts it matches: pure, shared by the resolver and the conflict detector.

Priority follows from how specific a rule is, never from entry order: a real rule before a fallback, an exact key before
a pattern, a longer pattern before a shorter one, more dimensions before fewer, more conditions before fewer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from mappings.kinds import CONDITION_FIELDS

KEY_MAX = 250  # of the text of conditions, as the table of rules has it
_REAL = 1 << 14
_EXACT = 255


def is_pattern(key: str) -> bool:
    """Whether a key is a pattern: one of its fields (joined by "|") ends in *."""
    return key.endswith("*") or "*|" in key


def matches(pattern: str, key: str) -> bool:
    """Whether a key falls under a pattern, field by field. Exact fields must be equal."""
    parts, values = pattern.split("|"), key.split("|")
    if len(parts) != len(values):
        return pattern == "*"
    return all(
        value.startswith(part[:-1]) if part.endswith("*") else value == part
        for part, value in zip(parts, values, strict=True)
    )


def overlap(a: str, b: str) -> bool:
    """Whether some key falls under both keys or patterns."""
    parts, others = a.split("|"), b.split("|")
    if len(parts) != len(others):
        return "*" in (a, b)
    return all(_overlap(x, y) for x, y in zip(parts, others, strict=True))


def _overlap(x: str, y: str) -> bool:
    if x.endswith("*") and y.endswith("*"):
        return x[:-1].startswith(y[:-1]) or y[:-1].startswith(x[:-1])
    if x.endswith("*"):
        return y.startswith(x[:-1])
    return x.startswith(y[:-1]) if y.endswith("*") else x == y


def specificity(key: str, *, dimensions: int, conditions: int, is_fallback: bool) -> int:
    """One number that orders rules; the greatest wins, and two equal ones that both match are a conflict."""
    exactness = min(sum(len(part.rstrip("*")) for part in key.split("|")), _EXACT - 1) if is_pattern(key) else _EXACT
    return (0 if is_fallback else _REAL) + exactness * 64 + dimensions * 8 + min(conditions, 7)


def without_fallback(number: int) -> int:
    """How specific a rule is otherwise, whether it's a fallback or not."""
    return number & (_REAL - 1)


def conditions_key(conditions: Mapping[str, object]) -> str:
    """The canonical text of conditions, for the no-overlap rule; its digest where it's longer than the table takes.
    Raises ValueError for a field outside the set, and for signs that no text of the database can hold."""
    if unknown := sorted(set(conditions) - set(CONDITION_FIELDS)):
        raise ValueError(f"a rule can't look at {', '.join(unknown)}; it may look at {', '.join(CONDITION_FIELDS)}")
    if not conditions:
        return ""
    plain = {name: sorted(allowed(value)) for name, value in conditions.items()}
    if any("\x00" in value for values in plain.values() for value in values):
        raise ValueError("a condition holds a sign that can't be seen; take it out")
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return text if len(text) <= KEY_MAX else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def allowed(value: object) -> list[str]:
    """A condition's value as the list of values it admits."""
    return [str(v) for v in value] if isinstance(value, list | tuple | set | frozenset) else [str(value)]


def conditions_hold(conditions: Mapping[str, object], document: Mapping[str, str]) -> bool:
    """Whether every condition admits what the document says."""
    return all(document.get(name, "") in allowed(value) for name, value in conditions.items())
