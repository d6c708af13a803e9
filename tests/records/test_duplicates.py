"""The radar: what it finds, what is remembered, a merge of two people's making, and its undoing."""

import pytest

from mappings.models import CrossReference
from mappings.references import Reference, store_references
from q2c.core.approvals import ApprovalRefused
from q2c.portal.decisions import decide
from q2c.records import duplicates
from q2c.records.duplicates import MergeRefused, find_duplicates, propose_merge, propose_undo, say_distinct
from q2c.records.models import DuplicatePair, GoldenRecord
from q2c.records.store import keys_known_as
from tests import factories
from tests.records.test_merging import AT, HOUR, see

pytestmark = pytest.mark.django_db
ONE, TWO = "stripe:customer:cus_1", "stripe:customer:cus_2"


@pytest.fixture
def pair(db):
    """Two billing customers of one company, each with a customer of its own in the ERP."""
    for code in ("salesforce", "stripe", "netsuite"):
        factories.make_connection(code)
    see(ONE, "billing", name="Blue Bikes Ltd", email="pay@blue.test")
    see(TWO, "billing", name="BLUE BIKES", email="ap@blue.test")
    see("stripe:customer:cus_3", "billing", name="Red Bikes")
    store_references([Reference("customer", key, "netsuite", "customer", i) for key, i in ((ONE, "1"), (TWO, "2"))], AT)
    assert find_duplicates() == 1
    return DuplicatePair.objects.get()


@pytest.fixture
def people(db):
    return factories.make_person("billing_ops"), factories.make_person("controller")


def agree(proposal, people):
    return decide(proposal, by=people[1], approve=True, why="", seen_hash=proposal.content_hash)


def ids():
    return sorted(CrossReference.objects.values_list("record_key", "external_id", "is_shared"))


def test_a_pair_is_found_once_with_its_reasons(pair):
    assert (pair.one_key, pair.other_key, pair.score) == (ONE, TWO, 80)
    assert pair.reasons == ["the same name", "e-mail at the same domain blue.test"]
    assert find_duplicates() == 0


def test_records_that_were_stored_without_blocks_are_compared_too(pair):
    GoldenRecord.objects.update(blocks=None)
    DuplicatePair.objects.all().delete()
    assert find_duplicates() == 1


def test_that_they_are_two_is_remembered_with_its_reason(pair, people):
    say_distinct(pair, by=people[0], why="Two shops of a franchise")
    assert find_duplicates() == 0
    pair.refresh_from_db()
    assert (pair.state, pair.why, pair.decided_by) == ("distinct", "Two shops of a franchise", people[0])
    with pytest.raises(MergeRefused, match="It is distinct"):
        propose_merge(pair, survivor=ONE, by=people[0], why="The same")


def test_a_merge_moves_every_id_in_one_step_once_another_person_agrees(pair, people):
    proposal = propose_merge(pair, survivor=ONE, by=people[0], why="The same company")
    assert [(c["record_key"], c["was"], c["external_id"]) for c in proposal.content["references"]] == [(TWO, "2", "1")]
    with pytest.raises(ApprovalRefused):
        decide(proposal, by=people[0], approve=True, why="", seen_hash=proposal.content_hash)
    assert ids() == [(ONE, "1", False), (TWO, "2", False)]
    assert agree(proposal, people) == "approved"
    assert ids() == [(ONE, "1", False), (TWO, "1", True)]
    assert CrossReference.objects.get(record_key=TWO).is_linked
    assert keys_known_as("customer", ["stripe:cus_2"]) == {"stripe:cus_2": ONE}
    assert see(TWO, "billing", AT + HOUR, name="Blue Bikes", phone="7").record_key == ONE
    assert find_duplicates() == 0


def test_a_merge_is_taken_back_the_way_it_was_made(pair, people):
    agree(propose_merge(pair, survivor=TWO, by=people[0], why="The same company"), people)
    see(ONE, "billing", AT + HOUR, name="Blue Bikes Ltd", phone="7")
    pair.refresh_from_db()
    assert agree(propose_undo(pair, by=people[0], why="They are two after all"), people) == "approved"
    assert ids() == [(ONE, "1", False), (TWO, "2", False)]
    one, two = (GoldenRecord.objects.get(record_key=key) for key in (ONE, TWO))
    assert not CrossReference.objects.filter(is_linked=True).exists()
    assert (one.merged_into, one.aliases, two.aliases) == ("", ["stripe:cus_1"], ["stripe:cus_2"])
    assert (one.content["phone"], two.content["name"]) == ("7", "BLUE BIKES")
    pair.refresh_from_db()
    assert (pair.state, pair.merge) == ("suspected", None)


def test_a_plan_whose_ids_moved_meanwhile_is_refused(pair, people):
    proposal = propose_merge(pair, survivor=ONE, by=people[0], why="The same company")
    CrossReference.objects.filter(record_key=TWO).update(external_id="3")
    with pytest.raises(MergeRefused, match="changed meanwhile"):
        agree(proposal, people)
    assert ids() == [(ONE, "1", False), (TWO, "3", False)]
    with pytest.raises(MergeRefused, match="waits for a second person"):
        propose_merge(pair, survivor=ONE, by=people[0], why="Again")


def test_of_one_crms_account_and_anothers_customer_no_id_is_lost(people):
    for code in ("salesforce", "stripe", "netsuite"):
        factories.make_connection(code)
    account = "salesforce:Account:001A"
    see(account, name="Blue Bikes")
    see(ONE, "billing", name="Blue Bikes")
    store_references([Reference("customer", ONE, "netsuite", "customer", "1")], AT)
    find_duplicates()
    agree(propose_merge(DuplicatePair.objects.get(), survivor=account, by=people[0], why="The same"), people)
    record = GoldenRecord.objects.get(record_key=account)
    assert record.aliases == ["salesforce:001A", "stripe:cus_1"]
    assert ids() == [(ONE, "1", False)]
    assert duplicates.proposals_about(DuplicatePair.objects.get()).count() == 1


def test_a_person_decides_on_the_screen(pair, people, client):
    client.force_login(people[0])
    address = f"/mappings/duplicates/{pair.pk}/"
    fields = {name: (one, other, same) for name, one, other, same in client.get(address).context["fields"]}
    assert fields["name"] == ("Blue Bikes Ltd", "BLUE BIKES", False)
    assert fields["email"] == ("pay@blue.test", "ap@blue.test", False)
    assert client.post(f"{address}decide/", {"verdict": "distinct", "why": ""}).status_code == 422
    assert client.post(f"{address}decide/", {"verdict": "one", "why": "The same company"})["Location"] == address
    waiting = client.get(address).context["waiting"]
    assert waiting.title == "Merge BLUE BIKES into Blue Bikes Ltd"
    assert client.post(f"{address}decide/", {"verdict": "other", "why": "No, this one"}).status_code == 422
