"""The Stripe client against Stripe's sandbox, over HTTP."""

import datetime as dt
import json
from decimal import Decimal

import httpx
import pytest

from connectors.calls import Outgoing, outgoing
from connectors.errors import Absent
from connectors.families import SubscriptionPlan
from connectors.manifest import Context
from connectors.recorder import Collector
from connectors.sandbox.testing import running_sandboxes
from connectors.stripe.events import EVENTS
from q2c.canonical import contract, party
from q2c.canonical.base import Source
from q2c.core.ids import uuid7
from q2c.core.problems import Category, NotAnswered, Problem
from tests.connectors.lines import client_of, run


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("stripe"), vendors=["stripe"]) as running:
        running.control("POST", "stripe/limits", {"enforced": False})
        yield running


@pytest.fixture(scope="module")
def build(sandboxes):
    def client(collector=None, **changes):
        given = sandboxes.vendor("stripe")
        return client_of("stripe", given["url"], secrets={**given["credentials"], **changes}, collector=collector)

    return client


@pytest.fixture(scope="module")
def customer(sandboxes):
    (made,) = sandboxes.make(
        "stripe", "customer", {"name": "Northwind Ltd", "metadata": {"legal_entity": "GB01", "external_id": "cus-1"}}
    )
    return made


def bill(sandboxes, customer, *, lines=1, amount=1250, **more):
    rows = [{"amount": amount, "description": f"Line {n}", "metadata": {"sku": f"SKU-{n}"}} for n in range(lines)]
    given = {"customer": customer, "currency": "gbp", "lines": rows, **more}
    return sandboxes.make("stripe", "invoice", given)[0]


def account(**changes):
    given = {"source": Source(connection="salesforce", object_type="Account", object_id="001A"), "name": "Fabrikam",
             "legal_entity": "GB01"}  # fmt: skip
    return party.Customer(**{**given, **changes})


def plan(customer_id, **changes):
    line = contract.OrderLine(line_id="l1", sku="PLAT-1", quantity=Decimal(10), unit_price=Decimal("100.00"),
                              description="Platform", billing_frequency="monthly")  # fmt: skip
    given = {"external_id": "sub-006A", "order_id": "006A", "customer_id": customer_id, "currency": "GBP",
             "start_date": dt.datetime.now(dt.UTC).date(), "term_months": 12, "lines": (line,), "product_ids": {},
             "planned_at": dt.datetime.now(dt.UTC), "time_zone": "UTC",
             "metadata": {"legal_entity": "GB01"}}  # fmt: skip
    return SubscriptionPlan(**{**given, **changes})


def test_an_invoice_comes_with_all_its_lines(build, sandboxes, customer):
    made = bill(sandboxes, customer, lines=130)
    invoice = run(build().invoice(made))
    assert len(invoice.lines) == 130
    assert len({line.sku for line in invoice.lines}) == 130
    assert invoice.total == Decimal("12.50") * 130
    assert (invoice.customer_id, invoice.customer_name, invoice.legal_entity) == (customer, "Northwind Ltd", "GB01")


def test_an_invoice_that_is_not_there_is_absent(build):
    with pytest.raises(Absent):
        run(build().invoice("in_missing"))


def test_a_wrong_key_is_a_problem_of_authentication(build):
    with pytest.raises(Problem) as refusal:
        run(build(api_key="sk_test_wrong").check_connection())
    assert (refusal.value.code, refusal.value.category) == ("credentials_refused", Category.AUTHENTICATION)


def test_a_customer_is_made_once_per_key_and_found_again(build, sandboxes):
    async def story():
        billing = build()
        before = await billing.find_customer("cus-fabrikam")
        first = await billing.save_customer(account(), external_id="cus-fabrikam", key="key-1")
        again = await billing.save_customer(account(), external_id="cus-fabrikam", key="key-1")
        return before, first, again, await billing.find_customer("cus-fabrikam")

    before, first, again, found = run(story())
    assert before is None
    assert first.id == again.id == found.id
    assert found.was_found
    entries = [e for e in sandboxes.log("stripe", document_type="customer") if e["id"] == first.id]
    assert [e["effect"] for e in entries] == ["created", "none"]


