"""The tormentor itself: its plan can be told from the seed, its gates and people do what they are told."""

from __future__ import annotations

import socket
import threading
from itertools import pairwise

import pytest

from connectors.sandbox.testing import find_free_ports
from tests.chaos.gates import Gate, Gates
from tests.chaos.people import forms_of
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
