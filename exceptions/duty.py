"""Who works a queue for an entity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from q2c.core.models import Membership, Person
from q2c.core.roles import BY_CODE, ROLES

WORK = "exceptions.work_case"


def workers_of(queue: str, legal_entity: str = "") -> QuerySet[Person]:
    """People who work a queue, for this entity or for all of them."""
    roles = [role.code for role in ROLES if queue in role.queues and WORK in role.may]
    scope = Q(memberships__legal_entity__isnull=True)
    if legal_entity:
        scope |= Q(memberships__legal_entity__code=legal_entity)
    people = Person.objects.filter(scope, memberships__role__in=roles, is_active=True)
    return people.distinct().order_by("display_name", "username")


class Duty:
    """What these people work, read by one statement and asked for many cases."""

    def __init__(self, usernames: Iterable[str] = (), *, ids: Iterable[int] = ()) -> None:
        rows = Membership.objects.filter(
            Q(person__username__in=set(usernames)) | Q(person__in=set(ids)), person__is_active=True
        )
        self._scopes: dict[int, list[tuple[str, str | None]]] = defaultdict(list)
        self._ids: dict[str, int] = {}
        for person, name, role, entity in rows.values_list("person", "person__username", "role", "legal_entity__code"):
            self._ids[name] = person
            self._scopes[person].append((role, entity))

    def works(self, person: int, queue: str, legal_entity: str) -> bool:
        """Whether a person works the queue for the entity ("" of none or several: only people of all entities)."""
        return any(
            role in BY_CODE and queue in BY_CODE[role].queues and WORK in BY_CODE[role].may
            and entity in (None, legal_entity or None)
            for role, entity in self._scopes.get(person, ())
        )  # fmt: skip

    def who(self, username: str, queue: str, legal_entity: str) -> tuple[int | None, str]:
        """The id of whoever takes what is meant for that person: nobody where they don't work the queue."""
        person = self._ids.get(username)
        return (person, "") if person is not None and self.works(person, queue, legal_entity) else (None, "")
