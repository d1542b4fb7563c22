"""Reward and info of a single env: plain numbers, and indicators that are worked out when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..accounts.kpis import KpiAccumulator, windows
from ..dynamics import Flows
from ..scenario.scenario import Scenario
from .infos import Info
from .step import OBJECTIVES

KPIS = "kpis"
#: Bytes of an episode's flows up to which they are kept for whoever asks for its indicators.
MOST_KEPT = 8_000_000


class EpisodeReporter:
    """Rewards and infos of one world.

    Parameters
    ----------
    scenario
        What is priced.
    level
        How much is told: ``none``, ``costs`` or ``kpis``.
    periods
        Length of an episode; the scenario's warm-up is left out of its indicators, if it is shorter.
    """

    def __init__(self, scenario: Scenario, level: str, periods: int) -> None:
        t = scenario.tables
        self.level = level
        self.warm_up = t.warm_up if t.warm_up < periods else 0
        self.kpis = KpiAccumulator(t, 1, windows(scenario), self.warm_up) if level == KPIS else None
        self._counted = periods - self.warm_up
        self._rows: Any = None  # (periods, numbers) flows since the start, or since they were last added up
        self._added = False  # whether flows of this episode were added up
        self._lines: tuple[str, ...] | None = None

    def restart(self) -> None:
        """An episode begins."""
        self._rows, self._count = None, 0  # an earlier one's belong to its info
        if self._added and self.kpis is not None:
            self.kpis.reset()
            self._added = False

    def row(self, flows: Flows) -> Any:
        """What is counted of a period, as one array; None where nothing is."""
        if self.kpis is None:
            return None
        self._dtype = flows.demand.dtype
        return self.kpis.row(flows)

    def count(self, row: Any, age: int) -> None:
        """Count a period of which ``row`` is what :meth:`row` made, flat; ``age`` of the episode, this period included."""
        if row is None or age <= self.warm_up:
            return
        if self._rows is None:
            kept = max(MOST_KEPT // max(row.nbytes, 1), 1)
            self._rows = np.empty((min(self._counted, kept), len(row)), row.dtype)
        elif self._count == len(self._rows):
            self._add()
        self._rows[self._count] = row
        self._count += 1

    def _add(self) -> None:
        """Add up the flows kept, as there is no room for more."""
        assert self.kpis is not None
        self.kpis.add_rows(self._rows[: self._count], self._dtype)
        self._count, self._added = 0, True

    def report(self, names: tuple[str, ...], figures: NDArray[Any]) -> tuple[float, Info]:
        """Reward and info of a step's ``figures`` (names,)."""
        if self.level == "none":
            return float(figures[-1]), {}
        values = figures.tolist()
        lines = len(names) - len(OBJECTIVES) - 1
        info: Info = dict(zip(OBJECTIVES, values[lines:], strict=False))
        info["costs"] = dict(zip(names[:lines], values, strict=False))
        return values[-1], info

    def started(self, world: int) -> Info:
        """Info of a reset: which world is played."""
        return {} if self.level == "none" else {"world": world}

    def ended(self, info: Info) -> Info:
        """Info of the step that ended the episode: its indicators are added."""
        if self.kpis is None:
            return info
        if self._added:
            self._add()
            return {**info, KPIS: _plain(self.kpis.result())}
        return EndedInfo({**info, KPIS: EpisodeKpis(self.kpis, self._rows, self._dtype)})


class EpisodeKpis:
    """Key performance indicators of an episode, worked out from its flows when it is called.

    Parameters
    ----------
    kpis
        Accumulator of one world, which may serve many episodes.
    rows, dtype
        As of :meth:`KpiAccumulator.add_rows`.
    """

    def __init__(self, kpis: KpiAccumulator, rows: NDArray[Any], dtype: Any) -> None:
        self._kpis, self._rows, self._dtype = kpis, rows, dtype
        self._found: Info | None = None

    def __call__(self) -> Info:
        """The indicators, nested by group; every call gives a dictionary of its own."""
        if self._found is None:
            self._kpis.reset()
            self._kpis.add_rows(self._rows, self._dtype)
            self._found = self._kpis.result()
        return _plain(self._found)


class EndedInfo(dict[str, Any]):
    """Info of an ended episode: an ordinary dictionary to whoever reads it, whose indicators are not yet worked out.

    Under ``kpis`` lies an :class:`EpisodeKpis` until somebody looks at it; most learners never do. Every way of reading
    the value puts the indicators in its place first. Shallow and deep copies leave them to be worked out, too, and a
    pickle holds a plain dictionary.
    """

    def _settled(self) -> EndedInfo:
        lazy = super().get(KPIS)
        if isinstance(lazy, EpisodeKpis):
            self[KPIS] = lazy()
        return self

    def __getitem__(self, key: str) -> Any:
        if key == KPIS:
            self._settled()
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default if it is missing."""
        if key == KPIS:
            self._settled()
        return super().get(key, default)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """The value of a key, which gets the default if it is missing."""
        return super(EndedInfo, self._settled()).setdefault(key, default)

    def pop(self, key: str, *default: Any) -> Any:
        """Take a key out: its value."""
        if key == KPIS:
            self._settled()
        return super().pop(key, *default)

    def popitem(self) -> tuple[str, Any]:
        """Take the last key out, with its value."""
        return super(EndedInfo, self._settled()).popitem()

    def items(self) -> Any:
        """Keys with their values."""
        return super(EndedInfo, self._settled()).items()

    def values(self) -> Any:
        """The values."""
        return super(EndedInfo, self._settled()).values()

    def __iter__(self) -> Iterator[str]:
        # That this is not the dictionary's own keeps ``dict(info)`` and ``{**info}`` from copying past ``__getitem__``.
        return super().__iter__()

    def __eq__(self, other: object) -> bool:
        return super(EndedInfo, self._settled()).__eq__(other._settled() if isinstance(other, EndedInfo) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return super(EndedInfo, self._settled()).__repr__()

    def __or__(self, other: Any) -> Any:
        return dict(self) | other

    def __ror__(self, other: Any) -> Any:
        return other | dict(self)

    def copy(self) -> EndedInfo:
        """A shallow copy."""
        found = EndedInfo()
        for key, value in super().items():
            found[key] = value
        return found

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> EndedInfo:
        found = EndedInfo()
        memo[id(self)] = found
        for key, value in super().items():
            found[key] = value if isinstance(value, EpisodeKpis) else deepcopy(value, memo)
        return found

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _plain(figures: Info) -> Info:
    """Nested figures of a batch of one as plain numbers."""
    return {key: _plain(value) if isinstance(value, dict) else value.item() for key, value in figures.items()}
