"""Evaluation of tuning candidates: worlds of its own, costs and targets on them, and the budget spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.backend import half_up
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.storage import journal
from echelongym.envs.storage.journal import saved_seconds, step
from echelongym.envs.worlds.memory import tape_bytes
from echelongym.envs.worlds.tape import Tape
from echelongym.envs.worlds.world_sample import WorldSample

from ..rules import Rule, Space
from ..service_targets import Target, missed, targets_of

# World numbers of purpose "tune": candidates are compared on the first, moved along gradients on the second, and the
# one chosen is judged on the third.
COMPARED, MOVED, JUDGED = 0, 10_000_000, 1_000_000_000
# Bytes of worlds that are drawn at a time where a rule is judged; no more than that is needed of large networks.
MOST_BYTES, FEWEST = 2**28, 16
# Candidates are compared by cost x (1 + this x what is missing of each target): one percent of fill rate weighs as
# much as a fifth of the cost, more than it takes to reach it.
MISSING = 20.0


@dataclass
class TuningBudget:
    """Budget of a tuning: env-periods (worlds x periods) spent of ``limit``."""

    limit: int
    report: Callable[[int, str], None] | None = None
    env_periods: int = 0
    evaluations: int = 0
    iterations: int = 0
    started: float = field(default_factory=time.perf_counter)
    saved: float = field(default_factory=saved_seconds)

    @property
    def left(self) -> int:
        """Env-periods not yet spent, >= 0."""
        return max(self.limit - self.env_periods, 0)

    @property
    def seconds(self) -> float:
        """Wall-clock time since the start, that of steps that were finished by an earlier process included."""
        return time.perf_counter() - self.started + saved_seconds() - self.saved

    def spend(self, env_periods: int, text: str) -> None:
        """Count what was simulated."""
        self.env_periods += env_periods
        if self.report is not None:
            self.report(env_periods, text)


@dataclass(frozen=True, eq=False)
class Judged:
    """Evaluation of a rule on B worlds."""

    costs: Floats  # (B,) money a period, revenue subtracted
    penalised: Floats  # (B,) the same, all raised alike by what is missing of targets
    missing: list[float]  # of each target
    targets: list[dict[str, Any]]  # see Target.judge


class Judge:
    """Costs of candidates on common worlds.

    Parameters
    ----------
    scenario
        The scenario.
    worlds, first
        How many worlds, numbered from ``first``.
    seed
        Of the worlds.
    budget
        Counts what is spent.
    purpose
        Of the worlds.
    """

    def __init__(
        self, scenario: Scenario, worlds: int, first: int, seed: int, budget: TuningBudget, purpose: str = "tune"
    ) -> None:
        self.purpose = purpose
        self.scenario, self.worlds, self.first = scenario, worlds, first
        self.seed, self.budget = seed, budget
        self.targets: list[Target] = targets_of(scenario)
        self.best, self.said = np.inf, ""
        self.closest: dict[str, float] = {}  # by target, the least any candidate missed of it

    @cached_property
    def tape(self) -> Tape:
        """The worlds, sampled once."""
        return self._drawn(range(self.worlds))

    @property
    def price(self) -> int:
        """Env-periods of one evaluation."""
        return self.worlds * self.scenario.tables.horizon

    def judged(self, rule: Rule, sample: WorldSample) -> Judged:
        """Evaluation of a rule on the worlds: costs and targets; a step of the journal, where one is kept."""

        def compute() -> list[Any]:
            if len(self._parts) > 1:
                return [np.concatenate([self._costs(rule, part) for part in self._parts]), [], []]
            outcome = simulate(self.scenario, rule, self.tape, kpis=bool(self.targets))
            kpis = outcome.figures() if self.targets else None
            missing = missed(self.targets, outcome) if self.targets else []
            targets = [] if kpis is None else [target.judge(kpis, sample) for target in self.targets]
            return [np.asarray(outcome.net_cost_per_period), [float(short) for short in missing], targets]

        inputs = [self.fingerprint, rule.name, rule.parameters, sample.to_dict()]
        costs, missing, targets = step("tuning: final judging", inputs, compute)
        return Judged(costs, self._raised(costs, missing), missing, targets)

    @cached_property
    def _parts(self) -> list[range]:
        """The worlds in parts that are small enough to be judged one after another; targets look at all of them at once."""
        t = self.scenario.tables
        each = max(tape_bytes(self.scenario, 1, t.horizon), 1)
        most = self.worlds if self.targets else min(max(MOST_BYTES // each, FEWEST), self.worlds)
        return [range(first, min(first + most, self.worlds)) for first in range(0, self.worlds, most)]

    def _drawn(self, part: range) -> Tape:
        numbers = [self.first + place for place in part]
        return self.scenario.sample(worlds=numbers, seed=self.seed, purpose=self.purpose).check(self.scenario)

    def _costs(self, rule: Rule, part: range) -> Floats:
        """(worlds of the part,) money a period, revenue subtracted."""
        outcome = simulate(self.scenario, rule, self._drawn(part), kpis=False)
        return np.asarray(outcome.net_cost_per_period)

    def cost(self, rule: Rule) -> float:
        """Mean cost a period; raised by what is missing of targets, so that candidates can be compared.

        A step of the journal, where one is kept (:mod:`echelongym.envs.storage.journal`).
        """

        def compute() -> list[Any]:
            outcome = simulate(self.scenario, rule, self.tape, kpis=bool(self.targets))
            missing = missed(self.targets, outcome) if self.targets else []
            plain = float(np.mean(outcome.net_cost_per_period))
            raised = self._raised(np.asarray(outcome.net_cost_per_period), missing)
            return [float(np.mean(raised)), [float(short) for short in missing], plain]

        found = step("tuning: cost of a candidate", [self.fingerprint, rule.name, rule.parameters], compute)
        cost, missing = float(found[0]), found[1]
        self.budget.evaluations += 1
        self.remember(missing)
        if cost < self.best:
            self.best, self.said = cost, _said(found[2] if len(found) > 2 else cost, missing)
        self.budget.spend(self.price, self.said)
        return cost

    def remember(self, missing: Sequence[float]) -> None:
        """Remember a candidate's shortfall of each target."""
        for target, short in zip(self.targets, missing, strict=True):
            self.closest[target.name] = min(self.closest.get(target.name, np.inf), short)

    def _raised(self, costs: Floats, missing: Sequence[float]) -> Floats:
        """(B,) cost a period of each world, all raised alike by what is missing of targets."""
        return costs + MISSING * abs(float(costs.mean())) * sum(missing) if self.targets else costs

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the scenario and the worlds; recorded demand is no part of a scenario's digest."""
        tape = self.tape if len(self._parts) == 1 else self._drawn(self._parts[0])
        return journal.fingerprint([self.scenario.digest, self.worlds, self.first, self.seed, np.asarray(tape.demand)])


