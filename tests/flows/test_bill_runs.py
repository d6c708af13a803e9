"""Where bill runs stand, and why: counted by the database, judged by what was added up."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone

from mappings.bill_runs import NONE, RunPolicies, RunPolicy
from mappings.known import rules_of_kind
from q2c.core.models import LegalEntity
from q2c.flows.bill_run_states import sum_of, usual_of, why_incomplete, why_not_by_itself
from q2c.transactions.bill_run_counts import roll_up
from q2c.transactions.bill_runs import BillRun, BillRunDelta, BillRunPart
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db
TODAY = dt.date(2026, 11, 20)
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)


def make_run(**fields):
    return factories.make_bill_run(rows=0, **{"day": TODAY, **fields})


def part_of(run):
    roll_up()
    return run.parts.get()


def counts_of(run):
    part = part_of(run)
    return {
        name: value for name in ("received", "again", "replaced", "posted", "given_up", "held", "waiting")
        if (value := getattr(part, f"{name}_count"))
    }  # fmt: skip


def test_each_move_of_a_document_is_counted_once_whoever_makes_it():
    run = make_run()
    assert counts_of(run) == {"received": 1, "held": 1}
    held = BusinessTransaction.objects.get(bill_run_id=run.pk)
    for state, says in (
        ("running", {"received": 1, "waiting": 1}), ("waiting", {"received": 1, "waiting": 1}),
        ("completed", {"received": 1, "posted": 1}),
    ):  # fmt: skip
        BusinessTransaction.objects.filter(pk=held.pk).update(state=state)
        assert counts_of(run) == says
    assert (part_of(run).posted_amount, BillRunDelta.objects.count()) == (Decimal(120), 0)


def test_a_document_that_comes_again_is_one_document():
    run = make_run()
    first = BusinessTransaction.objects.get(bill_run_id=run.pk)
    factories.make_transaction("running", number="B", lane=first.lane, lane_sequence=2, source_id=first.source_id,
                               business_key="another", bill_run_id=run.pk)  # fmt: skip
    assert counts_of(run) == {"received": 1, "again": 1, "held": 1, "waiting": 1}
    BusinessTransaction.objects.filter(pk=first.pk).update(state="cancelled")
    BusinessTransaction.objects.filter(number="B").update(state="completed")
    assert counts_of(run) == {"received": 1, "again": 1, "replaced": 1, "posted": 1}


def test_a_waiver_that_is_taken_back_takes_its_count_back():
    run = make_run()
    own = BusinessTransaction.objects.filter(bill_run_id=run.pk)
    own.update(state="cancelled")
    assert counts_of(run) == {"received": 1, "given_up": 1}
    own.update(state="held")
    assert counts_of(run) == {"received": 1, "held": 1}


def test_a_document_of_no_run_is_counted_nowhere():
    made = factories.make_transaction("running")
    BusinessTransaction.objects.filter(pk=made.pk).update(state="completed")
    assert BillRunDelta.objects.count() == 0


def reasons(run, now=NOON + dt.timedelta(days=2), **policy):
    return why_incomplete(run, list(run.parts.all()), RunPolicy(posting="hold", **policy), now)


def test_why_a_run_is_not_complete_has_words():
    factories.make_entity("GB01")
    LegalEntity.objects.filter(code="GB01").update(time_zone="Europe/London")
    run = make_run()
    assert reasons(run) == []
    assert reasons(run, least="10") == ["It has 1 document; a run has 10 at least."]
    assert reasons(run, now=NOON) == ["Its day isn’t over in GB01."]
    run.parts.update(last_at=NOON, expected_at=NOON)
    assert reasons(run)[0].startswith("Its source hasn’t been asked since")
    soon = reasons(run, now=NOON + dt.timedelta(minutes=29), complete_after="30m")
    assert soon == ["Its last document came less than 30 minutes ago."]
    assert reasons(run, now=NOON + dt.timedelta(minutes=30), complete_after="30m") == []
    run.parts.update(expected_count=3, expected_amount=Decimal("370.50"))
    assert reasons(run) == ["2 invoices over GBP 250.50 are missing."]
    run.parts.update(expected_count=0, expected_amount=0)
    assert reasons(run) == ["1 invoice over GBP 120.00 more came than were expected."]
    run.parts.update(expected_count=1, expected_amount=Decimal("100"))
    assert reasons(run) == ["The invoices came to GBP 20.00 more than expected."]
    run.parts.update(expected_count=None)
    assert reasons(run) == ["The source hasn’t been asked how many invoices in GBP it has."]


def test_what_speaks_against_a_release_without_a_person_is_named():
    run = make_run()
    parts = list(run.parts.all())
    strict = RunPolicy(posting="hold", release="by itself", variance="20")
    share = "1 document of 1 is held by a case: 100.0 of 100, and 0 may be."
    assert why_not_by_itself(run, parts, RunPolicy(posting="hold"), {}) == [share]
    assert why_not_by_itself(run, parts, RunPolicy(posting="hold", problem_share="100"), {}) == []
    assert "Fewer than 3 earlier runs" in why_not_by_itself(run, parts, strict, usual_of(run))[1]
    for n in range(1, 4):
        before = BillRun.objects.create(
            connection_code="stripe", legal_entity_code="GB01", name=f"before {n}", day=TODAY - dt.timedelta(days=n),
            state="posted", holds=False, state_at=timezone.now(), first_at=timezone.now(),
        )  # fmt: skip
        BillRunPart.objects.create(run=before, document_type="invoice", currency="GBP", received_count=4,
                                   received_amount=Decimal(480))  # fmt: skip
    said = why_not_by_itself(run, parts, strict, usual_of(run))[1]
    assert said == "1 invoice over GBP 120.00 are 75.0 per cent away from the usual 4 over GBP 480.00; 20 may be."
    BillRunPart.objects.filter(run__name__startswith="before").update(received_count=1, received_amount=Decimal(110))
    assert why_not_by_itself(run, parts, strict, usual_of(run)) == [share]


def test_the_most_particular_rule_in_force_on_the_billing_day_counts():
    number = next_number()
    make_rule("bill_run", "posting", "as they come", number=number)
    make_rule("bill_run", "posting", "hold", number=number, legal_entity="GB01", on=TODAY)
    make_rule("bill_run", "late", "post", number=number)
    known = RunPolicies(number, list(rules_of_kind("bill_run", number)))
    assert (known.of("stripe", "GB01", TODAY).holds, known.of("stripe", "GB01", TODAY).late) == (True, "post")
    assert known.of("stripe", "GB01", TODAY - dt.timedelta(days=1)).posting == "as they come"
    assert known.of("stripe", "DE01", TODAY).holds is False
    assert RunPolicies(0, []).of("stripe", "GB01", TODAY) == NONE


def test_all_places_add_up_to_what_came():
    run = factories.make_bill_run(rows=3)
    total = sum_of(run.parts.all())
    assert (total.received, total.waiting, total.held, total.open) == (4, 3, 1, 4)
