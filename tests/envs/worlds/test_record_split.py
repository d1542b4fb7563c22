"""Who sees which recorded periods: the split in time, replay in order to the last day, windows and events by date."""

import datetime
import pickle

import numpy as np
import pytest

from echelongym.envs import Decision, NetworkEnv, Scenario, simulate
from echelongym.envs.core.errors import InputError
from echelongym.envs.recorded.blocks import whole_blocks
from echelongym.envs.recorded.record import Record, RecordDates
from echelongym.envs.recorded.windows import Windows, spans
from echelongym.envs.worlds.record_statement import playable, record_split, split_is_apart

START = datetime.date(2024, 1, 1)


def made(folder, periods=60, horizon=20, dated=False, demand=None, **more):
    """A shop whose demand in a period is 100 + the number of the period in the record."""
    first = [str(START + datetime.timedelta(days=t)) if dated else str(t) for t in range(periods)]
    head = "date" if dated else "period"
    (folder / f"{head}{periods}.csv").write_text(
        f"{head},people\n" + "".join(f"{a},{100 + t}\n" for t, a in enumerate(first))
    )
    return Scenario.from_mapping(
        {
            "name": "mine",
            "horizon": horizon,
            "nodes": {"plant": {"kind": "supplier"}, "shop": {"holding_cost": 1}},
            "lanes": {"truck": {"source": "plant", "target": "shop", "lead_time": 1}},
            "customers": {
                "people": {
                    "sources": {"shop": {}},
                    "demand": {"kind": "trace", "file": f"{head}{periods}.csv", **(demand or {})},
                    "lost_share": 1.0,
                    "lost_sale_cost": 9,
                }
            },
            "base_dir": str(folder),
            **more,
        }
    )


def shown(scenario, purpose, worlds=1, **keys):
    """Record days that worlds of a purpose play, (T, B)."""
    tape = scenario.sample(worlds, purpose=purpose, **keys)
    return tape.demand[tape.history :, :, 0, 0] - 100


def recorded(periods):
    return Record("r.csv", periods)


# ------------------------------------------------------------------------------------------------------------- the split


@pytest.mark.parametrize("block", [None, 1, 3, 7])
def test_nothing_is_judged_on_what_it_was_fitted_to(block):
    """Over random lengths and horizons: windows are apart, and as long as the record allows."""
    draw = np.random.default_rng(block or 0)
    for _ in range(300):
        periods, horizon = int(draw.integers(2, 200)), int(draw.integers(1, 80))
        if block and periods < 2 * block:
            continue
        found = spans(None, recorded(periods), block, horizon, None)
        train, tune, test = found["train"], found["tune"], found["test"]
        assert train == tune
        assert train[1] < test[0]
        if block:
            assert train[1] + 1 == test[0]
            blocks = periods // block
            assert len(whole_blocks(test, block)) == max(blocks // 4, 1)
            assert len(whole_blocks(train, block)) == blocks - max(blocks // 4, 1)
        elif periods >= 2 * horizon:
            assert min(train[1] - train[0], test[1] - test[0]) + 1 >= horizon
            assert test[1] == periods - 1
        learn, validate = found["learn"], found["validate"]
        if learn is not None:
            assert train[0] == learn[0] <= learn[1] < validate[0] <= validate[1] == train[1]
            if block:
                assert min(len(whole_blocks(one, block)) for one in (learn, validate)) >= 1
                assert len(whole_blocks(learn, block)) + len(whole_blocks(validate, block)) == len(
                    whole_blocks(train, block)
                )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"test": (40, 59)}, {"train": (0, 39), "tune": (0, 39), "test": (40, 59)}),
        ({"test": (0, 19)}, {"train": (20, 59), "tune": (20, 59), "test": (0, 19)}),
        ({"train": (0, 29)}, {"train": (0, 29), "tune": (0, 29), "test": (30, 59)}),
        ({"train": (0, 29), "tune": (30, 39)}, {"test": (40, 59), "learn": (0, 29), "validate": (30, 39)}),
        ({"train": (0, 39), "tune": (20, 39)}, {"learn": (0, 29), "validate": (30, 39)}),
        ({"tune": (0, 9), "test": (10, 59)}, {"train": (0, 9), "learn": (0, 4), "validate": (5, 9)}),
    ],
)
def test_windows_left_out_follow_from_those_given(given, expected):
    found = spans(Windows(**given), recorded(60), None, 10, None)
    assert {key: found[key] for key in expected} == expected


