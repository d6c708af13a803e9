"""A change set on real documents: what it would do is found out before it's signed, and then exactly that happens."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal as D
from unittest.mock import Mock

import pytest
from django.utils import timezone

from connectors.models import ReferenceEntry
from exceptions import evidence, releases
from mappings import building
from mappings.drafts import Line, line_for, retirement_of, save_draft
from mappings.models import ChangeSet, EvidenceDocument, MappingRule
from mappings.resolve import Snapshot
from q2c import ports
from q2c.core import leases
from q2c.core.approvals import ApprovalRefused
from q2c.core.models import AccountingPeriod, Person
from q2c.flows import backtest
from q2c.transactions.models import BusinessTransaction, StepRun, WorkItem
from tests.mappings.rules import make_rule, next_number

pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = dt.date(2010, 1, 1)


def person(name: str) -> Person:
    return Person.objects.get(username=name)


def item(code: str) -> ReferenceEntry:
    return ReferenceEntry.objects.get(list_name="items", code=code)


def maps(sku: str, entry: ReferenceEntry, **facts) -> Line:
    known = MappingRule.objects.filter(kind="item", key=sku, known_to=None).first()
    place = {"connection": "netsuite"} if known is None else {
        "connection": known.connection_code, "legal_entity": known.legal_entity_code, "currency": known.currency,
    }  # fmt: skip
    start = {"effective_from": LONG_AGO} | facts
    return line_for(Line(kind="item", key=sku, value=entry.external_id, label=entry.name, **place, **start))


def other_item() -> ReferenceEntry:
    """An item whose revenue goes to another account than QB-API's."""
    mine = item("QB-API").attributes
    account = mine.get("deferral_account") or mine["income_account"]
    rows = ReferenceEntry.objects.filter(list_name="items", is_active=True).order_by("external_id")
    return next(
        row
        for row in rows
        if row.attributes.get("income_account") and not row.attributes.get("deferral_account")
        and row.attributes["income_account"] != account
    )  # fmt: skip


@pytest.fixture
def billed(house):
    """Two posted invoices of a known SKU, and two held ones: one lacks an item, the other a second one as well."""
    customer = house.customer()
    house.invoice(customer, amount=10_000)
    house.invoice(customer, amount=2_050)
    house.invoice(customer, sku="NEW-1", amount=700)
    lines = [{"amount": 300, "quantity": 1, "metadata": {"sku": sku}} for sku in ("NEW-1", "NEW-2")]
    house.invoice(customer, lines=lines)
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 2, "held": 2})
    return house


def test_it_says_what_it_releases_and_alters_and_after_approval_exactly_that_happens(billed):
    maker, other = person("mapping_admin"), other_item()
    draft = building.add_to_draft("New SKUs", "The shop sells them", lines=[maps("NEW-1", item("QB-API"))], by=maker)
    assert building.add_to_draft("-", "-", lines=[maps("QB-API", other)], by=maker) == draft
    before = (WorkItem.objects.count(), StepRun.objects.count(), billed.made("netsuite", "invoice"))
    found = releases.ask_evidence(draft)
    assert (WorkItem.objects.count(), StepRun.objects.count(), billed.made("netsuite", "invoice")) == before
    held = EvidenceDocument.objects.filter(part="held").order_by("amount").values_list("outcome", "amount", "says")
    assert list(held) == [("held", D(6), "NetSuite has no item for SKU NEW-2 in GB01, GBP"), ("posts", D(7), "")]
    assert found.content["derived"]["changed"] == found.content["derived"]["documents"] == 2
    moved = {}
    for _entity, currency, account, *_dimensions, amount in found.content["cells"]:
        moved[account, currency] = moved.get((account, currency), D(0)) + D(amount)
    mine = item("QB-API").attributes
    assert moved == {
        (mine.get("deferral_account") or mine["income_account"], "GBP"): D("120.50"),
        (other.attributes["income_account"], "GBP"): D("-120.50"),
    }
    proposal = releases.propose_change_set(draft, by=maker)
    assert [f["outcome"] for f in proposal.content["affected"]] in (["posts", "held"], ["held", "posts"])
    assert proposal.content["evidence"] == found.content
    draft.refresh_from_db()
    decision, results = releases.decide_change_set(draft, by=person("controller"), approve=True)
    assert (decision.state, [r.is_restarted for r in results]) == ("approved", [True, True])
    billed.carry(until=lambda: billed.states("invoice_to_erp") == {"completed": 3, "held": 1})
    assert len(billed.made("netsuite", "invoice")) == 3
    assert set(EvidenceDocument.objects.filter(part="held").values_list("became", flat=True)) == {"released"}
    assert reproduced() == 3


