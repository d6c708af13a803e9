"""Bulk actions on the screens: ticked, previewed, confirmed, undone, followed, and done again for the rest."""

import pytest
from django.utils import timezone

from exceptions import bulk
from exceptions.models import BulkAction
from q2c.transactions.models import BusinessTransaction
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def held(db):
    """A case of three documents in GB01 and one of one document in US01."""
    txns = [factories.make_transaction("held", number=f"INV-{n}") for n in (1, 2, 3)]
    foreign = factories.make_transaction("held", number="INV-US", legal_entity_code="US01", currency="USD")
    other = factories.make_case("Another cause", transactions=[foreign], legal_entity_code="US01")
    return factories.make_case(transactions=txns), other, txns


def choose(client, **fields):
    """Freeze what these fields of the form say; the preview."""
    return client.post("/exceptions/bulk/freeze/", {"what": "repost", **fields}, follow=True)


def confirm(client, **fields):
    """Confirm the newest draft, and let its minute be over."""
    action = BulkAction.objects.latest("pk")
    answer = client.post(f"/exceptions/bulk/{action.pk}/confirm/", {"why": "Mended in NetSuite", **fields})
    BulkAction.objects.filter(pk=action.pk).update(starts_at=timezone.now())
    return action, answer


def text_of(answer):
    return " ".join(answer.content.decode().replace("\xa0", " ").split())


def test_what_is_ticked_is_previewed_confirmed_and_followed_to_the_result_of_each(controller, held):
    case, _, txns = held
    queue = text_of(controller.get("/exceptions/cases/"))
    assert f'name="case" value="{case.pk}"' in queue
    assert "All 2 matching" in queue
    preview = choose(controller, case=[case.pk])
    page = text_of(preview)
    assert "<h1>You may repost all 3 documents</h1>" in page
    assert "360.00" in page
    action, answer = confirm(controller)
    assert (answer.status_code, answer["Location"]) == (302, f"/exceptions/bulk/{action.pk}/")
    bulk.run_due()
    page = text_of(controller.get(answer["Location"]))
    assert "<h1>0 of 3 documents are posted, 3 are on the way</h1>" in page
    assert f'hx-get="/exceptions/bulk/{action.pk}/?phase=carrying"' in page
    BusinessTransaction.objects.filter(pk=txns[0].pk).update(state="completed", target_id="9", target_number="INVGB9")
    BusinessTransaction.objects.exclude(pk=txns[0].pk).filter(state="running").update(state="held")
    page = text_of(controller.get(answer["Location"]))
    assert "<h1>1 document is posted, 2 came back</h1>" in page
    assert "INVGB9" in page
    assert f"EX-{case.pk}</a>" in page
    back = controller.get(f"{answer['Location']}?show=back")
    assert [row.number for row in back.context["page"].rows] == ["INV-2", "INV-3"]
    again = controller.post(f"{answer['Location']}again/", follow=True)
    assert "<h1>You may repost all 2 documents</h1>" in text_of(again)


def test_all_that_match_a_filter_are_chosen_and_a_filter_that_cannot_be_read_chooses_nothing(controller, held):
    page = text_of(choose(controller, all="yes", filter="entity=&kind=missing_item_mapping"))
    assert "<h1>You may repost all 4 documents</h1>" in page
    assert "All open cases with Kind: missing_item_mapping" in page
    refused = choose(controller, all="yes", filter="severity=many")
    assert "One of the filters can’t be read" in text_of(refused)
    assert BulkAction.objects.count() == 1


def test_documents_of_a_case_are_chosen_row_by_row_or_all_of_them(controller, held):
    case, other, _ = held
    first = case.occurrences.order_by("pk")[0]
    foreign = other.occurrences.get()
    page = text_of(choose(controller, of_case=case.pk, document=[first.pk, foreign.pk]))
    assert "<h1>You may repost 1 document</h1>" in page
    assert "<h1>You may repost all 3 documents</h1>" in text_of(choose(controller, of_case=case.pk, all="yes"))


