"""The NetSuite client against NetSuite's sandbox, over HTTP."""

import asyncio
import datetime as dt
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

from connectors.errors import Absent
from connectors.netsuite import records
from connectors.sandbox.testing import running_sandboxes
from q2c.canonical import posting
from q2c.canonical.party import Address
from q2c.core.problems import AlreadyThere, Category, NotAnswered, Problem
from tests.connectors.lines import client_of, run

OAUTH2 = ("client_id", "certificate_id", "private_key")
TBA = ("consumer_key", "consumer_secret", "token_id", "token_secret")


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("netsuite"), vendors=["netsuite"]) as running:
        yield running


@pytest.fixture(scope="module")
def build(sandboxes):
    def client(names=OAUTH2, **changes):
        given = sandboxes.vendor("netsuite")
        credentials = {**given["credentials"], **changes}
        settings = {"account": credentials["account"]}
        return client_of("netsuite", given["url"], settings=settings, secrets={n: credentials[n] for n in names})

    return client


@pytest.fixture(scope="module")
def lists(build):
    """NetSuite's own ids by list and code."""

    async def story():
        erp = build()
        names = ("subsidiaries", "currencies", "items", "accounts", "periods", "terms", "departments", "classes")
        return {name: [row async for row in erp.reference(name)] for name in names}

    return run(story())


@pytest.fixture(scope="module")
def ids(lists):
    entity = next(r for r in lists["subsidiaries"] if r.attributes.get("country") == "GB")
    month = f"{dt.datetime.now(dt.UTC):%Y-%m}"
    return {
        "subsidiary": entity.external_id,
        "currency": next(r.external_id for r in lists["currencies"] if r.code == "GBP"),
        "item": next(r.external_id for r in lists["items"]),
        "period": next(r.external_id for r in lists["periods"] if r.code == month),
        "bank": next(r.external_id for r in lists["accounts"] if r.attributes["type"] == "Bank"),
        "income": next(r.external_id for r in lists["accounts"] if r.attributes["type"] == "Income"),
    }


@pytest.fixture(scope="module")
def customer(build, ids):
    given = posting.ErpCustomer(
        external_id="cus-acc-1", name="Northwind Ltd", number="NW-1", subsidiary=ids["subsidiary"],
        currency=ids["currency"], email="ap@northwind.example",
        bill_to=Address(line1="1 High St", city="Leeds", postal_code="LS1 1AA", country="GB"),
    )  # fmt: skip
    return run(build().save_customer(given))


def invoice(ids, customer, external_id, *, amount="1200.00", line_count=1, **changes):
    today = dt.datetime.now(dt.UTC).date()
    line = posting.ArLine(
        item=ids["item"], description="Core, 12 seats", quantity=Decimal(12), rate=Decimal(amount) / 12,
        amount=Decimal(amount),
    )  # fmt: skip
    given = {
        "external_id": external_id, "number": f"N-{external_id}", "customer": customer.id,
        "subsidiary": ids["subsidiary"],
        "currency": ids["currency"], "currency_code": "GBP", "document_date": today, "posting_date": today,
        "period": ids["period"], "lines": (line,) * line_count,
        "total": Decimal(amount) * line_count,
    }  # fmt: skip
    return posting.ArInvoice(**{**given, **changes})


def test_both_kinds_of_sign_in_work(build):
    assert "NetSuite answers" in run(build().check_connection())
    assert "NetSuite answers" in run(build(TBA).check_connection())


@pytest.mark.parametrize(
    ("names", "changes"), [(TBA, {"token_secret": "wrong"}), (OAUTH2, {"certificate_id": "wrong"})]
)
def test_wrong_credentials_are_a_problem_of_authentication(build, names, changes):
    with pytest.raises(Problem) as refusal:
        run(build(names, **changes).check_connection())
    assert (refusal.value.code, refusal.value.category) == ("credentials_refused", Category.AUTHENTICATION)


def test_lists_carry_what_the_portal_needs(lists):
    countries = {r.attributes.get("country") for r in lists["subsidiaries"]}
    assert {"GB", "US", "JP"} <= countries
    gbp = next(r for r in lists["currencies"] if r.code == "GBP")
    assert gbp.name
    receivable = [r for r in lists["accounts"] if r.attributes["account_class"] == "receivable"]
    assert receivable
    assert all(r.code for r in lists["items"])


