"""Accrual to ERP: what a late document earned is shown in its own period, and taken back where the document posts.

Starts on   an agreed resolution: to accrue, of an invoice or credit memo whose receivables period is closed
Ends with   one journal on the last day of that period, whose opposite the ERP makes of the next period's first day
Posts       accrued revenue against the document's own accounts, net of tax; never what the ERP's own plan defers
Owners      billing operations; the controller for accounts, period and policy
Never       touches receivables or tax; posts in another period than was agreed; leaves an accrual without its reversal;
            accrues what nobody bills any more
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from q2c.canonical.posting import Accrual, Journal, PostedDocument
from q2c.core import ids
from q2c.core.problems import NotNeeded, Problem
from q2c.flows.steps import approve, dates, post, systems
from q2c.flows.steps.cash import find_journal, post_journal
from q2c.flows.told import Link, became
from q2c.posting.accruals import FLOW, FLOWS, build_accrual
from q2c.posting.facts import Book, Period, RateUse, RuleDates
from q2c.transactions.steps import Flow, Read, Write

ROLE = "accrued_revenue"  # of the account that stands for what is earned and not billed yet


def want_standing(document: Accrual) -> list[tuple[str, Any]]:
    """Whether billing has voided the late document, and what is left of its own transactions."""
    own = document_lane(document)
    lanes = [("lane", (flow, own)) for flow in FLOWS]
    return [("status", (document.source.connection, document.document_id)), *lanes]


def document_lane(document: Accrual) -> str:
    """The lane of the late document's own transactions."""
    return ids.lane(
        connection=document.source.connection, object_type=document.document_type, object_id=document.document_id
    )


def check_standing(document: Accrual, links: Any) -> str:
    """The late document stands, posted or on its way. Raises NotNeeded where billing voided it or nothing of it posts
    any more: the accrual would show revenue that nobody bills."""
    if links.status(document.source.connection, document.document_id) == "void":
        raise NotNeeded(f"billing voided {document.number}, so nothing of it is accrued")
    if not any(links.in_lane(flow, document_lane(document)) for flow in FLOWS):
        raise NotNeeded(f"{document.number} isn't posted any more, so nothing of it is accrued")
    return "stands"


def find_book(document: Accrual, txn: Any, calendar: Any) -> Book:
    """The entity's book in the ERP that the document goes to."""
    return dates.take_book(document.legal_entity, txn, calendar, systems.Chosen(document.erp))


def want_policy(document: Accrual) -> list[tuple[str, Any]]:
    """The entity's posting policy."""
    return dates.want_policy()


def check_reversal_period(document: Accrual, book: Book, calendar: Any) -> Period:
    """The period in which it's taken back, open in the ledger. Raises Problem `period_closed`: an accrual without its
    reversal would count the revenue twice."""
    so = f", so the accrual of {document.number} couldn't be taken back there"
    return dates.check_open(document.reversed_on, book, calendar, so=so)


def want_account(document: Accrual) -> list[tuple[str, Any]]:
    """The role of accrued revenue."""
    return [("rule", ("account", ROLE))]


def find_account(document: Accrual, book: Book, posting_date: dt.date, mappings: Any) -> str:
    """The account of what is earned and not billed yet. Raises Problem naming the role."""
    on = RuleDates(document=posting_date, posting=posting_date, original_line=posting_date)
    scope = {"legal_entity": book.code, "connection": book.connection, "currency": document.currency, "on": on}
    found: str = mappings.resolve("account", ROLE, **scope).value
    return found


def build_posting(
    document: Accrual,
    book: Book,
    currency: str,
    accrued_account: str,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
) -> Journal:
    """The journal that people signed for."""
    return build_accrual(
        document, book=book, currency=currency, account=accrued_account, rate=rate, posting_date=posting_date,
        period=period,
    )  # fmt: skip


def compare_accrual(document: PostedDocument, prepared: Journal, was_found: bool) -> Problem | None:
    """As `compare_posted`, and that the ERP has its reversal on the day that was asked for. While the ERP's own
    approval is pending it needn't have one yet: it's compared again once its ledger has it."""
    found = post.compare_posted(document, prepared, was_found)
    has_it = document.reversal and document.reversal_date == prepared.reversal_date
    if found is not None or has_it or not document.is_in_ledger:
        return found
    has = f"on {document.reversal_date}" if document.reversal and document.reversal_date else "nowhere"
    summary = f"The accrual is to be taken back on {prepared.reversal_date}, and the ERP takes it back {has}"
    return post.differs(was_found, document, prepared.external_id, summary)


def tell(document: Accrual, journal: PostedDocument, book: Book) -> list:
    """Lineage from the late document to the decision, to its journal, and to the journal that takes it back."""
    source, amount, money = document.source, document.amount, document.currency
    told = became(source, "accrual", journal, book.connection, amount=amount, currency=money, step="post_accrual")
    told.append(Link(source.connection, document.document_type, document.document_id, source.connection,
                     source.object_type, source.object_id, amount, money, "accrued by"))  # fmt: skip
    told.append(Link(book.connection, journal.document_type, journal.id, book.connection, journal.document_type,
                     journal.reversal, -amount, money, "reversed by", "post_accrual"))  # fmt: skip
    return told


ACCRUAL_TO_ERP = Flow(
    code=FLOW,
    title="Accrual to ERP",
    starts_with=("document",),
    fact_type=Accrual,
    owner="billing_ops",
    lane_type="accrual",
    steps=(
        Read("check_standing", "Check that the late document still stands", check_standing, gives="standing",
             wants=want_standing),
        *dates.whose(find_book, want_policy),
        *dates.ON_ITS_DAY_IN_LEDGER,
        Read("check_reversal", "Check that the period is open in which it's taken back", check_reversal_period,
             gives="reversal_period"),
        Read("find_account", "Find the account of accrued revenue", find_account, gives="accrued_account",
             wants=want_account),
        Read("build_posting", "Build the journal with its reversal date; it must balance", build_posting,
             gives="posting"),
        *dates.WINDOW,
        *approve.APPROVAL,
        Write(
            "post_accrual",
            "Post the journal, which the ERP takes back by itself in the next period",
            find=find_journal,
            create=post_journal,
            equal=compare_accrual,
            prepared="posting",
            port="erp",
            gives="journal",
        ),
    ),
    links=tell,
)  # fmt: skip
