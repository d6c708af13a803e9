"""`load_retail` and `demo_feed` against the sandboxes, with the portal's database."""

import threading
from decimal import Decimal
from unittest import mock

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from connectors.sandbox.remote import ControlDoor
from connectors.sandbox.testing import running_sandboxes
from q2c.demo.company import DATA
from q2c.demo.delivery import Delivered, deliver
from q2c.demo.management.commands.load_retail import alone
from q2c.demo.retail import open_file, read_lines
from q2c.demo.spool import Spool
from q2c.reconciliation.feeds import FeedTotal, declared_totals

pytestmark = pytest.mark.django_db

FIRST_DAY = DATA / "uci_online_retail" / "online_retail_2010-12-01.csv.gz"
DECLARED = [
    FeedTotal("retail", "credit_memo", "GBP", 6, 26, Decimal("-325.23")),
    FeedTotal("retail", "invoice", "GBP", 137, 3082, Decimal("58960.79")),
]


@pytest.fixture
def box(tmp_path):
    with running_sandboxes(tmp_path, vendors=["salesforce", "stripe"]) as box:
        yield box


def test_the_first_day_reaches_stripe_once_and_is_declared(box, capsys):
    call_command("load_retail", FIRST_DAY, port=box.port)
    assert "143 documents delivered, 0 were there already" in capsys.readouterr().out
    call_command("load_retail", FIRST_DAY, port=box.port)
    told = capsys.readouterr()
    assert "0 documents delivered, 143 were there already" in told.out
    assert "143 of 143 documents 100%" in told.err
    assert declared_totals("retail") == DECLARED
    door = ControlDoor(box.port)
    made = [each for kind in ("invoice", "credit_note") for each in door.documents("stripe", kind)]
    assert len({each["metadata"]["invoice_no"] for each in made}) == len(made) == 143
    credit = {"invoice": 1, "credit_note": -1}
    totals = {"invoice": 0, "credit_memo": 0}
    for each in made:
        totals[each["metadata"]["feed_type"]] += credit[each["object"]] * each["total"]
    assert totals == {"invoice": 5896079, "credit_memo": -32523}
    names = [each["name"] for each in door.documents("stripe", "customer")]
    assert len(names) == len(set(names))
    assert "No customer, United Kingdom" in names


HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def test_a_credit_takes_back_the_twelfth_line_of_an_invoice_of_an_earlier_file(box, tmp_path):
    sold, back = tmp_path / "sold.csv", tmp_path / "back.csv"
    lines = [f"536001,SKU-{n},a,2,2010-12-01 08:00:00,1.25,17850,United Kingdom" for n in range(15)]
    sold.write_text(HEADER + "\n".join(lines))
    back.write_text(HEADER + "C536002,SKU-11,a,-2,2010-12-09 08:00:00,1.25,17850,United Kingdom\n")
    for path in (sold, back):
        call_command("load_retail", path, port=box.port)
    door = ControlDoor(box.port)
    [invoice], [note] = (list(door.documents("stripe", kind)) for kind in ("invoice", "credit_note"))
    assert (note["invoice"], note["total"], invoice["total"]) == (invoice["id"], 250, 3750)


def test_two_deliveries_at_once_make_each_document_once(box, tmp_path):
    path = tmp_path / "many.csv"
    rows = [f"{536000 + n},A,a,1,2010-12-01 08:00:00,1.00,{n},United Kingdom" for n in range(120)]
    path.write_text(HEADER + "\n".join(rows))
    asked, told, said = threading.Event(), threading.Event(), []

    class SlowDoor(ControlDoor):
        """Lets the second one begin once the first has asked what exists, and goes on once that one was told of it."""

        def make(self, vendor, kind, objects):
            asked.set()
            assert told.wait(60)
            return super().make(vendor, kind, objects)

    def say(words):
        said.append(words)
        told.set()

    def second():
        asked.wait(60)
        with alone(settings.HOME / f"load_retail-{box.port}.lock", say), Spool(tmp_path / "two") as spool:
            with open_file(path) as text:
                spool.add_lines(read_lines(text))
            said.append(deliver(spool, ControlDoor(box.port), lambda done: None))

    other = threading.Thread(target=second)
    other.start()
    with mock.patch("q2c.demo.management.commands.load_retail.ControlDoor", SlowDoor):
        call_command("load_retail", path, port=box.port)
    other.join(60)
    assert said == ["Another delivery is running; this one begins when it has ended.", Delivered(found=120, made=0)]
    numbers = [each["metadata"]["invoice_no"] for each in ControlDoor(box.port).documents("stripe", "invoice")]
    assert len(numbers) == len(set(numbers)) == 120


def test_a_file_with_a_bad_row_delivers_nothing_and_says_which(box, tmp_path):
    path = tmp_path / "bad.csv"
    header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
    path.write_text(header + "1,A,a,1,2010-12-01 08:00:00,1.00,1,UK\n2,B,b,one,2010-12-01 08:00:00,1.00,1,UK\n")
    with pytest.raises(CommandError, match=r"Row 3, Quantity: 'one' is no number"):
        call_command("load_retail", path, port=box.port)
    with pytest.raises(CommandError, match="can't be read"):
        call_command("load_retail", tmp_path / "missing.csv", port=box.port)
    assert box.log("stripe") == []
    assert declared_totals("retail") == []


def test_without_the_sandboxes_it_fails_and_says_what_to_do(box):
    box.stop()
    with pytest.raises(CommandError, match="Run it again"):
        call_command("load_retail", FIRST_DAY, port=box.port)
    assert declared_totals("retail") == DECLARED


def test_the_feed_fills_wins_deals_and_moves_money(box, capsys):
    call_command("demo_feed", port=box.port, every=0.01, ticks=2)
    told = capsys.readouterr().out
    assert "314 Product2" in told
    assert "24 deals won" in told
    assert "143 documents delivered" in told
    assert "deal 26 won" in told
    door = ControlDoor(box.port)
    customer = door.make("stripe", "customer", [{"name": "Payer"}])[0]
    product = door.make("stripe", "product", [{"name": "Seat"}])[0]
    price = door.make(
        "stripe",
        "price",
        [{"currency": "usd", "product": product, "unit_amount": 50000, "recurring": {"interval": "month"}}],
    )[0]
    terms = {"collection_method": "send_invoice", "days_until_due": 30}
    door.make("stripe", "subscription", [{"customer": customer, "items": [{"price": price}], **terms}] * 4)
    call_command("demo_feed", port=box.port, every=0.3, ticks=4, no_retail=True)
    told = capsys.readouterr().out
    assert "deal 30 won" in told
    assert " paid" in told
    assert "credited by a tenth" in told
    assert "payouts in USD" in told
    assert "refused" not in told
    won = door.query_salesforce("SELECT Id FROM Opportunity WHERE Ext_Id__c LIKE 'DEAL-%'")
    assert len(won) == 30
