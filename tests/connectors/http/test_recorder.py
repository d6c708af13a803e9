"""Every exchange is kept: redacted, sealed under the customer's key, hashed over what is stored, never changed."""

import datetime as dt
import re

import pytest
from django.db import DatabaseError, connection, transaction

from connectors import recorder
from connectors.http import Outgoing, Recorded
from connectors.models import Connection, Exchange
from q2c.core import customer_keys, redact, stats
from q2c.core.ids import uuid7
from q2c.core.models import StatDelta, StatHour

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh():
    recorder.forget_connection_ids()
    customer_keys.forget_keys()
    Connection.objects.create(code="netsuite", name="NetSuite", vendor="netsuite", base_url="https://n.example")


def noted(**changes):
    given = {
        "connection": "netsuite", "method": "POST", "url": "https://n.example/invoice", "verb": "post_ar_invoice",
        "at": dt.datetime(2026, 11, 21, 6, 0, tzinfo=dt.UTC), "about": Outgoing(uuid7(), "post_invoice", "corr-1"),
        "request_headers": {"Content-Type": "application/json"}, "request_body": b'{"total":10.00}',
        "took_ms": 12,
        "status": 204, "response_headers": {"Location": "/record/v1/invoice/9001"}, "response_body": b"",
    }  # fmt: skip
    return Recorded(**{**given, **changes})


def test_an_exchange_is_written_and_read_again():
    row = noted()
    assert recorder.write_exchanges([row]) == 1
    kept = Exchange.objects.get(transaction_id=row.about.transaction_id)
    assert (kept.step, kept.verb, kept.status, kept.took_ms) == ("post_invoice", "post_ar_invoice", 204, 12)
    request, response = recorder.read_exchange(kept)
    assert request == 'Content-Type: application/json\n\n{"total":10.00}'
    assert response == "Location: /record/v1/invoice/9001\n\n"
    assert b"total" not in bytes(kept.request)
    assert recorder.is_intact(kept)


def test_a_batch_is_written_in_one_round_trip(django_assert_num_queries):
    rows = [noted() for _ in range(50)]
    recorder.write_exchanges(rows[:1])
    with stats.gathering(), django_assert_num_queries(1):  # what is counted of them goes with the batch's own row
        recorder.write_exchanges(rows)
    assert Exchange.objects.count() == 51


def test_calls_are_counted_by_how_they_ended_and_what_they_are_about():
    about = Outgoing(uuid7(), object_type="invoice")
    statuses = (200, 201, 404, 429, 503, None)
    recorder.write_exchanges([noted(status=status, about=about, took_ms=300) for status in statuses])
    assert StatDelta.objects.count() == 1
    stats.roll_up()
    found = {row.measure: (row.count, row.about, row.bucket) for row in StatHour.objects.all()}
    bucket = stats.bucket_of(0.3)
    assert found == {
        "call_answered": (2, "invoice", bucket), "call_refused": (1, "invoice", bucket),
        "call_throttled": (1, "invoice", bucket), "call_failed": (2, "invoice", bucket),
    }  # fmt: skip


def test_a_late_answer_is_kept_and_says_that_it_is_late():
    row = noted()
    recorder.write_exchanges([row, noted()], late={row.about.transaction_id})
    assert sorted(Exchange.objects.values_list("is_late", flat=True)) == [False, True]


def test_a_call_without_a_transaction_gets_an_id_of_its_own():
    recorder.record_now([noted(about=Outgoing()), noted(about=Outgoing())])
    assert len(set(Exchange.objects.values_list("transaction_id", flat=True))) == 2


def test_no_answer_has_no_status_and_says_why():
    recorder.write_exchanges([noted(status=None, failure="TimeoutError: nothing came")])
    kept = Exchange.objects.get()
    assert (kept.status, kept.failure) == (None, "TimeoutError: nothing came")


def test_an_exchange_of_a_connection_that_is_gone_is_left_out():
    assert recorder.write_exchanges([noted(connection="gone"), noted()]) == 1