def test_of_the_account_that_a_customer_pays_from_only_the_last_digits_are_read(build, sandboxes):
    given = sandboxes.vendor("stripe")
    with httpx.Client(base_url=given["url"], auth=(given["credentials"]["api_key"], "")) as web:
        debit = {"type": "sepa_debit", "sepa_debit[iban]": "DE89 3704 0044 0532 0130 00"}
        method = web.post("/v1/payment_methods", data=debit).raise_for_status().json()["id"]
    settings = {"name": "Fabrikam", "invoice_settings": {"default_payment_method": method}}
    (made,) = sandboxes.make("stripe", "customer", settings)
    page = run(build().changes("events", {}))
    polled = next(p for p in page.found if p.source_id == made)
    meaning = EVENTS["customer.created"]
    assert meaning.refetch_when(polled.body)
    fetched = run(build().customer(made))
    context = Context("stripe", {}, polled.event_type, made, dt.datetime.now(dt.UTC), fetched)
    (event,) = meaning.translate(polled.body, context)
    assert (event.customer.name, event.customer.pays_from) == ("Fabrikam", "sepa_debit 3000")


def test_a_customer_of_long_ago_is_found_without_reading_the_others(build, sandboxes):
    wanted = {"external_id": "acc-salesforce-001Aa"}
    others = [{"name": f"Other {n}", "metadata": {"external_id": wanted["external_id"].upper()}} for n in range(3)]
    *_, made = sandboxes.make("stripe", "customer", *others, {"name": "Fabrikam", "metadata": wanted})
    sandboxes.control("POST", "clock", {"offset_seconds": 2 * 86400})
    collector = Collector()

    async def story():
        return await build(collector=collector).find_customer(wanted["external_id"])

    try:
        assert run(story()).id == made
        assert [noted.url.partition("?")[0].rpartition("/v1/")[2] for noted in collector.take()] == ["customers/search"]
    finally:
        sandboxes.control("POST", "clock", {"reset": True})


def test_of_other_customers_that_a_look_up_meets_nothing_is_recorded(build, sandboxes, customer):
    collector = Collector()

    async def story():
        outgoing.set(Outgoing(transaction_id=uuid7(), customer=("salesforce", "001A")))
        return await build(collector=collector).find_customer("acc-nobody")

    assert run(story()) is None
    searched, listed = collector.take()
    assert (searched.about.customer, listed.about.customer) == (("salesforce", "001A"), None)
    assert listed.response_body.endswith(b": not kept]")
    assert customer.encode() not in searched.response_body + listed.response_body


def test_the_same_key_with_another_body_is_a_conflict_and_makes_nothing(build, sandboxes):
    async def story():
        billing = build()
        await billing.save_customer(account(), external_id="cus-a", key="key-2")
        await billing.save_customer(account(name="Another"), external_id="cus-a", key="key-2")

    with pytest.raises(Problem) as refusal:
        run(story())
    assert (refusal.value.code, refusal.value.category) == ("idempotency_key_reused", Category.CONFLICT)


def test_a_lost_answer_is_unknown_and_the_same_key_gives_the_same_customer(build, sandboxes):
    sandboxes.fault("stripe", "lose_answer", when={"method": "POST", "path": "*/customers", "nth": 1})

    async def story():
        billing = build()
        with pytest.raises(NotAnswered):
            await billing.save_customer(account(), external_id="cus-lost", key="key-3")
        return await billing.save_customer(account(), external_id="cus-lost", key="key-3")

    saved = run(story())
    made = [e for e in sandboxes.log("stripe", document_type="customer", effect="created") if e["id"] == saved.id]
    assert len(made) == 1


def test_a_subscription_is_made_with_its_product_and_price_and_found(build, sandboxes, customer):
    async def story():
        billing = build()
        before = await billing.find_subscription("sub-006A", customer_id=customer)
        made = await billing.create_subscription(plan(customer), key="key-sub")
        again = await billing.create_subscription(plan(customer), key="key-sub")
        found = await billing.find_subscription("sub-006A", customer_id=customer)
        return before, made, again, found, await billing.subscription(made.id)

    before, made, again, found, stands = run(story())
    assert before is None
    assert made.id == again.id == found.id
    assert made.external_id == "sub-006A"
    assert (stands.order_id, stands.currency, stands.is_active) == ("006A", "GBP", True)
    assert len(sandboxes.log("stripe", document_type="subscription", effect="created")) == 1
    assert len(sandboxes.log("stripe", document_type="price", effect="created")) == 1