def test_an_item_names_its_accounts_revenue_rule_and_dimensions(build, lists, monkeypatch):
    known = {name: {row.external_id: row.name for row in lists[name]} for name in ("departments", "classes")}
    item = next(r for r in lists["items"] if r.code == "QB-API").attributes
    assert (known["departments"][item["department"]], known["classes"][item["class"]]) == ("Software", "Software")
    assert {"income_account", "deferral_account", "revenue_rule"} <= item.keys()
    # an account without a feature has no column for it, and refuses the whole query
    monkeypatch.setitem(records.LISTS, "items", records.LISTS["items"].replace("location", "columnofafeature"))

    async def story():
        return {row.code: row.attributes async for row in build().reference("items")}

    plain = run(story())["QB-API"]
    assert plain == {name: value for name, value in item.items() if name not in ("department", "class", "revenue_rule")}


def test_rates_are_read_from_a_date_on_oldest_first(build):
    """The sandbox's table is the ECB's, which ends in April 2026."""

    async def story():
        return [row async for row in build().rates_since(dt.date(2026, 4, 10))]

    rates = run(story())
    assert {"EUR/GBP", "USD/GBP", "GBP/JPY"} <= {r.external_id for r in rates}
    dates = [r.attributes["date"] for r in rates]
    assert dates == sorted(dates)
    assert all(Decimal(r.attributes["rate"]) > 0 for r in rates)


def test_a_period_may_be_closed_for_one_subsidiary_alone(lists):
    japan = next(r.external_id for r in lists["subsidiaries"] if r.attributes.get("country") == "JP")
    britain = next(r.external_id for r in lists["subsidiaries"] if r.attributes.get("country") == "GB")
    previous = dt.datetime.now(dt.UTC).date().replace(day=1) - dt.timedelta(days=1)
    period = next(r for r in lists["periods"] if r.code == f"{previous:%Y-%m}")
    states = period.attributes["by_subsidiary"]
    assert states[japan] == {"is_receivables_open": False, "is_ledger_open": False}
    assert states[britain] == {"is_receivables_open": True, "is_ledger_open": True}


def test_a_customer_is_made_once_and_then_changed(build, sandboxes, customer, ids):
    again = posting.ErpCustomer(
        external_id="cus-acc-1", name="Northwind Limited", number="NW-1", subsidiary=ids["subsidiary"],
        currency=ids["currency"], bill_to=Address(line1="2 High St", city="Leeds", country="GB"),
    )  # fmt: skip
    saved = run(build().save_customer(again))
    assert saved.id == customer.id
    entries = sandboxes.log("netsuite", document_type="customer", external_id="cus-acc-1")
    assert [e["effect"] for e in entries] == ["created", "updated"]


def test_a_posted_invoice_is_read_back_with_its_period(build, ids, customer):
    posted = run(build().post_invoice(invoice(ids, customer, "inv-1")))
    assert (posted.document_type, posted.external_id, posted.number) == ("ar_invoice", "inv-1", "N-inv-1")
    assert (posted.total, posted.period, posted.is_in_ledger) == (Decimal("1200"), ids["period"], True)
    assert posted.posting_date == dt.datetime.now(dt.UTC).date()


def test_a_second_invoice_with_the_same_external_id_is_refused_and_found(build, sandboxes, ids, customer):
    async def story():
        erp = build(TBA)
        first = await erp.post_invoice(invoice(ids, customer, "inv-2"))
        with pytest.raises(AlreadyThere):
            await erp.post_invoice(invoice(ids, customer, "inv-2"))
        return first, await erp.find("ar_invoice", "inv-2")

    first, found = run(story())
    assert found.id == first.id
    assert found.total == Decimal("1200")
    assert len(sandboxes.log("netsuite", document_type="invoice", external_id="inv-2")) == 1


def test_what_was_never_posted_is_not_found(build):
    assert run(build().find("ar_invoice", "inv-none")) is None
    assert run(build().find("customer", "cus-none")) is None
    with pytest.raises(Absent):
        run(build().read("receipt", "99999999"))


