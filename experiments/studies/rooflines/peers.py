"""Other packages, measured by the interpreter of an environment of their own: ``python peers.py``.

It stands alone. First it prints a line of JSON, the peers that are there with their versions, and why others are not; then it
reads lines ``NAME<tab>SECONDS`` and answers each with env-steps per CPU-second.

- ``gym-invmgmt``: its network environment, random actions drawn beforehand, resets included.
- ``or-gym-inventory``: OR-Gym's network in a port to Gymnasium, likewise.
- ``dynaplex``: lost sales under base-stock, worlds drawn inside, by its compiled comparer of policies on one thread.
- ``stockpyl``: a warehouse and ten stores under local base-stock with backorders, its nearest to the one with lost sales.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import warnings
from importlib import metadata
from typing import Any


def gymnasium_env(package: str, name: str) -> Any:
    """Steps of a Gymnasium env: a function of CPU-seconds."""
    import gymnasium

    __import__(package)
    env = gymnasium.make(name, disable_env_checker=True)
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(64)]
    env.reset(seed=0)

    def work() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()
        return len(actions)

    return work


def dynaplex_lost_sales() -> Any:
    """Periods of the lost-sales model of DynaPlex under base-stock."""
    from dynaplex import DiscreteDist, PolicyComparer  # type: ignore[import-not-found]
    from dynaplex.models.lost_sales import BaseStockPolicy, LostSalesMDP  # type: ignore[import-not-found]

    mdp = LostSalesMDP(4.0, 1.0, 4, DiscreteDist.poisson(5.0), True)
    worlds, periods = 4096, 512
    comparer = PolicyComparer(
        mdp, number_of_trajectories=worlds, warmup_time=0, horizon=periods, workers=1, checks=False
    )
    policy = BaseStockPolicy(mdp, 25)

    def work() -> int:
        comparer.assess(policy)
        return worlds * periods

    return work


def stockpyl_warehouse() -> Any:
    """Periods of one warehouse and ten stores in stockpyl."""
    from stockpyl.sim import simulation  # type: ignore[import-not-found]
    from stockpyl.supply_chain_network import owmr_system  # type: ignore[import-not-found]

    stores = range(1, 11)
    network = owmr_system(
        10,
        node_order_in_system=[0, *stores],
        shipment_lead_time={0: 3, **{i: 2 + i % 3 for i in stores}},
        demand_type={0: None, **dict.fromkeys(stores, "N")},
        mean=dict.fromkeys(stores, 5.0),
        standard_deviation=dict.fromkeys(stores, 2.0),
        policy_type="BS",
        base_stock_level={0: 200.0, **dict.fromkeys(stores, 25.0)},
        local_holding_cost={0: 0.3, **dict.fromkeys(stores, 1.0)},
        stockout_cost={0: 0.0, **dict.fromkeys(stores, 10.0)},
    )

    def work() -> int:
        simulation(network, 50, rand_seed=1, progress_bar=False, consistency_checks="N")
        return 50

    return work


PEERS = {
    "gym-invmgmt": lambda: gymnasium_env("gym_invmgmt", "GymInvMgmt/MultiEchelon-v0"),
    "or-gym-inventory": lambda: gymnasium_env("or_gym_inventory", "or_gym_inventory/NetInvMgmtBacklog-v0"),
    "dynaplex": dynaplex_lost_sales,
    "stockpyl": stockpyl_warehouse,
}


def main() -> None:
    """Say what is there, then answer."""
    works, versions, missing = {}, {}, {}
    warnings.simplefilter("ignore")
    answers = sys.stdout
    with contextlib.redirect_stdout(io.StringIO()):
        for name, make in PEERS.items():
            try:
                versions[name] = metadata.version(name)
                works[name] = make()
                works[name]()
            except metadata.PackageNotFoundError:
                missing[name] = "not installed"
            except Exception as error:  # whatever another package raises: the others are measured even so
                versions.pop(name, None)
                missing[name] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    print(json.dumps({"versions": versions, "missing": missing}), file=answers, flush=True)
    for line in sys.stdin:
        name, _, seconds = line.strip().partition("\t")
        done, begun = 0, time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            while (spent := time.process_time() - begun) < float(seconds):
                done += works[name]()
        print(json.dumps(done / spent), file=answers, flush=True)


if __name__ == "__main__":
    main()
