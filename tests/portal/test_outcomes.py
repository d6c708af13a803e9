"""What steps gave, waits and documents are told in words that a controller reads; ids stay where only machines look."""

from decimal import Decimal as D

import pytest

from q2c.core.roles import PERMISSION_WORDS, ROLES
from q2c.core.templatetags.technical import url_path
from q2c.core.templatetags.words import amounts, document_name, human, period, short_id, spoken_noun
from q2c.portal import told
from q2c.portal.outcomes import Scene, tell_outcome
from q2c.transactions import selectors
from tests import factories

SCENE = Scene(customer="Kestrel Freight", currency="EUR", labels={"67": "Router 5G (67)", "7": "Trade receivables (7)"})
BOOK = {"code": "DE01", "name": "Quantumbit GmbH", "country": "DE", "currency": "EUR", "erp_id": "3"}
LIMITED = {"detail": "line", "approval_over": "250000"}
RATE = {"pair": "CHF/EUR", "source": "manual", "rate": "1.08", "rate_date": "2026-11-21"}
JOURNAL = {"currency_code": "EUR", "lines": [{"debit": "90", "credit": "0"}, {"debit": "0", "credit": "90"}]}
INVOICE = {"total": "1500.5", "currency_code": "EUR", "lines": [{}], "journal": [{"account": "7"}]}
APPLIED = {"currency_code": "JPY", "apply_to": [{"amount": "7000"}, {"amount": "500"}]}
POSTED = {"document_type": "ar_invoice", "id": "9161", "number": "INV-1", "external_id": "inv-stripe-in_1"}
RECEIPT = {"document_type": "receipt", "id": "9186", "number": "ch_1HT5SQNUk6aLF19iW6CQ2GOp"}


@pytest.mark.parametrize(
    ("gave", "value", "said"),
    [
        ("book", BOOK, "DE01, Quantumbit GmbH; its books are in EUR"),
        ("policy", {"detail": "line", "posting_date": "document"}, "Posted line by line, dated as the document"),
        ("policy", LIMITED, "Posted line by line, approval over 250,000.00 in the currency of the books"),
        ("erp_customer", "1629", "Kestrel Freight, customer 1629"),
        ("customer_use", "netsuite:customer:1629:DE01:CHF", "Yes: DE01 bills it in CHF"),
        ("period", {"name": "Nov 2026", "is_receivables_open": True}, "Nov 2026 is open"),
        ("rate", {}, "None needed: the document is in the currency of the books"),
        ("rate", RATE, "1.08 for CHF/EUR, by hand, of 21 Nov 2026"),
        ("items", {"A": {"item": "67"}, "B": {"item": "1", "label": "Bolt"}}, "A is Router 5G (67), B is Bolt"),
        ("taxes", {}, "No line is taxed"),
        ("taxes", {"txr_1": {"code": "13"}}, "Tax code 13"),
        ("accounts", {"receivables": "7", "tax": "27"}, "Receivables: Trade receivables (7), Tax: 27"),
        ("accounts", dict.fromkeys("abcde", "1"), "A: 1, B: 1, C: 1 and 2 more"),
        ("posting", INVOICE, "1 line, EUR 1,500.50, debits equal credits"),
        ("posting", JOURNAL, "2 lines, EUR 90.00, debits equal credits"),
        ("posting", APPLIED, "JPY 7,500 on 2 documents"),
        ("posting", {"fields": {"invoice_status": "paid", "link": "http://x/"}}, "invoice status paid"),
        ("products", {"A": "create", "B": "67"}, "B is Router 5G (67), A is made in billing"),
        ("plan", {"lines": [{}], "start_date": "2026-12-01", "term_months": 1}, "1 line from 1 Dec 2026 for 1 month"),
        ("window", "always", "Open at any time"),
        ("ar_invoice", POSTED, "AR invoice INV-1, id 9161"),
        ("receipt", RECEIPT, "Receipt 9186"),
        ("posting_date", "2026-11-21", "21 Nov 2026"),
        ("checked", "can be carried", "Can be carried"),
        ("summary", None, "By itself"),
        ("booked", {}, "nothing needed"),
        ("unheard_of", [1, 2], "2 entries"),
        ("unheard_of", {"external_id": "x", "pair": "A"}, "pair A"),
    ],
)  # fmt: skip
def test_what_a_step_gave_is_one_line(gave, value, said):
    assert tell_outcome(gave, value, SCENE) == said


