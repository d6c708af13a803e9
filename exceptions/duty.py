"""Who works a queue for an entity, and who gets what is meant for somebody who is away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from q2c.core import absences
from q2c.core.access import find_roles, in_force, people_who_may
from q2c.core.models import Membership, Person

WORK = "exceptions.work_case"
Place = tuple[str, str, str]  # queue, entity, kind of case


def workers_of(queue: str, legal_entity: str = "", kind: str = "") -> QuerySet[Person]:
    """People who work a queue, for this entity or for all of them, and aren't kept from the kind of case."""
    return people_who_may(WORK, legal_entity, queue=queue, kind=kind)


class Duty:
    """What these people and whoever stands in for somebody work, read by two statements and asked for many cases."""

    def __init__(self, usernames: Iterable[str] = (), *, ids: Iterable[int] = ()) -> None:
        self._away = absences.stand_ins()
        known = {*ids, *(instead.person for instead in self._away.values())}
        rows = Membership.objects.filter(
            Q(person__username__in=set(usernames)) | Q(person__in=known), in_force(), person__is_active=True
        )
        self._scopes: dict[int, list[tuple[str, str | None]]] = defaultdict(list)
        self._ids: dict[str, int] = {}
        self._names: dict[int, str] = {}
        fields = ("person", "person__username", "person__display_name", "role", "legal_entity__code")
        held = list(rows.values_list(*fields))
        self._roles = find_roles(row[3] for row in held)
        for person, name, shown, role, entity in held:
            self._ids[name] = person
            self._names[person] = shown or name
            self._scopes[person].append((role, entity))

    def works(self, person: int, queue: str, legal_entity: str, kind: str) -> bool:
        """Whether a person works this kind of case in the queue for the entity ("" of none or several: only people of
        all entities)."""
        return any(
            role in self._roles and queue in self._roles[role].queues and self._roles[role].holds(WORK, kind)
            and entity in (None, legal_entity or None)
            for role, entity in self._scopes.get(person, ())
        )  # fmt: skip

    def who(self, username: str, queue: str, legal_entity: str, kind: str) -> tuple[int | None, str]:
        """The id and name of whoever takes what is meant for that person, which is who stands in while they are away:
        nobody where that one doesn't work the queue themselves."""
        named = self._ids.get(username)
        person = self._away[named].person if named in self._away else named
        if named is None or person is None or not self.works(person, queue, legal_entity, kind):
            return None, ""
        words = self._names[person]
        return person, words if person == named else f"{words}, who stands in for {self._names[named]}"


def receivers(person: Person, places: Iterable[Place]) -> dict[Place, tuple[Person, str]]:
    """For each queue, entity and kind of case: whoever gets a case that is given to this person, and a note where that
    is another or they are away. Two statements, however many."""
    places = set(places)
    instead, said = absences.reached(person)
    if not said:
        return dict.fromkeys(places, (person, ""))
    works = Duty(ids=[instead.pk]).works
    kept = f"{person} is away, and {instead}, who stands in, doesn’t work this queue"
    return {place: (instead, said) if works(instead.pk, *place) else (person, kept) for place in places}
