"""In whose book a payout stands: its movements' own, never guessed from the currency while they are on their way."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from types import SimpleNamespace

import pytest

from q2c.canonical.base import Source
from q2c.canonical.billing import BalanceTransaction, Payout
from q2c.core.problems import Awaits, Problem
from q2c.flows.steps.payouts import find_gateway_book, want_gateway_book

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
CALENDAR = SimpleNamespace(
    book=lambda code, _erp: SimpleNamespace(code=code, connection="netsuite"), erps=lambda: {"netsuite"}
)
MAPPINGS = SimpleNamespace(
    resolve=lambda _kind, key, **_asked: SimpleNamespace(value=f"owner of {key}"), get=lambda *_asked, **_on: ""
)


def payout(*payments: str, legal_entity: str = "") -> Payout:
    moved = tuple(
        BalanceTransaction(
            source=Source(connection="stripe", object_type="balance_transaction", object_id=f"txn_{p}"),
            kind="payment", currency="CHF", amount=D(100), fee=D(0), at=NOW, record_type="payment", record_id=p,
        )
        for p in payments
    )  # fmt: skip
    return Payout(
        source=Source(connection="stripe", object_type="payout", object_id="po_1"), currency="CHF",
        amount=D(100) * len(moved), arrival_date=NOW.date(), gateway="stripe", movements=moved,
        legal_entity=legal_entity,
    )  # fmt: skip


def book_of(document: Payout, *, entities: dict[str, str], states: dict[str, str]) -> str:
    links = SimpleNamespace(
        entity=lambda _kind, key: entities.get(key.rpartition(":")[2], ""),
        state=lambda flow, _connection, found: states.get(found, "") if flow == "payment_to_erp" else "",
    )
    txn = SimpleNamespace(source_connection="stripe", legal_entity_code="", target_connection="")
    return find_gateway_book(document, txn, links, MAPPINGS, CALENDAR).code


def test_a_payout_stands_in_the_book_of_what_it_pays_out():
    known = {"entities": {"pi_1": "DE01", "pi_2": "DE01"}, "states": {}}
    assert book_of(payout("pi_1", "pi_2"), **known) == "DE01"
    assert book_of(payout("pi_1", "pi_2", legal_entity="US01"), **known) == "US01"


@pytest.mark.parametrize("state", ["running", "waiting", "held", "unknown"])
def test_it_waits_for_cash_that_is_in_no_book_yet(state):
    with pytest.raises(Awaits) as wait:
        book_of(payout("pi_1", "pi_2"), entities={"pi_1": "CH01"}, states={"pi_2": state})
    assert wait.value.key == "payment:stripe:pi_2"


def test_cash_that_was_never_carried_says_nothing_and_leaves_it_to_the_currency():
    assert book_of(payout("pi_1", "pi_2"), entities={"pi_1": "DE01"}, states={"pi_2": "cancelled"}) == "DE01"
    assert book_of(payout("pi_1"), entities={}, states={}) == "owner of CHF"


def test_cash_of_several_entities_is_held():
    with pytest.raises(Problem, match="pays out the cash of CH01, DE01") as held:
        book_of(payout("pi_1", "pi_2"), entities={"pi_1": "CH01", "pi_2": "DE01"}, states={})
    assert held.value.code == "payout_of_several_entities"


def test_it_asks_for_what_it_needs_at_once():
    assert [want for want in want_gateway_book(payout("pi_1"), CALENDAR) if want[0] in ("xref", "fact")] == [
        ("xref", ("payment", "stripe:payment:pi_1")),
        ("fact", ("payment_to_erp", "stripe", "pi_1")),
    ]
