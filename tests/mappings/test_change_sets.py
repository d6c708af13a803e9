"""Change sets: drafts are checked, other people sign, and activation writes what is known from now on."""

from __future__ import annotations

import datetime as dt
import threading

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from connectors.models import Connection, ReferenceEntry
from mappings import approvals, drafts, planning
from mappings.drafts import DraftRefused, Line
from mappings.models import ChangeSet, MappingRule
from mappings.resolve import Snapshot, latest_change_set
from q2c.core import audit
from q2c.core.approvals import ApprovalRefused
from q2c.core.ids import uuid7
from q2c.core.models import LegalEntity
from q2c.core.problems import Problem
from tests.core.people import make_person

START = dt.date(2010, 1, 1)
MARCH = dt.date(2011, 3, 1)
APRIL = dt.date(2011, 4, 1)


@pytest.fixture
def maker(db):
    return make_person("maker", "mapping_admin")


@pytest.fixture
def checker(db):
    return make_person("checker", "controller")


def never(problem: Problem) -> None:
    raise AssertionError(problem)


def item(key: str, value: str, **facts) -> Line:
    return drafts.line_for(Line(kind="item", key=key, value=value, **({"effective_from": START} | facts)))


def propose(lines, by, **facts) -> ChangeSet:
    change_set = drafts.save_draft("Map", "new SKUs", lines=lines, by=by)
    approvals.propose_change_set(change_set, by=by, **facts)
    return change_set


def approve(change_set, by) -> approvals.Decision:
    return approvals.sign_change_set(change_set, by=by, approve=True, alarm=never)


def test_a_change_set_isnt_signed_at_the_door_of_other_decisions(maker, checker, client):
    """There it would be agreed on, and its rules never put into force."""
    change_set = propose([item("GTX-1", "10482")], maker)
    client.force_login(checker)
    seen = {"verdict": "approve", "seen_hash": change_set.proposal.content_hash}
    assert client.post(f"/decisions/{change_set.proposal_id}/sign/", seen).status_code == 422
    change_set.proposal.refresh_from_db()
    assert change_set.proposal.state == "proposed"
    assert approve(change_set, checker).is_in_force


def activate(lines, maker, checker) -> int:
    decision = approve(propose(lines, maker), checker)
    assert decision.state == "approved"
    return decision.number


def value_of(key: str, on: dt.date, kind: str = "item", change_set: int | None = None) -> str | None:
    found = Snapshot.load([(kind, key, {})], change_set).find(kind, key, on=on)
    return found.value if found else None


def faults_of(lines, by) -> list[tuple[int, str, str]]:
    with pytest.raises(DraftRefused) as refused:
        drafts.save_draft("Map", "why", lines=lines, by=by)
    return [(fault.line, fault.field, fault.text) for fault in refused.value.faults]


def test_two_people_put_a_rule_in_force_and_the_rule_names_both(maker, checker):
    change_set = propose([item("GTX-1", "77", label="Backpack")], maker)
    assert (change_set.state, value_of("GTX-1", MARCH)) == ("proposed", None)
    decision = approve(change_set, checker)
    assert (decision.state, decision.number, change_set.state) == ("approved", 1, "approved")
    rule = MappingRule.objects.get()
    assert (rule.value, rule.proposed_by, rule.approved_by, rule.known_from, rule.version) == (
        "77",
        maker,
        checker,
        1,
        1,
    )
    assert value_of("GTX-1", MARCH) == "77"
    assert list(audit.AuditEntry.objects.order_by("sequence").values_list("actor", "verb")) == [
        ("maker", "propose"),
        ("checker", "approve"),
        ("checker", "activate"),
    ]
    assert list(change_set.history.order_by("history_id").values_list("state", "history_user__username")) == [
        ("draft", "maker"),
        ("proposed", "maker"),
        ("approved", "checker"),
    ]


