"""What the register makes of an object whose event was lost: the month in which its money moved, or a case."""

from __future__ import annotations

import asyncio
import datetime as dt
import json

import pytest

from connectors.manifest import Context
from connectors.stripe import register
from connectors.stripe.events import EVENTS
from q2c.core.problems import Problem


def unix(text):
    return int(dt.datetime.fromisoformat(f"{text}T10:00:00+00:00").timestamp())


MARCH, APRIL = unix("2026-03-28"), unix("2026-04-03")
CHARGE = {
    "id": "ch_1", "object": "charge", "amount": 10_000, "amount_captured": 10_000, "captured": True, "created": MARCH,
    "currency": "eur", "customer": "cus_1", "status": "succeeded", "payment_intent": None,
    "payment_method_details": {"type": "card"}, "balance_transaction": {"id": "txn_1", "created": APRIL},
}  # fmt: skip
INTENT = {
    "id": "pi_1", "object": "payment_intent", "amount": 10_000, "amount_received": 10_000, "created": MARCH,
    "currency": "eur", "customer": "cus_1", "status": "succeeded", "metadata": {"legal_entity": "DE01"},
    "capture_method": "automatic_async",
}  # fmt: skip
REFUND = {
    "id": "re_1", "object": "refund", "amount": 4_000, "currency": "eur", "created": MARCH, "status": "succeeded",
    "payment_intent": "pi_1", "balance_transaction": {"id": "txn_2", "created": MARCH},
    "failure_balance_transaction": None,
}  # fmt: skip
SEPA = {"payment_method_details": {"type": "sepa_debit"}, "balance_transaction": {"id": "txn_1", "created": MARCH}}


def intent(**charge):
    return {**INTENT, "latest_charge": {**CHARGE, "payment_intent": "pi_1", **charge}}


def bring(document_type, raw, *listed):
    """The one message of an object, where Stripe lists these events; and what was asked of Stripe."""
    asked = []

    async def list_events(query):
        asked.append(query)
        types = [value for name, value in query if name == "types[]"]
        bounds = {name: int(value) for name, value in query if name != "types[]"}
        for event in listed:
            within = bounds["created[gte]"] <= event["created"] <= bounds.get("created[lte]", event["created"])
            if event["type"] in types and within:
                yield event

    async def read(path, query=()):
        asked.append((path, query))
        return raw

    entry = register.entry(document_type, raw)
    (message,) = asyncio.run(register.bring(document_type, [entry], list_events, read))
    return message, asked


def said(message):
    """The canonical event of a message. Raises Problem."""
    context = Context("stripe", {}, message.event_type, message.source_id, dt.datetime.now(dt.UTC))
    (event,) = EVENTS[message.event_type].translate(message.body, context)
    return event


def event(kind, raw, created, **before):
    data = {"object": raw, "previous_attributes": before} if before else {"object": raw}
    return {"id": f"evt_{created}", "object": "event", "type": kind, "created": created, "data": data}


@pytest.mark.parametrize(
    ("document_type", "raw", "day"),
    [
        ("payment", intent(), "2026-04-03"),  # of March, and paid on 3 April
        ("payment", intent(created=APRIL, balance_transaction=None), "2026-04-03"),  # not on the balance yet
        ("payment", CHARGE, "2026-04-03"),  # authorised in March, captured in April
        ("refund", {**REFUND, "balance_transaction": {"created": APRIL}}, "2026-04-03"),  # waited for a balance
        ("refund", REFUND, "2026-03-28"),
        ("refund", {**REFUND, "balance_transaction": None}, "2026-03-28"),
        ("refund", {**REFUND, "status": "failed", "failure_balance_transaction": {"created": APRIL}}, "2026-04-03"),
    ],
)
def test_money_whose_event_was_lost_is_dated_when_it_moved(document_type, raw, day):
    message, asked = bring(document_type, raw)
    assert message.dedupe_key.startswith("register:")
    happened = said(message)
    moved = getattr(happened, document_type)
    at = moved.received_at if document_type == "payment" else moved.failed_at or moved.refunded_at
    assert (at.date().isoformat(), happened.occurred_at) == (day, at)
    (_, (path, query)) = asked
    assert (path.split("/")[-1], {name for name, _ in query}) == (raw["id"], {"expand[]"})


@pytest.mark.parametrize(
    ("document_type", "raw"),
    [
        ("payment", intent(**SEPA)),
        ("payment", {**CHARGE, **SEPA}),
        ("payment", intent(payment_method_details=None)),
        ("payment", {**INTENT, "latest_charge": "ch_1"}),
        ("payment", {**CHARGE, "balance_transaction": None}),
        ("refund", {**REFUND, "destination_details": {"type": "eu_bank_transfer"}}),
        ("refund", {**REFUND, "status": "failed"}),
    ],
)
def test_money_of_which_nobody_says_when_it_moved_is_for_a_person_and_never_dated_when_it_was_begun(document_type, raw):
    message, _ = bring(document_type, raw)
    with pytest.raises(Problem, match="begun on 28 March 2026") as refused:
        said(message)
    assert (refused.value.code, refused.value.subject["document"]) == ("movement_undated", raw["id"])


def test_a_debit_that_went_through_days_later_is_found_among_all_events_since():
    happened = event("payment_intent.succeeded", intent(**SEPA), APRIL)
    message, asked = bring("payment", intent(**SEPA), happened)
    assert (message.dedupe_key, said(message).payment.received_at.date()) == (happened["id"], dt.date(2026, 4, 3))
    assert asked[-1] == [("types[]", "payment_intent.succeeded"), ("created[gte]", str(MARCH))]


