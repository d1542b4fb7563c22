"""Lead times: fixed, or drawn anew for every lane and period from a few values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_serializer, model_validator

from ..core.validation import LONGEST_SPAN, Config, is_number
from .compiled import kernels
from .laws import Steps
from .series import Streams


class LeadTime(Config):
    """Distribution of a lane's lead time in periods: ``values`` with ``probabilities`` > 0."""

    values: tuple[int, ...]
    """Possible lead times in whole periods."""
    probabilities: tuple[float, ...]
    """Their probabilities."""

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

    Raises
    ------
    ValueError
        Naming ``values`` or ``probabilities`` and what was expected.
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

    Raises
    ------
    ValueError
        With what was expected; whoever validates adds where.
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
    if not is_number(value) or value != int(value) or not 0 <= value <= LONGEST_SPAN:
        raise ValueError(
            f"{value!r}: expected a whole number of periods >= 0 and <= {LONGEST_SPAN}, or a mapping with values and "
            "probabilities"
        )
    return int(value)


def sample_lead_times(
    lanes: dict[str, LeadTime],
    streams: Streams,
    count: int,
    factor: NDArray[np.float64] | None,
    stretched: Sequence[int],
) -> NDArray[np.int64]:
    """Lead times of what ships in periods 0 to ``count - 1``.

    Parameters
    ----------
    lanes
        Lead time by name of the lane.
    streams
        The worlds.
    count
        Number of periods T.
    factor
        Product of the active factors of disruptions, (T, L, B or 1), or None; what is drawn is
        stretched by it and rounded up.
    stretched
        Lanes that disruptions may stretch.

    Returns
    -------
    (T, L, B) periods; a broadcast view where all worlds are alike.
    """
    random = [lane for lane, item in enumerate(lanes.values()) if item.random]
    width = streams.batch if random else 1 if factor is None else factor.shape[-1]
    fixed = np.array([item.values[0] for item in lanes.values()], dtype=np.int64)[:, None]
    shape = (count, len(lanes), streams.batch)
    if not random and factor is None:
        return np.broadcast_to(fixed, shape)
    drawn = np.empty((count, len(lanes), width), dtype=np.int64)
    drawn[:] = fixed
    names = list(lanes)
    if random:
        uniforms = streams.uniforms("lead_time", [names[lane] for lane in random], 0, count)
        for k, lane in enumerate(random):
            _draw(lanes[names[lane]], uniforms[:, k], drawn[:, lane])
    if factor is not None:
        compiled = kernels(count * width * len(stretched))
        for lane in stretched:
            if compiled is not None:
                compiled.stretch(factor[:, lane], drawn[:, lane])
                continue
            # A whole product may come out a last bit too high: no reason for one period more.
            drawn[:, lane] = np.ceil(drawn[:, lane] * factor[:, lane] - 1e-9)
    return np.broadcast_to(drawn, shape)


def _draw(lead_time: LeadTime, uniforms: NDArray[np.float64], out: NDArray[np.int64]) -> None:
    """Inverse of the distribution; a comparison for each value, as they are few."""
    law = Steps.of(np.array(lead_time.values, float), np.array(lead_time.probabilities))
    edges, values = law.uniform_edges, law.values.astype(np.int64)
    compiled = kernels(out.size)
    if compiled is not None:
        compiled.lead_times(uniforms, edges, values, out)
        return
    step = np.zeros(uniforms.shape, np.intp)
    for edge in edges:
        np.add(step, uniforms > edge, out=step)
    out[...] = values.take(step)