def test_a_second_order_uses_the_same_product_and_price(build, sandboxes, customer):
    async def story():
        billing = build()
        await billing.create_subscription(plan(customer, external_id="sub-006B", order_id="006B"), key="key-sub-b")

    run(story())
    assert len(sandboxes.log("stripe", document_type="product", effect="created")) == 1
    assert len(sandboxes.log("stripe", document_type="price", effect="created")) == 1


def test_a_start_that_passes_between_two_attempts_changes_nothing_that_is_sent(build, sandboxes, customer):
    today = dt.datetime.now(dt.UTC).date()
    planned = plan(customer, planned_at=dt.datetime.now(dt.UTC) - dt.timedelta(days=2), start_date=today,
                   external_id="sub-006P", order_id="006P")  # fmt: skip

    async def story():
        billing = build()
        return [await billing.create_subscription(planned, key="key-passed") for _ in range(2)]

    first, again = run(story())
    assert first.id == again.id
    assert first.id.startswith("sub_sched_")  # as the attempt before its start has sent it


def test_a_start_in_the_future_is_a_schedule(build, customer):
    later = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=40)

    async def story():
        billing = build()
        made = await billing.create_subscription(
            plan(customer, external_id="sub-006C", order_id="006C", start_date=later), key="key-sub-c"
        )
        found = await billing.find_subscription("sub-006C", customer_id=customer)
        planned = await billing.subscription(made.id)
        return made, found, planned, await billing.cancel_subscription(made.id, on=later, key="key-cancel-c")

    made, found, planned, cancelled = run(story())
    assert made.id.startswith("sub_sched_")
    assert found.id == made.id
    assert (planned.status, planned.is_active, planned.order_id) == ("scheduled", False, "006C")
    assert planned.start_date == later
    assert cancelled.status == "canceled"


def test_a_subscription_that_began_in_the_past_is_backdated(build, customer):
    earlier = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=20)

    async def story():
        billing = build()
        made = await billing.create_subscription(
            plan(customer, external_id="sub-006D", order_id="006D", start_date=earlier), key="key-sub-d"
        )
        return await billing.subscription(made.id)

    assert run(story()).start_date == earlier


def test_a_cancelled_subscription_stays_cancelled_when_told_again(build, customer):
    async def story():
        billing = build()
        made = await billing.create_subscription(plan(customer, external_id="sub-E", order_id="E"), key="key-sub-e")
        today = dt.datetime.now(dt.UTC).date()
        first = await billing.cancel_subscription(made.id, on=today, key="key-cancel-e")
        return first, await billing.cancel_subscription(made.id, on=today, key="key-cancel-e")

    assert [s.status for s in run(story())] == ["canceled", "canceled"]


def test_a_credit_note_takes_the_skus_of_its_invoice(build, sandboxes, customer):
    made = bill(sandboxes, customer, lines=12)
    items = run(build().invoice(made)).lines
    (note,) = sandboxes.make(
        "stripe", "credit_note",
        {"invoice": made, "lines": [
            {"type": "invoice_line_item", "invoice_line_item": items[11].line_id, "quantity": 1}]},
    )  # fmt: skip
    memo = run(build().credit_note(note))
    assert (memo.invoice_id, memo.total) == (made, Decimal("12.50"))
    assert [line.sku for line in memo.lines] == ["SKU-11"]


def _paid(build, sandboxes, customer):
    made = bill(sandboxes, customer)

    async def story():
        billing = build()
        await billing.telephone.call(
            "POST", f"/v1/invoices/{made}/pay", verb="pay", form=[("payment_method", "pm_card_visa")],
            headers={"Idempotency-Key": f"pay-{made}"}, accept=(400, 402),
        )  # fmt: skip
        return await billing.changes("events", {})

    return made, run(story())


def test_polling_finds_events_oldest_first_and_knows_them_by_their_id(build, sandboxes, customer):
    made, page = _paid(build, sandboxes, customer)
    types = [p.event_type for p in page.found]
    assert "invoice.finalized" in types
    stamps = [p.occurred_at for p in page.found]
    assert stamps == sorted(stamps)
    assert all(p.dedupe_key.startswith("evt_") for p in page.found)
    assert len({p.dedupe_key for p in page.found}) == len(page.found)
    assert page.position["created"] == max(int(s.timestamp()) for s in stamps)
    assert page.has_more is False
    again = run(build().changes("events", {**page.position, "full_at": 0}))
    assert {p.dedupe_key for p in page.found} <= {p.dedupe_key for p in again.found}


