"""The demo's feed against real sandboxes: filled once, and going on where it stopped."""

import datetime as dt

import pytest

from connectors.sandbox.remote import ControlDoor, SandboxAway, SandboxRefused
from connectors.sandbox.testing import running_sandboxes
from q2c.demo import deals, feeding
from q2c.demo.filling import fill_company

TODAY = dt.date(2026, 11, 20)


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("feed"), vendors=["salesforce"]) as box:
        yield box


@pytest.fixture(scope="module")
def door(box) -> ControlDoor:
    door = ControlDoor(box.port)
    assert fill_company(door) == {
        "Product2": 314, "ProductSellingModel": 9, "PricebookEntry": 1862, "Account": 847, "Contact": 847,
    }  # fmt: skip
    return door


def test_filling_again_makes_nothing(door):
    assert sum(fill_company(door).values()) == 0


def test_what_is_missing_is_made_again(box, door):
    (contact,) = door.query_salesforce("SELECT Id FROM Contact WHERE Ext_Id__c = 'AWC-1'")
    box.make("salesforce", "Contact", {"Id": contact["Id"], "Ext_Id__c": None})
    assert fill_company(door)["Contact"] == 1


def test_deals_go_on_after_a_crash_without_a_double(box, door):
    assert feeding.find_next_deal(door) == 1
    assert feeding.make_deals(door, 1, deals.FIRST_DEALS, TODAY) == 24
    box.kill()
    with pytest.raises(SandboxAway):
        feeding.find_next_deal(door)
    box.start()
    assert feeding.find_next_deal(door) == 25
    assert feeding.make_deals(door, 20, 26, TODAY) == 2
    won = door.query_salesforce("SELECT Ext_Id__c FROM Opportunity WHERE IsWon = true ORDER BY Ext_Id__c")
    assert [each["Ext_Id__c"] for each in won] == [deals.deal_key(number) for number in range(1, 27)]


def test_a_tick_s_order_is_activated_once_with_its_deal_or_alone(door):
    feeding.make_deals(door, 28, 28, TODAY)
    told = [feeding.sign_order(door, number, TODAY) for number in (27, 28, 28, 32)]
    assert told == [[], *[["order ORDER-00000028 activated"]] * 2, ["order ORDER-00000032 activated without a deal"]]
    soql = "SELECT Ext_Id__c, Opportunity.Ext_Id__c, StatusCode, TotalAmount FROM Order ORDER BY Ext_Id__c"
    signed, alone = door.query_salesforce(soql)
    assert (signed["Ext_Id__c"], signed["Opportunity"]["Ext_Id__c"]) == ("ORDER-00000028", deals.deal_key(28))
    assert (alone["Ext_Id__c"], alone["Opportunity"]) == ("ORDER-00000032", None)
    assert {signed["StatusCode"], alone["StatusCode"]} == {"Activated"}
    (deal,) = door.query_salesforce(f"SELECT Amount FROM Opportunity WHERE Ext_Id__c = '{deals.deal_key(28)}'")
    assert signed["TotalAmount"] == deal["Amount"]


def test_an_account_change_reaches_the_account(door):
    key, changes = deals.build_account_change(5)
    door.call_salesforce("PATCH", f"sobjects/Account/Ext_Id__c/{key}", changes)
    ((name, value),) = changes.items()
    (found,) = door.query_salesforce(f"SELECT {name} FROM Account WHERE Ext_Id__c = '{key}'")
    assert found[name] == value


def test_a_lost_session_is_opened_again_and_a_refusal_says_why(door):
    door.session = "nonsense"
    assert door.query_salesforce("SELECT Id FROM Organization")
    with pytest.raises(SandboxRefused, match="INVALID_FIELD"):
        door.query_salesforce("SELECT Nothing FROM Account")
