"""Control totals: every document is counted once, in its register's sign, and each way to disagree is seen."""

import datetime as dt
import json
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command

from connectors.models import Connection
from q2c.core.hotpath import fetch_rows
from q2c.flows.intake import carry_due_events
from q2c.inbox.receive import receive
from q2c.reconciliation import control_totals
from q2c.reconciliation.control_totals import compute_totals
from q2c.reconciliation.feeds import declare_documents
from q2c.reconciliation.models import FeedDocument
from q2c.transactions.models import BusinessTransaction
from tests.inbox.conftest import acme, arrival, posted

__all__ = ["acme"]
NOTHING = (0, 0, Decimal(0))


class Ledger:
    """What the ERP says, as a test wants it said."""

    def __init__(self):
        self.rows = {}
        self.asked = []

    def says(self, count, amount, prefix="inv-acme-", currency="GBP"):
        """So many invoices over so many pounds, of which all external ids begin so."""
        row = {"document_type": "ar_invoice", "currency": currency, "count": count, "lines": count, "amount": amount}
        self.rows[prefix] = [row]

    async def totals(self, *, since, until, external_id_prefix=""):
        self.asked.append((since, until, external_id_prefix))
        return self.rows.get(external_id_prefix, [])


@pytest.fixture
def ledger(monkeypatch):
    found = Ledger()
    monkeypatch.setattr(control_totals.ports, "target", lambda code: found)
    return found


def declare(*documents):
    declare_documents(
        FeedDocument(feed="retail", number=number, document_type=kind, currency="GBP", lines=1, amount=Decimal(amount),
                     file_hash="h")
        for number, kind, amount in documents
    )  # fmt: skip


def retail(number, total, declared, kind="invoice"):
    return arrival(
        posted(number, total, feed="retail", feed_type=kind, declared_total=Decimal(declared)), f"evt_{number}"
    )


def ends(number, state, **more):
    BusinessTransaction.objects.filter(source_id=f"in_{number}").update(
        state=state, target_connection="netsuite", target_type="ar_invoice", target_id=f"9{number}", **more
    )


def load(acme):
    """Four documents: two invoices posted, one credit held, one of nothing ignored."""
    declare(
        ("1", "invoice", "100.004"), ("2", "invoice", "50"), ("3", "credit_memo", "-30.001"), ("4", "invoice", "0.001")
    )
    receive(
        acme.id,
        [
            retail(1, "100.00", "100.004"),
            retail(2, "50.00", "50"),
            retail(3, "-30.00", "-30.001", "credit_memo"),
            retail(4, "0.00", "0.001"),
        ],
        via="webhook",
    )
    carry_due_events()
    ends(1, "completed")
    ends(2, "completed")
    ends(3, "held")


def measures(row):
    return {name: (m.count, m.lines, m.amount) for name, m in row.measures.items()}


def test_every_document_is_counted_once_in_its_registers_sign(acme, ledger):
    load(acme)
    ledger.says(2, "150.00")
    totals = compute_totals(["retail"])
    credits, invoices = totals.rows
    assert measures(invoices) == {
        "declared": (3, 3, Decimal("150.005")),
        "received": (3, 3, Decimal(150)),
        "billed": (3, 3, Decimal(150)),
        "posted": (2, 2, Decimal(150)),
        "held": NOTHING,
        "ignored": (1, 1, Decimal(0)),
        "in_flight": NOTHING,
    }
    assert invoices.rounding == Decimal("0.005")
    assert measures(credits)["held"] == measures(credits)["received"] == (1, 1, Decimal(-30))
    assert credits.rounding == Decimal("-0.001")
    assert totals.agrees
    assert ledger.asked == [(dt.date(2026, 11, 1), dt.date(2026, 11, 1), "inv-acme-")]


def test_the_command_prints_the_contracts_json_and_exits_zero_only_when_all_agrees(acme, ledger):
    load(acme)
    ledger.says(2, "150.00")
    out = StringIO()
    call_command("control_totals", source="retail", stdout=out)
    said = json.loads(out.getvalue())
    assert list(said) == ["agrees", "as_of", "rows"]
    assert list(said["rows"][1]) == [
        "source", "document_type", "currency", "declared", "received", "billed", "posted", "held", "ignored",
        "in_flight", "rounding",
    ]  # fmt: skip
    assert said["rows"][1]["declared"] == {"count": 3, "lines": 3, "amount": "150.005"}
    assert said["agrees"] is True
    ends(1, "running")
    with pytest.raises(SystemExit) as ended:
        call_command("control_totals", source="retail", stdout=StringIO(), stderr=StringIO())
    assert ended.value.code == 1


@pytest.mark.parametrize(
    ("options", "in_flight", "code"),
    [
        ([], False, 1),  # the ERP of a drill is another account
        (["--without-erp"], False, 0),
        (["--without-erp"], True, 1),
        (["--without-erp", "--allow-in-flight"], True, 0),
        (["--allow-in-flight"], True, 1),
    ],
)
def test_a_restored_copy_is_counted_without_its_erp_and_as_it_stood(acme, ledger, options, in_flight, code):
    load(acme)
    if in_flight:
        ends(2, "waiting")
    out, said, ended = StringIO(), StringIO(), 0
    try:
        call_command("control_totals", *options, stdout=out, stderr=said)
    except SystemExit as found:
        ended = found.code
    assert (ended, json.loads(out.getvalue())["agrees"]) == (code, code == 0)
    assert bool(ledger.asked) == ("--without-erp" not in options)
    assert ("The ERP wasn’t asked." in said.getvalue()) == ("--without-erp" in options)


