"""Hostile calls from Python: actions, decisions, arguments of environments, of sampling, of estimators and of tuning."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import Case, Nonsense
from fuzz_scenarios import VALUES, bases

from echelongym.agents import load_policy
from echelongym.envs import Decision, Scenario, Tape, simulate
from echelongym.envs.gym.env import NetworkEnv
from echelongym.envs.gym.vector_env import NetworkVectorEnv

CATEGORIES = ("action", "decision", "environment", "sampling", "tape from Python", "tune and solve")


ALL_RIGHT = [str(one) for one in ([0, 0], [10**12], [2**62], [2**63], [2**64], [10**30], range(3))]  # lists of worlds


class Awkward:
    """Turns into no array."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no array")


@cache
def scenario(units: str = "continuous") -> Scenario:
    """A small one."""
    if units == "integer":
        return Scenario.from_mapping(bases()["whole"])
    return Scenario.load("two_region").replace(horizon=8, warm_up=2)


def arrays(shape: tuple[int, ...]) -> Iterator[tuple[str, Any, str]]:
    """Things in place of an array of numbers: name, value, ``fine``, ``wrong`` or ``either``."""
    ones = np.full(shape, 0.25)
    with np.errstate(all="ignore"):
        for dtype, what in (("float32", "fine"), ("float64", "fine"), ("float16", "fine"), ("int64", "fine"), ("uint8", "fine"),
                            ("bool", "either"), ("complex128", "wrong"), ("object", "either"), ("U8", "wrong"), ("S8", "wrong"),
                            ("datetime64[s]", "wrong"), ("timedelta64[s]", "wrong"), ("float128", "either")):  # fmt: skip
            try:
                yield f"of {dtype}", ones.astype(dtype), what
            except (TypeError, ValueError):
                continue
    for value in (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e30, 1e200, -1.0, -1e-12, 5e-324, -0.0):
        changed = ones.copy()
        changed.flat[-1] = value
        yield f"with {value}", changed, "either" if abs(value) <= 1 or value == 1e30 else "number"
    for value in (None, "x", [1], {}, math.nan, 10**300, 1j, Awkward()):
        changed = ones.astype(object)
        changed.flat[-1] = value
        yield f"objects with {str(value)[:12]}", changed, "wrong"
    yield "nested lists", ones.tolist(), "fine"
    yield "ragged lists", [*ones.tolist()[:-1], [1.0]] if len(shape) > 1 else [1.0, [2.0]], "wrong"
    yield "an axis more", ones[None], "wrong"
    yield "an axis less", ones[0], "wrong"
    yield "one more", np.concatenate([ones, ones[..., :1]], axis=-1), "wrong"
    yield "one less", ones[..., :-1], "wrong"
    yield "nothing", np.zeros(0), "wrong"
    yield "no axis", np.float64(1.0), "wrong"
    yield "turned", np.asfortranarray(ones), "fine"
    yield "structured", np.zeros(shape, dtype=[("a", "f8")]), "wrong"
    yield "masked", np.ma.masked_array(ones, mask=np.ones(shape, bool)), "either"
    yield "a generator", (x for x in [1.0]), "wrong"
    yield "awkward", Awkward(), "wrong"
    for name, value, _ in VALUES:
        yield name, value, "wrong"


def _action_cases() -> Iterator[Case]:
    for units in ("continuous", "integer"):
        one = NetworkEnv(scenario(units))
        size = one.action_space.shape
        for vector in (False, True):
            shape = (3, *size) if vector else size
            for name, value, what in arrays(shape):

                def run(place: Path, value: Any = value, vector: bool = vector, units: str = units) -> None:
                    env: Any = NetworkVectorEnv(scenario(units), num_envs=3) if vector else NetworkEnv(scenario(units))
                    env.reset(seed=1)
                    observation, reward, *_ = env.step(value)
                    if not (np.isfinite(observation).all() and np.isfinite(reward).all()):
                        raise Nonsense(f"reward {reward}")

                wanted = {"fine": "accepted", "wrong": "refused", "number": "either"}.get(what, "either")
                if name in ("with nan", "with inf", "with -inf"):
                    wanted = "refused"
                yield Case("action", f"{units}, {'vector' if vector else 'single'}: {name}", run, wanted)  # type: ignore[arg-type]
        one.close()


