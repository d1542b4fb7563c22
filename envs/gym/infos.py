"""Rewards and infos of a vector env: cost lines, objectives, and indicators when an episode ends.

Everything is a dictionary of arrays (B,) with a mask ``_key`` beside each key, as Gymnasium has it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..accounts.kpis import windows
from ..accounts.recordable_kpis import RecordableKpis
from ..core.typing import Bools, Ints
from ..dynamics import Flows
from ..scenario.scenario import Scenario
from .step import OBJECTIVES, REWARD

Info = dict[str, Any]


class Reporter:
    """Rewards and infos of a batch.

    Parameters
    ----------
    scenario
        What is priced.
    size
        Number of worlds B.
    level
        How much is told: ``none``, ``costs`` or ``kpis``.
    periods
        Length of an episode; the scenario's warm-up is left out of its indicators, if it is shorter.
    """

    def __init__(self, scenario: Scenario, size: int, level: str, periods: int) -> None:
        t = scenario.tables
        self.size, self.level = size, level
        self.warm_up = t.warm_up if t.warm_up < periods else 0
        self.kpis = RecordableKpis(t, size, windows(scenario), self.warm_up) if level == "kpis" else None
        self.everybody = np.ones(size, dtype=bool)
        self.everybody.setflags(write=False)  # shared by all infos

    def settled(self, age: int | Ints) -> bool:
        """Whether the period that brings the episodes to ``age`` can be counted in the program that steps it."""
        return self.kpis is not None and isinstance(age, int) and age > self.warm_up and self.kpis.settle()

    def count(self, flows: Flows, age: int | Ints) -> None:
        """Count a period in the worlds whose warm-up is over; ``age`` of the episodes, this period included."""
        if self.kpis is None or (isinstance(age, int) and age <= self.warm_up):
            return
        self.kpis.add(flows)
        if not isinstance(age, int):
            fresh = age <= self.warm_up
            if fresh.any():
                self.kpis.reset(fresh)

    def report(self, names: tuple[str, ...], figures: NDArray[Any]) -> tuple[NDArray[np.float64], Info]:
        """Rewards (B,) and info of a step's ``figures`` (names, B), which are handed out."""
        reward = figures[names.index(REWARD)].astype(np.float64, copy=False)
        if self.level == "none":
            return reward, {}
        rows = dict(zip(names, figures, strict=True))
        del rows[REWARD]
        info: Info = {}
        for name in OBJECTIVES:
            info[name], info[f"_{name}"] = rows.pop(name), self.everybody
        info["costs"], info["_costs"] = rows, self.everybody
        rows |= {f"_{line}": self.everybody for line in rows}
        return reward, info

    def started(self, worlds: Ints, chosen: Bools) -> Info:
        """Info of a reset: which worlds are played."""
        return {} if self.level == "none" else {"world": worlds, "_world": chosen.copy()}

    def mixed(self, info: Info, stepped: Bools, worlds: Ints) -> Info:
        """Info of a step in which some slots only started anew."""
        return _restricted(info, stepped) | self.started(worlds, ~stepped)

    def ended(self, info: Info, truncated: Bools) -> Info:
        """Info of a step in which episodes ended: their indicators are added."""
        if self.kpis is not None:
            info["kpis"] = _nested(self.kpis.result(), truncated)
            info["_kpis"] = truncated.copy()
        return info

    def final(self, info: Info, observation: NDArray[np.float32], ended: Bools, worlds: Ints) -> Info:
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
