"""Rows that a playback serves are those of the worlds' own tapes, however often worlds start anew."""

import numpy as np
import pytest
from demand_worlds import busy
from hypothesis import given, settings
from hypothesis import strategies as st

from echelongym.envs.core.backend import NumpyOps
from echelongym.envs.dynamics.playback import Playback

PERIODS = 6


@pytest.fixture(scope="module", params=["continuous", "integer"])
def made(request):
    return busy(units=request.param)


@given(st.data())
@settings(deadline=None, max_examples=15)
def test_worlds_start_anew_at_any_time(made, data):
    worlds, H = 3, made.tables.H
    tapes = made.sample(40, seed=data.draw(st.integers(0, 3)), periods=PERIODS)
    playing, ages = np.arange(worlds), np.zeros(worlds, dtype=int)
    playback = Playback(made.tables, NumpyOps(), tapes[:worlds].exogenous)
    for row in range(15):
        chosen = (ages == PERIODS) | (np.array(data.draw(st.lists(st.booleans(), min_size=3, max_size=3))) & (row > 0))
        if chosen.any():
            playing[chosen], ages[chosen] = playing.max() + 1 + np.arange(chosen.sum()), 0
            playback.restart(chosen, tapes[playing[chosen]].exogenous, row)
        now, history = playback.exogenous(row), playback.history(row)
        for i, (world, age) in enumerate(zip(playing, ages, strict=True)):
            assert np.array_equal(now.demand[..., i], tapes.demand[H + age, world])
            assert np.array_equal(history[..., i], np.moveaxis(tapes.demand[age : age + H, world][::-1], 0, -1))
            for name in ("lead_time", "lane_yield", "forecast", "node_availability"):
                shown = getattr(now, name)
                on_tape = getattr(tapes, name)[age, world]
                assert np.array_equal(np.ones_like(on_tape) if shown is None else shown[..., i], on_tape)
        ages += 1


def test_latest_demand_is_what_was_seen_of_it(made):
    tape = made.sample(2, seed=5)
    playback, H = Playback(made.tables, NumpyOps(), tape.exogenous), made.tables.H
    sold = [tape.exogenous.demand[0] * 0 + 7, tape.exogenous.demand[0] * 0 + 8]
    shown, plain = playback.history(4, sold), playback.history(4)
    assert H > 2
    assert (shown[:, :, 0] == 7).all()
    assert (shown[:, :, 1] == 8).all()
    assert np.array_equal(shown[:, :, 2:], plain[:, :, 2:])
