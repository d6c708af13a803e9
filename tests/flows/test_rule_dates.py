"""Each kind of rule is found by its own date, and a credit by what its invoice was posted with."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from types import SimpleNamespace

import pytest
from msgspec import structs

from mappings.kinds import KINDS
from q2c import rules
from q2c.canonical.base import Source
from q2c.canonical.billing import CreditMemo, DocumentVoid, Invoice, InvoiceLine, TaxDetail
from q2c.canonical.schema import to_json
from q2c.flows.steps import codes, dates, originals, receivables
from q2c.flows.steps.receivables import Standing
from q2c.posting.facts import Accounts, Book, ItemUse, Original, Policy, RateUse, RuleDates, TaxUse

DOCUMENT, POSTING, ORIGINAL = dt.date(2026, 11, 20), dt.date(2026, 11, 21), dt.date(2026, 3, 31)
# What finance says: a line's codes are those of the line that it takes back, accounts and policy those of posting.
BY_ORIGINAL = {"item", "tax_code", "department", "class", "location", "revenue_rule"}
BY_POSTING = {"account", "gateway_bank", "intercompany", "posting_policy", "manual_rate"}
TOKYO = Book(code="JP01", name="JP", country="JP", currency="JPY", time_zone="Asia/Tokyo", connection="netsuite",
             erp_id="7")  # fmt: skip
ELSEWHERE = structs.replace(TOKYO, connection="netsuite-old", erp_id="3")
ITEM = ItemUse(item="i-old", income_account="410")


@pytest.mark.parametrize("kind", [kind.code for kind in KINDS])
def test_a_rule_must_be_in_force_on_the_date_of_its_kind(kind):
    on = RuleDates(document=DOCUMENT, posting=POSTING, original_line=ORIGINAL)
    expected = ORIGINAL if kind in BY_ORIGINAL else POSTING if kind in BY_POSTING else DOCUMENT
    assert (rules.date_of(kind, on), rules.date_of(kind, DOCUMENT)) == (expected, DOCUMENT)


class Mappings:
    """Answers every question with its kind and the date that it was asked for."""

    def looks_at(self, _kind):
        return frozenset()

    def resolve(self, kind, key, *, on, **_asked):
        return SimpleNamespace(value=f"{kind} of {rules.date_of(kind, on)}", label="")

    def get(self, kind, key, default="", *, on, **_asked):
        return {"posting_date": "today", "window": str(rules.date_of(kind, on))}.get(key, default)


CALENDAR = SimpleNamespace(
    reference=lambda _connection, name: {
        f"{name.removesuffix('s')} of {day}": {"attributes": {"tax_type": "9"}} for day in ("2026-03-31", "2026-04-01")
    },
    local_date=lambda _code, instant: instant.astimezone(dt.timezone(dt.timedelta(hours=9))).date(),
    local_now=lambda _code: dt.datetime(2026, 11, 21, 8, tzinfo=dt.UTC),
)


def line(sku: str, code: str = "", rate: str = "0", *, original: str = "") -> InvoiceLine:
    taxes = (TaxDetail(tax_code=code, amount=D(100), base=D(1000), rate=D(rate)),) if code else ()
    return InvoiceLine(
        line_id=original or "il_1", sku=sku, description=sku, quantity=D(1), unit_price=D(1000), amount=D(1000),
        taxes=taxes, original_line_id=original,
    )  # fmt: skip


def credit(*lines: InvoiceLine, currency: str = "JPY", **more) -> CreditMemo:
    given = {"invoice_id": "in_1", "customer_id": "c", "customer_name": "C", "currency": currency, "total": D(1100),
             "tax_total": D(100), "issued_at": dt.datetime(2026, 11, 20, tzinfo=dt.UTC), **more}  # fmt: skip
    return CreditMemo(
        source=Source(connection="stripe", object_type="credit_note", object_id="cn_1"), number="CN-1", lines=lines,
        **given,
    )  # fmt: skip


def links(**given) -> SimpleNamespace:
    body = {name: to_json(value) for name, value in {"book": TOKYO, **given}.items()}
    return SimpleNamespace(
        step_gave=lambda _flow, _connection, _source, name: body.get(name),
        fact=lambda _flow, _connection, _source: body.get("fact"),
        product_line=lambda _sku: "",
    )


def test_the_policy_is_that_of_the_posting_date_which_the_policy_of_the_document_date_chooses():
    assert dates.read_policy(TOKYO, DOCUMENT, Mappings(), CALENDAR).window == "2026-11-21"


def test_without_the_posted_invoice_its_date_in_the_books_time_zone_decides():
    document = credit(line("A", "VAT"), invoice_issued_at=dt.datetime(2026, 3, 31, 16, tzinfo=dt.UTC))
    original = originals.read_original(document, TOKYO, links(), CALENDAR)
    assert original == Original(document_date=dt.date(2026, 4, 1))
    asked = (document, TOKYO, DOCUMENT, POSTING, original, Mappings(), CALENDAR)
    assert originals.map_credited_items(*asked, links())["A"].item == "item of 2026-04-01"
    assert originals.map_credited_taxes(*asked, links()) == {"VAT": TaxUse(code="tax_code of 2026-04-01", tax_type="9")}


def test_what_the_invoice_was_posted_with_counts_before_any_rule():
    posted = {
        "document_date": dt.date(2026, 4, 1), "items": {"A": ITEM}, "taxes": {"VAT": TaxUse(code="t-old")},
        "ar_invoice": {"document_type": "ar_invoice", "id": "9", "external_id": "e", "exchange_rate": "0.0071"},
    }  # fmt: skip
    document = credit(line("A", "VAT"), line("NEW"))
    original = originals.read_original(document, TOKYO, links(**posted), CALENDAR)
    asked = (document, TOKYO, DOCUMENT, POSTING, original, Mappings(), CALENDAR)
    assert {sku: use.item for sku, use in originals.map_credited_items(*asked, links()).items()} == {
        "A": "i-old", "NEW": "item of 2026-04-01",
    }  # fmt: skip
    assert originals.map_credited_taxes(*asked, links()) == {"VAT": TaxUse(code="t-old")}
    assert original.exchange_rate == D("0.0071")


VOID = DocumentVoid(
    source=Source(connection="stripe", object_type="credit_void", object_id="cn_1"), document_id="cn_1", number="CN-1",
    customer_id="c", currency="JPY", amount=D(1100), voided_at=dt.datetime(2026, 11, 20, tzinfo=dt.UTC),
    invoice_id="in_1",
)  # fmt: skip
MEMO = {"document_type": "ar_credit_memo", "id": "9", "external_id": "e", "exchange_rate": "0.0071"}


@pytest.mark.parametrize(
    ("gave", "expected"),
    [
        ({"taxes": {"VAT": TaxUse(code="t-old")}, "ar_credit_memo": MEMO, "accounts": Accounts(receivables="1100")},
         Original(ORIGINAL, {"A": ITEM}, {"VAT": TaxUse(code="t-old")}, D("0.0071"), "1100")),
        ({"taxes": {"VAT": TaxUse(code="t-old")}, "ar_credit_memo": MEMO, "accounts": Accounts(receivables="1100"),
          "book": ELSEWHERE}, Original(ORIGINAL, exchange_rate=D("0.0071"))),
        ({"taxes": {}, "ar_credit_memo": None}, Original(ORIGINAL, {"A": ITEM})),  # in a summary: no rate of its own
        ({"items": None}, Original()),  # not carried: the rules of the void's own date
    ],
    ids=["posted", "taken over by another ERP", "in a summary", "not carried"],
)  # fmt: skip
def test_what_a_voided_credit_memo_was_posted_with_counts_when_it_is_charged_again(gave, expected):
    given = {"document_date": ORIGINAL, "items": {"A": ITEM}, **gave}
    known = links(**{name: value for name, value in given.items() if name != "items" or value is not None})
    assert originals.read_credited(VOID, TOKYO, known) == expected
    asked = {want[1] for want in originals.want_credited(VOID)}
    assert {key[:3] for key in asked} == {("credit_memo_to_erp", "stripe", "cn_1")}
    assert {key[3] for key in asked} == {"book", "document_date", "items", "taxes", "accounts", "ar_credit_memo"}


@pytest.mark.parametrize(
    ("original", "stands_on"),
    [
        (Original(), f"account of {POSTING}"),
        (Original(document_date=ORIGINAL), f"account of {ORIGINAL}"),  # not carried, or taken over by this ERP
        (Original(document_date=ORIGINAL, receivables="1100"), "1100"),
    ],
)
def test_what_takes_a_document_back_stands_on_that_ones_receivables(original, stands_on):
    asked = (credit(line("A", "VAT")), TOKYO, DOCUMENT, POSTING, original, Policy(), {"VAT": TaxUse(code="t")})
    found = originals.find_credited_accounts(*asked, Mappings(), links())
    assert (found.receivables, found.tax) == (stands_on, f"account of {POSTING}")


@pytest.mark.parametrize(
    "original", [Original(document_date=ORIGINAL), Original(document_date=ORIGINAL, receivables="1")]
)
def test_nothing_is_asked_of_a_rule_that_decides_nothing(original):
    asked: list[tuple] = []

    class Asked(Mappings):
        def resolve(self, kind, key, *, on, **given):
            asked.append((key, rules.date_of(kind, on)))
            return super().resolve(kind, key, on=on, **given)

    originals.find_credited_accounts(
        credit(line("A", "VAT")),
        TOKYO,
        DOCUMENT,
        POSTING,
        original,
        Policy(),
        {"VAT": TaxUse(code="t")},
        Asked(),
        links(),
    )
    by_rule = [] if original.receivables else [("receivables", ORIGINAL)]
    assert asked == [*by_rule, ("tax", POSTING)]


def test_what_another_erp_posted_counts_by_its_date_and_not_by_that_ones_ids():
    posted = {"document_date": ORIGINAL, "items": {"A": ITEM}, "taxes": {"VAT": TaxUse(code="t-old")},
              "accounts": Accounts(receivables="119"), "ar_invoice": MEMO}  # fmt: skip
    document = credit(line("A", "VAT"))
    for book, rate in ((ELSEWHERE, D("0.0071")), (structs.replace(ELSEWHERE, currency="USD"), None)):
        original = originals.read_original(document, TOKYO, links(**posted, book=book), CALENDAR)
        assert original == Original(document_date=ORIGINAL, exchange_rate=rate)
    asked = (document, TOKYO, DOCUMENT, POSTING, original)
    assert originals.map_credited_items(*asked, Mappings(), CALENDAR, links())["A"].item == f"item of {ORIGINAL}"
    found = originals.find_credited_accounts(*asked, Policy(), {"VAT": TaxUse(code="t")}, Mappings(), links())
    assert found.receivables == f"account of {ORIGINAL}"


@pytest.mark.parametrize(
    ("policy", "gave", "standing"),
    [
        ("line", {"accounts": Accounts(receivables="1100"), "ar_invoice": MEMO}, Standing("1100")),
        ("summary", {"accounts": Accounts(receivables="1190"), "ar_invoice": None}, Standing("1190")),
        ("line", {"accounts": Accounts(receivables="1190"), "ar_invoice": None}, None),  # it went in a summary
        ("summary", {"accounts": Accounts(receivables="1100"), "ar_invoice": MEMO}, None),
        ("line", {"accounts": Accounts(receivables="1120"), "ar_invoice": MEMO, "reposted": MEMO}, Standing("1120")),
        ("line", {}, None),  # on its way
        ("line", {"accounts": Accounts(receivables="119"), "ar_invoice": MEMO, "book": ELSEWHERE},
         Standing(since=ORIGINAL)),
        ("line", {"accounts": Accounts(receivables="119"), "ar_invoice": MEMO, "reposted": MEMO, "book": ELSEWHERE},
         Standing(since=POSTING)),
        ("line", {"accounts": Accounts(receivables="119"), "ar_invoice": MEMO,
                  "book": structs.replace(TOKYO, code="JP02")}, Standing(since=ORIGINAL)),
    ],
)  # fmt: skip
def test_cash_stands_where_the_invoice_stands_that_it_pays_if_both_go_the_same_way(policy, gave, standing):
    known, asked = links(document_date=ORIGINAL, invoice_date=POSTING, **gave), []
    look = SimpleNamespace(step_gave=lambda *key: asked.append(key) or known.step_gave(*key))
    assert receivables.invoice_stands_on("stripe", "in_1", Policy(detail=policy), TOKYO, look) == standing
    assert set(asked) <= {key for _, key in receivables.want_standing_invoice("stripe", "in_1")}


@pytest.mark.parametrize(
    ("standing", "account"),
    [
        ([None, Standing("1100")], "1100"),
        ([Standing(since=ORIGINAL), Standing("1100")], f"account of {ORIGINAL}"),
        ([None], f"account of {POSTING}"),
    ],
)
def test_what_settles_another_erps_document_stands_where_the_rule_of_that_ones_date_says(standing, account):
    given = (credit(line("A")), TOKYO, DOCUMENT)
    settled = receivables.find_settled(standing, *given, Policy(), Mappings(), links())
    found = codes.receipt_accounts(settled, *given, POSTING, Policy(), Mappings(), links())
    assert (found.receivables, found.clearing) == (account, f"account of {POSTING}")


@pytest.mark.parametrize("lacks", ["document_date", "items", "taxes", "accounts", "ar_invoice"])
def test_a_step_of_the_invoice_that_gave_nothing_is_no_failure_of_its_credit(lacks):
    given = {"document_date": ORIGINAL, "items": {"A": ITEM}, "taxes": {"VAT": TaxUse(code="t")}, "ar_invoice": MEMO,
             "accounts": Accounts(receivables="1100")}  # fmt: skip
    known = links(**(given | {lacks: None}))
    found = originals.read_original(credit(line("A", "VAT")), TOKYO, known, CALENDAR)
    expected = Original(ORIGINAL, {"A": ITEM}, {"VAT": TaxUse(code="t")}, D("0.0071"), "1100")
    without = {"document_date": {"document_date": None}, "taxes": {"taxes": {}}, "ar_invoice": {"exchange_rate": None},
               "accounts": {"receivables": ""}}  # fmt: skip
    assert found == (Original() if lacks == "items" else structs.replace(expected, **without[lacks]))


def test_a_line_that_names_its_original_takes_that_lines_sku_and_tax_rate():
    invoice = Invoice(
        source=Source(connection="stripe", object_type="invoice", object_id="in_1"), number="1", customer_id="c",
        customer_name="C", currency="JPY", issued_at=dt.datetime(2026, 3, 1, tzinfo=dt.UTC), total=D(1100),
        tax_total=D(100), lines=(line("A", "VAT", "10"),),
    )  # fmt: skip
    document = credit(line("RENAMED", "VAT", "8", original="il_1"))
    assert originals.want_original(document) == [("fact", ("invoice_to_erp", "stripe", "in_1"))]
    (taken,) = originals.read_original_lines(document, links(fact=invoice)).lines
    assert (taken.sku, taken.taxes[0].rate, taken.taxes[0].amount) == ("A", D(10), D(100))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("original", RateUse(pair="USD/JPY", source="original", rate=D("151.2"), rate_date=ORIGINAL)),
        ("document", RateUse(pair="USD/JPY", source="manual", rate=D("149"), rate_date=POSTING)),
    ],
)
def test_a_credits_exchange_rate_is_the_originals_or_its_own_by_policy(policy, expected):
    rate = SimpleNamespace(value="149", effective_from=POSTING, effective_to=None)
    mappings = SimpleNamespace(resolve=lambda *_key, **_asked: rate)
    calendar = SimpleNamespace(reference=lambda _connection, _name: {})
    original = Original(document_date=ORIGINAL, exchange_rate=D("151.2"))
    document = credit(line("A"), currency="USD")
    chosen = originals.choose_credit_rate(
        document, TOKYO, POSTING, Policy(credit_rate=policy), original, mappings, calendar
    )
    assert chosen == expected
