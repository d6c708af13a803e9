"""What other rooms ask of transactions."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from q2c.core import stats
from q2c.core.models import StatHour
from q2c.transactions.counting import COMPLETED
from q2c.transactions.selectors import entity_of_invoice, flow_facts, held_sources
from tests import factories

pytestmark = pytest.mark.django_db


def test_a_document_is_held_by_its_own_flow_and_not_by_a_note_about_it():
    factories.make_transaction("completed", source_id="in_1")
    factories.make_transaction("held", source_id="in_1", flow="hold_to_source", lane="hold:stripe:invoice:in_1")
    factories.make_transaction("held", source_id="in_2")
    factories.make_transaction("held", source_id="cn_3", flow="credit_memo_to_erp")
    assert held_sources(["in_1", "in_2", "cn_3", "in_4"]) == {("stripe", "in_2"), ("stripe", "cn_3")}


def test_an_invoice_is_of_the_entity_of_its_latest_version():
    factories.make_transaction("cancelled", source_id="in_1", legal_entity_code="")
    factories.make_transaction("held", source_id="in_1", legal_entity_code="DE01", lane_sequence=2, number="B")
    assert (entity_of_invoice("stripe", "in_1"), entity_of_invoice("stripe", "in_2")) == ("DE01", "")


@pytest.mark.parametrize(("entities", "open_and_done"), [((), (2, 12)), (("DE01",), (1, 5))])
def test_what_was_carried_is_read_as_it_was_added_up_and_no_page_counts_it(entities, open_and_done):
    for code, done in (("GB01", 7), ("DE01", 5)):
        factories.make_entity(code)
        factories.make_transaction("held", source_id=f"in_{code}", legal_entity_code=code)
        factories.make_transaction("completed", source_id=f"done_{code}", legal_entity_code=code)
        for _ in range(done):
            stats.note(COMPLETED, flow="invoice_to_erp", entity=code, seconds=1.0)
    stats.roll_up()
    long_ago = timezone.now() - dt.timedelta(hours=25)
    StatHour.objects.create(measure=COMPLETED, hour=long_ago, flow="invoice_to_erp", count=100, millis=0, bucket=1)
    with CaptureQueriesContext(connection) as asked:
        (facts,) = flow_facts(factories.make_person("controller", entities=entities))
    assert (facts.counts["held"], facts.counts["completed"]) == open_and_done
    of_transactions = [q["sql"] for q in asked if '"transactions_businesstransaction"' in q["sql"]]
    assert [sql.count("NOT (") for sql in of_transactions] == [1]  # those that are open
