"""The NetSuite sandbox as an ERP: totals, periods, rates, approval, applications, journals, the ledger behind them."""

import pytest

from connectors.sandbox.testing import running_sandboxes
from tests.sandboxes.netsuite_client import Client, error_of


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("netsuite"), vendors=["netsuite"]) as running:
        yield running


@pytest.fixture
def client(sandboxes):
    sandboxes.control("POST", "reset", {"vendors": ["netsuite"], "keep": "nothing"})
    client = Client(sandboxes)
    client.create(
        "customer",
        {
            "externalId": "acc-1",
            "companyName": "Nordwind",
            "subsidiary": {"id": "eid:GB01"},
            "currencyList": {"items": [{"currency": {"id": f"eid:{code}"}} for code in ("USD", "JPY", "KWD")]},
        },
    )
    return client


def line(item, *, quantity=1, **more):
    return {"item": {"id": f"eid:{item}"}, "quantity": quantity, **more}


def invoice(*lines, **more):
    return {"entity": {"id": "eid:acc-1"}, "tranDate": "2011-03-15", "item": {"items": list(lines)}, **more}


GOODS = line("RETAIL-GOODS", quantity=3, rate=2.5)


def refuse(client, type, body):
    return error_of(client.send("POST", type, body))


def test_the_erp_adds_up_itself_and_rounds_half_up_to_the_cent(client):
    id = client.create(
        "invoice",
        invoice(
            line("RETAIL-GOODS", quantity=3, rate=1.255), line("RETAIL-POST", amount=4.999), line("RETAIL-D", amount=-1)
        ),
    )
    found = client.read("invoice", id)
    assert [each["amount"] for each in found["item"]["items"]] == [3.77, 5.0, -1.0]
    assert (found["subtotal"], found["taxTotal"], found["total"], found["amountRemaining"]) == (7.77, 0, 7.77, 7.77)
    assert found["tranId"].startswith("INV")
    assert found["status"] == {"id": "Open", "refName": "Open"}
    assert client.impact(id) == {"1100": 7.77, "4150": -3.77, "4160": -5.0, "8200": 1.0}


def test_yen_have_no_decimals_and_dinars_three(client, sandboxes):
    yen = client.create("invoice", invoice(line("RETAIL-GOODS", quantity=3, rate=100.5), currency={"id": "eid:JPY"}))
    assert client.read("invoice", yen)["total"] == 302
    pair = {"baseCurrency": {"id": "eid:GBP"}, "transactionCurrency": {"id": "eid:KWD"}}
    sandboxes.make("netsuite", "currencyRate", {**pair, "exchangeRate": 2.25, "effectiveDate": "2011-03-01"})
    dinars = client.create("invoice", invoice(line("RETAIL-GOODS", rate=1.2345), currency={"id": "eid:KWD"}))
    assert client.read("invoice", dinars)["total"] == 1.235
    assert client.impact(dinars) == {"1100": 2.78, "4150": -2.78}


def test_a_currency_without_any_rate_is_refused_unless_the_document_brings_one(client):
    body = invoice(GOODS, currency={"id": "eid:KWD"})
    assert refuse(client, "invoice", body)[2].endswith("Please enter value(s) for: Exchange Rate")
    assert client.read("invoice", client.create("invoice", {**body, "exchangeRate": 2.0}))["exchangeRate"] == 2.0


def test_the_rate_is_that_of_the_last_day_on_or_before_crossed_through_the_euro(client):
    body = invoice(line("RETAIL-GOODS", rate=100), currency={"id": "eid:USD"}, tranDate="2011-03-20")
    id = client.create("invoice", body)  # a Sunday: Friday's rates, 1 EUR = 1.4130 USD = 0.8730 GBP in the file
    rate = client.query(
        "SELECT exchangerate FROM currencyrate WHERE effectivedate = TO_DATE('2011-03-18', 'YYYY-MM-DD')"
        " AND basecurrency = 2 AND transactioncurrency = 1"
    )
    assert client.read("invoice", id)["exchangeRate"] == float(rate[0]["exchangerate"])
    assert client.impact(id)["1100"] == round(100 * float(rate[0]["exchangerate"]), 2)