def reproduced() -> int:
    """How many postings come out as they are stored when the rules of then are asked again."""
    steps = StepRun.objects.filter(step="map_items", state="done").order_by("transaction_id", "sequence")
    of_then = dict(steps.values_list("transaction_id", "change_set"))
    count = 0
    for number in set(of_then.values()):
        own = [i for i, known in of_then.items() if known == number]
        # Knowledge 0 answers nothing, so each answer of then is taken as it is, and compared with what is stored.
        found = backtest.derive_again(own, before=Snapshot.load([], 0), after=Snapshot.load([], number))
        assert found.changed == []
        count += found.document_count
    return count


def test_what_releases_more_than_the_entitys_limit_needs_two_signatures(billed):
    maker = person("mapping_admin")
    make_rule("posting_policy", "release_over", "5", legal_entity="GB01", number=next_number())
    ports.forget_kept()
    draft = save_draft("New SKU", "The shop sells it", lines=[maps("NEW-1", item("QB-API"))], by=maker)
    proposal = releases.propose_change_set(draft, by=maker)
    said = "it releases GBP 7.00 in GB01, over the limit of GBP 5"  # the other one would stay held
    assert (proposal.signatures_needed, proposal.content["policy"]["over"]) == (2, [said])
    decision, results = releases.decide_change_set(draft, by=person("controller"), approve=True)
    assert (decision.state, results, billed.states("invoice_to_erp")) == ("proposed", [], {"completed": 2, "held": 2})


def test_a_rule_of_tomorrow_and_a_retirement_take_hold_by_themselves(house):
    maker, other = person("mapping_admin"), other_item()
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    gone = retirement_of(MappingRule.objects.filter(kind="item", key="QB-TRN-FUND", known_to=None)[0], tomorrow)
    change = save_draft(
        "Tomorrow", "From then on", lines=[maps("QB-API", other, effective_from=tomorrow), gone], by=maker
    )
    releases.propose_change_set(change, by=maker)
    releases.decide_change_set(change, by=person("controller"), approve=True)
    customer = house.customer()
    house.invoice(customer)
    house.invoice(customer, sku="QB-TRN-FUND")
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 2})
    house.pass_days(1)
    house.invoice(customer)
    house.invoice(customer, sku="QB-TRN-FUND")
    house.carry(until=lambda: house.states("invoice_to_erp") == {"completed": 3, "held": 1})
    used = [
        json.loads(bytes(output))["QB-API"]["item"]
        for output in StepRun.objects.filter(step="map_items", state="done")
        .order_by("at")
        .values_list("output", flat=True)
        if b'"QB-API"' in bytes(output)
    ]
    assert used == [item("QB-API").external_id, other.external_id]
    assert reproduced() == 3


def test_what_would_alter_a_closed_period_is_refused_with_the_first_date_allowed(billed):
    maker, other = person("mapping_admin"), other_item()
    period = AccountingPeriod.objects.get(
        code=BusinessTransaction.objects.filter(flow="invoice_to_erp", state="completed")[0].period_code,
        subsidiary__legal_entity__code="GB01",
    )
    first = period.end_date + dt.timedelta(days=1)
    early = save_draft("Too early", "A new account", lines=[maps("QB-API", other)], by=maker)
    releases.propose_change_set(early, by=maker)
    AccountingPeriod.objects.filter(pk=period.pk).update(is_receivables_open=False)
    ports.forget_kept()
    said = f"It would alter 2 documents of {period.name}, closed in GB01. The first date allowed is {first}."
    with pytest.raises(ApprovalRefused) as refused:
        releases.decide_change_set(early, by=person("controller"), approve=True)
    assert (refused.value.code, refused.value.why) == ("closed_period", said)
    again = save_draft("Again", "A new account", lines=[maps("QB-API", other)], by=maker)
    with pytest.raises(ApprovalRefused) as refused:
        releases.propose_change_set(again, by=maker)
    assert (refused.value.why, ChangeSet.objects.get(pk=again.pk).state) == (said, "draft")
    later = save_draft("Later", "A new account", lines=[maps("QB-API", other, effective_from=first)], by=maker)
    assert releases.propose_change_set(later, by=maker).content["evidence"]["altered"] == []
    rule = MappingRule.objects.get(kind="item", key="QB-API", known_to=None)
    gone = save_draft("Retire", "It never was", lines=[retirement_of(rule, LONG_AGO)], by=maker)
    releases.ask_evidence(gone)
    posted = gone.evidence.documents.filter(part="posted").values_list("outcome", "says")
    assert {outcome for outcome, _ in posted} == {"held"}
    assert evidence.closed_words(gone.evidence.content) == said


