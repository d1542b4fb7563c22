"""Memory of worlds, as tapes and in simulations, estimated before anything is drawn."""

from __future__ import annotations

from ..core import memory_limits
from ..network.tables import Tables
from .source import WorldSource

_NUMBER = 8  # bytes


def tape_bytes(scenario: WorldSource, worlds: int, periods: int) -> int:
    """Bytes of the worlds that :meth:`Scenario.sample` draws, with what drawing them takes at the same time.

    What does not vary takes no memory. The numbers that one series is drawn from count as two further arrays.
    """
    t = scenario.tables
    rows = t.H + periods + max(t.F - 1, 0)
    numbers = rows * t.C * t.P + 2 * rows + 2 * periods * t.C * t.P * t.F
    if t.lead_time_random.any():
        numbers += periods * t.L
    if scenario.disruptions:
        numbers += periods * (t.N + 2 * t.L)
    if t.integer:
        numbers += 2 * periods * sum(node.kind != "supplier" for node in scenario.nodes.values()) * t.P
    return _NUMBER * numbers * worlds


def state_bytes(tables: Tables, worlds: int) -> int:
    """Bytes of what stands in the network, on its way, and waits, in so many worlds at one moment."""
    t = tables
    return _NUMBER * t.P * (t.N * t.A + t.L * t.K * t.A + t.C * t.W) * worlds


def simulation_bytes(scenario: WorldSource, worlds: int, periods: int, trace: bool = False) -> int:
    """Bytes of a simulation: the tape, what stands in the network, and every period of what happened where a trace is kept."""
    t = scenario.tables
    stock = state_bytes(t, worlds)
    kept = stock
    if trace:
        flows = (6 * t.L + 2 * t.C + t.S + t.N) * t.P
        kept += (
            2 * (stock + _NUMBER * flows * worlds) + 12 * _NUMBER * worlds
        ) * periods  # period by period, then joined
    return tape_bytes(scenario, worlds, periods) + kept


def worlds_that_fit(scenario: WorldSource, worlds: int, periods: int, share: float = 0.4) -> int:
    """Number of ``worlds`` to simulate at a time so that they take no more than a share of what is free; at least 1."""
    free = memory_limits.free_memory()
    if free is None:
        return worlds
    return min(max(int(share * free / max(simulation_bytes(scenario, 1, periods), 1)), 1), worlds)
