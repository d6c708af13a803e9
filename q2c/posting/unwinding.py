"""What takes a posted invoice back and posts it again: its lines turned round, and what settles what. Pure."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import msgspec

from q2c.canonical import schema
from q2c.canonical.billing import CreditMemo, Invoice
from q2c.canonical.posting import AppliedTo, ArCreditMemo, ArInvoice, CashApplication
from q2c.canonical.unwinding import SettledBy, Settling, Unwinding
from q2c.core.ids import external_id
from q2c.core.money import spoken_money
from q2c.core.problems import Category, Problem

TAKEN_BACK, POSTED_AGAIN = "unw", "re"  # of the external ids
RELEASED, SETTLED = "rel", "set"


def name_of(unwinding: Unwinding) -> str:
    """What the source's id of the invoice becomes in external ids: they count the decisions about it."""
    return f"{unwinding.invoice_id}-{unwinding.generation}"


def turn_unwinding(unwinding: Unwinding, invoice: Invoice) -> CreditMemo:
    """The credit memo over the whole invoice, line by line, on the day that was agreed. Raises Problem `plan_moved`
    for an invoice that isn't over what people saw."""
    if (invoice.total, invoice.currency) != (unwinding.total, unwinding.currency):
        raise moved(unwinding, f"{invoice.number} is over {spoken_money(invoice.total, invoice.currency)} now")
    return CreditMemo(
        source=msgspec.structs.replace(unwinding.source, object_id=name_of(unwinding)),
        number=f"{invoice.number}-U{unwinding.generation}",
        customer_id=invoice.customer_id,
        customer_name=invoice.customer_name,
        currency=invoice.currency,
        issued_at=dt.datetime.combine(unwinding.on, dt.time(12), dt.UTC),
        document_date=unwinding.on,
        total=invoice.total,
        tax_total=invoice.tax_total,
        lines=tuple(msgspec.structs.replace(line, original_line_id=line.line_id) for line in invoice.lines),
        invoice_id=unwinding.invoice_id,
        reason=unwinding.reason,
        legal_entity=unwinding.legal_entity,
        is_customer_known=invoice.is_customer_known,
    )


def repost_of(unwinding: Unwinding, invoice: Invoice) -> Invoice:
    """The invoice as it's posted again: billing's number and date, under an external id of its own."""
    source = msgspec.structs.replace(invoice.source, object_id=name_of(unwinding))
    return msgspec.structs.replace(invoice, source=source)


def applied_back(unwinding: Unwinding) -> tuple[AppliedTo, ...]:
    """What of the credit memo settles the invoice: all that is open of it then."""
    if not unwinding.open_then:
        return ()
    return (AppliedTo(document=unwinding.erp_invoice, amount=unwinding.open_then),)


def release_of(unwinding: Unwinding) -> Settling | None:
    """The receipts and credit memos that let the invoice go; None where none do."""
    if not unwinding.moving:
        return None
    return Settling(
        external_id=_external_id(RELEASED, unwinding),
        applications=tuple(_application(unwinding, row, released=(unwinding.erp_invoice,)) for row in unwinding.moving),
    )


def settling_of(unwinding: Unwinding, *, reposted: str, credit_memo: str) -> Settling | None:
    """What settles the invoice that was posted again (`reposted`, the ERP's id): what let the old one go, and the rest
    of the credit memo. None where nothing does."""
    into = [
        _application(unwinding, row, apply_to=(AppliedTo(document=reposted, amount=row.amount),))
        for row in unwinding.moving
    ]
    if unwinding.credit_left:
        rest = SettledBy(kind="credit_memo", document=credit_memo, amount=unwinding.credit_left, moves=True)
        into.append(_application(unwinding, rest, apply_to=(AppliedTo(document=reposted, amount=rest.amount),)))
    if not into:
        return None
    return Settling(external_id=_external_id(SETTLED, unwinding), applications=tuple(into))


def lines_hash(posting: ArCreditMemo, reposting: ArInvoice | None) -> str:
    """What two people sign for of the documents that are posted: their lines and who owes them, not their dates."""
    found = [posting.customer, posting.lines, posting.apply_to]
    if reposting is not None:
        found += [reposting.customer, reposting.lines]
    return schema.content_hash(found)


def check_agreed(unwinding: Unwinding, posting: ArCreditMemo, reposting: ArInvoice | None) -> str:
    """That what would post is what was signed for. Raises Problem `plan_moved`."""
    found = lines_hash(posting, reposting)
    if unwinding.agreed and unwinding.agreed != found:
        raise moved(unwinding, f"a mapping changed after two people agreed to take {unwinding.invoice_number} back")
    return found


def check_open(unwinding: Unwinding, expected: Decimal, found: Decimal | None) -> None:
    """That the ERP has open of the invoice what the plan rests on. Raises Problem `plan_moved`."""
    if found == expected:
        return
    says = "nobody can say what is open" if found is None else f"{spoken_money(found, unwinding.currency)} is open"
    asked = spoken_money(expected, unwinding.currency)
    raise moved(unwinding, f"{asked} of {unwinding.invoice_number} was to be open in the ERP, and {says}")


def moved(unwinding: Unwinding, summary: str) -> Problem:
    """What people agreed on isn't there any more."""
    return Problem(
        "plan_moved",
        Category.CONFLICT,
        summary[:1].upper() + summary[1:],
        connection=unwinding.source.connection,
        document=unwinding.invoice_number,
        invoice=unwinding.invoice_id,
    )


def _external_id(prefix: str, unwinding: Unwinding) -> str:
    return external_id(prefix, source=unwinding.source.connection, object_id=name_of(unwinding))


def _application(
    unwinding: Unwinding, row: SettledBy, *, apply_to: tuple[AppliedTo, ...] = (), released: tuple[str, ...] = ()
) -> CashApplication:
    return CashApplication(
        external_id=_external_id(SETTLED if apply_to else RELEASED, unwinding),
        payment=row.document,
        kind=row.kind,
        apply_to=apply_to,
        currency_code=unwinding.currency,
        released=released,
    )
