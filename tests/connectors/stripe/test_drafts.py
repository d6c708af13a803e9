"""The draft of an invoice over single sales: whatever an earlier attempt left, and under whichever key, there's one."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest

from connectors.families import SubscriptionPlan
from q2c.canonical import contract
from q2c.core.problems import Category, NotAnswered, Problem
from tests.connectors.lines import run

SKUS = ("SETUP", "TRAINING")


@pytest.fixture
def customer(sandboxes):
    return sandboxes.make("stripe", "customer", {"name": "Northwind Ltd", "metadata": {"legal_entity": "GB01"}})[0]


def sold(customer, quantities=(2, 2), **changes):
    """A plan of single sales alone."""
    lines = tuple(
        contract.OrderLine(line_id=f"l{n}", sku=sku, quantity=Decimal(quantity), unit_price=Decimal(100),
                           billing_frequency="one_time")
        for n, (sku, quantity) in enumerate(zip(SKUS, quantities, strict=False))
    )  # fmt: skip
    given = {
        "external_id": f"sub-of-{customer}", "order_id": "006ONCE", "customer_id": customer, "currency": "GBP",
        "start_date": dt.date(2026, 3, 1), "term_months": 12, "planned_at": dt.datetime(2026, 3, 1, tzinfo=dt.UTC),
        "lines": lines, "product_ids": dict.fromkeys(SKUS, "create"), "metadata": {"legal_entity": "GB01"},
    }  # fmt: skip
    return SubscriptionPlan(**{**given, **changes})


def stands(web, customer):
    """What the customer has: each invoice's status, due date's distance in days, currency, notes and lines."""
    found = []
    for raw in web.get("/invoices", params={"customer": customer}).json()["data"]:
        lines = sorted((line["description"], line["quantity"], line["amount"]) for line in raw["lines"]["data"])
        found.append((raw["status"], raw["currency"], (raw["metadata"] or {}).get("po_number"), lines))
    return found


def pending(web, customer):
    return web.get("/invoiceitems", params={"customer": customer, "pending": "true"}).json()["data"]


def leave(build, sandboxes, plan, *, do="status", path="/v1/invoiceitems", nth=2, error=Problem, **fault):
    """An attempt that ended before the end."""
    sandboxes.fault("stripe", do, when={"method": "POST", "path": path, "nth": nth}, **fault)
    with pytest.raises(error):
        run(build().create_subscription(plan, key=f"first-{plan.customer_id}"))
    sandboxes.control("DELETE", "stripe/faults")


LEFT = [
    {"status": 400},  # the second item is refused
    {"nth": 1, "status": 400},  # the first one
    {"status": 500, "kept": True, "error": NotAnswered},
    {"do": "lose_answer", "error": NotAnswered},  # both items stand, nobody knows of the second
    {"path": "*/finalize", "nth": 1, "status": 500, "kept": True, "error": NotAnswered},
    {"path": "/v1/invoices", "nth": 1, "do": "lose_answer", "error": NotAnswered},
]


@pytest.mark.scenario(1, 2)
@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize(
    ("changes", "lines", "po"),
    [
        ({}, [("SETUP", 2, 20_000), ("TRAINING", 2, 20_000)], None),
        ({"quantities": (3, 2)}, [("SETUP", 3, 30_000), ("TRAINING", 2, 20_000)], None),
        ({"quantities": (2,)}, [("SETUP", 2, 20_000)], None),
        ({"quantities": (1, 1), "metadata": {"legal_entity": "GB01", "po_number": "PO-7"}, "days_until_due": 14},
         [("SETUP", 1, 10_000), ("TRAINING", 1, 10_000)], "PO-7"),
    ],
)  # fmt: skip
def test_another_key_takes_the_draft_over_as_the_plan_is_now(build, sandboxes, web, customer, left, changes, lines, po):
    leave(build, sandboxes, sold(customer), **left)
    (draft,) = web.get("/invoices", params={"customer": customer}).json()["data"]
    saved = run(build().create_subscription(sold(customer, **changes), key=f"second-{customer}"))
    assert stands(web, customer) == [("open", "gbp", po, lines)]
    assert (saved.id, pending(web, customer)) == (draft["id"], [])
    made = sandboxes.log("stripe", document_type="invoice", effect="created")
    assert [e["id"] for e in made].count(draft["id"]) == 1
    finalized = web.get(f"/invoices/{saved.id}").json()
    span = dt.timedelta(seconds=finalized["due_date"] - finalized["status_transitions"]["finalized_at"])
    assert span.days == changes.get("days_until_due", 30)


@pytest.mark.parametrize("left", [LEFT[0], LEFT[3], LEFT[5]])
def test_the_same_key_goes_on_where_it_ended(build, sandboxes, web, customer, left):
    leave(build, sandboxes, sold(customer), **left)
    saved = run(build().create_subscription(sold(customer), key=f"first-{customer}"))
    again = run(build().create_subscription(sold(customer), key=f"first-{customer}"))
    assert saved.id == again.id
    assert stands(web, customer) == [("open", "gbp", None, [("SETUP", 2, 20_000), ("TRAINING", 2, 20_000)])]


def test_a_draft_in_another_currency_is_deleted_with_its_items(build, sandboxes, web, customer):
    leave(build, sandboxes, sold(customer), status=400)
    run(build().create_subscription(sold(customer, currency="EUR"), key=f"second-{customer}"))
    lines = [("SETUP", 2, 20_000), ("TRAINING", 2, 20_000)]
    assert (stands(web, customer), pending(web, customer)) == ([("open", "eur", None, lines)], [])


def test_somebody_elses_draft_is_left_alone(build, sandboxes, web, customer):
    other = web.post("/invoices", data={"customer": customer, "metadata[external_id]": "sub-other"}).json()
    run(build().create_subscription(sold(customer), key=f"first-{customer}"))
    assert web.get(f"/invoices/{other['id']}").json()["status"] == "draft"


@pytest.mark.parametrize("status", [500, 402])
def test_an_answer_that_stripe_kept_is_known_as_such(build, sandboxes, customer, status):
    sandboxes.fault(
        "stripe", "status", when={"method": "POST", "path": "/v1/invoices", "nth": 1}, status=status, kept=True
    )
    found = []
    for _ in range(2):
        with pytest.raises(Problem) as met:
            run(build().create_subscription(sold(customer), key=f"kept-{customer}"))
        found.append((met.value.category, met.value.is_replayed))
    category = Category.UNKNOWN_OUTCOME if status == 500 else Category.VALIDATION
    assert found == [(category, False), (category, True)]
