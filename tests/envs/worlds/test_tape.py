"""Tapes: worlds by name, whoever else is there; files; and what a tape is refused for."""

import copy
import io
import pickle
import zipfile

import numpy as np
import pytest
from demand_worlds import POISSON, busy, customer, scenario

from echelongym.envs.core.errors import InputError
from echelongym.envs.worlds.tape import Tape
from echelongym.envs.worlds.tape_arrays import ARRAYS

UNITS = ["continuous", "integer"]


def same(one, other, names=ARRAYS):
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert np.array_equal(a, b), name


@pytest.mark.parametrize("units", UNITS)
def test_shapes_are_those_of_the_contract(units):
    tape = busy(units=units).sample(worlds=5, seed=1, purpose="test")
    shapes = {name: getattr(tape, name).shape for name in ARRAYS}
    assert shapes == {
        "demand": (34, 5, 2, 2),
        "lead_time": (30, 5, 3),
        "node_availability": (30, 5, 4),
        "lane_availability": (30, 5, 3),
        "lane_yield": (30, 5, 3),
        "forecast": (30, 5, 2, 2, 3),
        "features": (30, 5, 0),
        "split": (30, 5, 4, 2),
        "thin": (30, 5, 3 + 2 + 2, 2),
    }
    assert (tape.periods, tape.batch, tape.history, tape.worlds) == (30, 5, 4, (0, 1, 2, 3, 4))
    assert tape.demand.dtype == (np.int64 if units == "integer" else np.float64)
    assert tape.lead_time.dtype == np.int64
    assert tape.products == ("milk", "bread")
    assert tape.lanes == ("dairy_hub", "hub_north", "hub_south")


@pytest.mark.parametrize("units", UNITS)
def test_a_world_is_the_same_alone_and_in_any_company(units):
    made = busy(units=units)
    many = made.sample(64, seed=7, purpose="test")
    same(made.sample([3], seed=7, purpose="test"), many[3])
    same(made.sample([40, 3, 3, 0], seed=7, purpose="test"), many[[40, 3, 3, 0]])
    same(made.sample(range(10, 20), seed=7, purpose="test"), many[10:20])
    # More worlds than are drawn in one block, and a scenario made anew.
    same(busy(units=units).sample(1500, seed=7, purpose="test")[:64], many)
    same(busy(units=units).sample(1500, seed=7, purpose="test")[[1499]], made.sample([1499], seed=7, purpose="test"))


def test_worlds_seeds_and_purposes_differ():
    made = busy(correlation={})
    tape = made.sample(50, seed=7, purpose="train")
    for other in (
        made.sample(50, seed=8),
        made.sample(50, seed=7, purpose="tune"),
        made.sample(range(50, 100), seed=7),
    ):
        one, two = tape.demand[..., 1, 0].ravel(), other.demand[..., 1, 0].ravel()
        assert np.mean(one == two) < 0.01
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.15  # periods with a strike share nothing either


@pytest.mark.parametrize("units", UNITS)
def test_more_periods_extend(units):
    made = busy(units=units)
    short, long = made.sample(6, seed=2, periods=30), made.sample(6, seed=2, periods=75)
    same(long.replace(**{name: getattr(long, name)[:30] for name in ARRAYS[1:]}, demand=long.demand[:34]), short)


@pytest.mark.parametrize("units", UNITS)
def test_more_history_changes_nothing_after_it(units):
    short = busy(units=units).sample(6, seed=2)
    long = busy(units=units, observe={"history": 9}).sample(6, seed=2)
    assert np.array_equal(long.demand[5:], short.demand)
    same(long, short, ARRAYS[1:])


