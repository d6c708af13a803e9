"""Bill runs for machines: where each stands, and what of it came, posted, is held or missing. Nothing is decided here:
a release, a hold or a rejection is a person's."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any

from django.db.models import Prefetch, Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from q2c.api import schema
from q2c.api.callers import caller_of
from q2c.api.problems import ApiProblem, FieldFault
from q2c.api.shown import instant, money
from q2c.api.views import MOST, PAGE, Door, not_found, whole_number
from q2c.flows.bill_run_acts import runs_visible_to
from q2c.flows.bill_run_states import sum_of
from q2c.transactions.bill_runs import BillRun, BillRunPart

_PLACE = re.compile(r"^(\d{4}-\d{2}-\d{2})_(\d{1,15})$", re.ASCII)
_PLACES = ("received", "posted", "held", "given_up")  # of a part's documents, each with a count and an amount


class BillRuns(Door):
    """The bill runs of the caller's entities."""

    scopes = {"GET": ["transactions:read"]}

    @extend_schema(
        operation_id="list_bill_runs",
        parameters=[
            OpenApiParameter("state", str, enum=BillRun.State.values), OpenApiParameter("legal_entity", str),
            OpenApiParameter("connection", str, description="The short name of the billing system's connection"),
            OpenApiParameter("day", str, description="The billing day, as 2026-11-30"),
            OpenApiParameter("after", str, description="`next` of the page before"),
            OpenApiParameter("limit", int, description=f"At most {MOST}"),
        ],
        responses={200: schema.BillRunList, **schema.problems(400)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Bill runs of the caller's entities, the newest day first."""
        asked = request.query_params
        limit = whole_number(asked.get("limit", str(PAGE)), "limit", 1, MOST)
        rows = runs_visible_to(caller_of(request))
        if "state" in asked:
            rows = rows.filter(state=_state(asked["state"]))
        if "day" in asked:
            rows = rows.filter(day=_day(asked["day"], "day", "Send a day, as 2026-11-30."))
        for name, column in (("legal_entity", "legal_entity_code"), ("connection", "connection_code")):
            if name in asked:
                rows = rows.filter(**{column: asked[name].replace("\x00", "")})
        if "after" in asked:
            rows = rows.filter(_after(asked["after"]))
        page = list(_with_parts(rows).order_by("-day", "-id")[: limit + 1])
        last = page[limit - 1] if len(page) > limit else None
        return Response(
            {"items": [shown(run) for run in page[:limit]], "next": f"{last.day}_{last.pk}" if last else None}
        )


class OneBillRun(Door):
    """One bill run."""

    scopes = {"GET": ["transactions:read"]}

    @extend_schema(operation_id="read_bill_run", responses={200: schema.BillRunDetail, **schema.problems(404)})
    def get(self, request: Request, run_id: str) -> Response:
        """Where a bill run stands, why, and its documents by type and currency."""
        is_one = run_id.isascii() and run_id.isdigit() and len(run_id) < 16
        found = _with_parts(runs_visible_to(caller_of(request))).filter(pk=run_id).first() if is_one else None
        if found is None:
            raise not_found("bill run")
        return Response({
            **shown(found),
            "reasons": [str(reason) for reason in found.reasons],
            "decided_at": instant(found.decided_at),
            "decided_why": found.decided_why,
            "parts": [_part(part) for part in found.parts.all()],
        })  # fmt: skip


def shown(run: BillRun) -> dict[str, Any]:
    """One run with how many of its documents stand where."""
    total = sum_of(run.parts.all())
    return {
        "id": str(run.pk),
        "name": run.name,
        "addition": run.addition,
        "connection": run.connection_code,
        "legal_entity": run.legal_entity_code,
        "day": run.day.isoformat(),
        "period": run.period_code,
        "state": run.state,
        "state_at": instant(run.state_at),
        "holds": run.holds,
        "documents": {
            "expected": _expected(run.parts.all()), "received": total.received, "waiting": total.waiting,
            "held": total.held, "posted": total.posted, "given_up": total.given_up,
        },
    }  # fmt: skip


def _part(part: BillRunPart) -> dict[str, Any]:
    found: dict[str, Any] = {
        "document_type": part.document_type,
        "currency": part.currency,
        "expected_count": part.expected_count,
        "expected_amount": money(part.expected_amount, part.currency),
    }
    for place in (*_PLACES, "waiting"):
        found[f"{place}_count"] = getattr(part, f"{place}_count")
        found[f"{place}_amount"] = money(getattr(part, f"{place}_amount"), part.currency)
    return {**found, "late_count": part.late_count, "ignored_count": part.ignored_count}


def _expected(parts: Iterable[BillRunPart]) -> int | None:
    """How many its source has; None while that isn't known of each part."""
    counts = [part.expected_count for part in parts]
    return None if None in counts or not counts else sum(count for count in counts if count is not None)


def _with_parts(rows: QuerySet[BillRun]) -> QuerySet[BillRun]:
    return rows.prefetch_related(Prefetch("parts", BillRunPart.objects.order_by("document_type", "currency")))


def _state(text: str) -> str:
    if text not in BillRun.State.values:
        raise _refused("state", "There is no such state", f"Send one of {', '.join(BillRun.State.values)}.")
    return text


def _day(text: str, field: str, remedy: str) -> dt.date:
    try:
        if len(text) != 10:
            raise ValueError
        return dt.date.fromisoformat(text)
    except ValueError:
        raise _refused(field, "This isn't a day", remedy) from None


def _after(text: str) -> Q:
    """What comes after the page before."""
    match, remedy = _PLACE.match(text), "Send the `next` of the page before."
    if match is None:
        raise _refused("after", "This isn't a place in the list", remedy)
    day = _day(match[1], "after", remedy)
    return Q(day__lt=day) | Q(day=day, pk__lt=int(match[2]))


def _refused(field: str, message: str, remedy: str) -> ApiProblem:
    fault = FieldFault(field, "invalid", message, remedy)
    return ApiProblem(400, "malformed", "The request can't be read", errors=[fault])
