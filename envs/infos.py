"""What an env tells beside observation and reward: cost lines, objectives, and indicators when an episode ends.

Everything is a dictionary of arrays (B,) with a mask ``_key`` beside each key, as Gymnasium's vector envs have it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dynamics import Flows
from .ledger import REVENUE, Ledger
from .tables import Tables

Bools = NDArray[np.bool_]
Info = dict[str, Any]

LEVELS = ("none", "costs", "kpis")
#: Objectives of a period, to be minimised: money, units of new demand not served in their period, kg, units.
OBJECTIVES = ("cost", "unmet", "emissions", "waste")


class Reporter:
    """Rewards and infos of a batch.

    Parameters
    ----------
    tables, ledger
        What is priced, and how.
    size
        Number of worlds B.
    level
        One of ``LEVELS``: how much is told.
    """

    def __init__(self, tables: Tables, ledger: Ledger, size: int, level: str) -> None:
        self.tables, self.ledger, self.size, self.level = tables, ledger, size, level
        self.scale = tables.reward_scale
        self.everybody = np.ones(size, dtype=bool)
        self.everybody.setflags(write=False)  # shared by all infos
        self.nothing = np.zeros(size)
        self.nothing.setflags(write=False)

    def report(self, flows: Flows, lines: dict[str, Any]) -> tuple[NDArray[np.float64], Info]:
        """Rewards (B,) of a period and what it cost."""
        cost = self.ledger.cost(lines)
        revenue = lines.get(REVENUE)
        reward = (-cost if revenue is None else revenue - cost) / self.scale
        if reward.dtype != np.float64:
            reward = reward.astype(np.float64)
        if self.level == "none":
            return reward, {}
        everybody = self.everybody
        values = [cost, self._unmet(flows), self._emissions(flows), self._waste(flows)]
        info: Info = {"costs": _masked(lines, everybody), "_costs": everybody}
        for name, value in zip(OBJECTIVES, values, strict=True):
            info[name] = value
            info[f"_{name}"] = everybody
        return reward, info

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

    def mixed(self, info: Info, stepped: Bools, worlds: NDArray[np.int64]) -> Info:
        """Info of a step in which some slots only started anew."""
        return _restricted(info, stepped) | self.started(worlds, ~stepped)

    def ended(self, info: Info, truncated: Bools) -> Info:
        """Info of a step in which episodes ended: their indicators are added."""
        return info

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


def _masked(lines: dict[str, Any], mask: Bools) -> Info:
    info: Info = dict(lines)
    for line in lines:
        info[f"_{line}"] = mask
    return info


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


def of_one(info: Info) -> Info:
    """The info of a single env from that of a batch of one: plain numbers, no masks."""
    found: Info = {}
    for key, value in info.items():
        if key.startswith("_") or not info[f"_{key}" ][0]:
            continue
        if isinstance(value, dict):
            found[key] = of_one(value)
        else:
            found[key] = value[0].item()
    return found
