"""Stripe's integers against a table of its documentation (docs.stripe.com/currencies, read 2026-11-20): what 1 in each
currency is in the API. No function of ours made this table."""

import datetime as dt
from decimal import Decimal

import pytest

from connectors.families import SubscriptionPlan
from connectors.stripe import inbound, outbound
from q2c.canonical import contract
from tests.connectors.stripe.test_inbound import made_invoice, made_line

TABLE = """
100 USD AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP CRC
100 CVE CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD KES KGS KHR KYD KZT
100 LAK LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN
100 QAR RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TOP TRY TTD TWD TZS UAH UYU UZS WST XCD XCG YER
100 ZAR ZMW ISK UGX
1 BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF
1000 BHD JOD KWD OMR TND
"""
UNITS = {c: int(row.split()[0]) for row in TABLE.strip().splitlines() for c in row.split()[1:]}


def order_line(price, quantity=1):
    return contract.OrderLine(line_id="l1", sku="A", quantity=Decimal(quantity), unit_price=Decimal(price),
                              billing_frequency="monthly")  # fmt: skip


def read_seven(currency, units):
    line = made_line(amount=7 * units, quantity=7, taxes=[], pricing={"unit_amount_decimal": str(units)})
    raw = made_invoice(currency=currency.lower(), total=7 * units, total_taxes=[], lines={"data": [line]})
    invoice = inbound.invoice(raw, "stripe")
    return invoice.total, invoice.lines[0].amount, invoice.lines[0].unit_price


@pytest.mark.scenario(40)
def test_one_of_each_currency_comes_in_as_stripe_documents():
    assert {c: read_seven(c, units) for c, units in UNITS.items()} == dict.fromkeys(UNITS, (7, 7, 1))


@pytest.mark.scenario(40)
def test_one_of_each_currency_goes_out_as_stripe_documents():
    sent = {
        c: dict(outbound.price(order_line(1), product="A", currency=c, lookup="k"))["unit_amount_decimal"]
        for c in UNITS
    }
    assert sent == {c: str(units) for c, units in UNITS.items()}


@pytest.mark.parametrize(
    ("price", "currency", "minor"),
    [("83.333333", "GBP", "8333.3333"), ("1234", "JPY", "1234"), ("1.234", "KWD", "1234"), ("10.00", "USD", "1000")],
)
def test_prices_leave_with_the_parts_of_a_minor_unit_that_they_have(price, currency, minor):
    assert (
        dict(outbound.price(order_line(price), product="A", currency=currency, lookup="k"))["unit_amount_decimal"]
        == minor
    )


def test_three_decimals_are_read_to_the_last():
    raw = made_invoice(currency="kwd", total=1234, total_taxes=[], lines={"data": [made_line(amount=1234, taxes=[])]})
    assert inbound.invoice(raw, "stripe").total == Decimal("1.234")


@pytest.mark.parametrize("currency", ["isk", "ugx"])
def test_a_part_of_a_krona_or_shilling_is_refused_not_rounded(currency):
    raw = made_invoice(currency=currency, total=150, total_taxes=[], lines={"data": [made_line(amount=150, taxes=[])]})
    with pytest.raises(ValueError, match="isn't a whole amount"):
        inbound.invoice(raw, "stripe")


@pytest.mark.scenario(40)
def test_an_invoice_in_a_coin_is_refused_not_read_with_two_decimals():
    raw = made_invoice(currency="btc", total=150, total_taxes=[], lines={"data": [made_line(amount=150, taxes=[])]})
    with pytest.raises(ValueError, match="BTC isn't a currency of ISO 4217"):
        inbound.invoice(raw, "stripe")


@pytest.mark.parametrize(
    ("currency", "price", "quantity", "is_fine"),
    [("KWD", "1.230", 1, True), ("KWD", "1.234", 1, False), ("KWD", "1.234", 10, True), ("BHD", "0.001", 1, False),
     ("ISK", "500", 1, True), ("ISK", "0.50", 1, False), ("UGX", "10.5", 2, True), ("GBP", "0.005", 1, True)],
)  # fmt: skip
def test_an_order_is_planned_only_with_amounts_that_stripe_charges(currency, price, quantity, is_fine):
    plan = SubscriptionPlan(
        external_id="sub-1", order_id="006A", customer_id="cus_1", currency=currency, start_date=dt.date(2026, 11, 1),
        planned_at=dt.datetime(2026, 11, 1, tzinfo=dt.UTC), term_months=12, lines=(order_line(price, quantity),),
        product_ids={}, time_zone="UTC", metadata={},
    )  # fmt: skip
    if is_fine:
        outbound.check_plan(plan)
        return
    with pytest.raises(ValueError, match=f"Stripe charges {currency} in steps of"):
        outbound.check_plan(plan)
