"""On which accounts money is booked that comes back: those of the journal that stands, where that is ours."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from q2c.canonical.base import Source
from q2c.canonical.billing import BalanceTransaction, Dispute, Payout
from q2c.canonical.posting import Journal, PostedDocument
from q2c.canonical.schema import to_json
from q2c.flows.steps import opposite
from q2c.posting.cash import build_dispute, build_payout
from q2c.posting.facts import Accounts, Book, Period, RateUse

LONDON = Book(code="GB01", name="GB", country="GB", currency="GBP", time_zone="Europe/London", connection="netsuite",
              erp_id="1")  # fmt: skip
DAY, AT = dt.date(2026, 11, 20), dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
NOVEMBER = Period(code="2026-11", name="", erp_id="11", start_date=DAY, end_date=DAY, is_receivables_open=True,
                  is_ledger_open=True, read_at=AT)  # fmt: skip
PAID = BalanceTransaction(source=Source(connection="stripe", object_type="balance_transaction", object_id="txn_1"),
                          kind="payment", currency="GBP", amount=D(100), fee=D(10), at=AT)  # fmt: skip
PAYOUT = Payout(source=Source(connection="stripe", object_type="payout", object_id="po_1"), currency="GBP",
                amount=D(90), arrival_date=DAY, gateway="stripe", movements=(PAID,))  # fmt: skip
DISPUTE = Dispute(source=Source(connection="stripe", object_type="dispute", object_id="du_1"), payment_id="pi_1",
                  currency="GBP", amount=D(90), at=AT, status="withdrawn", gateway="stripe", fee=D(15))  # fmt: skip
BACK = {
    "payout": structs.replace(PAYOUT, failed_at=AT, movements=()),
    "dispute": structs.replace(DISPUTE, status="won", fee=D(-15)),
}
KEPT = {"payout": ("bank",), "dispute": ("disputes", "fees")}


def accounts(suffix: str) -> Accounts:
    return Accounts(**{role: f"{role}-{suffix}" for role in ("clearing", "bank", "fees", "disputes")})


def journal(kind: str, suffix: str) -> Journal:
    document, build = {"payout": (PAYOUT, build_payout), "dispute": (DISPUTE, build_dispute)}[kind]
    return build(
        document,
        book=LONDON,
        currency="1",
        accounts=accounts(suffix),
        rate=RateUse(),
        posting_date=DAY,
        period=NOVEMBER,
    )


def posted(number: str, external_id: str) -> PostedDocument:
    return PostedDocument(document_type="journal", id=number, external_id=external_id)


@pytest.mark.parametrize("kind", BACK)
@pytest.mark.parametrize(
    ("stands", "changes", "expected"),
    [
        ("7", {}, "first"),
        ("8", {}, "again"),
        ("9", {}, "now"),
        ("", {}, "now"),
        ("7", {"posting": None}, "now"),
        ("7", {"journal": posted("7", "typed by hand")}, "now"),
        ("7", {"book": structs.replace(LONDON, connection="netsuite-2")}, "now"),
        ("7", {"book": structs.replace(LONDON, code="DE01")}, "now"),
    ],
    ids=["the first", "posted again", "another document", "none", "not kept any more", "linked by people",
         "in another ERP", "in another book"],
)  # fmt: skip
def test_what_comes_back_takes_the_accounts_of_the_journal_that_stands(kind, stands, changes, expected):
    document = BACK[kind]
    first, again = journal(kind, "first"), journal(kind, "again")
    own = {"book": LONDON, "posting": first, "journal": posted("7", first.external_id), **changes}
    plan = {"book": LONDON, "again": again, "reposted": posted("8", again.external_id)}
    key = document.source.connection, document.source.object_id
    given = {(f"{kind}_to_erp", *key, name): body for name, body in own.items() if body is not None}
    given |= {("reversal_to_erp", *key, name): body for name, body in plan.items()}
    record = (kind, f"stripe:{kind}:{key[1]}" + (":withdrawn" if kind == "dispute" else ""))
    asked: set = set()
    mappings: Any = SimpleNamespace(
        looks_at=lambda *kinds: frozenset(),
        resolve=lambda kind, role, **scope: SimpleNamespace(value=f"{_role(role, kind)}-now"),
        get=lambda kind, role, default="", **scope: f"{role}-now",
    )
    links = SimpleNamespace(
        find=lambda *found: SimpleNamespace(external_id=stands) if stands and found == (*record, "netsuite") else None,
        step_gave=lambda *found: asked.add(found) or (to_json(given[found]) if found in given else None),
    )
    wants = opposite.want_accounts(document, mappings)
    find = getattr(opposite, f"find_{kind}_accounts")
    found = find(document, LONDON, DAY, DAY, mappings, links)
    assert {role: getattr(found, role) for role in KEPT[kind]} == {role: f"{role}-{expected}" for role in KEPT[kind]}
    assert found.clearing == "clearing-now"
    assert asked <= {name for what, name in wants if what == "given"}
    assert ("xref", record) in wants


def _role(role: str, kind: str) -> str:
    return "bank" if kind == "gateway_bank" else role.partition(":")[0]


def test_a_first_movement_takes_the_accounts_of_its_own_date():
    assert not any(what in ("given", "xref") for what, _ in opposite.want_accounts(
        PAYOUT, SimpleNamespace(looks_at=lambda *kinds: frozenset())
    ))  # fmt: skip
