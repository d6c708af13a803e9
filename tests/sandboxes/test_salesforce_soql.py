"""SOQL of the Salesforce sandbox: what it finds, how it shows it, and what it refuses."""

import pytest

from connectors.salesforce.sandbox.ids import add_suffix, make_id, read_id
from connectors.sandbox.testing import running_sandboxes
from tests.sandboxes.salesforce import Caller


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    with running_sandboxes(tmp_path_factory.mktemp("sf"), vendors=["salesforce"]) as box:
        box.make(
            "salesforce",
            "Account",
            {"Name": "Alpha", "BillingCountry": "Japan", "Ext_Id__c": "A", "AccountNumber": "1"},
            {"Name": "beta", "BillingCountry": "Canada", "Ext_Id__c": "B", "Parent": {"Ext_Id__c": "A"}},
            {"Name": "O'Neil 100%", "Ext_Id__c": "C", "Phone": "1"},
        )
        box.make(
            "salesforce",
            "Opportunity",
            {
                "Name": "Big",
                "Amount": 1000,
                "StageName": "Closed Won",
                "CloseDate": "2026-03-01",
                "Account": {"Ext_Id__c": "A"},
            },
            {
                "Name": "Small",
                "Amount": 10.5,
                "StageName": "Closed Lost",
                "CloseDate": "2026-01-31",
                "Account": {"Ext_Id__c": "B"},
            },
            {"Name": "Open", "StageName": "Prospecting", "CloseDate": "2026-02-15"},
        )
        yield Caller(box)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("WHERE Amount > 10.5", ["Big"]),
        ("WHERE Amount >= 10.5 AND Amount < 1000", ["Small"]),
        ("WHERE Amount = null", ["Open"]),
        ("WHERE Amount != null", ["Big", "Small"]),
        ("WHERE Amount != 10.5", ["Big", "Open"]),
        ("WHERE IsWon = true", ["Big"]),
        ("WHERE IsClosed = TRUE AND IsWon = false", ["Small"]),
        ("WHERE CloseDate >= 2026-02-15", ["Big", "Open"]),
        ("WHERE CloseDate = 2026-01-31", ["Small"]),
        ("WHERE CreatedDate = TODAY", ["Big", "Open", "Small"]),
        ("WHERE CreatedDate < LAST_N_DAYS:3", []),
        ("WHERE Name IN ('BIG', 'open')", ["Big", "Open"]),
        ("WHERE Name NOT IN ('Big')", ["Open", "Small"]),
        ("WHERE NOT Name = 'Big'", ["Open", "Small"]),
        ("WHERE Account.Name = 'alpha' OR StageName = 'Prospecting'", ["Big", "Open"]),
        (
            "WHERE (Account.Name = 'Alpha' AND IsWon = true) OR (Account.Parent.Name = 'Alpha' AND IsWon = false)",
            ["Big", "Small"],
        ),
        ("WHERE AccountId IN (SELECT Id FROM Account WHERE BillingCountry LIKE 'jap%')", ["Big"]),
        ("WHERE SystemModstamp > 2020-01-01T00:00:00Z AND SystemModstamp < 2020-01-02T00:00:00+01:00", []),
        ("WHERE SystemModstamp >= 2020-01-01T00:00:00.000+0000", ["Big", "Open", "Small"]),
    ],
)
def test_conditions_find_what_they_mean(user, where, expected):
    assert user.names(f"SELECT Name FROM Opportunity {where} ORDER BY Name") == expected


def test_strings_are_escaped_and_wildcards_are_literal_when_escaped_by_the_pattern(user):
    assert user.names(r"SELECT Name FROM Account WHERE Name = 'O\'Neil 100%'") == ["O'Neil 100%"]
    assert user.names("SELECT Name FROM Account WHERE Name LIKE '_eta'") == ["beta"]


def test_order_limit_offset_and_nulls(user):
    assert user.names("SELECT Name FROM Opportunity ORDER BY Amount DESC NULLS LAST") == ["Big", "Small", "Open"]
    assert user.names("SELECT Name FROM Opportunity ORDER BY Amount NULLS FIRST LIMIT 1") == ["Open"]
    assert user.names("SELECT Name FROM Opportunity ORDER BY Account.Name DESC NULLS LAST, Name LIMIT 1 OFFSET 1") == [
        "Big"
    ]
    counted = user.call("GET", "query?q=SELECT+COUNT()+FROM+Opportunity+WHERE+IsClosed=true")
    assert counted == {"totalSize": 2, "done": True, "records": []}


def test_parents_and_children_are_nested_with_their_envelopes(user):
    (found,) = user.query(
        "SELECT Name, Parent.Name, (SELECT Name FROM Opportunities), (SELECT Id FROM Contacts) FROM Account"
        " WHERE Ext_Id__c = 'b'"
    )
    assert found["Parent"]["Name"] == "Alpha"
    assert found["Parent"]["attributes"]["type"] == "Account"
    assert [each["Name"] for each in found["Opportunities"]["records"]] == ["Small"]
    assert found["Contacts"] is None
    (orphan,) = user.query("SELECT Parent.Name FROM Account WHERE Ext_Id__c = 'A'")
    assert orphan["Parent"] is None


@pytest.mark.parametrize(
    ("soql", "code"),
    [
        ("SELECT Nmae FROM Account", "INVALID_FIELD"),
        ("SELECT Owner.Nmae FROM Account", "INVALID_FIELD"),
        ("SELECT Foo.Name FROM Account", "INVALID_FIELD"),
        ("SELECT Id FROM Acount", "INVALID_TYPE"),
        ("SELECT (SELECT Id FROM Nothing) FROM Account", "INVALID_TYPE"),
        ("SELECT Id FROM Account WHERE Name = 5", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE CreatedDate > '2026-01-01'", "INVALID_FIELD"),
        ("SELECT Id FROM Account WHERE Id = 'abc'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id FROM Account WHERE Name = 'a' AND Phone = '1' OR Phone = '2'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account WHERE Name = 'a", "MALFORMED_QUERY"),
        ("SELECT Id, FROM Account", "MALFORMED_QUERY"),
        ("SELECT Id Account", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account LIMIT x", "MALFORMED_QUERY"),
        ("SELECT Id FROM Account OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("DELETE FROM Account", "MALFORMED_QUERY"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_code(user, soql, code):
    refused = user.query(soql)
    assert (user.status, refused[0]["errorCode"]) == (400, code)


def test_an_address_of_more_than_sixteen_kilobytes_is_too_long(user):
    user.query(f"SELECT Id FROM Account WHERE Name = '{'x' * 17000}'")
    assert user.status == 414


def test_the_suffix_of_an_id_is_salesforces_and_restores_case():
    assert add_suffix("001D000000IqhSL") == "001D000000IqhSLIAZ"
    assert read_id("001d000000iqhsliaz") == "001D000000IqhSLIAZ"
    assert read_id("001D000000IqhSL") == "001D000000IqhSLIAZ"
    assert [read_id(each) for each in ("", "001", "001D000000IqhS!", None)] == [None, None, None, None]
    ids = [make_id("001", number) for number in range(1, 500)]
    assert ids == sorted(ids)
    assert len({each.lower() for each in ids}) == len(ids)
