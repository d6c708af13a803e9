"""After a rotation: everything that an older master key sealed opens with the newest alone, and no value is told."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from connectors import registry
from connectors.models import Connection
from exceptions import files
from exceptions.alerts import channels
from exceptions.models import AlertChannel, CaseFile
from q2c.core import customer_keys, resealing, vault
from q2c.core.models import AuditEntry, CustomerKey
from q2c.inbox.bodies import open_event_key
from q2c.inbox.models import BackfillItem, InboundKey
from tests import factories

pytestmark = pytest.mark.django_db
NOBODY = vault.new_key()


@pytest.fixture
def rotated(settings):
    """Sealed under the older of two keys: credentials, those that wait, an address, keys of customers, a file."""
    old, new = vault.new_key(), vault.new_key()
    settings.VAULT_KEYS = [old]
    stripe = factories.make_connection("stripe")
    registry.store_secrets(stripe, {"api_key": "sk_live_1"})
    Connection.objects.filter(pk=stripe.pk).update(next_secrets=registry.seal_secrets({"api_key": "sk_live_2"}))
    factories.make_channel(address="https://hooks.example.test/secret")
    customer_keys.ensure_keys([("stripe", f"cus_{n}") for n in range(3)])
    factories.make_message(body_key=vault.seal_with_master(NOBODY))
    case = factories.make_case(transactions=[factories.make_transaction("held")])
    factories.make_file(case)
    factories.make_archive()
    read = factories.make_backfill(factories.make_person("platform"), rows=0)
    read.items.create(dedupe_key="evt_1", body=vault.seal(b"{}", NOBODY), body_key=vault.seal_with_master(NOBODY))
    settings.VAULT_KEYS = [new, old]
    customer_keys.forget_keys()
    return settings


def reseal(*args: str) -> str:
    said = StringIO()
    call_command("reseal", *args, stdout=said)
    return said.getvalue()


def test_what_an_older_key_sealed_is_sealed_anew_in_batches_and_the_older_one_can_go(rotated, monkeypatch):
    monkeypatch.setattr(resealing, "BATCH", 2)
    told = reseal()
    assert [line for line in told.splitlines() if not line.startswith("0 ")] == [
        "1 credentials that wait for a second person sealed anew", "1 credentials of connections sealed anew",
        "1 addresses of channels sealed anew", "3 customers’ keys sealed anew",
        "1 keys of archives sealed anew", "1 keys of messages without a customer sealed anew",
        "1 keys of messages read again that wait sealed anew", "1 keys of files without a customer sealed anew",
    ]  # fmt: skip
    assert not any(secret in told for secret in ("sk_live", "hooks.example"))
    rotated.VAULT_KEYS = rotated.VAULT_KEYS[:1]
    stripe = Connection.objects.get(code="stripe")
    assert registry.secrets_of(stripe) == {"api_key": "sk_live_1"}
    assert registry.secrets_of(stripe, waiting=True) == {"api_key": "sk_live_2"}
    assert channels.address_of(AlertChannel.objects.get()) == "https://hooks.example.test/secret"
    assert None not in customer_keys.key_bytes(CustomerKey.objects.values_list("pk", flat=True)).values()
    assert open_event_key(bytes(InboundKey.objects.get().body_key), None) == NOBODY
    assert vault.open_with_master(bytes(BackfillItem.objects.get().body_key)) == NOBODY
    assert files.hand_out(CaseFile.objects.get(), to=factories.make_person("billing_ops")) == b"%PDF-1.7 ..."
    assert AuditEntry.objects.get(verb="reseal").data["customers’ keys"] == 3


def test_a_second_run_finds_nothing_left_and_a_stopped_one_is_gone_on_with(rotated, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resealing, "_write", stop)
        with pytest.raises(KeyboardInterrupt):
            reseal()
    assert "3 customers’ keys are under older keys" in reseal("--check").splitlines()
    reseal()
    assert {line.split()[0] for line in reseal().splitlines()} == {"0"}
    assert AuditEntry.objects.filter(verb="reseal").count() == 1


def test_what_no_key_opens_stays_and_is_counted(rotated):
    rotated.VAULT_KEYS = [vault.new_key(), rotated.VAULT_KEYS[0]]
    with pytest.raises(CommandError, match="10 can’t be opened: the key that sealed them isn’t in Q2C_VAULT_KEYS"):
        reseal()


def test_a_value_that_somebody_changes_meanwhile_is_left_as_they_wrote_it(rotated, monkeypatch):
    opens = vault.open_with_master

    def changed_meanwhile(sealed):
        Connection.objects.update(next_secrets=registry.seal_secrets({"api_key": "sk_live_3"}))
        return opens(sealed)

    monkeypatch.setattr(vault, "open_with_master", changed_meanwhile)
    assert resealing.reseal(Connection.objects.all(), "next_secrets").done == 0
    assert registry.secrets_of(Connection.objects.get(), waiting=True) == {"api_key": "sk_live_3"}


def test_an_address_that_is_approved_between_the_columns_is_not_left_under_the_older_key(rotated, monkeypatch):
    waiting = bytes(AlertChannel.objects.get().address)
    AlertChannel.objects.update(next_address=waiting)
    seals = resealing.reseal

    def approved_after_the_first(rows, column):
        done = seals(rows, column)
        if rows.model is AlertChannel:
            AlertChannel.objects.exclude(next_address=None).update(address=F("next_address"), next_address=None)
        return done

    monkeypatch.setattr("q2c.core.management.commands.reseal.reseal", approved_after_the_first)
    assert "0 addresses of channels are under older keys" in reseal()


def test_what_comes_under_an_older_key_while_it_runs_fails_it_with_the_count(rotated, monkeypatch):
    old = bytes(AlertChannel.objects.get().address)
    seals = resealing.reseal

    def written_after(rows, column):
        done = seals(rows, column)
        AlertChannel.objects.update(address=old)
        return done

    monkeypatch.setattr("q2c.core.management.commands.reseal.reseal", written_after)
    with pytest.raises(CommandError, match="1 came under older keys meanwhile"):
        reseal()
