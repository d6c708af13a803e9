"""Unwinding to ERP: a posted invoice is taken back by two people's decision, and posted again where they want it.

Starts on   an agreed plan: to take a posted invoice back, with or without posting it again
Ends with   a credit memo over all of it, applied to what is open; where it's posted again, a new invoice under its own
            number, settled by what settled the old one
Posts       line-level; the credit with the original's items, tax codes and rate, the new invoice by today's mappings,
            both on the day that was agreed
Owners      billing operations; the controller for period and posting policy
Never       edits or deletes the original; sends anything before both postings are built and are what was signed for;
            takes back what billing voided
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, Invoice
from q2c.canonical.posting import ArCreditMemo, ArInvoice, CashApplication, PostedDocument
from q2c.canonical.unwinding import SettledBy, Settling, Unwinding
from q2c.core.problems import NotNeeded
from q2c.flows import void_to_erp
from q2c.flows.steps import codes, customer, dates, originals, post, summary, systems
from q2c.flows.steps import settling as settling_steps
from q2c.flows.told import Link, Moved, Reference, became, record_key
from q2c.posting import unwinding as rules
from q2c.posting.facts import Accounts, Book, ItemUse, Original, Period, Policy, RateUse, TaxUse
from q2c.posting.invoice import build_ar_credit_memo, build_ar_invoice
from q2c.transactions.steps import Flow, Read, Write


def want_invoice(unwinding: Unwinding) -> list[tuple[str, Any]]:
    """The invoice as billing sent it, what billing says of it now, and where it stands in the ERP."""
    connection, invoice = unwinding.source.connection, unwinding.invoice_id
    return [("fact", (originals.INVOICE_FLOW, connection, invoice)), ("status", (connection, invoice)),
            ("xref", ("invoice", _invoice_key(unwinding)))]  # fmt: skip


def read_invoice(unwinding: Unwinding, links: Any) -> CreditMemo:
    """The invoice turned round. Raises NotNeeded where billing voided it: its void takes it back; Problem `plan_moved`
    where another document stands for it in the ERP by now."""
    connection, number = unwinding.source.connection, unwinding.invoice_number
    if links.status(connection, unwinding.invoice_id) == "void":
        raise NotNeeded(f"billing voided {number}, and its void takes it back")
    found = links.find("invoice", _invoice_key(unwinding), unwinding.erp)
    if found is None or found.external_id != unwinding.erp_invoice:
        raise rules.moved(unwinding, f"{number} doesn't stand as that document in the ERP any more")
    fact = links.fact(originals.INVOICE_FLOW, connection, unwinding.invoice_id)
    return rules.turn_unwinding(unwinding, schema.from_json(fact, Invoice))


def want_book(document: CreditMemo) -> list[tuple[str, Any]]:
    """The entity's posting policy."""
    return dates.want_policy()


def find_book(unwinding: Unwinding, document: CreditMemo, txn: Any, calendar: Any) -> Book:
    """The entity's book in the ERP that has the invoice."""
    return dates.take_book(unwinding.legal_entity, txn, calendar, systems.Chosen(unwinding.erp))


def find_erp_invoice(unwinding: Unwinding, document: CreditMemo, policy: Policy, links: Any) -> str:
    """The ERP's id of the invoice. Raises Problem `unsupported_document` where the entity posts in summary by now."""
    summary.check_keeper(document, policy, links.find("invoice", _invoice_key(unwinding), unwinding.erp))
    return unwinding.erp_invoice


def choose_posting_date(document_date: dt.date, txn: Any) -> dt.date:
    """The day that was agreed; another one that people chose because its period was closed meanwhile."""
    chosen = txn.chosen.get(dates.POSTING_DATE)
    return document_date if chosen is None else dt.date.fromisoformat(chosen["posting_date"])


def build_posting(
    unwinding: Unwinding,
    document: CreditMemo,
    book: Book,
    erp_customer: str,
    currency: str,
    items: dict[str, ItemUse],
    taxes: dict[str, TaxUse],
    credited_accounts: Accounts,
    policy: Policy,
    rate: RateUse,
    document_date: dt.date,
    posting_date: dt.date,
    period: Period,
    txn: Any,
) -> ArCreditMemo:
    """The AR credit memo over the whole invoice; raises Problem when it doesn't add up."""
    posting = build_ar_credit_memo(
        document,
        book=book,
        customer=erp_customer,
        currency=currency,
        items=items,
        taxes=taxes,
        accounts=credited_accounts,
        policy=policy,
        rate=rate,
        document_date=document_date,
        posting_date=posting_date,
        period=period,
        apply_to=rules.applied_back(unwinding),
        prefix=rules.TAKEN_BACK,
    )
    memo = f"Takes {unwinding.invoice_number} back: {unwinding.reason}"[:200]
    return dates.with_memo(msgspec.structs.replace(posting, memo=memo), txn)


