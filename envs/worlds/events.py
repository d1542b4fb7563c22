"""Drawn disruptions: when each is active in each world, and the product of their effects."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.typing import Bools, Floats
from ..processes.compiled import kernels
from ..processes.demand import DisruptionFactor
from ..processes.series import Streams
from .dated import dated_span
from .disruption import When, active_within, hits
from .source import WorldSource

MOST_CODED = 12  # events on one customer whose 2^k combinations are listed


def active_periods(
    when: When, name: str, streams: Streams, first: int, count: int, span: tuple[int, int] | None = None
) -> Bools:
    """Whether an event is active in each of ``count`` periods from ``first <= 0`` on.

    A random event is a Markov chain of two states that leaves "up" with probability 1 / mean_up and
    "down" with 1 / mean_down, so that stretches are geometric. It is stationary at period 0 and runs
    from there forward, and backward into history with the same probabilities, as every chain of two
    states is reversible: worlds do not depend on the history's length. ``span`` is the first and last
    period of an event at set times.

    Returns
    -------
    (count, B), or (count, 1) where the event comes at set times.
    """
    if when.mean_up is None or when.mean_down is None:
        periods = np.arange(first, first + count)
        return active_within(periods, span or when.periods or (1, 0), when.every)[:, None]
    uniforms = streams.uniforms("disruption", [name], first, count)[:, 0]
    fall, rise = 1.0 / when.mean_up, 1.0 / when.mean_down
    started = uniforms[-first] < when.mean_down / (when.mean_up + when.mean_down)
    active = np.empty(uniforms.shape, np.bool_)
    active[-first] = started
    for way in (slice(-first, None), slice(-first, None, -1)):
        _chain(uniforms[way], fall, rise, active[way])
    return active


def _chain(uniforms: Floats, fall: float, rise: float, active: Bools) -> None:
    """Fill in states (n, B), True = down, from ``active[0]`` on; row k follows from ``uniforms[k]``.

    A number sends both states the same way, or leaves each where it is, or exchanges them; the
    state is that of the last number that sent both the same way, with the exchanges since. So no
    loop over periods is needed.
    """
    compiled = kernels(uniforms.size)
    if compiled is not None:
        compiled.chain(uniforms, fall, 1.0 - rise, active)
        return
    after_up = uniforms < fall
    after_down = uniforms < 1.0 - rise
    exchange = after_up & ~after_down
    exchange[0] = False
    odd = np.bitwise_xor.accumulate(exchange, axis=0)
    settles = after_up == after_down
    settles[0] = True
    after_up[0] = active[0]
    rows = np.arange(1, len(uniforms) + 1, dtype=np.int64)[:, None]
    last = np.maximum.accumulate(np.where(settles, 2 * rows + (after_up ^ odd), 0), axis=0)
    active[...] = (last & 1).astype(np.bool_) ^ odd


class Events:
    """All disruptions of a scenario, ready to be drawn.

    Raises
    ------
    InputError
        If a selector selects nothing.
    """

    def __init__(self, scenario: WorldSource) -> None:
        self._scenario = scenario
        self._when = {name: item.when for name, item in scenario.disruptions.items()}
        # Per kind of entity and key of the effect: (event, entity, amount).
        self._effects: dict[tuple[str, str], list[tuple[str, int, float]]] = {}
        for hit in hits(scenario):
            entries = self._effects.setdefault((hit.kind, hit.key), [])
            entries.extend((hit.disruption, int(entity), hit.amount) for entity in hit.entities)

    def affects(self, kind: str, key: str) -> list[int]:
        """Entities on which some disruption has an effect."""
        return sorted({entity for _, entity, _ in self._effects.get((kind, key), [])})

    def draw(self, streams: Streams, first: int, count: int) -> dict[str, Bools]:
        """Activity of each event, by name; see :func:`active_periods`."""
        found = {}
        for name, when in self._when.items():
            span = None
            if when.dates is not None:
                span = dated_span(self._scenario, when, streams.shown, f"disruptions.{name}.when")
            found[name] = active_periods(when, name, streams, first, count, span)
        return found

    def product(self, kind: str, key: str, size: int, active: dict[str, Bools]) -> Floats | None:
        """Product of the active effects on each of ``size`` entities, (n, size, B or 1), or None."""
        entries = self._effects.get((kind, key))
        if not entries:
            return None
        shape = np.broadcast_shapes(*(active[event].shape for event, _, _ in entries))
        product = np.ones((shape[0], size, shape[1]))
        compiled = kernels(len(entries) * shape[0] * shape[1])
        for event, entity, amount in entries:
            if compiled is None:
                product[:, entity] *= np.where(active[event], amount, 1.0)
            else:
                compiled.affect(product[:, entity], active[event], amount)
        return product

    def demand_factors(self, customers: int, active: dict[str, Bools]) -> list[DisruptionFactor | None]:
        """Product of the active ``demand_factor`` effects on each customer."""
        amounts: list[dict[str, float]] = [{} for _ in range(customers)]
        for event, customer, amount in self._effects.get(("customers", "demand_factor"), []):
            amounts[customer][event] = amounts[customer].get(event, 1.0) * amount
        known: dict[tuple[tuple[str, float], ...], DisruptionFactor] = {}
        factors: list[DisruptionFactor | None] = []
        for by_event in amounts:
            key = tuple(by_event.items())
            if key and key not in known:
                known[key] = _coded(key, active)
            factors.append(known.get(key))
        return factors


def _coded(amounts: tuple[tuple[str, float], ...], active: dict[str, Bools]) -> DisruptionFactor:
    if len(amounts) > MOST_CODED:
        product: Floats = np.ones((1, 1))
        for event, amount in amounts:
            product = product * np.where(active[event], amount, 1.0)
        levels, codes = np.unique(product, return_inverse=True)
        return DisruptionFactor(codes.reshape(product.shape), levels)
    code = np.zeros((1, 1), np.intp)
    levels = np.ones(1)
    for event, amount in amounts:
        code = code + active[event] * len(levels)
        levels = np.concatenate([levels, levels * amount])
    return DisruptionFactor(code, levels)


def disturbed(scenario: WorldSource) -> dict[str, NDArray[np.bool_]]:
    """Arrays of a tape that disruptions and calendars can make other than 1, each with its (entities,) that any hits.

    Among ``node_availability`` (N,), ``lane_availability`` and ``lane_yield`` (L,); what nothing hits is not there. Any
    amount counts, even 1; what can fall below 1 is :func:`impaired`.
    """
    t = scenario.tables
    found: dict[str, NDArray[np.bool_]] = {}
    for hit in hits(scenario):
        if hit.key in ("availability", "yield"):
            size = t.N if hit.kind == "nodes" else t.L
            found.setdefault(f"{hit.kind[:-1]}_{hit.key}", np.zeros(size, dtype=bool))[hit.entities] = True
    for name, patterns in (("node_availability", t.node_pattern), ("lane_availability", t.lane_pattern)):
        closes = np.array([not pattern.all() for pattern in patterns], dtype=bool)
        items = getattr(scenario, f"{name.partition('_')[0]}s").values()
        closes |= np.array([one.calendar is not None and bool(one.calendar.dates) for one in items], dtype=bool)
        if closes.any():
            found[name] = found.get(name, False) | closes
    return found


def impaired(scenario: WorldSource) -> tuple[Bools, Bools]:
    """Nodes (N,) and lanes (L,) whose availability a disruption can bring below 1; closed days are none."""
    t = scenario.tables
    found = {"nodes": np.zeros(t.N, dtype=bool), "lanes": np.zeros(t.L, dtype=bool)}
    for hit in hits(scenario, "availability"):
        if hit.amount < 1:
            found[hit.kind][hit.entities] = True
    return found["nodes"], found["lanes"]