def extended(units, **more):
    """The busy scenario with an entity of each kind added in front of the others."""
    data = busy(units=units).to_dict()
    for key, value in more.items():
        data[key] = {**value, **data[key]}
    return busy(**data)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize(
    "more",
    [
        {"customers": {"new": customer(POISSON, "hub", region="north")}},
        {"lanes": {"new": {"source": "dairy", "target": "hub", "lead_time": {"values": [1, 2], "probabilities": [0.5, 0.5]}}}},
        {"nodes": {"new": {"initial": 0}}},
        {"disruptions": {"new": {"when": {"mean_up": 5, "mean_down": 5}, "effects": [{"nodes": "north", "availability": 0}]}}},
        {"products": {"new": {}}},
    ],
    ids=lambda more: next(iter(more)),
)  # fmt: skip
def test_what_is_added_leaves_all_other_series_alone(units, more):
    before = busy(units=units).sample(8, seed=4)
    made = extended(units, **more)
    after = made.sample(8, seed=4)
    kind = next(iter(more))
    keep = slice(None)
    new = slice(1, None)
    c, p = (new if kind == key else keep for key in ("customers", "products"))
    assert np.array_equal(after.demand[:, :, c, p], before.demand)
    assert np.array_equal(after.forecast[:, :, c, p], before.forecast)
    lanes = new if kind == "lanes" else keep
    assert np.array_equal(after.lead_time[:, :, lanes], before.lead_time)
    assert np.array_equal(after.lane_yield[:, :, lanes], before.lane_yield)
    nodes = new if kind == "nodes" else keep
    hub = before.nodes.index("hub")
    assert np.array_equal(after.node_availability[:, :, nodes][:, :, hub], before.node_availability[:, :, hub])
    assert np.array_equal(after.split[:, :, nodes, p], before.split)
    # `thin` has lanes, pairs and customers behind each other.
    kept = [k for k, name in enumerate(made.lanes) if name in before.lanes]
    kept += [len(made.lanes) + k for k, name in enumerate(made.customers) if name in before.customers]
    kept += [
        len(made.lanes) + len(made.customers) + k for k, name in enumerate(made.customers) if name in before.customers
    ]
    assert np.array_equal(after.thin[:, :, kept, p], before.thin)


def test_whole_worlds_hold_whole_numbers():
    tape = busy(units="integer").sample(20, seed=1)
    assert tape.integer
    for fractions in (tape.split, tape.thin):
        grains = fractions * 65536
        assert np.array_equal(grains, np.floor(grains))
    # Drawn where a division or a share can come about, and different everywhere.
    assert np.array_equal(np.unique(tape.split[:, :, 0]), [0.5])
    assert np.unique(tape.split[:, :, 1:]).size > 3000
    drawn = [len(np.unique(tape.thin[:, :, k])) > 500 for k in range(7)]
    assert drawn == [False, False, True, False, False, True, False]  # the yield, and the lost share


def test_dynamics_read_only_what_varies():
    data = scenario().sample(4).exogenous
    assert data.demand.shape == (24, 1, 1, 4)
    assert data.demand.flags.c_contiguous
    assert all(value is None for name, value in data._asdict().items() if name != "demand")
    tape = busy(units="integer").sample(4)
    data = tape.exogenous
    assert np.array_equal(data.split, np.moveaxis(tape.split * 65536, 1, -1))
    assert data.thin.dtype == np.int64
    assert np.array_equal(data.lead_time, np.moveaxis(tape.lead_time, 1, -1))
    assert np.array_equal(data.forecast, np.moveaxis(tape.forecast, 1, -1))
    assert data.lane_availability is None
    assert data.lane_yield is not None
    assert data.features is None


def test_what_stands_on_the_tape_counts():
    """Not only what a process of the scenario would have drawn."""
    made = scenario({"shop": customer(POISSON)}, lanes={"truck": {"source": "mill", "target": "store", "lead_time": 2}})
    tape = made.sample(3)
    assert tape.exogenous.lead_time is None
    sooner = tape.lead_time.copy()
    sooner[5, 1, 0] = 1
    assert np.array_equal(tape.replace(lead_time=sooner).check(made).exogenous.lead_time, np.moveaxis(sooner, 1, -1))
    closed = np.array(tape.node_availability)
    closed[2, 0, 0] = 0
    changed = tape.replace(node_availability=closed).check(made).exogenous
    assert changed.node_availability is not None
    assert changed.lane_yield is None


