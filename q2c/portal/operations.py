"""Operations: every flow and system with its light, processes, service levels, close days; one flow hour by hour."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from exceptions.models import ExceptionCase
from exceptions.tallies import cases_visible_to
from mappings.kinds import PROPOSE_RUNNING, SERVICE_LEVEL
from q2c.core import access, stats
from q2c.core.access import requires
from q2c.core.htmx import page, wants_fragment
from q2c.core.problems import Category
from q2c.core.service_levels import DAYS
from q2c.flows import levels, pausing, watching
from q2c.flows.catalog import BY_CODE
from q2c.portal import living, running
from q2c.portal.running import PERMISSION, Figures
from q2c.reconciliation import shown
from q2c.reconciliation.told import feeds_told
from q2c.transactions.counting import HELD

LOUD = ("failing", "stuck", "holds", "unknown", "paused")  # lights that want somebody, the loudest first
BARS_HIGH = 60
# Where the documents (or cases) stand that a service level counts.
_LEVEL_LISTS: dict[str, tuple[str, str | None, dict[str, str]]] = {
    "success_rate": ("portal:transaction_list", None, {"state": "held"}),
    "order_activation": ("portal:operations_flow", "order_to_subscription", {}),
    "invoice_posting": ("portal:operations_flow", "invoice_to_erp", {}),
    "payment_propagation": ("portal:operations_flow", "payment_to_erp", {}),
    "exception_resolution": ("exceptions:case_list", None, {"due": "late"}),
}


class Bar(NamedTuple):
    """A bar of the picture: where it stands, height and upper edge of what completed and, above it, of what was
    held."""

    x: int
    completed: int
    completed_y: int
    held: int
    held_y: int
    words: str


class Line(NamedTuple):
    """A line of a flow's table: the hour or day, its figures, and the list of the documents received then."""

    when: dt.datetime | dt.date
    figures: Figures
    url: str


@require_GET
@requires(PERMISSION)
def operations(request: HttpRequest) -> HttpResponse:
    """How everything runs: flows, systems, processes, service levels, and the days around a close."""
    wanted, codes = _entity(request)
    entities = running.entities_seen(request.user, wanted)
    flows = running.flow_rows(request.user, entities)
    systems = running.system_rows(entities)
    feeds = feeds_told(entities, {row.connection.code: row.connection.name for row in systems})
    found = living.processes()
    missing = living.missing_parts(found)
    rows_of = [code for code in codes if not wanted or code == wanted]
    looked = running.looked_at()
    now = timezone.now()
    context = {
        "flows": flows,
        "loud": sorted(
            (row for row in flows if row.light in LOUD), key=lambda row: (LOUD.index(row.light), -row.now.held)
        ),
        "systems": systems,
        "ill": [row for row in systems if row.health.is_ill],
        "processes": found,
        "standstill": living.standstill(found),
        "missing": [", ".join(missing[:-1]), missing[-1]] if len(missing) > 2 else missing,
        "has_broker": any(process.part == living.BROKER and process.state == "lives" for process in found),
        "levels": _level_rows(request, entities),
        "level_days": DAYS,
        "feeds": feeds,
        "feed_count": len({(feed.connection, feed.documents) for feed in feeds}),
        "sees_feeds": access.may(request.user, shown.PERMISSION),
        "by_itself": wants_fragment(request),
        "pauses": pausing.pauses_seen_by(request.user, entity=wanted),
        "entity": wanted,
        "entity_codes": codes,
        "of_entity": f"&entity={wanted}" if wanted else "",
        "looked_at": looked,
        "is_behind": looked is None or now - looked > running.LOOKED_AGO or stats.behind_since() is not None,
        "hours": running.HOURS,
        "since": timezone.localtime(now - dt.timedelta(hours=running.HOURS)).date(),
        "may_propose": access.may(request.user, PROPOSE_RUNNING),
        "propose_url": f"{reverse('mappings:propose')}?kind={SERVICE_LEVEL}",
        "targets_url": f"{reverse('mappings:rule_list')}?kind={SERVICE_LEVEL}",
        **_heat(request, entities, rows_of),
    }
    return page(request, "portal/operations.html", "portal/_operations.html", context)


