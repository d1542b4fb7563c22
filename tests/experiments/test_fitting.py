"""Tuned rules are kept under what they were made from, and tuned side by side."""

import json

import oracle_instances as instances
import pytest

from echelongym.envs.workers.cores import using
from echelongym.experiments.cli.settings import Tuning
from echelongym.experiments.commands.tune import table_rows
from echelongym.experiments.comparison.fitted_rules import fit_all, fitted, look_up
from echelongym.experiments.figures.comparison import rule_parameters
from echelongym.experiments.runs import sources
from echelongym.experiments.runs.sources import modules


def short(scenario):
    """Fewer periods to compare candidates on."""
    return scenario.replace(horizon=150, warm_up=30)


LITTLE = {
    "worlds": 8, "judged": 8, "seed": 0, "budget": 5_000, "method": "search", "tolerance": 0.0, "patience": 0.25,
    "refit": 0, "refresh": False,
}  # fmt: skip


def kept(tmp_path, **changes):
    return Tuning(**(LITTLE | {"cache": str(tmp_path / "cache")} | changes))


def test_what_was_tuned_before_is_taken_from_the_cache(tmp_path):
    scenario = short(instances.newsvendor(1, 9))
    first = fitted(scenario, "local_base_stock", {}, kept(tmp_path), False)
    assert first.kept is None
    again = fitted(scenario, "local_base_stock", {}, kept(tmp_path), False)
    assert again.kept is not None
    assert again.summary == json.loads(json.dumps(first.summary))
    assert again.rule.parameters == first.rule.parameters
    assert again.env_periods == first.env_periods <= 5_000
    other = scenario.replace(horizon=160)
    for miss in (
        fitted(scenario, "local_base_stock", {}, kept(tmp_path, refresh=True), False),
        fitted(scenario, "local_base_stock", {}, kept(tmp_path, seed=1), False),
        fitted(scenario, "local_base_stock", {"levels": 20.0}, kept(tmp_path), False),
        fitted(scenario, "echelon_base_stock", {}, kept(tmp_path), False),
        fitted(other, "local_base_stock", {}, kept(tmp_path), False),
        fitted(scenario, "local_base_stock", {}, kept(tmp_path, cache=None), False),
    ):
        assert miss.kept is None


def test_half_a_result_is_none(tmp_path):
    scenario, tuning = short(instances.newsvendor(1, 9)), kept(tmp_path)
    fitted(scenario, "local_base_stock", {}, tuning, False)
    next(tmp_path.rglob("tuning.json")).unlink()
    assert look_up(scenario, "local_base_stock", {}, tuning) is None


def test_a_result_depends_on_the_code_that_made_it_and_no_other():
    """Dynamics, ledger, processes, the rule, its tuner and compiler; not other rules, learners, environments or drawing."""
    found = modules(
        ("echelongym.agents.tuning.tuner", "echelongym.agents.rules.base_stock"), ("echelongym.agents.rules",)
    )
    inside = ("agents.rules.base_stock", "agents.rules.allocation", "agents.tuning.gradient", "agents.tuning.search")
    inside += (
        "envs.dynamics.period",
        "envs.accounts.ledger",
        "envs.processes.demand",
        "envs.interface.automatic_levels",
        "envs.core.backend",
        "envs.compiler.native",
        "envs.accounts.kpis",
    )
    outside = (
        "agents.export.bundle",
        "agents.sb3.models",
        "agents.loading",
        "envs.gym.env",
        "envs.gym.render",
        "envs.interface.observation_encoder",
    )
    assert {f"echelongym.{name}" for name in inside} <= found
    assert not {f"echelongym.{name}" for name in outside} & found


def test_a_digest_changes_with_the_source(tmp_path, monkeypatch):
    """A module imported within a function counts, one for type checkers alone does not."""
    package = tmp_path / "echelongym_like"
    package.mkdir()
    (package / "__init__.py").write_text("from .deep import thing\n")
    (package / "deep.py").write_text("thing = 1\n")
    (package / "lazy.py").write_text("number = 2\n")
    (package / "types_only.py").write_text("Kind = int\n")
    (package / "other.py").write_text("unrelated = 3\n")
    (package / "top.py").write_text(
        "from typing import TYPE_CHECKING\nfrom . import thing\nif TYPE_CHECKING:\n    from .types_only import Kind\n"
        "def use():\n    from .lazy import number\n    return number\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sources, "PACKAGE", "echelongym_like")
    found = modules(("echelongym_like.top",))
    assert found == {f"echelongym_like.{name}" for name in ("top", "deep", "lazy")}
    before = sources.digest(("echelongym_like.top",))
    (package / "other.py").write_text("unrelated = 4\n")
    assert sources.digest(("echelongym_like.top",)) == before
    (package / "lazy.py").write_text("number = 5\n")
    assert sources.digest(("echelongym_like.top",)) != before


@pytest.mark.slow
def test_rules_tuned_side_by_side_are_those_tuned_in_turn(tmp_path):
    scenario = short(instances.newsvendor(1, 9))
    jobs = [("local_base_stock", {}), ("echelon_base_stock", {"levels": 20.0}), ("echelon_base_stock", {})]
    in_turn = fit_all(scenario, jobs, kept(tmp_path, cache=None), False)
    with using(2):
        beside = fit_all(scenario, jobs, kept(tmp_path), False)
    assert [(rule.parameters, spent) for rule, spent in in_turn] == [(rule.parameters, spent) for rule, spent in beside]
    assert all(look_up(scenario, rule, held, kept(tmp_path)) is not None for rule, held in jobs)


def test_numbers_that_nobody_reads_one_by_one_are_summed_up(tmp_path):
    few = {"levels": {"depot": {"tea": 4.0, "rice": 7.0}}, "allocation": "proportional"}
    assert table_rows(few) == [("levels.depot.tea", 4.0), ("levels.depot.rice", 7.0), ("allocation", "proportional")]
    assert rule_parameters(tmp_path / "few.png", "few", few)
    many = {"levels": {f"store_{k}": {"tea": k / 2} for k in range(301)}, "caps": {"road": 3}}
    summed = "301 numbers from 0 to 150, median 75 (rule.yaml has all)"
    assert table_rows(many | {"allocation": "proportional"}) == [
        ("levels", summed),
        ("caps.road", 3),
        ("allocation", "proportional"),
    ]
    assert not rule_parameters(tmp_path / "many.png", "many", many)
    assert [path.name for path in tmp_path.iterdir()] == ["few.png"]
