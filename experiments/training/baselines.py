"""Baselines of a training: the rule it starts from or is compared with, and a bound on every policy."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from echelongym.agents.budget import objective, penalised
from echelongym.agents.loading import load_policy
from echelongym.agents.registry import RULES
from echelongym.agents.residual import rule_from_dict
from echelongym.agents.rules import Rule
from echelongym.agents.service_targets import targets_of
from echelongym.envs.accounts.kpis import Kpis
from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.storage.files import read_yaml
from echelongym.envs.storage.journal import step
from echelongym.envs.worlds.world_sample import WorldSample

from ..cli.settings import Tuning
from ..cli.terminal import cell, say
from ..comparison.fitted_rules import fitted
from ..comparison.played import plain, rebuilt
from ..statistics import cost_interval

if TYPE_CHECKING:
    from echelongym.agents.pathwise.family import Variant
    from echelongym.envs.worlds.tape import Tape


REFERENCE = "echelon_base_stock"
START_FILE = "start.yaml"
# A bound is to be there before the training is: value iteration of this many states takes seconds, and so do these worlds.
MOST_STATES, MOST_WORLDS, SECONDS = 20_000, 8, 10.0
# Lanes x products x periods of a world above which its linear program takes minutes.
MOST_CELLS = 200_000


@dataclass(frozen=True, eq=False)
class Reference:
    """Costs (B,) of a rule in the validation worlds: what a learner has to get below first."""

    name: str
    how: Literal["tuned", "automatic"]
    cost: Floats
    facts: dict[str, Any] = field(default_factory=dict)  # of tuning it
    kpis: Kpis | None = None  # in those worlds; None over many networks

    @property
    def label(self) -> str:
        """For a line of progress."""
        return f"tuned {self.name}" if self.how == "tuned" else f"{self.name} with automatic levels"

    def to_dict(self, sample: WorldSample | None = None) -> dict[str, Any]:
        """The summary's ``reference``; ``sample``: what the validation worlds are a sample of."""
        cost = cost_interval(self.cost, sample).to_dict()
        return {"name": self.name, "how": self.how, "cost_per_period": cost, **self.facts}


def reference_of(
    scenario: Scenario, how: Literal["tuned", "automatic"], tuning: Tuning, tape: Tape, show_progress: bool = True
) -> Reference:
    """The reference rule, tuned (or taken from the cache of fitted rules) or with automatic levels."""

    def compute() -> list[Any]:
        facts: dict[str, Any] = {}
        rule: Any
        if how == "tuned":
            rule, facts = fitted_rule(scenario, REFERENCE, tuning, show_progress)
        else:
            rule = load_policy(REFERENCE, scenario)
        outcome = simulate(scenario, rule, tape)
        return [objective(outcome), {"tuning": facts} if facts else {}, plain(outcome.figures())]

    begun = [scenario.digest, np.asarray(tape.demand), how, tuning.model_dump()]
    cost, facts, figures = step("training: reference", begun, compute)
    return Reference(REFERENCE, how, cost, facts, rebuilt(figures))


def better_reference(
    known: Reference, tuned: Mapping[str, Any] | None, scenario: Scenario, tuning: Tuning, tape: Tape, progress: bool
) -> Reference:
    """The reference that a training ends with: the rule that it found to be the best, where that beats the one known.

    That rule is tuned as the reference is, with the settings of ``tuning``, as brief tuning within a training's budget
    may leave some of what it is worth.

    Parameters
    ----------
    tuned
        What a training says of the rules that it tuned; None: it tuned none.
    """
    if tuned is None or known.how != "tuned" or known.kpis is None or tuned["rule"] == known.name:
        return known
    name = str(tuned["rule"])

    def compute() -> list[Any]:
        rule, facts = fitted_rule(scenario, name, tuning, progress)
        return [rule.to_dict(), facts]

    begun = [scenario.digest, np.asarray(tape.demand), name, tuning.model_dump()]
    found, facts = step("training: best rule", begun, compute)
    rule = rule_from_dict(found, scenario, "training: best rule")
    outcome = simulate(scenario, rule, tape)
    other = Reference(name, "tuned", objective(outcome), {"tuning": facts}, outcome.figures())
    scores = [_score(scenario, one) for one in (known, other)]
    return known if scores[0] <= scores[1] else other


def _score(scenario: Scenario, reference: Reference) -> float:
    """Mean cost, raised by what is missing of targets as in the choice of the best policy."""
    assert reference.kpis is not None
    missing = sum(target.missing(reference.kpis) for target in targets_of(scenario))
    return penalised(float(reference.cost.mean()), missing)


def family_reference(
    variants: Sequence[Variant], how: Literal["tuned", "automatic"], tuning: Tuning, show_progress: bool = True
) -> Reference:
    """The reference rule of every variant, its costs as shares of what the starting rule costs there."""
    from echelongym.agents.pathwise.family import shares

    rules: list[Any] = []
    rule: Any
    spent = {"env_periods": 0, "cpu_seconds": 0.0}
    for one in variants:
        if how == "tuned":
            rule, facts = fitted_rule(one.scenario, REFERENCE, tuning, show_progress)
            spent = {key: round(value + facts[key], 1) for key, value in spent.items()}
        else:
            rule = load_policy(REFERENCE, one.scenario)
        rules.append(rule)
    return Reference(REFERENCE, how, shares(variants, rules), {"tuning": spent} if how == "tuned" else {})


