"""People by role, for tests."""

from __future__ import annotations

from q2c.core.models import LegalEntity, Membership, Person


def make_person(username: str, *roles: str, entity: str = "", **facts) -> Person:
    """A person with roles, for one entity or for all."""
    person = Person.objects.create(username=username, display_name=username.title(), **facts)
    where = None
    if entity:
        where, _ = LegalEntity.objects.get_or_create(
            code=entity,
            defaults={"name": entity, "country": entity[:2], "currency": "GBP", "time_zone": "Europe/London"},
        )
    for role in roles:
        Membership.objects.create(person=person, role=role, legal_entity=where)
    return person
