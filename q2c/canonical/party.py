"""Customers: who contracts (sold-to), who receives the invoice (bill-to), and where they are."""

from __future__ import annotations

from q2c.canonical.base import Country, Currency, Document, Later, Source


class Address(Document):
    line1: str = ""
    line2: str = ""
    city: str = ""
    state: str = ""
    postal_code: str = ""
    country: Country = ""


class TaxRegistration(Document):
    country: Country
    number: str


class Customer(Document):
    """A customer as one system knows it. `parent_id` is that system's id of the account above it."""

    later_is = Later.VERSION

    source: Source
    name: str
    number: str = ""
    email: str = ""
    phone: str = ""
    currency: str = ""
    bill_to: Address = Address()
    ship_to: Address = Address()
    parent_id: str = ""
    tax_registrations: tuple[TaxRegistration, ...] = ()
    payment_terms: str = ""
    legal_entity: str = ""  # the selling entity's code, when the source says so
    crm_id: str = ""  # the CRM account's id, when this is a billing customer that we made from it
    is_identified: bool = True  # False: the source itself doesn't know who bought
    pays_from: str = ""  # the sort and last digits of the account or card that pays ("sepa_debit 3000"), never more


class CustomerWanted(Customer):
    """A customer for one ERP (`erp`, our connection's code) that documents or another of its records ask for; without
    one, for the ERP that the rules name."""

    erp: str = ""


class CustomerUse(Document):
    """That an entity bills a customer in a currency, which the ERP's record of it may not allow yet. `source` is
    billing's customer, `erp_customer` the ERP's id."""

    later_is = Later.ANOTHER  # another entity or currency of the same customer

    source: Source
    legal_entity: str
    currency: Currency
    erp_customer: str
    erp: str = ""  # our connection's code, of what was asked for before there were several: the one of the role