def test_a_lost_nudge_or_a_process_that_died_after_the_signature_is_made_good_by_the_sweep(billed, monkeypatch):
    maker, controller = person("mapping_admin"), person("controller")
    draft = save_draft("New SKU", "The shop sells it", lines=[maps("NEW-1", item("QB-API"))], by=maker)
    monkeypatch.setattr(evidence, "SMALL", 0)  # so that it's computed by a task; no worker runs here
    assert releases.propose_change_set(draft, by=maker) is None
    releases.finish_change_sets()
    assert state(draft) == ("draft", "computing")  # it was asked for just now: its nudge may be under way
    long_ago(draft)
    assert leases.take_lease(f"evidence:{draft.pk}", holder="another", seconds=60)
    releases.finish_change_sets()
    assert state(draft) == ("draft", "computing")  # somebody does it already
    leases.release_lease(f"evidence:{draft.pk}", holder="another")
    releases.finish_change_sets()
    assert state(draft) == ("proposed", "ready")
    draft.refresh_from_db()
    with monkeypatch.context() as patch:
        patch.setattr(releases, "repost_released", Mock(side_effect=OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            releases.decide_change_set(draft, by=controller, approve=True)
    assert (state(draft)[0], billed.states("invoice_to_erp")) == ("approved", {"completed": 2, "held": 2})
    ChangeSet.objects.filter(pk=draft.pk).update(approved_at=timezone.now() - dt.timedelta(minutes=2))
    releases.finish_change_sets()
    billed.carry(until=lambda: billed.states("invoice_to_erp") == {"completed": 3, "held": 1})
    attempts = list(BusinessTransaction.objects.filter(flow="invoice_to_erp").values_list("pk", "attempt"))
    releases.finish_change_sets()
    assert list(BusinessTransaction.objects.filter(flow="invoice_to_erp").values_list("pk", "attempt")) == attempts
    assert len(billed.made("netsuite", "invoice")) == 3


def test_a_proposal_that_is_refused_at_once_is_not_proposed_behind_its_authors_back(billed):
    maker = person("mapping_admin")
    AccountingPeriod.objects.update(is_receivables_open=False)
    ports.forget_kept()
    draft = save_draft("Too early", "A new account", lines=[maps("QB-API", other_item())], by=maker)
    with pytest.raises(ApprovalRefused, match="closed"):
        releases.propose_change_set(draft, by=maker)
    AccountingPeriod.objects.update(is_receivables_open=True)
    long_ago(draft)
    releases.finish_change_sets()
    assert state(draft) == ("draft", "ready")


def state(change_set: ChangeSet) -> tuple[str, str]:
    change_set = ChangeSet.objects.select_related("evidence").get(pk=change_set.pk)
    return change_set.state, change_set.evidence.state


def long_ago(change_set: ChangeSet) -> None:
    change_set.evidence.__class__.objects.update(asked_at=timezone.now() - dt.timedelta(minutes=2))


def test_a_rule_of_tomorrow_is_back_tested_over_the_periods_that_were_chosen_and_reaches_none(billed):
    """The two posted invoices come out differently as if it had held; by its own dates nothing does."""
    maker, other = person("mapping_admin"), other_item()
    tomorrow = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1)
    draft = save_draft("Tomorrow", "From then on", lines=[maps("QB-API", other, effective_from=tomorrow)], by=maker)
    found = releases.ask_evidence(draft, periods=2)
    told = found.content
    months = AccountingPeriod.objects.filter(subsidiary__legal_entity__code="GB01", start_date__lte=tomorrow)
    first = months.order_by("-start_date")[1]
    assert (told["back_test"]["part"], told["back_test"]["periods"]) == ("tested", 2)
    assert told["back_test"]["since"] <= str(first.start_date)
    assert (told["derived"]["changed"], told["reached"]["changed"], told["altered"]) == (2, 0, [])
    moved = {cell[2]: D(cell[-1]) for cell in told["cells"]}
    assert moved[other.attributes["income_account"]] == D("-120.50")
    assert len([row for row in told["periods"] if row[0] == "GB01"]) == 2
    assert EvidenceDocument.objects.filter(part="tested").count() == 2
    proposal = releases.propose_change_set(draft, by=maker)
    assert proposal.content["evidence"]["back_test"] == told["back_test"]
    since_ever = building.add_to_draft("Ever", "As if", lines=[maps("QB-API", other)], by=maker)
    assert releases.ask_evidence(since_ever).content["back_test"]["part"] == "posted"  # its dates reach them all
