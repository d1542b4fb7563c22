"""The documentation as a site: links, generated pages, examples. `make docs` builds it and checks the built links."""

import importlib
import re
import runpy
import shlex
import sys
from typing import Annotated

import pytest
from checkout import CHECKOUT
from pydantic import TypeAdapter, ValidationError

from echelongym.envs import Scenario, shipped_scenarios
from echelongym.experiments.cli.compose import prepare
from echelongym.experiments.main import COMMANDS

#: CPU-seconds by script, roughly; more than five are left to the slow tests.
EXAMPLES = {"own_network": 1, "own_rule": 1, "sb3_by_hand": 4, "pathwise_training": 9, "read_and_export": 6}
#: Scripts that print only what they print themselves, no table of a command.
PLAIN = ("own_network", "sb3_by_hand", "read_and_export")


@pytest.fixture
def site(monkeypatch):
    """Import a module of docs/site."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "docs" / "site"))
    return importlib.import_module


def test_no_link_is_broken(site):
    assert list(site("links").broken_in_markdown(CHECKOUT)) == []


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
    docs = CHECKOUT / "docs"
    there = {str(page.relative_to(docs).with_suffix("")) for page in docs.rglob("*.md")}
    assert {page for page in there if not page.startswith("reference/api/")} == listed - {"reference/api/index"} | {
        "index"
    }


@pytest.mark.parametrize(
    "name",
    # Every new import may change the architecture: checked less often.
    ["scenario_keys", "gallery", "examples", pytest.param("architecture", marks=pytest.mark.slow)],
)
def test_a_generated_page_says_what_the_code_says(site, name):
    pages = site("pages")
    assert set(pages.MADE_FROM) == {"scenario_keys", "gallery", "examples", "architecture"}
    assert not pages.stale([name]), "run `make docs` and commit what it changed"


def test_ranges_in_the_reference_are_those_of_the_models(site):
    """What the page says of a key with a greatest number: that number is accepted, and the next one is not."""
    keys = site("scenario_keys")
    tried = {}
    for model, path in keys.sections().items():
        for key, field in keys.keys(model):
            words = keys.takes(field.annotation, keys.sections(), field.metadata)
            limits = re.fullmatch(r"(whole number|number), (?:above )?(-?[\d,]+) to ([\d,]+)(, by product)?", words)
            if limits:
                low, high = (int(limit.replace(",", "")) for limit in limits.group(2, 3))
                adapter = TypeAdapter(Annotated[field.annotation, *field.metadata, "any"])
                assert adapter.validate_python(high) == high, f"{path}.{key}"
                for beyond in (low - 1, high + 1):
                    with pytest.raises(ValidationError, match=f"<= {high:.12g}"):
                        adapter.validate_python(beyond)
                tried[f"{path}.{key}"] = high
    spans = ("products.NAME.shelf_life", "customers.NAME.patience", "forecast.horizon", "observe.history")
    assert [tried[span] for span in spans] == [10_000] * 4
    assert tried[".horizon"] == 10_000_000


def test_every_scenario_has_its_picture():
    drawn = {path.stem for path in (CHECKOUT / "docs" / "pictures" / "networks").glob("*.png")}
    assert drawn == set(shipped_scenarios()), "python docs/site/pictures.py draws them"


def test_every_example_is_on_the_page(site):
    assert (
        set(EXAMPLES)
        == set(site("examples").ORDER)
        == {path.stem for path in (CHECKOUT / "docs/examples").glob("*.py")}
    )


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if took > 5 else []) for name, took in EXAMPLES.items()]
)
def test_an_example_runs_and_prints_what_the_page_says(site, name, tmp_path, monkeypatch, capsys):
    """Their own assertions hold, and they print the same words; numbers differ in last digits from machine to machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    if name in ("sb3_by_hand", "pathwise_training", "read_and_export"):
        pytest.importorskip("torch")
    runpy.run_path(str(CHECKOUT / "docs" / "examples" / f"{name}.py"), run_name="__main__")
    printed = capsys.readouterr().out
    if name in PLAIN:
        kept = (CHECKOUT / "docs" / "examples" / "output" / f"{name}.txt").read_text(encoding="utf-8")
        assert site("examples").words(printed) == site("examples").words(kept)


