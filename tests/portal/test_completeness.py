"""Completeness on screen: what the figures say, who sees which rows, and asking the register again."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from connectors.models import Connection
from q2c.core.models import AuditEntry
from q2c.portal import completeness
from q2c.reconciliation import shown, usual
from q2c.reconciliation.models import FeedCheck, FeedEntityHour, FeedHour, LostWebhook
from tests import factories
from tests.reconciliation.feeds import make_check, make_day, make_gap

pytestmark = pytest.mark.django_db


def client_of(role="controller", **given):
    client = Client()
    client.force_login(factories.make_person(role, **given))
    return client


def page(client, address="/completeness/"):
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def day_address(day=None):
    return f"/completeness/stripe/invoice/{day or timezone.now().date()}/"


def test_a_day_that_agrees_says_so_with_a_sign_and_words_beside_its_colour(db):
    make_day()
    text = page(client_of())
    assert "Everything that the sources list is here" in text
    assert "10 ✓" in text
    assert "agrees with the source" in text


def test_a_missing_document_is_named_with_its_case_and_the_sums_explain_each_other(db):
    case = factories.make_case("feed_incomplete")
    make_day(ours=9, missing_count=1, missing_amount=Decimal(100))
    make_gap(case_id=case.pk)
    client = client_of()
    assert "1 document doesn’t agree with its source" in page(client)
    text = page(client, day_address())
    assert "INV-17" in text
    assert case.number in text
    assert "Missing here" in text


@pytest.mark.parametrize(
    ("counts", "sign", "words"),
    [
        ({}, "✓", []),
        ({"missing_count": 1, "surplus_count": 1}, "○", ["1 missing here", "1 not known there"]),
        ({"differing_count": 2}, "○", ["2 of another amount"]),
        ({"waiting_count": 3, "surplus_count": 3}, "…", ["3 not known there", "3 in the inbox"]),
        ({"unconfirmed_count": 1200}, "?", ["1,200 not confirmed"]),
    ],
)
def test_what_offsets_in_a_sum_is_said_under_its_difference_and_nothing_else_agrees(db, counts, sign, words):
    day = make_day(**counts)
    client = client_of()
    answer = client.get("/completeness/")
    (total,) = answer.context["totals"]
    assert (total["difference"], total["agrees"], total["parts"]) == (0, not words, words)
    text = answer.content.decode()
    assert f"10 {sign}" in text
    assert ('<span class="zero">none</span>' in text) is (not words)
    assert all(f'<span class="sub">{part}</span>' in text for part in words)
    agrees = f"The invoices of {day.day:%-d %b} agree with Stripe"
    assert (agrees in page(client, day_address())) is (not words)


def test_people_of_one_entity_see_its_days_and_documents_only_and_no_counts_that_know_no_entity(db):
    make_day("GB01", source=10)
    make_day("US01", source=4_321)
    make_gap("US01", "US-SECRET")
    LostWebhook.objects.create(
        connection_code="stripe", event_type="invoice.finalized", day=timezone.now().date(), count=3
    )
    client = client_of("billing_ops", entities=("GB01",))
    grid, day = page(client), page(client, day_address())
    assert "Everything that the sources list is here" in grid
    assert "10 ✓" in grid
    assert "4,321" not in grid  # and no random name of a person has a comma
    assert "Lost webhooks" not in grid
    assert "US-SECRET" not in day
    assert "invoice.finalized" not in day
    assert client.get("/completeness/?entity=US01").status_code == 404
    whole = page(client_of())
    assert "1 ≠" in whole
    assert "Lost webhooks" in whole


def test_lost_webhooks_lead_to_the_messages_that_only_polls_brought_on_that_day_of_utc(db):
    day = dt.datetime.now(dt.UTC).replace(hour=23, minute=59, second=0, microsecond=0) - dt.timedelta(days=1)
    for number, at in enumerate((day, day + dt.timedelta(minutes=2), day)):
        factories.make_message(f"lost.{number}", received_at=at, is_polled_only=number != 2)
    usual.count_lost_webhooks()
    make_day()
    client = client_of()
    address = f"/inbox/?connection=stripe&amp;lost_on={day.date()}"
    assert f'<a href="{address}">1<span class="visually-hidden"> lost webhooks of ' in page(client)
    listed = page(client, address.replace("&amp;", "&"))
    assert [f"lost.{number}" in listed for number in range(3)] == [True, False, False]
    assert address in page(client, day_address(day.date()))


def test_an_empty_cell_that_should_hold_something_turns_amber_by_itself(db):
    factories.make_connection("stripe")
    make_check()
    yesterday = timezone.now().date() - dt.timedelta(days=1)
    start = dt.datetime.combine(yesterday, dt.time(), dt.UTC)
    FeedHour.objects.bulk_create(
        FeedHour(
            connection_code="stripe", document_type="invoice", hour=start - dt.timedelta(weeks=n, hours=h), count=10
        )
        for n in range(1, 10)
        for h in range(-3, 3)
    )
    text = page(client_of())
    assert "0 ↓" in text
    assert "fewer than the usual 40" in text


ALL_HERE, UNKNOWN = "Everything that the sources list is here", "1 feed isn’t compared with its source"
NOBODY = "Nobody has asked its register since"


@pytest.mark.parametrize(
    ("minutes", "failure", "is_paused", "says"),
    [
        (14, "", False, [ALL_HERE, "10 ✓"]),
        (14, "403 forbidden", False, ["1 feed couldn’t be compared", "10 ✓", "403 forbidden."]),
        (16, "", False, [UNKNOWN, "10 !", NOBODY, "should be compared"]),
        (16, "403 forbidden", False, [UNKNOWN, "10 !", "403 forbidden."]),
        (0, "", True, [UNKNOWN, "10 !", "Stripe is paused."]),
        (None, "403 forbidden", False, [UNKNOWN, "10 !", "never compared yet", "403 forbidden."]),
        (None, "", False, [UNKNOWN, "10 !", "Its first comparison is under way"]),
    ],
)
def test_what_nobody_compares_is_never_said_to_be_all_here(db, minutes, failure, is_paused, says):
    make_check(minutes=minutes, failure=failure, failed_at=timezone.now() if failure else None)
    make_day()
    Connection.objects.update(state="paused" if is_paused else "active")
    client = client_of()
    text = page(client)
    assert [part for part in says if part not in text] == []
    assert (ALL_HERE in text) is (ALL_HERE in says)
    heading = page(client, day_address()).split("<h1>")[1].split("</h1>")[0]
    assert ("agree with Stripe" in heading) is ("10 ✓" in says)
    assert ("been compared" in heading) is ("10 !" in says)


def test_days_that_were_over_when_they_were_compared_last_stay_as_they_are_and_no_register_is_denied(db):
    now = dt.datetime(2026, 11, 18, 18, 0, tzinfo=dt.UTC)
    factories.make_connection("stripe")
    check = make_check()
    FeedCheck.objects.update(checked_at=now - dt.timedelta(days=3, hours=12))  # the 15th, at 6: the 14th isn't over
    days = [dt.date(2026, 11, n) for n in range(11, 19)]
    for day in days[:4]:
        make_day(day=day)
    for day in days[1:]:
        hour = dt.datetime.combine(day, dt.time(9), dt.UTC)
        FeedHour.objects.create(connection_code="stripe", document_type="invoice", hour=hour, count=10)

    def states():
        asked = shown.Asked(factories.make_person("controller"))
        (row,) = shown.grid_of(asked, now.date(), {"stripe": Connection.objects.get()}, now=now).rows
        return {cell.day.day: cell.state for cell in row.cells if cell.day >= days[0]}

    assert states() == {n: "agrees" if n < 14 else "uncompared" for n in range(11, 19)}
    check.checked_at = now
    check.save()
    assert states() == {n: "agrees" if n < 15 else "unlisted" for n in range(11, 19)}
    assert "keeps no register" not in shown.STATES["unlisted"][1]


def test_feeds_that_arent_compared_for_the_same_reason_are_one_note_and_stand_beside_what_is_known_to_be_wrong(db):
    make_check(minutes=130)
    make_check("payment", minutes=135)
    make_check("payout", minutes=140, failure="403 forbidden", failed_at=timezone.now())
    make_day()
    make_gap()
    text = page(client_of())
    assert "1 document doesn’t agree with its source; 3 feeds aren’t compared" in text
    assert text.count('role="note"') == 2
    assert "<b>Stripe, invoices, payments:</b> not compared since" in text
    assert "<b>Stripe, payouts:</b> not compared since" in text


def test_a_grid_that_stands_open_turns_amber_by_itself_with_its_heading_and_its_form_left_alone(db):
    make_day()
    client = client_of()
    text = page(client)
    assert (text.count("data-poll"), 'hx-trigger="every 60s"' in text, "hx-swap-oob" in text) == (1, True, False)
    FeedCheck.objects.update(checked_at=timezone.now() - dt.timedelta(minutes=20))
    answer = client.get("/completeness/", headers={"HX-Request": "true", "X-By-Itself": "1"})
    part = answer.content.decode()
    assert "<html" not in part
    assert '<form method="get"' not in part
    assert '<div class="head" id="completeness-head" hx-swap-oob="true"><div><h1>1 feed isn’t compared' in part
    assert "10 !" in part
    boosted = client.get("/completeness/", headers={"HX-Request": "true", "HX-Boosted": "true"}).content.decode()
    assert ("<html" in boosted, "hx-swap-oob" in boosted) == (True, False)


def bring(**usual):
    """So many invoices of each entity in each of six hours of yesterday's weekday before; of yesterday those of US01
    only."""
    factories.make_connection("stripe")
    make_check()
    yesterday = timezone.now().date() - dt.timedelta(days=1)
    start = dt.datetime.combine(yesterday, dt.time(), dt.UTC)
    for n in range(10):
        came = usual if n else {"US01": usual["US01"]}
        for hour in (start - dt.timedelta(weeks=n, hours=h) for h in range(-6, 0)):
            place = {"connection_code": "stripe", "document_type": "invoice", "hour": hour}
            FeedHour.objects.create(**place, count=sum(came.values()))
            for entity, count in came.items():
                FeedEntityHour.objects.create(**place, legal_entity_code=entity, count=count)
    return day_address(yesterday)


GB, DE = "0 of GB01 instead of 60", "0 of DE01 instead of 120"


@pytest.mark.parametrize(
    ("entities", "asked", "says", "hides"),
    [
        ((), "", ["6,000 ↓", ">2 entities<", f"fewer than usual: {DE}, {GB}"], ["of US01 instead"]),
        ((), "GB01", ["0 ↓", "fewer than the usual 60"], ["6,000", "DE01 instead"]),
        ((), "US01", ["6,000<"], ["↓<", "fewer than the usual"]),
        (("GB01",), "", ["0 ↓", "fewer than the usual 60"], ["6,000", "DE01"]),
        (("GB01",), "GB01", ["0 ↓", "fewer than the usual 60"], ["6,000", "DE01"]),
        (("US01",), "", ["6,000<"], ["↓<", "fewer than", "GB01"]),
        (("GB01", "US01"), "", ["6,000 ↓", ">GB01<", f"fewer than usual: {GB}"], ["DE01"]),
        (("IE01",), "", ["Everything that the sources list is here"], ["6,000", "↓<"]),
    ],
)
def test_an_entitys_silence_turns_amber_for_whoever_sees_it_behind_anothers_plenty(db, entities, asked, says, hides):
    for code in ("GB01", "US01", "DE01", "IE01"):
        factories.make_entity(code)
    address = bring(GB01=10, US01=1000, DE01=20)
    client = client_of("billing_ops", entities=entities)
    text = page(client, f"/completeness/?entity={asked}")
    grid = text[text.index("<h1>") : text.index("legend")] if "legend" in text else text
    grid = grid.replace(page_form(grid), "").replace("\u00a0", " ")
    assert [part for part in says if part not in grid] == []
    assert [part for part in hides if part in grid] == []
    if not asked and entities != ("IE01",):
        heading = page(client, address).split("<h1>")[1].split("</h1>")[0]
        assert ("fewer" in heading) is ("↓" in says[0])
        assert [part for part in hides if part in heading] == []


def page_form(text):
    """The form's own part of a page: it names the entities that may be chosen."""
    return text[text.index('<form method="get"') : text.index("</form>", text.index('<form method="get"'))]


