"""Cases merged and split by hand: where documents and later failures go, and that each can be taken back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db.models import Sum

from exceptions import cases, regrouping
from exceptions.models import CaseAlias, CaseFix, CaseTally, ExceptionCase, Occurrence
from exceptions.regrouping import RegroupRefused
from q2c.core.models import AuditEntry
from q2c.core.problems import Category, Problem
from tests.exceptions.problems import held, missing_item

pytestmark = pytest.mark.django_db


def refused(wording: str) -> Problem:
    subject = {"connection": "netsuite", "error": "INVALID", "field": "memo", "wording": wording}
    return Problem("vendor_refused", Category.VALIDATION, f"NetSuite refused: {wording}", **subject)


def open_case(*rows) -> ExceptionCase:
    return ExceptionCase.objects.get(pk=cases.open_for_steps(rows)[rows[0].transaction_id])


def counted(case) -> tuple[int, Decimal]:
    sums = CaseTally.objects.filter(case=case).aggregate(n=Sum("document_count"), m=Sum("amount"))
    return sums["n"], sums["m"]


def in_case(case) -> int:
    return Occurrence.objects.filter(case=case, closed_at=None).count()


def test_a_merged_case_gives_its_documents_and_its_later_failures_until_it_is_taken_out(ben, commits):
    row, one = held(refused("b")), held(refused("a"))
    a, b = open_case(one), open_case(row)
    alias = regrouping.merge(b, into=a, by=ben, why="the same field, worded twice")
    assert (in_case(a), in_case(b), counted(a), counted(b)) == (2, 0, (2, Decimal(20)), (0, Decimal(0)))
    b.refresh_from_db()
    assert (b.state, b.resolution, CaseFix.objects.count()) == ("resolved", "merged", 0)
    cases.open_for_steps([held(refused("b")), held(transaction_id=row.transaction_id, problem=refused("b"), attempt=2)])
    assert (in_case(a), ExceptionCase.objects.count()) == (3, 2)
    back = regrouping.take_out(alias, by=ben, why="another field after all")
    assert (back, back.state, in_case(a), in_case(b)) == (b, "open", 1, 2)
    assert (counted(a), counted(b)) == ((1, Decimal(10)), (2, Decimal(20)))
    cases.open_for_steps([held(refused("b"))])
    assert (in_case(a), in_case(b)) == (1, 3)
    acts = AuditEntry.objects.order_by("sequence").values_list("verb", "subject_id", "why")
    assert list(acts) == [
        ("merge_case", str(b.pk), "the same field, worded twice"),
        ("take_out_case", str(b.pk), "another field after all"),
    ]


def test_a_merged_cause_that_comes_back_reopens_the_case_that_it_counts_as(ben, commits):
    rows = [held(refused("a")), held(refused("b"))]
    a, b = open_case(rows[0]), open_case(rows[1])
    regrouping.merge(b, into=a, by=ben, why="one cause")
    with commits():
        cases.close_for_transactions([row.transaction_id for row in rows], "completed")
    cases.open_for_steps([held(refused("b")), held(refused("a")), held(missing_item())])
    a.refresh_from_db()
    assert (a.state, a.regressed_count, in_case(a), in_case(b)) == ("open", 1, 2, 0)


def test_a_chain_of_merges_leads_to_the_last_one(ben):
    a, b, c = (open_case(held(refused(word))) for word in "abc")
    regrouping.merge(c, into=b, by=ben, why="one cause")
    b.refresh_from_db()
    regrouping.merge(b, into=a, by=ben, why="one cause")
    cases.open_for_steps([held(refused("c"))])
    assert (in_case(a), in_case(b), in_case(c)) == (4, 0, 0)
    regrouping.take_out(CaseAlias.objects.get(came_from=c), by=ben, why="not this one")
    assert (in_case(a), in_case(b), in_case(c)) == (2, 0, 2)


def test_only_open_cases_of_one_kind_that_no_mapping_mends_are_merged(ben):
    a, other = open_case(held(refused("a"))), open_case(held(missing_item("A")))
    mapping = open_case(held(missing_item("B")))
    cases.open_case(Problem("credentials_refused", Category.AUTHENTICATION, "no", connection="netsuite"))
    system = ExceptionCase.objects.get(kind="credentials_refused")
    for one, into, why in (
        (a, a, "into itself"), (a, other, "one kind"), (mapping, other, "another mapping"), (system, a, "whole system"),
    ):  # fmt: skip
        with pytest.raises(RegroupRefused, match=why):
            regrouping.merge(one, into=into, by=ben, why="because")
    with pytest.raises(RegroupRefused, match="Say why"):
        regrouping.merge(a, into=other, by=ben, why=" ")
    assert CaseAlias.objects.count() == 0


def test_documents_taken_out_stay_apart_when_they_fail_again_and_merging_undoes_it(ben):
    rows = [held(refused("a"), number=f"INV-{n}") for n in range(3)]
    case = open_case(*rows)
    with pytest.raises(RegroupRefused, match="all of its documents"):
        regrouping.split(case, [row.transaction_id for row in rows], by=ben, why="x")
    new = regrouping.split(case, [rows[0].transaction_id], by=ben, why="it needs another remedy")
    assert (new.summary, new.due_at, in_case(case), in_case(new)) == (case.summary, case.due_at, 2, 1)
    assert (counted(case), counted(new)) == ((2, Decimal(20)), (1, Decimal(10)))
    cases.open_for_steps([held(refused("a"), transaction_id=rows[0].transaction_id, attempt=2)])
    assert (in_case(case), in_case(new)) == (2, 1)
    cases.open_for_steps([held(refused("z"), transaction_id=rows[0].transaction_id, attempt=3)])
    assert in_case(new) == 0  # another cause is another piece of work
    regrouping.merge(regrouping.split(case, [rows[1].transaction_id], by=ben, why="x"), into=case, by=ben, why="back")
    assert in_case(case) == 2


def test_the_screens_merge_split_and_take_out_and_refuse_what_is_foreign(client, ben):
    rows = [held(refused("a"), number="INV-1"), held(refused("a"), number="INV-2")]
    a, b = open_case(*rows), open_case(held(refused("b")))
    client.force_login(ben)
    url = f"/exceptions/cases/{b.pk}/merge/"
    missing = client.post(url, {"merge-into": "EX-999999", "merge-why": "because"})
    assert (missing.status_code, b"no such case that you work on" in missing.content) == (422, True)
    assert client.post(url, {"merge-into": f"ex-{a.pk}", "merge-why": "one cause"})["Location"].endswith(f"/{a.pk}/")
    alias = CaseAlias.objects.get()
    page = client.get(f"/exceptions/cases/{a.pk}/").content.decode()
    assert "Take it out again" in page
    out = {f"out{alias.pk}-alias": alias.pk, f"out{alias.pk}-why": "not one cause"}
    assert client.post(f"/exceptions/cases/{a.pk}/take-out/", out).status_code == 302
    split = f"/exceptions/cases/{a.pk}/split/"
    assert client.post(split, {"split-documents": "INV-9", "split-why": "because"}).status_code == 422
    assert client.post(split, {"split-documents": "INV-1", "split-why": "because"}).status_code == 302
    assert (in_case(a), in_case(b)) == (1, 1)
