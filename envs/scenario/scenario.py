"""Scenario: a network, its random processes, and a horizon; from one YAML file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, PlainValidator, ValidationInfo, model_validator

from ..core.errors import InputError, expected, unknown
from ..core.names import Label, Named
from ..core.validation import LEAST, Config, Count, NonNegative, PeriodsFromOne, Share, is_number, number, validate
from ..network.network import Network
from ..network.tables import Tables
from ..processes.correlation import Correlation
from ..processes.forecast import Forecast
from ..processes.replay import ReplayedDemand
from ..processes.written_demand import parse_demand
from ..recorded.files import by_content
from ..recorded.joined import joint_records
from ..recorded.record import ONE_RECORD, JointRecords
from ..storage.files import as_path, read_yaml, write_yaml
from ..storage.outside_files import regular_file
from ..worlds.dated import ClosedDates, dated_span
from ..worlds.disruption import Disruption
from ..worlds.record_statement import record_split
from ..worlds.tape import Tape, sample_tape
from .compile_tables import compile_tables
from .overrides import overridden
from .randomise import NETWORK, Choice, Variation, check, is_drawn, is_undrawn, variant, with_network
from .regional_network import RegionalNetwork, with_generated

#: Periods of an episode; of hours they are a thousand years.
LONGEST_HORIZON = 10_000_000


def _reward_scale(value: Any) -> Any:
    if value == "auto":
        return value
    if is_number(value) and value >= LEAST:
        return float(value)
    raise ValueError(f"expected auto or a number > 0 and at least {LEAST:g}")


class Observe(Config):
    """Additional observations of a policy: today's lead times, and whether lost demand shows."""

    lead_time: Literal["hidden", "quoted"] = "hidden"
    """Whether policies see the lead times of the period (`quoted`) or not (`hidden`)."""
    demand: Literal["demand", "sales"] = "demand"
    """Whether policies see all demand of past periods, or only what was sold."""
    history: PeriodsFromOne = 4
    """Past periods of demand that policies see."""


class ScenarioTargets(Config):
    """Targets of the whole scenario; like those of customers they never enter the cost."""

    emissions_kg_per_unit: NonNegative | None = None
    """Most emissions for a unit served, kg CO2e."""
    waste_share: Share | None = None
    """Most units disposed of, as a share of the units supplied."""


