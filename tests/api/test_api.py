"""Tokens, scopes, what a caller sees, traces, cases, reposts, and the document that describes it all."""

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.test import Client
from django.utils import timezone

from exceptions import cases
from exceptions.models import Occurrence
from exceptions.occurrences import StepProblem
from q2c.core.ids import uuid7
from q2c.core.models import AuditEntry
from q2c.core.problems import Category, Problem
from q2c.inbox.models import ApiClient
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction, LineageLink, StepRun, WorkItem
from tests.api.conftest import ALL_SCOPES, ask_token, bearer, make_client
from tests.mappings.rules import make_rule

NOW = timezone.now()


def make_transaction(entity="GB01", *, state="held", number="INV-1", **more):
    new_id = uuid7()
    return BusinessTransaction.objects.create(
        id=new_id, flow="invoice_to_erp", business_key=str(new_id), lane=f"stripe:invoice:{new_id}", lane_sequence=1,
        state=state, state_at=NOW, created_at=NOW, fact_type="Invoice", fact=b"{}", source_connection="stripe",
        source_type="invoice", source_id=f"in_{new_id.hex[:8]}", number=number, legal_entity_code=entity,
        currency="GBP", amount=Decimal("12.50"), correlation_id=str(new_id), **more,
    )  # fmt: skip


def link(row, target_id, entity="GB01", sequence=1):
    LineageLink.objects.create(
        transaction_id=row.pk, sequence=sequence, step="post_invoice", source_system="stripe", source_type="invoice",
        source_id=row.source_id, target_system="netsuite", target_type="invoice", target_id=target_id,
        amount=Decimal("12.50"), currency="GBP", legal_entity_code=entity, at=NOW,
    )  # fmt: skip


def hold(row):
    problem = Problem(
        "mapping_ambiguous", Category.MAPPING, "Two rules fit GTX-1", kind="item", key="GTX-1", rules="1, 2"
    )
    cases.open_for_steps(
        [
            StepProblem(problem=problem, at=NOW, transaction_id=row.pk, flow=row.flow, step="map_items",
                        number=row.number,
                        legal_entity_code=row.legal_entity_code, amount=row.amount, currency=row.currency)
        ]
    )  # fmt: skip
    return Occurrence.objects.get(transaction_id=row.pk).case


def test_a_token_carries_only_the_scopes_of_its_client(house):
    make_client("reader", scopes=["transactions:read"])
    assert ask_token("reader").json()["scope"] == "transactions:read"
    assert ask_token("reader", scope="orders:write").status_code == 400
    assert ask_token("reader", client_secret="wrong").status_code == 401


def test_a_client_without_a_row_of_its_own_gets_no_scope(house):
    application = make_client("stray")
    ApiClient.objects.filter(application=application).delete()
    assert ask_token("stray", scope="orders:write").status_code == 400


SCOPES = {
    ("POST", "/api/v1/orders"): "orders:write",
    ("GET", "/api/v1/transactions/00000000-0000-7000-8000-000000000000"): "transactions:read",
    ("GET", "/api/v1/trace?id=x"): "transactions:read",
    ("GET", "/api/v1/cards?number=INV-1"): "cards:read",
    ("GET", "/api/v1/bill-runs"): "transactions:read",
    ("GET", "/api/v1/bill-runs/1"): "transactions:read",
    ("GET", "/api/v1/cases"): "cases:read",
    ("GET", "/api/v1/cases/EX-1"): "cases:read",
    ("POST", "/api/v1/cases/EX-1/repost"): "cases:repost",
}


@pytest.mark.parametrize(("method", "path"), SCOPES)
def test_every_address_needs_its_scope(house, method, path):
    needed = SCOPES[method, path]
    make_client("without", scopes=[s for s in ALL_SCOPES if s != needed])
    make_client("with", scopes=[needed])
    stranger = Client().generic(method, path)
    refused = bearer("without").generic(method, path, "{}", content_type="application/json")
    let_in = bearer("with").generic(method, path, "{}", content_type="application/json")
    assert (stranger.status_code, stranger["Content-Type"]) == (401, "application/problem+json")
    assert stranger["WWW-Authenticate"].startswith("Bearer")
    assert refused.status_code == 403
    assert needed in refused["WWW-Authenticate"]
    assert let_in.status_code in (200, 400, 404, 422)


@pytest.mark.parametrize("media", ["application/json", "application/x-www-form-urlencoded", "text/csv"])
def test_without_a_token_nothing_of_the_body_is_judged(house, media):
    answer = Client().generic("POST", "/api/v1/orders", "{not json", content_type=media)
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


