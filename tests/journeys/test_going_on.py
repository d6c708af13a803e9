"""What going on would change in the ledger is shown beside what taking back would; to the cent that is what posts."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from django.test import Client

from connectors.models import ReferenceEntry
from exceptions import resolutions
from exceptions.models import ExceptionCase
from exceptions.resolving import unwinding
from q2c.core.models import Person
from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import RECEIVABLES, Ledger

pytestmark = pytest.mark.django_db(transaction=True)
REFUSED = {
    "title": "Bad Request", "status": 400,
    "o:errorDetails": [{"detail": "No.", "o:errorCode": "INVALID_CONTENT"}],
}  # fmt: skip
WRONG, RIGHT = "85123A", "POST"


def person(name):
    return Person.objects.get(username=name)


def numbered(effect):
    """What an effect changes by the account's number."""
    rows = ReferenceEntry.objects.filter(list_name="accounts", external_id__in=effect.net)
    numbers = dict(rows.values_list("external_id", "code"))
    return {numbers[account]: amount for account, amount in effect.net.items()}


def plans_of(invoice, *, reposts=True):
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    return unwinding.plans_of(person("controller"), txn, asks=True, reposts=reposts)


def moved(books, before):
    after = books.balances()
    by_account = {a: after.get(a, 0) - before.get(a, 0) for a in before.keys() | after.keys()}
    return {account: amount for account, amount in by_account.items() if amount}


def page_of(invoice):
    client = Client()
    client.force_login(person("controller"))
    txn = BusinessTransaction.objects.get(flow="invoice_to_erp", source_id=invoice)
    return client.get(f"/transactions/{txn.pk}/plans/?look=now")


def test_what_is_held_shows_its_period_and_its_effect_beside_the_way_back_and_posts_just_that(house):
    invoice = house.invoice(house.customer(), sku=WRONG, amount=123_457)
    house.carry()
    credit = house.credit(invoice, amount=3_333)
    house.carry()
    house.fault("netsuite", "status", status=400, body=REFUSED, when={"method": "POST", "path": "*/invoice"})
    house.void_credit(credit)
    house.carry()
    assert (house.held(), house.states("credit_void_to_erp")) == (["vendor_refused"], {"held": 1})
    house.map_item(WRONG, RIGHT)
    made = plans_of(invoice)
    (onward,), (back,) = unwinding.effects_of(made, made.forward), unwinding.effects_of(made)
    revenue, other = (account for account in numbered(back))
    assert numbered(onward) == {RECEIVABLES: D("33.33"), revenue: D("-33.33")}
    assert numbered(back) == {revenue: D("1234.57"), other: D("-1234.57")}
    assert [(row.result, row.currency, row.system) for row in (onward, back)] == [
        (D("33.33"), "GBP", "netsuite"), (D(0), "GBP", "netsuite"),
    ]  # fmt: skip
    first = made.forward.steps[0]
    assert (first.period, first.effect, first.needs) == (back.period, "It would post now.", ())
    assert (onward.period, made.forward.is_balanced, made.forward.uncounted) == (back.period, True, ())

    page = page_of(invoice)
    assert [(way.code, [size for _, _, size in way.effects]) for way in page.context["ways"]] == [
        ("on", [D("33.33")]), ("back", [D(0)]),
    ]  # fmt: skip
    text = page.content.decode()
    for said in (
        "What going on changes, all in all", "What taking it back changes, all in all",
        f"{onward.period}: the result rises by", f"{back.period}: the result stays as it is",
    ):  # fmt: skip
        assert text.count(said) == 1, said

    books = Ledger(house.sandboxes)
    before = books.balances()
    house.sandboxes.control("DELETE", "netsuite/faults")
    case = ExceptionCase.objects.get(closed_at__isnull=True)
    resolutions.repost(case, by=person("controller"), reason="The ERP takes it now")
    house.carry()
    assert (house.held(), moved(books, before)) == ([], numbered(onward))


def test_a_held_document_whose_entry_cannot_be_built_is_named_and_not_counted(house):
    invoice = house.invoice(house.customer(), sku="NO-SUCH-SKU", amount=123_457)
    house.carry()
    made = plans_of(invoice)
    assert (unwinding.effects_of(made, made.forward), made.forward.net) == ((), {})
    (named,) = made.forward.uncounted
    assert f"Nobody can say yet what {named} will post" in page_of(invoice).content.decode()
    house.map_item("NO-SUCH-SKU", RIGHT)
    made = plans_of(invoice)
    (onward,) = unwinding.effects_of(made, made.forward)
    assert (sorted(onward.net.values()), onward.result) == ([D("-1234.57"), D("1234.57")], D("1234.57"))
    assert made.forward.uncounted == ()
