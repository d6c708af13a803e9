"""The NetSuite sandbox's doors: signatures, certificates, concurrency, faults, and what a killed process keeps."""

import base64
import threading
import time

import jwt
import pytest
import requests

from connectors.netsuite.sandbox.oauth import sign
from connectors.sandbox.testing import running_sandboxes
from tests.sandboxes.netsuite_client import Client, error_of

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
INVOICE = {
    "entity": {"externalId": "acc-1"},
    "tranDate": "2011-01-15",
    "item": {"items": [{"item": {"id": "eid:RETAIL-GOODS"}, "quantity": 2, "rate": 2.5}]},
}


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("netsuite"), vendors=["netsuite"]) as running:
        yield running


@pytest.fixture
def client(sandboxes):
    sandboxes.control("DELETE", "netsuite/faults")
    sandboxes.control("POST", "reset", {"vendors": ["netsuite"], "keep": "nothing"})
    return Client(sandboxes)


def make_customer(client, external_id="acc-1", **more):
    return client.create(
        "customer", {"externalId": external_id, "companyName": external_id, "subsidiary": {"id": "eid:GB01"}, **more}
    )


def problem_of(answer):
    assert answer.status_code == 401
    assert error_of(answer)[1] == "INVALID_LOGIN"
    return answer.headers["WWW-Authenticate"].partition('error="')[2].partition('"')[0]


def make_assertion(client, *, algorithm="PS256", kid=None, **changed):
    known = client.credentials
    now = int(time.time())
    claims = {
        "iss": known["client_id"],
        "scope": ["rest_webservices"],
        "aud": client.url + TOKEN_PATH,
        "iat": now,
        "exp": now + 600,
        **changed,
    }
    headers = {"kid": kid or known["certificate_id"], "typ": "JWT"}
    return jwt.encode(claims, known["private_key"], algorithm=algorithm, headers=headers)


def ask_token(client, assertion):
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": assertion}
    return requests.post(client.url + TOKEN_PATH, data=form, timeout=60)


def test_the_signature_is_that_of_the_vendors_own_example():
    pairs = [
        ("oauth_consumer_key", "ef40afdd8abaac111b13825dd5e5e2ddddb44f86d5a0dd6dcf38c20aae6b67e4"),
        ("oauth_token", "2b0ce516420110bcbd36b69e99196d1b7f6de3c6234c5afb799b73d87569f5cc"),
        ("oauth_nonce", "fjaLirsIcCGVZWzBX0pg"),
        ("oauth_timestamp", "1508242306"),
        ("oauth_signature_method", "HMAC-SHA256"),
        ("oauth_version", "1.0"),
    ]
    signature = sign(
        "GET",
        "https://123456.suitetalk.api.netsuite.com/services/rest/record/v1/employee/40",
        pairs,
        "d26ad321a4b2f23b0741c8d38392ce01c3e23e109df6c96eac6d099e9ab9e8b5",
        "c29a677df7d5439a458c063654187e3d678d73aca8e3c9d8bea1478a3eb0d295",
    )
    assert signature == "B5OIWznZ2YP0OB7VrJrGkYsTh+8H+5T9Hag+o92q0zY="


def test_the_query_string_is_part_of_what_is_signed(client):
    signed = requests.Request(
        "GET", f"{client.url}/services/rest/record/v1/subsidiary?limit=5", auth=client.auth()
    ).prepare()
    assert client.session.send(signed).status_code == 200
    signed = requests.Request(
        "GET", f"{client.url}/services/rest/record/v1/subsidiary?limit=5", auth=client.auth()
    ).prepare()
    signed.url = signed.url.replace("limit=5", "limit=6")
    assert problem_of(client.session.send(signed)) == "signature_invalid"


def test_a_nonce_counts_once(client):
    auth = client.auth(nonce="one-and-the-same")
    assert client.send("GET", "subsidiary", auth=auth).status_code == 200
    assert problem_of(client.send("GET", "subsidiary", auth=client.auth(nonce="one-and-the-same"))) == "nonce_used"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"consumer_key": "somebody"}, "consumer_key_unknown"),
        ({"consumer_secret": "wrong"}, "signature_invalid"),
        ({"token_id": "gone"}, "token_rejected"),
        ({"token_secret": "wrong"}, "signature_invalid"),
        ({"account": "1234567-sb1"}, "permission_denied"),
    ],
)
def test_wrong_credentials_are_refused(sandboxes, changed, problem):
    assert problem_of(Client(sandboxes, **changed).send("GET", "subsidiary")) == problem


