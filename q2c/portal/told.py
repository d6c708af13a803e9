"""How a flow and its steps are told: titles, sentences, one timeline of what was done and what is still to come."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from connectors.models import Connection, Exchange
from mappings.models import MappingRule
from mappings.selectors import rules_by_id
from q2c.core.templatetags.words import MACHINE_ID, human, inside, plain_money, short_id, spoken_noun
from q2c.flows import catalog
from q2c.portal.outcomes import Scene, tell_outcome
from q2c.transactions import pauses
from q2c.transactions.models import BusinessTransaction, StepRun
from q2c.transactions.resubmissions import Resubmission, resubmissions_of
from q2c.transactions.selectors import transactions_visible_to
from q2c.transactions.steps import Flow


def flows() -> dict[str, Flow]:
    """The flows by code, in the order of the table of contents."""
    return catalog.BY_CODE


def flow_title(code: str) -> str:
    """What people call a flow: "Invoice to ERP"."""
    flow = flows().get(code)
    return flow.title if flow else code.replace("_", " ").capitalize().replace(" erp", " ERP").replace(" crm", " CRM")


_STANDS = ("held", "unknown", "waiting")  # states that say at which step


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
    customer: str = ""
    currency: str = ""
    system: str = ""  # whom it talked to

    @property
    def last(self) -> StepRun | None:
        """The latest run."""
        return self.runs[-1] if self.runs else None

    @property
    def problem(self) -> dict[str, Any] | None:
        """Why the latest run came back; not of a step that comes again."""
        return self.last.problem if self.last and self.state != "next" else None

    @property
    def shows_attempts(self) -> bool:
        """Whether its attempts are worth a table: one came back, or something was sent more than once."""
        return len(self.tries) > 1 and (self.kind == "write" or any(run.problem for run in self.tries))

    @property
    def tries(self) -> list[StepRun]:
        """The runs in which there was something to do: without those of a write that had nothing to write then."""
        return [run for run in self.runs if not (isinstance(run.used, dict) and run.used.get("skipped"))]

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
    def outcome(self) -> str:
        """What the latest run gave, in one line."""
        if self.last is None or not self.last.output:
            return ""
        if self.kind == "write" and self.given is None:
            return "Nothing had to be written"
        labels = {rule.value: f"{rule.value_label} ({rule.value})" for rule in self.rules if rule.value_label}
        return tell_outcome(self.last.gave, self.given, Scene(self.customer, self.currency, labels))

    @property
    def made(self) -> dict[str, Any]:
        """The document that the latest run made or found in another system, if it is such a step."""
        value = self.given
        return value if isinstance(value, dict) and value.get("document_type") else {}

    @property
    def given(self) -> Any:
        """What the latest run gave, or None."""
        try:
            return json.loads(bytes(self.last.output)) if self.last and self.last.output else None
        except ValueError:
            return None


def tell_reposts(txn: BusinessTransaction, steps: Iterable[ToldStep]) -> list[Resubmission]:
    """Every repost of a document, the newest first, each with what held it again (`problem`, of a step's own words), or
    nothing. No statement for one that was never reposted."""
    if txn.attempt <= 1:
        return []
    held = {run.attempt: run.problem for step in steps for run in step.runs if run.problem}
    found = resubmissions_of(txn.pk)
    for one in found:
        one.problem = held.get(one.attempt)  # type: ignore[attr-defined]
    return found


def tell_subject(txn: BusinessTransaction) -> str:
    """Whose sentence it is: "Invoice INV-88105", "Payment of Kestrel Freight", "Payout of GBP 91.80", else its id."""
    noun, number = spoken_noun(txn.fact_type), human(txn.number or txn.source_id)
    if number:
        return f"{noun} {number}"
    if txn.customer_name:
        return f"{noun} of {txn.customer_name}"
    if txn.amount is not None:
        return f"{noun} of {txn.currency}\u00a0{plain_money(txn.amount, txn.currency)}"
    return f"{noun} {short_id(txn.source_id)}"


def tell_became(txn: BusinessTransaction) -> str:
    """What the target calls it: a number; "receipt 9160" where the number is an id; "same" under our own number; ""
    where nothing was made."""
    if not txn.target_id:
        return ""
    number = human(txn.target_number)
    if number:
        return "same" if number == txn.number else number
    noun = inside(spoken_noun(txn.target_type))
    return f"{noun} {txn.target_id}" if human(txn.target_id) else f"{'an' if noun[:1] in 'aeio' else 'a'} {noun}"


def tell_steps(txn: BusinessTransaction, runs: list[StepRun], exchanges: list[Exchange]) -> list[ToldStep]:
    """The timeline of a transaction: finished steps, the one where it stands, and those to come."""
    by_step: dict[str, list[StepRun]] = defaultdict(list)
    for run in runs:
        by_step[run.step].append(run)
    talked: dict[str, list[Exchange]] = defaultdict(list)
    for exchange in exchanges:
        talked[exchange.step].append(exchange)
    flow = flows().get(txn.flow)
    known = [(s.name, s.sentence, s.kind) for s in flow.steps if not s.quiet or s.name == txn.held_step] if flow else []
    names = {name for name, _, _ in known}
    known += [
        (name, name.replace("_", " ").capitalize(), rows[0].kind) for name, rows in by_step.items() if name not in names
    ]
    here = txn.held_step if txn.state in _STANDS and txn.held_step in names else ""
    told, stands = [], False
    for name, sentence, kind in known:
        rows = by_step.get(name, [])
        state = rows[-1].state if rows else "next"
        if here and stands and name in names:
            state = "next"  # what an earlier attempt did there is done again
        is_here = state not in ("done",) and not stands and txn.state not in ("completed", "cancelled")
        if name == here if here else is_here:
            stands = True
            state = txn.state if txn.state in ("held", "unknown", "waiting") else ("running" if not rows else state)
        step = ToldStep(name, sentence, kind, state, rows, talked.get(name, []))
        step.customer, step.currency = txn.customer_name, txn.currency
        told.append(step)
    rules = rules_by_id({i for step in told for i in step.rule_ids})
    for step in told:
        step.rules = [rules[i] for i in step.rule_ids if i in rules]
    return told


def tell_waits(user: Any, txns: Iterable[BusinessTransaction]) -> None:
    """Each that waits with what it waits for in words (`awaited`), and the transaction that it waits for, if the person
    sees it (`awaited_txn`): "invoice INV-88105 in the ERP" instead of the vendor's id. What waits since something is
    wrong outside has that as a sentence instead (`hindered`).

    One query for each kind; none where nobody waits.
    """
    waiting = [txn for txn in txns if txn.waits_for]
    hindered = [
        txn for txn in waiting
        if txn.state == "waiting" and txn.problem_code and not txn.waits_for.startswith(pauses.END_OF)
    ]  # fmt: skip
    names = dict(Connection.objects.values_list("code", "name")) if hindered else {}
    for txn in hindered:
        word, gap, rest = txn.waits_for.partition(" ")
        txn.hindered = f"{names.get(word, word)}{gap}{rest}"  # type: ignore[attr-defined]
    waiting = [txn for txn in waiting if not hasattr(txn, "hindered")]
    ids = {word for txn in waiting for word in txn.waits_for.split() if MACHINE_ID.fullmatch(word)}
    rows = transactions_visible_to(user).filter(source_id__in=ids).exclude(flow__in=catalog.TELLING) if ids else ()
    found = {row.source_id: row for row in sorted(rows, key=lambda row: row.lane_sequence)}
    for txn in waiting:
        named = [(word, found.get(word)) for word in txn.waits_for.split() if word in ids]
        text = txn.waits_for
        for word, row in named:
            text = text.replace(word, _called(word, row, txn))
        on = next((row for _, row in named if row is not None and row.pk != txn.pk), None)
        txn.awaited, txn.awaited_txn = text, on  # type: ignore[attr-defined]


def _called(identifier: str, row: BusinessTransaction | None, txn: BusinessTransaction) -> str:
    """What people call a document or customer that a wait names by its id."""
    if identifier == txn.customer_id and txn.customer_name:
        return txn.customer_name
    if row is None:
        return short_id(identifier)
    return human(row.number) or (f"of {row.customer_name}" if row.customer_name else short_id(identifier))
