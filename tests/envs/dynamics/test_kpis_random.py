"""Key performance indicators on random flows: plain loops, batches, resets."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kpi_loops import accumulator, flattened, network_by_loops, service_by_loops
from random_flows import batch_major, column, random_periods
from random_scenarios import random_scenario

from echelongym.envs.accounts import kpis as kpis_module
from echelongym.envs.accounts.kpi_definitions import ECHELON, NETWORK
from echelongym.envs.accounts.kpis import KpiAccumulator
from echelongym.envs.dynamics.state import Flows
from echelongym.envs.scenario.scenario import Scenario

WITHIN = (1, 2, 4)


def drawn(seed, worlds=2, periods=11):
    rng = np.random.default_rng(seed)
    mapping = random_scenario(rng)
    tables = Scenario.from_mapping(mapping).tables
    flows, queues = random_periods(tables, rng, worlds, periods)
    return mapping, tables, flows, queues


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), together=st.sampled_from([1, 3, 64]), first=st.integers(0, 9))
def test_figures_equal_plain_loops(seed, together, first):
    """Whatever number of periods is worked on together."""
    mapping, tables, flows, queues = drawn(seed)
    kpis = accumulator(tables, 2, together, within=WITHIN, first_period=first)
    for one in flows:
        kpis.add(one)
    figures = kpis.result()
    for b in range(2):
        groups = {("customer", name): [c] for c, name in enumerate(tables.customers)}
        for key in ("segment", "region"):
            for c, label in enumerate(getattr(tables, key)):
                groups.setdefault((key, label), []).append(c)
        groups["total", None] = list(range(tables.C))
        assert sum(len(figures[key]) for key in ("customer", "segment", "region")) == len(groups) - 1
        for (key, name), chosen in groups.items():
            found = figures[key] if name is None else figures[key][name]
            expected = service_by_loops(tables, queues, flows, chosen, b, WITHIN)
            assert set(expected) == set(found) - {"fill_rate_spread"}
            for figure, value in expected.items():
                np.testing.assert_allclose(
                    found[figure][b], value, rtol=1e-9, atol=1e-9, err_msg=f"{key} {name} {figure}"
                )
        rates = [region["fill_rate"][b] for region in figures["region"].values()]
        rates = [rate for rate in rates if not math.isnan(rate)]
        spread = max(rates) - min(rates) if rates else math.nan
        np.testing.assert_allclose(figures["total"]["fill_rate_spread"][b], spread, atol=1e-12)
        network, ratios = network_by_loops(mapping, flows, b, first)
        assert set(network) == set(figures["network"]) == set(NETWORK)
        for figure, value in network.items():
            np.testing.assert_allclose(figures["network"][figure][b], value, rtol=1e-9, atol=1e-9, err_msg=figure)
        assert set(ratios) == set(figures["echelon"])
        for level, value in ratios.items():
            assert set(figures["echelon"][level]) == set(ECHELON)
            found = figures["echelon"][level]["order_variance_ratio"][b]
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=level)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_a_world_has_the_same_figures_alone_and_in_any_batch(seed):
    """Bit for bit, though one world's periods are worked on together and a batch's one by one."""
    _, tables, flows, _ = drawn(seed, worlds=3, periods=9)
    odd = np.random.default_rng(seed).random(3) * math.pi
    flows = [Flows(*(None if value is None else value * odd for value in one)) for one in flows]
    batch, turned = (accumulator(tables, 3, together, within=WITHIN) for together in (1, 2))
    alone = accumulator(tables, 1, 64, within=WITHIN)
    for one in flows:
        batch.add(one)
        turned.add(batch_major(one))
        alone.add(column(one, 1))
    others, turned = dict(flattened(batch.result())), dict(flattened(turned.result()))
    for path, value in flattened(alone.result()):
        assert value.shape == (1,)
        for other in (others, turned):
            assert np.array_equal(value, other[path][1:2], equal_nan=True), path


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_reset_forgets_some_worlds(seed):
    """A world reset on the way has the figures of the periods after; the others those of all."""
    _, tables, flows, _ = drawn(seed, worlds=3, periods=10)
    kpis, whole, late = (accumulator(tables, 3, together, within=WITHIN) for together in (3, 1, 1))
    for number, one in enumerate(flows):
        if number == 4:
            kpis.reset(np.array([False, True, False]))
        kpis.add(one)
        whole.add(one)
        if number >= 4:
            late.add(one)
    whole, late = dict(flattened(whole.result())), dict(flattened(late.result()))
    for path, value in flattened(kpis.result()):
        np.testing.assert_allclose(value[[0, 2]], whole[path][[0, 2]], rtol=1e-9, atol=1e-9, err_msg=str(path))
        np.testing.assert_allclose(value[1], late[path][1], rtol=1e-9, atol=1e-9, err_msg=str(path))
    kpis.reset()
    for one in flows:
        kpis.add(one)
    for path, value in flattened(kpis.result()):
        np.testing.assert_allclose(value, whole[path], rtol=1e-9, atol=1e-9, err_msg=str(path))


def test_tensors_are_taken_too():
    _, tables, flows, _ = drawn(3)
    mine, theirs = KpiAccumulator(tables, 2), KpiAccumulator(tables, 2)
    for one in flows:
        mine.add(one)
        theirs.add(Flows(*(None if v is None else torch.tensor(v, requires_grad=True) for v in one)))
    theirs = dict(flattened(theirs.result()))
    for path, value in flattened(mine.result()):
        np.testing.assert_array_equal(value, theirs[path])


@pytest.mark.parametrize("together", [1, 64])
@pytest.mark.parametrize("seed", [2, 11])
def test_little_is_kept_and_flows_may_be_overwritten(together, seed):
    """However many periods go by, no more than a few are held, and none of the caller's memory."""
    _, tables, flows, _ = drawn(seed)
    kept, reused = (accumulator(tables, 2, together) for _ in range(2))
    for _ in range(40):
        for one in flows:
            kept.add(one)
            mine = Flows(*(None if value is None else value.copy() for value in one))
            reused.add(mine)
            for value in mine:
                if value is not None:
                    value[...] = -1
            assert kept._held < kpis_module.MOST_PERIODS
    if kept.waiting is not None:
        assert len(kept.waiting.recent) <= 2
    expected = dict(flattened(kept.result()))
    for path, value in flattened(reused.result()):
        np.testing.assert_array_equal(value, expected[path])
