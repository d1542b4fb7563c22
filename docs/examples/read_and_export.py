"""Reading and exporting a policy: what a rule does, as a table of a few numbers, and the same rule as an ONNX bundle."""

import numpy as np

from echelongym.agents import load_policy
from echelongym.agents.export.export import export_policy
from echelongym.agents.reading import fit_readable, order_curves, visit
from echelongym.envs import Scenario, simulate

scenario = Scenario.load("lost_sales")
policy = load_policy("capped_echelon_base_stock", scenario, levels={"store": 26}, caps={"supplier_store": 5})

(curve,) = order_curves(visit(scenario, policy))
print(f"orders up to {curve.up_to:g}, at most {curve.cap:g}")
table = fit_readable(scenario, policy)
print(f"table: level {table.lines[0].level:g}, cap {table.lines[0].cap:g}, explains {table.explained:.0%} of requests")
table.rule.save("rule.yaml")  # a policy for every command: policy=rule.yaml

folder = export_policy(policy, scenario, "bundle")
print("bundle:", ", ".join(sorted(file.name for file in folder.iterdir())))
tape = scenario.sample(worlds=32, seed=7, purpose="test")
costs = [simulate(scenario, one, tape).cost_per_period for one in (policy, load_policy(folder, scenario))]
assert np.array_equal(*costs)
print(f"the rule and its bundle: {costs[0].mean():.3f} a period, equal in all 32 worlds")
