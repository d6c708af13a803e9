"""Pages for what went wrong: each in the portal's look, without anything inline, saying what to do."""

import re

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from q2c.api.problems import bad_request, server_error
from q2c.portal.schedules import runs_words
from tests import factories

pytestmark = pytest.mark.django_db


def plain(response):
    html = response.content.decode()
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script>", html)
    assert html.count("<h1") == 1
    return html


def test_a_form_without_its_token_says_what_to_do(controller):
    client = Client(enforce_csrf_checks=True)
    client.force_login(controller.person)
    answer = client.post("/you/", {"zone": "Europe/Berlin"})
    assert answer.status_code == 403
    assert "The form is too old, so nothing was done" in plain(answer)


def test_a_bug_shows_a_number_to_quote():
    request = RequestFactory().get("/")
    request.correlation_id = "0192f1c4-77aa"
    answer = server_error(request)
    assert answer.status_code == 500
    assert '<code class="break">0192f1c4-77aa</code>' in plain(answer)


@pytest.mark.parametrize(("path", "read"), [("/", plain), ("/api/v1/orders", lambda answer: answer.content.decode())])
def test_a_database_that_is_away_is_said_to_be_away(path, read):
    request = RequestFactory().get(path)
    request.correlation_id = "0192f1c4-77aa"
    try:
        raise OperationalError("server closed the connection unexpectedly")
    except OperationalError:
        answer = server_error(request)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "15")
    assert "The database doesn" in read(answer)
    assert "0192f1c4-77aa" in read(answer)


def test_a_request_that_cant_be_read_gets_a_page():
    answer = bad_request(RequestFactory().get("/"), ValueError())
    assert (answer.status_code, "The request can’t be read" in plain(answer)) == (400, True)


def test_what_isnt_there_and_what_isnt_allowed_say_so(sign_in):
    client = sign_in("auditor")
    assert "There’s nothing at this address for you" in plain(client.get("/nothing/"))
    task = PeriodicTask.objects.create(
        name="Sweep", task="x", interval=IntervalSchedule.objects.create(every=60, period="seconds")
    )
    denied = client.get(f"/schedules/{task.pk}/")
    assert denied.status_code == 403
    assert "Platform can." in plain(denied)


def test_the_home_of_a_quiet_queue_doesnt_say_that_nothing_is_held(sign_in):
    factories.make_transaction("held")
    page = sign_in("platform").get("/").content.decode()
    assert "Nothing waits for you" in page
    assert "Nothing of your queue is held; 1 document of others is." in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "every second"), (20, "every 20 seconds"), (60, "every minute"), (600, "every 10 minutes"),
     (3600, "every hour"), (21600, "every 6 hours"), (90, "every 90 seconds"), (86400, "every day")],
)  # fmt: skip
def test_a_schedule_is_told_as_people_say_it(seconds, words):
    interval = IntervalSchedule(every=seconds, period=IntervalSchedule.SECONDS)
    assert runs_words(PeriodicTask(interval=interval)) == words


def test_a_crontab_names_its_zone():
    assert runs_words(PeriodicTask(crontab=CrontabSchedule(minute="30", hour="4"))) == "at 30 4 * * * (UTC)"


def test_the_audit_trail_names_people_and_leads_to_what_they_did(sign_in):
    factories.make_entity("GB01")
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    client = sign_in("controller", display_name="Cora Lindqvist")
    client.post(f"/exceptions/cases/{case.pk}/repost/", {"repost-why": "Item added in NetSuite"})
    page = sign_in("auditor").get("/audit/").content.decode()
    assert "Cora Lindqvist" in page
    assert f'href="/exceptions/cases/{case.pk}/">{case.number}</a>' in page


def test_a_wrong_password_is_told_in_plain_words_and_keeps_the_name(client, db):
    factories.make_person("controller", username="cora")
    page = client.post("/accounts/login/", {"login": "cora", "password": "wrong"}).content.decode()
    assert "The user name or the password is wrong. Upper and lower case count." in page
    assert 'value="cora"' in page
