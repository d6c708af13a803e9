"""Nobody is erased while work of theirs is open: their case keeps its evidence, and who asks is told what to finish."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.utils import timezone

from exceptions import closing
from exceptions.models import CaseFile, CaseNote, ExceptionCase
from mappings.models import CrossReference
from q2c.core import customer_keys, erasures, open_work
from q2c.core.models import AuditEntry, CustomerKey, Erasure
from q2c.core.tasks import carry_erasures
from q2c.inbox.models import InboundKey
from q2c.records.models import GoldenRecord
from q2c.transactions.models import BusinessTransaction
from tests import factories
from tests.core import keeping
from tests.core.keeping import make_key

pytestmark = pytest.mark.django_db
WHO = "stripe:cus_1"


@pytest.fixture(autouse=True)
def fresh_keys():
    """No key of another test is known to this process."""
    customer_keys.forget_keys()
    yield
    customer_keys.forget_keys()


def of_message(**fields):
    """A message under the customer's key."""
    return factories.make_message(customer_key=make_key(), **fields)


def open_case(*transactions, message=None):
    """A case with these documents, or with a message that was refused."""
    case = factories.make_case(transactions=transactions)
    if message is not None:
        case.occurrences.create(event_id=message.event_id, at=timezone.now(), number="evt")
    return case


def held_of(customer="cus_1", **fields):
    return factories.make_transaction("held", customer_id=customer, **fields)


def a_held_document():
    return open_case(held_of())


def a_refused_message():
    return open_case(message=of_message(verdict="refused"))


def a_document_of_another_whose_message_is_theirs():
    return open_case(held_of("cus_2", event_id=of_message().event_id))


def a_document_that_names_nobody_and_was_asked_about_under_their_key():
    txn = held_of("")
    factories.make_exchange(txn, customer_key_id=make_key().pk)
    return open_case(txn)


def a_document_that_names_their_record_in_another_system():
    key = "salesforce:Account:001A"
    GoldenRecord.objects.create(
        record_type="customer", record_key=key, name="Ann", content={}, changed_at=timezone.now(), aliases=[WHO]
    )
    CrossReference.objects.create(
        record_type="customer", record_key=key, connection=factories.make_connection("salesforce"), at=timezone.now(),
        external_type="customer", external_id="001A",
    )  # fmt: skip
    return open_case(held_of(key, source_connection="billing"))


def a_file_of_a_case_whose_own_documents_are_anothers():
    case = open_case(held_of("cus_2"))
    note = CaseNote.objects.create(case=case, at=timezone.now(), verb="noted", text="the contract")
    CaseFile.objects.create(
        note=note, name="a.pdf", content_type="application/pdf", size_bytes=1, sha256="0" * 64, scan="clean",
        body=b"x", body_key=b"x", customer_key=make_key(),
    )  # fmt: skip
    return case


CASES = (
    a_held_document, a_refused_message, a_document_of_another_whose_message_is_theirs,
    a_document_that_names_nobody_and_was_asked_about_under_their_key,
    a_document_that_names_their_record_in_another_system, a_file_of_a_case_whose_own_documents_are_anothers,
)  # fmt: skip


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_an_open_case_that_rests_on_what_their_key_seals_keeps_it_and_is_named(make):
    key, case = make_key(), make()
    assert [(piece.sort, piece.name) for piece in open_work.of_customer(WHO).pieces] == [("case", case.number)]
    with pytest.raises(customer_keys.ErasureRefused, match=f"case {case.number}. Finish it"):
        ask()
    assert not Erasure.objects.exists()
    key.refresh_from_db()
    assert key.sealed_key is not None


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_a_closed_case_and_a_finished_document_need_nothing(make):
    make_key()
    case = make()
    case.occurrences.update(closed_at=timezone.now(), closed_how="completed")
    BusinessTransaction.objects.update(state="completed")
    closing.resolve_emptied()
    sign(ask())
    assert Erasure.objects.get().state == "done"


@pytest.mark.parametrize(("state", "is_open"), [
    ("running", True), ("waiting", True), ("unknown", True), ("completed", False), ("cancelled", False),
])  # fmt: skip
def test_a_document_on_its_way_is_open_work(state, is_open):
    make_key()
    factories.make_transaction(state, customer_id="cus_1", number="INV-7")
    factories.make_transaction("running", customer_id="cus_2", number="INV-8")
    assert open_work.of_customer(WHO).words == ("on its way INV-7" if is_open else "")


