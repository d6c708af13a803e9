"""What NetSuite says that it holds: needed fields by type, currencies by id alone, and whether its ledger has it."""

import datetime as dt
import json
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from connectors.calls import Reply, reading_answers
from connectors.netsuite import inbound, outbound
from connectors.netsuite.records import TYPES
from q2c.canonical import posting
from q2c.core.problems import Category, NotAnswered, Problem
from tests.connectors.lines import run

USA = {"id": "1", "refName": "USA"}  # Oracle's own sample of a currency
COMMON = {
    "id": "9001", "externalId": "x-1", "tranId": "N-1", "tranDate": "2026-03-15", "currency": USA, "exchangeRate": 1.0,
    "postingPeriod": {"id": "71", "refName": "Mar 2026"}, "subsidiary": {"id": "1", "refName": "US"},
}  # fmt: skip
APPLY = {"apply": {"items": [{"doc": {"id": "9000"}, "apply": True, "amount": 5.5}]}}
RECORDS = {
    "ar_invoice": {**COMMON, "total": 12.5},
    "ar_credit_memo": {**COMMON, **APPLY, "total": 12.5},
    "receipt": {**COMMON, **APPLY, "payment": 12.5},
    "ar_refund": {**COMMON, **APPLY, "total": 12.5},
    "journal": {**COMMON, "line": {"items": [{"debit": 12.5}, {"credit": 12.5}]}},
}
NUMBERS, SUBLISTS = {"ar_invoice", "ar_credit_memo"}, {"ar_credit_memo", "receipt", "ar_refund"}
TOTALS = {"receipt": ["payment"], "journal": ["line", "line.items", "line.items.0.debit"]}
EVERYWHERE = ["id", "tranDate", *(f"{n}{i}" for n in ("postingPeriod", "currency", "subsidiary") for i in ("", ".id"))]
GONE = object()


def read(raw: dict[str, Any], document_type: str, *, is_write: bool = True) -> posting.PostedDocument:
    reply = Reply(200, {}, json.dumps(raw).encode(), "netsuite", is_write)
    return reply.read(partial(inbound.posted_document, document_type=document_type), "id")


def changed(raw: Any, path: str, value: Any) -> Any:
    """The same with another value at a dotted path, or without it."""
    first, _, rest = path.partition(".")
    if isinstance(raw, list):
        return [changed(raw[0], rest, value), *raw[1:]]
    if rest:
        return {**raw, first: changed(raw[first], rest, value)}
    return {n: v for n, v in raw.items() if n != first} | ({} if value is GONE else {first: value})


def needed_of(document_type: str) -> Iterator[str]:
    yield from EVERYWHERE
    yield from TOTALS.get(document_type, ["total"])
    if document_type in NUMBERS:
        yield "tranId"
    if document_type in SUBLISTS:
        yield from ("apply", "apply.items", *(f"apply.items.0.{n}" for n in ("doc", "doc.id", "apply", "amount")))


BENT = [(kind, path) for kind in RECORDS for path in needed_of(kind)]


@pytest.mark.scenario(55)
@pytest.mark.parametrize(("document_type", "path"), BENT)
def test_a_read_back_without_a_needed_field_proves_nothing_and_names_it(document_type, path):
    raw = RECORDS[document_type]
    assert read(raw, document_type).total == Decimal("12.5")
    for bent in (GONE, None, {"a": [1]}):
        with pytest.raises(NotAnswered) as unknown:
            read(changed(raw, path, bent), document_type)
        place = path.replace(".0", "[0]")
        assert any(name in unknown.value.summary for name in (place, path.rpartition(".")[2])), unknown.value
        with pytest.raises(Problem) as looked:
            read(changed(raw, path, bent), document_type, is_write=False)
        assert (looked.value.code, looked.value.category) == ("answer_not_understood", Category.AVAILABILITY)


def test_every_type_that_posts_says_what_it_needs():
    assert {kind for kind, record in TYPES.items() if record.needs} == set(RECORDS)


def test_a_currency_is_known_by_its_id_and_never_by_the_name_that_its_users_gave_it():
    found = read(RECORDS["ar_invoice"], "ar_invoice")
    assert (found.currency, found.currency_code) == ("1", "")


@pytest.mark.parametrize(
    ("said", "is_in_ledger"),
    [
        ({}, True),  # nothing has to be approved
        ({"approvalStatus": {"id": "2", "refName": "Approved"}}, True),
        ({"approvalStatus": {"id": "1", "refName": "Pending Approval"}}, False),
        ({"approvalStatus": {"id": "3", "refName": "Rejected"}}, False),
        ({"approved": True}, True),
        ({"approved": False}, False),
        ({"approved": False, "approvalStatus": {"id": "2"}}, False),
    ],
)
def test_a_journal_that_waits_by_status_or_by_the_box_approved_isnt_in_the_ledger(said, is_in_ledger):
    assert read({**RECORDS["journal"], **said}, "journal").is_in_ledger is is_in_ledger


@pytest.mark.parametrize("said", [{"approvalStatus": "1"}, {"approved": "false"}, {"approved": 0}])
def test_an_approval_of_another_shape_proves_nothing(said):
    with pytest.raises(NotAnswered):
        read({**RECORDS["journal"], **said}, "journal")


def test_an_untaxed_sale_says_that_there_is_no_tax():
    line = posting.ArLine(item="1", description="Core", quantity=Decimal(1), rate=Decimal(5), amount=Decimal(5))
    day = dt.date(2026, 3, 15)
    shared = {
        "external_id": "x-1", "number": "N-1", "customer": "2", "subsidiary": "1", "currency": "1",
        "currency_code": "USD", "document_date": day, "posting_date": day, "period": "71", "lines": (line,),
        "total": Decimal(5),
    }  # fmt: skip
    for body in (outbound.ar_invoice(posting.ArInvoice(**shared)), outbound.ar_credit_memo(
        posting.ArCreditMemo(**shared)
    )):  # fmt: skip
        assert (body["taxDetailsOverride"], body["taxDetails"]) == (True, {"items": []})


@pytest.mark.parametrize(
    ("heard", "error", "raised"),
    [
        (True, KeyError("doc"), NotAnswered),
        (True, ZeroDivisionError(), NotAnswered),
        (True, RuntimeError(), RuntimeError),  # no reading ends so
        (False, KeyError("doc"), KeyError),  # nothing was asked yet: the fault is ours
    ],
)
def test_what_a_client_cant_read_of_an_answer_is_unknown_and_before_any_answer_it_is_our_own_fault(
    heard, error, raised
):
    async def verb():
        if heard:
            Reply(200, {}, b"{}", "netsuite", is_write=True).json()
        raise error

    with pytest.raises(raised) as problem:
        run(reading_answers(verb)())
    if raised is NotAnswered:
        assert problem.value.subject["connection"] == "netsuite"
        assert "test_read_back" in problem.value.evidence["at"]
