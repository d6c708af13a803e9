"""Reversal to ERP: a posted journal is taken back by two people's decision, and posted again where they want it.

Starts on   an agreed plan: to take the journal of a payout, of a dispute or of an accrual back
Ends with   the opposite journal, which names the one that it reverses; of an accrual also the opposite of what the ERP
            made of it by itself; where it's posted again, a journal of its own
Posts       what was signed for, line by line: the same accounts with their sides exchanged, at the rate of the first
Owners      billing operations; the controller for period and accounts
Never       edits or deletes the original; reverses what the ERP holds otherwise than people saw; posts on another day
            than was agreed
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from connectors.manifest import Undo
from q2c.canonical.posting import Journal, PostedDocument
from q2c.canonical.unwinding import Reversal, Reversed
from q2c.core.problems import Category, Problem
from q2c.flows.accrual_to_erp import compare_accrual
from q2c.flows.steps import dates, post, systems
from q2c.flows.steps.cash import find_journal, post_journal
from q2c.flows.steps.half_way import REVERSAL_FLOW
from q2c.flows.steps.reversed import waits_for
from q2c.flows.told import Link, Moved, Reference, became, record_key
from q2c.posting import reversing as rules
from q2c.posting.facts import Book, Period
from q2c.transactions.steps import Flow, Read, Write


def want_standing(document: Reversal) -> list[tuple[str, Any]]:
    """Where it stands in the ERP."""
    return [("xref", (document.record_type, document.record_key))]


def check_standing(document: Reversal, links: Any) -> str:
    """The journal that was agreed on stands for it. Raises Problem `plan_moved` where another one does by now."""
    found = links.find(document.record_type, document.record_key, document.erp)
    if found is None or found.external_id != document.journal.document:
        raise rules.moved(document, f"{document.name} doesn't stand as that journal in the ERP any more")
    return "stands"


def want_book(document: Reversal) -> list[tuple[str, Any]]:
    """The entity's posting policy."""
    return dates.want_policy()


def find_book(document: Reversal, txn: Any, calendar: Any) -> Book:
    """The entity's book in the ERP that has the journal."""
    return dates.take_book(document.legal_entity, txn, calendar, systems.Chosen(document.erp))


def check_undo(erp: Any) -> str:
    """That the ERP takes a journal back by its opposite. Raises Problem `unsupported_document`."""
    way = erp.undo.get("journal")
    if way is not Undo.OPPOSITE:
        raise Problem(
            "unsupported_document",
            Category.VALIDATION,
            f"{erp.name} doesn't take a journal back by its opposite",
            connection=erp.connection_code,
            document="journal",
            prefix="reversal",
        )
    return way.value


def take_opposite(document: Reversal, period: Period) -> Journal:
    """The opposite that was signed for. Raises Problem `plan_moved` where its day is of another period by now."""
    return _in_period(document, document.journal.opposite, period)


def take_other(document: Reversal, book: Book, calendar: Any) -> Journal | None:
    """The opposite of what the ERP made of it by itself, in a period that is open. Raises Problem `period_closed`:
    one without the other would count twice."""
    other = document.made_of_it
    if other is None:
        return None
    so = f", so what took {document.name} back can't be taken back there"
    period = dates.check_open(other.opposite.posting_date, book, calendar, so=so)
    return _in_period(document, other.opposite, period)


def _in_period(document: Reversal, journal: Journal, period: Period) -> Journal:
    if journal.period != period.erp_id:
        raise rules.moved(document, f"{journal.posting_date:%-d %B %Y} is of another period of the ERP by now")
    return journal


def take_again(document: Reversal) -> Journal | None:
    """The journal that was signed for to stand in its place; None where none does."""
    return document.again


async def find_other(other: Journal, erp: Any) -> PostedDocument | None:
    """Look in the ERP by our external id."""
    found: PostedDocument | None = await erp.find("journal", other.external_id)
    return found


async def find_again(again: Journal, erp: Any) -> PostedDocument | None:
    """Look in the ERP by our external id."""
    found: PostedDocument | None = await erp.find("journal", again.external_id)
    return found


async def reverse_journal(document: Reversal, erp: Any, write: Any) -> PostedDocument:
    """Post its opposite, once the ERP says that it holds what people saw. Raises Problem `plan_moved`."""
    made_of_it = document.made_of_it.document if document.made_of_it is not None else ""
    return await _reverse(document, document.journal, made_of_it, erp, write)


async def reverse_other(document: Reversal, erp: Any, write: Any) -> PostedDocument:
    """As `reverse_journal`, of what the ERP made of it by itself."""
    assert document.made_of_it is not None  # there would be nothing to write
    return await _reverse(document, document.made_of_it, document.journal.document, erp, write)


async def _reverse(document: Reversal, taken: Reversed, stands_against: str, erp: Any, write: Any) -> PostedDocument:
    """What was sent before and never answered is sent again as it is: the ERP refuses its id twice."""
    if not getattr(write, "is_open", False):
        held = await post.read_before_sending(erp, "journal", taken.document)
        lines = await post.asked_before_sending(erp.journal_lines(taken.document))
        if why_not := rules.why_not_as_agreed(taken, held, lines, stands_against):
            raise rules.moved(document, why_not)
    opposite = taken.opposite
    made: PostedDocument = await erp.reverse(
        "journal", taken.document, external_id=opposite.external_id, on=opposite.posting_date, period=opposite.period,
        memo=opposite.memo,
    )  # fmt: skip
    return made


