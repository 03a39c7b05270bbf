"""A small, deterministic part of `make fuzz`, and a check that it finds faults."""

import logging
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzzing import file_targets, mutations, product_targets
from benchmarks.fuzzing.child import try_input
from benchmarks.fuzzing.fuzz import Score, table
from benchmarks.fuzzing.targets import TARGETS

SLOW = {"landcover"}
"""Targets of which one input takes a while."""


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    """The prepared targets by name."""
    prepared = {}

    def prepare(name):
        if name not in prepared:
            prepared[name] = TARGETS[name].prepare(tmp_path_factory.mktemp(name))
        return prepared[name]

    logging.disable(logging.WARNING)
    yield prepare
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", TARGETS)
def test_the_valid_input_is_accepted(name, attempts, monkeypatch):
    for mutate in ("mutate_bytes", "mutate_tree", "mutate_xml"):
        for module in (product_targets, file_targets):
            monkeypatch.setattr(module, mutate, lambda content, random: content, raising=False)
    assert try_input(attempts(name), "0") == ("accepted", "")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", TARGETS)
def test_mutated_inputs_are_accepted_or_refused_in_one_line(name, attempts):
    attempt = attempts(name)

    @settings(
        max_examples=3 if name in SLOW else 12,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**32))
    def run(seed):
        outcome, message = try_input(attempt, f"{seed}/{name}")
        assert outcome in ("accepted", "refused"), f"{name} {seed}: {message}"

    run()


def test_other_errors_are_faults():
    def fail(random):
        raise KeyError("x")

    outcome, message = try_input(fail, "0")
    assert outcome == "error"
    assert "KeyError" in message
    score = Score("item")
    score.add({"number": 3, "outcome": outcome, "message": message})
    score.add({"number": 4, "outcome": "refused", "message": "", "seconds": 6.0, "memory": 0})
    score.add({"number": 5, "outcome": "accepted", "message": "", "seconds": 0, "memory": 2 << 30})
    score.add({"number": 6, "outcome": "accepted", "message": "", "seconds": 1.0, "memory": 5})
    assert [(number, outcome) for number, outcome, _ in score.faults] == [
        (3, "error"),
        (4, "slow"),
        (5, "memory"),
    ]
    assert "| 4 | 1 | 0 | 1 error; 1 slow; 1 memory | 6.0 | 2147 |" in table([score])


def test_a_number_reproduces_an_input():
    content = bytes(range(256))
    tree = {"a": [1, 2.5, "x"], "b": {"c": None}}
    for mutate, valid in ((mutations.mutate_bytes, content), (mutations.mutate_tree, tree)):
        made = [repr(mutate(valid, Random(seed))) for seed in range(20)]
        assert made == [repr(mutate(valid, Random(seed))) for seed in range(20)]
        assert len(set(made)) > 10
    assert tree == {"a": [1, 2.5, "x"], "b": {"c": None}}