def test_sha1_and_old_timestamps_are_refused(client):
    old = client.auth(signature_method="HMAC-SHA1")
    assert problem_of(client.send("GET", "subsidiary", auth=old)) == "signature_method_rejected"
    late = client.auth(timestamp=str(int(time.time()) - 600))
    assert problem_of(client.send("GET", "subsidiary", auth=late)) == "timestamp_refused"


def test_an_unsigned_request_is_refused(client):
    assert problem_of(requests.get(f"{client.url}/services/rest/record/v1/subsidiary", timeout=60)) == ""


@pytest.mark.parametrize("audience", ["sandbox", "vendor"])
def test_an_assertion_with_the_certificate_gives_a_token(client, audience):
    host = client.url if audience == "sandbox" else "https://1234567-sb1.suitetalk.api.netsuite.com"
    answer = ask_token(client, make_assertion(client, aud=host + TOKEN_PATH))
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["expires_in"] == "3600"
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    listed = requests.get(f"{client.url}/services/rest/record/v1/subsidiary", headers=headers, timeout=60)
    assert listed.json()["totalResults"] == 7


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"algorithm": "RS256"}, "invalid_grant"),
        ({"kid": "another"}, "invalid_grant"),
        ({"aud": "https://elsewhere.example/token"}, "invalid_grant"),
        ({"exp": 1}, "invalid_grant"),
        ({"exp": int(time.time()) + 9000}, "invalid_grant"),
        ({"iss": "another"}, "invalid_client"),
        ({"scope": ["restlets"]}, "invalid_scope"),
    ],
)
def test_a_bad_assertion_gives_no_token(client, changed, error):
    answer = ask_token(client, make_assertion(client, **changed))
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_a_token_ends_with_its_hour_and_when_the_fault_says_so(sandboxes, client):
    headers = {"Authorization": f"Bearer {ask_token(client, make_assertion(client)).json()['access_token']}"}
    url = f"{client.url}/services/rest/record/v1/subsidiary"
    sandboxes.control("POST", "clock", {"offset_seconds": 3700})
    late = requests.get(url, headers=headers, timeout=60)
    sandboxes.control("POST", "clock", {"reset": True})
    assert problem_of(late) == "invalid_token"
    assert requests.get(url, headers=headers, timeout=60).status_code == 200
    sandboxes.fault("netsuite", "expire_token", when={"nth": 1})
    assert problem_of(requests.get(url, headers=headers, timeout=60)) == "invalid_token"
    assert problem_of(requests.get(url, headers=headers, timeout=60)) == "invalid_token"
    headers = {"Authorization": f"Bearer {ask_token(client, make_assertion(client)).json()['access_token']}"}
    assert requests.get(url, headers=headers, timeout=60).status_code == 200


def test_a_token_with_another_signature_is_refused(client):
    token = ask_token(client, make_assertion(client)).json()["access_token"]
    head, body, signature = token.split(".")
    forged = base64.urlsafe_b64encode(bytes(32)).decode().rstrip("=")
    answer = requests.get(
        f"{client.url}/services/rest/record/v1/subsidiary",
        headers={"Authorization": f"Bearer {head}.{body}.{forged}"},
        timeout=60,
    )
    assert problem_of(answer) == "invalid_token"


def test_more_requests_at_once_than_the_account_allows_are_refused_without_retry_after(sandboxes, client):
    sandboxes.control("POST", "netsuite/account", {"concurrency": 1})
    sandboxes.fault("netsuite", "delay", when={"path": "*/term"}, seconds=4)
    slow, other = threading.Thread(target=client.send, args=("GET", "term")), Client(sandboxes)
    slow.start()
    while not sandboxes.control("GET", "netsuite/faults")["faults"][0]["hits"]:
        assert slow.is_alive()
        time.sleep(0.02)
    answer = other.send("GET", "subsidiary")  # while the slow one has the only place
    sandboxes.control("POST", "netsuite/limits", {"enforced": False})
    allowed = other.send("GET", "subsidiary")
    sandboxes.control("POST", "netsuite/limits", {"enforced": True})
    slow.join()
    status, code, detail = error_of(answer)
    assert (status, code) == (429, "CONCURRENCY_LIMIT_EXCEEDED")
    assert detail == "Concurrent request limit exceeded. Request blocked."
    assert "Retry-After" not in answer.headers
    assert allowed.status_code == 200


