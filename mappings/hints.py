"""What a key that has no answer yet probably becomes: each suggestion with its reason, and how often such ones were
right. Nothing is applied by itself: somebody takes one into a draft, and somebody else approves."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from rapidfuzz import fuzz, process

from connectors.models import ReferenceEntry
from mappings import choices, suggestions
from mappings.kinds import FREE, Kind
from mappings.known import KnownRule, rules_like, rules_with_keys
from mappings.suggestions import Target

SAME_KEY, SAME_CODE, LIKE_KEY, LIKE_NAME = "same_key", "same_code", "like_key", "like_name"
# What each reason is worth before anybody tried it, as if it had been right so often of `_TRIED` times.
_WORTH = {SAME_KEY: 0.9, SAME_CODE: 0.85, LIKE_NAME: 0.6, LIKE_KEY: 0.6}
REASONS = frozenset(_WORTH)
_TRIED = 5
KEYS_ALIKE, NAMES_ALIKE = 80, 88
SHOWN = 3
_STEM = re.compile(r"^(.{2,})[-_./ ][^-_./ ]*$")
_STEM_SIGNS = 4


class Hint(NamedTuple):
    """A suggestion. `says` is its reason in words; `right` of `tried` such ones were right."""

    target: Target
    reason: str
    says: str
    tried: int
    right: int
    was_refused: bool
    score: float

    @property
    def record(self) -> str:
        """How often such suggestions were right, in words."""
        if not self.tried:
            return "no such suggestion was decided yet"
        return f"right {self.right:,} of {self.tried:,} {'time' if self.tried == 1 else 'times'}"


def find_hints(
    kind: Kind, keys: Collection[str], *, connection: str, legal_entity: str = "",
    names: Mapping[str, str] | None = None, limit: int = SHOWN,
) -> dict[str, list[Hint]]:  # fmt: skip
    """The suggestions for each of these keys, the likeliest first; what was offered and refused comes last. A few
    statements, whatever the number of keys. `names`: what the things behind the keys are called."""
    keys = [key for key in dict.fromkeys(keys) if key]
    known = {target.id: target for target in suggestions.entries(kind, connection=connection)}
    classes = _classes(kind, connection)
    exact: dict[str, list[KnownRule]] = defaultdict(list)
    for rule in rules_with_keys((kind.code, key) for key in keys):
        exact[rule.key].append(rule)
    near: dict[str, list[KnownRule]] = defaultdict(list)
    for key, rule in rules_like(kind.code, {key: _stem(key) for key in keys}):
        near[key].append(rule)
    refused, rates = choices.refused_values(kind.code, keys), choices.rates_of(kind.code)
    found = {}
    for key in keys:
        best: dict[str, Hint] = {}
        named = [*_of_key(exact[key], legal_entity), *_of_code(key, known), *_of_like_keys(key, near[key])]
        for value, reason, alike, says in (*named, *_of_names(key, (names or {}).get(key, ""), known)):
            target = known.get(value) or (None if known else Target(value, "", ""))
            if target is None or (classes and classes.get(value, "") not in (*kind.classes_for(key), "")):
                continue
            tried, right = rates.get(reason, (0, 0))
            score = alike * (right + _TRIED * _WORTH[reason]) / (tried + _TRIED)
            if value not in best or score > best[value].score:
                best[value] = Hint(target, reason, says, tried, right, (key, value) in refused, score)
        found[key] = sorted(best.values(), key=lambda hint: (hint.was_refused, -hint.score, hint.target.id))[:limit]
    return found


_Found = Iterator[tuple[str, str, float, str]]  # value, reason, how much alike (to 1), the reason in words


def _of_key(rules: Iterable[KnownRule], legal_entity: str) -> _Found:
    """The same key elsewhere."""
    places: dict[str, list[str]] = defaultdict(list)
    for rule in rules:
        place = rule.legal_entity_code or rule.currency or "another scope"
        if rule.legal_entity_code != legal_entity or not legal_entity:
            places[rule.value].append(place)
    total = sum(map(len, places.values()))
    for value, found in places.items():
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        yield value, SAME_KEY, len(found) / total, f"the same key becomes it in {min(found)}{more}"


def _of_code(key: str, known: Mapping[str, Target]) -> _Found:
    same = [target for target in known.values() if target.code.casefold() == key.casefold()]
    if len(same) == 1:
        yield same[0].id, SAME_CODE, 1.0, "it has the same code"


def _of_like_keys(key: str, rules: Iterable[KnownRule]) -> _Found:
    """What was decided and approved for a key that is much alike."""
    for rule in rules:
        alike = fuzz.ratio(key.upper(), rule.key.upper(), score_cutoff=KEYS_ALIKE)
        if alike and rule.key != key:
            said = f"{rule.key} becomes it, a key {alike:.0f} % alike that two people agreed on"
            yield rule.value, LIKE_KEY, alike / 100, said


def _of_names(key: str, name: str, known: Mapping[str, Target]) -> _Found:
    """Entries whose words are much alike: to the key, or to what the thing is called."""
    texts = {value: f"{target.code} {target.name}" for value, target in known.items()}
    for asked, noun in ((key, "the words"), (name, f"its name and “{name}”")):
        if asked:
            ranked = process.extract(asked, texts, scorer=fuzz.WRatio, score_cutoff=NAMES_ALIKE, limit=2)
            for _, alike, value in ranked:
                yield value, LIKE_NAME, alike / 100, f"{noun} are {alike:.0f} % alike"


def _classes(kind: Kind, connection: str) -> dict[str, str]:
    """Each account's class, where the kind minds."""
    if not kind.account_classes or kind.target == FREE:
        return {}
    rows = ReferenceEntry.objects.filter(connection__code=connection, list_name=kind.target, is_active=True)
    return {value: str(attributes.get("account_class", "")) for value, attributes in
            rows.values_list("external_id", "attributes")}  # fmt: skip


def _stem(key: str) -> str:
    """How the keys begin that could be alike: all but the last part, else the first letters."""
    parted = _STEM.match(key)
    return (parted[1] if parted else key[:_STEM_SIGNS]).upper()
