"""Home counts what the queue and the navigation count: nothing that is left alone, nothing late that waits outside.
What completed but isn't added up yet is told to be missing, never told as nothing."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from q2c.core import stats
from q2c.core.models import StatDelta
from q2c.transactions.counting import COMPLETED
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", ["billing_ops", "auditor"])
def test_home_the_queue_and_the_navigation_count_the_same_cases(client, role):
    now = timezone.now()
    hour = dt.timedelta(hours=1)
    factories.make_case("Waits")
    factories.make_case("Is late", due_at=now - hour)
    factories.make_case("Waits for the customer", due_at=now - hour, paused_for="customer")
    factories.make_case("Is left alone", snoozed_at=now)
    factories.make_case("Is left alone and late", snoozed_at=now, due_at=now - hour)
    client.force_login(factories.make_person(role))
    home = client.get("/")
    queue = client.get("/exceptions/cases/").context["counts"]
    counts = {name: home.context[f"{name}_count"].number for name in ("case", "all_case", "late")}
    assert counts == {"case": 3, "all_case": 3, "late": 1}
    assert (queue["open"].number, queue["late"].number) == (3, 1)
    assert {case.summary for case in home.context["cases"]} == {"Waits", "Is late", "Waits for the customer"}
    text = home.content.decode()
    assert "<b>1 case</b> is late" in text
    assert ("3 pieces of work wait for you" if role == "billing_ops" else "3 cases are open") in text.replace(
        "Three", "3"
    )


NOTHING = "Nothing is on the way or held"
MISSING = "isn’t counted here yet: it waits to be added up"


@pytest.mark.parametrize(
    ("waits_minutes", "state", "says", "never_says"),
    [
        (None, "", [NOTHING, "None completed since <time"], [MISSING]),
        (None, "cancelled", [NOTHING, "None completed since <time"], [MISSING, "arrived"]),
        (0.1, "", ["None completed since <time"], [MISSING]),
        (5, "", [NOTHING, MISSING, "Whether any completed isn’t known yet"], ["None completed"]),
        (5, "held", [MISSING, "What is on the way or held is counted now"], [NOTHING]),
        (None, "held", ["Completed: since <time", ">Sum<"], [MISSING]),
    ],
)  # fmt: skip
def test_what_completed_and_waits_to_be_added_up_is_told_to_be_missing(sign_in, waits_minutes, state, says, never_says):
    if state:
        factories.make_transaction(state)
    if waits_minutes is not None:
        stats.note(COMPLETED, flow="invoice_to_erp", entity="GB01", count=4000, seconds=1.0)
        StatDelta.objects.update(at=timezone.now() - dt.timedelta(minutes=waits_minutes))
    for fragment in ({}, {"HX-Request": "true"}):
        html = sign_in("controller").get("/", headers=fragment).content.decode()
        assert [words for words in says if words not in html] == []
        assert [words for words in never_says if words in html] == []
        assert ("See why in Operations" in html) is (MISSING in html)


def test_once_it_is_added_up_home_tells_what_completed_and_since_when(sign_in):
    factories.make_entity("GB01")
    stats.note(COMPLETED, flow="invoice_to_erp", entity="GB01", count=4000, seconds=1.0)
    StatDelta.objects.update(at=timezone.now() - dt.timedelta(minutes=5))
    client = sign_in("controller")
    assert client.get("/").context["sums"].get("completed") is None
    stats.roll_up()
    page = client.get("/")
    assert (page.context["sums"]["completed"], page.context["behind_since"]) == (4000, None)
    since = page.context["completed_since"]
    assert (since.minute, since.second) == (0, 0)
    assert dt.timedelta(hours=23) <= timezone.now() - since < dt.timedelta(hours=24)
