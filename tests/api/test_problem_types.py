"""Every problem's `type` leads to what it means, for anybody; and every code that the API answers with has a type."""

import ast
from pathlib import Path

import pytest
from django.test import Client

from q2c.api import problems
from q2c.api.problem_types import CATALOGUE

API = Path(problems.__file__).parent


def codes_in_the_source() -> set[str]:
    """The second argument of every ApiProblem, and the codes of plain statuses."""
    found = {code for code, _title in problems._TITLES.values()}
    for path in API.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            is_made = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ApiProblem"
            if is_made and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                found.add(node.args[1].value)
    return found


def test_every_code_has_a_type_and_every_type_a_code():
    assert codes_in_the_source() | {"refused"} == set(CATALOGUE)


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_type_leads_to_what_it_means_and_what_to_do(code):
    for address in (f"/api/v1/problems/{code}", f"/api/v1/problems/{code}/"):
        answer = Client().get(address)
        assert answer.status_code == 200
        assert answer.json()["type"] == f"/api/v1/problems/{code}"
        assert answer.json()["means"]
        assert answer.json()["remedy"]


def test_all_types_are_listed_and_an_unknown_one_isnt_found():
    assert [each["code"] for each in Client().get("/api/v1/problems/").json()["items"]] == list(CATALOGUE)
    assert Client().get("/api/v1/problems/nothing").status_code == 404
