"""A session without a person's request ends after half an hour, any other after twelve; what a page asks for by itself
keeps nobody in."""

import datetime as dt
import os
import subprocess
import sys

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests import factories

NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
POLL = {"HX-Request": "true", "HX-Current-URL": "http://testserver/exceptions/?queue=mine", "X-By-Itself": "1"}


@pytest.fixture
def clock():
    with time_machine.travel(NOON, tick=False) as clock:
        yield clock


@pytest.fixture
def person(db, clock):
    client = Client()
    client.force_login(factories.make_person("controller"))
    return client


def is_signed_in(client) -> bool:
    return "_auth_user_id" in client.session


@pytest.mark.django_db
@pytest.mark.parametrize(("minutes", "stays"), [(29, True), (31, False)])
def test_half_an_hour_without_a_request_ends_it(person, clock, minutes, stays):
    assert person.get("/").status_code == 200
    clock.shift(minutes * 60)
    answer = person.get("/transactions/?state=held")
    assert is_signed_in(person) is stays
    if not stays:
        assert answer["Location"] == "/accounts/login/?next=/transactions/%3Fstate%3Dheld&idle=1"
        assert "half an hour without a request" in person.get(answer["Location"]).content.decode()


@pytest.mark.django_db
def test_who_works_all_day_stays_signed_in(person, clock):
    for _ in range(20):
        clock.shift(20 * 60)
        assert person.get("/").status_code == 200


@pytest.mark.django_db
def test_twelve_hours_after_signing_in_it_ends_however_busy_somebody_is(person, clock):
    for _ in range(24):
        clock.shift(29 * 60)
        assert person.get("/").status_code == 200
    clock.shift(24 * 60 + 1)
    answer = person.get("/transactions/?state=held")
    assert answer["Location"] == "/accounts/login/?next=/transactions/%3Fstate%3Dheld&long=1"
    assert "every session ends after 12 hours" in person.get(answer["Location"]).content.decode()
    assert not is_signed_in(person)


@pytest.mark.django_db
def test_a_session_of_the_last_release_ends_twelve_hours_after_its_first_sight(person, clock):
    session = person.session
    del session["signed_in_at"]
    session.save()
    for minutes, stays in [(29, True)] * 25 + [(24, False)]:
        assert person.get("/").status_code == (200 if stays else 302)
        clock.shift(minutes * 60)
    assert not is_signed_in(person)


@pytest.mark.django_db
def test_a_page_that_asks_for_news_by_itself_keeps_nobody_signed_in(person, clock):
    person.get("/")
    for _ in range(29):
        clock.shift(60)
        assert person.get("/", headers=POLL).status_code == 200
    clock.shift(120)
    answer = person.get("/", headers=POLL)
    assert answer.status_code == 204
    assert answer["HX-Redirect"] == "/accounts/login/?next=/exceptions/%3Fqueue%3Dmine&idle=1"
    assert not is_signed_in(person)


@pytest.mark.django_db
def test_what_was_sent_too_late_isnt_done_and_the_page_says_so(person, clock):
    person.get("/")
    clock.shift(31 * 60)
    answer = person.post("/you/", {"time_zone": "Asia/Tokyo"})
    assert answer["Location"] == "/accounts/login/?next=/&idle=1&unsaved=1"
    assert "What you sent last wasn’t saved." in person.get(answer["Location"]).content.decode()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("referer", "goes_on_at"),
    [
        ("http://testserver/transactions/?state=held", "/transactions/%3Fstate%3Dheld"),
        ("http://testserver/you/", "/you/"),
        ("http://testserver/pauses/new/", "/"),  # takes a form and nothing else
        ("http://testserver/nowhere/", "/"),
        ("http://testserver//elsewhere.test/you/", "/"),
        ("http://elsewhere.test/you/", "/"),
        ("https://testserver/you/", "/"),
        ("not an address", "/"),
        ("", "/"),
    ],
)
def test_who_sent_a_form_too_late_goes_on_at_the_page_it_stood_on(person, clock, referer, goes_on_at):
    person.get("/")
    clock.shift(31 * 60)
    answer = person.post("/you/", {"time_zone": "Asia/Tokyo"}, headers={"Referer": referer} if referer else {})
    assert answer["Location"] == f"/accounts/login/?next={goes_on_at}&idle=1&unsaved=1"


FORM = {"Referer": "http://testserver/you/"}
FRAGMENT = {"HX-Request": "true", "HX-Current-URL": "http://testserver/you/"}


@pytest.mark.django_db
@pytest.mark.parametrize("sent_by", [FORM, FRAGMENT])
@pytest.mark.parametrize(
    ("ended_by", "minutes"),
    [
        ({"path": "/you/here/"}, [31]),  # the first key after a break
        ({"path": "/you/here/"}, [29] * 24 + [25]),  # the twelve hours end while somebody types
        ({"path": "/", "headers": POLL}, [31]),  # another tab asked for news
        ({"path": "/transactions/"}, [31]),  # another tab was opened
    ],
)
def test_what_is_sent_after_another_request_ended_the_session_is_told_not_to_be_saved(
    person, clock, ended_by, minutes, sent_by
):
    for span in minutes:
        assert person.get("/").status_code == 200
        clock.shift(span * 60)
    person.get(**ended_by)
    assert not is_signed_in(person)
    answer = person.post("/you/", {"zone": "Asia/Tokyo"}, headers=sent_by)
    address = answer.headers.get("HX-Redirect") or answer["Location"]
    assert address == "/accounts/login/?next=/you/&unsaved=1"
    html = person.get(address).content.decode()
    assert "You weren’t signed in any more. What you sent last wasn’t saved." in html
    assert "unsaved" not in person.get("/you/")["Location"]  # who only looks has lost nothing


@pytest.mark.django_db
def test_a_page_learns_who_is_signed_in_and_the_token_that_its_forms_need_now(clock):
    client = Client(enforce_csrf_checks=True)
    somebody = factories.make_person("controller")
    client.force_login(somebody)
    answer = client.get("/you/here/")
    assert answer["X-Person"] == str(somebody.pk)
    form = {"zone": "Asia/Tokyo", "csrfmiddlewaretoken": answer["X-CSRF-Token"]}
    assert client.post("/you/", form).status_code == 302
    assert client.post("/you/", {**form, "csrfmiddlewaretoken": "x" * 64}).status_code == 403
    assert "X-CSRF-Token" not in Client().get("/you/here/")


@pytest.mark.django_db
def test_who_types_for_hours_stays_signed_in_by_what_the_page_says(person, clock):
    for _ in range(40):
        clock.shift(4 * 60)
        assert person.get("/you/here/").status_code == 204
    assert is_signed_in(person)


@pytest.mark.django_db
def test_the_session_is_written_once_a_minute_at_most(person, clock):
    def writes():
        with CaptureQueriesContext(
            connection,
        ) as asked:
            person.get("/transactions/")
        return sum("UPDATE" in q["sql"] and Session._meta.db_table in q["sql"] for q in asked)

    assert [writes(), writes()] == [0, 0]
    clock.shift(61)
    assert [writes(), writes()] == [1, 0]


def test_in_production_cookies_are_bound_to_their_host(tmp_path):
    code = (
        "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME, s.SESSION_COOKIE_PATH)"
    )
    environment = {
        **os.environ,
        "Q2C_ENV": "production",
        "Q2C_HOME": str(tmp_path),
        "DATABASE_URL": "postgres://a@b/c",
        "DJANGO_SETTINGS_MODULE": "q2c.settings",
    }
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["__Host-sessionid", "__Host-csrftoken", "/"]
