"""Simulated chunks of worlds as steps of the journal: an evaluation that was killed goes on with the next."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from echelongym.agents.planning.perfect_information import tape_fingerprint
from echelongym.agents.rules import Rule
from echelongym.envs.accounts import estimators, kpis
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.rollout.recordable import RecordablePolicy
from echelongym.envs.rollout.xla_policy import CannotTrace
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import Outcome, simulate
from echelongym.envs.storage import journal
from echelongym.envs.worlds.tape import Tape

LONG = 0.02  # seconds of a decision that is kept
_FIGURE, _TUPLE = "~figure", "~tuple"
#: Where the classes of figures are defined; nothing else is made from a journal.
_MODULES = {module.__name__: module for module in (estimators, kpis)}


def played(
    scenario: Scenario,
    policy: Policy,
    tape: Tape,
    identity: Any,
    progress: Callable[[int, int], None] | None = None,
    device: str = "cpu",
) -> Outcome:
    """:func:`echelongym.envs.simulate.simulate`, or what it gave before the process was killed.

    Parameters
    ----------
    identity
        What tells the policy from others, plain data; see :func:`identity_of`.
    device
        Where it is simulated if JAX can run it; else on the CPU by NumPy, as ``simulated_on`` of the outcome says.
    """

    def simulated() -> Outcome:
        if device != "cpu":
            with suppress(CannotTrace):
                return simulate(scenario, policy, tape, progress=progress, device=device)
        return simulate(scenario, remembered(policy, identity), tape, progress=progress)

    if journal.active() is None:
        return simulated()
    found: list[Outcome] = []

    def compute() -> Any:
        found.append(simulated())
        return plain({**_parts(found[0]), "figures": found[0].figures()})

    worlds, on = [tape_fingerprint(tape)], [] if device == "cpu" else [device]
    value = journal.step("simulation of a policy", [scenario.digest, worlds, identity, *on], compute)
    if found:
        return found[0]
    parts = rebuilt(value)
    figures = parts.pop("figures")
    if progress is not None:
        for period in range(tape.periods):
            progress(period + 1, tape.periods)
    return Outcome(**parts, _kpis=SimpleNamespace(figures=lambda: figures))


def remembered(policy: Policy, identity: Any) -> Policy:
    """Policy whose decisions are kept in the journal where they take long: what was decided is not asked again.

    Left as they are: rules, which are fast or keep their own plans, policies that a compiled rollout may run, which are fast
    there, and policies with memory, whose decisions follow from more than what is observed.
    """
    memory = hasattr(policy, "start") or hasattr(policy, "foresee")
    fast = isinstance(policy, Rule | RecordablePolicy)
    return policy if journal.active() is None or fast or memory else _Remembered(policy, identity)


class _Remembered:
    """A policy without memory whose decisions are steps of the journal, while they take long."""

    def __init__(self, policy: Policy, identity: Any) -> None:
        self.policy, self.identity, self.seconds = policy, identity, LONG

    def __call__(self, observation: Observation) -> Decision:
        seen = {one.name: getattr(observation, one.name) for one in fields(observation)}
        if self.seconds < LONG:
            return self._decided(observation)
        inputs = [self.identity, seen]
        found = journal.known("decision of a policy", inputs)
        if found is not None:
            return Decision(*found)
        decision = self._decided(observation)
        if self.seconds >= LONG:
            reserve = None if decision.reserve is None else np.asarray(decision.reserve)
            journal.note("decision of a policy", inputs, [np.asarray(decision.requests), reserve])
        return decision

    def _decided(self, observation: Observation) -> Decision:
        started = time.perf_counter()
        decision = self.policy(observation)
        self.seconds = time.perf_counter() - started
        return decision


def identity_of(policy: Any, name: str, number: int, source: str) -> list[Any]:
    """Identity of a policy: a rule's parameters, a plan's requests, else the state of the files it is from."""
    found: list[Any] = [name, number, source, type(policy).__name__]
    if isinstance(policy, Rule):
        return [*found, policy.parameters]
    files = [Path(source)] if source else []
    module = sys.modules.get(source.partition(":")[0])
    files += [Path(module.__file__)] if module is not None and module.__file__ else []
    found += [[str(path), *_stamp(path)] for file in files for path in _files(file)]
    return [*found, getattr(policy, "requests", None), getattr(policy, "facts", None)]


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(one for one in path.iterdir() if one.is_file())
    return [path] if path.is_file() else []


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_size, state.st_mtime_ns


def _parts(outcome: Outcome) -> dict[str, Any]:
    """All that an outcome holds but its trace, which a comparison does not ask for."""
    return {one.name: getattr(outcome, one.name) for one in fields(outcome) if one.name not in ("trace", "_kpis")}


def plain(value: Any) -> Any:
    """Figures as data that a journal can hold."""
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        assert kind.__module__ in _MODULES, kind
        own = {one.name: plain(getattr(value, one.name)) for one in fields(value) if one.init}
        return {_FIGURE: [kind.__module__, kind.__name__, own]}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return {_TUPLE: [plain(item) for item in value]}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def rebuilt(value: Any) -> Any:
    """Figures from such data."""
    if isinstance(value, list):
        return [rebuilt(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {_TUPLE}:
        return tuple(rebuilt(item) for item in value[_TUPLE])
    if set(value) == {_FIGURE}:
        module, name, own = value[_FIGURE]
        return getattr(_MODULES[module], name)(**rebuilt(own))
    return {key: rebuilt(item) for key, item in value.items()}
