"""What Stripe refuses to say, or says of what is gone."""

import datetime as dt

import httpx
import pytest
import stripe

from connectors.errors import Absent
from connectors.manifest import Context
from connectors.recorder import Collector
from connectors.stripe.events import EVENTS
from q2c.core.problems import Problem
from tests.connectors.lines import run

REFUSAL = {"error": {"type": "invalid_request_error", "message": "Balance transaction history can't be filtered."}}


@pytest.fixture
def payout(sandboxes):
    """Make a payout of some money, in a currency of its own."""

    def make(currency, **given):
        (customer,) = sandboxes.make("stripe", "customer", {"name": "Northwind"})
        sandboxes.make("stripe", "payment_intent", {"customer": customer, "amount": 10_000, "currency": currency})
        return sandboxes.make("stripe", "payout", {"currency": currency, **given})[0]

    return make


def test_a_payout_asked_for_by_hand_comes_without_movements_and_stripe_is_not_asked_for_them(build, sandboxes, payout):
    made, collector = payout("gbp", amount=5_000, automatic=False), Collector()
    found = run(build(collector).payout(made))
    assert (str(found.amount), found.is_automatic, found.movements) == ("50.00", False, ())
    assert [noted.url.rpartition("/v1/")[2] for noted in collector.take()] == [f"payouts/{made}"]
    given = sandboxes.vendor("stripe")
    theirs = stripe.StripeClient(given["credentials"]["api_key"], base_addresses={"api": given["url"]})
    with pytest.raises(stripe.InvalidRequestError, match="only be filtered on automatic transfers, not manual"):
        theirs.v1.balance_transactions.list({"payout": made})


@pytest.mark.parametrize("refuses", [True, False])
def test_a_failed_payout_is_read_whether_stripe_says_what_it_paid_out_or_not(build, sandboxes, payout, refuses):
    made = payout("usd" if refuses else "eur")
    sandboxes.make("stripe", "payout", {"id": made, "status": "failed"})
    if refuses:
        when = {"path": "/v1/balance_transactions", "nth": 1}
        sandboxes.fault("stripe", "status", status=400, body=REFUSAL, when=when)
    found = run(build().payout(made))
    assert (found.status, len(found.movements)) == ("failed", 0 if refuses else 1)


def test_a_refusal_to_say_what_a_paid_payout_holds_is_nothing_to_pass_over(build, sandboxes, payout):
    made = payout("chf")
    sandboxes.fault("stripe", "status", status=400, body=REFUSAL, when={"path": "/v1/balance_transactions", "nth": 1})
    with pytest.raises(Problem) as refusal:
        run(build().payout(made))
    assert refusal.value.code == "vendor_refused"


def test_a_deleted_customer_is_absent_and_its_events_say_nothing(build, sandboxes):
    given = sandboxes.vendor("stripe")
    with httpx.Client(base_url=given["url"] + "/v1", auth=(given["credentials"]["api_key"], "")) as web:
        debit = {"type": "sepa_debit", "sepa_debit[iban]": "DE89 3704 0044 0532 0130 00"}
        method = web.post("/payment_methods", data=debit).raise_for_status().json()["id"]
        settings = {"name": "Fabrikam", "invoice_settings": {"default_payment_method": method}}
        (made,) = sandboxes.make("stripe", "customer", settings)
        web.delete(f"/customers/{made}").raise_for_status()
        assert web.get(f"/customers/{made}").json() == {"id": made, "object": "customer", "deleted": True}
    with pytest.raises(Absent):
        run(build().customer(made))
    (told,) = [
        polled
        for polled in run(build().changes("events", {})).found
        if (polled.source_id, polled.event_type) == (made, "customer.created")
    ]
    meaning = EVENTS["customer.created"]
    assert meaning.refetch_when(told.body)
    fetched = run(getattr(build(), meaning.refetch)(made))
    context = Context("stripe", {}, told.event_type, made, dt.datetime.now(dt.UTC), fetched)
    assert meaning.translate(told.body, context) == []
