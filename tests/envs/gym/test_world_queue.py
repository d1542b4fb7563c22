"""Worlds come out of the queue as they are drawn one by one, in any order, and no more are drawn ahead than memory allows."""

import numpy as np
import pytest
from demand_worlds import busy

from echelongym.envs.gym import world_queue
from echelongym.envs.gym.world_queue import WorldQueue


@pytest.mark.parametrize("ahead", [0, 40_000, 16_000_000])
def test_worlds_are_those_of_their_names(monkeypatch, ahead):
    monkeypatch.setattr(world_queue, "AHEAD_BYTES", ahead)
    made, slots, periods = busy(), 4, 5
    queue, rng = WorldQueue(made, "tune", periods, slots), np.random.default_rng(ahead)
    playing = np.arange(slots)
    for turn in range(60):
        seed = turn // 25
        if turn % 25 == 0:
            playing = np.arange(slots)
        chosen = np.flatnonzero(rng.random(slots) < 0.6) if turn % 25 else playing
        if not chosen.size:
            continue
        found = queue.take(seed, playing[chosen])
        alone = made.sample(playing[chosen].tolist(), seed, "tune", periods).exogenous
        for name, mine, theirs in zip(found._fields, found, alone, strict=True):
            full = None if theirs is None else np.asarray(theirs)
            if mine is None or full is None:
                neutral = mine if full is None else full
                assert neutral is None or name == "lead_time" or (neutral == 1).all()
            else:
                np.testing.assert_array_equal(mine, full)
        playing[chosen] += slots


def test_small_networks_draw_many_worlds_ahead_and_large_ones_few(monkeypatch):
    drawn = []
    sample = world_queue.sample_tape
    monkeypatch.setattr(
        world_queue, "sample_tape", lambda *args, **kw: drawn.append(len(args[1])) or sample(*args, **kw)
    )
    made = busy()
    for slots, most in ((1, world_queue.MOST), (16, 200), (4096, 1)):
        drawn.clear()
        queue, world = WorldQueue(made, "train", 21, slots), np.arange(slots)
        for _ in range(6 if slots > 1000 else 40):
            queue.take(3, world)
            world += slots
        assert drawn[0] == slots, "of a seed that was just named, one of each slot"
        assert max(drawn) <= most * slots
        assert (len(drawn) < 6) == (slots < 1000)
