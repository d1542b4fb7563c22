"""Pictures of a comparison: cost by line, service by region, stock over time. The network is in :mod:`.drawing`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.envs.core.typing import Floats
from echelongym.envs.gym.render import literal_text
from echelongym.envs.worlds.world_sample import WorldSample

from ..statistics import Estimate
from .network import COLOURS
from .writing import write_picture

_DPI = 150
MOST_BARS = 150  # of parameters in a picture
_PANELS = 9  # of stock over time; nodes beyond are summed by column of the network


def about(sample: WorldSample | None) -> str:
    """Subject of a picture's intervals, in brackets behind the name of an axis."""
    if sample is None or sample.kind == "worlds":
        return "95 %"
    if sample.kind == "another_season":
        return f"95 %, over {sample.over}"
    return f"no interval: {(sample.reason or '').partition(':')[0]}"


@literal_text
def cost_by_line(
    path: Path,
    lines: Mapping[str, Mapping[str, float]],
    totals: Mapping[str, Estimate],
    sample: WorldSample | None = None,
) -> None:
    """Stacked bars, one a policy: mean cost a period by line, the total with its 95 % interval where there is one.

    Lines that are 0 everywhere are left out; negative ones (terminal value) stand left of zero.
    """
    from matplotlib.figure import Figure

    names = list(lines)
    used = [line for line in lines[names[0]] if any(lines[name][line] for name in names)]
    figure = Figure(figsize=(9, 1.4 + 0.5 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    left, below = np.zeros(len(names)), np.zeros(len(names))
    places = np.arange(len(names))
    for index, line in enumerate(used):
        width = np.array([lines[name][line] for name in names])
        start = np.where(width >= 0, left, below + width)
        hatch = "//" if index >= len(COLOURS) else None
        axes.barh(places, np.abs(width), left=start, label=line, color=COLOURS[index % len(COLOURS)], hatch=hatch)
        left, below = left + np.maximum(width, 0), below + np.minimum(width, 0)
    means = np.array([totals[name].mean for name in names])
    low, high = (np.array([getattr(totals[name], end) for name in names]) for end in ("low", "high"))
    reach = np.nan_to_num(np.stack([means - low, high - means]))
    axes.errorbar(means, places, xerr=reach, fmt="|", color="black", capsize=3, label=f"total, {about(sample)}")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlabel("cost per period (money)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    write_picture(figure, path, _DPI)


@literal_text
def rule_parameters(path: Path, title: str, parameters: Mapping[str, Any]) -> bool:
    """Numbers of a rule as bars, a panel a kind, by node or lane (and product, in colours).

    Returns False, and draws nothing, where it has none, or more nodes and lanes than a page shows (:data:`MOST_BARS`).
    """
    from matplotlib.figure import Figure

    kinds = {name: values for name, values in parameters.items() if isinstance(values, Mapping) and values}
    if not kinds or sum(map(len, kinds.values())) > MOST_BARS:
        return False
    heights = [0.6 + 0.22 * len(values) for values in kinds.values()]
    figure = Figure(figsize=(8, 0.5 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(kinds), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (kind, values) in zip(panels, kinds.items(), strict=True):
        rows = {entity: item if isinstance(item, Mapping) else {"": item} for entity, item in values.items()}
        products = list(dict.fromkeys(product for row in rows.values() for product in row))
        thick = 0.8 / len(products)
        for index, product in enumerate(products):
            there = [(place, float(row[product])) for place, row in enumerate(rows.values()) if product in row]
            at = [place + (index - (len(products) - 1) / 2) * thick for place, _ in there]
            axes.barh(at, [v for _, v in there], thick, color=COLOURS[index % len(COLOURS)], label=product)
        axes.set_yticks(range(len(rows)), list(rows), fontsize=7)
        axes.invert_yaxis()
        axes.set_title(kind.replace("_", " "), fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        if products != [""] and axes is panels[0]:
            axes.legend(fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    write_picture(figure, path, _DPI)
    return True


@literal_text
def service_by_region(
    path: Path,
    rates: Mapping[str, Mapping[str, Estimate]],
    target: Mapping[str, float],
    sample: WorldSample | None = None,
) -> None:
    """Fill rate by region, in each a point for every policy with its 95 % interval.

    Parameters
    ----------
    rates
        By policy, by region.
    target
        Fill-rate target of a region, where all its customers with one have the same.
    sample
        What the worlds are a sample of.
    """
    from matplotlib.figure import Figure

    names, regions = list(rates), list(next(iter(rates.values())))
    figure = Figure(figsize=(max(6.5, 1.5 + 0.25 * len(names) * len(regions)), 4.2), layout="constrained")
    axes = figure.add_subplot()
    step = 0.8 / len(names)
    for index, name in enumerate(names):
        places = np.arange(len(regions)) + (index - (len(names) - 1) / 2) * step
        found = [rates[name][region] for region in regions]
        reach = np.nan_to_num([[e.mean - e.low for e in found], [e.high - e.mean for e in found]])
        colour = COLOURS[index % len(COLOURS)]
        axes.errorbar(places, [e.mean for e in found], yerr=reach, fmt="o", color=colour, capsize=3, label=name)
    for place, region in enumerate(regions):
        if place:
            axes.axvline(place - 0.5, color="black", alpha=0.1, linewidth=1)
        if region in target:
            axes.hlines(target[region], place - 0.45, place + 0.45, color="black", linestyle="--", linewidth=1)
    axes.set_xticks(range(len(regions)), regions)
    axes.set_xlim(-0.5, len(regions) - 0.5)
    axes.set_ylabel(f"fill rate ({about(sample)}{'; dashed: target' if target else ''})")
    axes.grid(axis="y", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    write_picture(figure, path, _DPI)


@literal_text
def stock_over_time(
    path: Path, stock: Mapping[str, Floats], groups: Mapping[str, Sequence[int]], warm_up: int, worlds: int
) -> None:
    """Stock on hand over the periods, a panel a node (or group of nodes), a line a policy.

    Parameters
    ----------
    stock
        (T, B, N) units on hand at the start of each period, all products, by policy.
    groups
        Indices of nodes by name of the panel.
    warm_up
        Periods left out of the figures, shaded.
    worlds
        Number of worlds the mean and the band (10 to 90 % of worlds, of the first policy) are over.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(4.2 * columns, 0.9 + 2.3 * rows), layout="constrained")
    panels: Any = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, (title, members) in zip(panels.flat, groups.items(), strict=False):
        for index, (name, values) in enumerate(stock.items()):
            held = values[:, :, list(members)].sum(axis=2)
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(held.mean(axis=1), color=colour, label=name, linewidth=1.1)
            if index == 0 and worlds > 1:
                low, high = np.percentile(held, [10, 90], axis=1)
                band = f"80 % of the worlds of {name}"
                axes.fill_between(np.arange(len(held)), low, high, color=colour, alpha=0.15, linewidth=0, label=band)
        if warm_up:
            axes.axvspan(0, warm_up, color="black", alpha=0.05, linewidth=0)
        axes.set_title(title, fontsize=9)
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels.flat[len(groups) :]:
        axes.axis("off")
    figure.supxlabel("period" + (" (shaded: warm-up)" if warm_up else ""), fontsize=9)
    figure.supylabel(
        f"units on hand, mean of {worlds} worlds" if worlds > 1 else "units on hand, one world", fontsize=9
    )
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    write_picture(figure, path, _DPI)


def panels(nodes: Sequence[str], is_supplier: Sequence[bool], column: Mapping[str, float]) -> dict[str, list[int]]:
    """Nodes of each panel of stock over time: one each, or where they are many, all of one column together."""
    held = [n for n, supplier in enumerate(is_supplier) if not supplier]
    if len(held) <= _PANELS:
        return {nodes[n]: [n] for n in held}
    groups: dict[float, list[int]] = {}
    for n in held:
        groups.setdefault(column[nodes[n]], []).append(n)
    return {_title([nodes[n] for n in groups[x]]): groups[x] for x in sorted(groups)}


def _title(names: list[str]) -> str:
    if len(names) <= 3:
        return " + ".join(names)
    return f"{names[0]} ... {names[-1]} ({len(names)} nodes)"
