"""The loop over periods: its value and derivative are those that JAX takes of its own scan."""

import numpy as np
import pytest

pytest.importorskip("jax")
import jax
from jax import lax
from jax import numpy as jnp

from echelongym.envs.rollout.reverse import loop
from echelongym.envs.rollout.scan import whole_numbers


def test_a_loop_is_differentiated_as_a_scan():
    """In weights, in what is carried first, and past whole numbers that are carried along."""
    rng = np.random.default_rng(0)
    weights, opening = {"a": rng.normal(size=(4, 4)), "b": rng.normal(size=4)}, rng.normal(size=4)

    def step(weights, carried, number):
        state, count = carried
        state = jnp.tanh(weights["a"] @ state + jnp.where(count % 2 == 0, weights["b"], 0.3) * jnp.cos(number * 1.0))
        return state, count + 1

    def by_loop(weights, opening):
        state, count = loop(step, weights, (opening, jnp.zeros((), int)), 9)
        return (state**2).sum() + count

    def by_scan(weights, opening):
        first = opening, jnp.zeros((), int)
        (state, count), _ = lax.scan(lambda now, number: (step(weights, now, number), None), first, jnp.arange(9))
        return (state**2).sum() + count

    with whole_numbers():
        (value, slopes), (wanted, expected) = (
            jax.value_and_grad(one, (0, 1))(weights, opening) for one in (by_loop, by_scan)
        )
        assert value == wanted
        found, right = jax.tree_util.tree_leaves(slopes), jax.tree_util.tree_leaves(expected)
        assert all(np.allclose(ours, theirs, rtol=1e-12) for ours, theirs in zip(found, right, strict=True))
