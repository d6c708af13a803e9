"""Documents of 0: what moves revenue or has a price always goes through, the rest by policy; the policy must fit."""

from __future__ import annotations

import pytest

from q2c.canonical.billing import Invoice
from q2c.core.problems import NotNeeded, Problem
from q2c.flows.steps.feed import check_document
from q2c.posting.facts import Policy
from q2c.posting.policy import check_policy
from tests.posting.test_invoice import BOOK, document, line

MOVES = (line("100.00"), line("-100.00", sku="SUB"))
PRICED = (line("0.00", quantity="1", price="100.00"),)
EMPTY = (line("0.00", quantity="1", price="0"),)


@pytest.mark.parametrize(
    ("lines", "policy", "is_carried"),
    [
        (MOVES, {"zero_amount": "skip"}, True),
        (PRICED, {"zero_amount": "skip"}, True),
        (EMPTY, {"zero_amount": "skip"}, False),
        (EMPTY, {"zero_amount": "post"}, True),
        (MOVES, {"detail": "summary"}, True),
        (PRICED, {"detail": "summary"}, False),  # a summary has only amounts
    ],
)
def test_a_document_of_0_is_carried_where_it_says_something(lines, policy, is_carried):
    try:
        check_document(document(Invoice, *lines, total="0.00"), Policy(**policy), BOOK)
    except NotNeeded:
        assert not is_carried
    else:
        assert is_carried


@pytest.mark.parametrize(("owner", "fits"), [("erp", False), ("engine", False), ("billing", True)])
def test_documents_of_0_are_not_skipped_where_the_owner_of_revenue_allocates(owner, fits):
    policy = Policy(zero_amount="skip", revenue_owner=owner)
    if fits:
        assert check_policy(policy, "GB01") is policy
        return
    with pytest.raises(Problem, match="can't be skipped") as unfit:
        check_policy(policy, "GB01")
    assert (unfit.value.code, unfit.value.subject["key"]) == ("missing_posting_policy", "zero_amount")


@pytest.mark.parametrize("field", ["zero_amount", "missing_service_dates"])
def test_a_choice_that_nobody_knows_is_refused(field):
    with pytest.raises(Problem, match="and may be") as unfit:
        check_policy(Policy(**{field: "maybe"}), "GB01")
    assert unfit.value.subject["key"] == field
