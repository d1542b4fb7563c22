"""Pictures of a network and its stock; matplotlib is imported when something is drawn."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..interface.automatic_levels import automatic_levels
from ..interface.inventory_positions import Forest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..interface.observation import Observation
    from ..scenario.scenario import Scenario

_STOCK, _EMPTY, _LANE, _WAITS = "#4878a8", "#e8eaed", "#9aa3ad", "#c44e52"


Given = ParamSpec("Given")
Drawable = TypeVar("Drawable")


def literal_text(draw: Callable[Given, Drawable]) -> Callable[Given, Drawable]:
    """A drawing function that shows names as they are written: ``$`` begins no formula, and a sign no font has no warning."""

    @functools.wraps(draw)
    def drawn(*args: Given.args, **kwargs: Given.kwargs) -> Drawable:
        import matplotlib

        with matplotlib.rc_context({"text.parse_math": False, "text.usetex": False}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*[Gg]lyph.*missing")
            return draw(*args, **kwargs)

    return drawn


@literal_text
def network_figure(
    scenario: Scenario, observation: Observation | None = None, world: int = 0, title: str | None = None
) -> Figure:
    """The network from suppliers on the left to customers on the right.

    With an observation every node shows its stock against twice the automatic level of its echelon less what it feeds,
    lanes are as thick as what is in transit on them, and customers tell how many units they wait for.

    Parameters
    ----------
    world
        Its place in the observation's batch.
    """
    from matplotlib.figure import Figure

    t = scenario.tables
    places, customers = _places(scenario)
    tallest = int(np.bincount([int(x) for x, _ in [*places, *customers]]).max())
    figure = Figure(figsize=(8.0, 1.2 + 0.8 * tallest), dpi=80, layout="constrained")
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_title(t.name if title is None else title)
    stock = under_way = waits = None
    if observation is not None:
        stock = np.asarray(observation.on_hand[world]).sum((1, 2))
        under_way = np.asarray(observation.in_transit[world]).sum((1, 2, 3))
        waits = np.asarray(observation.backlog[world]).sum((1, 2))
    _draw_lanes(axes, scenario, places, customers, under_way)
    full = 2 * automatic_levels(scenario).local.sum(1)
    for n, (x, y) in enumerate(places):
        share = 0.0 if stock is None or full[n] <= 0 else min(float(stock[n] / full[n]), 1.0)
        if t.is_supplier[n]:
            share = 1.0 if stock is not None else 0.0
        axes.bar([x], [0.5], 0.16, y - 0.25, color=_EMPTY, edgecolor="black", linewidth=0.6, zorder=3)
        axes.bar([x], [0.5 * share], 0.16, y - 0.25, color=_STOCK, zorder=4)
        amount = "" if stock is None or t.is_supplier[n] else f"\n{stock[n]:.0f}"
        axes.annotate(f"{t.nodes[n]}{amount}", (x, y - 0.28), ha="center", va="top", fontsize=7, zorder=5)
    for c, (x, y) in enumerate(customers):
        waiting = "" if waits is None or waits[c] <= 0 else f" ({waits[c]:.0f} wait)"
        axes.plot([x], [y], "o", color=_WAITS if waiting else _LANE, zorder=4)
        axes.annotate(f"  {t.customers[c]}{waiting}", (x, y), va="center", fontsize=7)
    heights = [y for _, y in [*places, *customers]]
    axes.set_ylim(min(heights) - 0.8, max(heights) + 0.5)
    axes.margins(x=0.12)
    return figure


@literal_text
def draw_network(scenario: Scenario, observation: Observation, world: int = 0) -> NDArray[np.uint8]:
    """Picture of the network as pixels (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    title = f"{scenario.name}, period {int(np.asarray(observation.period)[world])}"
    canvas = FigureCanvasAgg(network_figure(scenario, observation, world, title))
    canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]


Position = tuple[float, float]


def _places(scenario: Scenario) -> tuple[list[Position], list[Position]]:
    """Coordinates of nodes and customers: the column is the depth in the primary forest."""
    t = scenario.tables
    depth = Forest(t).depth.reshape((t.N, t.P)).max(1)
    columns = [int(d) for d in depth] + [int(depth.max()) + 1] * t.C
    last: dict[int, int] = {}
    rows = []
    for column in columns:
        rows.append(last.get(column, 0))
        last[column] = rows[-1] + 1
    places = [(float(x), (last[x] - 1) / 2 - row) for x, row in zip(columns, rows, strict=True)]
    tallest = max(last.values())
    spread = {x: (tallest - 1) / (count - 1) if count > 1 else 1.0 for x, count in last.items()}
    placed = [(x, y * spread[int(x)]) for x, y in places]
    return placed[: t.N], placed[t.N :]


def _draw_lanes(
    axes: Any, scenario: Scenario, places: list[Position], customers: list[Position], under_way: Any
) -> None:
    t = scenario.tables
    usual = np.maximum(t.mean_flow.sum(1)[t.lane_target] * np.maximum(t.nominal_lead_time, 1), 1e-9)
    for lane in range(t.L):
        source = t.lane_source[lane]
        start = places[source] if source >= 0 else customers[t.lane_customer[lane]]
        busy = 0.5 if under_way is None else float(min(under_way[lane] / usual[lane], 3.0))
        bend = 0.0 if (t.primary_lane == lane).any() else 0.25
        style = {"arrowstyle": "-|>", "color": _LANE, "linewidth": 0.5 + 1.5 * busy, "shrinkA": 9, "shrinkB": 9}
        style["connectionstyle"] = f"arc3,rad={bend}"
        axes.annotate("", places[t.lane_target[lane]], start, arrowprops=style, zorder=2)
    for s in range(t.S):
        start, end = places[t.pair_source[s]], customers[t.pair_customer[s]]
        line = "-" if (t.pair_rank[s] == 0).any() else ":"
        axes.plot(*zip(start, end, strict=True), line, color=_LANE, linewidth=0.6, zorder=1)
