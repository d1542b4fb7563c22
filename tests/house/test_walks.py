"""The walks of CONTRIBUTING: the files named there are those that a command runs through."""

import re

import pytest
from checkout import CHECKOUT

from echelongym.experiments.studies.walks import WALKS, walked

NAMED = re.compile(r"`((?:envs|agents|experiments)/[\w/]+\.py)`")


def named() -> dict[str, list[str]]:
    """Files of each walk, in the order in which CONTRIBUTING names them."""
    text = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Follow a command")[1].split("\n## ")[0]
    parts = [part for part in section.split("\n\n") if part.startswith("**")]
    return dict(zip(WALKS, map(NAMED.findall, parts), strict=True))


def test_the_files_of_the_walks_exist() -> None:
    for walk, files in named().items():
        assert files, walk
        assert len(set(files)) == len(files), walk
        assert [name for name in files if not (CHECKOUT / name).is_file()] == [], walk


@pytest.mark.parametrize("walk", [pytest.param(name, marks=[pytest.mark.slow] * (name != "step")) for name in WALKS])
def test_a_walk_runs_through_the_files_named(walk: str) -> None:
    """Each of them runs between entry and end of the command."""
    if walk == "train":
        pytest.importorskip("torch")
    if walk == "export":
        pytest.importorskip("onnxruntime")
    entered = walked(walk)
    assert [name for name in named()[walk] if name not in entered] == []
