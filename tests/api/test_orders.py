"""Orders by API: the idempotency table, each field's fault, and what comes of an accepted order."""

import io
import json
import threading
from decimal import Decimal

import pytest
from django.db import connection, connections, transaction
from django.test import RequestFactory
from django.test.client import ClientHandler

from connectors.models import Connection
from q2c.api import orders, views
from q2c.api.webhooks import past_middleware
from q2c.canonical.contract import Order
from q2c.canonical.schema import from_json
from q2c.inbox.keeping import forget_expired_answers
from q2c.inbox.models import ApiRequest, InboundEvent
from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction, WorkItem
from tests.api.conftest import bearer, make_client, order

K1 = {"Idempotency-Key": '"k1"'}


@pytest.fixture
def api(house):
    """The address of orders for an all-entities client."""
    make_client("upstream")
    return bearer("upstream")


def post(api, body, key="k1", path="/api/v1/orders"):
    headers = {"Idempotency-Key": key} if key is not None else {}
    text = body if isinstance(body, bytes) else json.dumps(body)
    return api.post(path, text, content_type="application/json", headers=headers)


def faults(answer):
    assert answer.status_code == 422, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    return {fault["field"]: fault["code"] for fault in answer.json()["errors"]}


class Chunked:
    """A body as gunicorn gives one that came in chunks: nobody says how long it is. Its end is at `most` bytes."""

    def __init__(self, body: bytes = b"", *, is_endless: bool = False) -> None:
        self.body, self.is_endless, self.given = io.BytesIO(body), is_endless, 0

    def read(self, size: int = -1) -> bytes:
        part = b" " * size if self.is_endless else self.body.read(min(size, 7))
        self.given += len(part)
        return part


