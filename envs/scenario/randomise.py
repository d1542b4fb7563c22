"""Domain randomisation: what varies from one variant of a scenario to the next, and how a variant is drawn.

The key ``randomise`` of a scenario names numbers by path patterns, each with what it is drawn from, and may draw the whole
network. Variant k of (purpose, seed) is a scenario of its own. Each number drawn is the first of a named series
(:mod:`.processes.series`), named by purpose, seed, k and the path of the number, so that a variant is the same on any
machine, purposes never share one, and another pattern or a larger network leaves the other numbers alone.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Protocol, Self, TypeVar

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ..core.errors import InputError, expected
from ..core.validation import Config, Count
from ..network.entities import NOT_FOR_RETURNS, NOT_FOR_SUPPLIERS
from ..network.network import Network
from ..processes.series import Purpose, Streams
from .random_network import RandomNetwork
from .ranges import Draw, RandomNumbers, constant

NETWORK = ("nodes", "lanes", "customers")
_NEVER_DRAWN = ("name", "base_dir", "randomise", "variant")  # a variant is called after its number


class VariantNumbers:
    """The numbers of variant ``number`` of (purpose, seed).

    Raises
    ------
    InputError
        On another purpose, or a seed or number that is no whole number >= 0.
    """

    def __init__(self, number: int, seed: int, purpose: str) -> None:
        if not _is_whole(number) or not 0 <= number < 1 << 62:
            raise expected("variant", number, "a whole number >= 0 and below 2^62")
        self._streams = Streams(purpose, seed, np.array([number], dtype=np.int64))  # type: ignore[arg-type]

    def uniform(self, name: str) -> float:
        """See :class:`RandomNumbers`."""
        return float(self._streams.uniforms("variation", [name], 0, 1)[0, 0, 0])

    def chance(self, name: str, probability: float) -> bool:
        """See :class:`RandomNumbers`."""
        return self.uniform(name) < probability


class Corner:
    """Corner of all ranges, to find out what they allow; what may be there is there above the middle."""

    def __init__(self, place: float) -> None:
        self._place = place

    def uniform(self, name: str) -> float:
        """See :class:`RandomNumbers`."""
        return self._place

    def chance(self, name: str, probability: float) -> bool:
        """See :class:`RandomNumbers`."""
        return probability > 0.0 if self._place > 0.5 else probability >= 1.0


# The ends of all ranges, and a place within that makes no whole number of what should be one.
_CORNERS = (Corner(2.0**-53), Corner(0.3819660112501051), Corner(1.0 - 2.0**-53))


def _flat(value: Any) -> Any:
    """Patterns with what they are drawn from; a nested mapping is the same as dotted keys, the later deciding."""
    if not isinstance(value, dict):
        raise ValueError("expected a mapping from path patterns to what the numbers are drawn from")
    return dict(_leaves(value, ""))


def _leaves(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        path = f"{prefix}{key}"
        if isinstance(item, dict) and item and not _is_draw(item):
            yield from _leaves(item, f"{path}.")
        else:
            yield path, constant(item)


def _is_draw(item: Mapping[str, Any]) -> bool:
    """Whether a mapping says what to draw from, and is not a part of a path: ``demand: {mean: {low: 1, high: 2}}``."""
    known = any(key in Draw.model_fields for key in item)
    return known and not any(isinstance(part, dict) for key, part in item.items() if key != "factor")


class Variation(Config):
    """The key ``randomise``: ``values`` by path pattern, and ``network`` where that is drawn too."""

    values: Annotated[dict[str, Draw], BeforeValidator(_flat)] = Field(default_factory=dict)
    """What numbers are drawn from, by the path of the key; `*` stands for any name."""
    network: RandomNetwork | None = None
    """Sizes and costs of a network that is drawn as a whole; left out: the network as written."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.values and self.network is None:
            raise ValueError("expected values, network or both")
        return self

    def apply(self, data: dict[str, Any], numbers: RandomNumbers) -> dict[str, list[str]]:
        """Turn a scenario's plain data into a variant's, in place; the paths that each pattern matched.

        Raises
        ------
        InputError
            Where a factor meets what is no number, or a pattern matches what is never drawn.
        """
        if self.network is not None:
            data.update(self.network.draw(numbers))
        found: dict[str, list[str]] = {}
        drawn: dict[str, int] = {}
        for pattern, draw in self.values.items():
            found[pattern] = []
            for path, place, key in list(_matches(data, pattern)):
                if path in _NEVER_DRAWN:
                    raise expected("randomise.values", pattern, f"the paths of numbers; {path} is none that is drawn")
                # A path that an earlier pattern has drawn is drawn anew, from another series.
                again = drawn[path] = drawn.get(path, 0) + 1
                name = pattern if draw.together else path if again == 1 else f"{path}#{again}"
                # A copy: a later pattern may change something within one of the values.
                place[key] = copy.deepcopy(draw.drawn(numbers.uniform(name), _given(place, key), path))
                found[pattern].append(path)
        return found


