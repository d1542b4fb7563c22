"""When lanes can be asked and nodes work: review periods and weekly calendars, which repeat for ever.

They change nothing in the period itself. On a closed day the availability of the lane or node is 0, and what falls due
at a node on a closed day arrives on its next open one, a longer lead time; both stand on the tape, as disruptions do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, model_validator

from ..core.errors import expected
from ..core.validation import Config, number

if TYPE_CHECKING:
    from .network import Lane, Network
    from .tables import Tables

Array = NDArray[Any]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LONGEST_CYCLE = 3_660  # periods; also of cycles that have to be looked at together

Cycle = Annotated[int, number(1, LONGEST_CYCLE, integer=True)]


class Review(Config):
    """A lane can be asked in period ``first`` and every ``every`` periods from there."""

    every: Cycle
    """Periods from one review to the next."""
    first: Annotated[int, number(0, LONGEST_CYCLE, integer=True)] = 0
    """Period of the first review."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.first >= self.every:
            raise ValueError(f"first = {self.first}: expected a period < every ({self.every})")
        return self

    @property
    def pattern(self) -> Bools:
        """(every,) True in the period of the cycle that it can be asked in."""
        return np.arange(self.every) == self.first


def _days(raw: Any) -> Any:
    if not isinstance(raw, list | tuple) or any(isinstance(day, bool) or not isinstance(day, int) for day in raw):
        raise ValueError("expected a list of days of the cycle, counted from 0")
    return tuple(raw)


Days = Annotated[tuple[int, ...], BeforeValidator(_days)]


