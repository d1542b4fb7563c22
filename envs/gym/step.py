"""One step of an env as one function of arrays: decode, ship, serve, price, receive, encode.

Nothing in it is decided by a value, so that it can be recorded once and replayed (:mod:`recorder`).
"""

from __future__ import annotations

from typing import NamedTuple

from ..accounts.ledger import REVENUE, Ledger
from ..core.backend import Array, NumpyOps
from ..dynamics import Arrivals, Dynamics, Exogenous, Flows, State, demand_seen
from ..interface.action_decoder import Decoding
from ..interface.observation import viewed
from ..interface.observation_encoder import ObservationEncoder
from ..network.tables import Tables

#: Objectives of a period, to be minimised: money, units of new demand not served in their period, kg, units.
OBJECTIVES = ("cost", "unmet", "emissions", "waste")
REWARD = "reward"


class Carried(NamedTuple):
    """State carried from one step to the next; entity first, batch last."""

    state: State  # as observed
    arrivals: Arrivals  # what came in at the start of the period; zeros in an episode's first
    history: Array  # (C, P, H, B) demand as seen before this period, newest first
    positions: Array  # (n, B) as observed


class Action(NamedTuple):
    """Actions of a period; batch last, None where one does not apply."""

    encoded: Array | None  # (n, B) numbers that a decoder turns into requests, or else
    requests: Array | None  # (L, P, B) units
    reserve: Array | None  # (S, P, B) units


class StepPeriod(NamedTuple):
    """Period of a step; the last axis is B where worlds are out of step, else 1."""

    period: Array  # (B,) or (1,) number of the next period
    season: Array  # (waves, B) or (waves, 1) of the next period
    ending: Array  # (B,) or (1,) 1 where the episode ends with this period


class Before(NamedTuple):
    """Inputs of a step; entity first, batch last."""

    carried: Carried
    action: Action
    now: Exogenous  # the tape, this period
    then: Exogenous  # and the next
    at: StepPeriod


class After(NamedTuple):
    """Results of a step."""

    carried: Carried
    observation: Array  # (n, B) float32
    figures: Array  # (names, B) money, objectives, reward
    flows: Flows


class Stepping:
    """Step function of one scenario on one backend.

    Attributes
    ----------
    names : of the rows of ``After.figures``: cost lines, ``OBJECTIVES`` (if told), ``REWARD``. Known after a step.
    """

    def __init__(
        self,
        tables: Tables,
        dynamics: Dynamics,
        ledger: Ledger,
        decoding: Decoding,
        watching: Decoding,
        encoder: ObservationEncoder,
        told: bool,
    ) -> None:
        self.tables, self.dynamics, self.ledger = tables, dynamics, ledger
        self.decoding, self.watching, self.encoder = decoding, watching, encoder
        self.ops: NumpyOps = dynamics.ops  # type: ignore[assignment]
        self.told = told
        self.valued = bool(tables.terminal_value.any())
        self.names: tuple[str, ...] = ()

    def __call__(self, before: Before) -> After:
        """One period, up to the observation at the start of the next."""
        carried, (encoded, requests, reserve) = before.carried, before.action
        state = carried.state
        if encoded is not None:
            owned = None
            if not self.decoding.needs_positions_alone:
                owned = self.decoding.stock(state.on_hand, state.rows, state.backlog)
            action = self.ops.to_float(encoded)
            requests = self.decoding(action, state.on_hand, owned, carried.positions)
        state, flows = self.dynamics.advance(state, before.now, requests, reserve, carried.arrivals)
        figures = self._figures(flows, state, before.at.ending)
        state, arrivals = self.dynamics.receive(state, before.then)
        seen = demand_seen(self.tables, flows)
        history = self.ops.concat([seen[:, :, None], carried.history[:, :, :-1]], 2)
        positions, observation = self.look(state, before.then, history, before.at)
        return After(Carried(state, arrivals, history, positions), observation, figures, flows)

    def look(
        self,
        state: State,
        now: Exogenous,
        history: Array,
        at: StepPeriod,
    ) -> tuple[Array, Array]:
        """Positions and flat observation of a state."""
        view = viewed(self.tables, state, state.rows, now, history, at.period, at.season)
        owned = self.watching.stock(state.on_hand, state.rows, state.backlog)
        positions = self.watching.positions(owned)
        return positions, self.encoder.flat(view, positions, self.ops)

    def _figures(self, flows: Flows, closing: State, ending: Array) -> Array:
        """(names, B) cost lines, objectives, reward."""
        ops, ledger = self.ops, self.ledger
        lines = ledger.period(flows, last=self.valued, closing=closing)
        if self.valued:
            lines["terminal"] = ops.where(ending > 0, lines["terminal"], 0.0)
        cost, revenue = ledger.cost(lines), lines.get(REVENUE)
        reward = (-cost if revenue is None else revenue - cost) / self.tables.reward_scale
        rows = dict(lines)
        if self.told:
            nothing = ops.zeros(tuple(cost.shape), ops.float)
            rows["cost"] = cost
            rows["unmet"] = self._summed(flows.demand - flows.served_new)
            rows["emissions"] = ledger.emissions_kg(flows) if ledger.emits else nothing
            rows["waste"] = nothing if flows.disposed is None else self._summed(flows.disposed)
        rows[REWARD] = reward
        self.names = tuple(rows)
        return ops.stack(list(rows.values()), 0)

    def _summed(self, units: Array) -> Array:
        total = self.ops.total(units.reshape((-1, units.shape[-1])), 0)
        return self.ops.to_float(total) if self.tables.integer else total
