"""The unmodified `stripe` client works against the sandbox: create, read, list, page, repeat, and its own errors."""

import base64
import collections
import hashlib
import hmac
import json
import threading
from decimal import Decimal

import pytest
import requests
import stripe

from tests.sandboxes.conftest import connect


def make_customer(client, **given):
    return client.v1.customers.create({"name": "Northwind Ltd", **given})


def make_invoice(client, customer, *lines, **given):
    """A draft with lines of (amount, description)."""
    invoice = client.v1.invoices.create(
        {"customer": customer.id, "currency": "gbp", "collection_method": "send_invoice", "days_until_due": 30, **given}
    )
    for amount, description in lines:
        client.v1.invoice_items.create(
            {
                "customer": customer.id,
                "invoice": invoice.id,
                "amount": amount,
                "currency": "gbp",
                "description": description,
            }
        )
    return client.v1.invoices.retrieve(invoice.id)


def test_a_customer_is_created_read_and_changed_with_its_metadata_merged(client):
    made = make_customer(
        client,
        email="ap@northwind.test",
        address={"line1": "1 High St", "country": "GB"},
        metadata={"a": "1", "b": "2"},
    )
    assert made.id.startswith("cus_")
    client.v1.customers.update(made.id, {"metadata": {"b": "", "c": "3"}, "name": "Northwind plc"})
    read = client.v1.customers.retrieve(made.id)
    assert read.name == "Northwind plc"
    assert read.address.line1 == "1 High St"
    assert read.metadata.to_dict() == {"a": "1", "c": "3"}


def test_a_deleted_customer_leaves_only_its_id(client):
    made = make_customer(client)
    assert client.v1.customers.delete(made.id).deleted is True
    assert client.v1.customers.retrieve(made.id).deleted is True


def test_a_list_is_newest_first_and_pages_to_its_end(client):
    made = [make_customer(client, email="paging@northwind.test").id for _ in range(7)]
    first = client.v1.customers.list({"email": "paging@northwind.test", "limit": 3})
    assert first.has_more is True
    assert [each.id for each in first.data] == made[:3:-1]
    assert [each.id for each in first.auto_paging_iter()] == made[::-1]
    before = client.v1.customers.list({"email": "paging@northwind.test", "ending_before": made[3], "limit": 2})
    assert [each.id for each in before.data] == [made[5], made[4]]


def test_a_page_of_the_lines_beyond_the_embedded_ten(client):
    invoice = make_invoice(client, make_customer(client))
    lines = [{"amount": 100 + number, "description": f"Line {number}"} for number in range(135)]
    invoice = client.v1.invoices.add_lines(invoice.id, {"lines": lines})
    assert len(invoice.lines.data) == 10
    assert invoice.lines.has_more is True
    assert invoice.total == sum(100 + number for number in range(135))
    amounts = [line.amount for line in client.v1.invoices.line_items.list(invoice.id, {"limit": 50}).auto_paging_iter()]
    assert amounts == [100 + number for number in range(135)]


def test_an_invoice_goes_from_draft_to_open_to_paid(client):
    customer = make_customer(client)
    invoice = make_invoice(client, customer, (120000, "Platform"), (-20000, "Discount"), metadata={"order_id": "O-1"})
    assert (invoice.status, invoice.total, invoice.number) == ("draft", 100000, None)
    invoice = client.v1.invoices.finalize_invoice(invoice.id)
    assert (invoice.status, invoice.amount_due, invoice.number) == ("open", 100000, f"{customer.invoice_prefix}-0001")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.add_lines(invoice.id, {"lines": [{"amount": 1}]})
    assert (refused.value.http_status, refused.value.code) == (400, "invoice_not_editable")
    paid = client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    assert (paid.status, paid.amount_paid, paid.amount_remaining) == ("paid", 100000, 0)
    (payment,) = client.v1.invoice_payments.list({"invoice": invoice.id}).data
    assert (payment.amount_paid, payment.payment.type) == (100000, "payment_record")


