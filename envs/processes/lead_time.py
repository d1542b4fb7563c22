"""Lead times: fixed, or drawn anew for every lane and period from a few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import model_serializer, model_validator
from typing_extensions import Self

from ..config import Config, is_number
from .laws import Steps
from .series import Streams

MOST_PERIODS = 10_000  # a longer lead time is a slip of the pen


class LeadTime(Config):
    """Distribution of a lane's lead time in periods: ``values`` with ``probabilities`` > 0."""

    values: tuple[int, ...]
    probabilities: tuple[float, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_probabilities(self.values, self.probabilities)
        return self

    @model_serializer
    def _plain(self) -> int | dict[str, list[Any]]:
        if len(self.values) == 1:
            return self.values[0]
        return {"values": list(self.values), "probabilities": list(self.probabilities)}

    @property
    def mean(self) -> float:
        """Mean in periods."""
        return float(sum(v * p for v, p in zip(self.values, self.probabilities, strict=True)))

    @property
    def longest(self) -> int:
        """Longest lead time in periods, disruptions aside."""
        return max(self.values)

    @property
    def random(self) -> bool:
        """Whether more than one value can be drawn."""
        return len(set(self.values)) > 1


def check_probabilities(values: Sequence[float], probabilities: Sequence[float]) -> None:
    """One probability a value, together 1.

    Raises:
        ValueError: naming ``values`` or ``probabilities`` and what was expected.
    """
    if not values:
        raise ValueError("values = []: expected at least one value")
    if len(values) != len(probabilities):
        raise ValueError(f"probabilities = {list(probabilities)}: expected as many as values, {len(values)}")
    total = sum(probabilities)
    if abs(total - 1.0) > 1e-6:
        raise ValueError(f"probabilities = {list(probabilities)}: expected a total of 1, not {total:.9g}")


def parse_lead_time(raw: Any) -> LeadTime:
    """A lead time from what a user wrote: a whole number, or values with probabilities.

    Raises:
        ValueError: with what was expected; whoever validates adds where.
    """
    if isinstance(raw, LeadTime):
        return raw
    if not isinstance(raw, dict):
        return LeadTime(values=(_periods(raw),), probabilities=(1.0,))
    for key in raw:
        if key not in LeadTime.model_fields:
            raise ValueError(f"unknown key {key!r} (known: {', '.join(LeadTime.model_fields)})")
    for key in LeadTime.model_fields:
        if not isinstance(raw.get(key), list | tuple):
            raise ValueError(f"{key} = {raw.get(key)!r}: expected a list")
    values = tuple(_periods(value) for value in raw["values"])
    for share in raw["probabilities"]:
        if not is_number(share) or not 0 <= share <= 1:
            raise ValueError(f"probabilities = {share!r}: expected a number >= 0 and <= 1")
    probabilities = tuple(float(share) for share in raw["probabilities"])
    check_probabilities(values, probabilities)
    # A value that is never drawn must not lengthen the pipeline.
    kept = [(v, p) for v, p in zip(values, probabilities, strict=True) if p > 0]
    return LeadTime(values=tuple(v for v, _ in kept), probabilities=tuple(p for _, p in kept))


def _periods(value: Any) -> int:
    if not is_number(value) or value != int(value) or not 0 <= value <= MOST_PERIODS:
        raise ValueError(
            f"{value!r}: expected a whole number of periods >= 0, or a mapping with values and probabilities"
        )
    return int(value)


def sample_lead_times(
    lanes: dict[str, LeadTime], streams: Streams, count: int, factor: NDArray[np.float64] | None
) -> NDArray[np.int64]:
    """Lead times of what ships in periods 0 to ``count - 1``.

    Args:
        lanes: lead time by name of the lane.
        streams: the worlds.
        count: number of periods T.
        factor: product of the active factors of disruptions, (T, L, B or 1), or None; a factor
            stretches what is drawn, rounded up.

    Returns:
        (T, L, B) periods; a broadcast view where the worlds are alike.
    """
    shape = (count, len(lanes), streams.batch)
    fixed = np.array([item.values[0] for item in lanes.values()], dtype=np.int64)[:, None]
    random = [(i, name) for i, (name, item) in enumerate(lanes.items()) if item.random]
    drawn: NDArray[np.int64] = np.broadcast_to(fixed, shape)
    if random:
        drawn = drawn.copy()
        uniforms = streams.uniforms("lead_time", [name for _, name in random], 0, count)
        for k, (lane, name) in enumerate(random):
            law = Steps.of(np.array(lanes[name].values, float), np.array(lanes[name].probabilities))
            step = np.searchsorted(law.edges(False), uniforms[:, k])
            drawn[:, lane] = law.values.astype(np.int64)[step]
    if factor is not None:
        # A whole product may come out a last bit too high, which is no reason for one period more.
        stretched = np.ceil((drawn if random else fixed) * factor - 1e-9).astype(np.int64)
        drawn = np.broadcast_to(stretched, shape)
    return drawn