def test_what_does_not_add_up_is_said_also_where_anything_may_be_in_flight(acme, ledger):
    load(acme)
    FeedDocument.objects.filter(number="2").update(amount=Decimal("50.5"))
    assert not compute_totals(["retail"], asks_erp=False, allows_in_flight=True).agrees


def test_without_documents_nothing_agrees_and_the_command_says_the_same_twice(db):
    out, said = StringIO(), StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("control_totals", stdout=out, stderr=said)
    assert (ended.value.code, json.loads(out.getvalue())["agrees"]) == (1, False)
    assert said.getvalue() == "There are no documents yet.\n"


@pytest.mark.parametrize(
    "spoil",
    [
        "UPDATE transactions_businesstransaction SET state = 'unknown' WHERE source_id = 'in_1'",
        "DELETE FROM transactions_businesstransaction WHERE source_id = 'in_3'",
        "UPDATE transactions_businesstransaction SET amount = amount + 0.01 WHERE source_id = 'in_3'",
        "UPDATE transactions_businesstransaction SET line_count = 2 WHERE source_id = 'in_1'",
        "UPDATE reconciliation_feeddocument SET amount = amount + 0.001 WHERE number = '3'",
        "DELETE FROM reconciliation_feeddocument WHERE number = '4'",
        "DELETE FROM records_billeddocument WHERE external_id = 'in_2'",
    ],
)
def test_whatever_is_lost_or_changed_is_seen(acme, ledger, spoil):
    load(acme)
    ledger.says(2, "150.00")
    assert compute_totals(["retail"]).agrees
    if "transactions_" in spoil:
        fetch_rows("DELETE FROM transactions_workitem")
    fetch_rows(spoil)
    assert not compute_totals(["retail"]).agrees


@pytest.mark.parametrize(("count", "amount"), [(3, "150.00"), (2, "150.01"), (0, "0.00")])
def test_an_erp_that_says_otherwise_is_named(acme, ledger, count, amount):
    load(acme)
    ledger.says(count, amount)
    totals = compute_totals(["retail"])
    assert not totals.agrees
    assert f"netsuite holds {count} invoice documents of acme over GBP {amount}" in totals.erp_differences[0]


def test_what_stands_under_a_longer_code_is_the_other_connections(acme, ledger):
    for code in ("acme-eu", "acme-eu-north", "acme_eu", "acmeeu"):
        Connection.objects.create(code=code, name=code, vendor="acme", base_url="http://127.0.0.1:1")
    load(acme)
    ledger.says(7, "950.00")
    ledger.says(5, "800.00", prefix="inv-acme-eu-")  # with those of acme-eu-north
    assert compute_totals(["retail"]).agrees
    prefixes = [prefix for _, _, prefix in ledger.asked]
    assert prefixes == ["inv-acme-", "inv-acme-eu-"]
    ledger.says(5, "800.01", prefix="inv-acme-eu-")
    (said,) = compute_totals(["retail"]).erp_differences
    assert "netsuite holds 2 invoice documents of acme over GBP 149.99; we posted 2 over GBP 150.00" in said


def test_a_currency_that_only_the_longer_code_has_is_none_of_ours(acme, ledger):
    Connection.objects.create(code="acme-eu", name="EU", vendor="acme", base_url="http://127.0.0.1:1")
    load(acme)
    euros = {"document_type": "ar_invoice", "currency": "EUR", "count": 4, "lines": 4, "amount": "400.00"}
    ledger.says(2, "150.00")
    ledger.rows["inv-acme-"].append(euros)
    ledger.rows["inv-acme-eu-"] = [euros]
    assert compute_totals(["retail"]).agrees


def test_two_posted_versions_of_one_document_are_one_in_the_erp(acme, ledger):
    load(acme)
    again = posted(2, "50.00", feed="retail", feed_type="invoice", declared_total=Decimal(50), po_number="PO-2")
    receive(acme.id, [arrival(again, "evt_2b")], via="webhook")
    carry_due_events()
    ends(2, "completed")
    assert BusinessTransaction.objects.filter(target_id="92").count() == 2
    ledger.says(2, "150.00")
    totals = compute_totals(["retail"])
    assert totals.erp_differences == ()
    assert totals.agrees


def test_a_document_that_was_replaced_by_a_newer_one_counts_once(acme, ledger):
    load(acme)
    changed = posted(2, "60.00", feed="retail", feed_type="invoice", declared_total=Decimal(60))
    receive(acme.id, [arrival(changed, "evt_2b")], via="webhook")
    carry_due_events()
    invoices = compute_totals(["retail"], asks_erp=False).rows[1]
    assert measures(invoices)["received"] == (3, 3, Decimal(160))
    assert measures(invoices)["in_flight"] == (1, 1, Decimal(60))


def test_a_connections_own_documents_are_another_source(acme, ledger):
    load(acme)
    receive(acme.id, [arrival(posted(7, "8.00"), "evt_7")], via="webhook")
    carry_due_events()
    (row,) = compute_totals(["acme"], asks_erp=False).rows
    assert (row.document_type, measures(row)["declared"], measures(row)["in_flight"]) == (
        "invoice", (1, 1, Decimal(8)), (1, 1, Decimal(8)),
    )  # fmt: skip
    assert control_totals.known_sources() == ["retail", "acme"]
