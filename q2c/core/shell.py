"""What the page frame needs on every page: open work, the nearest period end, the person, the environment."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from django.apps import apps  # rooms above are read by name: the frame counts their rows, and nothing else of them
from django.conf import settings
from django.db.models import BigIntegerField, BooleanField, Case, CharField, Exists, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject, cached_property

from q2c.core import access, people
from q2c.core.approvals import OF_KIND
from q2c.core.htmx import Counted, count_rows
from q2c.core.models import Proposal

VIEW_DECISION = "core.view_decision"


class Entry(NamedTuple):
    """A line of the navigation. `count` tells its open work, if it has any."""

    title: str
    view: str
    icon: str
    permission: str
    count: Callable[[Any], int | str] | None = None  # type: ignore[assignment]  # it hides the tuple's own count()
    also: str = ""  # the view below which its other pages are


def open_cases(user: Any) -> QuerySet:
    """Open cases that a person sees."""
    return _cases().filter(access.cases_q(user, _tallies()), closed_at__isnull=True, snoozed_at__isnull=True)


def _cases() -> QuerySet:
    return apps.get_model("exceptions", "ExceptionCase").objects.all()


def _tallies() -> QuerySet:
    return apps.get_model("exceptions", "CaseTally").objects.all()


def proposals_visible_to(user: Any) -> QuerySet:
    """Proposals about the person's entities. One without entities is seen by people of all."""
    codes = access.entities_of(user, VIEW_DECISION)
    rows = Proposal.objects.filter(_class_q(user))
    return rows if codes is None else rows.filter(legal_entities__contained_by=sorted(codes)).exclude(legal_entities=[])


def _class_q(user: Any) -> Q:
    """Proposals that aren't about a case of another class than the person's. A role that isn't limited to kinds shows
    all that are about its entities."""
    scopes = [(role, code) for role, code in access.memberships(user) if VIEW_DECISION in role.may]
    limited = [role for role, _ in scopes if role.kinds]
    free = {code for role, code in scopes if not role.kinds}
    if not limited or None in free:
        return Q()
    wanted = functools.reduce(operator.or_, (access.class_q(role) for role in limited))
    cases = _cases().filter(wanted)
    kinds = sorted({kind for role in limited for kind in role.kinds})
    items = apps.get_model("exceptions", "BulkItem").objects.filter(
        action__pk=Cast(OuterRef("subject_id"), BigIntegerField())
    )
    foreign = Exists(items.exclude(case__in=cases))
    of_class = Case(
        When(
            subject_type="case",
            then=Q(subject_id__in=cases.annotate(as_text=Cast("pk", CharField())).values("as_text")),
        ),
        When(subject_type="bulk_action", then=~foreign),
        When(content__has_key=OF_KIND, then=Q(**{f"content__{OF_KIND}__in": kinds})),
        default=Value(True),
        output_field=BooleanField(),
    )
    own = Q(of_class)
    mine = sorted(code for code in free if code)
    return own | (Q(legal_entities__contained_by=mine) & ~Q(legal_entities=[])) if mine else own


def open_decisions(user: Any) -> QuerySet:
    """Proposals that wait for somebody, of those that the person sees."""
    return proposals_visible_to(user).filter(state=Proposal.State.PROPOSED)


def know_open_cases(user: Any, counted: Counted) -> None:
    """A page that counts a person's open cases for itself spares the frame counting them again."""
    user._open_cases = counted


def _count_cases(user: Any) -> int | str:
    known: Counted | None = getattr(user, "_open_cases", None)
    counted = count_rows(open_cases(user)) if known is None else known
    return counted.number if counted.is_exact else "10,000+"


def _count_decisions(user: Any) -> int:
    return open_decisions(user).count()


def _count_paused(user: Any) -> int:
    return apps.get_model("connectors", "Connection").objects.filter(state="paused").count()


NAVIGATION: tuple[tuple[str, tuple[Entry, ...]], ...] = (
    ("", (
        Entry("Home", "portal:home", "nhome", "portal.view_home"),
        Entry("Exceptions", "exceptions:case_list", "ncase", "exceptions.view_case", _count_cases),
        Entry("Decisions", "portal:decision_list", "awaiting", VIEW_DECISION, _count_decisions),
    )),
    ("Facts", (
        Entry("Money card", "portal:card", "search", "portal.view_card"),
        Entry("Transactions", "portal:transaction_list", "ntxn", "transactions.view_transaction"),
        Entry("Lineage", "portal:lineage", "nline", "transactions.view_transaction"),
        Entry("Inbox", "portal:event_list", "ninbox", "inbox.view_event"),
        Entry("Completeness", "portal:completeness", "nrec", "transactions.view_transaction"),
        Entry("Bill runs", "portal:bill_run_list", "review", "transactions.view_transaction"),
        Entry("Flash", "portal:flash", "nops", "portal.view_report"),
        Entry("Cut-off list", "portal:cut_off", "nclose", "portal.view_report"),
        Entry("Ignored documents", "portal:ignored", "waived", "portal.view_report"),
    )),
    ("Rules", (
        Entry("Mappings", "mappings:rule_list", "nmap", "mappings.view_rule"),
        Entry("Cross-references", "mappings:identity_list", "copy", "mappings.view_rule"),
        Entry("Change sets", "mappings:change_set_list", "sealed", "mappings.view_rule"),
    )),
    ("Running", (
        Entry("Operations", "portal:operations", "nops", "portal.view_operations"),
        Entry("Alerts", "exceptions:alert_list", "risk", "exceptions.view_case"),
        Entry("Connections", "connectors:connection_list", "nconn", "connectors.view_connection", _count_paused),
        Entry("Back-fills", "portal:backfill_list", "undo", "inbox.view_event"),
        Entry("Pauses", "portal:pause_list", "paused", "transactions.view_transaction"),
        Entry("Keeping", "portal:keeping", "sealed", "core.view_keeping"),
        Entry("Schedules", "portal:schedule_list", "clock", "portal.view_home"),
        Entry("People and roles", "portal:person_list", "npeople", "core.view_access", also="portal:role_list"),
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

    @property
    def letter_keys(self) -> bool:
        """Whether keys of one character do something for this person."""
        return people.uses_letter_keys(self.user)

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
                {
                    "title": e.title,
                    "view": e.view,
                    "icon": e.icon,
                    "count": e.count(self.user) if e.count else 0,
                    "also": reverse(e.also) if e.also else "",
                }
                for e in entries
                if access.may(self.user, e.permission)
            ]
            if shown:
                groups.append({"title": title, "entries": shown})
        return groups


def shell(request: Any) -> dict[str, Any]:
    """Context of templates/base.html."""
    return {"shell": SimpleLazyObject(lambda: Shell(request))}
