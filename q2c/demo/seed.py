"""The demo's portal: people, entities, connections to the sandboxes, opening rules, schedules. Safe to run again.

Credentials come from the sandboxes' control door; item and account ids from the ERP's own lists, read over its API.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.db.transaction import atomic
from oauth2_provider.models import get_application_model

from connectors import registry
from connectors.families import Family
from connectors.models import Connection, ConnectionHealth, ReferenceEntry, RoleAssignment
from connectors.sandbox.remote import ControlDoor
from exceptions import cases
from mappings.approvals import propose_change_set, sign_change_set
from mappings.drafts import Line, save_draft
from mappings.models import MappingRule
from q2c import ports
from q2c.core.models import LegalEntity, Membership, Person, Subsidiary
from q2c.core.people import ZONE
from q2c.demo.taxes import list_tax_rules, make_tax_rates
from q2c.flows.reference import refresh_reference
from q2c.flows.schedules import add_missing_schedules, add_schedule
from q2c.inbox.models import ApiClient
from q2c.processes import write_private

# The seven legal entities of the Revenue Cloud data (Apache-2.0), with the time zone that each country's books live in.
ENTITIES = (
    ("GB01", "Quantumbit UK Ltd", "GB", "GBP", "Europe/London"),
    ("US01", "Quantumbit Inc.", "US", "USD", "America/Los_Angeles"),
    ("JP01", "Quantumbit KK", "JP", "JPY", "Asia/Tokyo"),
    ("DE01", "Quantumbit GmbH", "DE", "EUR", "Europe/Berlin"),
    ("CA01", "Quantumbit Canada Inc.", "CA", "CAD", "America/Toronto"),
    ("AU01", "Quantumbit Pty Ltd", "AU", "AUD", "Australia/Sydney"),
    ("CH01", "Quantumbit AG", "CH", "CHF", "Europe/Zurich"),
)
PEOPLE = (
    ("sales_ops", "Ana Ruiz", "sales_ops", "America/Los_Angeles"),
    ("billing_ops", "Ben Okafor", "billing_ops", "Europe/London"),
    ("mapping_admin", "Mira Tanaka", "mapping_admin", "Asia/Tokyo"),
    ("controller", "Cora Lindqvist", "controller", "Europe/Berlin"),
    ("platform", "Dev Raman", "platform", "Europe/London"),
    ("auditor", "Ola Brandt", "auditor", "Europe/Zurich"),
)
ON_CALL = "platform"  # who may approve in an emergency besides


@dataclass(frozen=True)
class System:
    """One of the systems that the portal begins with: the code of its connection, and whose it is."""

    code: str
    vendor: str


STRIPE = System("stripe", "stripe")
# One system each for all entities; from when on another takes documents is a rule (`target_system`).
SYSTEMS = {
    Family.CRM: System("salesforce", "salesforce"),
    Family.BILLING: STRIPE,
    Family.PAYMENTS: STRIPE,
    Family.ERP: System("netsuite", "netsuite"),
}
SANDBOX_SETTINGS = {"salesforce": {"legal_entity_field": "Legal_Entity__c", "term_months": "12"}}
FROM_THE_START = dt.date(2010, 1, 1)
ECB_FILE_ENDS = dt.date(2026, 4, 13)
MANUAL_RATE_DAYS = 90  # for how long the opening's manual rates were approved
# Retail goods carry numeric stock codes; carriage has its own items. Whatever else the file sells is left to people.
OWN_ITEMS = {"ROUNDING": "#rounding", "WRITE-OFF": "#write_off", "DIFFERENCE": "#difference"}  # nobody sells them
RETAIL_ITEMS = {
    **{f"{digit}*": "RETAIL-GOODS" for digit in "123456789"},
    "POST": "RETAIL-POST",
    "DOT": "RETAIL-DOT",
    "C2": "RETAIL-C2",
}


def seed(home: Path, systems: Mapping[Family, System] = SYSTEMS) -> dict[str, Any]:
    """Make what is missing. Returns what demo.json tells: people, API client, webhooks."""
    passwords = _passwords(home)
    people = _people(passwords)
    entities = _entities()
    door = ControlDoor(settings.SANDBOX_PORT)
    vendors = door.call("GET", "vendors")
    players = _connections(systems, vendors, home)
    connections = {row.code: row for row in players.values()}
    erp = players[Family.ERP]
    _roles(players)
    add_missing_schedules()
    _schedules(connections, erp)
    is_new = not MappingRule.objects.exists()
    if is_new:
        refresh_reference(erp.code, ("subsidiaries",))
        _books(entities, erp)
    refresh_reference(erp.code)
    if is_new:
        _opening_rules(people, erp, players[Family.PAYMENTS], make_tax_rates(door))
    webhooks = point_webhooks(connections, door)
    return {
        "people": [
            {"username": name, "password": passwords[name], "role": role, "entities": [e[0] for e in ENTITIES]}
            for name, _title, role, _zone in PEOPLE
        ],
        "api": [_api_client(passwords)],
        "token_url": "/o/token/",
        "webhooks": webhooks,
    }


def _passwords(home: Path) -> dict[str, str]:
    """Passwords made once per demo and kept beside its data (mode 0600)."""
    path = home / "people.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in (*(p[0] for p in PEOPLE), "api") if name not in kept]
    if missing:  # else it stays as it is: a kill while it's written anew must not cost the passwords
        kept |= {name: secrets.token_urlsafe(12) for name in missing}
        write_private(path, json.dumps(kept))
    return kept


def _people(passwords: dict[str, str]) -> dict[str, Person]:
    found = {}
    for username, title, role, zone in PEOPLE:
        made_with = {
            "display_name": title,
            "password": lambda name=username: make_password(passwords[name]),  # half a second of CPU, once
            "preferences": {ZONE: zone},
        }
        person, is_new = Person.objects.get_or_create(username=username, defaults=made_with)
        if not is_new and not person.check_password(passwords[username]):
            person.set_password(passwords[username])
            person.save()
        _give(person, role)
        found[username] = person
    _give(found[ON_CALL], "emergency")
    return found


def _give(person: Person, role: str) -> None:
    """What the demo begins with, once: what people agreed on since stays."""
    if not Membership.objects.filter(person=person, role=role).exists():
        Membership.objects.create(person=person, role=role, why="The demo’s beginning")


def _entities() -> dict[str, LegalEntity]:
    found = {}
    for code, name, country, currency, zone in ENTITIES:
        found[code], _ = LegalEntity.objects.get_or_create(
            code=code, defaults={"name": name, "country": country, "currency": currency, "time_zone": zone}
        )
    ports.forget_kept()
    return found


def _connections(systems: Mapping[Family, System], vendors: dict[str, Any], home: Path) -> dict[Family, Connection]:
    found = {}
    for system in dict.fromkeys(systems.values()):
        vendor, facts = system.vendor, vendors[system.vendor]
        made_with = {"name": registry.manifest(vendor).name, "vendor": vendor, "base_url": facts["url"]}
        row, is_new = Connection.objects.get_or_create(code=system.code, defaults={**made_with, "is_sandbox": True})
        given = {k: v for k, v in facts["credentials"].items() if v}
        plain, secret = _split(vendor, given, home)
        wanted = {**row.settings, **plain, **SANDBOX_SETTINGS.get(vendor, {}), "settles_after_seconds": "2"}
        wanted["app_url"] = f"http://127.0.0.1:{settings.SANDBOX_PORT}/_control/{vendor}/screen"
        if is_new or row.base_url != facts["url"] or row.settings != wanted:
            row.base_url, row.settings = facts["url"], wanted
            row._change_reason = "The demo's sandbox"
            row.save()
        if is_new or registry.secrets_of(row) != secret:
            registry.store_secrets(row, secret)
        ConnectionHealth.objects.get_or_create(connection=row)
        found[system] = row
    ports.forget_kept()
    return {family: found[system] for family, system in systems.items()}


def _split(code: str, given: dict[str, str], home: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The manifest says which of the sandbox's credentials are secrets and which are plain settings."""
    secret_names = {s.name for s in registry.manifest(code).settings if type(s).__name__ == "Secret"}
    if "webhook_path_secret" in secret_names:
        given = {**given, "webhook_path_secret": _path_secret(home, code)}
    known = {s.name for s in registry.manifest(code).settings}
    plain = {k: str(v) for k, v in given.items() if k in known - secret_names}
    return plain, {k: str(v) for k, v in given.items() if k in secret_names}


