"""Giving and taking roles, and composing them: each by agreement of two people, none of whom is the one it's for.

A grant holds for some entities or for all, from an instant until an instant, and ends by itself. Nobody proposes or
approves a right for themselves, be it a role or a change of one that they hold; the database says so too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

from django.db.models import Q, QuerySet
from django.db.transaction import atomic
from django.utils import timezone
from django.utils.text import slugify

from q2c.core import access, audit
from q2c.core.approvals import CONCERNS, propose
from q2c.core.models import CustomRole, LegalEntity, Membership, Person, Proposal
from q2c.core.roles import BY_CODE, OF_CASES, PERMISSION_WORDS, QUEUES, Role

MANAGE, APPROVE = "core.manage_access", "core.approve_access"
GRANT, END, ROLE = "role_grant", "role_end", "role_change"
KINDS = (GRANT, END, ROLE)
EXPIRING = frozenset({"auditor"})  # held by people from outside: never without an end
LONGEST = dt.timedelta(days=366)
ALL_ENTITIES = "every entity"
FIRST_ROLE = "platform"


class MembershipRefused(ValueError):
    """Why a role can't be given, taken or changed so, in words for the screen."""


def all_roles() -> list[Role]:
    """The product's roles, then those that people composed, by title; one statement."""
    return [*BY_CODE.values(), *(row.as_role() for row in CustomRole.objects.filter(is_active=True))]


def standing(person: Person | None = None, *, role: str = "") -> QuerySet[Membership]:
    """What hasn't ended: in force, or yet to begin; of a person, or in a role."""
    rows = Membership.objects.filter(
        Q(ends_at__isnull=True) | Q(ends_at__gt=timezone.now()), ended_at__isnull=True
    ).select_related("person", "legal_entity", "given_by", "approved_by", "proposal")
    if person is not None:
        rows = rows.filter(person=person)
    if role:
        rows = rows.filter(role=role)
    return rows.order_by("person__display_name", "person__username", "role", "legal_entity__code", "pk")


def visible_to(user: Any, rows: QuerySet[Membership]) -> QuerySet[Membership]:
    """Memberships of the entities for which a person may see who may do what; those of all entities with them."""
    codes = access.entities_of(user, "core.view_access")
    if codes is None:
        return rows
    return rows.filter(Q(legal_entity__isnull=True) | Q(legal_entity__code__in=sorted(codes)))


def propose_grant(
    person: Person, role: str, *, by: Person, entities: Collection[str], why: str,
    starts_at: dt.datetime | None = None, ends_at: dt.datetime | None = None,
) -> Proposal:  # fmt: skip
    """Propose to give a person a role for these entities (none: for all), from an instant (approval) until an instant.

    Raises MembershipRefused, or ApprovalRefused without a reason.
    """
    known = access.find_roles([role]).get(role)
    if known is None:
        raise MembershipRefused("There’s no such role any more.")
    if person.pk == by.pk:
        raise MembershipRefused("Nobody gives themselves a role: ask somebody else to propose it.")
    if not person.is_active:
        raise MembershipRefused(f"{person} can’t sign in.")
    codes = sorted(set(entities))
    _check_reach(by, codes)
    _check_times(role, starts_at, ends_at)
    held = standing(person, role=role)
    own = held.filter(legal_entity__code__in=codes) if codes else held.filter(legal_entity__isnull=True)
    if starts_at is not None and starts_at > timezone.now() and own.exists():
        raise MembershipRefused(f"{person} holds it already: let the new one begin at once, and it takes its place.")
    where = ", ".join(codes) or ALL_ENTITIES
    until = f" until {_day(ends_at)}" if ends_at else ""
    content = {
        "happens": [
            f"{person} gets the role {known.title} for {where}"
            f"{f' from {_day(starts_at)}' if starts_at else ' as soon as it’s approved'}{until or ', without an end'}.",
            *_says_role(known),
            *([f"It takes the place of what {person} holds there now."] if own.exists() else []),
        ],
        "person": person.pk, "role": role, "version": _version(role), "entities": codes,
        "starts_at": starts_at and starts_at.isoformat(), "ends_at": ends_at and ends_at.isoformat(),
        CONCERNS: [person.pk],
    }  # fmt: skip
    return _propose(
        GRANT, ("person", person.pk), content, by=by, entities=codes, why=why,
        title=f"Give {person} the role {known.title} for {where}{until}",
    )  # fmt: skip


