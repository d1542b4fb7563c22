"""Steps a second on a network of MABIM's size and terms: 2,000 products, three stores in line, shared storage.

    python -m echelongym.experiments.studies.mabim_speed
    python -m echelongym.experiments.studies.mabim_speed python=PEER/bin/python package=FOLDER

A step is a day of all three stores and all products. With an interpreter that has gym, pandas and pyecharts, and the folder of
a copy of ReplenishmentEnv (https://github.com/VictorYXL/ReplenishmentEnv, later of github.com/microsoft), its instance
`sku2000.3_stores.standard` runs in turns with ours, on demand and prices of ours written in its format.

As published: stores with a shared storage for 200,000 units of volume 1, holding 0.003 a unit and day, lost sales that cost a
tenth of the margin, whole units, 10 for an order, lead times by product and store of mostly one to three days, 21 days of
history. What differs: an order's 10 is paid for each lane on which anything is ordered (stores have a lane for each lead
time), not for each product; what exceeds the storage is kept and charged half its cost each day, not turned away; margins
between stores are no costs here, as purchases are paid at the first store and sales at the last. Demand and prices are drawn:
of the records only opening stocks, lead times and an early instance of 58 products can be read in the public copies.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.envs import NetworkEnv, NetworkVectorEnv, Scenario
from echelongym.envs.core.errors import InputError, unknown

from .console import StudyParser, start

PRODUCTS, HORIZON, HISTORY, TURNS = 2_000, 100, 21, 2
STORES = ("store3", "store2", "store1")  # from the vendor to the customers
PEER = """
import json, sys, time
import numpy as np, pandas as pd
folder, package = sys.argv[1:]
sys.path.insert(0, package)
np.bool8 = np.bool_  # gym 0.26 asks for it
import ReplenishmentEnv.env.replenishment_env as module
given = json.load(open(folder + "/instance.json"))
dates = pd.date_range("2021-08-11", "2021-10-30").strftime("%Y/%m/%d")
config = package + "/ReplenishmentEnv/config/sku2000.3_stores.standard.yml"
skus = [line.strip() for line in open(package + "/ReplenishmentEnv/data/sku2778/sku2000.sku_list.csv")]
skus = [line for line in skus if line and not line.startswith("#")][1:]
def load(self, path):
    name = path.rsplit("/", 1)[1]
    if name.endswith("demand.csv"):
        values = np.array(given["demand"])[: len(dates)]
    else:
        values = np.tile(np.array(given["prices"][name.split(".")[1]]), (len(dates), 1))
    return pd.DataFrame(values, index=pd.Index(dates, name="Date"), columns=skus)
module.DataLoader.load_as_matrix = load
env = module.ReplenishmentEnv(config, "test")
env.reset()
actions = np.ones((3, len(skus)))
env.step(actions)
begun, steps, done = time.process_time(), 0, False
while not done:
    *_, done, _ = env.step(actions)
    steps += 1
