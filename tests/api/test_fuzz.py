"""Whatever is sent, the API answers as its own document says: no 500, no undocumented status or shape."""

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from schemathesis import checks

from q2c.wsgi import application
from tests.api.conftest import ask_token, make_client

MOST = 25


@pytest.fixture
def bearer_header(house):
    make_client("upstream")
    return {"Authorization": f"Bearer {ask_token('upstream').json()['access_token']}"}


@pytest.fixture
def document(bearer_header):
    """The API's own description, read through the server; its requests keep the test's database connection
    (Django's own test client, which asked for the token, had put the closing of connections back)."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield schemathesis.openapi.from_wsgi("/api/v1/schema/", application)
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/api/v1/orders", "POST"),
        ("/api/v1/transactions/{transaction_id}", "GET"),
        ("/api/v1/trace", "GET"),
        ("/api/v1/cases", "GET"),
        ("/api/v1/cases/{case_id}", "GET"),
        ("/api/v1/bill-runs", "GET"),
        ("/api/v1/bill-runs/{run_id}", "GET"),
        ("/api/v1/cases/{case_id}/repost", "POST"),
    ],
)
def test_whatever_is_sent_is_answered_as_documented(document, bearer_header, path, method):
    operation = document[path][method]

    anything = operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @hypothesis.given(case=operation.as_strategy() | anything)
    @hypothesis.settings(
        max_examples=MOST, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), database=None
    )
    def answers(case):
        response = case.call(headers=bearer_header)
        case.validate_response(
            response,
            checks=[
                checks.not_a_server_error,
                schemathesis.specs.openapi.checks.status_code_conformance,
                schemathesis.specs.openapi.checks.content_type_conformance,
                schemathesis.specs.openapi.checks.response_schema_conformance,
            ],
        )

    answers()