def _decision_cases() -> Iterator[Case]:
    for units in ("continuous", "integer"):
        t = scenario(units).tables

        def play(decision: Any, units: str = units) -> None:
            given = scenario(units)
            outcome = simulate(given, lambda observation: decision, given.sample(2, 1, "tune"))
            if not np.isfinite(outcome.cost_per_period).all():
                raise Nonsense(f"cost {outcome.cost_per_period}")

        good = np.ones((2, t.L, t.P))
        for key, shape in (("requests", (2, t.L, t.P)), ("reserve", (2, t.S, t.P))):
            for name, value, what in arrays(shape):

                def run(place: Path, key: str = key, value: Any = value, play: Any = play, good: Any = good) -> None:
                    play(Decision(**{"requests": good, key: value}))

                wanted = {"fine": "accepted", "wrong": "refused", "number": "refused"}.get(what, "either")
                if key == "reserve" and name == "null":
                    wanted = "accepted"
                if name in ("with -1.0", "with -1e-12"):
                    wanted = "refused"
                yield Case("decision", f"{units}: {key} {name}", run, wanted)  # type: ignore[arg-type]

                def stepped(
                    place: Path, key: str = key, value: Any = value, good: Any = good, units: str = units
                ) -> None:
                    env = NetworkVectorEnv(scenario(units), num_envs=2)
                    env.reset(seed=1)
                    _, reward, *_ = env.step_decision(Decision(**{"requests": good, key: value}))
                    if not np.isfinite(reward).all():
                        raise Nonsense(f"reward {reward}")

                yield Case("decision", f"{units}: env: {key} {name}", stepped, wanted)  # type: ignore[arg-type]
        for name, value, _ in VALUES:
            yield Case("decision", f"{units}: {name}", lambda place, value=value, play=play: play(value))
        for name, value in (
            ("a tuple", (good, None)),
            ("an array", good),
            ("a class", Decision),
            ("a mapping", {"requests": good}),
        ):
            yield Case("decision", f"{units}: {name}", lambda place, value=value, play=play: play(value))


ENV_KEYS = {"action": "text", "periods": "count", "purpose": "text", "dtype": "text", "info": "text",
            "overrides": "mapping", "render_mode": "text", "scenario": "text"}  # fmt: skip
VECTOR_KEYS = {**ENV_KEYS, "num_envs": "count", "autoreset_mode": "text", "max_episode_steps": "count"}


def _env_cases() -> Iterator[Case]:
    optional = {"periods", "overrides", "render_mode", "max_episode_steps"}
    for make, keys in ((NetworkEnv, ENV_KEYS), (NetworkVectorEnv, VECTOR_KEYS)):
        for key, kind in keys.items():
            for name, value, what in VALUES:

                def run(place: Path, make: Any = make, key: str = key, value: Any = value) -> None:
                    env = make(**{"scenario": scenario(), key: value})
                    env.reset(seed=1)
                    env.step(env.action_space.sample())
                    env.close()

                fine = (what == "null" and key in optional) or (kind == "mapping" and value == {})
                either = (kind == "count" and name in ("a million", "1e9")) or (key == "overrides" and not value)
                wanted = "either" if fine or either else "refused"
                yield Case("environment", f"{make.__name__}: {key} = {name}", run, wanted)  # type: ignore[arg-type]
        for name, value, what in VALUES:
            for key in ("seed", "options"):

                def run(place: Path, make: Any = make, key: str = key, value: Any = value) -> None:
                    env = make(scenario())
                    env.reset(**{key: value})

                fine = (
                    what in ("null",)
                    or (key == "options" and not value)
                    or (key == "seed" and name in ("zero", "a million"))
                )
                yield Case(
                    "environment", f"{make.__name__}: reset {key} = {name}", run, "either" if fine else "refused"
                )
        for name, seed in (
            ("2^31", 2**31),
            ("2^63", 2**63),
            ("2^64", 2**64),
            ("2^70", 2**70),
            ("numpy", np.int64(5)),
            ("0.0", 0.0),
            ("3.0", 3.0),
        ):
            yield Case(
                "environment",
                f"{make.__name__}: reset seed = {name}",
                lambda place, make=make, seed=seed: make(scenario()).reset(seed=seed),
                "either",
            )
        yield Case("environment", f"{make.__name__}: step before reset", lambda place, make=make: _step_first(make))
        yield Case(
            "environment", f"{make.__name__}: step after the end", lambda place, make=make: _step_late(make), "either"
        )
    for mask in (
        None,
        5,
        "x",
        [True],
        [1, 0],
        [[True, False]],
        np.zeros(2, bool),
        np.ones(3, bool),
        [None, None],
        np.array([np.nan, 1.0]),
    ):
        yield Case("environment", f"reset_mask = {mask}", lambda place, mask=mask: _masked(mask),
                   "either" if isinstance(mask, list) and mask == [1, 0] else "refused")  # fmt: skip
    for episode in (-1, 1.5, "x", 10**300, None, [1], 2**62, True):
        yield Case("environment", f"episode = {str(episode)[:20]}", lambda place, episode=episode: NetworkVectorEnv(
            scenario(), num_envs=2).reset(seed=1, options={"episode": episode}))  # fmt: skip


