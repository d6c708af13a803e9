"""Whatever rules the conflict detector lets stand together, no question that a document can ask has two answers."""

from __future__ import annotations

import datetime as dt
import itertools

from hypothesis import given
from hypothesis import strategies as st

from mappings import resolve, scope
from mappings.conflicts import could_both_win
from mappings.drafts import Line
from mappings.fetching import Rule

FIRST = dt.date(2026, 1, 1)
DAYS = [FIRST + dt.timedelta(days=n) for n in range(4)]
KEYS, PATTERNS = ["A", "AB", "ABC", "B"], ["*", "A*", "AB*", "B*"]
ENTITIES, CURRENCIES = ["", "GB01", "US01"], ["", "GBP", "USD"]
COUNTRIES = ["GB", "US"]
countries = st.sets(st.sampled_from(COUNTRIES), min_size=1).map(sorted)
conditions = st.one_of(st.just({}), st.fixed_dictionaries({"customer_country": countries}))


@st.composite
def lines(draw) -> Line:
    """A rule over few keys, entities, currencies, countries and days, so that many of them meet."""
    start = draw(st.integers(0, 2))
    end = draw(st.one_of(st.none(), st.integers(start + 1, 3)))
    is_fallback = draw(st.booleans())
    return Line(
        kind="item", key=draw(st.sampled_from(KEYS + PATTERNS)), value=draw(st.sampled_from("123456789")),
        legal_entity=draw(st.sampled_from(ENTITIES)), currency=draw(st.sampled_from(CURRENCIES)),
        conditions=draw(conditions), is_fallback=is_fallback, effective_from=DAYS[start],
        effective_to=None if end is None else DAYS[end],
    )  # fmt: skip


def accepted(wished: list[Line]) -> list[Line]:
    """Those that stand together by the detector's own word, in the order in which they were wished."""
    kept: list[Line] = []
    for line in wished:
        if not any(line.specificity == other.specificity and could_both_win(line, other) for other in kept):
            kept.append(line)
    return kept


def winners(rules: list[Line], key: str, entity: str, currency: str, country: str, on: dt.date) -> list[Rule]:
    """What the resolver finds, by its own choice among the rules over this key."""
    found = [
        Rule(
            line.specificity, number, line.kind, line.key, *line.dimensions, line.conditions, line.effective_from,
            line.effective_to, line.value, "", 1, line.is_fallback, scope.is_pattern(line.key),
        )
        for number, line in enumerate(rules)
        if line.key == key or (scope.is_pattern(line.key) and scope.matches(line.key, key))
    ]  # fmt: skip
    found.sort(key=lambda rule: -rule.specificity)
    return resolve._winners(found, ("", entity, currency, "", ""), on, {"customer_country": country})


@given(st.lists(lines(), max_size=8))
def test_no_document_finds_two_rules_that_win(wished):
    rules = accepted(wished)
    for asked in itertools.product(KEYS, ENTITIES[1:], CURRENCIES[1:], COUNTRIES, DAYS):
        assert len(winners(rules, *asked)) <= 1, asked


@given(lines(), lines())
def test_two_rules_are_called_a_conflict_only_if_a_document_exists_that_both_answer(one, other):
    if one.specificity != other.specificity or not could_both_win(one, other):
        return
    keys = [*KEYS, *(pattern.rstrip("*") or "A" for pattern in PATTERNS)]
    asked = itertools.product(keys, ENTITIES[1:], CURRENCIES[1:], COUNTRIES, DAYS)
    assert any(len(winners([one, other], *question)) == 2 for question in asked)