def test_a_lost_answer_leaves_the_outcome_unknown_and_one_document(build, sandboxes, ids, customer):
    sandboxes.fault("netsuite", "lose_answer", when={"method": "POST", "path": "*/invoice", "nth": 1})

    async def story():
        erp = build()
        with pytest.raises(NotAnswered):
            await erp.post_invoice(invoice(ids, customer, "inv-3"))
        return await erp.find("ar_invoice", "inv-3")

    assert run(story()).number == "N-inv-3"
    assert len(sandboxes.log("netsuite", document_type="invoice", external_id="inv-3")) == 1


def test_a_read_back_that_fails_leaves_the_outcome_unknown(build, sandboxes, ids, customer):
    sandboxes.fault("netsuite", "rate_limit", when={"method": "GET", "path": "*/invoice/*", "nth": 1})
    with pytest.raises(NotAnswered, match="couldn't be read back"):
        run(build().post_invoice(invoice(ids, customer, "inv-4")))


@pytest.mark.parametrize("do", ["html_200", "truncate"])
def test_an_answer_that_is_not_netsuites_is_no_success(build, sandboxes, ids, customer, do):
    sandboxes.fault("netsuite", do, when={"method": "POST", "path": "*/invoice", "nth": 1})
    with pytest.raises(NotAnswered):
        run(build().post_invoice(invoice(ids, customer, f"inv-{do}")))


def test_a_rate_limit_is_a_refusal_that_heals(build, sandboxes, ids, customer):
    sandboxes.fault("netsuite", "rate_limit", when={"method": "POST", "path": "*/invoice", "nth": 1})
    with pytest.raises(Problem) as refusal:
        run(build().post_invoice(invoice(ids, customer, "inv-5")))
    assert refusal.value.category is Category.RATE_LIMIT
    assert sandboxes.log("netsuite", external_id="inv-5") == []


def test_a_server_error_on_a_write_is_unknown(build, sandboxes, ids, customer):
    sandboxes.fault("netsuite", "status", when={"method": "POST", "path": "*/invoice", "nth": 1}, status=503)
    with pytest.raises(NotAnswered):
        run(build().post_invoice(invoice(ids, customer, "inv-6")))


def test_an_unknown_item_is_a_problem_of_mapping_that_names_the_field(build, ids, customer):
    line = posting.ArLine(item="987654", description="x", quantity=Decimal(1), rate=Decimal(5), amount=Decimal(5))
    with pytest.raises(Problem) as refusal:
        run(build().post_invoice(invoice(ids, customer, "inv-7", lines=(line,), total=Decimal(5))))
    assert refusal.value.category is Category.MAPPING
    assert "item" in refusal.value.subject["field"]


def test_a_closed_period_is_a_problem_of_its_own(build, lists, ids, customer):
    old = dt.date(2015, 3, 15)
    period = next(r.external_id for r in lists["periods"] if r.code == "2015-03")
    given = invoice(ids, customer, "inv-8", document_date=old, posting_date=old, period=period)
    with pytest.raises(Problem) as refusal:
        run(build().post_invoice(given))
    assert refusal.value.category is Category.PERIOD_CLOSED


def test_a_receipt_on_account_is_applied_and_the_application_found(build, ids, customer):
    today = dt.datetime.now(dt.UTC).date()
    receipt = posting.CashReceipt(
        external_id="pay-1", number="pi_1", customer=customer.id, subsidiary=ids["subsidiary"],
        currency=ids["currency"], currency_code="GBP", amount=Decimal("1500.00"), posting_date=today,
        period=ids["period"], account=ids["bank"],
    )  # fmt: skip

    async def story():
        erp = build()
        made = await erp.post_invoice(invoice(ids, customer, "inv-9"))
        paid = await erp.post_receipt(receipt)
        application = posting.CashApplication(
            external_id="app-1", payment=paid.id, kind="receipt", currency_code="GBP",
            apply_to=(posting.AppliedTo(document=made.id, amount=Decimal("1200.00")),),
        )  # fmt: skip
        before = await erp.find_application(application)
        applied = await erp.apply_payment(application)
        return made, paid, before, applied, await erp.find_application(application)

    made, paid, before, applied, after = run(story())
    assert (paid.total, paid.period) == (Decimal("1500"), ids["period"])
    assert before is None
    assert (applied.document_type, applied.external_id, applied.total) == ("application", "app-1", Decimal("1200"))
    assert after.applied == (posting.AppliedTo(document=made.id, amount=Decimal("1200")),)


