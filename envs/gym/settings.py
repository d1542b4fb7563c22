"""Settings that the Gymnasium environments share: what an action is, how long an episode lasts, what infos tell."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from ..core.errors import expected, unknown
from ..interface.action_decoder import DEFAULT_ACTION
from ..processes.series import APART, PURPOSES
from ..scenario.scenario import Scenario

DTYPES = ("float64", "float32")
#: How much an env tells in its infos.
LEVELS = ("none", "costs", "kpis")
RENDER_MODES = (None, "rgb_array")


class EnvKeywords(TypedDict, total=False):
    """Keywords of :class:`EnvSettings`, as type checkers want them."""

    action: str
    periods: int | None
    purpose: str
    dtype: str
    info: str
    overrides: dict[str, Any] | None
    render_mode: str | None


@dataclass(frozen=True, kw_only=True)
class EnvSettings:
    """Settings of :class:`NetworkEnv` and :class:`NetworkVectorEnv`, given to them as keywords.

    Parameters
    ----------
    action
        What an action is (:class:`ActionDecoder`): ``proportional``, ``order_up_to``, ``order_up_to_local``, ``allocate`` or
        ``requests``.
    periods
        Periods of an episode; None: the scenario's horizon.
    purpose
        Which series worlds come from: ``train``, ``tune`` or ``test``.
    dtype
        Floating type of continuous worlds, ``float64`` or ``float32`` (faster; amounts below some roundings of the stock
        around them count as nothing). Whole units are always counted in ``float64``.
    info
        ``none``, ``costs`` (no key performance indicators), or ``kpis`` (everything).
    overrides
        Changes to the scenario, dotted keys allowed: ``{"lanes.hub_north_express.capacity": 40}``.
    render_mode
        None or ``rgb_array``.

    Raises
    ------
    InputError
        On a setting that is not usable.
    """

    action: str = DEFAULT_ACTION
    periods: int | None = None
    purpose: str = "train"
    dtype: str = "float64"
    info: str = "kpis"
    overrides: dict[str, Any] | None = None
    render_mode: str | None = None

    def __post_init__(self) -> None:
        for name, known in (
            ("render_mode", RENDER_MODES),
            ("purpose", (*PURPOSES, *APART)),
            ("dtype", DTYPES),
            ("info", LEVELS),
        ):
            value = getattr(self, name)
            if not isinstance(value, str | None) or value not in known:
                raise unknown(name, value, [str(one) for one in known])
        if self.periods is not None:
            whole_number("periods", self.periods)

    @classmethod
    def of(cls, settings: EnvKeywords) -> EnvSettings:
        """The settings given as keywords.

        Raises
        ------
        InputError
            On a keyword that is none, or a setting that is not usable.
        """
        known = [one.name for one in fields(cls)]
        for name in settings:
            if name not in known:
                raise unknown("settings", name, known)
        return cls(**settings)

    def network(self, scenario: Scenario | str | Path) -> Scenario:
        """The scenario that is meant, with the overrides.

        Raises
        ------
        InputError
            If it is none.
        """
        if isinstance(scenario, Scenario):
            return scenario if self.overrides is None else scenario.with_overrides(self.overrides)
        if isinstance(scenario, str | Path):
            return Scenario.load(scenario, self.overrides)
        raise expected("scenario", scenario, "a Scenario, the name of one, or the path of a YAML file")


def whole_number(field: str, value: Any, least: int = 1) -> int:
    """A whole number from outside, checked.

    Raises
    ------
    InputError
        If it is none, or below ``least``.
    """
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
    if not whole:
        raise expected(field, value, f"a whole number >= {least}")
    if value >= 1 << 63:
        raise expected(field, value, f"a whole number >= {least} and below 2^63")
    return int(value)
