"""What Salesforce's sandbox works out and refuses by itself, alone and many at once."""

import pytest

from connectors.sandbox.testing import running_sandboxes
from tests.sandboxes.salesforce import ROOT, Caller

WON = {"Name": "Deal", "StageName": "Closed Won", "CloseDate": "2026-11-01"}


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("sf"), vendors=["salesforce"]) as box:
        yield box


@pytest.fixture(scope="module")
def user(box):
    return Caller(box)


@pytest.fixture(scope="module")
def book(box, user) -> dict[str, str]:
    """Ids of the standard book, another book, and one product's entries."""
    standard = user.names("SELECT Id FROM Pricebook2 WHERE IsStandard = true")[0]
    other = box.make("salesforce", "Pricebook2", {"Name": "Partners", "IsActive": True})[0]
    product = box.make("salesforce", "Product2", {"Name": "Platform", "StockKeepingUnit": "P-1", "IsActive": True})[0]
    ids = {"standard": standard, "other": other, "product": product}
    for name, where, currency, price in (
        ("gbp", standard, "GBP", 100),
        ("usd", standard, "USD", 120),
        ("partner", other, "USD", 90),
    ):
        entry = {
            "Pricebook2Id": where,
            "Product2Id": product,
            "UnitPrice": price,
            "CurrencyIsoCode": currency,
            "IsActive": True,
        }
        ids[name] = box.make("salesforce", "PricebookEntry", entry)[0]
    return ids


def code_of(answer) -> str:
    return answer[0]["errorCode"]


def test_the_stage_decides_won_closed_and_probability(box, user):
    id = user.call("POST", "sobjects/Opportunity", {**WON, "StageName": "Prospecting"})["id"]
    before = user.call("GET", f"sobjects/Opportunity/{id}")
    assert (before["IsWon"], before["IsClosed"], before["Probability"]) == (False, False, 10.0)
    user.call("PATCH", f"sobjects/Opportunity/{id}", {"StageName": "Closed Won"})
    after = user.call("GET", f"sobjects/Opportunity/{id}")
    assert (after["IsWon"], after["IsClosed"], after["Probability"], after["ForecastCategoryName"]) == (
        True,
        True,
        100.0,
        "Closed",
    )
    assert after["SystemModstamp"] > before["SystemModstamp"]
    assert (
        code_of(user.call("PATCH", f"sobjects/Opportunity/{id}", {"IsWon": False})) == "INVALID_FIELD_FOR_INSERT_UPDATE"
    )


def test_products_give_the_amount_and_move_the_opportunitys_stamp(box, user, book):
    id = box.make("salesforce", "Opportunity", {**WON, "CurrencyIsoCode": "GBP", "Amount": 5})[0]
    stamp = user.call("GET", f"sobjects/Opportunity/{id}")["SystemModstamp"]
    line = user.call(
        "POST",
        "sobjects/OpportunityLineItem",
        {"OpportunityId": id, "PricebookEntryId": book["gbp"], "Quantity": 3, "UnitPrice": 99.995, "Discount": 10},
    )["id"]
    found = user.call("GET", f"sobjects/Opportunity/{id}")
    assert (found["Amount"], found["HasOpportunityLineItem"], found["Pricebook2Id"]) == (270.0, True, book["standard"])
    assert found["SystemModstamp"] > stamp
    user.call("PATCH", f"sobjects/Opportunity/{id}", {"Amount": 7})
    assert user.call("GET", f"sobjects/Opportunity/{id}")["Amount"] == 270.0
    user.call("DELETE", f"sobjects/OpportunityLineItem/{line}")
    assert user.call("GET", f"sobjects/Opportunity/{id}")["HasOpportunityLineItem"] is False


@pytest.mark.parametrize("entry", ["usd", "partner"])
def test_a_product_of_another_currency_or_price_book_is_refused(box, user, book, entry):
    id = box.make("salesforce", "Opportunity", {**WON, "CurrencyIsoCode": "GBP", "Pricebook2Id": book["standard"]})[0]
    line = {"OpportunityId": id, "PricebookEntryId": book[entry], "Quantity": 1, "UnitPrice": 1}
    assert code_of(user.call("POST", "sobjects/OpportunityLineItem", line)) == "FIELD_INTEGRITY_EXCEPTION"