def test_a_credit_memo_is_applied_to_its_invoice(build, ids, customer):
    async def story():
        erp = build()
        made = await erp.post_invoice(invoice(ids, customer, "inv-10"))
        source = invoice(ids, customer, "cm-1", amount="200.00")
        shared = {f: getattr(source, f) for f in posting.ArCreditMemo.__struct_fields__ if hasattr(source, f)}
        memo = posting.ArCreditMemo(
            **{**shared, "apply_to": (posting.AppliedTo(document=made.id, amount=Decimal("200.00")),)}
        )
        return made, await erp.post_credit_memo(memo)

    made, memo = run(story())
    assert (memo.document_type, memo.total) == ("ar_credit_memo", Decimal("200"))
    assert memo.applied == (posting.AppliedTo(document=made.id, amount=Decimal("200")),)


def test_a_refund_pays_out_a_credit_memo_and_one_without_is_a_journal(build, ids, lists, customer):
    today = dt.datetime.now(dt.UTC).date()
    receivable = next(r.external_id for r in lists["accounts"] if r.attributes["type"] == "AcctRec")

    def refund(external_id, *apply_to):
        return posting.CashRefund(
            external_id=external_id, customer=customer.id, subsidiary=ids["subsidiary"], currency=ids["currency"],
            currency_code="GBP", amount=Decimal("200.00"), posting_date=today, period=ids["period"],
            account=ids["bank"], receivables_account=receivable, apply_to=apply_to,
            journal=(
                posting.JournalLine(account=receivable, debit=Decimal("200.00"), customer=customer.id),
                posting.JournalLine(account=ids["bank"], credit=Decimal("200.00")),
            ),
        )  # fmt: skip

    async def story():
        erp = build()
        source = invoice(ids, customer, "cm-paid-out", amount="200.00")
        shared = {f: getattr(source, f) for f in posting.ArCreditMemo.__struct_fields__ if hasattr(source, f)}
        memo = await erp.post_credit_memo(posting.ArCreditMemo(**shared))
        applied = refund("ref-1", posting.AppliedTo(document=memo.id, amount=Decimal("200.00")))
        made, plain = await erp.refund(applied), await erp.refund(refund("ref-2"))
        return memo, made, await erp.find_refund(applied), plain, await erp.find_refund(refund("ref-2"))

    memo, made, found, plain, plain_found = run(story())
    assert (made.document_type, made.total, made.subsidiary) == ("ar_refund", Decimal(200), ids["subsidiary"])
    assert made.applied == (posting.AppliedTo(document=memo.id, amount=Decimal(200)),)
    assert (found, plain_found) == (made, plain)
    assert (plain.document_type, plain.total) == ("journal", Decimal(200))


