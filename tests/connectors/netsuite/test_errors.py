"""NetSuite's refusals, by code and sentence (its REST help, and wordings that public integrations recorded)."""

import json

import pytest

from connectors import errors, registry
from connectors.errors import Absent
from q2c.core.problems import AlreadyThere, Category, NotAnswered

PREFIX = "Error while accessing a resource. "


def read(status, code, detail="", *, path="", is_write=True):
    entry = {"detail": detail, "o:errorCode": code, **({"o:errorPath": path} if path else {})}
    body = json.dumps({"type": "x", "title": "t", "status": status, "o:errorDetails": [entry]}).encode()
    return errors.problem_from(
        registry.manifest("netsuite"), status=status, headers={}, body=body, connection="netsuite", is_write=is_write
    )


@pytest.mark.parametrize(
    ("status", "code", "detail", "category", "problem"),
    [
        (401, "INVALID_LOGIN", "Invalid login attempt.", Category.AUTHENTICATION, "credentials_refused"),
        (403, "INSUFFICIENT_PERMISSION", "no", Category.AUTHENTICATION, "vendor_permission"),
        (400, "USER_ERROR", PREFIX + "Permission Violation: your current role does not have permission to x.",
         Category.AUTHENTICATION, "vendor_permission"),
        (429, "CONCURRENCY_LIMIT_EXCEEDED", "Concurrent request limit exceeded. Request blocked.",
         Category.RATE_LIMIT, "rate_limited"),
        (400, "USER_ERROR", PREFIX + "The transaction date you specified is not within the date range of your "
         "accounting period.", Category.PERIOD_CLOSED, "period_closed"),
        (400, "USER_ERROR", "The accounting period Mar 2015 is closed.", Category.PERIOD_CLOSED, "period_closed"),
        (400, "USER_ERROR", "You can't post into a locked or closed period.", Category.PERIOD_CLOSED, "period_closed"),
        (400, "TRAN_PRD_CLOSED", "closed", Category.PERIOD_CLOSED, "period_closed"),
        (400, "TRAN_PERIOD_CLOSED", "closed", Category.PERIOD_CLOSED, "period_closed"),
        (400, "USER_ERROR", "This record is locked by a user defined workflow.", Category.CONFLICT, "conflict"),
        (400, "RCRD_HAS_BEEN_CHANGED", "Record has been changed", Category.CONFLICT, "record_busy"),
        (400, "USER_ERROR", "Record has been changed", Category.CONFLICT, "record_busy"),
        (400, "INVALID_CONTENT", PREFIX + "You have entered an Invalid Field Value 9999 for the following field: item",
         Category.MAPPING, "vendor_reference_refused"),
        (400, "USER_ERROR", "Invalid entity reference key 77 for subsidiary 3.", Category.MAPPING,
         "vendor_reference_refused"),
        (400, "USER_ERROR", "Please enter value(s) for: Subsidiary", Category.VALIDATION, "vendor_refused"),
        (400, "USER_ERROR", "A sentence that nobody has seen before.", Category.VALIDATION, "vendor_refused"),
        (400, "TRANS_UNBALNCD", "Transaction was not in balance", Category.VALIDATION, "out_of_balance"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_category(status, code, detail, category, problem):
    read_as = read(status, code, detail)
    assert (read_as.category, read_as.code) == (category, problem)
    assert PREFIX not in read_as.summary


def test_a_refused_item_is_named_with_its_field_and_value():
    sentence = PREFIX + "You have entered an Invalid Field Value 9999 for the following field: item"
    problem = read(400, "INVALID_CONTENT", sentence, path="item.items[0].item")
    assert problem.subject["field"] == "item.items[0].item"
    assert problem.subject["key"] == "9999"


@pytest.mark.parametrize("detail", ["This entity already exists.", "This record already exists"])
def test_what_exists_is_there_already(detail):
    assert isinstance(read(400, "USER_ERROR", detail), AlreadyThere)
    assert isinstance(read(400, "DUP_RCRD", "x"), AlreadyThere)


def test_an_absent_record_is_told_from_an_unknown_reference_in_a_body():
    assert isinstance(read(404, "NONEXISTENT_ID", "The record instance does not exist.", is_write=False), Absent)
    gone = read(404, "NONEXISTENT_ID", "The record instance does not exist.", is_write=True)
    assert (gone.category, gone.code) == (Category.MAPPING, "target_gone")
    other = read(404, "NONEXISTENT_ID", "The record instance referenced by external ID 'x' does not exist.")
    assert (other.category, other.code) == (Category.MAPPING, "vendor_reference_refused")


def test_a_job_under_way_and_a_server_error_leave_a_write_unknown():
    assert isinstance(read(400, "IDEMPOTENCY_ERROR", "Conflict"), NotAnswered)
    assert isinstance(read(500, "UNEXPECTED_ERROR", "An unexpected error occurred. Error ID: abc"), NotAnswered)
    assert read(500, "UNEXPECTED_ERROR", "Error ID: abc", is_write=False).category is Category.AVAILABILITY


def test_the_first_row_that_matches_any_of_several_details_wins():
    details = [
        {"detail": "Please enter value(s) for: Memo", "o:errorCode": "USER_ERROR"},
        {"detail": "The accounting period is closed.", "o:errorCode": "USER_ERROR"},
    ]
    body = json.dumps({"status": 400, "o:errorDetails": details}).encode()
    problem = errors.problem_from(
        registry.manifest("netsuite"), status=400, headers={}, body=body, connection="netsuite", is_write=True
    )
    assert problem.category is Category.PERIOD_CLOSED