class Calendar(Config):
    """Days of a cycle on which a lane departs or a node works; period 0 is day 0.

    Either the ``open`` days or the ``closed`` ones are listed; ``cycle`` is 7, a week, unless given.
    """

    open: Days | None = None
    """Days of the cycle that are open, counted from 0."""
    closed: Days | None = None
    """Days of the cycle that are closed, counted from 0."""
    cycle: Cycle = 7
    """Days of the cycle; period 0 is its day 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.open is None) == (self.closed is None):
            raise ValueError("expected either open or closed, a list of days")
        key = "open" if self.closed is None else "closed"
        days = (self.open if self.closed is None else self.closed) or ()
        for day in days:
            if not 0 <= day < self.cycle:
                raise ValueError(
                    f"{key} = {day}: expected days from 0 to {self.cycle - 1}, as the cycle is {self.cycle}"
                )
        if len(set(days)) != len(days):
            raise ValueError(f"{key} = {list(days)}: expected every day only once")
        if not self.pattern.any():
            raise ValueError(f"{key} = {list(days)}: expected at least one open day")
        return self

    @property
    def pattern(self) -> Bools:
        """(cycle,) True on open days."""
        days = np.arange(self.cycle)
        return np.isin(days, self.open) if self.open is not None else ~np.isin(days, self.closed or ())


def _number_alone(raw: Any) -> Any:
    return {"every": raw} if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


ReviewField = Annotated[Review, BeforeValidator(_number_alone)]

ALWAYS = np.ones(1, dtype=np.bool_)


def together(*patterns: Bools) -> Bools:
    """The pattern that is open where all are, over their common cycle."""
    length = math.lcm(*(len(pattern) for pattern in patterns))
    periods = np.arange(length)
    found = np.ones(length, dtype=np.bool_)
    for pattern in patterns:
        found &= pattern[periods % len(pattern)]
    return found


def lane_pattern(lane: Lane) -> Bools:
    """Periods of a cycle in which a lane can be asked, by its own review period and calendar."""
    given = [one.pattern for one in (lane.review, lane.calendar) if one is not None]
    return together(*given) if given else ALWAYS


def node_pattern(network: Network, name: str) -> Bools:
    """Periods of a cycle in which a node works; always for a customer."""
    node = network.nodes.get(name)
    return ALWAYS if node is None or node.calendar is None else node.calendar.pattern


def check_calendars(network: Network) -> None:
    """Every lane has a period in which it can be asked and its source works.

    Raises
    ------
    InputError
        Naming the lane.
    """
    for name, lane in network.lanes.items():
        own = [one.pattern for one in (lane.review, lane.calendar) if one is not None]
        patterns = [*own, node_pattern(network, lane.source), node_pattern(network, lane.target)]
        length = math.lcm(*(len(pattern) for pattern in patterns))
        if length > LONGEST_CYCLE:
            cycles = ", ".join(str(len(pattern)) for pattern in patterns if len(pattern) > 1)
            hint = f"cycles that repeat together within {LONGEST_CYCLE} periods, source and target included"
            raise expected(f"lanes.{name}", f"cycles of {cycles}", hint)
        if not together(*patterns[:-1]).any():
            hint = f"a period in which lane and source {lane.source} are open by review and calendar"
            raise expected(f"lanes.{name}", "never open", hint)


def waits(pattern: Bools) -> Ints:
    """(cycle,) periods from each one until the next that is open, 0 on open ones."""
    twice = np.concatenate([pattern, pattern])
    where = np.where(twice, np.arange(len(twice)), len(twice))
    following = np.minimum.accumulate(where[::-1])[::-1]
    return (following - np.arange(len(twice)))[: len(pattern)].astype(np.int64)


def protection(asked: Bools, target: Bools, lead_time: int) -> int:
    """Longest time from a request until what is asked at the next opportunity has arrived.

    That is what a request has to last for: the lead time and a review period (Silver, Pyke and Thomas, Inventory and
    Production Management in Supply Chains, 2017, section 6.4); lead time + 1 for a lane that can be asked every period.
    """
    cycle = together(asked, np.ones_like(target))
    times = np.flatnonzero(cycle)
    following = np.append(times[1:], times[0] + len(cycle))
    due = following + lead_time
    return int((due + waits(target)[due % len(target)] - times).max())


def _compact(array: Array) -> Array:
    """The array with axes along which it only repeats cut to length 1."""
    return array[tuple(slice(0, 1) if step == 0 else slice(None) for step in array.strides)]


class Calendars:
    """The calendars of a scenario, applied to arrays of a tape.

    Parameters
    ----------
    tables
        The compiled scenario.
    """

    def __init__(self, tables: Tables) -> None:
        t = tables
        self._lanes = {i: one for i, one in enumerate(t.lane_pattern) if not one.all()}
        self._nodes = {i: one for i, one in enumerate(t.node_pattern) if not one.all()}
        self._sizes = {"lanes": t.L, "nodes": t.N}
        closing = {i: waits(pattern) for i, pattern in self._nodes.items()}
        self._waits = {lane: closing[int(node)] for lane, node in enumerate(t.lane_target) if int(node) in closing}

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._lanes or self._nodes)

    def open(self, kind: str, first: int, count: int) -> NDArray[np.float64] | None:
        """(count, lanes or nodes) 1 where open, from period ``first`` on; None where always."""
        patterns = self._lanes if kind == "lanes" else self._nodes
        if not patterns:
            return None
        found, periods = np.ones((count, self._sizes[kind])), np.arange(first, first + count)
        for entity, pattern in patterns.items():
            found[:, entity] = pattern[periods % len(pattern)]
        return found

    def applied(self, arrays: Mapping[str, Array], batch_axis: int) -> dict[str, Array]:
        """Availabilities and lead times (T, ...) of a tape as the calendars leave them; only those that they touch.

        Applied twice they change nothing more. Axes that only repeat go on doing so.
        """
        found = {}
        entity_axis = 3 - batch_axis
        for kind in ("lanes", "nodes"):
            array = arrays[name := f"{kind[:-1]}_availability"]
            works = self.open(kind, 0, len(array))
            if works is not None:
                found[name] = np.broadcast_to(_compact(array) * np.expand_dims(works, batch_axis), array.shape)
        lead_time = arrays["lead_time"]
        if self._waits:
            periods = np.arange(len(lead_time))
            once = _compact(lead_time)
            once = np.array(np.broadcast_to(once, (len(periods), *once.shape[1:])))
            once = np.repeat(once, lead_time.shape[entity_axis], entity_axis) if once.shape[entity_axis] == 1 else once
            found["lead_time"] = np.broadcast_to(self.arriving(once, periods[:, None], entity_axis), lead_time.shape)
        return found

    def arriving(self, lead_time: Array, sent: Array, lanes: int = 1) -> Array:
        """Lead times such that nothing arrives on a closed day; a copy where that matters.

        Parameters
        ----------
        lead_time
            Periods, whole, with an axis of lanes.
        sent
            Period of dispatch, of a shape that goes with one lane's lead times.
        lanes
            The axis of lanes.
        """
        if not self._waits:
            return lead_time
        found = np.array(lead_time)
        by_lane = np.moveaxis(found, lanes, 0)
        for lane, wait in self._waits.items():
            by_lane[lane] += wait[(sent + by_lane[lane]) % len(wait)]
        return found