def test_a_journal_is_posted_and_reversed_by_an_opposite_one_at_its_rate(build, ids, lists, sandboxes):
    today = dt.datetime.now(dt.UTC).date()
    euro = next(r.external_id for r in lists["currencies"] if r.code == "EUR")
    rule = next(r.attributes["revenue_rule"] for r in lists["items"] if r.attributes.get("revenue_rule"))
    deferred = {"revenue_start": today, "revenue_end": today + dt.timedelta(days=30), "revenue_rule": rule}
    entry = posting.Journal(
        external_id="je-1", subsidiary=ids["subsidiary"], currency=euro, currency_code="EUR", posting_date=today,
        period=ids["period"], exchange_rate=Decimal("0.5"),
        lines=(
            posting.JournalLine(account=ids["bank"], debit=Decimal("10.50"), memo="Cash"),
            posting.JournalLine(account=ids["income"], credit=Decimal("10.50"), **deferred),
        ),
    )  # fmt: skip

    async def story():
        erp = build()
        posted = await erp.post_journal(entry)
        asked = {"on": today, "period": ids["period"], "memo": "Reverses journal 1"}
        made = await erp.reverse("journal", posted.id, external_id="je-1-rev", **asked)
        return posted, made, await erp.journal_lines(posted.id), await erp.journal_lines(made.id)

    posted, reversed_, lines, opposite = run(story())
    assert [(x.account, x.debit, x.credit) for x in lines] == [(x.account, x.credit, x.debit) for x in opposite]
    assert [(x.account, x.debit) for x in lines] == [(ids["bank"], Decimal("10.5")), (ids["income"], Decimal(0))]
    assert (reversed_.period, posted.period) == (ids["period"], ids["period"])
    assert posted.total == reversed_.total == Decimal("10.5")
    assert reversed_.external_id == "je-1-rev"
    assert posted.exchange_rate == reversed_.exchange_rate == Decimal("0.5")
    held = sandboxes.control("GET", "netsuite/documents/journalEntry?limit=500")["items"]
    first, second = next(e for e in held if e["externalId"] == "je-1-rev")["line"]["items"]
    assert (first["credit"], first["memo"], "debit" in first) == (10.5, "Cash", False)
    assert (second["debit"], second["startDate"], second["endDate"]) == (10.5, *map(str, list(deferred.values())[:2]))
    assert second["revenueRecognitionRule"]["id"] == rule


def test_an_invoice_is_reversed_by_a_credit_memo(build, ids, customer):
    today = dt.datetime.now(dt.UTC).date()

    async def story():
        erp = build()
        made = await erp.post_invoice(invoice(ids, customer, "inv-11"))
        return await erp.reverse("ar_invoice", made.id, external_id="inv-11-rev", on=today)

    assert run(story()).total == Decimal("1200")


def test_a_receipt_cannot_be_reversed(build):
    with pytest.raises(Problem) as refusal:
        run(build().reverse("receipt", "1", external_id="x", on=dt.date(2026, 11, 1)))
    assert refusal.value.code == "unsupported_document"


def test_totals_are_the_ledgers_own(build, ids, customer):
    today = dt.datetime.now(dt.UTC).date()

    async def story():
        erp = build()
        for number in range(3):
            await erp.post_invoice(invoice(ids, customer, f"tot_a-{number}", amount="100.10", line_count=2))
        await erp.post_invoice(invoice(ids, customer, "tot-a-1"))  # another connection's: "_" stands for itself
        return await erp.totals(since=today, until=today, external_id_prefix="tot_a-")

    assert run(story()) == [
        {"document_type": "ar_invoice", "currency": "GBP", "count": 3, "lines": 6, "amount": "600.60"}
    ]


def test_tax_codes_come_with_their_type_rate_and_account(build, lists):
    async def story():
        return {row.code: row.attributes async for row in build().reference("tax_codes")}

    found = run(story())
    accounts = {row.code: row.external_id for row in lists["accounts"]}
    assert (found["GB VAT standard"]["rate"], found["GB VAT standard"]["account"]) == ("20", accounts["2400"])
    assert found["Los Angeles County Tax"]["account"] == accounts["2410"]
    assert found["GB VAT standard"]["tax_type"] == found["GB VAT exempt"]["tax_type"]
    assert found["GB VAT standard"]["tax_type"] != found["JP Consumption Tax standard"]["tax_type"]


def test_more_workers_than_slots_never_exceed_what_the_account_takes_at_once(sandboxes, build):
    """Eight processes of two threads each, as many event loops; the sandbox counts what runs in it."""
    fault = sandboxes.fault("netsuite", "delay", seconds=0.02)

    def work(_):
        run(asyncio.wait_for(several(), 60))

    async def several():
        erp = build()
        await asyncio.gather(*(erp.check_connection() for _ in range(4)))

    def child():
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(work, range(2)))

    made = [multiprocessing.get_context("fork").Process(target=child) for _ in range(8)]
    for process in made:
        process.start()
    for process in made:
        process.join(90)
    sandboxes.control("DELETE", f"netsuite/faults/{fault}")
    assert [process.exitcode for process in made] == [0] * 8
    assert sandboxes.control("GET", "netsuite/concurrency") == {"most": 5}
