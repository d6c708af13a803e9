"""Reading the retail file and saying it in Stripe's words."""

import datetime as dt
from decimal import Decimal

import pytest

from q2c.demo import retail
from q2c.demo.company import DATA
from q2c.demo.delivery import deliver
from q2c.demo.spool import Spool

FIRST_DAY = DATA / "uci_online_retail" / "online_retail_2010-12-01.csv.gz"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


class FakeDoor:
    """Keeps what is made; fails after `until` calls, as a sandbox that goes away."""

    def __init__(self):
        self.kept: dict[str, list[dict]] = {"customer": [], "invoice": [], "credit_note": []}
        self.until = 10**9

    def documents(self, vendor, kind):
        return iter(list(self.kept[kind]))

    def lines(self, kind, document):
        return document["lines"]

    def make(self, vendor, kind, objects):
        if objects:
            self.until -= 1
            if self.until < 0:
                raise ConnectionError("away")
        start = len(self.kept[kind])
        self.kept[kind] += [{"id": f"{kind}_{start + n}", **each} for n, each in enumerate(objects)]
        return [each["id"] for each in self.kept[kind][start:]]


def spool_of(tmp_path, *rows: str) -> Spool:
    spool = Spool(tmp_path / "spool.sqlite3")
    spool.add_lines(retail.read_lines([HEADER, *(f"{row}\n" for row in rows)]))
    return spool


def row(
    number, quantity, price, *, sku="22423", customer="17850.0", at="2010-12-01 08:26:00", country="United Kingdom"
):
    return f"{number},{sku},CAKE STAND,{quantity},{at},{price},{customer},{country}"


def test_the_first_day_declares_its_143_documents_and_3108_lines(tmp_path):
    spool = Spool(tmp_path / "spool.sqlite3")
    with retail.open_file(FIRST_DAY) as text:
        assert spool.add_lines(retail.read_lines(text)) == 143
    documents = list(spool.documents())
    assert sum(len(each.lines) for each in documents) == 3108
    totals = {
        kind: [each for each in documents if each.feed_type == kind] for kind in ("invoice", "credit_memo", "unknown")
    }
    assert {kind: len(found) for kind, found in totals.items()} == {"invoice": 137, "credit_memo": 6, "unknown": 0}
    assert sum(each.declared_total for each in totals["invoice"]) == Decimal("58960.79")
    assert sum(each.declared_total for each in totals["credit_memo"]) == Decimal("-325.23")


def test_a_second_delivery_makes_nothing_and_one_after_a_failure_makes_the_rest(tmp_path):
    door = FakeDoor()
    door.until = 2  # customers and invoices of the first batch, then away
    rows = [row(536000 + n, 1, "1.00", customer=f"{n}.0") for n in range(250)]
    with pytest.raises(ConnectionError):
        deliver(spool_of(tmp_path, *rows), door, lambda done: None)
    assert len(door.kept["invoice"]) == 50
    door.until = 10**9
    (tmp_path / "again").mkdir()
    again = deliver(spool_of(tmp_path / "again", *rows), door, lambda done: None)
    assert (again.found, again.made) == (50, 200)
    (tmp_path / "third").mkdir()
    third = deliver(spool_of(tmp_path / "third", *rows), door, lambda done: None)
    assert (third.found, third.made) == (250, 0)
    numbers = [each["metadata"]["invoice_no"] for each in door.kept["invoice"]]
    assert len(numbers) == len(set(numbers)) == 250
    assert len(door.kept["customer"]) == 250


def test_a_credit_that_one_earlier_invoice_covers_is_a_credit_note_on_it(tmp_path):
    door = FakeDoor()
    rows = [
        row("536001", 5, "2.55"),
        row("536002", 3, "2.55", at="2010-12-02 08:00:00"),
        row("C536003", -3, "2.55", at="2010-12-03 08:00:00"),
        row("C536004", -3, "2.55", at="2010-12-04 08:00:00"),
        row("C536005", -3, "2.55", at="2010-12-05 08:00:00"),
        row("C536006", -1, "2.55", at="2010-12-06 08:00:00", customer=""),
        row("C536007", -1, "2.50", at="2010-12-07 08:00:00"),
    ]
    deliver(spool_of(tmp_path, *rows), door, lambda done: None)
    credited = {each["metadata"]["invoice_no"]: each["invoice"] for each in door.kept["credit_note"]}
    ids = {each["metadata"]["invoice_no"]: each["id"] for each in door.kept["invoice"]}
    assert credited == {"C536003": ids["536002"], "C536004": ids["536001"]}
    assert {"C536005", "C536006", "C536007"} <= set(ids)
    note = door.kept["credit_note"][0]
    assert (note["lines"][0]["amount"], note["lines"][0]["quantity"], note["lines"][0]["unit_amount_decimal"]) == (
        765,
        3,
        "255",
    )
    negative = next(each for each in door.kept["invoice"] if each["metadata"]["invoice_no"] == "C536005")
    line = negative["lines"][0]
    assert (line["amount"], line["quantity"], line["unit_amount_decimal"]) == (-765, -3, "255")
    assert negative["metadata"]["feed_type"] == "credit_memo"


