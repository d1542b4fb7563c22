"""How far learned policies are from known optima: trains with the settings of ``configs/experiment``, evaluates exactly.

    python -m echelongym.experiments.studies.learned_optima
        every instance with a known optimum, three training seeds each
    python -m echelongym.experiments.studies.learned_optima lost_sales 6
        lost sales (lead time 4, penalty 4) with 6 CPU-seconds a training
    python -m echelongym.experiments.studies.learned_optima perishables
        goods of two to five periods on the shelf, the oldest or the freshest units sold first
    python -m echelongym.experiments.studies.learned_optima serial_four 2 validation.worlds=64
        words with an equals sign change settings of ``echelongym train``

Gaps are of the long-run average cost: of the Markov chain that a policy makes where units are whole, else paired with the
optimal policy on 2,048 test worlds. CPU-seconds are of training, the choice of the best policy and the compiler included.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from echelongym.agents.budget import Budget, Trained
from echelongym.agents.exact import evaluate, solve
from echelongym.agents.pathwise.policy import PathwisePolicy
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.envs.core.errors import expected
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

from ..cli.compose import prepare
from .console import StudyParser, start

SEEDS = (0, 1, 2)
#: Instances by the name that selects them: what the table calls them, and the experiment that trains them.
INSTANCES = {
    "lost_sales": ("lost sales, lead time 4, p 4", "lost_sales_capped"),
    "serial_four": ("serial, 4 stages", "serial_four"),
    "serial_seven": ("serial, 7 stages", "serial_seven"),
    "tiny_warehouse": ("one warehouse, two stores, whole units", "tiny_warehouse"),
    "dual_sourcing": ("dual sourcing 2, 105", "dual_sourcing"),
    "dual_sourcing_slow": ("dual sourcing 3, 110", "dual_sourcing_slow"),
    "fixed_order_cost": ("(s, S), Poisson 10, order cost 64", "fixed_order_cost"),
    "fixed_order_cost_delayed": ("(s, S), Poisson 6, order cost 40, lead time 2", "fixed_order_cost_delayed"),
    "perishable_three": ("perishable, 3 periods, lead time 2, lifo", "perishable_three"),
}
LEAD_TIMES, PENALTIES = (1, 2, 3, 4), (4, 9, 19, 39)  # of the 16 cells of Zipkin (Operations Research 56(5), 2008)
LIVES, ISSUING = (2, 3, 4, 5), ("fifo", "lifo")  # periods on the shelf, and which units customers take


def trained(
    experiment: str, overrides: Sequence[str] = (), cpu_seconds: float | None = None, seed: int = 0
) -> tuple[Scenario, Trained]:
    """The scenario of an experiment and its training, without a run folder.

    Parameters
    ----------
    overrides
        Words ``key=value`` for ``echelongym train``.
    cpu_seconds
        Budget of the training; None: the experiment's.

    Raises
    ------
    InputError
        For words that ``echelongym train`` would refuse.
    """
    settings = prepare("train", [f"experiment={experiment}", *overrides])
    chosen, scenario = settings.validation, settings.scenario
    budget = Budget(None, cpu_seconds or settings.budget.cpu_seconds)
    tape = scenario.sample(chosen.worlds, chosen.seed, "tune")
    trainer = PathwiseTrainer(scenario, settings.agent, seed, budget, tape, evaluations=chosen.times)
    return scenario, trainer.run()


def gap(scenario: Scenario, policy: PathwisePolicy) -> tuple[float, float]:
    """Percent above the optimum, and half the width of its 95 % interval in percent (0 where the gap is exact)."""
    best = solve(scenario)
    if scenario.units == "integer":
        return 100 * (evaluate(scenario, policy) / best.value - 1), 0.0
    long = Scenario.from_mapping(scenario.to_dict() | {"horizon": 600, "warm_up": 100})
    tape = long.sample(2048, 7, "test")
    assert best.policy is not None
    costs, least = (simulate(long, one, tape, kpis=False).cost_per_period for one in (policy, best.policy))
    apart = 100 * (np.asarray(costs) - np.asarray(least)) / best.value
    return float(apart.mean()), float(1.96 * apart.std() / len(apart) ** 0.5)


def row(label: str, experiment: str, overrides: Sequence[str] = (), cpu_seconds: float | None = None) -> None:
    """Print one row of the table: the mean CPU-seconds of a training, then the gap of each training seed."""
    gaps, spent = [], []
    for seed in SEEDS:
        scenario, found = trained(experiment, overrides, cpu_seconds, seed)
        mean, half = gap(scenario, found.policy)
        gaps.append(f"{mean:.3f}" + (f" [{mean - half:.3f}, {mean + half:.3f}]" if half else ""))
        spent.append(found.cpu_seconds)
    print(f"| {label} | {np.mean(spent):.1f} | {' | '.join(gaps)} |", flush=True)


def cells(overrides: Sequence[str] = (), cpu_seconds: float | None = None) -> None:
    """Print a row for each of the 16 cells of lost sales: lead times 1 to 4, penalties 4 to 39."""
    for lead_time in LEAD_TIMES:
        for penalty in PENALTIES:
            skipped = 4 * lead_time
            cell = (
                f"agent.skipped={skipped}",
                f"agent.periods={skipped + 100}",
                f"scenario.lanes.supplier_store.lead_time={lead_time}",
                f"scenario.customers.shoppers.lost_sale_cost={penalty}",
            )
            label = f"lost sales, lead time {lead_time}, p {penalty}"
            row(label, "lost_sales_cells", (*cell, *overrides), cpu_seconds)


def perishables(overrides: Sequence[str] = (), cpu_seconds: float | None = None) -> None:
    """Print a row for each of the 8 cells of perishable goods: two to five periods on the shelf, either order of issue."""
    for issuing in ISSUING:
        for life in LIVES:
            cell = (
                f"scenario.products.item.shelf_life={life + 1}",  # a period of transport included
                f"scenario.customers.shoppers.issuing={issuing}",
            )
            row(f"perishable, {life} periods, {issuing}", "perishable", (*cell, *overrides), cpu_seconds)


#: Families of instances by the name that selects them.
FAMILIES = {"cells": cells, "perishables": perishables}


def seconds(word: str) -> float:
    """CPU-seconds that a word stands for."""
    try:
        found = float(word)
    except ValueError:
        found = 0.0
    if not found > 0:
        raise expected("CPU-seconds", word, "a number above 0")
    return found


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    choices = ["all", *INSTANCES, *FAMILIES]
    parser.add_argument("words", nargs="*", help=f"one of {', '.join(choices)}; then CPU-seconds; key=value anywhere")
    given = parser.parse_args().words
    overrides = [word for word in given if "=" in word]
    which, *budgets = [word for word in given if "=" not in word] or ["all"]
    if which not in choices:
        raise expected("instance", which, f"one of {', '.join(choices)}")
    limits: list[float | None] = [seconds(word) for word in budgets] or [None]
    print("| instance | CPU-seconds | seed 0 | seed 1 | seed 2 |")
    print("|---|---|---|---|---|", flush=True)
    for limit in limits:
        for name, (label, experiment) in INSTANCES.items():
            if which in ("all", name):
                row(label, experiment, overrides, limit)
        for name, family in FAMILIES.items():
            if which in ("all", name):
                family(overrides, limit)


if __name__ == "__main__":
    start(main)
