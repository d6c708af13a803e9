"""The API's addresses: thin. Validate, call, show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from exceptions import cases as exception_cases
from exceptions import tallies
from exceptions.cards import cards_of
from exceptions.kind_words import REMAP_AND_REPOST, REPOST
from exceptions.kinds import kind_of
from exceptions.models import ExceptionCase
from exceptions.resolving import rules
from exceptions.resolving.binding import state_of
from q2c.api import schema, shown
from q2c.api.callers import HasScope, caller_of
from q2c.api.idempotency import answer_once, fingerprint, key_of
from q2c.api.orders import submit_order
from q2c.api.problems import ApiProblem, FieldFault
from q2c.core import audit
from q2c.flows.tasks import nudge
from q2c.transactions import restart
from q2c.transactions.models import BusinessTransaction
from q2c.transactions.selectors import transaction_visible_to

PAGE, MOST = 50, 200
_CASE = re.compile(r"^(?:EX-)?(\d{1,15})$", re.IGNORECASE)


class StrictJson(JSONParser):
    """JSON that can be stored: not nested beyond reading, and every character a character."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """The body. Raises ParseError, which names what to repair."""
        try:
            found = super().parse(stream, media_type, parser_context)
            if any(b"\0" in text.encode() for text in _texts(found)):
                raise ParseError("The body has a NUL character; leave it out")
        except RecursionError as error:
            raise ParseError("The body is nested too deeply; send it flat") from error
        except UnicodeEncodeError as error:
            raise ParseError("The body has half of a surrogate pair; send whole characters") from error
        return found


def _texts(found: Any) -> Iterator[str]:
    left = [found]
    while left:
        match left.pop():
            case str() as text:
                yield text
            case list() as values:
                left += values
            case dict() as fields:
                left += [*fields, *fields.values()]


class Door(APIView):
    """Base of all: bearer tokens, scopes by method, JSON."""

    permission_classes = [HasScope]
    renderer_classes = [JSONRenderer]
    parser_classes = [StrictJson]
    scopes: dict[str, list[str]] = {}

    def scopes_of(self, method: str) -> list[str]:
        """The scopes that a method needs."""
        return self.scopes.get(method, self.scopes.get("GET", next(iter(self.scopes.values()))))


class Orders(Door):
    """Orders that become subscriptions."""

    scopes = {"POST": ["orders:write"]}

    @extend_schema(
        operation_id="submit_order", request=schema.Order, parameters=[schema.IDEMPOTENCY_KEY],
        responses={202: OpenApiResponse(schema.Taken, description="Taken in; `Location` is its transaction"),
                   **schema.problems(400, 409, 413, 415, 422)},
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Submit a closed-won order. The same Idempotency-Key gives the same transaction."""
        caller = caller_of(request)
        key = key_of(request.headers.get("Idempotency-Key"))
        body = request.data
        accepted = answer_once(
            client_id=caller.client_id,
            route="POST /api/v1/orders",
            key=key,
            print_=fingerprint(body, request.META.get("QUERY_STRING", "")),
            effect=lambda: submit_order(body, caller),
        )
        if not accepted.is_replay:
            nudge(["order_to_subscription"])
        answer = Response(accepted.body, status=accepted.status, headers={"Location": accepted.location})
        if accepted.is_replay:
            answer["Idempotency-Replayed"] = "true"
        return answer


class Transactions(Door):
    """One transaction."""

    scopes = {"GET": ["transactions:read"]}

    @extend_schema(operation_id="read_transaction", responses={200: schema.Transaction, **schema.problems(404)})
    def get(self, request: Request, transaction_id: Any) -> Response:
        """Where a transaction stands: state, finished steps, the documents it made, its open case."""
        try:
            row = transaction_visible_to(caller_of(request), transaction_id)
        except BusinessTransaction.DoesNotExist:
            raise not_found("transaction") from None
        return Response(shown.transaction(row))


