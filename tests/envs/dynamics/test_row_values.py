"""What a compiled batch computes: each number once, and memory that changes places is read before it is overwritten."""

import numpy as np
import pytest
from needs import needs_compiler

from echelongym.envs.compiler import c_compiler
from echelongym.envs.compiler import recorder as recording
from echelongym.envs.compiler.recorder import Program, RecordedArray, accelerate
from echelongym.envs.compiler.row_fusion import row_plan
from echelongym.envs.compiler.row_values import RowValues
from echelongym.envs.compiler.schedule import plan
from echelongym.envs.core.backend import NumpyOps

WORLDS = 48


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Nothing compiled before, and nothing compiled unasked."""
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))
    monkeypatch.setattr(c_compiler, "_libraries", {})
    monkeypatch.setattr(recording, "PATIENCE", np.inf)


def computed(function, *inputs):
    """Rows that a recorded function computes when it is compiled, the copies of its inputs left out."""
    program = Program(function, inputs, NumpyOps())
    (statements,) = plan(program).parts
    return sum(block.count for block in row_plan(RowValues(statements)).values.blocks if not block.early)


def test_copies_zeros_and_what_nobody_reads_cost_nothing():
    """Five rows of sums come from five rows of operations, however often they are moved before and after."""
    rows = np.arange(10.0)[:, None] + np.zeros(WORLDS)
    places = np.array([3, 0, 4, 1, 2])

    def plainly(x):
        return [x[:5] + x[5:]]

    def in_a_roundabout_way(x):
        turned = np.concatenate([x[5:].copy(), x[:5]])
        first, second = turned[places], turned[5:][places]
        _ = first * second  # nobody reads it
        again = first + second  # the same sums in another order, which is undone below
        out = np.empty_like(x[:5])
        out[...] = 0.0
        out[places] = again
        return [out]

    assert computed(plainly, rows) == 5
    assert computed(in_a_roundabout_way, rows) == 5


@needs_compiler
@pytest.mark.parametrize("steps", [1, 3])
def test_memory_that_changes_places_is_read_first(steps):
    """Rows handed on in a circle in place, as stock on its way is; whatever reads them sees them as they were."""
    rng = np.random.default_rng(1)
    state, sums = rng.normal(size=(7, WORLDS)), np.zeros((7, WORLDS))
    expected, total = state.copy(), sums.copy()

    def function(x):
        mine = RecordedArray(state, program_ops.program, None)
        turned = np.concatenate([mine[steps:], mine[:steps]])
        np.add(sums, mine * x, out=RecordedArray(sums, program_ops.program, None))
        mine[...] = turned
        return []

    program_ops = NumpyOps()
    x = rng.normal(size=(7, WORLDS))
    program = Program(function, [x], program_ops)
    state[...], sums[...] = expected, total  # recording played it once
    assert accelerate(program), program.reason
    for _ in range(5):
        program(x)
        total += expected * x
        expected = np.roll(expected, -steps, axis=0)
        assert np.array_equal(state, expected)
        assert np.array_equal(sums, total)


@needs_compiler
def test_long_sums_of_rows_from_several_places():
    """More terms than are written out in a row, some computed, some constant, some as they were found."""
    rng = np.random.default_rng(2)
    x, costs = rng.normal(size=(25, WORLDS)), rng.normal(size=(12, 1))
    ops = NumpyOps()

    def function(given):
        parts = [given[:12] * costs, ops.zeros((9, WORLDS), np.dtype(float)), given[12:]]
        return [np.add.reduce(np.concatenate(parts), axis=0), np.add.accumulate(given, axis=0)]

    program = Program(function, [x], ops)
    assert accelerate(program), program.reason
    for _ in range(2):
        x = rng.normal(size=x.shape)
        found = program(x)
        whole = np.concatenate([x[:12] * costs, np.zeros((9, WORLDS)), x[12:]])
        assert np.array_equal(found[0], np.add.reduce(whole, axis=0))
        assert np.array_equal(found[1], np.add.accumulate(x, axis=0))