def test_a_refund_to_a_bank_is_dated_when_its_state_changed_and_not_by_a_later_note_on_it():
    raw = {**REFUND, "destination_details": {"type": "eu_bank_transfer"}}
    went, noted = event("refund.updated", raw, APRIL, status="pending"), event("refund.updated", raw, APRIL + 9 * 86400)
    message, _ = bring("refund", raw, noted, went)
    assert (message.dedupe_key, said(message).refund.refunded_at.date()) == (went["id"], dt.date(2026, 4, 3))


AUTHORISED = {**CHARGE, "captured": False, "amount_captured": 0, "balance_transaction": None}
CAPTURED = {**CHARGE, "amount_captured": 6_000}


def test_a_charge_captured_in_part_later_is_one_payment_of_what_was_captured():
    bodies = {
        "charge.succeeded": event("charge.succeeded", AUTHORISED, MARCH),
        "charge.captured": event("charge.captured", CAPTURED, APRIL),
    }
    paid = [
        (kind, made.payment.amount, made.payment.received_at.date())
        for kind, body in bodies.items()
        for made in EVENTS[kind].translate(
            json.dumps(body).encode(), Context("stripe", {}, kind, "ch_1", dt.datetime.now(dt.UTC))
        )
    ]
    assert paid == [("charge.captured", 60, dt.date(2026, 4, 3))]
    assert register.entry("payment", AUTHORISED) is None
    assert register.entry("payment", CAPTURED).amount == 60


def test_a_charge_captured_behind_a_payment_intent_is_not_counted_twice():
    body = json.dumps(event("charge.captured", {**CAPTURED, "payment_intent": "pi_1"}, APRIL)).encode()
    assert EVENTS["charge.captured"].translate(body, Context("stripe", {}, "charge.captured", "ch_1", None)) == []


def test_a_capture_that_no_webhook_brought_is_brought_by_its_own_event_and_not_by_the_authorisations():
    soon = MARCH + 60
    listed = [event("charge.captured", CAPTURED, soon), event("charge.succeeded", AUTHORISED, MARCH)]
    message, _ = bring("payment", CAPTURED, *listed)
    assert (message.event_type, message.dedupe_key) == ("charge.captured", f"evt_{soon}")
    assert said(message).payment.amount == 60


def moved(amount, at, currency="eur"):
    return {"id": f"txn_{at}", "amount": amount, "currency": currency, "created": at, "fee": 0}


TAKEN, GIVEN = moved(-25_000, APRIL), moved(25_000, APRIL + 60 * 86400)
DISPUTED = {
    "id": "du_1", "object": "dispute", "amount": 25_000, "currency": "eur", "created": MARCH, "metadata": {},
    "charge": {"id": "ch_1", "customer": "cus_1", "metadata": {"legal_entity": "DE01"}}, "payment_intent": "pi_1",
    "status": "needs_response", "balance_transactions": [TAKEN],
}  # fmt: skip


@pytest.mark.parametrize(
    ("movements", "said"),
    [
        ([], None),  # an inquiry: no money has moved, or never will
        ([TAKEN], (250, "EUR", "", "2026-04-03")),  # begun in March as an inquiry
        ([TAKEN, GIVEN], (250, "EUR", "won", "2026-04-03")),
        ([moved(-27_000, APRIL, "usd")], (270, "USD", "", "2026-04-03")),  # as the balance was charged
        ([moved(-27_000, APRIL, "usd"), moved(26_500, APRIL + 9, "usd")], (265, "USD", "won", "2026-04-03")),
        ([moved(-2_500, APRIL, "jpy")], (2500, "JPY", "", "2026-04-03")),
    ],
)
def test_a_dispute_is_registered_as_what_it_moved_last_of_the_day_on_which_it_took_it(movements, said):
    found = register.entry("dispute", {**DISPUTED, "balance_transactions": movements})
    if said is None:
        assert found is None
        return
    assert (found.amount, found.currency, found.status, found.dated.date().isoformat()) == said
    assert (found.customer_id, found.legal_entity, found.made_at) == (
        "cus_1",
        "DE01",
        dt.datetime.fromtimestamp(MARCH, dt.UTC),
    )


def test_a_dispute_whose_charge_is_only_named_is_registered_without_saying_whose_it_is():
    found = register.entry("dispute", {**DISPUTED, "charge": "ch_1", "metadata": {"legal_entity": "GB01"}})
    assert (found.customer_id, found.legal_entity) == ("", "GB01")


def test_both_movements_of_a_dispute_whose_events_are_gone_are_brought_in_their_order_and_dated_when_they_moved():
    raw = {**DISPUTED, "charge": "ch_1", "status": "won", "balance_transactions": [TAKEN, GIVEN]}

    async def none(query):
        for event in ():
            yield event

    async def read(path, query=()):
        assert (path, list(query)) == ("/v1/disputes/du_1", [])
        return raw

    messages = asyncio.run(register.bring("dispute", [register.entry("dispute", raw)], none, read))
    assert [
        (happened.dispute.status, happened.dispute.amount, happened.dispute.at.date().isoformat())
        for happened in map(said, messages)
    ] == [("withdrawn", 250, "2026-04-03"), ("won", 250, "2026-06-02")]
