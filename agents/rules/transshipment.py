"""Lateral transshipment: stock nodes of one level help each other out, after a shortage or before it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np

from echelongym.envs.core.backend import Array, Ops
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.inventory_positions import Forest, Owned
from echelongym.envs.scenario.scenario import Scenario

from .base_stock import BaseStock
from .request_order import Cells, Step, StepNumbers, is_lateral
from .rule import Group


class Transshipment(BaseStock):
    """Base of the transshipment rules: echelon base-stock whose lateral lanes ship where a trigger is reached.

    The expedited inventory position of a lateral lane is what its target owns less what comes later than the lane
    would bring it. The lane asks for what this position lacks of ``lateral_levels``, but only where what is watched is
    at or below the lane's trigger, and never for more than its source has above ``keep_levels``.
    """

    echelon = True
    capped = True

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason to refuse a scenario without a lateral lane."""
        t = scenario.tables
        forest = Forest(t)
        opened = np.flatnonzero(t.lane_open.reshape(-1))
        primary = set(forest.primary.tolist())
        if not any(int(cell) not in primary and is_lateral(t, forest, int(cell)) for cell in opened):
            return "needs a lateral lane, from a stock node that is not above its target"
        return None

    def _make_groups(self) -> list[Group]:
        groups = super()._make_groups()
        for i, group in enumerate(groups):
            if group.name == "lateral_levels":
                start = self._whole(self._lateral_levels(self.cells))
                groups[i] = replace(group, start=start, default=np.where(group.allowed, start, group.default))
        return groups

    def _more_groups(self, cells: Cells) -> list[Group]:
        self.cells = cells
        start = self._whole(self._triggers(cells))
        default = np.where(cells.lateral, start, -np.inf)
        scale = cells.flow_deviation[cells.target]
        return [Group("triggers", self.tables.lanes, cells.lateral, default, start, scale, smooth=False)]

    def _whole(self, values: Floats) -> Floats:
        return np.rint(values) if self.tables.integer else values

    def _covered(self, cells: Cells) -> Floats:
        """(L * P,) mean demand until a lateral lane delivers, and one period more."""
        lanes = np.arange(len(cells.target)) // self.tables.P
        return np.asarray(cells.flow[cells.target] * self.tables.protection[lanes], dtype=np.float64)

    def _deviation(self, cells: Cells) -> Floats:
        """(L * P,) standard deviation of that demand."""
        lanes = np.arange(len(cells.target)) // self.tables.P
        periods = self.tables.protection[lanes]
        return np.asarray(cells.flow_deviation[cells.target] * np.sqrt(periods), dtype=np.float64)

    @abstractmethod
    def _triggers(self, cells: Cells) -> Floats:
        """(L * P,) where triggers start."""

    @abstractmethod
    def _lateral_levels(self, cells: Cells) -> Floats:
        """(L * P,) where levels of lateral lanes start."""

    @abstractmethod
    def _watched(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned) -> Array:
        """(n, B) what is compared with triggers."""

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        request = ops.maximum(gap, 0)
        if not step.lateral:
            return request
        due = self._watched(step, numbers, gap, owned) <= numbers.more["triggers"] + numbers.tolerance
        return request * ops.cast(due, request.dtype)


class ReactiveTransshipment(Transshipment):
    """Reactive transshipment: a lateral lane ships once its target's stock, less backlog, is at or below a trigger.

    With trigger 0, after a shortage (emergency transshipment with hold-back levels: Xu, Evers and Fu, European Journal
    of Operational Research 145(2), 2003; review: Paterson, Kiesmuller, Teunter and Glazebrook, European Journal of
    Operational Research 210(2), 2011).

    Parameters
    ----------
    triggers
        Units on hand less backlog by lateral lane (and product); left out: 0.
    lateral_levels
        Units of the target's expedited inventory position by lateral lane (and product); left out: mean demand over the
        lane's lead time and one period.
    keep_levels
        Units on hand, less backlog, that a source keeps for itself, by node (and product); left out: its mean flow over
        its primary lead time and one period. Lanes share what is above in proportion, faster ones first.
    levels, express_levels, caps, allocation
        As in :class:`~.base_stock.BaseStock`.

    Raises
    ------
    InputError
        Besides what every rule raises: if there is no lateral lane.
    """

    name = "reactive_transshipment"
    pure = True

    def _triggers(self, cells: Cells) -> Floats:
        return np.zeros(len(cells.target))

    def _lateral_levels(self, cells: Cells) -> Floats:
        return self._covered(cells)

    def _watched(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned) -> Array:
        return owned.standing[step.targets]


class ProactiveTransshipment(Transshipment):
    """Proactive transshipment: lateral lanes ship before a shortage, as soon as a position falls to a trigger.

    The position is the expedited inventory position of the lane's target; see :class:`Transshipment`.
    Stock moves to where it will be short from where more stands than is kept (Tagaras, European Journal of Operational
    Research 116(1), 1999; review: Paterson, Kiesmuller, Teunter and Glazebrook, European Journal of Operational
    Research 210(2), 2011). A trigger at or above its level is base-stock control of the lateral lane.

    Parameters
    ----------
    triggers
        Units of the expedited inventory position by lateral lane (and product); left out: mean demand over the lane's
        lead time and one period.
    lateral_levels
        Units of the target's expedited inventory position by lateral lane (and product); left out: mean and one
        standard deviation of that demand.
    keep_levels
        Units on hand, less backlog, that a source keeps for itself, by node (and product); left out: its mean flow over
        its primary lead time and one period. Lanes share what is above in proportion, faster ones first.
    levels, express_levels, caps, allocation
        As in :class:`~.base_stock.BaseStock`.

    Raises
    ------
    InputError
        Besides what every rule raises: if there is no lateral lane.
    """

    name = "proactive_transshipment"
    pure = True

    def _triggers(self, cells: Cells) -> Floats:
        return self._covered(cells)

    def _lateral_levels(self, cells: Cells) -> Floats:
        return self._covered(cells) + self._deviation(cells)

    def _watched(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned) -> Array:
        return numbers.level - gap
