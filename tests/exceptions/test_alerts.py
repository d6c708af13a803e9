"""Alerts: a storm is one alert with an all-clear, told by subscription, within quiet hours, never lost."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import threading
import zoneinfo
from dataclasses import replace

import pytest
from django.core import mail
from django.db.transaction import atomic
from django.utils import timezone

from exceptions import cases, clocks, closing
from exceptions.alerts import channels, grouping, planning, posting, sending, telling, times
from exceptions.models import AlertChannel, AlertDelivery, AlertGroup, AlertSubscription, ExceptionCase
from exceptions.tasks import tell_people
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AuditEntry, Person, Proposal
from q2c.core.problems import Category, Problem
from q2c.portal.decisions import decide
from tests.exceptions.problems import held, missing_item
from tests.factories import make_channel, make_entity, make_person

pytestmark = pytest.mark.django_db
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


class Room:
    """A chat's door: it keeps what it's sent and answers as it's told to."""

    def __init__(self):
        self.got: list[dict] = []
        self.answers: list[int] = []
        room = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                room.got.append(json.loads(body))
                self.send_response(room.answers.pop(0) if room.answers else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/services/T0/B0/secret"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def texts(self) -> list[str]:
        return [body["text"] for body in self.got]


@pytest.fixture
def room(monkeypatch):
    monkeypatch.setattr(posting, "LIMITS", replace(posting.LIMITS, per_second=None))
    made = Room()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def channel(room):
    return make_channel(address=room.address)


def unknown(number: int) -> Problem:
    """A failure of a kind that has one case for each document."""
    return Problem("outcome_unknown", Category.UNKNOWN_OUTCOME, f"Nobody knows {number}", document=f"INV-{number}")


def storm(count: int, *, first: int = 0, **facts) -> list:
    now = timezone.now()
    rows = [held(unknown(first + n), number=f"INV-{first + n}", at=now, **facts) for n in range(count)]
    cases.open_for_steps(rows)
    return rows


def subscribe(person, **fields) -> AlertSubscription:
    return AlertSubscription.objects.create(person=person, **{"severity": 4, **fields})


def calm(rows) -> None:
    """All of it is carried, and the quiet minutes after it are over."""
    cases.close_for_transactions([row.transaction_id for row in rows], "completed")
    closing.resolve_emptied()
    AlertGroup.objects.update(grew_at=timezone.now() - grouping.CALM)


def test_a_storm_is_one_alert_and_one_all_clear_however_many_cases(room, channel):
    rows = storm(60)
    assert ExceptionCase.objects.count() == 60
    telling.tell()
    rows += storm(40, first=60)
    for _ in range(3):
        telling.tell()
    assert room.texts == ["Outcome unknown: 60 cases opened."]
    assert AlertGroup.objects.get().case_count == 100
    calm(rows[:-1])
    telling.tell()
    assert len(room.got) == 1  # one is left
    calm(rows)
    for _ in range(2):
        telling.tell()
    assert room.texts[1:] == ["Over: Outcome unknown. 100 cases of it are closed."]


def test_what_another_kind_connection_or_flow_does_is_another_alert(room, channel):
    storm(2)
    storm(1, first=2, flow="payment_to_erp")
    storm(1, first=3, connection_code="stripe")
    cases.open_for_steps([held(missing_item("A"), at=timezone.now()), held(missing_item("B"), at=timezone.now())])
    telling.tell()
    assert sorted(room.texts) == [
        "Missing item mapping: 2 cases opened.", "Outcome unknown: 1 case opened.", "Outcome unknown: 1 case opened.",
        "Outcome unknown: 2 cases opened.",
    ]  # fmt: skip


def test_what_comes_an_hour_later_is_told_anew(room, channel):
    storm(1)
    telling.tell()
    AlertGroup.objects.update(grew_at=timezone.now() - grouping.WINDOW - dt.timedelta(seconds=1))
    storm(2, first=1)
    telling.tell()
    assert room.texts == ["Outcome unknown: 1 case opened.", "Outcome unknown: 2 cases opened."]


def test_a_case_that_comes_back_is_told_again(room, channel):
    rows = storm(1)
    telling.tell()
    calm(rows)
    telling.tell()
    storm(1)
    telling.tell()
    assert len(room.got) == 3


def test_slack_and_teams_get_what_they_take(room):
    make_channel("Slack", address=room.address)
    make_channel("Teams", address=room.address, sort="teams")
    storm(1)
    telling.tell()
    slack = next(body for body in room.got if "blocks" in body)
    teams = next(body for body in room.got if "attachments" in body)
    link = "http://127.0.0.1:8000/exceptions/cases/?kind=outcome_unknown&connection=netsuite&flow=invoice_to_erp"
    assert [block["type"] for block in slack["blocks"]] == ["section", "context", "actions"]
    assert slack["blocks"][2]["elements"][0]["url"].partition("/exceptions")[2] == link.partition("/exceptions")[2]
    card = teams["attachments"][0]
    assert (teams["type"], card["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert (card["content"]["type"], card["content"]["version"]) == ("AdaptiveCard", "1.4")
    assert card["content"]["body"][0]["text"] == "Outcome unknown: 1 case opened."
    assert "INV-0" not in json.dumps(room.got)  # no document leaves the house


def test_a_room_that_refuses_is_asked_again_later_and_given_up_in_the_end(room, channel):
    storm(1)
    room.answers = [403] * sending.ATTEMPTS_MAX
    for n in range(1, sending.ATTEMPTS_MAX + 1):
        telling.tell()
        telling.tell()  # not due again yet
        delivery = AlertDelivery.objects.get()
        assert (len(room.got), delivery.attempts) == (n, n)
        AlertDelivery.objects.update(due_at=timezone.now())
    telling.tell()
    assert (len(room.got), AlertDelivery.objects.get().state) == (sending.ATTEMPTS_MAX, "failed")
    assert room.address not in AlertDelivery.objects.get().error
    tell_people()
    case = ExceptionCase.objects.get(kind="channel_failing")
    assert (case.queue, case.subject["channel"], room.address in case.summary) == ("platform", "Close room", False)


def test_a_sender_that_dies_after_sending_sends_once_more_and_loses_nothing(room, channel, monkeypatch):
    storm(1)
    grouping.take_opened()
    planning.plan()
    with monkeypatch.context() as patch:
        patch.setattr(sending, "_note", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sending.send_due()
    assert [sending.send_due(), len(room.got)] == [0, 1]  # its lease holds
    later = timezone.now() + sending.LEASE + dt.timedelta(seconds=1)
    assert [sending.send_due(later), sending.send_due(later), len(room.got)] == [1, 0, 2]
    assert AlertDelivery.objects.get().state == "sent"


@pytest.mark.parametrize(
    ("role", "entities", "fields", "is_told"),
    [
        ("billing_ops", (), {}, True),
        ("billing_ops", ("GB01",), {"queues": ["billing_ops"], "entities": ["GB01"]}, True),
        ("auditor", (), {}, True),
        ("billing_ops", ("DE01",), {}, False),  # doesn't see them
        ("platform", (), {}, False),
        ("billing_ops", (), {"queues": ["controllership"]}, False),  # doesn't want them
        ("billing_ops", (), {"entities": ["DE01"]}, False),
        ("billing_ops", (), {"severity": 1}, False),
        ("billing_ops", (), {"is_active": False}, False),
    ],
)
def test_a_person_is_told_what_they_may_see_and_want(role, entities, fields, is_told):
    make_entity("GB01")
    subscribe(make_person(role, entities=entities, email="a@example.test"), **fields)
    cases.open_for_steps([held(at=timezone.now())])
    telling.tell()
    assert [m.to for m in mail.outbox] == ([["a@example.test"]] if is_told else [])
    if is_told:
        assert mail.outbox[0].subject.endswith("Missing item mapping: 1 case opened.")
        assert "/exceptions/cases/?kind=missing_item_mapping" in mail.outbox[0].body


def test_an_entity_that_joins_a_running_alert_is_told_to_its_people_and_to_nobody_twice():
    for code in ("GB01", "DE01"):
        subscribe(make_person("billing_ops", entities=(code,), email=f"{code.lower()}@example.test"))
    storm(2)
    telling.tell()
    storm(2, first=2, legal_entity_code="DE01")
    telling.tell()
    assert [m.to for m in mail.outbox] == [["gb01@example.test"], ["de01@example.test"]]


def test_a_digest_is_one_mail_at_its_hour():
    anna = make_person("billing_ops", email="a@example.test", preferences={"time_zone": "Europe/Berlin"})
    subscribe(anna, rhythm="digest", digest_at=dt.time(8))
    cases.open_for_steps([held(at=timezone.now())])
    storm(3)
    telling.tell()
    due = AlertDelivery.objects.values_list("due_at", flat=True).distinct().get()
    assert (mail.outbox, due.astimezone(BERLIN).time()) == ([], dt.time(8))
    sending.send_due(due)
    assert [m.subject.rpartition(": ")[2] for m in mail.outbox] == ["2 alerts since the last mail"]


def test_who_was_not_told_that_it_began_is_not_told_that_it_is_over():
    subscribe(make_person("billing_ops", email="a@example.test"), rhythm="digest")
    rows = storm(1)
    telling.tell()
    calm(rows)
    telling.tell()
    assert list(AlertDelivery.objects.values_list("what", "state")) == [("alert", "dropped")]


@pytest.mark.parametrize(
    ("now", "hours", "told"),
    [
        ("2026-11-20T18:30", ("19:00", "07:00"), "2026-11-21T07:00"),  # half past seven in Berlin
        ("2026-11-20T05:30", ("19:00", "07:00"), "2026-11-20T07:00"),  # half past six
        ("2026-11-20T06:00", ("19:00", "07:00"), "2026-11-20T07:00"),  # seven: quiet is over
        ("2026-11-20T12:00", ("12:30", "14:00"), "2026-11-20T14:00"),
        ("2026-11-20T15:00", ("12:30", "14:00"), "2026-11-20T16:00"),
    ],
)
def test_quiet_hours_are_the_readers_own(now, hours, told):
    at = dt.datetime.fromisoformat(now).replace(tzinfo=dt.UTC)
    found = times.after_quiet(at, BERLIN, *(dt.time.fromisoformat(hour) for hour in hours))
    assert found.astimezone(BERLIN).replace(tzinfo=None) == dt.datetime.fromisoformat(told)


def test_a_broken_promise_reaches_the_role_it_is_escalated_to():
    make_person("mapping_admin", email="lead@example.test")
    make_person("controller", email="cfo@example.test")
    cases.open_for_steps([held(missing_item(sku), at=timezone.now()) for sku in "ABC"])
    now = timezone.now()
    ExceptionCase.objects.update(due_at=now, turns_at=now)
    with atomic():
        clocks.note_standing()
    telling.tell()
    assert [(m.to, m.subject.partition(": ")[2]) for m in mail.outbox] == [
        (["lead@example.test"], "Late: Missing item mapping. The promise of 3 cases is broken.")
    ]


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("http://hooks.example.com/x", "only https leaves the house"),
        ("https://10.0.0.7/x", "10.0.0.7 is in a private range"),
        ("https://169.254.169.254/latest", "isn't an address of a vendor"),
        ("https://[::1]/x", "::1 is in a private range"),
        ("https://localhost/x", "localhost is inside this network"),
        ("https://postgres.internal/x", "is inside this network"),
        ("https://you@hooks.example.com/x", "Write the whole address"),
        ("hooks", "Write the whole address"),
        ("https://hooks.slack.com/services/T/B/x", ""),
    ],
)
def test_an_address_inside_is_refused(settings, address, refused):
    settings.IS_DEMO = False
    said = channels.address_fault(address)
    assert refused in said
    assert bool(said) == bool(refused)


def test_a_name_that_leads_inside_is_not_dialled(settings, room):
    channel = make_channel(address=room.address.replace("127.0.0.1", "localhost").replace("http:", "https:"))
    settings.IS_DEMO = False
    storm(1)
    telling.tell()
    assert room.got == []
    assert "may not be dialled" in AlertDelivery.objects.get(channel=channel).error


FORM = {"name": "Close", "sort": "slack", "is_active": "on", "why": "for the close", "told-severity": "2"}


def propose(client, page: str, **fields) -> Proposal:
    """Send the form of a channel; the change that waits then."""
    assert client.post(page, {**FORM, **fields}).status_code == 302
    return Proposal.objects.latest("proposed_at")


def agree(proposal: Proposal, *, approve: bool = True) -> None:
    cora = Person.objects.filter(username="cora").first() or make_person("controller", username="cora")
    why = "" if approve else "not that one"
    decide(proposal, by=cora, approve=approve, why=why, seen_hash=proposal.content_hash)


def test_a_channel_is_told_only_once_a_second_person_agrees_and_its_address_is_kept_out_of_sight(client, room):
    platform = make_person("platform")
    client.force_login(platform)
    proposal = propose(client, "/exceptions/alerts/channels/", address=room.address)
    channel = AlertChannel.objects.get()
    assert (channel.is_agreed, channel.is_active, b"secret" in bytes(channel.next_address)) == (False, False, False)
    assert proposal.content["happens"][0] == "Messages go to an address at 127.0.0.1."
    page = f"/exceptions/alerts/channels/{channel.pk}/"
    assert "waits for a second person" in client.get(page).content.decode()
    client.post(f"{page}test/")
    storm(1)
    telling.tell()
    assert room.got == []
    with pytest.raises(ApprovalRefused, match="You proposed it"):
        decide(proposal, by=platform, approve=True, why="", seen_hash=proposal.content_hash)
    agree(proposal)
    channel.refresh_from_db()
    assert (channel.host, channel.is_active, channel.alerts.severity) == ("127.0.0.1", True, 2)
    assert (channels.address_of(channel), channel.next_address) == (room.address, None)
    client.post(f"{page}test/")
    assert room.texts == ["A test: nothing is wrong."]
    assert "B0/secret" not in client.get(page).content.decode()
    entries = AuditEntry.objects.filter(subject_type="alert_channel").order_by("sequence")
    assert list(entries.values_list("verb", flat=True)) == ["propose", "approve", "add", "test"]
    assert "B0/secret" not in "".join(str(entry.data) for entry in entries)


def test_a_change_waits_alone_and_what_is_rejected_or_taken_back_leaves_the_channel_as_it_was(client, room):
    channel = make_channel("Close", address=room.address)
    page = f"/exceptions/alerts/channels/{channel.pk}/"
    AlertSubscription.objects.update(severity=2, has_clocks=False)
    client.force_login(make_person("platform"))
    nothing = client.post(page, FORM)
    assert (nothing.status_code, "Nothing of it changes" in nothing.content.decode()) == (422, True)
    elsewhere = room.address.replace("secret", "other")
    proposal = propose(client, page, address=elsewhere, name="Closes")
    assert proposal.content["happens"] == [
        "Messages go to an address at 127.0.0.1, in place of the former.", "Its name is Closes.",
    ]  # fmt: skip
    assert "Another change of it waits" in client.post(page, {**FORM, "name": "Third"}).content.decode()
    agree(proposal, approve=False)
    proposal = propose(client, page, address=elsewhere)
    client.post(f"/decisions/{proposal.pk}/withdraw/", {"withdraw-why": "a mistake"})
    channel.refresh_from_db()
    assert (channels.address_of(channel), channel.next_address, channel.name) == (room.address, None, "Close")
    unwanted = propose(client, "/exceptions/alerts/channels/", name="New", address=elsewhere)
    agree(unwanted, approve=False)
    assert AlertChannel.objects.get() == channel


def test_switching_a_channel_off_holds_at_once_and_voids_no_ones_word_in_silence(client, room):
    channel = make_channel("Close", address=room.address)
    page = f"/exceptions/alerts/channels/{channel.pk}/"
    AlertSubscription.objects.update(severity=2, has_clocks=False)
    client.force_login(make_person("platform"))
    proposal = propose(client, page, name="Closes")
    client.post(page, {key: value for key, value in FORM.items() if key != "is_active"})
    assert not AlertChannel.objects.get().is_active
    with pytest.raises(ValueError, match="changed meanwhile"):
        agree(proposal)
    proposal.refresh_from_db()  # what was signed was taken back
    agree(proposal, approve=False)
    assert (AlertChannel.objects.get().is_active, AlertChannel.objects.get().name) == (False, "Close")
    assert (Proposal.objects.count(), AuditEntry.objects.filter(verb="switch_off").count()) == (1, 1)


def test_a_person_says_what_they_are_told_of(client):
    anna = make_person("billing_ops", email="a@example.test")
    client.force_login(anna)
    form = {"is_active": "on", "severity": "3", "rhythm": "digest", "digest_at": "07:30", "queues": ["billing_ops"]}
    assert client.post("/exceptions/alerts/mine/", {**form, "quiet_from": "19:00"}).status_code == 422
    client.post("/exceptions/alerts/mine/", {**form, "quiet_from": "19:00", "quiet_until": "07:00"})
    own = anna.alerts
    assert (own.is_active, own.severity, own.queues, own.digest_at, own.quiet_until) == (
        True, 3, ["billing_ops"], dt.time(7, 30), dt.time(7),
    )  # fmt: skip
    assert client.post("/exceptions/alerts/mine/", {**form, "queues": ["platform"]}).status_code == 422  # isn't theirs


def test_the_list_shows_alerts_of_ones_own_queues_and_entities(client):
    cases.open_for_steps([held(at=timezone.now())])
    telling.tell()
    for person, count in ((make_person("controller"), 1), (make_person("billing_ops", entities=("DE01",)), 0)):
        client.force_login(person)
        assert len(client.get("/exceptions/alerts/").context["alerts"]) == count


def test_what_waits_for_a_channel_that_is_switched_off_is_not_sent_to_it_nor_the_all_clear(client, room):
    channel = make_channel("Close", address=room.address)
    AlertSubscription.objects.update(severity=2, has_clocks=False)
    rows = storm(1)
    telling.tell()
    group = AlertGroup.objects.create(
        about="breached", kind="outcome_unknown", severity=1, queues=[], entities=[], is_planned=True,
        first_at=timezone.now(), last_at=timezone.now(), grew_at=timezone.now(),
    )  # fmt: skip
    waiting = AlertDelivery.objects.create(group=group, what="alert", channel=channel, due_at=timezone.now())
    client.force_login(make_person("platform"))
    off = {key: value for key, value in FORM.items() if key != "is_active"}
    assert client.post(f"/exceptions/alerts/channels/{channel.pk}/", off).status_code == 302
    waiting.refresh_from_db()
    assert waiting.state == "dropped"
    calm(rows)
    telling.tell()
    AlertDelivery.objects.filter(pk=waiting.pk).update(state="waiting")  # as one taken when it was switched off
    assert (sending.send_due(), len(room.got), AlertDelivery.objects.filter(what="all_clear").count()) == (0, 1, 0)


def test_an_address_that_no_key_opens_fails_alone_and_no_mail_is_sent_twice_for_it():
    make_channel()
    AlertChannel.objects.update(address=b"nothing sealed")
    subscribe(make_person("billing_ops", email="a@example.test"))
    storm(1)
    telling.tell()
    assert len(mail.outbox) == 1
    told = AlertDelivery.objects.exclude(channel=None).get()
    assert (told.state, told.attempts, told.error) == ("waiting", 1, "its address can’t be opened")


def test_a_name_that_another_channel_took_meanwhile_is_refused_in_words(client, room, monkeypatch):
    make_channel("Close", address=room.address)
    client.force_login(make_person("platform"))
    proposal = propose(client, f"/exceptions/alerts/channels/{AlertChannel.objects.get().pk}/", name="Closes")
    make_channel("Closes", address=room.address)
    with pytest.raises(ValueError, match="another channel “Closes” by now"):
        agree(proposal)
    monkeypatch.setattr(channels, "_is_taken", lambda *args: False)  # as when both ask in one instant
    answer = client.post("/exceptions/alerts/channels/", {**FORM, "name": "Closes", "address": room.address})
    assert (answer.status_code, "a channel “Closes” already" in answer.content.decode()) == (422, True)