def test_a_card_is_charged_with_a_fee_and_refunded(client):
    customer = make_customer(client, invoice_settings={"default_payment_method": "pm_card_visa"})
    invoice = make_invoice(
        client, customer, (10000, "Platform"), collection_method="charge_automatically", days_until_due=""
    )
    client.v1.invoices.finalize_invoice(invoice.id)
    paid = client.v1.invoices.pay(invoice.id, {"expand": ["payments"]})
    intent = client.v1.payment_intents.retrieve(
        paid.payments.data[0].payment.payment_intent, {"expand": ["latest_charge.balance_transaction"]}
    )
    booked = intent.latest_charge.balance_transaction
    assert (booked.amount, booked.fee, booked.net) == (10000, 320, 9680)
    refund = client.v1.refunds.create({"payment_intent": intent.id, "amount": 4000})
    assert (refund.status, refund.charge) == ("succeeded", intent.latest_charge.id)
    client.v1.refunds.create({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"


def test_a_declined_card_is_a_card_error_and_leaves_the_invoice_open(client):
    customer = make_customer(client)
    invoice = make_invoice(client, customer, (10000, "Platform"))
    client.v1.invoices.finalize_invoice(invoice.id)
    with pytest.raises(stripe.CardError) as declined:
        client.v1.invoices.pay(invoice.id, {"payment_method": "pm_card_chargeDeclined"})
    assert (declined.value.code, declined.value.http_status) == ("card_declined", 402)
    assert client.v1.invoices.retrieve(invoice.id).status == "open"


def test_a_negative_total_becomes_the_customers_credit_and_is_used_up(client):
    customer = make_customer(client)
    first = client.v1.invoices.finalize_invoice(make_invoice(client, customer, (-5000, "Return")).id)
    assert (first.status, first.total, first.amount_due, first.ending_balance) == ("paid", -5000, 0, -5000)
    second = client.v1.invoices.finalize_invoice(make_invoice(client, customer, (8000, "Goods")).id)
    assert (second.status, second.total, second.starting_balance, second.amount_due) == ("open", 8000, -5000, 3000)
    assert client.v1.customers.retrieve(customer.id).balance == 0


def test_a_voided_invoice_gives_back_what_it_moved_of_the_balance(client):
    customer = make_customer(client)
    client.v1.invoices.finalize_invoice(make_invoice(client, customer, (-5000, "Return")).id)
    used = client.v1.invoices.finalize_invoice(make_invoice(client, customer, (8000, "Goods")).id)
    client.v1.invoices.void_invoice(used.id)
    entry = client.v1.customers.balance_transactions.list(customer.id).data[0]
    assert (entry.type, entry.amount, entry.invoice) == ("unapplied_from_invoice", -5000, used.id)
    assert client.v1.customers.retrieve(customer.id).balance == -5000


def test_an_invoice_too_small_to_charge_becomes_a_debt_that_the_next_one_collects(client):
    customer = make_customer(client)
    small = client.v1.invoices.finalize_invoice(make_invoice(client, customer, (20, "Call")).id)
    assert (small.status, small.total, small.amount_due, small.ending_balance) == ("paid", 20, 0, 20)
    following = client.v1.invoices.finalize_invoice(make_invoice(client, customer, (8000, "Goods")).id)
    assert (following.amount_due, following.starting_balance, following.ending_balance) == (8020, 20, 0)
    client.v1.invoices.void_invoice(following.id)
    assert client.v1.customers.retrieve(customer.id).balance == 20


def test_taxes_are_added_per_line(client):
    rate = client.v1.tax_rates.create({"display_name": "VAT", "percentage": Decimal(20), "inclusive": False})
    invoice = make_invoice(client, make_customer(client), (999, "A"), (1001, "B"), default_tax_rates=[rate.id])
    assert (invoice.subtotal, invoice.total) == (2000, 2400)
    assert [(tax.amount, tax.taxable_amount) for tax in invoice.total_taxes] == [(400, 2000)]


def test_a_credit_note_lowers_an_open_invoice_and_must_say_where_a_paid_ones_money_goes(client):
    customer = make_customer(client)
    invoice = client.v1.invoices.finalize_invoice(make_invoice(client, customer, (10000, "Goods")).id)
    line = {"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[0].id, "amount": 2500}
    note = client.v1.credit_notes.create({"invoice": invoice.id, "lines": [line], "reason": "order_change"})
    assert (note.type, note.pre_payment_amount, note.number) == ("pre_payment", 2500, f"{invoice.number}-CN-01")
    assert client.v1.invoices.retrieve(invoice.id).amount_remaining == 7500
    client.v1.invoices.pay(invoice.id, {"paid_out_of_band": True})
    with pytest.raises(stripe.InvalidRequestError, match="must equal the post payment"):
        client.v1.credit_notes.create({"invoice": invoice.id, "amount": 1000})
    note = client.v1.credit_notes.create({"invoice": invoice.id, "amount": 1000, "credit_amount": 1000})
    assert (note.type, note.post_payment_amount) == ("post_payment", 1000)
    assert client.v1.customers.retrieve(customer.id).balance == -1000
    with pytest.raises(stripe.InvalidRequestError, match="can't exceed"):
        client.v1.credit_notes.create({"invoice": invoice.id, "amount": 6501, "credit_amount": 6501})


def test_the_same_key_gives_the_same_answer_and_is_logged_as_replayed(client, box):
    after = box.control("GET", "stripe/log")["last"]
    options = {"idempotency_key": "q2c:customer:1"}
    first = client.v1.customers.create({"name": "Once"}, options)
    again = client.v1.customers.create({"name": "Once"}, options)
    assert again.id == first.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    entries = box.log("stripe", after=after)
    assert [(e["id"], e["replayed"], e["effect"]) for e in entries] == [
        (first.id, False, "created"),
        (first.id, True, "none"),
    ]
    assert {entry["idempotency_key"] for entry in entries} == {"q2c:customer:1"}


def test_the_same_key_with_other_parameters_is_an_idempotency_error(client):
    client.v1.customers.create({"name": "A"}, {"idempotency_key": "other"})
    with pytest.raises(stripe.IdempotencyError) as refused:
        client.v1.customers.create({"name": "B"}, {"idempotency_key": "other"})
    assert refused.value.http_status == 400


def test_a_key_is_forgotten_after_a_day_of_the_sandbox_clock(client, box):
    first = client.v1.customers.create({"name": "A"}, {"idempotency_key": "day"})
    box.control("POST", "clock", {"offset_seconds": 24 * 3600 + 5})
    assert client.v1.customers.create({"name": "A"}, {"idempotency_key": "day"}).id != first.id


def test_a_refused_request_leaves_its_key_free(client):
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.products.create({"description": "nameless"}, {"idempotency_key": "free"})
    assert client.v1.products.create({"name": "Named"}, {"idempotency_key": "free"}).name == "Named"


def test_a_key_that_is_still_in_flight_is_a_conflict(client, box):
    box.fault("stripe", "delay", when={"path": "/v1/customers", "nth": 1}, seconds=4)
    made, other = [], connect(box)
    thread = threading.Thread(
        target=lambda: made.append(client.v1.customers.create({"name": "Slow"}, {"idempotency_key": "flight"}))
    )
    thread.start()
    while not box.control("GET", "stripe/faults")["faults"][0]["hits"]:
        assert thread.is_alive()
    with pytest.raises(stripe.APIError) as refused:
        other.v1.customers.create({"name": "Slow"}, {"idempotency_key": "flight"})
    assert (refused.value.http_status, refused.value.error.code) == (409, "idempotency_key_in_use")
    thread.join()
    assert client.v1.customers.create({"name": "Slow"}, {"idempotency_key": "flight"}).id == made[0].id


def test_a_wrong_key_is_an_authentication_error(box):
    with pytest.raises(stripe.AuthenticationError) as refused:
        connect(box, key="sk_test_wrong").v1.customers.list()
    assert refused.value.http_status == 401


def test_basic_authentication_works_too(box):
    vendor = box.vendor("stripe")
    basic = base64.b64encode(f"{vendor['credentials']['api_key']}:".encode()).decode()
    answer = requests.get(f"{vendor['url']}/v1/customers", headers={"Authorization": f"Basic {basic}"}, timeout=60)
    assert answer.status_code == 200
    assert answer.headers["Request-Id"].startswith("req_")


@pytest.mark.parametrize(
    ("given", "code", "param"),
    [
        ({}, "parameter_missing", "customer"),
        ({"customer": "cus_missing"}, "resource_missing", "customer"),
        ({"customer": "x", "nonsense": "1"}, "parameter_unknown", "nonsense"),
        ({"customer": "x", "days_until_due": "soon"}, "parameter_invalid_integer", "days_until_due"),
    ],
)
def test_invalid_parameters_are_refused_with_code_and_param(client, given, code, param):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.create(given)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


def test_an_unknown_id_in_the_path_is_404(client):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.invoices.retrieve("in_missing")
    assert (refused.value.http_status, refused.value.code) == (404, "resource_missing")


def test_metadata_has_its_documented_limits(client):
    for metadata in ({"k" * 41: "v"}, {"k": "v" * 501}, {f"k{number}": "v" for number in range(51)}):
        with pytest.raises(stripe.InvalidRequestError, match="Metadata"):
            make_customer(client, metadata=metadata)


def test_the_rate_limit_is_a_rate_limit_error_with_its_reason(client, box):
    box.control("POST", "stripe/limits", {"enforced": True})
    try:
        with pytest.raises(stripe.RateLimitError) as refused:
            collections.deque((client.v1.customers.list({"limit": 1}) for _ in range(200)), maxlen=0)
    finally:
        box.control("POST", "stripe/limits", {"enforced": False})
    assert refused.value.headers["Stripe-Rate-Limited-Reason"] in {"endpoint-rate", "global-rate"}


def test_search_finds_by_metadata_once_a_minute_has_passed(client, box):
    made = make_customer(client, metadata={"sf_id": "0015g00000ABCDE"})
    query = {"query": "metadata['sf_id']:'0015g00000ABCDE'"}
    assert client.v1.customers.search(query).data == []
    box.control("POST", "clock", {"offset_seconds": 61})
    assert [each.id for each in client.v1.customers.search(query).data] == [made.id]


def test_a_lookup_key_finds_its_price_and_is_handed_over(client):
    product = client.v1.products.create({"id": "PLAT", "name": "Platform"})
    given = {"product": product.id, "currency": "usd", "unit_amount": 1000, "lookup_key": "PLAT-Y"}
    old = client.v1.prices.create({**given, "recurring": {"interval": "year"}})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.prices.create(given)
    assert refused.value.code == "resource_already_exists"
    new = client.v1.prices.create({**given, "transfer_lookup_key": True})
    assert [price.id for price in client.v1.prices.list({"lookup_keys": ["PLAT-Y"]}).data] == [new.id]
    assert client.v1.prices.retrieve(old.id).lookup_key is None


def test_a_webhook_is_verified_by_the_clients_own_function(client, receiver):
    endpoint = client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["customer.created"]})
    assert endpoint.secret.startswith("whsec_")
    assert "secret" not in client.v1.webhook_endpoints.retrieve(endpoint.id)
    made = make_customer(client)
    signature, body = receiver.next()
    event = stripe.Webhook.construct_event(body, signature, endpoint.secret)
    assert (event.type, event.data.object["id"]) == ("customer.created", made.id)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body + b" ", signature, endpoint.secret)
    client.v1.webhook_endpoints.delete(endpoint.id)


