"""What an order needs of Stripe's catalogue, and what an invoice's line says of it: never another SKU, never another
amount."""

import datetime as dt
from decimal import Decimal

import pytest

from connectors.families import SubscriptionPlan
from connectors.recorder import Collector
from connectors.stripe import catalogue, outbound
from connectors.stripe.events import EVENTS
from q2c.canonical import contract
from q2c.core.problems import Problem
from tests.connectors.lines import run

LONG = "Lizenz-für-" + "ä" * 90  # 200 bytes: more than a product's id or a lookup key takes


@pytest.fixture(scope="module")
def customer(sandboxes):
    return sandboxes.make("stripe", "customer", {"name": "Northwind Ltd", "metadata": {"legal_entity": "GB01"}})[0]


def sold(sku, price="100.00", **changes):
    given = {"line_id": sku[:20], "sku": sku, "quantity": Decimal(1), "unit_price": Decimal(price),
             "billing_frequency": "monthly"}  # fmt: skip
    return contract.OrderLine(**{**given, **changes})


def subscribe(build, customer, order, *lines, collector=None, **products):
    """Make a subscription of an order; its id."""
    plan = SubscriptionPlan(
        external_id=f"sub-{order}", order_id=order, customer_id=customer, currency="GBP",
        start_date=dt.datetime.now(dt.UTC).date(), term_months=12, lines=lines, product_ids=products,
        planned_at=dt.datetime.now(dt.UTC), time_zone="UTC", metadata={"legal_entity": "GB01"},
    )  # fmt: skip
    return run(build(collector).create_subscription(plan, key=f"key-{order}")).id


def prices_of(web, subscription):
    items = web.get(f"/subscriptions/{subscription}").json()["items"]["data"]
    return [(item["price"]["product"], item["price"]["unit_amount_decimal"]) for item in items]


def first_invoice(web, subscription):
    return web.get(f"/subscriptions/{subscription}").json()["latest_invoice"]


def test_a_subscriptions_lines_keep_their_skus_whatever_the_products_are_called(build, web, customer):
    foreign, labelled = (
        web.post("/products", data={"name": name, **more}).json()["id"]
        for name, more in (("Foreign", {}), ("Labelled", {"metadata[sku]": "QB-L"}))
    )
    skus = ("GTX 1", LONG, "PLAT-1", "MAPPED")
    subscription = subscribe(build, customer, "A", *(sold(sku) for sku in skus), MAPPED=foreign)
    invoice = first_invoice(web, subscription)
    assert [line.sku for line in run(build().invoice(invoice)).lines] == list(skus)
    price = {"product": labelled, "currency": "gbp", "unit_amount": 500, "recurring[interval]": "month"}
    theirs = web.post("/prices", data=price).json()["id"]
    made = web.post("/subscriptions", data={"customer": customer, "items[0][price]": theirs}).json()
    assert [line.sku for line in run(build().invoice(made["latest_invoice"])).lines] == ["QB-L"]


@pytest.mark.parametrize(("sku", "is_asked_for"), [("PLAT-1", False), ("GTX 2", True)])
def test_an_invoice_is_asked_for_again_where_its_event_names_a_product_by_an_id_alone(
    build, web, customer, sku, is_asked_for
):
    invoice = first_invoice(web, subscribe(build, customer, f"B {sku}", sold(sku)))
    page = run(build().changes("events", {}))
    (event,) = [p for p in page.found if (p.source_id, p.event_type) == (invoice, "invoice.finalized")]
    assert EVENTS["invoice.finalized"].refetch_when(event.body) is is_asked_for


def test_a_sku_is_read_once_and_a_product_without_one_again_after_a_while(build, web, customer, monkeypatch):
    product = web.post("/products", data={"name": "Unnamed"}).json()["id"]
    price = {"product": product, "currency": "gbp", "unit_amount": 500, "recurring[interval]": "month"}
    theirs = web.post("/prices", data=price).json()["id"]
    made = web.post("/subscriptions", data={"customer": customer, "items[0][price]": theirs}).json()
    collector = Collector()

    async def story():
        client = build(collector)
        before = await client.invoice(made["latest_invoice"])
        await client.invoice(made["latest_invoice"])
        web.post(f"/products/{product}", data={"metadata[sku]": "NAMED"})
        monkeypatch.setattr(catalogue, "UNNAMED_SECONDS", 0.0)
        after = [await client.invoice(made["latest_invoice"]) for _ in range(3)]
        return [before.lines[0].sku, *(invoice.lines[0].sku for invoice in after)]

    assert run(story()) == [product, "NAMED", "NAMED", "NAMED"]
    assert [noted.verb for noted in collector.take()].count("price") == 2


