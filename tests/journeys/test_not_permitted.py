"""One record that the ERP's role may not write is held alone, under its own name; what else goes there goes on."""

from __future__ import annotations

import pytest

from connectors.models import Connection
from exceptions import resolutions
from exceptions.models import ExceptionCase
from q2c.core.models import Person

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_document_that_may_not_be_written_is_held_alone_and_posts_once_it_may(house):
    customer = house.customer()
    house.invoice(customer)
    house.carry()
    refused = house.invoice(customer)
    house.fault("netsuite", "status", status=403, when={"method": "POST", "path": "*/invoice", "external_id": refused})
    house.carry()
    house.invoice(customer)
    house.carry()
    assert house.held() == ["vendor_permission"]
    assert len(house.made("netsuite", "invoice")) == 2
    assert Connection.objects.get(vendor="netsuite").state == "active"
    case = ExceptionCase.objects.get()
    assert (case.kind, case.connection_code) == ("vendor_permission", "netsuite")
    house.sandboxes.control("DELETE", "netsuite/faults")
    resolutions.repost(case, by=Person.objects.get(username="controller"), reason="the role may do it now")
    house.carry()
    assert (house.held(), len(house.made("netsuite", "invoice"))) == ([], 3)
