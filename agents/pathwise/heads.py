"""Heads: from a network's outputs to requests, in four parameterisations that start from a sensible rule.

The first carries any rule of the base-stock family along, the last any rule at all; so training starts where tuning ended.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from echelongym.envs.core.backend import Ops, ops_of
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.dynamics import Segments
from echelongym.envs.interface.action_decoder import ActionDecoder
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario

from ..registry import RULES
from ..rules import Rule
from ..rules.base_stock import BaseStock
from ..rules.dual import CappedDualIndex
from ..rules.request_order import Shift
from .features import Features


def automatic_start(scenario: Scenario) -> Rule:
    """The rule that suits a scenario's kind, with automatic levels.

    Dual index with a cap where a node has two sources; caps where all that is not served is lost, as ordering less at a time
    is worth something there (Xin 2021); else echelon base-stock, which is optimal in a chain with backorders, and catches
    up after an outage, which with automatic caps takes long.
    """
    t = scenario.tables
    lost = bool((t.lost_share[t.mean_demand > 0] == 1).all())
    if CappedDualIndex.refusal(scenario) is None and not lost:
        return untuned("capped_dual_index", scenario)
    return untuned("capped_echelon_base_stock" if lost else "echelon_base_stock", scenario)


def automatic_head(scenario: Scenario, start: Rule | None, learn_levels: bool) -> str:
    """The head that suits a start and a scenario.

    A rule that training is told to start from is carried along: its levels are corrected, or its requests where it has
    none. By itself, ``levels``, but ``direct`` where some stock has several sources: rules of the base-stock family leave
    secondary lanes aside unless their levels are known to be good, while smooth requests weigh all lanes against each other.
    """
    if start is not None:
        return "levels" if isinstance(start, BaseStock) else "residual"
    t = scenario.tables
    into = np.zeros((t.N, t.P), dtype=np.int64)
    for lane, target in enumerate(t.lane_target):
        into[target] += t.lane_open[lane]
    return "direct" if learn_levels and (into > 1).any() else "levels"


def untuned(name: str, scenario: Scenario) -> Rule:
    """A rule with automatic numbers, caps included; only secondary lanes that mean demand needs are used."""
    rule = RULES[name](scenario).with_needed()
    space = rule.space()
    caps = np.array([group == "caps" for group in space.groups], dtype=bool)
    if not caps.any():
        return rule
    places = zip(space.groups, space.cells, strict=True)
    present = np.array([rule.values[group][cell] for group, cell in places], dtype=np.float64)
    return rule.with_vector(space, np.where(caps, space.start, present))


class Head(nn.Module):
    """Head, from outputs (k, lanes, B) to requests.

    Attributes
    ----------
    outputs : k.
    shared : whether it has no numbers of its own network, so that it does for others.
    """

    outputs = 1
    shared = True

    def levels(self) -> list[nn.Parameter]:
        """Learned numbers by node and lane, which take another learning rate."""
        return []

    def begin(self) -> None:
        """Before an episode or a gradient: take in the numbers as they are now."""

    def forward(self, observation: Observation, outputs: torch.Tensor) -> Decision:
        """The decision.

        Raises
        ------
        TypeError
            Always: a head is one of ``HEADS``.
        """
        raise TypeError("a head is one of HEADS")


class LevelsHead(Head):
    """Head that corrects levels and caps of a rule of the base-stock family, which are learned themselves, too.

    Level of a lane's position = learned level + reach x deviation x output; cap likewise. (Orders up to a level that
    depends on the state are no restriction, as any order is one; what is restricted is how much must be learnt.)

    Parameters
    ----------
    rule
        Whose levels are corrected, and where levels start.
    reach
        What an output of 1 is, in standard deviations of demand over what the position covers; of a period's for caps.
    learn
        Whether levels are learned themselves; False where the policy is for other networks.

    Raises
    ------
    InputError
        If the rule is none of the base-stock family.
    """

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        super().__init__()
        if not isinstance(rule, BaseStock):
            raise expected("start", rule.name, "a rule of the base-stock family, or head=residual, which takes any")
        scenario, t = features.scenario, rule.tables
        self.base = type(rule)(scenario, **rule._get_options())
        self.space = self.base.space()
        vector = np.array([
            float(rule.values[group][cell]) for group, cell in zip(self.space.groups, self.space.cells, strict=True)
        ])  # fmt: skip
        self.shared = not learn
        self.fixed = vector
        self.moving = np.flatnonzero(np.isfinite(vector)) if learn else np.zeros(0, dtype=np.int64)
        self.theta = nn.Parameter(torch.zeros(len(self.moving)))
        lanes, products = np.divmod(features.lanes, t.P)
        target = t.lane_target[lanes] * t.P + products
        primary = self.base.forest.primary[target] == features.lanes
        deviation = automatic_levels(scenario).flow_deviation.reshape(-1)[target]
        covered = np.sqrt(t.protection[lanes]) * deviation
        unit = reach * np.where(primary, self.base.spread[target], covered)
        self.outputs = 2 if self.base.capped else 1
        # From outputs by lane to (N * P) levels of primary lanes, and (L * P) of others and of caps.
        self.nodes = _scatter(np.where(primary, target, -1), unit, t.N * t.P)
        self.lanes = _scatter(np.where(primary, -1, features.lanes), unit, t.L * t.P) if not primary.all() else None
        self.caps = _scatter(features.lanes, reach * deviation, t.L * t.P) if self.base.capped else None
        self._rule: BaseStock | None = None

    def levels(self) -> list[nn.Parameter]:
        """One number a level or cap, in units of its scale."""
        return [self.theta] if len(self.moving) else []

    def vector(self) -> Floats:
        """The rule's parameters as learned so far."""
        found = self.fixed.copy()
        found[self.moving] += self.space.scale[self.moving] * self.theta.detach().double().numpy()
        return np.maximum(found, self.space.lower)

    def begin(self) -> None:
        """The rule with the numbers of now: differentiable while gradients are on."""
        if torch.is_grad_enabled() and len(self.moving):
            dtype = self.theta.dtype
            places = torch.from_numpy(self.moving)
            start, scale = (torch.from_numpy(part[self.moving]).to(dtype) for part in (self.fixed, self.space.scale))
            lower = torch.from_numpy(np.maximum(self.space.lower[self.moving], -1e30)).to(dtype)
            moved = torch.maximum(start + scale * self.theta, lower)
            rule = self.base.with_vector(self.space, torch.from_numpy(self.fixed).to(dtype).index_put((places,), moved))
        else:
            rule = self.base.with_vector(self.space, self.vector())
        self._rule = rule

    def forward(self, observation: Observation, outputs: torch.Tensor) -> Decision:
        """The decision."""
        if self._rule is None:
            self.begin()
        rule = self._rule
        assert rule is not None
        outputs = outputs.to(ops_of(observation.on_hand).float)  # whole units would else be counted in 32 bits
        shift = Shift(
            nodes=_placed(self.nodes, outputs[0]),
            lanes=None if self.lanes is None else _placed(self.lanes, outputs[0]),
            caps=None if self.caps is None else _placed(self.caps, outputs[1]),
        )
        rule.learned = lambda _: shift
        return rule(observation)


