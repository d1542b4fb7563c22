"""One period of a policy on a network, recorded as scalar operations; see :mod:`symbols`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import NUMPY
from echelongym.envs.dynamics import Dynamics, Exogenous, State
from echelongym.envs.dynamics.rounding import short_of
from echelongym.envs.interface.observation_encoder import season_periods, season_waves
from echelongym.envs.worlds.events import disturbed
from echelongym.envs.worlds.tape import Tape

from ...service_targets import Multipliers
from ..actor import ActorDefinition
from ..gradients.smoothing import SmoothLedger
from .decision import recorded_decision
from .recording import CannotRecord, RecordedPeriod
from .symbols import SYMBOLS, Graph, Operation, symbols

MOST_ATTEMPTS = 40  # what never changes may come to light one period after another


def record(actor: ActorDefinition, ledger_smoothing: float, scenario: Any) -> RecordedPeriod:
    """Write down a period of a scenario in continuous units.

    Raises
    ------
    CannotRecord
        Where there is no such form; the torch dynamics know it all.
    """
    fixed: dict[int, float] = {}
    for _ in range(MOST_ATTEMPTS):
        recorder = _Recorder(actor, ledger_smoothing, scenario, fixed)
        found = recorder.run()
        more = recorder.settled()
        if not more:
            return found
        fixed |= more
    raise CannotRecord("its state does not settle")


class _Recorder:
    """One attempt, with what is known of entries of the state that never change."""

    def __init__(self, actor: ActorDefinition, smoothing: float, scenario: Any, fixed: dict[int, float]) -> None:
        self.actor, self.scenario, self.fixed = actor, scenario, fixed
        self.t = scenario.tables
        # Whether a sample shows it or not.
        self.varies = {*disturbed(scenario), *(["lead_time"] if self.t.lead_time_random.any() else [])}
        self.graph = Graph()
        self.made = RecordedPeriod(self.graph)
        self.dynamics = Dynamics(self.t, SYMBOLS)  # type: ignore[arg-type]
        self.ledger = SmoothLedger(self.t, SYMBOLS, smoothing, scenario)  # type: ignore[arg-type]
        self.multipliers = Multipliers(scenario, NUMPY)

    def run(self) -> RecordedPeriod:
        """The period: receive, observe, decide, advance, cost."""
        state = self._state()
        exogenous = self._exogenous()
        state, arrivals = self.dynamics.receive(state, exogenous)
        requests, reserve = recorded_decision(self.actor, self.made, self._observe(state))
        after, flows = self.dynamics.advance(state, exogenous, requests, reserve, arrivals)
        lines = self.ledger.period(flows)
        cost = self.ledger.net_cost(lines)[0]
        customers = []
        if self.multipliers.active:
            unserved = SYMBOLS.total(flows.demand - flows.served_new, 1)[:, 0]
            dust = SYMBOLS.constant(short_of(self.t, SYMBOLS.float)[:, None, None])
            short = SYMBOLS.total(flows.demand - flows.served_new > dust, 1)[:, 0]
            prices = self.graph.inputs("parameter", self.made.parameters, (self.t.C,))
            self.made.parameters += self.t.C
            for price, units in zip(prices, unserved, strict=True):
                cost = cost + price * units
            customers = [*unserved, *SYMBOLS.total(flows.demand, 1)[:, 0], *SYMBOLS.minimum(short, 1.0)]
        self.made.outputs = [cost, *customers]
        self.after = np.concatenate([part.reshape(-1) for part in self._fields(after)])
        self.made.start = [self.first[i] for i in self.kept]
        self.made.following = [self.after[i] for i in self.kept]
        return self.made

    def settled(self) -> dict[int, float]:
        """Entries of the state that turn out never to change, and where they stand."""
        found = {}
        for number, place in enumerate(self.kept):
            one = self.after[place]
            same = isinstance(one, Operation) and one.operation == "input" and one.arguments == ("state", number)
            if same or (not isinstance(one, Operation) and float(one) == self.first[place]):
                found[place] = self.first[place]
        return found

    def _fields(self, state: State) -> list[Any]:
        """The arrays of a state, in order."""
        return [
            one for one in (state.on_hand, state.rows, state.leads, state.backlog, state.unfilled) if one is not None
        ]

    def _state(self) -> State:
        """The state between periods: entries that change as inputs, others as the numbers that they are."""
        start = Dynamics(self.t, NUMPY).initial(1)
        road = self.dynamics.road
        moved = np.zeros((road.rows, *start.rows.shape[1:]))
        moved[road.kept] = start.rows
        leads = start.leads
        if leads is not None:
            # Between periods there is a slot more: what left a period ago, which nothing has yet.
            whole = self.t.nominal_lead_time[road.row_lane[road.varied_rows]][:, None].astype(np.float64)
            whole[road.varied_kept] = leads
            leads = whole
        arrays = [start.on_hand, moved, leads, start.backlog, start.unfilled]
        flat = np.concatenate([np.asarray(one, dtype=np.float64).reshape(-1) for one in arrays if one is not None])
        self.first = flat
        self.kept = [i for i in range(len(flat)) if i not in self.fixed]
        entries = np.empty(len(flat), dtype=object)
        entries[:] = flat.tolist()
        for number, place in enumerate(self.kept):
            entries[place] = self.graph.node("input", ("state", number))
        parts: list[Any] = []
        at = 0
        for one in arrays:
            if one is None:
                parts.append(None)
                continue
            parts.append(symbols(entries[at : at + one.size].reshape(one.shape)))
            at += one.size
        return State(*parts)

    def _exogenous(self) -> Exogenous:
        t = self.t

        def of(name: str, *shape: int) -> Any:
            return self.made.tape(name, shape) if name in self.varies else None

        return Exogenous(
            self.made.tape("demand", (t.C, t.P)),
            of("lead_time", t.L),
            of("node_availability", t.N),
            of("lane_availability", t.L),
            of("lane_yield", t.L),
        )

    def _observe(self, state: State) -> Any:
        """What the policy looks at; arrays of the tape are inputs only if it does."""
        recorder = self
        shown = {
            "on_hand": state.on_hand,
            "in_transit": self.dynamics.in_transit(state),
            "backlog": state.backlog,
            "unfilled": state.unfilled,
        }

        class Lazy:
            """An observation that notes what is read."""

            def __getattr__(self, name: str) -> Any:
                found = recorder._shown(name, shown)
                setattr(self, name, found)
                return found

        return Lazy()

    def _shown(self, name: str, shown: dict[str, Any]) -> Any:
        t = self.t
        if name in shown:
            return np.moveaxis(shown[name], -1, 0)
        if name in ("node_availability", "lane_availability"):
            size = t.N if name[0] == "n" else t.L
            if name not in self.varies:
                return symbols(np.ones((1, size)))
            place = self.made.tape(name, (size,))
            return np.moveaxis(place, -1, 0)
        shapes = {"demand_history": (t.C, t.P, t.H), "forecast": (t.C, t.P, t.F), "period": ()}
        if name == "lead_time":
            if not t.quoted:
                return None
            if name not in self.varies:
                return symbols(t.nominal_lead_time[None].astype(np.float64))
            return np.moveaxis(self.made.tape("lead_time", (t.L,)), -1, 0)
        if name == "demand_history" and t.censored:
            raise CannotRecord("sales that are seen instead of demand")
        if name == "features":
            return symbols(np.zeros((1, 0)))
        if name == "season":
            return self.made.tape("season", (2,))
        return np.moveaxis(self.made.tape(name, shapes[name]), -1, 0)


def exogenous_rows(recorded: RecordedPeriod, tape: Tape, scenario: Any) -> NDArray[np.float32]:
    """(T, rows, B) what the tape says, in the order of the inputs."""
    data, periods, worlds, history = tape.exogenous, tape.periods, tape.batch, scenario.tables.H
    found = np.empty((periods, recorded.rows, worlds), dtype=np.float32)
    at = 0
    for name, shape in recorded.exogenous:
        size = int(np.prod(shape))
        part = found[:, at : at + size]
        if name == "demand":
            part[:] = data.demand[history:].reshape(periods, size, worlds)
        elif name == "period":
            part[:] = np.arange(periods)[:, None, None]
        elif name == "season":
            part[:] = season_waves(np.arange(periods), season_periods(scenario)[:1]).T[:, :, None]
        elif name == "demand_history":
            for h in range(history):
                rows = data.demand[history - 1 - h : history - 1 - h + periods].reshape(periods, -1, worlds)
                part[:, h::history] = rows
        elif (value := getattr(data, name)) is not None:
            part[:] = np.asarray(value).reshape(periods, size, -1)
        else:
            part[:] = scenario.tables.nominal_lead_time[:, None] if name == "lead_time" else 1.0
        at += size
    return found
