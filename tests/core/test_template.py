"""The migrated database that test runs share is made anew as soon as what it's made from may differ."""

from __future__ import annotations

import datetime as dt

import pytest

from tests import template


@pytest.fixture
def made_of(tmp_path, monkeypatch, time_machine):
    """A tree and an installation of their own, on a day of their own; returns the tree."""
    for folder in (*template.ROOMS, "tests", "django"):
        (tmp_path / folder).mkdir()
    (tmp_path / "q2c" / "0001_initial.py").write_text("one = 1")
    (tmp_path / "django-5.2.1.dist-info").mkdir()
    monkeypatch.setattr(template, "ROOT", tmp_path)
    monkeypatch.setattr(template, "PACKAGES", tmp_path)
    time_machine.move_to(dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC))
    return tmp_path


CHANGES = {
    "a line": lambda tree, clock: (tree / "q2c" / "0001_initial.py").write_text("one = 2"),
    "a file": lambda tree, clock: (tree / "exceptions" / "0002_more.py").write_text(""),
    "a file's name": lambda tree, clock: (tree / "q2c" / "0001_initial.py").rename(tree / "q2c" / "0001_first.py"),
    "a package": lambda tree, clock: (tree / "django-5.2.1.dist-info").rename(tree / "django-5.2.2.dist-info"),
    "the day": lambda tree, clock: clock.shift(dt.timedelta(days=1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_state_has_another_database(made_of, time_machine, change):
    before = template.digest()
    CHANGES[change](made_of, time_machine)
    assert template.digest() != before


def test_tests_alone_are_run_on_the_same(made_of, time_machine):
    before = template.digest()
    (made_of / "tests" / "test_new.py").write_text("def test_new(): pass")
    time_machine.shift(dt.timedelta(minutes=5))
    assert template.digest() == before
