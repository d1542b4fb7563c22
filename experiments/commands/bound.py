"""``echelongym bound``: lower bounds on the cost of any policy, and the optimum where it can be computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echelongym.agents.exact import Exact, solve
from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.validation import Count, Flag, PositiveCount
from echelongym.envs.scenario.scenario import Scenario

from ..cli.settings import Bounds, Evaluation, RunSettings, Tuning, Workers
from ..cli.terminal import finish, say, typed
from ..comparison.bounds import bounds_of, open_loop, planned, too_large
from ..comparison.entrants import Entries, entrants
from ..comparison.evaluate import evaluate
from ..comparison.results import Results
from ..comparison.service_limits import said_limits
from ..runs.folders import check_free, run_folder, scenario_argument


class Settings(RunSettings):
    """Settings of ``bound``; see ``configs/bound.yaml``."""

    policies: Entries
    bounds: Bounds
    tuning: Tuning
    seed: Count
    open_loop: Flag
    exact: Flag
    states: PositiveCount
    tune: Flag
    workers: Workers = "auto"
    trust: Flag
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Bound, compare, solve where possible, print and write; returns the run folder.

    Raises
    ------
    InputError
        Before any work, if the run folder is taken or a policy cannot be loaded; if there is no finite bound.
    """
    check_free(folder)
    scenario, chosen = settings.scenario, settings.bounds
    if chosen.worlds < 1:
        raise expected("bounds.worlds", chosen.worlds, "at least 1")
    large = too_large(scenario, scenario.horizon, chosen)
    if large is not None:
        raise InputError(f"no bounds: {large}")
    evaluation = Evaluation(worlds=chosen.worlds, seed=settings.seed, periods=None, chunk=None)
    limits = said_limits(scenario, evaluation.seed, "test")
    tuning = settings.tuning if settings.tune else None
    plan = (settings.tuning.seed, settings.tuning.cache)
    beside = planned(scenario, evaluation, chosen, plan if settings.open_loop else None)
    compared = entrants(settings.policies, scenario, tuning, settings.trust, settings.progress, beside)
    if settings.open_loop:
        compared.append(open_loop(scenario, *plan, settings.progress, beside))
    bounded = bounds_of(scenario, evaluation, chosen, settings.progress, beside)
    results = Results(
        scenario, evaluation, evaluate(scenario, compared, evaluation, settings.progress), bounded, limits
    )
    exact, why = _exact(scenario, settings)
    with run_folder(folder, settings.to_dict(), scenario) as out:
        results.write(out)
        out.json("summary.json", {**results.summary(), "exact": None if exact is None else _told(exact)})
    results.show()
    if exact is not None:
        say(f"optimum in the long run: {exact.value:.7g} a period ({exact.method}, numerical error {exact.error:.1g})")
        for note in exact.notes:
            say(f"  {note}")
    elif why:
        say(f"no exact optimum: {why}")
    finish(out.path, typed("benchmark", scenario=scenario_argument(scenario, out.path)), ["summary.json", "tables"])
    return out.path


def _exact(scenario: Scenario, settings: Settings) -> tuple[Exact | None, str]:
    """The optimum, or why there is none."""
    if not settings.exact:
        return None, ""
    try:
        return solve(scenario, max_states=settings.states), ""
    except InputError as error:
        return None, str(error).splitlines()[-1].strip()


def _told(exact: Exact) -> dict[str, Any]:
    return {
        "cost_per_period": exact.value,
        "method": exact.method,
        "parameters": exact.parameters,
        "error": exact.error,
        "notes": list(exact.notes),
    }


__all__ = ["Settings", "run"]
