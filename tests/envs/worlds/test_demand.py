"""Demand families against their stated means, variances and probabilities; season, correlation, input."""

import pickle

import numpy as np
import pytest
from demand_worlds import POISSON, customer, scenario
from scipy import integrate, stats

from echelongym.envs.core.errors import InputError
from echelongym.envs.processes.laws import ClippedNormal, count_law
from echelongym.envs.processes.series import Streams
from echelongym.envs.processes.written_demand import parse_demand

PERIODS, WORLDS = 250, 400


def process_of(spec, integer=False):
    return parse_demand(spec, ("milk",), integer, where="shop.demand")["milk"]


def drawn(spec, integer=False, by="uniform", seed=1):
    """Demand (PERIODS, WORLDS) by itself, from uniform numbers or normal scores."""
    worlds = Streams("train", seed, np.arange(WORLDS))
    numbers = {"uniform": worlds.uniforms, "score": worlds.normals}[by]("demand", ["shop/milk"], 0, PERIODS)
    return np.broadcast_to(process_of(spec, integer).draw(0, PERIODS, **{by: numbers[:, 0]}), (PERIODS, WORLDS))


def off(sample, mean, variance):
    """How many standard errors the sample's mean and variance are off (the larger)."""
    count = sample.size
    if variance == 0:
        return 0.0 if np.allclose(sample, mean, rtol=1e-12) else np.inf
    fourth = ((sample - mean) ** 4).mean()
    return max(
        abs(sample.mean() - mean) / np.sqrt(variance / count),
        abs(sample.var() - variance) / np.sqrt((fourth - variance**2) / count),
    )


# Specification, mean and variance of what it says, from textbooks.
CONTINUOUS = [
    ({"kind": "deterministic", "mean": 3.5}, 3.5, 0),
    ({"kind": "poisson", "mean": 0.3}, 0.3, 0.3),
    ({"kind": "poisson", "mean": 5}, 5, 5),
    ({"kind": "poisson", "mean": 1e6}, 1e6, 1e6),
    ({"kind": "negative_binomial", "mean": 20, "dispersion": 0.5}, 20, 20 + 0.5 * 400),
    ({"kind": "negative_binomial", "mean": 0.8, "dispersion": 3}, 0.8, 0.8 + 3 * 0.64),
    ({"kind": "negative_binomial", "mean": 4, "dispersion": 0}, 4, 4),
    ({"kind": "gamma", "mean": 4, "standard_deviation": 2}, 4, 4),
    ({"kind": "gamma", "mean": 4, "standard_deviation": 12}, 4, 144),
    ({"kind": "uniform", "low": 2, "high": 8}, 5, 3),
    ({"kind": "discrete", "values": [0, 1.5, 7], "probabilities": [0.2, 0.5, 0.3]}, 2.85, 0.5 * 2.25 + 14.7 - 2.85**2),
    ({"kind": "empirical", "values": [1, 2, 2, 9]}, 3.5, 22.5 - 3.5**2),
]
WHOLE = [
    ({"kind": "deterministic", "mean": 3}, 3, 0),
    ({"kind": "poisson", "mean": 5}, 5, 5),
    ({"kind": "negative_binomial", "mean": 20, "dispersion": 0.5}, 20, 220),
    ({"kind": "uniform", "low": 0, "high": 4}, 2, 2),  # whole numbers, as oracles have it
    ({"kind": "discrete", "values": [0, 1, 7], "probabilities": [0.2, 0.5, 0.3]}, 2.6, 0.5 + 14.7 - 2.6**2),
    ({"kind": "empirical", "values": [1, 2, 2, 9]}, 3.5, 22.5 - 3.5**2),
]


@pytest.mark.parametrize("by", ["uniform", "score"])
@pytest.mark.parametrize(
    ("spec", "mean", "variance", "integer"),
    [(*case, False) for case in CONTINUOUS] + [(*case, True) for case in WHOLE],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)
