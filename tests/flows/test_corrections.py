"""A correction that comes before its document is held is read again once it is, and not once it posted."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from q2c.core.ids import uuid7
from q2c.flows import corrections
from q2c.inbox.models import InboundKey
from q2c.records.documents import Billed, store_documents
from q2c.records.models import BilledDocument
from q2c.transactions.models import BusinessTransaction
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def early():
    """An invoice on its way that was corrected: its transaction, and the message of the correction."""
    store_documents([Billed("stripe", "invoice", "in_1", "open", timezone.now(), currency="GBP")])
    txn = factories.make_transaction("running", source_id="in_1")
    key = factories.make_message("invoice.updated")
    corrections.remember({("stripe", "in_1"): key.event_id, ("stripe", "in_9"): key.event_id})
    return txn, key


def verdict(key: InboundKey) -> str:
    return InboundKey.objects.get(pk=key.pk).verdict


def test_it_waits_while_nobody_knows_and_is_read_again_once_when_the_document_is_held(early):
    txn, key = early
    assert (corrections.read_held_again(), verdict(key)) == (0, "translated")
    BusinessTransaction.objects.filter(pk=txn.pk).update(state="held")
    assert [corrections.read_held_again(), corrections.read_held_again(), verdict(key)] == [1, 0, "received"]


def test_it_is_forgotten_once_the_document_posted(early):
    txn, key = early
    BusinessTransaction.objects.filter(pk=txn.pk).update(state="completed")
    assert (corrections.read_held_again(), verdict(key)) == (0, "translated")
    assert BilledDocument.objects.get().corrected_by is None


def test_those_that_wait_for_their_end_do_not_keep_the_ones_behind_them_from_being_read(early, monkeypatch):
    _, first = early
    monkeypatch.setattr(corrections, "AT_ONCE", 1)
    store_documents([Billed("stripe", "invoice", "in_2", "open", timezone.now(), currency="GBP")])
    factories.make_transaction("held", source_id="in_2")
    behind = factories.make_message("invoice.updated")
    corrections.remember({("stripe", "in_2"): behind.event_id})
    assert (corrections.read_held_again(), verdict(first), verdict(behind)) == (1, "translated", "received")


@pytest.mark.parametrize(("days", "is_kept"), [(2, True), (4, False)])
def test_one_whose_document_has_no_transaction_yet_is_kept_for_three_days(days, is_kept):
    store_documents([Billed("stripe", "invoice", "in_3", "open", timezone.now(), currency="GBP")])
    event = uuid7((timezone.now() - dt.timedelta(days=days)).timestamp() * 1000)
    corrections.remember({("stripe", "in_3"): event})
    assert corrections.read_held_again() == 0
    assert BilledDocument.objects.filter(corrected_by=event).exists() == is_kept


def test_one_that_cannot_be_read_again_now_is_remembered(early, monkeypatch):
    txn, key = early
    BusinessTransaction.objects.filter(pk=txn.pk).update(state="held")

    def stop(*args, **how):
        assert BilledDocument.objects.get().corrected_by is None  # forgotten before, in the same commit
        raise OSError

    monkeypatch.setattr(corrections, "replay_event", stop)
    with pytest.raises(OSError):
        corrections.read_held_again()
    assert BilledDocument.objects.get().corrected_by == key.event_id
