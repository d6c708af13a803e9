"""What the page frame needs on every page: open work, the nearest period end, the person, the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.apps import apps  # rooms above are read by name: the frame counts their rows, and nothing else of them
from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.functional import SimpleLazyObject, cached_property

from q2c.core import access
from q2c.core.htmx import count_rows
from q2c.core.models import Proposal


class Entry(NamedTuple):
    """A line of the navigation. `count` tells its open work, if it has any."""

    title: str
    view: str
    icon: str
    permission: str
    count: Callable[[Any], int | str] | None = None  # type: ignore[assignment]  # it hides the tuple's own count()


def open_cases(user: Any) -> QuerySet:
    """Open cases that a person sees."""
    tallies = apps.get_model("exceptions", "CaseTally").objects.all()
    cases = apps.get_model("exceptions", "ExceptionCase").objects.filter(
        closed_at__isnull=True, snoozed_at__isnull=True
    )
    return cases.filter(access.cases_q(user, tallies))


def proposals_visible_to(user: Any) -> QuerySet:
    """Proposals about the person's entities. One without entities is seen by people of all."""
    codes = access.entities_of(user)
    rows = Proposal.objects.all()
    return rows if codes is None else rows.filter(legal_entities__contained_by=sorted(codes)).exclude(legal_entities=[])


def open_decisions(user: Any) -> QuerySet:
    """Proposals that wait for somebody, of those that the person sees."""
    return proposals_visible_to(user).filter(state=Proposal.State.PROPOSED)


def _count_cases(user: Any) -> int | str:
    counted = count_rows(open_cases(user))
    return counted.number if counted.is_exact else "10,000+"


def _count_decisions(user: Any) -> int:
    return open_decisions(user).count()


def _count_paused(user: Any) -> int:
    return apps.get_model("connectors", "Connection").objects.filter(state="paused").count()


NAVIGATION: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    ("", (
        Entry("Home", "portal:home", "nhome", "portal.view_home"),
        Entry("Exceptions", "exceptions:case_list", "ncase", "exceptions.view_case", _count_cases),
        Entry("Decisions", "portal:decision_list", "awaiting", "core.view_decision", _count_decisions),
    )),
    ("Facts", (
        Entry("Money card", "portal:card", "search", "portal.view_card"),
        Entry("Transactions", "portal:transaction_list", "ntxn", "transactions.view_transaction"),
        Entry("Lineage", "portal:lineage", "nline", "transactions.view_transaction"),
        Entry("Inbox", "portal:event_list", "ninbox", "inbox.view_event"),
    )),
    ("Rules", (
        Entry("Mappings", "mappings:rule_list", "nmap", "mappings.view_rule"),
        Entry("Cross-references", "mappings:identity_list", "copy", "mappings.view_rule"),
        Entry("Change sets", "mappings:change_set_list", "sealed", "mappings.view_rule"),
    )),
    ("Running", (
        Entry("Alerts", "exceptions:alert_list", "risk", "exceptions.view_case"),
        Entry("Connections", "connectors:connection_list", "nconn", "connectors.view_connection", _count_paused),
        Entry("Schedules", "portal:schedule_list", "nclose", "portal.view_home"),
        Entry("Audit trail", "portal:audit_list", "naudit", "core.view_audit"),
    )),
)  # fmt: skip


class Shell:
    """Computed when a template asks: a fragment without the frame costs nothing."""

    product = settings.PRODUCT_NAME
    environment = "" if settings.ENV == "production" else settings.ENV

    def __init__(self, request: Any) -> None:
        self.user = request.user
        self.path = request.path

    @cached_property
    def role(self) -> str:
        """The person's roles by title."""
        return ", ".join(dict.fromkeys(role.title for role, _ in access.memberships(self.user)))

    @cached_property
    def searches(self) -> bool:
        """Whether the person may use the search box."""
        return access.may(self.user, "portal.view_home")

    @property
    def zone(self) -> str:
        """The zone of the times on this page, by its short name: CET."""
        return f"{timezone.localtime():%Z}"

    @cached_property
    def scope(self) -> str:
        """The entities that the person sees, in words."""
        codes = access.entities_of(self.user)
        return "all entities" if codes is None else ", ".join(sorted(codes)) or "no entity"

    @cached_property
    def groups(self) -> list[dict[str, Any]]:
        """The navigation in short groups: only what the person may open, with counts of open work."""
        groups = []
        for title, entries in NAVIGATION:
            shown = [
                {"title": e.title, "view": e.view, "icon": e.icon, "count": e.count(self.user) if e.count else 0}
                for e in entries
                if access.may(self.user, e.permission)
            ]
            if shown:
                groups.append({"title": title, "entries": shown})
        return groups


def shell(request: Any) -> dict[str, Any]:
    """Context of templates/base.html."""
    return {"shell": SimpleLazyObject(lambda: Shell(request))}
