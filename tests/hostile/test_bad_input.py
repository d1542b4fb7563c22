"""What users get wrong: every kind of bad input is refused with the field, the value and what was expected.

`python tests/hostile/test_bad_input.py` prints the table of kinds and the errors a user sees.
"""

import copy
import pathlib
import tempfile

import numpy as np
import pytest

from echelongym.envs import Decision, InputError, Network, Scenario, Tape, simulate

BASE = {
    "name": "small",
    "units": "continuous",
    "horizon": 10,
    "products": {"milk": {"shelf_life": 5}, "bread": {}},
    "nodes": {"dairy": {"kind": "supplier"}, "hub": {"holding_cost": 1.0}, "north": {"capacity": 40}},
    "lanes": {
        "dairy_hub": {"source": "dairy", "target": "hub", "lead_time": 2},
        "hub_north": {"source": "hub", "target": "north", "lead_time": 1, "capacity": 20},
    },
    "customers": {
        "shops": {
            "sources": {"north": {}},
            "demand": {"kind": "poisson", "mean": 5},
            "lost_share": 1.0,
            "lost_sale_cost": 9.0,
        }
    },
}
LANES, SHOPS = "lanes.hub_north", "customers.shops"

# (kind, path of the key, value or None to delete it, words that the error must hold)
CONFIGS = [
    ("unknown top-level key", "horizont", 5, ["horizont", "horizon"]),
    ("misspelt key of a node", "nodes.hub.holding_cots", 1, ["nodes.hub", "holding_cots", "holding_cost"]),
    ("misspelt key of a lane", f"{LANES}.leadtime", 1, [LANES, "leadtime", "lead_time"]),
    ("amount too small to divide by", f"{LANES}.vehicle_volume", 5e-324, [f"{LANES}.vehicle_volume", "5e-324", "1e-12"]),
    ("reward scale too small to divide by", "reward_scale", 5e-324, ["reward_scale", "5e-324", "1e-12"]),
    ("horizon of a trillion", "horizon", 1e12, ["horizon", "1000000000000", "10000000"]),
    ("amounts of no product", "nodes.hub.holding_cost", {}, ["nodes.hub.holding_cost", "at least one"]),
    ("demand of no product", f"{SHOPS}.demand.mean", {}, [f"{SHOPS}.demand", "mean"]),
    ("amount of one product below 0", f"{LANES}.transport_cost", {"milk": -3}, [f"{LANES}.transport_cost", "milk", "-3"]),
    ("a name that is drawn", "randomise", {"values": {"name": 1}}, ["randomise.values", "name"]),
    ("a name that is drawn by a wildcard", "randomise", {"values": {"na?e": 1}}, ["randomise.values", "na?e"]),
    ("values of no amount", "randomise", {"values": {"lanes.*.transport_cost": {"values": [{}]}}}, ["randomise", "lanes"]),
    ("minimum order below 0", f"{LANES}.minimum_order", -5, [f"{LANES}.minimum_order", "-5"]),
    ("minimum order of an unknown product", f"{LANES}.minimum_order", {"mlik": 5}, [LANES, "mlik", "milk"]),
    ("review period of 0", f"{LANES}.review.every", 0, [f"{LANES}.review.every", "0"]),
    ("review as text", f"{LANES}.review", "weekly", [f"{LANES}.review", "weekly", "every"]),
    ("first review after a whole cycle", f"{LANES}.review", {"every": 7, "first": 9}, [LANES, "first = 9", "7"]),
    ("calendar without days", f"{LANES}.calendar", {"cycle": 7}, [f"{LANES}.calendar", "open or closed"]),
    ("calendar of no open day", f"{LANES}.calendar.closed", list(range(7)), [f"{LANES}.calendar", "open day"]),
    ("day beyond the cycle", f"{LANES}.calendar.open", [0, 7], [f"{LANES}.calendar", "open = 7", "6"]),
    ("day given twice", f"{LANES}.calendar.open", [0, 0], [f"{LANES}.calendar", "only once"]),
    ("day by name", f"{LANES}.calendar.open", ["monday"], [f"{LANES}.calendar.open", "monday", "days"]),
    ("endless cycle", f"{LANES}.review.every", 10**9, [f"{LANES}.review.every", "1000000000", "3660"]),
    ("misspelt key of a calendar", f"{LANES}.calendar.opne", [0], [f"{LANES}.calendar", "opne", "open"]),
    (
        "review and calendar that never meet",
        LANES,
        {"source": "hub", "target": "north", "review": {"every": 7}, "calendar": {"closed": [0]}},
        [LANES, "never open", "hub"],
    ),
    (
        "review and calendar on a return lane",
        "lanes.back",
        {"source": "shops", "target": "hub", "return_share": 0.1, "review": {"every": 7}},
        ["lanes.back.review", "return lane"],
    ),
    ("opening backlog where sales are lost", f"{SHOPS}.opening_backlog", 5, [f"{SHOPS}.opening_backlog", "lost_share"]),
    ("misspelt key of demand", f"{SHOPS}.demand.maen", 1, [SHOPS, "maen", "mean"]),
    ("unknown kind of node", "nodes.hub.kind", "factory", ["nodes.hub.kind", "factory", "supplier"]),
    ("unknown kind of demand", f"{SHOPS}.demand.kind", "poison", [SHOPS, "poison", "poisson"]),
    ("unknown units", "units", "whole", ["units", "whole", "integer"]),
    ("lane to nowhere", f"{LANES}.target", "nroth", [f"{LANES}.target", "nroth", "north"]),
    ("lane from nowhere", f"{LANES}.source", "hbu", [f"{LANES}.source", "hbu", "hub"]),
    ("lane into a supplier", f"{LANES}.target", "dairy", [f"{LANES}.target", "dairy"]),
    ("lane onto itself", f"{LANES}.target", "hub", [f"{LANES}.target", "hub"]),
    ("lane without a source", f"{LANES}.source", None, [f"{LANES}.source"]),
    ("negative lead time", f"{LANES}.lead_time", -1, [f"{LANES}.lead_time", "-1"]),
    ("fractional lead time", f"{LANES}.lead_time", 1.5, [f"{LANES}.lead_time", "1.5"]),
    ("lead time as text", f"{LANES}.lead_time", "two", [f"{LANES}.lead_time", "two"]),
    (
        "lead-time probabilities that are not 1",
        f"{LANES}.lead_time",
        {"values": [1, 2], "probabilities": [0.5, 0.6]},
        [f"{LANES}.lead_time", "probabilities"],
    ),
    ("negative cost", "nodes.hub.holding_cost", -0.5, ["nodes.hub.holding_cost", "-0.5"]),
    ("NaN cost", "nodes.hub.holding_cost", float("nan"), ["nodes.hub.holding_cost", "nan"]),
    ("infinite capacity", f"{LANES}.capacity", float("inf"), [f"{LANES}.capacity", "inf"]),
    ("text for a number", "nodes.hub.holding_cost", "1.0", ["nodes.hub.holding_cost", "1.0"]),
    ("true for a number", "nodes.hub.holding_cost", True, ["nodes.hub.holding_cost", "True"]),
    ("cost of an unknown product", "nodes.hub.holding_cost", {"mlik": 1}, ["nodes.hub.holding_cost", "mlik", "milk"]),
    ("lane of an unknown product", f"{LANES}.products", ["beer"], [f"{LANES}.products", "beer"]),
    ("customer of an unknown node", f"{SHOPS}.sources", {"nort": {}}, [SHOPS, "nort", "north"]),
    ("customer without sources", f"{SHOPS}.sources", {}, [f"{SHOPS}.sources"]),
    ("customer without lost_share", f"{SHOPS}.lost_share", None, [f"{SHOPS}.lost_share"]),
    ("customer without demand", f"{SHOPS}.demand", None, [f"{SHOPS}.demand"]),
    ("share above 1", f"{SHOPS}.lost_share", 1.2, [f"{SHOPS}.lost_share", "1.2"]),
    ("negative mean demand", f"{SHOPS}.demand.mean", -5, [SHOPS, "mean", "-5"]),
    ("NaN mean demand", f"{SHOPS}.demand.mean", float("nan"), [SHOPS, "mean", "nan"]),
    ("season above its mean", f"{SHOPS}.demand.season", {"amplitude": 1.5, "period": 7}, [SHOPS, "amplitude", "1.5"]),
    (
        "normal demand mostly clipped",
        f"{SHOPS}.demand",
        {"kind": "normal", "mean": 1, "standard_deviation": 9},
        [SHOPS, "standard_deviation", "gamma"],
    ),
    ("target that is no share", f"{SHOPS}.targets", {"fill_rate": 97}, [f"{SHOPS}.targets.fill_rate", "97"]),
    ("unknown target", f"{SHOPS}.targets", {"fillrate": 0.9}, [f"{SHOPS}.targets", "fillrate", "fill_rate"]),
    ("negative patience", f"{SHOPS}.patience", -1, [f"{SHOPS}.patience", "-1"]),
    ("issuing neither fifo nor lifo", f"{SHOPS}.issuing", "fefo", [f"{SHOPS}.issuing", "fefo", "fifo"]),
    ("zero shelf life", "products.milk.shelf_life", 0, ["products.milk.shelf_life", "0"]),
    ("warm-up as long as the horizon", "warm_up", 10, ["warm_up", "10"]),
    ("zero horizon", "horizon", 0, ["horizon", "0"]),
    ("holding cost of a supplier", "nodes.dairy.holding_cost", 1, ["nodes.dairy.holding_cost", "supplier"]),
    ("return share on a lane between nodes", f"{LANES}.return_share", 0.5, [LANES, "return_share"]),
    (
        "return lane of lead time 0",
        "lanes.back",
        {"source": "shops", "target": "hub", "lead_time": 0, "return_share": 0.1},
        ["lanes.back.lead_time", "0"],
    ),
    ("name with a dot", "nodes.n.1", None, ["nodes"]),
    (
        "disruption of an unknown node",
        "disruptions.fire",
        {"when": {"from": 1, "to": 2}, "effects": [{"nodes": "hubb", "availability": 0}]},
        ["disruptions.fire", "hubb", "hub"],
    ),
    (
        "partial availability without a capacity",
        "disruptions.fire",
        {"when": {"from": 1, "to": 2}, "effects": [{"nodes": "hub", "availability": 0.5}]},
        ["disruptions.fire", "0.5", "capacity"],
    ),
    (
        "event that ends before it starts",
        "disruptions.fire",
        {"when": {"from": 5, "to": 2}, "effects": [{"nodes": "hub", "availability": 0}]},
        ["disruptions.fire", "5"],
    ),
    ("forecast skill above 1", "forecast", {"horizon": 2, "skill": 2}, ["forecast.skill", "2"]),
    ("correlation above 1", "correlation", {"demand": 1.5}, ["correlation.demand", "1.5"]),
    ("missing trace file", f"{SHOPS}.demand", {"kind": "trace", "file": "nowhere.csv"}, [SHOPS, "nowhere.csv"]),
    ("primary lanes in a circle", "lanes", {
        "a": {"source": "hub", "target": "north"}, "b": {"source": "north", "target": "hub"},
    }, ["lanes", "hub", "north", "circle"]),
]  # fmt: skip