def test_base_amounts_balance_with_what_is_left_over_on_the_rounding_account(client):
    lines = [line(item, amount=10.01) for item in ("RETAIL-GOODS", "RETAIL-POST", "RETAIL-D")]
    id = client.create("invoice", invoice(*lines, currency={"id": "eid:USD"}, exchangeRate=0.62345678))
    assert client.impact(id) == {"1100": 18.72, "4150": -6.24, "4160": -6.24, "8200": -6.24}
    id = client.create("invoice", invoice(*lines, currency={"id": "eid:USD"}, exchangeRate=0.6199))
    assert client.impact(id) == {"1100": 18.62, "4150": -6.21, "4160": -6.21, "8200": -6.21, "8900": 0.01}


def test_tax_that_was_computed_elsewhere_is_taken_as_it_is(client):
    detail = {"taxDetailsReference": "L1", "taxType": {"id": "eid:GB"}, "taxCode": {"id": "eid:GB-S"}, "taxBasis": 7.5}
    body = invoice({**GOODS, "taxDetailsReference": "L1"})
    body |= {"taxDetailsOverride": True, "taxDetails": {"items": [{**detail, "taxRate": 20.0, "taxAmount": 1.51}]}}
    id = client.create("invoice", body)
    found = client.read("invoice", id)
    assert (found["subtotal"], found["taxTotal"], found["total"]) == (7.5, 1.51, 9.01)
    assert client.impact(id) == {"1100": 9.01, "4150": -7.5, "2400": -1.51}
    assert refuse(client, "invoice", {**body, "taxDetailsOverride": False})[1] == "USER_ERROR"
    nameless = {name: value for name, value in detail.items() if name != "taxType"}
    untyped = refuse(client, "invoice", {**body, "taxDetails": {"items": [{**nameless, "taxAmount": 1}]}})
    assert untyped[1:] == ("USER_ERROR", "Error while accessing a resource. Please enter value(s) for: Tax Type")
    wrong = {**detail, "taxDetailsReference": "L2", "taxAmount": 1}
    assert refuse(client, "invoice", {**body, "taxDetails": {"items": [wrong]}})[1] == "INVALID_CONTENT"
    wrong = {**detail, "taxCode": {"id": "eid:DE-S"}, "taxAmount": 1}
    assert refuse(client, "invoice", {**body, "taxDetails": {"items": [wrong]}})[1] == "USER_ERROR"


def test_a_subscription_is_credited_to_its_deferral_account_and_makes_a_revenue_element(client):
    dates = {"revRecStartDate": "2011-03-01", "revRecEndDate": "2012-02-29"}
    id = client.create("invoice", invoice(line("QB-API", amount=120, **dates), line("RETAIL-GOODS", amount=1)))
    assert client.impact(id) == {"1100": 121.0, "2200": -120.0, "4150": -1.0}
    assert client.read("invoice", id)["deferredRevenue"] == 120
    elements = client.query("SELECT source, amount, TO_CHAR(revrecenddate, 'YYYY-MM-DD') AS until FROM revenueelement")
    assert elements == [{"source": id, "amount": "120", "until": "2012-02-29"}]


