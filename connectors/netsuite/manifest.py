"""NetSuite, in facts. Sources and dates stand in the README beside this file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from connectors.auth import FetchedToken, OAuth1, Token, assertion, fetch_token
from connectors.errors import VendorError, oauth_error
from connectors.families import Family
from connectors.fields import without_zeros
from connectors.http import Auth, Line, Telephone
from connectors.manifest import GOVERNED, Limits, Manifest, Repeats, Secret, Setting, Undo, When
from connectors.netsuite.records import TYPES
from q2c.core.problems import Category, Problem

TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"
_TBA = ("consumer_key", "consumer_secret", "token_id", "token_secret")
_OAUTH2 = ("client_id", "certificate_id", "private_key")


def auth(line: Line) -> Auth:
    """OAuth 2.0 client credentials where a certificate is given (from 2027.1 the only kind for new integrations), else
    token-based authentication. Raises Problem `credentials_refused`."""
    has = {n for n, v in line.secrets.items() if v}
    if has.issuperset(_OAUTH2) and line.settings.get("auth", "oauth2") != "tba":
        return FetchedToken([line.code, *(line.secrets[n] for n in _OAUTH2)], _fetch_token)
    if has.issuperset(_TBA):
        return OAuth1(realm=line.settings["account"], **{n: line.secrets[n] for n in _TBA})
    raise Problem(
        "credentials_refused",
        Category.AUTHENTICATION,
        f"{line.name} needs either {', '.join(_OAUTH2)} or {', '.join(_TBA)}",
        connection=line.code,
    )


async def _fetch_token(telephone: Telephone) -> Token:
    line = telephone.line
    url = telephone.base_url + TOKEN_PATH
    claims = {"iss": line.secrets["client_id"], "scope": ["rest_webservices"], "aud": url}
    key = line.secrets["private_key"]
    signed = assertion(
        key=key,
        algorithm="ES256" if "EC PRIVATE KEY" in key else line.settings.get("jwt_algorithm") or "PS256",
        key_id=line.secrets["certificate_id"],
        claims=claims,
        lasts_seconds=300,
    )
    form = (
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", signed),
    )
    return await fetch_token(telephone, url, form)


def read_errors(status: int, headers: Mapping[str, str], body: bytes) -> list[VendorError]:
    """The `o:errorDetails` of REST, or the `error` of the token endpoint. Raises ValueError for another shape."""
    answer: Any = msgspec.json.decode(body)
    if "o:errorDetails" not in answer:
        return [oauth_error(answer)]
    return [
        VendorError(
            str(e.get("o:errorCode") or ""),
            str(e.get("detail") or "").removeprefix("Error while accessing a resource. "),
            str(e.get("o:errorPath") or ""),
        )
        for e in answer["o:errorDetails"]
    ]


_MAPPED = "item|account|subsidiary|currency|entity|customer|terms?|department|class|location|taxcode|tax code|arAcct"
ERRORS = (
    When(Category.AUTHENTICATION, "credentials_refused", "NetSuite refused our credentials ({code})", status=401),
    When(Category.RATE_LIMIT, "rate_limited", "NetSuite's limit of requests is used up", status=429),
    When(Category.RATE_LIMIT, "rate_limited", "NetSuite's limit of requests is used up",
         code="CONCURRENCY_LIMIT_EXCEEDED"),
    When(Category.RATE_LIMIT, "rate_limited", "NetSuite's limit of requests is used up",
         code="SSS_REQUEST_LIMIT_EXCEEDED"),
    When(Category.AUTHENTICATION, "vendor_permission", "NetSuite's role may not do this: {detail}",
         code="INSUFFICIENT_PERMISSION"),
    When(Category.AUTHENTICATION, "vendor_permission", "NetSuite's role may not do this: {detail}", status=403,
         code="?*"),
    When(Category.AUTHENTICATION, "credentials_refused", "NetSuite doesn't let us in, and gives no reason",
         status=403),
    When(Category.AUTHENTICATION, "vendor_permission", "NetSuite's role may not do this: {detail}",
         status=400, detail=r"role does not have permission|permission violation"),
    When(Category.PERIOD_CLOSED, "period_closed", "NetSuite refused the period: {detail}", status=400,
         detail=r"within the date range of your accounting period|period.{0,60}(closed|locked)"
                r"|(closed|locked).{0,60}period"),
    When(Category.PERIOD_CLOSED, "period_closed", "NetSuite refused the period: {detail}", code="TRAN_P*_CLOSED"),
    When(Category.PERIOD_CLOSED, "period_closed", "NetSuite has no such period: {detail}", code="UNDEFINED_ACCTNG_PRD"),
    When(Category.CONFLICT, "document_exists", "NetSuite has it already: {detail}", status=400, is_existing=True,
         detail=r"(entity|record) already exists|already (exists|in use|used).{0,40}external|external.{0,40}already"),
    When(Category.CONFLICT, "document_exists", "NetSuite has it already: {detail}", code="DUP_*", is_existing=True),
    When(Category.CONFLICT, "document_exists", "NetSuite has it already: {detail}", code="UNIQUE_CUST_ID_REQD",
         is_existing=True),
    When(Category.UNKNOWN_OUTCOME, "outcome_unknown", "NetSuite is doing this request already",
         code="IDEMPOTENCY_ERROR"),
    When(Category.CONFLICT, "conflict", "The record is locked by a workflow in NetSuite: {detail}",
         detail=r"locked by a user defined workflow"),
    When(Category.CONFLICT, "conflict", "The record is locked by a workflow in NetSuite",
         code="RCRD_LOCKED_BY_WF"),
    # Saved while ours was worked on, perhaps by our own earlier attempt: we look, and change what is there then.
    When(Category.CONFLICT, "record_busy", "The record was changed in NetSuite in the same moment",
         code="RCRD_HAS_BEEN_CHANGED", is_passing=True),
    When(Category.CONFLICT, "record_busy", "The record was changed in NetSuite in the same moment",
         detail=r"^record has been changed", is_passing=True),
    When(Category.MAPPING, "vendor_reference_refused", "NetSuite doesn't know what we named in {field}: {detail}",
         status=(400, 404),
         code="NONEXISTENT_ID", detail=r"referenced by"),
    When(Category.MAPPING, "vendor_reference_refused", "NetSuite doesn't know what we named in {field}: {detail}",
         status=400, code="NONEXISTENT_ID"),
    When(Category.VALIDATION, "record_gone", "NetSuite has no such record", status=404, code="NONEXISTENT_ID",
         is_absent=True),
    When(Category.MAPPING, "vendor_reference_refused", "NetSuite refused a reference of ours: {detail}", status=400,
         detail=rf"Invalid Field Value (?P<key>.*) for the following field: ({_MAPPED})\b"),
    When(Category.MAPPING, "vendor_reference_refused", "NetSuite refused a reference of ours: {detail}", status=400,
         detail=r"Invalid .* reference key|for subsidiary \S+|not (valid|available) for.{0,40}subsidiary"),
    When(Category.VALIDATION, "out_of_balance", "NetSuite says the entry doesn't balance", code="TRANS_UNBALNCD"),
    When(Category.VALIDATION, "out_of_balance", "NetSuite says the entry doesn't balance", detail=r"out of balance"),
    When(Category.VALIDATION, "vendor_refused", "NetSuite refused: {detail}", status=400),
    When(Category.VALIDATION, "vendor_refused", "NetSuite refused the request ({status}): {detail}", status=(405,
         422)),
    When(Category.AVAILABILITY, "system_unavailable", "NetSuite isn't available ({status})", status=(500, 599)),
)  # fmt: skip

MANIFEST = Manifest(
    code="netsuite",
    name="NetSuite",
    families=(Family.ERP,),
    settings=(
        Setting("account", "Account id, such as 1234567_SB1"),
        Setting("app_url", "Address of the user interface", is_required=False),
        Setting("auth", "oauth2 or tba", default="oauth2", is_required=False),
        Setting("jwt_algorithm", "PS256, PS384, PS512, ES256, ES384 or ES512", default="PS256", is_required=False),
        *GOVERNED,
        Secret("client_id", is_required=False),
        Secret("certificate_id", is_required=False),
        Secret("private_key", is_required=False),
        Secret("consumer_key", is_required=False),
        Secret("consumer_secret", is_required=False),
        Secret("token_id", is_required=False),
        Secret("token_secret", is_required=False),
    ),
    limits=Limits(at_once=5, timeout_seconds=60.0, is_by_address=True),
    repeats=Repeats(refuses_existing=True, reads_own_writes=True, settles_after_seconds=120.0),
    errors=ERRORS,
    auth=auth,
    read_errors=read_errors,
    undo={"ar_invoice": Undo.CREDIT, "ar_credit_memo": Undo.CHARGE, "journal": Undo.OPPOSITE},
    record_url="{app_url}/app/accounting/transactions/transaction.nl?id={id}",
    record_pages={kind: f"{{app_url}}{record.page}" for kind, record in TYPES.items()},
    spell_id=without_zeros,
)
