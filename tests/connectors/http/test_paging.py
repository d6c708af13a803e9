"""A list is walked to its end or not believed: never a part of it for the whole."""

import asyncio

import pytest

from connectors import paging
from connectors.paging import walk_pages
from q2c.core.problems import Problem


def walk(pages):
    """The rows of prepared pages: (rows, cursor of the next one)."""

    async def fetch(cursor):
        return pages[cursor or 0]

    async def story():
        return [row async for row in walk_pages(fetch, connection="acme")]

    return asyncio.run(story())


@pytest.mark.scenario(27, of="reading a list")
def test_a_page_that_is_filtered_to_nothing_goes_on():
    assert walk([(["a"], 1), ([], 2), (["b"], None)]) == ["a", "b"]


@pytest.mark.scenario(32)
def test_a_list_longer_than_may_be_walked_is_an_error_that_a_person_must_see(monkeypatch):
    monkeypatch.setattr(paging, "PAGES_MAX", 3)
    assert walk([([n], n + 1 if n < 2 else None) for n in range(3)]) == [0, 1, 2]
    with pytest.raises(Problem, match="more than 3 pages") as refusal:
        walk([([n], n + 1) for n in range(4)])
    assert (refusal.value.code, refusal.value.heals_by_itself) == ("answer_not_understood", False)


def test_a_cursor_that_comes_back_is_not_followed_for_ever():
    with pytest.raises(Problem, match="the cursor 1 came back"):
        walk([(["a"], 1), (["b"], 1)])
