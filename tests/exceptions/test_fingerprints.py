"""Two documents that fail for one reason are one piece of work, and two reasons are two: shown with the vendors' own
answers."""

from collections import defaultdict

import pytest

from connectors import errors, registry
from exceptions import kinds
from exceptions.opening import fingerprint_of
from q2c.core.problems import Problem
from tests.connectors.answers import answers, spoken
from tests.exceptions.problems import held


def is_refusal(answer):
    """Whether it came whole and says no, openly or inside an answer of 200."""
    if answer.vendor not in spoken() or answer.fault or answer.kind == "token":
        return False
    hides_errors = registry.manifest(answer.vendor).hides_errors
    return answer.status >= 300 or (hides_errors is not None and hides_errors(answer.raw))


ANSWERED = [a for a in answers() if is_refusal(a)]


def read(answer):
    return errors.problem_from(
        registry.manifest(answer.vendor), status=answer.status, headers=answer.headers or {}, body=answer.raw,
        connection=answer.vendor, is_write=answer.kind == "write",
    )  # fmt: skip


def piece_of_work(problem, number="INV-1"):
    return fingerprint_of(held(problem, number=number))


def is_per_document(problem):
    return "document" in kinds.kind_of(problem.code).same_when


@pytest.mark.parametrize("answer", [a for a in ANSWERED if a.varies], ids=lambda a: a.id)
def test_other_ids_numbers_amounts_and_instants_are_the_same_piece_of_work(answer):
    one, other = read(answer), read(answer.varied())
    assert one.code == other.code
    if is_per_document(one):
        assert piece_of_work(one) == piece_of_work(other)
    else:
        assert piece_of_work(one, "INV-1") == piece_of_work(other, "INV-2")


@pytest.mark.parametrize("vendor", spoken())
def test_two_errors_of_one_kind_are_two_pieces_of_work(vendor):
    causes = defaultdict(set)
    for answer in ANSWERED:
        problem = read(answer)
        if answer.vendor == vendor and "wording" in kinds.kind_of(problem.code).same_when:
            causes[piece_of_work(problem)].add(answer.cause)
    assert [sorted(found) for found in causes.values() if len(found) > 1] == []
    assert len(causes) >= 15


@pytest.mark.parametrize("vendor", spoken())
def test_one_cause_told_in_several_ways_is_one_piece_of_work(vendor):
    prints = defaultdict(set)
    for answer in ANSWERED:
        if answer.vendor == vendor:
            problem = read(answer)
            prints[answer.cause, problem.code].add(piece_of_work(problem))
    assert {key: len(found) for key, found in prints.items() if len(found) > 1} == {}


def test_the_third_lines_item_is_refused_for_the_same_reason_as_the_firsts():
    first, third = (
        Problem("vendor_refused", "validation", "no", connection="netsuite", error="E", field=f"item.items[{n}].item")
        for n in (0, 2)
    )
    other = Problem("vendor_refused", "validation", "no", connection="netsuite", error="E", field="item.items[0].rate")
    assert piece_of_work(first) == piece_of_work(third) != piece_of_work(other)


def test_another_value_that_a_mapping_gave_is_another_piece_of_work():
    refused = next(a for a in ANSWERED if "following field: item" in a.raw.decode())
    other = read(type(refused)(**{**vars(refused), "varies": (("Value 9999", "Value 8888"),)}).varied())
    assert (read(refused).subject["key"], other.subject["key"]) == ("9999", "8888")
    assert piece_of_work(read(refused)) != piece_of_work(other)
