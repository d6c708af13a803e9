"""Answers mapping questions from memory for a whole batch, as one change set knew them, and says why.

`Snapshot.load(wants)` fetches every rule that the batch could need in one statement; `resolve` then costs microseconds.
All answers of a snapshot come from one knowledge (a change set's number): one consistent version of all mappings.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db.models import Max

from mappings import conditions, scope
from mappings.fetching import Index, Overlay, Rule, Wish
from mappings.kinds import BY_CODE, DIMENSIONS, Kind
from mappings.models import ChangeSet
from q2c.core.problems import Category, Problem

Want = tuple[str, str, Mapping[str, str]]  # kind, key, scope: of it, a legal entity narrows what is fetched
TYPE = "document_type"
# Beside a document's facts: the type of what it takes back. It's asked as that, unless a rule for its own type wins.
TAKES_BACK = "takes_back"
_NO_FACTS: Mapping[str, str] = {}


class Resolved(NamedTuple):
    """A mapping's answer: the value in the target's words, and which rule gave it."""

    value: str
    label: str
    rule_id: int
    version: int
    change_set: int  # the knowledge it comes from
    is_fallback: bool
    effective_from: dt.date
    effective_to: dt.date | None  # None: until somebody says otherwise
    rule: Rule

    @property
    def why(self) -> str:
        """Why this rule won, in words."""
        return _why(self.rule)


class Considered(NamedTuple):
    """One rule that was looked at, and what became of it: won, or the reason that it didn't."""

    rule: Rule
    verdict: str


def latest_change_set() -> int:
    """The number of the newest approved change set; 0 before the first."""
    return ChangeSet.objects.aggregate(newest=Max("number"))["newest"] or 0


