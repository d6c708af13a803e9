"""An emergency: one signature for all, its end within hours, and a review that somebody else has to do."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import transaction
from django.db.utils import DatabaseError, IntegrityError
from django.utils import timezone

from q2c.core import approvals, audit, emergencies
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import EmergencyUse, Proposal
from tests.core.people import make_person
from tests.core.test_approvals import code, make_proposal, sign

WHY = "The bank run leaves at noon and nobody of controllership is there"


@pytest.fixture
def maker(db):
    return make_person("maker", "controller")


@pytest.fixture
def fire(db):
    return make_person("fire", "emergency")


def use_it(maker, fire, *, hours=4, **facts) -> EmergencyUse:
    proposal = make_proposal(maker, signatures=2, **facts)
    assert sign(proposal, fire, why=WHY, emergency_hours=hours) == "approved"
    return proposal.emergency


def review(use, by, verdict="ends", says="Looked at both postings", **facts):
    return emergencies.review(use, by=by, verdict=verdict, says=says, found={"count": 0}, end=emergencies.note_end,
                              **facts)  # fmt: skip


def test_one_signature_of_the_emergency_role_stands_for_all_and_says_until_when(maker, fire):
    use = use_it(maker, fire)
    assert (use.used_by, use.proposed_by, use.why, use.reviewed_at) == (fire, maker, WHY, None)
    assert use.ends_at - use.used_at == dt.timedelta(hours=4)
    entry = audit.AuditEntry.objects.order_by("-sequence").first()
    assert (entry.actor, entry.verb, entry.why, entry.data["hours"]) == ("fire", "approve_emergency", WHY, 4)


def test_the_role_alone_opens_it_and_opens_nothing_else(maker, fire):
    proposal = make_proposal(maker)
    assert code(lambda: sign(proposal, fire)) == "not_permitted"
    checker = make_person("checker", "controller", is_superuser=True)
    assert code(lambda: sign(proposal, checker, why=WHY, emergency_hours=4)) == "not_permitted"
    other = make_person("gb", "emergency", entity="GB01")
    assert code(lambda: sign(proposal, other, why=WHY, emergency_hours=4)) == "not_permitted"
    assert Proposal.objects.get().state == "proposed"


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"why": "  ", "emergency_hours": 4}, "no_reason"),
        ({"why": WHY, "emergency_hours": 13}, "hours"),
        ({"why": WHY, "emergency_hours": 0}, "hours"),
        ({"why": WHY, "emergency_hours": 4, "approve": False}, "no_emergency"),
    ],
)
def test_it_needs_a_reason_and_ends_within_hours(maker, fire, facts, said):
    proposal = make_proposal(maker)
    assert code(lambda: sign(proposal, fire, **facts)) == said
    assert EmergencyUse.objects.count() == 0


def test_nobody_uses_it_for_what_they_proposed_and_the_database_says_so_too(fire):
    fire.is_superuser = True
    fire.save()
    proposal = make_proposal(fire)
    assert code(lambda: sign(proposal, fire, why=WHY, emergency_hours=4)) == "own"
    now = timezone.now()
    facts = {"proposal": proposal, "used_by": fire, "why": WHY, "used_at": now, "ends_at": now + dt.timedelta(hours=1)}
    with pytest.raises(IntegrityError) as own, transaction.atomic():
        EmergencyUse.objects.create(proposed_by=fire, **facts)
    assert own.value.__cause__.diag.constraint_name == "emergency_user_is_not_proposer"
    with pytest.raises(IntegrityError) as lied, transaction.atomic():
        EmergencyUse.objects.create(proposed_by=make_person("other"), **facts)
    assert lied.value.__cause__.diag.constraint_name == "emergency_names_the_proposer"


@pytest.mark.parametrize(
    ("facts", "constraint"),
    [
        ({"why": " \n"}, "emergency_has_a_reason"),
        ({"hours": 13}, "emergency_ends_within_hours"),
        ({"hours": 0}, "emergency_ends_within_hours"),
    ],
)
def test_the_database_wants_a_reason_and_an_end_within_hours(maker, fire, facts, constraint):
    now = timezone.now()
    row = {"proposal": make_proposal(maker), "proposed_by": maker, "used_by": fire, "used_at": now,
           "why": facts.get("why", WHY), "ends_at": now + dt.timedelta(hours=facts.get("hours", 4))}  # fmt: skip
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        EmergencyUse.objects.create(**row)
    assert refused.value.__cause__.diag.constraint_name == constraint


def test_the_database_approves_by_it_only_what_its_user_signed(maker, fire):
    proposal = make_proposal(maker, signatures=2)
    now = timezone.now()
    EmergencyUse.objects.create(
        proposal=proposal, proposed_by=maker, used_by=fire, why=WHY, used_at=now, ends_at=now + dt.timedelta(hours=1)
    )
    with pytest.raises(DatabaseError, match="needs 2 signatures and has 0"), transaction.atomic():
        Proposal.objects.filter(pk=proposal.pk).update(state="approved")
    sign(proposal, make_person("checker", "controller"))
    with pytest.raises(DatabaseError, match="needs 2 signatures and has 1"), transaction.atomic():
        Proposal.objects.filter(pk=proposal.pk).update(state="approved")


def test_what_was_used_is_never_changed_nor_noted_afterwards(maker, fire):
    use = use_it(maker, fire)
    for change in ({"why": "x"}, {"ends_at": use.ends_at + dt.timedelta(hours=1)}, {"used_by": maker}):
        with pytest.raises(DatabaseError), transaction.atomic():
            EmergencyUse.objects.update(**change)
    with pytest.raises(DatabaseError), transaction.atomic():
        EmergencyUse.objects.all().delete()
    decided = make_proposal(maker)
    approvals.withdraw(decided, by=maker)
    now = timezone.now()
    with pytest.raises(DatabaseError, match="only what is proposed"), transaction.atomic():
        EmergencyUse.objects.create(proposal=decided, proposed_by=maker, used_by=fire, why=WHY, used_at=now,
                                    ends_at=now + dt.timedelta(hours=1))  # fmt: skip


def test_its_review_is_open_until_somebody_else_has_done_it(maker, fire):
    use = use_it(maker, fire, legal_entities=["GB01"])
    assert list(emergencies.unreviewed("GB01")) == list(emergencies.unreviewed()) == [use]
    assert list(emergencies.unreviewed("US01")) == []
    assert list(emergencies.unreviewed("GB01", until=use.used_at)) == []
    for person, why in (
        (maker, "what you proposed, so somebody else"),
        (fire, "You used it, so somebody else"),
        (make_person("eve", "mapping_admin"), "Your role reviews no emergency for GB01; Controllership does"),
    ):
        with pytest.raises(ApprovalRefused, match=why):
            review(use, person)
    cora = make_person("cora", "controller", entity="GB01")
    assert emergencies.reviewable_by(cora, emergencies.uses_visible_to(cora)) == [use]
    assert review(use, cora).verdict == "ends"
    assert list(emergencies.unreviewed("GB01")) == []
    with pytest.raises(ApprovalRefused, match="Cora has reviewed it"):
        review(use, make_person("carl", "controller"))


def test_the_database_refuses_a_review_by_its_user_or_proposer_a_half_one_and_a_second(maker, fire):
    use = use_it(maker, fire)
    rows = EmergencyUse.objects.filter(pk=use.pk)
    done = {"reviewed_at": timezone.now(), "verdict": "ends", "review": "fine"}
    for person in (maker, fire):
        with pytest.raises(IntegrityError) as refused, transaction.atomic():
            rows.update(reviewed_by=person, **done)
        assert refused.value.__cause__.diag.constraint_name == "emergency_reviewer_is_somebody_else"
    cora = make_person("cora", "controller")
    with pytest.raises(IntegrityError) as half, transaction.atomic():
        rows.update(reviewed_by=cora, **(done | {"review": ""}))
    assert half.value.__cause__.diag.constraint_name == "emergency_review_is_whole"
    review(use, cora)
    with pytest.raises(DatabaseError, match="reviewed once"), transaction.atomic():
        rows.update(verdict="objected")


def test_a_review_says_what_was_found_and_what_becomes_of_it(maker, fire):
    use = use_it(maker, fire)
    cora = make_person("cora", "controller")
    with pytest.raises(ApprovalRefused, match="Say what you looked at"):
        review(use, cora, says=" ")
    with pytest.raises(ApprovalRefused, match="it stays, it ends, or you object"):
        review(use, cora, verdict="fine")
    review(use, cora, verdict="objected")
    use.refresh_from_db()
    assert use.ended_at is not None


def test_letting_it_stay_is_an_ordinary_signature_within_its_hours(maker, fire, time_machine):
    use = use_it(maker, fire, permission="connectors.approve_connection", also="mappings.approve_policy")
    other = use_it(maker, fire)
    dev = make_person("dev", "platform")
    assert "your role doesn't give that" in emergencies.why_it_cannot_stay(use, dev)
    cora = make_person("cora", "controller")
    assert review(use, cora, verdict="stays").verdict == "stays"
    time_machine.move_to(timezone.now() + dt.timedelta(hours=5))
    assert list(emergencies.due_to_end("change_set")) == [other]
    with pytest.raises(ApprovalRefused, match="Its hours are over"):
        review(other, cora, verdict="stays")
    emergencies.note_end(other)
    assert review(other, cora, verdict="ends").ended_at is not None


def test_one_of_two_signatures_has_to_be_of_controllership(db):
    proposal = make_proposal(make_person("ben", "billing_ops"), signatures=2, also="mappings.approve_policy")
    assert sign(proposal, make_person("mira", "mapping_admin")) == "proposed"
    with pytest.raises(ApprovalRefused, match="One of its signatures has to be of Controllership"):
        sign(proposal, make_person("max", "mapping_admin"))
    assert sign(proposal, make_person("cora", "controller")) == "approved"
