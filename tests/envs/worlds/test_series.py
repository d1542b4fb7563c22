"""Named series: the same number for the same name, and numbers that look random in every direction."""

import statistics

import numpy as np
import pytest
from scipy import stats

from echelongym.envs.core.errors import InputError
from echelongym.envs.processes.series import Streams, normal_quantile


def streams(worlds=64, seed=7, purpose="train"):
    return Streams(purpose, seed, np.arange(worlds) if isinstance(worlds, int) else np.array(worlds))


PINNED_BITS = [[3037845510094294276, 5536350496585958255], [1534521900719761881, 16367194849607185082]]
PINNED_NORMALS = [["-0x1.f3671a8b44d7ap-1", "-0x1.0c4eab212ce2ap-1"], ["-0x1.624aab2b533dcp+0", "0x1.364db6bd7cfe8p+0"]]
DRAWS = ("bits", "uniforms", "normals", "fractions")


@pytest.mark.parametrize("draw", DRAWS)
def test_a_number_depends_on_its_name_alone(draw):
    def get(worlds, entities, first, count):
        return getattr(streams(worlds), draw)("demand", entities, first, count)

    everything = get(300, ["a", "b", "c"], -4, 200)
    assert np.array_equal(get([3], ["b"], -4, 200), everything[:, 1:2, 3:4])
    assert np.array_equal(get([299, 5], ["c", "a"], 10, 7), everything[14:21, [2, 0]][:, :, [299, 5]])


@pytest.mark.parametrize("draw", DRAWS)
def test_every_part_of_the_name_matters(draw):
    def get(purpose="train", seed=7, process="demand", entity="a", worlds=8):
        return getattr(streams(worlds, seed, purpose), draw)(process, [entity], 0, 500)

    # Names are kept apart by more than their joined letters.
    others = [
        get(purpose="tune"), get(purpose="test"), get(seed=8), get(seed=71), get(process="lead_time"),
        get(process="deman", entity="da"), get(entity="b"), get(worlds=np.arange(8, 16)),
    ]  # fmt: skip
    for other in others:
        assert not np.any(get() == other) or draw == "fractions"
        correlation = np.corrcoef(get().ravel().astype(float), other.ravel().astype(float))[0, 1]
        assert abs(correlation) < 5 / np.sqrt(get().size)


def test_numbers_are_the_same_on_every_machine():
    """Pinned when written: a change of these changes every world ever reported."""
    bits = streams([0, 1], seed=0).bits("demand", ["north/milk"], -1, 2)[:, 0]
    assert bits.tolist() == PINNED_BITS
    numbers = streams([0, 1], seed=0).normals("demand", ["north/milk"], -1, 2)[:, 0]
    assert [[value.hex() for value in row] for row in numbers.tolist()] == PINNED_NORMALS


def test_uniforms_are_uniform():
    numbers = streams(256).uniforms("demand", ["a", "b"], 0, 2000)
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-6
    assert stats.kstest(numbers.min(axis=0).ravel(), stats.beta(1, 2000).cdf).pvalue > 1e-6
    for power in (1, 2, 3):
        error = (numbers**power).mean() - 1 / (power + 1)
        assert abs(error) < 5 * (numbers**power).std() / np.sqrt(numbers.size)
    # Sixteen high bits and the sixteen after them are each equally often everything.
    bits = streams(256).bits("demand", ["a", "b"], 0, 2000)
    for shift in (48, 32):
        counts = np.bincount((bits.ravel() >> np.uint64(shift + 8)).astype(np.int64) & 255, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-6


@pytest.mark.parametrize("first_moment", [lambda x: x, lambda x: x**2, np.abs])
def test_neighbours_are_uncorrelated(first_moment):
    numbers = first_moment(streams(200).normals("demand", [f"shop{k}/milk" for k in range(20)], 0, 100))
    for axis in range(3):
        for lag in (1, 2, 7):
            ahead = np.take(numbers, range(lag, numbers.shape[axis]), axis=axis).ravel()
            behind = np.take(numbers, range(numbers.shape[axis] - lag), axis=axis).ravel()
            assert abs(np.corrcoef(ahead, behind)[0, 1]) < 5 / np.sqrt(ahead.size)


def test_pairs_of_neighbours_fill_the_square():
    """The joint distribution of successive numbers, not only their correlation."""
    numbers = streams(500).uniforms("demand", ["a"], 0, 401)[:, 0]
    for ahead, behind in ((numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])):
        cells = (ahead * 16).astype(int) * 16 + (behind * 16).astype(int)
        assert stats.chisquare(np.bincount(cells.ravel(), minlength=256)).pvalue > 1e-6


def test_normals_are_the_quantiles_of_the_uniforms():
    worlds = streams(256)
    uniforms, normals = (draw("demand", ["a"], 0, 2000) for draw in (worlds.uniforms, worlds.normals))
    assert np.abs(normals - stats.norm.ppf(uniforms)).max() < 1e-8
    assert stats.kstest(normals.ravel(), "norm").pvalue > 1e-6
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        error = (normals**power).mean() - moment
        assert abs(error) < 5 * np.sqrt(spread / normals.size)


def test_normal_quantile_against_the_standard_library():
    tails = 10.0 ** -np.linspace(0.31, 300, 2000)
    probabilities = np.concatenate([tails, 1 - tails[tails > 1e-15], np.linspace(0.001, 0.999, 999)])
    expected = [statistics.NormalDist().inv_cdf(p) for p in probabilities]
    assert np.allclose(normal_quantile(probabilities), expected, rtol=1e-14, atol=1e-15)


def test_fractions_are_multiples_of_a_65536th():
    fractions = streams(256).fractions("split", ["hub/milk"], 0, 1000)
    grains = fractions * 65536
    assert np.array_equal(grains, np.floor(grains))
    assert grains.min() >= 0
    assert grains.max() < 65536
    assert abs(fractions.mean() - 0.5 + 0.5 / 65536) < 5 / np.sqrt(12 * fractions.size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"purpose": "validate"}, "purpose = 'validate': expected one of train, tune, test"),
        ({"seed": -1}, "seed = -1: expected a whole number >= 0"),
        ({"seed": 1.5}, "seed = 1.5"),
        ({"seed": True}, "seed = True"),
    ],
)
def test_bad_names_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        streams(**change)