def scenario(**more):
    return Scenario.from_mapping({**copy.deepcopy(BASE), **more}, where="small.yaml")


def changed(path, value):
    data = copy.deepcopy(BASE)
    if path == "nodes.n.1":
        data["nodes"]["n.1"] = {}
        return data
    *parents, last = path.split(".")
    place = data
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return data


def config_fault(path, value):
    return lambda folder: Scenario.from_mapping(changed(path, value), where="small.yaml")


def decide(requests, reserve=None):
    def run(folder):
        one = scenario()
        simulate(one, lambda observation: Decision(np.array(requests), reserve), one.sample(worlds=1))

    return run


def good_requests(value=1.0):
    requests = np.ones((1, 2, 2))
    requests[0, 1, 0] = value
    return requests


def tape_with(**arrays):
    def run(folder):
        one = scenario()
        tape = one.sample(worlds=2)
        for name, change in arrays.items():
            values = np.array(getattr(tape, name))
            change(values)
            tape = tape.replace(**{name: values})
        tape.check(one)

    return run


def put(place, value):
    def change(values):
        values[place] = value

    return change


def other_network(folder):
    one = scenario()
    two = Scenario.from_mapping(
        {**BASE, "nodes": {**BASE["nodes"], "south": {}}, "lanes": {**BASE["lanes"], "hub_south": {
            "source": "hub", "target": "south"}}}
    )  # fmt: skip
    one.sample(worlds=1).check(two)


