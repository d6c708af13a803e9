"""Signed webhooks: what a program is sent over real HTTP, its signature, its retries, and who agrees to all of it."""

from __future__ import annotations

import base64
import datetime as dt
import json
from dataclasses import replace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connectors import http
from connectors.throttle import forget_throttles
from exceptions.alerts import channels, failing, grouping, planning, posting, reminding, sending, signing, webhooks
from exceptions.kind_words import URGENT
from exceptions.models import AlertAttempt, AlertChannel, AlertDelivery, AlertGroup, ExceptionCase
from exceptions.tasks import tell_people
from q2c.core import vault
from q2c.core.models import AuditEntry, Person, Proposal
from tests.exceptions.receiver import Receiver
from tests.exceptions.test_alerts import FORM, agree, calm, propose, storm
from tests.factories import make_alert, make_channel, make_message_to, make_person

pytestmark = pytest.mark.django_db
TUESDAY = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)
SECRET, OTHER, THIRD = (f"whsec_{base64.b64encode(bytes(range(n, n + 32))).decode()}" for n in (1, 60, 120))
PAGE = "/exceptions/alerts/channels/"
VECTOR = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def receiver(monkeypatch):
    monkeypatch.setattr(posting, "LIMITS", replace(posting.LIMITS, per_second=None))
    made = Receiver().start()
    yield made
    made.stop()


def make_webhook(receiver, name="Incidents", **fields):
    return make_channel(
        name, address=receiver.address, sort="webhook", secret=vault.seal_with_master(SECRET.encode()), **fields
    )


@pytest.fixture
def webhook(receiver):
    return make_webhook(receiver)


@pytest.fixture
def clock(time_machine):
    def move(**span):
        time_machine.shift(dt.timedelta(**span))
        forget_throttles()  # how long a receiver asked for goes by the process's own clock, which nobody moves
        tell_people()

    time_machine.move_to(TUESDAY, tick=False)
    return move


def test_the_vector_of_standard_webhooks_is_signed_as_its_own_library_signs_it():
    headers = signing.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', [VECTOR])
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize(
    ("secret", "refused"),
    [
        (VECTOR, ""),
        (SECRET, ""),
        (VECTOR.removeprefix("whsec_"), "begins with whsec_"),
        ("whsec_not base64!", "has to be base64"),
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS", "has to be base64"),  # without its end
        ("whsec_" + base64.b64encode(bytes(range(23))).decode(), "It has 23 bytes"),
        ("whsec_" + base64.b64encode(bytes(range(65))).decode(), "It has 65 bytes"),
        ("whsec_" + base64.b64encode(b"secretsecretsecretsecretsecret").decode(), "isn’t random"),
        ("", "begins with whsec_"),
    ],
)
def test_a_secret_is_24_to_64_random_bytes(secret, refused):
    if not refused:
        assert signing.key_of(secret) == base64.b64decode(secret[6:])
        return
    with pytest.raises(signing.SecretRefused, match=refused) as raised:
        signing.key_of(secret)
    assert not secret or secret not in str(raised.value)


