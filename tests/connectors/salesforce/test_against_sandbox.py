"""The Salesforce client against Salesforce's sandbox, over HTTP."""

import datetime as dt
from decimal import Decimal

import pytest
from requests import HTTPError

from connectors.errors import Absent
from connectors.manifest import Context
from connectors.recorder import Collector
from connectors.salesforce.events import EVENTS
from connectors.salesforce.outbound import STATUS_FIELDS
from connectors.salesforce.owner import customer_of
from connectors.sandbox.testing import running_sandboxes
from q2c.core.problems import Category, Problem
from tests.connectors.lines import client_of, run


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("salesforce"), vendors=["salesforce"]) as running:
        yield running


@pytest.fixture
def client(sandboxes):
    def build(**changes):
        given = sandboxes.vendor("salesforce")
        credentials = {**given["credentials"], **changes}
        settings = {"organization_id": credentials["organization_id"], "legal_entity_field": "Legal_Entity__c"}
        settings |= credentials.get("settings", {})
        secrets = {"client_id": credentials["client_id"], "client_secret": credentials["client_secret"]}
        if credentials.get("is_jwt"):
            settings |= {"username": credentials["username"], "audience": given["url"]}
            secrets = {"client_id": credentials["client_id"], "private_key": credentials["private_key"]}
        return client_of("salesforce", given["url"], settings=settings, secrets=secrets)

    return build


@pytest.fixture(scope="module")
def sold(sandboxes):
    """An account with a parent, a product with a price, and a won opportunity with one line."""
    (parent,) = sandboxes.make("salesforce", "Account", {"Name": "Northwind Group", "CurrencyIsoCode": "GBP"})
    account_fields = {
        "Name": "Northwind Ltd", "ParentId": parent, "AccountNumber": "NW-1", "BillingStreet": "1 High St\nUnit 2",
        "BillingCity": "Leeds", "BillingPostalCode": "LS1 1AA", "BillingCountry": "United Kingdom",
        "CurrencyIsoCode": "GBP", "Legal_Entity__c": "GB01",
    }  # fmt: skip
    (account,) = sandboxes.make("salesforce", "Account", account_fields)
    (product,) = sandboxes.make(
        "salesforce", "Product2", {"Name": "Platform", "ProductCode": "PLAT-1", "IsActive": True}
    )
    standard = next(
        b for b in sandboxes.control("GET", "salesforce/documents/Pricebook2")["items"] if b.get("IsStandard")
    )["Id"]
    (entry,) = sandboxes.make(
        "salesforce", "PricebookEntry",
        {"Pricebook2Id": standard, "Product2Id": product, "UnitPrice": 1000.5, "IsActive": True,
         "CurrencyIsoCode": "GBP"},
    )  # fmt: skip
    (opportunity,) = sandboxes.make(
        "salesforce", "Opportunity",
        {"Name": "Northwind platform", "AccountId": account, "StageName": "Prospecting", "CloseDate": "2026-11-01",
         "CurrencyIsoCode": "GBP", "Pricebook2Id": standard},
    )  # fmt: skip
    sandboxes.make(
        "salesforce", "OpportunityLineItem",
        {"OpportunityId": opportunity, "PricebookEntryId": entry, "Quantity": 10, "UnitPrice": 1000.5},
    )  # fmt: skip
    return {"parent": parent, "account": account, "opportunity": opportunity}


def win(sandboxes, opportunity):
    sandboxes.make("salesforce", "Opportunity", {"Id": opportunity, "StageName": "Closed Won"})


def test_an_account_becomes_a_customer_with_its_parent(client, sold):
    customer = run(client().customer(sold["account"][:15]))
    assert (customer.name, customer.number, customer.currency) == ("Northwind Ltd", "NW-1", "GBP")
    assert (customer.bill_to.line1, customer.bill_to.line2, customer.bill_to.country) == ("1 High St", "Unit 2", "GB")
    assert customer.parent_id == sold["parent"]
    assert customer.legal_entity == "GB01"
    assert customer.source.object_id == sold["account"]