def blocks(page, language):
    """What stands in fenced blocks of a language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", (CHECKOUT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


def test_the_python_of_the_pages_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for page in ("start.md", "concepts.md", "jobs/learner.md"):
        for code in blocks(page, "python"):
            exec(compile(code, page, "exec"), {})
    cost, fill_rate = map(float, capsys.readouterr().out.split("\n")[0].split())
    assert cost == pytest.approx(
        4.797850, rel=0.02
    )  # published for these parameters (tests/agents/exact/test_exact.py)
    assert 0.85 < fill_rate < 0.95


def test_the_scenario_and_the_rule_of_the_pages_are_those_of_the_readme(tmp_path):
    """Where they are run (tests/house/test_docs.py)."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    network, products = blocks("jobs/network.md", "yaml")
    assert network in readme
    assert blocks("jobs/rule.md", "python")[0] in readme
    (tmp_path / "mine.yaml").write_text(network + products)
    assert list(Scenario.load(tmp_path / "mine.yaml").products) == ["milk", "butter"]


def test_own_demand_as_the_page_has_it(tmp_path):
    """The table and the keys of docs/jobs/demand.md, in the network of docs/jobs/network.md; dates go on for ten weeks."""
    head = re.search(
        r"```\n(date,people\n.*?)```", (CHECKOUT / "docs/jobs/demand.md").read_text(encoding="utf-8"), re.DOTALL
    )
    assert head is not None
    rows = [f"2024-{1 + day // 28:02}-{1 + day % 28:02},{day % 7}" for day in range(3, 28)]
    (tmp_path / "sales.csv").write_text(head[1] + "\n".join(rows) + "\n")
    network = blocks("jobs/network.md", "yaml")[0].partition("customers:")[0].replace("horizon: 200", "horizon: 14")
    (tmp_path / "mine.yaml").write_text(network + blocks("jobs/demand.md", "yaml")[0])
    scenario = Scenario.load(tmp_path / "mine.yaml")
    assert set(scenario.sample(3, seed=1).demand.ravel()) <= {0, 1, 2, 3, 4, 5, 6, 7, 11}


@pytest.mark.slow
def test_every_command_of_the_documentation_is_one(tmp_path, monkeypatch, site):
    """Words in capitals stand for what a reader has; policies are not looked up."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(blocks("jobs/network.md", "yaml")[0])
    for page in site("links").pages(CHECKOUT):
        if "api" in page.parts or page.name == "CHANGELOG.md":
            continue
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = [line for block in re.findall(r"```(?:sh)?\n(.*?)```", text, re.DOTALL) for line in block.split("\n")]
        lines += re.findall(r"`(echelongym [^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for line in lines:
            stood_for = line.replace("scenario=NAME", "scenario=lost_sales").replace("FILE.yaml", "mine.yaml")
            stood_for = stood_for.replace("agent=NAME", "agent=ppo").replace("COMMAND key=value ...", "show")
            stood_for = stood_for.replace("device=gpu", "device=cpu")  # a reader has a GPU where this one need not
            if line.startswith("echelongym ") and " --" not in line:
                command, *given = shlex.split(stood_for, comments=True)[1:]
                assert command in COMMANDS, line
                if "-m" in given:  # the first run of a sweep
                    given = [re.sub(r"^([\w.]+=[^\[{,]+),.*", r"\1", word) for word in given if word != "-m"]
                prepare(command, given)


def test_wrapping_changes_no_word_that_is_rendered(site):
    """Each page with its paragraphs run together on one line, and wrapped anew: a renderer of Markdown sees the same."""
    renderer = pytest.importorskip("markdown_it").MarkdownIt("commonmark").enable("table")
    wrapping = site("wrapping")
    for page in [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").rglob("*.md")]:
        text = page.read_text(encoding="utf-8")
        joined = re.sub(r"(?<=[a-z,;]{2})\n *(?=[a-z])", " ", text)
        again = wrapping.wrapped(joined)
        assert wrapping.long_lines(again) == []
        assert renderer.render(again).split() == renderer.render(joined).split(), page


def test_long_lines_are_found_and_wrapped(site):
    wrapping = site("wrapping")
    words = "word " * 40
    text = (
        f"# {words}\n\n- {words}\n  more\n- short\n\n| {words} |\n\n```\n{words}\n```\n\n{words}- no item `{words}`\n"
    )
    assert wrapping.long_lines(text) == [3, 13]
    lines = wrapping.wrapped(text).split("\n")
    assert [line[:6] for line in lines[2:6]] == ["- word", "  word", "- shor", ""]
    assert max(len(line) for line in lines[12:]) < 120
    assert not any(line.startswith("- no") for line in lines)


def test_the_page_of_the_architecture_has_no_circle(site):
    """Rooms as the tests of the house have them: folders, and modules beside them."""
    architecture = site("architecture")
    graph = architecture.rooms(architecture.modules())
    assert {"envs.dynamics", "envs.simulate", "agents.rules", "experiments.main"} <= set(graph)
    assert architecture.ordered(graph)[1] == []
    assert architecture.ordered({"envs.a": {"envs.b"}, "envs.b": {"envs.a"}})[1] == ["envs.a"]
