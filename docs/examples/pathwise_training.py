"""Pathwise training: a policy trained by gradients through the simulator, held against the known optimum."""

from pathlib import Path

from echelongym.agents import load_policy
from echelongym.envs import Scenario, simulate
from echelongym.experiments.commands.train import train

OPTIMUM = 4.7285  # of this instance: `echelongym exact scenario=lost_sales`

scenario = Scenario.load("lost_sales")
folder = train(
    scenario,
    "pathwise",
    Path("trained"),
    budget={"cpu_seconds": 2},
    validation={"worlds": 64, "times": 2},
    reference="automatic",  # not tuned first: this is to be quick
    bound=False,
    progress=False,
    tensorboard=False,
)
tape = scenario.sample(worlds=256, seed=7, purpose="test")
costs = {}
for name, policy in (
    ("best base-stock level", load_policy("echelon_base_stock", scenario, levels={"store": 25})),
    ("trained policy", load_policy(folder, scenario)),
):
    costs[name] = simulate(scenario, policy, tape).cost_per_period.mean()
    print(f"{name}: {costs[name]:.2f} a period, {100 * (costs[name] / OPTIMUM - 1):+.1f} % against the optimum")
assert costs["trained policy"] < costs["best base-stock level"]