def test_families_have_their_stated_mean_and_variance(spec, mean, variance, integer, by):
    process = process_of(spec, integer)
    assert process.mean == pytest.approx(mean, rel=1e-9)
    assert process.standard_deviation == pytest.approx(np.sqrt(variance), rel=1e-9, abs=1e-12)
    sample = drawn(spec, integer, by)
    assert off(sample, mean, variance) < 5
    assert sample.min() >= 0
    if integer:
        assert np.array_equal(sample, np.floor(sample))


@pytest.mark.parametrize("by", ["uniform", "score"])
@pytest.mark.parametrize(
    ("spec", "law"),
    [
        ({"kind": "poisson", "mean": 5}, stats.poisson(5)),
        ({"kind": "poisson", "mean": 0.05}, stats.poisson(0.05)),
        ({"kind": "poisson", "mean": 300}, stats.poisson(300)),
        ({"kind": "negative_binomial", "mean": 20, "dispersion": 0.5}, stats.nbinom(2, 1 / 11)),
        ({"kind": "negative_binomial", "mean": 3, "dispersion": 4}, stats.nbinom(0.25, 1 / 13)),
        ({"kind": "uniform", "low": 3, "high": 7}, stats.randint(3, 8)),
    ],
)
def test_counts_follow_their_probabilities(spec, law, by):
    sample = drawn(spec, integer=True, by=by).ravel().astype(int)
    observed = np.bincount(sample)
    expected = law.pmf(np.arange(len(observed))) * sample.size
    kept = expected > 10
    rest = [observed[~kept].sum(), sample.size - expected[kept].sum()]
    observed, expected = np.append(observed[kept], rest[0]), np.append(expected[kept], rest[1])
    if rest[1] < 10:
        observed, expected = observed[:-1], expected[:-1] * observed[:-1].sum() / expected[:-1].sum()
    assert stats.chisquare(observed, expected).pvalue > 1e-6


@pytest.mark.parametrize(
    ("mean", "dispersion"),
    [(m, d) for m in (1e-6, 0.3, 5, 47.5, 3000, 1e6) for d in (0, 1e-3, 0.5, 1, 7) if m * d < 1e5],
)
def test_count_laws_are_exact(mean, dispersion):
    law = count_law(mean, dispersion)
    if dispersion:
        truth = stats.nbinom(1 / dispersion, 1 / (1 + mean * dispersion))
    else:
        truth = stats.poisson(mean)
    assert np.allclose(law.weights, truth.pmf(law.values), rtol=1e-6, atol=1e-15)
    assert np.allclose(np.cumsum(law.weights), truth.cdf(law.values), rtol=0, atol=1e-9)
    assert law.mean == pytest.approx(mean, rel=1e-9)
    assert law.standard_deviation**2 == pytest.approx(mean + dispersion * mean**2, rel=1e-9)


@pytest.mark.parametrize(
    ("spec", "law"),
    [
        ({"kind": "gamma", "mean": 4, "standard_deviation": 2}, stats.gamma(4, scale=1)),
        ({"kind": "gamma", "mean": 4, "standard_deviation": 12}, stats.gamma(1 / 9, scale=36)),
        ({"kind": "uniform", "low": 2, "high": 8}, stats.uniform(2, 6)),
    ],
)
def test_smooth_families_are_the_quantiles_of_their_law(spec, law):
    scores = np.linspace(-6, 6, 1001)[:, None]
    found = process_of(spec).draw(0, 1001, score=scores)
    truth = law.ppf(stats.norm.cdf(scores))
    truth[scores > 0] = law.isf(stats.norm.sf(scores[scores > 0]))
    assert np.abs(found - truth).max() < 1e-6 * law.mean()
    assert stats.kstest(drawn(spec).ravel(), law.cdf).pvalue > 1e-6