def test_a_change_from_a_day_keeps_the_days_before_and_the_knowledge_of_then(maker, checker):
    activate([item("A", "old")], maker, checker)
    number = activate([item("A", "new", effective_from=MARCH)], maker, checker)
    assert number == 2
    assert [value_of("A", MARCH - dt.timedelta(days=1)), value_of("A", MARCH)] == ["old", "new"]
    assert value_of("A", MARCH, change_set=1) == "old"
    rules = MappingRule.objects.order_by("id").values_list(
        "value", "effective_from", "effective_to", "known_from", "known_to"
    )
    assert list(rules) == [
        ("old", START, None, 1, 2),
        ("old", START, MARCH, 2, None),
        ("new", MARCH, None, 2, None),
    ]
    assert MappingRule.objects.get(value="new").version == 2


def test_a_change_for_one_month_returns_to_the_old_value_afterwards(maker, checker):
    activate([item("A", "old")], maker, checker)
    activate([item("A", "march", effective_from=MARCH, effective_to=APRIL)], maker, checker)
    assert [value_of("A", on) for on in (START, MARCH, APRIL)] == ["old", "march", "old"]


def test_a_backdated_change_replaces_the_whole_rule_and_then_stays_reproducible(maker, checker):
    activate([item("A", "old", effective_from=MARCH)], maker, checker)
    rule = MappingRule.objects.get()
    line = Line(act="change", kind="item", key="A", value="new", effective_from=START, rule_id=rule.pk)
    activate([line], maker, checker)
    assert [value_of("A", START), value_of("A", APRIL)] == ["new", "new"]
    assert [value_of("A", START, change_set=1), value_of("A", APRIL, change_set=1)] == [None, "old"]


def test_a_retired_rule_is_out_of_force_from_that_day(maker, checker):
    activate([item("A", "1")], maker, checker)
    activate([drafts.retirement_of(MappingRule.objects.get(), MARCH)], maker, checker)
    assert [value_of("A", MARCH - dt.timedelta(days=1)), value_of("A", MARCH)] == ["1", None]
    assert value_of("A", MARCH, change_set=1) == "1"


def test_its_author_cannot_approve_it_and_a_role_without_the_permission_neither(maker):
    change_set = propose([item("A", "1")], maker)
    for person in (maker, make_person("billing", "billing_ops")):
        with pytest.raises(ApprovalRefused):
            approve(change_set, person)
    assert (MappingRule.objects.count(), ChangeSet.objects.get().state) == (0, "proposed")


def test_a_rejection_needs_a_reason_and_changes_nothing(maker, checker):
    change_set = propose([item("A", "1")], maker)
    decision = approvals.sign_change_set(change_set, by=checker, approve=False, alarm=never, why="wrong item")
    assert (decision.state, decision.number, change_set.state) == ("rejected", None, "rejected")
    assert MappingRule.objects.count() == 0


def test_a_withdrawn_draft_or_proposal_can_no_longer_be_signed(maker, checker):
    change_set = propose([item("A", "1")], maker)
    approvals.withdraw_change_set(change_set, by=maker, why="mistake")
    assert change_set.state == "withdrawn"
    with pytest.raises(ApprovalRefused) as refused:
        approve(change_set, checker)
    assert refused.value.code == "decided"


def test_a_rule_that_changed_meanwhile_voids_the_proposal(maker, checker):
    activate([item("A", "1")], maker, checker)
    mine = propose([item("A", "2", effective_from=MARCH)], maker)
    other = make_person("other", "mapping_admin")
    activate([item("A", "3", effective_from=MARCH)], other, checker)
    decision = approve(mine, checker)
    assert (decision.state, decision.number) == ("void", None)
    assert "was changed meanwhile" in decision.why
    assert (mine.proposal.state, value_of("A", MARCH)) == ("void", "3")


def test_a_rival_creation_meanwhile_voids_the_proposal(maker, checker):
    mine = propose([item("A", "2")], maker)
    activate([item("A", "3")], make_person("other", "mapping_admin"), checker)
    assert approve(mine, checker).why == "Another rule for item A came into force meanwhile."


def test_rows_that_were_slipped_in_after_the_proposal_void_it(maker, checker):
    change_set = propose([item("A", "1")], maker)
    change_set.lines.update(value="666")
    assert approve(change_set, checker).why == "The rows aren't those that were proposed."
    assert MappingRule.objects.count() == 0


