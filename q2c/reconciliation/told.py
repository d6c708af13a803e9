"""What is known to be amiss with feeds, in a sentence each: of the open cases that checks and roll-ups keep."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from django.db.models import Q

from exceptions.models import ExceptionCase
from q2c.reconciliation.words import several

OF_A_FEED = {
    "feed_unchecked": "{name}’s {documents} aren’t compared with its register",
    "feed_quiet": "{name} brings fewer {documents} than usual",
}
OF_AN_ENTITY = {
    "entity_quiet": "{name} brings fewer {documents} of {entity} than usual",
    "feed_incomplete": "{name} and we don’t have the same {documents}",
    "totals_apart": "{name}’s {documents} aren’t all accounted for",
}


class FeedTold(NamedTuple):
    """A feed that somebody has to look at: its connection, what its documents are called, the entity where it's one
    that lacks, and what is amiss."""

    connection: str
    documents: str
    entity: str
    says: str


def feeds_told(entities: Collection[str] | None, names: Mapping[str, str]) -> list[FeedTold]:
    """Feeds that bring too little, don't agree with their source or aren't compared, each once, by system; `entities`
    are those that a person sees (None: all, and what has none), `names` what connections are called. A feed serves
    every entity, so what is amiss with all of it is told to everybody. One statement."""
    mine = Q(kind__in=list(OF_AN_ENTITY))
    if entities is not None:
        mine &= Q(legal_entity_code__in=sorted(entities))
    rows = ExceptionCase.objects.filter(Q(kind__in=list(OF_A_FEED)) | mine, closed_at=None)
    found = set()
    for kind, entity, about in rows.values_list("kind", "legal_entity_code", "subject"):
        code, documents = str(about.get("connection")), several(str(about.get("document_type")))
        says = (OF_A_FEED | OF_AN_ENTITY)[kind].format(name=names.get(code, code), documents=documents, entity=entity)
        found.add(FeedTold(code, documents, entity if kind == "entity_quiet" else "", says))
    return sorted(found)
