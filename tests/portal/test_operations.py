"""Operations: figures that were counted, lights in words, and only of the entities that the person sees."""

import datetime as dt

import pytest
from django.utils import timezone

from connectors.models import Connection, ConnectionHealth
from q2c.core import brokers, metrics, stats
from q2c.core.leases import take_lease
from q2c.core.models import Lease, StatDay, StatDelta, StatNow
from q2c.flows.schedules import QUEUES
from q2c.portal import running
from q2c.transactions import counting
from q2c.transactions.models import Worker, WorkItem
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def living():
    take_lease("beat", holder="a:1", seconds=60)
    for number, queue in enumerate(QUEUES, start=2):
        take_lease(f"worker:{queue}@a:{number}", holder=f"a:{number}", seconds=60)


def flow_row(page, code="invoice_to_erp"):
    return next(row for row in page.context["flows"] if row.code == code)


def test_a_flow_shows_what_was_counted_and_each_number_leads_to_its_list(sign_in, living):
    factories.make_entity("GB01")
    factories.make_connection()
    for _ in range(3):
        factories.make_transaction("held")
    factories.count_work(40, 2)
    page = sign_in("platform").get("/operations/")
    row = flow_row(page)
    assert (row.figures.completed, row.figures.held, row.figures.share, row.figures.healed) == (40, 2, "95.2", 1)
    assert (row.now.held, row.light) == (3, "holds")
    html = page.content.decode()
    assert "Invoice to ERP holds 3 documents; the other flows run" in html
    assert "Holds documents" in html  # the light's word, not its colour
    assert '/transactions/?flow=invoice_to_erp&amp;state=held"' in html
    (system,) = page.context["systems"]
    assert (system.calls.total, system.calls.failed, system.calls.share) == (41, 1, "97.5")


def test_another_entitys_figures_are_not_seen(sign_in, living):
    for code in ("GB01", "US01"):
        factories.make_entity(code)
        factories.count_work(10, 0, entity=code)
    factories.make_transaction("held", legal_entity_code="US01")
    counting.look_at_open()
    of_gb = sign_in("controller", entities=("GB01",))
    row = flow_row(of_gb.get("/operations/?entity=US01"))
    assert (row.figures.completed, row.now.held) == (10, 0)
    both = flow_row(sign_in("controller").get("/operations/"))
    assert (both.figures.completed, both.now.held) == (20, 1)
    one = flow_row(sign_in("controller").get("/operations/?entity=US01"))
    assert (one.figures.completed, one.now.held) == (10, 1)


def test_lights_tell_what_fails_what_is_stuck_and_what_is_paused(sign_in, living):
    factories.make_entity("GB01")
    factories.count_work(1, 9, flow="payment_to_erp")
    stuck = factories.make_transaction("running", flow="refund_to_erp")
    due = timezone.now() - dt.timedelta(minutes=20)
    WorkItem.objects.create(transaction=stuck, flow=stuck.flow, lane="l", lane_sequence=1, available_at=due)
    factories.make_transaction("unknown", flow="credit_memo_to_erp")
    factories.make_pause(flow="payout_to_erp", legal_entity_code="")
    counting.look_at_open()
    lights = {row.code: row.light for row in sign_in("platform").get("/operations/").context["flows"]}
    assert {code: light for code, light in lights.items() if light != "idle"} == {
        "payment_to_erp": "failing", "refund_to_erp": "stuck", "credit_memo_to_erp": "unknown",
        "payout_to_erp": "paused",
    }  # fmt: skip


