"""Pathwise training over a randomised scenario: shared weights learn from networks that are drawn anew all the time.

Domain randomisation (Tobin et al. 2017, arXiv 1703.06907). Every step is a gradient of one variant, variants in turn, and
each gives way to one never seen before after some steps; what a variant costs counts in units of what its starting rule
costs, so that large networks do not drown small ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.observation import Policy
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.tape import Tape

from ..budget import Validated, figures, objective, penalised
from ..registry import RULES
from ..rules import Rule
from ..service_targets import shortfall, targets_of
from .automatic import untuned
from .config import PathwiseConfig
from .gradients.choice import Gradients, gradients_of
from .gradients.unroll import relaxation, training_window
from .module import PathwiseActor
from .policy import PathwisePolicy, make_policy
from .trainer import SAFE, PathwiseTrainer

#: Rule that policies for many networks start from: without caps, which after an outage cost more than they bring.
START = "echelon_base_stock"
WORLDS = 64  # of a gradient of one variant, where the settings leave it open
SCALED_ON = 32  # worlds that the cost of the start is measured in


def family_start(learner: PathwiseConfig, scenario: Scenario) -> Rule:
    """The rule that a policy for many networks starts from in one of them, with automatic levels.

    Raises
    ------
    InputError
        If the start is a rule of one network, or makes no sense for this one.
    """
    name = START if learner.start == "auto" else learner.start
    if name not in RULES:
        raise expected("agent.start", name, f"auto or a rule by name, as {scenario.name} is many networks")
    return untuned(name, scenario)


def family_policy(learner: PathwiseConfig, scenario: Scenario, carrier: PathwisePolicy | None = None) -> PathwisePolicy:
    """An untrained policy for one network of many; with a ``carrier`` its weights are the carrier's very own.

    Raises
    ------
    InputError
        If the weights would belong to one network alone.
    """
    policy = make_policy(scenario, learner, family_start(learner, scenario), learn_levels=False)
    if not policy.definition.shared:
        wanted = "set or graph, whose weights do for any network, as the scenario is randomised"
        raise expected("agent.network", learner.network, wanted)
    if carrier is not None:
        theirs = dict(carrier.actor.named_parameters())
        for name, own in list(policy.actor.named_parameters()):
            if own.numel():
                place, _, leaf = name.rpartition(".")
                setattr(policy.actor.get_submodule(place), leaf, theirs[name])
    return policy


@dataclass(frozen=True, eq=False)
class Variant:
    """One network of the family, worlds of it, and the cost of its starting rule there, which counts as 1."""

    scenario: Scenario
    tape: Tape
    scale: float

    @classmethod
    def of(cls, scenario: Scenario, learner: PathwiseConfig, tape: Tape) -> Variant:
        """A variant with the cost of its start measured."""
        outcome = simulate(scenario, family_start(learner, scenario), tape, kpis=False)
        return cls(scenario, tape, max(abs(float(objective(outcome).mean())), SAFE))


def validation(
    scenario: Scenario, learner: PathwiseConfig, worlds: int, seed: int, count: int | None = None
) -> list[Variant]:
    """The fixed variants (purpose ``tune``) that the best policy is chosen on, as many as are trained on at a time."""
    variants = [scenario.variant(number, seed, "tune") for number in range(count or learner.variants)]
    return [
        Variant.of(one, learner, one.sample(worlds, seed, "validate", playable(one, "validate"))) for one in variants
    ]


@dataclass(eq=False)
class _Course:
    """A variant that gradients are of now."""

    policy: PathwisePolicy
    unroll: Gradients
    scale: float


@dataclass
class FamilyTrainer(PathwiseTrainer):
    """Trainer of one policy for all networks of a randomised scenario.

    Costs are shares of what the starting rule costs, network by network: 0.9 is 10 % less on average.

    Parameters
    ----------
    variants
        That the best policy is chosen on; ``tape`` is not looked at.
    """

    variants: tuple[Variant, ...] = ()

    def _make_policy(self) -> PathwisePolicy:
        if self.start is not None:
            raise expected("start", self.start.name, "none, as every network has its own")
        return family_policy(self.learner, self.scenario)

    def _prepare(self) -> None:
        count, steps = self.learner.variants, self.learner.variant_steps
        self._numbers, self._drawn = list(range(count)), count
        # Not all give way at once.
        self._left = [max(steps * (place + 1) // count, 1) for place in range(count)]
        self._courses: list[_Course | None] = [None] * count
        self._prices: list[list[float]] = [[]] * count
        self._judges = [family_policy(self.learner, one.scenario, self.policy) for one in self.variants]

    @property
    def _hybrid(self) -> None:
        """None: a policy of many networks takes no decisions of this kind."""

    def _course(self) -> tuple[PathwiseActor, Gradients, float | None]:
        place = self._iteration % len(self._courses)
        if not self._left[place]:
            self._numbers[place], self._left[place] = self._drawn, self.learner.variant_steps
            self._courses[place], self._prices[place] = None, []
            self._drawn += 1
        self._left[place] -= 1
        course = self._courses[place] = self._courses[place] or self._made(place)
        return course.policy.actor, course.unroll, course.scale

    def _made(self, place: int) -> _Course:
        scenario = relaxation(self.scenario.variant(self._numbers[place], self.seed, "train"))
        policy = family_policy(self.learner, scenario, self.policy)
        window = training_window(scenario, self.learner)
        window = replace(window, worlds=self.learner.worlds or min(window.worlds, WORLDS))
        config = self.learner
        unroll = gradients_of(
            config.gradient, scenario, window, self.seed, config.smoothing, policy.actor, config.device
        )
        if self._prices[place]:
            unroll.multipliers.price = np.array(self._prices[place])
        tape = scenario.sample(
            SCALED_ON, self.seed, "learn", playable(scenario, "learn", max(window.periods, scenario.warm_up + 1))
        )
        return _Course(policy, unroll, Variant.of(scenario, self.learner, tape).scale)

    def _judge(self, policy: PathwisePolicy) -> Validated:
        shown: dict[str, float] = {}
        costs, missing = [], 0.0
        for number, (one, judged) in enumerate(zip(self.variants, self._judges, strict=True)):
            judged.actor.begin(one.tape.batch)
            targets, logs = targets_of(one.scenario), self.logger is not None
            outcome = simulate(one.scenario, judged, one.tape, kpis=logs or bool(targets))
            costs.append(objective(outcome) / one.scale)
            missing += shortfall(targets, outcome) if targets else 0.0
            if logs:
                found = figures(outcome)
                shown |= {f"variant_{number}/{name}": found[name] for name in found if name.count("/") < 1}
        cost = np.concatenate(costs)
        mean = float(cost.mean())
        return Validated(cost, penalised(mean, missing / len(self.variants)), [], shown | {"cost_per_period": mean})

    def _standing(self) -> dict[str, Any]:
        prices = [
            kept if course is None else course.unroll.multipliers.price.tolist()
            for course, kept in zip(self._courses, self._prices, strict=True)
        ]
        return {"numbers": self._numbers, "left": self._left, "drawn": self._drawn, "prices": prices}

    def _go_on(self, facts: dict[str, Any]) -> None:
        if len(facts["numbers"]) != len(self._courses):
            raise ValueError(f"{len(facts['numbers'])} variants at a time, not {len(self._courses)}")
        self._numbers, self._left = list(facts["numbers"]), list(facts["left"])
        self._drawn, self._prices = facts["drawn"], facts["prices"]


def shares(variants: Sequence[Variant], policies: Sequence[Policy]) -> Floats:
    """Costs of a policy for each variant, as the trainer counts them: shares of what the starting rule costs."""
    found = []
    for one, policy in zip(variants, policies, strict=True):
        found.append(objective(simulate(one.scenario, policy, one.tape, kpis=False)) / one.scale)
    return np.concatenate(found)
