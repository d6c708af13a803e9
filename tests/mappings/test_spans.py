"""Days on which rules hold: what stays beside a change, what is free, what is shared."""

from __future__ import annotations

import datetime as dt

import pytest

from mappings.spans import free, left_of, shared


def span(text: str) -> tuple[dt.date, dt.date | None]:
    """Days of January: "5-9", or "5-" without an end."""
    start, _, end = text.partition("-")
    return dt.date(2026, 1, int(start)), dt.date(2026, 1, int(end)) if end else None


@pytest.mark.parametrize(
    ("old", "change", "stays"),
    [
        ("10-", "10-", []),
        ("10-", "5-", []),
        ("10-", "15-", ["10-15"]),
        ("10-", "15-20", ["10-15", "20-"]),
        ("10-", "5-12", ["12-"]),
        ("10-", "1-5", ["10-"]),  # wholly before it: nothing of it begins sooner
        ("10-20", "1-10", ["10-20"]),
        ("10-20", "12-25", ["10-12"]),
        ("10-20", "20-25", ["10-20"]),
    ],
)
def test_what_stays_of_a_rule_never_holds_on_a_day_on_which_it_did_not(old, change, stays):
    assert left_of(span(old), span(change)) == [span(text) for text in stays]


@pytest.mark.parametrize(
    ("taken", "left"),
    [([], ["5-20"]), (["1-7", "10-12"], ["7-10", "12-20"]), (["8-"], ["5-8"]), (["1-"], []), (["20-"], ["5-20"])],
)
def test_what_others_leave_free(taken, left):
    assert free(span("5-20"), [span(text) for text in taken]) == [span(text) for text in left]


@pytest.mark.parametrize(
    ("one", "other", "both"), [("5-10", "7-", "7-10"), ("5-", "7-", "7-"), ("5-10", "10-", None), ("5-", "1-6", "5-6")]
)
def test_what_two_share(one, other, both):
    assert shared(span(one), span(other)) == (span(both) if both else None)
