"""Encoder and decoders: what each entry is, units, bounds, and actions whose zero is sane."""

from __future__ import annotations

from dataclasses import fields, replace
from statistics import NormalDist

import numpy as np
import pytest
import torch

from echelongym.envs import (
    ActionDecoder,
    Decision,
    InputError,
    NetworkEnv,
    NetworkVectorEnv,
    ObservationEncoder,
    Scenario,
    simulate,
)
from echelongym.envs.interface.action_decoder import DEFAULT_ACTION
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.observation_encoder import BOUND, KINDS
from echelongym.envs.simulate import periods
from echelongym.experiments.cli.compose import compose

SCENARIOS = ("two_region", "one_warehouse", "serial", "lost_sales", "dual_sourcing")


@pytest.fixture(scope="module")
def observed():
    """Observations of two_region under busy actions, with every array different from zero somewhere."""
    scenario = Scenario.load("two_region", {"observe.lead_time": "quoted"})
    decoder = ActionDecoder(scenario)
    rng = np.random.default_rng(0)

    def policy(observation):
        action = rng.uniform(-1, 1, (len(observation.period), decoder.size))
        return Decision(decoder.decode(action, observation))

    found = [observation for _, observation, _, _ in periods(scenario, policy, scenario.sample(5, seed=1))]
    return scenario, found[60:]


def test_slices_cover_the_vector_in_the_order_of_the_docstring(observed):
    scenario, _ = observed
    encoder = ObservationEncoder(scenario)
    stops = [0]
    for part in encoder.slices.values():
        assert part.start == stops[-1]
        stops.append(part.stop)
    assert stops[-1] == encoder.size == len(encoder.names) == len(set(encoder.names))
    listed = [line.split("``")[1] for line in ObservationEncoder.__doc__.splitlines() if line.startswith("    ``")]
    assert [name for name in listed if name in encoder.slices] == [
        n for n in encoder.slices if n != "lane_availability"
    ]


def test_each_entry_is_the_named_number_in_its_units(observed):
    """Read entry by entry from the named arrays, by the entry's own name."""
    scenario, observations = observed
    encoder, t = ObservationEncoder(scenario), scenario.tables
    index = {"nodes": t.nodes, "lanes": t.lanes, "customers": t.customers, "products": t.products}
    axes = {
        "on_hand": ("nodes", "products", None),
        "in_transit": ("lanes", "slot", "products", None),
        "backlog": ("customers", "products", None),
        "unfilled": ("lanes", "products"),
        "node_availability": ("nodes",),
        "demand_history": ("customers", "products", None),
        "forecast": ("customers", "products", None),
        "lead_time": ("lanes",),
    }
    seen = set()
    for observation in observations[::20]:
        flat = encoder.encode(observation)
        assert flat.shape == (5, encoder.size)
        assert flat.dtype == np.float32
        assert flat.flags.c_contiguous
        for entry, label in enumerate(encoder.names):
            name, _, rest = label.partition("[")
            if name not in axes:
                continue
            parts = rest.rstrip("]").split(", ")
            place = [
                index[axis].index(part) if axis in index else int(part)
                for axis, part in zip(axes[name], parts, strict=True)
            ]
            if name == "in_transit":
                place = [place[0], place[2], place[1], place[3]]
            raw = getattr(observation, name)[(slice(None), *place)]
            expected = np.clip((raw - encoder.centre[entry]) / encoder.unit[entry], -BOUND, BOUND)
            assert np.allclose(flat[:, entry], expected, rtol=1e-5, atol=1e-4), label
            if raw.any():
                seen.add(name)
    assert seen == set(axes)


def test_what_is_left_out_is_constant(observed):
    """Entries of the named arrays that no slice has never change."""
    scenario, observations = observed
    encoder = ObservationEncoder(scenario)
    for block in encoder.blocks:
        if block.name in ("position", "period", "season", "in_transit"):
            continue
        raw = np.stack([getattr(one, block.name).reshape(5, -1) for one in observations])
        varies = (raw != raw[:1, :1]).any((0, 1))
        kept = (
            np.ones(raw.shape[-1], dtype=bool)
            if block.picked is None
            else np.isin(np.arange(raw.shape[-1]), block.picked)
        )
        assert not (varies & ~kept).any(), block.name
    under_way = np.stack([one.in_transit for one in observations]).sum(axis=(0, 1))
    rows = np.zeros(under_way.shape[:1] + under_way.shape[2:3], dtype=bool)
    rows[encoder.rows.lane, encoder.rows.slot] = True
    assert not under_way[np.broadcast_to(~rows[:, None, :, None], under_way.shape)].any()