def _given(place: Any, key: Any) -> Any:
    return place.get(key) if isinstance(place, dict) else place[key]


def _matches(data: dict[str, Any], pattern: str) -> Iterator[tuple[str, Any, Any]]:
    """Paths that a pattern matches, each with the mapping or list that holds the value and its key there.

    A pattern with wildcards reaches what has a value; a path without reaches any key, whose name is for the scenario to check.
    """
    *parents, last = pattern.split(".")
    places: list[tuple[str, Any]] = [("", data)]
    for part in parents:
        places = [(f"{path}{key}.", place[key]) for path, place in places for key in _keys(place, part)]
    for path, place in places:
        keys = list(_keys(place, last))
        if not keys and not _wild(pattern) and isinstance(place, dict):
            keys = [last]
        yield from ((f"{path}{key}", place, key) for key in keys if not _wild(pattern) or _may_have(place, key, path))


def _keys(place: Any, part: str) -> Iterator[Any]:
    if isinstance(place, dict):
        yield from (key for key in place if fnmatch.fnmatchcase(str(key), part))
    elif isinstance(place, list):
        yield from (index for index in range(len(place)) if fnmatch.fnmatchcase(str(index), part))


def _wild(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _may_have(place: Any, key: Any, path: str) -> bool:
    """Whether a node or lane may be given the key: ``nodes.*.holding_cost`` passes suppliers over."""
    section, *rest = path.split(".")
    if len(rest) != 2:
        return True
    if section == "nodes" and place["kind"] == "supplier":
        return key not in NOT_FOR_SUPPLIERS
    if section == "lanes":
        returns = "return_share" in place
        return key not in NOT_FOR_RETURNS if returns else key != "recovery"
    return True


def with_network(data: Any) -> Any:
    """A scenario's plain data, nodes, lanes and customers filled in where ``randomise.network`` draws them.

    Raises
    ------
    InputError
        If some of the three are given and others not.
    """
    given = data.get("randomise") if isinstance(data, dict) else None
    if isinstance(given, dict) and given.get("network") is not None:
        there = [key for key in NETWORK if data.get(key)]
        if there and len(there) < len(NETWORK):
            raise expected("randomise.network", there, f"{', '.join(NETWORK)} all given beside it, or none")
        try:
            variation = Variation.model_validate(given)
        except ValueError:
            return data  # whoever validates the whole says where the fault is
        assert variation.network is not None
        if not there:
            return {**data, **variation.network.draw(VariantNumbers(0, 0, "train"))}
    return data


class RandomisedScenario(Protocol):
    """A scenario that can be randomised; :class:`~echelongym.envs.Scenario` is one."""

    @property
    def name(self) -> str: ...

    @property
    def base_dir(self) -> str | None: ...

    @property
    def products(self) -> Mapping[str, Any]: ...

    @property
    def network(self) -> Network: ...

    @property
    def randomise(self) -> Variation | None: ...

    def to_dict(self) -> dict[str, Any]: ...

    @classmethod
    def from_mapping(cls, data: dict[str, Any], where: str = "network") -> Self: ...


_Family = TypeVar("_Family", bound=RandomisedScenario)


def is_drawn(scenario: RandomisedScenario) -> bool:
    """Whether the network is the one that ``randomise.network`` draws where none is written."""
    if scenario.randomise is None or scenario.randomise.network is None:
        return False
    data = {"products": scenario.products, **scenario.randomise.network.draw(VariantNumbers(0, 0, "train"))}
    try:
        return Network.model_validate(data) == scenario.network
    except ValueError:
        return False  # of several products, say


def is_undrawn(data: Mapping[str, Any]) -> bool:
    """Whether plain data leaves nodes, lanes and customers to ``randomise.network``."""
    given = data.get("randomise")
    return isinstance(given, Mapping) and given.get("network") is not None and not any(data.get(key) for key in NETWORK)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


class Choice(Config):
    """The key ``variant``, given where a scenario is chosen: the number alone, or with a seed and purpose."""

    number: Count
    """Number of the variant, from 0."""
    seed: Count = 0
    """Seed of the series of variants."""
    purpose: Purpose = "train"
    """Series of variants: `train`, `tune` or `test`."""

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, data: Any) -> Any:
        return data if isinstance(data, dict) else {"number": data}

    def of(self, scenario: _Family) -> _Family:
        """The variant of ``scenario``."""
        return variant(scenario, self.number, self.seed, self.purpose)


