"""Control totals: what was declared, received, billed, posted, held and ignored, and whether it agrees to the cent.

A source is a feed (its declaration is the file, unrounded) or a billing connection (its declaration is what billing
has told of). Amounts are in the register's sign: credits and refunds are negative.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from connectors.models import Connection
from q2c import ports
from q2c.core.hotpath import fetch_rows
from q2c.core.problems import Problem
from q2c.inbox.refetch import run_waiting
from q2c.reconciliation.documents import CAME_BACK_SQL, SIGNED_SQL
from q2c.reconciliation.feeds import declared_totals
from q2c.reconciliation.linked import LINKED_SQL, count_linked
from q2c.reconciliation.models import FeedDocument
from q2c.transactions.contributions import PORTAL

MEASURES = ("declared", "received", "billed", "posted", "held", "ignored", "in_flight")
TYPES = {
    "invoice_to_erp": "invoice", "credit_memo_to_erp": "credit_memo",
    "payment_to_erp": "payment", "refund_to_erp": "refund",
}  # fmt: skip
FLOWS = list(TYPES)
KINDS = ["invoice", "credit_memo", "payment", "refund"]
NEGATIVE = ("credit_memo_to_erp", "refund_to_erp")
NOTHING = (0, Decimal(0))
_ERP_TYPES = {"invoice": ("ar_invoice", "inv"), "credit_memo": ("ar_credit_memo", "cm")}

# The latest transaction of each document; earlier ones in its lane were replaced by it. Money that came back is a
# document of its own: what went stays beside it.
_CARRIED = f"""
SELECT kind, currency, measure, count(*), sum(line_count), sum(amount), sum(rounding) FROM (
    SELECT DISTINCT ON (t.lane, t.flow, {CAME_BACK_SQL})
        coalesce(nullif(t.feed_type, ''), m.kind) AS kind, t.currency, t.line_count, t.rounding,
        CASE t.state WHEN 'completed' THEN 'posted' WHEN 'held' THEN 'held' WHEN 'cancelled' THEN 'ignored'
                     ELSE 'in_flight' END AS measure,
        CASE WHEN t.flow = ANY(%(negative)s) THEN -1 ELSE 1 END * {SIGNED_SQL} AS amount
    FROM transactions_businesstransaction t
    JOIN unnest(%(flows)s::text[], %(kinds)s::text[]) AS m (flow, kind) USING (flow)
    WHERE {{source}}
    ORDER BY t.lane, t.flow, {CAME_BACK_SQL}, t.lane_sequence DESC) latest
GROUP BY kind, currency, measure
"""
# A refund that failed after it went is one row with both movements: the money went, and came back.
MOVEMENTS_SQL = """(SELECT CASE WHEN d.document_type = 'refund' AND d.status = 'failed' AND d.ignored_reason = '' THEN 2
                              ELSE 1 END) m (count)"""
BILLED_SQL = """CASE WHEN m.count = 2 THEN 0 WHEN d.document_type IN ('credit_memo', 'refund') THEN -d.amount
                     ELSE d.amount END"""
_BILLED = f"""
SELECT coalesce(nullif(d.feed_type, ''), CASE WHEN d.document_type = 'invoice' AND d.amount < 0 THEN 'credit_memo'
                                              ELSE d.document_type END) AS kind,
    d.currency, d.ignored_reason <> '' AS is_ignored, sum(m.count), sum(m.count * d.line_count),
    sum({BILLED_SQL}), sum(d.rounding)
FROM records_billeddocument d CROSS JOIN LATERAL {MOVEMENTS_SQL}
WHERE {{source}} AND d.content_hash <> '' AND d.document_type = ANY(%(kinds)s)
GROUP BY 1, 2, 3
"""
_POSTED = """
SELECT t.target_connection, t.source_connection,
    CASE t.flow WHEN 'invoice_to_erp' THEN 'invoice' ELSE 'credit_memo' END, t.currency,
    min(t.document_date), max(t.document_date)
