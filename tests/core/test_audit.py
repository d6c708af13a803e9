"""The audit chain: vectors, tampering, cutting, anchors, and many writers at once."""

from __future__ import annotations

import datetime as dt
import json
import threading
from decimal import Decimal

import pytest
import structlog
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import DatabaseError

from q2c.core import audit, jcs
from q2c.core.management.commands import verify_audit
from q2c.core.models import AuditEntry
from q2c.core.tasks import anchor_audit
from q2c.reconciliation.restored import declare_restored
from tests import factories

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


@pytest.mark.scenario(63, of="what is kept for ever")
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
    assert capsys.readouterr().out == "3 entries hold, none is anchored\n0 seals hold\n"
    audit.anchor()
    call_command("verify_audit")
    assert capsys.readouterr().out == "3 entries hold, anchored to entry 3 of 3\n0 seals hold\n"
    note(2)
    call_command("verify_audit")
    said = "5 entries hold, anchored to entry 3 of 5: nothing guards those after it from being cut\n0 seals hold\n"
    assert capsys.readouterr().out == said
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


def note(count):
    for number in range(count):
        audit.record("ada", "noted", "case", number, why="because")


def cut_after(sequence):
    """As a restore of the backup that ended there leaves the chain."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE core_auditentry DISABLE TRIGGER ALL")
        cursor.execute("DELETE FROM core_auditentry WHERE sequence > %s", [sequence])
        cursor.execute("ALTER TABLE core_auditentry ENABLE TRIGGER ALL")


@pytest.fixture
def restored(three, settings, tmp_path):
    """Anchored at 3, 5 and 7; then a backup that ends at 4 is restored."""
    settings.HOME = tmp_path
    audit.anchor()
    for _ in range(2):
        note(2)
        audit.anchor()
    cut_after(4)
    return declare


def declare():
    return declare_restored(by=factories.make_person("platform"), why="the disk of 21 November", days=30)


def test_after_a_restore_it_is_said_which_anchors_are_newer_and_that_nothing_before_was_altered(restored):
    assert audit.verify() == audit.Verdict(4, 5, "the chain was cut: an anchored entry is gone", 7)
    said = r"entry 5: .* an anchored entry is gone \(4 entries before it hold\); anchors reach entry 7"
    with pytest.raises(CommandError, match=said):
        call_command("verify_audit")
    with structlog.testing.capture_logs() as lines:
        assert audit.anchor() is None
    assert [(line["log_level"], line["head"], line["anchored"]) for line in lines] == [("error", 4, 7)]


@pytest.mark.scenario(60)
@pytest.mark.parametrize("written_before", [0, 2, 6], ids=["at once", "after two entries", "after six entries"])
def test_told_of_a_restore_the_chain_is_anchored_again_at_once_and_holds(restored, capsys, written_before):
    note(written_before)  # somebody started the portal too early
    audit.anchor()
    restored()
    entry = AuditEntry.objects.get(verb="restored")
    assert entry.data["void_anchors"] == [5, 7]
    note(1)
    assert audit.anchor() == entry.sequence + 1
    note(8)
    assert audit.anchor() == entry.sequence + 9
    assert audit.verify() == audit.Verdict(entry.sequence + 9, set_aside=((5, 7, entry.sequence),))
    call_command("verify_audit")
    said = f"anchors of entries 5 to 7 were set aside by the restore of entry {entry.sequence}\n"
    assert capsys.readouterr().out.startswith(said)


def test_what_a_restore_leaves_is_guarded_as_before(restored):
    restored()
    note(2)
    audit.anchor()
    tamper(3, why="other")
    assert audit.verify().broken_at == 3
    cut_after(6)
    tamper(3, why="because")
    assert audit.verify() == audit.Verdict(6, 7, "the chain was cut: an anchored entry is gone", 7, ((5, 7, 5),))


def test_a_second_restore_sets_aside_what_came_after_the_first(restored):
    restored()
    note(3)
    assert audit.anchor() == 8
    cut_after(6)
    declare()
    assert AuditEntry.objects.get(sequence=7).data["void_anchors"] == [8, 8]
    note(1)
    assert audit.anchor() == 8
    assert audit.verify() == audit.Verdict(8, set_aside=((5, 7, 5), (8, 8, 7)))


def test_anchors_arent_set_aside_without_the_key_nor_without_an_entry_that_says_so(restored):
    path = audit.anchor_file()
    note(1)
    head = AuditEntry.objects.get(sequence=5)
    forged = {"seq": 5, "hash": head.hash, "ts": "2026-11-22T00:00:00Z", "restored_from": 4, "void_to": 7, "mac": "00"}
    kept = path.read_bytes()
    path.write_bytes(kept + json.dumps(forged).encode() + b"\n")
    assert not audit.verify().holds
    path.write_bytes(kept)
    audit.set_aside(head, (5, 7))
    assert audit.verify().why == "its anchor sets others aside, and the entry says nothing of it"


def test_a_restore_to_the_newest_anchor_sets_nothing_aside(three, settings, tmp_path):
    settings.HOME = tmp_path
    audit.anchor()
    declare()
    assert "void_anchors" not in AuditEntry.objects.get(verb="restored").data
    assert audit.anchor() == 4
    assert audit.verify() == audit.Verdict(4)


def test_seals_are_checked_also_where_the_chain_does_not_hold(three, monkeypatch):
    tamper(2, why="other")
    monkeypatch.setattr(verify_audit, "verify_seals", lambda: audit.Verdict(7, 8, "a step that it covers was changed"))
    with pytest.raises(CommandError, match=r"entry 2: the entry was changed .*; seal 8: a step that it covers was"):
        call_command("verify_audit")
