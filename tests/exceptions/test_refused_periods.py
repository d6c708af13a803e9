"""A period that the ERP refused: which one it is, which of its ledgers, and which ways out can work for whom."""

from __future__ import annotations

import pytest

from exceptions import cases
from exceptions.kind_words import ACCRUE, CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.models import ExceptionCase
from exceptions.resolving import periods
from q2c.core.models import AccountingPeriod
from q2c.core.problems import Category, Problem
from q2c.flows import catalog
from q2c.transactions.steps import Write
from tests import factories
from tests.core.people import make_person
from tests.exceptions.problems import held
from tests.flows.skippable import is_skippable
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def months():
    factories.make_period("GB01", "2026-09", is_open=False, external_id="131")
    factories.make_period("GB01", "2026-10")


def refused(flow: str, step: str, period: str, *, before: dict[str, dict] | None = None, **subject: str):
    """A document that the ERP refused at a step, which says so much; `before` are its writes before that, each with
    what it used."""
    txn = factories.make_transaction("held", flow=flow, held_step=step, period_code=period,
                                     problem_code="period_closed", target_connection="netsuite")  # fmt: skip
    for name, used in (before or {}).items():
        factories.make_step(txn, name, kind="write", used=used or None)
    problem = Problem("period_closed", Category.PERIOD_CLOSED, "NetSuite refused the period", connection="netsuite",
                      **subject)  # fmt: skip
    row = held(problem, transaction_id=txn.pk, number=txn.number, legal_entity_code="GB01", period_code=period)
    return ExceptionCase.objects.get(pk=cases.open_for_steps([row])[txn.pk])


def ways_of(case: ExceptionCase) -> tuple[tuple[str, ...], set[str]]:
    (late,) = periods.late_documents(case, make_person("ben", "billing_ops"))
    return late.place[2:], {row.code for row in periods.options_of([late]) if not row.why_not}


SETTLED = {"legal_entity": "GB01", "ledger": "receivables", "erp_period": "131"}


@pytest.mark.parametrize(
    ("flow", "step", "subject", "place", "ways"),
    [
        ("invoice_to_erp", "check_period", {}, ("2026-09", "receivables"), {CHOOSE_PERIOD, REOPEN_PERIOD}),
        ("invoice_to_erp", "post_invoice", {}, ("2026-09", "receivables"), {CHOOSE_PERIOD, REOPEN_PERIOD}),
        ("payout_to_erp", "post_journal", {}, ("2026-09", "ledger"), {CHOOSE_PERIOD, REOPEN_PERIOD}),
        ("summary_to_erp", "check_period", {}, ("2026-09", "ledger"), {REOPEN_PERIOD}),  # it's of its day
        ("unwinding_to_erp", "check_period", {}, ("2026-09", "receivables"), {CHOOSE_PERIOD, REOPEN_PERIOD}),
        ("unwinding_to_erp", "release_settlements", SETTLED, ("2026-09", "receivables"), {REOPEN_PERIOD}),
        ("unwinding_to_erp", "post_credit_memo", {}, ("2026-09", "receivables"), {CHOOSE_PERIOD, REOPEN_PERIOD}),
        ("credit_void_to_erp", "post_invoice", {}, ("2026-09", "receivables"), {CHOOSE_PERIOD, REOPEN_PERIOD}),
        ("credit_void_to_erp", "move_credit", SETTLED, ("2026-09", "receivables"), {REOPEN_PERIOD}),
        ("application_to_erp", "apply_payment", SETTLED, ("2026-09", "receivables"), {REOPEN_PERIOD}),
        ("application_to_erp", "apply_payment", SETTLED | {"erp_period": "9"}, ("", "receivables"), set()),
        ("application_to_erp", "apply_payment", {}, ("", "receivables"), set()),
    ],
)
def test_only_what_can_work_is_offered(flow, step, subject, place, ways):
    case = refused(flow, step, "" if flow == "application_to_erp" else "2026-09", **subject)
    assert case.period_code == place[0]
    found, offered = ways_of(case)
    assert (found, offered - {ACCRUE}) == (place, ways)
    assert ACCRUE not in offered or CHOOSE_PERIOD in offered