def test_worlds_show_what_the_split_says(tmp_path):
    scenario = made(tmp_path, demand={"block": 7}, periods=70)  # ten blocks: two judge, two choose, six train
    seen = {p: set(shown(scenario, p, 200).ravel()) for p in ("train", "tune", "test", "learn", "validate")}
    assert seen["train"] == seen["tune"] == set(range(56))
    assert seen["test"] == set(range(56, 70))
    assert seen["learn"] == set(range(42))
    assert seen["validate"] == set(range(42, 56))
    assert split_is_apart(scenario)
    whole = made(tmp_path, demand={"block": 7, "windows": "whole"}, periods=70)
    assert set(shown(whole, "test", 300).ravel()) == set(range(70))
    assert not split_is_apart(whole)


def test_learners_worlds_are_those_of_train_and_tune_where_nothing_is_recorded():
    scenario = Scenario.load("one_warehouse")
    for one, other in (("learn", "train"), ("validate", "tune")):
        np.testing.assert_array_equal(
            scenario.sample(3, seed=2, purpose=one).demand, scenario.sample(3, seed=2, purpose=other).demand
        )


def test_a_scenario_with_a_record_goes_to_other_processes(tmp_path):
    """Tuning side by side and bounds send scenarios that were sampled."""
    scenario = made(tmp_path, dated=True)
    tape = scenario.sample(2, purpose="test")
    again = pickle.loads(pickle.dumps(scenario))  # noqa: S301 (our own bytes)
    np.testing.assert_array_equal(again.sample(2, purpose="test").demand, tape.demand)
    assert again.record_split() == scenario.record_split()


def test_the_split_is_said_in_words(tmp_path):
    (text,) = record_split(made(tmp_path, dated=True))
    assert "trained on 2024-01-01 to 2024-02-09, judged on 2024-02-10 to 2024-02-29" in text
    assert "learns from 2024-01-01 to 2024-01-20 and chooses its checkpoint on 2024-01-21 to 2024-02-09" in text
    assert "all worlds of one purpose are identical, one history" in text
    assert "mean of the training periods stands in (119.5 a period)" in text
    (text,) = record_split(made(tmp_path, demand={"windows": "whole"}))
    assert "fitted to and judged on the same periods, periods 0 to 59" in text
    assert record_split(Scenario.load("one_warehouse")) == ()


def test_a_training_learns_from_other_days_than_its_checkpoint_is_chosen_on(tmp_path, monkeypatch):
    """What the learner and its judge draw, overheard."""
    from echelongym.experiments.commands.train import train

    scenario = made(tmp_path, periods=70, demand={"block": 7}, horizon=28)
    drawn: dict[str, set] = {}
    plain = Scenario.sample

    def overheard(self, worlds=512, seed=0, purpose="train", periods=None):
        tape = plain(self, worlds, seed, purpose, periods)
        drawn.setdefault(purpose, set()).update((np.asarray(tape.demand[tape.history :]) - 100).ravel().tolist())
        return tape

    monkeypatch.setattr(Scenario, "sample", overheard)
    train(
        scenario, "pathwise", tmp_path / "run", reference="automatic", bound=False, progress=False, tensorboard=False,
        budget={"env_steps": 5_000, "cpu_seconds": None}, validation={"worlds": 64},
    )  # fmt: skip
    assert drawn["learn"] <= set(range(42))
    assert drawn["validate"] == set(range(42, 56))
    assert not {"test"} & set(drawn)


