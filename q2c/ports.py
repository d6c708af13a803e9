"""Who serves whom: flows get their tools. One `BatchContext` is a batch's consistent view of rules, lists, systems.

Small tables (entities, books, periods, connections, roles) are read once and kept a few seconds per process; rules and
cross-references are fetched for the whole batch with one query per kind.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from connectors import registry
from connectors.breaker import is_away
from connectors.calls import reading_answers
from connectors.families import Family
from connectors.models import Connection, ReferenceEntry, RoleAssignment
from connectors.recorder import Collector
from exceptions.models import Choice
from mappings.bill_runs import RunPolicies
from mappings.resolve import Snapshot, latest_change_set
from mappings.retries import Retries
from q2c.core.approvals import OVERRIDE, approved_contents
from q2c.core.models import AccountingPeriod, LegalEntity, Subsidiary
from q2c.core.problems import Category, NeverSent, Problem
from q2c.links import Links, fetch_links
from q2c.posting.facts import Book, Period
from q2c.rules import Rules
from q2c.transactions.batch import LINK, Run

KEPT_SECONDS = 5.0
FAMILY_OF = {"erp": Family.ERP, "billing": Family.BILLING, "crm": Family.CRM, "payments": Family.PAYMENTS}
# The fact by which a transaction's own system is known, once a step has chosen it; else the one that plays the role.
CHOSEN_BY = {"erp": "book", "billing": "billing_system", "source": "note_system"}
WHOLE_ROLE = {Family.ERP: "erp|*", Family.BILLING: "billing|order"}  # the key of a rule that would answer
_kept: dict[str, tuple[float, Any]] = {}


def _keep(name: str, read: Callable[[], Any]) -> Any:
    found = _kept.get(name)
    if found is None or time.monotonic() - found[0] > KEPT_SECONDS:
        found = _kept[name] = (time.monotonic(), read())
    return found[1]


def forget_kept() -> None:
    """Read small tables afresh (after a change in this process, and between tests)."""
    _kept.clear()
    _known.clear()
    _retries.clear()
    _run_policies.clear()
    _targets.clear()


def connections() -> dict[str, Connection]:
    """Connections by code."""
    return _keep("connections", lambda: {c.code: c for c in Connection.objects.all()})


def entities() -> dict[str, LegalEntity]:
    """Legal entities by code."""
    return _keep("entities", lambda: {e.code: e for e in LegalEntity.objects.all()})


def role(family: Family, legal_entity: str) -> str:
    """The code of the connection that plays a family's role for an entity where no rule names another by date. Raises
    Problem `no_system_for_role`."""
    roles = _keep(
        "roles",
        lambda: {
            (r.family, r.legal_entity.code if r.legal_entity else ""): r.connection.code
            for r in RoleAssignment.objects.select_related("legal_entity", "connection")
        },
    )
    code = roles.get((family.value, legal_entity)) or roles.get((family.value, ""))
    if code is None:
        raise Problem(
            "no_system_for_role",
            Category.MAPPING,
            f"No system plays {family.value} for {legal_entity or 'entities without an own one'}",
            kind="target_system" if family in WHOLE_ROLE else None,
            key=WHOLE_ROLE.get(family, family.value),
            legal_entity=legal_entity or None,
        )
    return code


def books() -> dict[tuple[str, str], Book]:
    """Books by (legal entity, ERP connection)."""

    def read() -> dict[tuple[str, str], Book]:
        rows = Subsidiary.objects.select_related("legal_entity", "connection")
        return {
            (s.legal_entity.code, s.connection.code): Book(
                code=s.legal_entity.code,
                name=s.legal_entity.name,
                country=s.legal_entity.country,
                currency=s.legal_entity.currency,
                time_zone=s.legal_entity.time_zone,
                connection=s.connection.code,
                erp_id=s.external_id,
            )
            for s in rows
        }

    return _keep("books", read)


def periods() -> dict[tuple[str, str], list[Period]]:
    """Each book's periods in order, by (legal entity, ERP connection), as the ERP's own list said when it was read."""

    def read() -> dict[tuple[str, str], list[Period]]:
        found: dict[tuple[str, str], list[Period]] = {}
        rows = AccountingPeriod.objects.order_by("start_date").values_list(
            "subsidiary__legal_entity__code",
            "subsidiary__connection__code",
            "code",
            "name",
            "external_id",
            "start_date",
            "end_date",
            "is_receivables_open",
            "is_ledger_open",
            "read_at",
        )
        for entity, connection, code, name, erp_id, start, end, receivables, ledger, read_at in rows:
            found.setdefault((entity, connection), []).append(
                Period(
                    code=code,
                    name=name,
                    erp_id=erp_id,
                    start_date=start,
                    end_date=end,
                    is_receivables_open=receivables,
                    is_ledger_open=ledger,
                    read_at=read_at,
                )
            )
        return found

    return _keep("periods", read)


def reference(connection_code: str, list_name: str) -> dict[str, dict[str, Any]]:
    """A target's cached list by its id: {"code", "name", "attributes"}."""

    def read() -> dict[str, dict[str, Any]]:
        rows = ReferenceEntry.objects.filter(connection__code=connection_code, list_name=list_name, is_active=True)
        return {
            r.external_id: {"code": r.code, "name": r.name, "attributes": r.attributes, "read_at": r.read_at}
            for r in rows
        }

    return _keep(f"reference:{connection_code}:{list_name}", read)


