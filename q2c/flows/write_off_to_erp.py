"""Write-off to ERP: what people decided to give up of a posted invoice leaves receivables by a document of its own.

Starts on   an agreed resolution: a write-off, or a difference that is accepted
Ends with   an AR credit memo over a write-off item, applied to the invoice's open item: to all of it, or a part
Posts       line-level, in the invoice's currency and at its rate, on the day of the decision; tax by policy
Owners      billing operations; the controller for limits, period and posting policy
Never       changes the invoice; posts where another amount is open than when it was decided; books to revenue
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, Invoice, WriteOff
from q2c.canonical.posting import AppliedTo, ArCreditMemo, PostedDocument
from q2c.core.money import spoken_money
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.credit_memo_to_erp import find_ar_credit_memo, want_invoice
from q2c.flows.steps import approve, codes, customer, dates, originals, post, unwound
from q2c.flows.told import Link, became
from q2c.posting.facts import Accounts, Book, ItemUse, Original, Period, Policy, RateUse, TaxUse
from q2c.posting.invoice import build_ar_credit_memo
from q2c.posting.write_offs import check_account, turn_write_off
from q2c.transactions.contributions import IN_SUMMARY
from q2c.transactions.steps import Flow, Read, Write

PREFIX = "wo"  # of the external ids
TAX = "write_off_tax"


def want_write_off(write_off: WriteOff) -> list[tuple[str, Any]]:
    """The invoice as billing sent it, its newest plan, and what policy says of its tax."""
    connection, invoice = write_off.source.connection, write_off.invoice_id
    fact = (originals.INVOICE_FLOW, connection, invoice)
    return [("fact", fact), unwound.want_plan(connection, invoice), ("rule", ("posting_policy", TAX))]


def read_write_off(write_off: WriteOff, links: Any, mappings: Any) -> CreditMemo:
    """The decision as a credit memo; waits for an invoice that we don't know yet, and for a plan about it that is under
    way: what is open of it half-way isn't what people saw."""
    connection, invoice = write_off.source.connection, write_off.invoice_id
    fact = links.fact(originals.INVOICE_FLOW, connection, invoice)
    if fact is None:
        raise Awaits(f"invoice:{connection}:{invoice}", f"invoice {write_off.invoice_number} from {connection}")
    unwound.find_last_plan(connection, invoice, links)
    says = mappings.get("posting_policy", TAX, "keep", legal_entity=write_off.legal_entity, on=write_off.decided_on)
    return turn_write_off(write_off, schema.from_json(fact, Invoice), takes_tax_back=says == "take back")


def find_open_item(document: CreditMemo, book: Book, links: Any) -> str:
    """The ERP's id of the invoice. Waits for it; raises Problem `unsupported_document` for one that went to the ledger
    in a summary, where billing keeps what is open."""
    key = f"{document.source.connection}:invoice:{document.invoice_id}"
    found = links.find("invoice", key, book.connection)
    if found is None:
        awaited = f"invoice:{document.source.connection}:{document.invoice_id}"
        raise Awaits(awaited, f"invoice {document.invoice_id} in the ERP")
    if found.external_type == IN_SUMMARY:
        raise Problem(
            "unsupported_document",
            Category.VALIDATION,
            f"{document.number} takes off {found.number or 'an invoice'}, which went to the ledger in a summary: "
            "billing keeps what is open of it",
            connection=document.source.connection,
            document=document.number,
            prefix="write_off",
        )
    return str(found.external_id)


def choose_rate(
    document: CreditMemo, book: Book, posting_date: dt.date, policy: Policy, original: Original, mappings: Any,
    calendar: Any,
) -> RateUse:  # fmt: skip
    """The invoice's own rate, which people signed for, whatever policy says of credits. Raises Problem
    `rate_missing`."""
    own = msgspec.structs.replace(policy, credit_rate="original")
    return originals.choose_credit_rate(document, book, posting_date, own, original, mappings, calendar)


def find_accounts(
    document: CreditMemo, book: Book, document_date: dt.date, posting_date: dt.date, policy: Policy,
    original: Original, taxes: dict[str, TaxUse], mappings: Any, links: Any,
) -> Accounts:  # fmt: skip
    """Receivables as the invoice has them, also where the entity posts in summary by now, and tax. Raises Problem
    naming the role."""
    on, own = (document_date, posting_date), _line_level(policy)
    return originals.find_credited_accounts(document, book, *on, original, own, taxes, mappings, links)


