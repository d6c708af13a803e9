"""The conflict detector: what a set of rows would leave behind, compared with itself and with all else that is known.

Of each row that is its new rule and what stays of the one that it changes or retires, exactly as activation writes
them. Two that could answer the same document are named, and two that are the same rule on the same days.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from mappings import scope, spans
from mappings.known import KnownRule, patterns_of, rules_by_id, rules_with_keys
from mappings.lines import CREATE, RETIRE, Fault, Line, identity, place_of, retirement_of, span_after
from mappings.spans import END_OF_TIME

PATTERNS_MAX = 2000  # of one set: each is compared with each
Bucket = tuple[str, int, str]


class _Piece(NamedTuple):
    """What will be known of a row: what it says itself, or (`rule`) what stays of the rule that it changes."""

    row: int
    line: Line
    rule: int = 0

    def named(self, row: int) -> str:
        """In words, seen from a row."""
        facts = f"({self.line.key} = {self.line.value})"
        if self.rule:
            return f"what stays of rule {self.rule} {facts} from {self.line.effective_from} on"
        return "this" if self.row == row else facts


def find_conflicts(
    rows: Iterable[tuple[int, Line]],
    *,
    rules: Mapping[int, KnownRule] | None = None,
    row_of: Callable[[int], int] = lambda number: number + 1,
    ending: Collection[int] = (),
) -> list[Fault]:
    """Rules that could win as well as a rule that is known or as each other, once these rows are in force.

    `rules` are those that the rows name, where the caller has them; rules that are `ending` with them don't count.
    """
    rows = list(rows)
    fresh = [_Piece(number, line) for number, line in rows if line.act != RETIRE]
    patterns = [piece.row for piece in fresh if scope.is_pattern(piece.line.key)]
    if len(patterns) > PATTERNS_MAX:
        return [Fault(patterns[PATTERNS_MAX], "key", f"one set takes up to {PATTERNS_MAX:,} patterns; split it")]
    if rules is None:
        rules = rules_by_id(line.rule_id for _, line in rows if line.rule_id)
    replaced = {line.rule_id for _, line in rows if line.rule_id} | set(ending)
    buckets: dict[Bucket, list[_Piece]] = defaultdict(list)
    for piece in fresh:
        buckets[_bucket(piece.line)].append(piece)
    found: dict[int, str] = {}
    for number, rival in _beside_known(buckets, replaced):
        found.setdefault(number, rival)
    for number, rival in _beside_each_other(buckets, _left(rows, rules, buckets), row_of):
        found.setdefault(number, rival)
    return [Fault(number, "key", said) for number, said in sorted(found.items())]


def could_both_win(a: Line, b: Line) -> bool:
    """Whether a document can exist on which both equally specific rules apply."""
    return _are_near(a, b) and all(
        set(scope.allowed(a.conditions[name])) & set(scope.allowed(b.conditions[name]))
        for name in set(a.conditions) & set(b.conditions)
    )


def _beside_known(buckets: Mapping[Bucket, list[_Piece]], replaced: Collection[int]) -> Iterator[tuple[int, str]]:
    """Rows that a known rule stands against; what stays of a changed rule stood beside it before."""
    seen: set[int] = set()
    for rule in _possible_rivals(list(buckets)):
        bucket = buckets.get(_place(rule.kind, rule.specificity, rule.key), ())
        near = [p for p in bucket if p.row not in seen and _meet(p.line.dimensions, place_of(rule))]
        if near and rule.pk not in replaced:
            known = replace(retirement_of(rule, rule.effective_from), effective_to=rule.effective_to)
            for piece in near:
                if said := _clash(piece.line, known):
                    seen.add(piece.row)
                    yield piece.row, f"this and rule {rule.pk} ({rule.key} = {rule.value}) {said}"


def _left(
    rows: Iterable[tuple[int, Line]], rules: Mapping[int, KnownRule], buckets: Mapping[Bucket, list[_Piece]]
) -> Mapping[Bucket, list[_Piece]]:
    """What stays of the rules that rows change or retire, where another row says something new beside it."""
    found: dict[Bucket, list[_Piece]] = defaultdict(list)
    for number, line in rows:
        old = rules.get(line.rule_id or 0)
        if old is None or old.known_to is not None:
            continue
        place = _place(old.kind, old.specificity, old.key)
        if any(piece.row != number for piece in buckets.get(place, ())):
            same = retirement_of(old, old.effective_from)
            for start, end in spans.left_of((old.effective_from, old.effective_to), span_after(line)):
                stays = replace(same, act=CREATE, effective_from=start, effective_to=end)
                found[place].append(_Piece(number, stays, old.pk))
    return found


def _beside_each_other(
    buckets: Mapping[Bucket, list[_Piece]], left: Mapping[Bucket, list[_Piece]], row_of: Callable[[int], int]
) -> Iterator[tuple[int, str]]:
    """Rows that another row of the set stands against: of two the later one has the fault."""
    for place, bucket in buckets.items():
        stays = left.get(place, ())
        for nth, piece in enumerate(bucket):
            for other in (*bucket[:nth], *stays):
                if other.row == piece.row:
                    continue
                if said := _clash(piece.line, other.line):
                    first, last = sorted((piece, other), key=lambda p: p.row)
                    rival = first.named(last.row)
                    yield last.row, f"{last.named(last.row)} and {_numbered(first, rival, row_of)} {said}"


def _numbered(piece: _Piece, words: str, row_of: Callable[[int], int]) -> str:
    return f"{words} (row {row_of(piece.row)})" if piece.rule else f"row {row_of(piece.row)} {words}"


def _clash(a: Line, b: Line) -> str:
    """What is wrong with two rules of one bucket standing together; "" where nothing is."""
    if a.is_fallback == b.is_fallback:
        return "could both win" if could_both_win(a, b) else ""
    if _are_near(a, b) and identity(a) == identity(b):
        return "have the same key and scope on the same days"
    return ""


def _are_near(a: Line, b: Line) -> bool:
    """Whether some key falls under both, at one place and on one day."""
    if a.effective_from >= (b.effective_to or END_OF_TIME) or b.effective_from >= (a.effective_to or END_OF_TIME):
        return False
    return _meet(a.dimensions, b.dimensions) and scope.overlap(a.key, b.key)


def _meet(some: Iterable[str], others: Iterable[str]) -> bool:
    """Whether a document can stand in both places."""
    return not any(x and y and x != y for x, y in zip(some, others, strict=True))


def _bucket(line: Line) -> Bucket:
    """Rules that could both win stand in one bucket: the same exact key, or any pattern. A fallback and another one
    could be the same rule, so they stand together."""
    return _place(line.kind, line.specificity, line.key)


def _place(kind: str, specificity: int, key: str) -> Bucket:
    return (kind, scope.without_fallback(specificity), "*" if scope.is_pattern(key) else key)


def _possible_rivals(buckets: Collection[Bucket]) -> Iterator[KnownRule]:
    yield from rules_with_keys((kind, key) for kind, _, key in buckets if key != "*")
    yield from patterns_of({kind for kind, _, key in buckets if key == "*"})