@pytest.mark.parametrize("machine", ["ch_1HT5SQNUk6aLF19iW6CQ2GOp", "sub_sched_1xEe1M9Q4I708gtiJCSEbxpe",
                                     "0065gQ0000000TqABI", "01a1fddf-a5d8-7c32-a6c8-7c1f8a4a7e65"])  # fmt: skip
def test_an_id_that_only_machines_read_is_no_name(machine):
    assert human(machine) == ""


@pytest.mark.parametrize("number", ["INV-88105", "1A2B3CCB-0002-CN-01", "PROD-1000281857", "Q-00025", "29502", "O 12"])
def test_a_number_that_people_use_is_one(number):
    assert human(number) == number


def test_words_of_periods_ids_nouns_and_addresses():
    assert (period("2026-11"), period("FY26-P1"), period(None)) == ("Nov 2026", "FY26-P1", "")
    assert period("2026-11-06") == "period of 6 Nov 2026"
    assert (short_id("ch_1HT5SQNUk6aLF19iW6CQ2GOp"), short_id("9161")) == ("ch_1HT…2GOp", "9161")
    assert (spoken_noun("Application"), spoken_noun("CreditMemo")) == ("Cash application", "Credit memo")
    assert url_path("https://x.example/services/rest/record/v1/invoice?replace=a") == "/services/rest/record/v1/invoice"


def test_subjects_and_targets_name_people_before_ids(db):
    invoice = factories.make_transaction(number="INV-1", customer_name="Kestrel Freight", target_id="9161",
                                         target_type="ar_invoice", target_number="INV-1")  # fmt: skip
    paid = factories.make_transaction(
        number="ch_1HT5SQNUk6aLF19iW6CQ2GOp", fact_type="Payment", customer_name="Kestrel Freight", target_id="9186",
        target_type="receipt", target_number="ch_1HT5SQNUk6aLF19iW6CQ2GOp",
    )  # fmt: skip
    assert (told.tell_subject(invoice), told.tell_became(invoice)) == ("Invoice INV-1", "same")
    assert (told.tell_subject(paid), told.tell_became(paid)) == ("Payment of Kestrel Freight", "receipt 9186")
    assert (document_name(invoice), document_name(paid)) == ("INV-1", "Payment")


def test_a_wait_names_the_document_and_leads_to_it(db):
    invoice = factories.make_transaction(source_id="in_1IZWeepz5HJhenYAAly06Yxs", number="INV-1", state="held")
    waiting = factories.make_transaction(
        source_id="inpay_12fE8eQSiHWKxaDsQzbJsSlF", state="waiting",
        waits_for="invoice in_1IZWeepz5HJhenYAAly06Yxs in the ERP",
    )  # fmt: skip
    told.tell_waits(factories.make_person("controller"), [waiting])
    assert (waiting.awaited, waiting.awaited_txn) == ("invoice INV-1 in the ERP", invoice)


def test_a_wait_for_a_system_that_is_away_is_a_sentence_that_names_it(db):
    factories.make_connection("netsuite", name="NetSuite UK")
    waiting = factories.make_transaction(
        number="INV-9", state="waiting", problem_code="not_sent",
        waits_for="netsuite isn't answering about customers; calls wait until a probe gets through",
    )  # fmt: skip
    paused = factories.make_transaction(
        state="waiting", problem_code="not_sent", waits_for="the end of a pause of GB01: x"
    )
    told.tell_waits(factories.make_person("controller"), [waiting, paused])
    assert waiting.hindered == "NetSuite UK isn't answering about customers; calls wait until a probe gets through"
    assert paused.awaited == "the end of a pause of GB01: x"


def test_a_wait_for_what_somebody_may_not_see_keeps_its_number_to_itself(db):
    factories.make_transaction(source_id="in_1IZWeepz5HJhenYAAly06Yxs", number="INV-1", legal_entity_code="JP01")
    waiting = factories.make_transaction(state="waiting", waits_for="invoice in_1IZWeepz5HJhenYAAly06Yxs in the ERP")
    told.tell_waits(factories.make_person("controller", entities=("GB01",)), [waiting])
    assert (waiting.awaited, waiting.awaited_txn) == ("invoice in_1IZ…6Yxs in the ERP", None)


