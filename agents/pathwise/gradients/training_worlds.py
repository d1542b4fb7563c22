"""Worlds that gradients are taken in: recorded demand at levels that move as the record's own do."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.processes.replay import ReplayedDemand
from echelongym.envs.processes.series import Streams
from echelongym.envs.recorded.drift import LevelDrift, level_drift
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.tape import Tape

PURPOSE = "learn"


class DemandLevels:
    """Levels of recorded demand in training worlds, drawn world by world as multiples of what is recorded.

    A record shows one level of each customer and product, and the time that a policy is for has another. Levels are drawn
    as far from those recorded as the record itself moves from one quarter to the next (:mod:`echelongym.envs.recorded.drift`),
    within the periods that training sees. Only records whose blocks are drawn are looked at.

    Parameters
    ----------
    scenario
        Its demand.
    seed
        Of the worlds.
    multiple
        Of the record's drift.

    Attributes
    ----------
    drifts
        What is estimated of each record, with that multiple.
    """

    def __init__(self, scenario: Scenario, seed: int, multiple: float = 1.0) -> None:
        self.scenario, self.seed = scenario, seed
        found: dict[object, list[tuple[int, int, Floats, int]]] = {}
        for c, name in enumerate(scenario.customers):
            for p, product in enumerate(scenario.products):
                process = scenario.demand_processes[name].get(product)
                if not isinstance(process, ReplayedDemand) or process.series.block is None:
                    continue
                first, last = process.series.span(PURPOSE)
                units = process.series.units[first : last + 1]
                found.setdefault(process.record, []).append((c, p, units, process.series.block))
        self._records = [_numbered(entries) for entries in found.values()]
        self.drifts = [
            LevelDrift(*(multiple * one for one in level_drift(units, block))) for *_, units, block in self._records
        ]

    @property
    def moving(self) -> bool:
        """Whether any level is drawn."""
        return any(any(drift) for drift in self.drifts)

    def factors(self, worlds: Sequence[int]) -> Floats:
        """(B, C, P) multiples of the recorded demand; their mean is 1."""
        streams = Streams.of(PURPOSE, self.seed, np.array(worlds, dtype=np.int64))
        customers, products = tuple(self.scenario.customers), tuple(self.scenario.products)
        found = np.ones((len(customers), len(products), len(worlds)))
        for drift, (rows, columns, *_) in zip(self.drifts, self._records, strict=True):
            names = [f"{customers[c]}/{products[p]}" for c in rows for p in columns]
            normals = [
                streams.normals(f"level of a {part}", entities, 0, 1)[0]
                for part, entities in (
                    ("product", [products[p] for p in columns]),
                    ("customer", [customers[c] for c in rows]),
                    ("series", names),
                )
            ]
            drawn = drift.factors(
                normals[0][None], normals[1][:, None], normals[2].reshape(len(rows), len(columns), -1)
            )
            found[np.ix_(rows, columns)] *= drawn
        return np.moveaxis(found, -1, 0)

    def applied(self, tape: Tape) -> Tape:
        """A tape with its demand, history included, at the levels drawn."""
        return tape.replace(demand=tape.demand * self.factors(tape.worlds)[None])


def _numbered(entries: list[tuple[int, int, Floats, int]]) -> tuple[Ints, Ints, Floats, int]:
    """Customers and products of a record, and its units (customers, products, periods), NaN where it has no such series."""
    rows, columns = (np.unique([entry[k] for entry in entries]) for k in (0, 1))
    units = np.full((len(rows), len(columns), len(entries[0][2])), np.nan)
    for c, p, series, _ in entries:
        units[np.searchsorted(rows, c), np.searchsorted(columns, p)] = series
    return rows, columns, units, entries[0][3]


def training_worlds(
    scenario: Scenario, first: int, worlds: int, seed: int, periods: int, levels: DemandLevels | None
) -> Tape:
    """So many worlds from number ``first`` on; ``levels``: of recorded demand, None as recorded."""
    numbers = range(first, first + worlds)
    tape = scenario.sample(worlds=list(numbers), seed=seed, purpose=PURPOSE, periods=periods)
    return tape if levels is None else levels.applied(tape)
