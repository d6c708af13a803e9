"""Giving and taking roles: by two people, never for oneself, from an instant until an instant."""

import datetime as dt

import pytest
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.db import IntegrityError, ProgrammingError
from django.db.transaction import atomic
from django.utils import timezone

from q2c.core import access, approvals, memberships
from q2c.core.approvals import ApprovalRefused
from q2c.core.memberships import MembershipRefused
from q2c.core.models import AuditEntry, CustomRole, LegalEntity, Membership, Person
from q2c.portal.decisions import decide
from tests.core.people import make_person

pytestmark = pytest.mark.django_db
ENTITY = {"name": "x", "country": "DE", "currency": "EUR", "time_zone": "Europe/Berlin"}
VIEWS = ["portal.view_home", "exceptions.view_case"]


@pytest.fixture
def ada(db):
    """Keeps people and roles."""
    LegalEntity.objects.create(code="DE01", **ENTITY)
    LegalEntity.objects.create(code="GB01", **ENTITY)
    return make_person("ada", "platform")


@pytest.fixture
def cora(ada):
    """Approves roles."""
    return make_person("cora", "controller")


@pytest.fixture
def eve(ada):
    """Holds nothing yet."""
    return make_person("eve")


def approve(proposal, by):
    return decide(proposal, by=by, approve=True, why="", seen_hash=proposal.content_hash)


def fresh(person):
    return Person.objects.get(pk=person.pk)


def grant(eve, ada, role="auditor", entities=("DE01",), **facts):
    facts.setdefault("ends_at", timezone.now() + dt.timedelta(days=30))
    return memberships.propose_grant(eve, role, by=ada, entities=entities, why="The yearly audit", **facts)


def test_a_role_holds_once_another_person_has_approved_it_and_says_who_gave_it(ada, cora, eve):
    proposal = grant(eve, ada)
    assert access.memberships(fresh(eve)) == []
    assert approve(proposal, cora) == "approved"
    held = Membership.objects.get(person=eve)
    assert (held.given_by, held.approved_by, held.proposal, held.why) == (ada, cora, proposal, "The yearly audit")
    assert [(role.code, entity) for role, entity in access.memberships(fresh(eve))] == [("auditor", "DE01")]
    entry = AuditEntry.objects.filter(verb="give_role").get()
    assert (entry.actor, entry.subject_id, entry.data["proposed_by"]) == ("cora", str(eve.pk), "ada")


def test_a_role_ends_by_itself_at_its_instant_and_begins_at_its_own(eve):
    now = timezone.now()
    at = {"starts_at": now + dt.timedelta(hours=1), "ends_at": now + dt.timedelta(hours=2)}
    held = Membership.objects.create(person=eve, role="auditor", **at)
    counts = []
    for moment in (now, at["starts_at"], at["ends_at"] - dt.timedelta(microseconds=1), at["ends_at"]):
        counts.append(Membership.objects.filter(access.in_force(at=moment), pk=held.pk).count())
    assert counts == [0, 1, 1, 0]


def test_a_role_that_ended_in_mid_session_opens_nothing_with_the_next_click(client, eve):
    held = Membership.objects.create(person=eve, role="auditor", ends_at=timezone.now() + dt.timedelta(hours=1))
    client.force_login(eve)
    assert client.get("/audit/").status_code == 200
    Membership.objects.filter(pk=held.pk).update(ended_at=timezone.now())
    assert client.get("/audit/").status_code == 403


def test_nobody_gives_themselves_a_role_superusers_included(ada, cora, eve):
    with pytest.raises(MembershipRefused, match="Nobody gives themselves"):
        grant(ada, ada, "controller")
    root = Person.objects.create_superuser("root", password="x")
    Membership.objects.create(person=root, role="controller")
    proposal = grant(root, ada, "platform", entities=())
    with pytest.raises(ApprovalRefused, match="about what you may do"):
        approve(proposal, fresh(root))
    with pytest.raises(ApprovalRefused, match="You proposed it"):
        approve(proposal, ada)
    assert approve(proposal, cora) == "approved"


