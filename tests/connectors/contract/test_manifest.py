"""Every vendor's package holds what its manifest says, and the other way round."""

import subprocess
import sys

import pytest

from connectors import registry
from connectors.families import Family
from connectors.manifest import Ignored, Means, NotYet, Setting
from exceptions import kinds
from q2c.core.problems import Category
from tests.connectors.contract.vendor_facts import PACKAGES, VENDORS

FILES = ("manifest.py", "client.py", "inbound.py", "outbound.py", "README.md")


def test_vendors_are_found_by_looking():
    assert {"netsuite", "salesforce", "stripe"} <= set(VENDORS)
    with pytest.raises(LookupError):
        registry.manifest("no_such_vendor")


@pytest.mark.parametrize("code", VENDORS)
def test_a_vendor_is_a_package_of_the_same_few_files(code):
    assert [f for f in FILES if not (PACKAGES / code / f).is_file()] == []
    assert (PACKAGES / code / "sandbox").exists() or (PACKAGES / code / "sandbox.py").exists()
    assert registry.manifest(code).code == code


@pytest.mark.parametrize("code", VENDORS)
def test_each_family_that_a_vendor_plays_has_its_verbs(code):
    matrix = registry.verbs_of(code)
    assert set(matrix) == set(registry.manifest(code).families)
    for family, verbs in matrix.items():
        assert sum(verbs.values()) >= len(verbs) / 2, (family, verbs)


def test_the_three_vendors_of_this_house_do_all_that_their_families_promise():
    missing = {
        (code, family, verb)
        for code in ("netsuite", "salesforce", "stripe")
        for family, verbs in registry.verbs_of(code).items()
        for verb, has in verbs.items()
        if not has
    }
    assert missing == set()
    assert registry.streams_of("stripe") == ("events",)
    assert registry.streams_of("salesforce") == (
        "Account",
        "MergedAccount",
        "Product2",
        "PricebookEntry",
        "Opportunity",
        "Order",
    )
    assert registry.streams_of("netsuite") == ()
    assert {code: tuple(registry.ranges_of(code)) for code in ("netsuite", "salesforce", "stripe")} == {
        "netsuite": (), "salesforce": ("Opportunity", "Order", "Account"),
        "stripe": ("invoice", "credit_note", "customer", "events"),
    }  # fmt: skip
    assert registry.manifest("netsuite").families == (Family.ERP,)


@pytest.mark.parametrize("code", VENDORS)
def test_every_event_has_a_meaning_or_a_reason(code):
    client = registry.client_class(code)
    for event_type, meaning in registry.manifest(code).events.items():
        if isinstance(meaning, Means):
            assert callable(meaning.translate)
            assert not meaning.refetch or callable(getattr(client, meaning.refetch)), event_type
        else:
            assert isinstance(meaning, Ignored | NotYet)
            assert len(meaning.reason) > 10, event_type


@pytest.mark.parametrize("code", VENDORS)
def test_whatever_is_polled_or_pushed_has_a_meaning(code):
    facts = registry.manifest(code)
    assert bool(facts.events) == bool(facts.webhook or registry.streams_of(code))


@pytest.mark.parametrize("code", VENDORS)
def test_settings_are_named_once_and_optional_ones_say_so(code):
    settings = registry.manifest(code).settings
    names = [s.name for s in settings]
    assert len(names) == len(set(names))
    assert all(s.label for s in settings if isinstance(s, Setting))


@pytest.mark.parametrize("code", VENDORS)
def test_every_error_row_says_a_sentence_that_can_be_filled(code):
    for row in registry.manifest(code).errors:
        assert isinstance(row.category, Category)
        filled = row.says.format(detail="D", code="C", field="F", status=400)
        assert len(filled) > 15
        assert row.problem


@pytest.mark.parametrize("code", VENDORS)
def test_every_refusal_is_a_kind_of_case_that_somebody_owns(code):
    for row in registry.manifest(code).errors:
        assert row.is_existing or row.problem in kinds.BY_CODE, row
        if not row.is_existing:
            assert kinds.BY_CODE[row.problem].runbook


@pytest.mark.parametrize("code", VENDORS)
def test_limits_are_the_vendors_own(code):
    limits = registry.manifest(code).limits
    assert 1 <= limits.at_once <= 100
    assert limits.connect_seconds <= limits.timeout_seconds


@pytest.mark.parametrize("code", VENDORS)
def test_translation_is_plain_python(code):
    """Neither Django nor a telephone comes along with inbound and outbound."""
    program = (
        f"import sys, connectors.{code}.inbound, connectors.{code}.outbound\n"
        "print(sorted({'django', 'celery', 'requests', 'aiohttp', 'rest_framework'} & sys.modules.keys()))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=180, check=True)
    assert answer.stdout.strip() == "[]"
