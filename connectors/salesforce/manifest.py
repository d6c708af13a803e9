"""Salesforce, in facts. Sources and dates stand in the README beside this file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.auth import FetchedToken, Token, assertion, basic, fetch_token
from connectors.errors import VendorError, oauth_error
from connectors.families import Family
from connectors.http import Auth, Line, Telephone
from connectors.manifest import GOVERNED, TELLS_HOLDS, Limits, Manifest, Repeats, Secret, Setting, WebhookDoor, When
from connectors.salesforce import door
from connectors.salesforce.events import EVENTS
from connectors.salesforce.ids import full_id
from connectors.salesforce.owner import customer_of
from q2c.core.problems import Category, Problem

TOKEN_PATH = "/services/oauth2/token"
_HIDDEN = re.compile(rb'"success"\s*:\s*false|"httpStatusCode"\s*:\s*[345]')
_SECONDARY = ("ALL_OR_NONE_OPERATION_ROLLED_BACK", "PROCESSING_HALTED")
_USAGE = re.compile(r"api-usage=(\d+)/(\d+)")  # also of per-app-api-usage


def auth(line: Line) -> Auth:
    """JWT bearer where a private key and user are given, else client credentials at My Domain.

    Raises Problem `credentials_refused`.
    """
    if line.secrets.get("private_key") and line.settings.get("username"):
        return FetchedToken([line.code, line.secrets["client_id"], line.secrets["private_key"]], _token_by_jwt)
    if line.secrets.get("client_secret"):
        return FetchedToken([line.code, line.secrets["client_id"], line.secrets["client_secret"]], _token_by_secret)
    raise Problem(
        "credentials_refused",
        Category.AUTHENTICATION,
        f"{line.name} needs a client secret, or a private key and a user name",
        connection=line.code,
    )


async def _token_by_secret(telephone: Telephone) -> Token:
    secrets = telephone.line.secrets
    headers = {"Authorization": basic(secrets["client_id"], secrets["client_secret"])}
    form = [("grant_type", "client_credentials")]
    return await fetch_token(telephone, telephone.base_url + TOKEN_PATH, form, headers=headers)


async def _token_by_jwt(telephone: Telephone) -> Token:
    line = telephone.line
    claims = {
        "iss": line.secrets["client_id"],
        "sub": line.settings["username"],
        "aud": line.settings.get("audience") or "https://login.salesforce.com",
    }
    signed = assertion(key=line.secrets["private_key"], algorithm="RS256", claims=claims)
    form = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", signed)]
    return await fetch_token(telephone, telephone.base_url + TOKEN_PATH, form)


def read_errors(status: int, headers: Mapping[str, str], body: bytes) -> list[VendorError]:
    """Salesforce's array of errors, also of the refused records or parts in an answer of 200 (Collections say
    `statusCode`). Raises ValueError for another shape."""
    answer: Any = msgspec.json.decode(body)
    if isinstance(answer, dict) and "compositeResponse" in answer:
        parts = [p for p in answer["compositeResponse"] if p["httpStatusCode"] >= 300]
        return _causes([_error(e, p["httpStatusCode"]) for p in parts for e in p["body"]])
    if isinstance(answer, dict) and answer.get("success") is not False:
        return [oauth_error(answer)]
    rows = [answer] if isinstance(answer, dict) else answer
    if not isinstance(rows, list):
        raise ValueError("neither an array nor an object")
    if rows and isinstance(rows[0], str):  # 300: several records have this external id
        return [VendorError("MULTIPLE_CHOICES", ", ".join(rows))]
    if rows and "success" in rows[0]:
        return _causes([_error(e, 400) for row in rows if not row["success"] for e in row["errors"]])
    return [_error(e, 0) for e in rows]


def _error(raw: Mapping[str, Any], status: int) -> VendorError:
    code = str(raw.get("errorCode") or raw["statusCode"])
    return VendorError(code, str(raw.get("message") or ""), ", ".join(raw.get("fields") or ()), status)


def _causes(errors: list[VendorError]) -> list[VendorError]:
    """Without those that only say that another one failed."""
    return [e for e in errors if e.code not in _SECONDARY] or errors


def hides_errors(body: bytes) -> bool:
    """Whether a record or part of an answer of 200 was refused."""
    return _HIDDEN.search(body) is not None


def read_quota(headers: Mapping[str, str]) -> tuple[int, int] | None:
    """Calls of the day, used and allowed, out of `Sforce-Limit-Info`: of the organisation or of our own app, whichever
    is nearer to its end."""
    told = [(int(used), int(allowed)) for used, allowed in _USAGE.findall(headers.get("Sforce-Limit-Info") or "")]
    return max(told, key=lambda limit: limit[0] / max(limit[1], 1), default=None)


_GONE = ("NOT_FOUND", "ENTITY_IS_DELETED")
_REFERENCE = ("INVALID_CROSS_REFERENCE_KEY", "MALFORMED_ID", "INVALID_ID_FIELD", "INACTIVE_OWNER_OR_USER")
_SCHEMA = ("INVALID_FIELD", "INVALID_FIELD_FOR_INSERT_UPDATE", "INVALID_TYPE")
_TWICE = ("DUPLICATE_VALUE", "DUPLICATE_EXTERNAL_ID")
_LIMITS = ("REQUEST_LIMIT_EXCEEDED", "TOO_MANY_APEX_REQUESTS", "LIMIT_EXCEEDED")
_AGAIN = ("INVALID_QUERY_LOCATOR", "QUERY_TIMEOUT", "EXCEEDED_ID_LIMIT", "SERVER_UNAVAILABLE")
ERRORS = (
    When(Category.AUTHENTICATION, "credentials_refused", "Salesforce refused our session ({code})", status=401),
    *(When(Category.RATE_LIMIT, "rate_limited", "Salesforce's limit of calls is used up ({detail})", code=c)
      for c in _LIMITS),
    When(Category.RATE_LIMIT, "rate_limited", "Salesforce's limit of calls is used up", status=429),
    When(Category.VALIDATION, "vendor_refused", "Salesforce's storage is full", code="STORAGE_LIMIT_EXCEEDED"),
    When(Category.AUTHENTICATION, "vendor_permission", "Salesforce's user may not do this: {detail}",
         code="INSUFFICIENT_ACCESS*"),
    When(Category.AUTHENTICATION, "credentials_refused", "Salesforce's API is switched off for us: {detail}",
         code="API_*"),
    When(Category.AUTHENTICATION, "vendor_permission", "Salesforce's user may not do this: {detail}", status=403,
         code="?*"),
    When(Category.AUTHENTICATION, "credentials_refused", "Salesforce doesn't let us in, and gives no reason",
         status=403),
    When(Category.CONFLICT, "duplicate_refused", "Several Salesforce records have this external id", status=300),
    When(Category.MAPPING, "schema_drift", "Salesforce lacks a field or object that we need: {detail}",
         code="NOT_FOUND", detail=r"external id field"),
    *(When(Category.VALIDATION, "record_gone", "Salesforce has no such record: {detail}", code=c, is_absent=True)
      for c in _GONE),
    *(When(Category.MAPPING, "vendor_reference_refused", "Salesforce refused what we named in {field}: {detail}",
         code=c)
      for c in _REFERENCE),
    *(When(Category.MAPPING, "schema_drift", "Salesforce lacks a field or object that we need: {detail}", code=c)
      for c in _SCHEMA),
    *(When(Category.CONFLICT, "document_exists", "Salesforce has it already: {detail}", code=c, is_existing=True)
      for c in _TWICE),
    When(Category.CONFLICT, "duplicate_refused", "Salesforce takes it for a duplicate: {detail}",
         code="DUPLICATES_DETECTED"),
    When(Category.CONFLICT, "record_busy", "The record is busy in Salesforce", code="UNABLE_TO_LOCK_ROW",
         is_passing=True),
    When(Category.CONFLICT, "conflict", "Somebody changed the record in Salesforce meanwhile", status=412),
    *(When(Category.AVAILABILITY, "system_unavailable", "Salesforce couldn't answer ({code})", code=c) for c in _AGAIN),
    When(Category.AVAILABILITY, "system_unavailable", "Salesforce isn't available ({status})", status=(500, 599)),
    When(Category.VALIDATION, "vendor_refused", "Salesforce refused {field}: {detail}", status=(400, 499)),
)  # fmt: skip

MANIFEST = Manifest(
    code="salesforce",
    name="Salesforce",
    families=(Family.CRM,),
    settings=(
        Setting("organization_id", "The organisation's id: outbound messages of others are refused"),
        Setting("app_url", "Address of the user interface", is_required=False),
        Setting("username", "User of the JWT bearer flow", is_required=False),
        Setting("audience", "Audience of the JWT", default="https://login.salesforce.com", is_required=False),
        Setting("currency", "Currency of an org without several", is_required=False),
        Setting("has_several_currencies", "yes or no", default="yes", is_required=False),
        Setting("has_cpq", "yes or no", default="yes", is_required=False),
        Setting("has_selling_models", "yes or no", default="yes", is_required=False),
        Setting("has_orders", "yes or no", default="yes", is_required=False),
        Setting("has_quotes", "yes or no", default="yes", is_required=False),
        TELLS_HOLDS,
        Setting(
            "legal_entity_field",
            "Field of account and opportunity with the seller",
            default="Legal_Entity__c",
            is_required=False,
        ),
        Setting(
            "order_key_field",
            "External id field of opportunities that keeps order numbers of other systems",
            is_required=False,
        ),
        Setting(
            "term_months",
            "Months of an order or quote that names no term; without this it's held (an opportunity has 12)",
            is_required=False,
        ),
        Setting("billing_frequency", "Of a line that names none", default="annual", is_required=False),
        *GOVERNED,
        Secret("client_id"),
        Secret("client_secret", is_required=False),
        Secret("private_key", is_required=False),
        Secret("webhook_path_secret", is_required=False),
        Secret("webhook_path_secret_previous", is_required=False),
    ),
    limits=Limits(at_once=8, timeout_seconds=60.0),
    repeats=Repeats(reads_own_writes=True, settles_after_seconds=60.0),
    errors=ERRORS,
    events=EVENTS,
    webhook=WebhookDoor(verify=door.verify, acknowledge=(200, "text/xml; charset=utf-8", door.ACK), split=door.split),
    read_errors=read_errors,
    hides_errors=hides_errors,
    read_quota=read_quota,
    customer_of=customer_of,
    notes_on=("Opportunity", "Order"),
    auth=auth,
    record_url="{app_url}/{id}",
    raw_fields={
        "number": ("OrderNumber", "Name"),
        "customer": ("Account.Name", "AccountId"),
        "currency": ("CurrencyIsoCode",),
        "total": ("Amount", "TotalAmount"),
        "document_date": ("CloseDate", "EffectiveDate"),
        "start_date": ("EffectiveDate", "CloseDate"),
        "po_number": ("PoNumber",),
    },
    spell_id=full_id,
    message_key=door.MESSAGE_KEY,
)
