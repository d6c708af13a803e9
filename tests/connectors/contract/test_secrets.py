"""No vendor's credentials reach an exchange, a log line or a screen."""

import logging

import pytest
from aiohttp import web
from django.conf import settings as portal

from connectors import recorder, registry
from connectors.models import Connection
from connectors.recorder import Collector
from q2c.core.problems import Category, Problem
from tests.connectors.contract.vendor_facts import VENDORS, made_up_secrets, made_up_settings
from tests.connectors.lines import client_of, run, serving


def connection_of(code, **changes):
    given = {"code": code, "name": code, "vendor": code, "base_url": "https://vendor.example", "is_sandbox": True}
    return Connection(**{**given, "settings": made_up_settings(code), **changes})


@pytest.mark.parametrize("code", VENDORS)
def test_missing_credentials_are_named_before_anything_is_sent(code):
    with pytest.raises(Problem) as problem:
        registry.client_for(connection_of(code), collector=Collector())
    assert (problem.value.code, problem.value.category) == ("credentials_refused", Category.AUTHENTICATION)


@pytest.mark.parametrize("code", VENDORS)
def test_no_secret_is_in_what_is_recorded(code, caplog):
    caplog.set_level(logging.DEBUG)
    secrets, collector = made_up_secrets(code), Collector()

    async def answer(request):
        text = "; ".join(f"{n}={v}" for n, v in request.headers.items())
        return web.json_response({"echo": text, "access_token": "kept-token-Zq93Lx"}, status=200)

    async def story():
        async with serving(answer) as url:
            client = client_of(code, url, settings=made_up_settings(code), secrets=secrets, collector=collector)
            with pytest.raises(Problem):
                await client.check_connection()

    run(story())
    rows = collector.take()
    assert rows
    for row in rows:
        stored = recorder.redacted(row)
        for text in (*stored, row.url.encode()):
            assert b"Zq93Lx" not in text
    assert "Zq93Lx" not in caplog.text


@pytest.mark.parametrize("code", VENDORS)
def test_a_client_does_not_show_its_secrets(code):
    secrets = made_up_secrets(code)
    client = client_of(code, "https://vendor.example", settings=made_up_settings(code), secrets=secrets)
    for shown in (
        repr(client.line),
        str(client.line),
        repr(client),
        repr(client.telephone),
        repr(vars(client.telephone)),
    ):
        assert "Zq93Lx" not in shown


@pytest.mark.parametrize("code", VENDORS)
def test_a_production_portal_never_dials_a_private_address_for_it(code, monkeypatch):
    monkeypatch.setattr(portal, "IS_DEMO", False)
    client = client_of(code, "http://127.0.0.1:9", settings=made_up_settings(code), secrets=made_up_secrets(code))
    assert client.line.allows_private is False
    with pytest.raises(Problem) as problem:
        run(client.check_connection())
    assert problem.value.code == "address_refused"


@pytest.mark.django_db
def test_stored_secrets_are_sealed_kept_out_of_history_and_can_be_changed_one_by_one():
    connection = connection_of("stripe", base_url="https://api.stripe.com")
    connection.save()
    registry.store_secrets(connection, {"api_key": "sk_live_1", "webhook_secret": "whsec_1"})
    registry.store_secrets(connection, {"webhook_secret": "whsec_2", "webhook_secret_previous": "whsec_1"})
    stored = Connection.objects.get(code="stripe")
    assert b"sk_live_1" not in bytes(stored.secrets)
    assert registry.secrets_of(stored) == {
        "api_key": "sk_live_1", "webhook_secret": "whsec_2", "webhook_secret_previous": "whsec_1",
    }  # fmt: skip
    registry.store_secrets(stored, {"webhook_secret_previous": ""})
    assert "webhook_secret_previous" not in registry.secrets_of(stored)
    assert not any(hasattr(h, "secrets") for h in stored.history.all())
