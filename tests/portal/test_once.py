"""A form is carried out once, however often it is sent; and says so."""

import re
import threading
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from exceptions.models import CaseNote
from mappings.models import ChangeSet
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
        start.wait(timeout=10)
        led_to.append(client.post("/mappings/rules/propose/?kind=item", fields).headers.get("Location"))
        connection.close()

    threads = [threading.Thread(target=click, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
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
    assert bare == ["account/login.html", *tests, "portal/you.html"]  # sign in, sign out
    assert len(forms) > len(bare)
