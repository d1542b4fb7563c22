"""Bounds and baselines of a comparison: lower bounds on cost, an open-loop plan, rules."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents.planning import innovations
from echelongym.agents.planning.linear_program.program import relaxations
from echelongym.agents.planning.open_loop import OpenLoopPlan, plan_open_loop
from echelongym.agents.planning.penalised_bound import Weights, fit, tightened
from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.agents.registry import RULES
from echelongym.agents.rules import Rule
from echelongym.envs.core.errors import InputError
from echelongym.envs.core.names import folder_name
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.cache import content_digest
from echelongym.envs.storage.files import write_text
from echelongym.envs.workers.pieces import Piece
from echelongym.envs.workers.telling import tell
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.world_sample import WorldSample, sample_of

from ..cli.settings import Bounds, Evaluation, Tuning
from ..cli.terminal import Advance, progress, say
from ..runs.sources import digest
from ..statistics import Comparison, cost_interval, seeds_comparison
from .evaluate import Entrant, Scores
from .fitted_rules import Beside
from .fitted_rules import fit as fit_rule
from .result_cells import estimated

OPEN_LOOP = OpenLoopPlan.name
_DIGEST = "sha256"  # of what a file of the cache holds
PENALTY = "penalty"
#: Seconds that one process takes, by lanes x products x periods: a step of fitting the penalty, and an open-loop plan.
SECONDS_A_STEP, SECONDS_OF_A_PLAN = 1.5e-4, 0.01
PERFECT, TIGHTENED = "perfect_information", "penalised"
_NAMES = {PERFECT: "perfect information", TIGHTENED: "information relaxation"}


@dataclass(frozen=True, eq=False)
class Bounded:
    """Bounds in B worlds, money a period over whole episodes: no policy costs less on average."""

    costs: dict[str, Floats]  # (B,) by kind of bound
    notes: list[str]  # what is relaxed, and why a bound is missing
    sample: WorldSample | None = None  # what the worlds are a sample of

    @property
    def worlds(self) -> int:
        """Number of worlds B, the first of the evaluation."""
        return len(next(iter(self.costs.values())))

    @property
    def _one_history(self) -> bool:
        return self.sample is not None and self.sample.one_history

    @property
    def best(self) -> str:
        """The higher bound."""
        return max(self.costs, key=lambda kind: float(self.costs[kind].mean()))

    def gap(self, one: Scores, kind: str) -> Comparison:
        """Gap of a policy above a bound, on its worlds: no more than that can be gained."""
        worlds = min(self.worlds, one.sample.worlds)
        costs = self.costs[kind][None, :worlds]
        found = seeds_comparison(one.episode_net_cost[:, :worlds], costs, sample=one.sample.first(worlds))
        return found.not_negative()

    def lines(self) -> list[str]:
        """Lines for below a table."""
        found = []
        for kind, costs in self.costs.items():
            average = "" if self._one_history else " on average"
            least = estimated(cost_interval(costs, self.sample))
            found.append(f"no policy costs less than {least}{average}: {_NAMES[kind]}")
        worlds = "one history" if self._one_history else f"{self.worlds} world{'s' if self.worlds > 1 else ''}"
        where = f"{worlds}, whole episodes, warm-up included"
        found.append(f"% above bound: at most this can be gained ({_NAMES[self.best]}; {where})")
        return found

    def to_dict(self, scores: Sequence[Scores]) -> dict[str, Any]:
        """The summary's ``bound``."""
        found: dict[str, Any] = {"worlds": self.worlds, "best": self.best}
        for kind, costs in self.costs.items():
            found[kind] = {"cost_per_period": cost_interval(costs, self.sample).to_dict()}
        gaps = {one.name: {kind: self.gap(one, kind).to_dict() for kind in self.costs} for one in scores}
        for by_kind in gaps.values():
            for gap in by_kind.values():
                del gap["probability_better"]
        return found | {"gap": gaps, "notes": self.notes}


def too_large(scenario: Scenario, periods: int, chosen: Bounds) -> str | None:
    """Why there are no bounds and no open-loop plan of a network of this size; None where there are."""
    t, most = scenario.tables, chosen.most_cells
    cells = t.L * t.P * periods
    if most is None or cells <= most:
        return None
    return (
        f"a world of {scenario.name} has {cells:,} lanes x products x periods, and its linear programs would take "
        f"long (bounds.most_cells={most}; null: any number)"
    )