def test_both_secrets_sign_while_one_is_rolled(client, box, receiver):
    box.control("POST", "stripe/webhooks", {"url": receiver.url, "secret": "whsec_old"})
    answer = box.control("POST", "stripe/webhooks", {"url": receiver.url, "secret": "whsec_new"})
    make_customer(client)
    signature, body = receiver.next()
    for secret in ("whsec_old", "whsec_new"):
        assert stripe.Webhook.construct_event(body, signature, secret).type == "customer.created"
    client.v1.webhook_endpoints.delete(answer["id"])


def test_the_signature_is_the_published_vector():
    from connectors.stripe.sandbox.webhooks import sign

    body = b'{"id":"evt_test","object":"event"}'
    expected = "d2bbf379811dab6c152c152084ca7753ada8839e7528ed5cdf70eff429cf16c7"
    assert sign("whsec_test_secret", 1767225600, body) == expected
    assert hmac.new(b"whsec_test_secret", b"1767225600." + body, hashlib.sha256).hexdigest() == expected


def test_events_are_listed_by_type_and_time_for_thirty_days(client, box):
    made = make_customer(client)
    window = {"gte": made.created, "lt": made.created + 60}
    events = client.v1.events.list({"types": ["customer.created", "invoice.paid"], "created": window, "limit": 1})
    assert events.data[0].data.object["id"] == made.id
    assert events.data[0].api_version == "2026-10-28.endive"
    assert client.v1.events.list({"type": "customer.*", "created": window}).data[0].type == "customer.created"
    box.control("POST", "clock", {"offset_seconds": 31 * 86400})
    assert client.v1.events.list({"type": "customer.created", "created": window}).data == []
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.events.retrieve(events.data[0].id)