class Scenario(Network):
    """A network with its processes and horizon: everything an experiment needs but the policy.

    Example
    -------
    >>> scenario = Scenario.load("two_region")
    >>> tape = scenario.sample(worlds=4, seed=7, purpose="test")
    >>> tape.demand.shape  # (history + periods, worlds, customers, products)
    (204, 4, 2, 1)
    """

    name: Label = "scenario"
    """Name used in tables and run folders; left out: the name of the file."""
    units: Literal["continuous", "integer"] = "continuous"
    """`continuous` amounts, or `integer`: whole units, exact, without gradients."""
    horizon: Annotated[int, number(1, LONGEST_HORIZON, integer=True)] = 200
    """Periods of an episode."""
    warm_up: Count = 0
    """Periods at the start of an episode that reported figures leave out."""
    carbon_price: NonNegative = 0.0
    """Cost of a kg CO2e."""
    correlation: Correlation = Correlation()
    """Correlation of demand between customers and over time."""
    disruptions: Annotated[dict[str, Disruption], Named] = Field(default_factory=dict)
    """Disruptions by name."""
    forecast: Forecast = Forecast()
    """Forecasts of demand that policies see."""
    observe: Observe = Observe()
    """What policies see beyond stock, orders and availability."""
    targets: ScenarioTargets = ScenarioTargets()
    """Targets of the whole scenario; targets never enter the cost."""
    reward_scale: Annotated[float | str, PlainValidator(_reward_scale)] = "auto"
    """Cost that one unit of reward stands for; `auto`: mean demand times lost-sale + backorder cost + price."""
    randomise: Variation | None = None
    """What varies from one variant of the scenario to the next; left out: nothing."""
    generate: RegionalNetwork | None = None
    """Nodes, lanes and customers from a few numbers, in place of writing them; they are written out when the file is read."""
    base_dir: Annotated[str | None, Field(exclude=True, repr=False)] = None

    @model_validator(mode="after")
    def _check_scenario(self, info: ValidationInfo) -> Self:
        if self.warm_up >= self.horizon:
            raise expected("warm_up", self.warm_up, f"fewer periods than the horizon {self.horizon}")
        if not self.customers:
            raise expected("customers", {}, "at least one customer")
        if self.units == "integer":
            self._check_whole()
        for name, customer in self.customers.items() if self.units == "continuous" else ():
            for source, one in customer.sources.items():
                if one.accepted_by == "coin":
                    field = f"customers.{name}.sources.{source}.accepted_by"
                    raise expected(field, "coin", "share, or units: integer, as only whole units have coins")
        for name, product in ((n, p) for n in self.customers for p in self.products):
            process = self.demand_processes[name].get(product)
            sources = self.customers[name].sources.values()
            if process is not None and not any(self.carries(item, product) for item in sources):
                raise expected(f"customers.{name}.sources", product, "a source that carries the product")
        for name, disruption in self.disruptions.items():
            disruption.select(self, f"disruptions.{name}")
            if disruption.when.dates is not None:
                dated_span(self, disruption.when, "test", f"disruptions.{name}.when")
        ClosedDates(self).check()
        if self.randomise is not None:
            check(self)
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _one_variant(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Scenario:
        """The scenario that the key ``variant``, which is not kept, picks; the base where there is none."""
        if not isinstance(data, dict):
            return handler(data)
        wanted = data.get("variant")
        data = with_generated(data)
        family = handler(with_network({key: value for key, value in data.items() if key != "variant"}))
        return family if wanted is None else validate(Choice, wanted, "variant").of(family)

    def _check_whole(self) -> None:
        """Integer worlds hold whole units only."""
        amounts: list[tuple[str, Any]] = [(f"nodes.{n}.initial", node.initial) for n, node in self.nodes.items()]
        for key in ("batch", "minimum_order", "opening_in_transit"):
            amounts += [(f"lanes.{n}.{key}", getattr(lane, key)) for n, lane in self.lanes.items()]
        amounts += [(f"customers.{n}.opening_backlog", one.opening_backlog) for n, one in self.customers.items()]
        for field, amount in amounts:
            for value in amount.values() if isinstance(amount, dict) else [amount]:
                if is_number(value) and value != int(value):
                    raise expected(field, value, "a whole number, as units is integer")

    @cached_property
    def demand_processes(self) -> dict[str, dict[str, Any]]:
        """Demand process by customer and product; no entry where nothing is demanded."""
        products, integer, folder = tuple(self.products), self.units == "integer", self._folder

        def parsed(joint: JointRecords = ONE_RECORD) -> dict[str, dict[str, Any]]:
            return {
                name: parse_demand(
                    customer.demand, products, integer, folder, f"customers.{name}.demand", name, self.horizon, joint
                )
                for name, customer in self.customers.items()
            }

        found = parsed()
        recorded = [
            process.series
            for by_product in found.values()
            for process in by_product.values()
            if isinstance(process, ReplayedDemand)
        ]
        joint = joint_records(recorded)
        return parsed(joint) if joint.several else found

    @property
    def _folder(self) -> Path:
        """Folder that files of recorded demand are relative to."""
        return Path(self.base_dir) if self.base_dir else Path.cwd()

    @cached_property
    def tables(self) -> Tables:
        """The scenario compiled to NumPy arrays, which is all that the hot code reads."""
        return compile_tables(self)

    @property
    def network(self) -> Network:
        """The network alone."""
        return Network.model_construct(**{key: getattr(self, key) for key in Network.model_fields})

    @property
    def digest(self) -> str:
        """SHA-256 of the scenario's canonical JSON: equal for equal configs, wherever they lie.

        A recorded table counts by what it holds, not by where it lies or what it is called.
        The order of entities and sources counts: the first lane into a node is its primary one, the first source of a
        customer is asked first.
        """
        data = self.to_dict()
        for key in ("customers", "randomise"):
            if key in data:
                data[key] = by_content(data[key], self._folder)
        order = [list(data.get(key) or ()) for key in ("products", "nodes", "lanes", "customers")]
        order += [list(one.get("sources") or ()) for one in (data.get("customers") or {}).values()]
        text = json.dumps([data, order], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The scenario as plain data that :meth:`from_mapping` reads back."""
        data: dict[str, Any] = json.loads(self.model_dump_json(exclude_none=True))
        return data

    def save(self, path: str | Path) -> None:
        """Write the scenario as one YAML file, whole or not at all."""
        write_yaml(self.to_dict(), as_path(path, "scenario"))

    def replace(self, **changes: Any) -> Scenario:
        """A copy with keys changed (as plain data), validated anew: :meth:`with_overrides` by keywords."""
        return self.with_overrides(changes)

    def with_overrides(self, changes: Mapping[str, Any]) -> Scenario:
        """A copy in which what the dotted keys of ``changes`` name is replaced, one after another, and validated anew.

        ``{"lanes.hub_north.capacity": 40}`` sets one number, ``{"customers.shops.demand": {...}}`` replaces a whole mapping,
        as ``scenario.customers.shops.demand={...}`` does on the command line.

        Raises
        ------
        InputError
            On a key or name that does not exist, and for every fault in the scenario that results.
        """
        data = self.to_dict()
        found = overridden(data, changes)
        if is_drawn(self) and all(found.get(key) == data.get(key) for key in NETWORK):
            # What is drawn anew from what has changed; without a network to draw, the one drawn stays.
            drawn = {key: value for key, value in found.items() if key not in NETWORK}
            found = drawn if is_undrawn(drawn) else found
        return Scenario.from_mapping(found | {"base_dir": self.base_dir}, where=self.name)

    def sample(
        self,
        worlds: int | Sequence[int] = 512,
        seed: int = 0,
        purpose: str = "train",
        periods: int | None = None,
    ) -> Tape:
        """Draw worlds: everything a policy cannot influence, before the first period.

        ``worlds=8`` is worlds 0 to 7, ``worlds=[3]`` is world 3 alone; purpose is ``train``,
        ``tune`` or ``test`` (or ``learn`` or ``validate``: the worlds of train and tune, of recorded demand
        with periods apart from one another); ``periods`` defaults to the horizon.

        Raises
        ------
        InputError
            On another purpose, a negative seed or no worlds, or more worlds or periods than fit into memory.
        """
        return sample_tape(self, worlds, seed, purpose, periods)

    def record_split(self) -> tuple[str, ...]:
        """Recorded periods that policies are fitted to and judged on, one text a record; empty where none is recorded."""
        return record_split(self)

    def variant(self, number: int, seed: int = 0, purpose: str = "train") -> Scenario:
        """One of the scenarios that the key ``randomise`` stands for, without the key.

        Parameters
        ----------
        number
            0, 1, 2, ...: each is another one, and the same whenever it is asked for.
        seed
            Names a series of variants, whole and >= 0.
        purpose
            ``train``, ``tune`` or ``test``, whose variants are drawn from series of their own.

        Raises
        ------
        InputError
            Without the key, on a bad number, seed or purpose, or where what is drawn is no valid scenario.
        """
        return variant(self, number, seed, purpose)

    def relaxed(self) -> Scenario | None:
        """The scenario in continuous units without batches and minimum orders, so that gradients exist.

        Itself where it is so already.

        None where that cannot be (an availability between 0 and 1 without a capacity, say).
        """
        if self.tables.smooth:
            return self
        changes: dict[str, Any] = {"units": "continuous"}
        for key in ("batch", "minimum_order"):
            given = (name for name, lane in self.lanes.items() if getattr(lane, key) is not None)
            changes |= {f"lanes.{name}.{key}": None for name in given}
        for name, customer in self.customers.items():
            coins = (source for source, one in customer.sources.items() if one.accepted_by == "coin")
            changes |= {f"customers.{name}.sources.{source}.accepted_by": None for source in coins}
        try:
            return self.with_overrides(changes)
        except InputError:
            return None

    @classmethod
    def load(cls, name: str | Path, overrides: Mapping[str, Any] | None = None) -> Scenario:
        """A shipped scenario by name, or any by the path of its YAML file.

        Parameters
        ----------
        name
            One of :func:`shipped_scenarios`, or a path ending in ``.yaml``.
        overrides
            What the dotted keys name is replaced (``{"lanes.hub_north_express.capacity": 40}``); see
            :meth:`with_overrides`.

        Raises
        ------
        InputError
            If there is no such scenario, or for every fault in it, one line each.
        """
        path = scenario_path(name)
        data = read_yaml(path)
        if "base_dir" in data:
            raise expected("base_dir", data["base_dir"], "no such key in a file", str(path))
        data = overridden({"name": path.stem, **data}, {} if overrides is None else overrides)
        return validate(cls, data | {"base_dir": str(path.parent.resolve())}, path.name)


def scenario_folder() -> Path:
    """Folder of the shipped scenarios."""
    from importlib.resources import files

    return Path(str(files("echelongym.configs"))) / "scenario"


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that come with the package."""
    return tuple(sorted(path.stem for path in scenario_folder().glob("*.yaml")))


def scenario_path(name: str | Path) -> Path:
    """Path of a scenario's file; a value ending in ``.yaml`` is a path, any other a name.

    Raises
    ------
    InputError
        If there is no such file, and no shipped scenario of that name.
    """
    path = as_path(name, "scenario")
    if path.suffix in (".yaml", ".yml"):
        if not path.exists() and str(name) == path.name and path.stem in shipped_scenarios():
            raise expected("scenario", str(name), f"the path of a file that exists; did you mean {path.stem!r}?")
        return regular_file(name, "scenario")
    if str(name) not in shipped_scenarios():
        raise unknown("scenario", str(name), (*shipped_scenarios(), "a path ending in .yaml"))
    return scenario_folder() / f"{name}.yaml"


__all__ = ["InputError", "Scenario", "scenario_path", "shipped_scenarios"]
