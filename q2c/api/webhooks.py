"""The one webhook address for every vendor, as a Django view and as the server's short cut past all middleware."""

from __future__ import annotations

import http
import io
import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from q2c.api.door import answer_webhook
from q2c.core.metrics import count_request

PREFIX, API = "/webhooks/", "/api/"
CHUNK = 65_536


@csrf_exempt
def webhook(request: HttpRequest, address: str) -> HttpResponse:
    """A vendor's message. The proof is the manifest's, so there's neither session nor CSRF token."""
    answer = answer_webhook(
        method=request.method or "",
        address=address,
        query=request.GET.dict(),
        headers={name.lower(): value for name, value in request.headers.items()},
        length=_length(request.META.get("CONTENT_LENGTH")),
        read=request.read,
    )
    response = HttpResponse(answer.body, status=answer.status, content_type=answer.content_type)
    for name, value in answer.headers:
        response.headers[name] = value
    return response


def past_middleware(application: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    """A WSGI application that answers webhooks itself and gives everything else to `application`."""

    def dispatch(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start = time.perf_counter()
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return application(_with_length(environ), start_response)
        status = 500  # should the door itself fail
        try:
            answer = answer_webhook(
                method=environ["REQUEST_METHOD"],
                address=path[len(PREFIX) :].encode("latin-1").decode("utf-8", "replace"),
                query=dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
                headers=_headers(environ),
                length=_length(environ.get("CONTENT_LENGTH")),
                read=environ["wsgi.input"].read,
            )
            status = answer.status
        finally:
            count_request("webhook", environ["REQUEST_METHOD"], status, time.perf_counter() - start)
        start_response(
            f"{answer.status} {http.HTTPStatus(answer.status).phrase}",
            [
                ("Content-Type", answer.content_type),
                ("Content-Length", str(len(answer.body))),
                ("X-Content-Type-Options", "nosniff"),
                *answer.headers,
            ],
        )
        return [answer.body]

    return dispatch


def _with_length(environ: dict[str, Any]) -> dict[str, Any]:
    """A request to the API whose body came in chunks, with its length: Django reads none without one. Of what is larger
    than a request may be one byte more than that is kept, so that it's refused as too large."""
    is_chunked = environ.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    if not is_chunked or not environ.get("PATH_INFO", "").startswith(API):
        return environ
    body, most = bytearray(), settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
    while len(body) < most and (part := environ["wsgi.input"].read(min(CHUNK, most - len(body)))):
        body += part
    return {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}


def _headers(environ: dict[str, Any]) -> dict[str, str]:
    headers = {name[5:].replace("_", "-").lower(): v for name, v in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    return headers


def _length(given: str | None) -> int | None:
    """The announced length; None for a chunked body."""
    return int(given) if given and given.isascii() and given.isdigit() else None
