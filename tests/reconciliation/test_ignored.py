"""What isn't carried stands in a report: amount, reason and owner, of the person's own entities."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pytest
from django.test import Client

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


def test_another_entitys_is_not_found(documents):
    assert ask("", entities=("GB01",)).status_code == 404