def test_the_price_book_is_read_whole_and_each_entry_is_a_price(client, sold):
    async def story():
        return await client().changes("PricebookEntry", {})

    (found,) = [p for p in run(story()).found if b"PLAT-1" in p.body]
    now = dt.datetime.now(dt.UTC)
    context = Context("salesforce", {}, "PricebookEntry", found.source_id, now)
    (event,) = EVENTS["PricebookEntry"].translate(found.body, context)
    price = event.price
    assert (price.sku, price.currency, price.unit_price, price.is_active) == ("PLAT-1", "GBP", Decimal("1000.5"), True)
    assert (price.source.object_type, price.source.object_id) == ("PricebookEntry", found.source_id)
    assert price.billing_frequency == ""  # its selling model says none


def test_an_opportunity_is_no_order_before_it_is_won(client, sold, sandboxes):
    async def story():
        crm = client()
        before = await crm.closed_won_order(sold["opportunity"])
        crm = client()
        path = await crm._url(f"sobjects/Opportunity/{sold['opportunity']}")
        await crm.telephone.call("PATCH", path, verb="win", json={"StageName": "Closed Won"})
        return before, await crm.closed_won_order(sold["opportunity"])

    before, order = run(story())
    assert before is None
    assert (order.source.object_id, order.currency, order.customer_id) == (sold["opportunity"], "GBP", sold["account"])
    assert order.legal_entity == "GB01"
    assert order.start_date == dt.date(2026, 11, 1)
    (line,) = order.lines
    assert (line.sku, line.quantity, line.unit_price) == ("PLAT-1", Decimal(10), Decimal("1000.5"))
    assert order.amount == Decimal("10005")


def test_an_order_is_none_before_it_is_activated_and_names_its_sale(client, sold, sandboxes):
    entry = sandboxes.control("GET", "salesforce/documents/PricebookEntry")["items"][0]["Id"]
    draft = {
        "AccountId": sold["account"], "Status": "Draft", "EffectiveDate": "2026-03-01", "EndDate": "2027-02-28",
        "CurrencyIsoCode": "GBP", "OpportunityId": sold["opportunity"],
        "SBQQ__Quote__r": {"SBQQ__Account__c": sold["account"], "SBQQ__PaymentTerms__c": "Net 45"},
        "OrderItems": [{"PricebookEntryId": entry, "Quantity": 2, "UnitPrice": 90,
                        "SBQQ__BillingFrequency__c": "Monthly"}],
    }  # fmt: skip
    (made,) = sandboxes.make("salesforce", "Order", draft)
    assert run(client().activated_order(made)) is None
    sandboxes.make("salesforce", "Order", {"Id": made, "Status": "Activated"})
    order = run(client().activated_order(made[:15]))
    assert (order.source.object_type, order.source.object_id) == ("Order", made)
    assert (order.opportunity_id, order.legal_entity, order.payment_terms) == (sold["opportunity"], "GB01", "Net 45")
    (line,) = order.lines
    assert (line.sku, line.quantity, line.unit_price, line.billing_frequency) == (
        "PLAT-1",
        2,
        Decimal("7.5"),
        "monthly",
    )
    (found,) = [p for p in run(client().changes("Order", {})).found if p.source_id == made]
    assert customer_of(found.body) == sold["account"]
    saved = run(client().publish_status(order_id=made, fields={"status": "active"}))
    assert saved.id == made
    assert shown(sandboxes, "Order", made)["Q2C_Status__c"] == "active"


