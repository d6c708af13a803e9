"""A document's page shows its summary and a summary's its documents; the command that starts one is a person's."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal as D
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from q2c.canonical.posting import JournalLine
from q2c.core.models import AuditEntry
from q2c.transactions.contributions import Contributing, Day, store_contributions
from q2c.transactions.models import BusinessTransaction, Summary
from tests import factories

pytestmark = pytest.mark.django_db


def contribute(entity: str, **fields) -> BusinessTransaction:
    factories.make_entity(entity)
    txn = factories.make_transaction("waiting", legal_entity_code=entity, **fields)
    lines = (JournalLine(account="1105", debit=D(10)), JournalLine(account="410", credit=D(10)))
    day = Day("netsuite", entity, dt.date(2011, 3, 31), "GBP")
    store_contributions([Contributing(txn.pk, f"inv-{txn.pk}", day, lines, ("invoice", f"stripe:invoice:{txn.pk}"))])
    return txn


def start(person, **chosen) -> str:
    out = StringIO()
    call_command("start_summaries", by=person.username, why="The bank closes early", stdout=out, **chosen)
    return out.getvalue()


def test_a_document_shows_its_summary_and_the_summary_its_documents(controller):
    document = contribute("GB01", number="INV-7")
    assert "In a summary" not in controller.get(f"/transactions/{document.pk}/").content.decode()
    start(controller.person)
    summary = BusinessTransaction.objects.get(flow="summary_to_erp")
    page = controller.get(f"/transactions/{document.pk}/").content.decode()
    assert f'href="/transactions/{summary.pk}/">GB01-2011-03-31-GBP-0</a>' in page
    page = controller.get(f"/transactions/{summary.pk}/").content.decode()
    assert f'href="/transactions/{document.pk}/">INV-7</a>' in page
    assert "Documents of this summary" in page


def test_a_person_starts_the_summaries_of_their_own_entities_and_it_is_audited(sign_in):
    contribute("GB01")
    contribute("US01")
    clerk = sign_in("billing_ops", entities=("GB01",)).person
    assert start(clerk, entity="US01") == f"Nothing that {clerk} may start waits for a summary.\n"
    assert start(clerk) == "GB01-2011-03-31-GBP-0: 1 document\n"
    assert list(Summary.objects.values_list("legal_entity_code", flat=True)) == ["GB01"]
    entry = AuditEntry.objects.get(verb="started summary")
    assert (entry.actor, entry.why) == (clerk.username, "The bank closes early")


def test_an_auditor_or_a_stranger_starts_nothing(sign_in):
    contribute("GB01")
    assert start(sign_in("auditor").person).startswith("Nothing that")
    with pytest.raises(CommandError, match="nobody isn't an active person"):
        call_command("start_summaries", by="nobody", why="x")
    assert Summary.objects.count() == 0