FROM transactions_businesstransaction t
WHERE {source} AND t.flow IN ('invoice_to_erp', 'credit_memo_to_erp') AND t.state = 'completed'
  AND t.target_type <> 'journal' AND t.document_date IS NOT NULL
GROUP BY 1, 2, 3, 4
"""
# Each document of the ERP once, whichever versions of it came to it; not one that the ERP knows by a name of others.
_OURS = f"""
SELECT count(*), coalesce(sum(d.amount), 0) FROM (
    SELECT DISTINCT ON (t.target_id) t.amount FROM transactions_businesstransaction t
     WHERE t.target_connection = %s AND t.source_connection = %s AND t.flow = %s AND t.currency = %s
       AND t.state = 'completed' AND t.target_type <> 'journal' AND t.document_date BETWEEN %s AND %s
       AND NOT {LINKED_SQL}
     ORDER BY t.target_id, t.lane_sequence DESC) d
"""
# Days of this source's documents that went in summaries; a summary may hold documents of other sources too.
_SUMMED_UP = """
SELECT DISTINCT s.connection_code, s.posting_date FROM transactions_businesstransaction t
JOIN transactions_contribution c ON c.transaction_id = t.id
JOIN transactions_summary s ON s.transaction_id = c.summary_id
JOIN transactions_businesstransaction j ON j.id = s.transaction_id AND j.state = 'completed'
WHERE {source} ORDER BY 1, 2
"""
_SUMMARIES = """
SELECT j.currency, count(*), sum(j.amount) FROM transactions_summary s
JOIN transactions_businesstransaction j ON j.id = s.transaction_id AND j.state = 'completed'
WHERE s.connection_code = %s AND s.posting_date BETWEEN %s AND %s GROUP BY 1
"""


@dataclass
class Measure:
    """How many documents, with how many lines, and their sum in the register's sign."""

    count: int = 0
    lines: int = 0
    amount: Decimal = Decimal(0)

    def add(self, count: int, lines: int | None, amount: Decimal | None) -> None:
        """One more group."""
        self.count += count
        self.lines += lines or 0
        self.amount += amount or Decimal(0)


@dataclass
class Row:
    """One document type in one currency of one source."""

    source: str
    document_type: str
    currency: str
    rounding: Decimal = Decimal(0)
    measures: dict[str, Measure] = field(default_factory=lambda: {name: Measure() for name in MEASURES})

    @property
    def agrees(self) -> bool:
        """Declared, received and billed are the same documents, all of which ended somewhere."""
        return self.adds_up and self.measures["in_flight"].count == 0

    @property
    def adds_up(self) -> bool:
        """The same, where what is in flight counts as being somewhere."""
        m = self.measures
        ended = [m["posted"], m["held"], m["ignored"], m["in_flight"]]
        all_somewhere = all(
            getattr(m["received"], name) == sum(getattr(part, name) for part in ended)
            for name in ("count", "lines", "amount")
        )
        same = all(
            getattr(m[other], name) == getattr(m["received"], name)
            for other, names in (("declared", ("count", "lines")), ("billed", ("count", "lines", "amount")))
            for name in names
        )
        declared = m["declared"].amount == m["received"].amount + self.rounding
        return all_somewhere and same and declared


@dataclass(frozen=True)
class Totals:
    """All rows, and the sentences that say where the ERP's own totals differ from ours."""

    as_of: dt.datetime
    rows: tuple[Row, ...]
    erp_differences: tuple[str, ...]
    allows_in_flight: bool = False
    linked: int = 0  # documents that stand as one of the ERP's which it doesn't know by our name

    @property
    def agrees(self) -> bool:
        """Whether everything agrees, nothing is in flight (where that is no fault), and the ERP says the same where it
        was asked. Without documents nothing was compared, so nothing agrees."""
        rows = [row.adds_up if self.allows_in_flight else row.agrees for row in self.rows]
        return bool(rows) and all(rows) and not self.erp_differences


