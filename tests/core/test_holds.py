"""Under a legal hold nothing is dropped, erased or deleted; two people place it and two release it."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.models import Exchange
from exceptions import keeping as letting_go
from exceptions.models import AlertGroup
from exceptions.resolving import order_unwinding, unwinding
from q2c.core import approvals, audit, customer_keys, erasures, holds, retention
from q2c.core.grants import grant_app_role
from q2c.core.models import AuditEntry, CustomerKey, Erasure, ExpiredMonth, LegalHold
from q2c.core.partitions import month_partition_sql
from q2c.outbox.models import OutboxEvent
from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.core import keeping
from tests.core.keeping import LONG_AGO, make_key, make_old, march
from tests.factories import make_hold

pytestmark = pytest.mark.django_db


@pytest.fixture
def old_months(db):
    """Real partitions of March 2019."""
    keeping.make_months()


@pytest.fixture(autouse=True)
def fresh_keys():
    """No key of another test is known to this process."""
    customer_keys.forget_keys()
    yield
    customer_keys.forget_keys()


def due() -> set[str]:
    return {child for child, why in retention.expired_partitions().items() if not why}


STEPS = "transactions_steprun"


@pytest.mark.parametrize(
    ("scope", "is_held"),
    [
        ({}, True),
        ({"first_day": dt.date(2019, 3, 1), "last_day": dt.date(2019, 3, 2)}, True),
        ({"first_day": dt.date(2019, 5, 1)}, False),
        ({"legal_entity": "GB01"}, True),
        ({"legal_entity": "US01"}, False),
        ({"legal_entity": "GB01", "first_day": dt.date(2019, 3, 14), "last_day": dt.date(2019, 3, 14)}, True),
        ({"legal_entity": "GB01", "first_day": dt.date(2019, 3, 15)}, False),
        ({"legal_entity": "GB01", "first_day": dt.date(2018, 12, 31), "last_day": dt.date(2018, 12, 31)}, True),
        ({"customer": "stripe:cus_1"}, True),
        ({"customer": "salesforce:001A"}, True),  # another id of the same customer
        ({"customer": "stripe:cus_2"}, False),
        ({"customer": "stripe:cus_1", "legal_entity": "US01"}, False),
        ({"lane": "stripe:invoice:in_1"}, True),
        ({"lane": "stripe:invoice:in_2"}, False),
    ],
)
def test_a_month_stays_exactly_while_something_of_it_is_covered(old_months, scope, is_held):
    """A transaction of GB01 and customer cus_1, dated 31 Dec 2018, that came in on 14 March 2019."""
    make_old(legal_entity_code="GB01", customer_id="cus_1", lane="stripe:invoice:in_1",
             document_date=dt.date(2018, 12, 31))  # fmt: skip
    GoldenRecord.objects.create(record_type="customer", record_key="salesforce:customer:001A", name="Ann", content={},
                                changed_at=timezone.now(), aliases=["salesforce:001A", "stripe:cus_1"])  # fmt: skip
    factories.make_entity("US01")
    assert march(STEPS) in due()
    hold = make_hold(**scope)
    assert (march(STEPS) in due()) is not is_held
    if is_held:
        assert retention.expired_partitions()[march(STEPS)] == f"legal hold LH-{hold.pk} “Tax audit” (TA-7)"


def test_what_names_no_entity_counts_as_any_entitys(old_months):
    make_old(legal_entity_code="")
    make_hold(legal_entity="GB01")
    assert march(STEPS) not in due()


def test_a_day_is_one_of_the_entitys_own_zone(old_months):
    factories.make_entity("JP01")
    make_old(at=LONG_AGO.replace(hour=20), legal_entity_code="JP01", document_date=None)  # the 15th in Tokyo
    make_hold(legal_entity="JP01", first_day=dt.date(2019, 3, 15), last_day=dt.date(2019, 3, 15))
    assert march(STEPS) not in due()


def test_a_message_and_what_is_told_of_a_held_document_stay_with_it(old_months):
    key = keeping.make_old_message()
    txn = make_old(event_id=key.event_id, customer_id="cus_1")
    OutboxEvent.objects.create(id=keeping.id_of(LONG_AGO), event_type="InvoicePosted", subject="x", at=LONG_AGO,
                               transaction_id=txn.pk, data={})  # fmt: skip
    make_hold(customer="stripe:cus_1")
    held = {child for child, why in retention.expired_partitions().items() if why.startswith("legal hold")}
    assert {march("inbox_inboundevent"), march("outbox_outboxevent"), march(STEPS)} <= held
    assert not held & set(retention.drop_expired())


def test_a_release_makes_due_what_it_held_and_the_look_says_so(old_months):
    make_old()
    hold = make_hold()
    assert retention.drop_expired() == []
    seen = ExpiredMonth.objects.get(pk=march(STEPS))
    assert (seen.holds, seen.why_kept) == ([hold.pk], f"legal hold LH-{hold.pk} “Tax audit” (TA-7)")
    keeping.release(hold)
    assert ExpiredMonth.objects.get(pk=march(STEPS)).why_kept == ""
    assert march(STEPS) in retention.drop_expired()
    assert not ExpiredMonth.objects.exists()
    verbs = AuditEntry.objects.filter(subject_type="legal_hold", subject_id=str(hold.pk)).order_by("sequence")
    assert list(verbs.values_list("verb", flat=True)) == [
        "propose", "approve", "hold_in_force", "propose", "approve", "hold_released",
    ]  # fmt: skip
    assert audit.verify().holds


def test_a_month_that_a_hold_covers_since_the_look_is_kept_and_hasnt_failed(old_months, monkeypatch):
    make_old()
    before = retention.expired_months()
    hold = make_hold()
    monkeypatch.setattr(retention, "expired_months", lambda: before)
    assert march(STEPS) not in retention.drop_expired()
    seen = ExpiredMonth.objects.get(pk=march(STEPS))
    assert (seen.failure, seen.holds) == ("", [hold.pk])
    assert seen.why_kept == f"legal hold LH-{hold.pk} “Tax audit” (TA-7)"


def test_the_database_refuses_a_drop_under_hold_whoever_asks(old_months):
    make_old()
    make_hold()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = 'q2c_app'")
        if not cursor.fetchone():
            cursor.execute("CREATE ROLE q2c_app")
        grant_app_role("q2c_app")
        for role in ("q2c_app", "NONE"):
            cursor.execute(f"SET LOCAL ROLE {role}")
            with pytest.raises(DatabaseError, match="is kept: legal hold LH-"), transaction.atomic():
                cursor.execute("SELECT q2c_drop_partition(%s)", [march(STEPS)])
        cursor.execute("SET LOCAL ROLE q2c_app")
        for refused in (
            "UPDATE core_legalhold SET state = 'released'",
            "UPDATE core_legalhold SET first_day = '2030-01-01'",
            "DELETE FROM core_legalhold",
        ):
            with pytest.raises(DatabaseError), transaction.atomic():
                cursor.execute(refused)
        cursor.execute("RESET ROLE")


def test_the_database_wants_two_people_for_a_hold_and_for_its_release(db):
    by = factories.make_person("controller")
    hold = holds.propose_hold(holds.Scope(), by=by, name="x", matter="m", why="why", asked_by="a")
    with pytest.raises(DatabaseError, match="two people"), transaction.atomic():
        LegalHold.objects.update(state="in_force")
    with pytest.raises(approvals.ApprovalRefused, match="somebody else"):
        approvals.sign(hold.proposal, by=by, approve=True, alarm=lambda problem: None)
    keeping.sign(hold.proposal, holds.apply_decision)
    with pytest.raises(DatabaseError, match="two people"), transaction.atomic():
        LegalHold.objects.update(state="released")
    with pytest.raises(DatabaseError, match="Cannot insert"), transaction.atomic():
        LegalHold.objects.create(name="x", matter="m", why="w", asked_by="a", proposed_by=by,
                                 proposed_at=timezone.now(), state="in_force")  # fmt: skip


def test_a_declined_hold_holds_nothing_and_one_of_another_entity_cant_be_proposed(old_months):
    make_old()
    by = factories.make_person("controller", entities=("US01",))
    with pytest.raises(holds.HoldRefused, match="US01 only"):
        holds.propose_hold(holds.Scope(legal_entity="GB01"), by=by, name="x", matter="m", why="why", asked_by="a")
    hold = holds.propose_hold(holds.Scope(legal_entity="US01"), by=by, name="x", matter="m", why="w", asked_by="a")
    keeping.sign(hold.proposal, holds.apply_decision, approve=False)
    hold.refresh_from_db()
    assert (hold.state, march(STEPS) in due()) == ("declined", True)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"customer": "stripe:cus_1"},
        {"customer": "salesforce:001A"},
        {"legal_entity": "GB01"},
        {"first_day": dt.date(2019, 1, 1)},
        {"lane": "stripe:invoice:in_1"},
    ],
)
def test_erasing_a_customer_is_refused_under_a_hold_in_words_that_name_it(db, scope):
    key = make_key()
    make_old(legal_entity_code="GB01", customer_id="cus_1", lane="stripe:invoice:in_1", document_date=None)
    GoldenRecord.objects.create(record_type="customer", record_key="salesforce:customer:001A", name="Ann", content={},
                                changed_at=timezone.now(), aliases=["salesforce:001A", "stripe:cus_1"])  # fmt: skip
    hold = make_hold(**scope)
    said = f"legal hold LH-{hold.pk} “Tax audit” (TA-7)"
    with pytest.raises(customer_keys.ErasureRefused, match="This customer isn't erased: legal hold LH-"):
        customer_keys.destroy_key(key.pk)
    with pytest.raises(DatabaseError, match="LH-"), transaction.atomic():
        CustomerKey.objects.update(sealed_key=None)
    with pytest.raises(DatabaseError), transaction.atomic():
        CustomerKey.objects.all().delete()
    assert holds.holds_on_customer("stripe:cus_1") == said
    key.refresh_from_db()
    assert key.sealed_key is not None


@pytest.mark.parametrize("scope", [{"customer": "stripe:cus_2"}, {"legal_entity": "US01"}, {"lane": "elsewhere"}])
def test_a_hold_on_something_else_keeps_nobody_from_being_erased(db, scope):
    key = make_key()
    factories.make_entity("US01")
    make_old(legal_entity_code="GB01", customer_id="cus_1")
    make_hold(**scope)
    customer_keys.destroy_key(key.pk)
    key.refresh_from_db()
    assert key.sealed_key is None


def ask_erasure(**facts) -> Erasure:
    held = holds.holds_on_customer("stripe:cus_1")
    return erasures.propose_erasure(
        "stripe:cus_1", by=factories.make_person("controller"), matter="DSR-1", why="Ann asks for it.", held_by=held,
        **facts,
    )  # fmt: skip


def test_an_erasure_that_may_wait_is_carried_out_when_the_last_hold_is_released(db):
    key, other = make_key(), make_key("001A", "salesforce")
    GoldenRecord.objects.create(record_type="customer", record_key="salesforce:customer:001A", name="Ann", content={},
                                changed_at=timezone.now(), aliases=["salesforce:001A", "stripe:cus_1"])  # fmt: skip
    first, second = make_hold(), make_hold(customer="salesforce:001A")
    with pytest.raises(customer_keys.ErasureRefused, match=f"LH-{first.pk}.*LH-{second.pk}"):
        ask_erasure()
    erasure = ask_erasure(may_wait=True)
    keeping.sign(erasure.proposal, erasures.apply_decision)
    erasure.refresh_from_db()
    assert erasure.state == "waiting"
    keeping.release(first)
    erasure.refresh_from_db()
    assert erasure.state == "waiting"
    keeping.release(second)
    erasure.refresh_from_db()
    assert (erasure.state, erasure.key_count) == ("done", 2)
    assert customer_keys.key_bytes([key.pk, other.pk]) == {key.pk: None, other.pk: None}


def test_an_erasure_that_may_not_wait_isnt_signed_under_a_hold_that_came_meanwhile(db):
    make_key()
    erasure = ask_erasure()
    make_hold()
    with pytest.raises(customer_keys.ErasureRefused, match="LH-"), transaction.atomic():
        keeping.sign(erasure.proposal, erasures.apply_decision)
    erasure.proposal.refresh_from_db()
    assert erasure.proposal.state == "proposed"
    erasures.withdraw(erasure.proposal, by=erasure.proposed_by, why="Later.")
    erasure.refresh_from_db()
    assert erasure.state == "declined"


def test_alerts_and_rows_of_bulk_actions_stay_while_a_hold_covers_them(db):
    ago = timezone.now() - dt.timedelta(days=800)
    kinds = {"GB01": "missing_item_mapping", "US01": "system_unavailable"}
    for entity, kind in kinds.items():
        factories.make_alert(kind, entities=[entity], first_at=ago, last_at=ago, over_at=ago, is_planned=True)
    hold = make_hold(legal_entity="GB01")
    with pytest.raises(DatabaseError, match="this row is kept: legal hold"), transaction.atomic():
        AlertGroup.objects.all().delete()
    letting_go.let_go()
    assert [alert.entities for alert in AlertGroup.objects.all()] == [["GB01"]]
    keeping.release(hold)
    letting_go.let_go()
    assert not AlertGroup.objects.exists()


MAY = dt.datetime(2019, 5, 14, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize("months_of", ["transactions_steprun", "inbox_inboundevent", "outbox_outboxevent"])
@pytest.mark.parametrize(
    ("lane", "is_held"),
    [
        ("stripe:unwinding:in_1", True),
        ("stripe:invoice_void:in_1", True),
        ("stripe:write_off:in_1", True),
        ("stripe:accrual:in_1", True),
        ("stripe:unwinding:in_2", False),
        ("other:unwinding:in_1", False),
        ("stripe:payment:in_1", False),
    ],
)
def test_a_hold_on_a_document_keeps_the_later_month_of_what_was_made_of_it(old_months, months_of, lane, is_held):
    """The invoice in March, the other in May: the hold is on the invoice, or on the other by its own id."""
    with connection.cursor() as cursor:
        cursor.execute(month_partition_sql(months_of, 2019, 5))
    month, message = f"{months_of}_2019_05", keeping.make_old_message(at=MAY)
    make_old(lane="stripe:invoice:in_1", source_id="in_1")
    later = make_old(at=MAY, lane=lane, source_id="in_1-1", event_id=message.event_id)
    OutboxEvent.objects.create(id=keeping.id_of(MAY), event_type="InvoicePosted", subject="x", at=MAY,
                               transaction_id=later.pk, data={})  # fmt: skip
    hold = make_hold(lane="stripe:invoice:in_1", document="INV-1")
    said = retention.expired_partitions()[month]
    assert said.startswith(f"legal hold LH-{hold.pk} “Tax audit”") is is_held
    keeping.release(hold)
    assert not retention.expired_partitions()[month].startswith("legal hold")
    make_hold(lane=lane)
    assert (march(STEPS) not in due()) is is_held


def test_what_is_made_of_a_document_counts_as_it_for_the_screen_and_for_the_database(db):
    made = {unwinding.KIND, order_unwinding.KIND, *(f"{kind}_void" for kind in ("invoice", "credit_note"))}
    assert made <= set(holds.MADE_OF_ONE)
    with connection.cursor() as cursor:
        cursor.execute("SELECT q2c_lanes_of('stripe:invoice:in_1:2'), q2c_lanes_of('stripe:payment:pi_1')")
        lanes, alone = cursor.fetchone()
    assert {f"stripe:{name}:in_1:2" for name in ("invoice", *holds.MADE_OF_ONE)} <= set(lanes)
    assert alone == ["stripe:payment:pi_1"]


def make_dispute(**fields) -> tuple[CustomerKey, BusinessTransaction]:
    """A dispute of long ago that names no customer; what was asked about it is sealed under one's key."""
    key = make_key()
    dispute = make_old(flow="dispute_to_erp", lane="stripe:dispute:dp_1", customer_id="", **fields)
    Exchange.objects.create(
        transaction_id=dispute.pk, connection=factories.make_connection("stripe"), method="GET", url="/", at=LONG_AGO,
        took_ms=1, request=b"", response=b"sealed", customer_key=key, hash="",
    )  # fmt: skip
    return key, dispute