@pytest.mark.parametrize("units", UNITS)
def test_a_tape_is_saved_and_loaded(units, tmp_path):
    made = busy(units=units)
    tape = made.sample([4, 9, 2], seed=3, purpose="tune")
    path = tmp_path / "deep" / "worlds.npz"
    tape.save(path)
    again = Tape.load(path)
    same(again, tape)
    assert again.worlds == (4, 9, 2)
    assert again.history == 4
    same(again.check(made), tape)
    assert again.check(made).fixed_lead_time == tape.fixed_lead_time
    # Plain arrays that any program reads: period first, then the world.
    with np.load(path, allow_pickle=False) as archive:
        assert archive["demand"].shape == (34, 3, 2, 2)
        assert archive["lanes"].tolist() == ["dairy_hub", "hub_north", "hub_south"]
        assert "lane_availability" not in archive.files  # neutral everywhere
    assert [item.name for item in path.parent.iterdir()] == ["worlds.npz"]  # no temporary file left
    bytes_before = path.read_bytes()
    tape.save(path)
    assert path.read_bytes() == bytes_before


def written(tmp_path, **arrays):
    path = tmp_path / "tape.npz"
    np.savez(path, **arrays)
    return path


NAMES = {"products": ["product"], "nodes": ["mill", "store"], "lanes": ["truck"], "customers": ["shop"]}


def test_only_demand_and_names_are_obligatory(tmp_path):
    made = scenario(lanes={"truck": {"source": "mill", "target": "store", "lead_time": 3}}, forecast={"horizon": 2})
    demand = np.arange(12.0).reshape(12, 1, 1, 1)
    tape = Tape.load(written(tmp_path, demand=demand, history=4, **NAMES)).check(made)
    assert (tape.periods, tape.batch) == (8, 1)
    assert (tape.lead_time == 3).all()
    for name, value in (("node_availability", 1), ("lane_availability", 1), ("lane_yield", 1), ("split", 0.5)):
        assert (getattr(tape, name) == value).all()
    assert tape.thin.shape == (8, 1, 3, 1)
    assert (tape.thin == 0.5).all()
    assert tape.forecast.shape == (8, 1, 1, 1, 2)
    assert (tape.forecast == 5).all()  # the mean
    # Without `history` it follows from the other arrays.
    lead_time = np.full((8, 1, 1), 2.0)
    tape = Tape.load(written(tmp_path, demand=demand, lead_time=lead_time, **NAMES)).check(made)
    assert (tape.history, tape.periods) == (4, 8)
    assert (tape.lead_time == 2).all()
    assert tape.lead_time.dtype == np.int64
    # Whole numbers are as good as any where units are continuous.
    tape = Tape.load(written(tmp_path, demand=demand.astype(int), history=4, **NAMES)).check(made)
    assert tape.demand.dtype == np.float64
    assert tape.exogenous.split is None


def test_recorded_demand_is_replayed():
    made = busy(units="integer", forecast={"horizon": 0})
    demand = np.arange(10 * 2 * 2).reshape(10, 2, 2).astype(float)
    tape = Tape.from_demand(made, demand, lane_yield=np.full((6, 3), 0.5))
    assert (tape.periods, tape.batch) == (6, 1)
    assert tape.demand.dtype == np.int64
    assert np.array_equal(tape.demand[:, 0], demand)
    assert (tape.lane_yield == 0.5).all()
    assert tape.lead_time[0, 0].tolist() == [3, 3, 2]  # the mean of 2.4, rounded up
    batch = Tape.from_demand(made, np.stack([demand, demand + 1], axis=1), lane_yield=np.full((6, 3), 0.5))
    assert batch.lane_yield.shape == (6, 2, 3)
    same(batch[1:], Tape.from_demand(made, demand + 1, lane_yield=np.full((6, 3), 0.5)))