class Snapshot:
    """All rules that a batch needs, as known at one change set. Not shared between threads.

    `used` holds the answers given, by rule id; `for_document` gives a view with its own, over the same rules.
    """

    def __init__(self, number: int, index: Index) -> None:
        self.change_set = number
        self._index = index
        self.used: dict[int, Resolved] = {}

    @classmethod
    def load(cls, wants: Iterable[Want], change_set: int | None = None, *, overlay: Overlay | None = None) -> Snapshot:
        """The rules for these (kind, key, scope), as known at a change set (None: the newest), in two statements; with
        an overlay, as they would be known if that draft were approved now. A scope that names a legal entity spares
        the rules of the others."""
        number = latest_change_set() if change_set is None else change_set
        index = Index(number, overlay)
        index.fetch(
            {
                (kind, key, scope["legal_entity"]) if "legal_entity" in scope else (kind, key)
                for kind, key, scope in wants
            }
        )
        return cls(number, index)

    def for_document(self) -> Snapshot:
        """A view over the same rules that notes its own use."""
        return Snapshot(self.change_set, self._index)

    def looks_at(self, kind: str) -> frozenset[str]:
        """What any known rule of a kind looks at beside key, dates and the usual scope: facts of the document, and
        `region`. Empty for most kinds: then nobody needs to find these facts out."""
        return self._index.looks_at(kind)

    def fetched_looks(self, kind: str) -> frozenset[str]:
        """The same of the rules that were fetched, apart from regions; asks nobody."""
        return frozenset(self._index.conditional.get(kind, ()))

    def names_type(self, kind: str, key: str, *, on: dt.date, document: Mapping[str, str], **dimensions: str) -> bool:
        """Whether the rule that answers this question is one for the document's own type, and not for that of what it
        takes back. Notes no use."""
        asked = tuple(dimensions.get(name, "") for name in DIMENSIONS)
        rules = self._index.candidates(kind, key, dimensions.get("legal_entity", ""))
        return _are_for_its_type(_most_specific(rules, asked, on, document), document.get(TAKES_BACK, ""))

    def fetch(self, wishes: Iterable[Wish]) -> None:
        """Add what these (kind, key), or (kind, key, legal entity), need, in one statement; known ones cost nothing.
        KeyError for an unknown kind."""
        self._index.fetch(wishes)

    @property
    def key_count(self) -> int:
        """How many keys it holds the rules of, and answers about them: what its memory grows with."""
        return len(self._index.asked) + len(self._index.memo)

    @property
    def late_fetch_count(self) -> int:
        """How many keys were asked for that nobody had announced: each cost a statement of its own."""
        return self._index.late_fetch_count

    def resolve(
        self,
        kind: str,
        key: str,
        *,
        on: dt.date,
        legal_entity: str = "",
        connection: str = "",
        currency: str = "",
        region: str = "",
        product_line: str = "",
        document: Mapping[str, str] | None = None,
    ) -> Resolved:
        """The value in force on a date. Raises Problem: the kind's own missing code, or mapping_ambiguous."""
        found = self._answer(kind, key, on, connection, legal_entity, currency, region, product_line, document)
        if found.__class__ is Resolved:
            self.used[found.rule_id] = found
            return found
        raise self._problem(kind, key, on, (connection, legal_entity, currency, region, product_line), found)

    def find(
        self,
        kind: str,
        key: str,
        *,
        on: dt.date,
        legal_entity: str = "",
        connection: str = "",
        currency: str = "",
        region: str = "",
        product_line: str = "",
        document: Mapping[str, str] | None = None,
    ) -> Resolved | None:
        """As `resolve`, but None where no rule says anything (optional dimensions). Two winners are a Problem still."""
        found = self._answer(kind, key, on, connection, legal_entity, currency, region, product_line, document)
        if found is None:
            return None
        if found.__class__ is Resolved:
            self.used[found.rule_id] = found
            return found
        raise self._problem(kind, key, on, (connection, legal_entity, currency, region, product_line), found)

    def explain(
        self, kind: str, key: str, *, on: dt.date, document: Mapping[str, str] | None = None, **dimensions: str
    ) -> list[Considered]:
        """Every rule that was looked at for this question, the winner first, each with its verdict in words."""
        asked = tuple(dimensions.get(name, "") for name in DIMENSIONS)
        rules = self._index.candidates(kind, key)
        winners = _winners(rules, asked, on, document or _NO_FACTS)
        ids = {rule.id for rule in winners}
        verdict = "won" if len(ids) == 1 else "could win as well as another: ambiguous"
        lost = [
            Considered(rule, _why_not(rule, asked, on, document or _NO_FACTS)) for rule in rules if rule.id not in ids
        ]
        return [Considered(rule, f"{verdict}: {_why(rule)}") for rule in winners] + lost

    def conditional(self, kind: str, key: str, *, on: dt.date, **dimensions: str) -> list[Rule]:
        """The rules that answer this question for some documents only, the most specific first."""
        asked = tuple(dimensions.get(name, "") for name in DIMENSIONS)
        rules = self._index.candidates(kind, key, asked[1])
        return [rule for rule in rules if rule.conditions and _reaches(rule, asked, on)]

    def candidates(self, kind: str, key: str) -> list[Rule]:
        """Every rule whose key is this one or a pattern over it, the most specific first, whatever its scope and
        dates."""
        return self._index.candidates(kind, key)

    def _answer(self, kind, key, on, connection, legal_entity, currency, region, product_line, document):
        index = self._index
        rules = index.candidates(
            kind, key, legal_entity
        )  # first: it may fetch, and learn which facts matter for this kind
        looked_at = index.conditional.get(kind)
        facts = None
        if document is None or looked_at is None:
            document = _NO_FACTS
        else:
            facts = tuple([document.get(name, "") for name in looked_at])
            if TYPE in looked_at:
                facts = (*facts, document.get(TAKES_BACK, ""))
        question = (kind, key, on, connection, legal_entity, currency, region, product_line, facts)
        try:
            return index.memo[question]
        except KeyError:
            pass
        winners = _winners(rules, (connection, legal_entity, currency, region, product_line), on, document)
        if not winners:
            answer: Any = None
        elif len(winners) > 1:
            answer = winners
        else:
            rule = winners[0]
            answer = Resolved(
                rule.value, rule.label, rule.id, rule.version, self.change_set, rule.is_fallback, rule.effective_from,
                rule.effective_to, rule,
            )  # fmt: skip
        index.memo[question] = answer
        return answer

    def _problem(self, code: str, key: str, on: dt.date, asked: tuple[str, ...], winners: list[Rule] | None) -> Problem:
        kind = BY_CODE[code]
        named = dict(zip(DIMENSIONS, asked, strict=True))
        subject: dict[str, Any] = {name: value for name, value in named.items() if value and name in kind.scope}
        subject |= {"connection": named["connection"] or None, "kind": code, "key": key}
        if winners:
            ids = ", ".join(str(rule.id) for rule in winners)
            summary = f"Rules {ids} both say what {kind.title.lower()} {key} is{_place(named, kind)}"
            return Problem("mapping_ambiguous", Category.MAPPING, summary, on=on, rules=ids, **subject)
        says = kind.missing_says.format(
            system=self._index.system(named["connection"]), key=key, scope=_place(named, kind)
        )
        says += self._says_waiting(code, key, on, asked) if code in self._index.conditional else ""
        return Problem(kind.missing_code, Category.MAPPING, says, on=on, **subject)

    def _says_waiting(self, kind: str, key: str, on: dt.date, asked: tuple[str, ...]) -> str:
        """The rules that would answer but for their conditions, as the end of a sentence."""
        waiting = self.conditional(kind, key, on=on, **dict(zip(DIMENSIONS, asked, strict=True)))
        if len(waiting) == 1:
            return f"; a rule for it holds {conditions.say(waiting[0].conditions)}"
        return f"; {len(waiting)} rules for it hold only for other documents" if waiting else ""


