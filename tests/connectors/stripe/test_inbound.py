"""Stripe's objects in our words: today's shape, and the one before 2025 as Stripe really sent it."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.manifest import Context, Means
from connectors.stripe import inbound, inbound_cash
from connectors.stripe.events import EVENTS
from q2c.canonical import billing, events

FIXTURES = Path(__file__).parent / "fixtures"
UTC = dt.UTC


def made_invoice(**changes):
    """The constructed invoice of the fact sheet: one line of 10,000.00, tax 2,000.00."""
    return {
        "id": "in_1Qb", "object": "invoice", "number": "NW-0001", "status": "open", "customer": "cus_S1x9",
        "customer_name": "Northwind Ltd", "currency": "usd", "created": 1772323205, "due_date": 1774915205,
        "subtotal": 1000000, "total": 1200000, "amount_due": 1150000, "starting_balance": -50000,
        "total_taxes": [{"amount": 200000, "tax_behavior": "exclusive", "taxable_amount": 1000000,
                         "tax_rate_details": {"tax_rate": "txr_1"}}],
        "parent": {"type": "subscription_details", "subscription_details": {
            "subscription": "sub_1Qa", "metadata": {"order_id": "006A", "legal_entity": "US01"}}},
        "lines": {"has_more": False, "data": [made_line()]},
        "status_transitions": {"finalized_at": 1772326805}, "metadata": {}, **changes,
    }  # fmt: skip


def made_line(**changes):
    return {
        "id": "il_1", "amount": 1000000, "currency": "usd", "quantity": 10, "quantity_decimal": "10",
        "period": {"start": 1772323200, "end": 1803859200}, "description": "Platform",
        "pricing": {"unit_amount_decimal": "100000", "price_details": {"price": "price_1", "product": "PLAT-1"}},
        "taxes": [{"amount": 200000, "tax_behavior": "exclusive", "taxable_amount": 1000000,
                   "tax_rate_details": {"tax_rate": "txr_1"}}],
        "metadata": {}, **changes,
    }  # fmt: skip


def read(raw):
    return inbound.invoice(raw, "stripe")


def test_an_invoice_says_its_total_and_not_what_is_due():
    invoice = read(made_invoice())
    assert (invoice.total, invoice.tax_total) == (Decimal("12000"), Decimal("2000"))
    assert (invoice.number, invoice.currency, invoice.customer_id) == ("NW-0001", "USD", "cus_S1x9")
    assert (invoice.order_id, invoice.subscription_id, invoice.legal_entity) == ("006A", "sub_1Qa", "US01")
    assert sum(line.amount for line in invoice.lines) + invoice.tax_total == invoice.total


def test_a_line_says_its_sku_quantity_price_and_service():
    (line,) = read(made_invoice()).lines
    assert (line.sku, line.quantity, line.unit_price, line.amount) == ("PLAT-1", 10, Decimal(1000), Decimal(10000))
    assert (line.service_from, line.service_until) == (
        dt.datetime(2026, 3, 1, tzinfo=UTC),
        dt.datetime(2027, 3, 1, tzinfo=UTC),
    )
    (tax,) = line.taxes
    assert (tax.tax_code, tax.amount, tax.base, tax.is_inclusive) == ("txr_1", Decimal(2000), Decimal(10000), False)


def test_what_we_wrote_on_a_line_names_its_sku_before_the_product_does():
    (line,) = read(made_invoice(lines={"data": [made_line(metadata={"sku": "85123A"})]})).lines
    assert line.sku == "85123A"


def test_a_due_date_is_an_instant_of_billing():
    invoice = read(made_invoice())
    assert (invoice.due_at, invoice.due_date) == (dt.datetime(2026, 3, 31, 0, 0, 5, tzinfo=UTC), None)


def test_effective_at_beats_finalized_at():
    assert read(made_invoice(effective_at=1772000000)).issued_at == dt.datetime.fromtimestamp(1772000000, UTC)
    assert read(made_invoice()).issued_at == dt.datetime.fromtimestamp(1772326805, UTC)


def test_discounts_and_inclusive_tax_are_taken_off_the_line():
    line = made_line(
        amount=12000, discount_amounts=[{"amount": 1000, "discount": "di_1"}],
        taxes=[{"amount": 1833, "tax_behavior": "inclusive", "taxable_amount": 9167,
                "tax_rate_details": {"tax_rate": "t"}}],
    )  # fmt: skip
    raw = made_invoice(total=11000, total_taxes=[{"amount": 1833, "tax_behavior": "inclusive"}], lines={"data": [line]})
    invoice = read(raw)
    assert invoice.lines[0].amount == Decimal("91.67")
    assert sum(x.amount for x in invoice.lines) + invoice.tax_total == invoice.total == Decimal(110)


def test_a_negative_total_stays_an_invoice_with_a_negative_total():
    raw = made_invoice(total=-500, total_taxes=[], lines={"data": [made_line(amount=-500, quantity=1, taxes=[])]})
    assert read(raw).total == Decimal(-5)


SUBSCRIBED = {"type": "subscription_item_details", "subscription_item_details": {"proration": False}}
METERED = {"id": "price_1", "type": "recurring", "recurring": {"usage_type": "metered"}}


@pytest.mark.parametrize(
    ("changes", "charge_type"),
    [
        ({}, ""),  # neither its parent nor its price in full
        ({"parent": SUBSCRIBED}, ""),  # its price may be metered
        ({"parent": {"type": "subscription_item_details", "subscription_item_details": {"proration": True}}},
         "recurring"),
        ({"parent": {"type": "invoice_item_details", "invoice_item_details": {"proration": False}}}, "one_time"),
        ({"parent": {"type": "invoice_item_details", "invoice_item_details": {"proration": True}}}, "recurring"),
        ({"parent": SUBSCRIBED, "pricing": {"price_details": {"price": METERED, "product": "PLAT-1"}}}, "usage"),
        ({"price": {"type": "one_time"}}, "one_time"),  # as Stripe showed lines before 2025
        ({"price": {"type": "recurring", "recurring": {"usage_type": "licensed"}}}, "recurring"),
        ({"price": METERED}, "usage"),
    ],
)  # fmt: skip
def test_a_line_says_how_it_is_charged_only_where_stripe_says_it(changes, charge_type):
    (line,) = read(made_invoice(lines={"data": [made_line(**changes)]})).lines
    assert line.charge_type == charge_type


def test_an_instant_is_no_period_of_service():
    (line,) = read(made_invoice(lines={"data": [made_line(period={"start": 5, "end": 5})]})).lines
    assert (line.service_from, line.service_until) == (None, None)


def test_a_feeds_own_figures_travel_along():
    notes = {"feed": "retail", "feed_type": "invoice", "invoice_no": "536365", "declared_total": "139.12345"}
    line = made_line(metadata={"sku": "85123A", "declared_amount": "15.2999"})
    invoice = read(made_invoice(number=None, metadata=notes, lines={"data": [line]}))
    assert (invoice.number, invoice.feed, invoice.feed_type, invoice.feed_number) == (
        "536365",
        "retail",
        "invoice",
        "536365",
    )
    assert invoice.declared_total == Decimal("139.12345")
    assert invoice.lines[0].declared_amount == Decimal("15.2999")


@pytest.mark.parametrize(
    "buyer",
    [
        {"customer_name": "No customer, Australia"},
        {"customer_name": None, "customer": {"id": "cus_1", "name": "x", "metadata": {"unidentified": "true"}}},
    ],
)
def test_a_buyer_whom_the_feed_does_not_know_is_marked(buyer):
    assert read(made_invoice(**buyer)).is_customer_known is False
    assert read(made_invoice()).is_customer_known is True


def test_an_expanded_customer_gives_name_and_seller():
    buyer = {"id": "cus_9", "name": "Nine Ltd", "metadata": {"legal_entity": "JP01"}}
    invoice = read(made_invoice(customer=buyer, customer_name=None, parent=None))
    assert (invoice.customer_id, invoice.customer_name, invoice.legal_entity) == ("cus_9", "Nine Ltd", "JP01")


def test_a_credit_takes_the_sku_of_the_line_that_it_credits():
    invoice = read(made_invoice())
    (original,) = invoice.lines
    raw = {
        "id": "cn_1", "object": "credit_note", "number": "NW-0001-CN-01", "invoice": "in_1Qb", "customer": "cus_S1x9",
        "currency": "usd", "total": 50000, "created": 1773100000, "reason": "order_change", "metadata": {},
        "lines": {"data": [{"id": "cnli_1", "amount": 50000, "quantity": 1, "invoice_line_item": "il_1"}]},
    }  # fmt: skip
    memo = inbound.credit_memo(raw, "stripe", original=invoice)
    assert (memo.total, memo.invoice_id, memo.reason) == (Decimal(500), "in_1Qb", "order_change")
    assert memo.invoice_issued_at == invoice.issued_at
    (line,) = memo.lines
    assert (line.sku, line.original_line_id, line.amount) == ("PLAT-1", "il_1", Decimal(500))
    assert line.service_until == original.service_until


def test_a_payout_leaves_itself_out_of_its_movements():
    raw = {"id": "po_1", "amount": 9650, "currency": "gbp", "arrival_date": 1648425600, "status": "paid"}
    movements = [
        {"id": "txn_1", "type": "charge", "amount": 10000, "fee": 350, "currency": "gbp", "created": 1648320044,
         "source": "ch_1", "fee_details": [{"description": "Stripe processing fees"}]},
        {"id": "txn_2", "type": "payout", "amount": -9650, "fee": 0, "currency": "gbp", "created": 1648320044,
         "source": "po_1"},
    ]  # fmt: skip
    payout = inbound_cash.payout(raw, movements, "stripe")
    assert (payout.amount, payout.arrival_date) == (Decimal("96.50"), dt.date(2022, 3, 28))
    (charge,) = payout.movements
    assert (charge.amount, charge.fee, charge.about_id) == (Decimal(100), Decimal("3.50"), "ch_1")
    assert (charge.record_type, charge.record_id) == ("", "")  # its source wasn't expanded


@pytest.mark.parametrize(
    ("source", "record"),
    [
        ({"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}, ("payment", "pi_1")),
        ({"object": "charge", "id": "ch_2", "payment_intent": None}, ("payment", "ch_2")),
        ({"object": "refund", "id": "re_1", "payment_intent": "pi_1"}, ("refund", "re_1")),
        ({"object": "dispute", "id": "du_1", "payment_intent": "pi_1"}, ("dispute", "du_1")),
        ({"object": "topup", "id": "tu_1"}, ("", "")),
    ],
)
def test_a_movement_names_the_record_that_it_moves_as_we_know_it(source, record):
    raw = {"id": "txn_1", "type": "charge", "amount": 100, "fee": 0, "currency": "gbp", "created": 1648320044}
    moved = inbound_cash.balance_transaction({**raw, "source": source}, "stripe")
    assert (moved.record_type, moved.record_id) == record
    assert moved.about_id == source["id"]


@pytest.mark.parametrize("payment", [{"type": "payment_record", "payment_record": "pr_1"}, {"type": "payment_record"}])
def test_paid_off_stripe_is_no_cash_of_stripes(payment):
    raw = {"id": "inpay_1", "invoice": "in_1", "amount_paid": 100, "currency": "gbp", "payment": payment}
    assert inbound_cash.application(raw, "stripe", applied_at=dt.datetime.now(UTC)) is None


def test_a_payment_that_names_no_cash_isnt_passed_over():
    raw = {"id": "inpay_1", "invoice": "in_1", "amount_paid": 100, "currency": "gbp", "payment": {}}
    with pytest.raises(ValueError, match="payment_intent"):
        inbound_cash.application(raw, "stripe", applied_at=dt.datetime.now(UTC))


# Events as Stripe sent them (stripe-ruby-mock's fixtures, MIT; LICENSE beside them).


def translated(event_type, **changes):
    body = json.loads((FIXTURES / f"{event_type}.json").read_bytes())
    body["data"]["object"].update(changes)
    meaning = EVENTS[body["type"]]
    assert isinstance(meaning, Means)
    context = Context(
        connection="stripe", settings={}, event_type=body["type"], source_id=body["data"]["object"]["id"],
        received_at=dt.datetime.now(UTC),
    )  # fmt: skip
    return meaning.translate(json.dumps(body).encode(), context)


def test_a_finalized_invoice_of_2020_is_posted():
    (event,) = translated("invoice.finalized")
    assert isinstance(event, events.InvoicePosted)
    assert (event.invoice.number, event.invoice.total, event.invoice.currency) == ("EE1DF78D-0001", Decimal(20), "USD")
    (line,) = event.invoice.lines
    assert (line.sku, line.quantity, line.unit_price, line.amount) == (
        "prod_00000000000000",
        1,
        Decimal(20),
        Decimal(20),
    )
    assert event.occurred_at == dt.datetime.fromtimestamp(1648320015, UTC)


def test_a_paid_invoice_changes_its_state_alone():
    (event,) = translated("invoice.paid")
    assert (type(event).__name__, event.status) == ("InvoiceStatusChanged", "paid")


def test_a_charge_behind_a_payment_intent_is_not_counted_twice():
    assert translated("charge.succeeded") == []
    (event,) = translated("charge.succeeded", payment_intent=None)
    assert (event.payment.amount, event.payment.gateway) == (Decimal(20), "stripe")
    (event,) = translated("payment_intent.succeeded")
    assert (event.payment.amount, event.payment.source.object_type) == (Decimal(20), "payment")


def test_a_dispute_that_took_money_says_how_much_and_its_fee():
    (event,) = translated("charge.dispute.funds_withdrawn")
    dispute = event.dispute
    assert (dispute.status, dispute.amount, dispute.fee, dispute.payment_id) == (
        "withdrawn", Decimal(250), Decimal(15), "ch_00000000000000",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("moved", "own"),
    [("usd", ("", Decimal(0))), ("eur", ("USD", Decimal(250)))],
)
def test_a_dispute_of_a_converted_charge_says_what_is_disputed_of_that_too(moved, own):
    raw = json.loads((FIXTURES / "charge.dispute.funds_withdrawn.json").read_bytes())["data"]["object"]
    entry = {"amount": -23_000, "currency": moved, "fee": 1_500}
    disputed = {**raw, "amount": 25_000, "currency": "usd", "balance_transactions": [entry]}
    dispute = inbound_cash.dispute(disputed, "stripe", status="withdrawn", at=dt.datetime.now(UTC))
    assert (dispute.currency, dispute.amount, dispute.fee) == (moved.upper(), Decimal(230), Decimal(15))
    assert (dispute.original_currency, dispute.original_amount) == own


def test_a_subscription_of_2020_takes_its_currency_from_its_price():
    (event,) = translated("customer.subscription.created")
    assert (event.subscription.currency, event.subscription.is_active) == ("USD", True)


def test_a_customer_without_a_name_keeps_its_id():
    (event,) = translated("customer.updated", name=None, email=None)
    assert event.customer.name == event.customer.source.object_id


@pytest.mark.parametrize(("status", "count"), [("succeeded", 1), ("failed", 1), ("pending", 0), ("canceled", 0)])
def test_only_refunds_that_moved_money_count(status, count):
    raw = json.loads((FIXTURES / "charge.refund.updated.json").read_bytes())
    raw["type"], raw["data"]["object"]["status"] = "refund.updated", status
    context = Context("stripe", {}, "refund.updated", "re_1", dt.datetime.now(UTC))
    meaning = EVENTS["refund.updated"]
    assert isinstance(meaning, Means)
    assert len(meaning.translate(json.dumps(raw).encode(), context)) == count


def test_a_refund_goes_out_when_it_succeeds_and_its_credit_notes_say_what_it_is_for():
    raw = json.loads((FIXTURES / "charge.refund.updated.json").read_bytes())
    snapshot = raw["data"]["object"]
    snapshot |= {"status": "succeeded", "created": 1_772_000_000}
    raw |= {"type": "refund.updated", "created": 1_772_400_000}  # a bank took four days and some hours
    notes = [
        {"id": "cn_1", "status": "issued", "refunds": [{"refund": snapshot["id"], "amount_refunded": 250}]},
        {"id": "cn_2", "status": "issued", "refunds": [{"refund": "re_of_another", "amount_refunded": 99}]},
        {"id": "cn_3", "status": "void", "refunds": [{"refund": snapshot["id"], "amount_refunded": 99}]},
    ]
    fetched = inbound_cash.refund(snapshot, "stripe", credit_notes=notes)
    context = Context("stripe", {}, "refund.updated", "re_1", dt.datetime.now(UTC), fetched=fetched)
    (event,) = EVENTS["refund.updated"].translate(json.dumps(raw).encode(), context)
    assert event.refund.refunded_at == dt.datetime.fromtimestamp(1_772_400_000, UTC)
    assert event.refund.credits == (billing.RefundedCredit(credit_note_id="cn_1", amount=Decimal("2.50")),)


@pytest.mark.parametrize(
    ("changes", "is_incomplete"),
    [
        ({"total_taxes": []}, False),
        ({}, True),  # a tax names its rate by id only
        ({"total_taxes": [], "lines": {"has_more": True, "data": []}}, True),
        ({"total_taxes": [], "parent": None}, True),
        ({"total_taxes": [], "parent": None, "metadata": {"legal_entity": "GB01"}}, False),
        ({"total_taxes": [], "starting_balance": -50000}, True),  # whose credit it used stands in the balance's ledger
    ],
)
def test_an_invoice_is_asked_for_again_only_where_its_event_lacks_something(changes, is_incomplete):
    invoice = made_invoice(**{"starting_balance": 0, **changes})
    body = json.dumps({"created": 1772323205, "data": {"object": invoice}}).encode()
    assert EVENTS["invoice.finalized"].refetch_when(body) is is_incomplete
