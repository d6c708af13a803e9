"""What exists of a journey as its systems say: an answer that can't be read is said so, never taken for absent."""

import pytest

from exceptions.resolving import standing
from q2c.core.problems import Problem
from tests.connectors.lines import run


@pytest.mark.parametrize("error", [ValueError("its total"), TypeError("its total"), KeyError("total")])
def test_an_answer_that_cant_be_read_is_said_so(error):
    async def verb():
        raise error

    said = run(standing._ask(("stripe", "invoice", "in_1"), verb))
    assert isinstance(said, Problem)
    assert (said.code, "total" in said.summary) == ("answer_not_understood", True)
