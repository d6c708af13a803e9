"""What a bulk action's page says first: the answer, with its number in it. Pure words."""

from __future__ import annotations

from exceptions.bulk_results import BACK, LEFT, ON_WAY, PENDING, POSTED, Outcome, is_of_cases
from exceptions.freezing import ASSIGN
from exceptions.kind_words import CORRECT_AT_SOURCE, LOOK_AGAIN, REPOST, WAIVE
from exceptions.models import BulkAction

_MAY = {
    REPOST: "repost {}",
    LOOK_AGAIN: "have {} looked up again",
    CORRECT_AT_SOURCE: "send {} back to their source",
    WAIVE: "waive {}",
    ASSIGN: "assign {}",
}
_BEGINS = {
    REPOST: "{} will be reposted",
    LOOK_AGAIN: "{} will be looked up again",
    CORRECT_AT_SOURCE: "{} will wait for a corrected version",
    WAIVE: "{} will be waived",
    ASSIGN: "{} will be assigned",
}
_DONE = {
    REPOST: "on the way again",
    LOOK_AGAIN: "looked up again",
    CORRECT_AT_SOURCE: "waiting for a corrected version",
    WAIVE: "waived",
    ASSIGN: "assigned",
}


def headline(action: BulkAction, outcome: Outcome, phase: str, seconds_left: int) -> str:
    """One sentence for the heading, of what this person sees of it."""
    noun, counts = ("case" if is_of_cases(action) else "document"), outcome.counts
    if phase == "draft":
        return f"You may {_MAY[action.what].format(_share(counts[PENDING], outcome.total, noun))}"
    if phase == "asked":
        return f"{_BEGINS[action.what].format(_count(counts[PENDING], noun))} once somebody else approves"
    if phase == "waiting":
        begins = _BEGINS[action.what].format(_count(counts[PENDING], noun))
        return f"{begins} in {_count(seconds_left, 'second')}" if seconds_left else f"{begins} in a moment"
    if phase == "undone":
        return f"Undone: nothing happened to {_count(outcome.total, noun)}"
    if phase == "running":
        return (
            f"{outcome.begun:,} of {_count(counts[PENDING] + outcome.begun, noun)} {_is(outcome.begun)} "
            + (_DONE[action.what])
        )
    if phase == "carrying":
        return f"{counts[POSTED]:,} of {_count(outcome.begun, noun)} {_is(counts[POSTED])} posted" + _rest(outcome)
    done = counts[POSTED] if counts[POSTED] or counts[BACK] else outcome.begun
    word = "posted" if counts[POSTED] or counts[BACK] else _DONE[action.what]
    return f"{_count(done, noun)} {_is(done)} {word}".replace("no ", "No ", 1) + _rest(outcome)


def headline_of_counts(action: BulkAction) -> str:
    """The same of an action of which only the counts are kept."""
    noun = "case" if is_of_cases(action) else "document"
    if action.state == BulkAction.State.UNDONE:
        return f"Undone: nothing happened to {_count(action.item_count, noun)}"
    return f"{action.done_count:,} of {_count(action.item_count, noun)} {_is(action.done_count)} {_DONE[action.what]}"


def _rest(outcome: Outcome) -> str:
    counts, parts = outcome.counts, []
    if counts[ON_WAY]:
        parts.append(f"{counts[ON_WAY]:,} {_is(counts[ON_WAY])} on the way")
    if counts[BACK]:
        parts.append(f"{counts[BACK]:,} came back")
    if counts[LEFT]:
        parts.append(f"{counts[LEFT]:,} {'stays as it was' if counts[LEFT] == 1 else 'stay as they were'}")
    return "".join(f", {part}" for part in parts)


def _share(part: int, whole: int, noun: str) -> str:
    if part == whole:
        return _count(whole, noun) if whole == 1 else f"all {_count(whole, noun)}"
    return f"{part:,} of these {_count(whole, noun)}" if part else f"none of these {_count(whole, noun)}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else f"no {noun}s"


def _is(number: int) -> str:
    return "is" if number == 1 else "are"
