"""The NetSuite sandbox's REST behaviour: envelopes, filters, SuiteQL, asynchronous jobs, roles, the control door."""

import pytest

from connectors.netsuite.sandbox.company import list_left_out_skus, read_table
from connectors.sandbox.testing import running_sandboxes
from tests.sandboxes.netsuite_client import Client, error_of

SUITEQL = "/services/rest/query/v1/suiteql"
TRANSIENT = {"Prefer": "transient"}


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("netsuite"), vendors=["netsuite"]) as running:
        yield running


@pytest.fixture
def client(sandboxes):
    sandboxes.control("POST", "reset", {"vendors": ["netsuite"], "keep": "nothing"})
    return Client(sandboxes)


def customer(name, **more):
    return {"companyName": name, "externalId": name, "subsidiary": {"id": "eid:GB01"}, **more}


def invoice(name, amount, **more):
    lines = {"items": [{"item": {"id": "eid:RETAIL-GOODS"}, "amount": amount}]}
    return {"entity": {"id": "eid:acc-1"}, "externalId": name, "tranDate": "2011-03-15", "item": lines, **more}


def test_sublists_are_links_unless_they_are_expanded(client):
    client.create("customer", customer("acc-1"))
    id = client.create("invoice", invoice("inv-1", 5))
    short = client.send("GET", f"invoice/{id}").json()
    assert short["item"] == {
        "links": [{"rel": "self", "href": f"{client.url}/services/rest/record/v1/invoice/{id}/item"}]
    }
    lines = client.send("GET", f"invoice/{id}/item").json()
    assert [line["amount"] for line in lines["items"]] == [5]
    part = client.send("GET", f"invoice/{id}?fields=total,tranDate").json()
    assert set(part) == {"links", "id", "total", "tranDate"}
    assert client.send("GET", f"invoice/{id}?simpleEnumFormat=true").json()["approvalStatus"] == "2"


def test_unknown_properties_are_dropped_unless_the_request_is_strict(client):
    body = customer("acc-1", nonsense=1, custentity_region="North")
    client.create("customer", body)
    found = client.read("customer", "eid:acc-1")
    assert "nonsense" not in found
    assert found["custentity_region"] == "North"
    strict = {"X-NetSuite-PropertyNameValidation": "Error"}
    answer = client.send("PATCH", "customer/eid:acc-1", {"nonsense": 1}, headers=strict)
    assert error_of(answer)[:2] == (400, "INVALID_CONTENT")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_a_record_that_is_not_there_is_a_404(sandboxes, client, method):
    sandboxes.control("POST", "netsuite/account", {"may_delete": True})
    body = {} if method == "PATCH" else None
    assert error_of(client.send(method, "invoice/4711", body))[:2] == (404, "NONEXISTENT_ID")
    assert error_of(client.send(method, "invoice/eid:4711", body))[:2] == (404, "NONEXISTENT_ID")


def test_a_body_that_is_not_json_is_refused(client):
    answer = client.send("POST", "customer", headers={"Content-Type": "application/json"})
    assert error_of(answer)[:2] == (400, "INVALID_CONTENT")


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ('companyName START_WITH "a"', ["acc-1", "acc-2"]),
        ('companyName CONTAIN "cc" AND companyName IS_NOT "acc-1"', ["acc-2"]),
        ('companyName IS "acc-1" OR companyName IS "other"', ["acc-1", "other"]),
        ('externalId IS "acc-2"', ["acc-2"]),
        ("creditLimit GREATER 100", ["other"]),
        ("creditLimit BETWEEN [50, 100]", ["acc-2"]),
        ("email EMPTY", ["acc-1", "other"]),
        ("subsidiary ANY_OF [4, 5]", ["acc-1", "acc-2", "other"]),
        ('lastModifiedDate ON_OR_AFTER "11/20/2020 08:00 am"', ["acc-1", "acc-2", "other"]),
        ('lastModifiedDate BEFORE "11/20/2020"', []),
        ('(companyName IS "acc-1" OR companyName IS "acc-2") AND email EMPTY', ["acc-1"]),
    ],
)
def test_collections_are_filtered_by_q(client, q, names):
    client.create("customer", customer("acc-1"))
    client.create("customer", customer("acc-2", email="ap@nordwind.example", creditLimit=100))
    client.create("customer", customer("other", creditLimit=101))
    found = client.send("GET", "customer", params={"q": q, "expandRecords": "true"}).json()
    assert [item["companyName"] for item in found["items"]] == names
    assert found["totalResults"] == len(names)


def test_a_filter_that_cannot_be_read_and_an_offset_between_pages_are_refused(client):
    answer = client.send("GET", "customer", params={"q": "companyName LIKES x"})
    assert error_of(answer)[:2] == (400, "INVALID_PARAMETER")
    assert error_of(client.send("GET", "customer?limit=10&offset=5"))[:2] == (400, "INVALID_PARAMETER")
    assert error_of(client.send("GET", "customer?limit=1001"))[:2] == (400, "INVALID_PARAMETER")


