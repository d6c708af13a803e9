"""What people do on the screens: map, approve, repost, waive, assign, replay, pause, change. Each is recorded."""

import datetime as dt
import json

import pytest
from django.db import ProgrammingError
from django.db.transaction import atomic
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from connectors import registry
from connectors.models import Connection, ReferenceEntry
from exceptions import closing
from exceptions.models import ExceptionCase
from mappings.models import ChangeSet, MappingRule
from q2c.core import customer_keys, vault
from q2c.core.models import AuditEntry, Proposal
from q2c.inbox.models import InboundKey
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction, Resubmission, WorkItem
from tests import factories
from tests.exceptions.late import late_case

pytestmark = pytest.mark.django_db


@pytest.fixture
def held(db):
    """A case that lacks an item, its held invoice of December 2010, and the ERP's list of items."""
    factories.make_entity("GB01")
    netsuite = factories.make_connection("netsuite")
    for external_id, code, name in (("10482", "22423", "Regency cakestand"), ("10391", "GTX-4G", "Router 4G")):
        ReferenceEntry.objects.create(
            connection=netsuite,
            list_name="items",
            external_id=external_id,
            code=code,
            name=name,
            read_at=dt.datetime.now(dt.UTC),
        )
    txn = factories.make_transaction("held", number="INV-1", document_date=dt.date(2010, 12, 1))
    return txn, factories.make_case(transactions=[txn])


def propose(client, case, **changes):
    fields = {
        "key": "22423",
        "value": "10482 · Regency cakestand",
        "connection_code": "netsuite",
        "legal_entity_code": "GB01",
        "currency": "",
        "product_line": "",
        "effective_from": "1 Dec 2010",
        "effective_to": "",
        "why": "The item was created today",
        **changes,
    }
    return client.post(f"/exceptions/cases/{case.pk}/remap/", fields)


def test_a_missing_item_is_mapped_approved_by_another_and_reposted(sign_in, held):
    txn, case = held
    proposer, approver = sign_in("billing_ops"), sign_in("controller")
    page = proposer.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert 'aria-label="Take 10482 · 22423 · Regency cakestand"' in page
    assert "it has the same code" in page.lower()
    answer = propose(proposer, case)
    change_set = ChangeSet.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/mappings/change-sets/{change_set.pk}/")
    own = proposer.get(answer["Location"]).content.decode()
    assert "You proposed it, so somebody else has to approve it." in own
    assert not MappingRule.objects.exists()
    shown = approver.get(answer["Location"])
    signed = approver.post(
        f"{answer['Location']}sign/",
        {"verdict": "approve", "why": "", "seen_hash": shown.context["proposal"].content_hash},
        follow=True,
    )
    assert "1 document goes on." in signed.content.decode()
    rule = MappingRule.objects.get()
    assert (rule.kind, rule.key, rule.value, rule.value_label) == ("item", "22423", "10482", "Regency cakestand")
    assert (rule.proposed_by, rule.approved_by) == (proposer.person, approver.person)
    txn.refresh_from_db()
    assert (txn.state, txn.attempt) == ("running", 2)


def test_the_proposer_cant_approve_even_by_hand(sign_in, held):
    client = sign_in("controller")
    answer = propose(client, held[1])
    change_set = ChangeSet.objects.get()
    signed = client.post(
        f"{answer['Location']}sign/", {"verdict": "approve", "seen_hash": change_set.proposal.content_hash}
    )
    assert signed.status_code == 422
    change_set.refresh_from_db()
    assert (change_set.state, MappingRule.objects.count()) == ("proposed", 0)


def test_a_signature_on_what_changed_meanwhile_is_refused(sign_in, held):
    answer = propose(sign_in("billing_ops"), held[1])
    signed = sign_in("controller").post(f"{answer['Location']}sign/", {"verdict": "approve", "seen_hash": "0" * 64})
    assert (signed.status_code, "It changed since you looked at it." in signed.content.decode()) == (422, True)


