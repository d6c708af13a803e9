"""What never reaches a log, a case or a screen: credentials, signatures, session ids and card numbers. Pure.

Values go by their key's name (`Authorization`, `client_secret`) or by their shape (a bearer token in a sentence, a card
number that passes its check digit). What is removed is replaced by a mark, so that a reader sees that it was there.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

MARK = "[redacted]"
DEPTH_MAX = 12

# Names are compared in lower case without separators, so `Client-Secret`, `clientSecret` and `client_secret` are one.
_WHOLE = frozenset(
    {
        "auth", "authorization", "proxyauthorization", "cookie", "setcookie", "signature", "stripesignature",
        "assertion", "clientassertion", "pwd", "pass", "pin", "cvc", "cvv",
        "csrfmiddlewaretoken", "xcsrftoken", "sid", "sessionid",
        "jwt", "bearer", "cardnumber", "pan", "iban", "accountnumberfull", "tokenid",
    }
)  # fmt: skip
_ENDS = ("password", "passwd", "passphrase", "secret", "token", "apikey", "privatekey", "accesskey", "secretkey",
         "signature", "sessionid", "credentials", "credential", "consumerkey", "signingkey")  # fmt: skip
_HARMLESS = frozenset({"idempotencykey", "nextpagetoken", "pagetoken", "fencingtoken"})

_PATTERNS = (
    (re.compile(r"(?i)\b(bearer|basic|oauth)\s+[A-Za-z0-9._~+/=\"%,\s-]{8,}"), r"\1 " + MARK),
    (re.compile(r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{6,}"), MARK),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=]{6,}"), MARK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*"), MARK),  # a JSON web token
    (re.compile(r"\b00D[A-Za-z0-9]{12,15}![A-Za-z0-9._]{10,}"), MARK),  # a Salesforce session id
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.S), MARK),
    (re.compile(r"(?i)(<(?:\w+:)?sessionid>)[^<]*"), r"\1" + MARK),
    (re.compile(r"(?i)\b(\w+://[^\s:/@]*):[^\s/@]+@"), r"\1:" + MARK + "@"),  # a password in an address
    (
        re.compile(
            r"(?i)\b(oauth_signature|oauth_token|client_secret|access_token|refresh_token|api_key|password)=[^\s&\",]+"
        ),
        r"\1=" + MARK,
    ),
    (re.compile(r"\b(v[01])=[0-9a-f]{32,}"), r"\1=" + MARK),  # a webhook's signature
)
_DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?!\w|[.-]\w)")

# What a text must hold for one of the patterns to find something; a text without is left alone after these scans.
_HINTS = ("bearer", "basic", "oauth", "_live_", "_test_", "whsec_", "eyj", "private key", "sessionid>", "secret=",
          "token=", "api_key=", "password=", "v0=", "v1=")  # fmt: skip
_SHAPES = re.compile(r"\d(?:[ -]?\d){12}|00D\w{12}|://[^\s:/@]*:[^\s/@]+@")
# Every name of a JSON text without backslashes that has something under it. Looks ahead, so no quote is used up.
_NAMES = re.compile(r'"(?=([^"]*)"\s*:(?!\s*(?:null|false|"")))')


def redact(value: Any, *, depth: int = 0) -> Any:
    """The same value with everything secret replaced; containers are copied, other types are left as they are."""
    if depth > DEPTH_MAX:
        return MARK
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {
            name: MARK if is_secret_name(name) and item not in (None, "", False) else redact(item, depth=depth + 1)
            for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [redact(item, depth=depth + 1) for item in value]
    if isinstance(value, (bytes, bytearray, memoryview)):
        return redact_body(bytes(value)).decode("utf-8", "replace")
    return value


def redact_text(text: str) -> str:
    """A sentence, header or log line without secrets and card numbers."""
    if not _has_hint(text):
        return text
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return _DIGITS.sub(_hide_card, text)


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """HTTP headers for people's eyes."""
    return {name: MARK if is_secret_name(name) else redact_text(str(value)) for name, value in headers.items()}


def redact_body(body: bytes, content_type: str = "") -> bytes:
    """A request's or answer's body for people's eyes: JSON and forms by key, everything else by shape."""
    text = body.decode("utf-8", "replace")
    kind = content_type.split(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        pairs = parse_qsl(text, keep_blank_values=True)
        return urlencode([(n, MARK if is_secret_name(n) else redact_text(v)) for n, v in pairs]).encode()
    if text[:1] in "{[" and text:
        if _is_harmless_json(text):
            return body
        try:
            return json.dumps(redact(json.loads(text, parse_float=str)), ensure_ascii=False).encode()
        except ValueError:
            pass
    return redact_text(text).encode()


def is_secret_name(name: object) -> bool:
    """Whether what stands under this name is a secret, whatever it looks like (`card[cvc]` is told by its end)."""
    return _is_secret(str(name))


@functools.lru_cache(maxsize=4096)  # vendors' field names come again and again
def _is_secret(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", re.split(r"[\[.]", name.lower().rstrip("]"))[-1])
    if plain in _HARMLESS:
        return False
    return plain in _WHOLE or plain.endswith(_ENDS) or plain.endswith("cardnumber")


def _has_hint(text: str) -> bool:
    low = text.lower()
    return any(hint in low for hint in _HINTS) or _SHAPES.search(text) is not None


def _is_harmless_json(text: str) -> bool:
    """Whether no name and no shape in a JSON text asks for redaction: a few scans instead of walking a large answer.

    A backslash may spell a name in another way, so such a text is walked.
    """
    if "\\" in text or _has_hint(text):
        return False
    return not any(map(_is_secret, set(_NAMES.findall(text))))


def _hide_card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match.group())
    if not 13 <= len(digits) <= 19 or not _passes_luhn(digits):
        return match.group()
    return f"[card ending {digits[-4:]}]"


def _passes_luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number
    return total % 10 == 0 and len(set(digits)) > 1