def test_the_database_keeps_giver_approver_and_receiver_apart(ada, cora, eve):
    proposal = grant(eve, ada)
    facts = {"role": "platform", "proposal": proposal}
    for person, given_by, approved_by in ((eve, ada, ada), (eve, eve, cora), (cora, ada, cora)):
        with pytest.raises(IntegrityError, match="nobody_gives_themselves"), atomic():
            Membership.objects.create(person=person, given_by=given_by, approved_by=approved_by, **facts)
    with pytest.raises(IntegrityError, match="agreed_by_two"), atomic():
        Membership.objects.create(person=eve, given_by=ada, **facts)
    held = Membership.objects.create(person=eve, given_by=ada, approved_by=cora, **facts)
    with pytest.raises(ProgrammingError), atomic():
        Membership.objects.filter(pk=held.pk).update(role="controller")
    with pytest.raises(ProgrammingError), atomic():
        held.delete()


def test_an_auditor_never_gets_in_without_an_end(ada, eve):
    for end in (None, timezone.now() + dt.timedelta(days=400)):
        with pytest.raises(MembershipRefused, match="access ends"):
            grant(eve, ada, ends_at=end)


def test_who_gives_roles_for_one_entity_gives_none_for_another(ada, eve):
    local = make_person("lea", "platform", entity="DE01")
    for entities in (("GB01",), ()):
        with pytest.raises(MembershipRefused, match="for DE01 only"):
            grant(eve, local, entities=entities)
    proposal = grant(eve, local)
    assert proposal.legal_entities == ["DE01"]
    with pytest.raises(ApprovalRefused, match="doesn't approve this for DE01"):
        approve(proposal, make_person("gus", "controller", entity="GB01"))


def test_a_newer_grant_takes_the_place_of_the_one_that_stands(ada, cora, eve):
    approve(grant(eve, ada), cora)
    later = timezone.now() + dt.timedelta(days=90)
    approve(grant(eve, ada, ends_at=later), cora)
    first, second = Membership.objects.filter(person=eve).order_by("pk")
    assert (first.ended_why, second.ends_at, second.ended_at) == ("A newer grant took its place.", later, None)
    with pytest.raises(MembershipRefused, match="holds it already"):
        grant(eve, ada, starts_at=later, ends_at=later + dt.timedelta(days=1))


def test_a_role_is_taken_back_by_two_people_too(ada, cora, eve):
    held = Membership.objects.create(person=eve, role="auditor")
    proposal = memberships.propose_end(held, by=ada, why="The audit is over")
    with pytest.raises(MembershipRefused, match="waits for a second person"):
        memberships.propose_end(held, by=ada, why="The audit is over")
    assert access.may(fresh(eve), "core.view_audit")
    approve(proposal, cora)
    assert not access.may(fresh(eve), "core.view_audit")
    held.refresh_from_db()
    assert (held.ended_by, held.ended_why) == (proposal, "The audit is over")


def test_neither_who_proposes_nor_who_approves_an_end_is_the_one_that_it_is_for(ada, cora):
    own = Membership.objects.get(person=cora)
    with pytest.raises(MembershipRefused, match="your own role"):
        memberships.propose_end(Membership.objects.get(person=ada), by=ada, why="I leave the team")
    with pytest.raises(ApprovalRefused, match="about what you may do"):
        approve(memberships.propose_end(own, by=ada, why="She leaves"), cora)


def test_a_grant_for_an_entity_that_is_gone_never_becomes_one_for_all(ada, cora, eve):
    proposal = grant(eve, ada)
    LegalEntity.objects.filter(code="DE01").update(code="DE02")
    with pytest.raises(MembershipRefused, match="doesn’t exist any more"):
        approve(proposal, cora)
    assert not Membership.objects.filter(person=eve).exists()


def test_an_entity_keeps_its_code_and_stays(ada):
    of_entities, entity = admin.site._registry[LegalEntity], LegalEntity.objects.first()
    assert (of_entities.get_readonly_fields(None), of_entities.get_readonly_fields(None, entity)) == ((), ("code",))
    assert not of_entities.has_delete_permission(None, entity)


def compose(by, code="", **facts):
    shape = {"title": "Tax desk", "permissions": VIEWS, "why": "The tax desk looks on", **facts}
    return memberships.propose_role(code, by=by, **shape)


