"""How far learned policies are from known optima: trains with the settings of ``configs/experiment`` and evaluates exactly.

    python learned_optima.py                 every instance with a known optimum, three training seeds
    python learned_optima.py lost_sales 6    lost sales (lead time 4, penalty 4) with 6 CPU-seconds; key=value changes settings

Gaps are of the long-run average cost: of the Markov chain that a policy makes where units are whole, else paired with the
optimal policy on 2,048 test worlds. CPU-seconds are of training, choice of the best and the compiler included.
"""

import sys

import numpy as np

from echelongym.agents.budget import Budget
from echelongym.agents.exact import evaluate, solve
from echelongym.agents.pathwise.trainer import PathwiseTrainer
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.experiments.cli.compose import prepare

SEEDS = (0, 1, 2)


def trained(experiment, overrides=(), cpu_seconds=None, seed=0):
    """The training of an experiment without its run folder."""
    settings = prepare("train", [f"experiment={experiment}", *overrides])
    chosen, scenario = settings.validation, settings.scenario
    budget = Budget(None, cpu_seconds or settings.budget.cpu_seconds)
    tape = scenario.sample(chosen.worlds, chosen.seed, "tune")
    trainer = PathwiseTrainer(scenario, settings.agent, seed, budget, tape, evaluations=chosen.times)
    return scenario, trainer.run()


def gap(scenario, policy):
    """Percent above the optimum, and half a 95 % interval (0 where it is exact)."""
    best = solve(scenario)
    if scenario.units == "integer":
        return 100 * (evaluate(scenario, policy) / best.value - 1), 0.0
    long = Scenario.from_mapping(scenario.to_dict() | {"horizon": 600, "warm_up": 100})
    tape = long.sample(2048, 7, "test")
    costs, least = (simulate(long, one, tape, kpis=False).cost_per_period for one in (policy, best.policy))
    apart = 100 * (np.asarray(costs) - np.asarray(least)) / best.value
    return float(apart.mean()), float(1.96 * apart.std() / len(apart) ** 0.5)


def row(label, experiment, overrides=(), cpu_seconds=None):
    gaps, spent = [], []
    for seed in SEEDS:
        scenario, found = trained(experiment, overrides, cpu_seconds, seed)
        mean, half = gap(scenario, found.policy)
        gaps.append(f"{mean:.3f}" + (f" +- {half:.3f}" if half else ""))
        spent.append(found.cpu_seconds)
    print(f"| {label} | {np.mean(spent):.1f} | {' | '.join(gaps)} |", flush=True)


def cells(cpu_seconds=None, further=()):
    for lead_time in (1, 2, 3, 4):
        for penalty in (4, 9, 19, 39):
            skipped = 4 * lead_time
            changes = (
                f"agent.skipped={skipped}",
                f"agent.periods={skipped + 100}",
                f"scenario.lanes.supplier_store.lead_time={lead_time}",
                f"scenario.customers.shoppers.lost_sale_cost={penalty}",
            )
            row(
                f"lost sales, lead time {lead_time}, p {penalty}", "lost_sales_cells", (*changes, *further), cpu_seconds
            )


if __name__ == "__main__":
    changes = tuple(word for word in sys.argv[1:] if "=" in word)
    words = [word for word in sys.argv[1:] if "=" not in word]
    which, budgets = words[:1], [float(one) for one in words[1:]] or [None]
    print("| instance | CPU-seconds | gap in percent, seeds 0, 1, 2 |||")
    print("|---|---|---|---|---|", flush=True)
    for budget in budgets:
        if which in ([], ["lost_sales"]):
            row("lost sales, lead time 4, p 4", "lost_sales_capped", changes, budget)
        for label, experiment in (
            ("serial, 4 stages", "serial_four"),
            ("serial, 7 stages", "serial_seven"),
            ("one warehouse, two stores, whole units", "tiny_warehouse"),
            ("dual sourcing 2, 105", "dual_sourcing"),
            ("dual sourcing 3, 110", "dual_sourcing_slow"),
        ):
            if which in ([], [experiment], ["others"]):
                row(label, experiment, changes, budget)
        if which in ([], ["cells"]):
            cells(budget, changes)
