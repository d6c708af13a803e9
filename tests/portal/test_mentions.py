"""Notes that name a colleague: they find it on their home page until they have read it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone

from exceptions import mentions
from exceptions.models import Mention
from q2c.core.models import Absence
from tests import factories

pytestmark = pytest.mark.django_db


def text_of(browser, address="/"):
    return browser.get(address).content.decode()


def test_whoever_is_named_finds_it_at_home_until_they_have_read_it(sign_in):
    maker, cora = sign_in("billing_ops"), sign_in("controller", username="cora")
    case = factories.make_case("A price differs", queue="billing_ops")
    answer = maker.post(
        f"/exceptions/cases/{case.pk}/note/", {"text": "@cora, is this the new price? @cora"}, follow=True
    )
    assert "Your note is in the case." in answer.content.decode()
    assert ("You are asked" in text_of(cora), "@cora, is this the new price?" in text_of(cora)) == (True, True)
    assert "You are asked" not in text_of(maker)
    mention = Mention.objects.get()
    assert maker.post(f"/exceptions/mentions/{mention.pk}/read/").status_code == 404
    assert cora.post(f"/exceptions/mentions/{mention.pk}/read/", follow=True).status_code == 200
    assert "You are asked" not in text_of(cora)


@pytest.mark.parametrize("name", ["nobody.at.all", "dora"])
def test_a_name_that_does_not_see_the_case_is_said_and_nobody_is_told(sign_in, name):
    maker, dora = sign_in("billing_ops"), factories.make_person("controller", username="dora", entities=("US01",))
    case = factories.make_case("A price differs", queue="billing_ops", legal_entity_code="GB01")
    _, said = mentions.comment(case, text=f"Look, @{name}.", by=maker.person)
    assert said == [f"@{name} wasn’t told: nobody of that name sees this case."]
    assert not mentions.unread(dora).exists()


def test_whoever_stands_in_is_told_and_the_author_learns_it(sign_in):
    maker = sign_in("billing_ops").person
    cora, otto = (factories.make_person("controller", username=name) for name in ("cora", "otto"))
    now, day = timezone.now(), dt.timedelta(days=1)
    Absence.objects.create(person=cora, deputy=otto, starts_at=now - day, ends_at=now + day, why="Holiday")
    case = factories.make_case("A price differs", queue="billing_ops")
    _, said = mentions.comment(case, text="Is that right, @cora?", by=maker)
    assert said == [f"{otto} stands in for {cora} until {now + day:%Y-%m-%d}, and was told."]
    assert [(m.person, m.meant) for m in mentions.unread(otto)] == [(otto, cora)]