def read_reposted(unwinding: Unwinding, links: Any) -> Invoice | None:
    """The invoice as it's posted again; None where it isn't."""
    if not unwinding.reposts:
        return None
    fact = links.fact(originals.INVOICE_FLOW, unwinding.source.connection, unwinding.invoice_id)
    return rules.repost_of(unwinding, schema.from_json(fact, Invoice))


def read_invoice_date(invoice: Invoice | None, original: Original, book: Book, calendar: Any) -> dt.date | None:
    """The invoice's own date, which it keeps."""
    if invoice is None:
        return None
    return original.document_date or dates.own_date(invoice, book.code, calendar)


def want_new_items(invoice: Invoice | None, book: Book, mappings: Any) -> list[tuple[str, Any]]:
    """What the lines of the invoice sell, and what rules look at."""
    return [] if invoice is None else codes.want_codes(invoice, book, mappings)


def want_new_taxes(invoice: Invoice | None, mappings: Any) -> list[tuple[str, Any]]:
    """What rules for tax codes look at."""
    return [] if invoice is None else codes.want_tax_facts(invoice, mappings)


def map_new_items(
    invoice: Invoice | None, invoice_date: dt.date | None, book: Book, posting_date: dt.date, mappings: Any,
    calendar: Any, links: Any,
) -> dict[str, ItemUse] | None:  # fmt: skip
    """The items of today's mappings. Raises Problem naming SKU and entity."""
    if invoice is None or invoice_date is None:
        return None
    return codes.map_items(invoice, book, invoice_date, posting_date, mappings, calendar, links)


def map_new_taxes(
    invoice: Invoice | None, invoice_date: dt.date | None, book: Book, posting_date: dt.date, mappings: Any,
    calendar: Any, links: Any,
) -> dict[str, TaxUse] | None:  # fmt: skip
    """The tax codes of today's mappings. Raises Problem naming code and entity."""
    if invoice is None or invoice_date is None:
        return None
    return codes.map_taxes(invoice, book, invoice_date, posting_date, mappings, calendar, links)


def build_reposting(
    invoice: Invoice | None,
    invoice_date: dt.date | None,
    unwinding: Unwinding,
    book: Book,
    erp_customer: str,
    currency: str,
    new_items: dict[str, ItemUse] | None,
    new_taxes: dict[str, TaxUse] | None,
    accounts: Accounts,
    policy: Policy,
    rate: RateUse,
    posting_date: dt.date,
    period: Period,
    txn: Any,
) -> ArInvoice | None:
    """The invoice that stands in its place, at the rate of the first so that no gain or loss comes of it."""
    if invoice is None or invoice_date is None or new_items is None or new_taxes is None:
        return None
    posting = build_ar_invoice(
        invoice,
        book=book,
        customer=erp_customer,
        currency=currency,
        items=new_items,
        taxes=new_taxes,
        accounts=accounts,
        policy=policy,
        rate=rate,
        document_date=invoice_date,
        posting_date=posting_date,
        period=period,
        prefix=rules.POSTED_AGAIN,
    )
    memo = f"{posting.memo}, posted again: {unwinding.reason}"[:200]
    return dates.with_memo(msgspec.structs.replace(posting, memo=memo), txn)


def check_agreed(unwinding: Unwinding, posting: ArCreditMemo, reposting: ArInvoice | None) -> str:
    """Both postings are what two people signed for. Raises Problem `plan_moved`."""
    return rules.check_agreed(unwinding, posting, reposting)


def build_release(unwinding: Unwinding) -> Settling | None:
    """What lets the invoice go first."""
    return rules.release_of(unwinding)


async def find_release(release: Settling, erp: Any) -> PostedDocument | None:
    """Look whether all of it is as asked for."""
    return await settling_steps.find_all(release, erp)


async def read_released(release: Settling, erp: Any) -> PostedDocument:
    """What still settles it, once people accepted that it's otherwise than was asked."""
    return await settling_steps.read_all(release, erp)


