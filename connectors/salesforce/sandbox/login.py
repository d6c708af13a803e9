"""Signing in: client credentials and JWT bearer at the token endpoint, and the sessions that come of them."""

import base64
import binascii
import hmac
import secrets
import string
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.salesforce.sandbox.ids import make_id
from connectors.sandbox.clock import Clock
from connectors.sandbox.request import Answer, Request
from connectors.sandbox.store import Store

SESSION_SECONDS = 2 * 3600  # extended by use
EXTEND_AFTER_SECONDS = 300
LONGEST_ASSERTION_SECONDS = 300
LEEWAY_SECONDS = 15
LOGIN_HOSTS = ("login.salesforce.com", "test.salesforce.com")
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SESSIONS = "Session"


def load_identity(store: Store) -> dict[str, str]:
    """The org's id, user and connected app, made once: what the control door shows and more."""
    identity = store.setting("identity")
    if identity is None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        letters = string.ascii_letters + string.digits
        domain = f"q2c-{secrets.token_hex(3)}"
        identity = {
            "client_id": "3MVG9" + "".join(secrets.choice(letters) for _ in range(80)),
            "client_secret": secrets.token_hex(32).upper(),
            "username": f"integration@{domain}.example",
            "private_key": pem,
            "organization_id": make_id("00D", secrets.randbelow(62**7) + 62**6),
            "user_id": make_id("005", 1),
            "domain": domain,
        }
        store.keep_setting("identity", identity)
    return identity


class Login:
    """The token endpoint of one org."""

    def __init__(self, store: Store, clock: Clock, base_url: str):
        self.store = store
        self.clock = clock
        self.base_url = base_url
        self.identity = load_identity(store)
        key = serialization.load_pem_private_key(self.identity["private_key"].encode(), None)
        self.public_key: Any = key.public_key()

    @property
    def audiences(self) -> list[str]:
        """What a JWT may be made out to: Salesforce's own hosts, the org's domain, or this sandbox."""
        hosts = [*LOGIN_HOSTS, f"{self.identity['domain']}.my.salesforce.com"]
        return [*(f"https://{host}" for host in hosts), self.base_url, self.base_url.replace("http:", "https:")]

    def answer_token(self, request: Request) -> Answer:
        """POST /services/oauth2/token."""
        kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/x-www-form-urlencoded":
            return _no("invalid_request", "the body must be form encoded")
        form = request.form()
        grant = form.get("grant_type")
        if grant == "client_credentials":
            return self.check_client(request, form)
        if grant == JWT_BEARER:
            return self.check_assertion(str(form.get("assertion", "")))
        return _no("unsupported_grant_type", "grant type not supported")

    def check_client(self, request: Request, form: dict) -> Answer:
        """Client credentials, by Basic authentication or in the form."""
        if request.host.partition(":")[0].lower() in LOGIN_HOSTS:
            return _no("invalid_grant", "request not supported on this domain")
        given = (str(form.get("client_id", "")), str(form.get("client_secret", "")))
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                name, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                return _no("invalid_client", "invalid client credentials")
            given = (name, secret)
        if not hmac.compare_digest(given[0].encode(), self.identity["client_id"].encode()):
            return _no("invalid_client_id", "client identifier invalid")
        if not hmac.compare_digest(given[1].encode(), self.identity["client_secret"].encode()):
            return _no("invalid_client", "invalid client credentials")
        return self.grant()

    def check_assertion(self, assertion: str) -> Answer:
        """JWT bearer: RS256 over iss, sub, aud and exp. The time is the real one, whatever the sandbox's clock says."""
        try:
            claims = jwt.decode(
                assertion,
                self.public_key,
                algorithms=["RS256"],
                options={
                    "verify_aud": False,
                    "verify_exp": False,
                    "verify_iat": False,
                    "require": ["iss", "sub", "aud", "exp"],
                },
            )
            expires = int(claims["exp"])
        except (jwt.PyJWTError, ValueError, TypeError):
            return _no("invalid_grant", "invalid assertion")
        if claims["iss"] != self.identity["client_id"]:
            return _no("invalid_client_id", "client identifier invalid")
        if claims["sub"] != self.identity["username"]:
            return _no("invalid_grant", "user hasn't approved this consumer")
        named = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if not {str(each).rstrip("/") for each in named} & set(self.audiences):
            return _no("invalid_grant", "audience is invalid")
        left = expires - time.time()
        if left < -LEEWAY_SECONDS:
            return _no("invalid_grant", "expired authorization code")
        if left > LONGEST_ASSERTION_SECONDS + LEEWAY_SECONDS:
            return _no("invalid_grant", "assertion expires too far in the future")
        return self.grant()

    def grant(self) -> Answer:
        """A new session, as the token endpoint answers."""
        token = self.open_session()
        issued = str(int(self.clock.time() * 1000))
        identity = f"{self.base_url}/id/{self.identity['organization_id']}/{self.identity['user_id']}"
        signed = hmac.digest(self.identity["client_secret"].encode(), (identity + issued).encode(), "sha256")
        body = {
            "access_token": token,
            "signature": base64.b64encode(signed).decode(),
            "scope": "api",
            "instance_url": self.base_url,
            "id": identity,
            "token_type": "Bearer",
            "issued_at": issued,
        }
        return Answer(200, body, {"Cache-Control": "no-store"})

    def open_session(self) -> str:
        """A session id."""
        token = f"{self.identity['organization_id'][:15]}!AQ{secrets.token_urlsafe(48).replace('-', '.')}"
        self.store.put(SESSIONS, token, {"id": token, "until": self.clock.time() + SESSION_SECONDS})
        return token

    def knows(self, token: str) -> bool:
        """Whether a session is open; using it extends it."""
        session = self.store.get(SESSIONS, token)
        now = self.clock.time()
        if session is None:
            return False
        if session["until"] < now:
            self.store.delete(SESSIONS, token)
            return False
        if session["until"] < now + SESSION_SECONDS - EXTEND_AFTER_SECONDS:
            self.store.put(SESSIONS, token, {"id": token, "until": now + SESSION_SECONDS})
        return True

    def revoke(self, token: str) -> bool:
        """End one session."""
        return self.store.delete(SESSIONS, token)

    def end_sessions(self) -> None:
        """End all sessions."""
        for session in self.store.find(SESSIONS):
            self.store.delete(SESSIONS, session["id"])


def _no(code: str, description: str) -> Answer:
    return Answer(400, {"error": code, "error_description": description}, {"Cache-Control": "no-store"})