def test_a_storm_is_read_in_windows_that_fit(build, sandboxes, customer, monkeypatch):
    monkeypatch.setattr("connectors.stripe.polling.EVENTS_PER_POLL", 40)
    made = {bill(sandboxes, customer, amount=100 + n) for n in range(60)}

    async def story():
        billing, position, seen, pages = build(), {}, [], 0
        while True:
            page = await billing.changes("events", position)
            seen += [p for p in page.found if p.event_type == "invoice.finalized"]
            position, pages = page.position, pages + 1
            if not page.has_more:
                return seen, pages

    seen, pages = run(story())
    assert made <= {p.source_id for p in seen}
    assert pages > 1
    stamps = [p.occurred_at for p in seen]
    assert stamps == sorted(stamps)


def test_a_listing_that_is_suddenly_empty_is_not_believed(build, sandboxes, customer):
    async def story():
        billing = build()
        position = (await billing.changes("events", {})).position
        sandboxes.fault("stripe", "status", when={"path": "/v1/events", "nth": 1}, status=200,
                        body='{"object": "list", "data": [], "has_more": false, "url": "/v1/events"}')  # fmt: skip
        await billing.changes("events", {**position, "full_at": 0})

    with pytest.raises(Problem) as gap:
        run(story())
    assert gap.value.code == "feed_gap"


def test_every_event_of_the_sandbox_has_a_meaning(build, sandboxes, customer):
    _, page = _paid(build, sandboxes, customer)
    assert {p.event_type for p in page.found} <= EVENTS.keys()


def test_a_polled_event_is_translated(build, sandboxes, customer):
    made = bill(sandboxes, customer, amount=999)
    page = run(build().changes("events", {}))
    polled = next(p for p in page.found if p.source_id == made and p.event_type == "invoice.finalized")
    context = Context("stripe", {}, polled.event_type, polled.source_id, dt.datetime.now(dt.UTC))
    (event,) = EVENTS["invoice.finalized"].translate(polled.body, context)
    assert (event.invoice.total, event.invoice.legal_entity) == (Decimal("9.99"), "")
    assert json.loads(polled.body)["id"] == polled.dedupe_key


@pytest.mark.scenario(28, of="reading a source, before any flow")
def test_a_position_older_than_stripe_keeps_is_a_gap_for_a_person(build):
    old = int((dt.datetime.now(dt.UTC) - dt.timedelta(days=31)).timestamp())
    page = run(build().changes("events", {"created": old}))  # what is there is read before
    assert page.has_more
    with pytest.raises(Problem) as gap:
        run(build().changes("events", page.position))
    assert (gap.value.code, gap.value.category) == ("feed_gap", Category.DRIFT)
    behind = run(build().changes("events", gap.value.evidence["go_on_from"]))  # where a waiver goes on
    assert behind.position["created"] > old


def test_a_payout_comes_with_its_movements(build, sandboxes, customer):
    (intent,) = sandboxes.make(
        "stripe", "payment_intent",
        {"amount": 10000, "currency": "gbp", "customer": customer},
    )  # fmt: skip
    (made,) = sandboxes.make("stripe", "payout", {"currency": "gbp"})

    async def story():
        payments = build()
        return await payments.payment(intent), await payments.payout(made)

    payment, payout = run(story())
    assert payment.amount == Decimal(100)
    charge = next(m for m in payout.movements if m.amount == Decimal(100))
    assert charge.fee > 0
    assert (charge.record_type, charge.record_id) == ("payment", intent)
    assert payout.amount == sum(m.amount - m.fee for m in payout.movements)
    assert payout.status == "in_transit"


def test_a_lost_webhook_is_found_by_asking_for_what_was_not_delivered(build, sandboxes, customer):
    position = run(build().changes("events", {})).position
    sandboxes.control("POST", "stripe/webhooks", {"url": "http://127.0.0.1:9/webhooks/stripe/"})
    sandboxes.fault("stripe", "webhook_lose", when={"path": "invoice.finalized", "nth": 1})
    made = bill(sandboxes, customer, amount=4321)
    page = run(build().changes("events", position))
    assert made in {p.source_id for p in page.found if p.event_type == "invoice.finalized"}
    assert page.position["created"] == position["created"]


def single(line_id, sku, price):
    return contract.OrderLine(line_id=line_id, sku=sku, quantity=Decimal(2), unit_price=Decimal(price),
                              billing_frequency="one_time")  # fmt: skip