class Trace(Door):
    """The journey of a document."""

    scopes = {"GET": ["transactions:read"]}

    @extend_schema(
        operation_id="trace",
        parameters=[OpenApiParameter("id", str, required=True, description="Any id or number of any system")],
        responses={200: schema.Trace, **schema.problems(400, 404)},
    )
    def get(self, request: Request) -> Response:
        """Documents that came of, or led to, the one with this id. Foreign entities' show neither id nor amount."""
        asked = request.query_params.get("id", "").strip()
        if not asked or len(asked) > 200 or "\x00" in asked:
            fault = FieldFault("id", "required", "Which document?", "Send ?id= with an id or number of any system.")
            raise ApiProblem(400, "malformed", "The request can't be read", errors=[fault])
        found = shown.traced(caller_of(request), asked)
        if found is None:
            raise not_found("document")
        return Response(found)


class Cards(Door):
    """Where documents stand, for those who talk to customers."""

    scopes = {"GET": ["cards:read"]}

    @extend_schema(
        operation_id="read_cards",
        parameters=[OpenApiParameter("number", str, required=True, description="The number of a document")],
        responses={200: schema.Cards, **schema.problems(400)},
    )
    def get(self, request: Request) -> Response:
        """The documents with this number: state, what is missing, who has it, when it's expected. Empty: none of the
        caller's entities has one."""
        asked = request.query_params.get("number", "").strip()
        if not asked or len(asked) > 120 or "\x00" in asked:
            fault = FieldFault("number", "required", "Which document?", "Send ?number= with a document's number.")
            raise ApiProblem(400, "malformed", "The request can't be read", errors=[fault])
        return Response({"items": [card.as_json() for card in cards_of(caller_of(request), asked)]})


class Cases(Door):
    """Exception cases."""

    scopes = {"GET": ["cases:read"]}

    @extend_schema(
        operation_id="list_cases",
        parameters=[
            OpenApiParameter("state", str, enum=["open", "closed"], description="Open ones unless said otherwise"),
            OpenApiParameter("kind", str), OpenApiParameter("queue", str), OpenApiParameter("legal_entity", str),
            OpenApiParameter("after", str, description="`next` of the page before"),
            OpenApiParameter("limit", int, description=f"At most {MOST}"),
        ],
        responses={200: schema.CaseList, **schema.problems(400)},
    )  # fmt: skip
    def get(self, request: Request) -> Response:
        """Cases of the caller's entities, newest first."""
        caller, asked = caller_of(request), request.query_params
        limit = whole_number(asked.get("limit", str(PAGE)), "limit", 1, MOST)
        if asked.get("state", "open") not in ("open", "closed"):
            fault = FieldFault("state", "invalid", "There is no such state", "Send open or closed.")
            raise ApiProblem(400, "malformed", "The request can't be read", errors=[fault])
        rows = tallies.cases_visible_to(caller).filter(closed_at__isnull=asked.get("state") != "closed")
        for name, column in (("kind", "kind"), ("queue", "queue"), ("legal_entity", "legal_entity_code")):
            if name in asked:
                rows = rows.filter(**{column: asked[name].replace("\x00", "")})
        if "after" in asked:
            rows = rows.filter(pk__lt=_case_id(asked["after"], "after"))
        page = list(rows.order_by("-pk")[: limit + 1])
        totals = tallies.totals_of(caller, page[:limit])
        items = [shown.case(row, totals.get(row.pk) or tallies.Totals()) for row in page[:limit]]
        return Response({"items": items, "next": page[limit - 1].number if len(page) > limit else None})


class OneCase(Door):
    """One exception case."""

    scopes = {"GET": ["cases:read"]}

    @extend_schema(operation_id="read_case", responses={200: schema.CaseDetail, **schema.problems(404)})
    def get(self, request: Request, case_id: str) -> Response:
        """What is wrong, and the documents that hit it."""
        caller = caller_of(request)
        row = _case(caller, case_id)
        totals = tallies.totals_of(caller, [row]).get(row.pk) or tallies.Totals()
        hit = tallies.occurrences_visible_to(caller, row).order_by("-id")[:MOST]
        return Response({**shown.case(row, totals), "occurrences": [shown.occurrence(o) for o in hit]})