def test_what_is_due_stands_in_its_lane_and_a_system_tells_its_breaker_quota_and_expiry(sign_in, living):
    netsuite = factories.make_connection()
    Connection.objects.update(secrets_expire_at=timezone.now() + dt.timedelta(days=6, hours=1))
    ConnectionHealth.objects.filter(connection=netsuite).update(stopped=["invoice"])
    for priority in (3, 5, 5, 9):
        waiting = factories.make_transaction("waiting", target_connection="netsuite")
        WorkItem.objects.create(
            transaction=waiting, flow=waiting.flow, lane=str(waiting.pk), lane_sequence=1, priority=priority,
            available_at=timezone.now() - dt.timedelta(minutes=1),
        )  # fmt: skip
    counting.look_at_open()
    page = sign_in("platform").get("/operations/")
    (row,) = page.context["systems"]
    assert row.now.lane_words == "1 for a close, 2 everyday, 1 back-fill"
    assert (row.breaker, row.expires_in, row.now.on_the_way) == ("Stopped for invoice", 6, 4)
    assert "in 6 days" in page.content.decode()


def test_a_process_that_died_is_told_and_so_is_that_nothing_is_carried(sign_in):
    take_lease("worker:flows+doors@a:2", holder="a:2", seconds=60)
    died = timezone.now() - dt.timedelta(minutes=3)
    Lease.objects.update(until=died)
    Worker.objects.create(id="w", host="a", process=3, started_at=died, beat_at=died, carried_count=12)
    page = sign_in("platform").get("/operations/")
    broker, *others = page.context["processes"]
    assert (broker.part, broker.state, broker.says) == ("Broker", "lives", "")
    assert [(p.part, p.where, p.state, p.carried) for p in others] == [
        ("Worker of flows, doors", "a:2", "gone", None), ("Carries documents", "a:3", "ended", 12),
    ]  # fmt: skip
    html = page.content.decode()
    assert "No worker lives and beat doesn’t live: nothing is carried" in html
    assert "Nobody has looked yet how much is open" in html


def test_a_broker_that_is_away_is_told_with_what_its_absence_means_and_is_no_fault_of_beats(
    sign_in, living, settings, monkeypatch
):
    monkeypatch.setattr(brokers, "_asked", {})
    settings.REDIS_URL = "redis://:secret@127.0.0.1:1/0"
    page = sign_in("platform").get("/operations/")
    html = page.content.decode()
    assert "The broker doesn’t answer: nothing is carried" in html
    assert "each process keeps to a quarter of the rate" in html
    assert "the broker doesn’t answer, so nobody is nudged to do it" in html
    assert "is behind or gone" not in html
    assert "127.0.0.1:1" in html
    assert "secret" not in html
    assert b"q2c_broker_up 0.0" in metrics.scrape()


@pytest.mark.parametrize(
    ("gone", "says"),
    [
        (["doors"], "No worker of doors lives: messages aren’t read and no system is polled"),
        (
            ["reconciliation"],
            "No worker of reconciliation lives: nobody is alerted, and nothing is compared, anchored or added up",
        ),
        (
            ["doors", "reconciliation"],
            "No worker of doors or reconciliation lives: messages aren’t read and no system is polled; nobody is "
            "alerted, and nothing is compared, anchored or added up",
        ),
        (["flows"], "No worker of flows lives: nothing is carried"),
        (["flows", "doors"], "No worker of doors or flows lives: nothing is carried"),
        (["doors", "beat"], "No worker of doors lives and beat doesn’t live: nothing is carried"),
        ([*QUEUES], "No worker lives: nothing is carried"),
    ],
)
def test_each_queue_without_a_worker_is_told_with_what_stands_still(sign_in, living, gone, says):
    for name in gone:
        Lease.objects.filter(name__startswith=name if name == "beat" else f"worker:{name}@").delete()
    html = sign_in("platform").get("/operations/").content.decode()
    assert f"<h1>{says}</h1>" in html
    assert "Every flow runs" not in html


def test_three_parts_that_are_missing_are_one_sentence(sign_in, monkeypatch):
    monkeypatch.setattr(brokers, "answered", lambda url: False)
    html = sign_in("platform").get("/operations/").content.decode()
    assert "The broker doesn’t answer, no worker lives and beat doesn’t live: nothing is carried" in html


