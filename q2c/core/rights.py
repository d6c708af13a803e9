"""What somebody may do and why: each right with the roles that give it, and why one is missing, in plain words."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from q2c.core import access
from q2c.core.models import Membership, Person
from q2c.core.roles import OBJECTS, OF_CASES, PERMISSION_WORDS, Role


@dataclass(frozen=True)
class Source:
    """A role that somebody holds now, and the grant of it."""

    role: Role
    held: Membership

    @property
    def entity(self) -> str:
        """The entity's code, or "" for all."""
        return self.held.legal_entity.code if self.held.legal_entity else ""

    @property
    def until(self) -> dt.datetime | None:
        """When it ends by itself."""
        return self.held.ends_at


@dataclass
class Right:
    """One permission, with every role that gives it."""

    permission: str
    words: str
    sources: list[Source] = field(default_factory=list)

    @property
    def is_about_cases(self) -> bool:
        """Whether queues and kinds narrow it."""
        return self.permission in OF_CASES


@dataclass(frozen=True)
class Answer:
    """Whether somebody may do one thing, why, and who could do it instead."""

    words: str
    may: bool
    why: list[str]
    others: list[Person]


def sources_of(person: Person) -> list[Source]:
    """The roles that a person holds now, with their grants."""
    rows = Membership.objects.filter(access.in_force(), person=person)
    held = list(rows.select_related("legal_entity", "given_by", "approved_by").order_by("role", "legal_entity__code"))
    roles = access.find_roles(row.role for row in held)
    return [Source(roles[row.role], row) for row in held if row.role in roles]


def rights_of(sources: Iterable[Source]) -> list[tuple[str, list[Right]]]:
    """What these roles allow, by object: each permission with the roles that give it."""
    found: dict[str, Right] = {}
    for source in sources:
        for permission in source.role.may:
            right = found.setdefault(permission, Right(permission, PERMISSION_WORDS.get(permission, permission)))
            right.sources.append(source)
    by_object = []
    for prefix, title in OBJECTS.items():
        rights = [right for name, right in found.items() if name.partition(".")[0] == prefix]
        if rights:
            by_object.append((title, sorted(rights, key=lambda right: right.words)))
    return by_object


def answer(
    person: Person, permission: str, *, case: Any = None, sources: Iterable[Source] | None = None,
    are_some_hidden: bool = False,
) -> Answer:  # fmt: skip
    """Whether this person may do it (on that case), why or why not, and who may instead: by these of their roles (all
    that they hold), as far as whoever asks may see them."""
    words = PERMISSION_WORDS.get(permission, permission)
    entity, kind = (case.legal_entity_code, case.kind) if case is not None else ("", "")
    giving = [
        source for source in (sources_of(person) if sources is None else sources) if permission in source.role.may
    ]
    why, may = [], False
    for source in giving:
        missing = _missing(source, permission, entity, kind) if case is not None else ""
        where = source.entity or "every entity"
        if missing:
            why.append(f"The role {source.role.title} allows it, but {missing}.")
        else:
            may = True
            until = f" until {source.until:%-d %b %Y, %H:%M} UTC" if source.until else ""
            why.append(f"The role {source.role.title} allows it for {where}{until}.")
    if not giving and not are_some_hidden:
        why.append("None of the roles held now allows it.")
    elif are_some_hidden and not may:
        why.append("There are roles for entities that you don’t see; one of them may allow it there.")
    others = [] if may else [p for p in access.who_may(permission, entity, kind=kind) if p.pk != person.pk]
    return Answer(words, may, why, others)


def _missing(source: Source, permission: str, entity: str, kind: str) -> str:
    if source.entity and entity and source.entity != entity:
        return f"for {source.entity}, and this is of {entity}"
    if not source.role.holds(permission, kind):
        return f"not for cases of the kind “{kind.replace('_', ' ')}”"
    return ""
