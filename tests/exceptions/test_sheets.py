"""Held documents go out as a sealed sheet and come back as what each row would do; what moved or was altered is
refused by name, and the rest goes the ways of a case."""

import csv
import datetime as dt
import io
from decimal import Decimal

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from openpyxl import load_workbook

from exceptions import tallies
from exceptions.models import BulkAction, CaseSheet, ExceptionCase
from exceptions.sheets import carrying, checking, exporting
from exceptions.sheets.columns import HEADINGS, LOCKED
from q2c.canonical.schema import to_json
from q2c.core import leases
from q2c.core.models import AuditEntry, Proposal
from tests import factories
from tests.inbox.conftest import invoice
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db
KIND = "vendor_refused"  # may be reposted, edited, waived, corrected at its source
NEXT_WEEK = str(timezone.localdate() + dt.timedelta(days=9))


def make_held(number, **fields):
    fact = fields.pop("fact", None)
    txn = factories.make_transaction("held", number=number, **fields)
    if fact is not None:
        txn.fact = to_json(fact)
        txn.save(update_fields=["fact"])
    return txn


@pytest.fixture
def ann(db):
    return factories.make_person("controller", username="ann")


@pytest.fixture
def case():
    documents = [make_held(f"INV-{n}", amount=Decimal(f"{n}.50"), fact=invoice(f"INV-{n}")) for n in range(1, 7)]
    made = factories.make_case("No item", transactions=documents, kind=KIND)
    made.documents = documents
    return made


def export(by, form="xlsx", **asked):
    cases = tallies.cases_visible_to(by).filter(closed_at__isnull=True)
    file, _ = exporting.write_sheet(form, cases, by=by, asked=asked)
    with file:
        return file.read()


def fill(content, rows):
    """The workbook with cells filled in: {document: {column: text}}."""
    book = load_workbook(io.BytesIO(content))
    sheet = book["Documents"]
    places = {cell.value: cell.column for cell in sheet[1]}
    for row in sheet.iter_rows(min_row=2):
        for name, value in rows.get(row[places["Document"] - 1].value, {}).items():
            row[places[HEADINGS[name]] - 1].value = value
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def refusals(content, by):
    return {line.cells["number"]: line.refused for line in checking.check_sheet(content, by=by).refused}


@pytest.mark.parametrize("form", ["xlsx", "csv"])
def test_what_goes_out_comes_back_whole_and_says_nothing(ann, case, form):
    make_held("=HYPERLINK(1)")
    factories.make_case("@SUM(A1)", transactions=[make_held("=1+1")])
    checked = checking.check_sheet(export(ann, form), by=ann)
    assert (checked.total, checked.lines) == (7, [])


def test_a_workbook_has_drop_downs_locked_columns_and_says_what_it_is(ann, case):
    book = load_workbook(io.BytesIO(export(ann, Kind="item")))
    sheet = book["Documents"]
    heads = {cell.value: cell.column_letter for cell in sheet[1]}
    assert list(heads) == list(HEADINGS.values())
    assert sheet.protection.sheet
    assert {name for name in HEADINGS if sheet[f"{heads[HEADINGS[name]]}2"].protection.locked} == {*LOCKED, "seal"}
    assert [str(rule.sqref) for rule in sheet.data_validations.dataValidation] == [
        f"{heads[name]}2:{heads[name]}7" for name in ("Do", "Reason code", "To")
    ]
    about = {row[0].value: row[1].value for row in book["About"].iter_rows()}
    entry = AuditEntry.objects.get(verb="export", subject_type="cases")
    assert (about["Parameters"], about["Rows"], about["Totals"]) == ("Kind: item", "6", "GBP 24.00")
    assert about["Hash"] == f"sha256:{entry.data['hash']}"
    assert (entry.actor, entry.data["totals"]) == ("ann", {"GBP": "24.000000"})


def test_a_formula_in_a_csv_is_written_as_text(ann):
    factories.make_case("=cmd()", transactions=[make_held("@SUM(A1)")])
    rows = list(csv.reader(io.StringIO(export(ann, "csv").decode("utf-8-sig"))))
    assert not [cell for row in rows for cell in row if cell[:1] in ("=", "@", "+", "-")]


