"""Receiving: stored once, sealed, duplicates counted, one statement."""

import threading

import pytest
from django.db import connection, connections

from q2c.inbox.bodies import read_body, read_headers
from q2c.inbox.models import InboundEvent, InboundKey, Refusal
from q2c.inbox.receive import Arrival, count_refusal, receive
from tests.inbox.conftest import arrival, posted


def test_a_message_is_stored_sealed_and_can_be_read_back(acme):
    received = receive(
        acme.id, [Arrival("fact", "in_1", "evt_1", b'{"a": "secret"}')], via="webhook", headers={"x": "1"}
    )
    event, key = InboundEvent.objects.get(), InboundKey.objects.get()
    assert received.new == (event.id,)
    assert b"secret" not in bytes(event.body)
    assert read_body(event, key) == b'{"a": "secret"}'
    assert read_headers(event, key) == {"x": "1"}
    assert (key.verdict, event.via, event.size_bytes) == ("received", "webhook", 15)


def test_a_repeated_message_is_counted_and_not_stored_again(acme):
    first = receive(acme.id, [Arrival("fact", "in_1", "evt_1", b"{}")], via="webhook")
    again = receive(
        acme.id, [Arrival("fact", "in_1", "evt_1", b"{}"), Arrival("fact", "in_2", "evt_2", b"{}")], via="poll"
    )
    assert again.known == first.new
    assert len(again.new) == 1
    assert InboundEvent.objects.count() == 2
    assert InboundKey.objects.get(dedupe_key="evt_1").duplicate_count == 1


def test_receiving_takes_one_statement(acme, django_assert_num_queries):
    statements = []
    with connection.execute_wrapper(lambda run, sql, *rest: statements.append(sql) or run(sql, *rest)):
        receive(acme.id, [Arrival("fact", f"in_{n}", f"evt_{n}", b"{}") for n in range(20)], via="webhook")
    assert statements == []  # none through Django; the one statement goes to the driver itself
    assert InboundKey.objects.count() == InboundEvent.objects.count() == 20


@pytest.mark.scenario(14)
@pytest.mark.django_db(transaction=True)
def test_five_at_once_are_one_event_and_four_duplicates(acme):
    barrier = threading.Barrier(5)
    new, known = [], []

    def deliver():
        try:
            barrier.wait(60)
            received = receive(acme.id, [arrival(posted(1), "evt_1")], via="webhook")
            new.extend(received.new)
            known.extend(received.known)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=deliver) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (len(new), len(known), set(known)) == (1, 4, set(new))
    assert InboundKey.objects.get().duplicate_count == 4
    assert InboundEvent.objects.count() == 1


def test_text_that_postgres_refuses_is_stored_in_a_readable_form(acme):
    receive(acme.id, [Arrival("fa\x00ct", "\ud800in", "k" * 300, b"\x00")], via="webhook")
    event, key = InboundEvent.objects.get(), InboundKey.objects.get()
    assert event.event_type == "fa\ufffdct"
    assert event.source_id == "?in"
    assert len(key.dedupe_key) == 250


def test_refusals_are_counted_per_reason_and_hour(db):
    count_refusal("acme", "signature", "old")
    count_refusal("acme", "signature", "bad")
    refusal = Refusal.objects.get()
    assert (refusal.count, refusal.last_detail) == (2, "bad")
