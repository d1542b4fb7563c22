"""Rule, the base of all rules: parameters by name, a flat vector of them for tuners, files, and refusal of other networks."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import Array, ops_of
from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.core.plain import check_plain
from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.core.validation import is_number
from echelongym.envs.interface.feasibility import carried_share, seconds
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.network.signature import signature
from echelongym.envs.network.tables import Tables
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_yaml


@dataclass(frozen=True, eq=False)
class Group:
    """Group of parameters, one for each cell (entity with product), and how a tuner should treat them.

    Arrays are (entities * P,), by ``entity * P + product``.
    """

    name: str  # keyword of the rule
    entities: tuple[str, ...]  # names of nodes or lanes
    allowed: Bools  # cells that may have a number
    default: Floats  # what a cell has that is not given one; infinite = not used
    start: Floats  # where a tuner begins
    scale: Floats  # units of a tuner's step, > 0
    lower: float = -np.inf  # of what may be given
    smooth: bool = True  # whether costs have useful gradients in these numbers; a threshold has none
    real: bool = False  # no count of units: fractions make sense where units are whole


@dataclass(frozen=True, eq=False)
class Space:
    """Parameter space: the free parameters of a rule as one vector, n entries."""

    names: tuple[str, ...]  # "levels.hub", with several products "levels.hub.milk"
    groups: tuple[str, ...]  # group of each entry
    cells: NDArray[np.int64]  # (n,) cell within the group
    start: Floats  # (n,)
    scale: Floats  # (n,)
    lower: Floats  # (n,)
    unused: Floats  # (n,) what each stands at if it is left out

    def __len__(self) -> int:
        return len(self.names)


class Rule(ABC):
    """Rule: a policy with named parameters; a callable from observation to decision, on NumPy and PyTorch.

    Parameters
    ----------
    scenario
        The scenario it is for.
    parameters
        By keyword: for each group a number for all, or a mapping by node (or lane) to a number, to None (the
        default) or to a mapping by product.

    Raises
    ------
    InputError
        For an unknown parameter, node, lane or product (naming the closest), a number out of bounds, or a scenario for
        which the rule makes no sense.
    """

    name: ClassVar[str]
    differentiable: ClassVar[bool] = True  # False: no number of the rule has useful gradients
    slow: ClassVar[bool] = False  # True: a decision takes milliseconds a world, so it takes part only where it is named
    reference: ClassVar[bool] = False  # True: a baseline to compare with, not a rule anybody would use
    #: True: what it does with an observation's arrays depends on nothing but its class, scenario, options and numbers, so that
    #: it can be recorded once. Each class says so itself: subclasses may keep more.
    pure: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.pure = vars(cls).get("pure", False)

    @classmethod
    def refusal(cls, scenario: Scenario) -> str | None:
        """Reason why the rule makes no sense for a scenario; None where it does."""
        return None

    def __init__(self, scenario: Scenario, **parameters: Any) -> None:
        reason = self.refusal(scenario)
        if reason is not None:
            raise InputError(f"{self.name}: {reason} (scenario {scenario.name})")
        check_plain(parameters, self.name)
        if not scenario.lanes:
            raise InputError(
                f"{self.name}: lanes: expected at least one in scenario {scenario.name}, to ask for anything"
            )
        self.scenario = scenario
        self.tables: Tables = scenario.tables
        self.groups = {group.name: group for group in self._make_groups()}
        known = (*self.groups, *self._options())
        for key in parameters:
            if key not in known:
                raise unknown(f"{self.name} parameter", key, known)
        self.given = parameters  # as written
        self.values: dict[str, Array] = {}
        self._given: dict[str, Bools] = {}
        for name, group in self.groups.items():
            self.values[name], self._given[name] = read_cells(group, parameters.get(name), self.tables, self.name)
        self._set_options({key: parameters[key] for key in self._options() if key in parameters})

    @abstractmethod
    def _make_groups(self) -> list[Group]:
        """The groups of numbers this rule has."""

    def _options(self) -> tuple[str, ...]:
        """Names of parameters that are no numbers by cell."""
        return ()

    def _set_options(self, options: dict[str, Any]) -> None:
        """Read those that were given."""
        self.options = options

    def _get_options(self) -> dict[str, Any]:
        """Their values as plain data."""
        return dict(self.options)

    @abstractmethod
    def __call__(self, observation: Observation) -> Decision:
        """Requests for one period."""

    def _asks(self) -> Bools:
        """(L * P,) lane cells that the rule may ask on."""
        if hasattr(self, "used"):
            return np.asarray(self.used)
        found = np.zeros(self.tables.L * self.tables.P, dtype=bool)
        primary = Forest(self.tables).primary
        found[primary[primary >= 0]] = True
        return found

    def with_needed(self) -> Self:
        """The rule as ``load_policy`` gives it without any parameter, where primary lanes cannot carry mean demand.

        Where the levels of a node are automatic, the cheapest secondary lanes ask for the rest, at levels of their own
        (:attr:`needed`); itself where nothing is needed or the rule has no such levels.
        """
        return self

    def remarks(self) -> list[str]:
        """Lines on lanes that the rule leaves aside though primary lanes cannot carry mean demand."""
        t, forest, asks = self.tables, Forest(self.tables), self._asks()
        found, share = [], carried_share(t, forest)
        for n, p in np.argwhere(share < 1 - 1e-6):
            others = seconds(t, forest, int(n), int(p))
            if others and not any(asks[lane * t.P + p] for lane in others):
                carried = float(share[n, p] * t.mean_flow[n, p])
                found.append(
                    f"{self.name}: {t.lanes[t.primary_lane[n, p]]} can carry {carried:.4g} of {t.mean_flow[n, p]:.4g} units of "
                    f"{t.products[p]} a period into {t.nodes[n]}, and the rule never asks on "
                    f"{', '.join(t.lanes[lane] for lane in others)} (a capped rule does, once tuned)"
                )
        return found

    # Parameters ----------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters as plain data that ``load_policy`` takes; cells not used are left out."""
        P, products = self.tables.P, self.tables.products
        found: dict[str, Any] = {}
        for name, group in self.groups.items():
            values = np.asarray(self.values[name], dtype=np.float64)
            by_entity: dict[str, Any] = {}
            for cell in np.flatnonzero(group.allowed & np.isfinite(values)):
                entity, product = group.entities[cell // P], products[cell % P]
                value = float(values[cell])
                if P == 1:
                    by_entity[entity] = value
                else:
                    by_entity.setdefault(entity, {})[product] = value
            if by_entity:
                found[name] = by_entity
        return found | self._get_options()

    @classmethod
    def size(cls, scenario: Scenario) -> int:
        """Number of parameters that a tuner may choose where none is given."""
        return len(cls(scenario).space())

    def space(self) -> Space:
        """The parameters that were not given: what a tuner may choose."""
        P, products = self.tables.P, self.tables.products
        names, groups, cells = [], [], []
        for name in self.groups:
            for cell in np.flatnonzero(self._free(name)):
                product = f".{products[cell % P]}" if P > 1 else ""
                names.append(f"{name}.{self.groups[name].entities[cell // P]}{product}")
                groups.append(name)
                cells.append(int(cell))

        def entries(key: str) -> Floats:
            picked = [getattr(self.groups[name], key) for name in groups]
            numbers = [v if isinstance(v, float) else v[c] for v, c in zip(picked, cells, strict=True)]
            return np.array(numbers, dtype=np.float64)

        start, scale, lower, unused = (entries(key) for key in ("start", "scale", "lower", "default"))
        return Space(tuple(names), tuple(groups), np.array(cells, np.int64), start, scale, lower, unused)

    def starts(self, space: Space) -> list[Floats]:
        """Vectors (n,) that a tuner may begin at, ``space.start`` first; also those of a simpler rule that it contains.

        Without gains (numbers that are no units) a rule responds to nothing.
        """
        gains = np.array([self.groups[group].real for group in space.groups], dtype=bool)
        return [space.start, np.where(gains, 0.0, space.start)] if gains.any() else [space.start]

    def _free(self, group: str) -> Bools:
        """(entities * P,) which numbers of a group a tuner may choose."""
        return self.groups[group].allowed & ~self._given[group]

    def vector(self, space: Space) -> Floats:
        """(n,) values of these parameters as they are, -inf where not used; see :meth:`with_vector`."""
        places = zip(space.groups, space.cells, strict=True)
        return np.array([self.values[group][cell] for group, cell in places], dtype=np.float64)

    def with_vector(self, space: Space, vector: Array) -> Self:
        """A copy with the free parameters set to ``vector`` (n,), a NumPy array, a tensor with gradients, or what JAX traces.

        Entries of -inf are not used, as if never given. What JAX traces has no numbers yet: the copy uses the lanes that
        this rule uses, so set the numbers that it stands for before.
        """
        other = copy.copy(self)
        other.values = dict(self.values)
        for name in set(space.groups):
            chosen = np.array([group == name for group in space.groups])
            other.values[name] = _placed(self.values[name], space.cells[chosen], vector, np.flatnonzero(chosen))
        other._reset()
        return other

    @abstractmethod
    def _reset(self) -> None:
        """Drop what was computed from parameters that have changed."""

    def recordable(self, dtype: Any) -> Recordable | None:
        """What a compiled rollout records of the rule, for units of a type; None for one that must be asked every time."""
        return None

    def _settled(self) -> Hashable:
        """What decides which operations the rule does, and constants in them; numbers are arguments of what is recorded."""
        return tuple(sorted(self._get_options().items()))

    # Files ---------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The rule with the signature of its network, as plain data."""
        network = signature(self.tables)
        return {"rule": self.name, "scenario": self.tables.name, "network": network, "parameters": self.parameters}

    def save(self, path: str | Path, **further: Any) -> None:
        """Write the rule as YAML, whole or not at all; ``further`` top-level keys are kept as notes."""
        write_yaml(self.to_dict() | further, Path(path))


def read_cells(group: Group, given: Any, tables: Tables, rule: str) -> tuple[Floats, Bools]:
    """Numbers of one group from what a user gave, and which cells were given.

    Raises
    ------
    InputError
        On a name that is not known, or a number that is not usable.
    """
    P, products = tables.P, tables.products
    field = f"{rule} {group.name}"
    values, chosen = group.default.copy(), np.zeros(len(group.default), dtype=bool)
    if given is None:
        return values, chosen

    def put(where: Bools, value: Any, name: str) -> None:
        if value is not None:
            if not is_number(value) or value < group.lower:
                bound = f" >= {group.lower:g}" if np.isfinite(group.lower) else ""
                raise expected(name, value, f"a finite number{bound}, or null")
            values[where] = value
        else:
            values[where] = group.default[where]
        chosen[where] = True

    if not isinstance(given, Mapping):
        put(group.allowed, given, field)
        return values, chosen
    usable = [name for e, name in enumerate(group.entities) if group.allowed[e * P : (e + 1) * P].any()]
    for entity, value in given.items():
        if entity not in usable:
            if entity in group.entities:
                raise InputError(f"{field}.{entity}: {entity} has none; expected one of {', '.join(usable) or 'none'}")
            raise unknown(field, entity, usable)
        first = group.entities.index(entity) * P
        cells = np.zeros(len(values), dtype=bool)
        if not isinstance(value, Mapping):
            cells[first : first + P] = True
            put(cells & group.allowed, value, f"{field}.{entity}")
            continue
        here = [name for p, name in enumerate(products) if group.allowed[first + p]]
        for product, item in value.items():
            if product not in here:
                raise unknown(f"{field}.{entity}", product, here)
            cells = np.zeros(len(values), dtype=bool)
            cells[first + products.index(product)] = True
            put(cells, item, f"{field}.{entity}.{product}")
    return values, chosen


def _placed(values: Array, cells: Any, vector: Array, entries: Any) -> Array:
    """``values`` with ``vector[entries]`` put into ``cells``; a tensor, or what JAX traces or expressions, if the vector is."""
    ops = ops_of(vector)
    if ops.name == "numpy":
        placed = np.array(values, dtype=np.float64)
        placed[cells] = vector[entries]
        return placed
    if ops.name != "torch":
        return ops.put(ops.constant(values), cells, vector[entries])
    base = vector.new_tensor(np.asarray(values))
    where = vector.new_tensor(cells).long()
    return base.index_put((where,), vector[vector.new_tensor(entries).long()])
