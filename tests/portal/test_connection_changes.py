"""What is emptied, removed or given with a change of a connection, from its form to the second signature."""

from __future__ import annotations

import datetime as dt

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from connectors import registry
from connectors.models import Connection
from q2c.core.models import Proposal
from tests import factories

pytestmark = pytest.mark.django_db

SALESFORCE = {"organization_id": "00D1", "username": "api@example", "term_months": "12"}


def signed_in() -> Client:
    client = Client()
    client.force_login(factories.make_person("platform"))
    return client


def save(client: Client, code: str, **typed: str) -> Proposal | None:
    """Save the connection's form as it's shown, but for what was typed; the proposal that came of it."""
    form = client.get(f"/connections/{code}/edit/").context["form"]
    shown = {field.html_name: field.value() or "" for field in form if not field.name.startswith("remove_")}
    answer = client.post(f"/connections/{code}/edit/", shown | {"why": "As agreed"} | typed)
    assert answer.status_code == 302, answer.context["form"].errors
    return Proposal.objects.order_by("id").last()


def agree(proposal: Proposal) -> None:
    """A second person signs it."""
    body = {"verdict": "approve", "seen_hash": proposal.content_hash}
    assert signed_in().post(f"/decisions/{proposal.pk}/sign/", body).status_code == 302


@pytest.mark.parametrize("name", ["username", "term_months", "legal_entity_field", "app_url"])
def test_a_setting_that_is_emptied_waits_for_a_second_person_and_counts_before_its_default(name):
    known = SALESFORCE | {"app_url": "https://x.example"}
    factories.make_connection("salesforce", settings=known)
    proposal = save(signed_in(), "salesforce", **{f"setting_{name}": ""})
    assert proposal.content["settings"] == {name: ""}
    agree(proposal)
    row = Connection.objects.get()
    assert row.settings == known | {name: ""}
    registry.store_secrets(row, {"client_id": "c", "client_secret": "s"})
    assert registry.client_for(row, collector=list).line.settings[name] == ""


def test_a_form_that_is_saved_as_it_is_shown_proposes_nothing():
    factories.make_connection("salesforce", settings=SALESFORCE)
    assert save(signed_in(), "salesforce", name="CRM") is None
    assert (Connection.objects.get().name, Connection.objects.get().settings) == ("CRM", SALESFORCE)


def test_an_optional_credential_is_removed_by_name_once_a_second_person_agrees():
    row = factories.make_connection("stripe")
    registry.store_secrets(row, {"api_key": "k", "webhook_secret": "new", "webhook_secret_previous": "leaked"})
    form = signed_in().get("/connections/stripe/edit/").context["form"]
    assert [name for name in form.fields if name.startswith("remove_")] == ["remove_webhook_secret_previous"]
    proposal = save(signed_in(), "stripe", remove_webhook_secret_previous="on")
    assert (proposal.content["removed_credentials"], proposal.content["new_credentials"]) == (
        ["webhook_secret_previous"], [],
    )  # fmt: skip
    assert "leaked" not in str(proposal.content)
    assert "webhook_secret_previous" in registry.secrets_of(Connection.objects.get())
    agree(proposal)
    assert registry.secrets_of(Connection.objects.get()) == {"api_key": "k", "webhook_secret": "new"}


def test_a_credential_is_given_anew_or_removed_not_both():
    row = factories.make_connection("stripe")
    registry.store_secrets(row, {"api_key": "k", "webhook_secret": "new", "webhook_secret_previous": "old"})
    client = signed_in()
    form = client.get("/connections/stripe/edit/").context["form"]
    typed = {field.html_name: field.value() or "" for field in form} | {"why": "As agreed"}
    both = typed | {"remove_webhook_secret_previous": "on", "secret_webhook_secret_previous": "x"}
    page = client.post("/connections/stripe/edit/", both)
    assert (page.status_code, "not both" in page.content.decode(), Proposal.objects.count()) == (422, True, 0)


def test_what_was_valid_before_another_ends_a_day_after_the_roll_and_a_later_change_lengthens_nothing():
    row = factories.make_connection("stripe")
    rolled = timezone.now()
    registry.store_secrets(row, {"api_key": "k", "webhook_secret": "old"})
    agree(save(signed_in(), "stripe", secret_webhook_secret="new", secret_webhook_secret_previous="old"))

    def held_after(hours: float) -> set[str]:
        with time_machine.travel(rolled + dt.timedelta(hours=hours), tick=False):
            return set(registry.secrets_of(Connection.objects.get()))

    assert "webhook_secret_previous" in held_after(23)
    with time_machine.travel(rolled + dt.timedelta(hours=20), tick=False):
        registry.store_secrets(Connection.objects.get(), {"api_key": "k2"})
    assert [held_after(hours) for hours in (23, 24.1, 44.1)] == [
        {"api_key", "webhook_secret", "webhook_secret_previous"}, *[{"api_key", "webhook_secret"}] * 2,
    ]  # fmt: skip


def test_what_an_older_release_kept_beside_another_ends_a_day_after_it_was_given():
    row = factories.make_connection("stripe")
    row.secrets = registry.seal_secrets({"webhook_secret": "new", "webhook_secret_previous": "old"})
    row.secrets_set_at = timezone.now() - dt.timedelta(hours=25)
    assert registry.secrets_of(row) == {"webhook_secret": "new"}
    row.secrets_set_at = timezone.now() - dt.timedelta(hours=23)
    assert "webhook_secret_previous" in registry.secrets_of(row)


def test_an_expiry_date_given_with_a_changed_setting_is_kept_at_once():
    row = factories.make_connection("salesforce", settings=SALESFORCE)
    registry.store_secrets(row, {"client_id": "c", "client_secret": "s"})
    proposal = save(signed_in(), "salesforce", setting_term_months="24", expire_on="2030-01-31")
    row.refresh_from_db()
    assert row.secrets_expire_at is not None
    assert row.secrets_expire_at.date() == dt.date(2030, 1, 31)
    agree(proposal)
    row.refresh_from_db()
    assert (row.settings["term_months"], row.secrets_expire_at.date()) == ("24", dt.date(2030, 1, 31))
