"""Outbound messages: SOAP notifications, up to a hundred in one message, sent until the receiver says Ack true.

A workflow rule fires when an opportunity becomes won, an order activated, and when an account is made or changed. A
message carries the records as they are when it's sent, not when the rule fired.
"""

from xml.sax.saxutils import escape, quoteattr

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from connectors.salesforce.sandbox.ids import make_id
from connectors.salesforce.sandbox.login import Login
from connectors.salesforce.sandbox.schema import Schema
from connectors.sandbox.clock import Clock
from connectors.sandbox.outside import Delivery, Outside
from connectors.sandbox.store import Store

OUTBOUND = "http://soap.sforce.com/2005/09/outbound"
RULES = "OutboundMessageRule"
MESSAGES = "OutboundMessage"
MOST_NOTIFICATIONS = 100
FIRST_PAUSE = 5.0
LONGEST_PAUSE = 2 * 3600.0
GIVEN_UP_AFTER = 24 * 3600.0
DEFAULT_FIELDS = {
    "Opportunity": [
        "Name",
        "AccountId",
        "StageName",
        "Amount",
        "CloseDate",
        "CurrencyIsoCode",
        "IsWon",
        "SystemModstamp",
    ],
    "Order": ["OrderNumber", "AccountId", "OpportunityId", "StatusCode", "EffectiveDate", "SystemModstamp"],
    "Account": ["Name", "ParentId", "BillingCountry", "CurrencyIsoCode", "SystemModstamp"],
}


