"""The screen Keeping: what stays and why, holds and erasures from proposal to release, archives and what is in them."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest
from django.utils import timezone

from q2c.core import customer_keys, retention
from q2c.core.models import Archive, ArchiveCheck, AuditEntry, CustomerKey, Erasure, ExpiredMonth, LegalHold, Proposal
from q2c.core.tasks import carry_erasures, check_archives, look_at_holds
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.core import keeping
from tests.core.keeping import LONG_AGO, make_key, make_old, march

pytestmark = pytest.mark.django_db
STEPS = "transactions_steprun"
HOLD = {"name": "Tax audit 2019", "matter": "TA-7", "asked_by": "Counsel", "why": "The authority asks for 2019."}


@pytest.fixture(autouse=True)
def fresh_keys():
    """No key of another test is known to this process."""
    customer_keys.forget_keys()
    yield
    customer_keys.forget_keys()


@pytest.fixture
def two(sign_in):
    """Two controllers of all entities, signed in."""
    return [sign_in("controller", username=name) for name in ("ada", "cora")]


@pytest.fixture
def folder(tmp_path, settings):
    """Months of March 2019, of which steps and exchanges are archived."""
    keeping.make_months()
    for word in ("steps", "exchanges"):
        factories.make_rule(word, "yes", kind="archive", connection_code="", effective_from=dt.date(2020, 1, 1))
    settings.ARCHIVE = str(tmp_path / "archive")
    return tmp_path / "archive"


def sign(client, proposal, verdict="approve"):
    facts = {"verdict": verdict, "seen_hash": proposal.content_hash, "why": "looked at"}
    return client.post(f"/decisions/{proposal.pk}/sign/", facts)


def said(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_a_hold_is_proposed_agreed_to_shown_as_the_reason_and_released(two, db):
    ada, cora = two
    keeping.make_months()
    txn = make_old(number="INV-7", lane="stripe:invoice:in_7", customer_id="cus_1")
    response = ada.post("/keeping/holds/new/", {**HOLD, "document": "INV-7"})
    hold = LegalHold.objects.get()
    assert response["Location"] == f"/keeping/holds/{hold.pk}/"
    assert (hold.lane, hold.document, hold.state) == (txn.lane, "INV-7", "proposed")
    assert "somebody else has to approve" in said(sign(ada, hold.proposal))
    assert sign(cora, hold.proposal).status_code == 302
    look_at_holds()  # a worker's part, after the commit
    shown = said(ada.get("/keeping/"))
    assert "1 legal hold stands and keeps 4 months beyond their time" in shown
    assert f"Steps of March 2019 Legal hold LH-{hold.pk} “Tax audit 2019” (TA-7). Stays" in shown
    assert march(STEPS) not in retention.drop_expired()
    detail = said(ada.get(f"/keeping/holds/{hold.pk}/"))
    assert "Steps of March 2019" in detail
    assert "INV-7 with its voids, plans, accruals and write-offs" in detail
    ada.post(f"/keeping/holds/{hold.pk}/release/", {"why": "The audit is over."})
    hold.refresh_from_db()
    sign(cora, hold.release)
    hold.refresh_from_db()
    assert hold.state == "released"
    assert "Nothing is kept beyond its time by a legal hold" in said(ada.get("/keeping/"))
    assert "Tax audit 2019" in said(ada.get("/keeping/holds/?state=past"))
    assert march(STEPS) in retention.drop_expired()


@pytest.mark.parametrize("asked", ["in_7", "INV-7"])
def test_a_document_is_meant_where_its_void_and_its_plan_have_the_same_id_or_number(two, asked):
    for lane in ("invoice_void", "invoice", "unwinding", "write_off"):
        make_old(number="INV-7", source_id="in_7", lane=f"stripe:{lane}:in_7", business_key=lane)
    assert two[0].post("/keeping/holds/new/", {**HOLD, "document": asked}).status_code == 302
    assert LegalHold.objects.get().lane == "stripe:invoice:in_7"


def test_of_two_documents_with_one_number_neither_is_guessed(two):
    for name in ("in_7", "in_8"):
        make_old(number="INV-7", source_id=name, lane=f"stripe:invoice:{name}")
    refused = said(two[0].post("/keeping/holds/new/", {**HOLD, "document": "INV-7"}))
    assert "2 documents have this number: write the id of one" in refused


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "Say what is held, or that it’s the whole house."),
        ({"is_everything": "on", "legal_entity": "GB01"}, "leave one of both out"),
        ({"customer": "nobody"}, "Nobody is known by this id"),
        ({"document": "INV-0"}, "No document that you see has this number or id"),
        ({"first_day": "2 Jan 2020", "last_day": "1 Jan 2020"}, "Its last day comes after its first"),
        ({"first_day": "then"}, "Write the date as"),
        ({"legal_entity": "GB01", "name": ""}, "Name"),
    ],
)
def test_a_hold_that_says_nothing_clear_is_refused_by_the_field(two, given, why):
    factories.make_entity("GB01")
    response = two[0].post("/keeping/holds/new/", {**HOLD, **given})
    assert response.status_code == 422
    assert why in said(response)
    assert not LegalHold.objects.exists()


def test_a_person_of_one_entity_sees_no_hold_of_another_and_no_name_of_it(sign_in, db):
    keeping.make_months()
    make_old(legal_entity_code="GB01")
    factories.make_entity("US01")
    hold = factories.make_hold(legal_entity="GB01")
    look_at_holds()
    other = sign_in("controller", entities=("US01",))
    assert other.get(f"/keeping/holds/{hold.pk}/").status_code == 404
    shown = said(other.get("/keeping/"))
    assert "Tax audit" not in shown
    assert "A legal hold of the house or of another entity" in shown
    refused = f"{march(STEPS)} is kept: legal hold LH-{hold.pk} “Tax audit” (TA-7)"
    ExpiredMonth.objects.filter(pk=march(STEPS)).update(failure=refused)
    assert "Tax audit" not in said(other.get("/keeping/"))
    assert other.get("/keeping/erasures/").status_code == 404
    assert "it’s the whole house" not in shown
    response = other.post("/keeping/holds/new/", {**HOLD, "is_everything": "on"})
    assert response.status_code == 422


def test_an_erasure_under_a_hold_is_refused_by_name_or_waits_for_the_release(two):
    ada, cora = two
    factories.make_connection("stripe")
    make_key()
    hold = factories.make_hold()
    asked = {"customer": "cus_1", "matter": "DSR-1", "why": "She asks to be deleted."}
    response = ada.post("/keeping/erasures/", asked)
    assert response.status_code == 422
    assert f"legal hold LH-{hold.pk} “Tax audit” (TA-7)" in said(response)
    assert not Erasure.objects.exists()
    assert ada.post("/keeping/erasures/", {**asked, "may_wait": "on"}).status_code == 302
    assert "It was asked for already" in said(ada.post("/keeping/erasures/", {**asked, "may_wait": "on"}))
    sign(cora, Proposal.objects.get(kind="erase_customer"))
    shown = said(ada.get("/keeping/erasures/"))
    assert "1 erasure waits for a legal hold" in shown
    assert f"held by legal hold LH-{hold.pk}" in shown
    assert CustomerKey.objects.get().sealed_key is not None
    keeping.release(hold)
    assert CustomerKey.objects.get().sealed_key is None
    assert "1 key destroyed" in said(ada.get("/keeping/erasures/"))


def test_an_erasure_that_a_hold_meets_at_its_signature_isnt_signed(two):
    ada, cora = two
    make_key()
    ada.post("/keeping/erasures/", {"customer": "stripe:cus_1", "matter": "DSR-1", "why": "She asks for it."})
    factories.make_hold(customer="stripe:cus_1")
    response = sign(cora, Proposal.objects.get(kind="erase_customer"))
    assert response.status_code == 422
    assert "legal hold LH-" in said(response)
    assert Erasure.objects.get().state == "proposed"
    assert CustomerKey.objects.get().sealed_key is not None


def test_archived_rows_are_found_by_number_masked_shown_with_a_reason_and_taken(two, folder):
    ada, _ = two
    txn = make_old(number="INV-7")
    factories.make_step(txn, "read", output={"email": "ann@example.test", "total": "120.00"}, at=LONG_AGO)
    retention.drop_expired()
    assert "1 month with 2 rows" in said(ada.get("/keeping/"))
    shown = said(ada.get("/keeping/archived/?q=INV-7"))
    assert "2 archived rows of INV-7" in shown
    assert ada.get("/keeping/archived/?q=%00").status_code == 200
    assert "map_items" in shown
    assert "120.00" in shown
    assert "ann@example.test" not in shown
    taken = ada.get(f"/keeping/archived/{txn.pk}/rows.json")
    assert [row["step"] for row in json.loads(taken.content)["Steps"]] == ["map_items", "read"]
    assert "ann@example.test" not in taken.content.decode()
    assert AuditEntry.objects.filter(verb="export", subject_id=str(txn.pk)).count() == 1
    revealed = said(ada.post(f"/keeping/archived/?q={txn.pk}", {"reveal-why": "The auditor asks."}))
    assert "ann@example.test" in revealed
    assert AuditEntry.objects.filter(verb="reveal", subject_id=str(txn.pk)).count() == 1
    assert "A month of it was archived" in said(ada.get(f"/transactions/{txn.pk}/"))


def test_archived_rows_of_another_entity_arent_found_and_a_damaged_file_says_so(two, folder, sign_in):
    ada, _ = two
    txn = make_old(number="INV-7", legal_entity_code="GB01")
    retention.drop_expired()
    factories.make_entity("US01")
    other = sign_in("controller", entities=("US01",))
    assert "Nothing that you see has this number or id" in said(other.get("/keeping/archived/?q=INV-7"))
    assert other.get(f"/keeping/archived/{txn.pk}/rows.json").status_code == 404
    made = Archive.objects.get()
    (folder / made.file_name).unlink()
    response = ada.get("/keeping/archived/?q=INV-7")
    assert response.status_code == 409
    assert "The archive can’t be read" in said(response)
    check_archives(made.pk)
    assert "1 archive isn’t whole" in said(ada.get("/keeping/"))
    assert "can’t be read" in said(ada.get("/keeping/archives/"))
    assert ArchiveCheck.objects.count() == 2


def test_the_platform_has_workers_look_drop_and_check(sign_in, folder):
    platform = sign_in("platform")
    ExpiredMonth.objects.create(partition=march(STEPS), table=STEPS, months=84, looked_at=timezone.now())
    assert "Let go of what is due" in said(platform.get("/keeping/"))
    for what in ("look", "drop"):
        assert platform.post("/keeping/run/", {"what": what}).status_code == 302
    assert AuditEntry.objects.filter(verb="start", subject_type="retention").count() == 1
    assert platform.post("/keeping/archives/0/check/").status_code == 404


def test_an_erasure_names_the_open_work_in_its_way_with_links_until_that_is_done(two):
    ada, cora = two
    factories.make_connection("stripe")
    make_key()
    running = factories.make_transaction("running", customer_id="cus_1", number="INV-8")
    case = factories.make_case(transactions=[factories.make_transaction("held", customer_id="cus_1")])
    links = [f'href="/exceptions/cases/{case.pk}/"', f'href="/transactions/{running.pk}/"']
    asked = {"customer": "cus_1", "matter": "DSR-1", "why": "She asks to be deleted."}
    refused = ada.post("/keeping/erasures/", asked)
    assert refused.status_code == 422
    assert f"case {case.number}; on its way INV-8. Finish it" in said(refused)
    assert "2 pieces of open work stand in the way of this erasure" in said(refused)
    assert all(link in refused.content.decode() for link in links)
    proposed = ada.post("/keeping/erasures/", {**asked, "may_wait": "on"})
    decision = cora.get(proposed["Location"])
    assert "2 pieces of open work stand in the way of this erasure" in said(decision)
    assert all(link in decision.content.decode() for link in links)
    sign(cora, Proposal.objects.get(kind="erase_customer"))
    waiting = ada.get("/keeping/erasures/")
    assert "1 erasure waits for a legal hold or for open work" in said(waiting)
    assert f"waits for {case.number} , INV-8" in said(waiting)
    assert all(link in waiting.content.decode() for link in links)
    case.occurrences.update(closed_at=timezone.now())
    BusinessTransaction.objects.update(state="completed")
    assert "stand in the way of this erasure" not in said(cora.get(proposed["Location"]))
    carry_erasures()
    assert "1 key destroyed" in said(ada.get("/keeping/erasures/"))
    assert CustomerKey.objects.get().sealed_key is None


def test_who_may_not_open_what_stands_in_the_way_is_told_its_name_alone(two, client):
    make_key()
    case = factories.make_case(transactions=[factories.make_transaction("held", customer_id="cus_1")])
    may = ["portal.view_home", "core.view_keeping", "core.propose_keeping"]
    member = factories.make_custom_role("keeper", "kay", permissions=may)
    client.force_login(member.person)
    page = client.post("/keeping/erasures/", {"customer": "stripe:cus_1", "matter": "DSR-1", "why": "She asks."})
    assert f"Case {case.number} is open" in said(page)
    assert f"/exceptions/cases/{case.pk}/" not in page.content.decode()