def test_a_price_is_unique_and_the_standard_price_comes_first(box, user, book):
    again = {"Pricebook2Id": book["standard"], "Product2Id": book["product"], "UnitPrice": 1, "CurrencyIsoCode": "GBP"}
    assert code_of(user.call("POST", "sobjects/PricebookEntry", again)) == "DUPLICATE_VALUE"
    first = {**again, "Pricebook2Id": book["other"], "CurrencyIsoCode": "JPY"}
    assert code_of(user.call("POST", "sobjects/PricebookEntry", first)) == "STANDARD_PRICE_NOT_DEFINED"


def test_an_order_begins_as_a_draft_and_its_products_are_fixed_once_activated(box, user, book):
    account = box.make("salesforce", "Account", {"Name": "Orders"})[0]
    order = {"AccountId": account, "EffectiveDate": "2026-03-01", "Status": "Activated", "CurrencyIsoCode": "GBP"}
    assert code_of(user.call("POST", "sobjects/Order", order)) == "FIELD_INTEGRITY_EXCEPTION"
    id = user.call("POST", "sobjects/Order", {**order, "Status": "Draft"})["id"]
    assert code_of(user.call("PATCH", f"sobjects/Order/{id}", {"Status": "Activated"})) == "FAILED_ACTIVATION"
    item = {"OrderId": id, "PricebookEntryId": book["gbp"], "Quantity": 2, "UnitPrice": 100}
    user.call("POST", "sobjects/OrderItem", item)
    user.call("PATCH", f"sobjects/Order/{id}", {"Status": "Activated"})
    found = user.call("GET", f"sobjects/Order/{id}")
    assert (found["TotalAmount"], found["StatusCode"], bool(found["ActivatedDate"])) == (200.0, "Activated", True)
    soql = f"SELECT Id, (SELECT Quantity FROM OrderItems) FROM Order WHERE AccountId = '{account}' ORDER BY Id LIMIT 1"
    assert [row["OrderItems"]["records"][0]["Quantity"] for row in user.query(soql)] == [2.0]
    assert code_of(user.call("POST", "sobjects/OrderItem", item)) == "FIELD_INTEGRITY_EXCEPTION"


def test_a_contract_ends_on_the_last_day_of_its_term(box, user):
    account = box.make("salesforce", "Account", {"Name": "Contracts"})[0]
    id = box.make("salesforce", "Contract", {"AccountId": account, "StartDate": "2026-03-01", "ContractTerm": 12})[0]
    assert user.call("GET", f"sobjects/Contract/{id}?fields=EndDate,StatusCode")["EndDate"] == "2027-02-28"


def test_a_quote_adds_up_its_lines_and_only_one_is_primary(box, user, book):
    quote = {
        "SBQQ__Primary__c": True,
        "SBQQ__StartDate__c": "2026-03-01",
        "SBQQ__SubscriptionTerm__c": 12,
        "CurrencyIsoCode": "GBP",
    }
    lines = [
        {"SBQQ__Product__c": book["product"], "SBQQ__PricebookEntryId__c": book["gbp"], "SBQQ__Quantity__c": 2},
        {
            "SBQQ__Product__c": book["product"],
            "SBQQ__Quantity__c": 1,
            "SBQQ__ListPrice__c": 50,
            "SBQQ__NetPrice__c": 40,
        },
    ]
    id = box.make(
        "salesforce",
        "Opportunity",
        {**WON, "CurrencyIsoCode": "GBP", "SBQQ__Quotes2__r": [{**quote, "SBQQ__LineItems__r": lines}, quote]},
    )[0]
    found = user.query(
        "SELECT SBQQ__NetAmount__c, SBQQ__ListAmount__c, SBQQ__Primary__c, SBQQ__EndDate__c FROM SBQQ__Quote__c"
        f" WHERE SBQQ__Opportunity2__c = '{id}' ORDER BY Name"
    )
    values = [(each["SBQQ__NetAmount__c"], each["SBQQ__ListAmount__c"], each["SBQQ__Primary__c"]) for each in found]
    assert values == [(240.0, 250.0, False), (0.0, 0.0, True)]
    assert found[0]["SBQQ__EndDate__c"] == "2027-02-28"


def test_an_account_with_a_won_deal_stays_and_no_account_is_its_own_ancestor(box, user):
    parent, child = box.make("salesforce", "Account", {"Name": "Parent"}, {"Name": "Child"})
    user.call("PATCH", f"sobjects/Account/{child}", {"ParentId": parent})
    assert code_of(user.call("PATCH", f"sobjects/Account/{parent}", {"ParentId": child})) == "FIELD_INTEGRITY_EXCEPTION"
    box.make("salesforce", "Opportunity", {**WON, "AccountId": parent})
    assert code_of(user.call("DELETE", f"sobjects/Account/{parent}")) == "DELETE_FAILED"