class Messages:
    """The rules and messages of one org."""

    def __init__(self, store: Store, clock: Clock, base_url: str, outside: Outside, login: Login):
        self.store = store
        self.clock = clock
        self.base_url = base_url
        self.outside = outside
        self.login = login
        self.schema: Schema

    def add_rules(self, given: dict) -> dict:
        """Remember an address for some objects. The same address and object is one rule. Raises ValueError."""
        url = given.get("url")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise ValueError("url is missing")
        chosen = given.get("objects") or list(DEFAULT_FIELDS)
        fields = given.get("fields") or {}
        for name in chosen:
            target = self.schema.find(str(name))
            if target is None:
                raise ValueError(f"no object {name}")
            columns = list(fields.get(name) or DEFAULT_FIELDS.get(name) or ["SystemModstamp"])
            unknown = [column for column in columns if column not in target.fields]
            if unknown:
                raise ValueError(f"{name} has no {', '.join(unknown)}")
            rule = f"{target.name} {url}"
            self.store.put(
                RULES,
                rule,
                {"id": rule, "object": target.name, "url": url, "fields": columns},
                keys={"object": target.name},
            )
        return {"url": url, "objects": chosen, "organization_id": self.login.identity["organization_id"]}

    def note_change(self, kind: str, before: dict | None, after: dict) -> None:
        """Fire the rules of an object whose record was made or changed."""
        if after["IsDeleted"] or not _fires(kind, before, after):
            return
        for rule in self.store.find(RULES, object=kind):
            self.add_notification(rule, kind, after["Id"])

    def add_notification(self, rule: dict, kind: str, record_id: str) -> None:
        """One more notification in the message that is being collected, or in a new one."""
        notification = {"id": make_id("04l", self.store.next_number("id:04l")), "record": record_id}
        collecting = self.store.find(MESSAGES, limit=1, newest_first=True, collecting=rule["id"])
        if collecting and len(collecting[0]["notifications"]) < MOST_NOTIFICATIONS:
            message = collecting[0]
            message["notifications"].append(notification)
            self._put(message)
            return
        message = {
            "id": make_id("04m", self.store.next_number("id:04m")),
            "rule": rule["id"],
            "object": kind,
            "collecting": True,
            "notifications": [notification],
        }
        self._put(message)
        self.outside.send(message["id"], rule["id"], name=kind, url=rule["url"], text=lambda: record_id)

    def _put(self, message: dict) -> None:
        self.store.put(
            MESSAGES, message["id"], message, keys={"collecting": message["rule"] if message["collecting"] else None}
        )

    def prepare(self, delivery: Delivery) -> tuple[str, bytes, dict[str, str]] | None:
        """The message as it goes out now; None when its rule or itself is gone."""
        message = self.store.get(MESSAGES, delivery.subject)
        rule = self.store.get(RULES, delivery.endpoint)
        if message is None or rule is None:
            return None
        if message["collecting"]:
            message["collecting"] = False
            self._put(message)
        body = self.render(message, rule)
        return rule["url"], body, {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}

    def render(self, message: dict, rule: dict) -> bytes:
        """The SOAP envelope."""
        org = self.login.identity["organization_id"]
        parts = [
            '<?xml version="1.0" encoding="UTF-8"?>',
            '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
            ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">',
            f" <soapenv:Body>\n  <notifications xmlns={quoteattr(OUTBOUND)}>",
            f"   <OrganizationId>{org}</OrganizationId>",
            f"   <ActionId>{make_id('04k', sum(rule['id'].encode()))}</ActionId>",
            f"   <SessionId>{escape(self.session_id())}</SessionId>",
            f"   <EnterpriseUrl>{self.base_url}/services/Soap/c/68.0/{org[:15]}</EnterpriseUrl>",
            f"   <PartnerUrl>{self.base_url}/services/Soap/u/68.0/{org[:15]}</PartnerUrl>",
        ]
        for notification in message["notifications"]:
            record = self.store.get(message["object"], notification["record"]) or {}
            values = [f"     <sf:Id>{notification['record']}</sf:Id>"]
            for name in rule["fields"]:
                if record.get(name) is not None:
                    values.append(f"     <sf:{name}>{escape(_as_text(record[name]))}</sf:{name}>")
            parts += [
                f"   <Notification>\n    <Id>{notification['id']}</Id>",
                f'    <sObject xsi:type="sf:{message["object"]}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">',
                *values,
                "    </sObject>\n   </Notification>",
            ]
        parts.append("  </notifications>\n </soapenv:Body>\n</soapenv:Envelope>")
        return "\n".join(parts).encode()

    def session_id(self) -> str:
        """A real session of the running user, as Salesforce sends when told to; no receiver may keep it."""
        token = self.store.setting("message_session")
        if token is None or not self.login.knows(token):
            token = self.login.open_session()
            self.store.keep_setting("message_session", token)
        return token

    def is_acknowledged(self, status: int, body: bytes) -> bool:
        """Whether the answer is 200 with notificationsResponse/Ack true."""
        if status != 200:
            return False
        try:
            root = fromstring(body)
        except (ParseError, DefusedXmlException, ValueError):
            return False
        ack = root.find(f".//{{{OUTBOUND}}}notificationsResponse/{{{OUTBOUND}}}Ack")
        return ack is not None and (ack.text or "").strip().lower() in {"true", "1"}

    def retry_after(self, attempt: int) -> float | None:
        """Seconds until the next attempt after so many failed ones: doubling, at most two hours, for a day."""
        pauses = [min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**count) for count in range(min(attempt, 64))]
        return pauses[-1] if sum(pauses) <= GIVEN_UP_AFTER else None

    def forget_old(self) -> None:
        """Drop messages that nobody waits for any more."""
        for message in self.store.find(MESSAGES, limit=200):
            if not message["collecting"] and not self.outside.open_deliveries(message["id"]):
                self.store.delete(MESSAGES, message["id"])


def _fires(kind: str, before: dict | None, after: dict) -> bool:
    if kind == "Opportunity":
        return after["IsWon"] and not (before or {}).get("IsWon")
    if kind == "Order":
        return after["StatusCode"] == "Activated" and (before or {}).get("StatusCode") != "Activated"
    return True


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    return text.replace("+0000", "Z") if text.endswith("+0000") else text