def build_posting(
    document: CreditMemo,
    book: Book,
    erp_customer: str,
    erp_invoice: str,
    currency: str,
    items: dict[str, ItemUse],
    taxes: dict[str, TaxUse],
    accounts: Accounts,
    policy: Policy,
    rate: RateUse,
    document_date: dt.date,
    posting_date: dt.date,
    period: Period,
    txn: Any,
    calendar: Any,
) -> ArCreditMemo:
    """The AR credit memo, applied whole to the invoice; no revenue is made or taken by it. Raises Problem when it
    doesn't add up, or its item's account isn't one for it."""
    check_account(items, calendar.reference(book.connection, "accounts"), book)
    posting = build_ar_credit_memo(
        document,
        book=book,
        customer=erp_customer,
        currency=currency,
        items=items,
        taxes=taxes,
        accounts=accounts,
        policy=_line_level(policy),
        rate=rate,
        document_date=document_date,
        posting_date=posting_date,
        period=period,
        apply_to=(AppliedTo(document=erp_invoice, amount=document.total),),
        prefix=PREFIX,
    )
    return dates.with_memo(msgspec.structs.replace(posting, makes_revenue_elements=False), txn)


def _line_level(policy: Policy) -> Policy:
    return msgspec.structs.replace(policy, detail="line")


async def post_write_off(posting: ArCreditMemo, write_off: WriteOff, erp: Any, write: Any) -> PostedDocument:
    """Post it, once the ERP says that exactly what people saw is open. Raises Problem `open_amount_moved` where it
    isn't: somebody paid, credited or wrote off meanwhile. What was sent before and never answered is sent again as it
    is: what it did itself would look like somebody's payment, and the ERP refuses its id twice.

    A worker that ends between storing the intent and sending leaves the same trace, so then nothing is asked either:
    right only where the ERP itself refuses to apply more than is open, as NetSuite does. Of a part that people took off
    it may then post although less is open than they saw: what they took off is open all the same.
    """
    if not getattr(write, "is_open", False):
        await check_open_amount(posting, write_off, erp)
    posted: PostedDocument = await erp.post_credit_memo(posting)
    return posted


async def check_open_amount(posting: ArCreditMemo, write_off: WriteOff, erp: Any) -> None:
    """Raises Problem `open_amount_moved` unless what people saw open is what the ERP has open now, and NeverSent where
    it doesn't answer: only a question went out, so nothing of the write is in doubt."""
    invoice = await post.read_before_sending(erp, "ar_invoice", posting.apply_to[0].document)
    if invoice.open_amount == (posting.total if write_off.open_amount is None else write_off.open_amount):
        return
    is_open, money = invoice.open_amount, write_off.currency
    is_said = "nobody can say what is open" if is_open is None else f"{spoken_money(is_open, money)} is open"
    raise Problem(
        "open_amount_moved",
        Category.CONFLICT,
        f"{spoken_money(write_off.amount, money)} of {write_off.invoice_number} was to be taken off, and {is_said}",
        connection=write_off.source.connection,  # of the invoice: what is left of it is decided anew in the case
        document=write_off.invoice_number,
        invoice=write_off.invoice_id,
        open=invoice.open_amount,
    )


def tell(write_off: WriteOff, ar_credit_memo: PostedDocument, erp_invoice: str, book: Book) -> list:
    """Lineage from the invoice to the decision, to the ERP's credit memo, and to the item that it clears."""
    source = write_off.source
    told = became(source, "write_off", ar_credit_memo, book.connection, amount=-write_off.amount,
                  currency=write_off.currency, step="post_write_off")  # fmt: skip
    relation = "written off by" if write_off.kind == "write_off" else "cleared by"
    told.append(Link(source.connection, "invoice", write_off.invoice_id, source.connection, source.object_type,
                     source.object_id, -write_off.amount, write_off.currency, relation))  # fmt: skip
    told.append(Link(book.connection, ar_credit_memo.document_type, ar_credit_memo.id, book.connection, "ar_invoice",
                     erp_invoice, write_off.amount, write_off.currency, "applied to", "post_write_off"))  # fmt: skip
    return told


WRITE_OFF_TO_ERP = Flow(
    code="write_off_to_erp",
    title="Write-off to ERP",
    starts_with=("write_off",),
    fact_type=WriteOff,
    owner="billing_ops",
    lane_type="write_off",
    steps=(
        Read("read_write_off", "Read the decision as a credit memo over the invoice's open part", read_write_off,
             gives="document", wants=want_write_off),
        *originals.WHOSE,
        *customer.CUSTOMER,
        Read("find_open_item", "Find the invoice in the ERP, or wait for it", find_open_item, gives="erp_invoice",
             wants=want_invoice),
        *originals.ORIGINAL,
        *dates.in_receivables(rate=choose_rate),
        *codes.codes_steps(taxes=originals.map_credited_taxes, accounts=find_accounts),
        Read("build_posting", "Build the AR credit memo; it must balance, and its account be one for it", build_posting,
             gives="posting"),
        *dates.WINDOW,
        *approve.APPROVAL,
        Write(
            "post_write_off",
            "Post the AR credit memo, applied to the invoice's open item",
            find=find_ar_credit_memo,
            create=post_write_off,
            equal=post.compare_posted,
            prepared="posting",
            port="erp",
            gives="ar_credit_memo",
        ),
    ),
    links=tell,
)  # fmt: skip