def _step_first(make: Any) -> None:
    env = make(scenario())
    env.step(env.action_space.sample())


def _step_late(make: Any) -> None:
    env = make(scenario(), periods=1)
    env.reset(seed=1)
    for _ in range(3):
        env.step(env.action_space.sample())


def _masked(mask: Any) -> None:
    env = NetworkVectorEnv(scenario(), num_envs=2, autoreset_mode="DISABLED", periods=1)
    env.reset(seed=1)
    env.step(env.action_space.sample())
    env.reset(options={"reset_mask": mask})


def _sampling_cases() -> Iterator[Case]:
    usual = {"worlds": 2, "seed": 1, "purpose": "tune", "periods": 4}
    for key in usual:
        for name, value, what in VALUES:
            # A million worlds of four periods would fit in a few gigabytes: refusing them is right, and so is drawing them.
            fine = (key == "seed" and name in ("zero", "a million")) or (key == "periods" and what == "null")
            either = (key == "worlds" and name == "list of one") or name == "a million"
            yield Case("sampling", f"{key} = {name}", lambda place, key=key, value=value: scenario().sample(**{**usual, key: value}),
                       "either" if fine or either else "refused")  # fmt: skip
    for seed in (2**31, 2**32, 2**63, 2**64, 2**70, 2**128, np.int64(5), np.uint64(2**63), 5.0, np.float64(5)):
        yield Case(
            "sampling", f"seed = {seed!r}", lambda place, seed=seed: scenario().sample(2, seed, "tune", 4), "either"
        )
    for worlds in (10**12, [10**12], [2**62], [2**63], [2**64], [-1], [0, 0], [1.0], range(3), range(10**9), np.arange(3), np.zeros(0, int),
                   np.array(3), np.array([[1, 2]]), {1, 2}, (x for x in [1]), "12", [True], np.array([1.5]), np.array(["a"]), [[1]], [10**30]):  # fmt: skip
        listed = isinstance(worlds, list | range) and str(worlds) in ALL_RIGHT
        fine = listed or (isinstance(worlds, np.ndarray) and worlds.shape in ((3,), ()))
        yield Case("sampling", f"worlds = {str(worlds)[:30]}", lambda place, worlds=worlds: scenario().sample(worlds, 1, "tune", 4),
                   "either" if fine else "refused")  # fmt: skip
    for key in ("backend", "dtype", "progress", "trace", "kpis"):
        for name, value, _ in VALUES:

            def run(place: Path, key: str = key, value: Any = value) -> None:
                given = scenario()
                simulate(given, load_policy("echelon_base_stock", given), given.sample(2, 1, "tune"), **{key: value})

            yield (
                Case("sampling", f"simulate {key} = {name}", run, "refused" if key == "backend" else "either")
                if key != "dtype"
                else Case(
                    "sampling",
                    f"simulate tape = {name}",
                    lambda place, value=value: simulate(
                        scenario(), load_policy("echelon_base_stock", scenario()), value
                    ),
                )
            )
    for name, value, _ in VALUES:
        yield Case(
            "sampling",
            f"simulate policy = {name}",
            lambda place, value=value: simulate(scenario(), value, scenario().sample(2, 1, "tune")),
        )
        yield Case("sampling", f"simulate scenario = {name}", lambda place, value=value: simulate(
            value, load_policy("echelon_base_stock", scenario()), scenario().sample(2, 1, "tune")))  # fmt: skip
        yield Case(
            "sampling",
            f"load_policy scenario = {name}",
            lambda place, value=value: load_policy("echelon_base_stock", value),
        )