def test_a_rejected_mapping_changes_nothing_and_needs_a_reason(sign_in, held):
    txn, case = held
    answer = propose(sign_in("billing_ops"), case)
    seen = ChangeSet.objects.get().proposal.content_hash
    controller = sign_in("controller")
    assert controller.post(f"{answer['Location']}sign/", {"verdict": "reject", "seen_hash": seen}).status_code == 422
    controller.post(f"{answer['Location']}sign/", {"verdict": "reject", "why": "wrong item", "seen_hash": seen})
    txn.refresh_from_db()
    case.refresh_from_db()
    assert (ChangeSet.objects.get().state, txn.state, case.state) == ("rejected", "held", "open")


def test_a_near_miss_is_named_and_nothing_typed_is_lost(sign_in, held):
    answer = propose(sign_in("billing_ops"), held[1], value="1O391", why="Because it was created")
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "NetSuite has no item 1O391. Did you mean 10391 · GTX-4G · Router 4G?" in page
    assert "Because it was created" in page
    assert ChangeSet.objects.count() == 0


def test_a_person_of_one_entity_proposes_for_that_entity_only(sign_in, held):
    client = sign_in("billing_ops", entities=("GB01",))
    assert propose(client, held[1], legal_entity_code="").status_code == 422
    assert propose(client, held[1], legal_entity_code="US01").status_code == 422
    assert propose(client, held[1]).status_code == 302


@pytest.mark.scenario(9)
def test_repost_puts_held_documents_back_to_work_and_a_second_click_says_why_not(sign_in, held):
    txn, case = held
    client = sign_in("billing_ops")
    assert client.post(f"/exceptions/cases/{case.pk}/repost/", {"repost-why": ""}).status_code == 422
    said = client.post(f"/exceptions/cases/{case.pk}/repost/", {"repost-why": "Item added in NetSuite"}, follow=True)
    assert "1 document is on the way again." in said.content.decode()
    assert BusinessTransaction.objects.get(pk=txn.pk).state == "running"
    again = client.post(f"/exceptions/cases/{case.pk}/repost/", {"repost-why": "Item added in NetSuite"}, follow=True)
    assert "0 documents are on the way again." in again.content.decode()
    assert AuditEntry.objects.filter(verb="repost", subject_id=str(case.pk)).exists()


def test_only_a_kind_that_allows_it_is_waived_and_only_with_a_reason(sign_in, db):
    txn = factories.make_transaction("held")
    case = factories.make_case(
        "SKU A has a negative price", kind="negative_price", category="validation", transactions=[txn]
    )
    client = sign_in("controller")
    assert client.post(f"/exceptions/cases/{case.pk}/waive/", {"waive-why": "no"}).status_code == 422
    given = {"waive-why": "Bad debt, written off in NetSuite", "waive-code": "bad_debt"}
    client.post(f"/exceptions/cases/{case.pk}/waive/", given)
    closing.resolve_emptied()
    case.refresh_from_db()
    txn.refresh_from_db()
    assert (case.is_open, case.resolution, txn.state) == (False, "waived", "cancelled")
    items = client.get("/exceptions/open-items/?entity=GB01&code=bad_debt").content.decode()
    assert (txn.number in items, "Bad debt, which isn’t revenue" in items) == (True, True)
    assert txn.number not in client.get("/exceptions/open-items/?code=duplicate").content.decode()
    page = client.post(f"/exceptions/cases/{case.pk}/take-up/", {"take_up-why": "They paid after all"}, follow=True)
    assert "1 document is on the way again." in page.content.decode()
    txn.refresh_from_db()
    assert txn.state == "running"


def test_late_documents_are_moved_on_the_screens_by_one_person_and_agreed_to_by_another(sign_in, db):
    case, ids = late_case(2)
    maker, checker = sign_in("billing_ops", display_name="Ben Okafor"), sign_in("controller")
    page = maker.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert "Ask for the period to be reopened" in page
    wish = {"choose_period-option": "choose_period", "choose_period-why": "They came two days late"}
    sent = maker.post(f"/exceptions/cases/{case.pk}/period/", wish, follow=True)
    address, _ = sent.redirect_chain[-1]
    shown = checker.get(address).content.decode()
    assert "2 documents of GB01 in " in shown
    assert "By the posting policy of GB01" in shown
    again = maker.post(f"/exceptions/cases/{case.pk}/period/", wish)
    assert (again.status_code, "Ben Okafor proposed it already" in again.content.decode()) == (422, True)
    assert address in maker.get(f"/exceptions/cases/{case.pk}/").content.decode()  # the decision that it waits for
    proposal = Proposal.objects.get()
    given = {"verdict": "approve", "seen_hash": proposal.content_hash, "why": ""}
    assert maker.post(f"{address}sign/", given).status_code == 403
    assert checker.post(f"{address}sign/", given).status_code == 302
    assert set(BusinessTransaction.objects.filter(pk__in=ids).values_list("state", flat=True)) == {"running"}
    assert checker.post(f"{address}sign/", given).status_code == 422
    chosen = checker.get(f"/transactions/{ids[0]}/").content.decode()
    assert "Posts on 2026-10-01" in chosen