# --------------------------------------------------------------------------------------------------------------- in order


def test_observing_more_never_changes_what_is_played(tmp_path):
    draw = np.random.default_rng(5)
    for _ in range(20):
        first, last = sorted(draw.choice(60, 2, replace=False).tolist())
        periods, history, ahead = (
            int(draw.integers(1, last - first + 2)),
            int(draw.integers(1, 30)),
            int(draw.integers(4)),
        )
        more = {"observe": {"history": history}, "forecast": {"horizon": ahead, "skill": 1.0}}
        scenario = made(tmp_path, demand={"windows": {"test": [first, last]}}, **more)
        tape = scenario.sample(2, purpose="test", periods=periods)
        np.testing.assert_array_equal(tape.demand[history:, 1, 0, 0], 100 + np.arange(first, first + periods))
        mean = scenario.demand_processes["people"]["product"].mean
        before = [100 + day if day >= 0 else mean for day in range(first - history, first)]
        np.testing.assert_array_equal(tape.demand[:history, 0, 0, 0], before)
        for slot in range(ahead):
            looked = [100 + day if day <= last else mean for day in range(first + slot, first + slot + periods)]
            np.testing.assert_allclose(tape.forecast[:, 0, 0, 0, slot], looked)


def test_a_record_is_playable_to_its_last_day(tmp_path):
    scenario = made(
        tmp_path, periods=30, horizon=30, demand={"windows": "whole"}, forecast={"horizon": 5, "skill": 0.5}
    )
    np.testing.assert_array_equal(shown(scenario, "test")[:, 0], np.arange(30))
    env = NetworkEnv(scenario, action="requests", purpose="test")
    env.reset(seed=1)
    for t in range(30):
        *_, truncated, _ = env.step(np.zeros(env.action_space.shape, dtype=np.float32))
        assert truncated == (t == 29)
    out = simulate(scenario, lambda o: Decision(np.zeros((1, 1, 1))), scenario.sample(1, purpose="test"), trace=True)
    np.testing.assert_array_equal(out.trace.demand[:, 0, 0, 0], 100 + np.arange(30))


def test_what_a_window_cannot_hold_says_what_to_do(tmp_path):
    scenario = made(tmp_path, periods=30, horizon=20)
    assert shown(scenario, "test").shape == (20, 1)
    with pytest.raises(InputError, match=r"windows.tune = \[0, 9\]: .*shorter horizon.*windows: whole.*block:"):
        shown(scenario, "tune")
    assert playable(scenario, "tune") == 10
    lone = made(tmp_path, periods=30, demand={"windows": {"train": [0, 29]}})
    with pytest.raises(InputError, match=r"windows.test = None: expected periods for it that no other window has"):
        shown(lone, "test")
    short = made(tmp_path, periods=30, demand={"windows": {"train": [0, 6], "test": [7, 29]}, "block": 7})
    with pytest.raises(InputError, match=r"windows.train = \[0, 6\]: expected a train window of at least two blocks"):
        shown(short, "learn")


def test_integer_worlds_have_whole_history_where_nothing_was_recorded(tmp_path):
    tape = made(tmp_path, units="integer").sample(1, purpose="train")
    assert tape.integer
    assert tape.demand[:4, 0, 0, 0].tolist() == [120] * 4  # the mean of 100 to 139 is 119.5


# ----------------------------------------------------------------------------------------------------------------- dates