def test_a_subscription_bills_at_once_and_again_when_the_clock_has_passed_its_period(client, box):
    customer = make_customer(client)
    price = client.v1.prices.create(
        {"currency": "usd", "unit_amount": 5000, "recurring": {"interval": "month"}, "product_data": {"name": "Seats"}}
    )
    made = client.v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price.id, "quantity": 3}],
            "collection_method": "send_invoice",
            "days_until_due": 30,
            "metadata": {"order_id": "0065g00000XYZAAAA1"},
            "expand": ["latest_invoice"],
        }
    )
    assert made.status == "active"
    invoice = made.latest_invoice
    assert (invoice.status, invoice.total, invoice.billing_reason) == ("open", 15000, "subscription_create")
    assert invoice.parent.subscription_details.metadata["order_id"] == "0065g00000XYZAAAA1"
    end = made["items"].data[0].current_period_end
    box.control("POST", "clock", {"offset_seconds": end - made.created + 3700})
    assert client.v1.invoices.list({"subscription": made.id}).data[0].status == "draft"
    box.control("POST", "clock", {"offset_seconds": end - made.created + 7400})
    renewed = client.v1.invoices.list({"subscription": made.id}).data
    assert [(each.billing_reason, each.total, each.status) for each in renewed] == [
        ("subscription_cycle", 15000, "open"),
        ("subscription_create", 15000, "open"),
    ]


