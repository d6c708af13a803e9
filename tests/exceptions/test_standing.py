"""What exists of a journey as its systems say: an answer that can't be read is said so, never taken for absent."""

import pytest

from exceptions.resolving import standing
from q2c import ports
from q2c.core.problems import Problem


@pytest.mark.parametrize("error", [ValueError("its total"), TypeError("its total"), KeyError("total")])
def test_an_answer_that_cant_be_read_is_said_so(monkeypatch, error):
    class Billing:
        async def invoice(self, invoice_id):
            raise error

    monkeypatch.setattr(ports, "target", lambda code: Billing())
    key = ("stripe", "invoice", "in_1")
    said = standing._ask_all([key], {"stripe": None})[key]
    assert isinstance(said, Problem)
    assert (said.code, "total" in said.summary) == ("answer_not_understood", True)
