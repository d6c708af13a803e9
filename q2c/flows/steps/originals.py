"""Steps of a credit: it takes its original line's item, account, dimensions, tax code, tax rate and exchange rate, and
the receivables account on which the original stands: an open item is settled on its own account only.

They come from what the credited invoice was posted with, not from the rules of the credit's own date. Where we didn't
carry the invoice, the rules in force on its date decide. What charges a voided credit memo again takes that memo's. A
rule that names credit memos by their type goes before, on the invoice's date as well.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, DocumentVoid, Invoice, InvoiceLine
from q2c.canonical.posting import PostedDocument
from q2c.core.problems import Awaits, Category, Problem
from q2c.flows.steps import codes, dates, receivables, systems
from q2c.flows.steps.receivables import INVOICE_FLOW, REPOSTED, UNWINDING_FLOW
from q2c.flows.told import record_key
from q2c.posting.credits import spread_credit
from q2c.posting.facts import (
    Accounts,
    Book,
    ItemUse,
    Original,
    Policy,
    RateUse,
    RuleDates,
    TaxUse,
    use_key,
    use_of,
)  # fmt: skip
from q2c.transactions.steps import NOTHING, Read

CREDIT_FLOW = "credit_memo_to_erp"
GIVEN: dict[str, Any] = {
    "book": Book,
    "document_date": dt.date,
    "items": dict[str, ItemUse],
    "taxes": dict[str, TaxUse],
    "accounts": Accounts,
    "ar_invoice": PostedDocument | None,
}
GIVEN_BY_CREDIT: dict[str, Any] = {  # the same of a credit memo, whose write has another name
    **{name: kind for name, kind in GIVEN.items() if name != "ar_invoice"},
    "ar_credit_memo": PostedDocument | None,
}
# What the same is called by the flow that took the invoice back and posted it again: then that one's count.
AGAIN = {
    "book": "book", "document_date": "invoice_date", "items": "new_items", "taxes": "new_taxes",
    "accounts": "accounts", "ar_invoice": REPOSTED,
}  # fmt: skip


def want_original(credit_note: CreditMemo) -> list[tuple[str, Any]]:
    """The credited invoice as billing sent it, where a line names one of its lines or has no SKU."""
    if not credit_note.invoice_id or not (_names_lines(credit_note) or _lacks_skus(credit_note)):
        return []
    return [("fact", (INVOICE_FLOW, credit_note.source.connection, credit_note.invoice_id))]


def read_original_lines(credit_note: CreditMemo, links: Any) -> CreditMemo:
    """A credit takes the original lines' SKUs and tax rates; one of a bare amount is spread over them in proportion.

    Waits for the invoice where it needs its lines. Raises Problem `credit_without_invoice` when it names neither lines
    nor an invoice.
    """
    connection, invoice = credit_note.source.connection, credit_note.invoice_id
    fact = links.fact(INVOICE_FLOW, connection, invoice) if invoice else None
    original = None if fact is None else schema.from_json(fact, Invoice)
    if not _lacks_skus(credit_note):
        return credit_note if original is None else _take_lines(credit_note, original)
    if original is None and invoice:
        raise Awaits(f"invoice:{connection}:{invoice}", f"invoice {invoice} from {connection}")
    if original is None:
        raise Problem(
            "credit_without_invoice",
            Category.VALIDATION,
            f"{credit_note.number} names neither products nor an invoice",
            connection=credit_note.source.connection,
            document=credit_note.number,
        )
    return spread_credit(credit_note, original)


def want_book(document: CreditMemo, calendar: Any) -> list[tuple[str, Any]]:
    """What names the seller of a credit, and the ERP of the invoice that it takes back."""
    records = [record for group in _followed(document) for record in group]
    wants = [*dates.want_seller(document), systems.want_rule("invoice")]
    if document.invoice_id:
        wants += want_sold(INVOICE_FLOW, "invoice", document.source.connection, document.invoice_id)
    return [*wants, *systems.want_erp("credit_memo", document, calendar, records)]


def find_book(document: CreditMemo, txn: Any, mappings: Any, calendar: Any, links: Any) -> Book:
    """The seller's book in the ERP that has the credit already, else that of its invoice: where it stands, or where the
    rule of its own date sends it. A credit that names no invoice goes by its own date.

    The seller is the invoice's, whatever billing notes on the credit or on its customer: who buys from two entities has
    one note."""
    code = ""
    if document.invoice_id:
        code = sold_by(INVOICE_FLOW, "invoice", document.source.connection, document.invoice_id, links)
    code = code or dates.find_seller(document, txn, mappings)

    def rule() -> str:
        return _erp_of_credit(document, code, mappings, links, calendar)

    chosen = systems.follow(_followed(document), code, rule, links=links, calendar=calendar)
    return dates.take_book(code, txn, calendar, chosen)


def want_sold(flow: str, record_type: str, connection: str, source_id: str) -> list[tuple[str, Any]]:
    """Whose an invoice or credit memo is: where it stands, or as it was carried."""
    return [("fact", (flow, connection, source_id)), ("xref", (record_type, f"{connection}:{record_type}:{source_id}"))]


def sold_by(flow: str, record_type: str, connection: str, source_id: str, links: Any) -> str:
    """The legal entity in whose book an invoice or credit memo stands, or to whose it is on its way; empty while nobody
    knows it."""
    standing: str = links.entity(record_type, f"{connection}:{record_type}:{source_id}")
    return standing or links.seller(flow, connection, source_id)


def _followed(document: CreditMemo) -> list[list[systems.Record]]:
    itself = record_key(document.source)
    groups = [[("credit_memo", itself), ("invoice_void", itself)]]
    if document.invoice_id:
        groups.append([("invoice", f"{document.source.connection}:invoice:{document.invoice_id}")])
    return groups


def _erp_of_credit(document: CreditMemo, entity: str, mappings: Any, links: Any, calendar: Any) -> str:
    """As the rule in force on the credited invoice's date says, as far as we know that; else on the credit's own."""
    ports = {"mappings": mappings, "links": links}
    named = erp_of_invoice(document.source.connection, document.invoice_id, entity, calendar=calendar, **ports)
    if named is not None:
        return named
    if document.invoice_issued_at:
        on = calendar.local_date(entity, document.invoice_issued_at)
        return systems.erp_by_rule("invoice", document, entity, on, **ports)
    on = dates.own_date(document, entity, calendar)
    return systems.erp_by_rule("credit_memo", document, entity, on, **ports)


def erp_of_invoice(
    connection: str, invoice_id: str, entity: str, *, mappings: Any, links: Any, calendar: Any
) -> str | None:
    """The ERP that the rules name for an invoice that we carry, empty where none does; None for one that we don't."""
    fact = links.fact(INVOICE_FLOW, connection, invoice_id) if invoice_id else None
    if fact is None or links.state(INVOICE_FLOW, connection, invoice_id) == "cancelled":
        return None
    invoice: Invoice = schema.from_json(fact, Invoice)
    on = dates.own_date(invoice, entity, calendar)
    return systems.erp_by_rule("invoice", invoice, entity, on, mappings=mappings, links=links)