@pytest.mark.parametrize(
    ("change", "code", "field", "text"),
    [
        (
            {"entity": {"id": "9999"}},
            "INVALID_CONTENT",
            "entity",
            "Invalid Field Value 9999 for the following field: entity",
        ),
        ({"entity": None}, "USER_ERROR", "entity", "Please enter value(s) for: Customer"),
        ({"subsidiary": {"id": "eid:JP01"}}, "USER_ERROR", "subsidiary", "Invalid subsidiary reference key 7"),
        ({"currency": {"id": "eid:CHF"}}, "USER_ERROR", "currency", "Invalid currency reference key 6"),
        ({"item": {"items": []}}, "USER_ERROR", "item", "at least one line item"),
        ({"tranDate": "15.03.2011"}, "INVALID_CONTENT", "tranDate", "Invalid value"),
        (
            {"location": {"id": "eid:JP01"}},
            "USER_ERROR",
            "location",
            "Invalid location reference key 7 for subsidiary 4",
        ),
        ({"account": {"id": "77777"}}, "INVALID_CONTENT", "account", "Invalid Field Value 77777"),
        (
            {"item": {"items": [{**GOODS, "item": {"id": "7777"}}]}},
            "INVALID_CONTENT",
            "item.items[0].item",
            "You have entered an Invalid Field Value 7777 for the following field: item",
        ),
        (
            {"item": {"items": [GOODS, line("TEST-SUB", amount=1)]}},
            "USER_ERROR",
            "item.items[1].item",
            "for subsidiary 4",
        ),
        ({"item": {"items": [line("RETAIL-GOODS")]}}, "USER_ERROR", "item.items[0].amount", "Please enter value(s)"),
        ({"item": {"items": [line("RETAIL-GOODS", amount=-1)]}}, "USER_ERROR", "total", "may not be negative"),
    ],
)
def test_what_the_account_does_not_know_or_allow_is_refused_and_leaves_nothing(client, change, code, field, text):
    answer = client.send("POST", "invoice", {**invoice(GOODS), **change})
    assert error_of(answer)[:2] == (400, code)
    assert text in error_of(answer)[2]
    assert answer.json()["o:errorDetails"][0]["o:errorPath"] == field
    assert client.query("SELECT COUNT(*) AS n FROM transaction") == [{"n": "0"}]


def test_an_unknown_external_id_in_the_body_is_a_404_with_a_path(client):
    answer = client.send("POST", "invoice", invoice(line("QB-NOT-SOLD", amount=1)))
    assert error_of(answer)[:2] == (404, "NONEXISTENT_ID")
    assert answer.json()["o:errorDetails"][0]["o:errorPath"] == "item.items[0].item"


def test_external_ids_are_shared_by_all_transactions(client):
    client.create("invoice", invoice(GOODS, externalId="doc-1"))
    assert "This record already exists" in refuse(client, "creditMemo", invoice(GOODS, externalId="doc-1"))[2]


def test_put_by_external_id_adds_the_lines_again_unless_they_are_replaced(client):
    for _ in range(2):
        assert client.send("PUT", "invoice/eid:inv-1", invoice(GOODS)).status_code == 204
    assert client.read("invoice", "eid:inv-1")["total"] == 15
    assert client.send("PUT", "invoice/eid:inv-1?replace=item", invoice(GOODS)).status_code == 204
    assert client.read("invoice", "eid:inv-1")["total"] == 7.5
    assert client.send("PATCH", "invoice/eid:inv-1", {"item": {"items": [{"line": 1, "amount": 8}]}}).status_code == 204
    assert client.read("invoice", "eid:inv-1")["total"] == 8
    assert client.query("SELECT COUNT(*) AS n, SUM(foreigntotal) AS total FROM transaction") == [
        {"n": "1", "total": "8"}
    ]


@pytest.mark.parametrize("date", ["2010-11-30", "2012-01-01", "2009-05-05", "2028-01-01"])
def test_a_date_outside_the_open_periods_is_refused(client, date):
    status, code, detail = refuse(client, "invoice", invoice(GOODS, tranDate=date))
    assert (status, code) == (400, "USER_ERROR")
    assert detail.endswith("The transaction date you specified is not within the date range of your accounting period.")


