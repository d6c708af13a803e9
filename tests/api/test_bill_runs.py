"""Bill runs as a machine reads them: of its own entities, by pages, each number as the portal has it."""

import datetime as dt
from decimal import Decimal

import pytest

from q2c.transactions.bill_runs import BillRun
from tests import factories
from tests.api.conftest import bearer, make_client

RUNS = "/api/v1/bill-runs"
NOVEMBER = dt.date(2026, 11, 1)


@pytest.fixture
def runs(house):
    """Three runs of GB01, one of US01; by name."""
    made = {}
    for name, entity, day, state, connection in (
        ("NOV-1", "GB01", 1, "posted", "stripe"), ("NOV-2", "GB01", 2, "held", "stripe"),
        ("NOV-3", "GB01", 2, "gathering", "zuora"), ("US-NOV", "US01", 3, "complete", "stripe"),
    ):  # fmt: skip
        made[name] = factories.make_bill_run(
            name, rows=0, legal_entity_code=entity, day=NOVEMBER.replace(day=day), state=state,
            connection_code=connection,
        )  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["US-NOV", "NOV-3", "NOV-2", "NOV-1"]),
        ({"state": "held"}, ["NOV-2"]),
        ({"legal_entity": "GB01"}, ["NOV-3", "NOV-2", "NOV-1"]),
        ({"legal_entity": "XX01"}, []),
        ({"connection": "zuora"}, ["NOV-3"]),
        ({"day": "2026-11-02"}, ["NOV-3", "NOV-2"]),
        ({"day": "2026-11-02", "state": "gathering"}, ["NOV-3"]),
    ],
)
def test_runs_are_listed_the_newest_day_first_as_asked(runs, asked, names):
    make_client("upstream")
    answer = bearer("upstream").get(RUNS, asked)
    assert (answer.status_code, [run["name"] for run in answer.json()["items"]]) == (200, names)


@pytest.mark.parametrize(
    ("entities", "names"),
    [(None, ["US-NOV", "NOV-3", "NOV-2", "NOV-1"]), (["US01"], ["US-NOV"]), (["GB01"], ["NOV-3", "NOV-2", "NOV-1"])],
)
def test_a_caller_sees_the_runs_of_its_entities_and_a_foreign_one_is_an_unknown_one(runs, entities, names):
    make_client("some", entities=entities)
    api = bearer("some")
    assert [run["name"] for run in api.get(RUNS).json()["items"]] == names
    unknown = api.get(f"{RUNS}/999999").json()
    for name, run in runs.items():
        answer = api.get(f"{RUNS}/{run.pk}")
        assert answer.status_code == (200 if name in names else 404)
        if name not in names:
            assert (answer.json()["code"], answer.json()["detail"]) == ("not-found", unknown["detail"])


def test_the_pages_hold_each_run_once_also_of_one_day(runs):
    make_client("upstream")
    api, seen, after = bearer("upstream"), [], None
    for _ in range(5):
        page = api.get(RUNS, {"limit": 1, **({"after": after} if after else {})}).json()
        seen += [run["name"] for run in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert (seen, after) == (["US-NOV", "NOV-3", "NOV-2", "NOV-1"], None)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"state": "open"}, "state"), ({"limit": "0"}, "limit"), ({"limit": "201"}, "limit"), ({"limit": "x"}, "limit"),
        ({"day": "2026-11-31"}, "day"), ({"day": "20261130"}, "day"), ({"day": ""}, "day"), ({"after": "9"}, "after"),
        ({"after": "2026-13-01_1"}, "after"), ({"after": "2026-11-01_"}, "after"), ({"after": "0000-01-01_1"}, "after"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(runs, asked, field):
    make_client("upstream")
    answer = bearer("upstream").get(RUNS, asked)
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert (answer.json()["code"], answer.json()["errors"][0]["field"]) == ("malformed", field)


@pytest.mark.parametrize("run_id", ["nonsense", "-1", "1.0", "9" * 16, "\u0661"])
def test_what_is_no_id_is_not_found(house, run_id):
    make_client("upstream")
    assert bearer("upstream").get(f"{RUNS}/{run_id}").json()["code"] == "not-found"


def test_a_run_tells_where_its_documents_are_and_why_it_stands(house):
    run = factories.make_bill_run("NOV-1", rows=2, day=NOVEMBER)
    BillRun.objects.filter(pk=run.pk).update(reasons=["1 invoice is missing."], state="held")
    part = run.parts.get()
    run.parts.update(expected_count=4)
    make_client("upstream")
    api = bearer("upstream")
    told = api.get(f"{RUNS}/{run.pk}").json()
    listed = api.get(RUNS).json()["items"][0]
    assert told["documents"] == {"expected": 4, "received": 3, "waiting": 2, "held": 1, "posted": 0, "given_up": 0}
    assert (told["id"], told["day"], told["state"], told["reasons"]) == (
        str(run.pk), "2026-11-01", "held", ["1 invoice is missing."],
    )  # fmt: skip
    assert listed == {name: value for name, value in told.items() if name in listed}
    [shown] = told["parts"]
    assert (shown["document_type"], shown["currency"], shown["expected_count"]) == ("invoice", part.currency, 4)
    for place in ("received", "held", "waiting"):
        assert shown[f"{place}_count"] == getattr(part, f"{place}_count"), place
        assert Decimal(shown[f"{place}_amount"]) == getattr(part, f"{place}_amount"), place


def test_nothing_is_decided_by_a_machine(runs):
    make_client("upstream")
    for path in (RUNS, f"{RUNS}/{runs['NOV-2'].pk}"):
        assert bearer("upstream").post(path, {}, content_type="application/json").status_code == 405


def test_a_page_costs_as_many_queries_whatever_its_length(runs, django_assert_max_num_queries):
    make_client("upstream")
    api = bearer("upstream")
    for n in range(20):
        factories.make_bill_run(f"MORE-{n}", rows=1)
    with django_assert_max_num_queries(6):
        assert len(api.get(RUNS).json()["items"]) == 24
