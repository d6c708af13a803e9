"""What the control door makes of Stripe's documents, as a user, a bank or an import would."""

from collections import Counter

import pytest
import requests


def events_of(client, id):
    """The types of events about an object, oldest first."""
    found = client.v1.events.list({"limit": 100}).auto_paging_iter()
    return [event.type for event in found if event.data.object["id"] == id][::-1]


@pytest.fixture
def customer(box):
    return box.make("stripe", "customer", {"name": "Customer 17850", "email": "x@y.test"})[0]


LINES = [
    {"quantity": 6, "unit_amount_decimal": "255", "description": "HEART", "metadata": {"sku": "85123A"}},
    {"quantity": 6, "unit_amount_decimal": "339.5", "description": "LANTERN", "metadata": {"sku": "71053"}},
]


def test_a_finished_invoice_is_made_with_all_its_lines(box, client, customer):
    (made,) = box.make(
        "stripe",
        "invoice",
        {
            "customer": customer,
            "currency": "gbp",
            "metadata": {"invoice_no": "536365"},
            "number": "536365",
            "effective_at": 1291191960,
            "lines": LINES,
        },
    )
    invoice = client.v1.invoices.retrieve(made)
    assert (invoice.status, invoice.total, invoice.number) == ("open", 1530 + 2037, "536365")
    assert (invoice.effective_at, invoice.metadata["invoice_no"]) == (1291191960, "536365")
    line = invoice.lines.data[1]
    assert (line.amount, line.quantity, str(line.pricing.unit_amount_decimal)) == (2037, 6, "339.5")
    assert line.metadata["sku"] == "71053"
    assert events_of(client, made) == ["invoice.created", "invoice.finalized"]
    entry = box.log("stripe", id=made)[0]
    assert (entry["path"], entry["external_id"]) == ("/_control/stripe/documents/invoice", "536365")


def test_an_invoice_of_a_thousand_lines_is_paged_whole(box, client, customer):
    lines = [{"amount": number, "description": str(number)} for number in range(1, 1115)]
    (made,) = box.make("stripe", "invoice", {"customer": customer, "currency": "gbp", "lines": lines})
    read = client.v1.invoices.line_items.list(made, {"limit": 100}).auto_paging_iter()
    assert [line.amount for line in read] == list(range(1, 1115))


def test_a_negative_invoice_keeps_its_negative_total_and_is_paid(box, client, customer):
    lines = [{"quantity": -2, "unit_amount_decimal": "500"}]
    (made,) = box.make("stripe", "invoice", {"customer": customer, "currency": "gbp", "lines": lines})
    invoice = client.v1.invoices.retrieve(made)
    assert (invoice.status, invoice.total, invoice.amount_due, invoice.lines.data[0].quantity) == ("paid", -1000, 0, -2)
    assert client.v1.customers.retrieve(customer).balance == -1000
    assert events_of(client, made) == ["invoice.created", "invoice.finalized", "invoice.paid"]


def test_a_credit_note_names_the_lines_it_takes_back(box, client, customer):
    (made,) = box.make("stripe", "invoice", {"customer": customer, "currency": "gbp", "lines": LINES})
    source = client.v1.invoices.retrieve(made).lines.data[0]
    (note,) = box.make(
        "stripe",
        "credit_note",
        {
            "invoice": made,
            "metadata": {"invoice_no": "C536379"},
            "lines": [{"invoice_line_item": source.id, "quantity": 1, "metadata": {"sku": "85123A"}}],
        },
    )
    read = client.v1.credit_notes.retrieve(note)
    assert (read.total, read.type, read.metadata["invoice_no"]) == (255, "pre_payment", "C536379")
    (line,) = read.lines.data
    assert (line.invoice_line_item, line.amount, line.metadata["sku"]) == (source.id, 255, "85123A")
    assert events_of(client, note) == ["credit_note.created"]


