"""The flash and the cut-off list against an oracle of their own: plain Python over every row, with Decimal."""

import csv
import datetime as dt
import io
import itertools
import json
import random
import re
from collections import defaultdict
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from openpyxl import load_workbook

from q2c.core import hotpath
from q2c.core.models import AuditEntry
from q2c.posting.days import last_service_day
from q2c.reconciliation import cutoff, flash
from q2c.reconciliation.documents import month_of
from q2c.transactions.models import BusinessTransaction, Contribution, PreparedPosting, Summary
from q2c.transactions.steps import AWAITED_IN_ERP
from tests import factories
from tests.inbox.conftest import invoice

pytestmark = pytest.mark.django_db
OCTOBER = [dt.date(2026, 9, 1) + dt.timedelta(days=n) for n in range(91)]
FLOWS = ("invoice_to_erp", "credit_memo_to_erp", "payment_to_erp", "refund_to_erp")
STATES = ("completed", "waiting", "held", "unknown", "running", "cancelled")


@pytest.fixture
def october():
    factories.make_period("DE01", "2026-10")
    return month_of("DE01", "2026-10")


def fill(count=150):
    """Documents of two entities, three months, three currencies, all states; some in several versions."""
    dice = random.Random(20261031)
    for n in range(count):
        amount, on = Decimal(dice.randrange(1, 10**7)) / 100, dice.choice(OCTOBER)
        state = dice.choice(STATES)
        common = {
            "flow": dice.choice(FLOWS), "currency": dice.choice(("EUR", "USD", "JPY")), "amount": amount,
            "legal_entity_code": dice.choice(("DE01", "DE01", "GB01")), "document_date": on,
            "tax": dice.choice((None, (amount * 19 / 119).quantize(Decimal("0.01")))),
            "period_code": dice.choice(("", f"{on:%Y-%m}", "2026-10")), "source_id": f"doc_{n}", "number": f"D-{n}",
            "waits_for": dice.choice(("", AWAITED_IN_ERP)) if state == "waiting" else "",
        }  # fmt: skip
        factories.make_transaction(state, **common)
        if n % 7 == 0:
            factories.make_transaction(
                dice.choice(STATES), **common | {"number": f"D-{n}b", "waits_for": "", "amount": amount + 1},
                lane_sequence=2, fact={"failed_at": "2026-10-20T00:00:00Z"} if n % 2 else {},
            )  # fmt: skip


def has_failed(txn):
    return txn.flow == "refund_to_erp" and "failed_at" in json.loads(bytes(txn.fact))


def oracle(month):
    """(flow, currency, place): count, gross, tax, by going through all rows in Python."""
    versions, found = defaultdict(list), defaultdict(lambda: [0, Decimal(0), Decimal(0)])
    for txn in BusinessTransaction.objects.order_by("lane_sequence"):
        versions[txn.lane, txn.flow, txn.source_id, has_failed(txn)].append(txn)  # money that came back is another one
    counted = set()
    for rows in versions.values():
        live = [txn for txn in rows if txn.state != "cancelled"]
        posted = [txn for txn in rows if txn.state == "completed"]
        counted |= {*(live or rows)[-1:], *posted[-1:]}
    for txn in counted:
        is_of = txn.period_code == month.code or (
            not txn.period_code and month.first <= txn.document_date <= month.last
        )
        if txn.legal_entity_code != month.entity or not is_of:
            continue
        place = {"completed": "posted", "running": "on_way", "cancelled": "given_up"}.get(txn.state, txn.state)
        if txn.state == "waiting":
            place = "awaiting" if txn.waits_for == AWAITED_IN_ERP else "on_way"
        whole = found[txn.flow, txn.currency, place]
        amount = -txn.amount if has_failed(txn) else txn.amount
        whole[0], whole[1], whole[2] = whole[0] + 1, whole[1] + amount, whole[2] + (txn.tax or 0)
    return {key: tuple(value) for key, value in found.items()}


def test_the_flash_says_what_an_independent_count_says_and_billed_is_its_sum(october):
    fill()
    found = flash.flash_of(october)
    said = {
        (line.flow, line.currency, place): (figure.count, figure.gross, figure.tax)
        for line in found.lines
        for place, figure in line.places.items()
        if figure.count
    }
    assert said == oracle(october)
    assert len(said) > 20
    for line in found.lines:
        assert line.billed.gross == sum(figure.gross for figure in line.places.values())
        assert line.billed.net + line.billed.tax == line.billed.gross


