"""What the tests of Salesforce's sandbox share: the process, and a caller of its REST API."""

from typing import Any

import requests

from connectors.sandbox.testing import Sandboxes

ROOT = "/services/data/v68.0"


class Caller:
    """A signed-in user of the REST API; `status` is that of the last answer."""

    def __init__(self, box: Sandboxes):
        facts = box.vendor("salesforce")
        given = facts["credentials"]
        self.url = facts["url"]
        self.session = requests.Session()
        self.session.trust_env = False
        token = self.session.post(
            f"{self.url}/services/oauth2/token",
            {
                "grant_type": "client_credentials",
                "client_id": given["client_id"],
                "client_secret": given["client_secret"],
            },
            timeout=60,
        ).json()
        self.session.headers["Authorization"] = f"Bearer {token['access_token']}"
        self.status = 0

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The decoded answer, None when it's empty."""
        answer = self.session.request(method, f"{self.url}{ROOT}/{path}", json=body, headers=headers, timeout=60)
        self.status = answer.status_code
        return answer.json() if answer.content else None

    def query(self, soql: str) -> list[dict]:
        """The records of a query's first page."""
        answer = self.session.get(f"{self.url}{ROOT}/query", params={"q": soql}, timeout=60)
        self.status = answer.status_code
        return answer.json()["records"] if answer.ok else answer.json()

    def names(self, soql: str) -> list:
        """The values of a query's first selected field."""
        return [next(value for key, value in each.items() if key != "attributes") for each in self.query(soql)]
