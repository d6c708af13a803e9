"""A plain signed client for the tests of the NetSuite sandbox: `requests` with requests-oauthlib."""

from typing import Any

import requests
from requests_oauthlib import OAuth1

RECORD = "/services/rest/record/v1"


class Client:
    """Sends signed requests to a running sandbox; the answers come as they are."""

    def __init__(self, sandboxes: Any, **changed: str):
        known = sandboxes.vendor("netsuite")
        self.url = known["url"]
        self.credentials = {**known["credentials"], **changed}
        self.session = requests.Session()
        self.session.trust_env = False

    def auth(self, **more: Any) -> OAuth1:
        """The signature of one request."""
        known = self.credentials
        return OAuth1(
            known["consumer_key"],
            client_secret=known["consumer_secret"],
            resource_owner_key=known["token_id"],
            resource_owner_secret=known["token_secret"],
            signature_method=more.pop("signature_method", "HMAC-SHA256"),
            realm=known["account"],
            **more,
        )

    def send(self, method: str, path: str, body: Any = None, **more: Any) -> requests.Response:
        """One request; `path` may be a whole path or one below the record API."""
        whole = path if path.startswith("/services") else f"{RECORD}/{path}"
        auth = more.pop("auth", None) or self.auth()
        return self.session.request(method, self.url + whole, json=body, auth=auth, timeout=60, **more)

    def create(self, type: str, body: dict) -> str:
        """Make a record; its id."""
        answer = self.send("POST", type, body)
        assert answer.status_code == 204, answer.text
        assert answer.content == b""
        return answer.headers["Location"].rpartition("/")[2]

    def read(self, type: str, key: str) -> dict:
        """A record with its sublists."""
        answer = self.send("GET", f"{type}/{key}?expandSubResources=true")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def query(self, q: str, *params: Any) -> list[dict]:
        """The rows of a SuiteQL statement, without their empty links."""
        answer = self.send(
            "POST",
            "/services/rest/query/v1/suiteql?limit=1000",
            {"q": q, "params": list(params)},
            headers={"Prefer": "transient"},
        )
        assert answer.status_code == 200, answer.text
        return [{name: value for name, value in row.items() if name != "links"} for row in answer.json()["items"]]

    def impact(self, id: str) -> dict[str, float]:
        """Base amounts of a transaction by account number, a debit positive."""
        rows = self.query(
            "SELECT a.acctnumber, SUM(l.amount) AS amount FROM transactionaccountingline l"
            " JOIN account a ON a.id = l.account WHERE l.transaction = ? GROUP BY a.acctnumber",
            id,
        )
        return {row["acctnumber"]: float(row["amount"]) for row in rows}


def error_of(answer: requests.Response) -> tuple[int, str, str]:
    """Status, code and detail of a refusal."""
    detail = answer.json()["o:errorDetails"][0]
    return answer.status_code, detail["o:errorCode"], detail["detail"]
