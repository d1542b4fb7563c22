"""A loop over periods and its derivative: each period is computed anew from what it began with, and differentiated at once.

JAX differentiates ``lax.scan`` by itself, but keeps what does not depend on the state as arrays as large as the batch, and
reads them in every period; and it separates what is computed anew from its derivative, so that both are not compiled as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def loop(step: Callable[[Any, Any, Any], Any], weights: Any, carried: Any, count: int) -> Any:
    """What is carried after ``count`` periods; differentiable in ``weights`` and in what is carried first.

    Parameters
    ----------
    step
        From weights, what is carried, and the number of the period to what is carried next. What else it uses counts as
        constant.
    weights
        Arrays of real numbers, or a nest of them.
    carried
        Arrays, or a nest of them; whole numbers have no derivative.
    count
        Number of periods.
    """
    import jax
    from jax import lax
    from jax import numpy as jnp

    numbers = jnp.arange(count)

    def forward(weights: Any, carried: Any) -> tuple[Any, Any]:
        last, before = lax.scan(lambda now, number: (step(weights, now, number), now), carried, numbers)
        return last, (weights, before)

    def backward(kept: Any, slopes: Any) -> tuple[Any, Any]:
        weights, before = kept
        leaves, shape = jax.tree_util.tree_flatten(before)
        real = [jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves]

        def chosen(nest: Any) -> list[Any]:
            return [leaf for leaf, is_real in zip(jax.tree_util.tree_leaves(nest), real, strict=True) if is_real]

        def pulled(owed: Any, item: Any) -> tuple[Any, None]:
            slopes, by_weight = owed
            now, number = item
            flat = jax.tree_util.tree_leaves(now)

            def of_real(weights: Any, parts: list[Any]) -> list[Any]:
                left = iter(parts)
                every = [next(left) if is_real else leaf for leaf, is_real in zip(flat, real, strict=True)]
                return chosen(step(weights, jax.tree_util.tree_unflatten(shape, every), number))

            _, pull = jax.vjp(of_real, weights, chosen(now))
            more, slopes = pull(slopes)
            return (slopes, jax.tree_util.tree_map(jnp.add, by_weight, more)), None

        zero = jax.tree_util.tree_map(jnp.zeros_like, weights)
        (opening, by_weight), _ = lax.scan(pulled, (chosen(slopes), zero), (before, numbers), reverse=True)
        first = iter(opening)
        nothing = [
            next(first) if is_real else jnp.zeros(leaf.shape[1:], jax.dtypes.float0)
            for leaf, is_real in zip(leaves, real, strict=True)
        ]
        return by_weight, jax.tree_util.tree_unflatten(shape, nothing)

    @jax.custom_vjp
    def run(weights: Any, carried: Any) -> Any:
        return lax.scan(lambda now, number: (step(weights, now, number), None), carried, numbers)[0]

    run.defvjp(forward, backward)
    return run(weights, carried)
