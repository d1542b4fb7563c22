"""Picture of learning: cost in validation worlds against CPU-seconds, beside a rule, a planner and a bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from echelongym.envs.core.typing import Floats
from echelongym.envs.gym.render import literal_text

from .network import COLOURS
from .writing import write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_LINES = 12  # in a panel: more cannot be told apart
MOST_PANELS = 6
_DPI = 150
_DASHES = ("-", (0, (5, 1.5)))  # of lines: the second where colours come round again
_LEVEL_DASHES = ("--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
_HEADROOM = 4.0  # panels end so many times as far above the lowest line as the highest cost of interest lies


class LearningCurve(NamedTuple):
    """Costs (K,) of the best policy so far, each from the CPU-second (K,) on at which it was found."""

    seconds: Floats
    costs: Floats


class SeedBand(NamedTuple):
    """Mean, lowest and highest cost (K,) over trainings, each from a CPU-second (K,) on."""

    seconds: Floats
    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, eq=False)
class LearningLine:
    """Trainings that are one line: its name, and the curve of each."""

    name: str
    curves: Sequence[LearningCurve]


@dataclass(frozen=True, eq=False)
class Panel:
    """Trainings whose costs can be compared: on the same scenario and the same validation worlds.

    Attributes
    ----------
    levels
        Costs of what did not learn, the tuned rule first, by the name that stands in the legend.
    bound
        Name and cost of a bound, shaded beneath; None where there is none.
    """

    title: str
    axis: str
    lines: Sequence[LearningLine]
    levels: dict[str, float]
    bound: tuple[str, float] | None = None


def band(curves: Sequence[LearningCurve]) -> SeedBand:
    """Mean, lowest and highest of step functions at every time at which one of them changes.

    It begins where the last of them begins. After its own end a curve keeps its last value: the best policy of a
    training that is over stays the best of it.
    """
    begin = max(float(curve.seconds[0]) for curve in curves)
    times = np.unique(np.concatenate([curve.seconds for curve in curves]))
    times = times[times >= begin]
    there = np.stack([curve.costs[np.searchsorted(curve.seconds, times, side="right") - 1] for curve in curves])
    return SeedBand(times, there.mean(axis=0), there.min(axis=0), there.max(axis=0))


@literal_text
def learning_curves(path: Path, panels: Sequence[Panel]) -> None:
    """Draw a panel for every set of comparable trainings, at most :data:`MOST_PANELS`.

    A line is the mean over trainings of the best cost so far, as a step function; its band goes from the lowest to the
    highest of them. Of more than :data:`MOST_LINES` lines those that end lowest are drawn, and the title says so.
    """
    from matplotlib.figure import Figure

    shown = panels[:MOST_PANELS]
    rows = [min(len(one.lines), MOST_LINES) + len(one.levels) + (one.bound is not None) + 1 for one in shown]
    figure = Figure(figsize=(7.6, sum(3.6 + 0.22 * count for count in rows)), layout="constrained")
    places = figure.subplots(len(shown), 1, squeeze=False, height_ratios=[3.6 + 0.22 * count for count in rows])[:, 0]
    for axes, one in zip(places, shown, strict=True):
        _panel(axes, one)
    if len(panels) > len(shown):
        figure.suptitle(f"{len(shown)} of {len(panels)} scenarios", fontsize=10)
    write_picture(figure, path, _DPI)


def _panel(axes: Axes, panel: Panel) -> None:
    bands = [(line.name, line.curves, band(line.curves)) for line in panel.lines]
    thin = sum(len(line.curves) for line in panel.lines) <= MOST_LINES
    title = panel.title
    if len(bands) > MOST_LINES:
        title += f" (the {MOST_LINES} of {len(bands)} lines that end lowest)"
        bands = sorted(bands, key=lambda one: float(one[2].mean[-1]))[:MOST_LINES]
    end = max(float(one.seconds[-1]) for _, _, one in bands) * 1.02
    for index, (name, curves, one) in enumerate(bands):
        colour, dashes = COLOURS[index % 6], _DASHES[index // 6 % len(_DASHES)]
        seconds, mean, low, high = (
            np.append(one.seconds, end),
            *(np.append(part, part[-1]) for part in (one.mean, one.low, one.high)),
        )
        count = len(curves)
        each = "thin: each; " if thin else ""
        said = f"{name}: mean of {count} seeds ({each}shaded: lowest to highest)" if count > 1 else name
        axes.plot(seconds, mean, drawstyle="steps-post", color=colour, linestyle=dashes, linewidth=1.6, label=said)
        if count > 1:
            axes.fill_between(seconds, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
        for curve in curves if thin and count > 1 else ():
            ends = np.append(curve.seconds, end), np.append(curve.costs, curve.costs[-1])
            axes.plot(*ends, drawstyle="steps-post", color=colour, linestyle=dashes, linewidth=0.6, alpha=0.6)
    for index, (name, cost) in enumerate(panel.levels.items()):
        style = _LEVEL_DASHES[index % len(_LEVEL_DASHES)]
        axes.axhline(cost, color="black", linestyle=style, linewidth=1.2, label=name)
    least, most, cut = limits(panel, [one for _, _, one in bands])
    if panel.bound is not None:
        name, cost = panel.bound
        axes.axhline(cost, color="#7F7F7F", linewidth=1.2)
        axes.axhspan(least, cost, color="#7F7F7F", alpha=0.25, linewidth=0, label=name)
    axes.set_xlim(0.0, end)
    axes.set_ylim(least, most)
    axes.set_title(title + (", early costs above the picture" if cut else ""), fontsize=10, loc="left")
    axes.set_xlabel("CPU-seconds of training", fontsize=9)
    axes.set_ylabel(panel.axis, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(
        loc="upper left", bbox_to_anchor=(0.0, -0.16), frameon=False, fontsize=8, borderaxespad=0.0, labelspacing=0.7
    )


def limits(panel: Panel, bands: Sequence[SeedBand]) -> tuple[float, float, bool]:
    """Lowest and highest cost of a panel, and whether early costs lie above it.

    All of what did not learn is in it, and the end of every line; an untrained policy that costs many times as much is
    not, or nothing else could be told apart.
    """
    ends = [*panel.levels.values(), *(float(one.high[-1]) for one in bands)]
    lows = [*panel.levels.values(), *(float(one.low.min()) for one in bands)]
    if panel.bound is not None:
        ends.append(panel.bound[1])
        lows.append(panel.bound[1])
    low, top = min(lows), max(float(one.high.max()) for one in bands)
    most = low + _HEADROOM * max(max(ends) - low, 1e-3 * abs(low), 1e-12)
    cut = top > most
    high = most if cut else max(top, *ends)
    room = max(0.06 * (high - low), 1e-3 * abs(high), 1e-9)
    return low - room, high if cut else high + room, cut


__all__ = [
    "MOST_LINES",
    "MOST_PANELS",
    "LearningCurve",
    "LearningLine",
    "Panel",
    "SeedBand",
    "band",
    "learning_curves",
    "limits",
]