def test_the_retail_year_is_open_for_the_british_entity_alone(client):
    client.create("customer", {"externalId": "acc-us", "companyName": "Contoso", "subsidiary": {"id": "eid:US01"}})
    body = {**invoice(GOODS), "entity": {"id": "eid:acc-us"}}
    assert "accounting period" in refuse(client, "invoice", body)[2]
    rows = client.query(
        "SELECT subsidiarycode, closed FROM accountingperiodsubsidiary WHERE periodname = 'Mar 2011' AND closed = 'F'"
    )
    assert rows == [{"subsidiarycode": "GB01", "closed": "F"}]


def test_the_previous_month_is_closed_for_the_japanese_entity_and_open_for_the_others(client):
    rows = client.query(
        "SELECT subsidiarycode, closed FROM accountingperiodsubsidiary"
        " WHERE enddate < SYSDATE AND closed = 'T' AND accountingperiod IN"
        " (SELECT accountingperiod FROM accountingperiodsubsidiary"
        " WHERE closed = 'F' AND startdate > TO_DATE('2012', 'YYYY'))"
    )
    assert rows == [{"subsidiarycode": "JP01", "closed": "T"}]


def test_a_period_named_by_the_document_is_taken_and_read_back_and_a_closed_one_is_refused(client, sandboxes):
    april = client.query("SELECT id FROM accountingperiod WHERE periodname = 'Apr 2011'")[0]["id"]
    id = client.create("invoice", invoice(GOODS, postingPeriod={"id": april}))
    assert client.read("invoice", id)["postingPeriod"] == {"id": april, "refName": "Apr 2011"}
    sandboxes.control("POST", "netsuite/account", {"close_period": {"subsidiary": "GB01", "period": "2011-04"}})
    assert "closed" in refuse(client, "invoice", invoice(GOODS, postingPeriod={"id": april}))[2]
    sandboxes.control("POST", "netsuite/account", {"open_period": {"subsidiary": "GB01", "period": "Apr 2011"}})
    client.create("invoice", invoice(GOODS, postingPeriod={"id": april}))


@pytest.mark.parametrize("allowed", [True, False])
def test_a_closed_period_takes_changes_without_effect_on_the_ledger_only_where_it_allows_them(
    client, sandboxes, allowed
):
    id = client.create("invoice", invoice(GOODS))
    march = {"period": "2011-03", "subsidiary": "GB01"}
    closed = {**march, "allow_non_gl_changes": allowed}
    sandboxes.control("POST", "netsuite/account", {"close_period": closed})
    try:
        answer = client.send("PATCH", f"invoice/{id}", {"memo": "seen by the auditor"})
        assert answer.status_code == (204 if allowed else 400)
        assert client.read("invoice", id).get("memo") == ("seen by the auditor" if allowed else None)
    finally:
        sandboxes.control("POST", "netsuite/account", {"open_period": {**march, "allow_non_gl_changes": True}})


def test_a_document_is_applied_only_to_what_stands_on_its_own_receivables_account(client):
    id = client.create("invoice", invoice(GOODS, account={"id": "eid:1120"}))
    pays = {**payment(5), "apply": {"items": [{"doc": {"id": id}, "amount": 5}]}}
    assert "doc" in refuse(client, "customerPayment", {**pays, "arAcct": {"id": "eid:1100"}})[2]
    client.create("customerPayment", {**pays, "arAcct": {"id": "eid:1120"}})


def test_a_lock_of_receivables_lets_journals_through(client, sandboxes):
    sandboxes.control("POST", "netsuite/account", {"lock_period": {"subsidiary": "GB01", "period": "2011-03"}})
    assert refuse(client, "invoice", invoice(GOODS))[1] == "USER_ERROR"
    lines = [{"account": {"id": "eid:6100"}, "debit": 5}, {"account": {"id": "eid:1020"}, "credit": 5}]
    body = {"subsidiary": {"id": "eid:GB01"}, "tranDate": "2011-03-15", "line": {"items": lines}}
    id = client.create("journalEntry", body)
    assert client.impact(id) == {"1020": -5.0, "6100": 5.0}