def test_a_payment_a_refund_its_failure_and_the_payout_balance(box, client, customer):
    box.control("POST", "reset", {"vendors": ["stripe"], "keep": "nothing"})
    (customer,) = box.make("stripe", "customer", {"name": "Northwind"})
    (invoice,) = box.make("stripe", "invoice", {"customer": customer, "currency": "usd", "lines": [{"amount": 20000}]})
    (intent,) = box.make("stripe", "payment_intent", {"invoice": invoice})
    assert client.v1.invoices.retrieve(invoice).status == "paid"
    (refund,) = box.make("stripe", "refund", {"payment_intent": intent, "amount": 5000})
    assert box.make("stripe", "refund", {"id": refund, "status": "failed"}) == [refund]
    assert client.v1.refunds.retrieve(refund).status == "failed"
    assert events_of(client, refund) == ["refund.created", "refund.updated", "refund.failed"]
    (payout,) = box.make("stripe", "payout", {"currency": "usd"})
    assert client.v1.payouts.retrieve(payout).amount == 20000 - 610
    booked = client.v1.balance_transactions.list({"payout": payout, "limit": 100}).data
    assert Counter(each.type for each in booked) == {"charge": 1, "refund": 1, "refund_failure": 1, "payout": 1}
    assert sum(each.net for each in booked) == 0
    box.control("POST", "clock", {"offset_seconds": 86500})
    assert client.v1.payouts.retrieve(payout).status == "paid"


def test_a_payout_on_its_way_reaches_the_bank_today_when_the_control_door_says_so(box, client, customer):
    box.make("stripe", "payment_intent", {"customer": customer, "amount": 7000, "currency": "usd"})
    (payout,) = box.make("stripe", "payout", {"currency": "usd"})
    assert box.make("stripe", "payout", {"id": payout, "status": "paid"}) == [payout]
    arrived = client.v1.payouts.retrieve(payout)
    assert (arrived.status, arrived.arrival_date <= arrived.created) == ("paid", True)
    assert events_of(client, payout) == ["payout.created", "payout.paid"]


def test_a_dispute_withdraws_money_and_gives_it_back_when_won(box, client, customer):
    (intent,) = box.make("stripe", "payment_intent", {"customer": customer, "amount": 7000, "currency": "usd"})
    (dispute,) = box.make("stripe", "dispute", {"payment_intent": intent, "reason": "fraudulent"})
    box.make("stripe", "dispute", {"id": dispute, "status": "won"})
    read = client.v1.disputes.retrieve(dispute)
    assert (read.status, [(each.amount, each.fee) for each in read.balance_transactions]) == (
        "won",
        [(-7000, 1500), (7000, 0)],
    )
    assert events_of(client, dispute) == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]


def test_a_bank_transfer_of_more_than_was_due_is_overpaid(box, client, customer):
    (invoice,) = box.make("stripe", "invoice", {"customer": customer, "currency": "gbp", "lines": [{"amount": 1000}]})
    box.make("stripe", "payment_record", {"invoice": invoice, "amount": 1200})
    read = client.v1.invoices.retrieve(invoice)
    assert (read.status, read.amount_paid, read.amount_overpaid, read.amount_remaining) == ("paid", 1200, 200, 0)
    assert "invoice.overpaid" in events_of(client, invoice)


def test_what_is_wrong_with_a_document_is_said_in_stripes_words(box, customer):
    with pytest.raises(requests.HTTPError) as refused:
        box.make(
            "stripe", "invoice", {"customer": customer, "currency": "gbp", "lines": [{"description": "no amount"}]}
        )
    assert refused.value.response.json()["error"]["param"] == "lines[0][amount]"


def test_an_unpaid_invoice_is_overdue_once_its_due_date_has_passed(box, client, customer):
    (invoice,) = box.make(
        "stripe", "invoice", {"customer": customer, "currency": "gbp", "days_until_due": 3, "lines": [{"amount": 1000}]}
    )
    box.control("POST", "clock", {"offset_seconds": 4 * 86400})
    assert events_of(client, invoice)[-1] == "invoice.overdue"
