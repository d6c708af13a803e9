"""A connector and its one declaration bring a vendor all scenes of its roles: shown by a second account of NetSuite,
with a connection of its own, that keeps the books in the place of the first."""

from __future__ import annotations

import pytest

from connectors.families import Family
from connectors.models import Connection
from q2c.transactions.models import BusinessTransaction
from tests.journeys import test_twice, vendors
from tests.journeys.scene import Scene, over
from tests.journeys.scenes import SCENES, every_scene
from tests.journeys.vendors.netsuite import NetSuite

ANOTHER = NetSuite("books")


def its_scenes(*names: str) -> list[Scene]:
    """The scenes that there are more once it's declared."""
    declared = {**vendors.players(), ANOTHER.code: ANOTHER}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vendors, "players", lambda: declared)
        return [scene for scene in every_scene(*names) if scene.cast.erp is ANOTHER]


def test_another_erp_plays_every_scene_in_which_there_are_books_beside_the_usual_crm_and_billing():
    found = its_scenes()
    assert [scene.code for scene in found] == [code for code, scene in SCENES.items() if Family.ERP in scene.roles]
    assert len(found) > 10
    assert {repr(scene).rpartition("-")[2] for scene in found} == {"books"}
    assert {(scene.cast.crm, scene.cast.billing) for scene in found} == {(vendors.usual().crm, vendors.usual().billing)}


@pytest.mark.django_db(transaction=True)
@over(its_scenes("invoice_to_erp"))
def test_the_test_of_a_scenario_is_played_with_another_erp_as_it_is(house, scene):
    test_twice.test_a_task_that_is_delivered_again_while_its_first_run_is_active_takes_nothing(house, scene)
    assert {*Connection.objects.values_list("code", flat=True)} == {"books", "salesforce", "stripe"}
    assert BusinessTransaction.objects.get(flow="invoice_to_erp").target_connection == "books"
