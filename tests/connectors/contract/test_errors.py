"""Every vendor's refusals are read the same careful way."""

import pytest

from connectors import errors, registry
from q2c.core.problems import Category, NotAnswered
from tests.connectors.contract.vendor_facts import VENDORS

PAGE = b"<html><body>Bad gateway</body></html>"


def read(code, status, body=PAGE, *, is_write, headers=None):
    return errors.problem_from(
        registry.manifest(code), status=status, headers=headers or {}, body=body, connection=code, is_write=is_write
    )


@pytest.mark.parametrize("code", VENDORS)
@pytest.mark.parametrize("is_write", [True, False])
def test_401_is_a_matter_of_credentials(code, is_write):
    problem = read(code, 401, is_write=is_write)
    assert (problem.code, problem.category) == ("credentials_refused", Category.AUTHENTICATION)


@pytest.mark.parametrize("code", VENDORS)
def test_429_waits_as_long_as_it_is_asked(code):
    problem = read(code, 429, is_write=True, headers={"Retry-After": "17"})
    assert (problem.category, problem.wait_seconds) == (Category.RATE_LIMIT, 17)


@pytest.mark.parametrize("code", VENDORS)
@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
def test_a_server_error_leaves_a_write_unknown_and_a_read_to_be_repeated(code, status):
    assert isinstance(read(code, status, is_write=True), NotAnswered)
    assert read(code, status, is_write=False).category is Category.AVAILABILITY


@pytest.mark.parametrize("code", VENDORS)
@pytest.mark.parametrize("status", [300, 302, 400, 404, 409, 413, 418, 422])
def test_a_page_that_is_not_the_vendors_never_decides_a_write(code, status):
    """A proxy's answer proves nothing about what the vendor did."""
    assert isinstance(read(code, status, is_write=True), NotAnswered)


@pytest.mark.parametrize("code", VENDORS)
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b'{"error": null}', b'"text"', b"[[]]", b"\xff", b"{"])
def test_strange_bodies_are_read_without_a_fault_of_ours(code, body):
    assert isinstance(read(code, 400, body, is_write=True), NotAnswered)
    assert read(code, 400, body, is_write=False).summary


@pytest.mark.parametrize("code", VENDORS)
def test_every_problem_names_its_connection(code):
    for status in (400, 401, 404, 429, 500):
        assert read(code, status, is_write=False).subject["connection"] == code
