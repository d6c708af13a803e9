"""The bench's webhooks are what Stripe's door lets in: signed, of the size that was promised, each a new one."""

import datetime as dt

from connectors.stripe import door
from q2c.bench.senders import BODY_BYTES, make_requests


def split_request(request: bytes) -> tuple[dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    return dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:]), body


def test_each_event_is_signed_and_of_4_kb_and_different():
    found = [split_request(r) for r in make_requests(2, port=8100, secret="whsec_bench")]
    for headers, body in found:
        door.verify(body, headers, {}, {"webhook_secret": "whsec_bench"}, {}, dt.datetime.now(dt.UTC))
        assert len(body) == BODY_BYTES == int(headers["Content-Length"])
    assert len({door.split(body, headers)[0].dedupe_key for headers, body in found}) == 2
