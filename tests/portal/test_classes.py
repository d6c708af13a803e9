"""Who holds a role for one entity and one class of case sees exactly that, wherever cases and documents are shown."""

from decimal import Decimal

import pytest

from connectors import recorder
from exceptions import bulk, freezing, resolutions, tallies
from exceptions.models import ExceptionCase
from q2c.core import access, reveals, vault
from q2c.core.models import AuditEntry, CustomRole, Person
from q2c.core.shell import open_cases, open_decisions
from tests import factories

pytestmark = pytest.mark.django_db
MINE, OTHER_KIND, OTHER_ENTITY, OTHER_QUEUE = "Of the class", "Of another kind", "Of another entity", "Of another queue"
RIGHTS = [
    "portal.view_home", "portal.view_self", "exceptions.view_case", "exceptions.work_case", "transactions.repost",
    "transactions.view_transaction", "core.view_decision",
]  # fmt: skip


@pytest.fixture
def house(db):
    """A case of the class, and one that misses it by kind, entity or queue; each with a held document."""
    factories.make_connection("netsuite")
    cases = {}
    for summary, kind, entity, queue in (
        (MINE, "missing_item_mapping", "GB01", "billing_ops"),
        (OTHER_KIND, "negative_price", "GB01", "billing_ops"),
        (OTHER_ENTITY, "missing_item_mapping", "US01", "billing_ops"),
        (OTHER_QUEUE, "missing_item_mapping", "GB01", "sales_ops"),
    ):
        factories.make_entity(entity)
        txn = factories.make_transaction("held", number=f"INV-{summary}", legal_entity_code=entity)
        cases[summary] = factories.make_case(
            summary, transactions=[txn], kind=kind, legal_entity_code=entity, queue=queue, period_code="2010-12",
            blocks_entity=entity, blocks_period="2010-12", amount_at_risk=Decimal(10),
        )  # fmt: skip
        factories.make_alert(kind, queues=[queue], entities=[entity], flow=summary)
        factories.make_proposal(
            f"Decide {summary}", subject_type="case", subject_id=str(cases[summary].pk), legal_entities=[entity]
        )
    return cases


@pytest.fixture
def clerk(house, client):
    """Holds a role for GB01 that is limited to missing mappings in the billing queue, and is signed in."""
    shape = {"permissions": RIGHTS, "queues": ["billing_ops"], "kinds": ["missing_item_mapping"]}
    held = factories.make_custom_role("mapping_clerk", "clerk", entities=("GB01",), **shape)
    client.force_login(held.person)
    client.person = held.person
    return client


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("/exceptions/cases/", {MINE}),
        ("/exceptions/cases/?kind=negative_price", set()),
        ("/search/?q=EX-{other}", set()),
        ("/search/?q=EX-{mine}", {MINE}),
        ("/decisions/", {f"Decide {MINE}"}),
        ("/", {MINE}),
    ],
)
def test_lists_search_and_home_show_the_class_and_nothing_else(clerk, house, address, shown):
    address = address.format(mine=house[MINE].pk, other=house[OTHER_KIND].pk)
    page = clerk.get(address, follow=True).content.decode()
    every = {words for name in house for words in ([f"Decide {name}"] if "decisions" in address else [name])}
    assert {words for words in every if words in page} == shown


def test_what_lets_one_document_or_many_pass_is_seen_by_those_of_its_class(clerk, house):
    """Overrides are about a transaction, bulk actions about many; both have a class, and a rule has none."""
    gb = {"legal_entities": ["GB01"]}
    controller = factories.make_person("controller")
    for name in (MINE, OTHER_KIND):
        case = house[name]
        factories.make_proposal(
            f"Pass {name}", subject_type="transaction", subject_id=str(case.occurrences.get().transaction_id),
            content={"case_kind": case.kind}, **gb,
        )  # fmt: skip
        chosen = ExceptionCase.objects.filter(pk=case.pk)
        action = freezing.freeze("repost", by=controller, cases=chosen, chosen={}, words="One")
        factories.make_proposal(f"Bulk {name}", subject_type="bulk_action", subject_id=str(action.pk), **gb)
    factories.make_proposal("A rule", **gb)
    person = Person.objects.get(pk=clerk.person.pk)
    seen = set(open_decisions(person).values_list("title", flat=True))
    assert seen == {f"Decide {MINE}", f"Pass {MINE}", f"Bulk {MINE}", "A rule"}
    CustomRole.objects.update(permissions=["core.view_decision", "exceptions.work_case"])  # sees decisions, but no case
    person = Person.objects.get(pk=clerk.person.pk)
    assert set(open_decisions(person).values_list("title", flat=True)) == seen
    factories.make_person("auditor", username="clerk", entities=("GB01",))  # not limited, for the same entity
    assert open_decisions(Person.objects.get(pk=clerk.person.pk)).count() == 8