def test_a_preference_moves_a_document_silently_into_the_next_open_period(client, sandboxes):
    sandboxes.control("POST", "netsuite/account", {"move_period": True})
    march = {"period": "2011-03", "subsidiary": "GB01"}
    sandboxes.control("POST", "netsuite/account", {"close_period": march})
    asked = client.query("SELECT id FROM accountingperiod WHERE periodname = 'Mar 2011'")[0]
    id = client.create("invoice", invoice(GOODS, postingPeriod=asked))
    assert client.read("invoice", id)["postingPeriod"]["refName"] == "Apr 2011"
    assert client.read("invoice", id)["tranDate"] == "2011-03-15"


def test_what_waits_for_approval_has_no_effect_on_the_ledger_until_it_is_approved(client, sandboxes):
    sandboxes.control("POST", "netsuite/account", {"approval": True})
    id = client.create("invoice", invoice(GOODS, approvalStatus={"id": "2"}))
    assert client.read("invoice", id)["approvalStatus"] == {"id": "1", "refName": "Pending Approval"}
    assert client.impact(id) == {}
    assert client.query("SELECT posting, status FROM transaction") == [{"posting": "F", "status": "D"}]
    assert client.send("PATCH", f"invoice/{id}", {"approvalStatus": {"id": "2"}}).status_code == 204
    assert client.impact(id) == {}
    assert sandboxes.control("POST", "netsuite/account", {"approve": "all"})["approve"] == [id]
    assert client.impact(id) == {"1100": 7.5, "4150": -7.5}
    assert client.query("SELECT posting, status FROM transaction") == [{"posting": "T", "status": "A"}]


def test_a_credit_memo_out_of_an_invoice_clears_it(client):
    id = client.create("invoice", invoice(GOODS, line("RETAIL-POST", amount=5)))
    answer = client.send(
        "POST", f"invoice/{id}/!transform/creditMemo", {"externalId": "cm-1", "tranDate": "2011-04-02"}
    )
    assert answer.status_code == 204
    credit = client.read("creditMemo", "eid:cm-1")
    assert (credit["total"], credit["applied"], credit["unapplied"], credit["createdFrom"]["id"]) == (12.5, 12.5, 0, id)
    assert credit["status"]["refName"] == "Fully Applied"
    assert client.impact(credit["id"]) == {"1100": -12.5, "4150": 7.5, "4160": 5.0}
    found = client.read("invoice", id)
    assert (found["status"]["refName"], found["amountPaid"], found["amountRemaining"]) == ("Paid In Full", 12.5, 0)
    rows = client.query("SELECT previousdoc, nextdoc, foreignamount FROM previoustransactionlinelink")
    assert rows == [{"previousdoc": id, "nextdoc": credit["id"], "foreignamount": "12.5"}]


def payment(amount, **more):
    body = {"customer": {"id": "eid:acc-1"}, "payment": amount, "tranDate": "2011-03-20", "account": {"id": "eid:1020"}}
    return {**body, **more}


def test_a_receipt_stays_on_account_until_it_is_applied(client):
    first, second = (client.create("invoice", invoice(GOODS)) for _ in range(2))
    id = client.create("customerPayment", payment(10))
    assert client.impact(id) == {"1020": 10.0, "1100": -10.0}
    assert client.read("customerPayment", id)["unapplied"] == 10
    apply = {"apply": {"items": [{"doc": {"id": first}, "apply": True, "amount": 7.5}]}}
    assert client.send("PATCH", f"customerPayment/{id}", apply).status_code == 204
    apply = {"apply": {"items": [{"doc": {"id": second}, "apply": True}]}}
    assert client.send("PATCH", f"customerPayment/{id}", apply).status_code == 204
    found = client.read("customerPayment", id)
    assert [each["amount"] for each in found["apply"]["items"]] == [7.5, 2.5]
    assert (found["applied"], found["unapplied"]) == (10, 0)
    assert [client.read("invoice", each)["amountRemaining"] for each in (first, second)] == [0, 5]
    assert client.send("PATCH", f"customerPayment/{id}?replace=apply", {"apply": {"items": []}}).status_code == 204
    assert client.read("customerPayment", id)["unapplied"] == 10
    assert [client.read("invoice", each)["amountRemaining"] for each in (first, second)] == [7.5, 7.5]


