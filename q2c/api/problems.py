"""Every refusal of the API as RFC 9457 problem details; each field's fault names its remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template import loader
from django.views import defaults
from django.views.decorators.http import require_safe
from rest_framework import exceptions
from rest_framework.response import Response

from q2c.api.problem_types import CATALOGUE, TYPES
from q2c.core.hotpath import AWAY

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class FieldFault:
    """What is wrong with one field, and how to repair it."""

    field: str
    code: str
    message: str
    remedy: str


class ApiProblem(Exception):
    """A refusal. `code` is stable and names its type."""

    def __init__(
        self, status: int, code: str, title: str, detail: str = "", *, errors: Iterable[FieldFault] = (),
        retry_after: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(detail or title)
        self.status, self.code, self.title, self.detail = status, code, title, detail
        self.errors = tuple(errors)
        self.retry_after = retry_after


class TooLarge(exceptions.APIException):
    """The body is larger than the limit."""

    status_code = 413
    default_detail = f"A request may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes; send less at once"


_BUG = ApiProblem(
    500, "internal", "Something went wrong on our side", "Nothing was stored. Give the correlation_id to support"
)
_AWAY = ApiProblem(
    503,
    "unavailable",
    "The database doesn't answer",
    "Send it again with the same Idempotency-Key: whatever was stored is answered as it was, and not stored twice",
    retry_after=15,
)

_TITLES = {
    400: ("malformed", "The request can't be read"),
    401: ("not-authenticated", "A bearer token is needed"),
    403: ("not-permitted", "The client may not do this"),
    404: ("not-found", "There is no such thing"),
    405: ("method-not-allowed", "This method isn't offered here"),
    406: ("not-acceptable", "Only JSON is given here"),
    413: ("too-large", "The request is too large"),
    415: ("unsupported-media-type", "Only application/json is taken here"),
    429: ("too-many-requests", "Too many requests"),
}


def problem_details(error: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's exception handler. None (a bug of ours) becomes Django's 500."""
    request = context["request"]
    if isinstance(error, ApiProblem):
        return _response(request, error)
    if isinstance(error, Http404):
        error = exceptions.NotFound()
    if isinstance(error, RequestDataTooBig):
        error = TooLarge()
    if not isinstance(error, exceptions.APIException):
        return None
    code, title = _TITLES.get(error.status_code, ("refused", "The request was refused"))
    answer = _response(request, ApiProblem(error.status_code, code, title, str(error.detail)))
    if error.status_code == 401:
        answer["WWW-Authenticate"] = getattr(error, "auth_header", None) or 'Bearer realm="api"'
    if error.status_code == 403:
        scopes = " ".join(context["view"].scopes_of(request.method))
        answer["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{scopes}"'
    wait = getattr(error, "wait", None)
    if error.status_code == 429 and wait:
        answer["Retry-After"] = str(int(wait) + 1)
    return answer


def _response(request: Any, problem: ApiProblem) -> Response:
    answer = Response(body_of(problem, request), status=problem.status, content_type=MEDIA_TYPE)
    if problem.retry_after is not None:
        answer["Retry-After"] = str(problem.retry_after)
    if problem.code.startswith("idempotency-key"):
        answer["Link"] = f'<{TYPES}{problem.code}>; rel="describedby"'
    return answer


def body_of(problem: ApiProblem, request: Any) -> dict[str, Any]:
    """The members of RFC 9457, and ours: code, correlation_id, errors."""
    body = {
        "type": f"{TYPES}{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail or problem.title,
        "instance": request.path,
        "code": problem.code,
        "correlation_id": getattr(getattr(request, "_request", request), "correlation_id", ""),
    }
    if problem.errors:
        body["errors"] = [asdict(fault) for fault in problem.errors]
    return body


def no_such_address(request: Any, path: str = "") -> JsonResponse:
    """An address of the API that doesn't exist."""
    problem = ApiProblem(404, "not-found", "There is no such address", f"{request.path} isn't part of the API")
    return JsonResponse(body_of(problem, request), status=404, content_type=MEDIA_TYPE)


def server_error(request: HttpRequest) -> HttpResponse:
    """A bug of ours, or a database that is away (503, to be tried again): a page for people, problem details for
    callers of the API. Called while the error is being handled."""
    is_away = isinstance(sys.exc_info()[1], AWAY)
    problem = _AWAY if is_away else _BUG
    headers = {"Retry-After": str(problem.retry_after)} if problem.retry_after else {}
    if request.path.startswith("/api/"):
        return JsonResponse(body_of(problem, request), status=problem.status, content_type=MEDIA_TYPE, headers=headers)
    context = {"correlation_id": getattr(request, "correlation_id", "")}
    page = loader.render_to_string(f"{problem.status}.html", context)
    return HttpResponse(page, status=problem.status, headers=headers)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """A request that Django itself refuses."""
    if not request.path.startswith("/api/"):
        return defaults.bad_request(request, exception)
    return JsonResponse(body_of(ApiProblem(400, *_TITLES[400]), request), status=400, content_type=MEDIA_TYPE)


@require_safe
def problem_types(request: HttpRequest) -> JsonResponse:
    """All sorts of problems, by code; anybody may read what they mean."""
    return JsonResponse({"items": [_described(code) for code in CATALOGUE]})


@require_safe
def problem_type(request: HttpRequest, code: str) -> JsonResponse:
    """One sort of problem: what it means, and what to do about it."""
    return JsonResponse(_described(code)) if code in CATALOGUE else no_such_address(request)


def _described(code: str) -> dict[str, Any]:
    return {"type": f"{TYPES}{code}", "code": code, **asdict(CATALOGUE[code])}