@require_GET
@requires(PERMISSION)
def operations_flow(request: HttpRequest, code: str) -> HttpResponse:
    """One flow over 24 hours or seven days: by hour or day, by system and entity, and why documents were held."""
    flow = BY_CODE.get(code)
    if flow is None:
        raise Http404
    wanted, codes = _entity(request)
    entities = running.entities_seen(request.user, wanted)
    is_week = request.GET.get("span") == "week"
    counted: list[tuple[Any, Figures]] = [
        *(running.figures_by_day(code, entities) if is_week else running.figures_by_hour(code, entities))
    ]
    days = 7 if is_week else 2
    places = running.figures_by_place(code, entities, days=days)
    total = Figures()
    for _, figures in counted:
        for (measure, about), count in figures.about.items():
            total.counts[measure] += count
            total.about[measure, about] += count
        total.buckets = stats.add([total.buckets, figures.buckets])
    row = next(found for found in running.flow_rows(request.user, entities) if found.code == code)
    why = sorted(((category, count) for (name, category), count in total.about.items() if name == HELD),
                 key=lambda pair: -pair[1])  # fmt: skip
    context = {
        "flow": flow,
        "row": row,
        "is_week": is_week,
        "lines": [Line(when, figures, _received(code, wanted, when)) for when, figures in reversed(counted)],
        "bars": _bars(counted),
        "bars_high": BARS_HIGH,
        "bars_wide": len(counted) * 10,
        "places": places,
        "place_days": days,
        "total": total,
        "why": [(category, count) for category, count in why if category in set(Category)],
        "entity": wanted,
        "entity_codes": codes,
        "of_entity": f"&entity={wanted}" if wanted else "",
        "cases": cases_visible_to(request.user).filter(flow=code, closed_at=None).exists(),
    }
    return page(request, "portal/operations_flow.html", "portal/_operations_flow.html", context)


def _entity(request: HttpRequest) -> tuple[str, list[str]]:
    """The entity that is asked for, where it's one that the person sees here, and all of those."""
    codes = [entity.code for entity in access.visible_entities(request.user, PERMISSION)]
    wanted = request.GET.get("entity", "")
    return wanted if wanted in codes else "", codes


def _heat(request: HttpRequest, entities: Collection[str] | None, codes: list[str]) -> dict[str, Any]:
    periods = running.close_periods(entities)
    asked = request.GET.get("period", "")
    ends = dict(reversed(periods))
    if asked not in ends:
        asked = _nearest(periods)
    return {
        "periods": [code for code, _ in periods],
        "period": asked,
        "close_days": running.CLOSE_DAYS,
        "heat": running.heat_of(codes, ends[asked]) if asked else [],
    }


def _nearest(periods: list[tuple[str, dt.date]]) -> str:
    """The period of which the close is on or was last: the one that ended most recently, else the running one."""
    today = timezone.now().date()
    ahead = dt.timedelta(days=5)  # its last working days belong to its close
    return next((code for code, end in periods if end - ahead <= today), periods[0][0] if periods else "")


def _level_rows(request: HttpRequest, entities: Collection[str] | None) -> list[dict[str, Any]]:
    burning = set(
        ExceptionCase.objects.filter(kind=watching.BURNING, closed_at=None).values_list("subject__level", flat=True)
    )
    rows = []
    for standing in levels.standings(entities):
        budget = standing.budget
        rows.append(
            {
                "level": standing.level,
                "target": standing.target.says,
                "share": stats.share_words(budget.month.good, budget.month.total),
                "total": budget.month.total,
                "bad": budget.month.bad,
                "burnt": None if budget.burnt is None else round(100 * budget.burnt),
                "bar": 0 if budget.burnt is None else min(100, round(100 * budget.burnt)),
                "days_left": budget.days_left,
                "used_up_on": _used_up(budget.days_left),
                "state": budget.state,
                "has_case": standing.level.code in burning,
                "url": _list_of(standing.level.code),
            }
        )
    return rows


def _list_of(level: str) -> str:
    if level not in _LEVEL_LISTS:
        return ""
    view, argument, query = _LEVEL_LISTS[level]
    address = reverse(view, args=[argument] if argument else [])
    return f"{address}?{urlencode(query)}" if query else address


def _used_up(days_left: float | None) -> dt.date | None:
    """The day on which a budget is used up at today's rate, where that is within its 30 days."""
    if not days_left or days_left > DAYS:
        return None
    return timezone.localtime(timezone.now() + dt.timedelta(days=days_left)).date()


def _received(flow: str, entity: str, when: dt.datetime | dt.date) -> str:
    day = timezone.localtime(when).date() if isinstance(when, dt.datetime) else when
    query = {"flow": flow, "received_from": day, "received_to": day, **({"entity": entity} if entity else {})}
    return f"{reverse('portal:transaction_list')}?{urlencode(query)}"


def _bars(counted: list[tuple[Any, Figures]]) -> list[Bar]:
    most = max((figures.completed + figures.held for _, figures in counted), default=0) or 1
    bars = []
    for place, (when, figures) in enumerate(counted):
        shown = f"{timezone.localtime(when):%H:%M}" if isinstance(when, dt.datetime) else f"{when:%-d %b}"
        completed, held = (-(-BARS_HIGH * count // most) for count in (figures.completed, figures.held))
        above = BARS_HIGH - completed
        words = f"{shown}: {figures.completed:,} completed, held {figures.held:,} times"
        bars.append(Bar(place * 10, completed, above, held, max(0, above - held), words))
    return bars
