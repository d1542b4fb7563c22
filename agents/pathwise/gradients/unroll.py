"""Unrolled cost of a policy over a window of periods, as a function of its weights: the dynamics in PyTorch."""

from __future__ import annotations

import torch

from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.backend import TorchOps
from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.inventory_positions import longest_way
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import periods
from echelongym.envs.worlds.record_statement import playable

from ...service_targets import Multipliers
from ...tuning.gradient import GradientWindow, window_of
from ..automatic import automatic_network, is_recorded
from ..config import PathwiseConfig
from ..module import PathwiseActor
from .smoothing import SmoothLedger
from .training_worlds import DemandLevels, training_worlds

# Gradients are cheap here, so windows are longer than the tuner's: what is learnt is finer than a level.
LONGEST_WAYS, LEAST_SKIPPED, LEAST_SCORED = 3, 8, 64
# Worlds of a gradient of a set network on recorded demand: it takes longer than the simulation, and all worlds are strung
# together from the same few blocks, so more gradients are worth more than exacter ones.
FEW = 16


def training_window(scenario: Scenario, config: PathwiseConfig) -> GradientWindow:
    """The window of a training: as the config says, and where it says nothing as the scenario's total lead time asks for.

    What is ordered last costs inside the window and pays off outside it; leaving out as many periods at the start
    makes up for it (see :func:`echelongym.agents.tuning.gradient.window_of`).
    """
    usual = window_of(scenario)
    scored, skipped = usual.periods - usual.skipped, usual.skipped
    if usual.periods < scenario.horizon:
        scored, skipped = max(scored, LEAST_SCORED), max(LONGEST_WAYS * longest_way(scenario.tables), LEAST_SKIPPED)
    skipped = skipped if config.skipped is None else config.skipped
    periods = min(config.periods or skipped + scored, playable(scenario, "learn"))
    worlds = usual.worlds
    if is_recorded(scenario) and (config.network if config.network != "auto" else automatic_network(scenario)) == "set":
        worlds = min(worlds, FEW)
    return GradientWindow(config.worlds or worlds, periods, min(skipped, periods - 1))


class Unroll:
    """Losses of one scenario.

    Parameters
    ----------
    scenario
        In continuous units: what is whole is rounded when the policy is judged, never where gradients flow.
    window
        Worlds and periods of a loss.
    seed
        Of the worlds, purpose ``learn``.
    smoothing
        See :class:`SmoothLedger`.
    """

    levels: DemandLevels | None = None  # of recorded demand; None: as recorded

    def __init__(self, scenario: Scenario, window: GradientWindow, seed: int, smoothing: float) -> None:
        self.scenario, self.window, self.seed = scenario, window, seed
        self.library = "torch"
        self.ops = TorchOps(torch.float32)
        self.ledger: Ledger = SmoothLedger(scenario.tables, self.ops, smoothing, scenario)
        self.multipliers = Multipliers(scenario, self.ops)

    def gradient(self, actor: PathwiseActor, first: int, worlds: int) -> float:
        """The loss of worlds ``first`` and following; its gradients are put into the actor's parameters."""
        for one in actor.parameters():
            one.grad = None
        loss = self.loss(actor, first, worlds)
        loss.backward()
        return float(loss.detach())

    def loss(self, actor: PathwiseActor, first: int, worlds: int) -> torch.Tensor:
        """Mean cost (less revenue) a period in worlds ``first`` and following, with the Lagrange terms of the targets."""
        window, scenario = self.window, self.scenario
        tape = training_worlds(scenario, first, worlds, self.seed, window.periods, self.levels)
        actor.begin(worlds)
        scored, cost = 0, torch.zeros(())
        for period, _, flows, state in periods(scenario, actor, tape, self.ops):
            if period < window.skipped:
                continue
            last = period + 1 == scenario.horizon
            cost = cost + self.ledger.net_cost(self.ledger.period(flows, last=last, closing=state)).mean()
            self.multipliers.add(flows)
            scored += 1
        return self.multipliers.penalised(cost / scored, scored)


def relaxation(scenario: Scenario) -> Scenario:
    """The scenario in continuous units.

    Raises
    ------
    InputError
        If it has none.
    """
    found = scenario.relaxed()
    if found is None:
        raise InputError(f"{scenario.name}: has no relaxation in continuous units: expected one, as gradients need it")
    return found
