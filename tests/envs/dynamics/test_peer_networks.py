"""Our simulator against those of OR-Gym and gym-invmgmt: same demand and same requests, same flows and same profit.

`peer_networks.json` holds what theirs did (`echelongym.experiments.studies.record_peer_networks` has recorded it). Goods
that join a stock there in period t can be shipped on from t + 1, though they serve customers and cost holding in t
already. A *dock* says the same here: goods arrive at it after the lead time and go on by a lane of lead time 0, which
serves at once but ships on only a period later. `production_network` spares its users the docks: lead times into such
nodes are one longer, and what the last period on the way costs less than holding is paid at shipment.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.envs import Decision, Scenario, Tape, simulate

FACTS = json.loads((Path(__file__).parents[2] / "helpers" / "peer_networks.json").read_text())
PLENTY = 1e6  # requested of a dock: all that lies there
STOCKS = ["factory_4", "factory_5", "factory_6", "distributor_2", "distributor_3", "retailer"]
LOST = {"customers.market.lost_share": 1.0, "customers.market.lost_sale_cost": 0.1}
OPERATING = {"factory_4": 0.010, "factory_5": 0.015, "factory_6": 0.012}


def shipped_scenario(backlog: bool) -> Scenario:
    scenario = Scenario.load("production_network")
    return scenario if backlog else scenario.with_overrides(LOST)


def later(scenario: Scenario) -> list[str]:
    """Lanes whose lead time is one longer than published: into nodes that ship on."""
    sources = {lane.source for lane in scenario.lanes.values()}
    return [name for name, lane in scenario.lanes.items() if lane.target in sources and lane.lead_time.longest > 0]


def docked(backlog: bool) -> Scenario:
    """The same network with docks, in published lead times and costs."""
    scenario = shipped_scenario(backlog)
    data = scenario.to_dict()
    for name in later(scenario):
        lane = data["lanes"][name]
        dock = f"dock_{lane['target']}"
        holding = data["nodes"][lane["target"]]["holding_cost"]
        data["nodes"].setdefault(dock, {"holding_cost": holding, "initial": 0})
        data["lanes"].setdefault(dock, {"source": dock, "target": lane["target"], "lead_time": 0})
        lane["lead_time"] = scenario.lanes[name].lead_time.longest - 1
        lane["transport_cost"] = OPERATING.get(lane["source"], 0.0)
        lane["target"] = dock
    return Scenario.from_mapping(data)


class Played:
    """Requests (T, links) of an episode on the first lanes, everything there is on the others (docks)."""

    def __init__(self, requests: Any) -> None:
        self.requests = np.asarray(requests, dtype=np.float64)

    def __call__(self, observation: Any) -> Decision:
        asked = np.full(observation.unfilled.shape, PLENTY)
        asked[:, : self.requests.shape[1], 0] = self.requests[int(observation.period[0])]
        return Decision(asked)


def replayed(scenario: Scenario, policy: Any, demand: Any) -> tuple[Any, np.ndarray]:
    """Trace of one world of given demand, and its profit (T,)."""
    history = np.zeros(scenario.observe.history)
    tape = Tape.from_demand(scenario, np.concatenate([history, demand]).reshape(-1, 1, 1))
    trace = simulate(scenario, policy, tape, trace=True).trace
    costs = sum(values[:, 0] for line, values in trace.costs.items() if line != "revenue")
    return trace, trace.costs["revenue"][:, 0] - costs


EPISODES = pytest.mark.parametrize("episode", FACTS["network"], ids=["backlog", "lost sales"])


@EPISODES
def test_requests_give_the_flows_of_the_production_network(episode):
    scenario = shipped_scenario(episode["backlog"])
    trace, _ = replayed(scenario, Played(episode["requests"]), episode["demand"])
    shipped = trace.shipped[:, 0, :, 0]
    np.testing.assert_array_equal(shipped, episode["filled"])
    assert (shipped < np.array(episode["requests"])).any(), "requests that no stock limits would prove little"

    # Stock at the end of a period is what a period starts with, less what arrives in it, plus what they count already.
    t = scenario.tables
    lanes, nodes = list(scenario.lanes), list(scenario.nodes)
    extended = np.zeros((31, len(nodes)))
    extended[:30] = trace.on_hand[:, 0, :, 0, 0]
    for name in lanes:
        place, lead = lanes.index(name), int(t.nominal_lead_time[lanes.index(name)])
        if name not in later(scenario) and lead > 0:  # arrives at the start of the next period here, in it there
            extended[lead:30, nodes.index(scenario.lanes[name].target)] -= shipped[: 30 - lead, place]
    ours = extended[1:30, [nodes.index(name) for name in STOCKS]]
    np.testing.assert_allclose(ours, np.array(episode["on_hand"])[:29], atol=1e-9)
    short = trace.backlog[1:, 0, 0, 0, 0] if episode["backlog"] else trace.lost[:, 0, 0, 0]
    np.testing.assert_allclose(short, episode["unserved"][: len(short)], atol=1e-9)
    assert np.sum(episode["unserved"]) > 0


@EPISODES
def test_profit_of_the_production_network_differs_by_what_is_under_way(episode):
    """Period by period: ours pays the dearer last period on the way at shipment, theirs when it comes."""
    scenario = shipped_scenario(episode["backlog"])
    trace, profit = replayed(scenario, Played(episode["requests"]), episode["demand"])
    shipped = trace.shipped[:, 0, :, 0]
    early, under_way = np.zeros(30), 0.0
    for name in later(scenario):
        lane = scenario.lanes[name]
        place, lead = list(scenario.lanes).index(name), lane.lead_time.longest - 1
        dearer = scenario.nodes[lane.target].holding_cost - lane.in_transit_cost
        assert lane.transport_cost == pytest.approx(dearer + OPERATING.get(lane.source, 0.0))
        early += dearer * shipped[:, place]
        early[lead:] -= dearer * shipped[: 30 - lead, place]
        under_way += dearer * shipped[30 - lead :, place].sum()
    np.testing.assert_allclose(profit + early, episode["reward"], atol=1e-9)
    assert sum(episode["reward"]) - profit.sum() == pytest.approx(under_way, abs=1e-9)
    assert under_way > 0


@EPISODES
def test_profit_with_docks_is_theirs_to_the_last_digits(episode):
    scenario = docked(episode["backlog"])
    trace, profit = replayed(scenario, Played(episode["requests"]), episode["demand"])
    np.testing.assert_allclose(trace.shipped[:, 0, : len(episode["filled"][0]), 0], episode["filled"], atol=1e-9)
    np.testing.assert_allclose(profit, episode["reward"], atol=1e-9)
    assert profit.sum() == pytest.approx(sum(episode["reward"]), abs=1e-9)


# Published perfect-information profits -------------------------------------------------------------------------


@pytest.mark.parametrize(("published", "mean"), [("backlog", 845.6955), ("lost_sales", 841.9742)])
def test_perfect_information_earns_what_was_published(published, mean):
    """On their ten demand paths; profits of single paths were published to one decimal, means to four."""
    facts = FACTS["published"]
    demand = np.array(facts["demand"], dtype=np.float64)
    scenario = docked(published == "backlog")
    history = np.zeros((scenario.observe.history, len(demand)))
    tape = Tape.from_demand(scenario, np.concatenate([history, demand.T])[:, :, None, None])
    profit = -30 * perfect_information(scenario, tape).cost
    np.testing.assert_allclose(profit, facts[published], atol=0.0501)
    assert profit.mean() == pytest.approx(mean, abs=0.00006)


# InvManagement of OR-Gym ------------------------------------------------------------------------------------

PENALTIES = np.array([0.075, 0.05, 0.025])  # a period and unit that a stage owes the one below, or failed to send
CAPACITIES, LEADS, INITIAL, HOLDING = (100, 90, 80), (3, 5, 10), (100, 100, 200), (0.15, 0.10, 0.05)


def inv_management(backlog: bool) -> Scenario:
    """Four stages in a row (Hubbs et al., arXiv 2008.04001), docks in front of the two that ship on.

    A unit sold brings 2.0, the top stage pays 0.5 for its material; what is paid between stages cancels.
    """
    stages = {
        name: {"holding_cost": h, "initial": i}
        for name, h, i in zip(("stage_0", "stage_1", "stage_2"), HOLDING, INITIAL, strict=True)
    }
    docks = {"dock_1": {"holding_cost": 0.10, "initial": 0}, "dock_2": {"holding_cost": 0.05, "initial": 0}}
    lanes = {
        "to_0": {"source": "stage_1", "target": "stage_0"},
        "to_1": {"source": "stage_2", "target": "dock_1"},
        "to_2": {"source": "plant", "target": "dock_2", "purchase_cost": 0.5},
    }
    for lane, lead, capacity in zip(lanes.values(), LEADS, CAPACITIES, strict=True):
        lane |= {"lead_time": lead, "capacity": capacity}
    for dock in docks:
        lanes[dock] = {"source": dock, "target": dock.replace("dock", "stage"), "lead_time": 0}
    market = {"sources": {"stage_0": {}}, "demand": {"kind": "poisson", "mean": 20}, "price": 2.0}
    market |= {"lost_share": 0.0, "backorder_cost": 0.1} if backlog else {"lost_share": 1.0, "lost_sale_cost": 0.1}
    return Scenario.from_mapping(
        {
            "name": "inv_management",
            "units": "integer",
            "horizon": 30,
            "nodes": {"plant": {"kind": "supplier"}, **stages, **docks},
            "lanes": lanes,
            "customers": {"market": market},
        }
    )


@pytest.mark.parametrize(
    ("episode", "known"), list(zip(FACTS["chain"], (394.92, 414.93), strict=True)), ids=["backlog", "lost sales"]
)
def test_inv_management_of_or_gym(episode, known):
    """20 units requested by every stage in every period; profit discounted by 0.97 a period.

    Orders between stages are backlogged there, at a penalty for the stage that owes; here a request that was not filled
    is asked again, and the penalty is counted from the trace.
    """
    backlog = episode["backlog"]

    def ask(observation: Any) -> Decision:
        asked = np.full(observation.unfilled.shape, PLENTY)
        asked[:, :3] = 20 + (observation.unfilled[:, :3] if backlog else 0)
        return Decision(asked)

    trace, profit = replayed(inv_management(backlog), ask, episode["demand"])
    owed = (trace.requests - trace.shipped)[:, 0, :3, 0]
    ours = 0.97 ** np.arange(30) * (profit - owed @ PENALTIES)
    np.testing.assert_allclose(ours, episode["reward"], atol=1e-9)
    assert ours.sum() == pytest.approx(known, abs=0.005)