def send_chunked(api, body: Chunked):
    answers, handler = [], ClientHandler(enforce_csrf_checks=False)
    application = past_middleware(lambda environ, start: answers.append(handler(environ)) or [])
    environ = RequestFactory().generic("POST", "/api/v1/orders", content_type="application/json").environ
    environ |= api.defaults | {
        "CONTENT_TYPE": "application/json",
        "HTTP_IDEMPOTENCY_KEY": "chunks",
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
    environ.pop("CONTENT_LENGTH", None)
    application({**environ, "wsgi.input": body}, lambda status, headers: None)
    return answers[0]


def test_an_order_whose_body_comes_in_chunks_is_taken(api):
    answer = send_chunked(api, Chunked(json.dumps(order()).encode()))
    assert answer.status_code == 202
    assert BusinessTransaction.objects.count() == 1


def test_chunks_beyond_the_limit_arent_read_and_are_refused_as_too_large(api, settings):
    endless = Chunked(is_endless=True)
    answer = send_chunked(api, endless)
    assert answer.status_code == 413
    assert endless.given == settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1


def test_an_accepted_order_becomes_one_transaction_of_its_own_event(api):
    answer = post(api, order())
    transaction_id = answer.json()["transaction"]
    assert answer.status_code == 202
    assert answer["Location"] == f"/api/v1/transactions/{transaction_id}"
    row = BusinessTransaction.objects.get(pk=transaction_id)
    taken = from_json(bytes(row.fact), Order)
    assert (row.flow, row.legal_entity_code, row.currency, row.amount) == (
        "order_to_subscription",
        "GB01",
        "GBP",
        Decimal("39.8"),
    )
    assert (taken.customer_id, taken.lines[0].sku, taken.billing_frequency) == (
        "salesforce:Account:001A",
        "GTX-1",
        "annual",
    )
    assert InboundEvent.objects.get().via == "api"
    assert WorkItem.objects.get().transaction_id == row.id


@pytest.fixture
def namesakes(api):
    """More customers beside the house's own (001A, number B-1), two of them merged, and more systems that have ids."""
    for code in ("crm-two", "stripe"):
        vendor = "stripe" if code == "stripe" else "salesforce"
        Connection.objects.create(code=code, name=code, vendor=vendor, base_url="http://127.0.0.1:1")
    rows = (
        ("stripe:customer:7", "001A", ["stripe:001A"], ""),  # its own id there is what the CRM calls another
        ("salesforce:Account:001B", "B-1", ["salesforce:001B"], ""),
        ("salesforce:Account:001C", "C-1", ["salesforce:001C"], ""),
        ("crm-two:Account:001C", "X-9", ["crm-two:001C"], ""),
        ("salesforce:Account:001D", "D-1", ["salesforce:001D"], "salesforce:Account:001E"),
        ("salesforce:Account:001E", "D-1", ["salesforce:001E", "salesforce:001D"], ""),
        ("stripe:customer:8", "S-8", ["stripe:cus_8"], ""),
    )
    for key, number, aliases, merged_into in rows:
        GoldenRecord.objects.create(
            record_type="customer", record_key=key, number=number, aliases=aliases, merged_into=merged_into,
            content={}, changed_at="2020-01-01T00:00:00Z",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("account", "customer"),
    [
        ("001A", "salesforce:Account:001A"),  # the CRM's own id, before an older record's number and a billing id
        ("salesforce:Account:001B", "salesforce:Account:001B"),
        ("X-9", "crm-two:Account:001C"),
        ("001D", "salesforce:Account:001E"),
        ("D-1", "salesforce:Account:001E"),  # both of this number are one by now
        ("S-8", "stripe:customer:8"),
    ],
)
def test_an_account_is_found_by_the_crms_id_then_our_key_then_its_number(api, namesakes, account, customer):
    assert post(api, order(account=account)).status_code == 202
    assert from_json(bytes(BusinessTransaction.objects.get().fact), Order).customer_id == customer


@pytest.mark.parametrize(
    ("account", "choices"),
    [
        ("B-1", "salesforce:Account:001A, salesforce:Account:001B"),
        ("001C", "crm-two:Account:001C, salesforce:Account:001C"),
    ],
)
def test_what_several_customers_are_called_is_refused_with_the_ids_to_choose_from(api, namesakes, account, choices):
    answer = post(api, order(account=account))
    assert faults(answer) == {"account": "ambiguous"}
    assert answer.json()["errors"][0]["remedy"] == f"Send the id of one of them: {choices}."
    assert not BusinessTransaction.objects.exists()


def test_an_id_of_billing_names_no_account_of_the_crm(api, namesakes):
    assert faults(post(api, order(account="cus_8"))) == {"account": "unknown"}


def test_a_request_without_a_key_is_refused(api):
    answer = post(api, order(), key=None)
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency-key-missing")
    assert 'rel="describedby"' in answer["Link"]


@pytest.mark.parametrize("key", ['""', '"a","b"', "a,b", 'a"b', "x" * 256, "k\t1", "ключ".encode().decode("latin-1")])
def test_a_key_that_cannot_be_used_is_refused(api, key):
    assert post(api, order(), key=key).json()["code"] == "idempotency-key-malformed"


def test_the_same_request_again_is_answered_as_the_first_was(api):
    first, again = post(api, order()), post(api, order(), key='"k1"')
    assert (again.status_code, again.json(), again["Location"]) == (202, first.json(), first["Location"])
    assert again["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first
    assert BusinessTransaction.objects.count() == 1


def test_the_order_of_members_and_spaces_do_not_make_another_request(api):
    first = post(api, order())
    turned = json.dumps(dict(reversed(order().items())), indent=3).encode()
    assert post(api, turned).json() == first.json()
    assert BusinessTransaction.objects.count() == 1


@pytest.mark.scenario(10)
def test_the_same_key_for_another_body_is_refused(api):
    post(api, order())
    answer = post(api, order(term_months=24))
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency-key-reused")


def test_another_clients_key_is_independent(api, house):
    make_client("other")
    first, other = post(api, order()), post(bearer("other"), order())
    assert first.json() != other.json()
    assert BusinessTransaction.objects.count() == 2


def test_a_refused_order_is_judged_anew_when_it_comes_again(api):
    assert faults(post(api, order(currency="XXX"))) == {"currency": "unknown"}
    assert not ApiRequest.objects.exists()
    assert post(api, order()).status_code == 202


def test_an_answer_is_forgotten_after_its_time(api):
    post(api, order())
    ApiRequest.objects.update(expires_at="2026-01-01T00:00:00Z")
    assert "Idempotency-Replayed" not in post(api, order())
    assert BusinessTransaction.objects.count() == 2
    assert forget_expired_answers() == 0
    ApiRequest.objects.update(expires_at="2026-01-01T00:00:00Z")
    assert forget_expired_answers() == 1


@pytest.mark.django_db(transaction=True)
def test_while_the_first_still_runs_the_second_is_told_to_come_back(api, monkeypatch):
    entered, leave, plain = threading.Event(), threading.Event(), orders.submit_order
    first = []

    def slow(*args):
        entered.set()
        assert leave.wait(60)
        return plain(*args)

    monkeypatch.setattr("q2c.api.views.submit_order", slow)

    def send():
        try:
            first.append(post(api, order()).status_code)
        finally:
            connections.close_all()

    thread = threading.Thread(target=send)
    thread.start()
    assert entered.wait(60)
    answer = post(api, order())
    leave.set()
    thread.join(60)
    assert (answer.status_code, answer.json()["code"], answer["Retry-After"]) == (409, "idempotency-in-progress", "1")
    assert first == [202]
    assert post(api, order())["Idempotency-Replayed"] == "true"
    assert BusinessTransaction.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_attempt_that_died_before_its_commit_leaves_nothing_and_a_retry_runs_once(api, monkeypatch):
    plain = orders.submit_order

    def dies(*args):
        plain(*args)
        raise ConnectionError("killed before the commit")

    monkeypatch.setattr("q2c.api.views.submit_order", dies)
    with pytest.raises(ConnectionError):
        post(api, order())
    assert not BusinessTransaction.objects.exists()
    monkeypatch.setattr("q2c.api.views.submit_order", plain)
    assert post(api, order()).status_code == 202
    assert BusinessTransaction.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"account": None}, "account", "required"),
        ({"account": "001Z"}, "account", "unknown"),
        ({"account": 7}, "account", "invalid"),
        ({"legal_entity": "FR01"}, "legal_entity", "unknown"),
        ({"currency": "gbp"}, "currency", "invalid"),
        ({"currency": "XXX"}, "currency", "unknown"),
        ({"start_date": "2026-02-30"}, "start_date", "invalid"),
        ({"start_date": "20261201"}, "start_date", "invalid"),
        ({"term_months": 0}, "term_months", "invalid"),
        ({"term_months": True}, "term_months", "invalid"),
        ({"term_months": 1.5}, "term_months", "invalid"),
        ({"billing_frequency": "weekly"}, "billing_frequency", "invalid"),
        ({"billing_frequency": ["annual"]}, "billing_frequency", "invalid"),
        ({"lines": []}, "lines", "required"),
        ({"lines": [3]}, "lines[0]", "invalid"),
        ({"lines": [{"sku": "GTX-1", "quantity": "10000000", "unit_price": "20000000"}]}, "lines", "invalid"),
        ({"lines": [{"sku": "NO-1", "quantity": "1", "unit_price": "1"}]}, "lines[0].sku", "unknown"),
        ({"lines": [{"sku": "GTX-1", "quantity": "0", "unit_price": "1"}]}, "lines[0].quantity", "invalid"),
        ({"lines": [{"sku": "GTX-1", "quantity": "NaN", "unit_price": "1"}]}, "lines[0].quantity", "invalid"),
        ({"lines": [{"sku": "GTX-1", "quantity": "1", "unit_price": "-1"}]}, "lines[0].unit_price", "invalid"),
        ({"lines": [{"sku": "GTX-1", "quantity": "1", "unit_price": "1e400"}]}, "lines[0].unit_price", "invalid"),
        ({"lines": [{"sku": "GTX-1", "quantity": "1", "unit_price": 0.1}]}, "lines[0].unit_price", "invalid"),
        (
            {"lines": [{"sku": "GTX-1", "quantity": "1", "unit_price": "1", "tax": "2"}]},
            "lines[0].tax",
            "unknown_field",
        ),
        ({"discount": "5"}, "discount", "unknown_field"),
    ],
)
def test_each_wrong_field_is_named_with_its_remedy(api, changes, field, code):
    body = {name: value for name, value in (order() | changes).items() if value is not None}
    answer = post(api, body)
    assert faults(answer) == {field: code}
    assert answer.json()["errors"][0]["remedy"]


