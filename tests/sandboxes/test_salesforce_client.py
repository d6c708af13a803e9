"""The Salesforce sandbox as the unmodified client simple-salesforce meets it."""

import datetime as dt
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import jwt
import pytest
import requests
from requests.adapters import HTTPAdapter
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceGeneralError,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)

from connectors.sandbox.testing import Sandboxes, running_sandboxes

JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


class ToSandbox(HTTPAdapter):
    """Sends what's meant for https://… to the sandbox."""

    def __init__(self, base_url: str):
        super().__init__()
        self.host = urlsplit(base_url).netloc

    def send(self, request, **options):
        parts = urlsplit(request.url)
        request.url = urlunsplit(("http", self.host, parts.path, parts.query, ""))
        return super().send(request, **options)


@pytest.fixture(scope="module")
def box(tmp_path_factory) -> Iterator[Sandboxes]:
    with running_sandboxes(tmp_path_factory.mktemp("sf"), vendors=["salesforce"]) as sandboxes:
        yield sandboxes


@pytest.fixture(scope="module")
def facts(box) -> dict:
    return box.vendor("salesforce")


def make_session(facts: dict) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", ToSandbox(facts["url"]))
    return session


def sign_in(facts: dict, **more) -> Salesforce:
    given = facts["credentials"]
    return Salesforce(
        consumer_key=given["client_id"],
        consumer_secret=given["client_secret"],
        domain="acme.my",
        session=make_session(facts),
        version="68.0",
        **more,
    )


@pytest.fixture(scope="module")
def sf(facts) -> Salesforce:
    return sign_in(facts)


def error_code(raised: pytest.ExceptionInfo) -> str:
    return raised.value.content[0]["errorCode"]


def test_client_credentials_give_a_session_whose_instance_is_the_sandbox(sf, facts):
    assert sf.sf_instance == urlsplit(facts["url"]).netloc
    assert sf.query("SELECT Id FROM Organization")["records"][0]["Id"] == facts["credentials"]["organization_id"]


def test_a_jwt_signed_with_the_key_gives_a_session(facts):
    given = facts["credentials"]
    client = Salesforce(
        username=given["username"],
        consumer_key=given["client_id"],
        privatekey=given["private_key"],
        domain="login",
        session=make_session(facts),
    )
    assert client.query("SELECT Username FROM User")["records"][0]["Username"] == given["username"]


def test_a_wrong_secret_is_refused(facts):
    with pytest.raises(SalesforceAuthenticationFailed) as raised:
        Salesforce(
            consumer_key=facts["credentials"]["client_id"],
            consumer_secret="wrong",
            domain="acme.my",
            session=make_session(facts),
        )
    assert raised.value.code == "invalid_client"


@pytest.mark.parametrize(
    ("change", "description"),
    [
        ({"aud": "https://elsewhere.example"}, "audience is invalid"),
        ({"sub": "nobody@example.com"}, "user hasn't approved this consumer"),
        ({"exp": 1}, "expired authorization code"),
        ({"exp": 4102444800}, "assertion expires too far in the future"),
    ],
)
def test_a_jwt_with_a_wrong_claim_is_refused(facts, change, description):
    given = facts["credentials"]
    claims = {
        "iss": given["client_id"],
        "sub": given["username"],
        "aud": facts["url"],
        "exp": int(dt.datetime.now(dt.UTC).timestamp()) + 120,
    }
    token = f"{facts['url']}/services/oauth2/token"
    right = jwt.encode(claims, given["private_key"], algorithm="RS256")
    assert requests.post(token, {"grant_type": JWT_GRANT, "assertion": right}, timeout=60).status_code == 200
    wrong = jwt.encode({**claims, **change}, given["private_key"], algorithm="RS256")
    answer = requests.post(token, {"grant_type": JWT_GRANT, "assertion": wrong}, timeout=60)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant", "error_description": description})


def test_an_expired_session_is_401(box, facts):
    client = sign_in(facts)
    client._salesforce_login_partial = None
    box.fault("salesforce", "expire_token", when={"path": "*/sobjects/Account/*", "nth": 1})
    with pytest.raises(SalesforceExpiredSession) as raised:
        client.Account.get("001000000000000")
    assert error_code(raised) == "INVALID_SESSION_ID"


