"""Documentation against code: every key is described, every example in the README runs."""

import importlib
import importlib.util
import re
import typing

import pytest
from checkout import CHECKOUT

from echelongym.agents.registry import RULES
from echelongym.envs import Scenario, simulate
from echelongym.envs.core.validation import Config
from echelongym.envs.network.calendars import Review
from echelongym.envs.processes.families import FAMILIES
from echelongym.envs.recorded.windows import Windows
from echelongym.envs.scenario.ranges import Factor, Range


def models(model):
    """A model of a scenario file and all that its keys lead to."""
    found = {model: None}
    for field in model.model_fields.values():
        for inner in parts(field.annotation):
            found |= {inner: None} | (models(inner) if inner is not model else {})
    return found


def parts(annotation):
    """Models inside an annotation: ``Annotated[dict[str, Lane], Named]`` holds ``Lane``."""
    if isinstance(annotation, type) and issubclass(annotation, Config):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in parts(argument)]


@pytest.mark.parametrize("model", [*models(Scenario), *FAMILIES.values(), Windows, Range, Factor, Review])
def test_every_key_is_described(model):
    """The reference of the scenario file is made from these descriptions."""
    for key, field in model.model_fields.items():
        assert key == "base_dir" or (field.description or "").endswith("."), key


def test_every_kind_of_demand_is_described():
    page = (CHECKOUT / "docs" / "scenario.md").read_text()
    for kind in FAMILIES:
        assert f"`{kind}" in page, kind


def blocks(language):
    text = (CHECKOUT / "README.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_examples_of_the_readme_run(tmp_path, monkeypatch):
    """The scenario, the rule and the learner as a reader would paste them; the learner for fewer steps."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(blocks("yaml")[0])
    simulated, rule, learner = blocks("python")
    exec(compile(simulated, "README simulate", "exec"), {})
    names: dict = {}
    exec(compile(rule, "README rule", "exec"), names)
    scenario = Scenario.load("mine.yaml")
    outcome = simulate(scenario, names["topped_up"], scenario.sample(worlds=8, seed=1))
    assert 0.8 < outcome.kpis()["total"]["fill_rate"].mean() < 1
    exec(
        compile(
            learner.replace("20_000", "64").replace('"MlpPolicy", env', '"MlpPolicy", env, n_steps=64'),
            "README",
            "exec",
        ),
        {},
    )


def test_the_examples_of_the_baselines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (CHECKOUT / "docs" / "baselines.md").read_text()
    for example in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(example, "baselines", "exec"), {})
    assert (tmp_path / "rule.yaml").is_file()
    # Published: the optimum and the best capped dual-index rule (tests/agents/exact/test_exact.py).
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("216.76980")
    assert second.startswith("216.78240")


def test_every_rule_is_on_the_page():
    text = (CHECKOUT / "docs" / "baselines.md").read_text()
    for rule in RULES:
        assert f"`{rule}`" in text, rule


def pages():
    """The pages of the project, those that are made at build time left out."""
    return [*CHECKOUT.glob("*.md"), *(path for path in (CHECKOUT / "docs").rglob("*.md") if "api" not in path.parts)]


def test_programs_that_pages_call_exist():
    """Figures stand beside the commands that make them: ``python FILE``, ``python -m MODULE``, ``pytest ... FILE``."""
    missing, found = [], 0
    for page in pages():
        text = re.sub(r"\s+", " ", page.read_text(encoding="utf-8"))
        files = re.findall(r"\b(?:python|pytest)(?: [^ `]+){0,4}? ((?:tests|docs)/[\w./]+)", text)
        modules = re.findall(r"python -m (echelongym\.[\w.]+\w)", text)
        missing += [(page.name, one) for one in files if not (CHECKOUT / one.rstrip(".")).exists()]
        missing += [
            (page.name, one) for one in modules if not one.endswith(".NAME") and not importlib.util.find_spec(one)
        ]
        assert not re.search(r"`cd tests|python \w+\.py", text.replace("python rules.py", "")), page
        found += len(files) + len(modules)
    assert missing == []
    assert found > 10


def settings_files():
    """Files of settings; scenarios, experiments and boards say what they are for at their head instead."""
    headed = {"scenario", "experiment", "board"}
    return [path for path in (CHECKOUT / "configs").rglob("*.yaml") if not headed & set(path.parts)]


def test_every_setting_says_what_it_means():
    """A comment behind each key or on the line before; the defaults list of Hydra is explained by Hydra."""
    silent = []
    for path in settings_files():
        lines = path.read_text(encoding="utf-8").splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            key = re.match(r" *(\w+):", line)
            if key and key[1] != "defaults" and " # " not in line and not before.lstrip().startswith("#"):
                silent.append(f"{path.relative_to(CHECKOUT)}: {line}")
    assert silent == []


def test_examples_of_parameters_are_parameters_of_the_rule():
    """The comment of a policy's file shows one parameter as it is typed; the rule's docstring or its base's describes it."""
    for path in (CHECKOUT / "configs" / "policy").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        shown = re.findall(r"policy\.parameters\.(\w+)", text)
        described = " ".join(base.__doc__ or "" for base in RULES[path.stem].__mro__)
        assert shown, path
        assert [name for name in shown if not re.search(rf"\b{name}\b", described)] == [], path


def test_lines_of_prose_are_below_120_characters(monkeypatch):
    """Tables and code may be wider; so may values of a scenario, beside which no comment stands."""
    monkeypatch.syspath_prepend(str(CHECKOUT / "docs" / "site"))
    wrapping = importlib.import_module("wrapping")
    long = [
        f"{page.relative_to(CHECKOUT)}:{line}"
        for page in pages()
        for line in wrapping.long_lines(page.read_text(encoding="utf-8"))
    ]
    assert long == [], "python docs/site/wrapping.py FILE ... wraps them"
    for path in (CHECKOUT / "configs").rglob("*.yaml"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            assert len(line) <= wrapping.LONGEST or "#" not in line, f"{path.relative_to(CHECKOUT)}:{number}"
