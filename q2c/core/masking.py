"""What a technical view covers until somebody says why they need it: personal data and the last digits of bank details.

Unlike what `redact` takes out, it's stored and can be shown again (`reveals`). Values go by their name (`email`,
`postal_code`, `last4`) in JSON, JSON inside JSON, forms and XML, by their shape (a mail address, an IBAN; in what
people write a phone number too), or because a customer's record says that it's somebody's name. Pure.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

MARK = "[masked]"

_WHOLE = frozenset(
    {
        "mail", "emails", "phone", "mobile", "fax", "line1", "line2", "line3", "addr1", "addr2", "addr3", "addressee",
        "attention", "addrtext", "city", "zip", "postcode", "birthdate", "dateofbirth", "dob", "ssn", "swift",
        "bic", "sortcode", "routingnumber", "bankaccountnumber", "accountholdername", "ipaddress", "ip",
        "phones", "address",
    }
)  # fmt: skip
_ENDS = ("email", "emailaddress", "phone", "phonenumber", "mobilephone", "street", "postalcode", "zipcode", "last4",
         "lastdigits", "iban", "firstname", "lastname", "middlename", "addressline1", "addressline2", "shiptocity",
         "billingcity", "shippingcity", "mailingcity", "individualname", "cardholdername", "contactname")  # fmt: skip
_PARTIES = frozenset({"billingdetails", "customerdetails", "shipping", "shippingdetails"})  # whose `name` is a person’s

_JSON = re.compile(r'"([\w.\[\] -]{1,80})"(\s*:\s*)("(?:[^"\\]|\\.)+"|-?\d[\d.]*)')
_NESTED = re.compile(r'\\"([\w.\[\] -]{1,80})\\"(\s*:\s*)(\\"(?:(?!\\").)+\\"|-?\d[\d.]*)')
_LIST = re.compile(r'"([\w.\[\] -]{1,80})"(\s*:\s*)\[\s*"(?:[^"\\]|\\.)*"(?:\s*,\s*"(?:[^"\\]|\\.)*")*\s*\]')
_PARTY = re.compile(
    r'("(?:billing_details|customer_details|shipping|shipping_details)"\s*:\s*\{(?:[^{}]|\{[^{}]*\})*?"name"\s*:\s*)'
    r'"(?:[^"\\]|\\.)+"'
)
_FORM = re.compile(r"(?<![^\s?&])([\w.%\[\]-]{1,120})=([^&\s\"<>]+)")
_XML = re.compile(r"<((?:\w+:)?\w{1,60})(\s[^<>]*)?>([^<>]+)</")
_ADDRESS = re.compile(r"[\w.+'-]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,6}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
# +49 171 1234567, 0171/1234567, (555) 123-4567; never a date, an amount or a document's number.
_PHONE = re.compile(
    r"(?<![\w.,/#-])(?!\d{1,4}[/-]\d{1,2}[/-]\d{2,4}\b)"
    r"(?:(?:\+|00)[1-9](?:[ ()/-]{0,2}\d){6,13}|0[1-9](?:[ ()/-]{0,2}\d){6,11}"
    r"|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})"
    r"(?!\w|[.,]\d)"
)


class Masked(NamedTuple):
    """A text with its personal values covered, and the names of those that were (shapes by what they are)."""

    text: str
    names: tuple[str, ...]


def mask_said(text: str, people: Iterable[str] = ()) -> str:
    """Cover what is personal in what somebody wrote: mail addresses, phone numbers, IBANs, and the names of these
    persons, also by their last word alone."""
    return _PHONE.sub(MARK, _IBAN.sub(MARK, _ADDRESS.sub(MARK, _cover(text, people))))


def mask_text(text: str, people: Iterable[str] = ()) -> Masked:
    """Cover what is personal in a message's text: headers, a body, a document; with the names of these persons."""
    names: set[str] = set()

    def covers(name: str) -> bool:
        if not _is_personal(name):
            return False
        names.add(_plain(name))
        return True

    def json(match: re.Match[str]) -> str:
        name, gap = match[1], match[2]
        quote = '"' if match.re is _JSON else '\\"'
        return f"{quote}{name}{quote}{gap}{quote}{MARK}{quote}" if covers(name) else match[0]

    def several(match: re.Match[str]) -> str:
        return f'"{match[1]}"{match[2]}["{MARK}"]' if covers(match[1]) else match[0]

    def party(match: re.Match[str]) -> str:
        names.add("name")
        return f'{match[1]}"{MARK}"'

    def form(match: re.Match[str]) -> str:
        return f"{match[1]}={MARK}" if covers(match[1].replace("%5B", "[").replace("%5D", "]")) else match[0]

    def xml(match: re.Match[str]) -> str:
        tag = match[1].rpartition(":")[2]
        return f"<{match[1]}{match[2] or ''}>{MARK}</" if covers(tag) else match[0]

    def shape(name: str, _: re.Match[str]) -> str:
        names.add(name)
        return MARK

    text = _LIST.sub(several, _PARTY.sub(party, text))
    text = _NESTED.sub(json, _JSON.sub(json, text))
    text = _XML.sub(xml, _FORM.sub(form, text))
    text = _ADDRESS.sub(functools.partial(shape, "mail address"), text)
    text = _IBAN.sub(functools.partial(shape, "iban"), text)
    if (bare := _cover(text, people)) != text:
        text = bare
        names.add("name of a person")
    return Masked(text, tuple(sorted(names)))


def mask_values(value: Any, name: str = "") -> Any:
    """The same for what was read already: a copy of nested JSON with what is personal in it covered. `name` is what the
    value is called; what a list holds goes by the list's name."""
    if isinstance(value, Mapping):
        is_party = _plain(name) in _PARTIES
        return {
            key: MARK if is_party and key == "name" and item else mask_values(item, str(key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [mask_values(item, name) for item in value]
    if value in (None, "") or isinstance(value, bool):
        return value
    if _is_personal(name):
        return MARK
    return mask_text(value).text if isinstance(value, str) else value


def _cover(text: str, people: Iterable[str]) -> str:
    """Without these persons' names: whole in any case, the last word where it begins as a name does."""
    for name in sorted(people, key=len, reverse=True):
        parts = name.split()
        whole = r"\s+".join(re.escape(part) for part in parts)
        text = re.sub(rf"(?<!\w){whole}(?!\w)", MARK, text, flags=re.IGNORECASE)
        if len(parts) > 1 and len(parts[-1]) > 3:
            text = re.sub(rf"(?<!\w){re.escape(parts[-1].capitalize())}(?!\w)", MARK, text)
    return text


@functools.lru_cache(maxsize=4096)  # vendors' field names come again and again
def _is_personal(name: str) -> bool:
    plain = _plain(name)
    return plain in _WHOLE or plain.endswith(_ENDS)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", re.split(r"[\[.]", name.lower().rstrip("]"))[-1])