def _entity(code: str) -> LegalEntity:
    found = entities().get(code)
    if found is None:
        raise Problem(
            "legal_entity_unknown",
            Category.MAPPING,
            f"{code or 'The seller'} isn't a legal entity that we know",
            kind="selling_entity",
            key=code,
        )
    return found


class Calendar:
    """Entities' time zones, books and periods (law 10)."""

    def book(self, legal_entity: str, erp: str = "") -> Book:
        """The entity's book in this ERP; without one, in the ERP that plays the role.

        Raises Problem `legal_entity_unknown`, `no_system_for_role` or `missing_subsidiary_mapping`.
        """
        _entity(legal_entity)
        erp = erp or role(Family.ERP, legal_entity)
        book = books().get((legal_entity, erp))
        if book is None:
            raise Problem(
                "missing_subsidiary_mapping",
                Category.MAPPING,
                f"{legal_entity} has no subsidiary in {connections()[erp].name if erp in connections() else erp}",
                kind="subsidiary",
                key=legal_entity,
                connection=erp,
                legal_entity=legal_entity,
            )
        return book

    def erps(self, legal_entity: str = "") -> frozenset[str]:
        """The ERPs in which the entity has a book; without one, those in which any has."""
        return _keep(
            f"erps:{legal_entity}", lambda: frozenset(erp for code, erp in books() if legal_entity in ("", code))
        )

    def billing(self, legal_entity: str) -> str:
        """The billing system that plays the role for the entity. Raises Problem `no_system_for_role`."""
        return role(Family.BILLING, legal_entity)

    def local_date(self, legal_entity: str, instant: dt.datetime) -> dt.date:
        """An instant as a date in the entity's own time zone. Raises Problem `legal_entity_unknown`."""
        return instant.astimezone(ZoneInfo(_entity(legal_entity).time_zone)).date()

    def local_now(self, legal_entity: str) -> dt.datetime:
        """The entity's wall clock."""
        return dt.datetime.now(ZoneInfo(entities()[legal_entity].time_zone))

    def period(self, book: Book, date: dt.date) -> Period | None:
        """The book's fiscal month of a date, or None when the ERP's list doesn't have it."""

        def find() -> Period | None:
            found = periods().get((book.code, book.connection), ())
            return next((p for p in found if p.start_date <= date <= p.end_date), None)

        return _keep(f"period:{book.code}:{book.connection}:{date}", find)

    def reference(self, connection_code: str, list_name: str) -> dict[str, dict[str, Any]]:
        """A target's cached list by its id."""
        return reference(connection_code, list_name)


def accepted_problems(transaction_ids: list[UUID]) -> dict[UUID, list[tuple[str, dict[str, str]]]]:
    """The problems that two people let these transactions pass: code and subject of each, by transaction."""
    found = approved_contents(OVERRIDE, "transaction", transaction_ids)
    return {UUID(i): [(c["problem"], c["subject"]) for c in contents] for i, contents in found.items()}


def choices_of(transaction_ids: list[UUID]) -> dict[UUID, dict[str, Any]]:
    """What people chose for these transactions, by transaction and by what it's about; the newest choice counts."""
    found: dict[UUID, dict[str, Any]] = {}
    rows = Choice.objects.filter(transaction_id__in=transaction_ids).order_by("pk")
    for transaction_id, about, content in rows.values_list("transaction_id", "about", "content"):
        found.setdefault(transaction_id, {})[about] = content
    return found


class Target:
    """A vendor's client with what the machine asks of a target: code, name, repeats, concurrency."""

    def __init__(self, connection: Connection) -> None:
        self.connection_code = connection.code
        self.name = connection.name
        self.repeats = registry.repeats_of(connection)
        self.undo = registry.manifest(connection.vendor).undo
        self.at_once = connection.at_once or registry.manifest(connection.vendor).limits.at_once
        self._client = registry.client_for(connection, collector=collector)

    def is_away(self, object_type: str) -> bool:
        """Of a call about that kind of object that has just failed: whether nobody is answered, so that calls wait."""
        return is_away(self.connection_code, object_type)

    def __getattr__(self, verb: str) -> Any:
        return reading_answers(getattr(self._client, verb))


class Linked:
    """An ERP for a transaction that people linked to a document of it: a look-up for ours gives that one."""

    def __init__(self, target: Target, *, document_type: str, document: str) -> None:
        self._target, self._type, self._document = target, document_type, document

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def find(self, document_type: str, external_id: str) -> Any:
        """The linked document, read by its own id; anything else as ever. Raises as the client's `read`."""
        if document_type == self._type:
            return self._target.read(document_type, self._document)
        return self._target.find(document_type, external_id)