def truncated(folder):
    path = folder / "worlds.npz"
    scenario().sample(worlds=2).save(path)
    path.write_bytes(path.read_bytes()[:200])
    Tape.load(path)


def not_a_tape(folder):
    path = folder / "worlds.npz"
    path.write_text("hello")
    Tape.load(path)


def yaml_text(text, suffix="bad.yaml"):
    def run(folder):
        path = folder / suffix
        path.write_text(text)
        Scenario.load(path)

    return run


def csv_fault(table, before, after):
    def run(folder):
        scenario().to_csv(folder)
        path = folder / f"{table}.csv"
        path.write_text(path.read_text().replace(before, after, 1))
        Network.from_csv(folder)

    return run


OTHERS = [
    ("requests of the wrong shape", decide(np.ones((1, 2))), ["requests", "(1, 2)", "(1, 2, 2)"]),
    ("negative request", decide(good_requests(-1.0)), ["requests", "-1.0", ">= 0"]),
    ("NaN request", decide(good_requests(np.nan)), ["requests", "nan"]),
    ("infinite request", decide(good_requests(np.inf)), ["requests", "inf"]),
    ("reserve of the wrong shape", decide(good_requests(), np.ones((1, 3, 2))), ["reserve", "(1, 3, 2)"]),
    (
        "no Decision",
        lambda folder: simulate(scenario(), lambda observation: 5, scenario().sample(worlds=1)),
        ["5", "Decision"],
    ),
    ("negative demand on a tape", tape_with(demand=put((5, 0, 0, 0), -1.0)), ["demand", "-1.0", "shops"]),
    ("NaN demand on a tape", tape_with(demand=put((5, 0, 0, 0), np.nan)), ["demand", "nan"]),
    ("partial availability on a tape", tape_with(node_availability=put((3, 0, 1), 0.5)), ["node_availability", "0.5"]),
    ("yield above 1 on a tape", tape_with(lane_yield=put((3, 0, 1), 1.5)), ["lane_yield", "1.5"]),
    ("lead time beyond the network's", tape_with(lead_time=put((3, 0, 1), 9)), ["lead_time", "9"]),
    ("tape of another network", other_network, ["nodes", "south"]),
    ("truncated tape", truncated, ["worlds.npz"]),
    ("file that is no tape", not_a_tape, ["worlds.npz"]),
    ("tape that does not exist", lambda folder: Tape.load(folder / "gone.npz"), ["gone.npz"]),
    ("scenario that does not exist", lambda folder: Scenario.load("two_regions"), ["two_regions", "two_region"]),
    ("path that does not exist", lambda folder: Scenario.load(folder / "gone.yaml"), ["gone.yaml"]),
    ("key given twice in YAML", yaml_text("name: a\nname: b\n"), ["bad.yaml", "line 2", "name"]),
    ("YAML that is none", yaml_text("a: [1, 2"), ["bad.yaml", "YAML"]),
    ("YAML that is a list", yaml_text("- 1\n- 2\n"), ["bad.yaml", "mapping"]),
    ("negative seed", lambda folder: scenario().sample(worlds=1, seed=-1), ["seed", "-1"]),
    ("fractional seed", lambda folder: scenario().sample(worlds=1, seed=1.5), ["seed", "1.5"]),
    ("unknown purpose", lambda folder: scenario().sample(worlds=1, purpose="tests"), ["purpose", "tests", "test"]),
    ("no worlds", lambda folder: scenario().sample(worlds=0), ["worlds", "0"]),
    ("negative world", lambda folder: scenario().sample(worlds=[-3]), ["worlds", "-3"]),
    ("no periods", lambda folder: scenario().sample(worlds=1, periods=0), ["periods", "0"]),
    ("unknown column in CSV", csv_fault("nodes", "capacity", "capcity"), ["nodes.csv", "capcity", "capacity"]),
    ("missing CSV table", lambda folder: Network.from_csv(folder), ["nodes.csv"]),
    ("bad number in CSV", csv_fault("nodes", "40", "-4"), ["nodes.north.capacity", "-4"]),
    ("override of a misspelt key", lambda folder: Scenario.load(
        "two_region", overrides={"lanes.hub_north_express.capcity": 40}), ["capcity", "capacity"]),
    ("override of a misspelt lane", lambda folder: Scenario.load(
        "two_region", overrides={"lanes.hub_nort.capacity": 40}), ["hub_nort"]),
    ("unknown backend", lambda folder: simulate(
        scenario(), lambda o: None, scenario().sample(worlds=1), backend="cupy"), ["backend", "cupy"]),
]  # fmt: skip

KINDS = [(kind, config_fault(path, value), words) for kind, path, value, words in CONFIGS] + OTHERS


@pytest.mark.parametrize(("kind", "run", "words"), KINDS, ids=[kind for kind, _, _ in KINDS])
def test_refused(kind, run, words, tmp_path):
    with pytest.raises(InputError) as caught:
        run(tmp_path)
    message = str(caught.value)
    for word in words:
        assert str(word) in message, f"{kind}: {message!r} lacks {word!r}"


def test_the_base_itself_is_fine():
    one = scenario()
    assert simulate(one, lambda o: Decision(good_requests()), one.sample(worlds=1)).cost_per_period.shape == (1,)
    assert len(KINDS) >= 40


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for label, attempt, _ in KINDS:
            try:
                attempt(pathlib.Path(name))
            except InputError as error:
                print(f"{label:42} {error}")
            else:
                print(f"{label:42} ACCEPTED")