def known_sources() -> list[str]:
    """Feeds that declared something, and connections that billed something."""
    feeds = set(FeedDocument.objects.values_list("feed", flat=True).distinct())
    billing = fetch_rows(
        "SELECT code FROM connectors_connection c WHERE EXISTS"
        " (SELECT FROM records_billeddocument d WHERE d.connection_code = c.code)"
    )
    return sorted(feeds) + sorted(code for (code,) in billing)


def compute_totals(sources: Iterable[str], *, asks_erp: bool = True, allows_in_flight: bool = False) -> Totals:
    """The control totals of these sources as of now. The ERP is asked for its own over the API, if it's to be."""
    rows: list[Row] = []
    differences: list[str] = []
    linked = 0
    feeds = set(FeedDocument.objects.values_list("feed", flat=True).distinct())
    for source in sources:
        is_feed = source in feeds
        rows += _rows_of(source, is_feed=is_feed)
        if asks_erp:
            differences += erp_differences(source, is_feed=is_feed)
            linked += count_linked("feed" if is_feed else "source_connection", source)
    return Totals(dt.datetime.now(dt.UTC), tuple(rows), tuple(differences), allows_in_flight, linked)


def _rows_of(source: str, *, is_feed: bool) -> list[Row]:
    found: dict[tuple[str, str], Row] = {}

    def row(kind: str, currency: str) -> Row:
        return found.setdefault((kind, currency), Row(source, kind, currency))

    params = {"source": source, "flows": FLOWS, "kinds": KINDS, "negative": list(NEGATIVE)}
    place = "{alias}.feed = %(source)s" if is_feed else "{alias}.{column} = %(source)s AND {alias}.feed = ''"
    carried = _CARRIED.format(source=place.format(alias="t", column="source_connection"))
    for kind, currency, measure, count, lines, amount, rounding in fetch_rows(carried, params):
        into = row(kind, currency)
        into.measures[measure].add(count, lines, amount)
        into.measures["received"].add(count, lines, amount)
        into.rounding += rounding
    billed = _BILLED.format(source=place.format(alias="d", column="connection_code"))
    for kind, currency, is_ignored, count, lines, amount, rounding in fetch_rows(billed, params):
        into = row(kind, currency)
        into.measures["billed"].add(count, lines, amount)
        if is_ignored:
            into.measures["ignored"].add(count, lines, amount)
            into.measures["received"].add(count, lines, amount)
            into.rounding += rounding
    if is_feed:
        for total in declared_totals(source):
            row(total.document_type, total.currency).measures["declared"].add(total.count, total.lines, total.amount)
    else:
        for into in found.values():
            billed_now = into.measures["billed"]
            into.measures["declared"].add(billed_now.count, billed_now.lines, billed_now.amount + into.rounding)
    return [found[key] for key in sorted(found)]


def erp_differences(source: str, *, is_feed: bool) -> list[str]:
    """Where the ERP's own totals differ from what we say is posted there.

    Over the dates of this source's documents, all of the same connection are compared, since the ERP knows no feeds.
    """
    column = "feed" if is_feed else "source_connection"
    spans: dict[tuple[str, str], list[tuple[str, str, dt.date, dt.date]]] = defaultdict(list)
    for erp, connection, kind, currency, least, most in fetch_rows(
        _POSTED.format(source=f"t.{column} = %(source)s"), {"source": source}
    ):
        spans[erp, connection].append((kind, currency, least, most))
    differences = _summary_differences(source, column)
    for (erp, connection), parts in sorted(spans.items()):
        since, until = min(p[2] for p in parts), max(p[3] for p in parts)
        for kind in sorted({p[0] for p in parts}):
            try:
                theirs = _erp_totals(erp, *_ERP_TYPES[kind], connection, since, until)
            except Problem as problem:
                differences.append(f"{erp} didn't give its totals: {problem.summary}")
                continue
            for currency in sorted({p[1] for p in parts if p[0] == kind} | set(theirs)):
                flow = "invoice_to_erp" if kind == "invoice" else "credit_memo_to_erp"
                ((count, amount),) = fetch_rows(_OURS, [erp, connection, flow, currency, since, until])
                said = theirs.get(currency, NOTHING)
                if said != (count, amount):
                    differences.append(
                        f"{erp} holds {said[0]} {kind} documents of {connection} over {currency} {said[1]:f};"
                        f" we posted {count} over {currency} {amount:f}"
                    )
    return differences


