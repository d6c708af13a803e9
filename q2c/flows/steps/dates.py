"""Steps that find whose book a document belongs to, its dates, its period, its policy and its rate."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

from msgspec import structs

from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, Invoice
from q2c.canonical.posting import ArCreditMemo, ArInvoice, CashReceipt, CashRefund, Journal
from q2c.canonical.unwinding import Reversal
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps import systems
from q2c.flows.steps.half_way import REVERSAL_FLOW
from q2c.flows.told import record_key
from q2c.posting import accruals
from q2c.posting.days import last_service_day
from q2c.posting.facts import Book, Period, Policy, RateUse, RuleDates
from q2c.posting.policy import check_policy
from q2c.transactions.steps import Read

POLICY_FIELDS = (
    "detail",
    "revenue_owner",
    "subledger_owner",
    "posting_date",
    "window",
    "rounding_limit",
    "approval_over",
    "credit_rate",
    "rate_days_max",
    "zero_amount",
    "missing_service_dates",
    "summary_cut_off",
)
POSTING_DATE = "posting_date"  # what a choice of another posting date is about
T = TypeVar("T", ArInvoice, ArCreditMemo, CashReceipt, CashRefund, Journal)
_INSTANTS = ("failed_at", "issued_at", "received_at", "refunded_at", "applied_at", "at")


def instant_of(document: Any) -> dt.datetime | None:
    """The vendor's instant of a document; None for one that has a plain date only."""
    return next((getattr(document, name) for name in _INSTANTS if getattr(document, name, None)), None)


def want_policy() -> list[tuple[str, Any]]:
    """The entity's posting policy."""
    return [("rule", ("posting_policy", field)) for field in POLICY_FIELDS]


def want_seller(document: Any) -> list[tuple[str, Any]]:
    """Policy, and the seller by currency where the document doesn't name one."""
    wants = want_policy()
    if not document.legal_entity:
        wants.append(("rule", ("selling_entity", document.currency)))
    return wants


def find_seller(document: Any, txn: Any, mappings: Any) -> str:
    """The selling legal entity: named by the document, else by the rule for its currency."""
    code: str = document.legal_entity
    if not code:
        on = (instant_of(document) or dt.datetime.now(dt.UTC)).date()
        code = mappings.resolve("selling_entity", document.currency, on=on, connection=txn.source_connection).value
    return code


def want_book(document: Any, calendar: Any) -> list[tuple[str, Any]]:
    """What names the seller of an invoice, and its ERP."""
    itself = ("invoice", record_key(document.source))
    return [*want_seller(document), *systems.want_erp("invoice", document, calendar, [itself])]


def find_book(document: Any, txn: Any, mappings: Any, calendar: Any, links: Any) -> Book:
    """The seller's book in the ERP that takes an invoice of its date, or has it already."""
    code = find_seller(document, txn, mappings)

    def rule() -> str:
        on = own_date(document, code, calendar)
        return systems.erp_by_rule("invoice", document, code, on, mappings=mappings, links=links)

    itself = ("invoice", record_key(document.source))
    return take_book(code, txn, calendar, systems.follow([[itself]], code, rule, links=links, calendar=calendar))


def own_date(document: Any, entity: str, calendar: Any) -> dt.date:
    """A plain date of the vendor is never shifted; an instant becomes a date in the entity's time zone."""
    plain: dt.date | None = getattr(document, "document_date", None)
    return plain or calendar.local_date(entity, instant_of(document))


def take_book(code: str, txn: Any, calendar: Any, chosen: systems.Chosen) -> Book:
    """The book of this legal entity in the chosen ERP, noted on the transaction. Raises Problem as `calendar.book`
    does."""
    book: Book = calendar.book(code, chosen.erp)
    if chosen.follows:
        book = structs.replace(book, follows=chosen.follows)
    txn.legal_entity_code, txn.target_connection = book.code, book.connection
    return book


def choose_document_date(document: Any, book: Book, txn: Any, calendar: Any) -> dt.date:
    """The document's own date, noted on the transaction."""
    date = own_date(document, book.code, calendar)
    txn.document_date = date
    if isinstance(document, Invoice | CreditMemo):
        txn.service_end = last_service_day(document, book.time_zone)
    return date


