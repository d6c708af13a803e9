"""What fixed a case, whether it held, and what the case's page makes of it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import DatabaseError, transaction

from exceptions import cases, closing, releases, resolutions
from exceptions.fixes import playbook_of
from exceptions.models import CaseFix, ExceptionCase, FailedFix
from tests.core.people import make_person
from tests.exceptions.problems import AT, held, missing_item
from tests.exceptions.test_resolutions import hold, line, negative_price

pytestmark = pytest.mark.django_db


def told(fix: CaseFix) -> tuple:
    return fix.how, fix.why, fix.by and fix.by.username, fix.document_count


def test_a_repost_that_held_is_the_fix_with_its_reason_person_and_count(billing, commits):
    case, ids = hold(count=3)
    resolutions.repost(case, by=billing, reason="made active in NetSuite")
    with commits():
        cases.close_for_transactions(ids, "completed")
    fix = CaseFix.objects.get()
    assert told(fix) == ("repost", "made active in NetSuite", "ben", 3)
    case.refresh_from_db()
    assert (fix.fingerprint, fix.kind, fix.at, fix.took) == (
        case.fingerprint, "missing_item_mapping", case.closed_at, case.closed_at - AT,
    )  # fmt: skip


def test_a_mapping_is_its_authors_fix_with_the_change_set(billing, controller, commits):
    case, ids = hold()
    change_set = releases.remap_and_repost(case, by=billing, reason="new SKU", line=line())
    releases.decide_change_set(change_set, by=controller, approve=True)
    with commits():
        cases.close_for_transactions(ids, "completed")
    fix = CaseFix.objects.get()
    assert (fix.how, fix.change_set, fix.by) == ("remap_and_repost", change_set, billing)


def test_what_went_on_by_itself_was_waived_or_met_another_problem_says_so(controller, commits):
    row, other = held(missing_item("A")), held(missing_item("B"))
    with commits():
        cases.open_for_steps([row, other])
        cases.close_for_transactions([row.transaction_id], "completed")
        cases.open_for_steps([held(missing_item("C"), transaction_id=other.transaction_id)])
    closing.resolve_emptied()
    waived, _ = hold(negative_price())
    with commits():
        resolutions.waive(waived, by=controller, reason="bad debt, not revenue")
    assert [told(fix) for fix in CaseFix.objects.order_by("id")] == [
        ("by_itself", "No document is left in it.", None, 1),
        ("other_problem", "Another problem holds its last document now.", None, 1),
        ("waive", "bad debt, not revenue", "cora", 1),
    ]


def test_a_cause_that_comes_back_names_the_fix_that_failed_once(billing, commits):
    for _ in range(2):
        case, ids = hold()
        resolutions.repost(case, by=billing, reason="try again")
        with commits():
            cases.close_for_transactions(ids, "completed")
    hold()
    first, second = CaseFix.objects.order_by("id")
    assert set(FailedFix.objects.values_list("fix", flat=True)) == {first.pk, second.pk}
    case = ExceptionCase.objects.get()
    assert (case.state, case.regressed_count, case.failed_fix) == ("open", 2, "completed")


def test_a_waiver_after_which_the_cause_comes_back_as_a_new_case_failed_too(controller, commits):
    case, _ = hold(negative_price())
    with commits():
        resolutions.waive(case, by=controller, reason="bad debt")
    again, _ = hold(negative_price())
    assert again != case
    assert FailedFix.objects.get().fix.case == case


def test_nobody_changes_what_fixed_a_case(billing, commits):
    _, ids = hold()
    with commits():
        cases.close_for_transactions(ids, "completed")
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        CaseFix.objects.update(how="waive")


def make_fix(case: ExceptionCase, how: str, hours: int, *, failed: bool = False, **facts) -> CaseFix:
    values = {"fingerprint": case.fingerprint, "kind": case.kind, "legal_entity_code": "GB01", "document_count": 1}
    took = dt.timedelta(hours=hours)
    fix = CaseFix.objects.create(case=case, how=how, opened_at=AT, at=AT + took, took=took, **(values | facts))
    if failed:
        FailedFix.objects.create(fix=fix, at=AT + dt.timedelta(days=3))
    return fix


def test_the_playbook_counts_this_cause_first_and_its_kind_where_it_is_new(billing):
    case, _ = hold()
    for hours, failed in ((1, False), (3, True), (4, False)):
        make_fix(case, "remap_and_repost", hours, failed=failed)
    make_fix(case, "repost", 9, failed=True)
    book = playbook_of(billing, case)
    assert (book.is_same, book.count) == (True, 4)
    assert [(w.title, w.count, w.stayed, w.lasted) for w in book.ways] == [
        ("Map and repost", 3, 2, "3 h 00 min"), ("Repost", 1, 0, "9 h 00 min"),
    ]  # fmt: skip
    new, _ = hold(missing_item("NEW"))
    assert (playbook_of(billing, new).is_same, playbook_of(billing, new).count) == (False, 4)
    stranger = make_person("uma", "billing_ops", entity="US01")
    assert playbook_of(stranger, new).count == 0


def test_applying_the_same_fix_fills_the_form_in_and_does_nothing(client, billing, controller, commits):
    case, ids = hold()
    change_set = releases.remap_and_repost(case, by=billing, reason="new SKU", line=line())
    releases.decide_change_set(change_set, by=controller, approve=True)
    with commits():
        cases.close_for_transactions(ids, "completed")
    hold()
    client.force_login(billing)
    page = client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    fix = CaseFix.objects.get()
    assert "What failed: map and repost by" in page
    assert f'href="?apply={fix.pk}#remedy"' in page
    filled = client.get(f"/exceptions/cases/{case.pk}/?apply={fix.pk}")
    form = next(r.form for r in filled.context["remedies"] if r.code == "remap_and_repost")
    assert (form["value"].value(), form["why"].value()) == ("77", f"As in {case.number}: {fix.why}")
    assert ExceptionCase.objects.get().state == "open"
    assert client.get(f"/exceptions/cases/{case.pk}/?apply=²").status_code == 200