def test_applying_more_than_is_open_or_was_paid_is_refused(client):
    id = client.create("invoice", invoice(GOODS))
    too_much = {"apply": {"items": [{"doc": {"id": id}, "apply": True, "amount": 8}]}}
    assert "exceeds the 7.5" in refuse(client, "customerPayment", payment(10, **too_much))[2]
    half = {"apply": {"items": [{"doc": {"id": id}, "apply": True, "amount": 7.5}]}}
    assert "more than your total payments" in refuse(client, "customerPayment", payment(5, **half))[2]
    assert client.read("invoice", id)["amountRemaining"] == 7.5
    assert client.query("SELECT COUNT(*) AS n FROM previoustransactionlinelink") == [{"n": "0"}]


def test_a_payment_at_another_rate_makes_a_realised_gain_or_loss(client):
    dollars = {"currency": {"id": "eid:USD"}}
    id = client.create("invoice", invoice(line("RETAIL-GOODS", amount=100), exchangeRate=0.6, **dollars))
    apply = {"apply": {"items": [{"doc": {"id": id}, "apply": True}]}}
    gain = client.create("customerPayment", payment(60, exchangeRate=0.65, **dollars, **apply))
    assert client.impact(gain) == {"1020": 39.0, "1100": -36.0, "4610": -3.0}
    loss = client.create("customerPayment", payment(40, exchangeRate=0.55, **dollars, **apply))
    assert client.impact(loss) == {"1020": 22.0, "1100": -24.0, "8510": 2.0}
    left = client.query(
        "SELECT SUM(l.amount) AS open FROM transactionaccountingline l JOIN account a ON a.id = l.account"
        " WHERE a.acctnumber = '1100'"
    )
    assert left == [{"open": "0"}]


def test_a_refund_pays_out_a_credit_and_nothing_else(client):
    credit = client.create("creditMemo", invoice(GOODS, externalId="cm-1"))
    body = {"customer": {"id": "eid:acc-1"}, "tranDate": "2011-03-25", "account": {"id": "eid:1020"}}
    assert "at least one" in refuse(client, "customerRefund", body)[2]
    body["apply"] = {"items": [{"doc": {"id": credit}, "apply": True, "amount": 5}]}
    id = client.create("customerRefund", body)
    assert client.impact(id) == {"1020": -5.0, "1100": 5.0}
    assert client.read("creditMemo", credit)["unapplied"] == 2.5


def test_a_journal_must_balance(client):
    lines = [{"account": {"id": "eid:6100"}, "debit": 5.01}, {"account": {"id": "eid:1020"}, "credit": 5}]
    body = {"subsidiary": {"id": "eid:GB01"}, "tranDate": "2011-03-15", "line": {"items": lines}}
    assert refuse(client, "journalEntry", body)[:2] == (400, "TRANS_UNBALNCD")
    lines[0] = {"account": {"id": "eid:1100"}, "debit": 5}
    assert "Please enter value(s) for: Name" in refuse(client, "journalEntry", body)[2]


def test_a_reversal_date_makes_the_opposite_entry(client):
    lines = [{"account": {"id": "eid:6100"}, "debit": 5}, {"account": {"id": "eid:1020"}, "credit": 5}]
    id = client.create(
        "journalEntry", {"subsidiary": {"id": "eid:GB01"}, "tranDate": "2011-03-31", "line": {"items": lines}}
    )
    assert client.send("PATCH", f"journalEntry/{id}", {"reversalDate": "2011-04-01"}).status_code == 204
    reversal = client.read("journalEntry", id)["reversalEntry"]["id"]
    assert client.impact(reversal) == {"1020": 5.0, "6100": -5.0}
    found = client.read("journalEntry", reversal)
    assert (found["isReversal"], found["tranDate"], found["postingPeriod"]["refName"]) == (
        True,
        "2011-04-01",
        "Apr 2011",
    )


