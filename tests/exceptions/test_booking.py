"""What the signers of a write-off are told: the accounts to which it will be posted, also after renumbering."""

from __future__ import annotations

import datetime as dt

import pytest
from msgspec import structs

from connectors.models import ReferenceEntry
from exceptions.kind_words import ACCEPT_DIFFERENCE, WRITE_OFF
from exceptions.resolving import booking
from q2c import ports
from q2c.canonical.schema import to_builtins
from q2c.posting.facts import Accounts
from q2c.posting.write_offs import SKUS
from tests import factories
from tests.mappings.rules import make_rule
from tests.posting.test_write_offs import INVOICE

pytestmark = pytest.mark.django_db
TODAY, RENUMBERED, THEN = dt.date(2026, 11, 20), dt.date(2026, 11, 1), dt.date(2026, 3, 31)
POSTED = {"document_type": "ar_invoice", "id": "9", "external_id": "e"}


@pytest.fixture
def book():
    """GB01's receivables and its bad debts have been renumbered since the invoice was posted."""
    factories.make_subsidiary("GB01")
    erp = factories.make_connection("netsuite")
    rows = [("accounts", code, {}) for code in ("1100", "1120", "1130", "8100", "8200")]
    rows += [("items", f"{sku}-{account}", {"income_account": f"id-{account}"})
             for sku in SKUS.values() for account in ("8100", "8200")]  # fmt: skip
    for name, code, attributes in rows:
        ReferenceEntry.objects.create(connection=erp, list_name=name, external_id=f"id-{code}", code=code, name="n",
                                      attributes=attributes, read_at=dt.datetime.now(dt.UTC))  # fmt: skip
    for kind, key, before, after in (
        ("account", "receivables", "id-1100", "id-1120"),
        *(("item", sku, f"id-{sku}-8100", f"id-{sku}-8200") for sku in SKUS.values()),
    ):
        make_rule(kind, key, before, until=RENUMBERED)
        make_rule(kind, key, after, on=RENUMBERED)
    ports.forget_kept()
    return ports.Calendar().book("GB01", "netsuite")


@pytest.mark.parametrize(
    ("accounts", "erp", "again", "off"),
    [
        ("id-1100", "netsuite", False, "1100"),
        ("id-1130", "netsuite", False, "1130"),  # a rule with a condition put it there
        ("id-1100", "netsuite", True, "1130"),  # a plan took it back and posted it again
        ("id-1130", "netsuite-old", False, "1100"),  # taken over by this ERP: by the rule of its date
        ("", "", False, "1120"),  # nothing tells where it stands
    ],
)
@pytest.mark.parametrize("resolution", [WRITE_OFF, ACCEPT_DIFFERENCE])
def test_they_are_told_the_account_on_which_the_invoice_stands(book, resolution, accounts, erp, again, off):
    txn = factories.make_transaction(target_type="ar_invoice", fact=to_builtins(INVOICE), document_date=THEN)
    steps = {"document_date": THEN, "accounts": Accounts(receivables=accounts), "ar_invoice": POSTED,
             "book": structs.replace(book, connection=erp) if erp else None}  # fmt: skip
    for name, gave in steps.items() if accounts else ():
        factories.make_step(txn, name, gave=name, output=to_builtins(gave))
    if again:
        plan = factories.make_transaction(flow="unwinding_to_erp", source_id=txn.source_id)
        after = {"book": book, "accounts": Accounts(receivables="id-1130"), "reposted": POSTED, "invoice_date": THEN}
        for name, gave in after.items():
            factories.make_step(plan, name, gave=name, output=to_builtins(gave))
    said = booking.booking_of(txn, resolution, book, TODAY)
    assert (said.off, said.to) == (f"{off} n", "8100 n")
    assert f"to {off} n, in November 2026" in booking.with_amounts(said, currency="GBP", amount=INVOICE.total)[0]
