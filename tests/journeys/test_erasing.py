"""A customer's key is destroyed: nothing that came in or went out about them can be read again, and the books stay."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.db import connection
from django.db.transaction import atomic

from connectors import registry
from connectors.models import Connection, Exchange
from connectors.recorder import is_intact, read_exchange
from exceptions import closing, resolutions
from exceptions.models import ExceptionCase
from q2c.core import audit, customer_keys, erasures, vault
from q2c.core.models import CustomerKey
from q2c.flows.polling import poll_connection
from q2c.inbox.bodies import read_body, read_headers
from q2c.inbox.models import InboundKey
from q2c.inbox.replay import Erased, replay_event
from q2c.transactions.models import BusinessTransaction, LineageLink
from q2c.transactions.seals import verify_seals
from tests import factories
from tests.core.keeping import sign

pytestmark = pytest.mark.django_db(transaction=True)
NAME, MAIL, STREET = "Zebulon Quark", "zebulon@quark.test", "99 Erasure Lane"
WORDS = (NAME, MAIL, STREET, "Zebulon")
MESSAGE = f"""<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<e:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
<OrganizationId>{{organization}}</OrganizationId><Notification><Id>04l5g0000000001AAA</Id>
<sObject xsi:type="sf:Opportunity" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>{{id}}</sf:Id>
<sf:Name>{NAME} platform</sf:Name><sf:AccountId>{{account}}</sf:AccountId></sObject></Notification>
</notifications></e:Body></e:Envelope>"""
RAW = ("inbox_inboundevent", "inbox_inboundkey", "connectors_exchange", "exceptions_occurrence", "exceptions_casenote")


def readable() -> dict[str, int]:
    """How many messages and exchanges speak of the person, opened with every key that is left; and raw rows as text."""
    found = {"messages": 0, "exchanges": 0}
    for key in InboundKey.objects.select_related("event"):
        try:
            text = read_body(key.event, key).decode() + str(read_headers(key.event, key))
        except vault.Unsealable:
            continue
        found["messages"] += any(word in text for word in WORDS)
    for exchange in Exchange.objects.all():
        text = "".join(read_exchange(exchange)) + exchange.url + exchange.failure
        found["exchanges"] += any(word in text for word in WORDS)
    with connection.cursor() as cursor:
        for table in RAW:
            cursor.execute(f"SELECT t::text FROM {table} t")
            texts = [row[0] for row in cursor.fetchall()]
            found[table] = sum(any(w in t or w.encode().hex() in t for w in WORDS) for t in texts)
    return found


def test_whoever_is_erased_cannot_be_read_again_while_the_ledger_and_its_proofs_stay(house):
    person = house.customer(name=NAME, email=MAIL, address={"country": "GB", "city": "Leeds", "line1": STREET})
    house.pay(house.invoice(person))
    house.invoice(person, sku="NO-SUCH-SKU")
    house.carry()
    poll_connection("stripe", "events")
    house.carry()
    before = readable()
    assert before["messages"] > 5
    assert before["exchanges"] > 1
    assert [before[table] for table in RAW] == [0, 0, 0, 0, 0]
    booked = list(LineageLink.objects.order_by("transaction_id", "sequence").values_list("amount", flat=True))
    customer_keys.destroy_key(CustomerKey.objects.get(connection_code="stripe", customer_id=person).pk)
    assert readable() == dict.fromkeys(before, 0)
    assert all(is_intact(exchange) for exchange in Exchange.objects.all())
    assert list(LineageLink.objects.order_by("transaction_id", "sequence").values_list("amount", flat=True)) == booked
    assert BusinessTransaction.objects.filter(flow="invoice_to_erp", state="completed").count() == 1
    assert (verify_seals().holds, audit.verify().holds) == (True, True)
    house.invoice(person)
    house.carry()
    assert readable() == dict.fromkeys(before, 0)  # what comes later isn't readable either


def speaking(connection_code: str, *words: str) -> int:
    """How many messages of a connection that can still be read have one of these words."""
    found = 0
    for key in InboundKey.objects.filter(connection__code=connection_code).select_related("event"):
        try:
            text = read_body(key.event, key).decode()
        except vault.Unsealable:
            continue
        found += any(word in text for word in words)
    return found


def test_what_the_crm_told_of_an_account_goes_with_its_key_and_nothing_else_does(house):
    accounts = [house.account(Name=name) for name in (NAME, "Ada Byron")]
    opportunity = house.win(accounts[0], Name=f"{NAME} platform", StageName="Prospecting")
    house.sandboxes.session.post(  # told although it isn't won: ignored, and still somebody's
        f"{settings.BASE_URL}/webhooks/salesforce/{secret_of('salesforce')}/",
        data=MESSAGE.format(organization=organization(house), id=opportunity, account=accounts[0]).encode(),
        headers={"Content-Type": "text/xml"}, timeout=30,
    ).raise_for_status()  # fmt: skip
    house.carry()
    house.poll()
    house.carry()
    assert InboundKey.objects.get(dedupe_key="om:04l5g0000000001AAA").verdict == "ignored"
    assert speaking("salesforce", NAME) >= 3
    customer_keys.destroy_key(CustomerKey.objects.get(connection_code="salesforce", customer_id=accounts[0]).pk)
    assert speaking("salesforce", NAME) == 0
    assert speaking("salesforce", "Ada Byron") >= 1


def secret_of(code: str) -> str:
    """The secret of the CRM's door."""
    return registry.secrets_of(Connection.objects.get(code=code))["webhook_path_secret"]


def organization(house) -> str:
    """The CRM's own id."""
    return house.sandboxes.vendor("salesforce")["credentials"]["organization_id"]


def test_an_account_of_the_crm_is_erased_with_what_was_read_of_it(house):
    account = house.account(Name=NAME, BillingStreet=STREET)
    house.win(account)
    house.carry()
    before = readable()
    assert before["messages"] + before["exchanges"] > 1
    for key in CustomerKey.objects.all():  # the account's, and the billing customer's that came of it
        customer_keys.destroy_key(key.pk)
    assert readable() == dict.fromkeys(before, 0)


def test_who_has_a_held_invoice_is_erased_once_that_is_done_and_it_never_comes_back(house):
    person = house.customer(name=NAME, email=MAIL)
    house.invoice(person, sku="NO-SUCH-SKU")
    house.carry()
    case, asker = ExceptionCase.objects.get(), factories.make_person("controller")
    asked = {"by": asker, "matter": "DSR-1", "why": "She asks to be deleted."}
    with pytest.raises(customer_keys.ErasureRefused, match=f"case {case.number}. Finish it"):
        erasures.propose_erasure(f"stripe:{person}", **asked)
    assert speaking("stripe", NAME) >= 1
    house.map_item("NO-SUCH-SKU", like="QB-API")
    resolutions.repost(case, by=asker, reason="It is mapped now")
    house.carry()
    closing.resolve_emptied()
    erasure = erasures.propose_erasure(f"stripe:{person}", **asked)
    with atomic():
        sign(erasure.proposal, erasures.apply_decision)
    assert speaking("stripe", NAME) == 0
    message = InboundKey.objects.filter(event__event_type="invoice.finalized").get()
    with pytest.raises(Erased):
        replay_event(message.event_id, by=asker, reason="to be sure")
    house.carry()
    assert not ExceptionCase.objects.filter(closed_at=None).exists()
    assert len(house.made("netsuite", "invoice")) == 1