def test_rows_that_moved_were_altered_or_say_what_isnt_known_are_refused_by_name(ann, case):
    ben = factories.make_person("billing_ops", username="ben")
    other = factories.make_case("Other", transactions=[make_held("INV-9")])
    why = {"act": "Repost", "why": "mapped"}
    content = fill(export(ann), {
        "INV-1": why, "INV-2": why, "INV-3": why | {"amount": Decimal("99.50")}, "INV-4": why | {"act": "Waive"},
        "INV-5": {"act": "Explode", "why": "x"}, "INV-6": {"act": "Snooze", "until": "2020-01-01", "why": "x"},
        "INV-9": why,
    })  # fmt: skip
    one, two = case.documents[:2]
    type(one).objects.filter(pk=one.pk).update(state="completed")
    type(two).objects.filter(pk=two.pk).update(attempt=2)
    ExceptionCase.objects.filter(pk=other.pk).update(assignee=ben)
    said = refusals(content, ann)
    assert said["INV-1"] == "it moved since: it has posted. Export it again"
    assert said["INV-2"] == "it moved since: attempt was 1, is 2 now. Export it again"
    assert said["INV-3"] == "a locked cell was changed: Amount says “99.50”, it is “3.50”. Export it again"
    assert said["INV-4"].startswith("“” is no reason code. Choose one of: bad_debt")
    assert said["INV-5"].startswith("“Explode” is nothing that can be done. Choose one of: Repost")
    assert said["INV-6"] == "“Snooze until” has to be after today, and within 400 days"
    assert said["INV-9"] == "it moved since: ben has it now. Export it again"


def test_nobody_sends_back_what_they_dont_see_or_may_not_do(ann, case):
    foreign = factories.make_case(
        "DE", legal_entity_code="DE01", transactions=[make_held("DE-1", legal_entity_code="DE01")]
    )
    content = fill(export(ann), {
        "INV-1": {"act": "Waive", "code": "test", "why": "x"}, "INV-2": {"act": "Repost", "why": "x"},
        "DE-1": {"act": "Repost", "why": "x"},
    })  # fmt: skip
    bill = factories.make_person("billing_ops", entities=("GB01",))
    assert f"EX-{foreign.pk}".encode() not in export(bill, "csv")
    said = refusals(content, bill)
    assert said == {"INV-1": "your role doesn’t allow it: Controllership may", "DE-1": checking.UNSEEN}
    alone = factories.make_person("mapping_admin")
    assert refusals(content, alone)["INV-2"].startswith("your role doesn’t allow it: ")


def test_good_rows_go_the_ways_of_a_case_and_a_second_click_does_nothing(ann, case):
    make_rule("resolution_approval", "waive", "1 colleague")
    factories.make_person("billing_ops", username="ben")
    second = factories.make_case("Other", transactions=[make_held("INV-9")], queue="controllership")
    content = fill(export(ann), {
        "INV-1": {"act": "Repost", "why": "mapped"}, "INV-2": {"act": "Repost", "why": "mapped"},
        "INV-3": {"act": "Waive", "code": "duplicate", "why": "twice"},
        "INV-9": {"act": "Send back", "to": "billing_ops", "why": "ask them"},
    })  # fmt: skip
    sheet = carrying.take_sheet(content, by=ann, name="q.xlsx")
    assert [(part["count"], part["says"], part["asks"]) for part in sheet.report["parts"]] == [
        (2, "Repost", ""), (1, "Waive: the same as another document", "1 colleague"),
        (1, "Send back the case to Billing operations", ""),
    ]  # fmt: skip
    assert carrying.carry_sheet(sheet, by=ann)
    assert not carrying.carry_sheet(sheet, by=ann)
    repost, waiver = BulkAction.objects.order_by("pk")
    assert (repost.what, repost.state, repost.item_count, repost.why) == ("repost", "waiting", 2, "mapped")
    assert (waiver.what, waiver.state, waiver.code) == ("waive", "asked", "duplicate")
    assert Proposal.objects.get(kind="bulk_action").proposed_by == ann
    second.refresh_from_db()
    assert second.queue == "billing_ops"
    assert bytes(sheet.content) == b""