def test_an_unknown_state_of_cases_is_refused_by_name(house):
    make_client("upstream")
    answer = bearer("upstream").get("/api/v1/cases", {"state": "resolved"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0] == {
        "field": "state", "code": "invalid", "message": "There is no such state", "remedy": "Send open or closed.",
    }  # fmt: skip


def test_a_scope_that_was_taken_away_ends_with_the_next_request(house):
    application = make_client("upstream")
    api = bearer("upstream")
    assert api.get("/api/v1/cases").status_code == 200
    ApiClient.objects.filter(application=application).update(scopes=[])
    assert api.get("/api/v1/cases").status_code == 403


def test_a_transaction_shows_steps_documents_and_case(house):
    make_client("upstream")
    row = make_transaction()
    case = hold(row)
    StepRun.objects.create(transaction_id=row.pk, sequence=1, step="map_items", kind="read", state="done", at=NOW)
    link(row, "9001")
    found = bearer("upstream").get(f"/api/v1/transactions/{row.pk}").json()
    assert (found["id"], found["state"], found["flow"], found["case"]) == (str(row.pk), "held", row.flow, case.number)
    assert found["amount"] == "12.50"
    assert [(s["name"], s["state"]) for s in found["steps"]] == [("map_items", "done")]
    assert found["documents"] == [{"system": "netsuite", "type": "invoice", "id": "9001"}]


def test_a_foreign_transaction_and_an_unknown_one_look_the_same(house):
    make_client("us-only", entities=["US01"])
    row = make_transaction("GB01")
    api = bearer("us-only")
    foreign, unknown = (api.get(f"/api/v1/transactions/{i}") for i in (row.pk, uuid.uuid4()))
    assert (foreign.status_code, unknown.status_code) == (404, 404)
    assert foreign.json()["detail"] == unknown.json()["detail"]
    assert api.get("/api/v1/transactions/nonsense").status_code == 404


def test_a_trace_starts_from_any_id_of_any_system(house):
    make_client("upstream")
    row = make_transaction()
    link(row, "9001")
    api = bearer("upstream")
    for asked in ("9001", row.source_id, "INV-1", str(row.pk)):
        found = api.get("/api/v1/trace", {"id": asked}).json()
        assert [t["id"] for t in found["transactions"]] == [str(row.pk)], asked
        assert found["links"][0]["target"] == {"system": "netsuite", "type": "invoice", "id": "9001"}
    assert api.get("/api/v1/trace", {"id": "9999"}).status_code == 404
    assert api.get("/api/v1/trace").status_code == 400


SHORT, LONG = "001Ak00000abcDE", "001Ak00000abcDEIAY"


def test_a_trace_starts_from_an_id_as_a_spreadsheet_spells_it(house):
    make_client("upstream")
    row = make_transaction()
    link(row, "9001")
    sold = make_transaction(number="ORD-1")
    BusinessTransaction.objects.filter(pk=sold.pk).update(source_id=LONG, source_type="Order")
    api = bearer("upstream")
    for asked, found in ((SHORT, sold), (LONG.lower(), sold), (LONG, sold), ("0009001", row)):
        answer = api.get("/api/v1/trace", {"id": asked})
        assert answer.status_code == 200, asked
        assert [t["id"] for t in answer.json()["transactions"]] == [str(found.pk)], asked


def test_a_trace_starts_from_a_subscription_that_billing_made_by_itself(house):
    make_client("upstream")
    row = make_transaction()
    link(row, "9001")
    BilledDocument.objects.create(
        connection_code="stripe", document_type="invoice", external_id=row.source_id, number="INV-1",
        subscription_id="sub_9", legal_entity_code="GB01", currency="GBP", amount=Decimal("12.50"),
        content_hash="h", changed_at=NOW,
    )  # fmt: skip
    found = bearer("upstream").get("/api/v1/trace", {"id": "sub_9"}).json()
    assert [t["id"] for t in found["transactions"]] == [str(row.pk)]


def test_documents_of_others_with_the_same_number_dont_hide_ones_own(house):
    make_client("us-only", entities=["US01"])
    for n in range(25):
        link(make_transaction("GB01", number=f"GB-{n}"), "9001", "GB01")
    mine = make_transaction("US01", number="INV-US")
    link(mine, "9001", "US01")
    found = bearer("us-only").get("/api/v1/trace", {"id": "9001"}).json()
    assert [t["number"] for t in found["transactions"]] == ["INV-US"]


def test_a_trace_shows_neither_id_nor_amount_of_a_foreign_document(house):
    make_client("us-only", entities=["US01"])
    mine, foreign = make_transaction("US01", number="INV-US"), make_transaction("GB01", number="INV-GB")
    link(mine, "9001", "US01")
    LineageLink.objects.create(
        transaction_id=foreign.pk, sequence=1, step="apply", source_system="netsuite", source_type="invoice",
        source_id="9001",
        target_system="netsuite", target_type="payment", target_id="7007", amount=Decimal("99.99"), currency="GBP",
        legal_entity_code="GB01", at=NOW,
    )  # fmt: skip
    api = bearer("us-only")
    answer = api.get("/api/v1/trace", {"id": "9001"})
    assert [t["number"] for t in answer.json()["transactions"]] == ["INV-US"]
    assert b"7007" not in answer.content
    assert b"99.99" not in answer.content
    assert api.get("/api/v1/trace", {"id": "7007"}).status_code == 404
    assert api.get("/api/v1/trace", {"id": "INV-GB"}).status_code == 404


def test_cases_are_listed_by_pages_with_the_callers_own_amounts(house):
    make_client("upstream")
    make_client("us-only", entities=["US01"])
    case = hold(make_transaction())
    problem = Problem("unknown_event", Category.VALIDATION, "What is this", connection="stripe", event_type="x")
    cases.open_case(problem, event_id=uuid7())
    api = bearer("upstream")
    first = api.get("/api/v1/cases", {"limit": 1}).json()
    second = api.get("/api/v1/cases", {"limit": 1, "after": first["next"]}).json()
    assert [c["kind"] for c in first["items"] + second["items"]] == ["unknown_event", "mapping_ambiguous"]
    assert second["next"] is None
    assert second["items"][0]["amounts"] == [{"currency": "GBP", "amount": "12.50"}]
    assert api.get("/api/v1/cases", {"state": "closed"}).json()["items"] == []
    assert bearer("us-only").get("/api/v1/cases").json()["items"] == []
    assert bearer("us-only").get(f"/api/v1/cases/{case.number}").status_code == 404
    for limit in ("many", "0", "201", "000000200999999"):
        assert api.get("/api/v1/cases", {"limit": limit}).json()["errors"][0]["field"] == "limit"


def test_a_repost_restarts_what_is_held_once_and_is_audited(house):
    make_client("upstream")
    row = make_transaction()
    case = hold(row)
    api = bearer("upstream")
    path = f"/api/v1/cases/{case.number}/repost"
    assert api.post(path, {}, content_type="application/json").status_code == 422
    done = api.post(path, {"why": "the rule was mended"}, content_type="application/json")
    again = api.post(path, {"why": "the rule was mended"}, content_type="application/json")
    assert (done.status_code, done.json()) == (202, {"reposted": [str(row.pk)], "refused": []})
    assert again.json() == {"reposted": [], "refused": [{"transaction": str(row.pk), "why": "it is running already"}]}
    assert WorkItem.objects.get().transaction_id == row.pk
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb) == ("upstream", "repost")
    assert (entry.subject_type, entry.subject_id) == ("case", str(case.pk))  # as what people do with a case


