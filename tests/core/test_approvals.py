"""Two people agree: who may sign, what is bound, and what the database refuses whatever the code says."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection, transaction
from django.db.utils import DatabaseError, IntegrityError
from django.utils import timezone

from q2c.core import approvals, audit, jcs
from q2c.core.access import may
from q2c.core.approvals import ApprovalRefused, concerned
from q2c.core.models import Membership, Person, Proposal, Signature
from tests.core.people import make_person

CONTENT = {"rows": [{"key": "GTX-1", "new": "77"}]}
PERMISSION = "mappings.approve_rule"


@pytest.fixture
def maker(db):
    return make_person("maker", "controller")


@pytest.fixture
def checker(db):
    return make_person("checker", "controller")


@pytest.fixture
def alarms():
    return []


def make_proposal(by, **facts) -> Proposal:
    values = {"content": CONTENT, "title": "Map GTX-1", "why": "new SKU", "permission": PERMISSION} | facts
    return approvals.propose("change_set", ("change_set", 1), by=by, **values)


def sign(proposal, by, alarms=None, approve=True, **facts):
    return approvals.sign(
        proposal, by=by, approve=approve, alarm=(alarms if alarms is not None else []).append, **facts
    )


def code(call) -> str:
    with pytest.raises(ApprovalRefused) as refused:
        call()
    return refused.value.code


def test_who_can_sign_yet_is_neither_the_proposer_nor_who_has_signed_nor_of_another_entity(maker, checker):
    third = make_person("third", "controller", entity="DE01")
    proposal = make_proposal(maker, signatures=2, legal_entities=("DE01",))
    assert approvals.signers_of(proposal) == [checker, third]
    sign(proposal, checker)
    assert approvals.signers_of(proposal) == [third]
    assert approvals.signers_of(make_proposal(checker, legal_entities=("DE01", "GB01"))) == [maker]
    sign(proposal, third)
    assert approvals.signers_of(proposal) == []


def test_a_second_person_approves_and_both_are_in_the_audit_chain(maker, checker):
    proposal = make_proposal(maker)
    assert proposal.content_hash == jcs.content_hash(CONTENT)
    assert sign(proposal, checker, seen_hash=proposal.content_hash) == "approved"
    assert proposal.state == "approved"
    assert proposal.signatures.get().signed_hash == proposal.content_hash
    entries = audit.AuditEntry.objects.order_by("sequence").values_list("actor", "verb")
    assert list(entries) == [("maker", "propose"), ("checker", "approve")]


@pytest.mark.scenario(61, of="people")
def test_nobody_approves_what_they_proposed_superusers_included(maker):
    maker.is_superuser = True
    maker.save()
    proposal = make_proposal(maker)
    assert code(lambda: sign(proposal, maker)) == "own"
    assert proposal.signatures.count() == 0


def test_the_database_refuses_the_proposers_signature_whatever_the_row_claims(maker, checker):
    proposal = make_proposal(maker)
    facts = {
        "proposal": proposal,
        "signed_at": timezone.now(),
        "is_approval": True,
        "signed_hash": proposal.content_hash,
    }
    with pytest.raises(IntegrityError) as own, transaction.atomic():
        Signature.objects.create(proposed_by=maker, signed_by=maker, **facts)
    assert own.value.__cause__.diag.constraint_name == "signer_is_not_proposer"
    with pytest.raises(IntegrityError) as lied, transaction.atomic():
        Signature.objects.create(proposed_by=checker, signed_by=maker, **facts)
    assert lied.value.__cause__.diag.constraint_name == "signature_names_the_proposer"


def test_the_database_refuses_a_signature_on_another_content_or_on_what_is_decided(maker, checker):
    proposal = make_proposal(maker)
    facts = {
        "proposal": proposal,
        "proposed_by": maker,
        "signed_by": checker,
        "signed_at": timezone.now(),
        "is_approval": True,
    }
    with pytest.raises(DatabaseError, match="bound to the content"), transaction.atomic():
        Signature.objects.create(signed_hash="0" * 64, **facts)
    approvals.withdraw(proposal, by=maker)
    with pytest.raises(DatabaseError, match="takes no signature"), transaction.atomic():
        Signature.objects.create(signed_hash=proposal.content_hash, **facts)


def test_the_database_refuses_an_approval_without_signatures_a_changed_content_and_a_second_decision(maker, checker):
    proposal = make_proposal(maker)
    rows = Proposal.objects.filter(pk=proposal.pk)
    with pytest.raises(DatabaseError, match="needs 1 signatures and has 0"), transaction.atomic():
        rows.update(state="approved")
    for change in ({"content": {}}, {"title": "x"}, {"legal_entities": ["US01"]}, {"signatures_needed": 0}):
        with pytest.raises(DatabaseError, match="Cannot update"), transaction.atomic():
            rows.update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        Proposal.objects.create(
            kind="x", subject_type="x", subject_id="1", title="x", why="x", proposed_by=maker,
            proposed_at=timezone.now(), content={}, content_hash="0" * 64, signer_permission=PERMISSION,
            state="approved",
        )  # fmt: skip
    sign(proposal, checker, approve=False, why="wrong item")
    with pytest.raises(DatabaseError, match="stays so"), transaction.atomic():
        rows.update(state="proposed")
    assert rows.get().state == "rejected"


def test_a_signature_is_never_changed_or_deleted(maker, checker):
    proposal = make_proposal(maker)
    sign(proposal, checker)
    with pytest.raises(DatabaseError), transaction.atomic():
        Signature.objects.update(is_approval=False)
    with pytest.raises(DatabaseError), transaction.atomic():
        Signature.objects.all().delete()


def test_two_signatures_need_two_different_people(maker, checker):
    proposal = make_proposal(maker, signatures=2)
    assert sign(proposal, checker) == "proposed"
    assert code(lambda: sign(proposal, checker)) == "signed"
    assert sign(proposal, make_person("third", "mapping_admin")) == "approved"
    assert proposal.signatures.count() == 2


def test_a_role_without_the_permission_or_for_another_entity_cannot_sign(maker):
    proposal = make_proposal(maker, legal_entities=["GB01"])
    assert code(lambda: sign(proposal, make_person("billing", "billing_ops"))) == "not_permitted"
    assert code(lambda: sign(proposal, make_person("us", "controller", entity="US01"))) == "not_permitted"
    assert code(lambda: sign(proposal, make_person("stranger", is_superuser=True))) == "not_permitted"
    assert sign(proposal, make_person("gb", "controller", entity="GB01")) == "approved"


def test_whoever_signs_for_a_document_without_an_entity_signs_for_all():
    assert concerned(["GB01", "US01", "GB01"]) == ["GB01", "US01"]
    assert concerned(["GB01", ""]) == []
    assert concerned([]) == []


def test_what_concerns_every_entity_needs_somebody_of_every_entity(maker):
    proposal = make_proposal(maker)
    assert code(lambda: sign(proposal, make_person("gb", "controller", entity="GB01"))) == "not_permitted"


@pytest.mark.scenario(61)
def test_a_role_removed_in_mid_session_no_longer_signs(maker, checker):
    proposal = make_proposal(maker)
    assert may(checker, PERMISSION)
    Membership.objects.filter(person=checker).delete()
    assert code(lambda: sign(proposal, checker)) == "not_permitted"


def test_a_new_password_cannot_approve_for_a_day_and_alarms(maker, checker, alarms):
    proposal = make_proposal(maker)
    checker.set_password("Another-1!")
    checker.save()
    assert code(lambda: sign(proposal, checker, alarms)) == "after_reset"
    assert [(p.code, p.subject["person"]) for p in alarms] == [("approval_attempt_after_reset", "checker")]
    assert audit.AuditEntry.objects.order_by("-sequence").first().verb == "approval_refused_after_reset"
    facts = {
        "proposed_by": maker,
        "signed_by": checker,
        "signed_at": timezone.now(),
        "signed_hash": proposal.content_hash,
    }
    with pytest.raises(DatabaseError, match="may not approve yet"), transaction.atomic():
        Signature.objects.create(proposal=proposal, is_approval=True, **facts)
    assert Proposal.objects.get().state == "proposed"


def test_nobody_brings_the_end_of_a_new_passwords_day_forward(checker):
    Person.objects.filter(pk=checker.pk).update(password="set past every screen")
    Person.objects.filter(pk=checker.pk).update(approves_from=None)
    checker.refresh_from_db()
    left = checker.approves_from - timezone.now()
    assert dt.timedelta(hours=23) < left <= dt.timedelta(hours=24)


def test_signing_in_is_no_new_password_also_where_the_hash_is_weaker_than_todays(db, settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    older = PBKDF2PasswordHasher().encode("Right-1!", "salt", iterations=1000)
    person = make_person("back", password=older)
    assert (person.check_password("Right-1!"), person.check_password("Wrong-1!")) == (True, False)
    person.refresh_from_db()
    assert (person.approves_from, person.password) == (None, older)


@pytest.mark.scenario(61)
def test_who_looked_at_another_version_cannot_sign(maker, checker):
    proposal = make_proposal(maker)
    assert code(lambda: sign(proposal, checker, seen_hash="0" * 64)) == "changed"


def test_evidence_older_than_a_day_voids(maker, checker):
    proposal = make_proposal(maker, evidence_at=timezone.now() - dt.timedelta(hours=25))
    assert sign(proposal, checker) == "void"
    assert (proposal.state, proposal.signatures.count()) == ("void", 0)


def test_a_rejection_needs_a_reason_and_ends_it(maker, checker):
    proposal = make_proposal(maker, signatures=2)
    assert code(lambda: sign(proposal, checker, approve=False)) == "no_reason"
    assert sign(proposal, checker, approve=False, why="wrong account") == "rejected"
    assert code(lambda: sign(proposal, make_person("third", "controller"))) == "decided"


def test_only_its_proposer_withdraws_and_a_voided_one_stays_void(maker, checker):
    proposal = make_proposal(maker)
    assert code(lambda: approvals.withdraw(proposal, by=checker)) == "not_own"
    assert approvals.void(proposal, reason="a rule changed") == "void"
    assert code(lambda: approvals.withdraw(proposal, by=maker)) == "decided"
    assert Proposal.objects.get().void_reason == "a rule changed"


def wish(number: int, content=CONTENT) -> approvals.Wish:
    return approvals.Wish(
        kind="posting", subject=("transaction", number), content=content, title="Post it", why="policy",
        permission=PERMISSION,
    )  # fmt: skip


def test_what_is_proposed_afresh_stands_once_and_voids_what_said_something_else(maker, django_assert_max_num_queries):
    first = approvals.propose_afresh([wish(1), wish(2)], by=maker, stale="it moved")
    assert [p.subject_id for p in first] == ["1", "2"]
    with django_assert_max_num_queries(13):  # whatever the number of wishes
        moved = [wish(1), *(wish(n, {"rows": []}) for n in range(2, 60))]
        second = approvals.propose_afresh(moved, by=maker, stale="it moved")
    assert [p.subject_id for p in second] == [str(n) for n in range(2, 60)]
    assert Proposal.objects.filter(subject_id="1").get().state == "proposed"
    assert Proposal.objects.get(pk=first[1].pk).void_reason == "it moved"
    told = audit.AuditEntry.objects.filter(subject_id="2").order_by("sequence").values_list("actor", "verb")
    assert list(told) == [("maker", "propose"), ("maker", "void"), ("maker", "propose")]
    assert audit.verify() == audit.Verdict(61)


def test_a_proposal_without_a_reason_is_refused(maker):
    assert code(lambda: make_proposal(maker, why=" ")) == "no_reason"
    assert Proposal.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_two_signers_at_once_give_one_decision():
    maker = make_person("maker", "controller")
    signers = [make_person(f"s{n}", "controller") for n in range(4)]
    proposal = make_proposal(maker)
    gate = threading.Barrier(4)
    ends: list[str] = []

    def work(person):
        try:
            gate.wait(60)
            ends.append(sign(Proposal.objects.get(pk=proposal.pk), person))
        except ApprovalRefused as refused:
            ends.append(refused.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(person,)) for person in signers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(ends) == ["approved", "decided", "decided", "decided"]
    assert Signature.objects.count() == 1
