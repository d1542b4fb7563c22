"""Draw the pictures of the documentation: the network of every shipped scenario, and one period.

python docs/site/pictures.py            all of them, into docs/pictures/
python docs/site/pictures.py period     one
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # no date in the files: the same picture is the same file

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from echelongym.envs import Scenario, shipped_scenarios
from echelongym.experiments.figures.network import draw_network

PICTURES = Path(__file__).parent.parent / "pictures"
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "echelongym", "font.family": "DejaVu Sans"}
WORLD, POLICY, NETWORK = "#0072B2", "#D55E00", "#009E73"
#: Step, what happens, and what of the tape enters there.
STEPS = (
    ("1  Receive", "Shipments that fall\ndue join the stock\nof the target.", "lead times,\nyields"),
    ("2  Observe", "The policy sees stock,\npipeline, backlog,\nrecent demand.", "forecasts"),
    ("3  Request", "The policy asks for\nunits on every lane.", ""),
    ("4  Ship", "Sources ship what\nstock and capacity\nallow.", "availability"),
    ("5  Serve", "Customers take units;\nthe rest waits\nor is lost.", "demand"),
    ("6  Close", "Costs are charged,\nunits age, old ones\nare disposed of.", ""),
)


def draw_period(path: Path) -> None:
    """One period as a strip of steps, with what enters from the tape above and who acts in colour."""
    figure = Figure(figsize=(10.2, 3.3))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, 10.2), ylim=(0, 3.3))
    axes.axis("off")
    width, gap = 1.5, 0.16
    axes.add_patch(box(0.14, 2.62, 9.92, 0.5, WORLD, 0.12))
    words = "Tape: everything that no policy can influence, drawn before period 0; the same for every policy"
    axes.text(5.1, 2.87, words, ha="center", va="center", fontsize=9.5, color=WORLD)
    for k, (name, text, enters) in enumerate(STEPS):
        x = 0.14 + k * (width + gap + 0.024)
        colour = POLICY if name.endswith(("Observe", "Request")) else NETWORK
        axes.add_patch(box(x, 0.72, width, 1.2, colour, 0.12))
        axes.text(x + width / 2, 1.68, name, ha="center", va="center", fontsize=10, weight="bold", color=colour)
        axes.text(x + width / 2, 1.17, text, ha="center", va="center", fontsize=7.8, linespacing=1.35)
        if k + 1 < len(STEPS):
            arrow(axes, (x + width, 1.32), (x + width + gap + 0.03, 1.32), "#555555")
        if enters:
            arrow(axes, (x + width / 2, 2.62), (x + width / 2, 1.93), WORLD)
            axes.text(x + width / 2 + 0.07, 2.28, enters, ha="left", va="center", fontsize=7.8, color=WORLD)
    bend = {
        "arrowstyle": "-|>",
        "color": "#555555",
        "connectionstyle": "arc,angleA=-90,angleB=-90,armA=26,armB=26,rad=6",
    }
    axes.annotate("", (0.89, 0.7), (9.3, 0.7), arrowprops=bend)
    white = {"facecolor": "white", "edgecolor": "none", "pad": 2}
    axes.text(5.1, 0.44, "next period", ha="center", va="center", fontsize=8.5, color="#555555", bbox=white)
    axes.text(0.14, 0.1, "orange: the policy", fontsize=8.5, color=POLICY)
    axes.text(1.7, 0.1, "green: the network", fontsize=8.5, color=NETWORK)
    axes.text(3.3, 0.1, "blue: the outside world", fontsize=8.5, color=WORLD)
    figure.savefig(path)


def box(x: float, y: float, width: float, height: float, colour: str, alpha: float) -> FancyBboxPatch:
    """A rounded box with a light fill."""
    fill = (*[int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)], alpha)
    return FancyBboxPatch((x, y), width, height, "round,pad=0,rounding_size=0.08", facecolor=fill, edgecolor=colour)


def arrow(axes: Any, start: tuple[float, float], end: tuple[float, float], colour: str) -> None:
    """A straight arrow."""
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0})


def main() -> None:
    """Draw what is named, or all."""
    wanted = sys.argv[1:] or ["period", *shipped_scenarios()]
    (PICTURES / "networks").mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        for name in wanted:
            if name == "period":
                draw_period(PICTURES / "period.svg")
            else:
                draw_network(Scenario.load(name), PICTURES / "networks" / f"{name}.png")


if __name__ == "__main__":
    main()
