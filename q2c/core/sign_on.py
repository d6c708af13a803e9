"""The company's identity provider (OpenID Connect), as the environment names it, and how a new way in is called. Pure:
settings read it.

One provider, and only from here: whoever may name another one signs in as anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

_NEW_WAYS = {  # by `Person.sign_in_changed`, which the database sets
    "password": "a new password",
    "second factor": "a new or changed second factor",
    "single sign-on": "a new or changed single sign-on account",
}
PROVIDER_ID = "company"  # in the callback address: /accounts/oidc/company/login/callback/


def providers(env: Mapping[str, str]) -> dict[str, Any]:
    """allauth's SOCIALACCOUNT_PROVIDERS; empty without `Q2C_OIDC_URL`. Raises ValueError for one that isn't https."""
    url = env.get("Q2C_OIDC_URL", "")
    if not url:
        return {}
    if not url.startswith("https://"):
        raise ValueError("Q2C_OIDC_URL isn't an https address")
    app = {
        "provider_id": PROVIDER_ID,
        "name": env.get("Q2C_OIDC_NAME", "") or "your company’s account",
        "client_id": env.get("Q2C_OIDC_CLIENT_ID", ""),
        "secret": env.get("Q2C_OIDC_CLIENT_SECRET", ""),
        "settings": {"server_url": url, "verified_email": _listed(env, "Q2C_OIDC_DOMAINS")},
    }
    return {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": [app]}}


def origins(env: Mapping[str, str]) -> list[str]:
    """Where a form may lead to besides the portal itself: the provider, and what it sends people on to."""
    url = env.get("Q2C_OIDC_URL", "")
    parts = urlsplit(url)
    return [f"{parts.scheme}://{parts.netloc}", *_listed(env, "Q2C_OIDC_ORIGINS")] if url else []


def new_way(changed: str) -> str:
    """What of somebody's signing in changed last: "a new password"."""
    return _NEW_WAYS.get(changed, _NEW_WAYS["password"])


def _listed(env: Mapping[str, str], name: str) -> list[str]:
    return [part.strip() for part in env.get(name, "").split(",") if part.strip()]