def test_windows_may_be_dates(tmp_path):
    windows = {"train": ["2024-01-01", "2024-01-31"], "test": ["2024-02-01", "2024-02-29"]}
    scenario = made(tmp_path, dated=True, demand={"windows": windows})
    np.testing.assert_array_equal(shown(scenario, "test")[:, 0], np.arange(31, 51))
    assert Scenario.from_mapping({**scenario.to_dict(), "base_dir": str(tmp_path)}).digest == scenario.digest
    scenario.save(tmp_path / "mine.yaml")
    np.testing.assert_array_equal(shown(Scenario.load(tmp_path / "mine.yaml"), "test"), shown(scenario, "test"))
    for window, message in (
        (["2024-02-01", "2024-03-31"], "expected dates from 2024-01-01 to 2024-02-29"),
        (["2024-02-01", 59], "expected .first, last."),
        (["2024-02-31", "2024-03-31"], "expected .first, last."),
        (["2024-01-20", "2024-02-10"], "expected no period of train"),
    ):
        with pytest.raises(InputError, match=message):
            made(tmp_path, dated=True, demand={"windows": {**windows, "test": window}})
    with pytest.raises(
        InputError, match=r"windows.train = .*numbers of periods from 0 on, as period60.csv has no dates"
    ):
        made(tmp_path, demand={"windows": windows})


def test_weeks_and_months_are_found_by_dates_within():
    starts = tuple(datetime.datetime(2024, month, 1) for month in range(1, 13))
    record = Record("r.csv", 12, RecordDates(starts, "1 month"))
    windows = Windows(train=("2024-01-01", "2024-06-30"), test=("2024-07-01", "2024-12-01"))
    found = spans(windows, record, None, 3, None)
    assert (found["train"], found["test"]) == ((0, 5), (6, 11))


def test_an_event_by_date_falls_on_its_day_in_every_window(tmp_path):
    sale = {
        "when": {"from": "2024-02-12", "to": "2024-02-13"},
        "effects": [{"customers": "people", "demand_factor": 2}],
    }
    scenario = made(tmp_path, dated=True, disruptions={"sale": sale})
    test = scenario.sample(1, purpose="test")  # from 2024-02-10, day 40 of the record, on
    days = np.arange(36, 60)
    expected = (100 + days) * np.where((days == 42) | (days == 43), 2, 1)
    np.testing.assert_array_equal(test.demand[:, 0, 0, 0], expected)
    assert (shown(scenario, "train")[:, 0] == np.arange(20)).all()  # no such day in January
    whole = made(tmp_path, dated=True, disruptions={"sale": sale}, demand={"windows": "whole"}, horizon=60)
    assert shown(whole, "tune")[42, 0] == 2 * 142 - 100
    for change, message in (
        ({"dated": False}, "numbers of periods: dates are known where"),
        ({"demand": {"block": 7}}, "numbers of periods: dates are known where"),
        ({"periods": 20}, "expected dates from 2024-01-01 to 2024-01-20"),
    ):
        with pytest.raises(InputError, match=message):
            made(tmp_path, **{"dated": True, "disruptions": {"sale": sale}, "horizon": 5, **change})


def test_an_event_comes_again_every_so_many_periods(tmp_path):
    closed = {"when": {"from": 5, "to": 6, "every": 7}, "effects": [{"customers": "people", "demand_factor": 0}]}
    days = np.arange(20)
    found = shown(made(tmp_path, disruptions={"closed": closed}), "train")[:, 0]
    np.testing.assert_array_equal(found == -100, (days % 7 == 5) | (days % 7 == 6))
    late = {**closed, "when": {"from": 9, "to": 9, "every": 4}}
    found = shown(made(tmp_path, disruptions={"late": late}), "train")[:, 0]
    np.testing.assert_array_equal(found == -100, (days >= 9) & ((days - 9) % 4 == 0))


def test_planners_expect_what_comes_again(tmp_path):
    from echelongym.agents.planning.expectation import Expectations

    closed = {"when": {"from": 5, "to": 6, "every": 7}, "effects": [{"customers": "people", "demand_factor": 0}]}
    scenario = made(tmp_path, disruptions={"closed": closed})
    usual = Expectations(made(tmp_path), 30).mean_demand(0)
    days = np.arange(30)
    expected = np.where((days % 7 == 5) | (days % 7 == 6), 0, usual[:, 0, 0])
    np.testing.assert_allclose(Expectations(scenario, 30).mean_demand(0)[:, 0, 0], expected)