def test_an_alert_its_reminder_and_its_all_clear_are_signed_posts_of_one_key(receiver, webhook, clock):
    rows = storm(2) + storm(1, first=2, legal_entity_code="DE01")
    ExceptionCase.objects.update(severity=URGENT)
    tell_people()
    clock(hours=4)
    calm(rows)
    tell_people()
    assert receiver.types == ["exception.raised", "exception.reminded", "exception.resolved"]
    raised, reminded, resolved = receiver.got
    for got in receiver.got:
        assert got.is_signed_by(SECRET)
        assert not got.is_signed_by(OTHER)
        assert got.path == "/hooks/q2c/?for=finance"  # as it was given: a slash less is another address
        assert got.headers["content-type"] == "application/json"
        assert len(got.id) == 30
        assert got.id.startswith("msg_")
        assert "." not in got.id
    assert len({got.id for got in receiver.got}) == 3
    assert [int(got.headers["webhook-timestamp"]) - int(TUESDAY.timestamp()) for got in receiver.got] == [
        0,
        14400,
        14400,
    ]
    data = raised.message["data"]
    assert (data["cases"], data["entities"], data["severity"]) == (3, ["DE01", "GB01"], "urgent")
    assert [(p["entity"], p["cases"]) for p in data["places"]] == [("DE01", 1), ("GB01", 2)]
    assert (data["title"], data["round"], data["is_over"]) == ("Outcome unknown: 3 cases opened.", 0, False)
    assert (reminded.message["data"]["round"], reminded.message["timestamp"]) == (1, "2026-11-24T14:00:00Z")
    assert (resolved.message["data"]["is_over"], resolved.message["data"]["over_at"]) == (True, "2026-11-24T14:00:00Z")
    assert {got.message["data"]["key"] for got in receiver.got} == {"outcome_unknown/netsuite/invoice_to_erp"}
    assert "/exceptions/cases/?kind=outcome_unknown" in data["link"]
    assert "INV-" not in str([got.body for got in receiver.got])  # no document leaves the house
    assert max(len(got.body) for got in receiver.got) < 20_000


def test_the_same_message_is_sent_again_by_its_schedule_and_given_up_after_three_days(receiver, webhook, clock):
    receiver.answers = [(400, {})] * 10
    storm(1)
    tell_people()
    for n, seconds in enumerate(sending.WEBHOOK_WAITS, start=2):
        clock(seconds=seconds - 1)
        assert len(receiver.got) == n - 1
        clock(seconds=seconds * sending.JITTER + 2)
        assert len(receiver.got) == n
    assert len({(got.id, got.body) for got in receiver.got}) == 1
    assert len({got.headers["webhook-timestamp"] for got in receiver.got}) == 10  # each attempt has its own instant
    assert all(got.is_signed_by(SECRET) for got in receiver.got)
    failed = AlertDelivery.objects.get(state="failed")
    assert (failed.attempts, failed.error) == (10, "It answered 400")
    assert list(failed.tries.values_list("status", "error")) == [(400, "It answered 400")] * 10
    assert dt.timedelta(hours=75) < timezone.now() - TUESDAY < dt.timedelta(hours=86)
    case = ExceptionCase.objects.get(kind="channel_failing")
    assert case.summary == "Incidents takes no alerts: 10 attempts; the last one: It answered 400"
    tell_people()  # it takes messages again: the one about itself
    tell_people()
    case.refresh_from_db()
    assert case.state == "resolved"


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "120"}, 120),
        (503, {"Retry-After": "120"}, 120),
        (429, {"Retry-After": "1"}, 5),  # its schedule asks for more
        (429, {}, 30),
        (502, {}, 5),
        (503, {"Retry-After": "7200"}, 7200),
        (504, {"Retry-After": "999999"}, 86400),  # a day is the most
        (302, {"Location": "http://127.0.0.1:1/elsewhere"}, 5),
    ],
)
def test_who_asks_for_time_gets_it(receiver, webhook, clock, status, headers, seconds):
    receiver.answers = [(status, headers)]
    storm(1)
    tell_people()
    row = AlertDelivery.objects.get()
    assert seconds <= (row.due_at - TUESDAY).total_seconds() <= max(seconds, 5 * 1.1)
    assert (row.attempts, row.tries.get().status, len(receiver.got)) == (1, status, 1)
    clock(seconds=seconds + 1)
    assert [AlertDelivery.objects.get().state, len(receiver.got)] == ["sent", 2]


def test_what_an_open_breaker_keeps_back_is_no_attempt(receiver, webhook, clock, monkeypatch):
    async def kept_back(*args, **kwargs):
        raise http.NeverSent("kept back", wait_seconds=40.0, counts=False)

    storm(1)
    with monkeypatch.context() as patch:
        patch.setattr(http.Telephone, "call", kept_back)
        tell_people()
    row = AlertDelivery.objects.get()
    assert (row.state, row.attempts, AlertAttempt.objects.count()) == ("waiting", 0, 0)
    clock(seconds=41)
    assert receiver.types == ["exception.raised"]


