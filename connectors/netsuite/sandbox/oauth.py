"""Who is calling: OAuth 1.0a token-based authentication and OAuth 2.0 client credentials with a certificate.

Source: NetSuite help, sections 1534941088 (signature), 162755359851 and 162790605110 (client credentials). Signatures
and assertions are verified for real, against real time: moving the sandboxes' clock doesn't make a client's clock
wrong.
"""

import base64
import hashlib
import hmac
import re
import secrets
import time
from typing import Any
from urllib.parse import quote, unquote

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from connectors.netsuite.sandbox.errors import build_error
from connectors.sandbox.request import Answer, Request

WINDOW_SECONDS = 300
TOKEN_SECONDS = 3600
PARAMETER = re.compile(r'\s*([A-Za-z_0-9]+)="([^"]*)"\s*(?:,|$)')
ALGORITHMS = ["PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
INVALID_LOGIN = (
    "Invalid login attempt. For more details, see the Login Audit Trail in the NetSuite UI at Setup > Users/Roles > "
    "User Management > View Login Audit Trail."
)
TOKEN_PATH = "/services/rest/auth/oauth2/v1/token"


def make_credentials(account: str) -> dict[str, str]:
    """Everything a client needs for either way in; `private_key` is an RSA key (PS256) in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return {
        "account": account,
        "consumer_key": secrets.token_hex(32),
        "consumer_secret": secrets.token_hex(32),
        "token_id": secrets.token_hex(32),
        "token_secret": secrets.token_hex(32),
        "client_id": secrets.token_hex(32),
        "certificate_id": secrets.token_urlsafe(32),
        "private_key": key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode(),
    }


def encode(value: str) -> str:
    """RFC 3986 percent-encoding as OAuth 1.0a wants it (a space is %20)."""
    return quote(value, safe="-._~")


def sign(method: str, url: str, pairs: list[tuple[str, str]], consumer_secret: str, token_secret: str) -> str:
    """The HMAC-SHA256 signature over method, URL without query, and all pairs but the signature and the realm."""
    joined = "&".join(f"{key}={value}" for key, value in sorted((encode(k), encode(v)) for k, v in pairs))
    base = f"{method.upper()}&{encode(url)}&{encode(joined)}"
    key = f"{encode(consumer_secret)}&{encode(token_secret)}"
    return base64.b64encode(hmac.digest(key.encode(), base.encode(), "sha256")).decode()


def parse_header(header: str) -> dict[str, str] | None:
    """The parameters of an `OAuth` authorization header, decoded; None when it can't be read or names one twice."""
    found: dict[str, str] = {}
    text = header.partition(" ")[2]
    position = 0
    while position < len(text):
        match = PARAMETER.match(text, position)
        if match is None or match.group(1) in found:
            return None
        found[match.group(1)] = unquote(match.group(2))
        position = match.end()
    return found


class Doorkeeper:
    """Verifies what a request says about who sends it."""

    def __init__(self, credentials: dict[str, str], base_url: str):
        self.credentials = credentials
        self.base_url = base_url
        self.account = credentials["account"]
        self.host = f"{self.account.lower().replace('_', '-')}.suitetalk.api.netsuite.com"
        private = serialization.load_pem_private_key(credentials["private_key"].encode(), None)
        self.public_key: Any = private.public_key()
        self.nonces: dict[str, float] = {}
        self.next_sweep = 0.0
        self.token_key = hashlib.sha256(credentials["consumer_secret"].encode()).digest()

    def check(self, request: Request, now: float, tokens_from: float) -> Answer | None:
        """None when the request is signed or carries a token that counts; else 401. `now` is the sandbox's time."""
        header = request.headers.get("Authorization", "")
        scheme = header.partition(" ")[0].lower()
        if scheme == "oauth":
            problem = self._find_problem(request, header)
            return None if problem is None else self.refuse(problem)
        if scheme == "bearer":
            return self._check_token(header.partition(" ")[2].strip(), now, tokens_from)
        return self.refuse(None)

    def refuse(self, problem: str | None) -> Answer:
        """401 as NetSuite answers it; the OAuth problem stands in WWW-Authenticate."""
        challenge = f'OAuth realm="{self.account}"' + (f', error="{problem}"' if problem else "")
        return build_error(401, "INVALID_LOGIN", INVALID_LOGIN, headers={"WWW-Authenticate": challenge})

    def _find_problem(self, request: Request, header: str) -> str | None:
        given = parse_header(header)
        if given is None:
            return "parameter_rejected"
        known = self.credentials
        realm, signature = given.pop("realm", None), given.pop("oauth_signature", None)
        if realm != self.account:
            return "permission_denied"
        if given.get("oauth_consumer_key") != known["consumer_key"]:
            return "consumer_key_unknown"
        if given.get("oauth_token") != known["token_id"]:
            return "token_rejected"
        if given.get("oauth_signature_method") != "HMAC-SHA256":
            return "signature_method_rejected"
        if given.get("oauth_version", "1.0") != "1.0" or not signature:
            return "version_rejected" if signature else "parameter_absent"
        stamp, nonce = given.get("oauth_timestamp", ""), given.get("oauth_nonce", "")
        now = time.time()
        if not stamp.isdigit() or abs(now - int(stamp)) > WINDOW_SECONDS:
            return "timestamp_refused"
        body_hash = given.get("oauth_body_hash")
        if body_hash is not None and body_hash not in hash_body(request.body):
            return "signature_invalid"
        if not self._signature_fits(request, list(given.items()), signature):
            return "signature_invalid"
        return None if nonce and self._spend(nonce, now) else "nonce_used"

    def _signature_fits(self, request: Request, pairs: list[tuple[str, str]], signature: str) -> bool:
        pairs += request.query_list
        known = self.credentials
        path = quote(request.path, safe="/:!@$&'()*+,;=-._~")
        roots = [self.base_url, f"https://{self.host}"]
        if request.host == self.host:
            roots.reverse()
        urls = [root + path for root in roots] + [root + quote(request.path, safe="/-._~") for root in roots]
        return any(
            hmac.compare_digest(
                signature, sign(request.method, url, pairs, known["consumer_secret"], known["token_secret"])
            )
            for url in dict.fromkeys(urls)
        )

    def _spend(self, nonce: str, now: float) -> bool:
        if now >= self.next_sweep:
            self.nonces = {each: until for each, until in self.nonces.items() if until > now}
            self.next_sweep = now + 60
        if nonce in self.nonces:
            return False
        self.nonces[nonce] = now + 2 * WINDOW_SECONDS
        return True

    def _check_token(self, token: str, now: float, tokens_from: float) -> Answer | None:
        try:
            claims = jwt.decode(token, self.token_key, algorithms=["HS256"], options={"verify_exp": False})
        except jwt.PyJWTError:
            claims = None
        if claims is not None and claims["given"] > tokens_from and claims["given"] <= now + 1 < claims["until"]:
            return None
        challenge = f'Bearer realm="{self.account}", error="invalid_token", error_description="Invalid login attempt."'
        return build_error(401, "INVALID_LOGIN", INVALID_LOGIN, headers={"WWW-Authenticate": challenge})

    def give_token(self, request: Request, now: float) -> Answer:
        """The token endpoint: an access token for a good assertion, else 400 as OAuth 2.0 words it."""
        form = request.form()
        if form.get("grant_type") != "client_credentials":
            return Answer(400, {"error": "unsupported_grant_type"})
        if form.get("client_assertion_type") != ASSERTION_TYPE or not isinstance(form.get("client_assertion"), str):
            return Answer(400, {"error": "invalid_request"})
        problem = self._find_assertion_problem(form["client_assertion"])
        if problem is not None:
            return Answer(400, {"error": problem})
        claims = {"given": now, "until": now + TOKEN_SECONDS, "jti": secrets.token_hex(8)}
        token = jwt.encode(claims, self.token_key, algorithm="HS256")
        return Answer(200, {"access_token": token, "expires_in": str(TOKEN_SECONDS), "token_type": "Bearer"})

    def _find_assertion_problem(self, assertion: str) -> str | None:
        try:
            header = jwt.get_unverified_header(assertion)
            if header.get("kid") != self.credentials["certificate_id"] or header.get("alg") not in ALGORITHMS:
                return "invalid_grant"
            claims: dict[str, Any] = jwt.decode(
                assertion,
                self.public_key,
                algorithms=ALGORITHMS,
                audience=[self.base_url + TOKEN_PATH, f"https://{self.host}{TOKEN_PATH}"],
                options={"require": ["iss", "aud", "iat", "exp", "scope"]},
                leeway=30,
            )
        except (jwt.PyJWTError, TypeError, ValueError):
            return "invalid_grant"
        scopes = claims["scope"] if isinstance(claims["scope"], list) else str(claims["scope"]).split(",")
        if claims["iss"] != self.credentials["client_id"]:
            return "invalid_client"
        if "rest_webservices" not in [str(each).strip() for each in scopes]:
            return "invalid_scope"
        return "invalid_grant" if claims["exp"] - claims["iat"] > TOKEN_SECONDS else None


def hash_body(body: bytes) -> tuple[str, ...]:
    """What `oauth_body_hash` may hold: SHA-1 as its draft says, or SHA-256."""
    return tuple(base64.b64encode(hashlib.new(name, body).digest()).decode() for name in ("sha1", "sha256"))
