"""Comparing what the ERP holds with what we asked for: amount, currency, and the period that it really took."""

from __future__ import annotations

from typing import Any

from q2c.canonical.posting import PostedDocument
from q2c.core.problems import Category, Problem


def compare_posted(document: PostedDocument, prepared: Any, was_found: bool) -> Problem | None:
    """None when the ERP's document says what we asked for; otherwise the Problem that holds the transaction.

    `posted_in_other_period` when the ERP moved it; `document_exists_differs` when a document with our external id says
    something else; `posted_differently` when the ERP changed what we sent.
    """
    asked = getattr(prepared, "total", None)
    if asked is None:
        asked = getattr(prepared, "amount", None)
    number = getattr(prepared, "number", "") or prepared.external_id
    if asked is not None and document.total is not None and document.total != asked:
        return Problem(
            "document_exists_differs" if was_found else "posted_differently",
            Category.CONFLICT,
            f"{number} is {prepared.currency_code} {asked:,} and the ERP holds {document.total:,}"
            f" as {document.number or document.id}",
            number=number,
            document=document.id,
            asked=asked,
            booked=document.total,
        )
    if document.currency_code and document.currency_code != prepared.currency_code:
        return Problem(
            "document_exists_differs" if was_found else "posted_differently",
            Category.CONFLICT,
            f"{number} is in {prepared.currency_code} and the ERP holds {document.currency_code}",
            number=number,
            document=document.id,
        )
    if document.period and document.period != prepared.period:
        return Problem(
            "posted_in_other_period",
            Category.PERIOD_CLOSED,
            f"The ERP put {number} into another period than the one asked for",
            number=number,
            document=document.id,
            asked=prepared.period,
            period=document.period,
        )
    return None
