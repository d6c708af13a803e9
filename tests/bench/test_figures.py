"""Figures say the median of their runs, and a ratio above 1 always means better than the reference."""

import json

import pytest

from q2c.bench import figures
from q2c.bench.figures import RESULTS, Figure, Report, percentile


def test_a_figure_is_the_median_with_least_and_most():
    row = Figure("x_per_s", [3.0, 1.0, 2.0], "1/s").as_row({})
    assert (row["value"], row["least"], row["most"], row["ratio"]) == (2.0, 1.0, 3.0, None)


def test_more_than_the_reference_is_better_for_a_rate():
    assert Figure("x_per_s", [300.0], "1/s", "loop", [100.0]).ratio == 3.0


def test_less_than_the_reference_is_better_for_a_cost():
    assert Figure("x_ms", [2.0], "ms", "loop", [5.0], is_less_better=True).ratio == 2.5


def test_a_figure_that_was_not_measured_says_why_and_has_no_value():
    row = Figure("x", [], "min", note="not run: no file").as_row({})
    assert (row["value"], row["least"], row["most"], row["note"]) == (None, None, None, "not run: no file")


def test_the_results_file_has_the_agreed_fields(tmp_path):
    report = Report()
    report.add(Figure("x", [1.0], "s"))
    rows = json.loads(report.write(tmp_path).read_text())
    assert list(rows[0]) == [
        "key", "value", "unit", "least", "most", "reference", "reference_value", "ratio", "machine", "at", "commit",
    ]  # fmt: skip


def written(folder, monkeypatch, commit, *measured):
    monkeypatch.setattr(figures, "describe_run", lambda: {"machine": "m", "at": "now", "commit": commit})
    report = Report()
    report.add(*measured)
    return {r["key"]: (r["value"], r["commit"]) for r in json.loads(report.write(folder).read_text())}


def test_a_part_that_is_measured_alone_leaves_the_other_figures_with_their_own_commit(tmp_path, monkeypatch):
    written(tmp_path, monkeypatch, "one", Figure("x", [1.0], "s"), Figure("y", [2.0], "s"), Figure("z", [], "s"))
    told = written(tmp_path, monkeypatch, "two", Figure("y", [3.0], "s"), Figure("x", [], "s", note="not run: no file"),
                   Figure("z", [], "s"), Figure("new", [4.0], "s"))  # fmt: skip
    assert told == {"x": (1.0, "one"), "y": (3.0, "two"), "z": (None, "two"), "new": (4.0, "two")}
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


@pytest.mark.parametrize("left", ['[{"key": "x", "val', "7", '[1, {"no": "key"}]', ""])
def test_a_results_file_that_is_not_whole_is_written_anew(tmp_path, monkeypatch, left):
    (tmp_path / RESULTS).write_text(left)
    assert written(tmp_path, monkeypatch, "one", Figure("x", [1.0], "s")) == {"x": (1.0, "one")}


def test_the_95th_percentile_is_what_19_of_20_do_not_exceed():
    assert percentile([float(n) for n in range(1, 21)], 0.95) == 20.0
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 96.0
