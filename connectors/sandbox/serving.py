"""Carries one HTTP request through a vendor's sandbox: faults, authentication, limits, handler, commit, answer."""

import asyncio
import logging
from typing import Any

from aiohttp import web

from connectors.sandbox.arrivals import DONE, REFUSED, REPLAYED
from connectors.sandbox.faults import REQUEST_KINDS, Fault, Faults
from connectors.sandbox.request import Answer, Refusal, Request
from connectors.sandbox.vendor import Handler, Route, Vendor

log = logging.getLogger(__name__)

LARGEST_BODY = 64 * 1024 * 1024
LONGEST_LINE = 64 * 1024  # a vendor refuses long addresses itself
HTML = "<html><head><title>Just a moment</title></head><body>The service is being maintained.</body></html>"


def build_server(vendor: Vendor, faults: Faults) -> web.Server:
    """The low-level server of one vendor: no application, no middleware, one handler."""

    async def answer_request(incoming: web.BaseRequest) -> web.StreamResponse:
        url = incoming.rel_url
        request = Request(incoming.method, url.path, url.raw_query_string, incoming.headers, await incoming.read())
        struck = faults.strike(REQUEST_KINDS, request.method, request.path, request.text) if faults.ordered else []
        found = vendor.find_route(request)
        if any(fault.do == "reset_before" for fault in struck):
            _note_arrival(vendor, request, found, None)
            return _hang_up(incoming)
        answer = await _carry(vendor, request, found, struck)
        _note_arrival(vendor, request, found, answer)
        payload = answer.payload()
        if struck:
            if any(fault.do == "lose_answer" for fault in struck):
                return _hang_up(incoming)
            if any(fault.do == "truncate" for fault in struck):
                return await _send_half(incoming, answer, payload)
        return build_response(answer, payload)

    return web.Server(
        answer_request,
        request_factory=make_request,
        access_log=None,
        max_line_size=LONGEST_LINE,
        max_field_size=LONGEST_LINE,
    )


def make_request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    """As aiohttp makes its own, but with room for a batch of documents."""
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=LARGEST_BODY)


def build_response(answer: Answer, payload: bytes) -> web.Response:
    """The HTTP answer; JSON unless the headers say otherwise."""
    headers = answer.headers
    if payload and "Content-Type" not in headers:
        kind = "text/html; charset=utf-8" if isinstance(answer.body, str) else "application/json"
        headers = {"Content-Type": kind, **headers}
    return web.Response(status=answer.status, body=payload, headers=headers)


def _note_arrival(vendor: Vendor, request: Request, found: Route | None, answer: Answer | None) -> None:
    """A write has been answered, or cut off before anybody looked at it."""
    if not vendor.is_write(request, found[1] if found else ""):
        return
    verdict = REFUSED
    if answer is not None and vendor.is_replay(answer):
        verdict = REPLAYED
    elif answer is not None and request.was_run and answer.status < 300:
        verdict = DONE
    external_id, key = vendor.name_write(request)
    vendor.arrivals.note(
        request, external_id=external_id, key=key, status=answer.status if answer else 0, verdict=verdict
    )


async def _carry(vendor: Vendor, request: Request, found: Route | None, struck: list[Fault]) -> Answer:
    route = found[0] if found else ""
    for fault in struck:
        early = _answer_early(vendor, request, fault)
        if early is not None:
            return vendor.finish(request, early)
    if found is None:
        return vendor.finish(request, vendor.not_found(request))
    _, name, handler = found
    try:
        if name not in vendor.public:
            refused = vendor.authenticate(request)
            if refused is not None:
                return vendor.finish(request, refused)
        refused = vendor.enter(request, route)
    except Refusal as refusal:
        refused = refusal.answer
    if refused is not None:
        return vendor.finish(request, refused)
    try:
        for fault in struck:
            if fault.do == "delay":
                await fault.wait()
        return vendor.finish(request, run_handler(vendor, request, handler))
    finally:
        vendor.leave(request, route)


def run_handler(vendor: Vendor, request: Request, handler: Handler) -> Answer:
    """Run a handler as one transaction. A Refusal, or a bug (500), leaves nothing behind."""
    try:
        request.was_run = True
        with vendor.store.transaction():
            result = handler(request)
            return _run_to_end(result) if hasattr(result, "send") else result
    except Refusal as refusal:
        return refusal.answer
    except Exception:
        log.exception("%s sandbox: %s %s", vendor.code, request.method, request.path)
        return vendor.failed(request, 500)


def _run_to_end(coroutine: Any) -> Answer:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("a handler may not wait: it runs inside one transaction")


def _answer_early(vendor: Vendor, request: Request, fault: Fault) -> Answer | None:
    if fault.do == "status":
        answer = vendor.failed(request, fault.status or 500)
        if fault.body is not None:
            answer = Answer(answer.status, fault.body, answer.headers)
        answer.headers = {**answer.headers, **{name: str(value) for name, value in fault.headers.items()}}
        if fault.kept:
            with vendor.store.transaction():
                vendor.keep_answer(request, answer)
        return answer
    if fault.do == "html_200":
        return Answer(200, str(fault.body or HTML))
    if fault.do == "rate_limit":
        answer = vendor.rate_limited(request, fault)
        answer.headers = {**answer.headers, **{name: str(value) for name, value in fault.headers.items()}}
        return answer
    if fault.do == "expire_token":
        return vendor.expire_tokens(request)
    if fault.do == "close_period":
        with vendor.store.transaction():
            vendor.close_period(fault)
    return None


def _hang_up(incoming: web.BaseRequest) -> web.StreamResponse:
    if incoming.transport is not None:
        incoming.transport.abort()
    return web.Response()


async def _send_half(incoming: web.BaseRequest, answer: Answer, payload: bytes) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json", **answer.headers})
    response.content_length = len(payload)
    await response.prepare(incoming)
    await response.write(payload[: len(payload) // 2])
    if incoming.transport is not None:
        incoming.transport.close()
    return response
