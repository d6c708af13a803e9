"""How Salesforce's outbound messages are let in: SOAP without a signature, proved by a secret in the address.

The organisation's id must fit as well, and the session id that Salesforce sends along is stripped before anything is
stored. Pure.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from connectors.families import Polled
from connectors.salesforce.ids import full_id
from connectors.signatures import Refused, check_secret

NOTIFICATIONS = "{http://soap.sforce.com/2005/09/outbound}"
_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
MESSAGE_KEY = "om:{id}"  # of a notification; what is polled has keys without an id of a message
ACK = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>'
    '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>'
    "</soapenv:Body></soapenv:Envelope>"
)


def verify(
    body: bytes,
    headers: Mapping[str, str],
    query: Mapping[str, str],
    secrets: Mapping[str, str],
    settings: Mapping[str, Any],
    now: dt.datetime,
) -> None:
    """Raises signatures.Refused unless the address carries our secret (`query["path_secret"]`) and the organisation is
    ours."""
    ours = [secrets[n] for n in ("webhook_path_secret", "webhook_path_secret_previous") if secrets.get(n)]
    if not query.get("path_secret"):
        raise Refused("missing", "the address carries no secret")
    check_secret(query["path_secret"], ours)
    try:
        organization = full_id(_text(_notifications(body), "OrganizationId"))
        expected = full_id(str(settings.get("organization_id") or ""))
    except ValueError as error:
        raise Refused("malformed", str(error)) from error
    if organization != expected:
        raise Refused("organization", "the message is of another organisation")


def split(body: bytes, headers: Mapping[str, str]) -> list[Polled]:
    """One event per notification of the message. Raises ValueError for what isn't an outbound message."""
    message = _notifications(body)
    organization = _text(message, "OrganizationId")
    return [_polled(n, organization) for n in message.findall(f"{NOTIFICATIONS}Notification")]


def read_record(body: bytes) -> tuple[str, dict[str, str]]:
    """Type and fields of the record of a stored notification. Raises ValueError for what isn't one."""
    notification = _notifications(body).find(f"{NOTIFICATIONS}Notification")
    if notification is None:
        raise ValueError("the message has no notification")
    return _record(notification)


def _record(notification: Element) -> tuple[str, dict[str, str]]:
    record = notification.find(f"{NOTIFICATIONS}sObject")
    if record is None:
        raise ValueError("a notification has no sObject")
    kind = record.get(_TYPE, "").rpartition(":")[2]
    if not kind:
        raise ValueError("a notification's sObject has no type")
    return kind, {field.tag.rpartition("}")[2]: field.text or "" for field in record}


def _polled(notification: Element, organization: str) -> Polled:
    kind, fields = _record(notification)
    return Polled(
        event_type=kind,
        source_id=full_id(fields.get("Id", "")),
        dedupe_key=MESSAGE_KEY.format(id=_text(notification, "Id")),
        body=_stored(notification, organization),
    )


def _stored(notification: Element, organization: str) -> bytes:
    """The notification by itself, in an envelope of the vendor's names and without the session id."""
    message = Element(f"{NOTIFICATIONS}notifications")
    SubElement(message, f"{NOTIFICATIONS}OrganizationId").text = organization
    message.append(notification)
    return tostring(message, encoding="utf-8")


def _notifications(body: bytes) -> Element:
    try:
        root = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, LookupError) as error:
        raise ValueError("the body isn't XML that we read") from error
    message = next(root.iter(f"{NOTIFICATIONS}notifications"), None)
    if message is None:
        raise ValueError("the body isn't an outbound message")
    return message


def _text(parent: Element, name: str) -> str:
    return (parent.findtext(f"{NOTIFICATIONS}{name}") or "").strip()
