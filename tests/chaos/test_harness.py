"""The tormentor itself: its plan can be told from the seed, its gates and people do what they are told."""

from __future__ import annotations

import socket
import threading
from io import BytesIO
from itertools import pairwise
from types import SimpleNamespace

import pytest
import requests

from connectors.sandbox.testing import find_free_ports
from tests.chaos import written
from tests.chaos.gates import Gate, Gates
from tests.chaos.people import Form, Somebody, forms_of
from tests.chaos.plan import CALM_SECONDS, TORMENTS, make_plan
from tests.chaos.tormentor import Tormentor

HALF_AN_HOUR = 1800.0


def test_the_seed_alone_says_what_strikes_when():
    assert make_plan(7, 600) == make_plan(7, 600)
    assert make_plan(7, 600) != make_plan(8, 600)


def test_every_torment_strikes_and_database_restarts_are_5_to_40_seconds_apart():
    plan = make_plan(7, HALF_AN_HOUR)
    assert {blow.torment for blow in plan} == set(TORMENTS)
    times = [blow.at for blow in plan if blow.torment == "restart PostgreSQL"]
    between = [after - before for before, after in pairwise(times)]
    assert (min(between) >= 4.98, max(between) <= 40.02) == (True, True)
    assert max(blow.at for blow in plan) < HALF_AN_HOUR - CALM_SECONDS
    assert [blow.at for blow in plan] == sorted(blow.at for blow in plan)


def test_a_torment_that_this_machine_lacks_moves_no_other_one():
    whole = make_plan(7, HALF_AN_HOUR)
    assert make_plan(7, HALF_AN_HOUR, without=("fill the disk",)) == [b for b in whole if b.torment != "fill the disk"]


def test_the_tormentor_knows_every_torment_of_the_plan():
    verbs = {"_" + name.lower().replace(" ", "_").replace("'", "") for name in TORMENTS}
    assert {verb for verb in verbs if not callable(getattr(Tormentor, verb, None))} == set()


@pytest.fixture
def gate():
    """A gate before a server that sends back what it's sent."""
    behind = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                line, _ = behind.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(line,), daemon=True).start()

    def echo(line):
        try:
            while piece := line.recv(1000):
                line.sendall(piece)
        except OSError:
            pass
        line.close()

    threading.Thread(target=serve, daemon=True).start()
    gates = Gates(Gate("echo", find_free_ports(1), behind.getsockname()[1]))
    gates.open()
    yield gates
    gates.close()
    behind.close()


def dial(gates):
    return socket.create_connection(("127.0.0.1", gates["echo"].port), timeout=60)


def is_refused(gates):
    try:
        return is_cut(dial(gates))
    except OSError:  # cut before it was there
        return True


def is_cut(line):
    try:
        return line.recv(1000) == b""
    except OSError:
        return True


def test_a_gate_passes_on_and_is_cut_truncated_and_shut_when_told(gate):
    line = dial(gate)
    line.sendall(b"hello")
    assert line.recv(1000) == b"hello"
    gate.tell(gate["echo"].truncate, 2)
    line.sendall(b"world")
    assert (line.recv(1000), is_cut(line)) == (b"wo", True)
    line = dial(gate)
    line.sendall(b"again")
    assert line.recv(1000) == b"again"
    gate.tell(gate["echo"].cut)
    assert is_cut(line)
    gate.tell(gate["echo"].shut, True)
    assert is_refused(gate)
    gate.tell(gate["echo"].calm)
    line = dial(gate)
    line.sendall(b"open")
    assert line.recv(1000) == b"open"


def test_people_find_the_forms_of_a_page_with_all_that_they_send():
    page = (
        '<form method="get"><input name="q"></form><input type="checkbox" form="b" name="pick" value="7">'
        '<form id="b" method="post" action="/exceptions/bulk/freeze/"><input type="hidden" name="k" value="1">'
        '<textarea name="why"></textarea><select name="s"><option value="">-</option><option value="x">X</option>'
        '</select><button name="what" value="repost">Go</button></form>'
    )  # fmt: skip
    (form,) = forms_of(page)
    assert (form.action, form.fixed, form.texts) == ("/exceptions/bulk/freeze/", [("k", "1")], ["why"])
    assert (form.choices, form.buttons, form.boxes) == ({"s": ["x"]}, [("what", "repost")], [("pick", "7")])


class Says(requests.adapters.BaseAdapter):
    """A portal that answers everything with one status."""

    def __init__(self, status):
        super().__init__()
        self.status = status

    def send(self, request, **_given):
        answer = requests.Response()
        answer.status_code, answer.request, answer.url, answer.raw = self.status, request, request.url, BytesIO(b"")
        return answer

    def close(self):
        pass


@pytest.mark.parametrize(
    ("status", "broken"),
    [
        (200, []),
        (404, []),
        (422, []),
        (503, []),
        (500, ["GET /inbox/?verdict=refused: 500", "POST /exceptions/cases/7/note/: 500"]),
        (502, ["GET /inbox/?verdict=refused: 502", "POST /exceptions/cases/7/note/: 502"]),
    ],
)
def test_a_page_that_breaks_is_kept_and_one_that_says_that_it_cannot_be_had_is_not(status, broken):
    somebody = Somebody(
        SimpleNamespace(port=1, told={"people": [{"username": "platform", "password": ""}]}), "platform", 7
    )
    somebody.session.mount("http://", Says(status))
    somebody.look_at("/inbox/?verdict=refused")
    somebody.send(Form("/exceptions/cases/7/note/", "note"))
    assert somebody.broken == broken