@pytest.mark.parametrize(("verdict", "is_open"), [
    ("received", True), ("translated", False), ("ignored", False), ("refused", False),  # its case was waived
])  # fmt: skip
def test_a_message_that_is_to_be_read_again_is_open_work(verdict, is_open):
    of_message(verdict=verdict, source_id="evt_7")
    assert open_work.of_customer(WHO).words == ("to be read evt_7" if is_open else "")


def test_of_much_the_first_are_named_and_the_rest_counted_for_each_of_several_customers():
    make_key()
    for n in range(open_work.SHOWN + 2):
        factories.make_transaction("running", customer_id="cus_1", number=f"INV-{n}")
    case = a_held_document()
    factories.make_transaction("running", customer_id="cus_2", number="INV-X")
    found = open_work.of_customers([WHO, "stripe:cus_2", "stripe:cus_3"])
    assert found[WHO].words.startswith(f"case {case.number}; on its way INV-0, INV-1")
    assert found[WHO].words.endswith("; and 48 more")
    assert (found[WHO].total, len(found[WHO].pieces), found[WHO].more) == (53, 50, 3)
    assert [found[who].total for who in ("stripe:cus_2", "stripe:cus_3")] == [1, 0]
    assert open_work.of_customers([]) == {}


def ask(**changes) -> Erasure:
    return erasures.propose_erasure(
        WHO, by=factories.make_person("controller"), matter="DSR-1", why="Ann asks for it.", **changes
    )


def sign(erasure: Erasure) -> None:
    with transaction.atomic():
        keeping.sign(erasure.proposal, erasures.apply_decision)
    erasure.refresh_from_db()


def test_what_both_sign_says_what_is_open_and_that_it_waits():
    make_key()
    case = a_held_document()
    content = ask(may_wait=True).proposal.content
    assert content["open_now"] == f"case {case.number}"
    assert content["while_work_is_open"] == "It waits until that is done."


def test_a_case_that_opens_before_the_last_signature_is_met_by_it_and_nothing_is_signed():
    key = make_key()
    erasure = ask()
    case = a_held_document()
    with pytest.raises(customer_keys.ErasureRefused, match=case.number):
        sign(erasure)
    key.refresh_from_db()
    erasure.refresh_from_db()
    erasure.proposal.refresh_from_db()
    assert (key.sealed_key is None, erasure.state, erasure.proposal.state) == (False, "proposed", "proposed")
    assert CustomerKey.objects.count() == 1  # nor was an id barred that had no key


def test_one_that_may_wait_waits_and_is_carried_out_when_the_last_piece_is_done():
    key = make_key()
    erasure = ask(may_wait=True)
    case = a_held_document()
    running = factories.make_transaction("running", customer_id="cus_1")
    sign(erasure)
    assert (erasure.state, case.number in AuditEntry.objects.get(verb="erasure_waits").why) == ("waiting", True)
    case.occurrences.update(closed_at=timezone.now(), closed_how="completed")
    BusinessTransaction.objects.filter(state="held").update(state="completed")
    carry_erasures()
    erasure.refresh_from_db()
    assert erasure.state == "waiting"  # a document of theirs runs
    BusinessTransaction.objects.filter(pk=running.pk).update(state="completed")
    carry_erasures()
    erasure.refresh_from_db()
    key.refresh_from_db()
    assert (erasure.state, key.sealed_key) == ("done", None)


def test_one_that_waited_for_a_hold_waits_on_for_what_opened_meanwhile():
    key = make_key()
    hold = factories.make_hold()
    erasure = ask(may_wait=True, held_by="legal hold")
    sign(erasure)
    case = a_held_document()
    keeping.release(hold)
    key.refresh_from_db()
    erasure.refresh_from_db()
    assert (key.sealed_key is None, erasure.state) == (False, "waiting")
    assert ExceptionCase.objects.get().pk == case.pk


def test_whether_anything_is_open_is_asked_in_one_statement(django_assert_num_queries):
    with django_assert_num_queries(1):
        open_work.of_customers([f"stripe:cus_{n}" for n in range(20)])


def test_a_message_whose_case_was_closed_by_a_replay_is_still_open_work():
    message = of_message(verdict="refused")
    open_case(message=message).occurrences.update(closed_at=timezone.now(), closed_how="replayed")
    InboundKey.objects.filter(pk=message.pk).update(verdict="received")
    assert [piece.sort for piece in open_work.of_customer(WHO).pieces] == ["message"]