def test_steps_are_told_with_the_customer_of_their_document(db):
    txn = factories.make_transaction(customer_name="Kestrel Freight")
    factories.make_step(txn, "find_customer", gave="erp_customer", output="1629")
    steps = {step.name: step for step in told.tell_steps(txn, selectors.steps_of(txn.pk), [])}
    assert steps["find_customer"].outcome == "Kestrel Freight, customer 1629"


@pytest.mark.parametrize(("kind", "says"), [("write", "Nothing had to be written"), ("read", "")])
def test_a_write_that_made_nothing_says_so_beside_its_tick(db, kind, says):
    txn = factories.make_transaction(flow="reversal_to_erp")
    factories.make_step(txn, "post_again", kind=kind, gave="reposted", output=None)
    (step,) = [s for s in told.tell_steps(txn, selectors.steps_of(txn.pk), []) if s.name == "post_again"]
    step.kind = kind
    assert step.outcome == says


def test_every_permission_of_every_role_has_words():
    assert {p for role in ROLES for p in role.may} == set(PERMISSION_WORDS)


def test_a_case_in_many_currencies_shows_two_amounts_and_how_many_more():
    euro, yen = ("EUR", D("1234.5")), ("JPY", D(7000))
    shown = '<span class="money"><span class="ccy">EUR</span>\u00a01,234.50</span>'
    shown_yen = '<span class="money m0"><span class="ccy">JPY</span>\u00a07,000</span>'
    assert (amounts(""), amounts([]), amounts([euro])) == ("", "", shown)
    assert amounts([euro, yen]) == f"{shown}<br>{shown_yen}"
    more = '<span class="sub">and {}</span>'
    assert amounts([euro, yen, euro]) == f"{shown}<br>{shown_yen}{more.format('1 more currency')}"
    assert amounts([euro, yen, euro, yen]) == f"{shown}<br>{shown_yen}{more.format('2 more currencies')}"


def order(state: str, at: str):
    """An order that was refused once, behind a write that had nothing to write, and stands somewhere since."""
    txn = factories.make_transaction(state, flow="order_to_subscription", held_step=at)
    for step in ("find_book", "build_customer"):
        factories.make_step(txn, step)
    skipped = {"skipped": "billing_customer"}
    factories.make_step(txn, "save_customer", kind="write", gave="saved_customer", output=None, used=skipped)
    factories.make_step(txn, "choose_customer")
    factories.make_step(txn, "create_subscription", kind="write", state="failed")
    return txn


@pytest.mark.parametrize(("state", "at"), [
    ("unknown", "save_customer"), ("waiting", "save_customer"), ("waiting", "build_customer"),
    ("held", "create_subscription"),
])  # fmt: skip
def test_the_timeline_stands_where_the_document_does_whatever_an_earlier_attempt_did_behind_that(db, state, at):
    txn = order(state, at)
    steps = told.tell_steps(txn, selectors.steps_of(txn.pk), [])
    names = [step.name for step in steps]
    assert [step.name for step in steps if step.state == state] == [at]
    assert {step.state for step in steps[names.index(at) + 1 :]} == {"next"}
    assert [step.name for step in steps if step.problem] == (["create_subscription"] if state == "held" else [])


def test_what_had_nothing_to_write_is_no_attempt(db, client):
    txn = order("completed", "")
    made = {"document_type": "customer", "id": "cus_1", "url": "https://billing.example/cus_1"}
    for attempt in (2, 3):
        factories.make_step(txn, "save_customer", kind="write", gave="saved_customer", output=made, attempt=attempt)
        (step,) = [s for s in told.tell_steps(txn, selectors.steps_of(txn.pk), []) if s.name == "save_customer"]
        assert ([run.attempt for run in step.tries], step.shows_attempts) == ([2, 3][: attempt - 1], attempt == 3)
    client.force_login(factories.make_person("controller"))
    page = client.get(f"/transactions/{txn.pk}/").content.decode()
    assert "after 2 attempts" in page
    assert page.count("Attempts of this step") == 1