def test_a_record_is_made_read_changed_and_deleted_under_either_form_of_its_id(facts):
    sf = sign_in(facts)
    made = sf.Account.create({"Name": "Northwind", "BillingCountry": "United Kingdom"})
    assert made["success"] is True
    assert len(made["id"]) == 18
    short = made["id"][:15]
    assert sf.Account.get(short)["Id"] == made["id"]
    assert sf.Account.update(short, {"Phone": "+44 20 7946 0000"}) == 204
    found = sf.Account.get(made["id"])
    assert (found["Phone"], found["Name"], found["CurrencyIsoCode"]) == ("+44 20 7946 0000", "Northwind", "USD")
    assert sf.Account.delete(made["id"]) == 204
    with pytest.raises(SalesforceResourceNotFound) as raised:
        sf.Account.get(short)
    assert error_code(raised) == "ENTITY_IS_DELETED"
    assert sf.query(f"SELECT Id FROM Account WHERE Id = '{short}'")["totalSize"] == 0
    assert sf.query(f"SELECT IsDeleted FROM Account WHERE Id = '{short}'", include_deleted=True)["records"][0][
        "IsDeleted"
    ]


def test_upsert_makes_then_changes_the_same_record_and_refuses_several(facts):
    sf = sign_in(facts)
    assert sf.Account.upsert("Ext_Id__c/NW-001%2FA", {"Name": "First"}) == 201
    assert sf.Account.upsert("Ext_Id__c/nw-001%2Fa", {"Name": "Second"}) == 200
    assert sf.Account.get_by_custom_id("Ext_Id__c", "NW-001/A")["Name"] == "Second"
    for name in ("Twin A", "Twin B"):
        sf.Account.create({"Name": name, "Legacy_Id__c": "TWIN"})
    with pytest.raises(SalesforceMoreThanOneRecord) as raised:
        sf.Account.upsert("Legacy_Id__c/twin", {"Name": "Which"})
    assert len(raised.value.content) == 2


def test_query_all_follows_the_pages(box, facts):
    sf = sign_in(facts)
    for start in range(0, 450, 150):
        box.make("salesforce", "Contact", *({"LastName": f"Paged {start + n:03d}"} for n in range(150)))
    text = "SELECT Id, Name FROM Contact WHERE LastName LIKE 'Paged%' ORDER BY LastName DESC"
    first = sf.query(text, headers={"Sforce-Query-Options": "batchSize=200"})
    assert (first["totalSize"], first["done"], len(first["records"])) == (450, False, 200)
    found = sf.query_all(text, headers={"Sforce-Query-Options": "batchSize=200"})["records"]
    assert [each["Name"] for each in found] == [f"Paged {n:03d}" for n in reversed(range(450))]
    with pytest.raises(SalesforceMalformedRequest) as raised:
        sf.query_more(first["nextRecordsUrl"].rpartition("/")[2].replace("01g", "01h"))
    assert error_code(raised) == "INVALID_QUERY_LOCATOR"


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        ({}, "REQUIRED_FIELD_MISSING", ["Name"]),
        ({"Name": "x" * 256}, "STRING_TOO_LONG", ["Name"]),
        ({"Name": "A", "Nmae": "B"}, "INVALID_FIELD", None),
        ({"Name": "A", "ParentId": "001"}, "MALFORMED_ID", ["ParentId"]),
        ({"Name": "A", "ParentId": "0015gQ00000zzzz"}, "INVALID_CROSS_REFERENCE_KEY", ["ParentId"]),
        ({"Name": "A", "CurrencyIsoCode": "XXX"}, "INVALID_CURRENCY_ISO", ["CurrencyIsoCode"]),
        ({"Name": "A", "Legal_Entity__c": "XX99"}, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", ["Legal_Entity__c"]),
        (
            {"Name": "A", "SystemModstamp": "2026-01-01T00:00:00Z"},
            "INVALID_FIELD_FOR_INSERT_UPDATE",
            ["SystemModstamp"],
        ),
        ({"Name": 5}, "JSON_PARSER_ERROR", None),
    ],
)
def test_a_wrong_account_is_refused_with_the_code_and_the_field(facts, body, code, fields):
    with pytest.raises(SalesforceMalformedRequest) as raised:
        sign_in(facts).Account.create(body)
    assert error_code(raised) == code
    assert raised.value.content[0].get("fields") == fields