def test_whose_address_is_gone_is_switched_off_at_once_and_told_as_a_case(receiver, webhook, clock, client):
    receiver.answers = [(410, {})]
    storm(1)
    storm(1, first=1, flow="payment_to_erp")
    AlertDelivery.objects.all().delete()
    tell_people()
    webhook.refresh_from_db()
    assert (webhook.is_active, webhook.off_because) == (False, "gone")
    case = ExceptionCase.objects.get(kind="channel_failing")
    assert "It answered 410: it’s gone, and was switched off" in case.summary
    assert AuditEntry.objects.get(verb="switch_off").actor == "portal"
    sent = len(receiver.got)
    clock(hours=1)
    assert len(receiver.got) == sent
    client.force_login(make_person("platform"))
    page = f"{PAGE}{webhook.pk}/"
    assert "so it was switched off" in client.get(page).content.decode()
    agree(propose(client, page, sort="webhook", name="Incidents", **{"told-severity": "4"}))
    tell_people()
    case.refresh_from_db()
    assert (case.state, AlertChannel.objects.get().is_active) == ("resolved", True)


@pytest.mark.parametrize(("days", "is_off"), [(4, False), (5, True)])
def test_a_program_that_takes_nothing_for_days_is_switched_off(webhook, clock, days, is_off):
    storm(1)
    grouping.take_opened()
    planning.plan()
    row = AlertDelivery.objects.get()
    for ago, error in ((days + 1, ""), (days, "It answered 400"), (1, "It answered 400")):
        at = timezone.now() - dt.timedelta(days=ago)
        AlertAttempt.objects.create(delivery=row, channel=webhook, at=at, error=error)
    failing.give_up(webhook, is_gone=False)
    webhook.refresh_from_db()
    row.refresh_from_db()
    assert (webhook.is_active, webhook.off_because) == ((False, "failing") if is_off else (True, ""))
    assert row.state == ("failed" if is_off else "waiting")  # kept, to be sent again


