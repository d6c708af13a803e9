"""Whose a message is, also where nobody translates it: its body goes with its account."""

import json
from pathlib import Path

import pytest

from connectors.salesforce.door import split
from connectors.salesforce.owner import customer_of

ACCOUNT, OWNER = "0015g00000ABCDE", "0015g00000ABCDEAA5"
MESSAGE = """<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<e:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
<OrganizationId>00D5g00000ABCDEEA4</OrganizationId><SessionId>00D!secret</SessionId>
<Notification><Id>04l5g000000AAAAAAA</Id>
<sObject xsi:type="sf:{kind}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">{fields}</sObject></Notification>
</notifications></e:Body></e:Envelope>"""


@pytest.mark.parametrize(
    ("kind", "record", "owner"),
    [
        ("Account", {"Id": ACCOUNT}, OWNER),
        ("Opportunity", {"Id": "0065g00000XYZAB", "AccountId": OWNER}, OWNER),
        ("Opportunity", {"Id": "0065g00000XYZAB", "AccountId": None}, ""),
        ("Order", {"Id": "8015g000000ORD1", "AccountId": ACCOUNT}, OWNER),
        ("Contact", {"Id": "0035g000000CON1", "AccountId": ACCOUNT}, OWNER),
        ("SBQQ__Quote__c", {"Id": "a0q5g000000QUO1", "SBQQ__Account__c": ACCOUNT}, OWNER),
        ("Product2", {"Id": "01t5g000000PRD1", "Name": "Platform"}, ""),
    ],
)
def test_a_polled_record_is_its_account_s(kind, record, owner):
    assert customer_of(json.dumps({"attributes": {"type": kind}, **record}).encode()) == owner


@pytest.mark.parametrize(
    ("kind", "fields", "owner"),
    [
        ("Account", f"<sf:Id>{ACCOUNT}</sf:Id><sf:Name>Northwind</sf:Name>", OWNER),
        ("Opportunity", f"<sf:Id>0065g00000XYZAB</sf:Id><sf:AccountId>{OWNER}</sf:AccountId>", OWNER),
        ("Opportunity", "<sf:Id>0065g00000XYZAB</sf:Id>", ""),
    ],
)
def test_a_notification_as_it_is_stored_is_its_account_s(kind, fields, owner):
    (stored,) = split(MESSAGE.format(kind=kind, fields=fields).encode(), {})
    assert customer_of(stored.body) == owner
    assert b"secret" not in stored.body


def test_each_contact_of_a_message_is_its_own_message():
    body = (Path(__file__).parent / "fixtures" / "outbound_two_contacts.xml").read_bytes()
    assert [customer_of(one.body) for one in split(body, {})] == ["", ""]  # it tells names and addresses, no account


@pytest.mark.parametrize(
    "body", [b"{}", b"{", b"<a/>", b"", b"plain", b'{"attributes": {"type": "Account"}, "Id": "x"}']
)
def test_what_is_no_message_of_salesforce_is_refused(body):
    with pytest.raises(ValueError, match=r"."):
        customer_of(body)