@pytest.mark.parametrize(
    ("dates", "months"),
    [({"SBQQ__EndDate__c": "2026-11-30"}, 11), ({"SBQQ__SubscriptionTerm__c": 6}, 6), ({}, 0)],
)
def test_a_quotes_term_goes_to_its_end_date_or_is_its_own_and_is_not_guessed(client, sold, sandboxes, dates, months):
    quote = {
        "SBQQ__Account__c": sold["account"], "SBQQ__Primary__c": True, "SBQQ__Status__c": "Accepted",
        "SBQQ__StartDate__c": "2026-01-01", "CurrencyIsoCode": "GBP", **dates,
    }  # fmt: skip
    given = {
        "Name": "Northwind quoted", "AccountId": sold["account"], "StageName": "Closed Won", "CloseDate": "2026-01-01",
        "CurrencyIsoCode": "GBP", "SBQQ__Quotes2__r": [quote],
    }  # fmt: skip
    (won,) = sandboxes.make("salesforce", "Opportunity", given)
    assert run(client().closed_won_order(won)).term_months == months


def test_an_order_that_takes_back_a_part_of_another_is_for_a_person(client, sold, sandboxes):
    entry = sandboxes.control("GET", "salesforce/documents/PricebookEntry")["items"][0]["Id"]
    given = {"AccountId": sold["account"], "Status": "Draft", "EffectiveDate": "2026-03-01", "CurrencyIsoCode": "GBP",
             "OrderItems": [{"PricebookEntryId": entry, "Quantity": 1, "UnitPrice": 90}]}  # fmt: skip
    (first,) = sandboxes.make("salesforce", "Order", given)
    (made,) = sandboxes.make("salesforce", "Order", {**given, "IsReductionOrder": True, "OriginalOrderId": first})
    assert run(client().activated_order(made)) is None
    sandboxes.make("salesforce", "Order", {"Id": made, "Status": "Activated"})
    with pytest.raises(Problem) as refusal:
        run(client().activated_order(made))
    assert (refusal.value.code, refusal.value.subject["order"]) == ("order_changed_after_won", made)


def test_an_org_without_orders_is_not_asked_for_them(client):
    assert run(client(settings={"has_orders": "no"}).changes("Order", {})).found == ()


def test_a_deleted_opportunity_is_absent(client):
    with pytest.raises(Absent):
        run(client().order("006000000000001AAA"))
    assert run(client().closed_won_order("006000000000001AAA")) is None


def shown(sandboxes, kind, record_id):
    """A record as Salesforce keeps it."""
    rows = sandboxes.control("GET", f"salesforce/documents/{kind}?limit=1000")["items"]
    return next(row for row in rows if row["Id"] == record_id)


def test_status_is_written_and_shown(client, sold, sandboxes):
    fields = {"status": "Subscription active", "invoice_status": "Posted", "link": "https://portal.example.com/t/1"}
    saved = run(client().publish_status(order_id=sold["opportunity"], fields=fields))
    assert (saved.id, saved.status) == (sold["opportunity"], "Subscription active")
    row = shown(sandboxes, "Opportunity", sold["opportunity"])
    assert {name: row[STATUS_FIELDS[name]] for name in fields} == fields


def by_number(client, number, field="Legacy_Id__c"):
    crm = client(settings={"order_key_field": field})
    return run(crm.publish_status(order_id=number, fields={"status": "active"}))


@pytest.mark.parametrize("number", ["ORD-1042", "ORD/2026 1042?", "006-42", "006ABCDEFGHIJKLXYZ"])
def test_an_order_of_another_system_s_number_is_told_by_external_id(client, sandboxes, number):
    won = {"Name": "By number", "StageName": "Closed Won", "CloseDate": "2026-11-01", "Legacy_Id__c": number}
    (made,) = sandboxes.make("salesforce", "Opportunity", won)
    assert by_number(client, number).id == made
    assert shown(sandboxes, "Opportunity", made)["Q2C_Status__c"] == "active"


