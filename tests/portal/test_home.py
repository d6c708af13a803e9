"""Home counts what the queue and the navigation count: nothing that is left alone, nothing late that waits outside."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

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
