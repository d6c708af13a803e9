"""What feeds declare of themselves."""

from decimal import Decimal

import pytest

from q2c.reconciliation.feeds import FeedTotal, declare_documents, declared_totals
from q2c.reconciliation.models import FeedDocument

pytestmark = pytest.mark.django_db


def declared(number: str, amount: str, *, kind: str = "invoice", lines: int = 2, file_hash: str = "a") -> FeedDocument:
    return FeedDocument(
        feed="retail",
        number=number,
        document_type=kind,
        currency="GBP",
        lines=lines,
        amount=Decimal(amount),
        file_hash=file_hash,
    )


def test_totals_are_unrounded_and_by_type():
    assert (
        declare_documents([declared("1", "10.001"), declared("2", "5.5"), declared("C3", "-2", kind="credit_memo")])
        == 3
    )
    assert declared_totals("retail") == [
        FeedTotal("retail", "credit_memo", "GBP", 1, 2, Decimal("-2")),
        FeedTotal("retail", "invoice", "GBP", 2, 4, Decimal("15.501")),
    ]
    assert declared_totals("another") == []


def test_a_document_of_two_files_counts_once_with_what_was_declared_last():
    declare_documents([declared("1", "10"), declared("2", "5")])
    declare_documents([declared("2", "6", lines=3, file_hash="b"), declared("3", "4")])
    (total,) = declared_totals("retail")
    assert total == FeedTotal("retail", "invoice", "GBP", 3, 7, Decimal("20"))
    assert str(total.amount) == "20"
