"""The Salesforce sandbox's outbound messages: sent whole until Ack true, with the records as they are when sent."""

import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from defusedxml.ElementTree import fromstring

from connectors.sandbox.testing import Sandboxes, running_sandboxes

OUT = "{http://soap.sforce.com/2005/09/outbound}"
SF = "{urn:sobject.enterprise.soap.sforce.com}"
ACK = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><notificationsResponse'
    ' xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>{}</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>'
)
WON = {"Name": "Won", "StageName": "Closed Won", "CloseDate": "2026-11-01"}


class Receiver:
    """An address that keeps what arrives and answers as told; `acks` are taken first, then it's true."""

    def __init__(self):
        self.arrived: queue.Queue = queue.Queue()
        self.acks: queue.Queue = queue.Queue()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    answer = outer.acks.get_nowait()
                except queue.Empty:
                    answer = "true"
                payload = ACK.format(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
                outer.arrived.put((dict(self.headers), body))

            def log_message(self, *given):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/webhooks/salesforce/"

    def take(self):
        headers, body = self.arrived.get(timeout=60)
        return headers, fromstring(body).find(f".//{OUT}notifications")


def notified(message) -> list[str]:
    return [each.findtext(f"{OUT}sObject/{SF}Id") for each in message.findall(f"{OUT}Notification")]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def box(tmp_path) -> Iterator[Sandboxes]:
    with running_sandboxes(tmp_path, vendors=["salesforce"]) as sandboxes:
        yield sandboxes


def test_a_won_opportunity_is_told_once_with_its_latest_data_and_a_session_id(box, receiver):
    box.control("POST", "salesforce/webhooks", {"url": receiver.url, "objects": ["Opportunity"]})
    id = box.make("salesforce", "Opportunity", {**WON, "StageName": "Prospecting"})[0]
    box.make("salesforce", "Opportunity", {"Id": id, "StageName": "Closed Won", "Name": "Now & won"})
    box.make("salesforce", "Opportunity", {"Id": id, "Q2C_Status__c": "Active"})
    headers, message = receiver.take()
    assert headers["Content-Type"] == "text/xml; charset=utf-8"
    assert message.findtext(f"{OUT}OrganizationId") == box.vendor("salesforce")["credentials"]["organization_id"]
    assert message.findtext(f"{OUT}SessionId")
    shown = message.find(f"{OUT}Notification/{OUT}sObject")
    assert shown.get("{http://www.w3.org/2001/XMLSchema-instance}type") == "sf:Opportunity"
    assert (shown.findtext(f"{SF}Id"), shown.findtext(f"{SF}Name"), shown.findtext(f"{SF}IsWon")) == (
        id,
        "Now & won",
        "true",
    )
    second = box.make("salesforce", "Opportunity", WON)[0]
    assert notified(receiver.take()[1]) == [second]


def test_an_order_is_told_when_it_is_activated(box, receiver):
    box.control("POST", "salesforce/webhooks", {"url": receiver.url, "objects": ["Order"]})
    product = {"Name": "Platform", "ProductCode": "P-1", "IsActive": True}
    (standard,) = [b for b in box.control("GET", "salesforce/documents/Pricebook2")["items"] if b["IsStandard"]]
    entry = {"Pricebook2Id": standard["Id"], "Product2": product, "UnitPrice": 5, "IsActive": True}
    (price,) = box.make("salesforce", "PricebookEntry", entry)
    draft = {"Account": {"Name": "Northwind"}, "Status": "Draft", "EffectiveDate": "2026-03-01",
             "OrderItems": [{"PricebookEntryId": price, "Quantity": 1, "UnitPrice": 5}]}  # fmt: skip
    id, second = box.make("salesforce", "Order", draft, draft)
    box.make("salesforce", "Order", {"Id": id, "Status": "Activated"})
    box.make("salesforce", "Order", {"Id": id, "Q2C_Status__c": "active"})
    message = receiver.take()[1]
    assert notified(message) == [id]
    shown = message.find(f"{OUT}Notification/{OUT}sObject")
    assert (shown.findtext(f"{SF}StatusCode"), bool(shown.findtext(f"{SF}AccountId"))) == ("Activated", True)
    box.make("salesforce", "Order", {"Id": second, "Status": "Activated"})
    assert notified(receiver.take()[1]) == [second]


def test_a_message_holds_at_most_a_hundred_notifications(box, receiver):
    box.control("POST", "salesforce/webhooks", {"url": receiver.url, "objects": ["Account"]})
    ids = box.make("salesforce", "Account", *({"Name": f"Account {n}"} for n in range(150)))
    told: list[str] = []
    sizes = []
    while len(told) < 150:
        found = notified(receiver.take()[1])
        sizes.append(len(found))
        told += found
    assert sorted(told) == sorted(ids)
    assert sorted(sizes) == [50, 100]


def test_the_whole_message_comes_again_until_it_is_acknowledged_even_after_a_crash(box, receiver):
    receiver.acks.put("false")
    box.control("POST", "salesforce/webhooks", {"url": receiver.url, "objects": ["Account"]})
    ids = box.make("salesforce", "Account", {"Name": "A"}, {"Name": "B"})
    _, first = receiver.take()
    box.kill()
    box.start()
    box.control("POST", "clock", {"offset_seconds": 60})
    _, again = receiver.take()
    assert notified(first) == notified(again) == ids
    notifications = [each.findtext(f"{OUT}Id") for each in first.findall(f"{OUT}Notification")]
    assert notifications == [each.findtext(f"{OUT}Id") for each in again.findall(f"{OUT}Notification")]


def test_a_duplicated_message_is_the_same_message_twice(box, receiver):
    box.control("POST", "salesforce/webhooks", {"url": receiver.url, "objects": ["Account"]})
    box.fault("salesforce", "webhook_duplicate", when={"times": 1})
    box.make("salesforce", "Account", {"Name": "Twice"})
    (_, first), (_, second) = receiver.take(), receiver.take()
    ids = [each.findtext(f"{OUT}Notification/{OUT}Id") for each in (first, second)]
    assert ids[0] == ids[1]
