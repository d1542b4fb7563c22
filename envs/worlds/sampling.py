"""Sampling of all processes of a scenario together: the arrays of a tape, batch last."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.allocator import keep_freed_memory
from ..core.typing import Floats
from ..processes.compiled import kernels
from ..processes.correlation import correlated_scores
from ..processes.demand import FEW, DemandProcess, DisruptionFactor
from ..processes.few import FewLaws
from ..processes.forecast import sample_forecasts
from ..processes.lead_time import sample_lead_times
from ..processes.replay import ReplayedDemand
from ..processes.series import Streams
from .dated import ClosedDates
from .events import Events
from .source import WorldSource

# Demand numbers drawn at a time; with few worlds many series are drawn in one go.
_BLOCK = 65_536


class Sampler:
    """The processes of one scenario, compiled; draws what a policy cannot influence."""

    def __init__(self, scenario: WorldSource) -> None:
        keep_freed_memory()  # getting the memory of a tape from the system takes longer than to draw it
        self._products = tuple(scenario.products)
        self._nodes = tuple(scenario.nodes)
        self._customers = tuple(scenario.customers)
        self._lead_times = {name: lane.lead_time for name, lane in scenario.lanes.items()}
        self._history = scenario.observe.history
        self._integer = scenario.units == "integer"
        self._forecast = scenario.forecast
        self._correlation = scenario.correlation
        self._events = Events(scenario)
        self._closed = ClosedDates(scenario)
        self._drawn: list[tuple[int, int, DemandProcess]] = []
        self._replayed: list[tuple[int, int, ReplayedDemand]] = []
        for c, customer in enumerate(self._customers):
            for p, product in enumerate(self._products):
                process = scenario.demand_processes[customer].get(product)
                if isinstance(process, ReplayedDemand):
                    self._replayed.append((c, p, process))
                elif process is not None:
                    self._drawn.append((c, p, process))
        # Series drawn from random numbers, by what they need and whether their law never changes.
        self._constant: list[tuple[int, int, DemandProcess]] = []
        self._random: dict[tuple[str, bool], list[tuple[int, int, DemandProcess]]] = {}
        self._few: dict[str, FewLaws] = {}
        correlated = self._correlation.demand > 0 or self._correlation.periods > 0
        disturbed = set(self._events.affects("customers", "demand_factor"))
        for item in self._drawn:
            need = item[2].needs
            if need == "nothing":
                self._constant.append(item)
            else:
                plain = item[0] not in disturbed and item[2].plain is not None
                self._random.setdefault(("score" if correlated else need, plain), []).append(item)
        between = scenario.correlation.between
        self._groups = [
            between if between == "all" else f"{between} {getattr(customer, between)}"
            for customer in scenario.customers.values()
        ]
        self._splits = _divided(scenario)
        self._thins, self._thin_rows = _shared(scenario, self._events)

    def sample(self, streams: Streams, periods: int) -> dict[str, NDArray[Any]]:
        """Arrays of a tape by name, the period first and the batch last.

        What is the same in all worlds and periods is a broadcast view of one number.
        """
        history, horizon = self._history, self._forecast.horizon
        batch = streams.batch
        rows = history + periods + max(horizon - 1, 0)  # forecasts look beyond the last period
        active = self._events.draw(streams, -history, rows)
        now = {name: item[history : history + periods] for name, item in active.items()}
        demand = self._demand(streams, rows, active)

        def product(kind: str, key: str, size: int) -> Floats:
            scaled = self._events.product(kind, key, size, now)
            return np.broadcast_to(1.0 if scaled is None else scaled, (periods, size, batch))

        lanes = len(self._lead_times)
        stretch = self._events.product("lanes", "lead_time_factor", lanes, now)
        stretched = self._events.affects("lanes", "lead_time_factor")
        drawn = {
            "demand": demand[: history + periods],
            "lead_time": sample_lead_times(self._lead_times, streams, periods, stretch, stretched),
            "node_availability": product("nodes", "availability", len(self._nodes)),
            "lane_availability": product("lanes", "availability", lanes),
            "lane_yield": product("lanes", "yield", lanes),
            "forecast": self._forecasts(streams, demand[history:], periods),
            "features": np.zeros((periods, 0, batch)),
            "split": self._fractions("split", self._splits, len(self._nodes), streams, periods),
            "thin": self._fractions("thin", self._thins, self._thin_rows, streams, periods),
        }
        return drawn | self._closed.calendars(streams.shown).applied(drawn, batch_axis=2)

    def demand_given_events(self, events: Streams, demand: Streams, periods: int) -> NDArray[Any]:
        """Demand (H + T, C, P, B) as ``demand`` draws it under the disruptions that ``events`` draws."""
        rows = self._history + periods
        active = self._events.draw(events, -self._history, rows)
        return self._demand(demand, rows, active)

    def _demand(self, streams: Streams, rows: int, active: dict[str, Any]) -> NDArray[Any]:
        """Demand (rows, C, P, B) from period -H on."""
        shape = (rows, len(self._customers), len(self._products), streams.batch)
        dtype = np.int64 if self._integer else np.float64
        every = len(self._drawn) + len(self._replayed) == shape[1] * shape[2]  # else some of it stays 0
        demand = np.empty(shape, dtype) if every else np.zeros(shape, dtype)
        factors = self._events.demand_factors(len(self._customers), active)
        self._replay(streams, demand, factors)
        correlation = self._correlation
        correlated = correlation.demand > 0 or correlation.periods > 0
        for c, p, process in self._constant:
            demand[:, c, p] = process.draw(-self._history, rows, factors[c])
        common, group = self._common(streams, rows) if correlated else (None, [])
        size = max(1, _BLOCK // (rows * max(streams.batch, 1)))
        # The same memory for every block: new memory takes longer to get than numbers take to draw.
        most = max((min(size, len(items)) for items in self._random.values()), default=0)
        memory = np.empty(most * rows * streams.batch, np.uint64)
        cells = demand.reshape(rows, -1, streams.batch)
        for (need, plain), items in self._random.items():
            few = self._few_laws(need) if plain and rows * streams.batch <= FEW else None
            for start in range(0, len(items), size):
                block = items[start : start + size]
                names = [self._name(c, p) for c, p, _ in block]
                draw = streams.normals if need == "score" else streams.uniforms
                numbers = draw("demand", names, -self._history, rows, memory)
                if correlated:
                    groups = [group[c][p] for c, p, _ in block]
                    correlated_scores(numbers, common, groups, correlation, self._history)
                compiled = kernels(0) if few is not None else None
                if few is not None and compiled is not None:
                    few.draw(compiled, numbers, start, cells)
                    continue
                for k, (c, p, process) in enumerate(block):
                    given = {need: numbers[:, k]}
                    process.draw(-self._history, rows, factors[c], **given, out=demand[:, c, p])
        return demand

    def _few_laws(self, need: str) -> FewLaws:
        """Laws of the series that need these numbers and nothing disturbs, made when first wanted."""
        if need not in self._few:
            items = self._random[need, True]
            laws = [process.plain for _, _, process in items]
            places = [c * len(self._products) + p for c, p, _ in items]
            self._few[need] = FewLaws([law for law in laws if law is not None], places, need == "score")
        return self._few[need]

    def _replay(self, streams: Streams, demand: Any, factors: list[DisruptionFactor | None]) -> None:
        """Fill in recorded demand; series of one record show the same of its periods."""
        positions: dict[Any, Any] = {}
        for c, p, process in self._replayed:
            if process.record not in positions:
                positions[process.record] = process.positions(streams, -self._history, len(demand))
            factor = factors[c]
            effect = None if factor is None else factor.values
            process.draw(positions[process.record], effect, demand[:, c, p])

    def _common(self, streams: Streams, rows: int) -> tuple[Floats | None, list[list[int]]]:
        """Normal numbers (rows, G, B) of groups and products, if they matter, and where those of (c, p) are."""
        names: dict[str, int] = {}
        group = [
            [names.setdefault(f"{label}/{product}", len(names)) for product in self._products] for label in self._groups
        ]
        if self._correlation.demand == 0:
            return None, group
        return streams.normals("common demand", list(names), -self._history, rows), group

    def _forecasts(self, streams: Streams, demand: NDArray[Any], periods: int) -> Floats:
        """Forecasts (T, C, P, F, B); nothing where the horizon is 0."""
        customers, products = len(self._customers), len(self._products)
        horizon, batch = self._forecast.horizon, streams.batch
        forecasts = np.empty((periods, customers, products, horizon, batch))
        if horizon:
            rows = len(demand)
            mean, deviation = np.zeros((2, rows, customers * products))
            items: list[tuple[int, int, DemandProcess | ReplayedDemand]]
            items = [*self._drawn, *self._replayed]
            for c, p, process in items:
                moments = process.moments(0, rows)
                mean[:, c * products + p], deviation[:, c * products + p] = moments
            sample_forecasts(
                demand.reshape(rows, -1, batch),
                mean,
                deviation,
                self._forecast,
                streams,
                [self._name(c, p) for c in range(customers) for p in range(products)],
                forecasts.reshape(periods, -1, horizon, batch),
            )
        return forecasts

    def _fractions(self, process: str, names: dict[int, str], rows: int, streams: Streams, periods: int) -> Floats:
        """Multiples of 1/65536 (T, rows, P, B) for the rows named, 1/2 for all others."""
        shape = (periods, rows, len(self._products), streams.batch)
        if not self._integer or not names:
            return np.broadcast_to(0.5, shape)
        entities = [f"{name}/{product}" for name in names.values() for product in self._products]
        drawn = streams.fractions(process, entities, 0, periods)
        fractions = np.full(shape, 0.5)
        fractions[:, list(names)] = drawn.reshape(periods, len(names), *shape[2:])
        return fractions

    def _name(self, customer: int, product: int) -> str:
        return f"{self._customers[customer]}/{self._products[product]}"


def _divided(scenario: WorldSource) -> dict[int, str]:
    """Nodes whose stock may have to be divided: those without limit never are."""
    return {n: name for n, (name, node) in enumerate(scenario.nodes.items()) if node.kind != "supplier"}


def _shared(scenario: WorldSource, events: Events) -> tuple[dict[int, str], int]:
    """Rows of ``thin`` (lanes, pairs, customers) with a share that may split a unit, and their number.

    A share of 0 or 1 comes out the same whatever the number drawn.
    """
    names: list[str | None] = []
    yields = events.affects("lanes", "yield")
    for k, (name, lane) in enumerate(scenario.lanes.items()):
        shares = k in yields or _partial(lane.return_share) or _partial(lane.recovery)
        names.append(f"lane {name}" if shares else None)
    for name, customer in scenario.customers.items():
        for source, item in customer.sources.items():
            names.append(f"pair {source} {name}" if _partial(item.acceptance) else None)
    for name, customer in scenario.customers.items():
        names.append(f"customer {name}" if _partial(customer.lost_share) else None)
    return {k: name for k, name in enumerate(names) if name is not None}, len(names)


def _partial(share: Any) -> bool:
    values = share.values() if isinstance(share, dict) else [share]
    return any(value is not None and 0 < value < 1 for value in values)
