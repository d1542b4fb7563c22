"""Requests that were written down, played again by the package: what tests of its period share."""

import numpy as np

from echelongym.envs import Decision, Scenario, Tape, simulate
from echelongym.envs.core.backend import TorchOps

FIELDS = "on_hand in_transit backlog requests shipped received returned recovered served lost disposed".split()


class Replayed:
    """A policy that asks for what was written down, period by period, in every world."""

    def __init__(self, requests, reserve=None, convert=np.asarray):
        self.requests, self.reserve, self.convert = requests, reserve, convert

    def __call__(self, observation):
        period, worlds = int(observation.period[0]), len(observation.period)

        def now(array):
            return None if array is None else self.convert(np.repeat(array[period][None], worlds, 0))

        return Decision(now(self.requests), now(self.reserve))


def tape_from(scenario, arrays):
    """The project's tape of one world's arrays or, in a list, of several worlds'."""
    worlds = arrays if isinstance(arrays, list) else [arrays]
    stacked = {name: np.stack([world[name] for world in worlds], 1) for name in worlds[0]}
    return Tape.from_demand(scenario, **stacked)


def run(mapping, arrays, requests, reserve, backend="numpy"):
    """Trace of the package, with the world as second axis."""
    scenario = Scenario.from_mapping(mapping)
    ops = TorchOps() if backend == "torch" else "numpy"
    convert = TorchOps().asarray if backend == "torch" else np.asarray
    policy = Replayed(requests, reserve, convert)
    return simulate(scenario, policy, tape_from(scenario, arrays), trace=True, backend=ops, kpis=False)
