"""An emergency on its screens: approved by one person, seen by those who may review it, closed by somebody else."""

from __future__ import annotations

import datetime as dt
import re

import pytest
import time_machine
from django.utils import timezone

from exceptions.tasks import sweep_cases
from mappings import approvals
from mappings.drafts import Line, save_draft
from mappings.models import ChangeSet, MappingRule
from q2c.core.models import EmergencyUse
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def proposed() -> ChangeSet:
    mira = factories.make_person("mapping_admin", username="mira", display_name="Mira")
    line = Line(kind="item", key="22423", value="10482", effective_from=dt.date(2010, 12, 1))
    change_set = save_draft("Map the cakestand", "The shop sells it", lines=[line], by=mira)
    approvals.propose_change_set(change_set, by=mira)
    change_set.refresh_from_db()
    return change_set


def use_it(client, change_set: ChangeSet, **facts):
    form = {"why": "The bank run leaves at noon", "hours": "2", "seen_hash": change_set.proposal.content_hash} | facts
    return client.post(f"/mappings/change-sets/{change_set.pk}/emergency/", form)


def text(response) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))


def test_from_one_signature_to_the_closed_review(sign_in, proposed):
    dev, cora = sign_in("emergency", display_name="Dev"), sign_in("controller", display_name="Cora")
    assert "Approve in an emergency" in text(dev.get(f"/mappings/change-sets/{proposed.pk}/"))
    answer = use_it(dev, proposed)
    assert (answer.status_code, answer["Location"]) == (302, f"/mappings/change-sets/{proposed.pk}/")
    assert "Its review is open" in text(dev.get(answer["Location"]))
    assert MappingRule.objects.get(known_to=None).value == "10482"
    home = text(cora.get("/"))
    assert "Emergencies to review 1 Map the cakestand by Dev" in home
    address = f"/emergencies/{EmergencyUse.objects.get().pk}/"
    assert "Not possible: You used it, so somebody else has to review it. Cora may." in text(dev.get(address))
    with time_machine.travel(timezone.now() + dt.timedelta(hours=3)):
        cora.force_login(cora.person)
        sweep_cases()
        assert not MappingRule.objects.filter(known_to=None).exists()
        assert "1 emergency waits for a review" in text(cora.get("/emergencies/"))
        review = {"verdict": "stays", "says": "Looked at the posting"}
        refused = cora.post(f"{address}review/", review)
        assert (refused.status_code, "Its hours are over" in text(refused)) == (422, True)
        done = cora.post(f"{address}review/", review | {"verdict": "ends"})
        assert (done.status_code, done["Location"]) == (302, address)
    assert "Every emergency is reviewed" in text(cora.get("/emergencies/"))
    assert "It was right, and ends By Cora" in text(cora.get(address))
    assert "Emergencies to review" not in text(cora.get("/"))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"why": ""}, "Why it can’t wait : Fill this in."),
        ({"hours": "13"}, "13 is not one of the available choices"),
        ({"seen_hash": "0" * 64}, "Not possible: It changed since you looked at it."),
    ],
)
def test_what_is_missing_is_named_and_nothing_is_approved(sign_in, proposed, facts, said):
    answer = use_it(sign_in("emergency"), proposed, **facts)
    assert answer.status_code == 422
    assert said.split(": ")[-1] in text(answer)
    assert EmergencyUse.objects.count() == 0


def test_a_foreign_entitys_emergency_is_not_found(sign_in):
    factories.make_entity("US01")
    use = factories.make_emergency(legal_entities=["GB01"])
    client = sign_in("controller", entities=("US01",))
    assert client.get(f"/emergencies/{use.pk}/").status_code == 404
    assert "Every emergency is reviewed" in text(client.get("/emergencies/"))