def test_suiteql_needs_its_header_and_one_select(client):
    assert error_of(client.send("POST", SUITEQL, {"q": "SELECT id FROM currency"}))[0] == 400
    for q in (
        "DELETE FROM currency",
        "SELECT id FROM currency; SELECT id FROM term",
        "SELECT value FROM settings",
        "SELECT body FROM documents",
        "SELECT tranid FROM ns_transaction",
        "SELECT sql FROM sqlite_master",
        "SELECT nothing FROM currency",
        "WITH x AS (SELECT 1 AS n) INSERT INTO keys SELECT * FROM x",
    ):
        answer = client.send("POST", SUITEQL, {"q": q}, headers=TRANSIENT)
        assert error_of(answer)[:2] == (400, "INVALID_PARAMETER"), q


def test_suiteql_gives_strings_lower_case_names_and_no_nulls(client):
    client.create("customer", customer("acc-1"))
    client.create("invoice", invoice("inv-1", 1200.5))
    answer = client.send(
        "POST",
        SUITEQL,
        {"q": "SELECT t.ID, t.TranDate, t.ForeignTotal, t.Memo, t.Posting FROM Transaction t"},
        headers=TRANSIENT,
    ).json()
    row = {
        "links": [],
        "id": answer["items"][0]["id"],
        "trandate": "3/15/2011",
        "foreigntotal": "1200.5",
        "posting": "T",
    }
    assert answer["items"] == [row]