def test_positions_are_those_of_the_contract(observed):
    """Echelon position: stock of the node and its descendants, all under way into them, less their backlog."""
    scenario, observations = observed
    encoder, _t = ObservationEncoder(scenario), scenario.tables
    part = encoder.slices["position"]
    for observation in observations[::30]:
        units = encoder.encode(observation)[:, part] * encoder.unit[part] + encoder.centre[part]
        stock, way = observation.on_hand.sum((2, 3)), observation.in_transit.sum((2, 3, 4))
        waits = observation.backlog.sum((2, 3))
        north = stock[:, 2] + way[:, 1] + way[:, 2] + way[:, 5]
        south = stock[:, 3] + way[:, 3] + way[:, 4] - waits[:, 1]
        hub = stock[:, 1] + way[:, 0] + north + south
        # Express has lead time 0, the lateral lanes 1: what arrives later does not help them.
        slots = observation.in_transit.sum((2, 4))
        due_south = stock[:, 3] - waits[:, 1] + slots[:, 4, 0] + slots[:, 3, 0]
        due_north = stock[:, 2] + slots[:, 5].sum(1) + slots[:, 1].sum(1)
        # Nominal lead time 2 on hub_north: its slot 0 (and what is late) is due within one period, as is south_north.
        expected = np.stack([hub, north, stock[:, 2], south, due_south, due_north], 1)
        assert np.allclose(units, expected, rtol=1e-4, atol=1e-2)


def test_bounds_are_finite_and_kept():
    env = NetworkEnv("two_region")
    assert (env.observation_space.low == -BOUND).all()
    assert (env.observation_space.high == BOUND).all()
    env.reset(seed=0)
    for _ in range(100):
        observation, *_ = env.step(np.ones(env.action_space.shape))
        assert env.observation_space.contains(observation)


@pytest.mark.parametrize("name", SCENARIOS)
def test_entries_are_of_order_one_under_the_zero_action(name):
    env = NetworkEnv(name)
    env.reset(seed=0)
    flat = np.stack([env.step(np.zeros(env.action_space.shape))[0] for _ in range(150)])[30:]
    assert np.abs(flat.mean(0)).max() < 4
    assert np.median(np.abs(flat)) < 1.2
    assert flat.std(0).max() < 5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_requests_are_finite_and_on_open_lanes_only(name, kind):
    scenario = Scenario.load(name)
    decoder = ActionDecoder(scenario, kind)
    rng = np.random.default_rng(2)
    opened = scenario.tables.lane_open

    def policy(observation):
        requests = decoder.decode(rng.uniform(-2, 2, (len(observation.period), decoder.size)), observation)
        assert np.isfinite(requests).all()
        assert (requests >= 0).all()
        assert not requests[:, ~opened].any()
        return Decision(requests)

    simulate(scenario, policy, scenario.sample(3, seed=0, periods=scenario.warm_up + 20), kpis=False)
    assert decoder.size == opened.sum() == len(decoder.names)


def constant(decoder, action):
    """The policy of one action."""
    return lambda observation: Decision(
        decoder.decode(np.tile(np.asarray(action, dtype=np.float64), (len(observation.period), 1)), observation)
    )


# Cost per period of tuned echelon base-stock, or of the best known policy, to the nearest half percent.
GOOD = {"one_warehouse": 60.3, "serial": 10.734, "lost_sales": 4.7285, "dual_sourcing": 216.77}


@pytest.mark.parametrize("kind", ["order_up_to", "order_up_to_local", "proportional"])
@pytest.mark.parametrize("name", sorted(GOOD))
def test_the_zero_action_is_sane(name, kind):
    """Within a fifth of the published optimum, or of tuned base-stock where there is none."""
    scenario = Scenario.load(name)
    decoder = ActionDecoder(scenario, kind)
    cost = simulate(
        scenario, constant(decoder, np.zeros(decoder.size)), scenario.sample(64, seed=3), kpis=False
    ).cost_per_period
    assert cost.mean() < 1.2 * GOOD[name]


