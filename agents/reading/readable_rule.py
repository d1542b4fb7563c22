"""The readable rule: for every lane a level, a share of the gap, a cap, and a few numbers to look up."""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import Array, Ops, columns, half_up, ops_of
from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.core.segments import Segments
from echelongym.envs.core.typing import Floats
from echelongym.envs.core.validation import is_number
from echelongym.envs.interface.inventory_positions import Owned
from echelongym.envs.interface.observation import Observation
from echelongym.envs.network.signature import check_network
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import read_yaml

from ..rules.base_stock import BaseStock
from ..rules.request_order import Cells, Shift, Step, StepNumbers, is_numbers
from ..rules.rule import Group, Space
from .named import Feature, named_features, season_length

POSITIONS = ("echelon", "local")


class Term(NamedTuple):
    """Term of a lane cell's level: what one number adds to it."""

    cell: int  # lane * P + product
    feature: Feature
    per_unit: float = 0.0  # units of level a unit of the feature
    typical: float = 0.0  # value of the feature at which nothing is added
    add: tuple[float, ...] = ()  # of a season: units by its parts, in turn


class ReadableRule(BaseStock):
    """Base-stock control whose levels move with a few named numbers: what a policy read as a table amounts to.

    Every period, each lane asks for ``gain x (level + terms - position)`` units, not below 0 and not above its cap. Positions,
    the order in which lanes ask, and what lateral lanes leave to their source are those of
    :class:`BaseStock`. A gain below 1 is the proportional order-up-to policy (Dejonckheere,
    Disney, Lambrecht and Towill, European Journal of Operational Research 147(3), 2003).

    Parameters
    ----------
    levels, express_levels, lateral_levels, keep_levels, caps, allocation
        As of any base-stock rule.
    gains
        Share of the gap that is asked for, by lane (and product); left out: 1.
    position
        What primary lanes look at: ``echelon`` or ``local``.
    terms
        By lane (and product), then by feature (:mod:`.named`): ``{per_unit: 0.8, typical: 5}`` adds 0.8 units to the
        level for each unit above 5, and ``season[52]: {add: [-3, 0, 3, 0]}`` adds so many units in each quarter of a
        season of 52 periods.

    Raises
    ------
    InputError
        On a position, level or term that does not fit the scenario.
    """

    name = "readable"
    capped = True
    shifts = True
    pure = True

    def __init__(self, scenario: Scenario, **parameters: Any) -> None:
        self.position = parameters.get("position", "echelon")
        if self.position not in POSITIONS:
            raise expected("readable position", self.position, " or ".join(POSITIONS))
        self.echelon = self.position == "echelon"
        self.terms: tuple[Term, ...] = ()
        super().__init__(scenario, **parameters)

    def _options(self) -> tuple[str, ...]:
        return (*super()._options(), "position", "terms")

    def _set_options(self, options: dict[str, Any]) -> None:
        super()._set_options(options)
        self.terms = tuple(self._read_terms(options.get("terms") or {}))

    def _get_options(self) -> dict[str, Any]:
        return super()._get_options() | {"position": self.position, "terms": self._written_terms()}

    def _more_groups(self, cells: Cells) -> list[Group]:
        t = self.tables
        ones = np.ones(t.L * t.P)
        scale = np.full(t.L * t.P, 0.1)
        return [*super()._more_groups(cells), Group("gains", t.lanes, cells.opened, ones, ones, scale, 0.0, real=True)]

    def starts(self, space: Space) -> list[Floats]:
        """One vector to begin at: without gains nothing would be asked for."""
        return [space.start]

    @cached_property
    def features(self) -> dict[str, Feature]:
        """Features that terms may look at, by name."""
        return {one.name: one for one in named_features(self.scenario)}

    # Terms ---------------------------------------------------------------------------------------

    def _read_terms(self, given: Any) -> Iterator[Term]:
        t = self.tables
        for lane, by_lane in _mapping(given, "readable terms").items():
            if lane not in t.lanes:
                raise unknown("readable terms", lane, t.lanes)
            where = f"readable terms.{lane}"
            by_product = {t.products[0]: by_lane} if t.P == 1 else _mapping(by_lane, where)
            for product, named in by_product.items():
                if product not in t.products:
                    raise unknown(where, product, t.products)
                number, place = t.lanes.index(lane), t.products.index(product)
                if not t.lane_open[number, place]:
                    raise InputError(f"{where}: expected a lane that can be asked for {product}")
                for name, numbers in _mapping(named, where).items():
                    yield self._term(number * t.P + place, name, numbers, where)

    def _term(self, cell: int, name: str, numbers: Any, where: str) -> Term:
        if name not in self.features:
            raise unknown(where, name, self.features)
        feature = self.features[name]
        numbers = _mapping(numbers, f"{where}.{name}")
        if season_length(name):
            known: tuple[str, ...] = ("add",)
        else:
            known = ("per_unit", "typical")
        for key in numbers:
            if key not in known:
                raise unknown(f"{where}.{name}", key, known)
        if season_length(name):
            add = numbers.get("add")
            if not isinstance(add, list | tuple) or not add or not all(is_number(value) for value in add):
                raise expected(f"{where}.{name}.add", add, "a list of finite numbers, one for each part of the season")
            return Term(cell, feature, add=tuple(float(value) for value in add))
        for key in known:
            if not is_number(numbers.get(key, 0.0)):
                raise expected(f"{where}.{name}.{key}", numbers[key], "a finite number")
        return Term(cell, feature, float(numbers.get("per_unit", 0.0)), float(numbers.get("typical", 0.0)))

    def _written_terms(self) -> dict[str, Any]:
        t = self.tables
        found: dict[str, Any] = {}
        for term in self.terms:
            numbers: dict[str, Any] = {"per_unit": term.per_unit, "typical": term.typical}
            if term.add:
                numbers = {"add": list(term.add)}
            place = found.setdefault(t.lanes[term.cell // t.P], {})
            if t.P > 1:
                place = place.setdefault(t.products[term.cell % t.P], {})
            place[term.feature.name] = numbers
        return found

    def _settled(self) -> Hashable:
        return self.allocation, self.position, self.terms, (self.values["gains"] == 1).tobytes()

    def _constants(self, ops: Ops) -> dict[str, Any]:
        made = super()._constants(ops)
        if self.terms:
            made["looks"] = _Looks(self, ops)
        return made

    def _shift(self, observation: Observation, constants: dict[str, Any], ops: Ops) -> Shift:
        if "looks" not in constants:
            return super()._shift(observation, constants, ops)
        total = constants["looks"](observation)
        nodes = self.tables.N * self.tables.P
        return Shift(total[:nodes], total[nodes:])

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        gains = self.values["gains"]
        if is_numbers(gains) and (gains[step.lane_cells] == 1).all():
            return super()._ask(step, numbers, gap, owned, ops)
        wanted = ops.maximum(gap * numbers.more["gains"], 0)
        return ops.to_int(half_up(wanted, ops)) if gap.dtype == ops.int else wanted

    def with_lanes(self, asked: NDArray[np.bool_]) -> Self:
        """A copy that uses the secondary lane cells ``asked`` (L * P,), too; at level 0 where it did not."""
        other = copy.copy(self)
        other.values = dict(self.values)
        for name in self.further_groups:
            values = np.array(self.values[name])
            values[self.groups[name].allowed & asked & ~np.isfinite(values)] = 0.0
            other.values[name] = values
        other._reset()
        return other

    # What lanes look at --------------------------------------------------------------------------

    def looked_at(self, observation: Observation, requests: Any) -> NDArray[np.float64]:
        """(L * P, B) position that each lane cell looks at, given what lanes that ask before it did ask for.

        Parameters
        ----------
        requests
            (B, L, P) units, of whatever policy. Cells that this rule does not use are NaN.
        """
        t = self.tables
        ops = ops_of(observation.on_hand)
        key = (ops.name, str(observation.on_hand.dtype), str(getattr(observation.on_hand, "device", "")))
        if key not in self._numbers:
            self._prepare(key, observation.on_hand.dtype, ops)
        plan = self._plans[key]
        on_hand, backlog = (np.moveaxis(array, 0, -1) for array in (observation.on_hand, observation.backlog))
        under_way = np.moveaxis(np.moveaxis(observation.in_transit, 0, -1), 2, 1)
        owned = plan.stock(on_hand, under_way.reshape((-1, *under_way.shape[2:])), backlog)
        own = np.asarray(owned.position, dtype=np.float64)
        asked = np.moveaxis(np.asarray(requests, dtype=np.float64), 0, -1).reshape((t.L * t.P, -1))
        found = np.full(asked.shape, np.nan)
        for step in plan.steps:
            position = own if plan.accumulate is None or not step.primary else plan.accumulate(own)
            position = position[step.targets]
            found[step.lane_cells] = position if step.later is None else position - step.later(owned.rows)
            own = step.moved(own, asked[step.lane_cells])
        return found


class _Looks:
    """The terms of a rule as arrays of one backend."""

    def __init__(self, rule: ReadableRule, ops: Ops) -> None:
        t = self.tables = rule.tables
        self.ops = ops
        lines = [term for term in rule.terms if not term.add]
        features = list(dict.fromkeys(term.feature for term in lines))
        self.arrays: list[tuple[str, Any, Segments, Any]] = []
        for array in dict.fromkeys(one.array for one in features):
            here = [one for one in features if one.array == array]
            picked = np.array([place for one in here for place in one.members], dtype=np.int64)
            group = np.repeat(np.arange(len(here)), [len(one.members) for one in here])
            share = np.array([1 / one.divisor for one in here])[:, None]
            self.arrays.append((array, ops.index(picked), Segments(group, len(here), ops), ops.constant(share)))
        order = {one: i for i, one in enumerate(_by_array(features))}
        # Terms of different levels are added together, one of each level at a time.
        rounds: list[list[Term]] = []
        for term in lines:
            free = next((some for some in rounds if all(other.cell != term.cell for other in some)), None)
            if free is None:
                rounds.append([term])
            else:
                free.append(term)
        self.rounds = [
            (
                ops.index(np.array([_level(rule, term.cell) for term in some])),
                ops.index(np.array([order[term.feature] for term in some])),
                ops.constant(np.array([[term.per_unit] for term in some])),
                ops.constant(np.array([[term.typical] for term in some])),
            )
            for some in rounds
        ]
        self.seasons = [
            (_level(rule, term.cell), season_length(term.feature.name), len(term.add), ops.constant(np.array(term.add)))
            for term in rule.terms
            if term.add
        ]
        self.size = t.N * t.P + t.L * t.P

    def __call__(self, observation: Observation) -> Array:
        """(N * P + L * P, B) units added to levels, those of primary lanes by their target first."""
        ops = self.ops
        parts = []
        for array, picked, groups, share in self.arrays:
            value = ops.moveaxis(getattr(observation, array), 0, -1)
            value = value.reshape((-1, value.shape[-1]))[picked]
            parts.append(groups.sum(ops.to_float(value)) * share)
        worlds = observation.on_hand.shape[0]
        total = ops.zeros((self.size, worlds), ops.float)
        if parts:
            values = ops.concat(parts, 0)
            for levels, chosen, per_unit, typical in self.rounds:
                total = ops.put(total, levels, total[levels] + per_unit * (values[chosen] - typical))
        for level, length, count, add in self.seasons:
            period = ops.to_float(observation.period)
            phase = (period - ops.floor(period / length) * length) * (count / length)
            part = ops.to_int(ops.floor(phase))
            total = ops.put(total, level, total[level] + columns(add, ops.minimum(part, part * 0 + count - 1)))
        return total


def _by_array(features: list[Feature]) -> list[Feature]:
    return [one for array in dict.fromkeys(f.array for f in features) for one in features if one.array == array]


def _level(rule: ReadableRule, cell: int) -> int:
    """Where the level of a lane cell stands: with its target if that is fed by it first, else by itself."""
    t = rule.tables
    target = int(t.lane_target[cell // t.P]) * t.P + cell % t.P
    return target if rule.forest.primary[target] == cell else t.N * t.P + cell


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise expected(where, value, "a mapping")
    return value


def load_readable(path: str | Path, scenario: Scenario) -> ReadableRule:
    """A readable rule from the YAML that its ``save`` wrote.

    Raises
    ------
    InputError
        If there is no such file, it is of another rule or network, or a parameter does not fit.
    """
    path = Path(path)
    data = read_yaml(path)
    for key in ("rule", "network", "parameters"):
        if key not in data:
            raise InputError(f"{path}: {key}: expected this key, as in the file of a rule")
    if data["rule"] != ReadableRule.name:
        raise expected("rule", data["rule"], ReadableRule.name, str(path))
    check_network(data["network"], scenario.tables, str(path))
    return ReadableRule(scenario, **(data["parameters"] or {}))


def reader(scenario: Scenario, asked: NDArray[np.bool_], position: str = "echelon") -> ReadableRule:
    """A rule whose ``looked_at`` knows the positions of a policy that uses the lane cells ``asked`` (L * P,)."""
    return ReadableRule(scenario, position=position).with_lanes(asked)