def propose_end(held: Membership, *, by: Person, why: str) -> Proposal:
    """Propose to take a role back. Raises MembershipRefused, or ApprovalRefused without a reason."""
    codes = [held.legal_entity.code] if held.legal_entity else []
    _check_reach(by, codes)
    if held.person_id == by.pk:
        raise MembershipRefused("It’s your own role: ask somebody else to propose its end.")
    if held.ended_at is not None:
        raise MembershipRefused("It has ended already.")
    title = title_of(held.role)
    where = ", ".join(codes) or ALL_ENTITIES
    content = {
        "happens": [f"{held.person} loses the role {title} for {where}, at once."],
        "membership": held.pk,
        CONCERNS: [held.person_id],
    }
    return _propose(
        END, ("person", held.person_id), content, by=by, entities=codes, why=why,
        title=f"Take the role {title} for {where} from {held.person}",
    )  # fmt: skip


def propose_role(
    code: str, *, by: Person, title: str, permissions: Collection[str], queues: Collection[str] = (),
    kinds: Collection[str] = (), says: str = "", is_active: bool = True, why: str,
) -> Proposal:  # fmt: skip
    """Propose a new role (no code), or another shape of one that people composed. It holds for whoever has it at once.

    Raises MembershipRefused, or ApprovalRefused without a reason.
    """
    _check_reach(by, [])
    wanted = {*permissions, "portal.view_self"}
    if unknown := wanted - PERMISSION_WORDS.keys():
        raise MembershipRefused(f"There’s no right called {sorted(unknown)[0]}.")
    if wanted == {"portal.view_self"}:
        raise MembershipRefused("A role needs at least one right.")
    if set(queues) - set(QUEUES):
        raise MembershipRefused("One of the queues doesn’t exist.")
    if "exceptions.work_case" in wanted and not queues:
        raise MembershipRefused("Whoever works on cases works a queue: choose at least one.")
    if (queues or kinds) and not wanted & OF_CASES:
        raise MembershipRefused("Queues and kinds narrow cases, and this role sees none: leave them out.")
    before = CustomRole.objects.filter(code=code).first() if code else None
    if code and before is None:
        raise MembershipRefused("That role comes with the product. Compose another one like it.")
    if before is None:
        code = slugify(title).replace("-", "_")[:30].strip("_")
        if not code or code in BY_CODE or CustomRole.objects.filter(code=code).exists():
            raise MembershipRefused("A role of that name exists. Give it another one.")
    holders = sorted(standing(role=code).values_list("person", flat=True).distinct())
    concerned = sorted({*holders, *_awaiting(code)})
    if by.pk in concerned:
        raise MembershipRefused("You hold this role, or are to get it: ask somebody else to propose its change.")
    shape = Role(code, title, tuple(sorted(queues)), frozenset(wanted), tuple(sorted(kinds)))
    content = {
        "happens": _happens(before.as_role() if before else None, shape, len(holders), is_active=is_active),
        "code": code, "title": title, "says": says, "permissions": sorted(wanted), "queues": sorted(queues),
        "kinds": sorted(kinds), "is_active": is_active, "version": before.version if before else 0,
        CONCERNS: concerned,
    }  # fmt: skip
    return _propose(
        ROLE, ("role", code), content, by=by, entities=[], why=why,
        title=f"Change the role {before.title}" if before else f"A new role: {title}",
    )  # fmt: skip


def apply_agreed(proposal: Proposal, *, by: Person) -> None:
    """Put an approved proposal of these kinds into force, in the transaction of its signature. Raises MembershipRefused
    when it can't hold any more: then nothing is signed."""
    if proposal.kind == GRANT:
        _apply_grant(proposal, by)
    elif proposal.kind == END:
        _apply_end(proposal, by)
    else:
        _apply_role(proposal, by)


