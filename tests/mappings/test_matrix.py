"""The matrix shows what has no answer where it's billed, before a document asks, and leads to filling it in."""

from __future__ import annotations

import html
import re
from decimal import Decimal

import pytest
from django.utils import timezone

from connectors.models import RoleAssignment
from mappings.workbench import matrix
from q2c.records.models import BilledDocument, GoldenRecord
from tests import factories
from tests.mappings.rules import make_rule
from tests.mappings.sheet_rows import make_items

pytestmark = pytest.mark.django_db


def cells(client, address: str) -> dict[str, list[str]]:
    text = client.get(address).content.decode()
    rows = re.findall(r'<tr><th scope="row" class="lock">(.*?)</th>(.*?)</tr>', text)
    plain = {key: re.findall(r"<td>(.*?)</td>", rest) for key, rest in rows}
    return {
        key: [re.sub(r"(missing).*", r"\1", re.sub(r"<[^>]+>", " ", cell).strip()) for cell in found]
        for key, found in plain.items()
    }


def test_products_without_a_rule_are_holes_where_they_are_billed(client):
    make_items()
    for code in ("GB01", "DE01"):
        factories.make_entity(code)
    for number, (entity, currency) in enumerate((("GB01", "GBP"), ("GB01", "EUR"), ("DE01", "EUR"))):
        BilledDocument.objects.create(
            connection_code="stripe", document_type="invoice", external_id=f"in_{number}", legal_entity_code=entity,
            currency=currency, amount=Decimal(1), content_hash="0", changed_at=timezone.now(),
        )  # fmt: skip
    for sku in ("SOLD", "NEW"):
        GoldenRecord.objects.create(
            record_type="product", record_key=f"salesforce:Product2:{sku}", content={"sku": sku, "name": sku},
            changed_at=timezone.now(),
        )  # fmt: skip
    make_rule("item", "SOLD", "10482", legal_entity="GB01")
    make_rule("item", "SOLD", "10391", legal_entity="DE01", currency="EUR")
    client.force_login(factories.make_person("mapping_admin"))
    assert cells(client, "/mappings/matrix/?kind=item") == {"NEW": ["missing"] * 3}
    assert cells(client, "/mappings/matrix/?kind=item&show=all") == {
        "NEW": ["missing"] * 3,
        "SOLD": ["10391", "10482", "10482"],
    }
    shown = client.get("/mappings/matrix/?kind=item").content.decode()
    assert "3 answers are missing<" in shown
    address = html.unescape(re.search(r'href="(/mappings/grid/[^"]*)"', shown)[1])
    form = client.get(address).content.decode()
    assert re.search(r'name="key-\d+" value="NEW"', form)
    assert re.search(r'name="legal_entity-\d+" value="DE01"', form)
    assert re.search(r'name="currency-\d+" value="EUR"', form)


def test_each_entity_is_asked_for_the_erp_that_it_posts_to_or_all_for_one(client):
    make_items()
    factories.make_entity("GB01")
    german = factories.make_entity("DE01")
    other = factories.make_connection("netsuite-eu", name="NetSuite EU")
    RoleAssignment.objects.create(family="erp", connection=other, legal_entity=german)
    make_rule("item", "SOLD", "10482", connection="netsuite")
    client.force_login(factories.make_person("mapping_admin"))
    assert cells(client, "/mappings/matrix/?kind=item") == {"SOLD": ["missing", "10482"]}
    assert cells(client, "/mappings/matrix/?kind=item&system=netsuite") == {}
    assert "No answer is missing<" in client.get("/mappings/matrix/?kind=item&system=netsuite").content.decode()
    assert cells(client, "/mappings/matrix/?kind=item&system=netsuite-eu") == {"SOLD": ["missing", "missing"]}
    shown = client.get("/mappings/matrix/?kind=item&system=netsuite-eu").content.decode()
    assert "connection=netsuite-eu" in html.unescape(shown)


def test_keys_with_holes_are_found_behind_many_without(client, monkeypatch):
    make_items()
    factories.make_entity("GB01")
    monkeypatch.setattr(matrix, "KEYS_SHOWN", 1)
    monkeypatch.setattr(matrix, "ASKED_AT_ONCE", 2)
    for key in "ABC":
        make_rule("item", key, "10482", legal_entity="GB01")
    for key in "DE":
        make_rule("item", key, "10482", legal_entity="US01")
    client.force_login(factories.make_person("mapping_admin"))
    address, seen = "/mappings/matrix/?kind=item", []
    while address:
        shown = client.get(address).content.decode()
        seen.append(list(cells(client, address)))
        found = re.search(r'href="([^"]*after=[^"]*)"', shown)
        address = "/mappings/matrix/" + html.unescape(found[1]) if found else ""
    assert seen == [[], ["D"], ["E"]]
