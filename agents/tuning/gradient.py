"""Tuning by gradients: the cost of a window of periods is differentiated through the dynamics."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from echelongym.envs.core.devices import chosen_name
from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.interface.inventory_positions import longest_way
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage import journal
from echelongym.envs.storage.journal import step
from echelongym.envs.worlds.disruption import any_at_set_times
from echelongym.envs.worlds.tape import Tape

from ..rules import Rule
from ..rules.lookahead import cycle_lengths
from .differentiation import Library, Programs, descent_of
from .judging import Candidates

# A descent is a sequence of legs. Each starts a new Adam, whose memory of steep slopes far away would slow it near the
# optimum; has half the step and twice the worlds of the one before; and ends at the average of its second half.
RATE = 0.3  # Adam's step in the first leg, in units of each parameter's scale
LEGS = 5
AGAIN = 0.01  # a leg that lowered the cost by more than this share is repeated with the same step: it is still far away
WITHIN = 0.3  # of its step is left at the end of a leg
AVERAGED = 0.5  # share of a leg whose parameters are averaged
FEWEST_WORLDS, MOST_WORLDS, FEWEST_STEPS = 16, 4096, 6
KEPT_SECONDS = 1.0  # between two states within a leg that are kept in the journal, where there is one
_WITHIN = "tuning: within a leg along gradients"
SETTLED = 0.05  # a leg with steps above this says nothing about what further ones would bring


@dataclass(frozen=True)
class Leg:
    """Leg of a descent: some steps along gradients."""

    iterations: int
    rate: float
    worlds: int

    def price(self, window: GradientWindow) -> int:
        """Env-periods that it simulates."""
        return self.iterations * self.worlds * window.periods


@dataclass(frozen=True)
class GradientWindow:
    """Window of one gradient: so many worlds, and periods of which the first are left out."""

    worlds: int
    periods: int
    skipped: int  # first periods left out of the loss


def window_of(scenario: Scenario) -> GradientWindow:
    """Worlds and periods of one gradient.

    The first periods are left out of the loss: orders of the last ones cost inside the window and pay off outside it,
    and leaving out as many at the start makes up for it; twice the longest way from a supplier is left out. After them
    come forty periods, or the longest way, or a whole season or block of recorded periods, if longer. Where something
    is scheduled, or a record is replayed from its start, the window is the whole horizon, and what counts is what counts
    when rules are judged.
    """
    t = scenario.tables
    longest = longest_way(t)
    lanes = t.L * t.P
    # The more lanes and products a world has, the fewer worlds tell which way costs fall.
    worlds = next((count for count, most in ((256, 16), (128, 64), (64, 1_000), (32, 4_000)) if lanes <= most), 16)
    skipped = max(2 * longest, 4)
    cycle = _cycle(scenario)
    scored = cycle * -(-max(40, longest) // cycle) if cycle else max(40, longest)
    if any_at_set_times(scenario) or cycle == 0 or skipped + scored >= t.horizon:
        return GradientWindow(worlds, t.horizon, t.warm_up)
    return GradientWindow(worlds, skipped + scored, skipped)


def _cycle(scenario: Scenario) -> int | None:
    """Longest season or block of recorded demand, in periods; None without; 0 where a record is replayed in order."""
    lengths = [math.ceil(length) for length in cycle_lengths(scenario) if length is not None]
    return 0 if 0 in lengths else max(lengths, default=None)


def natural_legs(window: GradientWindow) -> list[Leg]:
    """Legs that usually suffice; fewer steps where a window is long, as it costs as many operations as it has periods."""
    iterations = int(np.clip(1_000 // window.periods, 8, 15))
    first = max(window.worlds // 4, FEWEST_WORLDS)
    return [Leg(iterations, RATE * 0.5**k, first * 2**k) for k in range(LEGS)]


def short_legs(window: GradientWindow) -> list[Leg]:
    """Legs for a rule with many numbers, whose gradients take long: as many steps, all with few worlds."""
    return [replace(leg, worlds=min(leg.worlds, FEWEST_WORLDS)) for leg in natural_legs(window)]


def fitting_legs(window: GradientWindow, env_periods: int, comparison: int) -> list[Leg]:
    """Natural legs, or as much of them as fits a budget: with fewer worlds, else fewer steps, else fewer of them.

    ``comparison`` env-periods are kept after each leg. Empty where not even one fits.
    """
    natural = natural_legs(window)
    for number in range(LEGS, 0, -1):
        for iterations in sorted({natural[0].iterations, FEWEST_STEPS}, reverse=True):
            for fewer in (1, 2, 4, 8, 16):
                steps = LEGS / number  # the same last step in fewer legs
                legs = [
                    Leg(iterations, RATE * 0.5 ** (k * steps), max(leg.worlds // fewer, FEWEST_WORLDS))
                    for k, leg in enumerate(natural[:number])
                ]
                if sum(leg.price(window) + comparison for leg in legs) <= env_periods:
                    return legs
    return []


def _finer(leg: Leg, times: int) -> Leg:
    """What follows when there is budget left after the last leg."""
    return Leg(leg.iterations, leg.rate * 0.7**times, min(leg.worlds * 2**times, max(MOST_WORLDS, leg.worlds)))


class DescentInLegs:
    """Descent in legs along gradients from ``start`` while it pays; each leg's result is compared with the best.

    Parameters
    ----------
    candidates
        What results are compared with, and the budget.
    rule
        The same rule in continuous units.
    moving
        (n,) which parameters move.
    window
        Worlds and periods of a gradient.
    first_world
        Number of the first world moved along; each iteration has worlds of its own.
    library, programs
        What takes the gradients, and what it compiled before.
    """

    def __init__(
        self,
        candidates: Candidates,
        rule: Rule,
        start: Floats,
        moving: Bools,
        window: GradientWindow,
        first_world: int,
        library: Library,
        programs: Programs,
    ) -> None:
        self.candidates, self.rule, self.space, self.window = candidates, rule, candidates.space, window
        self.budget, self.seed = candidates.judge.budget, candidates.judge.seed
        self.moving, self.here, self.next_world = moving, np.array(start, dtype=np.float64), first_world
        self.library, self.programs = library, programs

    def run(self) -> tuple[Floats, str]:
        """Where it ended, and why: ``budget``, ``patience``, or ``converged`` where nothing moves."""
        candidates, window = self.candidates, self.window
        if not self.moving.any():
            return self.here, "converged"
        legs = fitting_legs(window, candidates.left, candidates.judge.price)
        if not legs:
            return self.here, "budget"
        self.descent = descent_of(self.library, self.rule, self.space, (window.periods, window.skipped), self.programs)
        self.multipliers = self.descent.multipliers
        if candidates.prices is not None:
            self.multipliers.price = candidates.prices.copy()
        cost = candidates.cost(self.here)
        number = repeated = 0
        while True:
            leg = legs[number] if number < len(legs) else _finer(legs[-1], number - len(legs) + 1)
            if candidates.left < leg.price(window) + candidates.judge.price:
                return self.here, "budget"
            self._follow(leg)
            reached = candidates.cost(self.here)
            brought, cost = (cost - reached) / max(abs(cost), 1e-12), min(cost, reached)
            spare = candidates.left - sum(later.price(window) + candidates.judge.price for later in legs[number + 1 :])
            if brought > AGAIN and repeated < LEGS and spare >= leg.price(window) + candidates.judge.price:
                repeated += 1
                continue
            number += 1
            if leg.rate <= SETTLED and brought < candidates.tolerance and candidates.tolerance:
                return self.here, "patience"

    def _follow(self, leg: Leg) -> None:
        """Go one leg, or take what it gave from the journal, where one is kept."""
        begun: list[Any] = [
            self.candidates.judge.fingerprint,
            self.rule.name,
            self.rule.parameters,
            vars(self.window),
            vars(leg),
        ]
        begun += [self.moving, self.here, self.next_world, self.multipliers.price]
        if self.descent.library != "torch":
            begun.append(self.descent.library)
        if chosen_name() != "cpu":
            begun.append(chosen_name())

        def compute() -> dict[str, Any]:
            spent = self.budget.env_periods
            self._go(leg, begun)
            return {"here": self.here, "price": self.multipliers.price, "spent": self.budget.env_periods - spent}

        before = self.budget.env_periods
        found = step("tuning: a leg along gradients", begun, compute)
        if self.budget.env_periods == before:  # it was finished by an earlier process
            self.here, self.multipliers.price = found["here"], found["price"]
            self.next_world += leg.iterations * leg.worlds
            self.budget.iterations += leg.iterations
            self.budget.spend(int(found["spent"]), "")
        self.candidates.prices = self.multipliers.price

    def _go(self, leg: Leg, begun: Any) -> None:
        descent, window, entries = self.descent, self.window, np.flatnonzero(self.moving)
        # Where an earlier process was when it was killed.
        before = journal.known(_WITHIN, begun)
        descent.begin(self.here, entries, leg.rate, before)
        first, total, count = 0, np.zeros(len(entries)), 0
        if before is not None:
            first, total, count = before["iteration"], before["total"], before["count"]
            self.multipliers.price = before["price"]
            self.next_world += first * leg.worlds
            self.budget.iterations += first
            self.budget.spend(int(before["spent"]), "")
        spent = self.budget.env_periods - (0 if before is None else int(before["spent"]))
        kept = time.monotonic()
        for iteration in range(first, leg.iterations):
            if iteration > first and time.monotonic() - kept > KEPT_SECONDS:
                now = {"iteration": iteration, "total": total, "count": count, "price": self.multipliers.price}
                now |= {"spent": self.budget.env_periods - spent, **descent.state()}
                journal.note(_WITHIN, begun, now, last=False)
                kept = time.monotonic()
            share = 0.5 * (1 + math.cos(math.pi * iteration / leg.iterations))
            cost = descent.step(self._worlds(leg.worlds), leg.rate * (WITHIN + (1 - WITHIN) * share))
            self.budget.spend(leg.worlds * window.periods, f"cost {cost:.4f}")
            self.multipliers.update()
            self.budget.iterations += 1
            if iteration >= (1 - AVERAGED) * leg.iterations - 1e-9:
                total, count = total + descent.position(), count + 1
        here = self.here.copy()
        here[entries] += self.space.scale[entries] * total / count
        self.here = np.maximum(here, self.space.lower)

    def _worlds(self, worlds: int) -> Tape:
        """Fresh worlds."""
        numbers = list(range(self.next_world, self.next_world + worlds))
        self.next_world += worlds
        return self.rule.scenario.sample(worlds=numbers, seed=self.seed, purpose="tune", periods=self.window.periods)