def want_given(document: CreditMemo) -> list[tuple[str, Any]]:
    """What the credited invoice's steps gave, also those that posted it again."""
    if not document.invoice_id:
        return []
    source = (document.source.connection, document.invoice_id)
    again: list[tuple[str, Any]] = [("given", (UNWINDING_FLOW, *source, name)) for name in AGAIN.values()]
    return [*(("given", (INVOICE_FLOW, *source, name)) for name in GIVEN), *again]


def read_original(document: CreditMemo, book: Book, links: Any, calendar: Any) -> Original:
    """What the credited invoice was posted with, the last time; only its date where that was in another ERP's book, and
    where we didn't carry it, if billing says that."""

    source = (document.source.connection, document.invoice_id)
    is_again = receivables.is_posted_again(*source, links)

    def gave(name: str) -> Any:
        flow, known_as = (UNWINDING_FLOW, AGAIN[name]) if is_again else (INVOICE_FLOW, name)
        body = links.step_gave(flow, *source, known_as)
        return None if body in NOTHING else schema.from_json(body, GIVEN[name])

    original = _posted_with(gave, "ar_invoice", book) if document.invoice_id else None
    if original is None:
        issued_at = document.invoice_issued_at
        return Original(document_date=issued_at and calendar.local_date(book.code, issued_at))
    return original


