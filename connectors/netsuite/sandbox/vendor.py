"""The doors of the NetSuite sandbox: routes, authentication, concurrency, and what the control door may do."""

from typing import Any

import msgspec

from connectors.netsuite.sandbox import desk, jobs
from connectors.netsuite.sandbox.account import change_account, change_period, override_period
from connectors.netsuite.sandbox.api import Api
from connectors.netsuite.sandbox.books import Books, create_tables
from connectors.netsuite.sandbox.errors import build_error
from connectors.netsuite.sandbox.fields import RECORDS, TRANSACTIONS
from connectors.netsuite.sandbox.ledger import SCHEMA
from connectors.netsuite.sandbox.oauth import TOKEN_PATH, Doorkeeper, make_credentials
from connectors.netsuite.sandbox.rates import load_rates
from connectors.netsuite.sandbox.seed import REFERENCE_TYPES, seed_account
from connectors.netsuite.sandbox.suiteql import PATH, Queries
from connectors.netsuite.sandbox.transactions import overlay
from connectors.sandbox.clock import Clock
from connectors.sandbox.faults import Fault
from connectors.sandbox.outside import Outside
from connectors.sandbox.request import Answer, Refusal, Request
from connectors.sandbox.store import Store
from connectors.sandbox.vendor import Handler

ACCOUNT = "1234567_SB1"
TYPE = f"{desk.ROOT}/{{type}}"
ONE = f"{TYPE}/{{key}}"
JOB = f"{jobs.ROOT}/{{job}}"
TASK = f"{JOB}/task/{{task}}"
CHANGING = frozenset({"PUT", "PATCH"})
CODES = {401: "INVALID_LOGIN", 403: "INSUFFICIENT_PERMISSION", 404: "NONEXISTENT_ID", 429: "CONCURRENCY_LIMIT_EXCEEDED"}
TOO_MANY = "Concurrent request limit exceeded. Request blocked."


class Named(msgspec.Struct):
    """What names a record in a body."""

    externalId: str | None = None


decode_named = msgspec.json.Decoder(Named).decode