def _summary_differences(source: str, column: str) -> list[str]:
    """Where the ERP's journals of the days that this source's documents were summed up in aren't ours."""
    days: dict[str, list[dt.date]] = defaultdict(list)
    for erp, day in fetch_rows(_SUMMED_UP.format(source=f"t.{column} = %(source)s"), {"source": source}):
        days[erp].append(day)
    differences = []
    for erp, found in sorted(days.items()):
        since, until = found[0], found[-1]
        ours = {currency: (n, amount) for currency, n, amount in fetch_rows(_SUMMARIES, [erp, since, until])}
        try:
            theirs = _erp_totals(erp, "journal", "sum", PORTAL, since, until)
        except Problem as problem:
            differences.append(f"{erp} didn't give its totals: {problem.summary}")
            continue
        for currency in sorted(ours.keys() | theirs.keys()):
            held, posted = theirs.get(currency, NOTHING), ours.get(currency, NOTHING)
            if held != posted:
                differences.append(
                    f"{erp} holds {held[0]} summaries over {currency} {held[1]:f};"
                    f" we posted {posted[0]} over {currency} {posted[1]:f}"
                )
    return differences


def _erp_totals(
    erp: str, document_type: str, prefix: str, connection: str, since: dt.date, until: dt.date
) -> dict[str, tuple[int, Decimal]]:
    """What the ERP holds of a connection's, by currency. What stands under a longer code that begins with this one is
    that connection's, as where it's linked again after a restore (`restored.read_external_id`)."""
    found = _totals_under(erp, document_type, f"{prefix}-{connection}-", since, until)
    for code in _longer_codes(connection):
        for currency, (count, amount) in _totals_under(erp, document_type, f"{prefix}-{code}-", since, until).items():
            whole = found.get(currency, NOTHING)
            found[currency] = whole[0] - count, whole[1] - amount
    return found


def _longer_codes(connection: str) -> list[str]:
    """The codes of connections that begin with this one's, each without those that begin with its own."""
    found: list[str] = []
    longer = Connection.objects.filter(code__startswith=f"{connection}-").values_list("code", flat=True)
    for code in sorted(longer, key=len):
        if not any(code.startswith(f"{shorter}-") for shorter in found):
            found.append(code)
    return found


def _totals_under(
    erp: str, document_type: str, prefix: str, since: dt.date, until: dt.date
) -> dict[str, tuple[int, Decimal]]:
    rows: list[dict[str, Any]] = run_waiting(
        ports.target(erp).totals(since=since, until=until, external_id_prefix=prefix)
    )
    return {
        row["currency"]: (row["count"], Decimal(row["amount"])) for row in rows if row["document_type"] == document_type
    }


def as_json(totals: Totals) -> dict[str, Any]:
    """What `manage.py control_totals` prints; money as plain decimal strings."""
    return {
        "agrees": totals.agrees,
        "as_of": totals.as_of.isoformat().replace("+00:00", "Z"),
        "rows": [
            {
                "source": row.source,
                "document_type": row.document_type,
                "currency": row.currency,
                **{name: _shown(row.measures[name]) for name in MEASURES},
                "rounding": _plain(row.rounding),
            }
            for row in totals.rows
        ],
    }


def _shown(measure: Measure) -> dict[str, Any]:
    return {"count": measure.count, "lines": measure.lines, "amount": _plain(measure.amount)}


def _plain(amount: Decimal) -> str:
    """With at least two decimals, without the zeros that the columns add."""
    text = f"{amount:.6f}".rstrip("0")
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest.ljust(2, '0')}"
