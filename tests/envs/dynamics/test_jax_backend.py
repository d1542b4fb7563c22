"""The JAX backend: its arrays against NumPy, its derivatives against PyTorch, ties, and what is light without it."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from echelongym.envs.core.backend import NUMPY, TorchOps, ops_of, replaced
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.core.segments import Segments
from echelongym.envs.core.static_index import places_of

jax = pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def _whole_numbers():
    with jax.enable_x64(True):
        yield


def slopes_of(function, x, weights):
    """Derivatives of ``(function(ops, x) * weights).sum()`` by JAX and by PyTorch."""
    ops, tensors = JaxOps(), TorchOps()
    found = jax.grad(lambda value: (function(ops, ops.box(value)) * ops.constant(weights)).sum().value)(x)
    tensor = torch.tensor(x, requires_grad=True)
    (function(tensors, tensor) * tensors.constant(weights)).sum().backward()
    return np.asarray(found), tensor.grad.numpy()


# Rows by number, often and never, consecutive and not, and more entries than rows.
INDICES = ([2, 0, 3], [1, 2, 3], [4, 4, 4, 0, 1, 4], [0] * 40, [3], [])


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_rows_taken_are_numpys_and_so_is_the_derivative(index):
    rng = np.random.default_rng(len(index))
    x, weights = rng.normal(size=(5, 2, 3)), rng.normal(size=(len(index), 2, 3))
    ops = JaxOps()
    rows = ops.index(index)
    assert np.array_equal(ops.numpy(jax.jit(lambda value: ops.box(value)[rows])(x)), x[np.array(index, int)])
    expected = np.zeros_like(x)
    np.add.at(expected, np.array(index, int), weights)
    found, by_torch = slopes_of(lambda ops, value: value[ops.index(index)], x, weights)
    assert np.allclose(found, expected, rtol=1e-14)
    assert np.allclose(by_torch, expected, rtol=1e-14)


@pytest.mark.parametrize("index", [one for one in INDICES if len(set(one)) == len(one)], ids=str)
def test_rows_put_are_numpys_and_so_is_the_derivative(index):
    rng = np.random.default_rng(len(index))
    x, weights = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2, 3))

    def doubled(ops, value):
        rows = ops.index(index)
        return replaced(ops, value, rows, 2 * value[rows] if len(index) else value[:0])

    expected = np.ones_like(x)
    expected[np.array(index, int)] = 2
    ops = JaxOps()
    assert np.array_equal(ops.numpy(jax.jit(lambda value: doubled(ops, ops.box(value)))(x)), x * expected)
    for slopes in slopes_of(doubled, x, weights):
        assert np.allclose(slopes, weights * expected, rtol=1e-14)


def test_two_axes_at_once():
    ops, x = JaxOps(), np.arange(6.0).reshape(3, 2)
    where = ops.whole([0, 2, 3]), ops.whole([1, 0, 1])
    found = ops.numpy(jax.jit(lambda value: ops.put(ops.zeros((4, 2, 2), value.dtype), where, value))(x))
    expected = np.zeros((4, 2, 2))
    expected[[0, 2, 3], [1, 0, 1]] = x
    assert np.array_equal(found, expected)


def test_places_of_rows():
    index = np.array([4, 1, 4, 4, 0])
    columns = places_of(index, 6)
    for row in range(6):
        assert sorted(int(c[row]) for c in columns if c[row] < 5) == np.flatnonzero(index == row).tolist()


@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_running_sums(dtype):
    ops = JaxOps()
    x = np.random.default_rng(0).integers(-9, 9, (3, 5, 4)).astype(dtype)
    for axis in (0, 1, 2, -1):
        found = ops.numpy(jax.jit(lambda value, axis=axis: ops.cumulate(ops.box(value), axis))(x))
        assert found.dtype == dtype
        assert np.array_equal(found, np.cumsum(x, axis))


def test_sums_over_groups():
    groups, x = np.array([2, 0, -1, 2, 0, 4, 2]), np.random.default_rng(1).normal(size=(7, 3))
    ops = JaxOps()
    found = jax.jit(lambda value: Segments(groups, 5, ops).sum(ops.box(value)))(x)
    assert np.allclose(ops.numpy(found), Segments(groups, 5, NUMPY).sum(x), rtol=1e-14)


def test_ties_are_shared_alike():
    """Against a number the array gets all of the derivative; of two equal arrays each gets half."""
    x, weights = np.array([-1.0, 0.0, 2.0]), np.array([3.0, 5.0, 7.0])
    cases = {
        "against a number": lambda ops, value: ops.maximum(value, 0) + ops.minimum(value, 0.0),
        "against an array": lambda ops, value: ops.maximum(value, value * value * 0.5) + ops.minimum(value, value * 2),
    }
    expected = {
        # Above 0 and below: once; at 0 by both: twice.
        "against a number": weights * [1, 2, 1],
        # max(x, x^2 / 2): -1 gives x, 0 half of 1 and half of 0, 2 half of 1 and half of 2; min(x, 2 x): 2, 3 / 2, 1.
        "against an array": weights * [-1 + 2, 0.5 + 1.5, 1.5 + 1],
    }
    for name, function in cases.items():
        found, by_torch = slopes_of(function, x, weights)
        assert np.array_equal(found, by_torch), name
        assert np.array_equal(found, expected[name]), name


def test_one_floating_type_throughout():
    ops = JaxOps(np.float32)
    whole, real = ops.whole([1, 2, 3]), ops.constant([0.5, 1.5, 2.5])
    assert (whole * real).dtype == np.float32  # both known: NumPy would widen
    assert (whole / whole).dtype == np.float32

    def mixed(value):
        return (ops.box(value) * whole + real * np.float64(2) + np.ones(3)).value

    assert "f64[3]" not in str(jax.make_jaxpr(mixed)(np.ones(3, np.float32)))
    assert ops_of(real) == JaxOps(np.float32) != JaxOps()


def test_jax_is_imported_where_it_is_used_alone():
    command = "import sys, echelongym.envs, echelongym.agents; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", command], check=True)
