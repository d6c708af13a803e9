"""Sealing: only the right key opens, and nothing that was changed."""

from __future__ import annotations

import pytest

from q2c.core import vault


def test_what_is_sealed_opens_with_its_key_and_looks_different_every_time():
    key = vault.new_key()
    first, second = vault.seal(b"secret", key), vault.seal(b"secret", key)
    assert vault.open_sealed(first, key) == vault.open_sealed(second, key) == b"secret"
    assert first != second
    assert b"secret" not in first


def test_another_key_does_not_open_it():
    with pytest.raises(vault.Unsealable, match="another key"):
        vault.open_sealed(vault.seal(b"secret", vault.new_key()), vault.new_key())


@pytest.mark.parametrize("place", [0, 3, 6, -1])
def test_changed_bytes_do_not_open(place):
    key = vault.new_key()
    sealed = bytearray(vault.seal(b"secret", key))
    sealed[place] ^= 1
    with pytest.raises(vault.Unsealable):
        vault.open_sealed(bytes(sealed), key)


def test_a_rotated_master_key_opens_old_values_and_seals_new_ones(settings):
    old, new = vault.new_key(), vault.new_key()
    settings.VAULT_KEYS = [old]
    before = vault.seal_with_master(b"secret")
    settings.VAULT_KEYS = [new, old]
    assert vault.open_with_master(before) == b"secret"
    after = vault.seal_with_master(b"secret")
    settings.VAULT_KEYS = [new]
    assert vault.open_with_master(after) == b"secret"
    with pytest.raises(vault.Unsealable, match="Q2C_VAULT_KEYS"):
        vault.open_with_master(before)
