"""Nothing secret is shown: by name, by shape, in every container, and without hiding what finance needs to read."""

import pytest

from q2c.core.redact import MARK, is_secret_name, redact, redact_body, redact_headers, redact_text


@pytest.mark.parametrize(
    "name",
    ["Authorization", "client_secret", "clientSecret", "X-Api-Key", "Stripe-Signature", "oauth_signature", "Set-Cookie",
     "SessionId", "refresh_token", "private_key", "webhook_secret", "consumer_key", "password", "cvc"],
)  # fmt: skip
def test_a_secret_is_known_by_its_name(name):
    assert is_secret_name(name) is True


@pytest.mark.parametrize("name", ["Idempotency-Key", "number", "external_id", "key", "sku", "tokens_used", "amount"])
def test_business_keys_are_not_secrets(name):
    assert is_secret_name(name) is False


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Authorization: Bearer abcdef123456789", f"Authorization: Bearer {MARK}"),
        ("key sk_test_51abcdefghij used", f"key {MARK} used"),
        ("t=1492774577,v1=5257a869e7ecebeda32affa62cdca3fa51cad7e77a0e56ff536d0ce8e108d8bd", f"t=1492774577,v1={MARK}"),
        ("<sf:sessionId>00Dxx0000001gPL!AR8AQ</sf:sessionId>", f"<sf:sessionId>{MARK}</sf:sessionId>"),
        ("postgresql://q2c_app:hunter2@/q2c", f"postgresql://q2c_app:{MARK}@/q2c"),
        ("unix://:hunter2@/tmp/v.sock", f"unix://:{MARK}@/tmp/v.sock"),
        ("grant_type=x&client_secret=abc&y=1", f"grant_type=x&client_secret={MARK}&y=1"),
        ("card 4242 4242 4242 4242 was declined", "card [card ending 4242] was declined"),
        ("card 5555555555554444.", "card [card ending 4444]."),
    ],
)
def test_a_secret_is_known_by_its_shape(text, shown):
    assert redact_text(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "invoice 4242424242424241 is no card number",
        "order 0068d00000AbCdEAAV of 2010-12-01",
        "018f2d6e-0000-7abc-8def-000000000000",
        "posted 4826466.491 GBP in 10789 documents",
        "in_1NxYz4242424242424242",
    ],
)
def test_documents_stay_readable(text):
    assert redact_text(text) == text


def test_containers_are_searched_and_empty_secrets_stay_empty():
    value = {"a": [{"client_secret": "x", "note": "Bearer abcdefghijk"}], "password": "", "amount": 12, "token": None}
    assert redact(value) == {
        "a": [{"client_secret": MARK, "note": f"Bearer {MARK}"}],
        "password": "",
        "amount": 12,
        "token": None,
    }


def test_bodies_are_searched_by_their_kind():
    assert (
        redact_body(b'{"access_token": "abc", "amount": 1.10}') == b'{"access_token": "[redacted]", "amount": "1.10"}'
    )
    form = redact_body(b"client_secret=abc&scope=x", "application/x-www-form-urlencoded")
    assert form == b"client_secret=%5Bredacted%5D&scope=x"
    assert redact_body(b"\xff\xfe plain") == "\ufffd\ufffd plain".encode()
    assert redact_headers({"Authorization": "x", "Accept": "*/*"}) == {"Authorization": MARK, "Accept": "*/*"}


def test_json_without_anything_secret_stays_byte_for_byte():
    body = b'{ "id":"in_1", "customer_key" : "1", "client_secret": null, "lines":[{"amount": 1.10,"sku":"A"}] }'
    assert redact_body(body, "application/json") == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":":x","password":"hunter2"}',
        b'{"a":"","client_secret" : "hunter2"}',
        b'{"a":{"b":[{"api_key":"hunter2"}]}}',
        rb'{"pass\u0077ord":"hunter2"}',
        rb'{"pass\/word":"hunter2"}',
        b'{"note":"password=hunter2"}',
        b'{"token":{"id":"hunter2"}}',
        b'[{"url":"https://me:hunter2@example.com/"}]',
    ],
)
def test_a_secret_in_json_is_found_however_it_is_written(body):
    assert b"hunter2" not in redact_body(body, "application/json")
