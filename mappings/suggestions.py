"""The lists that values stand in: what may be chosen, what a typed text means, and why it can't be right."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from django.db.models import Q
from rapidfuzz import fuzz, process

from connectors.families import Family
from connectors.models import Connection, ReferenceEntry, RoleAssignment
from mappings import scope, systems
from mappings.kinds import ENTITIES, FREE, OWN_LISTS, Kind
from q2c.core.models import LegalEntity

LIST_MAX = 5000  # entries that are compared by likeness; longer lists are looked up by code only
LIKE_ENOUGH = 70
SEVERAL = 5  # of the same name, as many are shown
_LOOK_ALIKE = str.maketrans("oil|sbz", "0111582")
FAMILY_OF = {"products": Family.BILLING}  # every other list belongs to the ERP


class Target(NamedTuple):
    """An entry of a target's list."""

    id: str
    code: str
    name: str

    @property
    def text(self) -> str:
        """How it's shown and typed: id, code, name."""
        return " · ".join(part for part in (self.id, self.code if self.code != self.id else "", self.name) if part)


class Holders:
    """Which system holds the list that a rule's value stands in, for many rows: the roles are read once."""

    def __init__(self) -> None:
        self._roles: dict[str, dict[str, str]] | None = None

    def of(self, kind: Kind, connection: str, legal_entity: str, key: str = "") -> list[str]:
        """The system that was named, else the one that plays the role for the entity (as `ports.role` has it), else of
        a rule for all entities each that plays it for any. None where nobody plays it, or the list isn't a system's."""
        if connection or kind.target in (FREE, *OWN_LISTS):
            return [connection] if connection else []
        roles = self.players(kind)
        if entity := legal_entity or (key if names_entity(kind) and not scope.is_pattern(key) else ""):
            own = roles.get(entity) or roles.get("")
            return [own] if own else []
        return sorted(set(roles.values()))

    def players(self, kind: Kind) -> dict[str, str]:
        """Who plays the role that the kind's lists belong to, by entity; under "" for those that have no own one."""
        if self._roles is None:
            self._roles = defaultdict(dict)
            rows = RoleAssignment.objects.values_list("family", "legal_entity__code", "connection__code")
            for family, entity, code in rows:
                self._roles[family][entity or ""] = code
        return self._roles.get(FAMILY_OF.get(kind.target, Family.ERP).value, {})


def names_entity(kind: Kind) -> bool:
    """Whether the kind's key is the legal entity itself."""
    return kind.key_fields == ("legal_entity",)


def target_connection(kind: Kind, asked: str, legal_entity: str, key: str = "") -> str:
    """The system whose list the value stands in (`Holders.of`); "" where it can't be told: none, or several."""
    found = Holders().of(kind, asked, legal_entity, key)
    return found[0] if len(found) == 1 else ""


def ask_for_system(kind: Kind, systems: list[str]) -> tuple[str, str]:
    """Field and words of a rule whose value would be read in several lists: each has ids of its own."""
    noun, named = kind.target.replace("_", " "), " and ".join(systems)
    field, what = ("connection", "system") if "connection" in kind.scope else ("legal_entity", "entity")
    return field, f"{named} each have {noun} with ids of their own, and this would hold in all of them; name the {what}"


def entries(kind: Kind, *, connection: str) -> list[Target]:
    """The target's list as we last read it, or a list of ours."""
    if kind.target in OWN_LISTS:
        return own_entries(kind)
    if kind.target == FREE or not connection:
        return []
    rows = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target, is_active=True)
    return [
        Target(*row)
        for row in rows.order_by("code", "external_id").values_list("external_id", "code", "name")[:LIST_MAX]
    ]


def own_entries(kind: Kind, *, is_whole: bool = False) -> list[Target]:
    """Legal entities, or connections: those to choose from, or the whole list with what can't be chosen."""
    if kind.target == ENTITIES:
        rows = LegalEntity.objects.all() if is_whole else LegalEntity.objects.filter(is_active=True)
        return [Target(row.code, "", row.name) for row in rows]
    return [
        Target(row.code, "", row.name)
        for row in Connection.objects.all()
        if is_whole or systems.roles_of(row.vendor) & systems.ROLES
    ]


def suggest(kind: Kind, key: str, *, connection: str, limit: int = 200) -> list[Target]:
    """The entries to choose from, the likeliest first."""
    known = entries(kind, connection=connection)
    if not key:
        return known[:limit]
    names = [f"{target.code} {target.name}" for target in known]
    ranked = process.extract(key, names, scorer=fuzz.WRatio, limit=limit)
    return [known[index] for _, _, index in ranked]