def planned(
    scenario: Scenario, evaluation: Evaluation, chosen: Bounds, plan: tuple[int, str | None] | None = None
) -> Beside:
    """Work of :func:`bounds_of` and :func:`open_loop` that is one piece each, so that it can be done beside tuning.

    Parameters
    ----------
    plan
        Seed and cache of the open-loop plan; None: none is wanted.
    """
    tables = scenario.tables
    size = tables.L * tables.P * tables.horizon
    pieces: dict[str, Piece] = {}
    if too_large(scenario, evaluation.periods or scenario.horizon, chosen) is not None:
        return Beside(pieces)
    if chosen.penalty and chosen.worlds and innovations.refusal(scenario) is None:
        file = _file(scenario, evaluation, chosen)
        if file is None or _kept(file) is None:
            seconds = min(size * 0.03, 60.0) if chosen.steps is None else chosen.steps * size * SECONDS_A_STEP
            pieces[PENALTY] = Piece(_fitted, (scenario, evaluation.seed, chosen.steps), seconds)
    if plan is not None:
        file = _plan_file(scenario, *plan)
        if file is None or _kept(file) is None:
            pieces[OPEN_LOOP] = Piece(_planned, (scenario, plan[0]), size * SECONDS_OF_A_PLAN)
    return Beside(pieces)


def _fitted(scenario: Scenario, seed: int, steps: int | None) -> Weights | None:
    """Weights of the penalty; None where there is no finite bound, which the bounds themselves will say."""
    try:
        return fit(
            scenario, seed, "test", steps, lambda done, total: tell(done / total, "fitting the penalty of the bound")
        )
    except InputError:
        return None


def _planned(scenario: Scenario, seed: int) -> dict[str, Any]:
    plan = plan_open_loop(scenario, seed, progress=lambda done, total: tell(done / total, "open-loop plan"))
    return plan.to_dict()


def bounds_of(
    scenario: Scenario,
    evaluation: Evaluation,
    chosen: Bounds,
    show_progress: bool = True,
    beside: Beside | None = None,
) -> Bounded | None:
    """Bounds on the first worlds of an evaluation; None where none are wanted.

    Kept in ``chosen.cache`` under the hash of what they were made from. What :func:`planned` has done is not done again.

    Raises
    ------
    InputError
        If the scenario has no finite bound, or is :func:`too_large`.
    """
    if not chosen.worlds:
        return None
    periods = evaluation.periods or scenario.horizon
    why = too_large(scenario, periods, chosen)
    if why is not None:
        raise InputError(why)
    asked = min(chosen.worlds, evaluation.worlds)
    sample = sample_of(scenario, asked, evaluation.seed, "test", periods)
    worlds = sample.worlds
    why = innovations.refusal(scenario) if chosen.penalty else None
    notes = relaxations(scenario.tables) + ([] if why is None else [f"no tighter bound: {why}"])
    started, file = time.perf_counter(), _file(scenario, evaluation, chosen)
    if file is not None:
        kept = _kept(file)
        if kept is not None:
            return Bounded({kind: np.array(costs) for kind, costs in kept.items()}, notes, sample)
    tape = scenario.sample(worlds, evaluation.seed, "test", periods)
    costs = {}
    with progress("perfect information", worlds, "worlds", show_progress) as advance:
        costs[PERFECT] = perfect_information(scenario, tape, chosen.workers, _counter(advance)).cost
    if chosen.penalty and why is None:
        weights = None if beside is None else beside.given.get(PENALTY)
        if weights is None:
            with progress("fitting the penalty of the bound", 1.0, "", show_progress) as advance:
                weights = fit(scenario, evaluation.seed, "test", chosen.steps, _share(advance))
        with progress("with that price", worlds, "worlds", show_progress) as advance:
            bound = tightened(scenario, tape, evaluation.seed, "test", weights, chosen.workers, _counter(advance))
        costs[TIGHTENED] = bound.cost
    if file is not None:
        _keep(file, {kind: found.tolist() for kind, found in costs.items()})
    say(f"bounds: {worlds} worlds in {time.perf_counter() - started:.0f} s")
    return Bounded(costs, notes, sample)


def _file(scenario: Scenario, evaluation: Evaluation, chosen: Bounds) -> Path | None:
    """Where bounds are kept."""
    if chosen.cache is None:
        return None
    periods = evaluation.periods or scenario.horizon
    worlds = sample_of(scenario, min(chosen.worlds, evaluation.worlds), evaluation.seed, "test", periods).worlds
    return Path(chosen.cache) / f"{_key(scenario, evaluation, chosen, worlds, periods)}.json"