def test_all_faults_are_named_at_once(api):
    assert set(faults(post(api, {}))) == {
        "account", "legal_entity", "currency", "start_date", "term_months", "billing_frequency", "lines",
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[]", b'"x"', b"null", b'{"a": NaN}'])
def test_a_body_that_is_no_object_is_malformed(api, body):
    answer = post(api, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")


def test_a_client_sells_only_for_its_entities(house):
    make_client("us-only", entities=["US01"])
    answer = post(bearer("us-only"), order())
    assert faults(answer) == {"legal_entity": "unknown"}
    assert answer.json()["errors"][0]["remedy"] == "Send one of US01."


def test_no_vendor_is_asked_and_nothing_stays_open(api, monkeypatch):
    from connectors import registry

    monkeypatch.setattr(registry, "client_for", lambda *args, **kwargs: pytest.fail("a vendor was asked"))
    assert post(api, order()).status_code == 202
    assert not connection.in_atomic_block or transaction.get_connection().savepoint_ids is not None


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"[" * 200_000, 400, "nested too deeply"),
        (b'{"account": "\\ud800"}', 400, "surrogate"),
        (b'{"account": "\\u0000"}', 400, "NUL"),
        (b'{"account": "' + b"x" * 1_100_000 + b'"}', 413, "1,048,576 bytes"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_problem_that_says_why(api, body, status, said):
    answer = post(api, body)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert said in answer.json()["detail"]


def test_a_bug_of_ours_is_a_problem_too_and_stores_nothing(api, monkeypatch):
    monkeypatch.setattr(views, "submit_order", lambda *_: 1 / 0)
    api.raise_request_exception = False
    answer = post(api, order())
    assert (answer.status_code, answer["Content-Type"]) == (500, "application/problem+json")
    assert answer.json()["code"] == "internal"
    assert not InboundEvent.objects.exists()
