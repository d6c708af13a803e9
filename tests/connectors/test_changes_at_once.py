"""Two changes of one connection proposed at once, and credentials exchanged behind a proposal: what two people approve
is what takes effect."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection as database
from django.db.transaction import atomic

from connectors import connections, registry
from connectors.models import Connection
from q2c.core import resealing, vault
from q2c.core.models import Proposal
from q2c.portal import decisions
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def propose(api_key: str, by) -> None:
    row = Connection.objects.get(code="stripe")
    connections.propose_change(row, base_url=row.base_url, secrets={"api_key": api_key}, by=by, reason="As the vendor")


def sign(proposal: Proposal) -> None:
    """A second person approves."""
    signer = factories.make_person("platform")
    decisions.decide(proposal, by=signer, approve=True, why="", seen_hash=proposal.content_hash)


def is_somebody_waiting() -> bool:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # else the transaction sees what it saw at first
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return cursor.fetchone()[0] > 0


def test_of_two_changes_proposed_at_once_one_waits_and_its_credentials_are_those_that_are_signed():
    registry.store_secrets(factories.make_connection("stripe"), {"api_key": "old"})
    first, second = factories.make_person("platform"), factories.make_person("platform")
    said: list[str] = []

    def beside() -> None:
        try:
            propose("of the second", second)
        except ValueError as refused:
            said.append(str(refused))
        finally:
            database.close()

    thread = threading.Thread(target=beside)
    with atomic():
        propose("of the first", first)
        thread.start()
        until = time.monotonic() + 20
        while not is_somebody_waiting():
            assert time.monotonic() < until, "nobody waits"
            time.sleep(0.02)
    thread.join(30)
    assert said == ["Another change of it waits for a second person."]
    sign(Proposal.objects.get())
    assert registry.secrets_of(Connection.objects.get())["api_key"] == "of the first"


@pytest.mark.parametrize("exchanged", [{"api_key": "another"}, {"api_key": "new", "webhook_secret": "more"}, {}])
def test_credentials_that_were_exchanged_behind_a_proposal_take_no_effect(exchanged):
    registry.store_secrets(factories.make_connection("stripe"), {"api_key": "old"})
    propose("new", factories.make_person("platform"))
    proposal = Proposal.objects.get()
    assert "new'" not in str(proposal.content.values())
    Connection.objects.update(next_secrets=registry.seal_secrets(exchanged) if exchanged else None)
    with pytest.raises(ValueError, match="aren't those that were proposed"):
        sign(proposal)
    assert registry.secrets_of(Connection.objects.get()) == {"api_key": "old"}
    assert Proposal.objects.get().state == "proposed"


def test_credentials_that_were_sealed_anew_under_another_master_key_are_still_those_that_were_proposed(settings):
    registry.store_secrets(factories.make_connection("stripe"), {"api_key": "old"})
    propose("new", factories.make_person("platform"))
    settings.VAULT_KEYS = [vault.new_key(), *settings.VAULT_KEYS]
    assert resealing.reseal(Connection.objects.all(), "next_secrets").done == 1
    sign(Proposal.objects.get())
    assert registry.secrets_of(Connection.objects.get()) == {"api_key": "new"}