def _tape_cases() -> Iterator[Case]:
    given = scenario()
    good = np.array(given.sample(2, 1, "tune").demand)
    for name, value, what in arrays(good.shape):
        wanted = {"fine": "accepted", "wrong": "refused"}.get(what, "either")
        if name in ("with nan", "with inf", "with -inf", "with -1.0", "with -1e308", "with 1e308"):
            wanted = "refused"
        if name == "one less" or name == "an axis less":
            wanted = "either"

        def run(place: Path, value: Any = value) -> None:
            tape = Tape.from_demand(given, value)
            outcome = simulate(given, load_policy("echelon_base_stock", given), tape)
            if not np.isfinite(outcome.cost_per_period).all():
                raise Nonsense(f"cost {outcome.cost_per_period}")

        yield Case("tape from Python", f"demand {name}", run, wanted)  # type: ignore[arg-type]
    tape = given.sample(2, 1, "tune")
    for key in ("lead_time", "node_availability", "lane_yield", "forecast", "split", "nope"):
        for name, value, _ in VALUES:
            yield Case(
                "tape from Python",
                f"replace {key} = {name}",
                lambda place, key=key, value=value: tape.replace(**{key: value}).check(given),
            )
            yield Case(
                "tape from Python",
                f"from_demand {key} = {name}",
                lambda place, key=key, value=value: Tape.from_demand(given, good, **{key: value}),
            )
    for key in (5, -3, slice(5, 9), [0, 7], [], "x", None, 1.5, [True], [[0]], 10**30, {}, (0, 1)):
        fine = isinstance(key, slice) or key == []
        yield Case(
            "tape from Python", f"tape[{key}]", lambda place, key=key: tape[key], "either" if fine else "refused"
        )
    for name, value, _ in VALUES:
        yield Case("tape from Python", f"check against {name}", lambda place, value=value: tape.check(value))


def _solve_cases() -> Iterator[Case]:
    from echelongym.agents.exact import solve
    from echelongym.agents.tuning.tuner import tune

    lost = Scenario.load("lost_sales").replace(horizon=6, warm_up=1)
    usual: dict[str, Any] = {"worlds": 2, "judged": 2, "seed": 1, "budget": 60}
    for key in (*usual, "method", "tolerance", "patience", "refit"):
        for name, value, what in VALUES:
            loose = what in ("null", "number") or (key in ("tolerance", "patience") and what == "boolean" and False)
            yield Case("tune and solve", f"tune {key} = {name}", lambda place, key=key, value=value: tune(
                lost, "echelon_base_stock", **{**usual, key: value}), "either" if loose else "refused")  # fmt: skip
    for name, value, _ in VALUES:
        yield Case("tune and solve", f"tune policy = {name}", lambda place, value=value: tune(lost, value, **usual))
        yield Case(
            "tune and solve",
            f"tune scenario = {name}",
            lambda place, value=value: tune(value, "echelon_base_stock", **usual),
        )
        yield Case("tune and solve", f"solve scenario = {name}", lambda place, value=value: solve(value))
        yield Case("tune and solve", f"solve method = {name}", lambda place, value=value: solve(lost, value))


def cases(folder: Path) -> list[Case]:
    """All of this module."""
    makers = (_action_cases, _decision_cases, _env_cases, _sampling_cases, _tape_cases, _solve_cases)
    return [case for make in makers for case in make()]