def give_first(people: Collection[Person]) -> None:
    """Give the first administrators of an empty installation their role: there's nobody yet who could agree, and it
    takes two to agree on anything further. Raises MembershipRefused for one alone, and once somebody may give roles."""
    if len({person.pk for person in people}) < 2:
        raise MembershipRefused("It takes two people to agree on a role: name two.")
    with atomic():
        Person.objects.select_for_update().filter(pk__in=[p.pk for p in people]).order_by("pk").count()
        if access.people_who_may(MANAGE).exists():
            raise MembershipRefused("Somebody may give roles already: they do it on the screen “People and roles”.")
        for person in people:
            Membership.objects.create(person=person, role=FIRST_ROLE, why="The first administrators")
            audit.record(audit.PORTAL, "give_first_role", "person", person.pk, data={"role": FIRST_ROLE})


def title_of(role: str) -> str:
    """The title of a role, also of one that was given up."""
    if role in BY_CODE:
        return BY_CODE[role].title
    return CustomRole.objects.filter(code=role).values_list("title", flat=True).first() or role


def _propose(
    kind: str, subject: tuple[str, object], content: Mapping[str, Any], *, by: Person, entities: list[str], why: str,
    title: str,
) -> Proposal:  # fmt: skip
    waiting = Proposal.objects.filter(
        kind=kind, subject_type=subject[0], subject_id=str(subject[1]), state=Proposal.State.PROPOSED
    )
    if any(_is_same(kind, proposal.content, content) for proposal in waiting):
        raise MembershipRefused("This waits for a second person already.")
    return propose(
        kind, subject, content=content, by=by, title=title, why=why, permission=APPROVE, legal_entities=entities
    )