class RepostCase(Door):
    """Repost what a case holds."""

    scopes = {"POST": ["cases:repost"]}

    @extend_schema(
        operation_id="repost_case", request=schema.Repost,
        responses={202: schema.Reposted, **schema.problems(400, 404, 415, 422)},
    )  # fmt: skip
    def post(self, request: Request, case_id: str) -> Response:
        """Continue the case's held transactions at their held step. Asking twice finds nothing held and says why."""
        caller = caller_of(request)
        why = request.data.get("why") if isinstance(request.data, dict) else None
        if not isinstance(why, str) or not why.strip() or len(why) > 500 or "\x00" in why:
            fault = FieldFault("why", "required", "A repost has a reason", "Say why in at most 500 characters.")
            raise ApiProblem(422, "validation", "A reason is needed", errors=[fault])
        row = _case(caller, case_id)
        if not {REPOST, REMAP_AND_REPOST} & set(kind_of(row.kind).may):
            detail = "Its remedy is another one; the portal says which."
            raise ApiProblem(422, "not-repostable", "A case of this kind can't be reposted", detail)
        with transaction.atomic():
            held = tallies.occurrences_visible_to(caller, row).filter(closed_at__isnull=True)
            ids = sorted(i for i in held.values_list("transaction_id", flat=True) if i is not None)
            if rules.asked_for(REPOST, state_of(ids).values()).approval is not None:
                detail = "A rule asks for a second person. Propose it in the portal, where somebody else agrees."
                raise ApiProblem(422, "not-repostable", "This repost needs a second person", detail)
            results = restart.restart(ids, by=caller.client_id, why=why.strip())
            done = [r.transaction_id for r in results if r.is_restarted]
            if done:
                exception_cases.close_for_transactions(done, "reposted", case_id=row.pk)
                note = f"Reposted by {caller.client_id}: {why.strip()}"
                facts = {"documents": len(done), "how": REPOST}
                exception_cases.note(row, verb="reposted", text=note, by=None, data=facts)
                audit.record(caller.client_id, "repost", "case", row.pk, why=why.strip(),
                             data={"transactions": [str(i) for i in done]})  # fmt: skip
                flows = set(BusinessTransaction.objects.filter(pk__in=done).values_list("flow", flat=True))
                nudge(flows)
        return Response(
            {
                "reposted": [str(i) for i in done],
                "refused": [
                    {"transaction": str(r.transaction_id), "why": r.why_not} for r in results if not r.is_restarted
                ],
            },
            status=202,
            headers={"Location": reverse("api:case", args=[row.number])},
        )


def _case(caller: Any, asked: str) -> ExceptionCase:
    match = _CASE.match(asked)
    if match is None:
        raise not_found("case")
    try:
        return tallies.case_visible_to(caller, int(match[1]))
    except ExceptionCase.DoesNotExist:
        raise not_found("case") from None


def _case_id(text: str, field: str) -> int:
    match = _CASE.match(text)
    if match is None:
        fault = FieldFault(field, "invalid", "This isn't a case", "Send the `next` of the page before.")
        raise ApiProblem(400, "malformed", "The request can't be read", errors=[fault])
    return int(match[1])


def whole_number(text: str, field: str, least: int, most: int) -> int:
    """The number that a parameter is. Raises ApiProblem, which names the field."""
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        fault = FieldFault(field, "invalid", f"This isn't from {least} to {most}", f"Send a number up to {most}.")
        raise ApiProblem(400, "malformed", "The request can't be read", errors=[fault])
    return int(text)


def not_found(what: str) -> ApiProblem:
    """The refusal of what isn't there, and of what the caller doesn't see: they look the same."""
    return ApiProblem(404, "not-found", f"There is no such {what}", f"No {what} of yours has this id.")