@pytest.mark.parametrize(
    ("scope", "is_held"),
    [
        ({"lane": "stripe:dispute:dp_1"}, True),
        ({"lane": "stripe:dispute:dp_2"}, False),
        ({"legal_entity": "GB01"}, True),
        ({"legal_entity": "US01"}, False),
        ({"first_day": dt.date(2019, 3, 14), "last_day": dt.date(2019, 3, 14)}, True),
        ({"first_day": dt.date(2019, 3, 15)}, False),
    ],
)
def test_a_hold_on_what_names_no_customer_keeps_the_key_under_which_it_is_sealed(old_months, scope, is_held):
    factories.make_entity("US01")
    key, _ = make_dispute(legal_entity_code="GB01", document_date=None)
    make_hold(**scope)
    if not is_held:
        customer_keys.destroy_key(key.pk)
        return
    with pytest.raises(customer_keys.ErasureRefused, match="legal hold LH-"):
        customer_keys.destroy_key(key.pk)
    assert holds.holds_on_customer("stripe:cus_2") == ""


@pytest.mark.parametrize(
    ("scope", "is_held"),
    [
        ({"customer": "stripe:cus_1"}, True),
        ({"customer": "stripe:cus_2"}, False),
        ({"customer": "stripe:cus_1", "legal_entity": "GB01"}, True),
        ({"customer": "stripe:cus_1", "legal_entity": "US01"}, False),
    ],
)
@pytest.mark.parametrize("table", [STEPS, "connectors_exchange"])
def test_a_hold_on_a_customer_keeps_the_months_of_what_is_sealed_under_their_key(old_months, scope, is_held, table):
    factories.make_entity("US01")
    make_dispute(legal_entity_code="GB01")
    assert march(table) in due()
    make_hold(**scope)
    assert (march(table) not in due()) is is_held