def test_a_card_pays_the_first_invoice_of_its_subscription(client):
    customer = make_customer(client, invoice_settings={"default_payment_method": "pm_card_visa"})
    price = client.v1.prices.create(
        {"currency": "jpy", "unit_amount": 5000, "recurring": {"interval": "year"}, "product_data": {"name": "Seats"}}
    )
    made = client.v1.subscriptions.create(
        {"customer": customer.id, "items": [{"price": price.id}], "expand": ["latest_invoice"]}
    )
    assert (made.status, made.latest_invoice.status, made.latest_invoice.amount_paid) == ("active", "paid", 5000)


def test_a_schedule_starts_its_subscription_when_the_clock_has_passed_and_then_ramps(client, box):
    customer = make_customer(client)
    price = client.v1.prices.create(
        {"currency": "usd", "unit_amount": 1000, "recurring": {"interval": "year"}, "product_data": {"name": "Seats"}}
    )
    once = client.v1.prices.create({"currency": "usd", "unit_amount": 700, "product_data": {"name": "Set-up"}})
    start = customer.created + 40 * 86400
    schedule = client.v1.subscription_schedules.create(
        {
            "customer": customer.id,
            "start_date": start,
            "end_behavior": "cancel",
            "default_settings": {"collection_method": "send_invoice", "invoice_settings": {"days_until_due": 14}},
            "phases": [
                {
                    "items": [{"price": price.id, "quantity": 1}],
                    "duration": {"interval": "year"},
                    "metadata": {"order_id": "O-7"},
                    "add_invoice_items": [{"price": once.id, "quantity": 2}],
                },
                {
                    "items": [{"price": price.id, "quantity": 5}],
                    "duration": {"interval": "year"},
                    "proration_behavior": "none",
                },
            ],
        }
    )
    assert (schedule.status, schedule.subscription) == ("not_started", None)
    box.control("POST", "clock", {"offset_seconds": 40 * 86400 + 60})
    schedule = client.v1.subscription_schedules.retrieve(schedule.id, {"expand": ["subscription"]})
    assert (schedule.status, schedule.subscription.metadata["order_id"]) == ("active", "O-7")
    assert schedule.subscription.start_date == start
    first = client.v1.invoices.list({"subscription": schedule.subscription.id}).data
    assert [line.amount for line in first[0].lines.data] == [1000, 1400]
    box.control("POST", "clock", {"offset_seconds": schedule.phases[0].end_date - customer.created + 7300})
    running = client.v1.subscriptions.retrieve(schedule.subscription.id, {"expand": ["latest_invoice"]})
    assert [item.quantity for item in running["items"].data] == [5]
    box.control("POST", "clock", {"offset_seconds": schedule.phases[1].end_date - customer.created + 7300})
    assert client.v1.subscription_schedules.retrieve(schedule.id).status == "completed"
    assert client.v1.subscriptions.retrieve(running.id).status == "canceled"