def test_suiteql_speaks_as_much_oracle_as_programs_use(client):
    client.create("customer", customer("acc-1"))
    for number, amount in enumerate((10.1, 20.2, 30.3)):
        client.create("invoice", invoice(f"inv-{number}", amount, tranDate=f"2011-0{number + 3}-15"))
    rows = client.query(
        "SELECT BUILTIN.DF(t.postingperiod) AS period, BUILTIN.DF(t.currency) AS currency, t.type, COUNT(*) AS n,"
        " SUM(t.foreigntotal) AS total FROM transaction t JOIN customer c ON c.id = t.entity"
        " WHERE t.trandate >= TO_DATE(?, 'YYYY-MM-DD') AND c.externalid = ? AND t.subsidiary = 4"
        " GROUP BY t.postingperiod, t.currency, t.type ORDER BY 1",
        "2011-04-01",
        "acc-1",
    )
    assert rows == [
        {"period": "Apr 2011", "currency": "British Pound", "type": "CustInvc", "n": "1", "total": "20.2"},
        {"period": "May 2011", "currency": "British Pound", "type": "CustInvc", "n": "1", "total": "30.3"},
    ]
    assert client.query("SELECT SUM(foreigntotal) AS total FROM transaction") == [{"total": "60.6"}]
    assert (
        client.query("SELECT TOP 1 tranid, NVL(memo, '-') AS memo FROM transaction ORDER BY id DESC")[0]["memo"] == "-"
    )
    rows = client.query(
        "SELECT TO_CHAR(trandate, 'DD.MM.YYYY') AS d FROM transaction ORDER BY id FETCH FIRST 2 ROWS ONLY"
    )
    assert rows == [{"d": "15.03.2011"}, {"d": "15.04.2011"}]
    changed = "SELECT COUNT(*) AS n FROM transaction WHERE lastmodifieddate >= TO_TIMESTAMP_TZ(?, ?)"
    assert client.query(changed, "2020-01-01T00:00:00+02:00", 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM') == [{"n": "3"}]
    assert client.query(changed, "2120-01-01 00:00:00 +00:00", "YYYY-MM-DD HH24:MI:SS TZH:TZM") == [{"n": "0"}]
    lines = client.query("SELECT SUM(foreignamount) AS total, COUNT(*) AS n FROM transactionline WHERE mainline = 'F'")
    assert lines == [{"total": "-60.6", "n": "3"}]


def test_a_job_is_accepted_carried_out_and_refused_a_second_time(sandboxes, client):
    client.create("customer", customer("acc-1"))
    headers = {"Prefer": "respond-async", "X-NetSuite-Idempotency-Key": "5f3e"}
    accepted = client.send("POST", "invoice", invoice("inv-1", 5), headers=headers)
    assert (accepted.status_code, accepted.headers["Preference-Applied"]) == (202, "respond-async")
    again = client.send("POST", "invoice", invoice("inv-1", 5), headers=headers)
    assert error_of(again)[:2] == (400, "IDEMPOTENCY_ERROR")
    assert again.json()["title"] == "Conflict"
    assert again.headers["Location"] == accepted.headers["Location"]
    sandboxes.control("POST", "clock", {"reset": True})
    path = accepted.headers["Location"].removeprefix(client.url)
    job = client.send("GET", path).json()
    assert (job["completed"], job["progress"]) == (True, "succeeded")
    result = client.send("GET", f"{path}/task/1/result")
    assert result.status_code == 204
    assert result.headers["Location"].endswith(f"invoice/{client.read('invoice', 'eid:inv-1')['id']}")
    assert [entry["idempotency_key"] for entry in sandboxes.log("netsuite", external_id="inv-1")][-1] == "5f3e"


def test_a_synchronous_request_ignores_the_idempotency_key(client):
    headers = {"X-NetSuite-Idempotency-Key": "77aa"}
    for name in ("acc-1", "acc-2"):
        assert client.send("POST", "customer", customer(name), headers=headers).status_code == 204
    assert client.query("SELECT COUNT(*) AS n FROM customer") == [{"n": "2"}]


def test_a_batch_is_asynchronous_only_and_one_refused_record_leaves_the_others(sandboxes, client):
    client.create("customer", customer("acc-1"))
    body = {"items": [invoice("inv-1", 5), invoice("inv-2", -5), invoice("inv-3", 7)]}
    kind = {"Content-Type": "application/vnd.oracle.resource+json; type=collection"}
    assert error_of(client.send("POST", "invoice", body, headers=kind))[0] == 400
    accepted = client.send("POST", "invoice", body, headers={**kind, "Prefer": "respond-async"})
    assert accepted.status_code == 202
    sandboxes.control("POST", "clock", {"reset": True})
    path = accepted.headers["Location"].removeprefix(client.url)
    assert client.send("GET", path).json()["progress"] == "failed"
    tasks = client.send("GET", f"{path}/task").json()["items"]
    assert [task["progress"] for task in tasks] == ["succeeded", "failed", "succeeded"]
    assert client.query("SELECT externalid FROM transaction ORDER BY id") == [
        {"externalid": "inv-1"},
        {"externalid": "inv-3"},
    ]


def test_the_integration_may_not_close_periods_or_change_the_chart(client):
    period = client.query("SELECT id FROM accountingperiod WHERE periodname = 'Mar 2011'")[0]["id"]
    answer = client.send("PATCH", f"accountingPeriod/{period}", {"closed": True})
    assert error_of(answer)[:2] == (403, "INSUFFICIENT_PERMISSION")
    answer = client.send("GET", "/services/rest/system/v1/governanceLimits")
    assert error_of(answer)[:2] == (403, "INSUFFICIENT_PERMISSION")


def test_the_control_door_makes_and_lists_documents_and_logs_them(sandboxes, client):
    last = sandboxes.control("GET", "netsuite/log")["last"]
    ids = sandboxes.make("netsuite", "customer", customer("acc-1"), customer("acc-2"))
    made = sandboxes.make("netsuite", "invoice", invoice("inv-1", 5))
    listed = sandboxes.control("GET", "netsuite/documents/customer?limit=1")
    assert ([item["id"] for item in listed["items"]], listed["next"]) == (ids[:1], ids[0])
    shown = sandboxes.control("GET", "netsuite/documents/invoice")["items"][0]
    assert (shown["id"], shown["amountRemaining"], len(shown["item"]["items"])) == (made[0], 5, 1)
    client.send("PATCH", "invoice/eid:inv-1", {"memo": "checked"})
    client.send("POST", "invoice", invoice("inv-1", 5))
    entries = sandboxes.log("netsuite", after=last)
    assert [(entry["document_type"], entry["external_id"], entry["effect"]) for entry in entries] == [
        ("customer", "acc-1", "created"),
        ("customer", "acc-2", "created"),
        ("invoice", "inv-1", "created"),
        ("invoice", "inv-1", "updated"),
    ]


def test_twelve_priced_products_have_no_item(client):
    left_out = list_left_out_skus()
    known = {row["itemid"] for row in client.query("SELECT itemid FROM item")}
    priced = {row["Product2.StockKeepingUnit"] for row in read_table("qb-pricing/PricebookEntry")}
    assert len(left_out) == 12
    assert priced - known == set(left_out)


def test_the_chart_of_accounts_is_the_companys_and_every_account_has_its_type(client):
    rows = client.query("SELECT accttype, COUNT(*) AS n FROM account GROUP BY accttype ORDER BY accttype")
    counts = {row["accttype"]: int(row["n"]) for row in rows}
    assert sum(counts.values()) == 69
    assert (counts["AcctRec"], counts["DeferRevenue"], counts["Bank"]) == (5, 2, 2)


def test_statuses_of_faults_come_in_the_vendors_envelope(sandboxes, client):
    for status, code in ((429, "CONCURRENCY_LIMIT_EXCEEDED"), (503, "UNEXPECTED_ERROR")):
        fault = sandboxes.fault("netsuite", "status", when={"path": "*/term"}, status=status)
        assert error_of(client.send("GET", "term"))[:2] == (status, code)
        sandboxes.control("DELETE", f"netsuite/faults/{fault}")