def test_a_sender_that_dies_sends_the_same_message_once_more(receiver, webhook, monkeypatch):
    storm(1)
    grouping.take_opened()
    planning.plan()
    with monkeypatch.context() as patch:
        patch.setattr(sending, "_note", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            sending.send_due()
    storm(1, first=1)  # it grew meanwhile
    grouping.take_opened()
    assert sending.send_due() == 0  # its lease holds
    assert sending.send_due(timezone.now() + sending.LEASE + dt.timedelta(seconds=1)) == 1
    assert len(receiver.got) == 2
    assert len({(got.id, got.body) for got in receiver.got}) == 1


def test_who_may_have_taken_it_is_told_that_it_is_over(receiver, webhook, clock):
    """Refused or not: an incident of a program would stay open for good."""
    receiver.answers = [(500, {})]
    rows = storm(1)
    tell_people()
    calm(rows)
    tell_people()
    assert receiver.types == ["exception.raised", "exception.resolved"]


def test_what_a_channel_may_not_be_told_any_more_is_left_out_of_a_retry(receiver, webhook, clock):
    receiver.answers = [(500, {})]
    storm(1)
    storm(1, first=1, legal_entity_code="DE01")
    tell_people()
    webhook.alerts.entities = ["DE01"]
    webhook.alerts.save()
    clock(seconds=6)
    first, second = receiver.got
    assert ("GB01" in str(first.body), "GB01" in str(second.body)) == (True, False)
    assert first.id != second.id


def test_a_reminder_stays_the_same_message_when_one_of_its_cases_closes(receiver, webhook, clock):
    rows = storm(1) + storm(1, first=1, legal_entity_code="DE01")
    ExceptionCase.objects.update(severity=URGENT)
    tell_people()
    receiver.answers = [(500, {})]
    clock(hours=4)
    calm(rows[:1])
    clock(seconds=6)
    first, second = receiver.got[1:]
    assert (first.id, first.body) == (second.id, second.body)
    assert first.message["data"]["cases"] == 2


def test_a_reminder_of_what_was_set_aside_meanwhile_says_so_in_the_log(receiver, webhook, clock):
    storm(1)
    ExceptionCase.objects.update(severity=URGENT)
    tell_people()
    planning_at = timezone.now() + dt.timedelta(hours=4)
    reminding.plan_reminders(planning_at)
    ExceptionCase.objects.update(snoozed_at=timezone.now())
    sending.send_due(planning_at)
    row = AlertDelivery.objects.get(what="reminder")
    assert (row.state, row.error) == ("dropped", "it was over or set aside before it was sent")


def test_an_entity_beyond_the_first_hundred_places_is_left_out_once_it_may_not_be_told(receiver, webhook, clock):
    for n in range(105):
        storm(1, first=n, legal_entity_code=f"E{n:03d}")
    receiver.answers = [(500, {})]
    tell_people()
    webhook.alerts.entities = [f"E{n:03d}" for n in range(104)]
    webhook.alerts.save()
    clock(seconds=6)
    first, second = receiver.got
    assert (b"E104" in first.body, b"E104" in second.body, first.id == second.id) == (True, False, False)


def test_one_that_hangs_keeps_few_at_a_time_and_nobody_else(receiver, webhook, monkeypatch):
    rows = []
    for n in range(12):
        rows += storm(1, first=n, flow=f"flow_{n}")
    grouping.take_opened()
    planning.plan()
    assert len(sending._take(timezone.now())) == sending.WEBHOOKS_AT_ONCE
    assert len(sending._take(timezone.now())) == 12 - sending.WEBHOOKS_AT_ONCE


def test_a_program_with_many_due_keeps_no_mail_and_no_room_waiting(webhook):
    """Its messages were the first two hundred due, so every batch had eight of them and nothing else."""
    room = make_channel("Close room")
    mails = [AlertDelivery(group=make_alert(kind=f"kind_{n}"), what="alert", person=make_person("auditor"))
             for n in range(2)]  # fmt: skip
    alerts = AlertGroup.objects.bulk_create(
        AlertGroup(
            about="opened", severity=2, queues=[], entities=[], case_count=1, kind=f"many_{n}", first_at=TUESDAY,
            last_at=TUESDAY, grew_at=TUESDAY, is_planned=True,
        )
        for n in range(sending.BATCH + 50)
    )  # fmt: skip
    due = timezone.now() - dt.timedelta(hours=1)
    of_program = [AlertDelivery(group=group, what="alert", channel=webhook, due_at=due) for group in alerts]
    later = [*mails, AlertDelivery(group=alerts[0], what="alert", channel=room)]
    for row in later:
        row.due_at = timezone.now()
    AlertDelivery.objects.bulk_create([*of_program, *later])
    taken = sending._take(timezone.now())
    assert [row.channel_id for row in taken].count(webhook.pk) == sending.WEBHOOKS_AT_ONCE
    assert {row.pk for row in later} <= {row.pk for row in taken}
    again = sending._take(timezone.now())  # what was taken is leased
    assert [row.channel_id for row in again] == [webhook.pk] * sending.WEBHOOKS_AT_ONCE
    assert not {row.pk for row in again} & {row.pk for row in taken}


def test_the_log_of_a_state_that_no_message_has_does_not_say_that_nothing_was_sent(client, webhook):
    client.force_login(make_person("platform"))
    said = f"{webhook} was sent nothing yet"
    assert said in client.get(f"{PAGE}{webhook.pk}/log/").content.decode()
    make_message_to(webhook)
    for state in ("", "sent", "waiting", "failed"):
        assert said not in client.get(f"{PAGE}{webhook.pk}/log/?state={state}").content.decode()


def new_webhook(client, receiver, **fields):
    fields = {"sort": "webhook", "name": "Incidents", "address": receiver.address, "secret": SECRET, **fields}
    return propose(client, PAGE, **{"told-severity": "4", **fields})


def test_a_webhook_needs_two_people_and_its_secret_is_kept_out_of_sight(client, receiver, caplog):
    platform = make_person("platform")
    client.force_login(platform)
    proposal = new_webhook(client, receiver)
    channel = AlertChannel.objects.get()
    assert (channel.secret, SECRET.encode() in bytes(channel.next_secret)) == (None, False)
    assert proposal.content["happens"][-1] == "What it’s sent is signed with the secret that was given."
    storm(1)
    tell_people()
    assert receiver.got == []
    agree(proposal)
    channel.refresh_from_db()
    assert (channels.secrets_of(channel, timezone.now()), channel.next_secret) == ([SECRET], None)
    client.post(f"{PAGE}{channel.pk}/test/")
    assert receiver.types == ["exception.test"]
    assert receiver.got[0].is_signed_by(SECRET)
    receiver.answers = [(400, {})]
    storm(1, first=1, flow="payment_to_erp")
    tell_people()
    shown = [
        client.get(address).content.decode()
        for address in (
            f"{PAGE}{channel.pk}/", f"{PAGE}{channel.pk}/log/", f"/decisions/{proposal.pk}/",
            f"/exceptions/alerts/messages/{AlertDelivery.objects.filter(channel=channel).first().pk}/",
        )
    ]  # fmt: skip
    kept = [str(e.data) for e in AuditEntry.objects.all()] + [str(h.__dict__) for h in AlertChannel.history.all()]
    kept += [str(p.content) for p in Proposal.objects.all()] + [str(a.__dict__) for a in AlertAttempt.objects.all()]
    for text in (*shown, *kept, caplog.text):
        assert SECRET not in text
        assert SECRET.removeprefix("whsec_") not in text
        assert "/hooks/q2c/" not in text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"secret": ""}, "needs the secret"),
        ({"secret": "whsec_c2hvcnQ="}, "It has 5 bytes"),
        ({"sort": "slack"}, "Only a signed webhook has a secret"),
        ({"address": "https://example.test/a b"}, "a space or another character"),
        ({"address": "https://example.test/x#part"}, "Write the whole address"),
    ],
)
def test_what_can_not_be_a_webhook_is_refused_in_words_and_the_secret_is_not_shown_again(
    client, receiver, fields, said
):
    client.force_login(make_person("platform"))
    given = {**FORM, "sort": "webhook", "address": receiver.address, "secret": SECRET, **fields}
    answer = client.post(PAGE, given)
    text = answer.content.decode()
    assert (answer.status_code, said in text) == (422, True)
    assert SECRET not in text
    assert AlertChannel.objects.count() == 0


