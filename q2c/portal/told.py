"""How a flow and its steps are told: titles, sentences, one timeline of what was done and what is still to come."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from connectors.models import Exchange
from mappings.models import MappingRule
from q2c.core.templatetags.words import spoken_noun
from q2c.flows import catalog
from q2c.transactions.models import BusinessTransaction, StepRun
from q2c.transactions.steps import Flow

FIELDS_SHOWN = 4
_DATE = re.compile(r"\d{4}-[01]\d-[0-3]\d")


def flows() -> dict[str, Flow]:
    """The flows by code, in the order of the table of contents."""
    return catalog.BY_CODE


def flow_title(code: str) -> str:
    """What people call a flow: "Invoice to ERP"."""
    flow = flows().get(code)
    return flow.title if flow else code.replace("_", " ").capitalize().replace(" erp", " ERP").replace(" crm", " CRM")


@dataclass
class ToldStep:
    """One step on the timeline: its sentence, how it stands, what it used and gave, each attempt, each exchange."""

    name: str
    sentence: str
    kind: str
    state: str
    runs: list[StepRun] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    rules: list[MappingRule] = field(default_factory=list)

    @property
    def last(self) -> StepRun | None:
        """The latest run."""
        return self.runs[-1] if self.runs else None

    @property
    def problem(self) -> dict[str, Any] | None:
        """Why the latest run came back."""
        return self.last.problem if self.last else None

    @property
    def shows_attempts(self) -> bool:
        """Whether its attempts are worth a table: one came back, or something was sent more than once."""
        return len(self.runs) > 1 and (self.kind == "write" or any(run.problem for run in self.runs))

    @property
    def took_us(self) -> int:
        """How long all attempts took."""
        return sum(run.took_us for run in self.runs)

    @property
    def rule_ids(self) -> list[int]:
        """The mapping rules that the latest run used."""
        used = self.last.used if self.last else None
        rules = used.get("rules", ()) if isinstance(used, dict) else ()
        return [pair[0] for pair in rules if isinstance(pair, list)]

    @property
    def used_rows(self) -> list[tuple[str, Any]]:
        """What else the latest run used, as name and value."""
        used = self.last.used if self.last else None
        return sorted((n, v) for n, v in used.items() if n != "rules") if isinstance(used, dict) else []

    @property
    def gave_line(self) -> str:
        """What the latest run gave, in one line: a value, or the first few of its plain fields."""
        if self.last is None or not self.last.output:
            return ""
        try:
            value = json.loads(bytes(self.last.output))
        except ValueError:
            return ""
        if isinstance(value, dict) and value.get("document_type"):
            number = value.get("number") or value.get("id") or ""
            return f"{spoken_noun(value['document_type'])} {number}, id {value.get('id', '')}"
        if isinstance(value, dict):
            plain = [
                f"{n.replace('_', ' ')} {self._in_words(v)}"
                for n, v in value.items()
                if isinstance(v, str | int | bool) and v != ""
            ]
            if plain:
                return ", ".join(plain[:FIELDS_SHOWN])
        if isinstance(value, dict | list):
            return f"{len(value):,} {'entry' if len(value) == 1 else 'entries'}" if value else "nothing needed"
        return "" if value is None else self._in_words(value)

    def _in_words(self, value: Any) -> str:
        """A date as people write it; an id that a mapping gave with its name; yes and no; anything else as it is."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        text = str(value)
        if _DATE.fullmatch(text):
            day = dt.date.fromisoformat(text)
            return f"{day.day} {day:%b %Y}"
        label = next((rule.value_label for rule in self.rules if rule.value == text), "")
        return f"{text} {label}".strip()


def tell_steps(txn: BusinessTransaction, runs: list[StepRun], exchanges: list[Exchange]) -> list[ToldStep]:
    """The timeline of a transaction: finished steps, the one where it stands, and those to come."""
    by_step: dict[str, list[StepRun]] = defaultdict(list)
    for run in runs:
        by_step[run.step].append(run)
    talked: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        talked[exchange.step].append(exchange)
    flow = flows().get(txn.flow)
    known = [(s.name, s.sentence, s.kind) for s in flow.steps] if flow else []
    names = {name for name, _, _ in known}
    known += [
        (name, name.replace("_", " ").capitalize(), rows[0].kind) for name, rows in by_step.items() if name not in names
    ]
    told, stands = [], False
    for name, sentence, kind in known:
        rows = by_step.get(name, [])
        state = rows[-1].state if rows else "next"
        is_here = state not in ("done",) and not stands and txn.state not in ("completed", "cancelled")
        if is_here:
            stands = True
            state = txn.state if txn.state in ("held", "unknown", "waiting") else ("running" if not rows else state)
        told.append(ToldStep(name, sentence, kind, state, rows, talked.get(name, [])))
    rules = MappingRule.objects.in_bulk({i for step in told for i in step.rule_ids})
    for step in told:
        step.rules = [rules[i] for i in step.rule_ids if i in rules]
    return told
