"""Days closed by date: in the periods that the dates are in each window, and nowhere else; refused where there are none."""

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import make

from echelongym.agents.planning.perfect_information import perfect_information
from echelongym.agents.planning.rolling import RollingHorizon
from echelongym.envs import Decision, Network, Scenario, simulate
from echelongym.envs.core.errors import InputError

FIRST = datetime.date(2017, 11, 20)  # a Monday
DAYS = 70
CLOSED = ["2017-12-25", "2017-12-26", "2018-01-01", "2018-01-22"]


def record(folder: Path, first: datetime.date = FIRST, step: int = 1, name: str = "history.csv") -> str:
    rows = [f"{first + datetime.timedelta(step * day)},{3 + day % 4}" for day in range(DAYS)]
    (folder / name).write_text("\n".join(["date,store", *rows]) + "\n")
    return str(folder / name)


def scenario(file: str, closed: Any = CLOSED, **changes: Any) -> Scenario:
    """A store behind a depot, both closed on some days; 70 days, of which the last 17 are judged on."""
    given: dict[str, Any] = {
        "horizon": 15,
        "warm_up": 0,
        "units": "integer",
        "nodes": {
            "plant": {"kind": "supplier"},
            "depot": {"calendar": {"closed": closed}},
            "store": {"holding_cost": 1, "initial": 30},
        },
        "lanes": {
            "in": {"source": "plant", "target": "depot", "lead_time": 2},
            "out": {"source": "depot", "target": "store", "lead_time": 1, "calendar": {"closed": [5, 6, "2018-01-18"]}},
        },
        "customers": {
            "buyers": {
                "sources": {"store": {}},
                "demand": {"kind": "trace", "file": file, "series": "store"},
                "lost_share": 0,
                "backorder_cost": 9,
            }
        },
    }
    return Scenario.from_mapping(given).with_overrides(changes)


def dates_of(world: Scenario, purpose: str) -> list[datetime.date]:
    """Dates of a purpose's periods, counted here from the sentence of the split that ``show`` prints."""
    demand = np.asarray(world.sample(worlds=1, purpose=purpose).demand)[world.observe.history :, 0, 0, 0]
    starts = [
        day for day in range(DAYS - len(demand) + 1) if (demand == 3 + np.arange(day, day + len(demand)) % 4).all()
    ]
    said = " ".join(world.record_split())
    matching = [start for start in starts if str(FIRST + datetime.timedelta(start)) in said]
    assert matching
    start = matching[0] if purpose == "train" else matching[-1]
    return [FIRST + datetime.timedelta(start + day) for day in range(len(demand))]


@pytest.mark.parametrize(
    "windows", [None, {"train": ["2017-11-27", "2018-01-05"], "test": ["2018-01-08", "2018-01-28"]}]
)
def test_dates_are_closed_in_every_window(windows: Any, tmp_path: Path) -> None:
    world = scenario(record(tmp_path), **({"customers.buyers.demand.windows": windows} if windows else {}))
    seen = set()
    for purpose in ("train", "test"):
        tape = world.sample(worlds=2, purpose=purpose)
        assert tape.check(world) is tape
        days = dates_of(world, purpose)
        works = np.array([str(day) not in CLOSED for day in days])
        seen.update(str(day) for day, on in zip(days, works, strict=True) if not on)
        departs = np.array([period % 7 < 5 and str(day) != "2018-01-18" for period, day in enumerate(days)])
        for one in range(2):
            np.testing.assert_array_equal(tape.node_availability[:, one, 1], works)
            np.testing.assert_array_equal(tape.lane_availability[:, one, 1], departs)
            due = np.arange(15) + tape.lead_time[:, one, 0]
            for sent, day in enumerate(due):
                usual = days[0] + datetime.timedelta(sent + 2)
                waited = [str(usual + datetime.timedelta(k)) for k in range(int(day) - sent - 2)]
                assert set(waited) <= set(CLOSED)  # no longer than it is closed, and until it is open
                assert str(days[0] + datetime.timedelta(int(day))) not in CLOSED
        trace = simulate(world, lambda o: Decision(np.full((2, 2, 1), 4.0)), tape, trace=True, kpis=False).trace
        assert trace is not None
        assert not np.asarray(trace.shipped)[~works][:, :, 1].any()
        assert not np.asarray(trace.shipped)[~departs][:, :, 1].any()
        late = np.arange(15) > 2  # what was under way before period 0 keeps its days
        assert not np.asarray(trace.received)[~works & late][:, :, 0].any()
    assert "2018-01-22" in seen