DAYS = st.dates(dt.date(2019, 3, 1), dt.date(2019, 3, 6))
CODES = st.sampled_from(["", "GB01", "US01"])
LANES = st.sampled_from(["", "stripe:invoice:in_1", "stripe:invoice:in_2"])
FACTS = {
    "entity": CODES, "owner": st.sampled_from([None, "stripe:cus_1", "salesforce:001A", "stripe:cus_2"]),
    "lane": LANES, "dated": st.none() | DAYS, "came": DAYS,
}  # fmt: skip


@given(
    holds_said=st.lists(
        st.fixed_dictionaries(
            {"entity": CODES, "is_of_customer": st.booleans(), "lane": LANES, "first": st.none() | DAYS,
             "span": st.none() | st.integers(0, 3), "facts": st.fixed_dictionaries(FACTS)}
        ),
        min_size=20, max_size=20,
    )
)  # fmt: skip
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_database_covers_exactly_what_a_hold_says(db, holds_said):
    """Every combination of limits, against the same rule in plain Python."""
    owners = ["stripe:cus_1", "salesforce:001A"]
    for said in holds_said:
        first, facts = said["first"], said["facts"]
        last = first + dt.timedelta(days=said["span"]) if first and said["span"] is not None else None
        hold = {"lane": said["lane"], "legal_entity_code": said["entity"], "first_day": first and str(first),
                "customer": "stripe:cus_1" if said["is_of_customer"] else "",
                "last_day": last and str(last)}  # fmt: skip
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT coalesce(q2c_hold_covers(jsonb_populate_record(NULL::core_legalhold, %s), %s, %s, %s, %s, %s,"
                " %s), false)",
                [json.dumps(hold), owners if said["is_of_customer"] else None, *(facts[name] for name in FACTS)],
            )
            covered = cursor.fetchone()[0]
        is_in = [
            first is None or (day is not None and first <= day <= (last or dt.date.max))
            for day in (facts["dated"], facts["came"])
        ]
        assert covered == (
            said["lane"] in ("", facts["lane"])
            and (said["entity"] == "" or facts["entity"] in ("", said["entity"]))
            and (not said["is_of_customer"] or facts["owner"] in owners)
            and any(is_in)
        )