def test_a_posted_version_stays_until_another_is_posted(october):
    facts = {"legal_entity_code": "DE01", "currency": "EUR", "period_code": "2026-10"}

    def make(state, amount, sequence, source_id, flow="invoice_to_erp"):
        factories.make_transaction(
            state, **facts, amount=Decimal(amount), lane_sequence=sequence, source_id=source_id, flow=flow,
            number=f"{source_id}-{sequence}", lane=f"stripe:{source_id}",
        )  # fmt: skip

    make("completed", 100, 1, "in_1")
    make("held", 110, 2, "in_1")
    make("completed", 7, 1, "in_2")
    make("cancelled", 9, 2, "in_2")
    lines = {line.flow: line for line in flash.flash_of(october).lines}
    places = {place: figure.gross for place, figure in lines["invoice_to_erp"].places.items() if figure.count}
    assert places == {"posted": Decimal(107), "held": Decimal(110)}


def test_a_receipt_is_unapplied_by_what_settles_nothing_and_what_went_back_isnt(october):
    facts = {"flow": "payment_to_erp", "legal_entity_code": "DE01", "currency": "EUR", "period_code": "2026-10"}
    paid = factories.make_transaction(**facts, source_id="pay_1", amount=Decimal("100.00"))
    factories.make_transaction(**facts, source_id="pay_2", amount=Decimal("40.00"))
    applied = factories.make_transaction(flow="application_to_erp", legal_entity_code="DE01")
    link = {"amount": Decimal("70.00"), "currency": "EUR"}
    factories.make_link(
        applied, ("stripe", "invoice", "in_1"), ("stripe", "payment", "pay_1"), relation="paid by", **link
    )
    back = factories.make_transaction(flow="refund_to_erp", legal_entity_code="DE01", source_id="re_1")
    went = {"amount": Decimal("-12.50"), "currency": "EUR", "relation": "refunded by"}
    factories.make_link(back, ("stripe", "payment", "pay_1"), ("stripe", "refund", "re_1"), **went)
    (line,) = [line for line in flash.flash_of(october).lines if line.flow == "payment_to_erp"]
    assert (line.unapplied.count, line.unapplied.gross) == (2, Decimal("57.50"))
    assert paid.state == "completed"


def test_the_cut_off_list_has_each_document_once_with_the_dates_that_lie_there(october):
    made = {
        "dated": {"document_date": dt.date(2026, 10, 27)},
        "served": {"document_date": dt.date(2026, 9, 1), "service_end": dt.date(2026, 11, 5)},
        "posted": {"document_date": dt.date(2026, 9, 2)},
        "summed up": {"document_date": dt.date(2026, 9, 3)},
        "all": {"document_date": dt.date(2026, 11, 1), "service_end": dt.date(2026, 10, 31)},
        "before": {"document_date": dt.date(2026, 10, 26)},
        "after": {"document_date": dt.date(2026, 11, 6)},
        "elsewhere": {"document_date": dt.date(2026, 10, 31), "legal_entity_code": "GB01"},
    }
    for number, facts in made.items():
        txn = factories.make_transaction(**{"legal_entity_code": "DE01", **facts}, number=number)
        if number in ("posted", "all"):
            PreparedPosting.objects.create(
                transaction_id=txn.pk, sequence=1, step="post_invoice", legal_entity_code="DE01", external_id=number,
                currency="GBP", posting_date=dt.date(2026, 11, 2), period_code="2026-11", accounts=["1", "2"],
                debits=[Decimal(1), Decimal(0)], credits=[Decimal(0), Decimal(1)], at=timezone.now(),
            )  # fmt: skip
        if number == "summed up":
            day = Summary.objects.create(
                transaction=factories.make_transaction(flow="summary_to_erp", source_id="day", number="day"), delta=0,
                connection_code="netsuite", legal_entity_code="DE01", posting_date=dt.date(2026, 11, 3),
                currency="GBP", at=timezone.now(),
            )  # fmt: skip
            Contribution.objects.create(
                transaction=txn, connection_code="netsuite", external_id=number, legal_entity_code="DE01",
                posting_date=day.posting_date, currency="GBP", accounts=["1", "2"], debits=[Decimal(1), Decimal(0)],
                credits=[Decimal(0), Decimal(1)], departments=["", ""], classes=["", ""], locations=["", ""],
                tax_codes=["", ""], revenue_starts=[None, None], revenue_ends=[None, None], revenue_rules=["", ""],
                at=timezone.now(), summary=day,
            )  # fmt: skip
    found = cutoff.cut_off(october)
    assert (found.since, found.until) == (dt.date(2026, 10, 27), dt.date(2026, 11, 5))
    assert {row.number: (row.reasons, row.crosses) for row in found.rows} == {
        "dated": (("dated",), ""),
        "served": (("served",), "dated by the end, served after it"),
        "posted": (("posted",), "dated by the end, posted after it"),
        "summed up": (("posted",), "dated by the end, posted after it"),
        "all": (("dated", "served", "posted"), "served by the end, dated and posted after it"),
    }
    assert found.crossing == 4
    assert [bool(row.crosses) for row in found.rows] == [True, True, True, True, False]
    first = cutoff.cut_off(october, limit=2)
    assert ([row.number for row in first.rows], first.has_more) == (["served", "posted"], True)
    assert {row.number for row in cutoff.cut_off(october, days=6).rows} >= {"before", "after"}
    with pytest.raises(ValueError, match="From 1 to 31 days"):
        cutoff.cut_off(october, days=32)