def test_secrets_are_gone_before_anything_is_sealed():
    row = noted(
        url="https://user:hunter2@n.example/x?access_token=abc123def",
        request_headers={"Content-Type": "application/x-www-form-urlencoded", "Stripe-Signature": "t=1,v1=abc"},
        request_body=b"grant_type=client_credentials&client_secret=hunter2&name=Northwind",
        response_body=b'{"access_token": "tok-hunter2", "card": "4242 4242 4242 4242", "name": "Northwind"}',
    )
    recorder.write_exchanges([row])
    kept = Exchange.objects.get()
    text = " ".join(recorder.read_exchange(kept)) + kept.url
    assert "hunter2" not in text
    assert "4242 4242 4242 4242" not in text
    assert "abc123def" not in text
    assert text.count("Northwind") == 2


def test_what_the_redactor_knows_is_never_skipped_for_speed():
    """The cheap question before redaction must be true wherever redaction would change something."""
    for name in [*redact._WHOLE, *redact._ENDS]:
        for spelled in (name, name.upper()):
            body = f'{{"{spelled}": "v"}}'.encode()
            assert redact.redact_body(body) == body or recorder.is_suspect(body), name
    samples = [
        "Bearer abcdefghijk", "Basic abcdefghijkl", "sk_live_abcdef123", "rk_test_abcdef123", "whsec_abcdef1234",
        "eyJhbGciOi.eyJzdWIi.sig", "00D5g00000ABCDE!AQ0AQexample", "-----BEGIN RSA PRIVATE KEY-----abc",
        "<SessionId>abc</SessionId>", "https://u:p@host/", "oauth_signature=abc", "password=abc", "v1=" + "a" * 64,
        "4242424242424242", "4242 4242 4242 4242", "4242-4242-4242-4242",
    ]  # fmt: skip
    for sample in samples:
        assert redact.redact_text(sample) != sample, sample
        assert recorder.is_suspect(sample.encode()), sample


def test_an_ordinary_document_is_stored_byte_by_byte():
    body = b'{"externalId":"inv-1","entity":{"id":"1501"},"item":{"items":[{"item":{"id":"880"},"amount":1200.00}]}}'
    assert not recorder.is_suspect(body)
    recorder.write_exchanges([noted(request_body=body)])
    assert recorder.read_exchange(Exchange.objects.get())[0].endswith(body.decode())


def test_a_customers_exchanges_go_with_the_customers_key():
    mine = noted(about=Outgoing(uuid7(), customer=("stripe", "cus_1")))
    theirs = noted(about=Outgoing(uuid7(), customer=("stripe", "cus_2")))
    recorder.write_exchanges([mine, theirs])
    kept = {e.transaction_id: e for e in Exchange.objects.all()}
    assert '"total":10.00' in recorder.read_exchange(kept[mine.about.transaction_id])[0]
    customer_keys.destroy_key(kept[mine.about.transaction_id].customer_key_id)
    assert recorder.read_exchange(kept[mine.about.transaction_id]) == (recorder.ERASED, recorder.ERASED)
    assert '"total":10.00' in recorder.read_exchange(kept[theirs.about.transaction_id])[0]
    assert recorder.is_intact(kept[mine.about.transaction_id])


def test_what_is_sent_for_an_erased_customer_stays_unreadable():
    customer = ("stripe", "cus_1")
    customer_keys.destroy_key(customer_keys.ensure_keys([customer])[customer])
    recorder.write_exchanges([noted(about=Outgoing(uuid7(), customer=customer))])
    assert recorder.read_exchange(Exchange.objects.get()) == (recorder.ERASED, recorder.ERASED)


def test_an_exchange_can_neither_be_changed_nor_deleted():
    recorder.write_exchanges([noted()])
    for statement in ("UPDATE connectors_exchange SET status = 200", "DELETE FROM connectors_exchange"):
        refusal = pytest.raises(DatabaseError, match=re.compile("update or delete", re.I))
        with refusal, transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
