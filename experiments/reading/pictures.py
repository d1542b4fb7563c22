"""Pictures of a policy that was read: order-up-to curves, sensitivity, response to a shock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents.reading import Curve, Line, Response, Sensitivity
from echelongym.agents.reading.shock import Band
from echelongym.envs.gym.render import literal_text

from ..figures.comparison import about
from ..figures.network import COLOURS
from ..figures.writing import write_picture

_DPI = 150
_PANELS = 9  # curves drawn; the table has all
_ROWS, _COLUMNS = 24, 14  # of the heat map
_SERIES = 6  # lanes or nodes of a panel
_UP_TO = 0.05  # a slope that is no further from -1 is that of an order-up-to rule


@literal_text
def curves(path: Path, title: str, found: Sequence[Curve], lines: Sequence[Line], important: Sequence[int]) -> None:
    """Request over position, a panel a lane: median and 10 to 90 % of states, the implied level, the table's line.

    Parameters
    ----------
    important
        Places of lanes, the most important first; lanes that never ask are left out unless all are such.
    """
    from matplotlib.figure import Figure

    asking = [place for place in important if found[place].up_to is not None] or list(important)
    drawn = asking[:_PANELS]
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(4.6 * columns, 1.2 + 2.7 * rows), layout="constrained")
    panels: Any = figure.subplots(rows, columns, squeeze=False)
    for axes, place in zip(panels.flat, drawn, strict=False):
        _curve(axes, found[place], lines[place])
    for axes in panels.flat[len(drawn) :]:
        axes.axis("off")
    for axes in panels.flat[max(len(drawn) - columns, 0) : len(drawn)]:
        axes.set_xlabel("position (units)", fontsize=8)
    figure.supylabel("units asked for", fontsize=9)
    left = f", {len(drawn)} of {len(asking)} lanes" if len(asking) > len(drawn) else ""
    figure.suptitle(f"{title}: order-up-to curves{left}", fontsize=10)
    handles: dict[str, Any] = {}  # one of each kind of line, whichever panel has it
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    write_picture(figure, path, _DPI)


def _curve(axes: Any, one: Curve, line: Line) -> None:
    x, (low, middle, high) = one.position, one.request.T
    axes.fill_between(x, low, high, color=COLOURS[0], alpha=0.2, linewidth=0, label="10 to 90 % of visited states")
    axes.plot(x, middle, color=COLOURS[0], label="asked for (median)")
    if line.level is not None:
        wanted = np.maximum(line.gain * (line.level - x), 0.0)
        if line.cap is not None:
            wanted = np.minimum(wanted, line.cap)
        axes.plot(x, wanted, color="black", linestyle=":", linewidth=1.2, label="table, terms left out")
    read = []
    if one.slope is not None and abs(one.slope + 1) < _UP_TO:
        read.append(f"up to {one.up_to:.4g}")
    elif one.asks_below is not None and one.slope is not None:
        read.append(f"asks below {one.asks_below:.4g}, slope {one.slope:.2f}")
    read += [] if one.cap is None else [f"cap {one.cap:.4g}"]
    axes.set_title(f"{one.cell.name} ({one.looks_at}): {', '.join(read) or 'never asks'}", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.tick_params(labelsize=7)
    axes.spines["top"].set_visible(False)
    if np.isfinite(one.level[:, 1]).any():
        twin = axes.twinx()
        twin.plot(x, one.level[:, 1], color=COLOURS[1], linestyle="--", label="request + position (right)")
        twin.fill_between(x, one.level[:, 0], one.level[:, 2], color=COLOURS[1], alpha=0.15, linewidth=0)
        centre = float(np.nanmedian(one.level[:, 1]))
        reach = max(float(np.nanmax(np.abs(one.level - centre))) * 1.2, 0.1 * abs(centre), 1e-6)
        twin.set_ylim(centre - reach, centre + reach)
        twin.tick_params(labelsize=7, colors=COLOURS[1])
        twin.spines["top"].set_visible(False)


@literal_text
def heat_map(path: Path, title: str, found: Sensitivity, important: Sequence[int]) -> None:
    """Requests by lane over observations: change for one standard deviation more, in standard deviations of the request."""
    from matplotlib.figure import Figure

    columns = [place for place in important if found.spread[place] > 0][:_COLUMNS] or list(important)[:1]
    telling = np.argsort(-found.share[:, columns].max(axis=1), kind="stable")[:_ROWS]
    rows = [int(e) for e in telling if found.share[e, columns].max() > 0] or [0]
    spread = np.where(found.spread > 0, found.spread, 1.0)[columns]
    values = found.per_deviation[np.ix_(rows, columns)] / spread
    size = (3.4 + 0.62 * len(columns), 1.8 + 0.27 * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.add_subplot()
    reach = max(float(np.abs(values).max()), 1e-9)
    image = axes.imshow(values, cmap="RdBu_r", vmin=-reach, vmax=reach, aspect="auto")
    for i in range(len(rows)):
        for j in range(len(columns)):
            if abs(values[i, j]) >= 0.005:
                dark = abs(values[i, j]) > 0.6 * reach
                axes.text(j, i, f"{values[i, j]:.2f}", ha="center", va="center", fontsize=6, color="w" if dark else "k")
    axes.set_xticks(range(len(columns)), [found.cells[n].name for n in columns], rotation=40, ha="right", fontsize=7)
    axes.set_yticks(range(len(rows)), [found.entries[e].name for e in rows], fontsize=7)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("standard deviations of the request\nfor one of the observation", fontsize=7)
    bar.ax.tick_params(labelsize=7)
    axes.set_title(f"{title}: sensitivity", fontsize=10)
    write_picture(figure, path, _DPI)


@literal_text
def response(path: Path, title: str, found: Response) -> None:
    """Differences after a shock, means with 95 % bands: requests, stock on hand, fill rate, cost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 6.4), layout="constrained")
    panels: Any = figure.subplots(2, 2, sharex=True)
    _lines(panels[0, 0], "requests (units)", [one.name for one in found.cells], found.requests)
    _lines(panels[0, 1], "on hand (units)", list(found.nodes), found.on_hand)
    _lines(panels[1, 0], "fill rate", [""], Band(*(values[:, None] for values in found.fill_rate)))
    _lines(panels[1, 1], "cost less revenue, a period", [""], Band(*(values[:, None] for values in found.cost)))
    figure.supxlabel(f"periods after the shock began (bands: {about(found.sample)})", fontsize=9)
    figure.suptitle(
        f"{title}: {found.shock.text}\nwith it less without it, from period {found.shock.period} on", fontsize=10
    )
    write_picture(figure, path, _DPI)


def _lines(axes: Any, label: str, names: Sequence[str], band: Band) -> None:
    moved = np.abs(band.mean).sum(axis=0)
    order = np.argsort(-moved, kind="stable")[: max(min(_SERIES, int((moved > 1e-9).sum())), 1)]
    for index, place in enumerate(order):
        colour = COLOURS[index % len(COLOURS)]
        after = np.arange(len(band.mean))
        axes.plot(after, band.mean[:, place], color=colour, linewidth=1.1, label=names[place])
        axes.fill_between(after, band.low[:, place], band.high[:, place], color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0, color="black", linewidth=0.6, alpha=0.5)
    left = int((moved > 1e-9).sum()) - len(order)
    axes.set_title(label + (f" ({left} smaller left out)" if left > 0 else ""), fontsize=9)
    axes.tick_params(labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    if any(names):
        axes.legend(fontsize=7, frameon=False)