def test_surplus_history_is_cut_off():
    made = scenario(observe={"history": 2})
    long = scenario(observe={"history": 6}).sample(3, seed=5)
    same(long.check(made), made.sample(3, seed=5))


def test_selecting_worlds():
    tape = busy().sample([7, 8, 9], seed=1)
    assert tape[-1].worlds == (9,)
    assert tape[np.array([True, False, True])].worlds == (7, 9)
    assert np.array_equal(tape[1:].demand, tape.demand[:, 1:])
    assert tape[1:].exogenous.demand.flags.c_contiguous
    with pytest.raises(IndexError):
        tape[3]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"worlds": 0}, "worlds = 0: expected at least one world"),
        ({"worlds": []}, r"worlds = \[\]: expected a number of worlds"),
        ({"worlds": [1, -1]}, r"worlds = \[1, -1\]: expected"),
        ({"worlds": [0.5]}, r"worlds = \[0.5\]: expected"),
        ({"worlds": "all"}, "worlds = 'all': expected"),
        ({"worlds": True}, "worlds = True: expected"),
        ({"seed": -3}, "seed = -3: expected a whole number >= 0"),
        ({"purpose": "validation"}, "purpose = 'validation': expected one of train, tune, test"),
        ({"periods": 0}, "periods = 0: expected a whole number >= 1"),
        ({"periods": 2.5}, "periods = 2.5"),
    ],
)
def test_bad_samples_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        scenario().sample(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"customers": {"kiosk": customer(POISSON)}}, r"customers\[0\] = 'shop': expected 'kiosk', as in scenario"),
        ({"customers": {"shop": customer(POISSON), "b": customer(POISSON)}}, r"customers\[1\] = None: expected 'b'"),
        ({"products": {"milk": {}}}, r"products\[0\] = 'product': expected 'milk'"),
        ({"nodes": {"mill": {"kind": "supplier"}, "store": {}, "b": {}}}, r"nodes\[2\] = None: expected 'b'"),
        ({"lanes": {"van": {"source": "mill", "target": "store"}}}, r"lanes\[0\] = 'truck': expected 'van'"),
        ({"lanes": {}}, r"lanes\[0\] = 'truck': expected no more names; the tape is of another network"),
        ({"observe": {"history": 9}}, "history = 4: expected at least 9"),
    ],
    ids=str,
)
def test_a_tape_of_another_network_is_refused_by_name(change, message):
    with pytest.raises(InputError, match=f"^tape: {message}"):
        scenario().sample(2).check(scenario(**change))


def with_value(tape, name, place, value):
    array = np.array(getattr(tape, name), dtype=float if name != "lead_time" else None)
    array[place] = value
    return tape.replace(**{name: array})