def test_while_a_secret_is_rolled_the_former_one_signs_as_well_and_then_it_is_gone(client, receiver, clock):
    client.force_login(make_person("platform", username="ada"))
    agree(new_webhook(client, receiver))
    channel = AlertChannel.objects.get()
    page = f"{PAGE}{channel.pk}/"
    clock(seconds=1)
    roll = {"sort": "webhook", "name": "Incidents", "told-severity": "4", "secret": OTHER}
    proposal = propose(client, page, **roll)
    said = "What it’s sent is signed with a new secret, for 24 hours with the former one as well."
    assert proposal.content["happens"] == [said]
    storm(1)
    tell_people()
    assert (receiver.got[0].is_signed_by(SECRET), receiver.got[0].is_signed_by(OTHER)) == (True, False)  # not agreed
    agree(proposal)
    storm(1, first=1, flow="payment_to_erp")
    tell_people()
    both = receiver.got[1]
    assert (both.is_signed_by(OTHER), both.is_signed_by(SECRET)) == (True, True)
    assert [part[:3] for part in both.headers["webhook-signature"].split(" ")] == ["v1,", "v1,"]
    assert "the former one signs as well" in client.get(page).content.decode()
    clock(hours=24, seconds=1)
    storm(1, first=2, flow="refund_to_erp")
    tell_people()
    last = receiver.got[-1]
    assert (last.is_signed_by(OTHER), last.is_signed_by(SECRET)) == (True, False)
    channel.refresh_from_db()
    assert (channel.former_secret, channel.former_until) == (None, None)
    client.force_login(Person.objects.get(username="ada"))  # a day later
    agree(propose(client, page, **{**roll, "secret": THIRD}), approve=False)
    channel.refresh_from_db()
    assert (channels.secrets_of(channel, timezone.now()), channel.next_secret) == ([OTHER], None)