def test_a_composed_role_holds_as_agreed_and_changes_for_everybody_who_holds_it(ada, cora, eve):
    assert approve(compose(ada, kinds=["tax_code_missing"]), cora) == "approved"
    Membership.objects.create(person=eve, role="tax_desk")
    [(role, entity)] = access.memberships(fresh(eve))
    assert (role.kinds, entity, sorted(role.may)) == (("tax_code_missing",), None, sorted([*VIEWS, "portal.view_self"]))
    approve(compose(ada, "tax_desk", permissions=[*VIEWS, "core.view_audit"]), cora)
    assert access.may(fresh(eve), "core.view_audit")
    assert CustomRole.objects.get().version == 2
    approve(compose(ada, "tax_desk", is_active=False), cora)
    assert access.memberships(fresh(eve)) == []


def test_who_holds_a_role_neither_proposes_nor_approves_its_change(ada, cora, eve):
    approve(compose(ada), cora)
    Membership.objects.create(person=cora, role="tax_desk")
    Membership.objects.create(person=eve, role="platform")
    Membership.objects.create(person=eve, role="tax_desk")
    with pytest.raises(MembershipRefused, match="You hold this role"):
        compose(eve, "tax_desk", permissions=[*VIEWS, "core.view_audit"])
    proposal = compose(ada, "tax_desk", permissions=[*VIEWS, "core.view_audit"])
    with pytest.raises(ApprovalRefused, match="about what you may do"):
        approve(proposal, cora)


def test_a_grant_is_of_the_role_as_it_was_proposed(ada, cora, eve):
    approve(compose(ada), cora)
    proposal = grant(eve, ada, "tax_desk")
    approve(compose(ada, "tax_desk", permissions=[*VIEWS, "core.manage_access"]), cora)
    with pytest.raises(MembershipRefused, match="changed since"):
        approve(proposal, cora)


def test_who_is_to_get_a_role_neither_proposes_nor_approves_its_change(ada, cora, eve):
    approve(compose(ada), cora)
    Membership.objects.create(person=eve, role="platform")
    grant(eve, ada, "tax_desk")
    wider = {"permissions": [*VIEWS, "core.view_audit"]}
    with pytest.raises(MembershipRefused, match="are to get it"):
        compose(eve, "tax_desk", **wider)
    grant(cora, ada, "tax_desk")
    proposal = compose(ada, "tax_desk", **wider)
    with pytest.raises(ApprovalRefused, match="about what you may do"):
        approve(proposal, cora)
    zoe = make_person("zoe", "controller")
    grant(zoe, ada, "tax_desk")  # after the change was proposed
    with pytest.raises(MembershipRefused, match="or is to get it"):
        approve(proposal, zoe)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"permissions": []}, "at least one right"),
        ({"permissions": ["core.everything"]}, "no right called"),
        ({"permissions": ["exceptions.work_case"]}, "works a queue"),
        ({"permissions": ["core.view_audit"], "kinds": ["tax_code_missing"]}, "sees none"),
        ({"title": "Auditor", "queues": ["nowhere"]}, "doesn’t exist"),
        ({"title": "Platform"}, "exists"),
    ],
)
def test_a_role_that_makes_no_sense_is_refused_with_what_to_do(ada, facts, said):
    with pytest.raises(MembershipRefused, match=said):
        compose(ada, **facts)


def test_a_change_that_was_overtaken_signs_nothing(ada, cora):
    approve(compose(ada), cora)
    proposal = compose(ada, "tax_desk", says="Looks on")
    CustomRole.objects.update(version=7)
    with pytest.raises(MembershipRefused, match="changed since"):
        approve(proposal, cora)
    proposal.refresh_from_db()
    assert (proposal.state, proposal.signatures.count()) == ("proposed", 0)


def test_the_first_administrators_are_two_and_only_where_nobody_gives_roles(eve):
    Membership.objects.all().delete()
    make_person("sam")
    with pytest.raises(CommandError, match="name two"):
        call_command("first_admins", "eve")
    call_command("first_admins", "eve", "sam")
    assert sorted(Membership.objects.values_list("person__username", "role")) == [
        ("eve", "platform"),
        ("sam", "platform"),
    ]
    assert approvals.why_not(grant(make_person("zoe"), fresh(eve)), Person.objects.get(username="sam")) is None
    with pytest.raises(CommandError, match="already"):
        call_command("first_admins", "eve", "sam")