async def release_settlements(release: Settling, unwinding: Unwinding, book: Book, erp: Any) -> PostedDocument:
    """Take off what settles the invoice, one after the other; what is off already isn't touched again. Raises Problem
    `plan_moved` before the first, where something else is open than people saw."""
    off = [await erp.find_application(row) is not None for row in release.applications]
    done = sum((row.amount for row, is_off in zip(unwinding.moving, off, strict=True) if is_off), unwinding.open_amount)
    invoice = await post.read_before_sending(erp, "ar_invoice", unwinding.erp_invoice)
    rules.check_open(unwinding, done, invoice.open_amount)
    return await settling_steps.apply_all(release, book, erp)


def find_credit_memo(posting: ArCreditMemo, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("ar_credit_memo", posting.external_id)


async def post_credit_memo(posting: ArCreditMemo, unwinding: Unwinding, erp: Any, write: Any) -> PostedDocument:
    """Post it, once the ERP says that what the plan rests on is open. What was sent before and never answered is sent
    again as it is: the ERP refuses its id twice. Raises Problem `plan_moved`."""
    if not getattr(write, "is_open", False):
        invoice = await post.read_before_sending(erp, "ar_invoice", unwinding.erp_invoice)
        rules.check_open(unwinding, unwinding.open_then, invoice.open_amount)
    posted: PostedDocument = await erp.post_credit_memo(posting)
    return posted


def find_reposted(reposting: ArInvoice, erp: Any) -> PostedDocument:
    """Look in the ERP by our external id."""
    return erp.find("ar_invoice", reposting.external_id)


def post_again(reposting: ArInvoice, erp: Any) -> PostedDocument:
    """Post it; the ERP refuses a second one."""
    return erp.post_invoice(reposting)


def build_settling(
    unwinding: Unwinding, ar_credit_memo: PostedDocument, reposted: PostedDocument | None
) -> Settling | None:
    """What settles the new invoice; None where nothing does, or there's none."""
    if reposted is None:
        return None
    return rules.settling_of(unwinding, reposted=reposted.id, credit_memo=ar_credit_memo.id)


async def find_settling(settling: Settling, reposted: PostedDocument | None, erp: Any) -> PostedDocument | None:
    """Look whether all of it is applied so: the new invoice, with what settles it."""
    found = await settling_steps.find_all(settling, erp)
    return None if found is None or reposted is None else msgspec.structs.replace(reposted, applied=found.applied)


async def read_settled(settling: Settling, reposted: PostedDocument | None, erp: Any) -> PostedDocument | None:
    """What settles the new invoice, once people accepted that it's otherwise than was asked."""
    found = await settling_steps.read_all(settling, erp)
    return None if reposted is None else msgspec.structs.replace(reposted, applied=found.applied)


async def settle(settling: Settling, reposted: PostedDocument | None, book: Book, erp: Any) -> PostedDocument | None:
    """Apply it to the new invoice, one after the other; what is applied already isn't touched again."""
    found = await settling_steps.apply_all(settling, book, erp)
    return None if reposted is None else msgspec.structs.replace(reposted, applied=found.applied)


def _invoice_key(unwinding: Unwinding) -> str:
    return f"{unwinding.source.connection}:invoice:{unwinding.invoice_id}"


def tell(
    unwinding: Unwinding,
    document: CreditMemo,
    ar_credit_memo: PostedDocument,
    reposted: PostedDocument | None,
    settling: Settling | None,
    book: Book,
) -> list:
    """Lineage from the invoice to the decision and its credit memo, from what settled it and does no longer, and to the
    document that stands for it now; that one is found under the invoice's own key from here on, and the old one under
    the decision's."""
    source, money, erp = document.source, unwinding.currency, book.connection
    own, memo = (source.connection, "invoice", unwinding.invoice_id), (erp, "ar_credit_memo", ar_credit_memo.id)
    told = became(source, "unwinding", ar_credit_memo, erp, amount=-unwinding.total, currency=money,
                  step="post_credit_memo")  # fmt: skip
    told.append(Link(*own, source.connection, source.object_type, source.object_id, -unwinding.total, money,
                     "unwound by"))  # fmt: skip
    if unwinding.open_then:
        told.append(Link(*memo, erp, "ar_invoice", unwinding.erp_invoice, unwinding.open_then, money, "applied to",
                         "post_credit_memo"))  # fmt: skip
    told += [
        Link(erp, _kind(row), row.document, erp, "ar_invoice", unwinding.erp_invoice, -row.amount, money,
             "released from", "release_settlements")
        for row in unwinding.moving
    ]  # fmt: skip
    if reposted is None:
        return told
    told.append(Link(*own, erp, "ar_invoice", reposted.id, unwinding.total, money, "reposted as", "post_invoice"))
    for row in settling.applications if settling is not None else ():
        relation = "settles" if row.kind == "receipt" else "applied to"
        told.append(Link(erp, _kind(row), row.payment, erp, "ar_invoice", reposted.id, row.apply_to[0].amount, money,
                         relation, "settle"))  # fmt: skip
    told.append(Moved("invoice", _invoice_key(unwinding), erp, "ar_invoice", reposted.id, reposted.number,
                      was=unwinding.erp_invoice))  # fmt: skip
    told.append(Reference("unwound", record_key(source), erp, "ar_invoice", unwinding.erp_invoice))
    return told


def _kind(row: SettledBy | CashApplication) -> str:
    return "receipt" if row.kind == "receipt" else "ar_credit_memo"


def completes(unwinding: Unwinding) -> list[str]:
    """What waits until it's decided where the invoice stands goes on."""
    return [f"unwinding:{unwinding.source.connection}:{unwinding.invoice_id}"]


_WHEN = (
    Read("choose_posting_date", "Take the day that was agreed", choose_posting_date, gives="posting_date"),
    *originals.IN_RECEIVABLES[1:],
)

UNWINDING_TO_ERP = Flow(
    code=originals.UNWINDING_FLOW,
    title="Unwinding to ERP",
    starts_with=("unwinding",),
    fact_type=Unwinding,
    owner="billing_ops",
    lane_type="invoice",
    steps=(
        Read("read_invoice", "Turn the posted invoice round", read_invoice, gives="document", wants=want_invoice),
        *dates.whose(find_book, want_book),
        *customer.CUSTOMER,
        Read("find_invoice", "Take the invoice that was agreed in the ERP", find_erp_invoice, gives="erp_invoice"),
        Read("check_undo", "See how the ERP takes an invoice back", void_to_erp.check_invoice_undo, gives="undo"),
        *originals.ORIGINAL,
        *_WHEN,
        *codes.codes_steps(items=originals.map_credited_items, taxes=originals.map_credited_taxes),
        Read("find_credited_accounts", "Take the receivables account on which it stands",
             originals.find_credited_accounts, gives="credited_accounts", wants=codes.want_accounts,
             quiet=True),  # one that the last release began hasn't it, and its posting is built
        Read("build_posting", "Build the AR credit memo; it must balance to the cent", build_posting, gives="posting"),
        Read("read_reposted", "Read the invoice that is posted again", read_reposted, gives="invoice"),
        Read("read_invoice_date", "Keep the invoice's own date", read_invoice_date, gives="invoice_date"),
        Read("map_new_items", "Map every SKU by today's mappings", map_new_items, gives="new_items",
             wants=want_new_items),
        Read("map_new_taxes", "Map the tax codes by today's mappings", map_new_taxes, gives="new_taxes",
             wants=want_new_taxes),
        Read("build_reposting", "Build the new AR invoice; it must balance to the cent", build_reposting,
             gives="reposting"),
        Read("check_agreed", "Check that this is what was signed for", check_agreed, gives="agreed"),
        *dates.WINDOW,
        Read("build_release", "See what settles the invoice and lets it go first", build_release, gives="release"),
        Write(
            "release_settlements",
            "Take payments and credits off the invoice",
            find=find_release,
            there=read_released,
            create=release_settlements,
            equal=settling_steps.compare_applied,
            prepared="release",
            port="erp",
            gives="released",
        ),
        Write(
            "post_credit_memo",
            "Post the AR credit memo over the invoice",
            find=find_credit_memo,
            create=post_credit_memo,
            equal=post.compare_posted,
            prepared="posting",
            port="erp",
            gives="ar_credit_memo",
        ),
        Write(
            "post_invoice",
            "Post the invoice again",
            find=find_reposted,
            create=post_again,
            equal=post.compare_posted,
            prepared="reposting",
            port="erp",
            gives="reposted",
        ),
        Read("build_settling", "See what settles the new invoice", build_settling, gives="settling"),
        Write(
            "settle",
            "Apply payments and credits to the new invoice",
            find=find_settling,
            there=read_settled,
            create=settle,
            equal=settling_steps.compare_applied,
            prepared="settling",
            port="erp",
            gives="settled",
        ),
    ),
    links=tell,
    completes=completes,
)  # fmt: skip
