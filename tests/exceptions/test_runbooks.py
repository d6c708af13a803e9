"""Runbooks: written by those who work the queue, every version kept, the newest on the case."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, transaction

from exceptions import kinds, runbooks
from exceptions.models import RunbookVersion
from exceptions.runbooks import RunbookRefused
from q2c.core.models import AuditEntry
from tests import factories
from tests.core.people import make_person

pytestmark = pytest.mark.django_db
KIND = kinds.BY_CODE["negative_price"]


def save(by, text="Ask sales about {sku}.", seen=0, kind=KIND):
    return runbooks.save_runbook(kind, text, by=by, why="we learned it", seen=seen)


def test_each_version_is_kept_with_who_and_why_and_the_newest_holds(billing):
    assert runbooks.text_of(KIND, runbooks.newest(KIND.code)) == KIND.runbook
    save(billing)
    save(billing, "Ask **Sue** about {sku}.", seen=1)
    assert runbooks.newest(KIND.code).text == "Ask **Sue** about {sku}."
    assert list(RunbookVersion.objects.order_by("pk").values_list("version", "by__username", "why")) == [
        (1, "ben", "we learned it"), (2, "ben", "we learned it"),
    ]  # fmt: skip
    acts = (
        AuditEntry.objects.filter(verb="edit_runbook").order_by("sequence").values_list("subject_id", "data__version")
    )
    assert list(acts) == [("negative_price", 1), ("negative_price", 2)]
    with pytest.raises(DatabaseError, match="Cannot update or delete"), transaction.atomic():
        RunbookVersion.objects.update(text="another")


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"seen": 0}, "Ben changed it meanwhile: look at version 1 first"),
        ({"seen": 1}, "Nothing is changed"),
        ({"seen": 1, "text": " "}, "Write what to do"),
        ({"seen": 1, "text": "x" * 8001}, "longer than 8,000"),
        ({"seen": 0, "kind": kinds.BY_CODE["unexpected_error"]}, "those who work its queue"),
    ],
)
def test_what_is_stale_empty_or_not_theirs_is_refused(billing, facts, why):
    save(billing)
    with pytest.raises(RunbookRefused, match=why):
        save(billing, **facts)
    assert RunbookVersion.objects.count() == 1


def test_the_platforms_people_change_every_runbook_and_audit_none():
    assert runbooks.may_edit(make_person("pat", "platform"), KIND)
    assert not runbooks.may_edit(make_person("ada", "auditor"), KIND)


def test_names_are_filled_in_and_braces_reach_nothing_else():
    said = runbooks.fill_in("{sku} of {no_such} {sku.__class__} {", {"sku": "GTX-1"})
    assert said == "GTX-1 of no such {sku.__class__} {"


def test_the_page_previews_saves_refuses_and_restores_and_the_case_shows_the_newest(client, billing):
    client.force_login(billing)
    url = f"/exceptions/kinds/{KIND.code}/"
    sent = {"text": "Ask **Sue** <i>now</i>", "why": "she knows", "seen": 0}
    shown = client.post(f"{url}runbook/", {**sent, "preview": "1"}, headers={"HX-Request": "true"}).content.decode()
    assert "Ask <b>Sue</b> &lt;i&gt;now&lt;/i&gt;" in shown
    assert RunbookVersion.objects.count() == 0
    assert client.post(f"{url}runbook/", sent).status_code == 302
    stale = client.post(f"{url}runbook/", {**sent, "text": "Something else"})
    assert (stale.status_code, b"changed it meanwhile" in stale.content) == (422, True)
    save(billing, "Another.", seen=1)
    form = client.get(f"{url}?restore=1").context["form"]
    assert (form["text"].value(), form["why"].value(), form["seen"].value()) == (
        "Ask **Sue** <i>now</i>", "Version 1 again", 2,
    )  # fmt: skip
    case = factories.make_case(kind="negative_price", queue="billing_ops")
    assert "Another." in client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    assert b"Version 2" in client.get("/exceptions/kinds/?q=negative").content