@pytest.mark.parametrize(("mean", "deviation"), [(5, 2), (5, 5), (5, 12.5), (0.3, 0.7)])
def test_a_clipped_normal_keeps_the_configured_mean(mean, deviation):
    law = ClippedNormal.of(mean, deviation)
    before = stats.norm(law.centre, deviation)
    first, second = (
        integrate.quad(lambda x, k=k: x**k * before.pdf(x), 0, law.centre + 12 * deviation, epsabs=1e-12)[0]
        for k in (1, 2)
    )
    assert first == pytest.approx(mean, rel=1e-8)
    assert law.standard_deviation == pytest.approx(np.sqrt(second - first**2), rel=1e-7)
    spec = {"kind": "normal", "mean": mean, "standard_deviation": deviation}
    assert off(drawn(spec, by="score"), mean, law.standard_deviation**2) < 5
    assert process_of(spec).mean == mean


def test_the_published_normal_demand_is_hardly_moved():
    """N(5, 2) clipped at 0, of Alvo et al.: 0.6 % is clipped, which moves the centre by 0.001 s."""
    law = ClippedNormal.of(5, 2)
    assert 4.99 < law.centre < 5
    assert 1.98 < law.standard_deviation < 2


@pytest.mark.parametrize("kind", ["normal", "gamma"])
@pytest.mark.parametrize(("mean", "deviation"), [(5, 2), (0.4, 0.5), (12, 12), (0.05, 0.1), (40_000, 9_000)])
def test_rounding_keeps_the_mean(kind, mean, deviation):
    spec = {"kind": kind, "mean": mean, "standard_deviation": deviation}
    process = process_of(spec, integer=True)
    sample = drawn(spec, True, process.needs)
    assert np.array_equal(sample, np.floor(sample))
    assert process.mean == pytest.approx(mean, rel=1e-9)
    assert off(sample, mean, process.standard_deviation**2) < 5


SEASON = {"amplitude": 0.4, "period": 10, "phase": 2}


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "poisson", "mean": 20},
        {"kind": "negative_binomial", "mean": 20, "dispersion": 0.2},
        {"kind": "normal", "mean": 20, "standard_deviation": 15},
        {"kind": "gamma", "mean": 20, "standard_deviation": 15},
        {"kind": "uniform", "low": 0, "high": 40},
        {"kind": "discrete", "values": [3, 5, 21], "probabilities": [0.3, 0.3, 0.4]},
        {"kind": "empirical", "values": [3, 5, 21]},
        {"kind": "deterministic", "mean": 20},
    ],
    ids=lambda spec: spec["kind"],
)
def test_a_season_moves_the_mean_and_the_spread(spec, integer):
    process = process_of({**spec, "season": SEASON}, integer)
    plain = process_of(spec, integer)
    factor = 1 + 0.4 * np.sin(2 * np.pi * (np.arange(PERIODS) + 2) / 10)
    mean, deviation = process.moments(0, PERIODS)
    tolerance = 0.5 if integer and spec["kind"] in ("uniform", "discrete", "empirical", "deterministic") else 1e-9
    assert np.allclose(mean, factor * plain.mean, rtol=1e-9, atol=tolerance)
    if spec["kind"] == "poisson":
        assert np.allclose(deviation**2, 20 * factor)
    elif not integer and spec["kind"] != "negative_binomial":  # the coefficient of variation stays
        assert np.allclose(deviation, factor * plain.standard_deviation)
    assert process.mean == pytest.approx(np.mean(mean[:10]), rel=1e-9)
    sample = drawn({**spec, "season": SEASON}, integer, "score")
    for phase in range(10):
        assert off(sample[phase::10], mean[phase], deviation[phase] ** 2) < 5


def test_history_has_the_season_before_period_0():
    process = process_of({"kind": "deterministic", "mean": 10, "season": {"amplitude": 0.5, "period": 4}})
    assert np.allclose(process.draw(-3, 6)[:, 0], [15, 10, 5, 10, 15, 10])


