"""What other rooms are told when a batch ends: lineage, cross-references, cases, approvals asked for, paused
connections.

Each function is handed to the machine and called with the whole batch, inside the machine's own database transaction.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db import connection
from django.db.transaction import atomic

from connectors.models import Connection
from exceptions import cases
from mappings import references
from q2c.core import approvals
from q2c.core.models import Person
from q2c.core.problems import CREDENTIALS_REFUSED, Category, Problem
from q2c.flows import identities
from q2c.flows.announce import announce_completed
from q2c.flows.begun import schedule_links
from q2c.flows.bill_runs import keep_runs_waiting
from q2c.flows.dispatch import dispatch_facts
from q2c.flows.elsewhere import dispatch_elsewhere, fact_of_need
from q2c.flows.summaries import keep_contributions
from q2c.flows.told import Link, Moved, Reference
from q2c.flows.uses import count_uses
from q2c.transactions import lineage
from q2c.transactions.batch import Run
from q2c.transactions.steps import parameters


def tell_done(runs: list[Run]) -> None:
    """Store lineage and cross-references of completed runs, and close what they had open."""
    now = dt.datetime.now(dt.UTC)
    links: list[lineage.LinkRow] = []
    found: list[references.Reference] = []
    moved: list[tuple[references.Reference, str]] = []
    for run in runs:
        if run.flow.links is None:
            continue
        for told in run.flow.links(**_named(run.flow.links, run)):
            if isinstance(told, Link):
                links.append(lineage.LinkRow(run.id, run.legal_entity_code, told))
            elif isinstance(told, Reference):
                found.append(_reference(told, run))
            elif isinstance(told, Moved):
                moved.append((_reference(told, run), told.was))
    beside = identities.keep(found, moved, runs, now)
    lineage.store_links(links + schedule_links(runs), now)
    announce_completed(runs)
    dispatch_elsewhere(runs)
    count_uses([run.id for run in runs])
    again = [run.id for run in runs if run.attempt > 1]
    if again:
        cases.close_for_transactions(again, "completed")
    identities.tell(beside)


def _reference(told: Reference | Moved, run: Run) -> references.Reference:
    return references.Reference(
        told.record_type,
        told.record_key,
        told.connection_code,
        told.external_type,
        told.external_id,
        told.number,
        legal_entity=run.legal_entity_code,
        transaction_id=run.id,
    )


def _named(function: Any, run: Run) -> dict[str, Any]:
    return {name: run if name == "txn" else run.facts[name] for name in parameters(function)}


def tell_cancelled(runs: list[Run]) -> None:
    """Close the cases of runs that have nothing to carry any more."""
    cases.close_for_transactions([run.id for run in runs], "not_needed")


def answer_waits(runs: list[Run]) -> frozenset[str]:
    """See to what waiting runs leave and need: contributions to summaries, facts whose own flows bring what they wait
    for, then people's approval (which is audited, so it comes last). Returns the flows that have new work."""
    keep_contributions(runs)
    keep_runs_waiting(runs)
    facts = [
        fact_of_need(run.awaits.needs, customer_name=run.customer_name, correlation_id=run.correlation_id)
        for run in runs
        if run.awaits is not None and run.awaits.needs is not None
    ]
    flows = dispatch_facts(facts).flows
    ask_people(runs)
    return flows


def ask_people(runs: list[Run]) -> None:
    """Make the proposals that waiting runs ask for; one that stands with other content is void (law 7)."""
    wishes = [
        approvals.Wish(
            kind=run.awaits.asks["kind"],
            subject=("transaction", run.id),
            content=run.awaits.asks["content"],
            title=run.awaits.asks["title"],
            why="The entity's posting policy asks for approval before posting",
            permission="transactions.approve_posting",
            legal_entities=[run.legal_entity_code],
        )
        for run in runs
        if run.awaits is not None and run.awaits.asks
    ]
    if wishes:
        approvals.propose_afresh(wishes, by=portal_person(), stale="The posting changed after it was proposed")


def portal_person() -> Person:
    """The portal itself, as the proposer of what policy asks people to approve. It can't sign in."""
    person, _ = Person.objects.get_or_create(
        username="portal", defaults={"display_name": "The portal", "is_active": False}
    )
    return person


def pause_refused(code: str, problem: Problem) -> None:
    """Refused credentials pause the connection, with one case for it; its transactions wait (law 6). Nothing else
    does."""
    if not problem.pauses_connection:
        return
    with atomic():
        row = Connection.objects.select_for_update().filter(code=code).first()
        if row is None or row.state == Connection.State.PAUSED:
            return
        row.state, row.paused_reason, row.paused_by = Connection.State.PAUSED, problem.summary[:500], "the portal"
        row._change_reason = problem.summary[:500]
        row.save()
        cases.open_case(
            Problem(CREDENTIALS_REFUSED, Category.AUTHENTICATION, problem.summary, connection=code),
            connection_code=code,
        )
    if not connection.in_atomic_block:
        connection.close_if_unusable_or_obsolete()