print(json.dumps(steps / (time.process_time() - begun)))
"""


def instance() -> dict[str, Any]:
    """Plain data of the scenario."""
    random = np.random.default_rng(0)
    names = [f"sku{k + 1}" for k in range(PRODUCTS)]
    mean = np.round(np.exp(random.uniform(np.log(1.0), np.log(60.0), PRODUCTS)), 2)
    price = np.round(random.uniform(5.0, 100.0, PRODUCTS), 2)
    cost = np.round(price / random.uniform(1.5, 3.0, PRODUCTS), 2)
    lanes: dict[str, Any] = {}
    for source, target in zip(("vendor", *STORES[:-1]), STORES, strict=True):
        lead = random.choice([1, 2, 3], PRODUCTS, p=[0.3, 0.5, 0.2])
        for days in (1, 2, 3):
            carried = [names[k] for k in np.flatnonzero(lead == days)]
            way: dict[str, Any] = {"source": source, "target": target, "lead_time": days, "products": carried}
            if source == "vendor":
                way["purchase_cost"] = {name: float(cost[names.index(name)]) for name in carried}
            lanes[f"{source}_{target}_{days}"] = way | {"fixed_cost": 10.0}
    store = {
        "holding_cost": 0.003,
        "storage_capacity": 200_000.0,
        "overflow_cost": round(float(cost.mean()) / 2, 4),
    }
    demand = {"kind": "negative_binomial", "mean": dict(zip(names, mean.tolist(), strict=True)), "dispersion": 0.3}
    return {
        "name": "mabim_terms",
        "units": "integer",
        "horizon": HORIZON,
        "observe": {"history": HISTORY},
        "products": {name: {"volume": 1.0} for name in names},
        "nodes": {"vendor": {"kind": "supplier"}, **{name: dict(store) for name in STORES}},
        "lanes": lanes,
        "customers": {
            "consumers": {
                "sources": {"store1": {}},
                "demand": demand,
                "lost_share": 1.0,
                "lost_sale_cost": dict(zip(names, np.round(0.1 * (price - cost), 4).tolist(), strict=True)),
                "price": dict(zip(names, price.tolist(), strict=True)),
            }
        },
    }


def single(scenario: Scenario, **settings: Any) -> float:
    """Env-steps a CPU-second of an environment of one world."""
    env: Any = NetworkEnv(scenario, **settings)
    env.reset(seed=0)
    action = np.zeros_like(env.action_space.sample())
    for _ in range(5):  # recorded and compiled
        env.step(action)
    begun = time.process_time()
    for _ in range(HORIZON - 10):
        env.step(action)
    return (HORIZON - 10) / (time.process_time() - begun)


def batch(scenario: Scenario, worlds: int, **settings: Any) -> float:
    """Env-steps a CPU-second of a vector environment."""
    env: Any = NetworkVectorEnv(scenario, worlds, **settings)
    env.reset(seed=0)
    actions = np.zeros_like(env.action_space.sample())
    for _ in range(5):
        env.step(actions)
    begun = time.process_time()
    for _ in range(20):
        env.step(actions)
    found = 20 * worlds / (time.process_time() - begun)
    env.close()
    return found


def peer(scenario: Scenario, python: str, package: str) -> float:
    """Steps a CPU-second of ReplenishmentEnv on numbers of ours.

    Raises
    ------
    InputError
        If it does not run.
    """
    t = scenario.tables
    cost = t.purchase_cost.max(axis=0)
    prices = {
        "super_vendor": cost,
        "store3": cost + (t.price[0] - cost) / 3,
        "store2": cost + (t.price[0] - cost) / 1.5,
    }
    numbers = {
        "demand": scenario.sample(1, seed=0, periods=HORIZON).demand[:, 0, 0].tolist(),
        "prices": {name: price.tolist() for name, price in {**prices, "store1": t.price[0]}.items()},
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "instance.json").write_text(json.dumps(numbers))
        ran = subprocess.run([python, "-c", PEER, folder, package], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise InputError(f"python, package: ReplenishmentEnv does not run: {ran.stderr.strip().splitlines()[-1]}")
    return float(json.loads(ran.stdout.splitlines()[-1]))


def main() -> None:
    """Read the command line and print the table."""
    parser = StudyParser(__doc__)
    parser.add_argument("words", nargs="*", metavar="python=INTERPRETER package=FOLDER")
    options = {"python": "", "package": ""}
    for word in parser.parse_args().words:
        name, sign, value = word.partition("=")
        if not sign or name not in options:
            raise unknown("option", name, options)
        options[name] = value
    scenario = Scenario.from_mapping(instance())
    found: dict[str, list[float]] = {}
    for _ in range(TURNS):
        found.setdefault("one world", []).append(single(scenario))
        found.setdefault("one world, `info=none`", []).append(single(scenario, info="none"))
        found.setdefault("64 worlds", []).append(batch(scenario, 64))
        found.setdefault("64 worlds, `info=none`, float32", []).append(
            batch(scenario, 64, info="none", dtype="float32")
        )
        if options["python"] and options["package"]:
            found.setdefault("ReplenishmentEnv, one world", []).append(peer(scenario, **options))
    print("| environment | steps a CPU-second |")
    print("|---|---|")
    for name, speeds in found.items():
        print(f"| {name} | {max(speeds):,.0f} |", flush=True)


if __name__ == "__main__":
    start(main)
