"""An open item that another ERP took over: what settles or undoes it there stands on that ERP's own accounts, by the
rule in force on the item's date."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D

import pytest
from msgspec import structs

from q2c.canonical.billing import DocumentVoid, RefundedCredit
from q2c.canonical.schema import to_builtins
from q2c.flows import refund_to_erp
from q2c.flows.steps import cash, codes, originals
from q2c.posting.facts import Accounts, Book, ItemUse, Policy
from tests import factories
from tests.flows.test_cut_over import (  # noqa: F401 - two_erps is used by its name
    AFTER,
    DAY,
    MONEY,
    NEW,
    OLD,
    ask,
    payment,
    refund,
    source,
    two_erps,
)
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
THEN = dt.date(2026, 3, 31)
THEIRS, OURS, LATER = "119", "7-119", "7-120"  # accounts of the old ERP, and of the new one then and today
BOOK = Book(code="GB01", name="GB", country="GB", currency="GBP", time_zone="Europe/London", connection=NEW,
            erp_id="1")  # fmt: skip


@pytest.fixture(autouse=True)
def accounts():
    """The old ERP's receivables have an id that the new one gives to something else."""
    make_rule("account", "receivables", THEIRS, connection=OLD)
    make_rule("account", "receivables", OURS, connection=NEW, until=DAY)
    make_rule("account", "receivables", LATER, connection=NEW, on=DAY)
    for name in ("clearing:stripe", "tax"):
        make_rule("account", name, f"7-{name}")


def posted(flow: str, name: str, written: str, erp: str) -> None:
    """What we carried to an ERP long ago, as its steps left it."""
    txn = factories.make_transaction(flow=flow, source_id=name)
    gave = {
        "book": structs.replace(BOOK, connection=erp), "document_date": THEN, "items": {"A": ItemUse(item="i-9")},
        "taxes": {}, "accounts": Accounts(receivables=THEIRS if erp == OLD else "7-100"),
        written: {"document_type": written, "id": "9", "external_id": "e", "exchange_rate": "1"},
    }  # fmt: skip
    for fact, output in gave.items():
        factories.make_step(txn, f"gave_{fact}", gave=fact, output=to_builtins(output))


def receivables_of(function, wants, **facts) -> str:
    given = {"book": BOOK, "document_date": DAY, "posting_date": DAY, "policy": Policy(), **facts}
    return ask(function, wants, **given)[0].receivables


@pytest.mark.parametrize(("erp", "account"), [(OLD, OURS), (NEW, "7-100"), ("", LATER)])
@pytest.mark.parametrize("first", ["payment", "credit", "refund", "invoice"])
def test_what_settles_it_stands_on_this_erps_account(first, erp, account):
    flow, name, written = {
        "payment": ("payment_to_erp", "pi_1", "receipt"), "credit": ("credit_memo_to_erp", "cn_1", "ar_credit_memo"),
        "refund": ("refund_to_erp", "re_1", "ar_refund"), "invoice": ("invoice_to_erp", "in_1", "ar_invoice"),
    }[first]  # fmt: skip
    if erp:
        posted(flow, name, written, erp)
    if first == "invoice":
        asked = (cash.find_receipt_accounts, cash.want_receipt_accounts)
        assert receivables_of(*asked, document=structs.replace(payment(AFTER, "in_1"), gateway="stripe")) == account
        return
    document = refund(AFTER)
    if first == "credit":
        document = structs.replace(document, credits=(RefundedCredit(credit_note_id="cn_1", amount=D(9)),))
    elif first == "refund":
        document = structs.replace(document, failed_at=AFTER, status="failed")
    assert receivables_of(refund_to_erp.find_accounts, refund_to_erp.want_accounts, document=document) == account


@pytest.mark.parametrize(("erp", "account", "items"), [(OLD, OURS, {}), (NEW, "7-100", {"A": ItemUse(item="i-9")})])
def test_a_credit_memo_is_charged_again_with_what_this_erp_calls_its_items_and_account(erp, account, items):
    posted("credit_memo_to_erp", "cn_1", "ar_credit_memo", erp)
    void = DocumentVoid(source=source("credit_note_void", "cn_1"), document_id="cn_1", number="CN-1", amount=D(9),
                        voided_at=AFTER, **MONEY)  # fmt: skip
    original, _ = ask(originals.read_credited, originals.want_credited, void=void, book=BOOK)
    assert (original.items, original.document_date, original.exchange_rate) == (items, THEN, D(1))
    facts = {"document": payment(AFTER), "original": original, "taxes": {}}
    assert receivables_of(originals.find_credited_accounts, codes.want_accounts, **facts) == account
