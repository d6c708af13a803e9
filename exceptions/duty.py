"""Who works a queue for an entity, and who gets what is meant for somebody who is away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from q2c.core import absences
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
    """What these people and whoever stands in for somebody work, read by two statements and asked for many cases."""

    def __init__(self, usernames: Iterable[str] = (), *, ids: Iterable[int] = ()) -> None:
        self._away = absences.stand_ins()
        known = {*ids, *(instead.person for instead in self._away.values())}
        rows = Membership.objects.filter(
            Q(person__username__in=set(usernames)) | Q(person__in=known), person__is_active=True
        )
        self._scopes: dict[int, list[tuple[str, str | None]]] = defaultdict(list)
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        fields = ("person", "person__username", "person__display_name", "role", "legal_entity__code")
        for person, name, shown, role, entity in rows.values_list(*fields):
            self._ids[name] = person
            self._names[person] = shown or name
            self._scopes[person].append((role, entity))

    def works(self, person: int, queue: str, legal_entity: str) -> bool:
        """Whether a person works the queue for the entity ("" of none or several: only people of all entities)."""
        return any(
            role in BY_CODE and queue in BY_CODE[role].queues and WORK in BY_CODE[role].may
            and entity in (None, legal_entity or None)
            for role, entity in self._scopes.get(person, ())
        )  # fmt: skip

    def who(self, username: str, queue: str, legal_entity: str) -> tuple[int | None, str]:
        """The id and name of whoever takes what is meant for that person, which is who stands in while they are away:
        nobody where that one doesn't work the queue themselves."""
        named = self._ids.get(username)
        person = self._away[named].person if named in self._away else named
        if named is None or person is None or not self.works(person, queue, legal_entity):
            return None, ""
        words = self._names[person]
        return person, words if person == named else f"{words}, who stands in for {self._names[named]}"


def receivers(person: Person, places: Iterable[tuple[str, str]]) -> dict[tuple[str, str], tuple[Person, str]]:
    """For each queue and entity: whoever gets a case that is given to this person, and a note where that is another or
    they are away. Two statements, however many."""
    places = set(places)
    instead, said = absences.reached(person)
    if not said:
        return dict.fromkeys(places, (person, ""))
    works = Duty(ids=[instead.pk]).works
    kept = f"{person} is away, and {instead}, who stands in, doesn’t work this queue"
    return {place: (instead, said) if works(instead.pk, *place) else (person, kept) for place in places}