def _said(cost: float, missing: Sequence[float]) -> str:
    """What a progress bar says of the best so far: its cost as everywhere else, and that it misses targets."""
    short = sum(short > 0 for short in missing)
    return f"best {cost:.5g}" + (f", {short} target{'s' if short > 1 else ''} missed" if short else "")


class Candidates:
    """Costs of parameter vectors, each evaluated once; remembers the best, and when it was found.

    Parameters
    ----------
    rule, space
        The rule and its free parameters.
    judge
        Evaluates them.
    limit
        Env-periods at which the budget of all stages together ends, counted like ``judge.budget.env_periods``.
    tolerance, patience
        A stage has stalled when the last share ``patience`` of its budget lowered the best cost by less than the share
        ``tolerance``.
    """

    def __init__(
        self, rule: Rule, space: Space, judge: Judge, limit: int, tolerance: float = 0.0, patience: float = 0.25
    ) -> None:
        self.rule, self.space, self.judge = rule, space, judge
        self.tolerance, self.patience = tolerance, patience
        self.whole = whole_entries(rule, space)
        self.known: dict[bytes, float] = {}
        self.best: Floats | None = None
        self.best_cost = np.inf
        self.history: list[tuple[int, Floats, float]] = []  # env-periods spent, vector, cost of each new best
        self.prices: Floats | None = None  # on missed targets, handed from one descent to the next
        self.limit = limit
        self.stage(1.0)

    def stage(self, share: float) -> None:
        """Begin a stage that may spend this share of what is left of the limit."""
        self.begun = self.judge.budget.env_periods
        self.until = self.begun + int(share * max(self.limit - self.begun, 0) + 0.5)

    @property
    def left(self) -> int:
        """Env-periods that the stage may still spend, >= 0."""
        return max(self.until - self.judge.budget.env_periods, 0)

    @property
    def exhausted(self) -> bool:
        """Whether another evaluation would exceed the budget of the stage."""
        return self.left < self.judge.price

    @property
    def stalled(self) -> bool:
        """Whether the stage has brought too little lately to go on."""
        now = self.judge.budget.env_periods
        since = now - self.patience * (self.until - self.begun)
        if not self.tolerance or since < self.begun or not self.history:
            return False
        before = [cost for spent, _, cost in self.history if spent <= since]
        return bool(before) and before[-1] - self.best_cost < self.tolerance * abs(self.best_cost)

    def admissible(self, vector: Any) -> Floats:
        """Within bounds, and units whole in whole worlds."""
        vector = np.maximum(np.asarray(vector, dtype=np.float64), self.space.lower)
        return np.where(self.whole, half_up(vector), vector)

    def cost(self, vector: Any) -> float:
        """Cost of an admissible vector."""
        vector = self.admissible(vector)
        key = (vector + 0.0).tobytes()
        if key not in self.known:
            self.known[key] = self.judge.cost(self.rule.with_vector(self.space, vector))
            if self.best is None or self.known[key] < self.best_cost:
                self.best, self.best_cost = vector, self.known[key]
                self.history.append((self.judge.budget.env_periods, vector, self.best_cost))
        return self.known[key]


def whole_entries(rule: Rule, space: Space) -> NDArray[np.bool_]:
    """(n,) which parameters are counts of units in whole worlds."""
    if not rule.tables.integer:
        return np.zeros(len(space), dtype=bool)
    return np.array([not rule.groups[group].real for group in space.groups], dtype=bool)
