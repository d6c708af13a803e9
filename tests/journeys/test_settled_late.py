"""What an application would change stands in a period that the ERP has closed meanwhile: the case names that period,
offers nothing that can't work, and ends once it's opened."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exceptions.kind_words import ACCRUE, CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.models import ExceptionCase, Snooze
from exceptions.resolutions import ResolutionRefused
from exceptions.resolving import deciding, periods
from exceptions.tasks import sweep_cases
from q2c.flows.reference import refresh_reference
from q2c.transactions.models import BusinessTransaction
from tests.journeys.ledger import Ledger
from tests.journeys.test_exchange_rates import RATE_AT_PAYMENT, RATE_AT_SALE, agree_on
from tests.journeys.test_holds import person, this_month
from tests.journeys.test_late_documents import close_this_month

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_settlement_that_a_closed_period_refuses_names_it_and_goes_on_once_that_is_open(house):
    agree_on(RATE_AT_SALE)
    invoice = house.invoice(house.customer(), amount=10_000, currency="eur")
    house.carry()
    agree_on(RATE_AT_PAYMENT)
    house.pay(invoice)
    house.carry(without="application_to_erp", until=lambda: house.states("payment_to_erp") == {"completed": 1})
    close_this_month(house)
    house.carry(until=lambda: house.held() == ["period_closed"])
    txn, case = BusinessTransaction.objects.get(state="held"), ExceptionCase.objects.get(closed_at__isnull=True)
    assert (txn.flow, txn.period_code, case.period_code) == ("application_to_erp", "", this_month()["period"])
    maker, checker = person("billing_ops"), person("controller")
    (late,) = periods.late_documents(case, maker)
    assert (late.place, late.closed is None) == (("GB01", "netsuite", this_month()["period"], "receivables"), False)
    open_ways = {row.code: not row.why_not for row in periods.options_of([late])}
    assert open_ways == {CHOOSE_PERIOD: False, ACCRUE: False, REOPEN_PERIOD: True}
    with pytest.raises(ResolutionRefused, match="another posting date makes no way for it"):
        periods.choose_period(case, by=maker, reason="next month will do", option=CHOOSE_PERIOD)
    asked, _ = periods.choose_period(case, by=maker, reason="it was paid this month", option=REOPEN_PERIOD)
    assert f"open {late.name} in GB01" in asked.content["happens"][0]
    assert deciding.decide(asked, by=checker, approve=True) == ("approved", [])
    sweep_cases()
    assert (house.held(), Snooze.objects.get().woken_at) == (["period_closed"], None)
    house.sandboxes.control("POST", "netsuite/account", {"open_period": this_month()})
    refresh_reference("netsuite", ("periods",))
    sweep_cases()
    house.carry()
    assert (house.held(), house.states("application_to_erp")) == ([], {"completed": 1})
    books = Ledger(house.sandboxes)
    assert books.open_items() == {}
    (payment,) = house.made("netsuite", "customerPayment")
    applied = [(row["doc"]["id"], Decimal(str(row["amount"]))) for row in held(books, payment["id"])]
    assert applied == [(house.made("netsuite", "invoice")[0]["id"], Decimal(100))]


def held(books: Ledger, payment: str) -> list[dict]:
    return books.client.read("customerPayment", payment)["apply"]["items"]
