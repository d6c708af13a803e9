"""A document in another currency than its book's: without a rate it's held, and another rate at its payment is the
ERP's own gain or loss, which is no difference of ours."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal as D
from io import StringIO

import pytest
from django.core.management import call_command

from connectors.models import ReferenceEntry
from exceptions import resolutions
from exceptions.models import ExceptionCase
from mappings.models import MappingRule
from q2c.core.models import Person
from tests.journeys.house import forget_everything
from tests.journeys.ledger import CLEARING_EUR, RECEIVABLES, Ledger
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)
GAINS = "4610"  # realised, as NetSuite books them
RATE_AT_SALE, RATE_AT_PAYMENT = D("0.5"), D("0.6")


def agree_on(rate: D) -> None:
    """The controller's rate of the euro for the UK entity, from now on."""
    MappingRule.objects.filter(kind="manual_rate", key="EUR/GBP", known_to=None).update(known_to=next_number())
    make_rule("manual_rate", "EUR/GBP", str(rate), legal_entity="GB01", until=dt.date(2099, 12, 31))
    forget_everything()


@pytest.mark.scenario(47, of="amounts in two currencies")
def test_a_missing_rate_holds_and_another_rate_at_payment_is_a_gain_of_the_ledger_and_no_error(house):
    ReferenceEntry.objects.filter(list_name="rates").delete()
    MappingRule.objects.filter(kind="manual_rate", key="EUR/GBP").update(known_to=next_number())
    forget_everything()
    customer = house.customer(name="Nordwind GmbH")
    invoice = house.invoice(customer, amount=10_000, currency="eur")
    house.carry()
    assert (house.held(), house.made("netsuite", "invoice")) == (["rate_missing"], [])
    (case,) = ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES)
    assert "EUR/GBP" in case.summary
    agree_on(RATE_AT_SALE)
    resolutions.repost(case, by=Person.objects.get(username="controller"), reason="the rate of treasury")
    house.carry()
    (made,) = house.made("netsuite", "invoice")
    books = Ledger(house.sandboxes)
    assert D(str(books.client.read("invoice", made["id"])["exchangeRate"])) == RATE_AT_SALE
    assert books.balances()[RECEIVABLES] == D("50.00")
    agree_on(RATE_AT_PAYMENT)
    house.pay(invoice)
    house.carry(seconds=40)
    assert (house.held(), set(house.states())) == ([], {"completed"})
    assert [len(house.made("netsuite", kind)) for kind in ("invoice", "customerPayment")] == [1, 1]
    ended = books.balances()
    assert RECEIVABLES not in ended
    (paid,) = house.made("netsuite", "customerPayment")
    assert D(str(books.client.read("customerPayment", paid["id"])["exchangeRate"])) == RATE_AT_PAYMENT
    assert (ended[GAINS], ended[CLEARING_EUR]) == (D("-10.00"), D("60.00"))
    out = StringIO()
    call_command("control_totals", source="stripe", stdout=out)
    for row in json.loads(out.getvalue())["rows"]:
        assert row["declared"] == row["posted"], row
    assert not ExceptionCase.objects.filter(state__in=ExceptionCase.OPEN_STATES).exists()
