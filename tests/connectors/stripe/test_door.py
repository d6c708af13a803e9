"""Which webhooks of Stripe's are let in."""

import datetime as dt
import hashlib
import hmac

import pytest

from connectors.signatures import Refused
from connectors.stripe import door

SECRET = "whsec_test_secret"
BODY = b'{"id":"evt_test","object":"event"}'
STAMP = 1767225600
GOOD = "d2bbf379811dab6c152c152084ca7753ada8839e7528ed5cdf70eff429cf16c7"  # reproduced with Stripe's own SDK
NOW = dt.datetime.fromtimestamp(STAMP, dt.UTC)


def verify(header, *, body=BODY, now=NOW, secrets=None):
    headers = {} if header is None else {"stripe-signature": header}
    door.verify(body, headers, {}, secrets or {"webhook_secret": SECRET}, {}, now)


def test_the_sdks_vector_is_let_in():
    verify(f"t={STAMP},v1={GOOD}")


def test_an_early_timestamp_passes_as_in_stripes_own_library():
    verify(f"t={STAMP},v1={GOOD}", now=NOW - dt.timedelta(seconds=301))


def test_one_good_signature_among_several_is_enough():
    verify(f"t={STAMP},v1={'0' * 64},v1={GOOD},v0={'1' * 64}")


def test_both_secrets_are_valid_while_one_is_rotated():
    secrets = {"webhook_secret": "whsec_new", "webhook_secret_previous": SECRET}
    verify(f"t={STAMP},v1={GOOD}", secrets=secrets)
    fresh = hmac.new(b"whsec_new", f"{STAMP}.".encode() + BODY, hashlib.sha256).hexdigest()
    verify(f"t={STAMP},v1={fresh}", secrets=secrets)


@pytest.mark.parametrize(
    ("header", "changes", "reason"),
    [
        (None, {}, "missing"),
        (f"v1={GOOD}", {}, "malformed"),
        (f"t=soon,v1={GOOD}", {}, "malformed"),
        (f"t={STAMP},t={STAMP},v1={GOOD}", {}, "malformed"),
        (f"t={STAMP},v0={GOOD}", {}, "signature"),
        (f"t={STAMP},v1={GOOD}", {"body": BODY + b" "}, "signature"),
        (f"t={STAMP},v1={GOOD}", {"secrets": {"webhook_secret": "whsec_other"}}, "signature"),
        (f"t={STAMP},v1={GOOD}", {"secrets": {"webhook_secret": ""}}, "signature"),
        (f"t={STAMP},v1={GOOD}", {"now": NOW + dt.timedelta(seconds=301)}, "timestamp"),
        (f"t={STAMP},v1=ü", {}, "signature"),
    ],
)
def test_what_is_refused(header, changes, reason):
    with pytest.raises(Refused) as refusal:
        verify(header, **changes)
    assert refusal.value.reason == reason


def test_an_event_is_known_by_its_own_id_by_webhook_and_poll_alike():
    body = (
        b'{"id":"evt_1","type":"invoice.paid","created":1648320015,"data":{"object":{"id":"in_1","total":5}},"extra":1}'
    )
    (polled,) = door.split(body, {})
    assert (polled.event_type, polled.source_id, polled.dedupe_key, polled.body) == (
        "invoice.paid",
        "in_1",
        "evt_1",
        body,
    )
    assert polled.occurred_at == dt.datetime.fromtimestamp(1648320015, dt.UTC)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"id":"evt_1"}', b"\xff\xfe"])
def test_a_body_that_is_no_event_is_malformed(body):
    with pytest.raises(ValueError):
        door.split(body, {})
