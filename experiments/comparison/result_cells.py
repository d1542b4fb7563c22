"""Cells of the tables that a comparison prints."""

from __future__ import annotations

from collections.abc import Sequence

from ..statistics import Comparison, Estimate
from .evaluate import Scores


def estimated(estimate: Estimate) -> str:
    """``243.1 [240.7, 245.5]``; ``243.1`` where there is no interval."""
    digits = max(0, 4 - len(f"{abs(estimate.mean):.0f}"))
    mean = f"{estimate.mean:.{digits}f}"
    return f"{mean} [{estimate.low:.{digits}f}, {estimate.high:.{digits}f}]" if estimate.known else mean


def percent(comparison: Comparison | None) -> str | None:
    """``-3.20 [-3.51, -2.92]``; ``-3.20`` where there is no interval."""
    if comparison is None or comparison.percent is None:
        return None
    found = comparison.percent
    return f"{found.mean:+.2f}" + (f" [{found.low:+.2f}, {found.high:+.2f}]" if found.known else "")


def some(names: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def share(value: float | None) -> str | None:
    """A share in percent; None where there is nothing to share."""
    return None if value is None or value != value else f"{100 * value:.1f} %"


def made(one: Scores) -> str:
    """Cell on how a policy came about: what its tuner simulated, or how many training seeds it has."""
    entrant = one.entrant
    if entrant.tuning_budget is not None:
        return f"{entrant.tuning_budget / 1e6:.3g} M steps"
    if entrant.training_seeds:
        return f"{len(entrant.training_seeds)} training seed{'s' if len(entrant.training_seeds) > 1 else ''}"
    return entrant.note
