"""The screen of pauses: who runs the machine pauses and resumes; whoever would wonder sees why work waits."""

import pytest

from q2c.transactions.models import Pause
from tests import factories

pytestmark = pytest.mark.django_db
ASKED = {"flow": "invoice_to_erp", "legal_entity": "GB01", "object_type": "", "why": "Tax codes are wrong"}


def test_an_operator_pauses_and_resumes_with_a_reason_and_sees_what_waits(sign_in):
    factories.make_entity("GB01")
    factories.make_transaction("running", number="INV-1")
    client = sign_in("platform")
    assert client.post("/pauses/new/", {**ASKED, "why": ""}).status_code == 422
    assert client.post("/pauses/new/", ASKED).status_code == 302
    page = client.get("/pauses/").content.decode()
    assert "1 document waits behind it" in page
    assert client.post("/pauses/new/", ASKED).status_code == 422
    pause = Pause.objects.get()
    assert client.post(f"/pauses/{pause.pk}/resume/", {"why": "Mended now"}).status_code == 302
    assert "Resumed: Mended now" in client.get("/pauses/").content.decode()


def test_a_pause_is_seen_where_people_would_wonder_and_only_by_whom_it_concerns(sign_in):
    running, held = factories.make_transaction("running"), factories.make_transaction("held")
    case = factories.make_case(transactions=[held])
    factories.make_pause(legal_entity_code="GB01")
    factories.make_pause(legal_entity_code="US01", reason="Elsewhere")
    client = sign_in("controller")
    pages = ("/", "/exceptions/cases/", f"/exceptions/cases/{case.pk}/", "/transactions/")
    shown = {path: client.get(path).content.decode().count("The ERP is moved") for path in pages}
    assert shown == dict.fromkeys(pages, 1)
    assert "The ERP is moved" in client.get(f"/transactions/{running.pk}/").content.decode()
    assert "The ERP is moved" not in client.get(f"/transactions/{held.pk}/").content.decode()
    assert "Elsewhere" in client.get("/").content.decode()
    assert "Elsewhere" not in client.get(f"/exceptions/cases/{case.pk}/").content.decode()
    of_gb = sign_in("controller", entities=("GB01",))
    assert "Elsewhere" not in of_gb.get("/").content.decode()
