"""The plan over a posted journal: who sees it, who may propose it, what it says, and in which period it posts."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import pytest
from django.utils import timezone

from connectors.models import ReferenceEntry
from exceptions.resolving import reversing
from mappings.models import CrossReference
from q2c import ports
from q2c.canonical import schema
from q2c.canonical.base import Source
from q2c.canonical.billing import BalanceTransaction, Payout
from q2c.canonical.posting import Journal, JournalLine, PostedDocument
from q2c.core.models import Proposal
from tests import factories

pytestmark = pytest.mark.django_db
DAY = dt.date(2026, 9, 14)
LINES = (
    JournalLine(account="11", debit=Decimal("96.80")),
    JournalLine(account="61", debit=Decimal("3.20")),
    JournalLine(account="12", credit=Decimal(100)),
)


def payout(failed_at: dt.datetime | None = None) -> Payout:
    source = Source(connection="stripe", object_type="payout", object_id="po_1")
    moved = BalanceTransaction(
        source=Source(connection="stripe", object_type="balance_transaction", object_id="txn_1"), kind="payment",
        amount=Decimal(100), fee=Decimal("3.20"), currency="GBP", record_type="payment", record_id="pi_1",
        at=dt.datetime(2026, 9, 12, tzinfo=dt.UTC),
    )  # fmt: skip
    return Payout(
        source=source, currency="GBP", amount=Decimal("96.80"), arrival_date=DAY, gateway="stripe", movements=(moved,),
        failed_at=failed_at,
    )  # fmt: skip


def make_payout(*, is_open: bool = True, **fields):
    """A posted payout of September 2026, whose ledger is open or not; October is open."""
    connection = factories.make_connection("netsuite")
    own = factories.make_period("GB01", "2026-09", is_open=is_open)
    factories.make_period("GB01", "2026-10")
    for code, (name, kind) in {
        "11": ("Bank", "asset"), "12": ("Clearing", "asset"), "61": ("Fees", "expense"),
    }.items():  # fmt: skip
        ReferenceEntry.objects.create(
            connection=connection, list_name="accounts", external_id=code, code=code, name=name,
            attributes={"account_class": kind}, read_at=timezone.now(),
        )  # fmt: skip
    ports.forget_kept()
    document = payout()
    txn = factories.make_transaction(
        flow="payout_to_erp", fact=json.loads(schema.to_json(document)), fact_type="Payout", source_type="payout",
        source_id="po_1", number="", lane="stripe:payout:po_1", business_key="po_1", document_date=DAY,
        period_code="2026-09", amount=document.amount, target_type="journal", target_id="901", **fields,
    )  # fmt: skip
    journal = Journal(
        external_id="po-stripe-po_1", subsidiary="2", currency="1", currency_code="GBP", posting_date=DAY,
        period=own.external_id, lines=LINES, memo="Payout po_1",
    )  # fmt: skip
    posted = PostedDocument(
        document_type="journal", id="901", external_id=journal.external_id, number="JE7", total=Decimal(100),
        period=own.external_id,
    )  # fmt: skip
    for name, gave, output in (("build_posting", "posting", journal), ("post_payout", "journal", posted)):
        factories.make_step(txn, name, gave=gave, output=json.loads(schema.to_json(output)))
    CrossReference.objects.create(
        record_type="payout", record_key="stripe:payout:po_1", at=txn.created_at, connection=connection,
        external_type="journal", external_id="901",
    )  # fmt: skip
    return txn


def address(txn, then: str = "?again=no") -> str:
    return f"/transactions/{txn.pk}/plans/{then}"


ASKED = {"again": "no", "why": "Booked to the wrong bank"}


@pytest.mark.parametrize(
    ("role", "entities", "sees", "proposes"),
    [
        ("billing_ops", (), 200, 422),
        ("billing_ops", ("GB01",), 200, 422),
        ("billing_ops", ("US01",), 404, 404),
        ("controller", ("GB01",), 200, 422),
        ("sales_ops", ("GB01",), 200, 422),
        ("auditor", ("GB01",), 200, 403),
        ("auditor", ("US01",), 404, 403),
    ],
)
def test_who_sees_the_plan_of_a_journal_and_who_may_propose_it(sign_in, role, entities, sees, proposes):
    """Nobody can ask an ERP here, so whoever may propose is told that it can't say how it stands: nothing changes."""
    txn, client = make_payout(), sign_in(role, entities=entities)
    assert client.get(address(txn)).status_code == sees
    answer = client.post(address(txn, "propose/"), ASKED)
    assert answer.status_code == proposes
    if proposes == 422:
        assert "The ERP can’t say how it stands" in answer.content.decode()
    assert not Proposal.objects.exists()