def test_a_changed_quantity_is_prorated_onto_the_next_invoice(client):
    customer = make_customer(client)
    price = client.v1.prices.create(
        {"currency": "usd", "unit_amount": 1000, "recurring": {"interval": "month"}, "product_data": {"name": "Seats"}}
    )
    made = client.v1.subscriptions.create(
        {
            "customer": customer.id,
            "items": [{"price": price.id}],
            "collection_method": "send_invoice",
            "days_until_due": 5,
        }
    )
    client.v1.subscriptions.update(
        made.id, {"items": [{"id": made["items"].data[0].id, "quantity": 4}], "proration_behavior": "always_invoice"}
    )
    newest = client.v1.invoices.list({"subscription": made.id}).data[0]
    assert newest.billing_reason == "subscription_update"
    # within a few seconds of the start the whole period is left
    assert [line.amount for line in newest.lines.data] == [-1000, 4000]
    assert client.v1.subscriptions.cancel(made.id).status == "canceled"
    assert made.id not in [each.id for each in client.v1.subscriptions.list({"customer": customer.id}).data]


def test_a_bank_transfer_is_recorded_and_attached_in_part(client):
    customer = make_customer(client)
    invoice = client.v1.invoices.finalize_invoice(make_invoice(client, customer, (10000, "Goods")).id)
    record = client.v1.payment_records.report_payment(
        {
            "amount_requested": {"currency": "gbp", "value": 4000},
            "initiated_at": customer.created,
            "payment_method_details": {"type": "custom", "custom": {"display_name": "BACS"}},
            "outcome": "guaranteed",
            "guaranteed": {"guaranteed_at": customer.created},
        }
    )
    invoice = client.v1.invoices.attach_payment(invoice.id, {"payment_record": record.id})
    assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("open", 4000, 6000)


def test_answers_are_json_with_the_request_id(client):
    made = make_customer(client)
    assert made.last_response.request_id.startswith("req_")
    assert json.loads(made.last_response.body)["object"] == "customer"
