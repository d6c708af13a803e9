"""Every flow can be read as a table of contents: labelled, owned and ended."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from q2c.bench import machine_flow
from q2c.canonical.base import Later
from q2c.core.roles import BY_CODE as ROLES
from q2c.flows import catalog
from q2c.transactions.steps import Flow, FlowRefused, Read, Write, parameters

LABELS = ("Starts on", "Ends with", "Posts", "Owners", "Never")


def module_of(flow: Flow):
    names = {function.__module__ for step in flow.steps for function in step.functions}
    own = {n for n in names if n.startswith("q2c.flows.") and not n.startswith("q2c.flows.steps.")}
    return importlib.import_module(sorted(own)[-1])


@pytest.mark.parametrize("flow", catalog.FLOWS, ids=lambda f: f.code)
def test_a_flow_is_labelled_owned_and_short(flow):
    doc = module_of(flow).__doc__
    assert [label for label in LABELS if label not in doc] == []
    assert flow.owner in ROLES
    assert all(step.sentence[0].isupper() and not step.sentence.endswith(".") for step in flow.steps)
    assert sum(isinstance(step, Write) for step in flow.steps) >= 1


@pytest.mark.parametrize("flow", [*catalog.FLOWS, machine_flow.FLOW], ids=lambda f: f.code)
def test_a_step_says_what_type_it_gives_so_that_a_later_attempt_reads_it_back(flow):
    assert [step.name for step in flow.steps if step.output_type is Any] == []


class Fact:
    later_is = Later.VERSION


def give_one() -> int:
    return 1


def need_two(two: int) -> int:
    return two


def test_a_step_that_needs_a_fact_nobody_gave_is_refused():
    with pytest.raises(FlowRefused, match="needs two"):
        Flow("x", "X", ("one",), Fact, (Read("a", "A", need_two, gives="three"),), "platform")


def test_a_fact_that_does_not_say_what_a_later_one_is_to_it_is_refused():
    with pytest.raises(FlowRefused, match="what a later one is to it"):
        Flow("x", "X", ("one",), int, (Read("a", "A", give_one, gives="two"),), "platform")


def test_a_fact_given_twice_is_refused():
    with pytest.raises(FlowRefused, match="given already"):
        Flow("x", "X", ("one",), Fact, (Read("a", "A", give_one, gives="one"),), "platform")


def test_two_steps_of_one_name_are_refused():
    steps = (Read("a", "A", give_one, gives="two"), Read("a", "A", give_one, gives="three"))
    with pytest.raises(FlowRefused, match="two steps"):
        Flow("x", "X", ("one",), Fact, steps, "platform")


@pytest.mark.parametrize("flow", catalog.FLOWS, ids=lambda f: f.code)
def test_what_a_later_attempt_reads_again_asks_for_itself(flow):
    """Behind a finished write the steps before it don't run again: what they wanted isn't there."""
    first = next(n for n, step in enumerate(flow.steps) if isinstance(step, Write))
    later = [step for step in flow.steps[first:] if not isinstance(step, Write)]
    asking = [s for s in later if {"links", "mappings"} & set(parameters(s.functions[0]))]
    assert [step.name for step in asking if step.wants is None] == []
