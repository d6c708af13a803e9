"""Stripe's refusals, by type and code (docs.stripe.com/error-codes)."""

import json

import pytest

from connectors import errors, registry
from connectors.errors import Absent
from q2c.core.problems import AlreadyThere, Category, NotAnswered


def read(status, kind, code="", *, param="", is_write=True, headers=None, **more):
    body = json.dumps({"error": {"type": kind, "code": code, "message": "M", "param": param, **more}}).encode()
    return errors.problem_from(
        registry.manifest("stripe"), status=status, headers=headers or {}, body=body, connection="stripe",
        is_write=is_write,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "kind", "code", "category", "problem"),
    [
        (401, "invalid_request_error", "api_key_expired", Category.AUTHENTICATION, "credentials_refused"),
        (403, "invalid_request_error", "", Category.AUTHENTICATION, "vendor_permission"),
        (429, "invalid_request_error", "rate_limit", Category.RATE_LIMIT, "rate_limited"),
        (429, "invalid_request_error", "lock_timeout", Category.RATE_LIMIT, "rate_limited"),
        (400, "invalid_request_error", "rate_limit", Category.RATE_LIMIT, "rate_limited"),
        (400, "idempotency_error", "", Category.CONFLICT, "idempotency_key_reused"),
        (400, "invalid_request_error", "resource_missing", Category.MAPPING, "vendor_reference_refused"),
        (400, "invalid_request_error", "product_inactive", Category.MAPPING, "vendor_reference_refused"),
        (400, "invalid_request_error", "invoice_not_editable", Category.CONFLICT, "conflict"),
        (400, "invalid_request_error", "payment_intent_unexpected_state", Category.CONFLICT, "conflict"),
        (400, "invalid_request_error", "parameter_missing", Category.VALIDATION, "vendor_refused"),
        (402, "card_error", "card_declined", Category.VALIDATION, "vendor_refused"),
        (400, "invalid_request_error", "a_code_of_tomorrow", Category.VALIDATION, "vendor_refused"),
    ],
)
def test_each_refusal_has_its_category(status, kind, code, category, problem):
    read_as = read(status, kind, code, param="customer")
    assert (read_as.category, read_as.code) == (category, problem)
    assert read_as.subject["field"] == "customer"


def test_a_403_that_is_not_stripes_own_says_that_we_are_not_let_in_at_all():
    read_as = errors.problem_from(
        registry.manifest("stripe"), status=403, headers={}, body=b"<html>", connection="stripe", is_write=True
    )
    assert (read_as.code, read_as.pauses_connection) == ("credentials_refused", True)


def test_a_missing_record_is_absent_by_path_and_refused_by_parameter():
    assert isinstance(read(404, "invalid_request_error", "resource_missing", is_write=False), Absent)
    assert not isinstance(read(400, "invalid_request_error", "resource_missing"), Absent)


def test_what_exists_is_there_already():
    assert isinstance(read(400, "invalid_request_error", "resource_already_exists"), AlreadyThere)


def test_a_key_in_use_and_a_server_error_leave_the_outcome_unknown():
    assert isinstance(read(409, "invalid_request_error", "idempotency_key_in_use"), NotAnswered)
    assert isinstance(read(500, "api_error"), NotAnswered)


def test_a_decline_says_its_own_code():
    assert read(402, "card_error", "card_declined", decline_code="insufficient_funds").subject["error"] == (
        "card_error/insufficient_funds"
    )