def test_an_order_that_no_opportunity_knows_makes_none(client, sandboxes):
    before = len(sandboxes.log("salesforce", document_type="Opportunity", effect="created"))
    for crm in (client(), client(settings={"order_key_field": "Legacy_Id__c"})):
        with pytest.raises(Problem) as refusal:
            run(crm.publish_status(order_id="ORD-NOBODY", fields={"status": "active"}))
        assert (refusal.value.code, refusal.value.category) == ("target_gone", Category.MAPPING)
    assert len(sandboxes.log("salesforce", document_type="Opportunity", effect="created")) == before


def test_two_opportunities_of_one_number_are_for_a_person(client, sandboxes):
    twin = {"Name": "Twin", "StageName": "Closed Won", "CloseDate": "2026-11-01", "Legacy_Id__c": "ORD-TWIN"}
    sandboxes.make("salesforce", "Opportunity", twin, twin)
    with pytest.raises(Problem) as refusal:
        by_number(client, "ORD-TWIN")
    assert (refusal.value.code, refusal.value.category) == ("duplicate_refused", Category.CONFLICT)


def test_jwt_bearer_signs_in_too(client, sold):
    assert run(client(is_jwt=True).customer(sold["account"])).name == "Northwind Ltd"


def test_wrong_credentials_pause_the_connection(client):
    with pytest.raises(Problem) as refusal:
        run(client(client_secret="wrong").customer("001000000000001AAA"))
    assert (refusal.value.code, refusal.value.category) == ("credentials_refused", Category.AUTHENTICATION)


def test_an_expired_session_is_renewed_once(client, sold, sandboxes):
    async def story():
        crm = client()
        await crm.customer(sold["account"])
        sandboxes.fault("salesforce", "expire_token", when={"nth": 1})
        return await crm.customer(sold["account"])

    assert run(story()).name == "Northwind Ltd"


@pytest.mark.scenario(24, of="reading a source, before any flow")
def test_polling_walks_through_records_that_share_one_instant(client, sandboxes, monkeypatch):
    monkeypatch.setattr("connectors.salesforce.client.ROWS_PER_POLL", 2)
    made = sandboxes.make("salesforce", "Account", *({"Name": f"Same {i}", "CurrencyIsoCode": "GBP"} for i in range(7)))

    async def story():
        crm, position, seen = client(), {}, []
        for _ in range(50):
            page = await crm.changes("Account", position)
            seen += [p.source_id for p in page.found]
            position = page.position
            if not page.has_more:
                return seen, position, await crm.changes("Account", position)
        raise AssertionError("the round never ended")

    seen, position, again = run(story())
    assert set(made) <= set(seen)
    assert len(seen) == len(set(seen))
    assert position["is_within"] is False
    assert again.found  # the overlap brings recent ones again: the inbox knows them by their key


async def _round(crm, stream, position):
    """A whole round of a stream: its records, and the position behind it."""
    seen = []
    for _ in range(50):
        page = await crm.changes(stream, position)
        seen += [p.source_id for p in page.found]
        position = page.position
        if not page.has_more:
            return seen, position
    raise AssertionError("the round never ended")


@pytest.mark.scenario(24)
def test_what_committed_late_is_read_though_the_overlap_is_longer_than_a_page(client, sandboxes, monkeypatch):
    monkeypatch.setattr("connectors.salesforce.client.ROWS_PER_POLL", 2)
    names = ({"Name": f"Load {n}", "CurrencyIsoCode": "GBP"} for n in range(3))
    known = sandboxes.make("salesforce", "Account", *names)
    position = run(_round(client(), "Account", {}))[1]
    sandboxes.control("POST", "clock", {"offset_seconds": -60})
    try:
        late = sandboxes.make("salesforce", "Account", *({"Name": f"Late {n}"} for n in range(5)))
    finally:
        sandboxes.control("POST", "clock", {"reset": True})
    seen, after = run(_round(client(), "Account", position))
    assert set(late) | set(known) <= set(seen)
    assert len(seen) == len(set(seen))
    assert after["modstamp"] == position["modstamp"]  # the newest record is the same