class NetSuite(Api):
    """One account of NetSuite."""

    code = "netsuite"
    routes = [
        ("POST", TOKEN_PATH, "give_token"),
        ("POST", PATH, "run_suiteql"),
        ("GET", "/services/rest/system/v1/governanceLimits", "show_limits"),
        ("GET", "/services/rest/system/v1/serverTime", "show_time"),
        ("GET", f"{desk.ROOT}/metadata-catalog", "show_catalog"),
        ("GET", f"{desk.ROOT}/metadata-catalog/{{type}}", "show_schema"),
        ("GET", JOB, "show_job"),
        ("GET", f"{JOB}/task", "list_tasks"),
        ("GET", TASK, "show_task"),
        ("GET", f"{TASK}/result", "show_result"),
        ("GET", TYPE, "list_records"),
        ("POST", TYPE, "create_record"),
        *((method, TYPE, "accept_batch") for method in ("PUT", "PATCH", "DELETE")),
        ("GET", ONE, "read_record"),
        ("PUT", ONE, "upsert_record"),
        ("PATCH", ONE, "update_record"),
        ("DELETE", ONE, "delete_record"),
        ("GET", f"{ONE}/{{sublist}}", "read_sublist"),
        ("POST", f"{ONE}/!transform/{{target}}", "transform_record"),
    ]
    public = frozenset({"give_token"})
    reference_types = REFERENCE_TYPES

    def __init__(self, store: Store, clock: Clock, base_url: str, outside: Outside):
        self.met: dict[int, bytes | None] = {}  # by request: its record as it stood when the request came
        super().__init__(store, clock, base_url, outside)
        create_tables(store, SCHEMA)
        load_rates(store)
        self.books = Books(store, clock)
        if store.setting("credentials") is None:
            store.keep_setting("credentials", make_credentials(ACCOUNT))
        self.doorkeeper = Doorkeeper(self.credentials(), base_url)
        self.tokens_from: float = store.setting("tokens_from", 0.0)
        self.running = self.most_running = 0
        self.queries = Queries(self.books)

    # what the kit asks for

    def credentials(self) -> dict:
        """Account, token, client id, certificate id and private key."""
        return self.store.setting("credentials")

    def authenticate(self, request: Request) -> Answer | None:
        """By signature (OAuth 1.0a) or access token (OAuth 2.0)."""
        return self.doorkeeper.check(request, self.clock.time(), self.tokens_from)

    def enter(self, request: Request, route: str) -> Answer | None:
        """At most so many requests at once, whoever sends them; no Retry-After, as documented."""
        if self.enforced and self.running >= self.books.preferences["concurrency"]:
            return build_error(429, "CONCURRENCY_LIMIT_EXCEEDED", TOO_MANY)
        if request.method in CHANGING:
            self.met[id(request)] = self._find_record(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        return None

    def leave(self, request: Request, route: str) -> None:
        """One request less."""
        self.met.pop(id(request), None)
        self.running -= 1

    def make_handler(self, method: str, handler: Handler) -> Handler:
        """A change is refused when another one was saved while it was worked on."""

        def run(request: Request) -> Any:
            if id(request) in self.met and self.met[id(request)] != self._find_record(request):
                raise Refusal(build_error(400, "RCRD_HAS_BEEN_CHANGED", "Record has been changed"))
            return handler(request)

        return run if method in CHANGING else handler

    def _find_record(self, request: Request) -> bytes | None:
        type, key = request.params.get("type", ""), request.params.get("key", "")
        if type not in RECORDS:
            return None
        found = self.books.find_id(RECORDS[type].space, key[4:]) if key.startswith("eid:") else (type, key)
        return self.store.get_raw(*found) if found else None

    def not_found(self, request: Request) -> Answer:
        """No such address."""
        return build_error(404, "NOT_FOUND", f"The requested resource {request.path} does not exist.")

    def rate_limited(self, request: Request, fault: Fault) -> Answer:
        """429 as the concurrency limit answers."""
        return build_error(429, "CONCURRENCY_LIMIT_EXCEEDED", TOO_MANY)

    def failed(self, request: Request, status: int) -> Answer:
        """Any status in the vendor's envelope."""
        if status >= 500:
            detail = "An unexpected error occurred. Error ID: kx4w2f8s1bq7p"
            return build_error(status, "UNEXPECTED_ERROR", detail)
        return build_error(status, CODES.get(status, "USER_ERROR"), f"The request was answered with {status}.")

    def is_write(self, request: Request, name: str) -> bool:
        """A query is a POST too."""
        return name != "run_suiteql" and super().is_write(request, name)

    def name_write(self, request: Request) -> tuple[str | None, str | None]:
        """The external id in the body or the address, or of the record there; the key of an asynchronous one."""
        key, type = request.params.get("key", ""), request.params.get("type", "")
        try:
            external_id = decode_named(request.body).externalId if request.body else None
        except msgspec.DecodeError:
            external_id = None
        if external_id is None and key.startswith("eid:"):
            external_id = key[4:]
        elif external_id is None and type in RECORDS and key:
            external_id = (self.store.get(type, key) or {}).get("externalId")
        return external_id, request.headers.get(jobs.KEY_HEADER)

    def expire_tokens(self, request: Request) -> Answer | None:
        """Access tokens given so far count no longer; a signed request is answered as if its token were gone."""
        self.tokens_from = self.clock.time()
        with self.store.transaction():
            self.store.keep_setting("tokens_from", self.tokens_from)
        if request.headers.get("Authorization", "").lower().startswith("oauth"):
            return self.doorkeeper.refuse("token_rejected")
        return None

    def close_period(self, fault: Fault) -> None:
        """Close the period that the fault's body names (`{"subsidiary", "period"}`)."""
        change_period(self.books, "close_period", fault.body if isinstance(fault.body, dict) else {})

    def seed(self) -> None:
        """Make the reference data that is missing."""
        seed_account(self.books)

    def reset(self, keep: str) -> None:
        """Forget transactions and customers; with "nothing" also changes of lists and preferences. Ids go on."""
        for table in ("ns_transaction", "ns_impact", "ns_application", "ns_deleted"):
            self.store.db.execute(f"DELETE FROM {table}")
        if keep == "nothing":
            self.store.db.execute("DELETE FROM ns_external")
            self.store.db.execute("DELETE FROM ns_manual_rate")
            self.books.set_preferences(self.books.defaults)
        else:
            self.store.db.execute("DELETE FROM ns_external WHERE space IN ('transaction', 'entity', 'entity name')")
            self.store.db.execute("DELETE FROM ns_external WHERE type='customerSubsidiaryRelationship'")
        self.books.forget_cache()
        super().reset(keep)

    def make(self, type: str, objects: list[dict]) -> list[str]:
        """Make records as an administrator would; ids."""
        if type not in RECORDS:
            raise ValueError(f"no record type {type}; there are {', '.join(sorted(RECORDS))}")
        try:
            if type == "accountingPeriodSubsidiary":
                return [override_period(self.books, each) for each in objects]
            return [desk.create(self.books, RECORDS[type], each, strict=True)["id"] for each in objects]
        except Refusal:
            self.books.forget_cache()
            raise

    def make_log_entry(self, type: str, id: str, path: str) -> None:
        """A record that came through the control door, with its external id."""
        found = self.books.get(type, id)
        self.store.log("POST", path, type, id, external_id=found.get("externalId") if found else None)

    def present(self, type: str, obj: dict) -> dict:
        """A record with its lines and what is open of it."""
        return overlay(self.books, RECORDS[type], obj) if type in TRANSACTIONS else obj

    def control(self, method: str, parts: list[str], given: Any) -> Answer | None:
        """`GET` and `POST /_control/netsuite/account`: preferences, approval, periods; `GET …/concurrency`: the most
        requests that ever ran at once."""
        if (method, parts) == ("GET", ["concurrency"]):
            return Answer(200, {"most": self.most_running})
        if parts != ["account"]:
            return None
        if method == "GET":
            return Answer(200, self.books.preferences)
        if method == "POST" and isinstance(given, dict):
            try:
                return Answer(200, change_account(self.books, given))
            except BaseException:
                self.books.forget_cache()
                raise
        return None

    def advance(self) -> None:
        """Carry out the asynchronous jobs that wait."""
        jobs.run_jobs(self.books, self._carry_out)

    def _carry_out(self, request: Request) -> Answer:
        found = self.find_route(request)
        return found[2](request) if found else self.not_found(request)
