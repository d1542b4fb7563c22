"""The gallery: a picture of every shipped scenario, what it is for and a good score, taken from the head of its file."""

from __future__ import annotations

import re
from pathlib import Path

from echelongym.envs import shipped_scenarios
from echelongym.envs.scenario.scenario import scenario_path
from echelongym.envs.storage.files import read_yaml

DOCS = Path(__file__).parent.parent
PAGE = "reference/gallery.md"
HEAD = """# Gallery of scenarios

Every shipped scenario: its network, what it is for, and a good score to compare yours with. The text is the head
of its file in `configs/scenario/`; `python docs/site/pictures.py` draws the pictures. Suppliers are squares, nodes that hold
stock circles, customers triangles; the numbers on lanes are lead times.

"""


def comment(name: str) -> list[str]:
    """Lines of the comment at the head of a scenario file."""
    lines = []
    for line in scenario_path(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" "))
    return lines


def entry(name: str) -> list[str]:
    """The section of one scenario."""
    title, *rest = comment(name)
    # A good score is a paragraph of its own, wherever it stands; columns of a table stay below each other.
    text = re.sub(r"\n(?=A good score)", "\n\n", "\n".join(rest)).strip()
    text = re.sub(r"(?m)((?:^ {2,}.*\n?)+)", r"\n```\n\1\n```\n", text).replace("\n\n```\n", "\n```\n")
    text = text.replace("A good score", "**A good score**", 1).replace("What it is for:", "**What it is for:**", 1)
    return [
        f"## {name}",
        "",
        title,
        "",
        f"![Network of {name}](../pictures/networks/{name}.png)",
        "",
        text,
        "",
        f"```sh\nechelongym show scenario={name}\nechelongym benchmark scenario={name} policies='{compared(name)}'\n```",
        "",
    ]


def compared(name: str) -> str:
    """Two rules to begin with."""
    lanes = (read_yaml(scenario_path(name)).get("lanes") or {}).values()
    targets = [lane["target"] for lane in lanes if lane.get("mode") != "transshipment"]
    several = len(set(targets)) < len(targets)
    return "[echelon_base_stock,capped_dual_index]" if several else "[echelon_base_stock,capped_echelon_base_stock]"


def page() -> str:
    """The page as Markdown."""
    return HEAD + "\n".join(line for name in shipped_scenarios() for line in entry(name))