@pytest.mark.parametrize(
    ("units", "name", "place", "value", "message"),
    [
        ("continuous", "demand", (2, 1, 0, 1), np.nan, "demand of period -2, world 1, customer north_shops, product bread"),
        ("continuous", "demand", (5, 0, 1, 0), -0.1, "demand of period 1, world 0, customer south_shops, product milk = -0.1"),
        ("continuous", "demand", (5, 0, 1, 0), np.inf, "= inf: expected a finite number >= 0"),
        ("integer", "demand", (5, 0, 1, 0), 1.5, "= 1.5: expected a whole number, as units is integer"),
        ("continuous", "lead_time", (5, 0, 1), -1, "lead_time of period 5, world 0, lane hub_north = -1: expected"),
        ("continuous", "lead_time", (5, 0, 0), 9, "lead_time of period 5, world 0, lane dairy_hub = 9: expected at"),
        ("continuous", "node_availability", (5, 0, 0), 1.2, "node_availability of .*, node dairy = 1.2: expected a share"),
        ("continuous", "node_availability", (5, 0, 3), 0.5, "node south = 0.5: expected 0 or 1 without a capacity"),
        ("continuous", "lane_availability", (5, 0, 0), 0.5, "lane dairy_hub = 0.5: expected 0 or 1 without"),
        ("continuous", "lane_availability", (5, 0, 0), np.nan, "lane dairy_hub = nan: expected a share"),
        ("continuous", "lane_yield", (5, 0, 2), -0.5, "lane_yield of period 5, world 0, lane hub_south = -0.5"),
        ("continuous", "forecast", (5, 0, 0, 0, 2), np.inf, "forecast of .*, slot 2 = inf: expected a finite number"),
        ("integer", "split", (5, 0, 1, 0), 0.3, "split of .*, node hub, product milk = 0.3: expected a multiple of 1/65536"),
        ("integer", "thin", (5, 0, 1, 0), 1.0, "= 1.0: expected a multiple of 1/65536"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_place(units, name, place, value, message):
    made = busy(units=units)
    tape = with_value(made.sample(2), name, place, value)
    with pytest.raises(InputError, match=message):
        tape.check(made)


def test_a_bad_value_that_repeats_is_found():
    made = busy()
    tape = made.sample(2)
    yields = np.broadcast_to(np.array([1.0, 1.0, 7.0]), (30, 2, 3))
    with pytest.raises(InputError, match=r"lane hub_south = 7\.0"):
        tape.replace(lane_yield=yields).check(made)


def test_a_return_lane_takes_at_least_a_period():
    lanes = {
        "truck": {"source": "mill", "target": "store"},
        "back": {"source": "shop", "target": "store", "lead_time": 2, "return_share": 0.1},
    }
    made = scenario(lanes=lanes)
    tape = with_value(made.sample(1), "lead_time", (3, 0, 1), 0)
    with pytest.raises(InputError, match="lane back = 0: expected at least 1 on a return lane"):
        tape.check(made)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"lead_time": np.ones((20, 2, 2))}, r"lead_time.shape = \(20, 2, 2\): expected the shape \(20, 2, 1\)"),
        ({"demand": np.ones((24, 2, 1))}, r"demand.shape = \(24, 2, 1\)"),
        ({"lane_yield": np.ones((19, 2, 1))}, "lane_yield.shape"),
        ({"lane_yield": np.full((20, 2, 1), "x")}, "lane_yield.dtype"),
        ({"demands": np.ones((24, 2, 1, 1))}, "array = 'demands': expected one of .*; did you mean 'demand'"),
    ],
)  # fmt: skip
def test_arrays_that_do_not_fit_together_are_refused(arrays, message):
    with pytest.raises(InputError, match=message):
        scenario().sample(2).replace(**arrays)


