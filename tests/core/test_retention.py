"""Months that policy lets go are dropped with an audit entry, and never while anything of them is unfinished."""

from __future__ import annotations

import datetime as dt
import threading
import time

import psycopg
import pytest
from django.db import connection, transaction
from django.db.utils import DatabaseError
from django.utils import timezone

from mappings.drafts import Line, check_lines
from q2c.core import audit, retention
from q2c.core.grants import grant_app_role
from q2c.core.models import AuditEntry
from q2c.inbox.models import InboundEvent, InboundKey
from q2c.inbox.replay import replay_event
from q2c.transactions.models import BusinessTransaction, StepRun
from q2c.transactions.workers import connection_parameters
from tests import factories
from tests.core.keeping import TABLES, make_months, make_old, make_old_message, march

pytestmark = pytest.mark.django_db


@pytest.fixture
def old_months(db):
    """Real partitions of March 2019, and one of raw bodies of three months ago."""
    make_months()


def test_an_expired_month_goes_with_its_rows_told_in_the_audit_chain_and_younger_ones_stay(old_months):
    old, young = make_old(), make_old(at=timezone.now())
    assert retention.drop_expired() == sorted(march(table) for table in TABLES)
    assert list(StepRun.objects.values_list("transaction_id", flat=True)) == [young.pk]
    entry = AuditEntry.objects.get(subject_id=march("transactions_steprun"))
    assert (entry.actor, entry.verb, entry.why) == ("portal", "drop_partition", "older than 84 months")
    assert (entry.data["table"], entry.data["rows"]) == ("transactions_steprun", 1)
    assert int(entry.data["checksum"]) > 0
    (dropped,) = retention.dropped_ranges("transactions_steprun")
    assert (dropped.contains(old.pk), dropped.contains(young.pk)) == (True, False)
    assert audit.verify() == audit.Verdict(len(TABLES))
    assert retention.drop_expired() == []


@pytest.mark.parametrize("state", ["running", "waiting", "unknown", "held"])
def test_a_month_with_an_unfinished_transaction_stays_whole(old_months, state):
    make_old(state)
    keyed = {march(table) for table in TABLES if table not in ("inbox_inboundevent", "outbox_outboxevent")}
    found = retention.expired_partitions()
    assert {child for child, why in found.items() if why == "a transaction of it is unfinished"} >= keyed
    assert not keyed & set(retention.drop_expired())
    assert StepRun.objects.count() == 1


def test_a_month_on_which_an_open_case_rests_stays_until_the_case_is_closed(old_months):
    txn = make_old()
    case = factories.make_case(transactions=[txn])
    assert retention.expired_partitions()[march("connectors_exchange")] == "an open case rests on it"
    assert march("transactions_steprun") not in retention.drop_expired()
    case.occurrences.update(closed_at=timezone.now())
    assert march("transactions_steprun") in retention.drop_expired()


@pytest.mark.parametrize(
    ("verdict", "leaves", "why"),
    [
        ("received", "nothing", "a message of it is due"),
        ("translated", "transaction", "a transaction that came of it is unfinished"),
        ("refused", "case", "an open case rests on it"),
    ],
)
def test_a_message_that_somebody_may_still_need_keeps_its_month(old_months, verdict, leaves, why):
    key = make_old_message(verdict)
    if leaves == "transaction":
        factories.make_transaction("held", event_id=key.event_id)
    if leaves == "case":
        case = factories.make_case(kind="malformed_event")
        case.occurrences.create(event_id=key.event_id, at=timezone.now())
    assert retention.expired_partitions()[march("inbox_inboundevent")] == why
    assert march("inbox_inboundevent") not in retention.drop_expired()
    assert InboundEvent.objects.filter(pk=key.event_id).exists()


def test_a_dropped_body_leaves_its_key_and_is_neither_shown_nor_run_again(old_months, client):
    key = make_old_message()
    assert march("inbox_inboundevent") in retention.drop_expired()
    assert InboundKey.objects.filter(pk=key.pk, dedupe_key=key.dedupe_key).exists()  # a late duplicate is still one
    person = factories.make_person("platform")
    client.force_login(person)
    assert client.get(f"/inbox/{key.event_id}/").status_code == 404
    with pytest.raises(InboundKey.DoesNotExist):
        replay_event(key.event_id, by=person, reason="the reader is mended")
    key.refresh_from_db()
    assert key.verdict == "translated"