def want_credited(void: DocumentVoid) -> list[tuple[str, Any]]:
    """What the voided credit memo's steps gave."""
    source = (void.source.connection, void.document_id)
    return [("given", (CREDIT_FLOW, *source, name)) for name in GIVEN_BY_CREDIT]


def read_credited(void: DocumentVoid, book: Book, links: Any) -> Original:
    """What the voided credit memo was posted with, which charging it again takes; only its date where that was in
    another ERP's book."""

    def gave(name: str) -> Any:
        body = links.step_gave(CREDIT_FLOW, void.source.connection, void.document_id, name)
        return None if body in NOTHING else schema.from_json(body, GIVEN_BY_CREDIT[name])

    return _posted_with(gave, "ar_credit_memo", book) or Original()


def _posted_with(gave: Callable[[str], Any], written: str, book: Book) -> Original | None:
    """What a document's steps gave, by the name of what its write gave; None where we didn't carry it. The ids of
    another book mean nothing in this one, and its rate only in the same currency."""
    items = gave("items")
    if items is None:
        return None
    posted, own = gave(written), gave("book")  # None for one that went to the ledger in a summary
    rate = None if posted is None or own is None or own.currency != book.currency else posted.exchange_rate
    if not receivables.is_of_book(own, book):
        return Original(document_date=gave("document_date"), exchange_rate=rate)
    accounts = gave("accounts")
    return Original(
        document_date=gave("document_date"),
        items=items,
        taxes=gave("taxes") or {},
        exchange_rate=rate,
        receivables="" if accounts is None else accounts.receivables,
    )


def map_credited_items(
    document: CreditMemo | Invoice,
    book: Book,
    document_date: dt.date,
    posting_date: dt.date,
    original: Original,
    mappings: Any,
    calendar: Any,
    links: Any,
) -> dict[str, ItemUse]:
    """The original lines' items, accounts and dimensions; for a SKU that the original didn't sell, the rule in force on
    its date, and where a rule names credits, what that one says. Raises Problem naming SKU and entity."""
    on = rule_dates(document_date, posting_date, original)
    sold = {(line.sku, line.charge_type) for line in document.lines}
    keys = {use_key(*each) for each in sold} | {sku for sku, _ in sold}
    known = {key: use for key, use in original.items.items() if key in keys}
    lines = [line for line in document.lines if use_of(known, line.sku, line.charge_type) is None]
    fresh = dict(sorted(codes.sold_of(lines, mappings).items()))
    found = known | codes.item_uses(fresh, document, book, on, mappings, calendar, links)
    return found | codes.named_uses(known, document, book, on, mappings, calendar, links)


def map_credited_taxes(
    document: CreditMemo | Invoice,
    book: Book,
    document_date: dt.date,
    posting_date: dt.date,
    original: Original,
    mappings: Any,
    calendar: Any,
    links: Any,
) -> dict[str, TaxUse]:
    """The original lines' tax codes; for one that the original didn't have, the rule in force on its date, and where a
    rule names credits, what that one says. Raises Problem naming code and entity."""
    on = rule_dates(document_date, posting_date, original)
    used = {tax.tax_code for line in document.lines for tax in line.taxes}
    named = codes.named_taxes(used, document, book, on, mappings, links)
    known = {code: use for code, use in original.taxes.items() if code in used - named}
    return known | codes.tax_uses(sorted(used - known.keys()), document, book, on, mappings, calendar, links)


