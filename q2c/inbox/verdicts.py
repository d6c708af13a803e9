"""Writing verdicts: one statement for a batch, which also moves each body's key under its customer's key."""

from __future__ import annotations

from q2c.core import vault
from q2c.core.customer_keys import ensure_keys, key_bytes, owner_of
from q2c.core.hotpath import fetch_rows
from q2c.inbox.items import Item
from q2c.inbox.receive import clean

_WRITE = """
UPDATE inbox_inboundkey k SET verdict = n.verdict, reason_code = n.code, reason = n.reason, decided_at = now(),
    body_key = coalesce(n.body_key, k.body_key), customer_key_id = coalesce(n.customer_key, k.customer_key_id),
    amount = n.amount, currency = n.currency, line_count = n.line_count, document_type = n.document_type,
    feed = n.feed, feed_type = n.feed_type, rounding = n.rounding, legal_entity_code = n.legal_entity
FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bytea[], %s::uuid[], %s::numeric[],
            %s::text[], %s::int4[], %s::text[], %s::text[], %s::text[], %s::numeric[], %s::text[])
    AS n (id, token, verdict, code, reason, body_key, customer_key, amount, currency, line_count, document_type,
          feed, feed_type, rounding, legal_entity)
WHERE k.id = n.id AND k.token = n.token AND k.verdict = 'received'
"""


def write_verdicts(items: list[Item]) -> None:
    """Store the verdicts of these items. A body whose customer is known is sealed under that customer's key."""
    owners = ensure_keys(
        owner_of(i.source.code, i.decided.customer_id)
        for i in items
        if i.decided.customer_id and not i.claimed.customer_key_id
    )
    keys = key_bytes(set(owners.values()))
    rows = []
    for item in items:
        verdict, claimed = item.decided, item.claimed
        owner = None if claimed.customer_key_id else owners.get(owner_of(item.source.code, verdict.customer_id))
        owner_key = keys.get(owner) or vault.new_key() if owner else None  # of an erased one nothing stays readable
        moved = vault.seal(item.event_key, owner_key) if owner_key is not None and item.event_key else None
        rows.append(
            (
                claimed.key_id, claimed.token, verdict.kind, verdict.code[:60], clean(verdict.reason, 2000),
                moved, owner if moved else None,
                verdict.amount, verdict.currency, verdict.line_count, verdict.document_type, verdict.feed[:40],
                verdict.feed_type[:20], verdict.rounding, verdict.legal_entity_code,
            )
        )  # fmt: skip
    if rows:
        fetch_rows(_WRITE, [list(column) for column in zip(*rows, strict=True)])