@pytest.mark.parametrize("a", [-0.3, 0.0, 0.4])
def test_proportional_closes_half_of_the_gap(observed, a):
    """Primary lanes: mean flow and half of what order_up_to asks beyond it; further lanes as under order_up_to."""
    scenario, observations = observed
    t, forest = scenario.tables, scenario.tables.primary_lane
    plain, smooth = (ActionDecoder(scenario, kind) for kind in ("order_up_to", "proportional"))
    target = plain.range.centre + a * (plain.range.slope + plain.range.bend * a**2)
    for observation in observations[::30]:
        action = np.full((5, plain.size), a)
        ours, theirs = (one.decode(action, observation) for one in (smooth, plain))
        for i, lane in enumerate(plain.lanes):
            node = t.lane_target[lane]
            if forest[node, 0] != lane:
                assert np.allclose(ours[:, lane, 0], theirs[:, lane, 0])
                continue
            echelon = [m for m in range(t.N) if t.echelon[node, m, 0]]
            position = sum(observation.on_hand[:, m].sum((1, 2)) for m in echelon)
            position = position + sum(
                observation.in_transit[:, other].sum((1, 2, 3))
                for other in range(t.L)
                if t.lane_target[other] in echelon
            )
            position = position - sum(
                observation.backlog[:, c].sum((1, 2)) for c in range(t.C) if t.first_source[c, 0] in echelon
            )
            further = [k for k in range(t.L) if t.lane_target[k] == node and k != lane]
            helping = sum((theirs[:, k, 0] for k in further), np.zeros(5))
            flow = t.mean_flow[node, 0]
            assert np.allclose(ours[:, lane, 0], np.maximum(flow + 0.5 * (target[i] - flow - position - helping), 0))


@pytest.mark.parametrize(("kind", "most"), [("order_up_to", 1.01), ("proportional", 1.02)])
def test_the_zero_action_needs_no_further_lanes_to_be_sane(kind, most):
    """On two_region: express and lateral lanes at 0 cost a percent or two more than leaving them out, at most."""
    scenario = Scenario.load("two_region")
    decoder, tape = ActionDecoder(scenario, kind), scenario.sample(64, seed=3)
    without = simulate(
        scenario, constant(decoder, np.where(decoder.primary, 0.0, -1.0)), tape, kpis=False
    ).cost_per_period
    with_them = simulate(scenario, constant(decoder, np.zeros(decoder.size)), tape, kpis=False).cost_per_period
    assert with_them.mean() < most * without.mean()


def test_one_default_action_everywhere():
    """Environments, decoder and `train` mean the same by an action where nobody says what it is."""
    scenario = Scenario.load("lost_sales")
    made = [NetworkEnv(scenario).decoder, NetworkVectorEnv(scenario, 2).decoder, ActionDecoder(scenario)]
    assert {one.kind for one in made} == {DEFAULT_ACTION} == {compose("train")["action"]}


def test_an_action_is_the_base_stock_level_it_says():
    """The serial system's exact levels, given as an action, cost what Clark and Scarf say: 10.734."""
    scenario = Scenario.load("serial")
    decoder = ActionDecoder(scenario, "order_up_to")
    exact = np.array([79.9, 70.3, 48.1, 32.3])  # near the optimum, whose cost is flat in the upper levels
    action = decoder.range.inverse(exact)
    decoding = decoder.range
    assert np.allclose(decoding.centre + action * (decoding.slope + decoding.bend * action**2), exact)
    outcome = simulate(scenario, constant(decoder, action), scenario.sample(512, seed=1), kpis=False)
    standard_error = outcome.cost_per_period.std() / np.sqrt(512)
    assert abs(outcome.cost_per_period.mean() - 10.734) < 4 * standard_error + 0.15


@pytest.mark.parametrize("name", SCENARIOS)
def test_ends_of_the_range(name):
    """-1 asks for nothing while nobody waits; 1 is twice the automatic level; the range rises."""
    scenario = Scenario.load(name)
    decoder, levels = ActionDecoder(scenario), automatic_levels(scenario)
    span = decoder.range
    grid = np.linspace(-1, 1, 21)[:, None]
    values = span.centre + grid * (span.slope + span.bend * grid**2)
    assert (np.diff(values, axis=0) > 0).all()
    primary, t = decoder.primary, scenario.tables
    level = levels.echelon.reshape(-1)[decoder.target]
    assert np.allclose(values[0, primary], 0)
    assert np.allclose(values[-1, primary], 2 * level[primary])
    assert np.allclose(values[10, primary], level[primary])
    assert (values[10] >= 0).all()
    assert t.lane_open.sum() == decoder.size


def test_local_levels_ask_as_echelon_levels_do_while_nothing_is_short():
    """In a chain, local levels that are differences of echelon levels give the same requests (Axsaeter, Rosling 1993)."""
    scenario = Scenario.load("serial")
    echelon, local = ActionDecoder(scenario, "order_up_to"), ActionDecoder(scenario, "order_up_to_local")
    zero = np.zeros((8, echelon.size))
    policy = constant(echelon, zero[0])
    for _, observation, _, _ in periods(scenario, policy, scenario.sample(8, seed=0, periods=80)):
        assert np.allclose(echelon.decode(zero, observation), local.decode(zero, observation), atol=1e-9)