def test_whether_the_broker_answers_is_asked_once_in_ten_seconds(monkeypatch):
    asked = []
    monkeypatch.setattr(brokers, "_asked", {})
    monkeypatch.setattr(brokers, "answers", lambda url: bool(asked.append(url)))
    now = [100.0]
    monkeypatch.setattr(brokers.time, "monotonic", lambda: now[0])
    for seconds in (0, 5, 4.9, 0.2):
        now[0] += seconds
        assert not brokers.answered("redis://a")
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://:pw@valkey:6379/0", "valkey:6379"),
        ("unix://:pw@/run/v.sock?db=0", "a socket of this host"),
        ("sentinel://:pw@s1:26379,s2:26379/main?db=0", "main, of 2 sentinels"),
    ],
)
def test_the_brokers_place_is_told_without_its_password(url, place):
    assert brokers.place_of(url) == place


def test_figures_that_wait_to_be_added_up_are_told_to_be_late(sign_in, living):
    counting.look_at_open()
    client = sign_in("platform")
    assert "is behind or gone" not in client.get("/operations/").content.decode()
    stats.note("completed", flow="invoice_to_erp", seconds=1.0)
    for seconds, is_late in ((5, False), (90, True)):
        StatDelta.objects.update(at=timezone.now() - dt.timedelta(seconds=seconds))
        assert ("is behind or gone" in client.get("/operations/").content.decode()) is is_late
    stats.roll_up()
    StatNow.objects.update(at=timezone.now() - dt.timedelta(minutes=5))
    assert "is behind or gone" in client.get("/operations/").content.decode()


def test_the_days_of_a_close_are_each_entitys_own_working_days(sign_in):
    factories.make_period("GB01", "2026-10", is_open=True)
    factories.make_period("JP01", "2026-10", is_open=True)
    factories.make_rule("2026-11-02", "A day off", kind="holiday", connection_code="", legal_entity_code="JP01")
    stats.note("held", entity="GB01", count=7)
    stats.roll_up()
    StatDay.objects.update(day=dt.date(2026, 11, 2))
    cells = dict(running.heat_of(["GB01", "JP01"], dt.date(2026, 10, 31)))
    first = running.CLOSE_DAYS.index(1)
    assert (cells["GB01"][first].day, cells["JP01"][first].day) == (dt.date(2026, 11, 2), dt.date(2026, 11, 3))
    assert (cells["GB01"][first].held, cells["GB01"][first].shade, cells["JP01"][first].held) == (7, 2, 0)
    html = sign_in("controller").get("/operations/?period=2026-10").content.decode()
    assert "received_from=2026-11-02&amp;received_to=2026-11-02" in html


def test_one_flow_is_told_by_hour_by_day_by_place_and_why_documents_were_held(sign_in, living):
    factories.make_entity("GB01")
    factories.make_connection()
    factories.count_work(40, 2)
    client = sign_in("platform")
    day = client.get("/operations/flows/invoice_to_erp/")
    assert len(day.context["lines"]) == 24
    newest = day.context["lines"][0].figures
    assert (newest.begun, newest.completed, newest.held) == (42, 40, 2)
    assert day.context["why"] == [("mapping", 2)]
    assert [(code, entity) for code, entity, _ in day.context["places"]] == [("netsuite", "GB01")]
    bar = day.context["bars"][-1]
    assert (bar.completed, bar.completed_y + bar.completed) == (58, 60)
    week = client.get("/operations/flows/invoice_to_erp/?span=week")
    assert [line.figures.completed for line in week.context["lines"]] == [40, 0, 0, 0, 0, 0, 0]
    assert client.get("/operations/flows/none_such/").status_code == 404


def test_service_levels_show_their_budget_and_when_it_is_used_up(sign_in, living):
    factories.count_work(97, 3)
    page = sign_in("platform").get("/operations/")
    row = next(row for row in page.context["levels"] if row["level"].code == "success_rate")
    assert (row["share"], row["total"], row["bad"], row["burnt"], row["state"]) == ("97.0", 100, 3, 150, "spent")
    assert "propose one" in page.content.decode()
    assert "propose one" not in sign_in("auditor").get("/operations/").content.decode()