def test_each_call_is_recorded_and_the_day_quota_is_seen(client, sold, sandboxes):
    collector = Collector()

    async def story():
        crm = client()
        crm.telephone.record = collector
        await crm.customer(sold["account"])
        return crm.telephone.breaker.quota_limit

    assert run(story()) is not None
    verbs = [noted.verb for noted in collector.take()]
    assert verbs == ["token", "customer"]


def test_accounts_that_were_merged_are_told_with_the_one_that_stayed(client, sandboxes):
    kept, gone, last = (sandboxes.make("salesforce", "Account", {"Name": n})[0] for n in ("Kept", "Gone", "Last"))
    (deal,) = sandboxes.make(
        "salesforce", "Opportunity",
        {"Name": "Deal", "AccountId": gone, "StageName": "Prospecting", "CloseDate": "2026-01-31"},
    )  # fmt: skip
    (child,) = sandboxes.make("salesforce", "Account", {"Name": "Child", "ParentId": gone})
    sandboxes.make("salesforce", "Account", {"Id": kept, "MergeIds": [gone], "Phone": "7"})
    sandboxes.make("salesforce", "Account", {"Id": last, "MergeIds": [kept]})
    page = run(client().changes("MergedAccount", {}))
    told = {p.source_id: customer_of(p.body) for p in page.found}
    assert told == {gone: gone, kept: kept}
    found = run(client().surviving_account(gone))
    assert (found.name, found.source.object_id) == ("Last", last)
    assert run(client().surviving_account(last)) is None
    rows = sandboxes.control("GET", "salesforce/documents/Opportunity")["items"]
    assert next(r["AccountId"] for r in rows if r["Id"] == deal) == last
    assert run(client().account(child)).parent_id == last
    assert run(client().account(gone)) is None
    (body,) = [p.body for p in page.found if p.source_id == gone]
    context = Context("salesforce", {}, "MergedAccount", gone, dt.datetime.now(dt.UTC), found)
    (event,) = EVENTS["MergedAccount"].translate(body, context)
    assert (event.customer, event.merged.object_type, event.merged.object_id) == (found, "Account", gone)


def test_a_merge_that_would_close_a_ring_is_refused(sandboxes):
    (top,) = sandboxes.make("salesforce", "Account", {"Name": "Top"})
    (below,) = sandboxes.make("salesforce", "Account", {"Name": "Below", "ParentId": top})
    with pytest.raises(HTTPError, match="400"):
        sandboxes.make("salesforce", "Account", {"Id": below, "MergeIds": [top]})
    rows = {r["Id"]: r for r in sandboxes.control("GET", "salesforce/documents/Account")["items"]}
    assert (rows[top]["IsDeleted"], rows[below]["ParentId"]) == (False, top)


def test_its_past_is_read_again_page_by_page_or_by_ids(client, sandboxes, monkeypatch):
    monkeypatch.setattr("connectors.salesforce.client.ROWS_PER_POLL", 2)
    names = [f"Past {n}" for n in range(5)]
    made = sandboxes.make("salesforce", "Account", *({"Name": n, "CurrencyIsoCode": "GBP"} for n in names))
    now = dt.datetime.now(dt.UTC)

    async def between(since, until):
        crm, position, seen = client(), {}, []
        while True:
            page = await crm.between("Account", since, until, position)
            seen += page.found
            position = page.position
            if not page.has_more:
                return seen

    hour = dt.timedelta(hours=1)
    seen = [p.source_id for p in run(between(now - hour, now + hour))]
    assert len(seen) == len(set(seen))
    assert set(made) <= set(seen)
    assert run(between(now - 2 * hour, now - hour)) == []
    found = run(client().again([made[0][:15], made[1], "001000000000000AAA", "x' OR Id != '", "00Q000000000000AAA"]))
    assert sorted(p.source_id for p in found) == sorted(made[:2])
