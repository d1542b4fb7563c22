"""Starting rule of a training that is told none: the best of the rules that make sense, tuned within the training's budget.

It is also the policy to beat: a training ends with it, as it is, unless something better was found on validation worlds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.tape import Tape

from ..budget import Budget, RulePolicy, Validated, cpu_time, judge
from ..residual import rule_from_dict
from ..rules import Rule
from ..rules.base_stock import BaseStock
from ..training_loop import TrainingLoop
from ..tuning.brief import Allowance, tune_briefly
from .automatic import automatic_head, automatic_start, is_large, is_recorded
from .config import Layout
from .gradients.unroll import relaxation
from .policy import PathwisePolicy, make_policy

LEAST_SECONDS = 0.2  # of tuning, below which a budget in seconds leaves no room for it
AUTOMATIC = " (automatic)"  # after the name of a rule with automatic numbers
WORTH = 0.01  # share of cost by which another rule must be better for training not to start from the usual one


@dataclass(frozen=True, eq=False)
class TunedStart:
    """The rule that a training starts from, and the best of the tuned rules, which it has to beat.

    Attributes
    ----------
    rule
        The best on validation worlds.
    validated
        What these say of it.
    course
        The rule that training starts from; None: what it starts from by itself, with automatic numbers.
    env_steps
        Spent on tuning.
    facts
        For the summary: plain data.
    """

    rule: Rule
    validated: Validated
    course: Rule | None
    env_steps: int
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint, all but what validation said."""
        course = None if self.course is None else self.course.to_dict()
        return {"rule": self.rule.to_dict(), "course": course, "env_steps": self.env_steps, "facts": self.facts}


def rules_from_dict(data: dict[str, Any], scenario: Scenario, where: str) -> tuple[Rule, Rule | None]:
    """The best rule, and the one that training starts from, of :meth:`TunedStart.to_dict`.

    Raises
    ------
    InputError
        If they are none, or of another network.
    """
    course = None if data["course"] is None else rule_from_dict(data["course"], scenario, where)
    return rule_from_dict(data["rule"], scenario, where), course


class TunedLearner(Protocol):
    """Settings of a learner that tunes rules before it learns."""

    @property
    def start(self) -> str:
        """``auto``, or a start that is named."""

    @property
    def start_share(self) -> float:
        """Share of the budget for tuning."""


@dataclass(frozen=True, eq=False)
class TunedRules:
    """Result of tuning the rules that a training may start from: rules by name, and what validation worlds say of each.

    Attributes
    ----------
    own
        Name of the rule that suits the scenario's kind, with automatic numbers or tuned, whichever is the better.
    best
        Name of the best.
    env_steps, cpu_seconds
        Spent.
    """

    rules: dict[str, Rule]
    judged: dict[str, Validated]
    own: str
    best: str
    env_steps: int
    cpu_seconds: float

    def start(self, course: Rule | None) -> TunedStart:
        """The start of a training whose course begins with a rule; None: what it starts from by itself."""
        rule, own = self.rules[self.best], self.rules[self.own]
        facts = {
            "rule": rule.name,
            "tuned": not self.best.endswith(AUTOMATIC),
            "from": own.name if course is None else course.name,
            "cost_per_period": float(self.judged[self.best].cost.mean()),
            "compared": {name: float(one.cost.mean()) for name, one in self.judged.items()},
            "env_steps": self.env_steps,
            "cpu_seconds": self.cpu_seconds,
        }
        return TunedStart(rule, self.judged[self.best], course, self.env_steps, facts)


def tuned_rules(
    scenario: Scenario, learner: TunedLearner, seed: int, budget: Budget, tape: Tape, shows: bool
) -> TunedRules | None:
    """The rules that make sense, the best few tuned with the share ``learner.start_share`` of a budget.

    None where a start is named, in large networks and over many networks, and where the share leaves no room.

    Parameters
    ----------
    tape
        Validation worlds.
    shows
        Whether figures for TensorBoard are wanted.
    """
    share, started = learner.start_share, cpu_time()
    if learner.start != "auto" or not share or is_large(scenario) or scenario.randomise is not None:
        return None
    steps = None if budget.env_steps is None else int(share * budget.env_steps)
    seconds = None if budget.cpu_seconds is None else share * budget.cpu_seconds
    if seconds is not None and seconds < LEAST_SECONDS:
        return None
    own = automatic_start(scenario)
    allowance = Allowance(steps, None if seconds is None else started + seconds, cpu_time)
    # Of a record, what is compared on validation worlds has seen none of their periods: neither network nor rule.
    unseen = is_recorded(scenario) and playable(scenario, "learn") >= scenario.horizon
    found = tune_briefly(scenario, seed, allowance, own.name, "learn" if unseen else "tune")
    if found is None:
        return None
    rules = {**found.rules, own.name + AUTOMATIC: own}
    judged = {name: judge(scenario, rule, tape, shows) for name, rule in rules.items()}
    best = min(judged, key=lambda name: judged[name].score)
    usual = min((name for name in rules if rules[name].name == own.name), key=lambda name: judged[name].score)
    return TunedRules(rules, judged, usual, best, found.env_periods, round(cpu_time() - started, 3))


def tuned_start(
    scenario: Scenario, learner: Any, seed: int, budget: Budget, tape: Tape, shows: bool
) -> TunedStart | None:
    """The start of a training of a pathwise policy, by gradients or evolution; None where :func:`tuned_rules` is."""
    found = tuned_rules(scenario, learner, seed, budget, tape, shows)
    if found is None:
        return None
    best, usual = (found.judged[name].score for name in (found.best, found.own))
    better = best < usual - WORTH * abs(usual)
    return found.start(_course(scenario, learner, found.rules[found.best if better else found.own]))


def _course(scenario: Scenario, learner: Any, rule: Rule) -> Rule | None:
    """The rule that training starts from; None: what it starts from by itself."""
    own_head = automatic_head(scenario, None, True) if learner.head == "auto" else learner.head
    if own_head in ("direct", "split"):
        return None  # whose outputs do not start from the numbers of a rule
    if learner.head == "levels" and not isinstance(rule, BaseStock):
        return None
    try:
        make_policy(relaxation(scenario), learner, rule)
    except InputError:
        return None
    return rule


def as_policy(scenario: Scenario, learner: Layout, rule: Rule) -> PathwisePolicy:
    """A rule as it is, as a policy that a policy file can hold: nothing is added to its requests."""
    nothing = learner.model_copy(update={"network": "none", "head": "residual", "order_decisions": "none"})
    return make_policy(scenario, nothing, rule, weights={})


class FromTunedRule(TrainingLoop):
    """Training of a pathwise policy that starts from the best tuned rule, which is what it has to beat."""

    learner: Layout

    def _tune(self) -> int:
        """Tune the rules that training may start from, where it is told none; env-steps spent."""
        shows = self.logger is not None
        found = tuned_start(self.scenario, self.learner, self.seed, self.budget, self.tape, shows)
        if found is None:
            return 0
        self._tuned, self._course_rule = found.to_dict(), found.course
        self._to_beat = RulePolicy(as_policy(self.scenario, self.learner, found.rule), found.facts, found.validated)
        return found.env_steps

    def _tuned_again(self, where: str) -> None:
        """The rules of a checkpoint, where it has any; ``where``: its path."""
        if self._tuned is not None:
            rule, self._course_rule = rules_from_dict(self._tuned, self.scenario, where)
            self._to_beat = RulePolicy(as_policy(self.scenario, self.learner, rule), self._tuned["facts"])