def _is_same(kind: str, standing: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    names = {GRANT: ("role", "entities"), END: ("membership",), ROLE: ("code",)}[kind]
    return all(standing.get(name) == content.get(name) for name in names)


def _check_reach(by: Person, codes: Collection[str]) -> None:
    mine = access.entities_where(by, MANAGE)
    if mine is not None and (not codes or set(codes) - mine):
        raise MembershipRefused(f"Your role gives roles for {', '.join(sorted(mine)) or 'no entity'} only.")
    if len(codes) != LegalEntity.objects.filter(code__in=codes).count():
        raise MembershipRefused("One of the entities doesn’t exist.")


def _check_times(role: str, starts_at: dt.datetime | None, ends_at: dt.datetime | None) -> None:
    now = timezone.now()
    if ends_at is not None and ends_at <= max(starts_at or now, now):
        raise MembershipRefused("It ends after it begins, and in the future.")
    if role in EXPIRING and (ends_at is None or ends_at - (starts_at or now) > LONGEST):
        raise MembershipRefused("An auditor’s access ends: say until which day, a year after it begins at the latest.")


def _apply_grant(proposal: Proposal, by: Person) -> None:
    content, now = proposal.content, timezone.now()
    person = Person.objects.select_for_update().get(pk=content["person"])
    if person.pk == by.pk:
        raise MembershipRefused("It gives you a right, so somebody else has to approve it.")
    starts_at, ends_at = (
        dt.datetime.fromisoformat(content[name]) if content[name] else None for name in ("starts_at", "ends_at")
    )
    if ends_at is not None and ends_at <= now:
        raise MembershipRefused("Its end has passed meanwhile.")
    CustomRole.objects.select_for_update().filter(code=content["role"]).first()  # its shape stays until this holds
    if not access.find_roles([content["role"]]):
        raise MembershipRefused("There’s no such role any more.")
    if content.get("version", 0) != _version(content["role"]):
        raise MembershipRefused("The role has changed since this was proposed: reject it, and propose it anew.")
    begins = max(starts_at or now, now)
    named = list(LegalEntity.objects.filter(code__in=content["entities"]))
    if len(named) != len(content["entities"]):
        raise MembershipRefused("One of the entities doesn’t exist any more.")
    entities: list[Any] = named or [None]  # none named: for all
    for entity in entities:
        former = Membership.objects.filter(person=person, role=content["role"], legal_entity=entity, ended_at=None)
        former.filter(ends_at__lte=now).update(ended_at=now, ended_why="It ended by itself.")
        if begins > now and former.exists():
            raise MembershipRefused(f"{person} holds it already.")
        former.update(ended_at=now, ended_why="A newer grant took its place.", ended_by=proposal)
        Membership.objects.create(
            person=person, role=content["role"], legal_entity=entity, starts_at=begins, ends_at=ends_at,
            why=proposal.why, proposal=proposal, given_by=proposal.proposed_by, approved_by=by,
        )  # fmt: skip
    _tell(proposal, "give_role", by, {name: content[name] for name in ("role", "entities", "starts_at", "ends_at")})


def _apply_end(proposal: Proposal, by: Person) -> None:
    held = Membership.objects.filter(pk=proposal.content["membership"], ended_at__isnull=True)
    if held.filter(person__in=[by.pk, proposal.proposed_by_id]).exists():
        raise MembershipRefused("Who holds a role neither proposes nor approves its end.")
    if not held.update(ended_at=timezone.now(), ended_why=proposal.why, ended_by=proposal):
        raise MembershipRefused("It has ended meanwhile.")
    _tell(proposal, "take_role", proposal.proposed_by, {"membership": proposal.content["membership"]})


def _apply_role(proposal: Proposal, by: Person) -> None:
    content = proposal.content
    row = CustomRole.objects.select_for_update().filter(code=content["code"]).first()
    if (row.version if row else 0) != content["version"]:
        raise MembershipRefused("The role has changed since this was proposed.")
    signers = {by.pk, proposal.proposed_by_id}
    if signers & _awaiting(content["code"]) or standing(role=content["code"]).filter(person__in=signers).exists():
        raise MembershipRefused("Who holds a role, or is to get it, neither proposes nor approves its change.")
    row = row or CustomRole(code=content["code"])
    for name in ("title", "says", "permissions", "queues", "kinds", "is_active"):
        setattr(row, name, content[name])
    row.version, row.proposal, row.changed_at = content["version"] + 1, proposal, timezone.now()
    row.save()
    _tell(proposal, "change_role", by, {"version": row.version, "permissions": content["permissions"]})


def _version(role: str) -> int:
    """Which shape of a composed role holds; 0 for those of the product."""
    return CustomRole.objects.filter(code=role).values_list("version", flat=True).first() or 0


def _awaiting(role: str) -> set[int]:
    """For whom a grant of a role waits to be approved."""
    waiting = Proposal.objects.filter(kind=GRANT, state=Proposal.State.PROPOSED, content__role=role)
    return {int(pk) for pk in waiting.values_list("subject_id", flat=True)}


def _tell(proposal: Proposal, verb: str, by: Person, data: Mapping[str, Any]) -> None:
    told = {**data, "proposal": proposal.pk, "proposed_by": proposal.proposed_by.username}
    audit.record(by, verb, proposal.subject_type, proposal.subject_id, why=proposal.why, data=told)


def _happens(before: Role | None, after: Role, holders: int, *, is_active: bool) -> list[str]:
    if not is_active:
        return [f"The role {after.title} is given up. {holders} who hold it lose what it allows, at once."]
    if before is None:
        return _says_role(after)
    lines = []
    for words, names in (("It now allows", after.may - before.may), ("It allows no longer", before.may - after.may)):
        if names:
            lines.append(f"{words}: {', '.join(sorted(PERMISSION_WORDS[name] for name in names))}.")
    if (before.queues, before.kinds) != (after.queues, after.kinds):
        lines += _says_class(after)
    return [*(lines or ["Only its words change."]), f"It holds for {holders} who have it, at once."]


def _says_role(role: Role) -> list[str]:
    rights = sorted(PERMISSION_WORDS[name] for name in role.may)
    return [f"{role.title} allows: {', '.join(rights)}.", *_says_class(role)]


def _says_class(role: Role) -> list[str]:
    if not role.may & OF_CASES:
        return []
    queues = ", ".join(queue.replace("_", " ") for queue in role.queues) or "every queue"
    kinds = ", ".join(kind.replace("_", " ") for kind in role.kinds) or "every kind"
    return [f"Cases of {queues}; of {kinds}."]


def _day(at: dt.datetime) -> str:
    return f"{timezone.localtime(at):%-d %b %Y, %H:%M}"