def test_the_last_day_of_service_is_a_day_where_the_seller_is():
    until = dt.datetime(2026, 10, 31, 23, 0, tzinfo=dt.UTC)  # midnight in Berlin
    line = invoice("I-1").lines[0]
    served = type(line)(
        **{name: getattr(line, name) for name in line.__struct_fields__}
        | {"service_from": until - dt.timedelta(days=31), "service_until": until}
    )
    document = invoice("I-1", lines=(served,))
    assert last_service_day(document, "Europe/Berlin") == dt.date(2026, 10, 31)
    assert last_service_day(document, "America/New_York") == dt.date(2026, 10, 30)
    assert last_service_day(invoice("I-2"), "Europe/Berlin") is None


@pytest.mark.parametrize("module", [flash, cutoff])
def test_a_report_asks_two_statements_at_most_and_reads_by_index(october, module, monkeypatch):
    asked = []
    monkeypatch.setattr(module, "fetch_rows", lambda sql, params: asked.append((sql, params)) or [])
    flash.flash_of(october) if module is flash else cutoff.cut_off(october)
    assert len(asked) == (2 if module is flash else 1)
    monkeypatch.undo()
    fill(400)
    with connection.cursor() as cursor:  # of an empty table every plan costs the same
        cursor.execute("ANALYZE transactions_businesstransaction")
        cursor.execute("SET LOCAL enable_seqscan = off")
    for sql, params in asked:
        plan = "\n".join(row[0] for row in hotpath.fetch_rows(f"EXPLAIN {sql}", params))
        assert len(re.findall(r"Index Cond: .*legal_entity_code\W.*'DE01'", plan)) >= 2, plan  # each reads its own part
        assert "Seq Scan on transactions_businesstransaction" not in plan


def test_a_controller_takes_both_as_files_that_say_what_they_are_and_sees_own_entities_only(october, monkeypatch):
    fill(40)
    for _ in range(2):
        factories.make_transaction(legal_entity_code="DE01", document_date=dt.date(2026, 10, 30))
    factories.make_period("GB01", "2026-10")
    client = Client()
    client.force_login(factories.make_person("controller", username="vera", entities=("DE01",)))
    place = {"entity": "DE01", "period": "2026-10"}
    page = client.get("/reports/flash/", place).content.decode()
    assert "Invoices billed, EUR" in page
    assert "flash-" in page
    assert client.get("/reports/flash/", {"entity": "GB01", "period": "2026-10"}).status_code == 404
    assert client.get("/reports/flash/", {"entity": "DE01", "period": "1999-01"}).status_code == 404
    monkeypatch.setattr(cutoff, "ROWS_MAX", 1)  # of a screen; a file has them all
    for name, title in (("flash", "Flash"), ("cut-off", "Cut-off list")):
        text = b"".join(client.get(f"/reports/{name}/", {**place, "format": "csv"})).decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text)))
        told = dict(itertools.islice(((row[0], row[1]) for row in rows if row[0].startswith("# ")), 8))
        entry = AuditEntry.objects.get(verb="export", subject_type=name, subject_id="csv")
        assert told["# Report"] == title
        assert told["# Rows"] == str(len(rows) - 9) == str(entry.data["rows"])
        assert told["# Hash"] == f"sha256:{entry.data['hash']}"
        assert told["# Taken by"] == entry.actor == "vera"
        assert "Europe/Berlin" in told["# Parameters"]
        assert "Left out" not in told["# Parameters"]
        assert int(told["# Rows"]) > 1
        book = load_workbook(io.BytesIO(b"".join(client.get(f"/reports/{name}/", {**place, "format": "xlsx"}))))
        assert {row[0].value: row[1].value for row in book["About"].iter_rows()}["Hash"] == told["# Hash"]
        assert isinstance(book[title]["G2" if name == "flash" else "L2"].value, (int, float))
    monkeypatch.setattr(cutoff, "FILE_ROWS_MAX", 1)
    text = b"".join(client.get("/reports/cut-off/", {**place, "format": "csv"})).decode("utf-8-sig")
    assert "Left out: what comes after the first 1" in text