def test_broken_files_are_refused(tmp_path):
    good = tmp_path / "good.npz"
    busy().sample(20).save(good)
    content = good.read_bytes()
    bad = tmp_path / "bad.npz"
    for size in (0, 10, 1000, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"bad.npz: "):
            Tape.load(bad)
    # A flipped byte in the middle of an array is caught by its checksum.
    bad.write_bytes(content[:5000] + bytes([content[5000] ^ 255]) + content[5001:])
    with pytest.raises(InputError, match=r"bad.npz: "):
        Tape.load(bad)
    with pytest.raises(InputError, match=r"tape = '.*missing.npz': expected the path of an .npz file that exists"):
        Tape.load(tmp_path / "missing.npz")
    with pytest.raises(InputError, match=r"expected the path of an \.npz file"):
        Tape.load(tmp_path)
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(InputError, match=r"expected an .npz file of several arrays"):
        Tape.load(tmp_path / "one.npy")


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def test_pickles_are_never_loaded(tmp_path):
    path = tmp_path / "trap.npz"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match=r"trap.npz: .*pickle"):
        Tape.load(path)
    np.savez(path, demand=np.array([Trap()], dtype=object), **NAMES)
    with pytest.raises(InputError, match="holds pickled objects, which are never loaded"):
        Tape.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"demand": None}, "demand: expected this array, which has no default"),
        ({"lanes": None}, "lanes: expected this array, which has no default"),
        ({"history": None}, "history: expected how many rows of demand are before period 0"),
        ({"history": -1}, "history = -1: expected a whole number >= 0"),
        ({"history": 40}, "history = 40: expected fewer than the 24 rows of demand"),
        ({"history": 2.5}, "history = 2.5: expected a whole number"),
        ({"worlds": [1, 2, 3]}, r"demand.shape = \(24, 1, 1, 1\): expected the shape \(24, 3, 1, 1\)"),
        ({"worlds": [0.5]}, r"worlds = \[0.5\]: expected a list of whole numbers"),
        ({"nodes": [1, 2]}, r"nodes = \[1, 2\]: expected an array of names"),
        ({"leadtime": [1]}, "unknown array 'leadtime'; did you mean 'lead_time'"),
        ({"lead_time": np.ones((3, 1, 1))}, r"lead_time.shape = \(3, 1, 1\): expected the shape \(20, 1, 1\)"),
        ({"demand": np.ones((24, 1, 1))}, r"demand.shape = \(24, 1, 1\): expected four axes"),
        ({"customers": ["a", "b"]}, "demand.shape = .*: expected the shape"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, change, message):
    arrays = {"demand": np.ones((24, 1, 1, 1)), "history": 4, **NAMES, **change}
    path = written(tmp_path, **{key: value for key, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=rf"tape.npz: {message}"):
        Tape.load(path)


def test_an_archive_of_something_else_is_refused(tmp_path):
    path = tmp_path / "notes.npz"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("demand", "not an array")
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"notes.npz: demand: expected an array"):
        Tape.load(path)


# --- recorded demand as a process -----------------------------------------------------------------


def recorded(tmp_path, block=7, part=0.5, **more):
    """Two shops and two products whose demand tells the day, thousands the series, it was recorded."""
    columns = ["a/milk", "a/bread", "b/milk", "b/bread"]
    rows = [f"{day}," + ",".join(str(day + 1000 * k + part) for k in range(4)) for day in range(140)]
    (tmp_path / "sales.csv").write_text("\n".join(["period," + ",".join(columns), *rows]))
    trace = {"kind": "trace", "file": "sales.csv", "windows": {"train": [0, 97], "test": [98, 139]}}
    if block:
        trace["block"] = block
    customers = {"a": customer(trace), "b": customer(trace)}
    return scenario(customers, products={"milk": {}, "bread": {}}, base_dir=str(tmp_path), horizon=30, **more)


def days(tape):
    """Day of the record shown in each row and world, the same in every series."""
    flat = tape.demand.reshape(*tape.demand.shape[:2], 4) - 0.5 - 1000 * np.arange(4)
    assert (flat == flat[..., :1]).all()
    return flat[..., 0].astype(int)


