"""The PyPI client `netsuite`, unmodified, against the sandbox: create, read, list, page, SuiteQL, its own errors."""

import asyncio
import json

import httpx
import netsuite
import pytest
from netsuite import rest_api_base
from netsuite.exceptions import NetsuiteAPIRequestError

from connectors.sandbox.testing import running_sandboxes


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("netsuite"), vendors=["netsuite"]) as running:
        yield running.vendor("netsuite")


class Redirect(httpx.AsyncHTTPTransport):
    """Carries what is meant for the vendor's host to the sandbox; the Host header stays the vendor's."""

    url: httpx.URL

    async def handle_async_request(self, request):
        assert request.url.host == "1234567-sb1.suitetalk.api.netsuite.com"
        request.url = request.url.copy_with(scheme="http", host=self.url.host, port=self.url.port)
        return await super().handle_async_request(request)


@pytest.fixture
def api(known, monkeypatch):
    monkeypatch.setattr(Redirect, "url", httpx.URL(known["url"]), raising=False)
    client = httpx.AsyncClient
    monkeypatch.setattr(rest_api_base.httpx, "AsyncClient", lambda: client(transport=Redirect()))
    return netsuite.NetSuiteRestApi(make_config(known))


def make_config(known, **changed):
    given = {**known["credentials"], **changed}
    names = ("consumer_key", "consumer_secret", "token_id", "token_secret")
    return netsuite.Config(account=given["account"], auth=netsuite.TokenAuth(**{name: given[name] for name in names}))


def run(coroutine):
    return asyncio.run(coroutine)


def make_customer(api, name):
    body = {"companyName": name, "externalId": name, "subsidiary": {"id": "eid:US01"}}
    return run(api.post("/record/v1/customer", json=body))


def test_it_creates_and_reads_a_record(api):
    assert make_customer(api, "acc-created") is None
    found = run(api.get("/record/v1/customer/eid:acc-created", params={"expandSubResources": "true"}))
    assert found["companyName"] == "acc-created"
    assert found["subsidiary"] == {"id": "1", "refName": "Default Legal Entity - US"}
    assert found["currencyList"]["items"] == [{"currency": {"id": "1", "refName": "USA"}}]


def test_it_changes_a_record(api):
    make_customer(api, "acc-changed")
    assert run(api.patch("/record/v1/customer/eid:acc-changed", json={"email": "ap@nordwind.example"})) is None
    assert (
        run(api.get("/record/v1/customer/eid:acc-changed", params={"fields": "email"}))["email"]
        == "ap@nordwind.example"
    )


def test_it_upserts_by_external_id_and_finds_by_q(api):
    body = {"companyName": "Upserted", "subsidiary": {"id": "1"}}
    for _ in range(2):
        assert run(api.put("/record/v1/customer/eid:acc-upserted", json=body)) is None
    found = run(api.get("/record/v1/customer", params={"q": 'companyName IS "Upserted"'}))
    assert found["totalResults"] == 1


def test_it_pages_through_a_collection(api):
    seen, offset = [], 0
    while True:
        page = run(api.get("/record/v1/account", params={"limit": 25, "offset": offset}))
        seen += [item["id"] for item in page["items"]]
        if not page["hasMore"]:
            break
        offset += 25
    assert (len(seen), len(set(seen)), page["totalResults"], page["count"]) == (69, 69, 69, 19)


def test_it_pages_through_suiteql(api):
    q = "SELECT id, symbol FROM currency ORDER BY id"
    first = run(api.suiteql(q, limit=5))
    second = run(api.suiteql(q, limit=5, offset=5))
    symbols = [row["symbol"] for row in first["items"] + second["items"]]
    assert symbols == ["USD", "GBP", "CAD", "EUR", "AUD", "CHF", "JPY", "KWD"]
    assert (first["hasMore"], second["hasMore"], second["offset"], second["totalResults"]) == (True, False, 5, 8)


def test_it_reads_the_catalogue(api):
    schema = run(api.jsonschema("invoice"))
    assert schema["properties"]["tranDate"] == {"type": "string", "format": "date"}
    assert list(run(api.openapi(["invoice"]))["components"]["schemas"]) == ["invoice"]


def test_it_raises_its_own_error_for_a_record_that_is_not_there(api):
    with pytest.raises(NetsuiteAPIRequestError) as caught:
        run(api.get("/record/v1/invoice/eid:nothing"))
    assert caught.value.status_code == 404
    assert json.loads(caught.value.response_text)["o:errorDetails"][0]["o:errorCode"] == "NONEXISTENT_ID"


def test_it_raises_its_own_error_for_an_unknown_property_since_it_asks_for_strictness(api):
    with pytest.raises(NetsuiteAPIRequestError) as caught:
        run(api.post("/record/v1/customer", json={"companyName": "X", "subsidiary": {"id": "1"}, "nonsense": 1}))
    detail = json.loads(caught.value.response_text)["o:errorDetails"][0]
    assert (caught.value.status_code, detail["o:errorCode"], detail["o:errorPath"]) == (
        400,
        "INVALID_CONTENT",
        "nonsense",
    )


def test_it_raises_its_own_error_for_wrong_credentials(known, api):
    wrong = netsuite.NetSuiteRestApi(make_config(known, token_secret="wrong"))
    with pytest.raises(NetsuiteAPIRequestError) as caught:
        run(wrong.get("/record/v1/subsidiary"))
    assert caught.value.status_code == 401


def test_it_works_with_the_sandboxs_own_address_per_call(known):
    api = netsuite.NetSuiteRestApi(make_config(known))
    url = f"{known['url']}/services/rest/record/v1/subsidiary"
    assert run(api.get("", url=url, params={"limit": 3}))["count"] == 3
    body = {"companyName": "Per call", "subsidiary": {"id": "1"}}
    assert run(api.post("", url=f"{known['url']}/services/rest/record/v1/customer", json=body)) is None
