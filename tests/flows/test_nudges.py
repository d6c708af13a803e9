"""One nudge waits for each flow and for the inbox; none that is needed is swallowed."""

from __future__ import annotations

import pytest
from celery import current_app

from q2c.flows import intake, nudger, tasks

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def sent(monkeypatch):
    """What goes to the broker; no mark is left of other tests."""
    found = []
    monkeypatch.setattr(tasks.run_flow, "apply_async", lambda args, **_: found.append(args[0]))
    for name in ("invoice_to_erp", "payment_to_erp", nudger.INBOX):
        nudger.mark_begun(name)
    yield found
    for name in ("invoice_to_erp", "payment_to_erp", nudger.INBOX):
        nudger.mark_begun(name)


@pytest.fixture
def no_work(monkeypatch):
    """Tasks find nothing to do."""
    monkeypatch.setattr(tasks, "carry", lambda code: 0)
    monkeypatch.setattr(intake, "carry_due_events", lambda: intake.Carried(0, frozenset()))


def test_nudges_of_a_flow_become_one_until_its_task_begins(sent, no_work):
    tasks.nudge(["invoice_to_erp"])
    tasks.nudge(["invoice_to_erp", "payment_to_erp"])
    assert sent == ["invoice_to_erp", "payment_to_erp"]
    tasks.run_flow("invoice_to_erp")
    tasks.nudge(["invoice_to_erp"])
    assert sent == ["invoice_to_erp", "payment_to_erp", "invoice_to_erp"]


def test_the_mark_goes_before_the_first_claim(sent, monkeypatch):
    marks = []
    monkeypatch.setattr(tasks, "carry", lambda code: marks.append(nudger.broker().get(f"q2c:nudge:{code}")))
    assert nudger.mark_waiting("invoice_to_erp")
    tasks.run_flow("invoice_to_erp")
    assert marks == [None]


def test_the_inbox_has_one_nudge_waiting_until_its_task_begins(sent, no_work):
    assert nudger.mark_waiting(nudger.INBOX)
    assert not nudger.mark_waiting(nudger.INBOX)
    tasks.carry_events()
    assert nudger.mark_waiting(nudger.INBOX)


def test_an_inbox_with_more_work_goes_on_with_one_nudge(sent, monkeypatch):
    monkeypatch.setattr(tasks, "PULLS_SECONDS", 0.0)
    monkeypatch.setattr(tasks.carry_events, "apply_async", lambda **_: sent.append(nudger.INBOX))
    tasks.carry_events()
    assert sent == [nudger.INBOX]
    assert not nudger.mark_waiting(nudger.INBOX)


@pytest.mark.parametrize(
    ("task", "queue"),
    [("run_flow", "flows"), ("resume_due", "flows"), ("carry_events", "doors"), ("poll", "doors"),
     ("refresh_lists", "doors"), ("forget_answers", "reconciliation")],
)  # fmt: skip
def test_each_task_goes_to_the_queue_of_its_urgency(task, queue):
    route = current_app.amqp.router.route({}, getattr(tasks, task).name)
    assert route.get("queue", current_app.amqp.queues[current_app.conf.task_default_queue]).name == queue


def test_a_broker_that_is_away_keeps_no_task_from_its_work(sent, no_work, monkeypatch, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(nudger, "broker", nudger.broker.__wrapped__)  # the portal's own client, made anew
    tasks.run_flow("invoice_to_erp")
    tasks.nudge(["invoice_to_erp"])
    assert sent == []
