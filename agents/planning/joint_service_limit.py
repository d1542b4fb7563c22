"""Joint limit of service: targets that each could be met, but not all of them by one policy.

Customers who share scarce capacity cannot all have it. With weights w >= 0 for the targets, the shortfall of a policy is
sum w (units that the target asks for - units that it serves), the mean over worlds. The cheapest flows of a world with all
of its future known (:mod:`.linear_program`), with that shortfall in place of the cost, miss no more than any policy does. So
where the mean of their optima over worlds lies above 0, no policy meets all of these targets: some of them are missed by at
least so many units together, as no weight is above 1. This is the Lagrangian bound of the program in which each target
must be met over all worlds; it holds for any weights.

Good weights are the prices of the targets in other worlds, in a program that misses as few units as it can. Weights are
found in worlds other than those that the shortfall is estimated in, so that it is not overstated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import playable
from echelongym.envs.worlds.tape import Tape
from echelongym.envs.worlds.world_sample import sample_of

from ..service_targets import Target
from .linear_program.assembly import Assembly, LinearProblem
from .linear_program.outlook import Outlook, Standing
from .linear_program.program import NetworkProgram, bounding
from .linear_program.solver import Solver

#: Kinds of target that are counted in units, and so can be weighed against each other.
KINDS = ("fill_rate", "served_within")
#: Columns of the largest program that is solved: about two seconds.
LARGEST = 200_000
_PRICING, _JUDGING = (2, 8), (4, 32)  # worlds at least and at most
_COLUMNS = 100_000  # of all programs in which weights are found; four times as many for the estimate
_NOTHING = 1e-6  # a share of what is asked for that the solver's tolerance explains


@dataclass(frozen=True)
class JointServiceLimit:
    """Targets that no policy meets together, and by how much they are missed at least."""

    targets: tuple[Target, ...]
    shortfall: dict[str, Any]  # mean and ci95 over worlds, units a period
    asked: float  # units a period that the targets ask for
    worlds: int

    @property
    def text(self) -> str:
        """One line for a user."""
        low, high = self.shortfall["ci95"]
        ends = "" if low is None or low != low else f" [{low:.3g}, {high:.3g}]"
        named = [f"{target.name} >= {target.value:g}" for target in self.targets]
        more = f" and {len(named) - 4} more" if len(named) > 4 else ""
        what = f"Targets {', '.join(named[:4])}{more} are beyond reach together" if len(named) > 1 else named[0]
        if len(named) == 1:
            what = f"Target {named[0]} is beyond reach"
        worlds = f"{self.worlds} world{'s' if self.worlds > 1 else ''}"
        return (
            f"{what}: every policy falls short of the {self.asked:.4g} units a period they ask for by "
            f"{self.shortfall['mean']:.3g}{ends} or more ({worlds})."
        )

    def to_dict(self) -> dict[str, Any]:
        """The form of a summary."""
        return {
            "names": [target.name for target in self.targets],
            "units_a_period": {"asked": self.asked, "shortfall": self.shortfall},
        }


def joint_service_limit(
    scenario: Scenario,
    targets: Sequence[Target],
    seed: int = 0,
    purpose: str = "tune",
    periods: int | None = None,
) -> JointServiceLimit | None:
    """Targets that cannot be met together, with the shortfall of any policy; None where none is known.

    Nothing is known of fewer than two targets, and of networks whose program has more than ``LARGEST`` columns.

    Parameters
    ----------
    targets
        Targets of the scenario; kinds other than ``KINDS`` are left out, and so should be those that cannot be met alone.
    scenario, seed, purpose, periods
        As of :meth:`Scenario.sample`.

    Raises
    ------
    InputError
        Where the scenario leaves no period of a record to the purpose.
    """
    chosen = tuple(target for target in targets if target.kind in KINDS and target.customer is not None)
    t = bounding(scenario.tables)
    count = playable(scenario, purpose, periods)
    columns = _columns(t, count)
    if len(chosen) < 2 or columns > LARGEST or count <= t.warm_up:
        return None
    pricing, judging = (
        int(np.clip(share * _COLUMNS // columns, *ends)) for share, ends in ((1, _PRICING), (4, _JUDGING))
    )
    weights = target_prices(t, scenario.sample(pricing, seed + 1, purpose, count).check(scenario), chosen)
    if not weights.any():
        return None
    sample = sample_of(scenario, judging, seed, purpose, count)
    tape = scenario.sample(sample.worlds, seed, purpose, count).check(scenario)
    short = least_shortfall(t, tape, chosen, weights) / (count - t.warm_up)
    estimate = Ratio(short, np.ones(len(short))).estimate(sample)
    involved = weights > 1e-6 * weights.max()
    wanted = np.array([_counted(t, tape, target).sum() * target.value for target in chosen]) / tape.batch
    asked = float(wanted[involved].sum()) / (count - t.warm_up)
    low = estimate["ci95"][0]
    known = estimate["mean"] if low is None or low != low else low
    if not known > _NOTHING * asked:
        return None
    return JointServiceLimit(tuple(np.array(chosen, dtype=object)[involved]), estimate, asked, sample.worlds)


def target_prices(t: Tables, tape: Tape, targets: Sequence[Target]) -> Floats:
    """(targets,) in [0, 1]: shortfall that a unit more of each target causes, the mean over worlds, the largest 1.

    All are 0 where the targets can be met in each of these worlds.
    """
    found = np.zeros((tape.batch, len(targets)))
    for world, (program, problem, solver) in enumerate(_programs(t, tape, targets)):
        lower = problem.lower.copy()
        lower[program.short] = 0.0
        optimum = solver.solve(replace(problem, lower=lower))
        found[world] = np.clip(-optimum.prices[program.asked], 0.0, 1.0)
    mean = found.mean(0)
    return np.asarray(mean / (mean.max() or 1.0))


def least_shortfall(t: Tables, tape: Tape, targets: Sequence[Target], weights: Floats) -> Floats:
    """(B,) weighted units that the best flows of each world leave short of targets; below 0 where they serve more.

    Parameters
    ----------
    weights
        (targets,) in [0, 1].
    """
    found = np.zeros(tape.batch)
    for world, (program, problem, solver) in enumerate(_programs(t, tape, targets)):
        cost = problem.cost.copy()
        cost[program.short] = weights
        found[world] = solver.solve(replace(problem, cost=cost)).objective
    return found


class ServiceProgram(NetworkProgram):
    """The program of a network whose cost is the units that targets are missed by.

    Attributes
    ----------
    short
        (targets,) columns, units that are asked for and not served over the counted periods; below 0 where more is served.
    asked
        (targets,) rows that say so.
    """

    def __init__(self, tables: Tables, targets: Sequence[Target], *world: Any) -> None:
        self.targets = targets
        super().__init__(tables, *world)
        self.cost = np.zeros(self.shape[1])
        self.cost[self.short] = 1.0

    def _extend(self, assembly: Assembly) -> None:
        t, cells, service = self.tables, self.cells, self.service
        # Of those who simply wait, the program knows only how many: at least as many new ones as there are more.
        simply = np.broadcast_to(cells.unlimited & (cells.lost_share == 0), service.waiting.shape)
        self.more = assembly.rows(simply, np.inf)
        new = assembly.columns(simply)
        assembly.add(self.more, new, -1.0)
        assembly.add(self.more, service.waiting, 1.0)
        assembly.add(self.more[1:], service.waiting[:-1], -1.0)
        unserved = np.where(simply, new, service.unserved)
        every = np.ones(len(self.targets), dtype=bool)
        self.short, self.asked = assembly.columns(every), assembly.rows(every, np.inf)
        assembly.add(self.asked, self.short, -1.0)
        for row, target in zip(self.asked, self.targets, strict=True):
            customer = t.customers.index(str(target.customer))
            if target.kind == "fill_rate":
                columns, sign = unserved[t.warm_up :, customer], 1.0
            else:  # whoever is served at all from then on
                columns, sign = service.serve[t.warm_up :, t.pair_customer == customer], -1.0
            assembly.add(np.full(columns.shape, row), columns, sign)

    def problem(self, outlook: Outlook, standing: Standing) -> LinearProblem:
        """The program of one world from one state; see :meth:`NetworkProgram.problem`."""
        found = super().problem(outlook, standing)
        start = self.more[0]
        found.row_upper[start[start >= 0]] = standing.backlog.sum(2)[start >= 0]
        for row, column, target in zip(self.asked, self.short, self.targets, strict=True):
            wanted = float(_of_target(self.tables, outlook.demand, target).sum())
            spare = (1 - target.value) * wanted
            found.row_upper[row] = spare if target.kind == "fill_rate" else -target.value * wanted
            found.lower[column] = -spare  # no more than all is served
        return replace(found, offset=0.0)


def _programs(t: Tables, tape: Tape, targets: Sequence[Target]) -> Any:
    """The program of each world in turn, its numbers, and a solver that starts where the last world ended."""
    solver, standing = Solver(), Standing.initial(t)
    program: ServiceProgram | None = None
    for world in range(tape.batch):
        outlook = Outlook.of_tape(tape, world)
        if program is None or not program.fits(outlook):
            program = ServiceProgram(t, targets, outlook.lead_time, outlook.lane_yield)
        yield program, program.problem(outlook, standing), solver


def _of_target(t: Tables, demand: Floats, target: Target) -> Floats:
    """(periods, P, ...) demand (T, C, P, ...) that a target counts."""
    customer = t.customers.index(str(target.customer))
    found = np.where(
        _in_time(t, target, len(demand)).reshape(-1, t.P, *[1] * (demand.ndim - 3)), demand[:, customer], 0
    )
    return np.asarray(found[t.warm_up :])


def _counted(t: Tables, tape: Tape, target: Target) -> Floats:
    """(periods, P, B) demand that a target counts."""
    return _of_target(t, np.moveaxis(np.asarray(tape.demand[tape.history :], np.float64), 1, -1), target)


def _in_time(t: Tables, target: Target, periods: int) -> Bools:
    """(T, P) where demand counts: not where its window ends after the last period."""
    window = np.full(t.P, window_of(t, target))
    patience = t.patience[t.customers.index(str(target.customer))]
    window = np.where(patience >= 0, np.minimum(window, patience), window)
    return np.arange(periods)[:, None] + window < periods


def window_of(t: Tables, target: Target) -> int:
    """Periods within which a target wants demand served; 0 where nobody waits."""
    return target.window if target.kind == "served_within" and bool((t.lost_share < 1).any()) else 0


def _columns(t: Tables, periods: int) -> int:
    """Columns of the program, about."""
    cells = int(np.where(t.shelf_life > 0, t.shelf_life, 1).sum())
    return periods * ((t.N + t.L + t.S) * cells + 2 * t.C * t.P)