def post_again(again: Journal, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return post_journal(again, erp)


def compare_opposite(document: PostedDocument, prepared: Journal, was_found: bool) -> Problem | None:
    """As `compare_posted`, and that it has the rate of the first: another one would leave a gain or loss."""
    found = post.compare_posted(document, prepared, was_found)
    ours, theirs = prepared.exchange_rate, document.exchange_rate
    if found is not None or ours is None or theirs is None or ours == theirs:
        return found
    summary = f"The reversal is at the rate of {ours} and the ERP holds it at {theirs}"
    return post.differs(was_found, document, prepared.external_id, summary)


def compare_again(document: PostedDocument, prepared: Journal, was_found: bool) -> Problem | None:
    """As `compare_posted`; of an accrual also that the ERP takes it back on its day."""
    if prepared.reversal_date is not None:
        return compare_accrual(document, prepared, was_found)
    return post.compare_posted(document, prepared, was_found)


def tell(
    document: Reversal, journal: PostedDocument, other_journal: PostedDocument | None,
    reposted: PostedDocument | None, book: Book,
) -> list:  # fmt: skip
    """Lineage from what the journal stands for to the decision, from each journal to the one that reverses it, and to
    the journal that stands for it now; that one is found under its own key from here on, and the old one under the
    decision's."""
    source, money, erp = document.source, document.currency, book.connection
    own, amount = (source.connection, document.object_type, document.object_id), document.amount
    told = became(source, "reversal", journal, erp, amount=-amount, currency=money, step="reverse_journal")
    told.append(Link(*own, source.connection, source.object_type, source.object_id, -amount, money, "reversed by"))
    told.append(_reversed(document.journal, journal, money, erp, "reverse_journal"))
    if document.made_of_it is not None and other_journal is not None:
        told.append(_reversed(document.made_of_it, other_journal, money, erp, "reverse_other"))
    if reposted is None:
        if document.payment_id:
            told.append(Link(source.connection, "payment", document.payment_id, source.connection, source.object_type,
                             source.object_id, document.disputed, document.disputed_currency, "dispute taken back",
                             "reverse_journal"))  # fmt: skip
        return told
    told.append(Link(*own, erp, "journal", reposted.id, amount, money, "reposted as", "post_again"))
    if reposted.reversal:
        told.append(Link(erp, "journal", reposted.id, erp, "journal", reposted.reversal, -amount, money, "reversed by",
                         "post_again"))  # fmt: skip
    told.append(Moved(document.record_type, document.record_key, erp, "journal", reposted.id, reposted.number,
                      was=document.journal.document))  # fmt: skip
    told.append(Reference("reversed", record_key(source), erp, "journal", document.journal.document))
    return told


def _reversed(taken: Reversed, by: PostedDocument, money: str, erp: str, step: str) -> Link:
    total = taken.opposite.total
    return Link(erp, "journal", taken.document, erp, "journal", by.id, -total, money, "reversed by", step)


def completes(document: Reversal) -> list[str]:
    """What waits until it's decided where the journal stands goes on."""
    return [waits_for(document)]


def take_day(document: Reversal) -> dt.date:
    """The day that was agreed."""
    return document.on


REVERSAL_TO_ERP = Flow(
    code=REVERSAL_FLOW,
    title="Reversal to ERP",
    starts_with=("document",),
    fact_type=Reversal,
    owner="billing_ops",
    lane_type="reversal",
    steps=(
        Read("check_standing", "Check that the journal stands as it was agreed", check_standing, gives="standing",
             wants=want_standing),
        *dates.whose(find_book, want_book),
        Read("choose_posting_date", "Take the day that was agreed", take_day, gives="posting_date"),
        Read("check_period", "Check that the ledger's period is open", dates.check_ledger_period, gives="period"),
        Read("check_undo", "See how the ERP takes a journal back", check_undo, gives="undo"),
        Read("take_opposite", "Take the opposite journal that was signed for", take_opposite, gives="posting"),
        Read("take_other", "Take the opposite of what the ERP made of it by itself", take_other, gives="other"),
        Read("take_again", "Take the journal that stands in its place", take_again, gives="again"),
        *dates.WINDOW,
        Write(
            "reverse_other",
            "Reverse what the ERP made of it by itself",
            find=find_other,
            create=reverse_other,
            equal=compare_opposite,
            prepared="other",
            port="erp",
            gives="other_journal",
        ),
        Write(
            "reverse_journal",
            "Reverse the journal",
            find=find_journal,
            create=reverse_journal,
            equal=compare_opposite,
            prepared="posting",
            port="erp",
            gives="journal",
        ),
        Write(
            "post_again",
            "Post the journal again",
            find=find_again,
            create=post_again,
            equal=compare_again,
            prepared="again",
            port="erp",
            gives="reposted",
        ),
    ),
    links=tell,
    completes=completes,
)  # fmt: skip