def test_blocks_of_the_record_are_strung_together(tmp_path):
    made = recorded(tmp_path)
    tape = made.sample(400, seed=1)
    shown = days(tape)
    # From period 0 on, blocks of seven days in a row, begun on the same day of the week.
    for start in range(4, 32, 7):
        assert (shown[start] % 7 == 0).all()
        assert (np.diff(shown[start : start + 7], axis=0) == 1).all()
    assert shown.min() >= 0
    assert shown.max() <= 97
    counts = np.bincount(shown[4] // 7, minlength=14)
    assert counts.min() > 5  # each of the 14 weeks, 28.6 times on average
    # As with any other process: a world is itself in any company and however long it is watched.
    same(made.sample([3], seed=1), tape[3])
    assert np.array_equal(recorded(tmp_path, observe={"history": 10}).sample(400, seed=1).demand[6:], tape.demand)
    assert np.array_equal(made.sample(400, seed=1, periods=50).demand[:34], tape.demand)
    shown = days(made.sample(50, seed=1, purpose="test"))
    assert shown.min() >= 98


def test_a_record_without_blocks_is_replayed_in_order(tmp_path):
    made = recorded(tmp_path, block=None)
    assert np.array_equal(days(made.sample(3, purpose="test")), np.tile(np.arange(94, 128)[:, None], 3))
    with pytest.raises(InputError, match=r"windows.test = \[98, 139\]: expected a window of at least 50 periods"):
        made.sample(3, purpose="test", periods=50)


def test_recorded_demand_meets_the_other_processes(tmp_path):
    storm = {"when": {"from": 2, "to": 2}, "effects": [{"customers": "b", "demand_factor": 1.2}]}
    more = {"disruptions": {"storm": storm}, "forecast": {"horizon": 2, "skill": 1.0}}
    tape = recorded(tmp_path, **more).sample(5, seed=1)
    plain = recorded(tmp_path).sample(5, seed=1)
    factor = np.ones((34, 1, 2, 1))
    factor[6, 0, 1] = 1.2
    assert np.allclose(tape.demand, plain.demand * factor)
    assert np.allclose(tape.forecast[:, :, :, :, 0], tape.demand[4:])
    assert np.allclose(tape.forecast[:29, :, :, :, 1], tape.demand[5:])
    with pytest.raises(InputError, match=r"sales.csv: a/milk at 0 = 0.5: expected a whole number, as units is integer"):
        recorded(tmp_path, units="integer", **more)
    whole = recorded(tmp_path, part=0, units="integer", **more).sample(5, seed=1)
    assert np.array_equal(whole.demand, np.floor((plain.demand - 0.5) * factor + 0.5))
    moments = recorded(tmp_path).demand_processes["b"]["milk"]
    assert moments.mean == pytest.approx(2049)  # of what training worlds see
    unknown = recorded(tmp_path, forecast={"horizon": 2, "skill": 0.0}).sample(2)
    assert np.allclose(unknown.forecast[:, :, 1, 0], 2049)


def test_a_scenario_that_was_sampled_is_still_plain_data():
    made = busy()
    before = made.to_dict()
    tape = made.sample(3)
    assert made.to_dict() == before
    assert made.digest == busy().digest
    same(pickle.loads(pickle.dumps(made)).sample(3), tape)  # noqa: S301 (our own bytes)


def test_a_tape_never_changes():
    """Neither by itself, nor by the arrays it was made of: so it is checked once."""
    made = busy()
    given = np.array(made.sample(3, seed=1).demand)
    tape = made.sample(3, seed=1).replace(demand=given)
    whole = tape.exogenous.demand.copy()
    assert tape.check(made) is tape.check(made)
    given[...] = -1.0
    assert np.array_equal(tape.check(made).exogenous.demand, whole)
    for one in (tape, made.sample(3, seed=1), tape[:2], copy.deepcopy(tape)):
        one.check(made)
        with pytest.raises(ValueError, match="read-only"):
            one.demand[...] = 1.0
    with pytest.raises(InputError, match="demand"):
        tape.replace(demand=given).check(made)


def test_a_tape_that_fits_one_scenario_is_checked_for_another():
    one, other = busy(), busy(units="integer")
    tape = one.sample(3, seed=1)
    assert tape.check(one) is tape
    with pytest.raises(InputError, match="whole number"):
        tape.check(other)
    assert tape.check(one) is tape


def test_what_repeats_in_an_array_takes_no_memory_in_a_tape():
    made = busy()
    tape = made.sample(3, seed=1)
    ones = np.broadcast_to(np.ones((1, 1, tape.node_availability.shape[2])), tape.node_availability.shape)
    assert tape.replace(node_availability=ones).node_availability.strides[:2] == (0, 0)
