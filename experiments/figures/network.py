"""Picture of a network: suppliers left, customers right, a column an echelon, lanes coloured by mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.envs.gym.render import literal_text
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario

from .writing import write_picture

# Okabe and Ito's palette, which people who see few colours can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000", "#B8A200")
_MARKERS = {"supplier": "s", "stock": "o", "customer": "^"}
_GREY = "#AAAAAA"
_COLUMN = 2.4  # inches between columns
_MANY = 60  # rows beyond which a picture is drawn closer, coarser and with lines for arrows


def gathered(tables: Tables) -> dict[str, str]:
    """What every node and customer of a large network is drawn as: places that are alike as one.

    Alike are nodes with the same first source that are no other node's first source, as the shops of a depot; and their
    customers.
    """
    parents = _parents(tables)
    sources = {parents[name] for name in tables.nodes if name in parents}
    last = [name for name in tables.nodes if name in parents and name not in sources]
    shown = _merged({name: parents[name] for name in last})
    shown |= _merged({name: shown.get(parents[name], parents[name]) for name in tables.customers if name in parents})
    return {name: shown.get(name, name) for name in (*tables.nodes, *tables.customers)}


def _merged(group_of: dict[str, str]) -> dict[str, str]:
    """One name for all members of a group."""
    members: dict[str, list[str]] = {}
    for name, group in group_of.items():
        members.setdefault(group, []).append(name)
    text = {group: m[0] if len(m) == 1 else f"{m[0]} to {m[-1]} ({len(m)})" for group, m in members.items()}
    return {name: text[group] for name, group in group_of.items()}


def layout(tables: Tables, shown: dict[str, str] | None = None) -> dict[str, tuple[float, float]]:
    """Place of every node and customer: x is the column, counted from 0, y the height, downwards.

    ``shown`` is what each is drawn as (:func:`gathered`); left out: itself.

    A node stands one column right of the farthest of its primary sources, customers in the last. Over first choices
    the network is a forest; its leaves take their heights in the order in which one walks it, a parent stands at the
    mean of its children, so that no primary lane crosses another.
    """
    shown = {name: name for name in (*tables.nodes, *tables.customers)} if shown is None else shown
    parents = {shown[child]: shown[parent] for child, parent in _parents(tables).items()}
    depth: dict[str, int] = {}
    for name, steps in _depths(tables).items():
        depth[shown[name]] = max(depth.get(shown[name], 0), steps)
    last = max(depth.values(), default=0) + 1
    children: dict[str, list[str]] = {name: [] for name in shown.values()}
    for child, parent in parents.items():
        children[parent].append(child)
    heights: dict[str, float] = {}
    leaves = 0

    def place(name: str) -> float:
        nonlocal leaves
        below = [place(child) for child in children[name]]
        heights[name] = float(np.mean(below)) if below else float(leaves)
        leaves += not below
        return heights[name]

    # A further source of nodes that have another first one stands among these.
    fed = {name: [shown[one] for one in ways] for name, ways in _fed(tables).items()}
    aside = [name for name in children if name not in parents and not children[name] and fed.get(name)]
    for name in children:
        if name not in parents and name not in aside:
            place(name)
    for name in aside:
        heights[name] = float(np.mean([heights.get(one, 0.0) for one in fed[name]]))
    for column in (0, last) if aside else ():
        _spread([name for name in children if depth.get(name, last) == column], heights)
    return {name: (float(depth.get(name, last)), heights[name]) for name in children}


def _fed(t: Tables) -> dict[str, list[str]]:
    """Targets of the lanes out of each node."""
    found: dict[str, list[str]] = {}
    for source, target in zip(t.lane_source, t.lane_target, strict=True):
        if source >= 0:
            found.setdefault(t.nodes[source], []).append(t.nodes[target])
    return found


def _spread(column: list[str], heights: dict[str, float]) -> None:
    """Move places of a column apart that would lie on one another, about their mean."""
    order = sorted(column, key=lambda name: heights[name])
    before, middle = [heights[name] for name in order], float(np.mean([heights[name] for name in column]))
    after = list(before)
    for k in range(1, len(after)):
        after[k] = max(after[k], after[k - 1] + 1.0)
    shift = middle - float(np.mean(after)) if after != before else 0.0
    heights.update({name: height + shift for name, height in zip(order, after, strict=True)})


@literal_text
def draw_network(scenario: Scenario, path: Path) -> None:
    """Save the picture; the ending of ``path`` (png, svg, pdf) picks the format."""
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    t = scenario.tables
    columns = layout(t)
    shown = {name: name for name in columns}
    if 1 + max(y for _, y in columns.values()) > _MANY:
        shown = gathered(t)
        columns = layout(t, shown)
    lowest = min(y for _, y in columns.values())
    columns = {name: (x, y - lowest) for name, (x, y) in columns.items()}
    rows = 1 + max(y for _, y in columns.values())
    many = rows > _MANY
    gap = 0.2 if many else 0.42 if rows > 6 else 0.9
    # Places in inches, upwards, so that bends and labels come out where they are computed.
    places = {name: (_COLUMN * x, -gap * y) for name, (x, y) in columns.items()}
    width, height = max(x for x, _ in places.values()), gap * (rows - 1)
    size = (width + 1.6, height + 1.9)
    # A constrained layout takes as long as drawing; a large picture has its place for title and legend anyway.
    figure = Figure(figsize=size, layout=None if many else "constrained")
    limits: dict[str, Any] = {"xlim": (-0.8, width + 0.8), "ylim": (-height - 0.4, 0.5)}
    if many:
        axes = figure.add_axes((0.0, 0.7 / size[1], 1.0, (height + 0.9) / size[1]), **limits)
    else:
        axes = figure.add_subplot(aspect="equal", **limits)
    modes = list(dict.fromkeys(t.lane_mode))
    drawn: dict[frozenset[str], int] = {}
    lines: dict[tuple[str, bool], list[Any]] = {}
    edges = ((shown[edge[0]], shown[edge[1]], edge[2], edge[3], edge[4]) for edge in _edges(t, modes))
    for source, target, colour, dashed, label in dict.fromkeys(edge for edge in edges if edge[0] != edge[1]):
        ends = frozenset((source, target))
        straight = abs(columns[source][0] - columns[target][0]) == 1 and drawn.get(ends, 0) == 0
        drawn[ends] = drawn.get(ends, 0) + 1
        same = columns[source][0] == columns[target][0]
        bend = 0.0 if straight else 0.35 if same else -0.12 * drawn[ends]
        if many and straight:
            lines.setdefault((colour, dashed), []).append((places[source], places[target]))
        else:
            _arrow(axes, places[source], places[target], bend, colour, dashed, label)
    for (colour, dashed), segments in lines.items():
        axes.add_collection(
            LineCollection(segments, colors=colour, linestyles="--" if dashed else "-", linewidths=0.8, zorder=1)
        )
    kinds = {shown[name]: "supplier" if t.is_supplier[n] else "stock" for n, name in enumerate(t.nodes)}
    for kind, marker in _MARKERS.items():
        of_kind = np.array([place for name, place in places.items() if kinds.get(name, "customer") == kind])
        if len(of_kind):
            shape: dict[str, Any] = {"markeredgecolor": "#333333", "markersize": 6 if many else 11, "zorder": 3}
            axes.plot(*of_kind.T, marker, color="white", linestyle="none", **shape)
    halo = [] if many else [withStroke(linewidth=2.5, foreground="white")]
    style: dict[str, Any] = {"ha": "center", "fontsize": 8, "zorder": 4, "path_effects": halo}
    # A group of customers has its name from the stores beside it.
    together = Counter(shown[name] for name in t.customers)
    inner = {places[name] for name in kinds}
    for name, place in places.items():
        name = f"{together[name]} customers" if together[name] > 1 else name
        if many:  # beside the mark, away from what fans out of it
            side = -1 if place in inner else 1
            beside = {"va": "center", "ha": "right" if side < 0 else "left", "fontsize": 7}
            axes.annotate(name, place, (6 * side, 0), textcoords="offset points", **{**style, **beside})
        else:
            axes.annotate(name, place, (0, 9), textcoords="offset points", **style)
    handles = [Line2D([], [], color=COLOURS[i % len(COLOURS)], label=mode) for i, mode in enumerate(modes)]
    handles += [Line2D([], [], color=_GREY, label="serves")]
    handles += [Line2D([], [], color="#333333", linestyle="--", label="not the first choice")]
    figure.legend(
        handles=handles,
        loc="lower center" if many else "outside lower center",
        ncols=min(len(handles), 6),
        frameon=False,
        fontsize=8,
    )
    counts = ((t.N, "node"), (t.L, "lane"), (t.C, "customer"), (t.P, "product"))
    title = ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts)
    merged = len(places) < len(shown)
    axes.set_title(f"{t.name}: {title}" + ("; places that are alike are drawn as one" if merged else ""), fontsize=10)
    axes.axis("off")
    write_picture(figure, path, 80 if many else 150)


def _edges(t: Tables, modes: list[str]) -> Iterator[tuple[str, str, str, bool, str]]:
    """Source, target, colour, whether dashed, and label of every lane and of every pair that serves."""
    for k in range(t.L):
        source = t.nodes[t.lane_source[k]] if t.lane_source[k] >= 0 else t.customers[t.lane_customer[k]]
        colour = COLOURS[modes.index(t.lane_mode[k]) % len(COLOURS)]
        yield source, t.nodes[t.lane_target[k]], colour, k not in t.primary_lane, _label(t, k)
    for s, (source, customer) in enumerate(t.pairs):
        yield source, customer, _GREY, not (t.pair_rank[s] == 0).any(), ""


def _arrow(
    axes: Any,
    start: tuple[float, float],
    end: tuple[float, float],
    bend: float,
    colour: str,
    dashed: bool,
    label: str,
) -> None:
    """An arrow between two places; ``bend`` is how far it swings out, as a share of its length."""
    arrow = {
        "arrowstyle": "-|>",
        "color": colour,
        "linestyle": "--" if dashed else "-",
        "linewidth": 1.1,
        "shrinkA": 7,
        "shrinkB": 7,
        "connectionstyle": f"arc3,rad={bend}",
    }
    axes.annotate("", end, start, arrowprops=arrow, zorder=1)
    if label:
        dx, dy = end[0] - start[0], end[1] - start[1]
        middle = (start[0] + dx / 2 + bend * dy / 2, start[1] + dy / 2 - bend * dx / 2)
        box = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
        axes.annotate(label, middle, ha="center", va="center", fontsize=7, color=colour, zorder=2, bbox=box)


def _label(t: Tables, lane: int) -> str:
    """Lead time on the lanes of a small network; more would hide a large one."""
    forward = t.lane_source[lane] >= 0
    if t.L > 12 or not forward:
        return ""
    values = t.lead_time_values[lane]
    return f"{values[0]}" if len(values) == 1 else f"{min(values)}-{max(values)}"


def _parents(t: Tables) -> dict[str, str]:
    """First choice each node and customer is supplied by, of the first product that comes from anywhere."""
    parents: dict[str, str] = {}
    for n, name in enumerate(t.nodes):
        for lane in t.primary_lane[n]:
            if lane >= 0:
                parents.setdefault(name, t.nodes[t.lane_source[lane]])
    # Several products may have primary lanes that together run in a circle, though none does by itself.
    for name in t.nodes:
        seen, node = {name}, name
        while node in parents:
            node = parents[node]
            if node in seen:
                del parents[node]
                break
            seen.add(node)
    for c, name in enumerate(t.customers):
        for node in t.first_source[c]:
            if node >= 0:
                parents.setdefault(name, t.nodes[node])
    return parents


def _depths(t: Tables) -> dict[str, int]:
    """Column of each node: the longest way to it over primary lanes of one product."""
    depth = dict.fromkeys(t.nodes, 0)
    for p in range(t.P):
        for n, name in enumerate(t.nodes):
            steps, node = 0, n
            while t.primary_lane[node, p] >= 0:
                steps, node = steps + 1, int(t.lane_source[t.primary_lane[node, p]])
            depth[name] = max(depth[name], steps)
    return depth


__all__ = ["COLOURS", "draw_network", "layout"]
