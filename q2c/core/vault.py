"""Sealing of bytes: AES-256-GCM under the master key or a customer's key. Used for credentials, raw bodies and
exchanges.

A sealed value begins with one byte of version and four of key id, so a rotated master key still opens old values.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

_VERSION = b"\x01"


class Unsealable(Exception):
    """The key of this value is gone (an erased customer, a lost master key) or the bytes were changed."""


def new_key() -> bytes:
    """A fresh 32-byte key."""
    return AESGCM.generate_key(bit_length=256)


def seal(plain: bytes, key: bytes) -> bytes:
    """The plain bytes sealed under a 32-byte key."""
    nonce = os.urandom(12)
    return _VERSION + _key_id(key) + nonce + _cipher(key).encrypt(nonce, plain, None)


def open_sealed(sealed: bytes, key: bytes) -> bytes:
    """The plain bytes. Raises Unsealable for another key or changed bytes."""
    sealed = bytes(sealed)
    if sealed[:1] != _VERSION or sealed[1:5] != _key_id(key):
        raise Unsealable("sealed under another key")
    try:
        return _cipher(key).decrypt(sealed[5:17], sealed[17:], None)
    except Exception as error:
        raise Unsealable("the sealed bytes were changed") from error


def seal_with_master(plain: bytes) -> bytes:
    """Sealed under the newest master key."""
    return seal(plain, settings.VAULT_KEYS[0])


def mark(plain: bytes) -> str:
    """A keyed digest of these bytes, to know them by. It may be shown: nobody can try guesses without the key."""
    return _mark(plain, settings.VAULT_KEYS[0])


def is_marked(plain: bytes, marked: str) -> bool:
    """Whether the mark was made of these bytes, under any master key that we have."""
    return any(hmac.compare_digest(_mark(plain, key), marked) for key in settings.VAULT_KEYS)


def _mark(plain: bytes, key: bytes) -> str:
    return hmac.new(hmac.new(key, b"mark", hashlib.sha256).digest(), plain, hashlib.sha256).hexdigest()


def newest_key_id() -> bytes:
    """How everything that the newest master key seals begins, after the byte of version."""
    return _key_id(settings.VAULT_KEYS[0])


def open_with_master(sealed: bytes) -> bytes:
    """Opened with whichever master key sealed it. Raises Unsealable when that key is no longer given."""
    sealed = bytes(sealed)
    for key in settings.VAULT_KEYS:
        if sealed[1:5] == _key_id(key):
            return open_sealed(sealed, key)
    raise Unsealable("the master key of this value isn't in Q2C_VAULT_KEYS")


@functools.lru_cache(maxsize=4096)
def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:4]


@functools.lru_cache(maxsize=4096)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(key)