def test_of_a_large_set_the_hash_over_its_rows_is_signed_and_a_row_that_was_slipped_in_voids_it(
    maker, checker, monkeypatch
):
    monkeypatch.setattr(planning, "ROWS_SIGNED", 1)
    rows = [item("A", "1"), item("B", "2")]
    first, second = propose(rows, maker), propose(rows, maker)
    assert first.proposal.content["rows"] == second.proposal.content["rows"]
    assert first.proposal.content["rows"]["count"] == 2
    second.lines.filter(key="B").update(value="666")
    assert approve(second, checker).why == "The rows aren't those that were proposed."
    assert approve(first, checker).state == "approved"
    assert list(MappingRule.objects.order_by("key").values_list("key", "value", "version")) == [
        ("A", "1", 1), ("B", "2", 1),
    ]  # fmt: skip


def test_the_documents_that_it_releases_are_frozen_in_what_is_signed(maker, checker):
    ids = [uuid7(), uuid7()]
    affected = [
        {"transaction": i, "number": f"INV-{n}", "amount": "10.00", "currency": "GBP"} for n, i in enumerate(ids)
    ]
    change_set = propose([item("A", "1")], maker, affected=affected)
    assert approvals.released_by(change_set) == ids
    assert change_set.proposal.content["affected"][0]["number"] == "INV-0"


def test_what_concerns_one_entity_is_approved_by_its_own_approver(maker):
    change_set = propose([item("A", "1", legal_entity="GB01")], maker)
    with pytest.raises(ApprovalRefused):
        approve(change_set, make_person("us", "controller", entity="US01"))
    assert approve(change_set, make_person("gb", "controller", entity="GB01")).number == 1


# Whose readers would let them hold on every document: who approves, retries, promised levels, bill runs, policy.
UNASKED = (
    ("approval", "item", "1 approver"),
    ("retry_policy", "*|*", "3 times, 1s to 5s, jitter 20%"),
    ("service_level", "success_rate", "98%"),
    ("bill_run", "posting", "hold"),
    ("posting_policy", "detail", "line"),
)


@pytest.mark.parametrize(
    ("line", "field", "text"),
    [
        (Line(kind="nope", key="A", value="1", effective_from=START), "kind", "there is no kind nope"),
        (Line(kind="item", key=" A", value="1", effective_from=START), "key", "spaces"),
        (Line(kind="item", key="A", effective_from=START), "value", "say what it becomes"),
        (Line(kind="account", key="rec*", value="1", effective_from=START), "key", "takes no patterns"),
        (
            Line(kind="currency", key="GBP", value="1", legal_entity="GB01", effective_from=START),
            "legal_entity",
            "isn't narrowed",
        ),
        (
            Line(kind="tax_code", key="S", value="1", is_fallback=True, effective_from=START),
            "is_fallback",
            "no fallback",
        ),
        (
            Line(kind="posting_policy", key="colour", value="1", effective_from=START),
            "key",
            "isn't one of revenue_owner",
        ),
        (Line(kind="intercompany", key="GB01", value="1", effective_from=START), "key", "from_entity|to_entity"),
        (Line(kind="item", key="A", value="1", effective_from=MARCH, effective_to=MARCH), "effective_to", "after"),
        (
            Line(kind="item", key="A", value="1", conditions={"colour": "red"}, effective_from=START),
            "conditions",
            "colour",
        ),
        *(
            (
                Line(kind=kind, key=key, value=value, conditions={"document_type": "invoice"}, effective_from=START),
                "conditions",
                "isn't asked with a document",
            )
            for kind, key, value in UNASKED
        ),
    ],
)
def test_each_fault_names_its_field_and_the_way_out(maker, line, field, text):
    faults = faults_of([line], maker)
    assert [(n, f) for n, f, _ in faults] == [(0, field)]
    assert text in faults[0][2]
    assert ChangeSet.objects.count() == 0


def test_three_mistakes_among_two_hundred_rows_are_the_three_that_are_named(maker):
    lines = [Line(kind="item", key=f"SKU-{n}", value=str(n), effective_from=START) for n in range(200)]
    lines[7] = item("SKU-7", "")
    lines[50] = item("SKU-49", "50")
    lines[199] = item(" ", "1")
    assert [(line, field) for line, field, _ in faults_of(lines, maker)] == [(7, "value"), (50, "key"), (199, "key")]


