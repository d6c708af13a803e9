"""What isn't carried stands in a report: amount, reason and owner, of the person's own entities."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.test import Client

from exceptions import resolutions
from q2c.records.models import BilledDocument
from tests import factories

pytestmark = pytest.mark.django_db
IN_OCTOBER = dt.date(2026, 10, 5)


def bill(number, *, entity="DE01", reason="zero_amount", day=IN_OCTOBER, amount="0", kind="invoice"):
    BilledDocument.objects.create(
        connection_code="stripe", document_type=kind, external_id=f"in_{number}", number=number, currency="EUR",
        legal_entity_code=entity, amount=Decimal(amount), document_date=day, ignored_reason=reason, content_hash="x",
        changed_at=dt.datetime.now(dt.UTC),
    )  # fmt: skip


@pytest.fixture
def documents():
    factories.make_period("DE01", "2026-10")
    factories.make_period("GB01", "2026-10")
    bill("Z-1")
    bill("Z-2", reason="refund_canceled", amount="12.50", kind="refund")
    bill("Z-3", day=dt.date(2026, 11, 1))
    bill("Z-4", entity="GB01")
    bill("Z-5", reason="")


def ask(query, **person):
    client = Client()
    client.force_login(factories.make_person("controller", **person))
    return client.get(f"/reports/ignored/?entity=DE01&period=2026-10{query}")


def test_every_ignored_document_of_the_period_has_amount_reason_and_owner(documents):
    text = ask("").content.decode()
    assert "2 documents of DE01 in Oct 2026 aren’t carried into the books" in text
    assert "A document of 0 has no effect on the books" in text
    assert "A refund that is canceled moved no money" in text
    assert [number in text for number in ("Z-1", "Z-2", "Z-3", "Z-4", "Z-5")] == [True, True, False, False, False]


def test_the_file_says_who_answers_for_each_and_what_they_add_up_to(documents):
    lines = b"".join(ask("&format=csv").streaming_content).decode("utf-8-sig").splitlines()
    first = "refund,Z-2,in_Z-2,stripe,,2026-10-05,EUR,12.500000,A refund that is canceled moved no money,"
    assert lines[1] == f"{first}Billing operations"
    assert lines[2].endswith("A document of 0 has no effect on the books,Controllership")
    assert "refund_canceled, EUR 12.5" in next(line for line in lines if line.startswith("# Totals"))


def test_what_wasnt_needed_and_what_people_gave_up_stands_there_too_with_reason_and_owner(documents):
    ours = {"legal_entity_code": "DE01", "currency": "EUR", "period_code": "2026-10", "document_date": IN_OCTOBER}
    zero = "N-1 is a document of 0, which the posting policy of DE01 skips"
    factories.make_transaction("cancelled", **ours, number="N-1", amount=Decimal(0), waits_for=zero)
    dated = ours | {"period_code": ""}
    voided = "billing voided N-2 before it was posted"
    factories.make_transaction("cancelled", **dated, number="N-2", amount=Decimal(40), waits_for=voided)
    held = [factories.make_transaction("held", **ours, number=f"G-{n}", amount=Decimal(7)) for n in (1, 2)]
    factories.make_case(kind="negative_price", transactions=held, legal_entity_code="DE01")
    cora = factories.make_person("controller", username="cora", display_name="Cora")
    resolutions.give_up([held[0].pk], by=cora, reason="sold to ourselves", code="test")
    for state, sequence, number in (("cancelled", 1, "V-1a"), ("completed", 2, "V-1b")):
        factories.make_transaction(
            state, **ours, number=number, source_id="in_v", lane="stripe:invoice:in_v", lane_sequence=sequence,
            waits_for="superseded: a later version came",
        )  # fmt: skip
    factories.make_transaction("cancelled", **ours | {"period_code": "2026-11"}, number="N-3")
    text = ask("").content.decode()
    assert "5 documents of DE01 in Oct 2026 aren’t carried into the books" in text
    assert [n in text for n in ("G-1", "N-1", "N-2", "G-2", "V-1a", "N-3")] == [True, True, True, False, False, False]
    assert f"/transactions/{held[0].pk}/" in text
    lines = b"".join(ask("&format=csv").streaming_content).decode("utf-8-sig").splitlines()
    ends = {line.split(",")[1]: line.split(",", 6)[6] for line in lines[1:6]}
    assert ends["G-1"] == 'EUR,7.000000,"Given up. A test, not a sale: sold to ourselves",Cora'
    assert ends["N-1"] == f'EUR,0.000000,"{zero}",Controllership'
    assert ends["N-2"] == "EUR,40.000000,Billing voided N-2 before it was posted,Billing operations"
    (totals,) = (line for line in lines if line.startswith("# Totals"))
    assert "given_up invoices, EUR 7.00; not_needed invoices, EUR 40.00" in totals


def test_documents_of_no_known_entity_are_counted_for_who_sees_all(documents):
    bill("H-1", entity="")
    bill("H-2", entity="", day=dt.date(2026, 11, 2))
    factories.make_transaction("cancelled", legal_entity_code="", document_date=IN_OCTOBER, period_code="")
    all_of_them, own = ask("").content.decode(), ask("", entities=("DE01",)).content.decode()
    assert '&amp;of=nobody">2 documents of no known entity</a> aren’t carried either, and are in no' in all_of_them
    assert "no known entity" not in own
    assert "Of no known entity: 2 more" in b"".join(ask("&format=csv").streaming_content).decode()


def test_each_document_of_no_known_entity_has_amount_reason_and_owner_too(documents):
    bill("H-1", entity="", reason="payout_never_arrived", amount="940.10", kind="payout")
    bill("H-2", entity="", day=dt.date(2026, 11, 2))
    bill("H-3", entity="", day=None)
    held = factories.make_transaction("held", legal_entity_code="", document_date=IN_OCTOBER, period_code="",
                                      number="H-4", amount=Decimal(7))  # fmt: skip
    cora = factories.make_person("controller", username="cora", display_name="Cora")
    factories.make_case(kind="negative_price", transactions=[held], legal_entity_code="")
    resolutions.give_up([held.pk], by=cora, reason="sold to ourselves", code="test")
    told = ask("").content.decode()
    assert "3 documents of no known entity" in told
    text = ask("&of=nobody").content.decode()
    assert "3 documents of no known entity aren’t carried into the books" in text
    assert [n in text for n in ("H-1", "H-2", "H-3", "H-4", "Z-1")] == [True, False, True, True, False]
    assert "The payout failed on its way: the bank never had the money" in text
    answer = ask("&of=nobody&format=csv")
    assert "ignored-no-entity-2026-10-" in answer["Content-Disposition"]
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()
    ends = {line.split(",")[1]: line.split(",", 6)[6] for line in lines[1:4]}
    assert ends["H-1"] == "EUR,940.100000,The payout failed on its way: the bank never had the money,Controllership"
    assert ends["H-3"] == "EUR,0.000000,A document of 0 has no effect on the books,Controllership"
    assert ends["H-4"] == 'GBP,7.000000,"Given up. A test, not a sale: sold to ourselves",Cora'
    assert any("payout_never_arrived, EUR 940.10" in line for line in lines)
    assert any("none that is known" in line for line in lines)


@pytest.mark.parametrize(
    ("role", "entities", "file", "status"),
    [
        ("controller", (), "", 200),
        ("auditor", (), "", 200),
        ("controller", (), "&format=csv", 200),
        ("controller", ("DE01",), "", 404),
        ("controller", ("DE01", "GB01"), "", 404),
        ("auditor", ("DE01",), "&format=xlsx", 404),
        ("platform", (), "", 403),
        ("billing_ops", (), "&format=csv", 403),
    ],
)
def test_what_is_nobodys_is_shown_to_who_sees_every_entity_alone(documents, role, entities, file, status):
    bill("H-1", entity="")
    client = Client()
    client.force_login(factories.make_person(role, entities=entities))
    answer = client.get(f"/reports/ignored/?entity=DE01&period=2026-10&of=nobody{file}")
    assert answer.status_code == status
    assert (b"H-1" in b"".join(answer)) == (status == 200)


@pytest.mark.parametrize(("entities", "offers"), [((), True), (("DE01",), False)])
def test_only_who_sees_every_entity_is_offered_those_of_none(documents, entities, offers):
    assert ('name="of"' in ask("", entities=entities).content.decode()) == offers


def test_nothing_of_nobody_is_said_so(documents):
    said = "No document without a known entity was ignored or given up in Oct 2026"
    assert said in ask("&of=nobody").content.decode()


def test_the_headline_claims_no_more_than_what_was_looked_at():
    factories.make_period("DE01", "2026-10")
    factories.make_transaction("held", legal_entity_code="DE01", period_code="2026-10")
    text = ask("").content.decode()
    assert "Nothing that came of DE01 in Oct 2026 was ignored or given up" in text
    assert "is carried into the books" not in text


def test_another_entitys_is_not_found(documents):
    assert ask("", entities=("GB01",)).status_code == 404
