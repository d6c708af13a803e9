"""What is known of a billed document, whatever order its events come in."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import permutations

import pytest

from q2c.records.documents import Billed, known_documents, store_documents

pytestmark = pytest.mark.django_db
AT = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(("kind", "went", "last"), [
    ("invoice", "open", "void"), ("credit_memo", "issued", "void"), ("refund", "succeeded", "failed"),
    ("payout", "paid", "failed"),
])  # fmt: skip
@pytest.mark.parametrize("seconds", [0, 1])
def test_what_is_the_end_of_a_document_stays_though_it_overtook_its_making(kind, went, last, seconds):
    made = Billed("stripe", kind, "x_1", went, AT, currency="GBP", amount=Decimal(20), content_hash="a")
    ended = Billed("stripe", kind, "x_1", last, AT + dt.timedelta(seconds=seconds), currency="GBP",
                   amount=Decimal(20), content_hash="b")  # fmt: skip
    for number, told in enumerate(permutations((made, ended))):
        names = [Billed(**{**vars(each), "external_id": f"x_{number}"}) for each in told]
        seen = None
        for each in names:
            store_documents([each])
            seen = seen.after(each, "") if seen else known_documents({each.key})[each.key]
        stored = known_documents({names[0].key})[names[0].key]
        assert (stored.status, seen.status) == (last, last), told
