"""Value iteration on small whole-unit scenarios: lost sales, dual sourcing, tiny networks, perishables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario

from ..rules import EchelonBaseStock
from .answer import Exact
from .markov.bellman import Solution, optimise, visits
from .markov.decision_process import Process
from .markov.decisions import Box, first_box, order_step
from .markov.finite_laws import Chance
from .markov.half_periods import Halves
from .markov.rounding_lots import Lots

TOUCHED = 1e-8  # long-run share of periods above which a limit of the box counts as touched
SAME = 1e-8  # relative change of the optimum at which the box is wide enough
CLOSE = 1e-6  # relative distance of bounds that counts as converged
LARGEST = 200_000
ATTEMPTS = 60


def value_iteration(
    scenario: Scenario, max_states: int = LARGEST, progress: Callable[[str], None] | None = None
) -> Exact:
    """Optimal long-run average cost and policy of a small scenario, by the simulator's own dynamics.

    States are what policies observe (stock by age, units in transit by time on the road, backlog, availability);
    decisions are whole requests that sources can fill; chance is demand, lots, hidden lead times and random
    disruptions, with exact probabilities (tails of 1e-13 cut off). Everything within a box of limits is enumerated; the
    box grows until an optimal policy does not touch it and a wider one has the same optimum.

    Raises
    ------
    InputError
        If a feature has no finite law, or if there are more states than ``max_states``.
    """
    refuse_returns(scenario, "value_iteration")
    refuse_cut_minimum_orders(scenario, "value_iteration")
    chance = Chance(scenario, "value_iteration")
    halves = Halves(scenario, chance)
    lots = Lots(halves)
    t = scenario.tables
    if t.A > 1 and set(lots.lanes_out) & set(lots.customers_at):
        node = t.nodes[min(set(lots.lanes_out) & set(lots.customers_at))[0]]
        raise expected(
            f"nodes.{node}", "several lanes and customers", "one of the two, as units age, for value_iteration"
        )
    box = first_box(scenario, chance.demands)
    known: float | None = None
    notes: list[str] = []
    process, solution = None, None
    for _ in range(ATTEMPTS):
        try:
            process = Process(halves, lots, box, max_states, progress)
        except InputError:
            if known is None or solution is None:
                raise
            notes.append(f"a wider box has more than {max_states} states: not confirmed by one")
            break
        found = optimise(process, 1e-10 if known is not None else 1e-9)
        # Bounds that stay apart leave the cost of the policy found.
        settled = found.high - found.low <= CLOSE * max(1.0, abs(found.high))
        value = 0.5 * (found.low + found.high) if settled else found.high
        position, request, backlog = touched(process, found)
        if progress is not None:
            progress(f"{process.count} states, {len(process.owner)} decisions: {value:.8g}")
        if max(position.max(), request.max(), backlog.max()) > 0:
            box, known, solution = box.enlarged(position, request, backlog), None, None
            continue
        change = np.inf if known is None else abs(value - known)
        kept, solution, known = (process, box), found, value
        if change <= SAME * max(1.0, abs(value)):
            break
        box = box.wider()
    if solution is None or known is None:
        raise InputError(f"{scenario.name}: no box that an optimal policy leaves untouched after {ATTEMPTS} attempts")
    process, box = kept
    notes = [f"{process.count} states, {len(process.owner)} decisions", *_told(box, scenario), *notes]
    if t.S > t.C or len(lots.customers_at):
        notes.append("customers are served without reserves")
    if solution.high - solution.low > CLOSE * max(1.0, abs(known)):
        notes.append(
            "not shown to be optimal: the value is the policy's cost, the error its distance from a lower bound"
        )
    policy = Tabulated(scenario, process, solution.chosen)
    error = solution.high - solution.low + SAME * max(1.0, abs(known))
    return Exact(known, "value_iteration", policy, {}, error, tuple(notes))


def refuse_returns(scenario: Scenario, method: str) -> None:
    """Refuse return lanes, which customers fill after the decision.

    Raises
    ------
    InputError
        If there is one.
    """
    for name, lane in scenario.lanes.items():
        if lane.return_share is not None:
            raise expected(f"lanes.{name}.return_share", lane.return_share, f"none for method {method}", scenario.name)


def refuse_cut_minimum_orders(scenario: Scenario, method: str) -> None:
    """Refuse minimum orders that may be cut when they are shipped: then asking for more than there is does something.

    Raises
    ------
    InputError
        If there is one.
    """
    t = scenario.tables
    for lane, name in enumerate(t.lanes):
        source = t.lane_source[lane]
        cut = np.isfinite(t.lane_capacity[lane]) or (
            source >= 0 and (not t.is_supplier[source] or np.isfinite(t.node_capacity[source]))
        )
        least = float(t.minimum_order[lane].max())
        if cut and least > 1:
            hint = f"0, or a lane and a supplier without capacity, so that nothing cuts an order, for method {method}"
            raise expected(f"lanes.{name}.minimum_order", least, hint, scenario.name)


def touched(process: Process, solution: Solution) -> tuple[Floats, Floats, Floats]:
    """Limits on positions (N, P), requests (L, P) and backlogs (C, P) that an optimal policy meets on the long run.

    As decades (base 10) by which the share of periods exceeds ``TOUCHED``; 0 where a limit is not met.
    """
    t, h, box = process.halves.tables, process.halves, process.box
    share, standing = visits(process, solution.chosen)
    likely = np.flatnonzero(share > TOUCHED / 100)
    weight = share[likely][:, None, None]
    vectors = process.states.vectors[likely].astype(np.int64)
    stand, road = vectors[:, : h.stand_width], vectors[:, h.stand_width :]
    requests = process.requests[solution.chosen[likely]].reshape(-1, t.L, t.P).astype(np.int64)
    position = process.decisions.positions(stand, road)
    for lane in range(t.L):
        position[:, t.lane_target[lane]] += requests[:, lane]
        if t.lane_source[lane] >= 0:
            position[:, t.lane_source[lane]] -= requests[:, lane]
    ordering = ~t.is_supplier[:, None] & (t.primary_lane >= 0)
    batch = order_step(t)
    into = np.ones((t.N, t.P), dtype=np.int64)
    for lane in range(t.L):
        into[t.lane_target[lane]] = np.maximum(into[t.lane_target[lane]], batch[lane])
    asked = np.zeros(position.shape, dtype=bool)
    for lane in range(t.L):
        asked[:, t.lane_target[lane]] |= requests[:, lane] > 0
    high = (((position > box.position - into) & asked) * weight).sum(axis=0)
    many = ((requests > box.request - batch) * weight).sum(axis=0)
    cut = (standing @ process.cut).reshape(t.C, t.P)
    return _decades(high * ordering), _decades(many * t.lane_open), _decades(cut)


def _decades(share: Floats) -> Floats:
    return np.asarray(np.log10(np.maximum(share / TOUCHED, 1.0)), dtype=np.float64)


def _told(box: Box, scenario: Scenario) -> list[str]:
    """The box in words."""
    t = scenario.tables

    def listed(names: Any, limits: Ints, chosen: Any) -> str:
        cells = [
            f"{name} {limits[i, p]}" + (f" ({t.products[p]})" if t.P > 1 else "")
            for i, name in enumerate(names)
            for p in range(t.P)
            if chosen[i, p]
        ]
        return ", ".join(cells)

    everywhere = np.tile(~t.is_supplier[:, None], (1, t.P))
    told = [
        f"positions after ordering up to {listed(t.nodes, box.position, everywhere)}",
        f"requests up to {listed(t.lanes, box.request, t.lane_open)}",
    ]
    if (box.backlog > 0).any():
        told.append(f"backlog up to {listed(t.customers, box.backlog, box.backlog > 0)}")
    return told


class Tabulated:
    """Policy as a table from states to requests.

    A state outside of the table (of an initial stock far from the long run, say) is decided by echelon base-stock at
    automatic levels, until the table knows where the network is.
    """

    name = "tabulated"

    def __init__(self, scenario: Scenario, process: Process, chosen: Ints) -> None:
        self.process = process
        self.requests = process.requests[chosen].astype(np.int64)
        self.otherwise = EchelonBaseStock(scenario)
        process.forget()

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P)."""
        halves, t = self.process.halves, self.process.halves.tables
        stands, roads = observed(halves, observation)
        backlog = np.minimum(halves.backlog(stands), self.process.box.backlog[:, :, None, None])
        stands = halves.stand(stands[:, 0], halves.on_hand(stands), backlog)
        numbers = self.process.find(stands, roads)
        requests = self.requests[np.maximum(numbers, 0)].reshape(-1, t.L, t.P)
        if (numbers < 0).any():
            other = np.asarray(self.otherwise(observation).requests)
            requests = np.where((numbers < 0)[:, None, None], other, requests)
        return Decision(requests)