def test_a_credit_takes_back_what_an_invoice_of_an_earlier_file_sold_and_no_credit_took_before(tmp_path):
    door = FakeDoor()
    files = [
        [row("536001", 5, "2.55"), row("536002", 3, "2.55", at="2010-12-02 08:00:00")],
        [row("C536003", -2, "2.55", at="2011-01-03 08:00:00")],  # of 536002, of which one is left
        [
            row("536010", 9, "2.55", at="2011-02-05 08:00:00"),  # sold after the credit
            row("C536004", -3, "2.55", at="2011-02-04 08:00:00"),  # of 536001, of which two are left
            row("C536005", -2, "2.55", at="2011-02-04 09:00:00"),
            row("C536006", -1, "2.55", at="2011-02-04 10:00:00"),  # of 536002
            row("C536007", -1, "2.55", at="2011-02-04 11:00:00"),  # nothing is left
        ],
    ]
    for number, rows in enumerate([*files, *files]):  # each a second time: nothing changes
        folder = tmp_path / str(number)
        folder.mkdir()
        deliver(spool_of(folder, *rows), door, lambda done: None)
    credited = {each["metadata"]["invoice_no"]: each["invoice"] for each in door.kept["credit_note"]}
    ids = {each["metadata"]["invoice_no"]: each["id"] for each in door.kept["invoice"]}
    first, second = ids["536001"], ids["536002"]
    assert credited == {"C536003": second, "C536004": first, "C536005": first, "C536006": second}
    assert set(ids) == {"536001", "536002", "536010", "C536007"}


def test_a_credit_that_needs_two_invoices_is_an_invoice_with_negative_lines(tmp_path):
    door = FakeDoor()
    rows = [
        row("536001", 5, "2.55", sku="A"),
        row("536002", 5, "2.55", sku="B"),
        row("C536003", -1, "2.55", sku="A", at="2010-12-03 08:00:00"),
        row("C536003", -1, "2.55", sku="B", at="2010-12-03 08:00:00"),
    ]
    deliver(spool_of(tmp_path, *rows), door, lambda done: None)
    assert door.kept["credit_note"] == []
    assert len(door.kept["invoice"]) == 3


def test_lines_of_one_number_that_stand_apart_and_carry_two_times_are_one_document(tmp_path):
    rows = [
        row("536591", 1, "1.00", at="2010-12-01 16:58:00"),
        row("536592", 1, "1.00", at="2010-12-01 16:58:00"),
        row("536591", 2, "3.00", at="2010-12-01 16:57:00"),
    ]
    documents = list(spool_of(tmp_path, *rows).documents())
    assert [each.number for each in documents] == ["536591", "536592"]
    assert documents[0].at.isoformat() == "2010-12-01T16:57:00"
    assert documents[0].declared_total == Decimal("7.00")


def test_lines_are_rounded_half_up_and_the_declared_amount_is_kept(tmp_path):
    spool = spool_of(tmp_path, row("550193", 1, "0.001"), row("550193", 1, "0.005"), row("550193", 3, "2.55"))
    invoice = retail.build_invoice(next(spool.documents()), "cus_1")
    assert [line["amount"] for line in invoice["lines"]] == [0, 1, 765]
    assert [line["metadata"].get("declared_amount") for line in invoice["lines"]] == ["0.001", "0.005", None]
    assert [line["unit_amount_decimal"] for line in invoice["lines"]] == ["0.1", "0.5", "255"]
    assert invoice["metadata"]["declared_total"] == "7.656"


def test_local_time_of_london_becomes_an_instant_in_winter_and_in_summer(tmp_path):
    rows = [row("1", 1, "1", at="2010-12-01 08:26:00"), row("2", 1, "1", at="2011-06-01 08:26:00")]
    winter, summer = (
        retail.build_invoice(each, "cus_1")["effective_at"] for each in spool_of(tmp_path, *rows).documents()
    )
    assert winter == int(dt.datetime(2010, 12, 1, 8, 26, tzinfo=dt.UTC).timestamp())
    assert summer == int(dt.datetime(2011, 6, 1, 7, 26, tzinfo=dt.UTC).timestamp())


def test_a_document_without_customer_goes_to_nobody_of_its_country_and_says_so(tmp_path):
    known, nobody = spool_of(tmp_path, row("1", 1, "1"), row("2", 1, "1", customer="", country="EIRE")).documents()
    assert retail.build_customer(known)["metadata"]["customer_no"] == "17850"
    made = retail.build_customer(nobody)
    assert (made["name"], made["metadata"]["unidentified"]) == ("No customer, EIRE", "true")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("536365", "invoice"),
        ("C536379", "credit_memo"),
        ("c536379", "credit_memo"),
        ("A563185", "unknown"),
        ("X1", "unknown"),
        ("C", "unknown"),
    ],
)
def test_the_prefix_decides_the_type(tmp_path, number, expected):
    assert next(spool_of(tmp_path, row(number, 1, "1")).documents()).feed_type == expected


@pytest.mark.parametrize(
    ("bad", "column"),
    [
        (row("1", "six", "1"), "Quantity"),
        (row("1", "1.5", "1"), "Quantity"),
        (row("1", 1, "2,55"), "row"),
        (row("1", 1, "NaN"), "UnitPrice"),
        (row("1", 1, "1", at="01.12.2010"), "InvoiceDate"),
        (row("", 1, "1"), "InvoiceNo"),
        ("1,2,3", "row"),
    ],
)
def test_a_row_that_cant_be_read_names_row_and_column_and_stops_everything(tmp_path, bad, column):
    with pytest.raises(retail.RetailProblem) as raised:
        spool_of(tmp_path, row("536365", 1, "1"), bad)
    assert (raised.value.row, raised.value.column) == (3, column)
    assert raised.value.remedy


def test_a_missing_column_is_named():
    with pytest.raises(retail.RetailProblem, match="CustomerID"):
        list(retail.read_lines([HEADER.replace("CustomerID,", "")]))