def test_who_may_act_on_a_part_is_told_which_and_why_not_the_others(sign_in, held):
    client = sign_in("billing_ops", entities=("GB01",))
    factories.make_person("auditor", username=client.person.username)
    page = text_of(choose(client, all="yes", filter=""))
    assert "<h1>You may repost 3 of these 4 documents</h1>" in page
    assert "<b>1</b> Your role doesn&#x27;t reach its entity." in page


def test_foreign_entities_and_queues_are_neither_chosen_nor_shown(sign_in, controller, held):
    case, other, _ = held
    gb = sign_in("billing_ops", entities=("GB01",))
    assert "<h1>You may repost all 3 documents</h1>" in text_of(choose(gb, case=[case.pk, other.pk]))
    choose(controller, all="yes", filter="")
    action, _ = confirm(controller)
    shown = gb.get(f"/exceptions/bulk/{action.pk}/")
    assert {row.legal_entity_code for row in shown.context["page"].rows} == {"GB01"}
    assert [total.legal_entity for total in shown.context["totals"]] == ["GB01"]
    assert "INV-US" not in shown.content.decode()
    jp = sign_in("billing_ops", entities=("JP01",))
    assert jp.get(f"/exceptions/bulk/{action.pk}/").status_code == 404
    assert sign_in("platform").get(f"/exceptions/bulk/{action.pk}/").status_code == 404
    assert gb.get("/exceptions/bulk/?of=all").context["page"].rows[0].pk == action.pk
    assert jp.get("/exceptions/bulk/?of=all").context["page"].rows == []


def test_undoing_and_the_form_that_lacks_a_reason(controller, held):
    case, _, txns = held
    choose(controller, case=[case.pk])
    action = BulkAction.objects.latest("pk")
    assert controller.post(f"/exceptions/bulk/{action.pk}/confirm/", {"why": ""}).status_code == 422
    controller.post(f"/exceptions/bulk/{action.pk}/confirm/", {"why": "Mended in NetSuite"})
    waiting = text_of(controller.get(f"/exceptions/bulk/{action.pk}/"))
    assert "data-undo" in waiting
    assert "3 documents will be reposted in " in waiting
    undone = controller.post(f"/exceptions/bulk/{action.pk}/undo/", follow=True)
    assert "<h1>Undone: nothing happened to 3 documents</h1>" in text_of(undone)
    assert set(BusinessTransaction.objects.values_list("state", flat=True)) == {"held"}
    again = controller.post(f"/exceptions/bulk/{action.pk}/again/", follow=True)
    assert "<h1>You may repost all 3 documents</h1>" in text_of(again)


def test_the_progress_asks_again_by_itself_and_the_page_is_read_anew_when_another_form_is_due(controller, held):
    case, _, _ = held
    choose(controller, case=[case.pk])
    action, _ = confirm(controller)
    address, htmx = f"/exceptions/bulk/{action.pk}/", {"HX-Request": "true"}
    part = controller.get(f"{address}?phase=waiting", headers=htmx)
    assert "<html" not in part.content.decode()
    assert "hx-trigger" in part.content.decode()
    bulk.run_due()
    moved = controller.get(f"{address}?phase=waiting", headers=htmx)
    assert (moved.status_code, moved["HX-Refresh"]) == (204, "true")


def test_cases_are_assigned_in_bulk_to_somebody_who_works_their_queue(controller, sign_in, held):
    case, other, _ = held
    ben = sign_in("billing_ops").person
    page = text_of(choose(controller, what="assign", case=[case.pk, other.pk]))
    assert "<h1>You may assign all 2 cases</h1>" in page
    action, _ = confirm(controller, to=ben.pk, why="")
    bulk.run_due()
    case.refresh_from_db()
    assert case.assignee == ben
    assert "<h1>2 cases are assigned</h1>" in text_of(controller.get(f"/exceptions/bulk/{action.pk}/"))


def test_nothing_ticked_and_what_no_right_allows_change_nothing(controller, sign_in, held):
    case, _, _ = held
    assert "Nothing is ticked." in text_of(choose(controller))
    assert choose(controller, case=["x"]).status_code == 404
    assert choose(sign_in("billing_ops"), what="waive", case=[case.pk]).status_code == 403
    assert BulkAction.objects.count() == 0
