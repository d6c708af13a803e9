"""Each role begins where its work is; a missing rule is counted where rules are; a case leads to the ERP's document."""

import re

from django.utils import timezone

from q2c.core import audit
from tests import factories


def panels(response):
    """The headings of a page's panels, in order."""
    return re.findall(r'<h2 id="[^"]*">([^<]*)', response.content.decode())


def test_who_runs_the_systems_sees_them_first(sign_in):
    factories.make_connection("netsuite")
    page = sign_in("platform").get("/")
    assert "<h1>Nothing waits for you, and no system needs you</h1>" in page.content.decode()
    assert panels(page) == [
        "Systems",
        "What waits for you",
        "Where the facts are",
        "Your decision is needed",
        "Backlog",
    ]


def test_an_auditor_sees_what_people_did_and_nothing_to_decide(sign_in):
    auditor = sign_in("auditor")
    audit.record(auditor.person, "pause", "connection", "stripe", why="maintenance")
    audit.record(audit.PORTAL, "anchor_seals", "seals", 7)
    page = auditor.get("/")
    assert panels(page) == [
        "Open cases",
        "Where the facts are",
        "Latest deeds",
        "Systems",
        "Reports for the close",
        "Backlog",
    ]
    assert re.findall(r"<li><b>([^<]*)</b>", page.content.decode()) == ["Paused"]


def test_the_audit_trail_begins_with_people_and_keeps_the_portals_own_deeds(controller):
    audit.record(controller.person, "waive", "case", 3, why="booked by hand")
    audit.record(audit.PORTAL, "anchor_seals", "seals", 7)

    def shown(address):
        return [entry.said for entry in controller.get(address).context["page"].rows]

    assert shown("/audit/") == ["Waived"]
    assert shown("/audit/?by=portal") == ["Anchored the workers’ seals"]
    assert shown("/audit/?by=all") == ["Anchored the workers’ seals", "Waived"]


def test_the_rules_say_how_many_are_missing_and_lead_to_their_cases(controller):
    factories.make_rule()
    factories.make_case()
    factories.make_case(closed_at=timezone.now(), state="resolved")
    page = controller.get("/mappings/rules/")
    assert page.context["missing"] == {"item": 1}
    assert '<a href="/exceptions/cases/?category=mapping">1 rule</a> is missing' in page.content.decode()


def test_a_case_leads_to_the_document_that_the_erp_made(controller):
    factories.make_connection("netsuite", vendor="netsuite", settings={"app_url": "https://erp.example"})
    txn = factories.make_transaction(target_connection="netsuite", target_type="ar_invoice", target_id="9161",
                                     target_number="INVGB1")  # fmt: skip
    case = factories.make_case(transactions=[txn])
    page = controller.get(f"/exceptions/cases/{case.pk}/").content.decode()
    link = re.search(r'<a class="icon-btn" href="([^"]*)"[^>]*aria-label="Open INVGB1 in NetSuite"', page)
    assert link is not None
    assert link[1].startswith("https://erp.example/")
    assert link[1].endswith("id=9161")


def test_a_case_whose_fix_waits_leads_to_the_approval_and_puts_a_second_proposal_behind_it(sign_in):
    case = factories.make_case(state="awaiting_approval")
    proposer, other = sign_in("billing_ops"), sign_in("controller")
    change_set = factories.make_change_set(by=proposer.person, case=case, state="proposed")
    mine = proposer.get(f"/exceptions/cases/{case.pk}/").content.decode()
    theirs = other.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert "You proposed it, so somebody else approves." in mine
    assert "You proposed it" not in theirs
    assert theirs.index(f'href="/mappings/change-sets/{change_set.pk}/"') < theirs.index("Propose another mapping")
