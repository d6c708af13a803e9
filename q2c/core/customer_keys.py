"""Keys per customer under which raw bodies and exchanges are sealed; destroying one erases what it sealed (N24)."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import DatabaseError, connection
from django.db.transaction import atomic, on_commit
from django.utils import timezone

from q2c.core import vault
from q2c.core.models import CustomerKey

KEPT_MAX = 50_000
KEPT_SECONDS = 60  # so that a key which was destroyed elsewhere is soon forgotten by every process
HELD = "QH001"  # how the database says that a legal hold stands
# An id that several customers have (and rightly so) says of none of them that they were erased.
_OF_ONE = """(SELECT count(DISTINCT coalesce(nullif(g.merged_into, ''), x.record_key)) < 2
    FROM public.mappings_crossreference x JOIN public.connectors_connection n ON n.id = x.connection_id
    LEFT JOIN public.records_goldenrecord g ON g.record_type = 'customer' AND g.record_key = x.record_key
   WHERE x.record_type = 'customer' AND n.code = {code} AND x.external_id = {id})"""
_SPLIT = "split_part(own, ':', 1) AS code, substr(own, strpos(own, ':') + 1) AS id"
# The ids of a customer that have no key yet.
_KEYLESS = f"""
    SELECT o.code, o.id FROM (SELECT {_SPLIT} FROM unnest(public.q2c_customer_ids(%s)) own) o
     WHERE length(o.code) BETWEEN 1 AND 40 AND length(o.id) BETWEEN 1 AND 120
       AND {_OF_ONE.format(code="o.code", id="o.id")}
       AND NOT EXISTS (SELECT FROM public.core_customerkey k WHERE k.connection_code = o.code AND k.customer_id = o.id)
     ORDER BY o.code, o.id
"""
# Of these ids, those of a customer who was erased by another id.
_ERASED = f"""
    SELECT w.code, w.id FROM unnest(%s::text[], %s::text[]) w(code, id)
     WHERE (SELECT EXISTS (SELECT FROM public.core_erasure e WHERE e.state = 'done')) AND EXISTS (
        SELECT FROM (SELECT {_SPLIT} FROM unnest(public.q2c_customer_ids(w.code || ':' || w.id)) own) o
          JOIN public.core_customerkey k ON k.connection_code = o.code AND k.customer_id = o.id
         WHERE k.destroyed_at IS NOT NULL AND {_OF_ONE.format(code="o.code", id="o.id")})
       AND {_OF_ONE.format(code="w.code", id="w.id")}
"""
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
    """The key ids of customers (connection code, customer id there), made where there's none; a few statements.

    A destroyed key stays destroyed: its id is given, and `key_bytes` has nothing for it. So has it for an id that comes
    first after its customer was erased by another id, however the two were linked since.
    """
    wanted = set(customers)
    missing = sorted(wanted - _ids.keys())
    if not missing:
        return {c: _ids[c] for c in wanted}
    found = _find_ids(missing)
    fresh = [m for m in missing if m not in found]
    if fresh:
        _make_keys(fresh, destroyed=_erased_of(fresh))
        found |= _find_ids(fresh)  # another worker may have been first
    on_commit(lambda: _remember(found))  # a key of a transaction that is rolled back doesn't exist
    return {c: found.get(c) or _ids[c] for c in wanted}


def _make_keys(customers: Collection[tuple[str, str]], *, destroyed: Collection[tuple[str, str]]) -> None:
    """Make them where there's none; the `destroyed` ones from the beginning."""
    now, rows = timezone.now(), []
    for code, customer in customers:
        is_erased = (code, customer) in destroyed
        sealed = None if is_erased else vault.seal_with_master(vault.new_key())
        at = now if is_erased else None
        rows.append(CustomerKey(connection_code=code, customer_id=customer, sealed_key=sealed, destroyed_at=at))
    CustomerKey.objects.bulk_create(rows, ignore_conflicts=True)


def _erased_of(customers: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(_ERASED, [[code for code, _ in customers], [customer for _, customer in customers]])
        return set(cursor.fetchall())


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
    with _told_in_words():
        CustomerKey.objects.filter(id=key_id).update(sealed_key=None, destroyed_at=timezone.now())
    _keys.pop(key_id, None)


def bar_keyless_ids(customer: str) -> list[tuple[str, str]]:
    """Keep every id of a customer (connection:id) that has no key from ever getting one. Raises ErasureRefused as
    `destroy_key`. Before the keys that exist are asked for: one that comes meanwhile is then among them."""
    with _told_in_words(), connection.cursor() as cursor:
        cursor.execute(_KEYLESS, [customer])
        found = cursor.fetchall()
        for code, own in found:
            cursor.execute("SELECT public.q2c_refuse_erasure(%s, %s)", [code, own])
        _make_keys(found, destroyed=found)
    return found


@contextmanager
def _told_in_words() -> Iterator[None]:
    try:
        with atomic():
            yield
    except DatabaseError as error:
        if getattr(error.__cause__, "sqlstate", "") != HELD:
            raise
        said = str(error.__cause__).splitlines()[0]
        raise ErasureRefused(f"{said[:1].upper()}{said[1:]}.") from error


def forget_keys() -> None:
    """Drop what is kept in memory (between tests, and where a key was destroyed elsewhere)."""
    _ids.clear()
    _keys.clear()


def _make_room(kept: dict) -> None:
    if len(kept) > KEPT_MAX:
        kept.clear()