def test_a_killed_process_keeps_what_it_answered_for(tmp_path):
    with running_sandboxes(tmp_path, vendors=["netsuite"]) as running:
        client = Client(running)
        make_customer(client)
        ids = [client.create("invoice", {**INVOICE, "externalId": f"inv-{number}"}) for number in range(5)]
        accepted = client.send(
            "POST", "invoice", {**INVOICE, "externalId": "inv-later"}, headers={"Prefer": "respond-async"}
        )
        running.kill()
        running.start()
        again = Client(running)
        assert again.credentials == client.credentials
        assert [again.read("invoice", f"eid:inv-{number}")["id"] for number in range(5)] == ids
        running.control("POST", "clock", {"offset_seconds": 0})
        job = again.send("GET", accepted.headers["Location"].removeprefix(client.url)).json()
        assert job["progress"] == "succeeded"
        assert [entry["external_id"] for entry in running.log("netsuite", document_type="invoice")] == [
            *(f"inv-{number}" for number in range(5)),
            "inv-later",
        ]


def test_a_lost_answer_leaves_the_document_behind_and_its_repetition_is_refused(sandboxes, client):
    make_customer(client)
    sandboxes.fault("netsuite", "lose_answer", when={"method": "POST", "path": "*/invoice", "nth": 1})
    with pytest.raises(requests.ConnectionError):
        client.send("POST", "invoice", {**INVOICE, "externalId": "inv-lost"})
    found = client.read("invoice", "eid:inv-lost")
    again = client.send("POST", "invoice", {**INVOICE, "externalId": "inv-lost"})
    assert error_of(again)[:2] == (400, "USER_ERROR")
    assert "This record already exists" in error_of(again)[2]
    assert client.query("SELECT id FROM transaction") == [{"id": found["id"]}]


def test_the_fault_close_period_closes_it_for_the_request_that_meets_it(sandboxes, client):
    make_customer(client)
    client.create("invoice", {**INVOICE, "externalId": "inv-before"})
    sandboxes.fault(
        "netsuite",
        "close_period",
        when={"method": "POST", "path": "*/invoice", "nth": 2},
        body={"subsidiary": "GB01", "period": "2011-01"},
    )
    client.create("invoice", {**INVOICE, "externalId": "inv-open"})
    refused = client.send("POST", "invoice", {**INVOICE, "externalId": "inv-closed"})
    assert error_of(refused)[:2] == (400, "USER_ERROR")
    assert "within the date range of your accounting period" in error_of(refused)[2]


def test_a_reset_that_keeps_reference_forgets_documents_and_keeps_what_was_changed_of_the_lists(sandboxes, client):
    make_customer(client)
    client.create("invoice", {**INVOICE, "externalId": "inv-1"})
    item = {"itemId": "NEW", "incomeAccount": {"id": "eid:4100"}, "externalId": "NEW"}
    sandboxes.make("netsuite", "serviceSaleItem", item)
    sandboxes.control("POST", "reset", {"vendors": ["netsuite"], "keep": "reference"})
    assert client.query("SELECT COUNT(*) AS n FROM transaction") == [{"n": "0"}]
    assert client.query("SELECT COUNT(*) AS n FROM customer") == [{"n": "0"}]
    assert client.query("SELECT itemid FROM item WHERE externalid = 'NEW'") == [{"itemid": "NEW"}]
    sandboxes.control("POST", "reset", {"vendors": ["netsuite"], "keep": "nothing"})
    assert client.query("SELECT itemid FROM item WHERE externalid = 'NEW'") == []
    assert client.query("SELECT COUNT(*) AS n FROM subsidiary") == [{"n": "7"}]
    make_customer(client)
    client.create("invoice", {**INVOICE, "externalId": "inv-1"})