# --- scenarios: correlation and disruptions -------------------------------------------------------


NORMAL = {"kind": "normal", "mean": 100, "standard_deviation": 10}


def matrix(**correlation):
    """Correlation of four shops' demands: two of either region, of either segment."""
    shops = {
        f"shop{k}": customer(NORMAL, region="ab"[k // 2], segment="xy"[k % 2]) for k in range(4)
    }  # fmt: skip
    tape = scenario(shops, correlation=correlation).sample(500, seed=3, periods=200)
    return np.corrcoef(tape.demand[4:, :, :, 0].reshape(-1, 4).T), tape


@pytest.mark.parametrize("between", ["region", "segment", "all"])
def test_demands_of_a_group_are_correlated(between):
    found, tape = matrix(between=between, demand=0.6)
    alike = {
        "all": np.ones((4, 4)),
        "region": np.kron(np.eye(2), np.ones((2, 2))),
        "segment": np.kron(np.ones((2, 2)), np.eye(2)),
    }[between]
    truth = np.where(np.eye(4) > 0, 1.0, 0.6 * alike)
    # Scores far from the clipping: the demand's correlation is the scores'.
    assert np.abs(found - truth).max() < 5 / np.sqrt(100_000)
    assert off(tape.demand[4:, :, 2], 100, 100) < 5


def test_without_correlation_demands_are_independent():
    found, _ = matrix()
    assert np.abs(found - np.eye(4)).max() < 5 / np.sqrt(100_000)


def test_products_are_independent_within_a_group():
    shops = {"a": customer(NORMAL), "b": customer(NORMAL)}
    products = {"milk": {}, "bread": {}}
    tape = scenario(shops, products=products, correlation={"demand": 0.9}).sample(400, periods=250)
    found = np.corrcoef(tape.demand.reshape(-1, 4).T)  # a/milk, a/bread, b/milk, b/bread
    assert np.abs(found - (np.eye(4) + np.kron([[0, 0.9], [0.9, 0]], np.eye(2)))).max() < 5 / np.sqrt(100_000)


def test_demands_of_neighbouring_periods_are_an_autoregression():
    _, tape = matrix(periods=0.8)
    demand = (tape.demand[:, :, 0, 0] - 100) / 10
    for lag in (1, 2, 5):
        products = demand[lag:] * demand[:-lag]
        spread = products.mean(axis=0).std() / np.sqrt(tape.batch)  # worlds are independent
        assert abs(products.mean() - 0.8**lag) < 5 * spread
    # Every period is the same mixture of worlds, history and period 0 included.
    assert np.abs(demand.mean(axis=1)).max() < 5 / np.sqrt(500)
    assert np.abs(demand.var(axis=1) - 1).max() < 5 * np.sqrt(2 / 500)


@pytest.mark.parametrize("correlation", [{}, {"demand": 0.5, "periods": 0.6}])
def test_correlated_counts_keep_their_law(correlation):
    spec = {"kind": "negative_binomial", "mean": 6, "dispersion": 0.3}
    tape = scenario({"a": customer(spec), "b": customer(spec)}, units="integer", correlation=correlation).sample(
        40_000, periods=2, seed=9
    )
    sample = tape.demand[-1, :, 1, 0]
    truth = stats.nbinom(1 / 0.3, 1 / 2.8)
    top = 25
    observed = np.bincount(np.minimum(sample, top), minlength=top + 1)
    expected = np.append(truth.pmf(np.arange(top)), truth.sf(top - 1)) * sample.size
    assert stats.chisquare(observed, expected).pvalue > 1e-6
    both = np.corrcoef(tape.demand[-1, :, 0, 0], sample)[0, 1]
    assert (0.4 < both < 0.5) if correlation else abs(both) < 0.025


@pytest.mark.parametrize("spec", [POISSON, NORMAL, {"kind": "gamma", "mean": 8, "standard_deviation": 3}])
def test_demand_factors_scale_the_mean(spec):
    storm = {"when": {"from": 3, "to": 5}, "effects": [{"customers": "all", "demand_factor": 1.5}]}
    tape = scenario({"shop": customer(spec)}, disruptions={"storm": storm}).sample(20_000, periods=8)
    process = process_of(spec)
    for period in range(8):
        factor = 1.5 if 3 <= period <= 5 else 1.0
        variance = process.standard_deviation**2 * (factor if spec is POISSON else factor**2)
        assert off(tape.demand[4 + period, :, 0, 0], factor * process.mean, variance) < 5


def test_a_factor_of_zero_stops_demand():
    stop = {"when": {"from": 1, "to": 1}, "effects": [{"customers": "all", "demand_factor": 0}]}
    for spec in (POISSON, NORMAL, {"kind": "deterministic", "mean": 2}):
        for units in ("continuous", "integer"):
            tape = scenario({"shop": customer(spec)}, disruptions={"stop": stop}, units=units).sample(50, periods=3)
            assert (tape.demand[5] == 0).all()
            assert (tape.demand[6] != 0).any()


# --- what a user may write ------------------------------------------------------------------------


def test_values_by_product():
    spec = {"kind": "normal", "mean": {"milk": 5, "bread": 8}, "standard_deviation": 1}
    products = parse_demand(spec, ("milk", "bread", "eggs"), False)
    assert {name: process.mean for name, process in products.items()} == {"milk": 5, "bread": 8}
    mixed = {"bread": {"kind": "poisson", "mean": 2}, "milk": {"kind": "uniform", "low": 0, "high": 2}}
    products = parse_demand(mixed, ("milk", "bread", "eggs"), False)
    assert {name: process.mean for name, process in products.items()} == {"milk": 1, "bread": 2}
    season = {"amplitude": {"milk": 0.5}, "period": 4}
    products = parse_demand({"kind": "poisson", "mean": 4, "season": season}, ("milk", "bread"), False)
    assert products["bread"].family.season is None
    assert products["milk"].family.season.amplitude == 0.5
    assert parse_demand({"kind": "poisson", "mean": 4}, ("milk", "bread"), False).keys() == {"milk", "bread"}


def test_processes_can_be_pickled():
    process = process_of({"kind": "gamma", "mean": 4, "standard_deviation": 2})
    scores = np.linspace(-3, 3, 10)[:, None]
    again = pickle.loads(pickle.dumps(process))  # noqa: S301 (our own bytes)
    assert np.array_equal(again.draw(0, 10, score=scores), process.draw(0, 10, score=scores))


BAD = [
    ({}, "shop.demand: demand = {}: expected a mapping with kind"),
    ({"mean": 3}, "shop.demand: kind = None: expected one of deterministic, poisson"),
    ({"kind": "poison", "mean": 3}, "kind = 'poison': expected one of .*; did you mean 'poisson'"),
    ({"kind": "poisson"}, "shop.demand: mean: expected this key"),
    ({"kind": "poisson", "mean": -1}, "shop.demand: mean = -1: expected a finite number >= 0"),
    ({"kind": "poisson", "mean": "many"}, "mean = 'many': expected a finite number"),
    ({"kind": "poisson", "mean": float("nan")}, "mean = nan: expected a finite number"),
    ({"kind": "poisson", "mean": 1e12}, "mean = 1e12|mean = 1000000000000.0: expected"),
    ({"kind": "poisson", "mean": True}, "mean = True"),
    ({"kind": "poisson", "mean": 3, "sd": 1}, "unknown key 'sd'"),
    ({"kind": "poisson", "mean": 3, "season": {"amplitude": 2, "period": 7}}, "season.amplitude = 2"),
    ({"kind": "poisson", "mean": 3, "season": {"amplitude": 0.2}}, "season.period: expected this key"),
    ({"kind": "poisson", "mean": 3, "season": {"amplitude": 0.2, "period": 1}}, "season.period = 1"),
    ({"kind": "poisson", "mean": 3, "season": {"amplitude": 0.2, "period": 4, "fase": 1}}, "did you mean 'phase'"),
    ({"kind": "negative_binomial", "mean": 3, "dispersion": -1}, "dispersion = -1"),
    ({"kind": "negative_binomial", "mean": 1e6, "dispersion": 5}, "mean 1e\\+06 and dispersion 5: expected"),
    ({"kind": "normal", "mean": 1, "standard_deviation": 3}, "standard_deviation = 3: expected at most 2.50.*gamma"),
    ({"kind": "normal", "mean": 0, "standard_deviation": 1}, "standard_deviation = 1: expected at most 0"),
    ({"kind": "gamma", "mean": 0, "standard_deviation": 1}, "mean = 0: expected a finite number > 0"),
    ({"kind": "gamma", "mean": 1, "standard_deviation": 50}, "expected at most 20 x the mean"),
    ({"kind": "uniform", "low": 4, "high": 2}, "high = 2: expected a number >= low"),
    ({"kind": "discrete", "values": [], "probabilities": []}, "values = .*: expected a list"),
    ({"kind": "discrete", "values": [1, 2], "probabilities": [1]}, "expected as many as values, 2"),
    ({"kind": "discrete", "values": [1, 2], "probabilities": [0.5, 0.6]}, "expected a total of 1, not 1.1"),
    ({"kind": "discrete", "values": [1, -2], "probabilities": [0.5, 0.5]}, "value -2: expected a number >= 0"),
    ({"kind": "empirical", "values": 3}, "values = 3: expected a list"),
    ({"milk": 5}, "milk = 5: expected a mapping with kind"),
    ({"milk": POISSON, "jam": POISSON}, "demand = 'jam': expected one of milk"),
    ({"kind": "poisson", "mean": {"jam": 3}}, "mean = 'jam': expected one of milk"),
    ({"kind": "trace"}, "file: expected this key"),
]


@pytest.mark.parametrize(("spec", "message"), BAD, ids=[message[:50] for _, message in BAD])
def test_bad_demand_is_refused_by_name(spec, message):
    with pytest.raises(InputError, match=message):
        process_of(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "deterministic", "mean": 2.5}, "mean = 2.5: expected a whole number"),
        ({"kind": "uniform", "low": 0, "high": 2.5}, "high = 2.5"),
        ({"kind": "discrete", "values": [0, 0.5], "probabilities": [0.5, 0.5]}, "values = 0.5"),
        ({"kind": "empirical", "values": [1, 1.2]}, "values = 1.2"),
        ({"kind": "normal", "mean": 1.2, "standard_deviation": 0}, "mean = 1.2"),
    ],
)
def test_written_fractions_are_refused_where_units_are_whole(spec, message):
    process_of(spec)
    with pytest.raises(InputError, match=message):
        process_of(spec, integer=True)


def test_a_product_left_half_written_is_refused():
    spec = {"kind": "normal", "mean": {"milk": 5, "bread": 2}, "standard_deviation": {"milk": 1}}
    with pytest.raises(InputError, match=r"standard_deviation = .*: expected a value for product 'bread', too"):
        parse_demand(spec, ("milk", "bread"), False)


@pytest.mark.parametrize(
    ("correlation", "message"),
    [
        ({"demand": 1}, "correlation.demand = 1: expected"),
        ({"demand": -0.2}, "correlation.demand = -0.2"),
        ({"periods": 1.5}, "correlation.periods = 1.5"),
        ({"between": "regions"}, "correlation.between = 'regions'"),
        ({"product": 0.5}, "unknown key 'product'"),
    ],
)
def test_bad_correlation_is_refused(correlation, message):
    with pytest.raises(InputError, match=message):
        scenario(correlation=correlation)