def test_one_request_of_the_control_door_makes_account_opportunity_and_products_and_logs_each(box, user, book):
    after = box.control("GET", "salesforce/log")["last"]
    given = {
        **WON,
        "CurrencyIsoCode": "GBP",
        "Account": {"Ext_Id__c": "NEW-1", "Name": "New", "BillingCountry": "United Kingdom"},
        "OpportunityLineItems": [{"Product2": {"StockKeepingUnit": "p-1"}, "Quantity": 2, "UnitPrice": 100}],
    }
    box.make("salesforce", "Opportunity", given)
    entries = box.log("salesforce", after=after)
    assert [(each["document_type"], each["effect"]) for each in entries] == [
        ("Account", "created"),
        ("Opportunity", "created"),
        ("OpportunityLineItem", "created"),
    ]
    again = box.make("salesforce", "Opportunity", given)[0]
    assert user.call("GET", f"sobjects/Opportunity/{again}")["AccountId"] == entries[0]["id"]


def test_an_administrator_adds_a_field_and_it_is_there_at_once(box, user):
    box.make(
        "salesforce", "CustomField", {"object": "Account", "name": "Tier__c", "type": "string", "externalId": True}
    )
    user.call("PATCH", "sobjects/Account/Tier__c/gold", {"Name": "Golden"})
    assert user.status == 201
    assert user.names("SELECT Name FROM Account WHERE Tier__c = 'GOLD'") == ["Golden"]


# many at once


def part(reference: str, method: str, path: str, body: dict | None = None) -> dict:
    return {"method": method, "url": f"{ROOT}/{path}", "referenceId": reference, **({"body": body} if body else {})}


def test_composite_uses_earlier_answers_and_is_all_or_none(user):
    good = [
        part("acc", "POST", "sobjects/Account", {"Name": "Composite"}),
        part("con", "POST", "sobjects/Contact", {"LastName": "One", "AccountId": "@{acc.id}"}),
        part("who", "GET", "query?q=SELECT+Name+FROM+Contact+WHERE+AccountId='@{acc.id}'"),
        part("upd", "PATCH", "sobjects/Account/@{acc.id}", {"Phone": "@{who.records[0].Name}"}),
    ]
    answers = user.call("POST", "composite", {"allOrNone": True, "compositeRequest": good})["compositeResponse"]
    assert [each["httpStatusCode"] for each in answers] == [201, 201, 200, 204]
    account = answers[0]["body"]["id"]
    assert user.call("GET", f"sobjects/Account/{account}")["Phone"] == "One"
    bad = [*good[:2], part("bad", "POST", "sobjects/Contact", {"AccountId": "@{acc.id}"}), part("x", "GET", "limits")]
    answers = user.call("POST", "composite", {"allOrNone": True, "compositeRequest": bad})["compositeResponse"]
    assert user.status == 200
    codes = [each["body"][0]["errorCode"] for each in answers]
    assert codes == ["PROCESSING_HALTED", "PROCESSING_HALTED", "REQUIRED_FIELD_MISSING", "PROCESSING_HALTED"]
    assert len(user.names("SELECT Id FROM Account WHERE Name = 'Composite'")) == 1


def test_composite_without_all_or_none_halts_only_what_depends(user):
    parts = [
        part("bad", "POST", "sobjects/Account", {}),
        part("dep", "POST", "sobjects/Contact", {"LastName": "D", "AccountId": "@{bad.id}"}),
        part("ok", "POST", "sobjects/Account", {"Name": "Independent"}),
    ]
    answers = user.call("POST", "composite", {"compositeRequest": parts})["compositeResponse"]
    assert [each["httpStatusCode"] for each in answers] == [400, 400, 201]
    assert answers[1]["body"][0]["errorCode"] == "PROCESSING_HALTED"
    user.call("POST", "composite", {"compositeRequest": [parts[2]] * 26})
    assert user.status == 400


def test_each_graph_is_done_wholly_or_not_at_all(user):
    graphs = [
        {"graphId": "1", "compositeRequest": [part("a", "POST", "sobjects/Account", {"Name": "Graph one"})]},
        {
            "graphId": "2",
            "compositeRequest": [
                part("a", "POST", "sobjects/Account", {"Name": "Graph two"}),
                part("b", "POST", "sobjects/Account", {}),
            ],
        },
    ]
    shown = user.call("POST", "composite/graph", {"graphs": graphs})["graphs"]
    assert [each["isSuccessful"] for each in shown] == [True, False]
    assert user.names("SELECT Name FROM Account WHERE Name LIKE 'Graph %'") == ["Graph one"]