def test_it_says_what_it_reverses_in_which_period_and_what_that_changes(sign_in):
    page = sign_in("controller").get(address(make_payout())).content.decode()
    assert "Reverse journal JE7 over GBP 100.00 on 14 September 2026" in page
    assert "What taking it back changes, all in all" in page
    assert "Sep 2026: the result rises by" in page
    assert "Where the bank sends it back, billing says so" in page
    assert "Propose it" in page


@pytest.mark.parametrize(
    ("is_later_open", "says"),
    [
        (True, "Reverse journal JE7 over GBP 100.00 on 1 October 2026"),
        (False, "Sep 2026 is closed in the ledger, and no later period is open"),
    ],
)
def test_in_a_closed_period_it_takes_the_next_open_one_or_says_that_there_is_none(sign_in, is_later_open, says):
    txn = make_payout(is_open=False)
    factories.make_period("GB01", "2026-10").__class__.objects.filter(code="2026-10").update(
        is_ledger_open=is_later_open
    )
    page = sign_in("controller").get(address(txn)).content.decode()
    assert says in page
    assert ("Propose it" in page) is is_later_open


def test_what_came_back_by_itself_is_taken_back_first(sign_in):
    txn = make_payout()
    factories.make_transaction(
        flow="payout_to_erp", fact=json.loads(schema.to_json(payout(dt.datetime(2026, 9, 20, tzinfo=dt.UTC)))),
        fact_type="Payout", source_type="payout", source_id="po_1", number="", lane=txn.lane, lane_sequence=2,
        business_key="po_1:failed", target_type="journal", target_id="902",
    )  # fmt: skip
    page = sign_in("controller").get(address(txn)).content.decode()
    assert "Its money came back" in page
    assert "Propose it" not in page


def test_what_it_was_posted_with_must_still_be_known(sign_in):
    txn = factories.make_transaction("completed", flow="dispute_to_erp", target_connection="netsuite")
    page = sign_in("controller").get(address(txn)).content.decode()
    assert "isn’t kept any more: have it reversed in the ERP" in page
    waiting = factories.make_transaction("held", flow="dispute_to_erp", target_connection="netsuite")
    assert "isn’t posted, so there’s nothing to take back" in (
        sign_in("controller").get(address(waiting)).content.decode()
    )


@pytest.mark.parametrize(
    ("written", "says"),
    [(None, "Propose it"), ("JE8", "was given up after it posted journal JE8, which stands in the ERP")],
)
def test_a_plan_that_was_given_up_half_way_isnt_begun_again(sign_in, written, says):
    txn, client = make_payout(), sign_in("controller")
    plan = reversing.plans_of(client.person, txn, asks=False, reposts=False).reversal
    made = factories.make_transaction(
        "cancelled", flow="reversal_to_erp", fact=json.loads(schema.to_json(plan)), fact_type="Reversal",
        source_type="reversal", source_id="po_1", number="", lane=txn.lane, lane_sequence=2, business_key="po_1-1",
    )  # fmt: skip
    document = PostedDocument(document_type="journal", id="902", external_id="rev-stripe-po_1-1", number="JE8")
    output = json.loads(schema.to_json(document)) if written else None
    factories.make_step(made, "reverse_other", kind="write", gave="other_journal", output=None)
    factories.make_step(made, "reverse_journal", kind="write", gave="journal", output=output)
    page = client.get(address(txn)).content.decode()
    assert says in page
    assert ("Propose it" in page) is (written is None)
