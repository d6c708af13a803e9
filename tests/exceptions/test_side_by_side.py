"""A document beside what came, what it would become and what it was: values as they came, whose each field is."""

import hashlib
import json

import pytest

from exceptions.side_by_side import NOTHING, columns_of, lay_out, read_raw
from q2c import ports
from q2c.core import vault
from tests import factories
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
SAID = {
    "id": "evt_1",
    "data": {
        "object": {
            "number": "INV-1", "customer": "cus_1", "customer_name": "Northwind", "currency": "gbp", "total": 12000,
            "client_secret": "pi_secret_of_somebody", "note": "paid with 4242 4242 4242 4242", "due_date": None,
            "customer_email": "ann@acme.example", "shipping": {"name": "Ann", "address": {"line1": "1 High St"}},
            "lines": {"data": [{"amount": 12000}]},
        }
    },
}  # fmt: skip


def message(body: bytes):
    key = vault.new_key()
    sealed = vault.seal(body, key)
    found = factories.make_message(body=sealed, body_key=vault.seal_with_master(key))
    assert found.event.body_hash == hashlib.sha256(sealed).hexdigest()
    return found


def test_a_message_is_read_field_by_field_as_it_came_and_its_secrets_are_not_shown():
    raw = read_raw(message(json.dumps(SAID).encode()))
    assert (raw.values["total"], raw.names["total"], raw.names["customer"]) == ("12000", "total", "customer_name")
    assert raw.values["lines.data.0.amount"] == "12000"
    assert (raw.values["client_secret"], raw.values["note"]) == ("[redacted]", "paid with [card ending 4242]")
    personal = ("customer_email", "shipping.name", "shipping.address.line1")
    assert [raw.values[name] for name in personal] == ["[masked]"] * 3
    assert (raw.names["due_date"], "due_date" in raw.values) == ("", False)
    assert (read_raw(message(b"<soap/>")), read_raw(None)) == (NOTHING, NOTHING)


def test_each_field_says_whose_it_is_and_columns_without_a_value_are_left_out(monkeypatch):
    ports.forget_kept()
    for code in ("stripe", "salesforce", "netsuite"):
        factories.make_connection(code)
    monkeypatch.setattr(ports, "_known", [])
    make_rule("field_owner", "customer|name", "erp:netsuite alone")
    receivables = make_rule("account", "receivable", "1100", connection="netsuite")
    txn = factories.make_transaction("held")
    found = lay_out(
        txn, ours={"currency": "GBP", "total": "120.00"}, was={"total": "100.00", "terms": "5"}, was_ours={},
        posting={"total": "120.00", "customer": "77", "terms": "4", "receivables_account": "1100"},
        last={"receivables_account": "1101"}, raw=read_raw(message(json.dumps(SAID).encode())),
        rules=[receivables.pk], record_type="invoice",
    )  # fmt: skip
    rows = {row.title: row for row in found}
    assert {title: (row.owner.says, row.owner.why) for title, row in rows.items()} == {
        "Number": ("Stripe", "whose document it is"),
        "Customer": ("NetSuite", "owns a customer’s name alone"),
        "Legal entity": ("Salesforce", "owns a customer’s legal entity"),
        "Currency": ("Stripe", "whose document it is"),
        "Total": ("Stripe", "whose document it is"),
        "Document date": ("Stripe", "whose document it is"),
        "Terms": ("NetSuite", "owns a customer’s payment terms"),
        "Receivables account": ("A rule", "Role to GL account"),
    }
    assert rows["Receivables account"].owner.rule_id == receivables.pk
    marked = {title: set(row.marks) for title, row in rows.items() if row.marks}
    assert marked == {"Total": {"was"}, "Terms": {"was"}, "Receivables account": {"last"}}
    assert [c.name for c in columns_of(found)] == ["raw", "ours", "was", "posting", "last"]  # it's in no target yet
    raw, ours, was, *_ = rows["Total"].cells(columns_of(found))
    assert (raw.value, raw.name, raw.is_money, ours.value, ours.is_money) == ("12000", "total", False, "120.00", True)
    assert (was.value, was.says) == ("100.00", "was different")
