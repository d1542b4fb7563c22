"""Infos of the single environment's ended episodes: indicators that are worked out when somebody looks at them."""

import copy
import json
import pickle
from types import MappingProxyType

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

from echelongym.envs import NetworkEnv
from echelongym.envs.accounts.kpis import KpiAccumulator
from echelongym.envs.gym.episode_info import EndedInfo, EpisodeKpis

PERIODS = 60  # one_warehouse reports after 50


def ended(env: NetworkEnv, seed: int | None) -> dict:
    """The info at the end of an episode of random actions."""
    env.reset(seed=seed)
    rng = np.random.default_rng(seed or 0)
    info: dict = {}
    for _ in range(env.periods):
        info = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))[4]
    return info


@pytest.fixture(scope="module")
def env() -> NetworkEnv:
    return NetworkEnv("one_warehouse", periods=PERIODS)


@pytest.fixture(scope="module")
def wanted(env: NetworkEnv) -> dict:
    """The same info, read at once."""
    info = ended(env, 7)
    return {"kpis": info["kpis"], **{key: info[key] for key in info}}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every time that indicators were worked out."""
    calls: list[int] = []
    result = KpiAccumulator.result
    monkeypatch.setattr(KpiAccumulator, "result", lambda self: (calls.append(1), result(self))[1])
    return calls


def items_of(**keywords: object) -> dict:
    return keywords


WAYS = {
    "by key": lambda info: {**{key: info[key] for key in info}},
    "get": lambda info: {key: info.get(key) for key in info},
    "items": lambda info: dict(info.items()),
    "values": lambda info: dict(zip(info.keys(), info.values(), strict=True)),
    "dict": dict,
    "unpacked": lambda info: {**info},
    "keywords": lambda info: items_of(**info),
    "update": lambda info: (found := {}, found.update(info))[0],
    "or": lambda info: info | {},
    "or of another": lambda info: {} | info,
    "in-place or": lambda info: (found := {}, found.__ior__(info))[0],
    "copy": lambda info: info.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "copy of a copy": lambda info: copy.deepcopy(copy.copy(info)),
    "pickle": lambda info: pickle.loads(pickle.dumps(info)),  # noqa: S301
    "json": lambda info: json.loads(json.dumps(info)),
    "json of sorted keys": lambda info: json.loads(json.dumps(info, sort_keys=True, indent=1)),
    "pop": lambda info: {key: info.pop(key) for key in list(info)},
    "popitem": lambda info: dict(info.popitem() for _ in range(len(info))),
    "setdefault": lambda info: {key: info.setdefault(key, 0) for key in info},
    "proxy": lambda info: dict(MappingProxyType(info)),
    "comprehension": lambda info: {key: value for key, value in info.items()},  # noqa: C416
    "subclass": lambda info: dict(EndedInfo(info)),
}


@pytest.mark.parametrize("way", WAYS)
def test_however_it_is_read_an_info_says_what_it_said_at_once(
    way: str, env: NetworkEnv, wanted: dict, counted: list[int]
) -> None:
    info = ended(env, 7)
    assert isinstance(info, dict)
    assert not counted
    assert list(info) == ["cost", "unmet", "emissions", "waste", "costs", "kpis"]
    assert "kpis" in info
    assert len(info) == 6
    found = WAYS[way](info)
    assert type(found["kpis"]) is dict
    assert json.dumps(dict(found), sort_keys=True) == json.dumps(wanted, sort_keys=True)  # NaN is NaN
    assert len(counted) == 1


def test_an_info_compares_and_prints_as_a_dictionary(env: NetworkEnv) -> None:
    plain = dict(ended(env, 8))
    plain["kpis"] = json.loads(json.dumps(plain["kpis"]).replace("NaN", "0"))
    infos = [ended(env, 8) for _ in range(4)]
    assert repr(infos[0]) == repr(dict(infos[1]))
    infos[2]["kpis"] = plain["kpis"]  # written over before it was looked at
    assert infos[2] == plain
    assert plain == infos[2]
    assert infos[3] != plain
    del infos[3]["kpis"]
    assert set(infos[3]) == {*plain} - {"kpis"}


def test_episodes_keep_what_they_were_while_others_are_played(env: NetworkEnv, counted: list[int]) -> None:
    """Infos read at the end, backwards, say what they say when each is read at once."""
    at_once = [copy.deepcopy(dict(ended(env, seed))) for seed in (1, 2, 3)]
    before = len(counted)
    kept = [ended(env, seed) for seed in (1, 2, 3)]
    copies = [copy.deepcopy(info) for info in kept]
    assert len(counted) == before
    for late, early in zip(reversed(kept), reversed(at_once), strict=True):
        assert repr(dict(late)) == repr(early)
    for late, early in zip(copies, at_once, strict=True):
        assert repr(dict(late)) == repr(early)
    assert len(counted) == before + 3  # a copy shares the work, not the dictionaries
    copies[0]["kpis"]["total"]["fill_rate"] = None
    assert kept[0]["kpis"]["total"]["fill_rate"] is not None


@pytest.mark.parametrize("scenario", ["one_warehouse", "grocery"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_flows_that_are_too_many_to_keep_are_added_up_on_the_way(
    scenario: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = NetworkEnv(scenario, periods=PERIODS + 70, dtype=dtype)
    wanted = ended(env, 5)
    cut = ended(env, None)
    assert isinstance(wanted, EndedInfo)
    for room in (0, 20_000, 10**9):
        monkeypatch.setattr("echelongym.envs.gym.episode_info.MOST_KEPT", room)
        again = NetworkEnv(scenario, periods=PERIODS + 70, dtype=dtype)
        again.reset(seed=9)
        for _ in range(PERIODS):
            again.step(np.zeros(again.action_space.shape))  # an episode that is left
        found = ended(again, 5)
        assert isinstance(found, EndedInfo) == (room == 10**9)
        assert repr(dict(found)) == repr(dict(wanted))
        assert repr(dict(ended(again, None))) == repr(dict(cut))


def test_nobody_pays_for_indicators_that_nobody_reads(counted: list[int]) -> None:
    env = NetworkEnv("one_warehouse", periods=PERIODS)
    for _ in range(3):
        info = ended(env, 1)
        info["episode"] = {"r": 1.0}  # as monitors do
        assert info["cost"] > 0
        assert "kpis" in info
        copy.deepcopy(info)
    assert not counted
    assert isinstance(dict.get(info, "kpis"), EpisodeKpis)


def test_gymnasiums_vector_env_of_single_envs_hands_indicators_on(wanted: dict) -> None:
    vector = SyncVectorEnv([lambda: NetworkEnv("one_warehouse", periods=PERIODS)] * 2)
    vector.reset(seed=[7, 8])
    rng, other = np.random.default_rng(7), np.random.default_rng(8)
    shape = vector.single_action_space.shape
    for _ in range(PERIODS):
        actions = [one.uniform(-1, 1, shape).astype(np.float32) for one in (rng, other)]
        info = vector.step(np.array(actions))[4]
    assert info["kpis"]["total"]["fill_rate"][0] == wanted["kpis"]["total"]["fill_rate"]


@pytest.mark.parametrize("statistics", ["of one env", "of the batch"])
def test_stable_baselines_monitors_and_vector_envs_hand_indicators_on(
    statistics: str, wanted: dict, counted: list[int]
) -> None:
    monitor = pytest.importorskip("stable_baselines3.common.monitor")
    vec_env = pytest.importorskip("stable_baselines3.common.vec_env")
    env = monitor.Monitor(NetworkEnv("one_warehouse", periods=PERIODS), info_keywords=("cost",))
    vector = vec_env.DummyVecEnv([lambda: env])
    if statistics == "of the batch":
        env = env.unwrapped
        vector = vec_env.VecMonitor(vec_env.DummyVecEnv([lambda: env]))
    vector.seed(7)
    vector.reset()
    rng = np.random.default_rng(7)
    for _ in range(PERIODS):
        _, _, _, infos = vector.step(rng.uniform(-1, 1, (1, *env.action_space.shape)).astype(np.float32))
    assert infos[0]["episode"]["l"] == PERIODS
    assert not counted
    assert repr(infos[0]["kpis"]) == repr(wanted["kpis"])
