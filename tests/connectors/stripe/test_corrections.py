"""Which of Stripe's updates of an issued document is somebody's correction, so that it's read again."""

from __future__ import annotations

import json

import pytest

from connectors.stripe.events import is_corrected


def updated(before, *, status="open", **metadata):
    data = {"object": {"id": "in_1", "object": "invoice", "status": status, "metadata": metadata}}
    return json.dumps({"data": {**data, "previous_attributes": before}}).encode()


@pytest.mark.parametrize(
    ("before", "metadata", "is_one"),
    [
        ({"metadata": {"legal_entity": "GB99"}}, {"legal_entity": "GB01"}, True),
        ({"metadata": {"legal_entity": None}}, {"legal_entity": "GB01"}, True),
        ({"metadata": {"legal_entity": "GB99", "q2c_status": None}}, {"q2c_status": "held"}, True),
        ({"metadata": {"q2c_status": None, "q2c_message": None}}, {"q2c_status": "held", "q2c_message": "x"}, False),
        ({"metadata": {"q2c_status": "held"}}, {}, False),
        ({"amount_paid": 0, "status": "open"}, {"legal_entity": "GB01"}, False),
    ],
)
def test_what_we_wrote_ourselves_and_what_a_payment_changes_is_no_correction(before, metadata, is_one):
    assert is_corrected(updated(before, **metadata)) is is_one


def test_a_draft_is_not_read():
    assert not is_corrected(updated({"metadata": {"legal_entity": None}}, status="draft", legal_entity="GB01"))
