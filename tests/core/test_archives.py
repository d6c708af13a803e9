"""A month is written out, read back and told in the audit chain before it's dropped; what is archived can be checked
and read, and goes with its customer's key."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from pathlib import Path

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, transaction
from django.test import override_settings
from django.utils import timezone

from exceptions.models import ExceptionCase
from q2c.core import archive_files, archives, audit, customer_keys, ending, retention, vault
from q2c.core.models import Archive, AuditEntry, ExpiredMonth
from q2c.flows import watching
from q2c.transactions.models import StepRun
from tests import factories
from tests.core import keeping
from tests.core.keeping import LONG_AGO, make_key, make_old, march

pytestmark = pytest.mark.django_db
STEPS = "transactions_steprun"
WORDS = ("steps", "lineage", "postings", "raw_bodies", "exchanges", "outgoing_events")


@pytest.fixture
def folder(db, tmp_path, settings):
    """Months of March 2019, and a house that archives all of them."""
    customer_keys.forget_keys()
    keeping.make_months()
    for word in WORDS:
        factories.make_rule(word, "yes", kind="archive", connection_code="", effective_from=dt.date(2020, 1, 1))
    settings.ARCHIVE = str(tmp_path / "archive")
    yield tmp_path / "archive"
    customer_keys.forget_keys()


def entry(verb: str, table: str = STEPS) -> dict:
    return AuditEntry.objects.filter(verb=verb, subject_id=march(table)).latest("sequence").data


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def test_a_month_is_archived_with_the_checksum_that_the_database_tells_of_its_drop(folder):
    txn = make_old(customer_id="cus_1")
    factories.make_step(
        txn, "post", output={"note": 'a "quoted", (odd) \\ text\nof two lines', "empty": ""}, at=LONG_AGO
    )
    factories.make_exchange(txn)
    keeping.make_old_message()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT t::text FROM {STEPS} t WHERE transaction_id = %s ORDER BY sequence", [txn.pk])
        rows = [row[0] for row in cursor.fetchall()]
    dropped = retention.drop_expired()
    assert sorted(dropped) == sorted(march(table) for table in keeping.TABLES)
    told, drop = entry("archive"), entry("drop_partition")
    assert (told["rows"], told["checksum"]) == (drop["rows"], drop["checksum"]) == (2, drop["checksum"])
    assert drop["archive"] == told["archive"]
    made = Archive.objects.get(pk=told["archive"])
    written = lines(folder / made.file_name)
    assert str(sum(line["h"] for line in written)) == drop["checksum"]
    key = customer_keys.key_bytes([make_key().pk])[make_key().pk]
    assert [archive_files.open_row(line, key) for line in written] == rows
    assert not list(folder.glob("*.part"))
    assert {a.table for a in Archive.objects.all()} == {STEPS, "connectors_exchange", "inbox_inboundevent"}  # not empty
    assert all(archives.check(a).fault == "" for a in Archive.objects.all())
    assert audit.verify().holds


def test_what_is_archived_of_a_transaction_is_found_with_its_message(folder):
    key = keeping.make_old_message()
    txn, other = make_old(event_id=key.event_id, customer_id="cus_1"), make_old()
    retention.drop_expired()
    assert not StepRun.objects.exists()
    found = archives.find_rows(txn.pk, key.event_id)
    assert {row.archive.table for row in found} == {STEPS, "inbox_inboundevent"}
    (step,) = [row for row in found if row.archive.table == STEPS]
    assert (step.key, step.fields["step"], step.fields["transaction_id"]) == (f"{txn.pk}/1", "map_items", str(txn.pk))
    assert [row.key for row in archives.find_rows(other.pk)] == [f"{other.pk}/1"]


def test_an_erased_customer_is_erased_in_archives_too_and_the_file_is_still_whole(folder):
    txn, other, nobodys = (make_old(customer_id=customer) for customer in ("cus_1", "cus_2", ""))
    retention.drop_expired()
    customer_keys.destroy_key(make_key().pk)
    assert archives.find_rows(txn.pk)[0].fields is None
    assert all(archives.find_rows(one.pk)[0].fields["step"] == "map_items" for one in (other, nobodys))
    seen = archives.check(Archive.objects.get(table=STEPS))
    assert (seen.fault, seen.erased_count) == ("", 1)


def test_rows_of_a_customer_who_was_erased_before_are_archived_so_that_nobody_reads_them(folder):
    customer_keys.destroy_key(make_key().pk)
    txn = make_old(customer_id="cus_1")
    assert march(STEPS) in retention.drop_expired()
    assert archives.find_rows(txn.pk)[0].fields is None


@pytest.mark.parametrize("harm", ["a byte", "cut", "gone", "manifest", "row", "chain"])
def test_an_archive_that_was_tampered_with_is_found_and_told(folder, harm):
    make_old()
    retention.drop_expired()
    made = Archive.objects.get(table=STEPS)
    file = folder / made.file_name
    whole = file.read_bytes()
    if harm == "a byte":
        file.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    elif harm == "cut":
        file.write_bytes(whole[:-10])
    elif harm == "gone":
        file.unlink()
    elif harm == "manifest":
        manifest = folder / made.file_name.replace(".jsonl.gz", ".json")
        manifest.write_text(manifest.read_text().replace('"rows": 1', '"rows": 2'))
    with connection.cursor() as cursor:
        if harm == "row":  # by somebody who owns the database
            cursor.execute("ALTER TABLE core_archive DISABLE TRIGGER USER")
            cursor.execute("UPDATE core_archive SET checksum = '1'")
        if harm == "chain":
            cursor.execute("ALTER TABLE core_auditentry DISABLE TRIGGER USER")
            cursor.execute("DELETE FROM core_auditentry WHERE verb = 'archive'")
    assert archives.check(Archive.objects.get(table=STEPS)).fault
    assert watching.watch_archives() == (1, 0)
    assert ExceptionCase.objects.get().kind == "archive_damaged"
    if harm in ("a byte", "cut", "gone"):
        file.write_bytes(whole)
        assert not archives.check(made).fault
        assert watching.watch_archives() == (0, 1)


def test_a_month_that_cant_be_archived_stays_and_operators_are_told_until_it_can(folder):
    make_old()
    folder.write_text("a file stands where the directory should")
    dropped = retention.drop_expired()
    assert march(STEPS) not in dropped
    assert StepRun.objects.count() == 1
    assert "couldn’t be written" in ExpiredMonth.objects.get(pk=march(STEPS)).failure
    assert watching.watch_archives() == (1, 0)
    folder.unlink()
    assert march(STEPS) in retention.drop_expired()
    assert watching.watch_archives() == (0, 1)


@pytest.mark.parametrize("place", ["", "q2c/archive"])
def test_without_a_directory_of_its_own_nothing_is_archived_or_dropped(folder, settings, place):
    make_old()
    settings.ARCHIVE = str(settings.BASE_DIR / place) if place else ""
    assert march(STEPS) not in retention.drop_expired()
    assert "Q2C_ARCHIVE" in ExpiredMonth.objects.get(pk=march(STEPS)).failure


def test_the_database_drops_no_month_that_no_archive_holds(folder):
    make_old()
    refused = pytest.raises(DatabaseError, match="no archive holds what it holds now")
    with connection.cursor() as cursor, refused, transaction.atomic():
        cursor.execute("SELECT q2c_drop_partition(%s)", [march(STEPS)])
    assert StepRun.objects.count() == 1


def test_after_a_crash_between_archive_and_drop_the_month_is_dropped_by_its_archive(folder, monkeypatch):
    make_old()
    with monkeypatch.context() as patched:
        patched.setattr(retention, "_drop", lambda partition: (_ for _ in ()).throw(OperationalError("killed")))
        assert retention.drop_expired() == []
    assert (Archive.objects.filter(table=STEPS).count(), StepRun.objects.count()) == (1, 1)
    assert march(STEPS) in retention.drop_expired()
    assert Archive.objects.filter(table=STEPS).count() == 1
    assert entry("drop_partition")["archive"] == Archive.objects.get(table=STEPS).pk


def test_a_row_that_came_after_the_archive_has_the_month_archived_again(folder, monkeypatch):
    txn = make_old()
    with monkeypatch.context() as patched:
        patched.setattr(retention, "_drop", lambda partition: (_ for _ in ()).throw(OperationalError("killed")))
        retention.drop_expired()
    factories.make_step(txn, "late", at=LONG_AGO)
    assert march(STEPS) in retention.drop_expired()
    assert [archive.row_count for archive in Archive.objects.filter(table=STEPS).order_by("pk")] == [1, 2]
    assert [row.fields["step"] for row in archives.find_rows(txn.pk)] == ["map_items", "late"]


@pytest.mark.parametrize("at", ["write_rows", "write_manifest", "_read_back", "see_folder"])
def test_a_crash_while_archiving_leaves_the_month_and_nothing_that_counts(folder, monkeypatch, at):
    make_old()
    with monkeypatch.context() as patched:
        patched.setattr(archives, at, lambda *a, **k: (_ for _ in ()).throw(OSError("no space left on device")))
        assert march(STEPS) not in retention.drop_expired()
    assert (Archive.objects.count(), StepRun.objects.count()) == (0, 1)
    assert not list(folder.glob("*.part"))
    assert march(STEPS) in retention.drop_expired()


def test_a_program_that_ends_leaves_the_month_for_the_next_one(folder):
    make_old()
    ending.ask_to_end()
    try:
        assert march(STEPS) not in retention.drop_expired()
    finally:
        ending.forget_ending()
    assert ExpiredMonth.objects.get(pk=march(STEPS)).failure == ""
    assert march(STEPS) in retention.drop_expired()


def test_archives_are_checked_again_once_a_month_is_over(folder):
    make_old()
    retention.drop_expired()
    with time_machine.travel(timezone.now() + dt.timedelta(days=29)):
        assert archives.check_due() == []
    with time_machine.travel(timezone.now() + dt.timedelta(days=31)):
        assert [seen.fault for seen in archives.check_due()] == [""]
        assert archives.check_due() == []


def test_a_large_month_is_written_in_blocks_and_a_row_is_read_from_its_own(folder, monkeypatch):
    monkeypatch.setattr(archives, "BLOCK_ROWS", 3)
    made = [make_old() for _ in range(8)]
    for _ in range(4):
        factories.make_step(made[4], "again", at=LONG_AGO)
    retention.drop_expired()
    manifest = json.loads(next(folder.glob(f"{march(STEPS)}-*.json")).read_text())
    assert [block[3] for block in manifest["blocks"]] == [3, 3, 3, 3]
    assert [len(archives.find_rows(txn.pk)) for txn in made] == [1, 1, 1, 1, 5, 1, 1, 1]


def test_the_text_of_a_row_is_read_as_postgresql_writes_it():
    values = ["", "plain", 'a"b', "a\\b", "a,b", "(x)", "two\nlines", " ", None, '""', "\\\\", '"\\', "ärger", "{1,2}"]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ROW({', '.join(['%s::text'] * len(values))})::text", values)
        assert archive_files.fields_of(cursor.fetchone()[0]) == values


def test_without_a_rule_a_month_goes_as_it_always_did(db, tmp_path):
    keeping.make_months()
    make_old()
    with override_settings(ARCHIVE=str(tmp_path / "archive")):
        assert march(STEPS) in retention.drop_expired()
    assert not Archive.objects.exists()
    assert not (tmp_path / "archive").exists()


def test_the_command_checks_every_archive_and_names_files_that_belong_to_none(folder, capsys):
    make_old()
    retention.drop_expired()
    (folder / "left.jsonl.gz").write_bytes(b"x")
    call_command("archives", "--check")
    said = capsys.readouterr().out
    assert f"{march(STEPS)}: 1 rows" in said
    assert ": whole" in said
    assert "left.jsonl.gz: a file that no archive names" in said
    (folder / Archive.objects.get().file_name).unlink()
    with pytest.raises(CommandError, match="1 archives aren’t whole"):
        call_command("archives", "--check", march(STEPS))
    with pytest.raises(CommandError, match="No archive holds nothing"):
        call_command("archives", "nothing")


def test_a_month_whose_customers_keys_no_vault_key_opens_stays_and_says_so(folder, settings):
    make_key()
    txn = make_old(customer_id="cus_1")
    settings.VAULT_KEYS = [vault.new_key()]
    customer_keys.forget_keys()
    assert march(STEPS) not in retention.drop_expired()
    assert "isn't in Q2C_VAULT_KEYS" in ExpiredMonth.objects.get(pk=march(STEPS)).failure
    assert StepRun.objects.filter(transaction_id=txn.pk).exists()