def read_policy(book: Book, document_date: dt.date, mappings: Any, calendar: Any) -> Policy:
    """The entity's posting policy in force on the posting date; every field is a governed rule with a stated default.
    Which date that is, is itself policy: the one in force on the document date says it."""

    def field(name: str, default: str) -> str:
        return mappings.get("posting_policy", name, default, legal_entity=book.code, on=on)

    on = RuleDates(document=document_date, posting=document_date, original_line=document_date)
    chosen = field("posting_date", "document")
    if chosen == "today":
        today = calendar.local_now(book.code).date()
        on = RuleDates(document=document_date, posting=today, original_line=document_date)

    over = field("approval_over", "")
    try:
        policy = Policy(
            detail=field("detail", "line"),
            revenue_owner=field("revenue_owner", "erp"),
            subledger_owner=field("subledger_owner", "erp"),
            posting_date=chosen,
            window=field("window", "always"),
            rounding_limit=int(field("rounding_limit", "5")),
            approval_over=Decimal(over) if over else None,
            credit_rate=field("credit_rate", "original"),
            rate_days_max=int(field("rate_days_max", "7")),
            zero_amount=field("zero_amount", "post"),
            missing_service_dates=field("missing_service_dates", "document"),
            summary_cut_off=field("summary_cut_off", "02:00"),
        )
    except (InvalidOperation, ValueError) as error:
        raise Problem(
            "missing_posting_policy",
            Category.MAPPING,
            f"A limit in the posting policy of {book.code} isn't a number: that of rounding counts the"
            " currency's smallest units, that of approval is an amount, that of a rate's age counts days",
            kind="posting_policy",
            key="rounding_limit",
            legal_entity=book.code,
        ) from error
    return check_policy(policy, book.code)


def choose_posting_date(document_date: dt.date, policy: Policy, book: Book, calendar: Any, txn: Any) -> dt.date:
    """What people chose for a document that came late; else the document date or the day of posting, by the entity's
    policy."""
    chosen = txn.chosen.get(POSTING_DATE)
    if chosen is not None:
        return dt.date.fromisoformat(chosen["posting_date"])
    return calendar.local_now(book.code).date() if policy.posting_date == "today" else document_date


def with_memo(posting: T, txn: Any) -> T:
    """The posting; one that people moved to another date says so in its memo, beside the document's own date."""
    chosen = txn.chosen.get(POSTING_DATE)
    return posting if chosen is None else structs.replace(posting, memo=f"{posting.memo}; {chosen['memo']}")


def take_its_day(document_date: dt.date) -> dt.date:
    """A summary is posted on the day that it sums up, whatever the policy says of documents."""
    return document_date


def want_accrual(posting_date: dt.date, book: Book, txn: Any, calendar: Any) -> list[tuple[str, Any]]:
    """Of a later version of a document, the accrual of an earlier one in the same period, and a plan about that."""
    period: Period | None = calendar.period(book, posting_date)
    if period is None or txn.lane_sequence == 1 or txn.flow.code not in accruals.FLOWS:
        return []
    accrual = _accrual_of(txn, period)
    return [("fact", (accruals.FLOW, *accrual)), ("fact", (REVERSAL_FLOW, *accrual))]


def _accrual_of(txn: Any, period: Period) -> tuple[str, str]:
    return txn.source_connection, accruals.name_accrual(txn.source_type, txn.source_id, period.code)


def check_receivables_period(posting_date: dt.date, book: Book, txn: Any, calendar: Any, links: Any) -> Period:
    """The period of the posting date, open for receivables, and without an accrual of the same document. Raises Problem
    `period_closed`."""
    period = check_open(posting_date, book, calendar, ledger="receivables", txn=txn)
    accrual = _accrual_of(txn, period)
    if links.state(accruals.FLOW, *accrual) not in ("", "cancelled") and not _is_taken_back(accrual, links):
        so = " for what is accrued there: posted there too, it would count twice"
        raise _closed(book, period.code, period.name, "receivables", so)
    return period


def _is_taken_back(accrual: tuple[str, str], links: Any) -> bool:
    """Whether a plan took the accrual back for good."""
    plan = links.fact(REVERSAL_FLOW, *accrual)
    is_done = plan is not None and links.state(REVERSAL_FLOW, *accrual) == "completed"
    return is_done and not schema.from_json(plan, Reversal).reposts


def check_ledger_period(posting_date: dt.date, book: Book, txn: Any, calendar: Any) -> Period:
    """The period of the posting date, open for the general ledger. Raises Problem `period_closed`."""
    return check_open(posting_date, book, calendar, txn=txn)


def check_open(
    on: dt.date, book: Book, calendar: Any, *, ledger: str = "ledger", so: str = "", txn: Any = None
) -> Period:
    """The period of this day, open in the ledger or for receivables, and noted on the transaction that posts there;
    `so` says what comes of it where it's closed. Raises Problem `period_closed`."""
    period: Period | None = calendar.period(book, on)
    if txn is not None:
        txn.period_code = period.code if period else f"{on:%Y-%m}"
    if period is None or not (period.is_receivables_open if ledger == "receivables" else period.is_ledger_open):
        code, name = (period.code, period.name) if period else (f"{on:%Y-%m}", f"{on:%B %Y}")
        raise _closed(book, code, name, ledger, so)
    return period


def _closed(book: Book, code: str, name: str, ledger: str, so: str) -> Problem:
    return Problem(
        "period_closed",
        Category.PERIOD_CLOSED,
        f"{name} is closed in {book.code}{so}",
        legal_entity=book.code,
        period=code,
        ledger=ledger,
        connection=book.connection,
    )


def check_own_window(policy: Policy, book: Book, calendar: Any) -> str:
    """As `check_window`, for a document that may go to the ledger in a summary: then the summary's window counts."""
    return "the summary's" if policy.is_summary else check_window(policy, book, calendar)


