"""Simulation of policies on common worlds, shared out to workers: what comes out is the same for any number of them."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from echelongym.agents.registry import RULES
from echelongym.agents.rules import Rule
from echelongym.envs.accounts.kpis import Kpis
from echelongym.envs.interface.observation import Policy
from echelongym.envs.rollout.rollout import program_bytes
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import Outcome
from echelongym.envs.workers.cores import PLAIN, asked, most_workers
from echelongym.envs.workers.pieces import Piece, as_done
from echelongym.envs.workers.telling import tell
from echelongym.envs.worlds.memory import simulation_bytes

from ..cli.terminal import bar_of_pieces
from .played import played

SMALLEST = 64  # worlds of a rule that a worker is given at least

Run = tuple[Policy, Any]  # a policy, and what tells it from others, as :func:`.played.identity_of` gives


@dataclass(frozen=True, eq=False)
class Figures:
    """Figures of a simulation, in the place of the accumulator that they are from, which does not travel."""

    kpis: Kpis

    def figures(self) -> Kpis:
        return self.kpis


@dataclass(frozen=True)
class _RuleByName:
    """A rule as it is handed to a worker: one that has been at work may hold what does not travel."""

    name: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class _Part:
    """What one piece simulates: some worlds of some policies, by number."""

    worlds: range
    policies: tuple[int, ...]


def simulated(
    scenario: Scenario,
    runs: Sequence[Run],
    parts: Sequence[range],
    drawn: tuple[Sequence[int], int, int],
    show_progress: bool = True,
    device: str = "cpu",
) -> list[list[Outcome]]:
    """Outcomes of each policy, one for each part of the worlds that it was simulated in, in the order of the worlds.

    Several workers share the worlds of a rule, which decides in each world by itself; other policies are simulated on
    every part as a whole, as what multiplies matrices may round otherwise in another batch.

    Parameters
    ----------
    runs
        The policies.
    parts
        Places of worlds that fit into memory together.
    drawn
        Numbers of all the worlds, their seed, and their periods.
    device
        ``cpu`` or ``gpu``, which one process has for itself; see :func:`.played.played`.
    """
    pieces = list(_pieces(scenario, runs, parts, drawn, device))
    bytes_needed = (
        PLAIN
        + program_bytes(scenario.tables)
        + max(simulation_bytes(scenario, len(part.worlds), drawn[2]) for part, _, _ in pieces)
    )
    found: list[dict[int, Outcome]] = [{} for _ in runs]
    work = [piece for _, piece, _ in pieces]
    with bar_of_pieces("simulating", work, show_progress) as bar:
        for travelling in (True, False):
            places = [place for place, (_, _, travels) in enumerate(pieces) if travels is travelling]
            listener = None if bar is None else _renumbered(bar, places)
            chosen = [work[place] for place in places]
            how: Any = {} if travelling else {"workers": 1}
            for number, outcomes in as_done(chosen, None, bytes_needed, listener, **how):
                part = pieces[places[number]][0]
                for policy, outcome in zip(part.policies, outcomes, strict=True):
                    found[policy][part.worlds.start] = outcome
    return [[one[start] for start in sorted(one)] for one in found]


def _renumbered(bar: Callable[[int, float, str], None], places: Sequence[int]) -> Callable[[int, float, str], None]:
    return lambda number, share, text: bar(places[number], share, text)


def _pieces(
    scenario: Scenario, runs: Sequence[Run], parts: Sequence[range], drawn: tuple[Sequence[int], int, int], device: str
) -> Iterator[tuple[_Part, Piece, bool]]:
    """Parts of the work, the pieces that do them, and whether a worker can do them."""
    worlds, seed, periods = drawn
    everyone = tuple(range(len(runs)))
    shared = asked() != 1 and device == "cpu"
    handed = [_handed(*run) if shared else run for run in runs]
    travelling = tuple(number for number in everyone if shared and _travels(*handed[number]))
    rules = tuple(number for number in travelling if isinstance(runs[number][0], Rule))
    groups = [(rules, True)] if rules else []
    groups += [((number,), True) for number in travelling if number not in rules]
    here = tuple(number for number in everyone if number not in travelling)
    groups += [(here, False)] if here else []
    for part, (policies, travels) in itertools.product(parts, groups):
        whole = not travels or policies != rules or any(getattr(runs[number][0], "slow", False) for number in policies)
        for some in (part,) if whole else _shared_out(part):
            given = (
                scenario,
                [handed[number] for number in policies],
                [worlds[place] for place in some],
                seed,
                periods,
                device,
            )
            share = float(len(some) * periods * len(policies))
            yield _Part(some, policies), Piece(_simulated, given, share), travels


def _shared_out(part: range) -> list[range]:
    """A few worlds first, which say how long the others take, and an equal share of these for each worker."""
    workers = most_workers(asked(), len(part) // SMALLEST)
    if workers < 2:
        return [part]
    first = SMALLEST if asked() == "auto" else 0
    edges = [first + (len(part) - first) * worker // workers for worker in range(workers + 1)]
    shares = [part[start:stop] for start, stop in itertools.pairwise(edges)]
    return [part[:first], *shares] if first else shares


def _handed(policy: Policy, identity: Any) -> tuple[Any, Any]:
    """A policy as a worker is given it."""
    by_name = isinstance(policy, Rule) and type(policy) is RULES.get(policy.name)
    return (_RuleByName(policy.name, policy.parameters) if by_name else policy), identity  # type: ignore[attr-defined]


def _travels(policy: Any, identity: Any) -> bool:
    """Whether a policy can be handed to another process: it is of this package, and can be pickled."""
    if not type(policy).__module__.startswith("echelongym.") or ":" in str(identity[2]):
        return False
    try:
        pickle.dumps(policy)
    except Exception:  # whatever is the matter, it is simulated here
        return False
    return True


def _simulated(
    scenario: Scenario, runs: Sequence[tuple[Any, Any]], worlds: Sequence[int], seed: int, periods: int, device: str
) -> list[Outcome]:
    """Outcomes of some policies on the same worlds."""
    tape = scenario.sample(worlds, seed, "test", periods)
    found = []
    for number, (policy, identity) in enumerate(runs):
        if isinstance(policy, _RuleByName):
            policy = RULES[policy.name](scenario, **policy.parameters)
        outcome = played(scenario, policy, tape, identity, _told(number, len(runs)), device)
        found.append(replace(outcome, _kpis=Figures(outcome.figures())))
    return found


def _told(number: int, count: int) -> Callable[[int, int], None]:
    return lambda done, periods: tell((number + done / periods) / count)