def test_a_sheet_that_was_interrupted_keeps_what_was_done_and_one_that_never_began_says_that_nothing_was(ann, case):
    content = fill(export(ann), {"INV-1": {"act": "Repost", "why": "mapped"}})
    begun, idle = (carrying.take_sheet(content, by=ann, name=name) for name in ("begun.xlsx", "idle.xlsx"))
    carrying.carry_sheet(begun, by=ann)
    assert AuditEntry.objects.filter(verb="begin_sheet", subject_id=str(begun.pk)).exists()
    done = begun.result
    both = CaseSheet.objects.filter(pk__in=[begun.pk, idle.pk])
    both.filter(pk=begun.pk).update(state="carrying", content=content)  # as a process that died leaves it
    leases.take_lease(f"sheet:{begun.pk}:", holder="it", seconds=60)
    assert carrying.forget_sheets() == 0
    leases.release_lease(f"sheet:{begun.pk}:", holder="it")
    both.filter(pk=idle.pk).update(made_at=timezone.now() - dt.timedelta(days=8))
    assert carrying.forget_sheets() == 2
    begun.refresh_from_db()
    idle.refresh_from_db()
    assert (begun.state, begun.says, begun.result) == ("carried", "It was interrupted; what was done is listed.", done)
    assert (idle.state, idle.says) == ("refused", "It was let go of after a week. Nothing was done.")


def test_control_characters_go_out_as_a_replacement_and_come_back_as_the_same_row(ann, case):
    factories.make_case("Other", transactions=[make_held("INV\x0b8")], kind=KIND, queue="controllership")
    content = fill(export(ann), {"INV\ufffd8": {"act": "Repost", "why": "mapped"}})
    report = checking.check_sheet(content, by=ann)
    assert ([line.cells["number"] for line in report.good], report.refused) == (["INV\ufffd8"], [])


def test_an_edit_is_proposed_and_what_moved_between_look_and_click_is_left_by_name(ann, case, monkeypatch):
    content = fill(export(ann), {
        "INV-1": {"act": "Edit and repost", "po_number": "PO-7", "why": "the customer's"},
        "INV-2": {"act": "Edit and repost", "po_number": "PO-8", "why": "the customer's"},
    })  # fmt: skip
    sheet = carrying.take_sheet(content, by=ann, name="q.xlsx")
    assert len(sheet.report["good"]) == 2, sheet.report
    two = case.documents[1]
    reads, known = [], carrying.known_documents

    def moved_meanwhile(by, ids):
        reads.append(len(ids))
        type(two).objects.filter(pk=two.pk).update(state="running")
        return known(by, ids)

    monkeypatch.setattr(carrying, "known_documents", moved_meanwhile)
    carrying.carry_sheet(sheet, by=ann)
    assert reads == [2]  # the rows of a batch in one statement
    done, left = sheet.result
    proposal = Proposal.objects.get(pk=done["proposal"])
    assert proposal.content["terms"]["changes"][0]["new"] == "PO-7"
    assert (left["count"], left["says"]) == (0, "it moved since: it is running already. Export it again")


def test_rows_of_one_case_that_wish_different_things_for_it_are_all_refused(ann, case):
    snooze = {"act": "Snooze", "why": "wait"}
    content = fill(export(ann), {"INV-1": snooze | {"until": NEXT_WEEK}, "INV-2": snooze | {"until": "2027-03-01"}})
    assert set(refusals(content, ann).values()) == {f"rows 2 and 3 wish different things for EX-{case.pk}"}


def test_a_sheet_goes_round_on_the_screen(ann, case):
    client = Client()
    client.force_login(ann)
    assert "/exceptions/sheets/export/?format=xlsx" in client.get("/exceptions/cases/").content.decode()
    content = b"".join(client.get("/exceptions/sheets/export/", {"case": case.pk}))
    filled = fill(content, {"INV-1": {"act": "Snooze", "until": NEXT_WEEK, "why": "wait"}, "INV-2": {"act": "Boom"}})
    sent = client.post("/exceptions/sheets/", {"file": SimpleUploadedFile("back.xlsx", filled)})
    page = client.get(sent.url).content.decode()
    assert "1 row of 6 can be done, 1 can’t" in page
    assert client.post(f"{sent.url}carry/").status_code == 302
    assert "1 row is on the way, 1 left as it was" in client.get(sent.url).content.decode()
    case.refresh_from_db()
    assert case.snoozed_at is not None
    sent = client.post("/exceptions/sheets/", {"file": SimpleUploadedFile("x.csv", b"a,b\n1,2\n")})
    assert "can’t be used" in client.get(sent.url).content.decode()
    assert CaseSheet.objects.filter(state="refused").count() == 1
