"""What a key probably maps to, with the reason; and why a typed value can't be right. Suggests, never decides."""

from __future__ import annotations

from typing import NamedTuple

from rapidfuzz import fuzz, process

from connectors.families import Family
from connectors.models import ReferenceEntry, RoleAssignment
from mappings.kinds import FREE, Kind
from mappings.models import MappingRule
from q2c.core.models import LegalEntity

LIST_MAX = 5000  # entries that are compared by likeness; longer lists are looked up by code only
LIKE_ENOUGH = 70
FAMILY_OF = {"products": Family.BILLING}  # every other list belongs to the ERP


class Target(NamedTuple):
    """An entry of a target's list."""

    id: str
    code: str
    name: str
    reason: str = ""

    @property
    def text(self) -> str:
        """How it's shown and typed: id, code, name."""
        return " · ".join(part for part in (self.id, self.code if self.code != self.id else "", self.name) if part)


def target_connection(kind: Kind, asked: str) -> str:
    """The system whose list the value stands in: the one that was asked for, else the one that plays the role."""
    if asked or kind.target in (FREE, "legal_entities"):
        return asked
    family = FAMILY_OF.get(kind.target, Family.ERP)
    found = (
        RoleAssignment.objects.filter(family=family)
        .order_by("legal_entity_id")
        .values_list("connection__code", flat=True)
        .first()
    )
    return found or ""


def entries(kind: Kind, *, connection: str) -> list[Target]:
    """The target's list as we last read it; legal entities are our own."""
    if kind.target == "legal_entities":
        return [Target(e.code, "", e.name) for e in LegalEntity.objects.filter(is_active=True)]
    if kind.target == FREE or not connection:
        return []
    rows = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target, is_active=True)
    return [
        Target(*row)
        for row in rows.order_by("code", "external_id").values_list("external_id", "code", "name")[:LIST_MAX]
    ]


def suggest(kind: Kind, key: str, *, connection: str, limit: int = 200) -> list[Target]:
    """The entries to choose from, the likeliest first."""
    known = entries(kind, connection=connection)
    if not key:
        return known[:limit]
    names = [f"{target.code} {target.name}" for target in known]
    ranked = process.extract(key, names, scorer=fuzz.WRatio, limit=limit)
    return [known[index] for _, _, index in ranked]


def best(kind: Kind, key: str, *, connection: str) -> Target | None:
    """The one worth naming: the same key elsewhere, the same code, or a name that is much alike. None otherwise."""
    if not key:
        return None
    known = {target.id: target for target in entries(kind, connection=connection)}
    rule = MappingRule.objects.filter(kind=kind.code, key=key, known_to__isnull=True).order_by("-known_from").first()
    if rule is not None and (rule.value in known or kind.target == FREE):
        place = rule.legal_entity_code or rule.currency or "another scope"
        target = known.get(rule.value) or Target(rule.value, "", rule.value_label)
        return target._replace(reason=f"the same key maps to it in {place}")
    same = [target for target in known.values() if target.code.casefold() == key.casefold()]
    if len(same) == 1:
        return same[0]._replace(reason="it has the same code")
    found = process.extractOne(
        key, {t.id: f"{t.code} {t.name}" for t in known.values()}, scorer=fuzz.WRatio, score_cutoff=90
    )
    return known[found[2]]._replace(reason=f"the words are {found[1]:.0f} % alike") if found else None


def label_of(kind: Kind, value: str, *, connection: str) -> str:
    """The name of a value in the target's list, or ""."""
    if kind.target == "legal_entities":
        return LegalEntity.objects.filter(code=value).values_list("name", flat=True).first() or ""
    rows = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target, external_id=value)
    return rows.values_list("name", flat=True).first() or ""


def why_not(kind: Kind, key: str, value: str, *, connection: str) -> str:
    """Why a value can't be right, with the likely one; "" when nothing speaks against it."""
    if not value:
        return "Choose one, or write its id."
    if kind.target == FREE:
        return ""
    if kind.target != "legal_entities" and not connection:
        return ""
    row = None
    if kind.target == "legal_entities":
        is_there = LegalEntity.objects.filter(code=value).exists()
    else:
        row = ReferenceEntry.objects.filter(
            connection__code=connection, list_name=kind.target, external_id=value
        ).first()
        is_there = row is not None
    noun = kind.target.replace("_", " ").removesuffix("s")
    if not is_there:
        if kind.code == "billing_product" and value == "create":
            return ""
        known = [target.id for target in entries(kind, connection=connection)]
        if not known and row is None:
            return ""
        near = process.extractOne(value, known, scorer=fuzz.ratio, score_cutoff=LIKE_ENOUGH)
        hint = f" Did you mean {near[0]}?" if near else " Choose one of the list."
        return f"{connection or 'The portal'} has no {noun} {value}.{hint}"
    if row is not None and not row.is_active:
        return f"{noun.capitalize()} {value} is inactive in {connection}. Choose another, or have it made active."
    classes = kind.classes_for(key)
    found = str(row.attributes.get("account_class", "")) if row is not None else ""
    if classes and found and found not in classes:
        return f"Account {value} is of class {found}; {key} takes {' or '.join(classes)}."
    return ""
