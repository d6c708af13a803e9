"""The screens of back-fills: made and tried by one person, agreed to by another, seen by whom it concerns."""

import csv
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from q2c.core.models import AuditEntry, Proposal
from q2c.inbox.models import Backfill
from tests import factories
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
ASKED = {"source": "stored", "since": "2026-11-01", "until": "2026-11-02", "why": "An outage"}
START = {"per_minute": "600", "why": "They are missing", "takes_held": "on"}


def test_what_is_asked_for_is_said_back_and_what_cant_be_is_refused_in_words(sign_in):
    factories.make_connection("stripe")
    factories.make_connection("netsuite")
    client = sign_in("platform")
    assert client.post("/backfills/new/", {**ASKED, "why": ""}).status_code == 422
    page = client.post("/backfills/new/", {**ASKED, "until": "2026-10-01"})
    assert "Its first day comes after its last one" in page.content.decode()
    page = client.post("/backfills/new/", {**ASKED, "source": "again", "connection": "netsuite"})
    assert "can’t be read again" in page.content.decode()
    page = client.post(
        "/backfills/new/", {**ASKED, "source": "again", "connection": "netsuite", "stream": "stripe|invoice"}
    )
    assert "Choose the same system in both" in page.content.decode()
    assert not Backfill.objects.exists()
    made = client.post("/backfills/new/", {**ASKED, "source": "again", "stream": "stripe|invoice"})
    assert made.status_code == 302
    assert Backfill.objects.get().words == "Invoices of Stripe from 1 Nov 2026 to 2 Nov 2026"


def test_a_file_of_ids_is_taken_and_one_without_a_column_of_ids_says_what_to_do(sign_in):
    client = sign_in("billing_ops")
    wrong = SimpleUploadedFile("ids.csv", b"a,b\n1,2\n")
    assert "headed “Id”" in client.post("/backfills/new/", {**ASKED, "file": wrong}).content.decode()
    good = SimpleUploadedFile("ids.csv", b"Id\nin_1\nin_2\n")
    assert client.post("/backfills/new/", {**ASKED, "file": good, "verdict": "refused"}).status_code == 302
    made = Backfill.objects.get()
    assert (made.by_ids, made.asked, made.words) == (
        True, {}, "2 ids of a file from 1 Nov 2026 to 2 Nov 2026",
    )  # fmt: skip
    assert sorted(made.items.values_list("row", "given")) == [(2, "in_1"), (3, "in_2")]


def test_another_person_agrees_before_it_runs_and_a_rule_may_ask_nobody(sign_in):
    factories.make_subsidiary()
    client = sign_in("platform")
    own = factories.make_backfill(client.person, rows=2)
    page = client.get(f"/backfills/{own.pk}/").content.decode()
    assert "2 messages would be carried" in page
    assert "240.00" in page
    assert client.post(f"/backfills/{own.pk}/start/", {**START, "why": ""}).status_code == 422
    assert client.post(f"/backfills/{own.pk}/start/", START).status_code == 302
    own.refresh_from_db()
    assert own.state == "asked"
    proposal = Proposal.objects.get()
    assert proposal.content["documents"] == ["GB01: 2 of invoice to erp, GBP 240.00"]
    sign = {"verdict": "approve", "seen_hash": proposal.content_hash}
    assert client.post(f"/decisions/{proposal.pk}/sign/", sign).status_code in (403, 422)
    assert sign_in("controller").post(f"/decisions/{proposal.pk}/sign/", sign).status_code == 302
    own.refresh_from_db()
    assert (own.state, own.takes) == ("running", ["held", "posts", "waits"])
    assert AuditEntry.objects.filter(verb="start", subject_type="backfill", subject_id=str(own.pk)).exists()
    assert client.post(f"/backfills/{own.pk}/pause/").status_code == 302
    assert "Resume it" in client.get(f"/backfills/{own.pk}/").content.decode()
    make_rule("resolution_approval", "back_fill", "nobody")
    second = factories.make_backfill(client.person)
    client.post(f"/backfills/{second.pk}/start/", START)
    second.refresh_from_db()
    assert second.state == "running"


def test_cancelled_while_it_waits_for_a_signature_its_proposal_is_withdrawn(sign_in):
    client = sign_in("platform")
    own = factories.make_backfill(client.person)
    client.post(f"/backfills/{own.pk}/start/", START)
    assert client.post(f"/backfills/{own.pk}/cancel/", {"why": "Not needed"}).status_code == 302
    own.refresh_from_db()
    assert (own.state, Proposal.objects.get().state) == ("cancelled", "withdrawn")
    assert set(own.items.values_list("result", flat=True)) == {"left"}


def test_only_its_maker_starts_it_and_people_see_the_rows_of_their_entities(sign_in):
    own = factories.make_backfill(factories.make_person("platform"), rows=2)
    own.items.filter(pk=own.items.order_by("pk")[0].pk).update(legal_entity_code="US01")
    other = sign_in("platform")
    page = other.post(f"/backfills/{own.pk}/start/", START)
    assert (page.status_code, own.items.count()) == (422, 2)
    of_us = sign_in("auditor", entities=("US01",))
    page = of_us.get(f"/backfills/{own.pk}/").content.decode()
    assert "1 message would be carried" in page
    taken = of_us.get(f"/backfills/{own.pk}/rows.csv")
    rows = list(csv.DictReader(io.StringIO(b"".join(taken.streaming_content).decode("utf-8-sig"))))
    assert [(r["Entity"], r["Amount"], r["Dry run"]) for r in rows if r["Entity"]] == [
        ("US01", "120.000000", "Will post")
    ]
    limited = factories.make_backfill(factories.make_person("platform"), limited_to=["GB01"])
    assert of_us.get(f"/backfills/{limited.pk}/").status_code == 404


def test_a_message_beyond_its_window_says_how_far_back_it_goes(sign_in):
    client = sign_in("platform")
    key = factories.make_message()
    make_rule("replay_window", "*", "1")
    from q2c.inbox import window

    assert window.Windows([("stripe", key.event.event_type)]).days("stripe", key.event.event_type) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window.Windows, "why_not", lambda *_said: "It is 9 days old.")
        page = client.post(f"/inbox/{key.event_id}/replay/", {"why": "to be sure"})
    assert (page.status_code, "It is 9 days old." in page.content.decode()) == (422, True)
    key.refresh_from_db()
    assert key.verdict == "translated"
