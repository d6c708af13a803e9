"""A case of several entities: each finds it, sees and works its own documents, and keeps sight of what it did there."""

from __future__ import annotations

import pytest
from django.utils import timezone

from exceptions import bulk, cases, counting, tallies
from exceptions.models import BulkAction, CaseTally, ExceptionCase, Waiver
from exceptions.rolling import roll_up
from q2c.core.models import LegalEntity, Membership
from q2c.transactions.models import BusinessTransaction
from tests.core.people import make_person
from tests.exceptions.problems import held
from tests.exceptions.test_bulk import hold
from tests.exceptions.test_regrouping import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def commits(django_capture_on_commit_callbacks):
    """What waits for the commit happens, as after a real one."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def ben():
    return make_person("ben", "billing_ops", entity="GB01")


@pytest.fixture
def dora():
    return make_person("dora", "billing_ops", entity="DE01")


def one_of(entity: str, **facts):
    return held(refused("a memo"), legal_entity_code=entity, **facts)


def sees(person) -> list[int]:
    return list(tallies.cases_visible_to(person).filter(closed_at=None).values_list("document_count", flat=True))


def of_closes(person) -> dict:
    return {place: sums for place, sums in counting.open_by_close(person).items() if sums[0]}


def test_a_case_that_another_entitys_document_joins_is_seen_by_both(ben, dora):
    cases.open_for_steps([one_of("GB01")])
    roll_up()
    case = ExceptionCase.objects.get()
    assert (case.legal_entity_code, sees(ben), sees(dora)) == ("GB01", [1], [])
    cases.open_for_steps([one_of("GB01"), one_of("DE01", currency="EUR")])
    assert tallies.case_visible_to(dora, case.pk) == case  # by its link at once, in her list with the next rolling up
    assert roll_up() == 1
    case.refresh_from_db()
    assert (case.legal_entity_code, sees(ben), sees(dora)) == ("", [3], [3])
    assert tallies.totals_of(dora, [case])[case.pk].document_count == 1
    newest = case.history.latest("history_id")
    assert (newest.legal_entity_code, newest.history_change_reason) == ("", "another entity's document joined it")
    assert (of_closes(ben), of_closes(dora)) == ({}, {})  # cases of several are summed from their tallies
    counting.add_up()
    assert (of_closes(ben), of_closes(dora)) == ({}, {})
    assert roll_up() == 0


def test_more_documents_of_its_own_entity_or_of_none_leave_a_case_its_entitys(ben):
    cases.open_for_steps([one_of("GB01")])
    cases.open_for_steps([one_of("GB01"), one_of("")])
    roll_up()
    assert (ExceptionCase.objects.get().legal_entity_code, sees(ben)) == ("GB01", [3])


@pytest.mark.parametrize(("entities", "left"), [(["GB01"], "GB01"), (["DE01"], ""), (["GB01", "DE01"], "")])
def test_a_case_that_comes_back_for_another_entity_is_of_several(ben, dora, commits, entities, left):
    first = one_of("GB01")
    cases.open_for_steps([first])
    with commits():
        cases.close_for_transactions([first.transaction_id], "completed", worker="w1")
    cases.open_for_steps([one_of(entity) for entity in entities])
    case = ExceptionCase.objects.get()
    assert (case.legal_entity_code, case.regressed_count) == (left, 1)
    assert case.history.latest("history_id").legal_entity_code == left
    assert [bool(sees(person)) for person in (ben, dora)] == ["GB01" in entities, "DE01" in entities]


def hold_of_both(**facts) -> tuple[ExceptionCase, dict[str, BusinessTransaction]]:
    """One case of a document of GB01's and one of DE01's."""
    for entity in ("GB01", "DE01"):
        case, ids = hold(refused("a memo"), legal_entity_code=entity, number=f"{entity}-1", **facts)
    CaseTally.objects.update(worker="")  # as if one process had done all of it: its tallies come back to nothing
    roll_up()
    case.refresh_from_db()
    return case, {txn.legal_entity_code: txn for txn in BusinessTransaction.objects.filter(state="held")}


def test_who_gives_up_the_last_of_their_own_sees_it_and_takes_it_up_again(ben, dora, client, commits):
    case, own = hold_of_both()
    page = f"/exceptions/cases/{case.pk}/"
    Membership.objects.create(person=dora, role="controller", legal_entity=LegalEntity.objects.get(code="DE01"))
    client.force_login(dora)
    with commits():
        sent = client.post(f"{page}waive/", {"waive-code": "looked_into", "waive-why": "a test order"})
    assert (sent.status_code, sent["Location"]) == (303, page)
    assert (client.get(page).status_code, sees(dora), sees(ben)) == (200, [], [2])
    with commits():
        cases.close_for_transactions([own["GB01"].pk], "completed")
    case.refresh_from_db()
    assert case.closed_at is not None
    shown = client.get(page)
    assert (shown.status_code, "take-up" in shown.content.decode()) == (200, True)
    taken = client.post(f"{page}take-up/", {"take_up-why": "it was real"})
    assert (taken.status_code, Waiver.objects.get().undone_by) == (303, dora)
    for person in (dora, ben):
        assert tallies.cases_visible_to(person).filter(pk=case.pk).exists()  # among the closed ones too
    client.force_login(make_person("carl", "billing_ops", entity="FR01"))
    assert client.get(page).status_code == 404


def told_of() -> tuple[ExceptionCase, BusinessTransaction]:
    """A late case of the platform's queue, of which the controller was told."""
    case, (txn,) = hold(refused("a memo"))
    ExceptionCase.objects.filter(pk=case.pk).update(queue="platform", escalation=3, standing="breached")
    return case, BusinessTransaction.objects.get(pk=txn)


@pytest.mark.parametrize("entity", ["", "GB01"])
def test_who_was_told_of_a_late_case_acts_on_its_documents_and_sees_it_once_closed(client, commits, entity):
    case, txn = told_of()
    cora = make_person("cora", "controller", entity=entity)
    client.force_login(cora)
    page = f"/exceptions/cases/{case.pk}/"
    assert (sees(cora), client.get(page).status_code) == ([], 200)
    sent = client.post("/exceptions/bulk/freeze/", {"what": "repost", "of_case": case.pk, "all": "1"})
    action = BulkAction.objects.get()
    assert sent["Location"] == f"/exceptions/bulk/{action.pk}/"
    bulk.confirm(action, by=cora, why="it is there now")
    BulkAction.objects.update(starts_at=timezone.now())
    bulk.run_due()
    assert list(action.items.values_list("result", "says")) == [("done", "")]
    with commits():
        cases.close_for_transactions([txn.pk], "completed")
    assert client.get(page).status_code == 200
    client.force_login(make_person("carl", "controller", entity="FR01"))
    assert client.get(page).status_code == 404
