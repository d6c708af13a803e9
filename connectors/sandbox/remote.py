"""A small client of the control door and of the sandboxes behind it, for the demo's feeders: only ever 127.0.0.1."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

TIMEOUT_SECONDS = 120
PAGE = 100
TOO_MANY, WAIT_SECONDS = 429, 0.2
MOST_DOCUMENTS = 500


class SandboxRefused(Exception):
    """The door or a vendor answered with a refusal."""

    def __init__(self, status: int, body: str):
        super().__init__(f"{status}: {body[:500]}")
        self.status, self.body = status, body


class SandboxAway(Exception):
    """Nobody listens, or the answer never came."""


class ControlDoor:
    """The control door at a port of this machine."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.known: dict[str, dict] = {}
        self.session = ""  # of Salesforce

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A request below /_control/; its answer decoded. Raises SandboxRefused and SandboxAway."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(method, f"{self.url}/_control/{path}", data, {"Content-Type": "application/json"})

    def make(self, vendor: str, kind: str, objects: list[dict]) -> list[str]:
        """Make documents as a user of the vendor would; their ids, in the same order."""
        ids: list[str] = []
        for start in range(0, len(objects), MOST_DOCUMENTS):
            chunk = objects[start : start + MOST_DOCUMENTS]
            ids += self.call("POST", f"{vendor}/documents/{quote(kind)}", chunk)["ids"]
        return ids

    def documents(self, vendor: str, kind: str, *, after: str = "") -> Iterator[dict]:
        """All documents of a kind, oldest first, a page at a time."""
        while True:
            query = urlencode({"limit": PAGE, **({"after": after} if after else {})})
            page = self.call("GET", f"{vendor}/documents/{quote(kind)}?{query}")
            yield from page["items"]
            after = page["next"]
            if not after:
                return

    def lines(self, kind: str, document: dict) -> Iterator[dict]:
        """All lines of one of Stripe's documents (invoice, credit_note) as `documents` gave it: those that came with
        it, then the others from Stripe's own API, as slowly as it wants."""
        page = document["lines"]
        while True:
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"limit": PAGE, "starting_after": page["data"][-1]["id"]}
            page = self._call_slowly(f"/v1/{kind}s/{document['id']}/lines", after)

    def _call_slowly(self, path: str, form: dict[str, Any]) -> dict:
        while True:
            try:
                return self.call_stripe("GET", path, form)
            except SandboxRefused as refusal:
                if refusal.status != TOO_MANY:
                    raise
                time.sleep(WAIT_SECONDS)

    def vendor(self, code: str) -> dict:
        """`{"url", "credentials"}` of a vendor."""
        if code not in self.known:
            self.known = self.call("GET", "vendors")
        return self.known[code]

    def call_stripe(self, method: str, path: str, form: dict[str, Any] | None = None, *, key: str = "") -> dict:
        """A request to Stripe's own API, e.g. POST /v1/refunds; `key` is the idempotency key."""
        stripe = self.vendor("stripe")
        headers = {"Authorization": f"Bearer {stripe['credentials']['api_key']}"}
        if key:
            headers["Idempotency-Key"] = key
        pairs = urlencode(form or {}, doseq=True)
        if method == "GET":
            return self._send(method, f"{stripe['url']}{path}?{pairs}", None, headers)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        return self._send(method, f"{stripe['url']}{path}", pairs.encode(), headers)

    def call_salesforce(self, method: str, path: str, body: Any = None) -> Any:
        """A request below /services/data/v68.0/ as the integration user; signs in when it has to."""
        facts = self.vendor("salesforce")
        url = f"{facts['url']}/services/data/v68.0/{path}"
        data = None if body is None else json.dumps(body).encode()
        for is_last in (False, True):
            if not self.session:
                given = {"grant_type": "client_credentials", **facts["credentials"]}
                form = urlencode({name: given[name] for name in ("grant_type", "client_id", "client_secret")}).encode()
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                answer = self._send("POST", f"{facts['url']}/services/oauth2/token", form, headers)
                self.session = answer["access_token"]
            headers = {"Authorization": f"Bearer {self.session}", "Content-Type": "application/json"}
            try:
                return self._send(method, url, data, headers)
            except SandboxRefused as error:
                if error.status != 401 or is_last:
                    raise
                self.session = ""
        return None

    def query_salesforce(self, soql: str) -> list[dict]:
        """The first page of a query's records."""
        return self.call_salesforce("GET", f"query?{urlencode({'q': soql})}")["records"]

    def _send(self, method: str, url: str, data: bytes | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            with self.opener.open(request, timeout=TIMEOUT_SECONDS) as answer:
                payload = answer.read()
                return json.loads(payload) if payload else None
        except urllib.error.HTTPError as error:
            raise SandboxRefused(error.code, error.read().decode(errors="replace")) from error
        except (OSError, ValueError) as error:
            raise SandboxAway(f"{url}: {error}") from error
