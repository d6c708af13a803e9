"""Canonical events: past-tense facts. Each carries its document and the vendor's clock."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from q2c.canonical import billing, catalog, contract, party
from q2c.canonical.base import Document, Source


class Event(Document):
    """Base. `occurred_at` is the vendor's clock."""

    occurred_at: dt.datetime


class CustomerChanged(Event, tag=True):
    customer: party.Customer


class CustomerMerged(CustomerChanged, tag=True):
    """The system merged another record into this customer: `merged` is gone, and what it was is this one now."""

    merged: Source


class ProductChanged(Event, tag=True):
    product: catalog.Product


class PriceChanged(Event, tag=True):
    """An entry of the price book: what a SKU costs in a currency per billing period."""

    price: catalog.Price


class OrderClosedWon(Event, tag=True):
    order: contract.Order


class SubscriptionChanged(Event, tag=True):
    """Also says activation: `subscription.is_active`."""

    subscription: contract.Subscription


class InvoicePosted(Event, tag=True):
    invoice: billing.Invoice


class InvoiceCorrected(Event, tag=True):
    """Somebody changed an issued invoice in billing, in what may still be changed there: its notes. Where it's held, it
    is read again."""

    invoice: billing.Invoice


class InvoiceStatusChanged(Event, tag=True):
    """The state of an invoice that the CRM is told: open, paid, void, uncollectible."""

    invoice_id: str
    connection: str
    status: str
    order_id: str = ""
    subscription_id: str = ""
    number: str = ""
    currency: str = ""
    amount: Decimal = Decimal(0)  # what is still owed


class InvoiceVoided(Event, tag=True):
    void: billing.DocumentVoid


class CreditMemoVoided(Event, tag=True):
    void: billing.DocumentVoid


class CreditMemoIssued(Event, tag=True):
    credit_memo: billing.CreditMemo


class CreditMemoCorrected(Event, tag=True):
    """The same of a credit note."""

    credit_memo: billing.CreditMemo


class PaymentReceived(Event, tag=True):
    payment: billing.Payment


class PaymentApplied(Event, tag=True):
    application: billing.Application


class PaymentFailed(Event, tag=True):
    connection: str
    invoice_id: str
    reason: str
    order_id: str = ""


class RefundMade(Event, tag=True):
    refund: billing.Refund


class DisputeChanged(Event, tag=True):
    dispute: billing.Dispute


class PayoutPaid(Event, tag=True):
    payout: billing.Payout


AnyEvent = (
    CustomerChanged
    | CustomerMerged
    | ProductChanged
    | PriceChanged
    | OrderClosedWon
    | SubscriptionChanged
    | InvoicePosted
    | InvoiceCorrected
    | InvoiceStatusChanged
    | InvoiceVoided
    | CreditMemoVoided
    | CreditMemoIssued
    | CreditMemoCorrected
    | PaymentReceived
    | PaymentApplied
    | PaymentFailed
    | RefundMade
    | DisputeChanged
    | PayoutPaid
)
