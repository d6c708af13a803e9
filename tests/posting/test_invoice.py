"""Building AR invoices and credit memos: to the cent, in every currency, against figures worked out by hand."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D

import msgspec
import pytest

from connectors.netsuite import outbound
from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, Invoice, InvoiceLine, TaxDetail
from q2c.core.problems import Problem
from q2c.posting.facts import Accounts, Book, ItemUse, Period, Policy, RateUse, TaxUse
from q2c.posting.invoice import build_ar_credit_memo, build_ar_invoice

DAY = dt.date(2011, 3, 31)
NOW = dt.datetime(2011, 3, 31, 23, 30, tzinfo=dt.UTC)
BOOK = Book(
    code="GB01", name="UK", country="GB", currency="GBP", time_zone="Europe/London", connection="netsuite", erp_id="4"
)
PERIOD = Period(
    code="2011-03",
    name="Mar 2011",
    erp_id="15",
    start_date=dt.date(2011, 3, 1),
    end_date=DAY,
    is_receivables_open=True,
    is_ledger_open=True,
    read_at=NOW,
)
ACCOUNTS = Accounts(receivables="110", tax="240", rounding_item="77", rounding="820")
ITEMS = {
    "A": ItemUse(item="i-a", income_account="410"),
    "SUB": ItemUse(item="i-s", income_account="430", deferral_account="220"),
}


def line(
    amount: str, *, sku: str = "A", quantity: str = "1", price: str | None = None, tax: str = "0", **more
) -> InvoiceLine:
    taxes = (TaxDetail(tax_code="VAT20", amount=D(tax), base=D(amount), rate=D(20)),) if tax != "0" else ()
    return InvoiceLine(
        line_id="l",
        sku=sku,
        description=sku,
        quantity=D(quantity),
        unit_price=D(price or amount),
        amount=D(amount),
        taxes=taxes,
        **more,
    )


def document(kind, *lines: InvoiceLine, total: str, tax: str = "0", currency: str = "GBP"):
    return kind(
        source=Source(connection="stripe", object_type="invoice", object_id="in_1"),
        number="INV-1",
        customer_id="c",
        customer_name="C",
        currency=currency,
        issued_at=NOW,
        total=D(total),
        lines=lines,
        tax_total=D(tax),
    )


def build(doc, builder=build_ar_invoice, taxes=None, **policy):
    return builder(
        doc,
        book=BOOK,
        customer="1501",
        currency="1",
        items=ITEMS,
        taxes=taxes or {"VAT20": TaxUse(code="t1")},
        accounts=ACCOUNTS,
        policy=Policy(**policy),
        rate=RateUse(),
        document_date=DAY,
        posting_date=DAY,
        period=PERIOD,
    )


def sides(posting) -> dict[str, D]:
    return {j.account: j.debit - j.credit for j in posting.journal}


def test_an_invoice_debits_receivables_and_credits_revenue_deferral_and_tax():
    posting = build(
        document(
            Invoice,
            line("100.00", tax="20.00"),
            line("1200.00", sku="SUB", tax="240.00", service_start=DAY, service_end=dt.date(2012, 3, 30)),
            total="1560.00",
            tax="260.00",
        )
    )
    assert sides(posting) == {"110": D("1560.00"), "410": D("-100.00"), "220": D("-1200.00"), "240": D("-260.00")}
    assert posting.external_id == "inv-stripe-in_1"
    assert (posting.lines[1].revenue_start, posting.lines[1].revenue_end) == (DAY, dt.date(2012, 3, 30))
    assert (posting.lines[0].revenue_start, posting.lines[0].taxes[0].code) == (None, "t1")


def test_each_tax_of_a_line_keeps_its_code_base_rate_and_amount_and_goes_to_its_codes_account():
    taxed = msgspec.structs.replace(
        line("100.00"),
        taxes=(
            TaxDetail(tax_code="STATE", amount=D("7.25"), base=D("100.00"), rate=D("7.25"), jurisdiction="California"),
            TaxDetail(tax_code="COUNTY", amount=D("2.00"), base=D("80.00"), rate=D("2.5")),
            TaxDetail(tax_code="NONE", amount=D(0), base=D("100.00"), reason="reverse_charge"),
        ),
    )
    uses = {
        "STATE": TaxUse(code="c1", tax_type="s", account="2400"),
        "COUNTY": TaxUse(code="c2", tax_type="l", account="2410"),
        "NONE": TaxUse(code="c3", tax_type="n"),
    }
    posting = build(document(Invoice, taxed, total="109.25", tax="9.25"), taxes=uses)
    assert sides(posting) == {"110": D("109.25"), "410": D("-100.00"), "2400": D("-7.25"), "2410": D("-2.00")}
    told = [(t.code, t.tax_type, t.base, t.rate, t.amount, t.reason) for t in posting.lines[0].taxes]
    assert told == [
        ("c1", "s", D("100.00"), D("7.25"), D("7.25"), ""),
        ("c2", "l", D("80.00"), D("2.5"), D("2.00"), ""),
        ("c3", "n", D("100.00"), D(0), D(0), "reverse_charge"),
    ]


def test_a_document_whose_tax_details_miss_its_tax_never_leaves():
    with pytest.raises(Problem, match=r"its tax details are 20\.00 and its tax is 20\.01") as held:
        build(document(Invoice, line("100.00", tax="20.00"), total="120.01", tax="20.01"))
    assert held.value.code == "out_of_balance"


def test_a_negative_line_of_an_invoice_lowers_its_revenue():
    posting = build(document(Invoice, line("100.00"), line("-30.00", quantity="-1", price="30.00"), total="70.00"))
    assert sides(posting) == {"110": D("70.00"), "410": D("-70.00")}


def test_a_difference_within_the_limit_gets_a_visible_rounding_line():
    posting = build(document(Invoice, line("33.33"), line("33.33"), line("33.33"), total="100.00"))
    assert posting.lines[-1].item == "77"
    assert sides(posting) == {"110": D("100.00"), "410": D("-99.99"), "820": D("-0.01")}


def test_a_difference_over_the_limit_is_held():
    with pytest.raises(Problem, match=r"miss its total by GBP 0\.07") as held:
        build(document(Invoice, line("33.33"), line("66.60"), total="100.00"))
    assert held.value.code == "rounding_over_limit"


@pytest.mark.parametrize(("currency", "missing"), [("JPY", "5"), ("GBP", "0.05"), ("KWD", "0.005")])
def test_the_limit_of_rounding_counts_smallest_units_of_the_currency(currency, missing):
    amount = D("1000") + D(missing)
    posting = build(document(Invoice, line("1000"), total=str(amount), currency=currency))
    assert posting.lines[-1].amount == D(missing)
    with pytest.raises(Problem) as held:
        build(document(Invoice, line("1000"), total=str(amount), currency=currency), rounding_limit=4)
    assert held.value.code == "rounding_over_limit"


def test_what_defers_without_service_dates_is_earned_on_its_documents_date_or_held():
    undated = document(Invoice, line("100.00"), line("1200.00", sku="SUB"), total="1300.00")
    posting = build(undated)
    assert [(x.revenue_start, x.revenue_end) for x in posting.lines] == [(None, None), (DAY, DAY)]
    assert sides(posting) == {"110": D("1300.00"), "410": D("-100.00"), "220": D("-1200.00")}
    with pytest.raises(Problem, match="SUB defers revenue in GB01, and its line has no service dates") as held:
        build(undated, missing_service_dates="hold")
    assert held.value.code == "revenue_treatment"


@pytest.mark.parametrize(("owner", "makes"), [("erp", True), ("engine", False), ("billing", False)])
def test_only_the_owner_of_revenue_makes_revenue_elements(owner, makes):
    documents = (
        build(document(Invoice, line("100.00"), total="100.00"), revenue_owner=owner),
        build(document(CreditMemo, line("100.00"), total="100.00"), build_ar_credit_memo, revenue_owner=owner),
    )
    bodies = (outbound.ar_invoice(documents[0]), outbound.ar_credit_memo(documents[1]))
    assert [body["item"]["items"][0].get("doNotCreateRevenueElement", False) for body in bodies] == [not makes] * 2


def test_a_document_of_0_moves_revenue_from_one_account_to_another():
    moved = document(Invoice, line("100.00"), line("-100.00", sku="SUB"), total="0.00")
    assert sides(build(moved)) == {"410": D("-100.00"), "220": D("100.00")}
    gift = build(document(Invoice, line("0.00", quantity="1", price="100.00"), total="0.00"))
    assert (gift.total, gift.journal, gift.lines[0].amount) == (D(0), (), D(0))


def test_a_price_with_more_decimals_posts_its_amount():
    posting = build(document(Invoice, line("0.25", quantity="3", price="0.0833"), total="0.25"))
    assert (posting.lines[0].quantity, posting.lines[0].rate, posting.lines[0].amount) == (D(1), D("0.25"), D("0.25"))


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "10.50"), ("KWD", "1.0005"), ("GBP", "1.005")])
def test_an_amount_that_the_currency_cannot_express_never_leaves(currency, amount):
    with pytest.raises(Problem) as held:
        build(document(Invoice, line(amount), total=amount, currency=currency))
    assert held.value.code == "out_of_balance"


@pytest.mark.parametrize(("currency", "amount"), [("JPY", "10500"), ("KWD", "1.005"), ("GBP", "1.05")])
def test_each_currency_posts_in_its_own_minor_units(currency, amount):
    assert build(document(Invoice, line(amount), total=amount, currency=currency)).total == D(amount)


def test_a_credit_memo_turns_the_sides():
    posting = build(document(CreditMemo, line("50.00", tax="10.00"), total="60.00", tax="10.00"), build_ar_credit_memo)
    assert sides(posting) == {"110": D("-60.00"), "410": D("50.00"), "240": D("10.00")}
    assert posting.external_id == "cm-stripe-in_1"


def test_a_credit_of_nothing_is_held():
    with pytest.raises(Problem, match="nothing to give back"):
        build(document(CreditMemo, line("0"), total="0"), build_ar_credit_memo)


def test_a_missing_receivables_account_is_named():
    with pytest.raises(Problem) as held:
        build_ar_invoice(
            document(Invoice, line("1.00"), total="1.00"),
            book=BOOK,
            customer="1",
            currency="1",
            items=ITEMS,
            taxes={},
            accounts=Accounts(),
            policy=Policy(),
            rate=RateUse(),
            document_date=DAY,
            posting_date=DAY,
            period=PERIOD,
        )
    assert (held.value.code, held.value.subject["legal_entity"]) == ("missing_account_mapping", "GB01")
