"""Every vendor says how a repeated write is made harmless, and says it in all the places that must agree."""

import pytest

from connectors import registry
from connectors.families import Family
from tests.connectors.contract.vendor_facts import VENDORS


@pytest.mark.parametrize("code", VENDORS)
def test_a_write_that_may_be_repeated_can_be_looked_up(code):
    facts, client = registry.manifest(code), registry.client_class(code)
    if Family.ERP in facts.families:
        assert callable(client.find)
        assert callable(client.find_application)
    if Family.BILLING in facts.families:
        assert callable(client.find_customer)
        assert callable(client.find_subscription)


@pytest.mark.parametrize("code", VENDORS)
def test_a_target_that_refuses_existing_documents_says_how_it_says_so(code):
    facts = registry.manifest(code)
    if facts.repeats.refuses_existing:
        assert any(row.is_existing for row in facts.errors)


@pytest.mark.parametrize("code", VENDORS)
def test_a_look_up_that_finds_nothing_is_told_from_a_failure(code):
    assert any(row.is_absent for row in registry.manifest(code).errors)


@pytest.mark.parametrize("code", VENDORS)
def test_absence_is_proof_only_after_a_while(code):
    repeats = registry.manifest(code).repeats
    assert repeats.settles_after_seconds >= 30
