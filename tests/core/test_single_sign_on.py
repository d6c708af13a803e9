"""Single sign-on: where it's offered, whom it lets in, and what a first time means. The provider's answers are ours."""

from __future__ import annotations

import datetime as dt
import runpy
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from allauth.socialaccount.models import SocialAccount, SocialApp
from allauth.socialaccount.providers.oauth2.client import OAuth2Client
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.conf import settings as portal
from django.test import Client
from django.utils import timezone

from q2c.core import sign_on
from q2c.core.models import Person
from tests.core.people import make_person

pytestmark = pytest.mark.django_db
ENV = {
    "Q2C_OIDC_URL": "https://id.example/realm", "Q2C_OIDC_CLIENT_ID": "portal", "Q2C_OIDC_CLIENT_SECRET": "s",
    "Q2C_OIDC_NAME": "Example’s account", "Q2C_OIDC_ORIGINS": "https://mfa.example, https://old.example",
}  # fmt: skip
START = "/accounts/oidc/company/login/"


@pytest.fixture
def provider(settings, monkeypatch) -> dict[str, Any]:
    """A provider as the environment names it; the claims that it makes of whoever signs in."""
    settings.SOCIALACCOUNT_PROVIDERS = sign_on.providers(ENV)
    claims: dict[str, Any] = {"sub": "subject-1", "email": "Ann@example.com", "email_verified": True}
    config = {f"{name}_endpoint": f"https://id.example/{name}" for name in ("authorization", "token", "userinfo")}
    monkeypatch.setattr(OpenIDConnectOAuth2Adapter, "openid_config", property(lambda self: config))
    monkeypatch.setattr(OpenIDConnectOAuth2Adapter, "_fetch_user_info", lambda self, token: dict(claims))
    monkeypatch.setattr(OAuth2Client, "get_access_token", lambda self, *args, **kwargs: {"access_token": "t"})
    return claims


def come_back(client: Client) -> Any:
    """Sign in at the provider, and come back with its answer."""
    sent = client.post(f"{START}?process=login&next=/connections/")
    asked = urlsplit(sent["Location"])
    assert f"{asked.scheme}://{asked.netloc}{asked.path}" == "https://id.example/authorization"
    state = parse_qs(asked.query)["state"][0]
    return client.get(f"{START}callback/", {"code": "c", "state": state})


def who(client: Client) -> str:
    """Who is signed in; "" where nobody is."""
    key = client.session.get("_auth_user_id")
    return Person.objects.get(pk=key).username if key else ""


def test_it_is_offered_on_the_sign_in_page_where_the_environment_names_a_provider(provider):
    page = Client().get("/accounts/login/?next=/connections/").content.decode()
    assert "Sign in with Example’s account" in page
    assert f'action="{START}?process=login&amp;next=%2Fconnections%2F"' in page


def test_without_a_provider_nothing_is_offered_and_an_application_in_the_database_is_not_believed():
    SocialApp.objects.create(
        provider="openid_connect", provider_id="company", name="Planted", client_id="x",
        settings={"server_url": "https://evil.example"},
    )  # fmt: skip
    assert "Sign in with" not in Client().get("/accounts/login/").content.decode()
    assert Client().post(START).status_code == 404


def test_a_planted_application_is_not_believed_beside_the_provider_of_the_environment(provider):
    SocialApp.objects.create(
        provider="openid_connect", provider_id="planted", name="Planted", client_id="x",
        settings={"server_url": "https://evil.example"},
    )  # fmt: skip
    assert "Planted" not in Client().get("/accounts/login/").content.decode()
    assert Client().post("/accounts/oidc/planted/login/").status_code == 404


def test_the_first_time_a_verified_address_ties_it_to_its_person_who_then_waits_before_approving(provider):
    ann = make_person("ann", "controller", email="ann@example.com")
    client = Client()
    assert come_back(client)["Location"] == "/connections/"
    ann.refresh_from_db()
    assert (who(client), ann.sign_in_changed) == ("ann", "single sign-on")
    assert dt.timedelta(hours=23) < ann.approves_from - timezone.now() <= dt.timedelta(hours=24)
    assert SocialAccount.objects.get().uid == "subject-1"


def test_from_then_on_the_providers_own_name_counts_and_nothing_is_new(provider):
    ann = make_person("ann", email="other@example.com")
    SocialAccount.objects.create(user=ann, provider="company", uid="subject-1")
    before = Person.objects.get(pk=ann.pk).approves_from
    client = Client()
    come_back(client)
    assert (who(client), Person.objects.get(pk=ann.pk).approves_from) == ("ann", before)


@pytest.mark.parametrize(
    ("claims", "people"),
    [
        ({"email_verified": False}, {"ann": {}}),
        ({"email_verified": "false"}, {"ann": {}}),
        ({"email": ""}, {"nomail": {"email": ""}}),
        ({}, {}),
        ({}, {"ann": {}, "twin": {}}),
        ({}, {"ann": {"is_active": False}}),
    ],
    ids=["unverified", "a word for no", "no address", "unknown", "two people", "left"],
)
def test_whom_nobody_here_knows_is_not_let_in_and_nobody_is_made(provider, claims, people):
    provider.update(claims)
    for name, fields in people.items():
        make_person(name, **{"email": "ann@example.com", **fields})
    client = Client()
    page = come_back(client)
    assert "Nobody here is known by this sign-in" in page.content.decode()
    assert (who(client), SocialAccount.objects.count()) == ("", 0)
    assert set(Person.objects.values_list("username", flat=True)) == set(people)


def test_an_address_that_was_given_to_somebody_new_does_not_bring_them_in_as_who_had_it(provider):
    ann = make_person("ann", email="ann@example.com")
    SocialAccount.objects.create(user=ann, provider="company", uid="of the one before")
    client = Client()
    come_back(client)
    assert (who(client), SocialAccount.objects.count()) == ("", 1)


@pytest.mark.parametrize(("domains", "is_in"), [("example.com", True), ("other.example", False)])
def test_where_the_provider_does_not_say_so_domains_count_as_verified(provider, settings, domains, is_in):
    settings.SOCIALACCOUNT_PROVIDERS = sign_on.providers(ENV | {"Q2C_OIDC_DOMAINS": domains})
    del provider["email_verified"]
    make_person("ann", email="ann@example.com")
    client = Client()
    come_back(client)
    assert bool(who(client)) == is_in


def test_a_sign_in_may_be_sent_on_to_the_provider_and_nowhere_else():
    assert sign_on.origins(ENV) == ["https://id.example", "https://mfa.example", "https://old.example"]
    assert (sign_on.origins({}), sign_on.providers({})) == ([], {})
    with pytest.raises(ValueError, match="https"):
        sign_on.providers({"Q2C_OIDC_URL": "http://id.example"})


@pytest.mark.parametrize(("env", "further"), [({}, []), (ENV, sign_on.origins(ENV))], ids=["without", "with"])
def test_the_settings_take_the_provider_from_the_environment_and_let_forms_lead_to_it(monkeypatch, env, further):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    found = runpy.run_path(portal.BASE_DIR / "q2c" / "settings.py")
    assert found["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["form-action"] == ["'self'", *further]
    assert found["SOCIALACCOUNT_PROVIDERS"] == sign_on.providers(env)


def test_a_person_finds_their_second_factor_from_their_own_page():
    client = Client()
    client.force_login(make_person("ann", "controller"))
    assert 'href="/accounts/2fa/"' in client.get("/you/").content.decode()
    for address in ("/accounts/2fa/", "/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/"):
        assert client.get(address, follow=True).status_code == 200
