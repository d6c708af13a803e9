"""Secret keys: from the environment, or made once and kept in Q2C_HOME (mode 0600).

Production refuses to start with a made-up key (`q2c.core.checks`), so a missing one is marked here, not invented there.
"""

import base64
import os
import secrets
from pathlib import Path

MADE_UP = "made-up:"


def secret_key(home: Path, env: str) -> str:
    """Django's secret key. Outside demo and test an unset key is marked as made up, which a system check refuses."""
    return os.environ.get("Q2C_SECRET_KEY") or MADE_UP + _kept(home, "secret.key", env)


def vault_keys(home: Path, env: str) -> list[bytes]:
    """The 32-byte master keys that seal credentials and customers' keys, newest first (`Q2C_VAULT_KEYS`, base64)."""
    given = os.environ.get("Q2C_VAULT_KEYS")
    texts = given.split(",") if given else [_kept(home, "vault.key", env)]
    keys = [base64.urlsafe_b64decode(t.strip()) for t in texts]
    if any(len(k) != 32 for k in keys):
        raise ValueError("Q2C_VAULT_KEYS: every key must be 32 bytes in URL-safe base64")
    return keys


def are_vault_keys_made_up() -> bool:
    """Whether nobody gave the vault's keys."""
    return not os.environ.get("Q2C_VAULT_KEYS")


def _kept(home: Path, name: str, env: str) -> str:
    path = home / name
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        pass
    fresh = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    if env not in ("demo",):
        return fresh  # nothing is written by a type check or a test
    home.mkdir(parents=True, exist_ok=True)
    draft = home / f".{name}.{os.getpid()}"
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as f:
        f.write(fresh)
    try:
        os.link(draft, path)  # whole or not at all, and the first one wins: several processes start at once
    except FileExistsError:
        pass
    draft.unlink()
    return path.read_text().strip()