collector = Collector()  # this process's telephone notes; the machine takes them with each commit
_targets: dict[str, tuple[Any, Target]] = {}


def target(code: str) -> Target:
    """The client of a connection, made again when its row or credentials changed."""
    connection = connections()[code]
    version = (connection.base_url, str(connection.settings), bytes(connection.secrets or b""), connection.at_once)
    found = _targets.get(code)
    if found is None or found[0] != version:
        found = _targets[code] = (version, Target(connection))
    return found[1]


_known: list[Snapshot] = []  # what one change set knew never changes, so its rules are kept until the next one
KEYS_KEPT = 30_000
BY_PRODUCT_LINE = ("department", "class")  # kinds of rules whose key is a product line


def known_rules() -> Snapshot:
    """The rules as known now; those fetched for earlier batches at the same change set are still there."""
    number = latest_change_set()
    if not _known or _known[0].change_set != number or _known[0].key_count > KEYS_KEPT:
        _known[:] = [Snapshot.load([], change_set=number)]
    return _known[0]


_retries: list[Retries] = []
_run_policies: list[RunPolicies] = []


def known_retries(change_set: int) -> Retries:
    """The retry policies as known now: read anew when a change set has come."""
    if not _retries or _retries[0].change_set != change_set:
        _retries[:] = [Retries.load(change_set)]
    if (found := _retries[0]).has_rules:
        found.vendors = {code: connection.vendor for code, connection in connections().items()}
    return found


def run_policies(change_set: int | None = None) -> RunPolicies:
    """How bill runs post, as known at a change set, read anew when one has come; without its number seconds ago."""
    number = _keep("change_set", latest_change_set) if change_set is None else change_set
    if not _run_policies or _run_policies[0].change_set < number:
        _run_policies[:] = [RunPolicies.load(number)]
    return _run_policies[0]


class BatchContext:
    """A batch's view of the world (the machine's `Context`)."""

    def __init__(self, runs: list[Run], snapshot: Snapshot | None = None) -> None:
        self._snapshot = snapshot or known_rules()
        self.retry_of = known_retries(self._snapshot.change_set).policy
        self._of_then = {run.known_at: Snapshot.load([], run.known_at) for run in runs if run.known_at is not None}
        self._links = Links(run_policies(self._snapshot.change_set))
        self._rules: dict[UUID, Rules] = {}
        self._calendar = Calendar()

    def fetch(self, wants: dict[str, set[Any]]) -> None:
        """Fetch look-up keys for the whole batch: `rule` (kind, key), `xref`, `golden` and `suspect` (record type,
        record key), `fact` (flow, source connection, source id), `given` (the same and the name of what a step gave)
        and `given_back` (the same of money's coming back),
        `lane` (flow, lane), `price`, `product_line` (SKU), `parents` (record key of an account), `status`, `voids`
        (billing connection, document id), `contribution` (ERP connection, external id), `bill_run` (its id)."""
        if rules := wants.get("rule"):
            for snapshot in (self._snapshot, *self._of_then.values()):
                snapshot.fetch(rules)
        fetch_links(self._links, wants)
        if skus := wants.get("product_line"):
            lines = {self._links.product_line(sku) for sku in skus} - {""}
            self._snapshot.fetch({(kind, line) for line in lines for kind in BY_PRODUCT_LINE})

    def port(self, name: str, run: Run) -> Any:
        """The tool of that name for this transaction. Raises Problem when nobody plays the role, NeverSent when
        paused."""
        if name == "mappings":
            rules = self._rules.get(run.id)
            if rules is None:
                rules = self._rules[run.id] = Rules(self._snapshot_of(run))
            return rules
        if name == "links":
            return self._links
        if name == "calendar":
            return self._calendar
        code = self.system(name, run)
        connection = connections()[code]
        if connection.state == Connection.State.PAUSED:
            run.target_connection = code
            raise NeverSent(
                f"{connection.name} is paused: {connection.paused_reason}",
                wait_seconds=15,
                counts=False,
                connection=code,
            )
        linked = run.chosen.get(LINK) if name == "erp" else None
        return target(code) if linked is None else Linked(target(code), **linked)

    def system(self, name: str, run: Run) -> str:
        """The code of the connection that serves this transaction: the one that its own step chose, else the one that
        plays the role. Raises Problem `no_system_for_role`."""
        chosen = run.facts.get(CHOSEN_BY.get(name, ""))
        if chosen is not None:
            return chosen.connection if isinstance(chosen, Book) else str(chosen)
        return role(FAMILY_OF[name], run.legal_entity_code)

    def change_set(self, run: Run) -> int:
        """What the rules of this run know: the newest, or what a repost by the mappings of then asked for."""
        return self._snapshot_of(run).change_set

    def _snapshot_of(self, run: Run) -> Snapshot:
        return self._snapshot if run.known_at is None else self._of_then[run.known_at]

    def used(self, run: Run) -> dict[str, Any] | None:
        """The rules that this run's last step used."""
        rules = self._rules.get(run.id)
        used = rules.take_used() if rules is not None else None
        return {"rules": used} if used else None