def test_single_sales_alone_are_one_invoice_also_when_the_answer_is_lost(build, sandboxes, customer):
    sold = plan(customer, external_id="sub-once", order_id="006ONCE",
                lines=(single("l1", "SETUP", "500"), single("l2", "TRAINING", "120.50")))  # fmt: skip
    sandboxes.fault("stripe", "lose_answer", when={"method": "POST", "path": "*/finalize", "nth": 1})

    async def story():
        billing = build()
        before = await billing.find_subscription("sub-once", customer_id=customer)
        with pytest.raises(NotAnswered):
            await billing.create_subscription(sold, key="key-once")
        found = await billing.find_subscription("sub-once", customer_id=customer)
        again = await billing.create_subscription(sold, key="key-once")
        return before, found, again, await billing.invoice(found.id)

    before, found, again, invoice = run(story())
    assert before is None
    assert (found.document_type, found.id, found.external_id) == ("invoice", again.id, "sub-once")
    assert (invoice.total, invoice.order_id, invoice.legal_entity) == (Decimal("1241.00"), "006ONCE", "GB01")
    assert [(line.sku, line.amount) for line in invoice.lines] == [
        ("SETUP", Decimal("1000.00")), ("TRAINING", Decimal("241.00")),
    ]  # fmt: skip
    assert [e["id"] for e in sandboxes.log("stripe", document_type="invoice", effect="created")].count(found.id) == 1


def read_again(build, what, since, until):
    async def story():
        billing, position, seen = build(), {}, []
        while True:
            page = await billing.between(what, since, until, position)
            seen += page.found
            position = page.position
            if not page.has_more:
                return seen

    return run(story())


def test_its_past_is_read_again_page_by_page_and_the_same_state_is_the_same_message(
    build, sandboxes, customer, monkeypatch
):
    monkeypatch.setattr("connectors.stripe.client.PAGE", 2)
    now = dt.datetime.now(dt.UTC)
    since, until = now - dt.timedelta(hours=1), now + dt.timedelta(hours=1)
    made = [bill(sandboxes, customer, amount=700 + n) for n in range(3)]
    with httpx.Client(
        base_url=sandboxes.vendor("stripe")["url"],
        headers={"Authorization": f"Bearer {sandboxes.vendor('stripe')['credentials']['api_key']}"},
    ) as web:
        web.post(f"/v1/invoices/{made[0]}/void").raise_for_status()
    seen = [p for p in read_again(build, "invoice", since, until) if p.source_id in made]
    assert sorted((p.event_type, made.index(p.source_id)) for p in seen) == [
        ("invoice.finalized", 0), ("invoice.finalized", 1), ("invoice.finalized", 2), ("invoice.voided", 0),
    ]  # fmt: skip
    by_id = run(build().again([*made, "in_gone", "pi_not_read", customer]))
    assert {p.dedupe_key for p in seen} <= {p.dedupe_key for p in by_id}
    assert {p.event_type for p in by_id} == {"invoice.finalized", "invoice.voided", "customer.updated"}
    (first,) = [p for p in seen if p.source_id == made[1]]
    context = Context("stripe", {}, first.event_type, made[1], now)
    (event,) = EVENTS[first.event_type].translate(first.body, context)
    (polled,) = [p for p in read_again(build, "events", since, until)
                 if (p.source_id, p.event_type) == (made[1], "invoice.finalized")]  # fmt: skip
    (as_told,) = EVENTS[polled.event_type].translate(polled.body, context)
    assert event == as_told  # whichever way it's read, it's one fact
    assert read_again(build, "invoice", since - dt.timedelta(days=1), since) == []
    with pytest.raises(Problem, match="keeps events for 30 days"):
        read_again(build, "events", now - dt.timedelta(days=40), until)


def test_a_row_that_cant_be_read_is_named_when_the_past_is_read_again(build, sandboxes):
    good = {"id": "in_1", "status": "open", "created": 1_790_000_000}
    bad = good | {"id": "in_2", "created": None}
    now = dt.datetime.now(dt.UTC)
    for path, body in (("/v1/invoices", {"data": [good, bad], "has_more": True}), ("/v1/invoices/in_2", bad)):
        sandboxes.fault("stripe", "status", status=200, body=body, when={"path": path, "nth": 1})
    page = run(build().between("invoice", now, now, {}))
    assert ([p.source_id for p in page.found], page.position, page.has_more) == (["in_1"], {}, False)
    assert "created" in page.unread
    with pytest.raises(ValueError, match="created"):
        run(build().again(["in_2"]))
