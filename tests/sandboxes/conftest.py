"""Stripe's sandbox in a process of its own, its client, and a receiver for its webhooks."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue

import pytest
import stripe

from connectors.sandbox.testing import running_sandboxes


@pytest.fixture(scope="module")
def stripe_box(tmp_path_factory):
    """The sandbox for a whole module, with the limits off."""
    with running_sandboxes(tmp_path_factory.mktemp("sandbox"), vendors=["stripe"]) as sandboxes:
        sandboxes.control("POST", "stripe/limits", {"enforced": False})
        yield sandboxes
        sandboxes.control("DELETE", "stripe/faults")


@pytest.fixture
def box(stripe_box):
    """The same, without faults of earlier tests and with the real time."""
    stripe_box.control("DELETE", "stripe/faults")
    stripe_box.control("POST", "clock", {"reset": True})
    return stripe_box


@pytest.fixture
def client(box):
    """The unmodified PyPI client at the sandbox's address."""
    return connect(box)


def connect(sandboxes, *, retries=0, key=None):
    """A client of Stripe's own package, its base address set."""
    vendor = sandboxes.vendor("stripe")
    return stripe.StripeClient(
        key or vendor["credentials"]["api_key"],
        base_addresses={"api": vendor["url"]},
        max_network_retries=retries,
        http_client=stripe.RequestsClient(timeout=60),
    )


class Receiver:
    """Takes webhooks; the answers' status codes may be queued before."""

    def __init__(self):
        self.received: Queue = Queue()
        self.statuses: Queue = Queue()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = 200 if receiver.statuses.empty() else receiver.statuses.get()
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()
                receiver.received.put((self.headers.get("Stripe-Signature"), body))

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/webhooks/stripe/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def next(self, seconds=60):
        """The next delivery: (signature, body)."""
        return self.received.get(timeout=seconds)


@pytest.fixture
def receiver():
    """A webhook receiver on a port of its own."""
    receiver = Receiver()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
