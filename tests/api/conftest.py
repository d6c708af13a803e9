"""Machines that call the API, what they may name in an order, and their tokens."""

import datetime as dt

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import get_application_model

from connectors.models import Connection
from mappings.survivorship import NOBODY
from q2c import ports
from q2c.canonical import catalog, events, party
from q2c.canonical.base import Source
from q2c.core.customer_keys import forget_keys
from q2c.core.models import LegalEntity
from q2c.flows import intake, sightings
from q2c.inbox.models import ApiClient
from q2c.records.store import store_records

ALL_SCOPES = list(settings.OAUTH2_PROVIDER["SCOPES"])


def make_client(client_id, *, scopes=None, entities=None):
    """A client of the API; `entities` None means all."""
    application = get_application_model().objects.create(
        client_id=client_id, client_secret="s3cret", client_type="confidential",
        authorization_grant_type="client-credentials", name=client_id,
        hash_client_secret=False,  # hashing is slow on purpose
    )  # fmt: skip
    ApiClient.objects.create(
        application=application, scopes=ALL_SCOPES if scopes is None else scopes, legal_entities=entities or [],
        is_for_all_entities=entities is None,
    )  # fmt: skip
    return application


def ask_token(client_id, **more):
    return Client().post(
        "/o/token/", {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "s3cret", **more}
    )


def bearer(client_id):
    """A test client that sends a fresh token."""
    token = ask_token(client_id).json()["access_token"]
    return Client(headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def house(db, monkeypatch):
    """Two selling entities, one account and one product that the CRM told us of."""
    forget_keys()
    monkeypatch.setattr(intake, "_sources", {})
    ports.forget_kept()
    for code, currency, zone in (("GB01", "GBP", "Europe/London"), ("US01", "USD", "America/New_York")):
        LegalEntity.objects.create(code=code, name=code, country=code[:2], currency=currency, time_zone=zone)
    crm = Connection.objects.create(code="salesforce", name="CRM", vendor="salesforce", base_url="http://127.0.0.1:1")
    at = timezone.now() - dt.timedelta(days=1)
    account = party.Customer(
        source=Source(connection="salesforce", object_type="Account", object_id="001A"), name="Blue Bikes",
        number="B-1", bill_to=party.Address(country="GB"),
    )  # fmt: skip
    product = catalog.Product(
        source=Source(connection="salesforce", object_type="Product2", object_id="01tA"), sku="GTX-1", name="Gate"
    )
    told = [
        events.CustomerChanged(occurred_at=at, customer=account),
        events.ProductChanged(occurred_at=at, product=product),
    ]
    store_records([sightings.sighting_of(event, "crm") for event in told], owner_of=lambda *_: NOBODY)
    return crm


def order(**changes):
    """A good order."""
    body = {
        "account": "001A", "legal_entity": "GB01", "currency": "GBP", "start_date": "2026-12-01", "term_months": 12,
        "billing_frequency": "annual", "lines": [{"sku": "GTX-1", "quantity": "2", "unit_price": "19.90"}],
    }  # fmt: skip
    return {name: value for name, value in (body | changes).items() if value is not None}
