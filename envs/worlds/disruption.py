"""Disruptions: events that come at random or at set times and change nodes, lanes and demand."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from ..core.errors import expected, unknown
from ..core.names import as_text
from ..core.plain import iso_date
from ..core.validation import Config, NonNegative, Positive, PositiveCount, Share, number
from ..network.entities import Customer, Lane, Node

# What can be selected, by which attributes, and which effects it can suffer.
ATTRIBUTES = {
    "nodes": ("kind",),
    "lanes": ("source", "target", "mode"),
    "customers": ("region", "segment"),
}
EFFECTS = {
    "availability": ("nodes", "lanes"),
    "lead_time_factor": ("lanes",),
    "yield": ("lanes",),
    "demand_factor": ("customers",),
}


def _selector(raw: Any) -> Any:
    """A name, a list of names, ``all``, or attributes with a value or list of values each."""
    raw = as_text(raw)
    if isinstance(raw, str):
        return raw
    if isinstance(raw, list | tuple) and raw and all(isinstance(as_text(name), str) for name in raw):
        return tuple(map(as_text, raw))
    if isinstance(raw, dict) and raw:
        raw = {k: list(map(as_text, v)) if isinstance(v, list | tuple) else as_text(v) for k, v in raw.items()}
        for key, value in raw.items():
            values = value if isinstance(value, list | tuple) and value else [value]
            if not isinstance(key, str) or not all(isinstance(item, str) for item in values):
                raise ValueError("expected attributes with a text or a list of texts each")
        return raw
    raise ValueError("expected a name, a list of names, all, or a mapping of attributes")


Selector = Annotated[str | tuple[str, ...] | dict[str, Any], BeforeValidator(_selector)]


def _moment(value: Any) -> int | datetime.date:
    """A period, or a date of the record."""
    date = iso_date(value)
    if date is not None:
        return date
    try:
        period: int = number(0, integer=True).func(value)
    except ValueError as error:
        raise ValueError(f"{error}, or a date such as 2024-03-01") from None
    return period


# Any: what is written out as JSON on the way to a file is a text then.
EventTime = Annotated[Any, PlainValidator(_moment)]


class When(Config):
    """Periods in which a disruption is active.

    Either at random, ``mean_up`` and ``mean_down`` being the mean lengths (geometric, >= 1) of the
    stretches without and with it, or from period ``from`` to period ``to``, both included, and, with
    ``every``, again that many periods later, and so on. Where demand is a record with dates that is
    replayed in order, ``from`` and ``to`` may be dates: which periods these are differs from one
    window to the other, so that no rule foresees them.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    mean_up: Annotated[float, number(1.0)] | None = None
    """Mean number of periods between two disruptions; random, geometric."""
    mean_down: Annotated[float, number(1.0)] | None = None
    """Mean number of periods that a disruption lasts; random, geometric."""
    first: EventTime | None = Field(None, alias="from")
    """First period of a planned disruption, or its date where demand is a record replayed in order."""
    last: EventTime | None = Field(None, alias="to")
    """Last period of a planned disruption, included, or its date."""
    every: PositiveCount | None = None
    """Periods after which a planned disruption comes again."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [value is not None for value in (self.mean_up, self.mean_down)]
        fixed = [value is not None for value in (self.first, self.last)]
        if (all(given), any(fixed)) != (True, False) and (any(given), all(fixed)) != (False, True):
            raise ValueError("expected either mean_up and mean_down, or from and to")
        first, last, every = self.first, self.last, self.every
        if isinstance(first, datetime.date) != isinstance(last, datetime.date):
            raise ValueError(
                f"to = {last}: expected {'a date' if isinstance(first, datetime.date) else 'a period'}, as from"
            )
        if first is not None and last is not None and last < first:
            raise ValueError(f"to = {last}: expected a period >= from ({first})")
        if every is not None and first is None:
            raise ValueError(f"every = {every}: expected with from and to only")
        if every is not None and self.periods is not None and every <= self.periods[1] - self.periods[0]:
            length = self.periods[1] - self.periods[0] + 1
            raise ValueError(f"every = {every}: expected at least the {length} periods that it lasts")
        return self

    @property
    def periods(self) -> tuple[int, int] | None:
        """First and last period, where they are set and not given by date."""
        if isinstance(self.first, int) and isinstance(self.last, int):
            return self.first, self.last
        return None

    @property
    def dates(self) -> tuple[datetime.date, datetime.date] | None:
        """First and last date, where they are given."""
        if isinstance(self.first, datetime.date) and isinstance(self.last, datetime.date):
            return self.first, self.last
        return None

    @property
    def random(self) -> bool:
        """Whether the periods differ from world to world."""
        return self.mean_up is not None


def active_within(periods: NDArray[np.int64], span: tuple[int, int], every: int | None = None) -> NDArray[np.bool_]:
    """Whether an event of that first and last period, again ``every`` so many, is active in each of ``periods``."""
    since = periods - span[0]
    if every is not None:
        since = np.where(since >= 0, since % every, since)
    return (since >= 0) & (since <= span[1] - span[0])


class Places(Protocol):
    """A network, as far as disruptions choose what they hit."""

    @property
    def nodes(self) -> Mapping[str, Node]: ...

    @property
    def lanes(self) -> Mapping[str, Lane]: ...

    @property
    def customers(self) -> Mapping[str, Customer]: ...


class Effect(Config):
    """Effect of an active disruption on the nodes, lanes or customers it selects.

    ``availability`` scales capacities of nodes or lanes, ``yield`` is the share of units that a
    lane delivers, ``lead_time_factor`` stretches lead times (rounded up), ``demand_factor`` scales
    demand. A selector is a name, a list of names, ``all``, or a mapping of attributes (nodes:
    kind; lanes: source, target, mode; customers: region, segment), each with one value or several.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    nodes: Selector | None = None
    """Nodes affected: a name, a list of names, `all`, or attributes such as `{kind: supplier}`."""
    lanes: Selector | None = None
    """Lanes affected: a name, a list of names, `all`, or attributes such as `{target: north}`."""
    customers: Selector | None = None
    """Customers affected: a name, a list of names, `all`, or attributes such as `{region: north}`."""
    availability: Share | None = None
    """Share of the capacity of nodes or lanes that is left; 0 or 1 where they have no capacity."""
    lead_time_factor: Positive | None = None
    """Factor on lead times, rounded up."""
    demand_factor: NonNegative | None = None
    """Factor on the customers' demand."""
    yield_share: Share | None = Field(None, alias="yield")
    """Share of the units arriving on a lane that is good."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if sum(getattr(self, kind) is not None for kind in ATTRIBUTES) != 1:
            raise ValueError("expected exactly one of nodes, lanes and customers")
        if not self.amounts:
            raise ValueError(f"expected at least one of {', '.join(EFFECTS)}")
        for key, value in self.amounts.items():
            if self.kind not in EFFECTS[key]:
                raise ValueError(f"{key} = {value:g}: expected on {' or '.join(EFFECTS[key])}, not {self.kind}")
        return self

    @property
    def kind(self) -> str:
        """Kind of what is selected: ``nodes``, ``lanes`` or ``customers``."""
        return next(kind for kind in ATTRIBUTES if getattr(self, kind) is not None)

    @property
    def amounts(self) -> dict[str, float]:
        """The effects given, by their key in the file."""
        given = {key: getattr(self, "yield_share" if key == "yield" else key) for key in EFFECTS}
        return {key: value for key, value in given.items() if value is not None}

    def select(self, network: Places, field: str = "effects") -> NDArray[np.int64]:
        """Indices of the nodes, lanes or customers affected, ascending.

        Raises
        ------
        InputError
            If a name or an attribute's value does not exist, or nothing is selected.
        """
        kind = self.kind
        items: dict[str, Any] = getattr(network, kind)
        selector = getattr(self, kind)
        if selector == "all":
            chosen: Iterable[str] = items
        elif isinstance(selector, dict):
            chosen = _matching(items, selector, kind, f"{field}.{kind}")
        else:
            chosen = (selector,) if isinstance(selector, str) else selector
            for name in chosen:
                if name not in items:
                    raise unknown(f"{field}.{kind}", name, (*items, "all"))
        names = set(chosen)
        if not names:
            raise expected(f"{field}.{kind}", selector, f"a selector that some of the {kind} match")
        return np.array([i for i, name in enumerate(items) if name in names], dtype=np.int64)


def _matching(items: dict[str, Any], selector: dict[str, Any], kind: str, field: str) -> Iterable[str]:
    names = list(items)
    for key, value in selector.items():
        if key not in ATTRIBUTES[kind]:
            raise unknown(field, key, ATTRIBUTES[kind])
        wanted = [value] if isinstance(value, str) else value
        present = {getattr(item, key) for item in items.values()}
        for one in wanted:
            if one not in present:
                raise unknown(f"{field}.{key}", one, sorted(present))
        names = [name for name in names if getattr(items[name], key) in wanted]
    return names


class Disruption(Config):
    """An event: when it is active, and what it does then. Several active effects multiply."""

    when: When
    """When the disruption is active."""
    effects: Annotated[tuple[Effect, ...], Field(min_length=1)]
    """What it does while it is active."""

    def select(self, network: Places, field: str = "disruption") -> list[tuple[Effect, NDArray[np.int64]]]:
        """Each effect with the indices it selects in a network.

        Raises
        ------
        InputError
            If a selector names or selects nothing that exists, or if an availability between 0 and
            1 falls on a node or lane whose capacity it would scale but which has none.
        """
        found = []
        for place_number, effect in enumerate(self.effects):
            place = f"{field}.effects.{place_number}"
            chosen = effect.select(network, place)
            if effect.availability is not None and 0 < effect.availability < 1:
                items: dict[str, Any] = getattr(network, effect.kind)
                names = list(items)
                for index in chosen:
                    if items[names[index]].capacity is None:
                        raise expected(
                            f"{place}.availability",
                            effect.availability,
                            f"0 or 1, as {effect.kind}.{names[index]} has no capacity to scale",
                        )
            found.append((effect, chosen))
        return found


class Disrupted(Places, Protocol):
    """A network with its disruptions."""

    @property
    def disruptions(self) -> Mapping[str, Disruption]: ...


class Hit(NamedTuple):
    """Hit of a disruption: one amount of one effect, and the entities that it falls on."""

    disruption: str
    when: When
    kind: str  # nodes, lanes or customers
    key: str  # one of EFFECTS
    amount: float
    entities: NDArray[np.int64]  # indices, ascending
    field: str  # where the amount stands


def hits(scenario: Disrupted, key: str | None = None) -> Iterator[Hit]:
    """All that disruptions do, in the order of the file; with ``key`` what they do by that effect.

    Raises
    ------
    InputError
        As :meth:`Disruption.select`.
    """
    for name, disruption in scenario.disruptions.items():
        for place, (effect, chosen) in enumerate(disruption.select(scenario, f"disruptions.{name}")):
            for one, amount in effect.amounts.items():
                if key in (None, one):
                    field = f"disruptions.{name}.effects.{place}.{one}"
                    yield Hit(name, disruption.when, effect.kind, one, amount, chosen, field)


def any_at_set_times(scenario: Disrupted) -> bool:
    """Whether a disruption comes at periods or dates that are set, so that it matters which period it is."""
    return any(not disruption.when.random for disruption in scenario.disruptions.values())