def test_another_secret_than_the_one_that_was_signed_for_is_not_put_into_force(client, receiver):
    client.force_login(make_person("platform"))
    proposal = new_webhook(client, receiver)
    AlertChannel.objects.update(next_secret=vault.seal_with_master(OTHER.encode()))
    with pytest.raises(ValueError, match="The new secret isn’t there any more"):
        agree(proposal)
    assert AlertChannel.objects.get().secret is None


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/x", "https://localhost:{port}/x", "https://10.0.0.1/x"])
def test_an_address_inside_is_not_dialled_whatever_stands_there(settings, receiver, address):
    port = receiver.server.server_address[1]
    secret = vault.seal_with_master(SECRET.encode())
    make_channel("Inside", address=address.format(port=port), sort="webhook", secret=secret)
    settings.IS_DEMO = False
    storm(1)
    tell_people()
    assert receiver.got == []
    assert "may not be dialled" in AlertDelivery.objects.get().error


def test_nobody_is_followed_elsewhere(receiver, webhook):
    other = Receiver().start()
    try:
        receiver.answers = [(307, {"Location": other.address})]
        storm(1)
        tell_people()
        assert (len(receiver.got), other.got) == (1, [])
        assert AlertDelivery.objects.get().error == "It answered 307, and nobody is followed elsewhere"
    finally:
        other.stop()


def test_operators_see_each_attempt_and_send_again_what_was_given_up(client, receiver, webhook, clock):
    storm(1)
    receiver.answers = [(401, {})]
    tell_people()
    AlertDelivery.objects.update(state="failed")
    row = AlertDelivery.objects.get()
    client.force_login(make_person("platform"))
    log = client.get(f"{PAGE}{webhook.pk}/log/").content.decode()
    assert "Incidents didn’t take 1 message" in " ".join(log.split())
    assert (row.message_id in log, "It answered 401" in log) == (True, True)
    shown = client.get(f"/exceptions/alerts/messages/{row.pk}/").content.decode()
    assert ("401" in shown, "exception.raised" in shown) == (True, True)
    assert client.post(f"/exceptions/alerts/messages/{row.pk}/again/").status_code == 302
    tell_people()
    assert len({(got.id, got.body) for got in receiver.got}) == 1
    assert len(receiver.got) == 2
    AlertDelivery.objects.update(state="failed")
    client.post(f"{PAGE}{webhook.pk}/again/")
    tell_people()
    assert (len(receiver.got), AlertDelivery.objects.get().state) == (3, "sent")
    assert (
        list(AuditEntry.objects.filter(verb="send_again").values_list("data", flat=True))
        == [{"messages": [row.pk]}] * 2
    )
    AlertChannel.objects.update(is_active=False)
    client.post(f"/exceptions/alerts/messages/{row.pk}/again/")
    assert AlertDelivery.objects.get().state == "sent"


def test_a_message_tells_a_hundred_places_and_how_many_more(receiver, webhook):
    for n in range(105):
        storm(1, first=n, legal_entity_code=f"E{n:03d}")
    tell_people()
    data = receiver.got[0].message["data"]
    assert (data["cases"], len(data["places"]), data["places_left_out"], len(data["entities"])) == (105, 100, 5, 105)
    assert len(receiver.got[0].body) < 20_000


def test_every_type_on_the_wire_is_one_of_the_list():
    assert set(webhooks.Type.__args__) == set(webhooks.TYPES)
    assert json.loads(json.dumps(webhooks.TYPES))


def test_a_longer_log_costs_no_more_queries(client, webhook):
    client.force_login(make_person("platform"))
    counts = []
    for count in (2, 40):
        for what in ("alert", "reminder", "all_clear"):
            for _ in range(count):
                make_message_to(webhook, what=what)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"{PAGE}{webhook.pk}/log/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]
