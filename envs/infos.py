"""What an env tells beside observation and reward: cost lines, objectives, and indicators when an episode ends.

Everything is a dictionary of arrays (B,) with a mask ``_key`` beside each key, as Gymnasium's vector envs have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dynamics import Flows
from .kpis import KpiAccumulator, windows
from .ledger import REVENUE, Ledger
from .scenario import Scenario

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Info = dict[str, Any]

LEVELS = ("none", "costs", "kpis")
#: Objectives of a period, to be minimised: money, units of new demand not served in their period, kg, units.
OBJECTIVES = ("cost", "unmet", "emissions", "waste")


class Reporter:
    """Rewards and infos of a batch.

    Parameters
    ----------
    scenario, ledger
        What is priced, and how.
    size
        Number of worlds B.
    level
        One of ``LEVELS``: how much is told.
    periods
        Length of an episode; the scenario's warm-up is left out of its indicators, if it is shorter.
    """

    def __init__(self, scenario: Scenario, ledger: Ledger, size: int, level: str, periods: int) -> None:
        t = scenario.tables
        self.tables, self.ledger, self.size, self.level = t, ledger, size, level
        self.scale = t.reward_scale
        self.warm_up = t.warm_up if t.warm_up < periods else 0
        self.kpis = KpiAccumulator(t, size, windows(scenario)) if level == "kpis" else None
        self.everybody = np.ones(size, dtype=bool)
        self.everybody.setflags(write=False)  # shared by all infos
        self.nothing = np.zeros(size)
        self.nothing.setflags(write=False)

    def report(self, flows: Flows, lines: dict[str, Any], age: int | Ints) -> tuple[NDArray[np.float64], Info]:
        """Rewards (B,) of a period and what it cost.

        ``age`` is the number of periods of the episodes so far, this one included: (B,), or one number.
        """
        reward, values = self._values(flows, lines, age)
        if values is None:
            return reward, {}
        everybody = self.everybody
        info: Info = {"costs": _masked(lines, everybody), "_costs": everybody}
        for name, value in zip(OBJECTIVES, values, strict=True):
            info[name] = value
            info[f"_{name}"] = everybody
        return reward, info

    def report_one(self, flows: Flows, lines: dict[str, Any], age: int | Ints) -> tuple[float, Info]:
        """The same of a batch of one: plain numbers, no masks."""
        reward, values = self._values(flows, lines, age)
        if values is None:
            return reward.item(), {}
        info: Info = {"costs": {line: money.item() for line, money in lines.items()}}
        for name, value in zip(OBJECTIVES, values, strict=True):
            info[name] = value.item()
        return reward.item(), info

    def _values(
        self, flows: Flows, lines: dict[str, Any], age: int | Ints
    ) -> tuple[NDArray[np.float64], tuple[Any, ...] | None]:
        """Rewards (B,) and, if anything is told, the objectives (B,)."""
        cost = self.ledger.cost(lines)
        revenue = lines.get(REVENUE)
        reward = (-cost if revenue is None else revenue - cost) / self.scale
        if reward.dtype != np.float64:
            reward = reward.astype(np.float64)
        if self.level == "none":
            return reward, None
        if self.kpis is not None:
            self._count(self.kpis, flows, age)
        return reward, (cost, self._unmet(flows), self._emissions(flows), self._waste(flows))

    def _count(self, kpis: KpiAccumulator, flows: Flows, age: int | Ints) -> None:
        """Count the period in the worlds whose warm-up is over."""
        if isinstance(age, int):
            if age > self.warm_up:
                kpis.add(flows)
            return
        kpis.add(flows)
        fresh = age <= self.warm_up
        if fresh.any():
            kpis.reset(fresh)

    def _unmet(self, flows: Flows) -> Any:
        return self._summed(flows.demand - flows.served_new)

    def _waste(self, flows: Flows) -> Any:
        return self.nothing if flows.disposed is None else self._summed(flows.disposed)

    def _emissions(self, flows: Flows) -> Any:
        return self.ledger.emissions_kg(flows) if self.ledger.emits else self.nothing

    def _summed(self, units: Any) -> Any:
        return self.ledger.ops.total(units.reshape((-1, self.size)), 0)

    def started(self, worlds: NDArray[np.int64], chosen: Bools) -> Info:
        """Info of a reset: which worlds are played."""
        return {} if self.level == "none" else {"world": worlds, "_world": chosen.copy()}

    def started_one(self, world: int) -> Info:
        """The same of a batch of one."""
        return {} if self.level == "none" else {"world": world}

    def mixed(self, info: Info, stepped: Bools, worlds: NDArray[np.int64]) -> Info:
        """Info of a step in which some slots only started anew."""
        return _restricted(info, stepped) | self.started(worlds, ~stepped)

    def ended(self, info: Info, truncated: Bools) -> Info:
        """Info of a step in which episodes ended: their indicators are added."""
        if self.kpis is not None:
            info["kpis"] = _nested(self.kpis.result(), truncated)
            info["_kpis"] = truncated.copy()
        return info

    def ended_one(self, info: Info) -> Info:
        """The same of a batch of one."""
        return info if self.kpis is None else {**info, "kpis": _plain(self.kpis.result())}

    def final(
        self, info: Info, observation: NDArray[np.float32], ended: Bools, worlds: NDArray[np.int64]
    ) -> Info:
        """Info of a step that also started the next episodes: what ended goes to ``final_obs`` and ``final_info``."""
        final = np.full(self.size, None, dtype=object)
        for i in np.flatnonzero(ended):
            final[i] = observation[i]
        found = {
            "final_obs": final,
            "_final_obs": ended.copy(),
            "final_info": _restricted(info, ended),
            "_final_info": ended.copy(),
        }
        return found | ({} if ended.all() else _restricted(info, ~ended)) | self.started(worlds, ended)

    def restart(self, chosen: Bools | None) -> None:
        """Episodes begin: in all slots, or in the chosen ones."""
        if self.kpis is not None:
            self.kpis.reset(chosen)


def _masked(lines: dict[str, Any], mask: Bools) -> Info:
    info: Info = dict(lines)
    for line in lines:
        info[f"_{line}"] = mask
    return info


def _nested(figures: Info, mask: Bools) -> Info:
    """Nested figures with masks, and nothing said of the slots outside the mask."""
    found: Info = {}
    for key, value in figures.items():
        found[key] = _nested(value, mask) if isinstance(value, dict) else np.where(mask, value, 0)
        found[f"_{key}"] = mask
    return found


def _restricted(info: Info, mask: Bools) -> Info:
    """The same info with nothing said of the slots outside a mask."""
    found: Info = {}
    for key, value in info.items():
        if isinstance(value, dict):
            found[key] = _restricted(value, mask)
        elif key.startswith("_"):
            found[key] = value & mask
        else:
            found[key] = np.where(mask, value, 0)
    return found


def _plain(figures: Info) -> Info:
    """Nested figures of a batch of one as plain numbers."""
    return {key: _plain(value) if isinstance(value, dict) else value.item() for key, value in figures.items()}