def test_rights_hold_for_the_entity_of_what_is_acted_on_whatever_another_role_shows(sign_in, spoken, house):
    """Rows are seen for every entity by a small role; what may be done to them is another role's, for US01."""
    seen = ["portal.view_home", "transactions.view_transaction", "inbox.view_event", "mappings.view_rule",
            "exceptions.view_case"]  # fmt: skip
    factories.make_custom_role("looker", "both", permissions=seen)
    client = sign_in("controller", username="both", entities=("US01",))
    document = f"/transactions/{spoken.transaction_id}/"
    assert f"/exchanges/{spoken.id}/" not in client.get(document).content.decode()
    assert client.get(f"{document}exchanges/{spoken.id}/").status_code == 403
    message = factories.make_message()
    again = client.post(f"/inbox/{message.event_id}/replay/", {"why": "The rule is mended"})
    assert again.status_code == 403
    factories.make_person("mapping_admin", username="both", entities=("US01",))
    pair = factories.make_pair(1)
    told = client.post(f"/mappings/duplicates/{pair.pk}/decide/", {"verdict": "distinct", "why": "They are two"})
    assert (told.status_code, type(pair).objects.get(pk=pair.pk).state) == (403, "suspected")
    evidence = f"/exceptions/cases/{house[MINE].pk}/evidence/"
    assert "view=technical" not in client.get(evidence).content.decode()
    assert client.post(f"{evidence}reveal/", {"reveal-why": "I wonder"}).status_code == 403
    own = f"/exceptions/cases/{house[OTHER_ENTITY].pk}/evidence/"
    assert "view=technical" in client.get(own).content.decode()


def test_entities_are_offered_for_which_the_right_is_held(house):
    factories.make_custom_role("looker", "both", permissions=["portal.view_home"])
    person = factories.make_person("billing_ops", username="both", entities=("GB01",))
    assert [e.code for e in access.visible_entities(person, "mappings.view_rule")] == ["GB01"]
    assert [e.code for e in access.visible_entities(person, "portal.view_home")] == ["GB01", "US01"]


def test_rights_of_somebody_else_are_shown_for_the_entities_of_the_viewer(sign_in, house):
    factories.make_person("billing_ops", username="ben", entities=("GB01",))
    ben = factories.make_person("auditor", username="ben", entities=("US01",))
    page = sign_in("controller", entities=("GB01",)).get(f"/people/{ben.pk}/rights/").content.decode()
    assert ("Billing operations" in page, "See the audit trail" in page, "US01" in page) == (True, True, False)


def test_a_masked_value_of_no_entity_is_for_people_of_all(house):
    plain = {"said": '{"email": "ann@acme.example"}'}
    for entities, may in (((), True), (("GB01",), False)):
        person = factories.make_person("controller", entities=entities)
        assert reveals.show_masked(person, ("case", 1), plain, entity="")["may_reveal"] is may


def test_what_is_of_another_class_is_not_found_by_any_address(clerk, house):
    ask = ("/exceptions/cases/{}/", "/exceptions/cases/{}/evidence/")
    found = {name: [clerk.get(url.format(case.pk)).status_code for url in ask] for name, case in house.items()}
    assert found == {name: [200, 200] if name == MINE else [404, 404] for name in house}
    act = ("note", "assign", "repost", "pause", "merge")
    told = {clerk.post(f"/exceptions/cases/{house[OTHER_KIND].pk}/{name}/").status_code for name in act}
    assert told == {404}


def test_counts_and_sums_are_of_the_class_before_and_after_they_are_added_up(clerk, house):
    person = Person.objects.get(pk=clerk.person.pk)
    assert open_cases(person).count() == tallies.cases_visible_to(person).count() == 1
    assert sum(tallies.total_of_open(person).amounts.values()) == house[MINE].occurrences.get().amount
    before = tallies.counting.open_by_close(person)
    assert before == {("GB01", "2010-12"): (1, Decimal(10))}
    tallies.counting.add_up()
    assert tallies.counting.open_by_close(person) == before


def test_a_bulk_action_shows_and_counts_the_rows_of_the_class_only(clerk, house):
    controller = factories.make_person("controller")
    done = freezing.freeze("repost", by=controller, cases=ExceptionCase.objects.all(), chosen={}, words="All")
    bulk.undo(done, by=controller)
    page = clerk.get(f"/exceptions/bulk/{done.pk}/").content.decode()
    assert {name for name in house if f"INV-{name}" in page} == {MINE}
    without = freezing.freeze(
        "repost", by=controller, cases=ExceptionCase.objects.filter(pk=house[OTHER_KIND].pk), chosen={}, words="One"
    )
    bulk.undo(without, by=controller)
    assert clerk.get(f"/exceptions/bulk/{without.pk}/").status_code == 404