def test_a_target_must_be_in_the_erps_list_active_and_of_the_right_class(maker):
    erp = Connection.objects.create(code="netsuite", name="NetSuite", vendor="netsuite", base_url="https://e.test")
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for number, name, kind, active in (
        (1, "Debtors", "receivable", True),
        (2, "Sales", "revenue", True),
        (3, "Old", "receivable", False),
    ):
        ReferenceEntry.objects.create(
            connection=erp, list_name="accounts", external_id=str(number), name=name, is_active=active, read_at=now,
            attributes={"account_class": kind},
        )  # fmt: skip

    def account(value):
        return Line(kind="account", key="receivables", value=value, connection="netsuite", effective_from=START)

    assert drafts.check_lines([account("1")], by=maker) == []
    texts = {value: faults_of([account(value)], maker)[0][2] for value in ("2", "3", "9")}
    assert texts == {
        "2": "Sales is revenue; receivables needs receivable",
        "3": "Old is inactive in NetSuite",
        "9": "9 isn't in the list of accounts; refresh the list or choose another",
    }


def test_a_selling_entity_must_be_one_of_ours(maker):
    LegalEntity.objects.create(code="GB01", name="GB", country="GB", currency="GBP", time_zone="Europe/London")
    line = Line(kind="selling_entity", key="GBP", value="FR01", effective_from=START)
    assert faults_of([line], maker)[0][2] == "FR01 isn't one of our legal entities: GB01"


def test_two_rows_or_a_row_and_a_rule_that_could_both_win_are_named_before_approval(maker, checker):
    activate([item("A", "1", legal_entity="GB01")], maker, checker)
    rule = MappingRule.objects.get()
    faults = faults_of([item("A", "2", currency="GBP")], maker)
    assert faults == [(0, "key", f"this and rule {rule.pk} (A = 1) could both win")]
    faults = faults_of([item("GT*", "1"), item("GT*", "2")], maker)
    assert faults == [(1, "key", "this and row 1 (GT* = 1) could both win")]
    assert drafts.check_lines([item("A", "2", currency="GBP", legal_entity="GB01"), item("A", "3")], by=maker) == []


def test_rules_of_other_dates_or_other_conditions_do_not_conflict(maker, checker):
    activate([item("A", "1", effective_to=MARCH)], maker, checker)
    lines = [
        item("A", "2", effective_from=MARCH),
        item("B", "1", conditions={"document_type": "invoice"}),
        item("B", "2", conditions={"document_type": "credit_memo"}),
    ]
    assert drafts.check_lines(lines, by=maker) == []


def test_a_person_of_one_entity_proposes_nothing_for_another(checker):
    maker = make_person("gb", "mapping_admin", entity="GB01")
    assert faults_of([item("A", "1", legal_entity="US01")], maker)[0][1] == "legal_entity"
    assert faults_of([item("A", "1")], maker)[0][2] == "your role proposes no SKU to ERP item for every entity"
    assert drafts.check_lines([item("A", "1", legal_entity="GB01")], by=maker) == []


def test_a_change_set_of_many_rows_takes_no_more_statements_than_one_of_few(maker, checker):
    def cost(count, prefix):
        lines = [Line(kind="item", key=f"{prefix}-{n}", value=str(n), effective_from=START) for n in range(count)]
        with CaptureQueriesContext(database) as queries:
            activate(lines, maker, checker)
        return len(queries)

    cost(1, "FIRST")  # people's roles are read once
    assert cost(1500, "B") == cost(2, "A")
    assert MappingRule.objects.count() == 1503


@pytest.mark.django_db(transaction=True)
def test_change_sets_signed_at_once_get_numbers_without_gaps():
    maker, checker = make_person("maker", "mapping_admin"), make_person("checker", "controller")
    sets = [propose([item(f"SKU-{n}", str(n))], maker) for n in range(6)]
    numbers: list[int | None] = []

    def work(change_set):
        try:
            numbers.append(approve(change_set, checker).number)
        finally:
            database.close()

    threads = [threading.Thread(target=work, args=(change_set,)) for change_set in sets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert latest_change_set() == 6
    assert audit.verify().holds