def check_window(policy: Policy, book: Book, calendar: Any) -> str:
    """Inside the subsidiary's posting window, or wait until it opens."""
    if policy.window in ("", "always"):
        return "always"
    now = calendar.local_now(book.code)
    start, end = (dt.time.fromisoformat(text.strip()) for text in policy.window.split("-"))
    is_inside = start <= now.time() < end if start < end else now.time() >= start or now.time() < end
    if is_inside:
        return policy.window
    opens = now.replace(hour=start.hour, minute=start.minute, second=0, microsecond=0)
    if opens <= now:
        opens += dt.timedelta(days=1)
    raise Awaits(
        "",
        f"the posting window of {book.code}, which opens at {opens:%H:%M} local time",
        not_before=opens.astimezone(dt.UTC),
        patience_seconds=3 * 86400,
    )


def want_rate(document: Any, book: Book) -> list[tuple[str, Any]]:
    """The ERP's currency, and a manual rate where the document isn't in the book's own."""
    wants: list[tuple[str, Any]] = [("rule", ("currency", document.currency))]
    if document.currency != book.currency:
        wants.append(("rule", ("manual_rate", f"{document.currency}/{book.currency}")))
    return wants


def choose_rate(
    document: Any, book: Book, posting_date: dt.date, policy: Policy, mappings: Any, calendar: Any
) -> RateUse:
    """How the document's currency becomes the book's. The ERP's table owns; a governed manual rate stands in where that
    lacks one or its newest is older than the policy allows. It ages too, unless people approved it up to a day.

    Raises Problem `rate_missing`."""
    if document.currency == book.currency:
        return RateUse()
    pair = f"{document.currency}/{book.currency}"
    newest = calendar.reference(book.connection, "rates").get(pair)
    if newest is not None:
        rate_date = dt.date.fromisoformat(newest["attributes"]["date"])
        if (posting_date - rate_date).days <= policy.rate_days_max:
            return RateUse(pair=pair, source="erp", rate_date=min(rate_date, posting_date))
    manual = mappings.resolve("manual_rate", pair, legal_entity=book.code, on=posting_date)
    if manual.effective_to is None and (posting_date - manual.effective_from).days > policy.rate_days_max:
        raise Problem(
            "rate_missing",
            Category.MAPPING,
            f"The newest rate of {pair} is of {manual.effective_from}, older than {policy.rate_days_max} days",
            kind="manual_rate",
            key=pair,
            legal_entity=book.code,
            on=posting_date,
        )
    rate_date = manual.effective_from if manual.effective_to is None else posting_date
    return RateUse(pair=pair, source="manual", rate=Decimal(manual.value), rate_date=rate_date)


def choose_currency(document: Any, book: Book, document_date: dt.date, mappings: Any) -> str:
    """The ERP's id of the document's currency."""
    return mappings.resolve("currency", document.currency, connection=book.connection, on=document_date).value


def whose(find: Any = find_book, wants: Any = want_book) -> tuple[Read, ...]:
    """The steps that find the book, the document's date and the entity's policy; `find` says how the book is found."""
    return (
        Read("find_book", "Find the selling legal entity and its book", find, gives="book", wants=wants),
        Read(
            "choose_document_date",
            "Read the document's date in the entity's time zone",
            choose_document_date,
            gives="document_date",
        ),
        Read("read_policy", "Read the entity's posting policy", read_policy, gives="policy"),
    )


WHOSE = whose()  # of an invoice
_WHEN = (
    Read(
        "choose_posting_date",
        "Choose the posting date by the entity's policy",
        choose_posting_date,
        gives="posting_date",
    ),
)


def _rate(choose: Any = choose_rate) -> tuple[Read, ...]:
    return (
        Read("choose_rate", "Choose the exchange rate", choose, gives="rate", wants=want_rate),
        Read("choose_currency", "Find the ERP's currency", choose_currency, gives="currency"),
    )


def in_receivables(rate: Any = choose_rate) -> tuple[Read, ...]:
    """The steps that choose posting date, period and rate of a receivable; `rate` says how the last is chosen."""
    return (
        *_WHEN,
        Read("check_period", "Check that the receivables period is open", check_receivables_period, gives="period",
             wants=want_accrual),
        *_rate(rate),
    )  # fmt: skip


IN_RECEIVABLES = in_receivables()
_LEDGER = (
    Read("check_period", "Check that the ledger's period is open", check_ledger_period, gives="period"),
    *_rate(),
)
IN_LEDGER = (*_WHEN, *_LEDGER)
ON_ITS_DAY_IN_LEDGER = (
    Read("choose_posting_date", "Take the day that it sums up", take_its_day, gives="posting_date"),
    *_LEDGER,
)
WINDOW = (Read("check_window", "Check the subsidiary's posting window", check_window, gives="window"),)
OWN_WINDOW = (Read("check_window", "Check the subsidiary's posting window", check_own_window, gives="window"),)
