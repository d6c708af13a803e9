"""When late documents may be accrued: what policy, the calendar and the mappings must say, and the reason else."""

from __future__ import annotations

import pytest

from exceptions.kind_words import ACCRUE, CHOOSE_PERIOD, REOPEN_PERIOD
from exceptions.resolving import periods
from q2c.core.models import AccountingPeriod, Person
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.core.people import make_person
from tests.exceptions.late import late_case
from tests.mappings.rules import make_rule

pytestmark = pytest.mark.django_db


def policy(field: str, says: str) -> None:
    make_rule("posting_policy", field, says, legal_entity="GB01")


def late_of(case) -> list[periods.Late]:
    """Its late documents, as somebody who works everywhere sees them."""
    return periods.late_documents(
        case, Person.objects.filter(username="ben").first() or make_person("ben", "billing_ops")
    )


def ledger(code: str, *, is_open: bool) -> None:
    AccountingPeriod.objects.filter(code=code).update(is_ledger_open=is_open)


CASES = {
    "nothing stands against it": (lambda: None, ""),
    "the whole ledger is closed": (
        lambda: ledger("2026-09", is_open=False),
        "Sep 2026 of GB01 is closed for the whole",
    ),
    "it couldn't be taken back": (
        lambda: ledger("2026-10", is_open=False),
        "Oct 2026 of GB01 is closed for the ledger",
    ),
    "policy posts late": (lambda: policy("late_documents", "next period"), "post in the next open period as they are"),
    "policy reopens": (lambda: policy("late_documents", "reopen"), "wait for a reopening"),
    "an engine owns revenue": (lambda: policy("revenue_owner", "engine"), "The revenue of GB01 is owned by engine"),
    "it goes in summaries": (lambda: policy("detail", "summary"), "go to the ledger in summaries"),
    "it's cash": (lambda: BusinessTransaction.objects.update(flow="payment_to_erp"), "Only invoices and credit memos"),
}


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_offered_where_receivables_alone_are_closed_and_else_the_reason_is_said(name):
    change, said = CASES[name]
    case, _ = late_case()
    ledger("2026-09", is_open=True)
    make_rule("account", "accrued_revenue", "1110")
    change()
    (found,) = (row for row in periods.options_of(late_of(case)) if row.code == ACCRUE)
    assert said in found.why_not
    assert bool(found.why_not) == bool(said)


def test_without_an_account_nothing_is_accrued_and_policy_that_accrues_falls_back_to_the_next_period():
    case, _ = late_case()
    ledger("2026-09", is_open=True)
    policy("late_documents", "accrue")

    def open_ways() -> list[str]:
        return [row.code for row in periods.options_of(late_of(case)) if not row.why_not]

    assert open_ways() == [CHOOSE_PERIOD]
    make_rule("account", "accrued_revenue", "1110", legal_entity="GB01", currency="EUR")
    (found,) = (row for row in periods.options_of(late_of(case)) if row.code == ACCRUE)
    assert found.why_not == "No account for accrued revenue in GBP is mapped for GB01 (role accrued_revenue)."
    make_rule("account", "accrued_revenue", "1110", legal_entity="GB01")
    assert open_ways() == [ACCRUE]


def test_an_accrual_that_is_late_itself_is_never_moved_to_another_period():
    case, _ = late_case(flow="accrual_to_erp")
    options = {row.code: row.why_not for row in periods.options_of(late_of(case))}
    assert options[CHOOSE_PERIOD] == "An accrual belongs to its own period: have it reopened, or waive it."
    assert (bool(options[ACCRUE]), options[REOPEN_PERIOD]) == (True, "")


def test_a_period_is_not_reopened_for_a_document_that_is_accrued_in_it_already():
    case, _ = late_case(number="INV-1", source_id="in_1")

    def said() -> str:
        return {row.code: row.why_not for row in periods.options_of(late_of(case))}[REOPEN_PERIOD]

    factories.make_transaction(flow="accrual_to_erp", source_id="invoice-in_1-2026-10")  # in another period
    assert said() == ""
    made = factories.make_transaction("waiting", flow="accrual_to_erp", source_id="invoice-in_1-2026-09")
    assert said() == "INV-1 is accrued in Sep 2026 already: posted there too, it would count twice."
    BusinessTransaction.objects.filter(pk=made.pk).update(state="cancelled")
    assert said() == ""


def test_where_an_accrual_cannot_be_taken_back_the_choice_is_about_the_period_of_its_reversal():
    case, _ = late_case(flow="accrual_to_erp", period_code="2026-08")  # the problem names September
    (late,) = late_of(case)
    assert (late.place, late.name) == (("GB01", "netsuite", "2026-09", "receivables"), "Sep 2026")
