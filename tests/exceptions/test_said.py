"""What people write about cases: covered for whoever may not see masked values, by shape and by known names."""

from __future__ import annotations

import pytest
from django.test import Client, RequestFactory

from exceptions import fixes
from exceptions.models import CaseFix, CaseNote, Mention
from exceptions.workbench.playbook import prefill
from tests import factories

pytestmark = pytest.mark.django_db
SAID = "Ms. Lovelace (ada@lovelace.example, +44 20 7946 0958) pays for Acme Traders"
COVERED = "Ms. [masked] ([masked], [masked]) pays for Acme Traders"


@pytest.fixture
def case():
    """A case about a person's document and a company's, with a note that names both."""
    factories.make_record("customer", "stripe:customer:cus_1", name="Ada Lovelace", content={"name": "Ada Lovelace"})
    company = {"name": "Acme Traders", "crm_id": "salesforce:Account:001"}
    factories.make_record("customer", "stripe:customer:cus_2", name="Acme Traders", content=company)
    txns = [factories.make_transaction("held", customer_name=name) for name in ("Ada Lovelace", "Acme Traders")]
    return factories.make_case(transactions=txns)


def page_of(case, role: str, **how) -> str:
    client = Client()
    client.force_login(factories.make_person(role, **how))
    shown = client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    return shown.replace('<span class="mask">masked</span>', "[masked]")


def test_a_note_is_covered_for_who_may_not_see_masked_values_and_plain_for_its_author_and_who_may(case):
    ben = factories.make_person("billing_ops", username="ben")
    note = CaseNote.objects.create(case=case, at=case.opened_at, by=ben, verb="noted", text=SAID)
    assert COVERED in page_of(case, "auditor", username="aud")
    assert SAID in page_of(case, "controller", username="cora")
    own = Client()
    own.force_login(ben)
    assert SAID in own.get(f"/exceptions/cases/{case.pk}/").content.decode()
    elsewhere = factories.make_person("billing_ops", username="mia")
    Mention.objects.create(note=note, person=elsewhere, meant=elsewhere)
    own.force_login(elsewhere)
    home = own.get("/").content.decode().replace('<span class="mask">masked</span>', "[masked]")
    assert (COVERED in home, "lovelace.example" in home) == (True, False)


def test_why_a_fix_was_made_is_covered_likewise(case):
    now = case.opened_at
    fix = CaseFix.objects.create(
        case=case, fingerprint=case.fingerprint, kind=case.kind, legal_entity_code=case.legal_entity_code,
        how="waived", why=SAID, document_count=1, opened_at=now, at=now, took=now - now,
    )  # fmt: skip
    fixes.note_failed([case.pk], now)
    type(case).objects.filter(pk=case.pk).update(regressed_count=1)
    page = page_of(case, "auditor", username="aud")
    assert (COVERED in page, "lovelace.example" in page) == (True, False)
    assert SAID in page_of(case, "controller", username="cora")
    asked = RequestFactory().get("/", {"apply": fix.pk})
    asked.user = factories.make_person("billing_ops", username="ben")
    assert prefill(asked, case).why == COVERED
