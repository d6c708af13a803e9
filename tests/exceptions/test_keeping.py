"""Rows that policy lets go of: old alerts and rows of bulk actions, and never what an open case rests on."""

from __future__ import annotations

import datetime as dt

import pytest
from django.test import Client
from django.utils import timezone

from exceptions import keeping
from exceptions.models import AlertAttempt, AlertDelivery, AlertGroup, BulkAction, BulkItem, ExceptionCase
from q2c.core.models import AuditEntry
from tests import factories

pytestmark = pytest.mark.django_db
NOW = timezone.now()
MONTH = dt.timedelta(days=31)


def make_alert(months: int, kind: str = "missing_item_mapping", **fields) -> AlertGroup:
    """An alert that was over so many months ago, with a message that was sent."""
    at = NOW - months * MONTH
    group = factories.make_alert(kind, first_at=at, last_at=at, grew_at=at, over_at=at, **fields)
    AlertDelivery.objects.create(group=group, what="alert", person=None, channel=None, due_at=at, state="sent")
    return group


def make_action(months: int, case: ExceptionCase) -> BulkAction:
    """A bulk action on a case that ended so many months ago."""
    action = factories.make_bulk(factories.make_person("billing_ops"), case)
    BulkAction.objects.filter(pk=action.pk).update(state="done", ended_at=NOW - months * MONTH, done_count=1)
    return action


def closed(case: ExceptionCase) -> ExceptionCase:
    ExceptionCase.objects.filter(pk=case.pk).update(closed_at=NOW, state="resolved")
    return case


def test_alerts_that_are_over_for_a_year_go_with_their_messages_and_younger_and_running_ones_stay(monkeypatch):
    monkeypatch.setattr(keeping, "BATCH", 1)
    for n in range(2):
        make_alert(13, f"kind_{n}")
    young, running = make_alert(11), factories.make_alert("runs", first_at=NOW - 20 * MONTH)
    assert keeping.let_go() == {"alerts": 2, "bulk_rows": 0}
    assert set(AlertGroup.objects.values_list("pk", flat=True)) == {young.pk, running.pk}
    assert AlertDelivery.objects.get().group_id == young.pk
    told = AuditEntry.objects.filter(verb="let_go", subject_type="alerts")
    assert list(told.values_list("data__alerts", "data__messages")) == [(1, 1), (1, 1)]
    assert keeping.let_go() == {"alerts": 0, "bulk_rows": 0}


def test_an_alert_stays_while_a_case_of_it_is_open_or_a_message_waits():
    waits = make_alert(13, "waits")
    AlertDelivery.objects.update(state="waiting")
    of_open = make_alert(13)
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    ExceptionCase.objects.filter(pk=case.pk).update(
        opened_at=of_open.first_at, kind=of_open.kind, connection_code="", flow=""
    )
    assert keeping.let_go()["alerts"] == 0
    closed(case)
    AlertDelivery.objects.update(state="failed")
    assert keeping.let_go()["alerts"] == 2
    assert not AlertGroup.objects.filter(pk__in=[waits.pk, of_open.pk]).exists()


@pytest.mark.parametrize(("months", "gone"), [("3", 1), ("5", 0), ("keep", 0)])
def test_a_rule_says_how_long_and_keep_keeps_all(months, gone):
    factories.make_rule("alerts", months, kind="retention", connection_code="")
    make_alert(4)
    assert keeping.let_go()["alerts"] == gone


def test_rows_of_a_bulk_action_go_after_two_years_unless_its_case_is_open_and_its_counts_stay(monkeypatch):
    monkeypatch.setattr(keeping, "BATCH", 1)
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    old, young = make_action(25, case), make_action(20, case)
    assert keeping.let_go()["bulk_rows"] == 0
    closed(case)
    assert keeping.let_go()["bulk_rows"] == 1
    assert BulkItem.objects.get().action_id == young.pk
    client = Client()
    client.force_login(old.made_by)
    page = client.get(f"/exceptions/bulk/{old.pk}/").content.decode()
    assert "1 of 1 document is on the way again" in page
    assert "was let go of since" in page


def test_what_came_of_each_attempt_goes_with_its_message_and_is_not_counted_as_one():
    message = factories.make_message_to(factories.make_channel(sort="webhook"))
    AlertGroup.objects.filter(pk=message.group_id).update(over_at=NOW - 13 * MONTH)
    assert AlertAttempt.objects.count() == 2
    assert keeping.let_go()["alerts"] == 1
    assert (AlertAttempt.objects.count(), AuditEntry.objects.get(verb="let_go").data["messages"]) == (0, 1)