def test_allocate_asks_for_shares_of_the_sources_stock(observed):
    scenario, observations = observed
    decoder = ActionDecoder(scenario, "allocate")
    action = np.zeros((5, decoder.size))
    for observation in observations[::40]:
        hub = observation.on_hand[:, 1].sum((1, 2))
        requests = decoder.decode(action, observation)[:, :, 0]
        lanes = [1, 3]
        assert np.allclose(requests[:, lanes], hub[:, None] * decoder.range.centre[lanes])
        assert not requests[:, [2, 4, 5]].any()


def test_requests_are_mean_flows(observed):
    scenario, observations = observed
    decoder = ActionDecoder(scenario, "requests")
    requests = decoder.decode(np.zeros((5, decoder.size)), observations[0])[0, :, 0]
    assert requests.tolist() == [35, 20, 0, 15, 0, 0]
    most = decoder.decode(np.ones((5, decoder.size)), observations[0])[0, :, 0]
    assert most.tolist() == [70, 40, 40, 30, 30, 40]


def test_the_vector_env_and_the_public_encoder_agree():
    env = NetworkEnv("two_region")
    observation, _ = env.reset(seed=0)
    for _ in range(40):
        assert np.array_equal(observation, env.encoder.encode(env.observation)[0])
        observation, *_ = env.step(np.full(env.action_space.shape, -0.1))


@pytest.mark.parametrize("name", ["two_region", "one_warehouse"])
@pytest.mark.parametrize("kind", KINDS)
def test_torch_encodes_and_decodes_alike(name, kind):
    """So that encoding and decoding can be exported."""
    scenario = Scenario.load(name)
    encoder, decoder = ObservationEncoder(scenario), ActionDecoder(scenario, kind)
    env = NetworkEnv(scenario)
    env.reset(seed=0)
    for _ in range(30):
        env.step(np.full(env.action_space.shape, 0.2))
    observation = env.observation
    arrays = {field.name: getattr(observation, field.name) for field in fields(observation)}
    tensors = replace(
        observation, **{k: None if v is None else torch.as_tensor(np.array(v)) for k, v in arrays.items()}
    )
    flat = encoder.encode(tensors)
    assert flat.dtype == torch.float32
    assert np.allclose(flat.numpy(), encoder.encode(observation), atol=1e-5)
    action = np.linspace(-1, 1, decoder.size, dtype=np.float32)[None]
    requests = decoder.decode(torch.as_tensor(action), tensors).numpy()
    assert np.allclose(requests, decoder.decode(action, observation), rtol=1e-6, atol=1e-6)


def test_unknown_kinds_are_named():
    with pytest.raises(InputError, match="action = 'order': expected one of order_up_to"):
        ActionDecoder(Scenario.load("serial"), "order")


@pytest.mark.parametrize(("lead_time", "penalty"), [(0, 9.0), (4, 9.0), (2, 3.0)])
def test_the_automatic_level_of_one_stage_is_the_newsvendors(lead_time, penalty):
    """Backlogged normal demand: (l + 1) mu + z sigma sqrt(l + 1), Phi(z) = p / (p + h), is optimal."""
    scenario = Scenario.from_mapping(
        {
            "nodes": {"plant": {"kind": "supplier"}, "store": {"holding_cost": 1.0}},
            "lanes": {"lane": {"source": "plant", "target": "store", "lead_time": lead_time}},
            "customers": {
                "shoppers": {
                    "sources": {"store": {}},
                    "demand": {"kind": "normal", "mean": 20, "standard_deviation": 2},
                    "lost_share": 0.0,
                    "backorder_cost": penalty,
                }
            },
        },
        where="test",
    )
    z = NormalDist().inv_cdf(penalty / (penalty + 1))
    exact = 20 * (lead_time + 1) + z * 2 * np.sqrt(lead_time + 1)
    levels = automatic_levels(scenario)
    assert levels.echelon[1, 0] == pytest.approx(exact, abs=1e-4) == pytest.approx(levels.local[1, 0], abs=1e-4)


@pytest.mark.parametrize("name", SCENARIOS)
def test_echelon_levels_are_sums_of_local_levels(name):
    scenario = Scenario.load(name)
    t, levels = scenario.tables, automatic_levels(scenario)
    for node in np.flatnonzero(~t.is_supplier):
        for product in range(t.P):
            inside = t.echelon[node, :, product]
            assert levels.echelon[node, product] == pytest.approx(levels.local[inside, product].sum())
            assert levels.local[node, product] >= 0