def observed(halves: Halves, observation: Observation) -> tuple[Ints, Ints]:
    """Stands and roads (B, ...) of an observation."""
    chance = halves.chance
    on_hand = np.moveaxis(np.asarray(observation.on_hand), 0, -1).astype(np.int64)
    backlog = np.moveaxis(np.asarray(observation.backlog), 0, -1).astype(np.int64)
    surroundings = np.zeros(on_hand.shape[-1], dtype=np.int64)
    seen: list[Floats] = []
    if chance.node_availability is not None:
        seen.append(np.asarray(observation.node_availability, dtype=np.float64))
    if chance.lane_availability is not None:
        seen.append(np.asarray(observation.lane_availability, dtype=np.float64))
    if seen:
        shown = np.concatenate([*seen, np.zeros((len(surroundings), 1))], axis=1)
        surroundings = np.abs(shown[:, None] - chance.visible[None]).sum(axis=2).argmin(axis=1)
    road = halves.dynamics.road
    in_transit = np.asarray(observation.in_transit).astype(np.int64)  # (B, L, P, K, A)
    rows = [in_transit[:, lane, :, k] for lane, k in zip(road.kept_lane, road.kept_slot, strict=True)]
    count = len(surroundings)
    roads = np.concatenate([row.reshape(count, -1) for row in rows], axis=1) if rows else np.zeros((count, 0), np.int64)
    return halves.stand(surroundings, on_hand, backlog), roads
