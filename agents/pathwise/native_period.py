"""One period of a policy on a network, written down as scalar operations; see :mod:`symbols`."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from echelongym.agents.networks import Dense
from echelongym.agents.rules.base_stock import Shift
from echelongym.agents.targets import Multipliers
from echelongym.envs.backend import NUMPY
from echelongym.envs.dynamics import Dynamics, Exogenous, State
from echelongym.envs.encoding import season_periods
from echelongym.envs.observation import Observation
from echelongym.envs.simulate import World
from echelongym.envs.tape import Tape

from .bodies import PerceptronBody, SetBody
from .features import BOUND, Features
from .heads import DirectHead, LevelsHead
from .policy import PathwiseActor
from .smoothing import SmoothLedger
from .symbols import SYMBOLS, Graph, Node, SymbolArray, symbols

Floats = NDArray[np.float64]

MOST_ATTEMPTS = 40  # what never changes may come to light one period after another


class CannotRecord(Exception):
    """A policy, or something in the scenario, has no form as scalar operations."""


class Call(NamedTuple):
    """A layer applied to some inputs."""

    layer: int
    number: int  # of the calls of that layer
    inputs: tuple[Any, ...]  # nodes and numbers
    after: int  # nodes known when it is called


@dataclass
class Layer:
    """A dense layer and the activation behind it ("" = none)."""

    module: Dense
    activation: str
    calls: int = 0


@dataclass
class Recorded:
    """What a period computes.

    Attributes
    ----------
    exogenous : names and shapes of the arrays that come from the tape, in order.
    parameters : (n,) learned numbers of the head, then prices of missed targets.
    state : places in the flat state that change, and what they start at.
    """

    graph: Graph
    layers: list[Layer] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    exogenous: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    parameters: int = 0
    start: list[float] = field(default_factory=list)
    following: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)  # cost, then unserved, demand and short by customer

    def layer(self, module: Dense, activation: str, values: Any) -> SymbolArray:
        """(outputs, ...) of values (inputs, ...): one call an entity."""
        known = next((i for i, one in enumerate(self.layers) if one.module is module), None)
        if known is None:
            known = len(self.layers)
            self.layers.append(Layer(module, activation))
        flat = values.reshape(values.shape[0], -1)
        size = module.weight.shape[0]
        found = np.empty((size, flat.shape[1]), dtype=object)
        for entity in range(flat.shape[1]):
            call = len(self.calls)
            self.calls.append(Call(known, self.layers[known].calls, tuple(flat[:, entity]), len(self.graph.nodes)))
            self.layers[known].calls += 1
            for i in range(size):
                found[i, entity] = self.graph.node("layer", (float(call), float(i)))
        return symbols(found.reshape(size, *values.shape[1:]))


def record(actor: PathwiseActor, ledger_smoothing: float, scenario: Any) -> Recorded:
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

    def __init__(self, actor: PathwiseActor, smoothing: float, scenario: Any, fixed: dict[int, float]) -> None:
        self.actor, self.scenario, self.fixed = actor, scenario, fixed
        self.t = scenario.tables
        self.varies = _varies(scenario)
        self.graph = Graph()
        self.made = Recorded(self.graph)
        self.dynamics = Dynamics(self.t, SYMBOLS)  # type: ignore[arg-type]
        self.ledger = SmoothLedger(self.t, SYMBOLS, smoothing, scenario)  # type: ignore[arg-type]
        self.multipliers = Multipliers(scenario, NUMPY)
        self._inputs = 0

    def run(self) -> Recorded:
        """The period: receive, observe, decide, advance, cost."""
        state = self._state()
        exogenous = self._exogenous()
        state, arrivals = self.dynamics.receive(state, exogenous)
        requests, reserve = self._decide(self._observe(state))
        after, flows = self.dynamics.advance(state, exogenous, requests, reserve, arrivals)
        lines = self.ledger.period(flows)
        cost = self.ledger.net_cost(lines)[0]
        customers = []
        if self.multipliers.active:
            unserved = SYMBOLS.total(flows.demand - flows.served_new, 1)[:, 0]
            short = SYMBOLS.total(flows.demand - flows.served_new > 1e-5, 1)[:, 0]
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
            same = isinstance(one, Node) and one.operation == "input" and one.arguments == ("state", number)
            if same or (not isinstance(one, Node) and float(one) == self.first[place]):
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
        extra = 1 if road.fixed_expire is not None else 0
        moved = np.zeros((road.rows + extra, *start.rows.shape[1:]))
        moved[: road.rows][road.kept] = start.rows
        leads = start.leads
        if leads is not None:
            # Between periods there is a slot more: what left a period ago, which nothing has yet.
            whole = np.tile(self.t.nominal_lead_time[road.row_lane[self._varied(road)]][:, None], (1, 1))
            whole[np.asarray(road.varied_kept) if not isinstance(road.varied_kept, slice) else road.varied_kept] = leads
            leads = whole.astype(np.float64)
        arrays = [start.on_hand, moved, leads, start.backlog, start.unfilled]
        flat = np.concatenate([np.asarray(one, dtype=np.float64).reshape(-1) for one in arrays if one is not None])
        self.first = flat
        self.kept = [i for i in range(len(flat)) if i not in self.fixed]
        entries = np.empty(len(flat), dtype=object)
        entries[:] = flat.tolist()
        for number, place in enumerate(self.kept):
            entries[place] = self.graph.node("input", ("state", number))
        parts, at = [], 0
        for one in arrays:
            if one is None:
                parts.append(None)
                continue
            parts.append(symbols(entries[at : at + one.size].reshape(one.shape)))
            at += one.size
        return State(*parts)

    def _varied(self, road: Any) -> NDArray[np.int64]:
        rows = road.varied_rows
        return np.arange(road.rows)[rows] if isinstance(rows, slice) else np.asarray(rows)

    def _input(self, name: str, shape: tuple[int, ...]) -> SymbolArray:
        """An array of the tape."""
        found = self.graph.inputs("exogenous", self._inputs, shape)
        self._inputs += found.size
        self.made.exogenous.append((name, shape))
        return found.reshape(*shape, 1).view(SymbolArray)

    def _exogenous(self) -> Exogenous:
        t = self.t

        def of(name: str, *shape: int) -> Any:
            return self._input(name, shape) if name in self.varies else None

        return Exogenous(
            self._input("demand", (t.C, t.P)),
            of("lead_time", t.L),
            of("node_availability", t.N),
            of("lane_availability", t.L),
            of("lane_yield", t.L),
            None,
            None,
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
            place = self._place(name)
            return np.moveaxis(place, -1, 0)
        shapes = {"demand_history": (t.C, t.P, t.H), "forecast": (t.C, t.P, t.F), "period": ()}
        if name == "lead_time":
            if not t.quoted:
                return None
            if name not in self.varies:
                return symbols(t.nominal_lead_time[None].astype(np.float64))
            return np.moveaxis(self._place("lead_time"), -1, 0)
        if name == "demand_history" and t.censored:
            raise CannotRecord("sales that are seen instead of demand")
        if name == "features":
            return symbols(np.zeros((1, 0)))
        return np.moveaxis(self._input(name, shapes[name]), -1, 0)

    def _place(self, name: str) -> SymbolArray:
        """Inputs that the dynamics read, too."""
        at = 0
        for known, shape in self.made.exogenous:
            size = int(np.prod(shape))
            if known == name:
                return self.graph.inputs("exogenous", at, shape).reshape(*shape, 1).view(SymbolArray)
            at += size
        raise CannotRecord(name)

    # The policy ------------------------------------------------------------------------------------

    def _decide(self, observation: Any) -> tuple[Any, Any]:
        head, outputs = self.actor.head, self._outputs(observation)
        if type(head) is LevelsHead:
            decision = self._levels(head, outputs)(observation)
        elif type(head) is DirectHead:
            decision = self._direct(head, outputs, observation)
        else:
            raise CannotRecord(f"head {type(head).__name__}")
        reserve = None if decision.reserve is None else symbols(np.moveaxis(decision.reserve, 0, -1))
        return symbols(np.moveaxis(decision.requests, 0, -1)), reserve

    def _outputs(self, observation: Any) -> SymbolArray | None:
        """(k, lanes, 1) of the network."""
        body, actor = self.actor.body, self.actor
        if body is None:
            return None
        rows = self._features(actor.features, observation)
        if type(body) is PerceptronBody:
            found = self._perceptron(body.layers, rows[np.asarray(body.picked)])
            return symbols(found.reshape(body.outputs, body.lanes, 1))
        if type(body) is SetBody:
            (f, n), (g, lanes) = actor.features.shape
            nodes, edges = rows[: f * n].reshape(f, n, 1), rows[f * n :].reshape(g, lanes, 1)
            padded = symbols(np.concatenate([nodes, np.zeros((f, 1, 1))], 1))
            ends = body.ends
            items = [edges, padded[:, np.asarray(ends.target)], padded[:, np.asarray(ends.source)]]
            own = self._perceptron(body.items.first, symbols(np.concatenate(items, 0)))
            activation = type(body.items.activation).__name__.lower()
            mean = symbols(own.sum(1, keepdims=True) * (1.0 / lanes))
            pool = self.made.layer(body.items.pooled, activation, mean)
            both = symbols(np.concatenate([own, np.broadcast_to(pool, own.shape)], 0))
            return self.made.layer(body.out, "", self.made.layer(body.items.second, activation, both))
        raise CannotRecord(f"network {type(body).__name__}")

    def _features(self, features: Features, observation: Any) -> SymbolArray:
        """(rows, 1) see :class:`Features`."""

        def column(name: str) -> Any:
            if name == "season":
                return self._input("season", (2,))[:, 0]
            if name == "expiring":
                return observation.on_hand[0, :, :, 0].reshape(-1)
            value = np.asarray(getattr(observation, name))
            axis = {"on_hand": 3, "in_transit": 4, "backlog": 3}.get(name)
            return (value if axis is None else SYMBOLS.total(value, axis)).reshape(-1)

        raw = np.concatenate([np.asarray(column(name)) for name in features.arrays])
        found = np.array(features.constant[:, 0].double().tolist(), dtype=object)
        for row, place, value in zip(*features._where.tolist(), features._values.tolist(), strict=True):
            found[row] = found[row] + raw[place] * value
        cut = SYMBOLS.minimum(SYMBOLS.maximum(symbols(found), -BOUND), BOUND)
        return symbols(cut[:, None])

    def _perceptron(self, perceptron: Any, values: Any) -> SymbolArray:
        layers = list(perceptron.layers)
        for number, module in enumerate(layers):
            if isinstance(module, Dense):
                behind = layers[number + 1] if number + 1 < len(layers) else None
                activation = (
                    type(behind).__name__.lower() if behind is not None and not isinstance(behind, Dense) else ""
                )
                values = self.made.layer(module, activation, values)
        return symbols(values)

    def _levels(self, head: LevelsHead, outputs: SymbolArray | None) -> Any:
        rule = copy.copy(head.base.with_vector(head.space, head.fixed))
        rule.values = {name: np.array(values, dtype=object) for name, values in rule.values.items()}
        numbers = self.graph.inputs("parameter", 0, (len(head.moving),))
        self.made.parameters = len(head.moving)
        for number, entry in enumerate(head.moving.tolist()):
            rule.values[head.space.groups[entry]][head.space.cells[entry]] = numbers[number]
        rule._numbers, rule._made, rule._plans = {}, {}, {}
        if outputs is None:
            return rule

        def placed(scatter: Any, values: SymbolArray) -> SymbolArray | None:
            if scatter is None:
                return None
            chosen, where, unit = scatter
            some = (values if chosen is None else values[np.asarray(chosen)]) * np.asarray(unit)
            padded = np.concatenate([some, np.zeros((1, 1), dtype=object)], 0)
            return symbols(padded[np.arange(len(some)) if chosen is None else np.asarray(where)])

        caps = placed(head.caps, outputs[1]) if head.caps is not None else None
        shift = Shift(placed(head.nodes, outputs[0]), placed(head.lanes, outputs[0]), None, caps)
        rule.learned = lambda _: shift
        return rule

    def _direct(self, head: DirectHead, outputs: SymbolArray | None, observation: Any) -> Any:
        decoder, t = head.decoder, self.t
        decoding = decoder.on(SYMBOLS)  # type: ignore[arg-type]
        gap = decoding.centre - decoding.positions(decoder.owned(observation, SYMBOLS))  # type: ignore[arg-type]
        more = symbols(np.zeros((decoder.size, 1))) if outputs is None else outputs[0] * head.reach
        if len(head.theta):
            more = more + self.graph.inputs("parameter", 0, (len(head.theta),))[:, None]
            self.made.parameters = len(head.theta)
        scale = np.asarray(head.scale, dtype=np.float64)
        asked = SYMBOLS.softplus(gap / scale + more) * scale
        requests = SYMBOLS.zeros((t.L * t.P, 1), None)
        requests[np.asarray(head.cells)] = asked
        return Observed(np.moveaxis(requests.reshape(t.L, t.P, 1), -1, 0), None)


class Observed(NamedTuple):
    """A decision of expressions."""

    requests: Any
    reserve: Any


def _varies(scenario: Any) -> set[str]:
    """Names of the arrays of a tape that a process of the scenario makes, whether a sample shows it or not."""
    found = {"lead_time"} if scenario.tables.lead_time_random.any() else set()
    for disruption in scenario.disruptions.values():
        for effect, _ in disruption.select(scenario):
            if effect.availability is not None:
                found.add(f"{effect.kind[:-1]}_availability")
            if effect.yield_share is not None:
                found.add("lane_yield")
    return found


def exogenous_rows(recorded: Recorded, world: World, tape: Tape, scenario: Any) -> NDArray[np.float32]:
    """(T, rows, B) what the tape says, in the order of the inputs."""
    periods, worlds, history = world.periods, world.batch, scenario.tables.H
    total = sum(int(np.prod(shape)) for _, shape in recorded.exogenous)
    found = np.empty((periods, total, worlds), dtype=np.float32)
    at = 0
    for name, shape in recorded.exogenous:
        size = int(np.prod(shape))
        part = found[:, at : at + size]
        if name == "demand":
            part[:] = world.demand[history:].reshape(periods, size, worlds)
        elif name == "period":
            part[:] = np.arange(periods)[:, None, None]
        elif name == "season":
            turn = 2 * np.pi * np.fmod(np.arange(periods), season_periods(scenario)[0]) / season_periods(scenario)[0]
            part[:] = np.stack([np.sin(turn), np.cos(turn)], 1)[:, :, None]
        elif name == "demand_history":
            for h in range(history):
                rows = world.demand[history - 1 - h : history - 1 - h + periods].reshape(periods, -1, worlds)
                part[:, h::history] = rows
        elif (value := getattr(tape.core, name)) is not None:
            part[:] = np.asarray(value).reshape(periods, size, -1)
        else:
            part[:] = scenario.tables.nominal_lead_time[:, None] if name == "lead_time" else 1.0
        at += size
    return found


__all__ = ["CannotRecord", "Observation", "Recorded", "exogenous_rows", "record"]
