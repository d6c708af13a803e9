"""A period that the ERP refused: which one it is, which of its ledgers, and which ways out can work for whom."""

from __future__ import annotations

import pytest

from exceptions import cases
from exceptions.kind_words import ACCRUE, CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.models import ExceptionCase
from exceptions.resolving import periods
from q2c.core.models import AccountingPeriod
from q2c.core.problems import Category, Problem
from tests import factories
from tests.core.people import make_person
from tests.exceptions.problems import held

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def months():
    factories.make_period("GB01", "2026-09", is_open=False, external_id="131")
    factories.make_period("GB01", "2026-10")


def refused(flow: str, step: str, period: str, **subject: str) -> ExceptionCase:
    """A document that the ERP refused at a step, which says so much."""
    txn = factories.make_transaction("held", flow=flow, held_step=step, period_code=period,
                                     problem_code="period_closed", target_connection="netsuite")  # fmt: skip
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
        ("unwinding_to_erp", "post_credit_memo", {}, ("2026-09", "receivables"), {REOPEN_PERIOD}),
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


def test_whether_a_period_is_open_that_no_list_has_is_no_question():
    place = ["GB01", "netsuite", "2026-09", "receivables"]
    assert not periods.are_open([place])
    AccountingPeriod.objects.filter(code="2026-09").update(is_receivables_open=True)
    assert periods.are_open([place])
    for unknown in ("", "2031-01"):
        with pytest.raises(periods.UnknownPeriod, match="has no period"):
            periods.are_open([[*place[:2], unknown, "receivables"]])