def variant(scenario: _Family, number: int, seed: int = 0, purpose: Purpose | str = "train") -> _Family:
    """Variant ``number`` of a scenario with ``randomise``; see :meth:`Scenario.variant`.

    Raises
    ------
    InputError
        If the scenario has no key ``randomise``.
    """
    if scenario.randomise is None:
        raise expected("randomise", None, "this key, as a variant is wanted", scenario.name)
    numbers = VariantNumbers(number, seed, purpose)
    name = f"{scenario.name}_{purpose}_{number}" + (f"_seed_{seed}" if seed else "")
    return _made(scenario, scenario.randomise, numbers, name)[0]


def variants(scenario: _Family, count: int, seed: int = 0, purpose: Purpose | str = "train") -> list[_Family]:
    """Variants 0 to ``count - 1`` of a scenario with ``randomise``.

    Raises
    ------
    InputError
        As :meth:`Scenario.variant`, and if ``count`` is less than 1.
    """
    if not _is_whole(count) or count < 1:
        raise expected("count", count, "a whole number >= 1")
    return [variant(scenario, number, seed, purpose) for number in range(count)]


def _made(
    scenario: _Family, variation: Variation, numbers: RandomNumbers, name: str
) -> tuple[_Family, dict[str, list[str]]]:
    data = scenario.to_dict()
    del data["randomise"]
    found = variation.apply(data, numbers)
    data |= {"name": name, "base_dir": scenario.base_dir}
    return type(scenario).from_mapping(data, where=f"randomise: {name}"), found


def check(scenario: RandomisedScenario) -> dict[str, list[str]]:
    """Draw at the ends of all ranges and within: every pattern matches something, and what is drawn is valid.

    Returns
    -------
    Paths that each pattern matches in the largest variant.

    Raises
    ------
    InputError
        Naming the pattern that matches nothing, or the key that cannot take what is drawn.
    """
    variation = scenario.randomise
    assert variation is not None
    ever: dict[str, list[str]] = {pattern: [] for pattern in variation.values}
    for corner, place in zip(_CORNERS, ("a lowest draw", "a draw within", "a highest draw"), strict=True):
        try:
            _, found = _made(scenario, variation, corner, place)
        except InputError as error:
            hint = " (whole: true draws whole numbers)" if "a whole number" in str(error) else ""
            raise InputError(str(error).partition("\n")[0] + hint) from None
        ever = {pattern: found[pattern] or paths for pattern, paths in ever.items()}
    for pattern, paths in ever.items():
        if not paths:
            hint = "a path that some number of the scenario has, such as customers.*.demand.mean"
            raise InputError(f"randomise.values: {pattern!r} matches nothing: expected {hint}")
    return ever


__all__ = ["Choice", "Variation", "check", "variant", "variants"]
