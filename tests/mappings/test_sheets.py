"""A sheet's life on the screen: pasted, reported, mended, drafted, proposed, cancelled; only its maker sees it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from mappings import sheets
from mappings.models import ChangeSet, Sheet
from tests import factories

pytestmark = pytest.mark.django_db
GOOD = "Key\tBecomes\nA\t10482\nB\t10391\n"


def paste(client, cells: str, **facts):
    given = {"kind": "item", "default_from": "2026-11-01", "cells": cells, **facts}
    return client.post("/mappings/sheets/", given, follow=True)


def test_pasted_cells_are_reported_and_the_right_ones_proposed(client, maker):
    shown = paste(client, GOOD + "C\t1O391\n").content.decode()
    assert "1 row of 3 can’t be proposed" in shown
    assert "NetSuite has no item 1O391. Did you mean 10391 · GTX-MNT-L · Wall mount L?" in shown
    sheet = Sheet.objects.get()
    wish = {"title": "New items", "why": "They are new", "propose": "yes"}
    answer = client.post(f"/mappings/sheets/{sheet.pk}/draft/", wish)
    change_set = ChangeSet.objects.get()
    assert answer["Location"] == f"/mappings/change-sets/{change_set.pk}/"
    assert (change_set.state, list(change_set.lines.order_by("pk").values_list("key", "value", "value_label"))) == (
        "proposed",
        [("A", "10482", "Router 5G"), ("B", "10391", "Wall mount L")],
    )
    sheet.refresh_from_db()
    assert (sheet.state, bytes(sheet.content)) == ("drafted", b"")


def test_a_draft_is_proposed_by_its_author_only(client, maker):
    paste(client, GOOD)
    client.post(f"/mappings/sheets/{Sheet.objects.get().pk}/draft/", {"title": "New", "why": "They are new"})
    change_set = ChangeSet.objects.get()
    assert change_set.state == "draft"
    assert "Propose 2 rules" in client.get(f"/mappings/change-sets/{change_set.pk}/").content.decode()
    client.force_login(factories.make_person("controller"))
    named = {"title": "New", "why": "They are new"}
    assert client.post(f"/mappings/change-sets/{change_set.pk}/propose/", named).status_code == 422
    client.force_login(maker)
    client.post(f"/mappings/change-sets/{change_set.pk}/propose/", named)
    change_set.refresh_from_db()
    assert change_set.state == "proposed"


def test_an_uploaded_file_that_cant_be_read_says_what_to_do(client, maker):
    file = SimpleUploadedFile("rules.xls", b"\xd0\xcf\x11\xe0old")
    given = {"kind": "item", "default_from": "2026-11-01", "file": file}
    shown = client.post("/mappings/sheets/", given, follow=True).content.decode()
    assert "rules.xls can’t be read" in shown
    assert "Save it as .xlsx without a password" in shown


def test_a_large_sheet_waits_for_a_worker_which_stops_when_it_is_cancelled(client, maker, monkeypatch):
    monkeypatch.setattr(sheets, "AT_ONCE", 10)
    assert "is being checked" in paste(client, GOOD).content.decode()
    sheet = Sheet.objects.get()
    assert sheet.state == "waiting"
    said = []

    def check_table(table, *, tell, **facts):
        tell("checked", 2000, 9000)
        said.append(client.get(f"/mappings/sheets/{sheet.pk}/").content.decode())
        client.post(f"/mappings/sheets/{sheet.pk}/cancel/")
        tell("checked", 4000, 9000)
        raise AssertionError("it went on")

    monkeypatch.setattr(sheets, "check_table", check_table)
    assert sheets.carry_waiting() == [sheet.pk]
    sheet.refresh_from_db()
    assert (sheet.state, bytes(sheet.content), ChangeSet.objects.count()) == ("cancelled", b"", 0)
    assert "2,000 of 9,000 rows checked" in said[0]
    assert 'value="22"' in said[0]


def test_a_worker_that_died_is_followed_and_one_that_lives_is_left_alone(maker):
    dead = factories.make_sheet(maker, state="checking", told_at=timezone.now() - dt.timedelta(minutes=3))
    factories.make_sheet(maker, state="checking", told_at=timezone.now())
    assert sheets.carry_waiting() == [dead.pk]


def test_a_sheet_over_which_the_portal_fails_ends_and_those_behind_it_are_carried(maker, monkeypatch):
    poison, sound = (factories.make_sheet(maker, state="waiting") for _ in range(2))
    real = sheets.check_sheet

    def check(sheet):
        if sheet.pk == poison.pk:
            raise RecursionError("a bug of ours")
        return real(sheet)

    monkeypatch.setattr(sheets, "check_sheet", check)
    assert sheets.carry_waiting() == [poison.pk, sound.pk]
    poison.refresh_from_db()
    assert (poison.state, "The portal failed over it (RecursionError)" in poison.says) == ("refused", True)


def test_what_nobody_came_back_to_isnt_kept(maker):
    old = factories.make_sheet(maker, state="checked", made_at=timezone.now() - dt.timedelta(days=8))
    sheets.carry_waiting()
    old.refresh_from_db()
    assert (old.state, bytes(old.content)) == ("cancelled", b"")


def test_the_export_keeps_the_filters_and_foreign_rules_out(client, maker):
    factories.make_rule("A", kind="item", legal_entity_code="GB01")
    factories.make_rule("B", kind="item", legal_entity_code="DE01")
    own = factories.make_person("billing_ops", entities=("GB01",))
    client.force_login(own)
    answer = client.get("/mappings/rules/export/?kind=item")
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    assert [line.split(",")[3] for line in text.splitlines() if line[:1] != "#"] == ["Key", "A"]
    assert answer["Content-Disposition"].startswith('attachment; filename="mappings-item-')
