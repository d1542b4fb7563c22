"""Choice of the exact method that fits a scenario."""

from __future__ import annotations

from collections.abc import Callable

from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.scenario.scenario import Scenario

from .answer import Exact
from .clark_scarf import clark_scarf
from .newsvendor import newsvendor
from .reorder_point import reorder_point
from .value_iteration import LARGEST, value_iteration

#: Methods in the order in which ``auto`` tries them.
METHODS = ("newsvendor", "clark_scarf", "reorder_point", "value_iteration")


def solve(
    scenario: Scenario,
    method: str = "auto",
    max_states: int = LARGEST,
    progress: Callable[[str], None] | None = None,
) -> Exact:
    """Optimal long-run average cost of a scenario, and a policy that attains it.

    The cost is that of the long run: horizon, warm-up, initial stock and terminal values do not count, nor does
    revenue.

    Parameters
    ----------
    scenario
        What to solve.
    method
        ``newsvendor`` (one store), ``clark_scarf`` (a chain with backorders), ``reorder_point`` (one store with a fixed
        cost an order), ``value_iteration`` (small scenarios in whole units), or ``auto``: the first of them that fits.
    max_states
        Limit of states of value iteration.
    progress
        Called with a line of text now and then.

    Raises
    ------
    InputError
        Naming the feature that a method cannot handle, or the number of states found and the limit.

    Example
    -------
    >>> exact = solve(Scenario.load("lost_sales"))
    >>> round(exact.value, 6), exact.method
    (4.728526, 'value_iteration')
    """
    if not isinstance(scenario, Scenario):
        raise expected("scenario", scenario, "a Scenario, as Scenario.load gives")
    if not isinstance(method, str):
        raise unknown("method", method, ("auto", *METHODS))
    one = {"newsvendor": newsvendor, "clark_scarf": clark_scarf, "reorder_point": reorder_point}
    if method in one:
        return one[method](scenario)
    if method == "value_iteration":
        return value_iteration(scenario, max_states, progress)
    if method != "auto":
        raise unknown("method", method, ("auto", *METHODS))
    reasons = []
    for name, solver in one.items():
        try:
            return solver(scenario)
        except InputError as error:
            reasons.append(f"{name}: {error}")
    try:
        return value_iteration(scenario, max_states, progress)
    except InputError as error:
        lines = "\n  ".join([*reasons, f"value_iteration: {error}"])
        raise InputError(f"{scenario.name}: no exact method fits:\n  {lines}") from None
