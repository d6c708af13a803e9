"""Keys per customer under which raw bodies and exchanges are sealed; destroying one erases what it sealed (N24)."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from uuid import UUID

from django.db import DatabaseError
from django.db.transaction import atomic, on_commit
from django.utils import timezone

from q2c.core import vault
from q2c.core.models import CustomerKey

KEPT_MAX = 50_000
KEPT_SECONDS = 60  # so that a key which was destroyed elsewhere is soon forgotten by every process
HELD = "QH001"  # how the database says that a legal hold stands
_ids: dict[tuple[str, str], UUID] = {}
_keys: dict[UUID, bytes] = {}
_kept_since = 0.0


class ErasureRefused(ValueError):
    """Why a customer isn't erased, in words for the screen."""


def owner_of(connection_code: str, customer_id: str) -> tuple[str, str]:
    """Whose key it is: a customer is named by its id in the message's own system, or by the record key of another."""
    if customer_id.count(":") == 2:
        connection_code, _, customer_id = customer_id.split(":")
    return connection_code, customer_id


def ensure_keys(customers: Iterable[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """The key ids of customers (connection code, customer id there), made where there's none; two statements at most.

    A destroyed key stays destroyed: its id is given, and `key_bytes` has nothing for it.
    """
    wanted = set(customers)
    missing = sorted(wanted - _ids.keys())
    if not missing:
        return {c: _ids[c] for c in wanted}
    found = _find_ids(missing)
    fresh = [m for m in missing if m not in found]
    if fresh:
        CustomerKey.objects.bulk_create(
            [
                CustomerKey(
                    connection_code=code, customer_id=customer, sealed_key=vault.seal_with_master(vault.new_key())
                )
                for code, customer in fresh
            ],
            ignore_conflicts=True,
        )
        found |= _find_ids(fresh)  # another worker may have been first
    on_commit(lambda: _remember(found))  # a key of a transaction that is rolled back doesn't exist
    return {c: found.get(c) or _ids[c] for c in wanted}


def _remember(found: dict[tuple[str, str], UUID]) -> None:
    _make_room(_ids)
    _ids.update(found)


def _find_ids(customers: list[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    rows = CustomerKey.objects.filter(
        connection_code__in={c for c, _ in customers}, customer_id__in={i for _, i in customers}
    ).values_list("connection_code", "customer_id", "id")
    return {(code, customer): key_id for code, customer, key_id in rows}


def key_bytes(ids: Collection[UUID]) -> dict[UUID, bytes | None]:
    """The keys themselves by id; None for one that was destroyed."""
    global _kept_since
    if time.monotonic() - _kept_since > KEPT_SECONDS:
        _keys.clear()
        _kept_since = time.monotonic()
    missing = [i for i in ids if i not in _keys]
    if missing:
        _make_room(_keys)
        for key_id, sealed in CustomerKey.objects.filter(id__in=missing).values_list("id", "sealed_key"):
            if sealed is not None:
                _keys[key_id] = vault.open_with_master(bytes(sealed))
    return {i: _keys.get(i) for i in ids}


def destroy_key(key_id: UUID) -> None:
    """Erase a customer's key: what it sealed can't be read again, in no backup of ours that is younger. Raises
    ErasureRefused, by the database's word, while a legal hold covers something of the customer."""
    try:
        with atomic():
            CustomerKey.objects.filter(id=key_id).update(sealed_key=None, destroyed_at=timezone.now())
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", "") != HELD:
            raise
        said = str(error.__cause__).splitlines()[0]
        raise ErasureRefused(f"{said[:1].upper()}{said[1:]}.") from error
    _keys.pop(key_id, None)


def forget_keys() -> None:
    """Drop what is kept in memory (between tests, and where a key was destroyed elsewhere)."""
    _ids.clear()
    _keys.clear()


def _make_room(kept: dict) -> None:
    if len(kept) > KEPT_MAX:
        kept.clear()
