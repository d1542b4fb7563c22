"""Gradients of a policy that decides when to order: of quantities along the paths, of decisions by trying others."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch

from echelongym.envs.scenario.scenario import Scenario

from ..gradients.choice import Gradients
from ..module import PathwiseActor
from .flips import Flips, Tried

EVERY, KEPT = 8, 8  # gradients between two simulations of other decisions, and simulations that a gradient is of


class HybridGradients:
    """Gradients of both kinds, added up; takes the place of those of quantities alone.

    Parameters
    ----------
    quantities
        Gradients along the paths of the relaxed scenario, in which decisions are taken as they are.
    scenario
        As policies are judged.
    """

    def __init__(self, quantities: Gradients, scenario: Scenario, actor: PathwiseActor, seed: int) -> None:
        self.quantities, self.window, self.multipliers = quantities, quantities.window, quantities.multipliers
        self.library, self.calls = quantities.library, 0
        self.flips = Flips(scenario, actor.definition, self.window, seed)
        self.known: deque[Tried] = deque(maxlen=KEPT)
        self.tried_steps = 0  # env-steps of the last gradient that went into trying other decisions

    def gradient(self, actor: PathwiseActor, first: int, worlds: int) -> float:
        """The loss of worlds ``first`` and following; its gradients are put into the actor's parameters."""
        loss = self.quantities.gradient(actor, first, worlds)
        before, number = self.flips.env_steps, self.calls
        if number % EVERY == 0:
            price = self.multipliers.price if self.multipliers.active else None
            self.known.append(self.flips.tried(actor, first, price))
        self.calls += 1
        self.tried_steps = self.flips.env_steps - before
        chosen = self.known[number % len(self.known)]
        self.flips.loss(actor, chosen).backward()  # adds to what is there
        return loss

    def state(self) -> dict[str, Any]:
        """What later gradients depend on besides the weights, as tensors and plain data."""
        kept = [[torch.from_numpy(np.ascontiguousarray(array)) for array in one] for one in self.known]
        return {"calls": self.calls, "known": kept}

    def stand(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self.calls = state["calls"]
        self.known.extend(Tried(*(array.numpy() for array in one)) for one in state["known"])