def test_a_collection_answers_record_by_record_or_rolls_all_back(user):
    records = [
        {"attributes": {"type": "Account"}, "Name": "Many"},
        {"attributes": {"type": "Account"}},
        {"attributes": {"type": "Contact"}, "LastName": "Many"},
    ]
    shown = user.call("POST", "composite/sobjects", {"allOrNone": False, "records": records})
    assert [each["success"] for each in shown] == [True, False, True]
    assert shown[1]["errors"][0]["statusCode"] == "REQUIRED_FIELD_MISSING"
    shown = user.call("POST", "composite/sobjects", {"allOrNone": True, "records": records})
    assert [each["errors"][0]["statusCode"] for each in shown] == [
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        "REQUIRED_FIELD_MISSING",
        "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    ]
    assert len(user.names("SELECT Id FROM Account WHERE Name = 'Many'")) == 1
    user.call("POST", "composite/sobjects", {"records": [records[0]] * 201})
    assert user.status == 400


def test_collections_upsert_update_read_and_delete(user):
    records = [{"attributes": {"type": "Account"}, "Ext_Id__c": f"COL-{n}", "Name": f"Col {n}"} for n in range(2)]
    made = user.call("PATCH", "composite/sobjects/Account/Ext_Id__c", {"records": records})
    again = user.call("PATCH", "composite/sobjects/Account/Ext_Id__c", {"records": records})
    assert ([each["created"] for each in made], [each["created"] for each in again]) == ([True, True], [False, False])
    ids = [each["id"] for each in made]
    change = [{"attributes": {"type": "Account"}, "Id": ids[0][:15], "Phone": "7"}]
    assert user.call("PATCH", "composite/sobjects", {"records": change})[0] == {
        "id": ids[0],
        "success": True,
        "errors": [],
    }
    read = user.call(
        "POST", "composite/sobjects/Account", {"ids": [*ids, "0015gQ00000zzzz"], "fields": ["Name", "Phone"]}
    )
    assert [each and (each["Name"], each["Phone"]) for each in read] == [("Col 0", "7"), ("Col 1", None), None]
    gone = user.call("DELETE", f"composite/sobjects?ids={','.join(ids)}")
    assert [each["success"] for each in gone] == [True, True]


def test_a_tree_is_made_wholly_or_not_at_all(user):
    tree = {
        "attributes": {"type": "Account", "referenceId": "a"},
        "Name": "Tree",
        "Contacts": {"records": [{"attributes": {"type": "Contact", "referenceId": "c"}, "LastName": "Leaf"}]},
    }
    shown = user.call("POST", "composite/tree/Account", {"records": [tree]})
    assert (user.status, shown["hasErrors"], [each["referenceId"] for each in shown["results"]]) == (
        201,
        False,
        ["a", "c"],
    )
    assert user.names("SELECT Account.Name FROM Contact WHERE LastName = 'Leaf'")[0]["Name"] == "Tree"
    broken = {**tree, "Name": "Broken tree", "Contacts": {"records": [{"attributes": {"type": "Contact"}}]}}
    assert user.call("POST", "composite/tree/Account", {"records": [broken]})["hasErrors"] is True
    assert user.names("SELECT Id FROM Account WHERE Name = 'Broken tree'") == []


def test_a_record_that_was_changed_meanwhile_is_kept_from_a_late_writer(user):
    id = user.call("POST", "sobjects/Account", {"Name": "Late"})["id"]
    user.call(
        "PATCH", f"sobjects/Account/{id}", {"Phone": "1"}, **{"If-Unmodified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}
    )
    assert user.status == 412


def test_everything_survives_a_kill_and_the_log_goes_on(tmp_path):
    with running_sandboxes(tmp_path, vendors=["salesforce"]) as box:
        made = box.make("salesforce", "Account", {"Name": "Stays"})[0]
        secret = box.vendor("salesforce")["credentials"]
        user = Caller(box)
        last = box.control("GET", "salesforce/log")["last"]
        box.kill()
        box.start()
        assert user.call("GET", f"sobjects/Account/{made}")["Name"] == "Stays"
        assert box.vendor("salesforce")["credentials"] == secret
        box.make("salesforce", "Account", {"Name": "Next"})
        assert box.control("GET", "salesforce/log")["last"] == last + 1
        box.control("POST", "reset", {"vendors": ["salesforce"], "keep": "nothing"})
        assert box.control("GET", "salesforce/documents/Account")["items"] == []
        assert box.make("salesforce", "Account", {"Name": "After"})[0] > made