def find_credited_accounts(
    document: CreditMemo | Invoice,
    book: Book,
    document_date: dt.date,
    posting_date: dt.date,
    original: Original,
    policy: Policy,
    taxes: dict[str, TaxUse],
    mappings: Any,
    links: Any,
) -> Accounts:
    """The original's receivables; of one that we didn't carry, or that another ERP took, those of the rule in force on
    its date, which nothing else is asked on. Raises Problem naming the role."""
    standing = [receivables.Standing(original.receivables, None if original.receivables else original.document_date)]
    settled = receivables.find_settled(standing, document, book, document_date, policy, mappings, links)
    on = (document_date, posting_date)
    return codes.document_accounts(settled, document, book, *on, policy, taxes, mappings, links)


def choose_credit_rate(
    document: CreditMemo | Invoice,
    book: Book,
    posting_date: dt.date,
    policy: Policy,
    original: Original,
    mappings: Any,
    calendar: Any,
) -> RateUse:
    """The rate at which the ERP booked the credited invoice, so that a full credit leaves no gain or loss; by policy
    that of its own date. Raises Problem `rate_missing`."""
    rate: Decimal | None = original.exchange_rate
    if document.currency == book.currency or rate is None or policy.credit_rate != "original":
        return dates.choose_rate(document, book, posting_date, policy, mappings, calendar)
    pair = f"{document.currency}/{book.currency}"
    return RateUse(pair=pair, source="original", rate=rate, rate_date=original.document_date)


def rule_dates(document_date: dt.date, posting_date: dt.date, original: Original) -> RuleDates:
    """The dates by which a credit's rules are found."""
    return RuleDates(
        document=document_date, posting=posting_date, original_line=original.document_date or document_date
    )


def _names_lines(credit_note: CreditMemo) -> bool:
    return any(line.original_line_id for line in credit_note.lines)


def _lacks_skus(credit_note: CreditMemo) -> bool:
    return not credit_note.lines or not all(line.sku for line in credit_note.lines)


def _take_lines(credit_note: CreditMemo, original: Invoice) -> CreditMemo:
    known = {line.line_id: line for line in original.lines}
    lines = tuple(_take_line(line, known.get(line.original_line_id)) for line in credit_note.lines)
    return msgspec.structs.replace(credit_note, lines=lines)


def _take_line(line: InvoiceLine, original: InvoiceLine | None) -> InvoiceLine:
    """The line with its original's SKU and tax rates; what it credits of base and tax is billing's own word."""
    if original is None:
        return line
    rates = {tax.tax_code: tax for tax in original.taxes}
    taxes = tuple(
        msgspec.structs.replace(tax, rate=rates[tax.tax_code].rate, jurisdiction=rates[tax.tax_code].jurisdiction)
        if tax.tax_code in rates
        else tax
        for tax in line.taxes
    )
    return msgspec.structs.replace(line, sku=original.sku or line.sku, taxes=taxes)


LINES = (
    Read(
        "read_original_lines",
        "Take SKUs and tax rates from the lines that it credits",
        read_original_lines,
        gives="document",
        wants=want_original,
    ),
)
WHOSE = dates.whose(find_book, want_book)
ORIGINAL = (
    Read(
        "read_original",
        "Read what the credited invoice was posted with",
        read_original,
        gives="original",
        wants=want_given,
    ),
)
CREDITED = (
    Read(
        "read_original",
        "Read what the voided credit memo was posted with",
        read_credited,
        gives="original",
        wants=want_credited,
        quiet=True,  # a void that the last release began hasn't it, and its posting is built
    ),
)
CODES = codes.codes_steps(items=map_credited_items, taxes=map_credited_taxes, accounts=find_credited_accounts)
IN_RECEIVABLES = dates.in_receivables(rate=choose_credit_rate)