def test_a_taken_external_id_and_a_likely_duplicate_are_refused(facts):
    sf = sign_in(facts)
    address = {"BillingStreet": "1 High St", "BillingPostalCode": "LS1 1AA"}
    sf.Account.create({"Name": "Twice Ltd", "Ext_Id__c": "T-1", **address})
    with pytest.raises(SalesforceMalformedRequest) as raised:
        sf.Account.create({"Name": "Other", "Ext_Id__c": "t-1"})
    assert error_code(raised) == "DUPLICATE_VALUE"
    with pytest.raises(SalesforceMalformedRequest) as raised:
        sf.Account.create({"Name": "twice ltd", **address})
    assert error_code(raised) == "DUPLICATES_DETECTED"
    saved = sf.Account.create(
        {"Name": "twice ltd", **address}, headers={"Sforce-Duplicate-Rule-Header": "allowSave=true"}
    )
    assert saved["success"] is True


def test_a_locked_row_and_used_up_requests_are_refused_in_their_own_classes(box, facts):
    sf = sign_in(facts)
    box.fault("salesforce", "status", when={"method": "POST", "nth": 1}, status=400)
    with pytest.raises(SalesforceMalformedRequest) as raised:
        sf.Account.create({"Name": "Locked"})
    assert error_code(raised) == "UNABLE_TO_LOCK_ROW"
    box.make("salesforce", "Organization", {"DailyApiRequests": 1})
    try:
        with pytest.raises(SalesforceRefusedRequest) as raised:
            sf.limits()
        assert error_code(raised) == "REQUEST_LIMIT_EXCEEDED"
        box.control("POST", "salesforce/limits", {"enforced": False})
        assert sf.limits()["DailyApiRequests"]["Remaining"] == 0
        assert sf.api_usage["api-usage"].total == 1
    finally:
        box.control("POST", "salesforce/limits", {"enforced": True})
        box.make("salesforce", "Organization", {"DailyApiRequests": 200000})


def test_an_unknown_path_and_a_wrong_method_are_told_apart(facts):
    sf = sign_in(facts)
    with pytest.raises(SalesforceResourceNotFound) as missing:
        sf.Acount.get("001000000000000")
    assert error_code(missing) == "NOT_FOUND"
    with pytest.raises(SalesforceGeneralError) as wrong:
        sf.restful("limits", method="DELETE")
    assert (wrong.value.status, error_code(wrong)) == (405, "METHOD_NOT_ALLOWED")


def test_describe_tells_external_ids_picklists_references_and_children(sf):
    shown = sf.Opportunity.describe()
    fields = {each["name"]: each for each in shown["fields"]}
    assert fields["Ext_Id__c"]["externalId"] is True
    assert fields["AccountId"]["referenceTo"] == ["Account"]
    assert "JPY" in [each["value"] for each in fields["CurrencyIsoCode"]["picklistValues"]]
    assert fields["IsWon"]["updateable"] is False
    assert "OpportunityLineItems" in [each["relationshipName"] for each in shown["childRelationships"]]
    assert "SBQQ__Quote__c" in [each["name"] for each in sf.describe()["sobjects"]]


def test_changed_and_deleted_records_are_listed_for_a_window_of_time(facts):
    sf = sign_in(facts)
    kept, gone = (sf.Contact.create({"LastName": name})["id"] for name in ("Kept", "Gone"))
    sf.Contact.delete(gone)
    now = dt.datetime.now(dt.UTC)
    start, end = now - dt.timedelta(hours=1), now + dt.timedelta(minutes=5)
    assert kept in sf.Contact.updated(start, end)["ids"]
    assert gone in [each["id"] for each in sf.Contact.deleted(start, end)["deletedRecords"]]
    with pytest.raises(SalesforceMalformedRequest):
        sf.Contact.updated(now - dt.timedelta(days=31), end)