def _path_secret(home: Path, code: str) -> str:
    path = home / f"webhook-{code}.key"
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24))
    return path.read_text().strip()


def _roles(players: dict[Family, Connection]) -> None:
    for family, row in players.items():
        RoleAssignment.objects.get_or_create(family=family.value, legal_entity=None, defaults={"connection": row})
    ports.forget_kept()


def _books(entities: dict[str, LegalEntity], erp: Connection) -> None:
    """Each entity's book: the ERP's subsidiary of its country."""
    by_country = {
        r.attributes.get("country"): r for r in ReferenceEntry.objects.filter(connection=erp, list_name="subsidiaries")
    }
    for code, entity in entities.items():
        row = by_country.get(entity.country)
        if row is None:
            raise LookupError(f"the ERP has no subsidiary in {entity.country} for {code}")
        Subsidiary.objects.get_or_create(
            legal_entity=entity, connection=erp, defaults={"external_id": row.external_id, "name": row.name}
        )
    ports.forget_kept()


def _opening_rules(people: dict[str, Person], erp: Connection, gateway: Connection, tax_rates: dict[str, str]) -> None:
    """The rules with which the company goes live: proposed by one person, approved by others, like any others."""
    lines = [
        Line(
            kind=row["kind"], key=row["key"], value=row["value"], label=row.get("label", ""),
            connection=row.get("connection", ""), legal_entity=row.get("entity", ""), currency=row.get("currency", ""),
            effective_from=row.get("on", FROM_THE_START), effective_to=row.get("until"),
        )
        for row in _rule_rows(erp, gateway, tax_rates)
    ]  # fmt: skip
    maker, checkers = people["billing_ops"], (people["mapping_admin"], people["controller"])
    with atomic():
        change_set = save_draft("Opening rules", "What the company goes live with", lines=lines, by=maker)
        propose_change_set(change_set, by=maker)
        for checker in checkers:  # where money goes, two people sign
            sign_change_set(change_set, by=checker, approve=True, alarm=cases.open_case)


