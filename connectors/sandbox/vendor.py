"""What a vendor's sandbox fills in: routes, credentials, authentication, limits, documents, webhooks."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from connectors.sandbox.arrivals import READING, Arrivals
from connectors.sandbox.clock import Clock
from connectors.sandbox.faults import Fault
from connectors.sandbox.outside import Delivery, Outside
from connectors.sandbox.request import Answer, Refusal, Request
from connectors.sandbox.store import Store

Handler = Callable[[Request], Any]
Route = tuple[str, str, Handler]  # the template, the handler's name, the handler
PARAMETER = re.compile(r"\\\{(\w+)(?::path)?\\\}")


class Vendor:
    """Subclass it in `connectors/<vendor>/sandbox.py` and name the subclass SANDBOX there.

    A handler is `def` or `async def`, gets a Request and answers with an Answer, or raises Refusal(Answer) to undo
    what it wrote. It runs as one transaction of the store, committed before the answer leaves; therefore it may not
    wait for anything (an `async def` that suspends is refused).
    """

    code: str = ""
    # (method, "/v1/things/{id}", the name of the method that handles it, or a function of (vendor, request))
    routes: list[tuple[str, str, str | Callable[..., Any]]] = []
    public: frozenset[str] = frozenset()  # handler names that need no authentication
    reference_types: frozenset[str] = frozenset()  # what a reset that keeps "reference" leaves alone

    def __init__(self, store: Store, clock: Clock, base_url: str, outside: Outside):
        self.store = store
        self.clock = clock
        self.base_url = base_url
        self.outside = outside
        self.arrivals = Arrivals(store)
        self.enforced: bool = store.setting("limits_enforced", True)
        self.exact: dict[tuple[str, str], tuple[str, str, Handler]] = {}
        self.patterns: dict[str, list[tuple[re.Pattern, str, str, Handler]]] = {}
        for method, path, handling in self.routes:
            if isinstance(handling, str):
                name, plain = handling, getattr(self, handling)
            else:
                name, plain = handling.__name__, partial(handling, self)
            handler = self.make_handler(method, plain)
            if "{" not in path:
                self.exact[method, path] = (path, name, handler)
                continue
            pattern = re.compile(PARAMETER.sub(_as_group, re.escape(path)) + r"\Z")
            self.patterns.setdefault(method, []).append((pattern, path, name, handler))

    def make_handler(self, method: str, handler: Handler) -> Handler:
        """Wrap a route's handler, for what all of them have in common; as it is by default."""
        return handler

    def find_route(self, request: Request) -> Route | None:
        """The route's template, the handler's name and the handler; fills in request.params."""
        found = self.exact.get((request.method, request.path))
        if found is not None:
            return found
        for pattern, path, name, handler in self.patterns.get(request.method, ()):
            match = pattern.match(request.path)
            if match is not None:
                request.params = match.groupdict()
                return path, name, handler
        return None

    # what a vendor fills in

    def credentials(self) -> dict:
        """What `GET /_control/vendors` shows. Made once and kept as a setting of the store."""
        raise NotImplementedError

    def authenticate(self, request: Request) -> Answer | None:
        """None lets the request in; an Answer refuses it. Not asked for handlers that are public."""
        raise NotImplementedError

    def make(self, type: str, objects: list[dict]) -> list[str]:
        """Make documents as one of the vendor's users would; their ids. Raises Refusal or ValueError."""
        raise NotImplementedError

    def seed(self) -> None:
        """Documents that are there from the beginning; called at every start and after a reset."""

    def enter(self, request: Request, route: str) -> Answer | None:
        """Called before the handler, limits included; an Answer refuses. leave() follows when None was answered."""
        return None

    def leave(self, request: Request, route: str) -> None:
        """Called when the request is over, whatever came of it."""

    def finish(self, request: Request, answer: Answer) -> Answer:
        """The last touch to every answer, such as a request id's header."""
        return answer

    def not_found(self, request: Request) -> Answer:
        """No route matches."""
        return Answer(404, {"error": {"message": f"Unrecognized request URL ({request.method}: {request.path})."}})

    def rate_limited(self, request: Request, fault: Fault) -> Answer:
        """The vendor's own answer to too many requests, for the fault `rate_limit`."""
        return Answer(429, {"error": {"message": "Too many requests"}})

    def failed(self, request: Request, status: int) -> Answer:
        """The vendor's own body for a `status` fault without a body, and for a bug of the sandbox (500)."""
        return Answer(status, {"error": {"message": "An unknown error occurred"}})

    def keep_answer(self, request: Request, answer: Answer) -> None:
        """The fault `status` with `kept`: the same idempotency key gets this answer again."""
        raise ValueError(f"{self.code} keeps no answers")

    def is_write(self, request: Request, name: str) -> bool:
        """Whether a request asks for a change, so that its arrival counts. `name` is its handler's, or empty."""
        return request.method not in READING and name not in self.public

    def name_write(self, request: Request) -> tuple[str | None, str | None]:
        """The external id and the idempotency key that a write carries, as far as it says them."""
        return None, request.headers.get("Idempotency-Key")

    def is_replay(self, answer: Answer) -> bool:
        """Whether it's the answer of an earlier request, given again."""
        return False

    def expire_tokens(self, request: Request) -> Answer | None:
        """The fault `expire_token`: forget the tokens given so far, or answer as an expired one is answered."""
        raise ValueError(f"{self.code} gives no tokens")

    def close_period(self, fault: Fault) -> None:
        """The fault `close_period`: from now on the period is closed (the request itself meets it already)."""
        raise ValueError(f"{self.code} has no periods")

    def present(self, type: str, obj: dict) -> dict:
        """A stored document as the control door shows it."""
        return obj

    def document_id(self, type: str, obj: dict) -> str:
        """The id under which a presented document is stored."""
        return obj["id"]

    def list_documents(self, type: str, *, after: str | None, limit: int) -> list[dict]:
        """One page of the documents of a type, oldest first."""
        return [self.present(type, obj) for obj in self.store.find(type, after=after, limit=limit)]

    def make_log_entry(self, type: str, id: str, path: str) -> None:
        """Write down a document that came through the control door."""
        self.store.log("POST", path, type, id)

    def control(self, method: str, parts: list[str], given: Any) -> Answer | None:
        """Requests to the control door that only this vendor knows (`/_control/<vendor>/…`); None: no such one."""
        return None

    def reset(self, keep: str) -> None:
        """Forget everything ("nothing") or everything but master data ("reference"). The log stays."""
        self.store.clear(keep=self.reference_types if keep == "reference" else frozenset())
        self.seed()

    def advance(self) -> None:
        """Called about once a second and after the clock was moved: do what has become due."""

    # webhooks

    def add_webhook(self, given: dict) -> dict:
        """`POST /_control/<vendor>/webhooks`: remember an address to send events to; the same address once only."""
        raise ValueError(f"{self.code} sends no webhooks")

    def prepare_delivery(self, delivery: Delivery) -> tuple[str, bytes, dict[str, str]] | None:
        """URL, body and signed headers of this attempt; None drops the delivery (its endpoint is gone)."""
        if delivery.url is None or delivery.body is None:
            return None
        return delivery.url, delivery.body, {"Content-Type": "application/json"}

    def is_acknowledged(self, delivery: Delivery, status: int, body: bytes) -> bool:
        """Whether the receiver's answer counts as received."""
        return 200 <= status < 300

    def retry_after(self, attempt: int) -> float | None:
        """Seconds until the next attempt after that many failed ones; None gives up."""
        return 4.0 * 3 ** (attempt - 1) if attempt <= 10 else None


def _as_group(match: re.Match) -> str:
    return f"(?P<{match.group(1)}>{'.+' if ':path' in match.group(0) else '[^/]+'})"


def refuse(status: int, body: dict | list | str, headers: dict[str, str] | None = None) -> Refusal:
    """A Refusal with that answer, to be raised."""
    return Refusal(Answer(status, body, headers or {}))
