"""A form is carried out once, however often it is sent; and says so."""

import re
import threading
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from exceptions.models import BulkAction, CaseNote, ExceptionCase
from mappings.models import ChangeSet
from q2c.core.models import Person
from q2c.inbox.models import ApiRequest
from q2c.portal import once
from tests import factories

TEMPLATES = Path(__file__).resolve().parent.parent.parent / "templates"


@pytest.fixture
def case(db):
    """A case that waits for words."""
    factories.make_entity("GB01")
    return factories.make_case(transactions=[factories.make_transaction("held")])


def key_on(client, address):
    """The key of the first form of a page."""
    return re.search(r'name="form_key" value="([^"]+)"', client.get(address).content.decode())[1]


def said_by(case):
    return list(CaseNote.objects.filter(case=case, text__contains="supplier").values_list("text", flat=True))


def test_a_form_sent_twice_is_carried_out_once_and_says_so(controller, case):
    page = f"/exceptions/cases/{case.pk}/"
    sent = {"text": "Asked the supplier", "form_key": key_on(controller, page)}
    first = controller.post(f"{page}note/", sent)
    again = controller.post(f"{page}note/", sent, follow=True)
    assert (first.status_code, first["Location"]) == (303, page)
    assert again.redirect_chain == [(page, 303)]
    assert once.SAID in again.content.decode().replace("&#x27;", "'")
    assert said_by(case) == ["Asked the supplier"]


def test_the_same_words_in_a_form_shown_again_are_another_request(controller, case):
    page = f"/exceptions/cases/{case.pk}/"
    for _ in range(2):
        controller.post(f"{page}note/", {"text": "Asked the supplier", "form_key": key_on(controller, page)})
    assert said_by(case) == ["Asked the supplier"] * 2


def test_a_form_that_was_corrected_and_sent_again_with_its_key_is_another_request(controller, case):
    page = f"/exceptions/cases/{case.pk}/"
    key = key_on(controller, page)
    empty = controller.post(f"{page}note/", {"text": "", "form_key": key})
    controller.post(f"{page}note/", {"text": "Asked the supplier", "form_key": key})
    assert empty.status_code == 422
    assert said_by(case) == ["Asked the supplier"]
    assert ApiRequest.objects.count() == 1


def closed(case):
    ExceptionCase.objects.filter(pk=case.pk).update(state="resolved", closed_at=timezone.now())
    return f"/exceptions/cases/{case.pk}/assign/", {"to": ""}, "is resolved already."


def begun(case):
    action = BulkAction.objects.create(
        what="repost", made_by=Person.objects.get(memberships__role="controller"), state="running",
        frozen_at=timezone.now(), chosen_words="All", item_count=1,
    )  # fmt: skip
    return f"/exceptions/bulk/{action.pk}/undo/", {}, "has begun already."


REFUSALS = {
    "an act on a closed case": closed,
    "undoing what has begun": begun,
    "nothing ticked": lambda case: ("/exceptions/bulk/freeze/", {"what": "repost"}, "Nothing is ticked."),
    "no way chosen": lambda case: ("/exceptions/bulk/freeze/", {}, "Choose cases and what to do with them."),
    "a view of no filter": lambda case: ("/exceptions/views/keep/", {"name": "All"}, "Nothing was kept."),
}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_what_was_refused_and_led_elsewhere_is_judged_anew_and_never_said_to_be_done(controller, case, name):
    url, sent, says = REFUSALS[name](case)
    for _ in range(2):
        shown = controller.post(url, {**sent, "form_key": "a-key"}, follow=True).content.decode()
        assert (says in shown, once.SAID in shown.replace("&#x27;", "'")) == (True, False)
    assert ApiRequest.objects.count() == 0


# What warns beside what it did, or within the form's own page: anything else that is refused says so by `refuse`.
WARNS = {
    "q2c/core/htmx.py": "refuse itself",
    "connectors/console/actions.py": "the test was carried out: what the vendor said of it",
    "exceptions/workbench/alerts.py": "the test message was sent: what the channel said of it",
    "exceptions/workbench/resolving.py": "in the answer itself, a 422",
    "mappings/workbench/proposing.py": "on the way to the newer rule, whose form is shown",
}


def test_what_leads_elsewhere_with_a_warning_goes_through_refuse():
    root = TEMPLATES.parent
    rooms = (path for room in ("q2c", "exceptions", "mappings", "connectors") for path in (root / room).rglob("*.py"))
    found = {str(p.relative_to(root)) for p in rooms if re.search(r"messages\.(warning|error)\(", p.read_text())}
    assert found == set(WARNS)


def test_a_key_of_one_person_means_nothing_for_another(sign_in, case):
    ben, cora = sign_in("billing_ops"), sign_in("controller")
    sent = {"text": "Asked the supplier", "form_key": key_on(ben, f"/exceptions/cases/{case.pk}/")}
    for client in (ben, cora):
        client.post(f"/exceptions/cases/{case.pk}/note/", sent)
    assert len(said_by(case)) == 2


@pytest.mark.django_db(transaction=True)
def test_a_double_click_on_a_proposal_makes_one_change_set_and_both_clicks_lead_to_it():
    factories.make_entity("GB01")
    person = factories.make_person("billing_ops")
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(person)
    fields = {
        "key": "22423", "value": "10482", "connection_code": "", "legal_entity_code": "GB01", "currency": "",
        "product_line": "", "effective_from": "1 Dec 2010", "effective_to": "", "why": "New on sale",
        "form_key": key_on(clients[0], "/mappings/rules/propose/?kind=item"),
    }  # fmt: skip
    start, led_to = threading.Barrier(2), []

    def click(client):
        start.wait(timeout=60)
        led_to.append(client.post("/mappings/rules/propose/?kind=item", fields).headers.get("Location"))
        connection.close()

    threads = [threading.Thread(target=click, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    change_set = ChangeSet.objects.get()
    assert led_to == [f"/mappings/change-sets/{change_set.pk}/"] * 2


def test_every_form_that_changes_something_carries_a_key():
    forms = [
        (str(path.relative_to(TEMPLATES)), form)
        for path in sorted(TEMPLATES.rglob("*.html"))
        for form in re.findall(r'<form[^>]*method="post".*?</form>', path.read_text(), re.S)
    ]
    bare = [name for name, form in forms if "{% form_key %}" not in form]
    tests = ["connectors/_actions.html", "connectors/_worst.html"]  # one read of a connection
    doors = ["account/login.html", "account/login.html"]  # sign in, by a password and by single sign-on
    assert bare == [*doors, *tests, "portal/you.html"]  # sign out
    assert len(forms) > len(bare)