def listed(kind: Kind, text: str, *, connection: str) -> list[Target]:
    """The entries that a text names: by id, else by code, else by name; also as "id · code · name", as it's shown.

    More than one where codes or names aren't unique. Inactive ones are among them: `why_not` says so.
    """
    text = " ".join(text.split())
    if not text:
        return []
    first = text.split(" · ")[0].strip()
    if kind.target in OWN_LISTS:
        own = own_entries(kind, is_whole=True)
        return [t for t in own if first.casefold() == t.id.casefold() or text.casefold() == t.name.casefold()]
    rows = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target)
    found = [
        Target(*row)
        for row in rows.filter(Q(external_id=first) | Q(code__iexact=text) | Q(name__iexact=text))
        .order_by("-is_active", "code", "external_id")
        .values_list("external_id", "code", "name")
    ]
    by_id = [target for target in found if target.id == first]
    by_code = [target for target in found if target.code.casefold() == text.casefold()]
    return by_id or by_code or found


def label_of(kind: Kind, value: str, *, connection: str) -> str:
    """The name of a value in the target's list, or ""."""
    if kind.target in OWN_LISTS:
        return next((t.name for t in own_entries(kind, is_whole=True) if t.id == value), "")
    rows = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target, external_id=value)
    return rows.values_list("name", flat=True).first() or ""


def read_value(kind: Kind, key: str, text: str, *, connection: str) -> str:
    """The value that a text means: the entry's id. Raises ValueError saying why it can't be, with the likely one."""
    text = " ".join(text.split())
    if not text:
        raise ValueError("Choose one of the list, or write its id, code or name.")
    is_open = kind.target == FREE or (kind.target not in OWN_LISTS and not connection)
    if is_open or (kind.code == "billing_product" and text == "create"):
        return text
    found = listed(kind, text, connection=connection)
    if len(found) > 1:
        choices = ", ".join(target.text for target in found[:SEVERAL])
        raise ValueError(f"{len(found)} {kind.target.replace('_', ' ')} are called {text}: {choices}. Write the id.")
    if not found:
        known = entries(kind, connection=connection)
        if not known:  # we never read its list, so nothing speaks against it
            return text.split(" · ")[0].strip()
        raise ValueError(unknown(kind, text, known, _name_of(connection)))
    if refused := why_not(kind, key, found[0].id, connection=connection):
        raise ValueError(refused)
    return found[0].id


def _name_of(connection: str) -> str:
    return Connection.objects.filter(code=connection).values_list("name", flat=True).first() or "The portal"


def unknown(kind: Kind, text: str, known: list[Target], name: str, *, near_ones: bool = True) -> str:
    """Who has no such thing, and what was probably meant."""
    spelled = {spelling: target for target in known for spelling in (target.id, target.code, target.name) if spelling}
    near = _nearest(text, spelled) if near_ones else None
    hint = f"Did you mean {near.text}?" if near else "Choose one of the list."
    shown = f"“{text}”" if " " in text else text
    return f"{name} has no {kind.target.replace('_', ' ').removesuffix('s')} {shown}. {hint}"


def _nearest(text: str, spelled: dict[str, Target]) -> Target | None:
    """What was probably meant: first what only looks the same (a letter O for a nought), then what is spelled alike."""
    drawn = _as_drawn(text)
    same = next((target for spelling, target in spelled.items() if _as_drawn(spelling) == drawn), None)
    if same is not None:
        return same
    near = process.extractOne(text, list(spelled), scorer=fuzz.ratio, processor=str.casefold, score_cutoff=LIKE_ENOUGH)
    return spelled[near[0]] if near else None


def _as_drawn(text: str) -> str:
    return text.casefold().translate(_LOOK_ALIKE)


def why_not(kind: Kind, key: str, value: str, *, connection: str) -> str:
    """Why an entry of the target's list can't be it: it's inactive, or of the wrong class. "" when it can."""
    row = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target, external_id=value).first()
    if row is None:
        return ""
    noun = kind.target.replace("_", " ").removesuffix("s")
    if not row.is_active:
        return f"{noun.capitalize()} {value} is inactive in {connection}. Choose another, or have it made active."
    classes = kind.classes_for(key)
    found = str(row.attributes.get("account_class", ""))
    if classes and found and found not in classes:
        return f"Account {value} is of class {found}; {key} takes {' or '.join(classes)}."
    return ""