def test_a_case_is_snoozed_woken_and_sent_back_and_leaves_the_queue_meanwhile(sign_in, held):
    _, case = held
    client = sign_in("controller")
    wish = {"snooze-until": "count", "snooze-count": "", "snooze-why": "wait for the month's run"}
    assert "Say how many." in client.post(f"/exceptions/cases/{case.pk}/snooze/", wish).content.decode()
    client.post(f"/exceptions/cases/{case.pk}/snooze/", wish | {"snooze-count": "2"})
    link = f'href="/exceptions/cases/{case.pk}/"'
    assert link not in client.get("/exceptions/cases/").content.decode()
    assert link in client.get("/exceptions/cases/?state=snoozed").content.decode()
    assert "Snoozed until it has 2 documents" in client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    client.post(f"/exceptions/cases/{case.pk}/wake/", {"wake-why": "The run is early"})
    assert link in client.get("/exceptions/cases/").content.decode()
    given = {"send_back-to": "sales_ops", "send_back-why": "Ask for the SKU's name"}
    client.post(f"/exceptions/cases/{case.pk}/send-back/", given)
    case.refresh_from_db()
    assert (case.queue, case.notes.last().text) == (
        "sales_ops", "Sent back to sales operations: Ask for the SKU's name",
    )  # fmt: skip


def test_taking_a_case_makes_it_mine_and_notes_it(sign_in, held):
    client = sign_in("billing_ops", display_name="Ben Okafor")
    client.post(f"/exceptions/cases/{held[1].pk}/assign/", {"to": client.person.pk})
    case = ExceptionCase.objects.get()
    assert (case.assignee, case.state) == (client.person, "in_review")
    stranger = factories.make_person("platform")
    assert client.post(f"/exceptions/cases/{case.pk}/assign/", {"to": stranger.pk}).status_code == 422
    client.post(f"/exceptions/cases/{case.pk}/note/", {"text": "Asked Product"})
    assert "Asked Product" in client.get(f"/exceptions/cases/{case.pk}/").content.decode()


