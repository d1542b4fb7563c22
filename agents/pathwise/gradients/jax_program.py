"""Losses and gradients by JAX: the numbers of :class:`Unroll`, all periods one compiled program, for networks of any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from echelongym.envs.core.backend import NUMPY, Array
from echelongym.envs.core.devices import on_device
from echelongym.envs.core.errors import InputError
from echelongym.envs.core.jax_backend import JaxOps
from echelongym.envs.rollout.scan import Decide
from echelongym.envs.scenario.scenario import Scenario

from ...jax_engine.cost_gradient import CostGradient
from ...service_targets import Multipliers
from ...tuning.differentiation import refusal
from ...tuning.gradient import GradientWindow
from ..actor import ActorDefinition
from ..module import PathwiseActor
from .smoothing import SmoothLedger
from .training_worlds import DemandLevels, training_worlds


class JaxProgram:
    """Losses of one scenario and their gradients by JAX; takes what :class:`Unroll` takes, and the actor it is for.

    Compiled when it is made, so that a budget counts it before the first gradient.

    Raises
    ------
    InputError
        If the policy carries a rule that JAX cannot trace.
    """

    library = "jax"
    levels: DemandLevels | None = None  # of recorded demand; None: as recorded

    def __init__(
        self,
        scenario: Scenario,
        window: GradientWindow,
        seed: int,
        smoothing: float,
        actor: PathwiseActor,
        device: str = "cpu",
    ) -> None:
        base = actor.definition.head.base
        reason = None if base is None else refusal(base)
        if reason is not None:
            raise InputError(f"agent.gradient: jax: expected torch or auto, as {reason}")
        self.scenario, self.window, self.seed, self.device = scenario, window, seed, device
        self.multipliers = Multipliers(scenario, NUMPY)
        with on_device(device):
            self.gradients = cost_gradient(scenario, window, smoothing, actor.definition)
        self._gradient(actor, 0, 1)  # compiles

    def gradient(self, actor: PathwiseActor, first: int, worlds: int) -> float:
        """The loss of worlds ``first`` and following; its gradients are put into the actor's parameters."""
        found = self._gradient(actor, first, worlds)
        for name, parameter in actor.owned.items():
            parameter.grad = torch.from_numpy(found.slopes[name].astype(np.float32))
        if self.multipliers.active:
            self.multipliers.note(found.unserved, found.demand, found.short, self.window.periods - self.window.skipped)
        return found.cost

    def _gradient(self, actor: PathwiseActor, first: int, worlds: int) -> Any:
        tape = training_worlds(self.scenario, first, worlds, self.seed, self.window.periods, self.levels)
        price = self.multipliers.price * self.multipliers.active
        with on_device(self.device):
            return self.gradients(actor.weights(), tape, price)


def cost_gradient(
    scenario: Scenario,
    window: GradientWindow,
    smoothing: float,
    definition: ActorDefinition,
    dtype: Any = np.float32,
) -> CostGradient:
    """The gradient of a definition's cost in its weights by name."""

    def prepare(ops: JaxOps, weights: Any) -> Any:
        return definition.head.numbers(weights, ops), weights

    def decide_of(ops: JaxOps, made: Any) -> Decide:
        numbers, weights = made
        return definition.deciding(numbers, weights, ops)

    def opening(ops: JaxOps, worlds: int) -> Array | None:
        return definition.opening(worlds, ops)

    def ledger_of(ops: JaxOps) -> SmoothLedger:
        return SmoothLedger(scenario.tables, ops, smoothing, scenario)

    sizes = window.periods, window.skipped
    return CostGradient(scenario, *sizes, decide_of, prepare, opening, ledger_of, dtype, window.worlds)