def test_the_file_has_every_day_of_the_period_and_the_day_every_document(db):
    first = dt.date(2026, 10, 1)
    for n in range(3):
        make_day(day=first + dt.timedelta(days=n))
    make_gap(day=first)
    client = client_of()
    text = b"".join(client.get("/completeness/?format=csv&period=2026-10").streaming_content).decode("utf-8-sig")
    assert text.splitlines()[1].startswith("Stripe,invoice,GB01,2026-10-01,GBP,2026-10,10,1000")
    assert "# Rows,3" in text
    text = b"".join(client.get(f"{day_address(first)}?format=csv").streaming_content).decode("utf-8-sig")
    assert text.splitlines()[1].startswith("Stripe,invoice,Missing here,INV-17,in_INV-17,GB01,2026-10-01,GBP,100")
    assert AuditEntry.objects.filter(verb="export").count() == 2


def test_the_register_is_asked_again_by_who_may_and_the_audit_trail_says_so(db, monkeypatch):
    make_day()
    sent = []
    monkeypatch.setattr(completeness.tasks.check_feed, "apply_async", lambda args, **_: sent.append(args))
    day = timezone.now().date()
    assert client_of("auditor").post(f"{day_address()}ask/").status_code == 403
    answer = client_of("billing_ops").post(f"{day_address()}ask/", follow=True)
    assert "Stripe is asked for its invoices" in answer.content.decode()
    assert sent == [("stripe", "invoice", day.isoformat())]
    assert AuditEntry.objects.get(verb="ask_register").subject_id == f"stripe:invoice:{day}"


@pytest.mark.parametrize(
    "address",
    ["/completeness/?period=1999-01", "/completeness/?connection=none", "/completeness/none/invoice/2026-11-01/",
     "/completeness/stripe/invoice/yesterday/"],
)  # fmt: skip
def test_what_is_not_there_is_not_found(db, address):
    factories.make_connection("stripe")
    assert client_of().get(address).status_code == 404


def test_a_date_that_cannot_be_read_is_said_at_the_form(db):
    assert client_of().get("/completeness/?until=sometime").status_code == 422