def test_deleting_needs_a_role_that_may_and_an_open_period(client, sandboxes):
    id = client.create("invoice", invoice(GOODS))
    assert error_of(client.send("DELETE", f"invoice/{id}"))[:2] == (403, "INSUFFICIENT_PERMISSION")
    sandboxes.control("POST", "netsuite/account", {"may_delete": True})
    sandboxes.control("POST", "netsuite/account", {"close_period": {"subsidiary": "GB01", "period": "2011-03"}})
    assert "accounting period" in error_of(client.send("DELETE", f"invoice/{id}"))[2]
    sandboxes.control("POST", "netsuite/account", {"open_period": {"subsidiary": "GB01", "period": "2011-03"}})
    assert client.send("DELETE", f"invoice/{id}").status_code == 204
    assert client.send("GET", f"invoice/{id}").status_code == 404
    assert client.impact(id) == {}
    assert client.query("SELECT recordtypeid, recordid FROM deletedrecord") == [
        {"recordtypeid": "invoice", "recordid": id}
    ]
    assert sandboxes.log("netsuite", id=id, effect="deleted", document_type="invoice")


def test_a_customer_may_buy_of_a_second_subsidiary_once_it_is_related_to_it(client):
    body = invoice(GOODS, subsidiary={"id": "eid:US01"}, tranDate=None)
    assert "Invalid subsidiary reference key 1" in refuse(client, "invoice", body)[2]
    relation = {"entity": {"id": "eid:acc-1"}, "subsidiary": {"id": "eid:US01"}}
    assert client.send("PUT", "customerSubsidiaryRelationship/eid:acc-1-us", relation).status_code == 204
    id = client.create("invoice", {**body, "exchangeRate": 1.25})
    assert client.read("invoice", id)["subsidiary"]["id"] == "1"


def test_two_customers_of_one_name_are_refused(client):
    body = {"companyName": "nordwind", "subsidiary": {"id": "1"}}
    assert "This entity already exists." in refuse(client, "customer", body)[2]


def test_a_sales_order_posts_nothing_and_becomes_an_invoice(client):
    id = client.create("salesOrder", {**invoice(GOODS), "tranDate": "2012-02-01"})  # closed, but it isn't posted
    assert client.impact(id) == {}
    changed = {"externalId": "inv-1", "tranDate": "2011-03-15"}
    assert client.send("POST", f"salesOrder/{id}/!transform/invoice", changed).status_code == 204
    found = client.read("invoice", "eid:inv-1")
    assert (found["total"], found["createdFrom"]["id"]) == (7.5, id)


def test_a_receipt_out_of_an_invoice_pays_what_is_open_of_it(client):
    id = client.create("invoice", invoice(GOODS))
    body = {"externalId": "pay-1", "tranDate": "2011-03-20"}
    assert client.send("POST", f"invoice/{id}/!transform/customerPayment", body).status_code == 204
    paid = client.read("customerPayment", "eid:pay-1")
    assert (paid["payment"], paid["applied"], paid["undepFunds"]) == (7.5, 7.5, True)
    again = client.send("POST", f"invoice/{id}/!transform/customerPayment", {})
    assert error_of(again)[:2] == (400, "USER_ERROR")


def test_a_period_may_be_closed_for_one_subsidiary_through_a_document_of_the_control_door(client, sandboxes):
    row = {"accountingPeriod": {"id": "eid:2011-03"}, "subsidiary": {"id": "eid:GB01"}, "closed": True}
    sandboxes.make("netsuite", "accountingPeriodSubsidiary", row)
    assert "accounting period" in refuse(client, "invoice", invoice(GOODS))[2]