def test_a_machine_is_no_second_person(house):
    make_client("upstream")
    make_rule("resolution_approval", "repost", "1 colleague")
    row = make_transaction()
    path = f"/api/v1/cases/{hold(row).number}/repost"
    answer = bearer("upstream").post(path, {"why": "the rule was mended"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (422, "not-repostable")
    assert "Propose it in the portal" in answer.json()["detail"]
    assert not WorkItem.objects.exists()


def test_a_case_shows_its_documents(house):
    make_client("upstream")
    row = make_transaction()
    case = hold(row)
    found = bearer("upstream").get(f"/api/v1/cases/{case.pk}").json()
    assert found["id"] == case.number
    assert [(o["transaction"], o["step"], o["amount"]) for o in found["occurrences"]] == [
        (str(row.pk), "map_items", "12.50")
    ]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/nothing", 404),
        ("GET", "/api/v1/transactions/%0A", 404),
        ("DELETE", "/api/v1/cases", 405),
        ("GET", "/api/v1/orders", 405),
    ],
)
def test_other_refusals_are_problems_too(house, method, path, status):
    make_client("upstream")
    answer = bearer("upstream").generic(method, path)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert answer.json()["status"] == status


def test_the_schema_is_openapi_3_1_and_names_every_address_once(house):
    found = Client().get("/api/v1/schema/").json()
    assert found["openapi"].startswith("3.1")
    assert sorted(found["paths"]) == [
        "/api/v1/bill-runs", "/api/v1/bill-runs/{run_id}", "/api/v1/cards", "/api/v1/cases", "/api/v1/cases/{case_id}",
        "/api/v1/cases/{case_id}/repost", "/api/v1/orders", "/api/v1/trace", "/api/v1/transactions/{transaction_id}",
    ]  # fmt: skip
    refusals = found["paths"]["/api/v1/orders"]["post"]["responses"]
    assert sorted(refusals) == ["202", "400", "401", "403", "406", "409", "413", "415", "422"]


def test_an_expired_token_is_refused(house):
    from oauth2_provider.models import get_access_token_model

    make_client("upstream")
    api = bearer("upstream")
    get_access_token_model().objects.update(expires=NOW - dt.timedelta(hours=1))
    answer = api.get("/api/v1/cases")
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


def test_a_case_whose_outcome_is_unknown_cannot_be_reposted(house):
    make_client("upstream")
    problem = Problem("outcome_unknown", Category.UNKNOWN_OUTCOME, "No answer", connection="netsuite", document="INV-1")
    number = f"EX-{cases.open_case(problem, event_id=uuid7())}"
    api = bearer("upstream")
    answer = api.post(f"/api/v1/cases/{number}/repost", {"why": "please"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (422, "not-repostable")