def _winners(rules: list[Rule], asked: tuple[str, ...], on: dt.date, document: Mapping[str, str]) -> list[Rule]:
    """Those that could win. What takes an earlier document back is asked as that one, so that it finds what it put
    there, unless the rule that wins is one for its own type and not for that one's."""
    winners = _most_specific(rules, asked, on, document)
    back = document.get(TAKES_BACK)
    if not back or _are_for_its_type(winners, back):
        return winners
    return _most_specific(rules, asked, on, {**document, TYPE: back})


def _are_for_its_type(winners: list[Rule], back: str) -> bool:
    return any(TYPE in rule.conditions and back not in scope.allowed(rule.conditions[TYPE]) for rule in winners)


def _most_specific(rules: list[Rule], asked: tuple[str, ...], on: dt.date, document: Mapping[str, str]) -> list[Rule]:
    winners: list[Rule] = []
    for rule in rules:
        if winners and rule.specificity < winners[0].specificity:
            break
        if _applies(rule, asked, on, document):
            winners.append(rule)
    return winners


def _applies(rule: Rule, asked: tuple[str, ...], on: dt.date, document: Mapping[str, str]) -> bool:
    return _reaches(rule, asked, on) and (not rule.conditions or scope.conditions_hold(rule.conditions, document))


def _reaches(rule: Rule, asked: tuple[str, ...], on: dt.date) -> bool:
    """Whether a rule speaks of this place and day, whatever its conditions."""
    connection, legal_entity, currency, region, product_line = asked
    return (
        (not rule.connection or rule.connection == connection)
        and (not rule.legal_entity or rule.legal_entity == legal_entity)
        and (not rule.currency or rule.currency == currency)
        and (not rule.region or rule.region == region)
        and (not rule.product_line or rule.product_line == product_line)
        and rule.effective_from <= on
        and (rule.effective_to is None or on < rule.effective_to)
    )


def _why(rule: Rule) -> str:
    base = "fallback" if rule.is_fallback else "pattern " + rule.key if rule.is_pattern else "exact key"
    narrowed = [value for value in rule[4:9] if value]
    return (
        base
        + (f", for {', '.join(narrowed)}" if narrowed else "")
        + (f", {conditions.say(rule.conditions)}" if rule.conditions else "")
    )


def _why_not(rule: Rule, asked: tuple[str, ...], on: dt.date, document: Mapping[str, str]) -> str:
    for name, wanted, given in zip(DIMENSIONS, rule[4:9], asked, strict=True):
        if wanted and wanted != given:
            return f"only for {name.replace('_', ' ')} {wanted}"
    if on < rule.effective_from:
        return f"in force from {rule.effective_from}"
    if rule.effective_to is not None and on >= rule.effective_to:
        return f"in force until {rule.effective_to}"
    if not scope.conditions_hold(rule.conditions, document):
        return conditions.why_not(rule.conditions, document)
    return "less specific"


def _place(named: Mapping[str, str], kind: Kind) -> str:
    places = [named[name] for name in DIMENSIONS[1:] if named[name] and name in kind.scope]
    return f" in {', '.join(places)}" if places else ""
