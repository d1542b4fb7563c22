"""Stages of tuning, and how the budget is shared between them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from echelongym.envs.core.errors import expected, is_installed, require
from echelongym.envs.core.typing import Floats
from echelongym.envs.scenario.scenario import Scenario

from ..rules import Rule
from .differentiation import Programs, library_of
from .gradient import DescentInLegs, natural_legs, short_legs, window_of
from .judging import COMPARED, MOVED, Candidates, Judge, TuningBudget
from .search import MANY, estimate, evolve, of_group, pattern_search

METHODS = ("auto", "gradient", "cma", "optuna", "search")
EVALUATIONS = 60, 12  # of a sampler, by default: so many, and so many more a parameter
POLISH = 20, 6  # of the coordinate search after gradients or a sampler
MOST_SINGLES = 16  # parameters up to which each secondary lane is left out by itself
REPEATS = 3  # of the first leg along gradients, which a start far away takes
LOOSER = (0.0, 1.0, 2.0)  # limits are freed at their start and so many of their scales above it, whichever is best
NEARBY = 0.3  # first deviation of a sampler in what gradients have moved, in units of its scale
WORLDS_A_DESCENT = 1_000_000  # numbers of the worlds that one descent moves along
SECONDS_A_CELL = 3e-7  # that tuning takes for an env-period, lane and product
DISTURBED = 0.7  # standard deviation of a refit's start, in units of each parameter's scale


@dataclass(frozen=True, eq=False)
class _Stage:
    """Something to do, and what it usually takes."""

    run: Callable[[], None]
    env_periods: int


class TuningPlan:
    """The stages of tuning one rule.

    First everything but limits (parameters that are infinite where they are left out, such as caps) is tuned, which is
    just what a rule without them is tuned by; then they are freed, from there. So a rule ends no worse than the one
    that it contains. After each stage secondary lanes are left out where that is better.

    Parameters
    ----------
    scenario, base
        What is tuned, for what.
    method
        One of ``METHODS``.
    seed, worlds
        Of the worlds that candidates are compared on.
    gradient
        One of ``GRADIENTS``: what takes gradients, where they are followed.

    Raises
    ------
    InputError
        For a method that cannot be used.
    MissingExtra
        For the method ``gradient`` without PyTorch and JAX, or a library asked for by name that is not installed.
    """

    def __init__(
        self, scenario: Scenario, base: Rule, method: str, seed: int, worlds: int, gradient: str = "auto"
    ) -> None:
        self.scenario, self.base, self.seed = scenario, base, seed
        self.asked, self.gradient = method, gradient
        self.space = base.space()
        self.many = len(self.space) > MANY
        self.judge = Judge(scenario, worlds, COMPARED, seed, TuningBudget(0))
        continuous = scenario.tables.smooth
        self.smooth = np.array([base.groups[group].smooth for group in self.space.groups], dtype=bool)
        self.smooth &= base.differentiable
        relaxed = scenario.relaxed() if self.smooth.any() else None
        if relaxed is not None and base.refusal(relaxed) is not None:
            relaxed = None
        exact = relaxed is scenario and bool(
            self.smooth.all()
        )  # gradients are those of the cost itself, in all numbers
        if method == "gradient" and not exact and len(self.space):
            why = (
                "units is integer or a lane has a batch or a minimum order"
                if not continuous
                else f"{base.name} has thresholds"
            )
            raise expected("method", method, f"auto, search, optuna or cma, as {why}")
        self.library = library_of(gradient, base)
        if method == "gradient" and self.library is None:
            require("torch")
        # Without a library that differentiates the samplers do the work alone.
        exact = exact and self.library is not None
        self.gradients = relaxed is not None and method in ("auto", "gradient") and self.library is not None
        self.programs = Programs()
        self.relaxed = relaxed or scenario
        if method != "auto":
            self.sampler = {"gradient": ""}.get(method, method)
        else:
            self.sampler = "" if exact else _sampler(len(self.space), self.gradients and bool(self.smooth.all()))
        if self.gradients:
            self.window = window_of(scenario)
        self.limits = np.isposinf(self.space.unused)
        self.lanes = np.isneginf(self.space.unused)
        if method == "auto" and exact and self._sampling_is_cheap():
            self.sampler = _sampler(len(self.space), False)
        parts = ["gradient"] * self.gradients + [self.sampler] * bool(self.sampler)
        parts += ["search"] * (self.sampler in ("cma", "optuna"))
        self.method = " + ".join(parts) if len(self.space) else "none"
        self.endings: list[str] = []

    # What it takes -------------------------------------------------------------------------------

    def _sampling_is_cheap(self) -> bool:
        """Whether a sampler takes little longer than gradients, as in short episodes: these may be stuck where it is not.

        Limits do not count, so that a rule with limits is tuned as the one without them is.
        """
        evaluations = EVALUATIONS[0] + EVALUATIONS[1] * int((~self.limits).sum())
        return evaluations * self.judge.price <= 2 * self._legs()

    def _legs(self) -> int:
        """Env-periods of one descent."""
        natural = short_legs(self.window) if self.many else natural_legs(self.window)
        return sum(leg.price(self.window) + self.judge.price for leg in (*natural, *natural[:1] * REPEATS))

    def natural_budget(self) -> int:
        """Env-periods that usually suffice."""
        first = 3 + len(self.base.starts(self.space)) if len(self.space) else 0
        return first * self.judge.price + sum(step.env_periods for step in self._steps(0)) if len(self.space) else 0

    def seconds(self) -> float:
        """About how long a fit takes, from its env-periods."""
        tables = self.scenario.tables
        return SECONDS_A_CELL * tables.L * tables.P * self.natural_budget()

    def _steps(self, refit: int) -> list[_Stage]:
        price, steps = self.judge.price, []
        singles = int(self.lanes.sum()) if self.lanes.sum() <= MOST_SINGLES else 0
        groups = len({group for group, lane in zip(self.space.groups, self.lanes, strict=True) if lane})
        for stage in (0, 1) if self.limits.any() else (0,):
            number = len(self.space) if stage else int((~self.limits).sum())
            if stage:
                steps.append(_Stage(self._free_limits, len(LOOSER) * price))
            if self.gradients:
                legs = self._legs()
                first = MOVED + (2 * refit + stage) * WORLDS_A_DESCENT
                steps.append(_Stage(lambda first=first: self._descend(first), legs + price))  # type: ignore[misc]
            if self.sampler in ("cma", "optuna"):
                most = EVALUATIONS[0] + EVALUATIONS[1] * number
                steps.append(_Stage(lambda s=self.seed + refit: self._sample(s), most * price))  # type: ignore[misc]
            if self.sampler:
                few = POLISH if self.sampler != "search" else EVALUATIONS
                moved = len(set(self.space.groups)) if self.many else number
                steps.append(_Stage(self._search, (few[0] + few[1] * moved) * price))
            if groups:
                steps.append(_Stage(self._leave_out, (groups + singles) * price))
        return steps

    # What it does --------------------------------------------------------------------------------

    def run(self, candidates: Candidates, refit: int) -> None:
        """Go through all stages; a refit starts elsewhere, on other worlds moved along."""
        self.candidates = candidates
        space = self.space
        starts = self.base.starts(space)
        if refit:
            noise = np.random.default_rng([self.seed, refit]).normal(0.0, DISTURBED, len(space))
            starts = [np.where(np.isfinite(start), start + space.scale * noise, start) for start in starts]
        self.start = start = self._cheapest(starts)
        self.here = np.where(self.limits, space.unused, start)
        for vector in (self.here, np.where(np.isfinite(space.unused), self.here, space.unused), start):
            if not candidates.exhausted:
                candidates.cost(vector)
        steps = self._steps(refit)
        endings = []
        for number, step in enumerate(steps):
            later = sum(other.env_periods for other in steps[number + 1 :])
            candidates.stage(step.env_periods / max(step.env_periods + later, 1))
            self.ending = ""
            step.run()
            endings.append(self.ending)
        self.endings.append("budget" if "budget" in endings else "patience" if "patience" in endings else "converged")

    def _cheapest(self, starts: list[Floats]) -> Floats:
        """Which of the vectors to begin at costs least, limits left out."""
        if len(starts) == 1:
            return starts[0]
        costs = []
        for start in starts:
            if self.candidates.exhausted:
                break
            costs.append(self.candidates.cost(np.where(self.limits, self.space.unused, start)))
        return starts[int(np.argmin(costs))] if costs else starts[0]

    def _free_limits(self) -> None:
        """Go on with what was dropped, and with limits where they cost least."""
        used = np.where(np.isfinite(self.kept), self.kept, self.start)
        trials = []
        for looser in LOOSER:
            vector = np.where(self.limits, self.start + looser * self.space.scale, used)
            if self.candidates.exhausted:
                self.ending = "budget"
                break
            trials.append((self.candidates.cost(vector), looser, vector))
        best = min(trials, key=lambda trial: trial[:2], default=None)
        self.here = used if best is None else best[2]

    def _descend(self, first_world: int) -> None:
        """Gradients, in whole worlds on the continuous relaxation."""
        rule = self.base
        if self.relaxed is not self.scenario:
            rule = type(self.base)(self.relaxed, **self.base.given)
        moving = self.smooth & np.isfinite(self.here)
        assert self.library is not None
        descent = DescentInLegs(
            self.candidates, rule, self.here, moving, self.window, first_world, self.library, self.programs
        )
        self.here, self.ending = descent.run()
        self._keep()

    def _sample(self, seed: int) -> None:
        reach = self.space.scale * np.where(self.smooth, NEARBY, 1.0) if self.gradients else self.space.scale
        method = evolve if self.sampler == "cma" else estimate
        self.ending = method(self.candidates, self._active(), reach, seed)
        self._keep()

    def _search(self) -> None:
        assert self.candidates.best is not None
        alone = self.sampler == "search" and not self.gradients
        best = self.candidates.best
        # A limit that is left out cannot be moved: where limits are free, the search begins with them in use.
        start = self._active() if alone else np.where(self.limits & ~np.isfinite(best), self.here, best)
        self.ending = pattern_search(self.candidates, start, coarsest=1.0 if alone else 0.5)
        self._keep()

    def _active(self) -> Floats:
        """The best so far, with everything in use that this stage may use: a sampler cannot move what is not."""
        assert self.candidates.best is not None
        return np.where(np.isfinite(self.candidates.best), self.candidates.best, self.here)

    def _keep(self) -> None:
        """Remember what was found before lanes are left out: limits may make them worth it."""
        assert self.candidates.best is not None
        self.kept = np.where(np.isfinite(self.candidates.best), self.candidates.best, self.here)

    def _leave_out(self) -> None:
        """Whether leaving out all of one kind of secondary lane, or one of them, is better than what was found."""
        candidates, space = self.candidates, self.space
        trials = [of_group(space, group) for group in dict.fromkeys(space.groups)]
        trials = [chosen & self.lanes for chosen in trials]
        if self.lanes.sum() <= MOST_SINGLES:
            trials += [np.arange(len(space)) == i for i in np.flatnonzero(self.lanes)]
        for chosen in trials:
            if chosen.any():
                if candidates.exhausted:
                    self.ending = "budget"
                    return
                assert candidates.best is not None
                candidates.cost(np.where(chosen, space.unused, candidates.best))


def _sampler(parameters: int, whole: bool) -> str:
    """What suits a space: in whole worlds, after gradients, and for many numbers a search; else the best that is installed."""
    if whole or parameters <= 1 or parameters > MANY:
        return "search"
    for method in ("cma", "optuna"):
        if is_installed(method):
            return method
    return "search"
