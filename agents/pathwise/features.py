"""Features that a learned policy sees of every stock and lane, centred and scaled from the scenario alone.

All features are linear in the observation, so one sparse matrix makes them of all entities at once. Their list does not
depend on the network, which is what lets a policy with shared weights run on another one.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.typing import Ints
from echelongym.envs.interface.observation import Observation
from echelongym.envs.interface.observation_encoder import season_periods, season_waves
from echelongym.envs.scenario.scenario import Scenario

from .feature_rows import FeatureRows, feature_names

BOUND = 20.0  # of its units; beyond it a feature says no more
DENSE = 60_000  # entries up to which a dense matrix is faster than a sparse one


class Features(nn.Module):
    """Features (f, nodes, B) and (g, lanes, B) of an observation, float32, within +-20 of their units.

    Parameters
    ----------
    scenario
        Whose means, deviations, lead times and costs are the units.
    due_periods
        Units in transit are told apart by the periods until they are due, up to this; the last takes what comes later.

    Attributes
    ----------
    cells : (n,) node cells (node * P + product) that hold stock, in order.
    lanes : (l,) lane cells (lane * P + product) that can be requested, in order.
    source, target : (l,) places in ``cells`` of a lane's ends; source -1 = a supplier.
    moving : which of the features can change in an episode, nodes' then lanes', flattened.
    arrays : names of the arrays that are read, in the order of the raw column.
    places, coefficients : (2, entries) row and place in the raw column of every entry of the matrix, and (entries,) its value.
    """

    def __init__(self, scenario: Scenario, due_periods: int) -> None:
        super().__init__()
        self.matrix: torch.Tensor
        self.constant: torch.Tensor
        self._row: torch.Tensor
        self._column: torch.Tensor
        self._weight: torch.Tensor
        self.scenario, self.due_periods = scenario, due_periods
        made = FeatureRows(scenario, due_periods)
        self.cells, self.lanes, self.source, self.target = made.cells, made.lanes, made.source, made.target
        self.names = feature_names(due_periods)
        self.seasons = season_periods(scenario)[:1]
        nodes, lanes = made.node_rows(), made.lane_rows()
        self.shape = (len(self.names.nodes), len(self.cells)), (len(self.names.lanes), len(self.lanes))
        rows = [row for feature in (*nodes, *lanes) for row in feature]
        entries = [(r, column, value) for r, (terms, _) in enumerate(rows) for column, value in terms.items() if value]
        where = np.array([(r, column) for r, column, _ in entries], dtype=np.int64).reshape(-1, 2).T
        # Arrays that no feature looks at are not read at all.
        self.arrays, used = made.used(where[1])
        where = np.stack([where[0], np.cumsum(used)[where[1]] - 1])
        values = np.array([value for _, _, value in entries])
        constant = np.array([constant for _, constant in rows])
        self.moving = np.zeros(len(rows), dtype=bool)
        self.moving[where[0]] = True
        shape = (len(rows), int(used.sum()))
        self.sparse = shape[0] * shape[1] > DENSE
        dense = np.zeros((0, 0)) if self.sparse else np.zeros(shape)
        if not self.sparse:
            dense[where[0], where[1]] = values
        self.register_buffer("matrix", torch.from_numpy(dense.astype(np.float32)), persistent=False)
        self.places, self.coefficients, self._shape = where, values, shape
        self._forward = self._compressed(where) if self.sparse else None
        self._backward = self._compressed(where[::-1], turned=True) if self.sparse else None
        # The same for graphs that know no sparse matrices.
        entry = {"_row": where[0], "_column": where[1], "_weight": values.astype(np.float32)[:, None]}
        for name, value in entry.items() if self.sparse else ():
            self.register_buffer(name, torch.from_numpy(value.copy()), persistent=False)
        self.register_buffer("constant", torch.from_numpy(constant.astype(np.float32)[:, None]), persistent=False)

    def _compressed(self, where: Ints, turned: bool = False) -> torch.Tensor:
        places, values = torch.from_numpy(where.copy()), torch.from_numpy(self.coefficients.astype(np.float32))
        shape = self._shape[::-1] if turned else self._shape
        with warnings.catch_warnings():  # that compressed matrices are new in PyTorch
            warnings.simplefilter("ignore")
            return torch.sparse_coo_tensor(places, values, shape, check_invariants=False).coalesce().to_sparse_csr()

    def forward(self, observation: Observation) -> torch.Tensor:
        """Feature rows (rows, B): nodes' features in turn, then lanes'; :meth:`parts` tells them apart."""
        raw = self._raw(observation)
        if not self.sparse:
            found = torch.addmm(self.constant, self.matrix, raw)
        elif torch.compiler.is_exporting():
            weighed = raw.index_select(0, self._column) * self._weight
            found = self.constant.expand(-1, raw.shape[-1]).index_add(0, self._row, weighed)
        else:
            found = _Product.apply(raw, self._forward, self._backward) + self.constant
        return found.clamp(-BOUND, BOUND)

    def parts(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(f, nodes, B) and (g, lanes, B) of rows (rows, B)."""
        (f, n), (g, lanes) = self.shape
        return features[: f * n].reshape(f, n, -1), features[f * n :].reshape(g, lanes, -1)

    def _raw(self, observation: Observation) -> torch.Tensor:
        """The observation as one column a world, (raw, B); entity first in memory as simulations have it."""
        o, dtype = observation, self.constant.dtype
        worlds = o.on_hand.shape[0]

        def rows(value: Any, axis: int | None = None) -> torch.Tensor:
            turned = torch.as_tensor(value).movedim(0, -1)
            if axis is not None:
                turned = turned.squeeze(axis) if turned.shape[axis] == 1 else turned.sum(axis)
            return turned.reshape(-1, worlds).to(dtype)

        read = {
            "on_hand": lambda: rows(o.on_hand, 2),
            "expiring": lambda: rows(o.on_hand[:, :, :, 0]),
            "in_transit": lambda: rows(o.in_transit, 3),
            "backlog": lambda: rows(o.backlog, 2),
            "unfilled": lambda: rows(o.unfilled),
            "demand_history": lambda: rows(o.demand_history),
            "forecast": lambda: rows(o.forecast),
            "node_availability": lambda: rows(o.node_availability),
            "lane_availability": lambda: rows(o.lane_availability),
            "lead_time": lambda: rows(o.lead_time),
            "season": lambda: self._season(o.period),
            "period": lambda: torch.as_tensor(o.period).to(dtype)[None],
        }
        return torch.cat([read[name]() for name in self.arrays], 0)

    def _season(self, period: Any) -> torch.Tensor:
        """Sine and cosine of the season, (2, B)."""
        found: torch.Tensor = season_waves(torch.as_tensor(period).to(self.constant.dtype), self.seasons)
        return found


class _Product(torch.autograd.Function):
    """A sparse matrix times a dense one, with the turned sparse matrix at hand for gradients."""

    @staticmethod
    def forward(context: Any, raw: torch.Tensor, matrix: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        """(rows, B)."""
        context.turned = turned
        return torch.mm(matrix, raw)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """With respect to the dense one."""
        return torch.mm(context.turned, gradient.contiguous()), None, None
