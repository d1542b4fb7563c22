"""``echelongym benchmark``: policies on common worlds, with paired differences, KPIs, tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from echelongym.envs.core.devices import Device
from echelongym.envs.core.errors import InputError, expected, is_installed
from echelongym.envs.core.validation import Flag
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

from ..cli.settings import USUAL_RULE, Bounds, Evaluation, RunSettings, Tuning, Workers
from ..cli.terminal import can_draw, finish, say, typed
from ..comparison.bounds import OPEN_LOOP, Bounded, bounds_of, cost_alone, open_loop, planned, too_large
from ..comparison.entrants import Entries, entrants
from ..comparison.evaluate import Scores, evaluate
from ..comparison.fitted_rules import Beside
from ..comparison.results import Results
from ..comparison.service_limits import ServiceLimits, said_limits
from ..figures import comparison as pictures
from ..figures.network import draw_network, layout
from ..runs.folders import RunFolder, check_free, run_folder, scenario_argument
from ..statistics import Estimate

PICTURED = 64  # worlds that stock over time is drawn from


class Settings(RunSettings):
    """Settings of ``benchmark``; see ``configs/benchmark.yaml``."""

    policies: Entries
    evaluation: Evaluation
    tuning: Tuning
    bounds: Bounds
    open_loop: Flag
    tune: Flag
    device: Device = "cpu"
    workers: Workers = "auto"
    trust: Flag
    pictures: Flag
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Tune, simulate, compare, print and write; returns the run folder.

    Raises
    ------
    InputError
        Before any work, if the run folder is taken, a policy cannot be loaded, or the worlds are too short.
    """
    results, made = compare(settings, folder)
    results.show()
    argument = scenario_argument(results.scenario, made)
    if any(one.entrant.training_seeds for one in results.scores):
        # A plan that never looks is no policy to pilot.
        made_for_use = [one for one in results.scores if one.entrant.note not in ("planned", "reference")]
        cheapest = min(made_for_use, key=lambda one: one.net_cost)
        trust = {"trust": "true"} if settings.trust else {}
        following = typed("export", policy=cheapest.entrant.source, scenario=argument, **trust)
    elif is_installed("torch"):
        following = typed("train", scenario=argument, agent="ppo")
    else:
        cheapest = min(results.scores, key=lambda one: one.net_cost)
        following = typed("read", scenario=argument, policy=cheapest.entrant.source or USUAL_RULE)
    finish(made, following, ["summary.json", "tables", *(["4 pictures"] if (made / "network.png").is_file() else [])])
    return made


def compare(settings: Settings, folder: Path, limits: ServiceLimits | None = None) -> tuple[Results, Path]:
    """The comparison without its printed table: the results, and the run folder they were written to.

    Parameters
    ----------
    limits
        The most that any policy serves, where it has been said already.
    """
    check_free(folder)
    scenario, evaluation = settings.scenario, settings.evaluation
    check_periods(scenario, evaluation)
    tuning = settings.tuning if settings.tune else None
    if limits is None:
        limits = said_limits(scenario, evaluation.seed, "test", evaluation.periods)
    plan = (settings.tuning.seed, settings.tuning.cache)
    periods = evaluation.periods or scenario.horizon
    large = too_large(scenario, periods, settings.bounds)
    wanted = settings.open_loop and periods <= scenario.horizon and large is None
    if large is not None and (settings.open_loop or settings.bounds.worlds):
        say(f"no bounds and no open-loop plan: {large}")
    beside = planned(scenario, evaluation, settings.bounds, plan if wanted else None)
    compared = entrants(settings.policies, scenario, tuning, settings.trust, settings.progress, beside)
    if wanted and not any(one.name == OPEN_LOOP for one in compared):
        compared.append(open_loop(scenario, *plan, settings.progress, beside))
    bounded = None if large is not None else _bounded(settings, beside)
    scores = evaluate(scenario, compared, evaluation, settings.progress, settings.device)
    results = Results(scenario, evaluation, scores, bounded, limits)
    missing = results.tuned_but_missing
    alone = None if missing is None or tuning is None else cost_alone(scenario, missing, tuning, settings.progress)
    if alone is not None:
        # Where its target is missed, the rule that looks at costs alone stands beside it.
        scores = [*scores, *evaluate(scenario, [alone], evaluation, settings.progress, settings.device)]
        results = Results(scenario, evaluation, scores, bounded, limits)
    with run_folder(folder, settings.to_dict(), scenario) as out:
        results.write(out)
        if settings.pictures and can_draw():
            draw(results, out)
    return results, out.path


def _bounded(settings: Settings, beside: Beside) -> Bounded | None:
    """Bounds, where there are any: a comparison goes on without them."""
    try:
        return bounds_of(settings.scenario, settings.evaluation, settings.bounds, settings.progress, beside)
    except InputError as error:
        say(f"no bounds: {error}")
        return None


def check_periods(scenario: Scenario, evaluation: Evaluation) -> None:
    """Refuse worlds that end before the warm-up does."""
    if evaluation.periods is not None and evaluation.periods <= scenario.warm_up:
        raise expected("evaluation.periods", evaluation.periods, f"more than the warm-up of {scenario.warm_up}")


def draw(results: Results, out: RunFolder) -> None:
    """The four pictures: cost by line, service by region, stock over time, the network."""
    scenario, t = results.scenario, results.scenario.tables
    lines = {
        one.name: {line: float(values.mean()) for line, values in one.lines.items() if line != "revenue"}
        for one in results.scores
    }
    pictures.cost_by_line(out / "cost_by_line.png", lines, results.cost, results.sample)
    rates = {
        name: {region: _estimate(found["fill_rate"]) for region, found in figures["region"].items()}
        for name, figures in results.aggregated.items()
    }
    pictures.service_by_region(out / "service_by_region.png", rates, region_targets(scenario), results.sample)
    worlds = min(PICTURED, results.sample.worlds)
    stock = {one.name: stock_of(scenario, one, worlds, results.evaluation) for one in results.scores}
    column = {name: place[0] for name, place in layout(t).items()}
    groups = pictures.panels(t.nodes, [bool(one) for one in t.is_supplier], column)
    pictures.stock_over_time(out / "stock_over_time.png", stock, groups, scenario.warm_up, worlds)
    draw_network(scenario, out / "network.png")


def stock_of(scenario: Scenario, one: Scores, worlds: int, evaluation: Evaluation) -> Any:
    """(T, B, N) units on hand at the start of each period, of an entrant's first training seed."""
    tape = scenario.sample(worlds, evaluation.seed, "test", evaluation.periods)
    trace = simulate(scenario, one.entrant.policies[0], tape, trace=("on_hand",), kpis=False).trace
    return np.asarray(trace.on_hand).sum(axis=(3, 4))


def region_targets(scenario: Scenario) -> dict[str, float]:
    """Fill-rate target by region, where its customers that have one have the same."""
    found: dict[str, set[float]] = {}
    for customer in scenario.customers.values():
        if customer.targets.fill_rate is not None:
            found.setdefault(customer.region, set()).add(customer.targets.fill_rate)
    return {region: next(iter(values)) for region, values in found.items() if len(values) == 1}


def _estimate(found: dict[str, Any]) -> Estimate:
    return Estimate.of(found)


__all__ = ["Settings", "compare", "run"]
