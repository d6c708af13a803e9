"""Ids rise, and keys are pure functions of the source."""

from __future__ import annotations

import re
import threading

import time_machine

from q2c.core import ids


def test_ids_rise_strictly_over_threads_and_under_a_frozen_clock():
    made: list[list] = []
    with time_machine.travel("2026-11-20T09:00:00Z", tick=False):
        threads = [threading.Thread(target=lambda: made.append([ids.uuid7() for _ in range(2000)])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert all(run == sorted(run) for run in made)
    assert len({one for run in made for one in run}) == 8000


def test_an_id_is_a_version_7_uuid_and_its_bound_lies_under_it():
    made = ids.uuid7(at_ms=1_763_629_200_000)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert ids.uuid7_bound(1_763_629_200_000) <= made < ids.uuid7_bound(1_763_629_200_001)


def test_parts_of_a_digest_cannot_run_into_each_other():
    assert ids.digest("ab", "c") != ids.digest("a", "bc")


def test_the_same_fact_has_the_same_keys_and_a_changed_one_another_in_the_same_lane():
    same = {"connection": "stripe", "object_type": "invoice", "object_id": "in_1"}
    first = ids.business_key(**same, content_hash="a" * 64)
    assert first == ids.business_key(**same, content_hash="a" * 64)
    assert first != ids.business_key(**same, content_hash="b" * 64)
    assert ids.lane(**same) == "stripe:invoice:in_1"


def test_a_write_key_changes_with_flow_step_generation_and_attempt_only():
    facts = {"business_key": "k", "flow": "invoice_to_erp", "step": "post_invoice", "generation": 0}
    key = ids.write_key(**facts)
    assert re.fullmatch("[a-z0-9]{40}", key)
    assert key == ids.write_key(**facts)
    changes = ({"generation": 1}, {"step": "x"}, {"flow": "y"}, {"attempt": 2}, {"attempt": 2, "generation": 1})
    others = {ids.write_key(**(facts | change)) for change in changes}
    assert len(others | {key}) == 6
    assert ids.write_key(**facts, attempt=1) == key, "intents of older releases have this one"


def test_an_external_id_is_readable_safe_and_never_shared_by_two_sources():
    assert ids.external_id("inv", source="stripe", object_id="in_1") == "inv-stripe-in_1"
    assert ids.external_id("inv", source="stripe", object_id="in_1", generation=2) == "inv-stripe-in_1-g2"
    slash, colon = (ids.external_id("inv", source="s", object_id=f"a{sign}b") for sign in "/:")
    assert slash != colon
    sources = ["stripe", "stripe-eu"]
    assert ids.read_external_id("inv-stripe-in_1", sources) == ("inv", "stripe", "in_1")
    assert ids.read_external_id("cm-stripe-eu-cn_1-g2", sources) == ("cm", "stripe-eu", "cn_1")
    assert [ids.read_external_id(n, sources) for n in (slash, "inv-s-1", "inv-stripe-", "by hand")] == [None] * 4
    long_ids = {ids.external_id("inv", source="stripe", object_id="x" * 60 + str(n)) for n in range(3)}
    assert len(long_ids) == 3
    assert all(re.fullmatch("[A-Za-z0-9_-]{1,80}", one) for one in {slash, colon, *long_ids})


def test_a_sentence_keeps_what_people_read_and_loses_what_machines_read():
    said = "payment pi_3NirD82eZvKYlo2C of INV-88105 in the ERP"
    assert ids.without_ids(said) == "payment of INV-88105 in the ERP"
