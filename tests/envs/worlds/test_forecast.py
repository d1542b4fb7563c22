"""Forecasts: a martingale of the stated skill, the same whatever the horizon."""

import numpy as np
import pytest
from demand_worlds import POISSON, customer, scenario

from echelongym.envs.core.errors import InputError

NORMAL = {"kind": "normal", "mean": 100, "standard_deviation": 10}
WORLDS, PERIODS = 2000, 60


def looks(skill, horizon=4, spec=NORMAL, **more):
    """Demand and the looks at it: (periods, worlds) and (lead 1 .. horizon, periods, worlds)."""
    forecast = {"horizon": horizon, "skill": skill}
    more = {"correlation": {}, **more}
    tape = scenario({"shop": customer(spec)}, forecast=forecast, **more).sample(WORLDS, seed=2, periods=PERIODS)
    demand = tape.demand[tape.history :, :, 0, 0]
    # The look at period t with lead j + 1 was slot j of period t - j.
    at = [[tape.forecast[t - j, :, 0, 0, j] for t in range(horizon, PERIODS)] for j in range(horizon)]
    return demand[horizon:], np.array(at), tape


def covariance(a, b):
    """Covariance and its standard error."""
    products = (a - a.mean()) * (b - b.mean())
    return products.mean(), products.std() / np.sqrt(products.size)


@pytest.mark.parametrize("skill", [0.3, 0.6, 0.95])
def test_looks_are_a_martingale(skill):
    demand, at, _ = looks(skill)
    for near in range(4):
        # Cov(f_j, f_k) = skill^k Var: what the farther look knows, the nearer one knows too.
        for far in range(near, 4):
            found, error = covariance(at[near], at[far])
            assert abs(found - 100 * skill ** (far + 1)) < 5 * error
        found, error = covariance(at[near], demand)
        assert abs(found - 100 * skill ** (near + 1)) < 5 * error
        assert abs(at[near].mean() - 100) < 5 * at[near].std() / np.sqrt(at[near].size)
    # Successive revisions are uncorrelated with each other and with the look before.
    revisions = [at[3], at[2] - at[3], at[1] - at[2], at[0] - at[1], demand - at[0]]
    for k, one in enumerate(revisions):
        for other in revisions[:k]:
            found, error = covariance(one, other)
            assert abs(found) < 5 * error


@pytest.mark.parametrize("spec", [POISSON, {"kind": "gamma", "mean": 4, "standard_deviation": 3}])
def test_skill_is_the_share_of_variance_known_at_lead_1(spec):
    demand, at, _ = looks(0.6, spec=spec)
    squared = np.corrcoef(at[0].ravel(), demand.ravel())[0, 1] ** 2
    assert abs(squared - 0.6) < 5 * 2 * np.sqrt(0.6) * 0.4 / np.sqrt(demand.size) * 2
    # The best linear use of a look is the look itself, and older looks add nothing to it.
    design = np.stack([np.ones(demand.size), at[0].ravel(), at[1].ravel(), at[2].ravel()], axis=1)
    weights = np.linalg.lstsq(design, demand.ravel(), rcond=None)[0]
    assert np.abs(weights[1:] - [1, 0, 0]).max() < 0.03


def test_full_skill_sees_everything_and_none_the_mean():
    demand, at, _ = looks(1.0)
    assert np.allclose(at, demand)
    season = {"amplitude": 0.3, "period": 5}
    _, at, _ = looks(0.0, spec={**NORMAL, "season": season})
    factor = 1 + 0.3 * np.sin(2 * np.pi * np.arange(4, PERIODS) / 5)
    assert np.allclose(at, 100 * factor[:, None])


def test_the_season_is_known_and_disruptions_are_not():
    season = {"amplitude": 0.5, "period": 4}
    storm = {"when": {"from": 30, "to": 30}, "effects": [{"customers": "all", "demand_factor": 3}]}
    _, at, _ = looks(0.5, spec={**NORMAL, "season": season}, disruptions={"storm": storm})
    factor = 1 + 0.5 * np.sin(2 * np.pi * np.arange(4, PERIODS) / 4)
    for lead in range(4):
        known = 0.5 ** (lead + 1)
        truth = 100 * factor * (1 + known * 2 * (np.arange(4, PERIODS) == 30))
        assert np.abs(at[lead].mean(axis=1) - truth).max() < 5 * 30 / np.sqrt(WORLDS)
        calm = np.delete(np.arange(PERIODS - 4), 26)
        spread = at[lead][calm].var(axis=1) / (100 * known * factor[calm] ** 2)
        assert np.abs(spread - 1).max() < 5 * np.sqrt(2 / WORLDS)


def test_the_nearest_look_comes_before_its_demand():
    """Slot 0 of period t looks at period t, which slot 1 of period t - 1 looked at before."""
    _, _, tape = looks(1.0, horizon=3)
    for slot in range(3):
        seen = tape.forecast[: PERIODS - slot, :, 0, 0, slot]
        assert np.allclose(seen, tape.demand[tape.history + slot :, :, 0, 0])


def test_a_longer_horizon_leaves_nearer_slots_alone():
    short, long = looks(0.7, horizon=2)[2], looks(0.7, horizon=6)[2]
    assert np.array_equal(short.forecast, long.forecast[..., :2])
    assert np.array_equal(short.demand, long.demand)


def test_the_last_periods_look_beyond_the_end():
    short = looks(0.7, horizon=3)[2]
    made = scenario({"shop": customer(NORMAL)}, forecast={"horizon": 3, "skill": 0.7})
    longer = made.sample(WORLDS, seed=2, periods=PERIODS + 3)
    assert np.array_equal(short.forecast, longer.forecast[:PERIODS])
    assert np.array_equal(short.demand, longer.demand[: len(short.demand)])


def test_no_forecast_is_no_slot():
    assert scenario().sample(3).forecast.shape == (20, 3, 1, 1, 0)


@pytest.mark.parametrize(
    ("forecast", "message"),
    [
        ({"horizon": -1}, "forecast.horizon = -1: expected a whole number >= 0"),
        ({"horizon": 2.5}, "forecast.horizon = 2.5"),
        ({"horizon": 2, "skill": 1.2}, "forecast.skill = 1.2: expected a finite number >= 0 and <= 1"),
        ({"horison": 2}, "unknown key 'horison'; did you mean 'horizon'"),
    ],
)
def test_bad_forecasts_are_refused(forecast, message):
    with pytest.raises(InputError, match=message):
        scenario(forecast=forecast)
