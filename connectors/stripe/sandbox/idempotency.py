"""`Idempotency-Key` on POST as documented: the first execution's answer is stored for 24 hours and given again."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

from connectors.sandbox.request import Answer, Refusal, Request, encode_json
from connectors.stripe.sandbox.core import StripeCore, find_external_id
from connectors.stripe.sandbox.errors import STATE_CODES, build_error, invalid

KEPT_FOR = 24 * 3600
LONGEST_KEY = 255
TYPE = "_idempotency"


def find_earlier(stripe: StripeCore, request: Request) -> Answer | None:
    """The stored answer of the same request, 400 for another request, 409 while the first still runs, or None."""
    key = request.headers.get("Idempotency-Key")
    if request.method != "POST" or not key:
        return None
    if len(key) > LONGEST_KEY:
        raise invalid(f"Idempotency keys can be at most {LONGEST_KEY} characters long.", param="Idempotency-Key")
    if key in stripe.in_flight:
        message = "There is currently another in-progress request using this Idempotent Key."
        answer = build_error(409, message, kind="idempotency_error", code="idempotency_key_in_use")
        answer.headers["Stripe-Should-Retry"] = "true"
        return answer
    earlier = stripe.store.get(TYPE, key)
    if earlier is None or earlier["at"] <= stripe.now - KEPT_FOR:
        return None
    if earlier["hash"] != hash_request(request):
        message = (
            "Keys for idempotent requests can only be used with the same parameters they were first used with. "
            f"Try using a key other than '{key}' if you meant to execute a different request."
        )
        answer = build_error(400, message, kind="idempotency_error")
        answer.headers["Stripe-Should-Retry"] = "false"
        return answer
    if earlier["status"] == 200:
        stripe.store.log(
            request.method,
            request.path,
            earlier["type"],
            earlier["id"],
            external_id=earlier["external_id"],
            idempotency_key=key,
            replayed=True,
            effect="none",
        )
    headers = {"Idempotent-Replayed": "true", "Original-Request": earlier["request_id"]}
    return Answer(earlier["status"], earlier["body"].encode(), headers)


def hash_request(request: Request) -> str:
    """What must be the same: method, path and parameters, whatever their order."""
    return hashlib.sha256(encode_json([request.method, request.path, sorted(_flat(request.form()))])).hexdigest()


def _flat(given: dict) -> list[tuple[str, str]]:
    return [(name, encode_json(value).decode()) for name, value in given.items()]


def wrap(stripe: StripeCore, handler: Callable[[Request], Answer]) -> Callable[[Request], Answer]:
    """A handler that stores its answer under the request's key, in the transaction of what it did."""
    return partial(_run, stripe, handler)


def _run(stripe: StripeCore, handler: Callable[[Request], Answer], request: Request) -> Answer:
    key = request.headers.get("Idempotency-Key")
    if not key:
        return handler(request)
    stripe.store.db.execute("SAVEPOINT executing")
    try:
        answer = handler(request)
    except Refusal as refusal:
        # Refused before anything was executed: nothing is stored, the same key may try again.
        code = refusal.answer.body["error"].get("code")
        if code not in STATE_CODES:
            raise
        stripe.store.db.execute("ROLLBACK TO executing")
        answer = refusal.answer
    stripe.store.db.execute("RELEASE executing")
    keep(stripe, request, answer)
    return answer


def keep(stripe: StripeCore, request: Request, answer: Answer) -> None:
    """Store an answer under the request's key; without one it isn't."""
    key = request.headers.get("Idempotency-Key")
    if not key:
        return
    body: Any = answer.body
    earlier = {
        "at": stripe.now,
        "hash": hash_request(request),
        "status": answer.status,
        "body": answer.payload().decode(),
        "request_id": stripe.request_id,
        "type": body.get("object"),
        "id": body.get("id"),
        "external_id": None,
    }
    if answer.status == 200:
        earlier["external_id"] = find_external_id(body)
    stripe.store.put(TYPE, key, earlier, at=stripe.now)
