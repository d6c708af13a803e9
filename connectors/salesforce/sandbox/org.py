"""One Salesforce org as the sandbox kit sees it: routes, sign-in, API limits, seed, and documents made by its users."""

import re
import time
from typing import Any

from connectors.salesforce.sandbox.composite import CompositeHandlers
from connectors.salesforce.sandbox.errors import error_body
from connectors.salesforce.sandbox.ids import read_id
from connectors.salesforce.sandbox.login import SESSIONS, Login
from connectors.salesforce.sandbox.making import make_record
from connectors.salesforce.sandbox.messages import Messages
from connectors.salesforce.sandbox.records import Records
from connectors.salesforce.sandbox.rest import RestHandlers
from connectors.salesforce.sandbox.schema import Schema
from connectors.salesforce.sandbox.seed import seed_org
from connectors.sandbox.clock import Clock
from connectors.sandbox.faults import Fault
from connectors.sandbox.outside import Delivery, Outside
from connectors.sandbox.request import Answer, Request
from connectors.sandbox.store import Store
from connectors.sandbox.vendor import Vendor

DATA = "/services/data/{version}"
DAILY_REQUESTS = 200_000  # 100,000 and 100 licences of 1,000, of an Enterprise org
WINDOW_HOURS = 24
LONG_SECONDS = 20.0
LONG_AT_ONCE = 25
LONGEST_ADDRESS = 16 * 1024
WRITES_INSIDE = re.compile(rb'"method"\s*:\s*"(?!GET")')
FAILURES = {
    400: ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record"),
    401: ("INVALID_SESSION_ID", "Session expired or invalid"),
    403: ("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    404: ("NOT_FOUND", "The requested resource does not exist"),
    412: ("PRECONDITION_FAILED", "The record was changed since."),
    503: ("SERVER_UNAVAILABLE", "The server is temporarily unavailable."),
}


class Salesforce(CompositeHandlers, RestHandlers, Vendor):
    """The org. Change Data Capture isn't here: it's gRPC (Pub/Sub API); outbound messages and polling are."""

    code = "salesforce"
    public = frozenset({"token", "versions", "revoke"})
    reference_types = frozenset(
        {
            "Account",
            "Contact",
            "Product2",
            "Pricebook2",
            "PricebookEntry",
            "ProductSellingModel",
            "User",
            "Organization",
        }
    ) | {"CurrencyType", "CustomField", "OutboundMessageRule", SESSIONS}
    routes = [
        ("POST", "/services/oauth2/token", "token"),
        ("POST", "/services/oauth2/revoke", "revoke"),
        ("GET", "/services/oauth2/userinfo", "user_info"),
        ("GET", "/services/data", "versions"),
        ("GET", DATA, "resources"),
        ("GET", DATA + "/limits", "limits"),
        ("GET", DATA + "/query", "query"),
        ("GET", DATA + "/queryAll", "query_all"),
        ("GET", DATA + "/query/{locator}", "query_more"),
        ("GET", DATA + "/queryAll/{locator}", "query_more"),
        ("GET", DATA + "/sobjects", "describe_global"),
        ("GET", DATA + "/sobjects/{object}", "describe_basic"),
        ("POST", DATA + "/sobjects/{object}", "create"),
        ("GET", DATA + "/sobjects/{object}/describe", "describe"),
        ("GET", DATA + "/sobjects/{object}/updated", "updated"),
        ("GET", DATA + "/sobjects/{object}/deleted", "deleted"),
        ("GET", DATA + "/sobjects/{object}/{id}", "read"),
        ("PATCH", DATA + "/sobjects/{object}/{id}", "update"),
        ("DELETE", DATA + "/sobjects/{object}/{id}", "delete"),
        ("GET", DATA + "/sobjects/{object}/{field}/{value:path}", "read_by_external_id"),
        ("PATCH", DATA + "/sobjects/{object}/{field}/{value:path}", "upsert"),
        ("DELETE", DATA + "/sobjects/{object}/{field}/{value:path}", "delete_by_external_id"),
        ("POST", DATA + "/composite", "composite"),
        ("POST", DATA + "/composite/graph", "composite_graph"),
        ("POST", DATA + "/composite/tree/{object}", "tree"),
        ("POST", DATA + "/composite/sobjects", "create_many"),
        ("PATCH", DATA + "/composite/sobjects", "update_many"),
        ("DELETE", DATA + "/composite/sobjects", "delete_many"),
        ("GET", DATA + "/composite/sobjects/{object}", "read_many"),
        ("POST", DATA + "/composite/sobjects/{object}", "read_many"),
        ("PATCH", DATA + "/composite/sobjects/{object}/{field}", "upsert_many"),
    ]

    def __init__(self, store: Store, clock: Clock, base_url: str, outside: Outside):
        super().__init__(store, clock, base_url, outside)
        self.login = Login(store, clock, base_url)
        self.messages = Messages(store, clock, base_url, outside, self.login)
        self.build_records()
        self.running: dict[int, float] = {}

    def build_records(self) -> None:
        """Read the org's objects anew, custom fields included."""
        self.schema = Schema(self.store.find("CustomField"))
        self.records = Records(self.store, self.clock, self.schema, self.messages.note_change)
        self.records.user_id = self.login.identity["user_id"]
        self.messages.schema = self.schema

    # the kit's questions

    def credentials(self) -> dict:
        """For both ways to sign in, and the organisation's id, which outbound messages carry."""
        names = ("client_id", "client_secret", "username", "private_key", "organization_id")
        return {name: self.login.identity[name] for name in names}

    def find_route(self, request: Request) -> Any:
        """Routes with or without a slash at the end; names of resources in any case of their first letter only."""
        if len(request.path) > 1 and request.path.endswith("/"):
            request.path = request.path.rstrip("/")
        found = super().find_route(request)
        version = request.params.get("version")
        if version is not None and not _is_version(version):
            return None
        return found

    def authenticate(self, request: Request) -> Answer | None:
        """A bearer token of an open session."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() not in {"bearer", "oauth"} or not token:
            return Answer(401, error_body("INVALID_AUTH_HEADER", "INVALID_HEADER_TYPE"))
        with self.store.transaction():
            if self.login.knows(token.strip()):
                return None
        return Answer(401, error_body("INVALID_SESSION_ID", "Session expired or invalid"))

    def enter(self, request: Request, route: str) -> Answer | None:
        """The limits of the fact sheet: length of the address, requests in 24 hours, long requests at once."""
        self.running[id(request)] = time.monotonic()
        if len(request.path) + len(request.query_string) > LONGEST_ADDRESS:
            return Answer(414, error_body("URI_TOO_LONG", "The URI is longer than 16,384 characters"))
        if not route.startswith(DATA):
            return None
        if (
            request.method in {"POST", "PATCH"}
            and request.body
            and "json" not in request.headers.get("Content-Type", "")
        ):
            return Answer(415, error_body("UNSUPPORTED_MEDIA_TYPE", "The content type isn't application/json"))
        used = self.count_request()
        if not self.enforced:
            return None
        if used > self.daily_requests():
            return Answer(403, error_body("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."))
        begun = time.monotonic() - LONG_SECONDS
        if sum(start < begun for start in self.running.values()) >= LONG_AT_ONCE:
            message = "ConcurrentRequests (Concurrent API Requests) Limit exceeded."
            return Answer(403, error_body("REQUEST_LIMIT_EXCEEDED", message))
        return None

    def leave(self, request: Request, route: str) -> None:
        """The request is over."""
        self.running.pop(id(request), None)

    def finish(self, request: Request, answer: Answer) -> Answer:
        """Every REST answer tells how many requests were used."""
        if request.path.startswith("/services/data/"):
            usage = f"api-usage={self.used_requests()}/{self.daily_requests()}"
            answer.headers = {**answer.headers, "Sforce-Limit-Info": usage}
        self.running.pop(id(request), None)
        return answer

    def not_found(self, request: Request) -> Answer:
        """No such path, or no such method on it."""
        allowed = [method for method in ("GET", "POST", "PATCH", "DELETE") if self._serves(method, request)]
        if allowed:
            message = f"HTTP Method '{request.method}' not allowed. Allowed are {','.join(allowed)}"
            return Answer(405, error_body("METHOD_NOT_ALLOWED", message), {"Allow": ",".join(allowed)})
        return Answer(404, error_body("NOT_FOUND", "The requested resource does not exist"))

    def _serves(self, method: str, request: Request) -> bool:
        probe = Request(method, request.path, "", request.headers, b"")
        return method != request.method and self.find_route(probe) is not None

    def rate_limited(self, request: Request, fault: Fault) -> Answer:
        """403, not 429."""
        return Answer(fault.status or 403, error_body(*FAILURES[403]))

    def failed(self, request: Request, status: int) -> Answer:
        """The usual code for a status; 400 is the row lock."""
        code, message = FAILURES.get(status, ("UNKNOWN_EXCEPTION", "An unexpected error occurred."))
        return Answer(status, error_body(code, message))

    def is_write(self, request: Request, name: str) -> bool:
        """A composite may hold nothing but queries."""
        if name == "composite" and not WRITES_INSIDE.search(request.body):
            return False
        return name != "read_many" and super().is_write(request, name)

    def name_write(self, request: Request) -> tuple[str | None, str | None]:
        """The external id in the address; there are no idempotency keys."""
        return request.params.get("value"), None

    def expire_tokens(self, request: Request) -> Answer | None:
        """All sessions end; the request meets that itself."""
        with self.store.transaction():
            self.login.end_sessions()
        return None

    # requests of the last 24 hours

    def count_request(self) -> int:
        """Count one more; the number of the last 24 hours."""
        hours, now = self._hours()
        hours[str(now)] = hours.get(str(now), 0) + 1
        self.store.keep_setting("api_requests", hours)
        return sum(hours.values())

    def used_requests(self) -> int:
        """Requests of the last 24 hours."""
        return sum(self._hours()[0].values())

    def daily_requests(self) -> int:
        """What the org may use in 24 hours; a control-door Organization with DailyApiRequests changes it."""
        return self.store.setting("daily_requests", DAILY_REQUESTS)

    def _hours(self) -> tuple[dict[str, int], int]:
        now = int(self.clock.time() // 3600)
        hours = self.store.setting("api_requests", {})
        return {hour: count for hour, count in hours.items() if 0 <= now - int(hour) < WINDOW_HOURS}, now

    # the control door

    def seed(self) -> None:
        """Organisation, user, currencies and the standard price book."""
        seed_org(self.store, self.clock, self.schema, self.login.identity)

    def reset(self, keep: str) -> None:
        """Custom fields are master data too."""
        super().reset(keep)
        self.build_records()

    def make(self, type: str, objects: list[dict]) -> list[str]:
        """Make, change (with Id) or delete (with Id and IsDeleted) records as a user of the org, children nested."""
        if type == "CustomField":
            return [self.add_custom_field(each) for each in objects]
        if type == "Organization":
            for each in objects:
                self.store.keep_setting("daily_requests", int(each["DailyApiRequests"]))
            return [self.login.identity["organization_id"]] * len(objects)
        if type == "CurrencyType":
            return [
                seed_org(self.store, self.clock, self.schema, self.login.identity, currency=each) for each in objects
            ]
        target = self.schema.find(type)
        if target is None:
            raise ValueError(f"no object {type}; there are {', '.join(sorted(self.schema.objects))}")
        return [
            make_record(self.records, target, each, path=f"/_control/salesforce/documents/{type}") for each in objects
        ]

    def add_custom_field(self, given: dict) -> str:
        """An administrator adds a field; it's there at once."""
        self.schema.add_field(given)
        name = f"{given['object']}.{given['name']}"
        self.store.put("CustomField", name, {"Id": name, **given})
        return name

    def make_log_entry(self, type: str, id: str, path: str) -> None:
        """Records log themselves, nested ones too."""

    def document_id(self, type: str, obj: dict) -> str:
        """Records are stored under their 18 characters."""
        return obj.get("Id") or obj["id"]

    def list_documents(self, type: str, *, after: str | None, limit: int) -> list[dict]:
        """Oldest change first; sessions aren't shown."""
        if type == SESSIONS:
            return []
        return super().list_documents(type, after=(read_id(after) or after) if after else None, limit=limit)

    # outbound messages

    def add_webhook(self, given: dict) -> dict:
        """Workflow rules with an outbound message: {"url", "objects": ["Opportunity"], "fields": {object: […]}}."""
        return self.messages.add_rules(given)

    def prepare_delivery(self, delivery: Delivery) -> tuple[str, bytes, dict[str, str]] | None:
        """The SOAP message with the records as they are now."""
        with self.store.transaction():
            return self.messages.prepare(delivery)

    def is_acknowledged(self, delivery: Delivery, status: int, body: bytes) -> bool:
        """200 and Ack true; everything else is sent again, whole."""
        return self.messages.is_acknowledged(status, body)

    def retry_after(self, attempt: int) -> float | None:
        """Longer and longer up to two hours; given up after a day."""
        return self.messages.retry_after(attempt)

    def advance(self) -> None:
        """Forget messages that were delivered or given up, and query cursors older than two days."""
        self.messages.forget_old()
        self.forget_cursors()


def _is_version(text: str) -> bool:
    number = text[1:].removesuffix(".0")
    return text.startswith("v") and text.endswith(".0") and number.isdigit() and 20 <= int(number) <= 68