def test_who_sees_more_by_another_role_still_acts_on_the_class_only(clerk, house):
    """An auditor's role beside it shows every case; reposting stays within the class, in bulk and singly."""
    factories.make_person("auditor", username="clerk")
    person = Person.objects.get(pk=clerk.person.pk)
    assert tallies.cases_visible_to(person).count() == 4
    assert clerk.post(f"/exceptions/cases/{house[OTHER_KIND].pk}/note/").status_code == 403
    chosen = freezing.freeze("repost", by=person, cases=ExceptionCase.objects.all(), chosen={}, words="All")
    assert dict(chosen.items.values_list("number", "result")) == {
        f"INV-{name}": "pending" if name in (MINE, OTHER_QUEUE) else "refused" for name in house
    }
    _, refused = resolutions._permitted(
        list(house[OTHER_KIND].occurrences.values_list("transaction_id", flat=True)),
        by=person, permission="transactions.repost",
    )  # fmt: skip
    assert [row.why_not for row in refused] == [resolutions.OTHER_ENTITY]
    assert access.may(person, "transactions.repost", "GB01", kind="missing_item_mapping")
    assert access.entities_where(person, "transactions.repost") == frozenset()


def test_documents_are_seen_for_the_entities_of_a_role_that_shows_documents(sign_in, house):
    """A role for every entity that shows something else, or the money card, opens no document of another entity."""
    client = sign_in("customer_facing", username="both")
    factories.make_person("billing_ops", username="both", entities=("GB01",))
    page = client.get("/transactions/").content.decode()
    assert {name for name in house if f"INV-{name}" in page} == {MINE, OTHER_KIND, OTHER_QUEUE}
    foreign = house[OTHER_ENTITY].occurrences.get().transaction_id
    assert client.get(f"/transactions/{foreign}/").status_code == 404
    assert f"INV-{OTHER_ENTITY}" in client.get("/card/", {"q": f"INV-{OTHER_ENTITY}"}).content.decode()


def test_why_not_is_said_in_words_with_who_could_do_it_instead(clerk, house):
    factories.make_person("controller", username="cora", display_name="Cora Controller")
    page = clerk.get("/you/rights/?permission=exceptions.waive_case").content.decode()
    assert "None of the roles held now allows it." in page
    assert "Cora Controller may." in page
    page = clerk.get("/you/rights/", {"permission": "exceptions.work_case", "case": f"EX-{house[MINE].pk}"})
    assert "The role Mapping_Clerk allows it for GB01." in page.content.decode()
    page = clerk.get("/you/rights/", {"permission": "exceptions.work_case", "case": f"EX-{house[OTHER_KIND].pk}"})
    assert "no such case among those that you see" in page.content.decode()
    assert "/you/rights/?permission=core.view_audit" in clerk.get("/audit/").content.decode()


@pytest.fixture
def spoken(house):
    """A request with personal data, sealed as recorded ones are."""
    txn = factories.make_transaction(number="INV-7", legal_entity_code="GB01")
    sealed = vault.seal_with_master(b'x: y\n\n{"email": "ann@acme.example", "total": "12.00"}')
    return factories.make_exchange(txn, request=sealed, response=sealed)


def test_a_masked_value_is_shown_once_for_a_reason_and_auditors_read_who_saw_it(sign_in, spoken):
    address = f"/transactions/{spoken.transaction_id}/exchanges/{spoken.id}/"
    assert "ann@acme.example" in recorder.read_exchange(spoken)[0]
    client = sign_in("controller", username="cora")
    assert "ann@acme.example" not in client.get(address).content.decode()
    assert client.post(f"{address}reveal/", {"reveal-why": ""}).status_code == 422
    shown = client.post(f"{address}reveal/", {"reveal-why": "The customer disputes it"})
    assert (shown.status_code, shown["Cache-Control"]) == (200, "no-store")
    assert "ann@acme.example" in shown.content.decode()
    assert "ann@acme.example" not in client.get(address).content.decode()
    entry = AuditEntry.objects.get(verb=reveals.VERB)
    assert (entry.actor, entry.why) == ("cora", "The customer disputes it")
    assert entry.data == {"entity": "GB01", "fields": ["email"]}
    for entities, is_told in (((), True), (("GB01",), True), (("US01",), False)):
        page = sign_in("auditor", entities=entities).get("/audit/?by=revealed").content.decode()
        assert ("The customer disputes it" in page) is is_told


def test_whose_role_shows_no_masked_value_gets_none(sign_in, spoken):
    address = f"/transactions/{spoken.transaction_id}/exchanges/{spoken.id}/reveal/"
    assert sign_in("auditor").post(address, {"reveal-why": "I wonder"}).status_code == 403
    assert sign_in("controller", entities=("US01",)).post(address, {"reveal-why": "I wonder"}).status_code == 404
    assert not AuditEntry.objects.filter(verb=reveals.VERB).exists()