@pytest.mark.parametrize("sku", ["L" * 190, LONG, LONG + " more", "S" * 20])
def test_each_amount_of_a_long_sku_is_a_price_of_its_own(build, web, customer, sku):
    amounts = ["100.00", "200.00", "200.01"]
    made = [subscribe(build, customer, f"C{n} {len(sku)}", sold(sku, a)) for n, a in enumerate(amounts)]
    found = [prices_of(web, subscription)[0] for subscription in made]
    assert [amount for _, amount in found] == ["10000", "20000", "20001"]
    assert len({product for product, _ in found}) == 1


def test_two_long_skus_are_two_products():
    assert outbound.product_id(LONG) != outbound.product_id(LONG + " more")
    assert outbound.product_id("a b") == "sku-612062"


def test_a_short_skus_lookup_key_is_as_it_always_was():
    keys = [outbound.lookup_keys(line, "GBP", product="p")[0] for line in (sold("PLAT-1"), sold("GTX 1", "0.005"))]
    assert keys == ["q2c:PLAT-1:GBP:monthly:10000", "q2c:sku-4754582031:GBP:monthly:0.5"]
    assert all(len(key) <= 200 for key in outbound.lookup_keys(sold("L" * 190), "GBP", product="p" * 200))


def test_a_rule_that_names_another_product_is_followed_though_a_price_has_the_key(build, web, customer):
    product = web.post("/products", data={"name": "Platform"}).json()["id"]
    before = subscribe(build, customer, "D1", sold("MOVED"))
    after = subscribe(build, customer, "D2", sold("MOVED"), MOVED=product)
    again = subscribe(build, customer, "D3", sold("MOVED"), MOVED=product)
    assert [prices_of(web, s)[0][0] for s in (before, after, again)] == ["MOVED", product, product]
    assert len(web.get("/prices", params={"product": product}).json()["data"]) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"unit_amount": 1, "recurring[interval]": "month"},
        {"unit_amount": 10_000, "recurring[interval]": "year"},
        {"unit_amount": 10_000},
        {"unit_amount": 10_000, "recurring[interval]": "month", "currency": "usd"},
    ],
)
def test_a_price_that_somebody_gave_the_key_to_is_not_billed(build, web, customer, other):
    sku = "TAKEN-" + "-".join(str(value) for value in other.values())
    web.post("/products", data={"id": sku, "name": sku}).raise_for_status()
    keys = outbound.lookup_keys(sold(sku), "GBP", product=sku)
    given = {"product": sku, "currency": "gbp", **other}
    theirs = web.post("/prices", data={**given, "lookup_key": keys[0]}).json()
    made = subscribe(build, customer, f"E {sku}", sold(sku))
    assert prices_of(web, made) == [(sku, "10000")]
    web.post("/prices", data={**given, "lookup_key": keys[1], "transfer_lookup_key": "true"}).raise_for_status()
    with pytest.raises(Problem) as refusal:
        subscribe(build, customer, f"F {sku}", sold(sku))
    assert refusal.value.code == "vendor_reference_refused"
    assert web.get(f"/prices/{theirs['id']}").json()["lookup_key"] == keys[0]


def test_an_invoice_that_is_asked_for_says_how_each_line_is_charged_and_asks_for_a_price_once(build, web, customer):
    product = web.post("/products", data={"id": "CHARGED", "name": "Charged"}).json()["id"]
    price = {"product": product, "currency": "gbp", "unit_amount": 500, "recurring[interval]": "month"}
    metered = web.post("/prices", data={**price, "recurring[usage_type]": "metered"}).json()["id"]
    licensed = web.post("/prices", data=price).json()["id"]
    found, collector = [], Collector()

    async def story():
        client = build(collector)
        for ours in (licensed, metered):
            data = {"customer": customer, "items[0][price]": ours, "items[0][quantity]": 1}
            made = web.post("/subscriptions", data=data).json()
            for _ in range(2):
                invoice = await client.invoice(made["latest_invoice"])
                found.append([(line.sku, line.charge_type) for line in invoice.lines])

    run(story())
    assert found == [[("CHARGED", "recurring")]] * 2 + [[("CHARGED", "usage")]] * 2
    assert [noted.verb for noted in collector.take()].count("price") == 2