def _scatter(places: NDArray[np.int64], units: Floats, size: int) -> tuple[Any, Any, Any]:
    """Which lanes' outputs go where, times what."""
    chosen = np.flatnonzero(places >= 0)
    where = np.full(size, len(chosen))
    where[places[chosen]] = np.arange(len(chosen))
    unit = torch.from_numpy(units[chosen].astype(np.float32)[:, None])
    same = len(chosen) == size and bool((where == np.arange(size)).all()) and len(chosen) == len(places)
    return None if same else torch.from_numpy(chosen), torch.from_numpy(where), unit


def _placed(scatter: tuple[Any, Any, Any], outputs: torch.Tensor) -> torch.Tensor:
    """(size, B) of outputs (lanes, B); 0 where no lane leads."""
    chosen, where, unit = scatter
    if chosen is None:
        return outputs * unit
    values = outputs.index_select(0, chosen) * unit
    padded = torch.cat([values, torch.zeros_like(values[:1]) if len(values) else outputs[:1] * 0], 0)
    return padded.index_select(0, where)


class DirectHead(Head):
    """Head around what automatic levels lack, smooth and never 0: s softplus((level - position) / s + output).

    The unit s is half a mean flow. Nothing is cut, so gradients never vanish.
    """

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        super().__init__()
        self.decoder = ActionDecoder(features.scenario, "order_up_to")  # whose levels requests lie around
        t = self.decoder.tables
        flow = automatic_levels(features.scenario).flow.reshape(-1)[self.decoder.target]
        self.register_buffer("scale", torch.from_numpy(0.5 * flow[:, None]), persistent=False)
        self.cells = torch.from_numpy(self.decoder.lanes * t.P + self.decoder.products)
        self.reach, self.shared = 2 * reach, not learn  # the unit is half a mean flow
        self.theta = nn.Parameter(torch.zeros(self.decoder.size if learn else 0))

    def levels(self) -> list[nn.Parameter]:
        """A constant a lane."""
        return [self.theta] if len(self.theta) else []

    def forward(self, observation: Observation, outputs: torch.Tensor) -> Decision:
        """The decision."""
        ops = ops_of(observation.on_hand)
        return Decision(_requests(self.decoder, self.cells, self.wanted(observation, outputs, ops), ops))

    def wanted(self, observation: Observation, outputs: torch.Tensor, ops: Ops) -> torch.Tensor:
        """(lanes, B) units."""
        decoding = self.decoder.on(ops)
        gap = decoding.centre - decoding.positions(self.decoder.owned(observation, ops))
        more = self.reach * outputs[0]
        if len(self.theta):
            more = more + self.theta[:, None]
        scale = self.scale.to(gap.dtype) if gap.is_floating_point() else self.scale
        assert isinstance(scale, torch.Tensor)
        return scale * _softplus(gap / scale + more)