def test_the_planner_and_the_bound_keep_to_them(tmp_path: Path) -> None:
    world = scenario(record(tmp_path))
    tape = world.sample(worlds=1, purpose="test")
    outcome = simulate(world, RollingHorizon(world), tape, trace=True, kpis=False)
    assert float(outcome.cost_per_period[0]) >= perfect_information(world, tape).cost[0] - 1e-9
    env = make("echelongym.envs:echelongym/Network-v1", scenario=world)
    assert "node_availability" in env.unwrapped.batch.encoder.slices  # type: ignore[attr-defined]
    env.reset(seed=1)
    for _ in range(15):
        env.step(np.zeros(env.action_space.shape, np.float32))


def test_files_keep_them(tmp_path: Path) -> None:
    world = scenario(record(tmp_path))
    world.save(tmp_path / "one.yaml")
    assert Scenario.load(tmp_path / "one.yaml").digest == world.digest
    world.to_csv(tmp_path / "tables")
    assert Network.from_csv(tmp_path / "tables") == world.network


def test_open_days_and_closed_dates_go_together(tmp_path: Path) -> None:
    file = record(tmp_path)
    one = scenario(file, **{"nodes.depot.calendar": {"open": [0, 1, 2, 3, 4], "closed": CLOSED}})
    other = scenario(file, closed=[5, 6, *CLOSED])
    for purpose in ("train", "test"):
        a, b = (each.sample(worlds=1, purpose=purpose) for each in (one, other))
        np.testing.assert_array_equal(a.node_availability, b.node_availability)
        np.testing.assert_array_equal(a.lead_time, b.lead_time)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"nodes.depot.calendar.closed": ["2017-12-32"]}, "'2017-12-32': expected a list of days of the cycle"),
        ({"nodes.depot.calendar.closed": ["2016-12-25"]}, "dates from 2017-11-20 to 2018-01-28"),
        ({"nodes.depot.calendar.closed": ["2017-12-25", "2017-12-25"]}, "every day only once"),
        ({"nodes.depot.calendar": {"open": [1], "closed": [2]}}, "beside open, closed can have dates only"),
        ({"nodes.depot.calendar": {"open": ["2017-12-25"]}}, "expected a list of days of the cycle"),
        ({"customers.buyers.demand.block": 7}, "closed = '2018-01-18': expected days of a cycle: dates are known"),
        ({"customers.buyers.demand": {"kind": "poisson", "mean": 4}}, "dates are known where demand is a record"),
    ],
    ids=str,
)
def test_dates_without_a_day_are_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    world = scenario(record(tmp_path))
    with pytest.raises(InputError) as caught:
        world.with_overrides(change)
    assert said in str(caught.value)
    assert "calendar" in str(caught.value)


def test_a_day_of_a_week_is_no_period_of_its_own(tmp_path: Path) -> None:
    file = record(tmp_path, step=7)
    with pytest.raises(InputError, match="a single day has no period of its own, as one is 1 week"):
        scenario(file)


def test_it_is_said_where_days_of_a_week_fall_on_other_weekdays(tmp_path: Path) -> None:
    """The record begins on a Monday; the last 17 of its 70 days, judged on, on the Friday 2018-01-12."""
    file = record(tmp_path)
    said = scenario(file).record_split()[-1]
    assert said.startswith(
        "Calendars count their days from period 0, which is a Monday in train and tune, a Friday in test"
    )
    windows = {"train": ["2017-11-27", "2018-01-07"], "test": ["2018-01-08", "2018-01-28"]}
    assert "Calendars" not in scenario(file, **{"customers.buyers.demand.windows": windows}).record_split()[-1]
