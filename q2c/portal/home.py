"""Home by role: what waits for me, where the facts are, how old the backlog is, and whether the systems answer."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET

from connectors.connections import health_of
from connectors.models import Connection
from exceptions import mentions, tallies
from exceptions.case_columns import columns_asked
from exceptions.models import Mention
from exceptions.ranking import rank
from exceptions.said import cover_notes
from q2c.core import access, audit, emergencies, shell, stats
from q2c.core.access import requires
from q2c.core.htmx import count_rows, page
from q2c.core.models import AuditEntry
from q2c.flows import pausing
from q2c.portal import bill_runs, reports, running, told
from q2c.portal.audit import deeds_visible_to, tell_entries
from q2c.transactions import selectors

SHOWN = 8
CLOSES = 8
DEEDS = 8
SIGNS = (  # whoever may none of these decides nothing
    "mappings.approve_rule", "transactions.approve_posting", "connectors.approve_connection", "exceptions.waive_case",
    "exceptions.approve_resolution",
)  # fmt: skip


@require_GET
@requires("portal.view_self")
def home(request: HttpRequest) -> HttpResponse:
    """What waits for this person; who only looks documents up begins there."""
    if not access.may(request.user, "portal.view_home"):
        return redirect("portal:card")
    context = {**waiting_work(request.user), **running_work(request.user), **systems(request.user)}
    context["paused_work"] = pausing.pauses_seen_by(request.user)
    context["runs_waiting"] = bill_runs.waiting_for_release(request.user)
    context["reports"] = reports.report_links(request.user)
    if not context["works"] and access.may(request.user, "core.view_audit"):
        context["deeds"] = latest_deeds(request.user)
    return page(request, "portal/home.html", "portal/_facts.html", context)


def waiting_work(user: Any) -> dict[str, Any]:
    """Open cases that are mine or nobody's, decisions that somebody else proposed, and the money behind the cases."""
    cases = tallies.open_cases_visible_to(user)
    works = access.may(user, "exceptions.work_case")
    mine = cases.filter(Q(assignee=user) | Q(assignee__isnull=True)) if works else cases
    all_count = count_rows(cases)
    shown = [case for case, _ in rank(mine, size=SHOWN, total=all_count.number)]
    proposals = shell.open_decisions(user).exclude(proposed_by=user).select_related("proposed_by").defer("content")
    decisions = [d for d in proposals.order_by("proposed_at")[:50] if access.may(user, d.signer_permission)]
    reviews = []
    if access.may(user, emergencies.REVIEW):
        open_uses = emergencies.uses_visible_to(user).filter(reviewed_at=None).order_by("used_at")
        reviews = emergencies.reviewable_by(user, open_uses[:50])
    return {
        "reviews": reviews,
        "mentions": _mentions(user) if works else [],
        "works": works,
        "signs": any(access.may(user, permission) for permission in SIGNS),
        "cases": shown,
        "columns": columns_asked("money,owner,due"),
        "case_count": count_rows(mine),
        "late_count": count_rows(tallies.late(mine)),
        "all_case_count": all_count,
        "totals": tallies.totals_of(user, shown),
        "blocked": tallies.total_of_open(user) if all_count.is_exact else tallies.Totals(),
        "closes": tallies.closes_blocked(user)[:CLOSES],
        "now": timezone.now(),
        "reporting_currency": settings.REPORTING_CURRENCY,
        "decisions": decisions[:5],
        "decision_count": len(decisions),
    }


def running_work(user: Any) -> dict[str, Any]:
    """Each flow's facts in one column at most, their sum, since when completed ones wait to be added up, and the
    backlog of due work with its age."""
    facts = selectors.flow_facts(user)
    sums: dict[str, int] = {}
    for row in facts:
        row.title = told.flow_title(row.flow)  # type: ignore[attr-defined]
        for state, count in row.counts.items():
            sums[state] = sums.get(state, 0) + count
    backlog, oldest = selectors.backlog(user)
    return {
        "facts": facts,
        "completed_since": selectors.day_begins_at(),
        "behind_since": stats.behind_since(),
        "sees_operations": access.may(user, running.PERMISSION),
        "sums": sums,
        "held_count": sums.get("held", 0) + sums.get("unknown", 0),
        "sum_on_the_way": sums.get("running", 0) + sums.get("waiting", 0),
        "backlog": backlog,
        "backlog_since": oldest,
    }


def latest_deeds(user: Any) -> list[AuditEntry]:
    """What people did last: where somebody who works no cases begins."""
    found = list(deeds_visible_to(user).exclude(actor=audit.PORTAL).order_by("-sequence")[:DEEDS])
    tell_entries(found)
    return found


def systems(user: Any) -> dict[str, Any]:
    """Connections that need somebody, how many are well, and for whoever runs them each with its health."""
    told_health = [(c, health_of(c)) for c in Connection.objects.select_related("health")]
    ill = [(c, h) for c, h in told_health if h.is_ill or h.state == "slow"]
    return {
        "ill": ill,
        "well_count": len(told_health) - len(ill),
        "connection_count": len(told_health),
        "run_systems": told_health if access.may(user, "connectors.work_connection") else [],
    }


def _mentions(user: Any) -> list[Mention]:
    """The notes that name them, as they may read them."""
    rows = list(mentions.unread(user)[:SHOWN])
    cover_notes(user, [row.note for row in rows])
    return rows