SKIPPABLE = [
    pytest.param(flow, write, later, id=f"{flow.code}-{write.name}-{later.name}")
    for flow in catalog.FLOWS
    for n, write in enumerate(flow.steps)
    if isinstance(write, Write) and is_skippable(flow, write)
    for later in flow.steps[n + 1 :]
    if isinstance(later, Write) and any(step.gives == "posting_date" for step in flow.steps)
]
DATED = {("invoice_void_to_erp", "post_credit_memo"), ("unwinding_to_erp", "post_credit_memo"),
         ("unwinding_to_erp", "post_invoice")}  # fmt: skip


@pytest.mark.scenario(45, of="a write that had nothing to write")
@pytest.mark.parametrize("skipped", ["nothing to write", "", "older release"])
@pytest.mark.parametrize(("flow", "write", "later"), SKIPPABLE)
def test_another_date_is_offered_behind_a_write_that_had_nothing_to_write_and_not_behind_one_that_stands(
    flow, write, later, skipped
):
    used = {"skipped": skipped.replace("nothing to write", write.prepared)} if skipped else {}
    case = refused(flow.code, later.name, "2026-09", before={write.name: used})
    (late,) = periods.late_documents(case, make_person("ben", "billing_ops"))
    why_not = {row.code: row.why_not for row in periods.options_of([late])}
    if skipped == "nothing to write":
        assert (why_not[CHOOSE_PERIOD] == "") is ((flow.code, later.name) in DATED)
        assert "Part of it" not in why_not[CHOOSE_PERIOD]
    else:
        assert why_not[CHOOSE_PERIOD].startswith("Part of it is in the ERP already")
    assert why_not[REOPEN_PERIOD] == ""


@pytest.mark.parametrize(
    ("flow", "step", "before", "says", "ways"),
    [
        ("invoice_void_to_erp", "post_credit_memo", {"skipped": "release"}, "next period", {CHOOSE_PERIOD}),
        ("invoice_void_to_erp", "post_credit_memo", {}, "next period", {REOPEN_PERIOD}),  # nothing else is left
        ("invoice_void_to_erp", "post_credit_memo", {}, "accrue", {REOPEN_PERIOD}),
        ("invoice_void_to_erp", "post_credit_memo", {"skipped": "release"}, "reopen", {REOPEN_PERIOD}),
    ],
)
def test_policy_chooses_between_ways_that_a_document_has(flow, step, before, says, ways):
    make_rule("posting_policy", "late_documents", says, legal_entity="GB01")
    _, offered = ways_of(refused(flow, step, "2026-09", before={"release_settlements": before}))
    assert offered - {ACCRUE} == ways


@pytest.mark.parametrize(("flow", "step", "why"), [
    ("summary_to_erp", "check_period", "Its posting date is that of what it’s about"),
    ("reversal_to_erp", "reverse_journal", "Its posting date is that of what it’s about"),
    ("application_to_erp", "apply_payment", "What the ERP refused changes what stands in Sep 2026 already"),
])  # fmt: skip
def test_why_another_date_makes_no_way_is_said_as_it_is(flow, step, why):
    case = refused(flow, step, "2026-09", before={"reverse_other": {"skipped": "other"}})
    (late,) = periods.late_documents(case, make_person("ben", "billing_ops"))
    (found,) = [row.why_not for row in periods.options_of([late]) if row.code == CHOOSE_PERIOD]
    assert found.startswith(why)
    or_waived = "" if flow == "summary_to_erp" else ", or waive it"  # a summary can't be: its documents wait for it
    assert found.endswith(f"Have that period reopened{or_waived}.")


def test_whether_a_period_is_open_that_no_list_has_is_no_question():
    place = ["GB01", "netsuite", "2026-09", "receivables"]
    assert not periods.are_open([place])
    AccountingPeriod.objects.filter(code="2026-09").update(is_receivables_open=True)
    assert periods.are_open([place])
    for unknown in ("", "2031-01"):
        with pytest.raises(periods.UnknownPeriod, match="has no period"):
            periods.are_open([[*place[:2], unknown, "receivables"]])
