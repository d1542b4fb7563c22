"""The documentation as a site: links, generated pages, examples. `make docs` builds it and checks the built links."""

import importlib
import os
import runpy
import sys
from pathlib import Path

import pytest

from echelongym.envs import shipped_scenarios

ROOT = Path(os.environ.get("ECHELONGYM_CHECKOUT", Path(__file__).parent.parent))
#: CPU-seconds by script, roughly; more than five are left to the slow tests.
EXAMPLES = {"own_network": 1, "own_rule": 1, "sb3_by_hand": 4, "pathwise_training": 9, "read_and_export": 6}
#: Scripts that print only what they print themselves, no table of a command.
PLAIN = ("own_network", "sb3_by_hand", "read_and_export")


@pytest.fixture
def site(monkeypatch):
    """Import a module of docs/site."""
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "site"))
    return importlib.import_module


def test_no_link_is_broken(site):
    assert list(site("links").broken_in_markdown(ROOT)) == []


def test_a_broken_link_is_found(site, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "b.md").write_text("# One `two` (three)\n\n[up](../a.md) [code](`[x](y.md)`)\n")
    (tmp_path / "a.md").write_text(
        "[right](docs/b.md#one-two-three) [far](https://example.org/x) `[code](gone.md)`\n"
        "```\n[code](gone.md)\n```\n![picture](gone.png) [heading](docs/b.md#one) [here](#nowhere)\n"
    )
    found = list(site("links").broken_in_markdown(tmp_path))
    assert found == [
        "a.md: gone.png: no such file",
        "a.md: docs/b.md#one: no such heading",
        "a.md: #nowhere: no such heading",
    ]
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "i.html").write_text('<a href="j.html#x">1</a><a href="j.html#y">2</a><img src="k.png">')
    (tmp_path / "site" / "j.html").write_text('<h1 id="x">1</h1>')
    assert list(site("links").broken_in_site(tmp_path / "site")) == [
        "i.html: j.html#y: no such anchor",
        "i.html: k.png: no such file",
    ]


def test_every_page_is_in_the_contents(site):
    listed = {page for pages in site("contents").CONTENTS.values() for page in pages}
    docs = ROOT / "docs"
    there = {str(page.relative_to(docs).with_suffix("")) for page in docs.rglob("*.md")}
    assert {page for page in there if not page.startswith("reference/api/")} == listed - {"reference/api/index"} | {
        "index"
    }


def test_generated_pages_say_what_the_code_says(site):
    stale = site("pages").stale()
    assert not stale, f"{stale}: run `make docs` and commit what it changed"


def test_every_scenario_has_its_picture():
    drawn = {path.stem for path in (ROOT / "docs" / "pictures" / "networks").glob("*.png")}
    assert drawn == set(shipped_scenarios()), "python docs/site/pictures.py draws them"


def test_every_example_is_on_the_page(site):
    assert set(EXAMPLES) == set(site("examples").ORDER) == {path.stem for path in (ROOT / "docs/examples").glob("*.py")}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if took > 5 else []) for name, took in EXAMPLES.items()]
)
def test_an_example_runs_and_prints_what_the_page_says(site, name, tmp_path, monkeypatch, capsys):
    """Their own assertions hold, and they print the same words; numbers differ in last digits from machine to machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    if name in ("sb3_by_hand", "pathwise_training", "read_and_export"):
        pytest.importorskip("torch")
    runpy.run_path(str(ROOT / "docs" / "examples" / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    if name in PLAIN:
        kept = (ROOT / "docs" / "examples" / "output" / f"{name}.txt").read_text(encoding="utf-8")
        assert site("examples").words(printed) == site("examples").words(kept)
