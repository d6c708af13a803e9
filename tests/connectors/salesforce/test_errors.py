"""Salesforce's refusals, by code first and status second."""

import json

import pytest

from connectors import errors, registry
from connectors.errors import Absent
from connectors.salesforce.manifest import read_quota
from q2c.core.problems import AlreadyThere, Category, NotAnswered


def read(status, code, *, fields=(), is_write=True):
    body = json.dumps([{"message": "M", "errorCode": code, "fields": list(fields)}]).encode()
    return errors.problem_from(
        registry.manifest("salesforce"), status=status, headers={}, body=body, connection="salesforce",
        is_write=is_write,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "category", "problem"),
    [
        (401, "INVALID_SESSION_ID", Category.AUTHENTICATION, "credentials_refused"),
        (403, "INSUFFICIENT_ACCESS_OR_READONLY", Category.AUTHENTICATION, "vendor_permission"),
        (403, "API_DISABLED_FOR_ORG", Category.AUTHENTICATION, "credentials_refused"),
        (403, "FUNCTIONALITY_NOT_ENABLED", Category.AUTHENTICATION, "vendor_permission"),
        (403, "REQUEST_LIMIT_EXCEEDED", Category.RATE_LIMIT, "rate_limited"),
        (403, "STORAGE_LIMIT_EXCEEDED", Category.VALIDATION, "vendor_refused"),
        (400, "UNABLE_TO_LOCK_ROW", Category.CONFLICT, "record_busy"),
        (400, "REQUIRED_FIELD_MISSING", Category.VALIDATION, "vendor_refused"),
        (400, "FIELD_CUSTOM_VALIDATION_EXCEPTION", Category.VALIDATION, "vendor_refused"),
        (400, "INVALID_FIELD", Category.MAPPING, "schema_drift"),
        (400, "INVALID_CROSS_REFERENCE_KEY", Category.MAPPING, "vendor_reference_refused"),
        (400, "DUPLICATES_DETECTED", Category.CONFLICT, "duplicate_refused"),
        (412, "PRECONDITION_FAILED", Category.CONFLICT, "conflict"),
        (400, "A_CODE_OF_TOMORROW", Category.VALIDATION, "vendor_refused"),
    ],
)
def test_each_refusal_has_its_category(status, code, category, problem):
    read_as = read(status, code, fields=["Name"])
    assert (read_as.category, read_as.code) == (category, problem)
    assert read_as.subject["field"] == "Name"


@pytest.mark.parametrize("code", ["NOT_FOUND", "ENTITY_IS_DELETED"])
def test_a_record_that_is_gone_is_absent(code):
    assert isinstance(read(404, code, is_write=False), Absent)


def test_a_duplicate_external_id_is_there_already():
    assert isinstance(read(400, "DUPLICATE_VALUE"), AlreadyThere)


def test_an_outage_leaves_a_write_unknown():
    assert isinstance(read(503, "SERVER_UNAVAILABLE"), NotAnswered)
    assert read(503, "SERVER_UNAVAILABLE", is_write=False).category is Category.AVAILABILITY


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)", (17, 250)),
        ("api-usage=4900/5000; per-app-api-usage=17/250(appName=sample-connected-app)", (4900, 5000)),
        ("api-usage=25/5000", (25, 5000)),
        ("api-usage=25/0", (25, 0)),
        ("something else", None),
    ],
)
def test_the_days_calls_are_those_of_the_limit_that_is_nearer_to_its_end(header, told):
    assert read_quota({"Sforce-Limit-Info": header}) == told
    assert read_quota({}) is None