def test_the_months_are_what_two_people_agreed_to_but_evidence_is_never_kept_shorter_than_seven_years(old_months):
    this_month = timezone.now().replace(day=1)
    before = [(this_month - dt.timedelta(days=1)).replace(day=1)]
    before.append((before[0] - dt.timedelta(days=1)).replace(day=1))
    last, one_earlier = (f"inbox_inboundevent_{month:%Y_%m}" for month in before)
    assert one_earlier not in retention.expired_partitions()
    rule = {"kind": "retention", "connection_code": "", "effective_from": dt.date(2020, 1, 1)}
    factories.make_rule("raw_bodies", "1", **rule)
    factories.make_rule("exchanges", "keep", **rule)
    factories.make_rule("steps", "1", **rule)
    found = retention.expired_partitions()
    assert (one_earlier in found, last in found) == (True, False)
    assert march("connectors_exchange") not in found
    assert [child for child in found if child.startswith("transactions_steprun")] == [march("transactions_steprun")]


@pytest.mark.parametrize(("value", "is_right"), [("24", True), ("keep", True), ("0", False), ("two years", False)])
def test_a_retention_rule_says_months_or_keep(db, value, is_right):
    line = Line(kind="retention", key="exchanges", value=value, effective_from=dt.date(2026, 1, 1))
    faults = [fault.text for fault in check_lines([line], by=factories.make_person("controller"))]
    assert faults == ([] if is_right else [f"{value} isn't a number of months, or the word keep"])


def test_the_portals_role_drops_nothing_but_what_policy_lets_go(old_months):
    make_old("held")
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'q2c_app'")
        if not cursor.fetchone():
            cursor.execute("CREATE ROLE q2c_app")
        grant_app_role("q2c_app")
        cursor.execute("SET LOCAL ROLE q2c_app")
        for refused, why in (
            ("SELECT q2c_drop_partition('inbox_inboundevent_2026_11')", "no month that policy lets go"),
            ("SELECT q2c_drop_partition('core_auditentry')", "no month that policy lets go"),
            (f"SELECT q2c_drop_partition('{march('connectors_exchange')}')", "a transaction of it is unfinished"),
            (f"DROP TABLE {march('inbox_inboundevent')}", "must be owner"),
        ):
            with pytest.raises(DatabaseError, match=why), transaction.atomic():
                cursor.execute(refused)
        BusinessTransaction.objects.update(state="completed")
        assert march("transactions_steprun") in retention.drop_expired()
        cursor.execute("RESET ROLE")


@pytest.fixture
def months_of_their_own(transactional_db):
    """As old_months, for a test whose transactions end."""
    make_months()
    yield
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS {march(table)}")


@pytest.mark.django_db(transaction=True)
def test_a_message_that_is_replayed_while_its_month_is_reckoned_keeps_the_month(months_of_their_own):
    key, dropped = make_old_message(), []
    with psycopg.connect(**connection_parameters()) as replaying:  # as replay_event: looked up, then opened
        replaying.execute("SELECT 1 FROM inbox_inboundevent WHERE id = %s", [key.event_id])
        replaying.execute("UPDATE inbox_inboundkey SET verdict = 'received' WHERE id = %s", [key.pk])
        dropping = threading.Thread(target=lambda: (dropped.extend(retention.drop_expired()), connection.close()))
        dropping.start()
        deadline = time.monotonic() + 60
        while dropping.is_alive() and not someone_waits() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert someone_waits()
    dropping.join(timeout=60)
    assert march("inbox_inboundevent") not in dropped
    assert march("outbox_outboxevent") in dropped
    assert InboundEvent.objects.filter(pk=key.event_id).exists()
    assert retention.expired_partitions()[march("inbox_inboundevent")] == "a message of it is due"


def someone_waits():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE NOT granted AND datname = current_database() AND relation::regclass::text = ANY(%s)",
            [["inbox_inboundevent", march("inbox_inboundevent")]],
        )
        return cursor.fetchone()[0] > 0