def fitted_rule(
    scenario: Scenario, name: str, tuning: Tuning, show_progress: bool = True
) -> tuple[Rule, dict[str, Any]]:
    """A tuned rule, and the CPU-seconds and env-periods that tuning it took, now or when it was kept."""
    started = time.process_time()
    found = fitted(scenario, name, {}, tuning, show_progress)
    say(found.line())
    seconds = time.process_time() - started if found.kept is None else float(found.summary["tuning_budget"]["seconds"])
    kept = found.kept is not None
    return found.rule, {"env_periods": found.env_periods, "cpu_seconds": round(seconds, 1), "from_cache": kept}


@dataclass(frozen=True, eq=False)
class Start:
    """Starting rule of a training; ``rule`` None: what the learner starts from by itself."""

    rule: Rule | None
    facts: dict[str, Any]  # the summary's ``start``

    def keep(self, folder: Path) -> None:
        """Write ``start.yaml``, which a training that goes on begins with."""
        if self.rule is not None:
            self.rule.save(folder / START_FILE, start=self.facts)


def starting_rule(
    scenario: Scenario, start: str, own: Sequence[str], tuning: Tuning, folder: Path, show_progress: bool = True
) -> Start:
    """The rule that a training starts from; by name it is tuned first, apart from the training's budget.

    Parameters
    ----------
    start
        A rule by name, the path of a ``rule.yaml``, or one of ``own``.
    own
        What stands for a start that the learner makes by itself.

    Raises
    ------
    InputError
        If there is no such rule, it is for another network, or keeps memory between periods.
    """
    if start in own:
        return Start(None, {"rule": start, "cpu_seconds": 0.0})
    kept = folder / START_FILE
    if kept.is_file():
        return Start(_rule(kept, scenario), dict(read_yaml(kept).get("start") or {}))
    if start in RULES:
        _stateless(RULES[start](scenario), start)
        rule, spent = fitted_rule(scenario, start, tuning, show_progress)
        return Start(rule, {"rule": rule.name, **spent})
    if not Path(start).exists():
        raise unknown("agent.start", start, (*own, *RULES, "the path of a rule.yaml"))
    rule = _rule(Path(start), scenario)
    return Start(rule, {"rule": rule.name, "path": start, "cpu_seconds": None})


def _rule(path: Path, scenario: Scenario) -> Rule:
    found = load_policy(path, scenario)
    if not isinstance(found, Rule):
        raise expected("agent.start", str(path), "the path of a tuned rule")
    return _stateless(found, str(path))


def _stateless(rule: Rule, given: str) -> Rule:
    if hasattr(rule, "start") or rule.reference:
        raise expected("agent.start", given, "a rule that decides from the observation alone")
    return rule


@dataclass(frozen=True)
class LowerBound:
    """A lower bound on what any policy costs, money a period, net of revenue.

    Attributes
    ----------
    cost
        In the long run (optimum), or over whole episodes of ``worlds`` validation worlds (perfect information).
    here
        Cost of an optimal policy in all validation worlds, which may be lucky ones; None where there is none.
    """

    kind: Literal["optimum", "perfect_information"]
    cost: float
    method: str
    worlds: int | None = None
    here: float | None = None

    @property
    def label(self) -> str:
        """For a line of progress."""
        if self.kind == "perfect_information":
            return f"perfect information {cell(self.cost)} ({self.worlds} worlds, whole episodes)"
        if self.here is None:
            return f"long-run optimum {cell(self.cost)}"
        return f"optimal policy {cell(self.here)} (in the long run {cell(self.cost)})"

    def to_dict(self) -> dict[str, Any]:
        """The summary's ``bound``."""
        found = {"kind": self.kind, "cost_per_period": self.cost, "method": self.method}
        more = {"worlds": self.worlds, "in_validation_worlds": self.here}
        return found | {key: value for key, value in more.items() if value is not None}


class Baselines(NamedTuple):
    """Baselines of a training: the reference policy and, where one is known, a lower bound on costs."""

    reference: Reference
    bound: LowerBound | None


def bound_of(scenario: Scenario, tape: Tape) -> LowerBound | None:
    """The exact optimum where it is known within seconds, else perfect information in some validation worlds.

    None where there is neither.
    """
    # How many worlds there is time for depends on the machine: a training that goes on keeps what it had.
    begun = [scenario.digest, np.asarray(tape.demand)]
    found = step("training: bound", begun, lambda: _plain(_bound_of(scenario, tape)))
    return None if found is None else LowerBound(**found)


def _plain(bound: LowerBound | None) -> dict[str, Any] | None:
    return None if bound is None else vars(bound)


def _bound_of(scenario: Scenario, tape: Tape) -> LowerBound | None:
    from echelongym.agents.exact import solve

    if not scenario.tables.has_prices:
        try:
            exact = solve(scenario, max_states=MOST_STATES)
            here = None
            if exact.policy is not None:
                here = float(objective(simulate(scenario, exact.policy, tape, kpis=False)).mean())
            return LowerBound("optimum", exact.value, exact.method, here=here)
        except InputError:
            pass
    from echelongym.agents.planning.perfect_information import perfect_information

    t = scenario.tables
    if t.L * t.P * tape.periods > MOST_CELLS:
        say(f"No lower bound is shown: the linear program of one world of {scenario.name} would take minutes.")
        return None
    started, costs = time.monotonic(), []
    for world in range(min(MOST_WORLDS, tape.batch)):
        try:
            costs.append(perfect_information(scenario, tape[[world]]).mean)
        except InputError:
            return None
        if time.monotonic() - started > SECONDS:
            break
    return LowerBound("perfect_information", float(np.mean(costs)), "linear program", len(costs))