def _rule_rows(erp: Connection, gateway: Connection, tax_rates: dict[str, str]) -> list[dict[str, Any]]:
    lists: dict[str, list[ReferenceEntry]] = {}
    for entry in ReferenceEntry.objects.filter(connection=erp, is_active=True):
        lists.setdefault(entry.list_name, []).append(entry)
    items = {i.code: i for i in lists["items"]}
    accounts = {a.code: a for a in lists["accounts"]}
    rows: list[dict[str, Any]] = []
    for code, item in sorted(items.items()):
        if code not in {*RETAIL_ITEMS.values(), *OWN_ITEMS}:
            rows.append({"kind": "item", "key": code, "value": item.external_id, "label": item.name})
    for key, code in RETAIL_ITEMS.items():
        if code in items:
            rows.append(
                {
                    "kind": "item",
                    "key": key,
                    "value": items[code].external_id,
                    "label": items[code].name,
                    "entity": "GB01",
                }
            )
    for code, key in OWN_ITEMS.items():
        if code in items:
            rows.append({"kind": "item", "key": key, "value": items[code].external_id, "label": items[code].name})
    for role, name in _account_roles(accounts).items():
        rows.append({"kind": "account", "key": role, "value": accounts[name].external_id, "label": accounts[name].name})
    clearing = {a.name: a for a in accounts.values()}
    for entry in lists["currencies"]:  # one per gateway account and currency, explained to zero each by itself
        account = clearing[f"{registry.manifest(gateway.vendor).name} Clearing {entry.code}"]
        row = {
            "key": f"clearing:{gateway.code}",
            "value": account.external_id,
            "label": account.name,
            "currency": entry.code,
        }
        rows.append({"kind": "account", **row})
    bank = accounts["1010"]
    rows.append({"kind": "gateway_bank", "key": gateway.code, "value": bank.external_id, "label": bank.name})
    for entry in lists["currencies"]:
        rows.append({"kind": "currency", "key": entry.code, "value": entry.external_id, "label": entry.name})
    for code, _name, country, currency, _zone in ENTITIES:
        book = Subsidiary.objects.get(legal_entity__code=code, connection=erp)
        rows.append({"kind": "subsidiary", "key": code, "value": book.external_id, "label": book.name})
        rows.append({"kind": "selling_entity", "key": currency, "value": code})
        rows.append({"kind": "selling_entity", "key": country, "value": code})
    rows.append({"kind": "billing_product", "key": "*", "value": "create", "label": "Made in billing on first sale"})
    rows += list_tax_rules(lists["tax_codes"], tax_rates)
    rows += _policy_rows()
    rows += _rate_rows(erp)
    return rows