def test_htmx_gets_the_event_instead_of_a_redirect(sign_in, held):
    client = sign_in("billing_ops")
    answer = client.post(f"/exceptions/cases/{held[1].pk}/note/", {"text": "Asked"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer["HX-Trigger"]) == (204, "case-changed")


def test_a_message_shows_its_body_without_secrets_and_runs_again(sign_in, db):
    key = vault.new_key()
    body = json.dumps({"id": "evt_1", "amount": "12.30", "api_key": "sk_test_abcdefghij"}).encode()
    message = factories.make_message(
        body=vault.seal(body, key),
        headers=vault.seal(b'{"Stripe-Signature": "t=1,v1=abc"}', key),
        body_key=vault.seal_with_master(key),
        verdict="refused",
        reason="unknown",
    )
    client = sign_in("platform")
    page = client.get(f"/inbox/{message.event_id}/").content.decode()
    assert "12.30" in page
    assert "sk_test_abcdefghij" not in page
    assert "v1=abc" not in page
    client.post(f"/inbox/{message.event_id}/replay/", {"why": "The reader is mended"})
    message.refresh_from_db()
    assert (message.verdict, message.reason) == (InboundKey.Verdict.RECEIVED, "")
    assert AuditEntry.objects.get(verb="replay").why == "The reader is mended"
    again = client.get(f"/inbox/{message.event_id}/")
    assert [(run.who, run.why, run.data["verdict"]) for run in again.context["replays"]] == [
        (str(client.person), "The reader is mended", "refused")
    ]
    assert "It was refused before." in again.content.decode()


def test_pausing_and_resuming_a_connection_needs_a_reason_and_is_recorded(sign_in, db):
    factories.make_connection("netsuite")
    client = sign_in("platform", display_name="Dev Raman")
    assert client.post("/connections/netsuite/pause/", {"why": ""}).status_code == 422
    client.post("/connections/netsuite/pause/", {"why": "Maintenance tonight"})
    page = client.get("/connections/netsuite/").content.decode()
    assert "NetSuite is paused" in page
    assert "Dev Raman paused it: Maintenance tonight" in page
    client.post("/connections/netsuite/resume/", {"why": "Maintenance is over"})
    assert Connection.objects.get().state == "active"
    assert list(AuditEntry.objects.order_by("sequence").values_list("verb", flat=True)) == ["pause", "resume"]


def is_ceiling(field) -> bool:
    return field.html_name in ("setting_per_second", "setting_per_day")


def edited(client, **typed) -> dict[str, str]:
    """The form of NetSuite's connection as it's shown, with what was typed."""
    form = client.get("/connections/netsuite/edit/").context["form"]
    fields = {f.html_name: f.initial or "" if is_ceiling(f) else f.initial or "x" for f in form.plain_fields}
    return (
        fields | {"name": "NetSuite", "base_url": form["base_url"].value(), "at_once": "4", "why": "New token"} | typed
    )


def test_credentials_wait_sealed_for_a_second_person_and_are_never_shown(sign_in, db):
    connection = factories.make_connection("netsuite")
    registry.store_secrets(connection, {"consumer_key": "old", "token_secret": "kept"})
    client, second = sign_in("platform"), sign_in("controller")
    form = client.get("/connections/netsuite/edit/").context["form"]
    connection.settings = {f.html_name[8:]: f.initial or "x" for f in form.plain_fields if not is_ceiling(f)}
    connection.save()
    answer = client.post("/connections/netsuite/edit/", edited(client, secret_consumer_key="ck_very_secret"))
    proposal = Proposal.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/decisions/{proposal.pk}/")
    assert (proposal.title, proposal.content["settings"]) == ("New credentials of NetSuite: consumer key", {})
    connection.refresh_from_db()
    assert registry.secrets_of(connection) == {"consumer_key": "old", "token_secret": "kept"}
    again = client.post("/connections/netsuite/edit/", edited(client, secret_consumer_key="another"))
    assert "Another change of it waits for a second person." in again.content.decode()
    body = {"verdict": "approve", "seen_hash": proposal.content_hash}
    assert second.post(f"/decisions/{proposal.pk}/sign/", body).status_code == 302
    connection.refresh_from_db()
    assert registry.secrets_of(connection) == {"consumer_key": "ck_very_secret", "token_secret": "kept"}
    assert (connection.state, connection.next_secrets) == ("active", None)
    assert b"ck_very_secret" not in bytes(connection.secrets)
    for address in ("/connections/netsuite/", "/connections/netsuite/edit/", f"/decisions/{proposal.pk}/"):
        assert "ck_very_secret" not in client.get(address).content.decode()
    assert AuditEntry.objects.get(verb="change_account").data["credentials"] == ["consumer_key"]
    assert "ck_very_secret" not in str(list(Connection.history.values()))


def test_another_account_waits_for_a_second_person_and_name_and_concurrency_dont(sign_in, db):
    factories.make_connection("netsuite")
    first, second = sign_in("platform"), sign_in("platform")
    fields = edited(first, setting_account="TSTDRV1", name="NetSuite 2", at_once="7")
    assert first.post("/connections/netsuite/edit/", fields).status_code == 302
    row, proposal = Connection.objects.get(), Proposal.objects.get()
    assert (row.name, row.at_once, row.settings.get("account")) == ("NetSuite 2", 7, None)
    assert (proposal.content["settings"]["account"], proposal.content["settings_were"]["account"]) == ("TSTDRV1", "")
    body = {"verdict": "approve", "seen_hash": proposal.content_hash}
    refused = first.post(f"/decisions/{proposal.pk}/sign/", body)
    assert (refused.status_code, "You proposed it" in refused.content.decode()) == (422, True)
    Connection.objects.update(settings={"account": "MOVED"})
    late = second.post(f"/decisions/{proposal.pk}/sign/", body)
    assert (late.status_code, "changed meanwhile; propose it anew" in late.content.decode()) == (422, True)
    Connection.objects.update(settings={})
    assert second.post(f"/decisions/{proposal.pk}/sign/", body).status_code == 302
    assert Connection.objects.get().settings["account"] == "TSTDRV1"


def test_another_address_waits_for_a_second_person_and_then_clears_the_credentials(sign_in, db):
    connection = factories.make_connection("netsuite")
    registry.store_secrets(connection, {"consumer_key": "x"})
    first, second = sign_in("platform"), sign_in("platform")
    form = first.get("/connections/netsuite/edit/").context["form"]
    fields = {f.html_name: f.initial or "" if is_ceiling(f) else f.initial or "x" for f in form.plain_fields}
    fields |= {"name": "NetSuite", "base_url": "http://127.0.0.1:8999/moved", "why": "The vendor moved us"}
    answer = first.post("/connections/netsuite/edit/", fields)
    proposal = Proposal.objects.get()
    assert answer["Location"] == f"/decisions/{proposal.pk}/"
    assert Connection.objects.get().base_url == "http://127.0.0.1:8901/netsuite"
    body = {"verdict": "approve", "seen_hash": proposal.content_hash}
    assert first.post(f"/decisions/{proposal.pk}/sign/", body).status_code == 422
    assert second.post(f"/decisions/{proposal.pk}/sign/", body).status_code == 302
    connection.refresh_from_db()
    assert (connection.base_url, connection.secrets, connection.state) == (
        "http://127.0.0.1:8999/moved",
        None,
        "paused",
    )


@pytest.mark.parametrize(
    ("verdict", "held"), [("approve", {"consumer_key": "new"}), ("reject", {"consumer_key": "old"})]
)
def test_credentials_given_with_another_address_wait_with_it(sign_in, db, verdict, held):
    connection = factories.make_connection("netsuite")
    registry.store_secrets(connection, {"consumer_key": "old"})
    first, second = sign_in("platform"), sign_in("platform")
    form = first.get("/connections/netsuite/edit/").context["form"]
    fields = {f.html_name: f.initial or "" if is_ceiling(f) else f.initial or "x" for f in form.plain_fields}
    fields |= {"name": "NetSuite", "base_url": "http://127.0.0.1:8999/moved", "why": "The vendor moved us",
               "secret_consumer_key": "new", "expire_on": "2030-01-31"}  # fmt: skip
    assert first.post("/connections/netsuite/edit/", fields).status_code == 302
    waiting, proposal = Connection.objects.get(), Proposal.objects.get()
    assert registry.secrets_of(waiting) == {"consumer_key": "old"}
    assert (waiting.secrets_expire_at, proposal.content["new_credentials"]) == (None, ["consumer_key"])
    assert b"new" not in bytes(waiting.next_secrets)
    assert not any(hasattr(h, "next_secrets") for h in waiting.history.all())
    body = {"verdict": verdict, "seen_hash": proposal.content_hash, "why": "As the vendor wrote"}
    assert second.post(f"/decisions/{proposal.pk}/sign/", body).status_code == 302
    connection.refresh_from_db()
    assert (registry.secrets_of(connection), connection.next_secrets) == (held, None)
    assert (connection.secrets_expire_at is not None) == (verdict == "approve")


def test_a_schedule_is_changed_with_a_reason(sign_in, db):
    every = IntervalSchedule.objects.create(every=30, period="seconds")
    task = PeriodicTask.objects.create(name="Poll Stripe", task="q2c.none", interval=every)
    client = sign_in("platform")
    both = {"enabled": "on", "every": "60", "crontab": "0 4 * * *", "why": "Slower at night"}
    assert client.post(f"/schedules/{task.pk}/", both).status_code == 422
    assert client.post(f"/schedules/{task.pk}/", {**both, "every": "", "crontab": "99 4 * * *"}).status_code == 422
    assert client.post(f"/schedules/{task.pk}/", {**both, "crontab": ""}).status_code == 302
    task.refresh_from_db()
    assert (task.interval.every, task.crontab) == (60, None)
    client.post(f"/schedules/{task.pk}/", {"every": "", "crontab": "30 4 * * *", "why": "Slower at night"})
    task.refresh_from_db()
    assert (task.enabled, task.interval, task.crontab.hour) == (False, None, "4")
    assert AuditEntry.objects.filter(verb="change", subject_type="schedule").count() == 2


@pytest.mark.parametrize("written", ["10391", "gtx-4g", "Router 4G", "router 4g", "10391 · GTX-4G · Router 4G"])
def test_a_mapping_takes_the_targets_id_code_or_name(sign_in, held, written):
    assert propose(sign_in("billing_ops"), held[1], value=written).status_code == 302
    line = ChangeSet.objects.get().lines.get()
    assert (line.value, line.value_label) == ("10391", "Router 4G")


def test_a_name_that_several_entries_share_is_refused_with_their_ids(sign_in, held):
    ReferenceEntry.objects.create(
        connection=Connection.objects.get(code="netsuite"), list_name="items", external_id="10392", code="GTX-4G-B",
        name="Router 4G", read_at=dt.datetime.now(dt.UTC),
    )  # fmt: skip
    page = propose(sign_in("billing_ops"), held[1], value="Router 4G")
    said = "2 items are called Router 4G: 10391 · GTX-4G · Router 4G, 10392 · GTX-4G-B · Router 4G. Write the id."
    assert (page.status_code, said in page.content.decode()) == (422, True)


def test_an_inactive_item_is_refused_by_name(sign_in, held):
    ReferenceEntry.objects.filter(external_id="10391").update(is_active=False)
    page = propose(sign_in("billing_ops"), held[1], value="GTX-4G")
    assert "Item 10391 is inactive in netsuite." in page.content.decode()


def test_what_may_be_chosen_follows_what_is_typed(sign_in, held):
    client = sign_in("billing_ops")
    page = client.get(f"/exceptions/cases/{held[1].pk}/").content.decode()
    assert "Id, code or name. 2 items, read 0 s ago." in page
    offered = client.get("/mappings/targets/?kind=item&connection=netsuite&value=router").content.decode()
    assert offered.index("10391 · GTX-4G · Router 4G") < offered.index("10482 · 22423 · Regency cakestand")


def test_every_repost_of_a_document_is_kept_with_who_and_why_and_shown_however_many_there_are(sign_in):
    client = sign_in("billing_ops")
    held = factories.make_transaction("held")
    for n in range(25):
        factories.make_step(held, "map_items", state="failed", attempt=n + 1, problem={"summary": f"No {n}"})
        assert restart.restart([held.pk], by="anna", why=f"Reason {n}")[0].is_restarted
        WorkItem.objects.all().delete()
        BusinessTransaction.objects.filter(pk=held.pk).update(state="held")
    page = client.get(f"/transactions/{held.pk}/").content.decode()
    assert "25 reposts" in page
    assert [f"Reason {n}<" in page for n in range(25)] == [True] * 25
    assert page.count("Held again: No ") == 24  # the first failure held it before anybody reposted
    with pytest.raises(ProgrammingError), atomic():
        Resubmission.objects.all().delete()


@pytest.mark.parametrize(
    ("verdict", "says", "offers"),
    [("translated", "Its customer was erased, so it can’t be read again.", False),
     ("refused", "Run again, its case says so and can be waived.", True)],
)  # fmt: skip
def test_a_message_of_an_erased_customer_is_offered_again_only_where_its_case_gains_by_it(
    sign_in, db, verdict, says, offers
):
    key_id = customer_keys.ensure_keys([("stripe", "cus_gone")])["stripe", "cus_gone"]
    message = factories.make_message(verdict=verdict, reason_code="malformed_event", customer_key_id=key_id)
    customer_keys.destroy_key(key_id)
    client = sign_in("platform")
    page = client.get(f"/inbox/{message.event_id}/").content.decode()
    assert says in page
    assert ("Replay the message" in page) == offers
    answer = client.post(f"/inbox/{message.event_id}/replay/", {"why": "The reader is mended"})
    assert answer.status_code == (302 if offers else 422)
    message.refresh_from_db()
    assert message.verdict == ("received" if offers else verdict)