A, B = "q2c" + "a" * 37, "q2c" + "b" * 37
DEALS = {"Account": {"001A": {}}, "Opportunity": {"006A": {"AccountId": "001A"}}, "Order": {"801A": {}}}
PRICES = {name: {"product": "QB", "currency": "gbp", "unit_amount_decimal": "100", "recurring": None} for name in "pq"}
PRICES["q"] = PRICES["q"] | {"unit_amount_decimal": "200"}
ALL_TRACED = written.Traces({"x", "y"}, {"x", "y"}, set())


def entry(kind, name, external_id=None, *, key=A, effect="created", path="/v1/x"):
    return {
        "document_type": kind, "id": name, "external_id": external_id, "idempotency_key": key, "effect": effect,
        "path": path,
    }  # fmt: skip


ACCOUNT, SALE = "acc-salesforce-001A", "sub-salesforce-006A"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ([entry("customer", "x", ACCOUNT), entry("subscription", "y", SALE)], []),
        ([entry("customer", "x", ACCOUNT), entry("customer", "y", ACCOUNT, key=B)], [f"customer {ACCOUNT}"]),
        ([entry("subscription", "x", SALE), entry("subscription_schedule", "y", SALE, key=B)], [f"sale {SALE}"]),
        # The same request again is answered as it was, and logged as no effect.
        ([entry("customer", "x", ACCOUNT), entry("customer", "x", ACCOUNT, effect="none")], []),
        # Of a user's own, copied with its metadata.
        ([entry("customer", "x", ACCOUNT), entry("customer", "y", ACCOUNT, key=None)], []),
        # A draft in another currency was deleted, and begun anew.
        ([entry("invoice", "x", SALE, key=f"{A}-invoice"), entry("invoice", "x", SALE, key=None, effect="deleted"),
          entry("invoice", "y", SALE, key=f"{B}-invoice")], []),
        ([entry("invoice", "x", SALE, key=f"{A}-invoice"), entry("invoice", "y", SALE, key=f"{B}-invoice")],
         [f"sale {SALE}"]),
        ([entry("price", "p", key=f"{A}-price-1"), entry("price", "q", key=f"{B}-price-1")], []),
        ([entry("price", "p", key=f"{A}-price-1"), entry("price", "p2", key=f"{B}-price-1")],
         ['price ["QB", "gbp", "100", null]']),
    ],
)  # fmt: skip
def test_what_billing_made_twice_for_us_is_found_and_what_it_answered_twice_is_not(log, found):
    assert written.doubled(written.made_by_us(log), PRICES | {"p2": PRICES["p"]}) == found


@pytest.mark.parametrize(
    ("made", "unknown"),
    [
        (entry("customer", "x", ACCOUNT), False),
        (entry("subscription", "x", "sub-salesforce-801A"), False),
        (entry("product", "QB-API"), False),  # of a SKU, not of a record
        (entry("customer", "x", SALE), True),
        (entry("customer", "x", "acc-salesforce-001B"), True),
        (entry("subscription", "x"), True),
    ],
)
def test_what_billing_made_of_nothing_that_was_sold_is_found(made, unknown):
    assert bool(written.strangers([made], DEALS)) is unknown


@pytest.mark.parametrize(
    ("traces", "lineage", "reference"),
    [
        (ALL_TRACED, [], []),
        (written.Traces({"x"}, {"x", "y"}, set()), [f"{SALE} y"], []),
        (written.Traces({"x", "y"}, {"y"}, set()), [], [f"{ACCOUNT} x"]),
        (written.Traces((), (), {"001A", "006A"}), [], []),  # its order hasn't ended yet
    ],
)
def test_what_billing_made_is_to_be_traced_once_its_order_has_ended(traces, lineage, reference):
    made = [entry("customer", "x", ACCOUNT), entry("subscription", "y", SALE), entry("price", "p")]
    found = written.without_trace(made, traces)
    assert list(found.values()) == [lineage, reference]


def test_what_we_made_or_deleted_in_the_crm_is_found_and_what_its_users_did_is_not():
    ours, theirs = "/services/data/v68.0/sobjects/Opportunity/006A", "/_control/salesforce/documents/Opportunity"
    log = [
        entry("Opportunity", "006A", path=theirs), entry("Opportunity", "006A", path=ours, effect="updated"),
        entry("Opportunity", "006B", path=ours), entry("Opportunity", "006A", path=ours, effect="deleted"),
        entry("Opportunity", "006A", path=theirs, effect="deleted"),
    ]  # fmt: skip
    assert written.made_in_crm(log) == ["Opportunity 006B created", "Opportunity 006A deleted"]


def test_a_record_that_shows_something_else_than_it_was_told_last_is_found():
    told = {("006A", "status"): "active", ("006A", "hold status"): "", ("006B", "status"): "active"}
    assert written.untrue(told, {("006A", "status"): "active", ("006A", "hold status"): None}) == []
    assert written.untrue(told, {("006A", "status"): "draft", ("006A", "hold status"): "held"}) == [
        "006A status: 'draft', told 'active'",
        "006A hold status: 'held', told ''",
    ]
