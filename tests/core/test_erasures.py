"""Who was erased stays so: an id that had no key yet, or that is linked later, never gets one that can be read."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.utils import timezone

from mappings.models import CrossReference
from q2c.core import customer_keys, erasures
from q2c.core.models import AuditEntry, CustomerKey, Erasure
from q2c.records.models import GoldenRecord
from tests import factories
from tests.core import keeping
from tests.core.keeping import make_key, make_old
from tests.factories import make_hold

pytestmark = pytest.mark.django_db
RECORD = "salesforce:Account:001A"


@pytest.fixture(autouse=True)
def fresh_keys():
    """No key of another test is known to this process."""
    customer_keys.forget_keys()
    yield
    customer_keys.forget_keys()


def make_record(key: str, *aliases: str, merged_into: str = "") -> GoldenRecord:
    return GoldenRecord.objects.create(
        record_type="customer", record_key=key, name=key, content={}, changed_at=timezone.now(), aliases=list(aliases),
        merged_into=merged_into,
    )  # fmt: skip


def link(key: str, code: str, external_id: str, *, is_shared: bool = False) -> None:
    CrossReference.objects.create(
        record_type="customer", record_key=key, connection=factories.make_connection(code), external_type="customer",
        external_id=external_id, is_shared=is_shared, at=timezone.now(),
    )  # fmt: skip


def erase(customer: str = "stripe:cus_1") -> Erasure:
    erasure = erasures.propose_erasure(
        customer, by=factories.make_person("controller"), matter="DSR-1", why="Ann asks for it."
    )
    with transaction.atomic():
        keeping.sign(erasure.proposal, erasures.apply_decision)
    erasure.refresh_from_db()
    customer_keys.forget_keys()  # as every other process
    return erasure


def is_readable(code: str, own: str) -> bool:
    """Whether what is sealed for this id from now on can be read."""
    (key_id,) = customer_keys.ensure_keys([(code, own)]).values()
    return customer_keys.key_bytes([key_id])[key_id] is not None


def test_ids_without_a_key_are_erased_with_the_others_and_never_get_one():
    make_key()
    make_record(RECORD, "salesforce:001A", "stripe:cus_1")
    link(RECORD, "netsuite", "42")
    make_key("cus_2")
    erasure = erase()
    assert erasure.key_count == 1
    assert sorted(AuditEntry.objects.get(verb="erase").data["barred"]) == ["netsuite:42", "salesforce:001A"]
    places = [("stripe", "cus_1"), ("salesforce", "001A"), ("netsuite", "42"), ("stripe", "cus_2"), ("netsuite", "43")]
    assert [is_readable(*place) for place in places] == [False, False, False, True, True]
    assert CustomerKey.objects.filter(destroyed_at=None, sealed_key=None).count() == 0


@pytest.mark.parametrize("how", ["by its own record", "by a reference", "by a merge"])
def test_an_id_that_is_linked_later_gets_no_key_that_can_be_read(how):
    make_key()
    record = make_record(RECORD, "salesforce:001A", "stripe:cus_1")
    erase()
    if how == "by its own record":
        record.aliases = [*record.aliases, "stripe:cus_9"]
    elif how == "by a reference":
        link(RECORD, "stripe", "cus_9")
    else:
        make_record("stripe:customer:cus_9", "stripe:cus_9", merged_into=RECORD)
        record.aliases = [*record.aliases, "stripe:cus_9"]
    record.save()
    make_record("stripe:customer:cus_8", "stripe:cus_8")
    assert [is_readable("stripe", own) for own in ("cus_9", "cus_8")] == [False, True]


def test_what_several_customers_share_erases_none_of_the_others():
    make_key()
    make_record(RECORD, "salesforce:001A", "stripe:cus_1")
    make_record("salesforce:Account:001B", "salesforce:001B")
    link(RECORD, "netsuite", "CASH")
    link("salesforce:Account:001B", "netsuite", "CASH", is_shared=True)
    erase()
    assert is_readable("netsuite", "CASH")
    assert is_readable("salesforce", "001B")
    assert not is_readable("salesforce", "001A")


def test_a_hold_on_what_has_no_key_yet_stands_against_it_too():
    key = make_key()
    make_record(RECORD, "salesforce:001A", "stripe:cus_1")
    lane = "salesforce:Opportunity:006A"
    make_old(source_connection="salesforce", customer_id="001A", lane=lane, legal_entity_code="GB01")
    hold = make_hold(lane=lane)
    with pytest.raises(customer_keys.ErasureRefused, match=f"LH-{hold.pk}"):
        erase()
    key.refresh_from_db()
    assert key.sealed_key is not None
    assert CustomerKey.objects.count() == 1


def test_without_any_erasure_nobody_is_looked_at_twice(django_assert_num_queries):
    with django_assert_num_queries(4):  # asked for, judged, made, asked for again
        customer_keys.ensure_keys([("stripe", f"cus_{n}") for n in range(50)])
    with django_assert_num_queries(1):
        customer_keys.forget_keys()
        customer_keys.ensure_keys([("stripe", f"cus_{n}") for n in range(50)])
