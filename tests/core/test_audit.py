"""The audit chain: vectors, tampering, cutting, anchors, and many writers at once."""

from __future__ import annotations

import datetime as dt
import threading
from decimal import Decimal

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError

from q2c.core import audit, jcs
from q2c.core.models import AuditEntry
from q2c.core.tasks import anchor_audit

# STANDARDS section 18's two records.
R1 = {"seq": 1, "ts": "2026-11-20T09:00:00Z", "actor": "u1", "action": "login"}
R2 = {"seq": 2, "ts": "2026-11-20T09:01:00Z", "actor": "u1", "action": "mapping.update", "object": "item/SAAS-PRO"}
HASH_1 = "c4bfc39d800f0868da196b113aa064a09f969f61b8292333433dfd438d91d0db"
HASH_2 = "4eb94d535b715e97054620b33fdc8ab9a593c6c05ad1ebeeee0b28d86ae42966"


def tamper(sequence: int, **changes) -> None:
    """What only somebody who owns the database could do."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_auditentry DISABLE TRIGGER ALL")
        AuditEntry.objects.filter(sequence=sequence).update(**changes)
        cursor.execute("ALTER TABLE core_auditentry ENABLE TRIGGER ALL")


@pytest.fixture
def three(db):
    return [audit.record("ada", "noted", "case", n, why="because", data={"amount": Decimal("1.50")}) for n in range(3)]


def test_the_standard_vectors_hold():
    assert audit.link_hash(audit.GENESIS, R1) == HASH_1
    assert audit.link_hash(HASH_1, R2) == HASH_2


def test_canonical_json_sorts_by_utf16_and_refuses_floats():
    assert jcs.canonical({"\ufb33": 1, "\U0001f600": 2, "a": [True, None, "\x1f€"]}) == (
        '{"a":[true,null,"\\u001f€"],"\U0001f600":2,"\ufb33":1}'.encode()
    )
    with pytest.raises(TypeError):
        jcs.canonical({"amount": 1.5})


def test_entries_are_numbered_without_gaps_and_chained(three):
    assert [entry.sequence for entry in three] == [1, 2, 3]
    assert three[0].previous_hash == audit.GENESIS
    assert [three[1].previous_hash, three[2].previous_hash] == [three[0].hash, three[1].hash]
    assert three[0].data == {"amount": "1.50"}
    assert audit.verify() == audit.Verdict(3)


@pytest.mark.scenario(63)
@pytest.mark.parametrize("change", [{"why": "other"}, {"actor": "eve"}, {"data": {"amount": "9"}}, {"hash": "0" * 64}])
def test_a_changed_entry_is_found(three, change):
    tamper(2, **change)
    assert (audit.verify().broken_at, audit.verify().why) == (2, "the entry was changed")


def test_a_missing_entry_is_found(three):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_auditentry DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM core_auditentry WHERE sequence = 2")
        cursor.execute("ALTER TABLE core_auditentry ENABLE TRIGGER ALL")
    assert audit.verify().broken_at == 2


def test_a_cut_chain_is_found_by_its_anchor(three, tmp_path):
    path = tmp_path / "a" / "audit.jsonl"
    assert audit.anchor(path) == 3
    assert audit.anchor(path) is None
    assert audit.verify(path).holds
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_auditentry DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM core_auditentry WHERE sequence = 3")
        cursor.execute("ALTER TABLE core_auditentry ENABLE TRIGGER ALL")
    assert (audit.verify(path).broken_at, audit.verify(path).why) == (3, "the chain was cut: an anchored entry is gone")


def test_a_chain_that_was_written_anew_is_found_by_its_anchor_even_if_the_file_is_rewritten_without_the_key(
    three, tmp_path
):
    path = tmp_path / "audit.jsonl"
    audit.anchor(path)
    forged = AuditEntry.objects.get(sequence=3)
    forged.why = "something else"
    new_hash = audit.link_hash(forged.previous_hash, audit.record_of(forged))
    tamper(3, why="something else", hash=new_hash)
    assert audit.verify(path).why == "the chain was written anew: its anchor differs"
    path.write_text(path.read_text().replace(three[2].hash, new_hash))
    assert audit.verify(path).broken_at == 3


def test_the_anchor_file_is_for_its_owner_only_and_bears_a_torn_last_line(three, tmp_path):
    path = tmp_path / "audit.jsonl"
    audit.anchor(path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes() + b'{"seq": 4, "ha')
    assert audit.verify(path).holds


def test_the_database_refuses_to_change_or_delete_an_entry(three):
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditEntry.objects.filter(sequence=1).update(why="x")
    with pytest.raises(DatabaseError), transaction.atomic():
        AuditEntry.objects.filter(sequence=1).delete()
    assert audit.verify().holds


@pytest.mark.django_db(transaction=True)
def test_four_writers_at_once_make_one_chain_without_gaps():
    def write(name):
        try:
            for number in range(10):
                audit.record(name, "noted", "case", number)
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert audit.verify() == audit.Verdict(40)


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_entry_leaves_no_gap():
    with transaction.atomic():
        audit.record("ada", "noted", "case", 1)
        transaction.set_rollback(True)
    audit.record("ada", "noted", "case", 2)
    assert audit.verify() == audit.Verdict(1)


def test_the_command_says_which_entry_does_not_hold(three, capsys, settings, tmp_path):
    settings.HOME = tmp_path
    call_command("verify_audit")
    assert capsys.readouterr().out == "3 entries hold\n0 seals hold\n"
    tamper(2, why="other")
    with pytest.raises(CommandError, match=r"entry 2: the entry was changed \(1 entries before it hold\)"):
        call_command("verify_audit")


def test_the_minutes_task_anchors_the_head(three, settings, tmp_path):
    settings.HOME = tmp_path
    anchor_audit()
    assert [known["seq"] for known in audit.read_anchors(audit.anchor_file())] == [3]


def test_a_chain_of_which_no_anchor_is_left_does_not_hold_once_it_is_older_than_an_hour(three, tmp_path):
    assert audit.verify(tmp_path / "gone.jsonl").holds
    with time_machine.travel(dt.datetime.now(dt.UTC) + dt.timedelta(hours=2)):
        assert audit.verify(tmp_path / "gone.jsonl") == audit.Verdict(0, 1, "no anchor of the chain is left")


def test_the_anchor_goes_where_the_setting_says(three, settings, tmp_path):
    settings.ANCHOR_FILE = str(tmp_path / "elsewhere" / "chain.jsonl")
    anchor_audit()
    assert [known["seq"] for known in audit.read_anchors(tmp_path / "elsewhere" / "chain.jsonl")] == [3]
    assert audit.verify() == audit.Verdict(3)