def _account_roles(accounts: dict[str, ReferenceEntry]) -> dict[str, str]:
    """Roles by the account numbers of the Revenue Cloud chart; the gateway's other accounts are found by their
    names."""
    named = {a.name.lower(): code for code, a in accounts.items()}

    def first(*words: str) -> str:
        return next((code for name, code in sorted(named.items()) if all(w in name for w in words)), "")

    wanted = {
        "receivables": "1100",
        "receivables_control": "1105",
        "accrued_revenue": "1110",
        "tax": "2400",
        "bank": "1010",
        "fees": first("fee") or "5700",
        "disputes": first("dispute") or "8100",
        "reserves": first("reserve") or "1060",
        "rounding": first("rounding") or "8200",
    }
    return {role: code for role, code in wanted.items() if code in accounts}


def _policy_rows() -> list[dict[str, Any]]:
    rows = []
    for code, *_rest in ENTITIES:
        fields = {"detail": "line", "revenue_owner": "erp", "subledger_owner": "erp", "posting_date": "document",
                  "window": "always", "rounding_limit": "5", "zero_amount": "post",
                  "missing_service_dates": "document"}  # fmt: skip
        if code == "US01":
            fields["approval_over"] = "250000"
        rows += [{"kind": "posting_policy", "key": k, "value": v, "entity": code} for k, v in fields.items()]
    return rows


def _rate_rows(erp: Connection) -> list[dict[str, Any]]:
    """The controller's manual rates up to a day: the ERP's last known rate goes on after the file ends, and KWD, which
    ECB lacks."""
    until = dt.datetime.now(dt.UTC).date() + dt.timedelta(days=MANUAL_RATE_DAYS)
    rows = []
    for entry in ReferenceEntry.objects.filter(connection=erp, list_name="rates"):
        rate = Decimal(entry.attributes["rate"])
        on = dt.date.fromisoformat(entry.attributes["date"]) + dt.timedelta(days=1)
        rows.append({"key": entry.external_id, "value": f"{rate.normalize():f}", "on": on})
    openings = {"GBP": "2.4300", "USD": "3.2550", "EUR": "2.8200", "JPY": "503", "CAD": "4.5100", "AUD": "4.9600",
                "CHF": "2.6200"}  # fmt: skip
    for currency, opening in openings.items():
        if not any(r["key"] == f"KWD/{currency}" for r in rows):
            rows.append({"key": f"KWD/{currency}", "value": opening, "on": FROM_THE_START})
    return [{"kind": "manual_rate", "until": until, **row} for row in rows]


def _schedules(connections: dict[str, Connection], erp: Connection) -> None:
    """Schedules that an admin edits; run again, only missing ones are made."""
    for code, row in connections.items():
        for stream in registry.streams_of(row.vendor):
            add_schedule(
                f"Ask {row.name} what changed: {stream}", "q2c.flows.tasks.poll", 20, queue="doors", args=[code, stream]
            )
    add_schedule(f"Read {erp.name}'s lists again", "q2c.flows.tasks.refresh_lists", 600, queue="doors", args=[erp.code])


def point_webhooks(connections: dict[str, Connection], door: ControlDoor) -> dict[str, str]:
    """Point the sandboxes at the portal's doors, as an admin of the vendor would: with the secret that the vendor
    itself gave, whichever it signed with before."""
    urls = {}
    for code, row in connections.items():
        if registry.manifest(row.vendor).webhook is None:
            continue
        url = f"{settings.BASE_URL}/webhooks/{code}/"
        secret = registry.secrets_of(row).get("webhook_path_secret")
        if secret:
            url += f"{secret}/"
        door.call("POST", f"{row.vendor}/webhooks", {"url": url})
        urls[code] = url
    return urls


def _api_client(passwords: dict[str, str]) -> dict[str, Any]:
    application = get_application_model()
    scopes = list(settings.OAUTH2_PROVIDER["SCOPES"])
    upstream, _ = application.objects.update_or_create(
        client_id="demo-upstream",
        defaults={
            "name": "Demo upstream caller",
            "client_secret": passwords["api"],
            "client_type": "confidential",
            "authorization_grant_type": "client-credentials",
        },
    )
    ApiClient.objects.update_or_create(
        application=upstream, defaults={"scopes": scopes, "is_for_all_entities": True, "legal_entities": []}
    )
    return {"client_id": "demo-upstream", "client_secret": passwords["api"], "scopes": scopes}
