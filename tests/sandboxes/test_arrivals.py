"""Every write that arrives at a sandbox is counted with its verdict, beside the log that knows accepted ones only."""

from __future__ import annotations

import pytest
import requests

from connectors.sandbox.testing import running_sandboxes
from tests.sandboxes.netsuite_client import Client
from tests.sandboxes.salesforce import Caller

STRIPE, ERP, CRM = "/v1/customers", "/services/rest/record/v1/customer", "/services/data/v68.0/sobjects/Account"


@pytest.fixture(scope="module")
def all_boxes(tmp_path_factory):
    """The three sandboxes for the whole module."""
    with running_sandboxes(tmp_path_factory.mktemp("sandboxes")) as sandboxes:
        yield sandboxes


@pytest.fixture
def box(all_boxes):
    """The same without faults, and where its arrivals begin."""
    for vendor in ("stripe", "netsuite", "salesforce"):
        all_boxes.control("DELETE", f"{vendor}/faults")
    return all_boxes


@pytest.fixture
def send(box):
    """A POST to Stripe under an idempotency key; its status, 0 where no answer came."""
    vendor = box.vendor("stripe")
    auth = {"Authorization": f"Bearer {vendor['credentials']['api_key']}"}

    def send(key: str, path: str = STRIPE, **form: str) -> int:
        headers = {**auth, "Idempotency-Key": key}
        try:
            return requests.post(f"{vendor['url']}{path}", data=form, headers=headers, timeout=60).status_code
        except requests.RequestException:
            return 0

    return send


def verdicts(box, vendor: str, **wanted) -> list[tuple[int, str]]:
    """Status and verdict of what arrived."""
    return [(e["status"], e["verdict"]) for e in box.arrivals(vendor, **wanted)]


def test_a_write_sent_twice_is_one_in_the_log_and_two_that_arrived(box, send):
    given = {"name": "Northwind", "metadata[external_id]": "a-1"}
    assert (send("twice", **given), send("twice", **given), send("twice", name="Other")) == (200, 200, 400)
    assert verdicts(box, "stripe", idempotency_key="twice") == [(200, "done"), (200, "replayed"), (400, "refused")]
    assert [e["effect"] for e in box.log("stripe", idempotency_key="twice")] == ["created", "none"]
    first, again, other = box.arrivals("stripe", idempotency_key="twice")
    assert (first["method"], first["path"], first["external_id"]) == ("POST", STRIPE, "a-1")
    assert first["digest"] == again["digest"] != other["digest"]


@pytest.mark.parametrize(
    ("fault", "answered", "noted"),
    [
        ({"do": "reset_before"}, 0, (0, "refused")),
        ({"do": "lose_answer"}, 0, (200, "done")),
        ({"do": "status", "status": 503}, 503, (503, "refused")),
        ({"do": "status", "status": 200, "body": {"success": False}}, 200, (200, "refused")),
        ({"do": "html_200"}, 200, (200, "refused")),
        ({"do": "rate_limit"}, 429, (429, "refused")),
    ],
    ids=lambda given: given.get("do") if isinstance(given, dict) else None,
)
def test_the_verdict_says_what_was_done_whatever_was_answered(box, send, fault, answered, noted):
    key = f"{fault['do']}-{fault.get('status')}"
    box.fault("stripe", when={"method": "POST", "times": 1}, **fault)
    assert send(key) == answered
    assert verdicts(box, "stripe", idempotency_key=key) == [noted]


def test_a_refused_create_and_a_change_are_named_by_their_external_id(box):
    erp, mark = Client(box), box.control("GET", "netsuite/arrivals?limit=1")["last"]
    given = {"companyName": "Fabrikam", "subsidiary": {"id": "2"}, "externalId": "cust-9"}
    made = erp.create("customer", given)
    assert erp.send("POST", "customer", given).status_code == 400
    assert erp.send("PATCH", f"customer/{made}", {"companyName": "Fabrikam 2"}).status_code == 204
    assert erp.send("PUT", "customer/eid:cust-9", {"companyName": "Fabrikam 3"}).status_code == 204
    erp.query("SELECT id FROM customer")
    assert [(e["method"], e["path"], e["external_id"], e["verdict"]) for e in box.arrivals("netsuite", after=mark)] == [
        ("POST", ERP, "cust-9", "done"),
        ("POST", ERP, "cust-9", "refused"),
        ("PATCH", f"{ERP}/{made}", "cust-9", "done"),
        ("PUT", f"{ERP}/eid:cust-9", "cust-9", "done"),
    ]
    assert len(box.log("netsuite", external_id="cust-9")) == 3


def test_reads_sign_ins_and_what_users_make_are_no_arrivals(box):
    crm, before = Caller(box), box.control("GET", "salesforce/arrivals")["last"]
    (account,) = box.make("salesforce", "Account", {"Name": "Contoso"})
    crm.query("SELECT Id FROM Account")
    query = {"method": "GET", "url": "/services/data/v68.0/query?q=SELECT+Id+FROM+Account", "referenceId": "a"}
    crm.call("POST", "composite", {"compositeRequest": [query]})
    assert (crm.status, box.control("GET", "salesforce/arrivals")["last"]) == (200, before)
    crm.call("PATCH", f"sobjects/Account/{account}", {"Name": "Contoso 2"})
    crm.call("PATCH", f"sobjects/Account/{account}", {"NoSuchField": 1})
    crm.call("POST", "composite", {"compositeRequest": [{**query, "method": "DELETE"}]})
    found = box.arrivals("salesforce", after=before)
    assert [(e["path"], e["verdict"]) for e in found] == [
        (f"{CRM}/{account}", "done"), (f"{CRM}/{account}", "refused"), ("/services/data/v68.0/composite", "done"),
    ]  # fmt: skip


def test_arrivals_survive_a_kill_and_a_reset(box, send):
    send("kept")
    box.kill()
    box.start()
    box.control("POST", "reset", {"vendors": ["stripe"], "keep": "reference"})
    assert verdicts(box, "stripe", idempotency_key="kept") == [(200, "done")]