def _softplus(value: torch.Tensor) -> torch.Tensor:
    """log(1 + e^value); spelt out in graphs, as ONNX Runtime has none in 64 bits."""
    if torch.compiler.is_exporting():
        return value.clamp(min=0) + torch.log1p(torch.exp(-value.abs()))
    return nn.functional.softplus(value)


class SplitHead(DirectHead):
    """Head with supplier lanes as in :class:`DirectHead`; other stock is split: shares of what is on hand, and a share kept.

    Shares are a softmax around those that carry the mean flow in steady state, so no split asks for more than there is.

    Raises
    ------
    InputError
        If the scenario has no lanes out of a stock node.
    """

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        super().__init__(features, rule, reach, learn)
        t = self.decoder.tables
        source = t.lane_source[self.decoder.lanes]
        self.split = np.flatnonzero(~t.is_supplier[source])
        if not len(self.split):
            raise expected(
                "head", "split", "a scenario with lanes out of a stock node; levels, direct or residual suit all"
            )
        cells = (source * t.P + self.decoder.products)[self.split]
        self.stocks, self.group = np.unique(cells, return_inverse=True)
        share = ActionDecoder(features.scenario, "allocate").range.centre[self.split]
        share = np.clip(share, 0.005, 0.95)
        total = np.bincount(self.group, weights=share)
        share = share * np.minimum(0.97 / total, 1.0)[self.group]
        keep = 1 - np.bincount(self.group, weights=share)
        self.register_buffer("logit", torch.from_numpy(np.log(share / keep[self.group])[:, None]), persistent=False)
        self._groups: dict[str, Segments] = {}

    def wanted(self, observation: Observation, outputs: torch.Tensor, ops: Ops) -> torch.Tensor:
        """(lanes, B) units."""
        asked = super().wanted(observation, outputs, ops).clone()
        key = str(ops.float)
        if key not in self._groups:
            self._groups[key] = Segments(self.group, len(self.stocks), ops)
        groups = self._groups[key]
        split = torch.from_numpy(self.split)
        more = self.reach * outputs[0].index_select(0, split)
        assert isinstance(self.logit, torch.Tensor)
        weight = torch.exp((self.logit.to(more.dtype) + more).clamp(-20, 20))
        on_hand = ops.total(ops.moveaxis(observation.on_hand, 0, -1), 2).reshape(-1, outputs.shape[-1])
        stock = on_hand[torch.from_numpy(self.stocks)]
        per_weight = stock / (1 + groups.sum(weight))
        asked[split] = (weight * per_weight[torch.from_numpy(self.group)]).to(asked.dtype)
        return asked


class ResidualHead(Head):
    """Head that adds mean flow x output to a rule's requests, never below 0; the rule stays as it is."""

    def __init__(self, features: Features, rule: Rule, reach: float, learn: bool = True) -> None:
        super().__init__()
        self.base, self.shared = rule, not learn
        t = rule.tables
        flow = automatic_levels(features.scenario).flow.reshape(-1)
        lanes, products = np.divmod(features.lanes, t.P)
        unit = reach * flow[t.lane_target[lanes] * t.P + products]
        self.place = _scatter(features.lanes, unit, t.L * t.P)
        self.shape = (t.L, t.P)

    def forward(self, observation: Observation, outputs: torch.Tensor) -> Decision:
        """The decision."""
        decision = self.base(observation)
        outputs = outputs.to(ops_of(observation.on_hand).float)
        more = _placed(self.place, outputs[0]).reshape(*self.shape, -1).movedim(-1, 0)
        return Decision((decision.requests + more).clamp(min=0), decision.reserve)


def _requests(decoder: ActionDecoder, cells: torch.Tensor, asked: torch.Tensor, ops: Ops) -> torch.Tensor:
    """(B, L, P) of what each lane that can be requested asks for, (lanes, B)."""
    t = decoder.tables
    if decoder.size < t.L * t.P:
        asked = ops.zeros((t.L * t.P, asked.shape[-1]), asked.dtype).index_put((cells,), asked)
    return asked.reshape(t.L, t.P, -1).movedim(-1, 0)


HEADS: dict[str, Any] = {
    "levels": LevelsHead,
    "direct": DirectHead,
    "split": SplitHead,
    "residual": ResidualHead,
}
