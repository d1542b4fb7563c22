"""Own network: a scenario from plain data, one rule on common worlds, and what a change of the network would save."""

from echelongym.agents import load_policy
from echelongym.envs import Scenario, simulate

data = {
    "name": "two_shops",
    "horizon": 120,
    "warm_up": 20,
    "nodes": {
        "plant": {"kind": "supplier"},
        "depot": {"holding_cost": 0.2},
        "east": {"holding_cost": 1.0},
        "west": {"holding_cost": 1.0},
    },
    "lanes": {
        "plant_depot": {"source": "plant", "target": "depot", "lead_time": 4},
        "depot_east": {"source": "depot", "target": "east", "lead_time": 3, "transport_cost": 0.1},
        "depot_west": {"source": "depot", "target": "west", "lead_time": 1, "transport_cost": 0.1},
    },
    "customers": {
        f"people_{shop}": {
            "sources": {shop: {}},
            "demand": {"kind": "poisson", "mean": mean},
            "lost_share": 1.0,
            "lost_sale_cost": 9.0,
        }
        for shop, mean in (("east", 8), ("west", 5))
    },
}
scenario = Scenario.from_mapping(data)
faster = scenario.with_overrides({"lanes.depot_east.lead_time": 1})

costs = {}
for name, one in (("as it is", scenario), ("a faster lane to east", faster)):
    policy = load_policy("echelon_base_stock", one)  # automatic levels; `echelongym tune` finds better ones
    outcome = simulate(one, policy, one.sample(worlds=200, seed=7, purpose="test"))
    costs[name] = outcome.cost_per_period
    lines = ", ".join(f"{line} {value.mean():.2f}" for line, value in outcome.costs.items() if value.any())
    served = outcome.kpis()["total"]["fill_rate"].mean()
    print(f"{name}: {costs[name].mean():.2f} a period ({lines}), fill rate {served:.1%}")

saved = costs["as it is"] - costs["a faster lane to east"]  # world by world: demand is the same in both
half = 1.96 * saved.std(ddof=1) / len(saved) ** 0.5
print(f"the faster lane saves {saved.mean():.2f} +- {half:.2f} a period")
assert saved.mean() > half
