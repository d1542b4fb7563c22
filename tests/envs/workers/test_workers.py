"""Workers: what comes out is the same for any number of them, how many there are, and how they end."""

import os
import time

import numpy as np
import pytest
import work

from echelongym.envs.core.errors import InputError
from echelongym.envs.storage.journal import Journal, recording
from echelongym.envs.workers import cores, pieces
from echelongym.envs.workers.cores import PAYS, PLAIN, asked, checked_workers, most_workers, usable_cores, using
from echelongym.envs.workers.pieces import Piece, as_done, in_order

NOISES = [Piece(work.noise, (seed,), 1 + seed % 3) for seed in range(9)]


def test_results_and_their_order_are_the_same_for_any_number_of_workers():
    expected = [np.random.default_rng(seed).normal(size=5) for seed in range(9)]
    for workers in (1, 3):
        heard = []
        found = list(in_order(NOISES, listener=lambda *told, heard=heard: heard.append(told), workers=workers))
        np.testing.assert_array_equal(found, expected)
        assert {number for number, share, _ in heard if share == 1.0} == set(range(9))  # one bar hears of all of them
        assert {text for _, _, text in heard} >= {"half of 0"}


def test_auto_starts_workers_only_where_they_pay(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    two = [Piece(work.place, (seed,)) for seed in range(4)]
    alone = list(in_order(two, expected=PAYS / 2, workers="auto"))
    assert {pid for pid, *_ in alone} == {os.getpid()}
    assert not any(inside for _, inside, *_ in alone)
    before = dict(os.environ)
    with using("auto"):
        beside = list(in_order(two, expected=2 * PAYS))
    assert os.getpid() not in {pid for pid, *_ in beside}
    # Within a worker nothing starts workers, and no library uses a second thread.
    assert all(found[1:] == (True, 1, 1, {"1"}) for found in beside)
    assert dict(os.environ) == before
    assert asked() == 1


def test_auto_finds_out_what_pays_from_the_first_pieces(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 2)
    started = []
    monkeypatch.setattr(pieces, "_side_by_side", lambda work, left, *rest: started.append(list(left)) or iter(()))
    assert [number for number, _ in as_done(NOISES, workers="auto")] == list(range(9))
    assert started == []
    slow = [Piece(time.sleep, (PAYS / 100,), share) for share in (1, 60, 60)]
    assert [number for number, _ in as_done(slow, workers="auto")] == [0]
    assert started == [[1, 2]]


def test_as_many_workers_as_pieces_cores_and_memory_allow(monkeypatch):
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    monkeypatch.setattr(cores, "free_memory", lambda: 5 * PLAIN)
    assert [most_workers("auto", count) for count in (0, 1, 3, 99)] == [1, 1, 3, 5]
    assert [most_workers(workers, 3) for workers in (1, 2, 4)] == [1, 2, 3]
    monkeypatch.setattr("echelongym.envs.core.memory_limits.free_memory", lambda: PLAIN)
    with pytest.raises(InputError, match=r"workers = 4: .* try fewer workers"):
        most_workers(4, 3)


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.cfs_quota_us": "300000\n", "cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, 8),
        ({}, 8),
    ],
)
def test_cores_of_a_container_are_those_it_is_given(tmp_path, monkeypatch, files, allowed):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    version = 2 if "cpu.max" in files else 1
    monkeypatch.setattr(
        cores, "control_groups", lambda controller: iter([(version, tmp_path), (version, tmp_path / "up")])
    )
    assert usable_cores() == allowed


@pytest.mark.parametrize("value", [0, -1, 2.5, "many", True, None, 1_025])
def test_what_is_no_number_of_workers_is_refused(value):
    with pytest.raises(InputError, match=r'^workers = .*: expected "auto" or a whole number >= 1 and <= 1024$'):
        checked_workers(value)


def test_what_a_piece_raises_ends_the_others():
    """A worker takes no notice of Ctrl-C, which a terminal sends to all: its parent ends it."""
    started = time.monotonic()
    with pytest.raises(ValueError, match="refused"):
        list(in_order([Piece(work.deaf, (60,)), Piece(work.refused, (0.2,))], workers=2))
    assert time.monotonic() - started < 30


def test_pieces_that_were_done_before_are_not_done_again(tmp_path):
    kept = [Piece(work.noise, (seed,), key=[seed]) for seed in range(4)]
    with recording(Journal(tmp_path)):
        first = list(in_order(kept))
    with recording(Journal(tmp_path)):
        second = list(in_order([Piece(work.noise, ("no seed",), key=[seed]) for seed in range(4)], workers=2))
    np.testing.assert_array_equal(first, second)
