"""What the mappings' part of the bench works on: many rules in force, posted documents of many lines, sheets."""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Iterable, Iterator
from itertools import count, islice
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone
from openpyxl import Workbook

from connectors.models import ReferenceEntry
from mappings import scope
from mappings.columns import HEADINGS
from mappings.models import ChangeSet, MappingRule
from mappings.resolve import latest_change_set
from q2c import ports
from q2c.bench.selling import await_posted
from q2c.bench.stage import Stage
from q2c.core.models import Person
from q2c.transactions.models import BusinessTransaction

LONG_AGO = dt.date(2010, 1, 1)
ENTITIES = ("GB01", "DE01", "US01", "JP01")
LINES = 20
ORIGINALS = 250  # documents that are really carried; the others are copies of their stored steps
BILLED_SKUS = 1000
BATCH = 25


def maker_and_checker() -> tuple[Person, Person]:
    """Who proposes and who approves in the demo's company."""
    return Person.objects.get(username="mapping_admin"), Person.objects.get(username="controller")


def items() -> list[ReferenceEntry]:
    """The ERP's active items that have an account for their revenue, one for each account."""
    rows = ReferenceEntry.objects.filter(list_name="items", is_active=True, code__startswith="QB-")
    by_account = {row.attributes.get("income_account"): row for row in rows.order_by("-external_id")}
    return [row for account, row in sorted(by_account.items(), key=str) if account]


def fill_rules(pairs: Iterable[tuple[str, str]], values: list[ReferenceEntry], *, ended_every: int = 0) -> int:
    """Item rules in force for these (SKU, entity), as one approved change set would have written them; every so many
    ended last year. Returns how many."""
    maker, checker = maker_and_checker()
    number, now = latest_change_set() + 1, timezone.now()
    ChangeSet.objects.create(
        number=number, title="Rules of the bench", why="To measure", state=ChangeSet.State.APPROVED, proposed_by=maker,
        created_at=now, approved_at=now,
    )  # fmt: skip
    last_year = dt.date(now.year - 1, 1, 1)
    rules = (
        MappingRule(
            kind="item", key=sku, connection_code="netsuite", legal_entity_code=entity,
            value=values[n % len(values)].external_id, value_label=values[n % len(values)].name,
            specificity=scope.specificity(sku, dimensions=2, conditions=0, is_fallback=False),
            effective_from=LONG_AGO, effective_to=last_year if ended_every and n % ended_every == 0 else None,
            known_from=number, proposed_by=maker, approved_by=checker,
        )
        for n, (sku, entity) in enumerate(pairs)
    )  # fmt: skip
    filled = 0
    while piece := list(islice(rules, 5000)):
        filled += len(MappingRule.objects.bulk_create(piece))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE mappings_mappingrule")
    ports.forget_kept()
    return filled


def item_of_the_sink() -> None:
    """The item of the machine's sales (`machine_flow`): one rule, which several parts of the bench ask for."""
    if not MappingRule.objects.filter(kind="item", key="QB-API", legal_entity_code="GB01").exists():
        fill_rules([("QB-API", "GB01")], items())


def billed_sku(number: int) -> str:
    """A SKU of the documents."""
    return f"BILLED-{number % BILLED_SKUS:04d}"


def sell_documents(stage: Stage) -> list[UUID]:
    """Invoices of 20 lines over a thousand SKUs, really posted. Returns their transactions."""
    customer = stage.door.make(
        "stripe", "customer",
        [{"name": "Bench rules", "email": "rules@bench.test", "address": {"country": "GB", "city": "Leeds"},
          "metadata": {"legal_entity": "GB01"}}],
    )[0]  # fmt: skip
    mark, sku, made = stage.last("netsuite"), count(), []
    for _ in range(ORIGINALS // BATCH):
        made += stage.door.make("stripe", "invoice", [_invoice(customer, sku) for _ in range(BATCH)])
    await_posted(stage, mark, ORIGINALS)
    rows = BusinessTransaction.objects.filter(flow="invoice_to_erp", state="completed", source_id__in=made)
    return list(rows.values_list("pk", flat=True))


def _invoice(customer: str, sku: Iterator[int]) -> dict[str, Any]:
    lines = [{"amount": 10_000 + n, "quantity": 1, "metadata": {"sku": billed_sku(next(sku))}} for n in range(LINES)]
    return {"customer": customer, "currency": "gbp", "lines": lines, "metadata": {"legal_entity": "GB01"}}


def copy_documents(originals: list[UUID], *, until: int) -> int:
    """Copies of posted documents with all that their steps stored, until there are so many. Returns how many."""
    own = [f.attname for f in BusinessTransaction._meta.concrete_fields if f.attname not in ("id", "business_key")]
    with connection.cursor() as cursor:
        cursor.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'transactions_steprun'::regclass"
                       " AND attnum > 0 AND NOT attisdropped AND attname <> 'transaction_id'")  # fmt: skip
        steps = [name for (name,) in cursor.fetchall()]
        copies = until // len(originals) - 1
        statement = _COPY.format(own=", ".join(own), steps=", ".join(steps))
        cursor.execute(statement, {"ids": originals, "copies": copies})
        cursor.execute("VACUUM ANALYZE transactions_businesstransaction, transactions_steprun")
    return len(originals) * (copies + 1)


_NEW_ID = "(left(t.{0}::text, 19) || right(md5(t.{0}::text || n)::uuid::text, 17))::uuid"
_COPY = f"""
    INSERT INTO transactions_businesstransaction (id, business_key, {{own}})
    SELECT {_NEW_ID.format("id")}, business_key || '#' || n, {{own}}
      FROM transactions_businesstransaction t, generate_series(1, %(copies)s) n WHERE t.id = ANY(%(ids)s);
    INSERT INTO transactions_steprun (transaction_id, {{steps}})
    SELECT {_NEW_ID.format("transaction_id")}, {{steps}}
      FROM transactions_steprun t, generate_series(1, %(copies)s) n WHERE t.transaction_id = ANY(%(ids)s)
"""


def sheet_rows(number: int, values: list[ReferenceEntry]) -> Iterator[list[str]]:
    """Headings and so many rows of a sheet of items, as people fill them: half of them new, one in a thousand wrong."""
    yield [HEADINGS[name] for name in ("key", "legal_entity", "connection", "value", "effective_from")]
    for n in range(number):
        value = "1O391" if n % 1000 == 999 else values[n % len(values)].external_id
        yield [f"{'BENCH' if n % 2 else 'NEW'}-{n:06d}", ENTITIES[n % 4], "netsuite", value, "2026-01-01"]


def as_csv(rows: Iterable[list[str]]) -> bytes:
    """Rows as a CSV file."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def as_workbook(rows: Iterable[list[str]]) -> bytes:
    """Rows as a workbook."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Rules")
    for row in rows:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()