def open_loop(
    scenario: Scenario, seed: int, cache: str | None, show_progress: bool = True, beside: Beside | None = None
) -> Entrant:
    """The best open-loop plan, made on worlds of purpose ``tune``; kept as bounds are."""
    file = _plan_file(scenario, seed, cache)
    kept = None if file is None else _kept(file)
    made = None if beside is None else beside.given.get(OPEN_LOOP)
    if made is not None or kept is not None:
        plan = OpenLoopPlan.from_dict(scenario, kept if made is None else made, str(file))
    else:
        with progress("open-loop plan", 1.0, "", show_progress) as advance:
            plan = plan_open_loop(scenario, seed, progress=_share(advance))
    if file is not None and kept is None:
        _keep(file, plan.to_dict())
    return Entrant(OpenLoopPlan.name, (plan,), note="planned", source=OpenLoopPlan.name)


def _plan_file(scenario: Scenario, seed: int, cache: str | None) -> Path | None:
    """Where an open-loop plan is kept."""
    if cache is None:
        return None
    made_from = {
        "scenario": scenario.digest,
        "demand": _demand(scenario, seed, "tune"),
        "seed": seed,
        "code": digest(("echelongym.agents.planning.open_loop",), ()),
    }
    return Path(cache) / f"plan-{folder_name(scenario.name)}-{_hash(made_from)}.json"


def cost_alone(scenario: Scenario, entrant: Entrant, tuning: Tuning, show_progress: bool = True) -> Entrant | None:
    """A rule tuned as if the scenario had no targets: what a target that is missed has cost; None of what is no rule."""
    before = entrant.policies[0]
    if not isinstance(before, Rule) or before.name not in RULES:
        return None
    customers = {
        name: {key: value for key, value in customer.items() if key != "targets"}
        for name, customer in scenario.to_dict()["customers"].items()
    }
    free = scenario.with_overrides({"customers": customers, "targets": {}})
    rule, spent = fit_rule(free, before.name, entrant.held, tuning, show_progress)
    return Entrant(f"{entrant.name} (cost alone)", (rule,), (), spent, "cost alone", before.name, entrant.held)


def _kept(file: Path) -> dict[str, Any] | None:
    """What was kept in a file of the cache; None where there is nothing, or something else than was written."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return found if found.pop(_DIGEST) == _digest(file, found) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _keep(file: Path, found: dict[str, Any]) -> None:
    """Keep plain data; where it cannot be written, that is said and no more."""
    try:
        write_text(json.dumps({**found, _DIGEST: _digest(file, found)}) + "\n", file)
    except OSError as error:
        say(f"{file}: cannot be written ({error.strerror}): it will be computed again next time")


def _digest(file: Path, found: dict[str, Any]) -> str:
    return content_digest(file.stem, json.dumps(found, sort_keys=True).encode())


def _counter(advance: Advance) -> Callable[[int, int], None]:
    """A callback that is told how many are done, for a bar that is told how many more."""
    before = 0

    def count(done: int, total: int) -> None:
        nonlocal before
        advance(float(done - before))
        before = done

    return count


def _share(advance: Advance) -> Callable[[int, int], None]:
    """The same where only the callback knows how many there are."""
    before = 0.0

    def count(done: int, total: int) -> None:
        nonlocal before
        advance(done / total - before)
        before = done / total

    return count


def _key(scenario: Scenario, evaluation: Evaluation, chosen: Bounds, worlds: int, periods: int) -> str:
    made_from = {
        "scenario": scenario.digest,
        "demand": _demand(scenario, evaluation.seed, "test"),
        "seed": evaluation.seed,
        "worlds": worlds,
        "periods": periods,
        "bounds": chosen.model_dump(exclude={"cache", "workers", "worlds", "most_cells"}),
        "code": digest(("echelongym.agents.planning.penalised_bound",), ()),
    }
    return f"bound-{folder_name(scenario.name)}-{_hash(made_from)}"


def _demand(scenario: Scenario, seed: int, purpose: str) -> str:
    """Recorded demand is no part of a scenario's digest; what two worlds see of it tells records apart."""
    return hashlib.sha256(
        scenario.sample(worlds=2, seed=seed, purpose=purpose, periods=playable(scenario, purpose)).demand.tobytes()
    ).hexdigest()


def _hash(made_from: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
