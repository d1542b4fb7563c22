"""Gradients of a window's cost by PyTorch or by JAX, and Adam's steps along them: one interface for both."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np

from echelongym.envs.accounts.ledger import Ledger
from echelongym.envs.core.backend import NUMPY
from echelongym.envs.core.errors import InputError, is_installed, require
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.simulate import backend_of, periods
from echelongym.envs.worlds.tape import Tape

from ..rules import Rule
from ..rules.rule import Space
from ..service_targets import Multipliers

Library = Literal["torch", "jax"]
GRADIENTS = ("auto", "jax", "torch")
BETAS, EPSILON = (0.9, 0.95), 1e-8  # of Adam


class Descent(Protocol):
    """Descent along gradients of one rule: where it is, and Adam's memory of slopes.

    Positions are (m,) of the parameters that move, in units of each one's scale, from where the leg began.
    """

    library: Library
    multipliers: Multipliers

    def begin(self, here: Floats, entries: Ints, rate: float, before: dict[str, Any] | None) -> None:
        """Begin a leg at ``here`` (n,), or go on where ``before``, a state, left it."""

    def step(self, tape: Tape, rate: float) -> float:
        """One step of size ``rate`` along the gradient in the worlds of a tape; the cost before it."""

    def position(self) -> Floats:
        """Where it is now."""

    def state(self) -> dict[str, Any]:
        """Position and memory, for ``begin``."""


def refusal(rule: Rule) -> str | None:
    """Reason why JAX cannot trace a rule; None where it can."""
    for name in ("start", "foresee"):
        if callable(getattr(rule, name, None)):
            return f"{rule.name} has a memory of its own" if name == "start" else f"{rule.name} is shown the tape"
    return None


def library_of(gradient: str, rule: Rule) -> Library | None:
    """The library that takes the gradients of a rule; None where none is installed.

    ``auto`` is JAX where it is installed and can trace the rule, else PyTorch: it tunes every shipped scenario in less time,
    importing and compiling included.

    Raises
    ------
    InputError
        For ``jax`` and a rule that it cannot trace.
    MissingExtra
        For a library by name that is not installed.
    """
    reason = refusal(rule)
    if gradient != "auto":
        require(gradient)
        if gradient == "jax" and reason is not None:
            raise InputError(f"gradient: jax: expected torch or auto, as {reason}")
        return "jax" if gradient == "jax" else "torch"
    if reason is None and is_installed("jax"):
        return "jax"
    return "torch" if is_installed("torch") else None


class Programs:
    """Compiled gradients of one tuning, by what they were compiled for: a later descent finds those of an earlier one."""

    def __init__(self) -> None:
        self._found: dict[Any, Any] = {}

    def of(self, rule: Rule, space: Space, here: Floats, window: tuple[int, int]) -> Any:
        """The gradient of a rule in a window of so many periods, the first ones skipped."""
        from ..jax_engine.rule_gradient import RuleGradient

        rule = rule.with_vector(space, here)
        # Which lanes are used is known when a program is made.
        key = (rule.name, rule.scenario.digest, repr(rule.given), space.names, np.isneginf(here).tobytes(), window)
        if key not in self._found:
            self._found[key] = RuleGradient(rule, space, *window)
        return self._found[key]


def descent_of(library: Library, rule: Rule, space: Space, window: tuple[int, int], programs: Programs) -> Descent:
    """The descent of a rule in a window (periods, skipped)."""
    if library == "jax":
        return JaxDescent(rule, space, window, programs)
    return TorchDescent(rule, space, window)


class TorchDescent:
    """Gradients by PyTorch: the dynamics unrolled, period by period."""

    library: Library = "torch"

    def __init__(self, rule: Rule, space: Space, window: tuple[int, int]) -> None:
        import torch

        self.rule, self.space = rule, space
        self.periods, self.skipped = window
        self.ops: Any = backend_of("torch", torch.float32)
        self.ledger = Ledger(rule.tables, self.ops)
        self.multipliers = Multipliers(rule.scenario, self.ops)

    def begin(self, here: Floats, entries: Ints, rate: float, before: dict[str, Any] | None) -> None:
        """See :class:`Descent`."""
        import torch

        ops = self.ops
        self.origin, self.places = ops.constant(here), torch.as_tensor(entries)
        self.start, self.scale = self.origin[self.places], ops.constant(self.space.scale[entries])
        self.lower = ops.constant(np.maximum(self.space.lower[entries], -1e30))
        self.theta = torch.zeros(len(entries), dtype=ops.float, requires_grad=True)
        self.optimiser = torch.optim.Adam([self.theta], lr=rate, betas=BETAS)
        if before is not None:
            with torch.no_grad():
                self.theta.copy_(torch.as_tensor(before["theta"]))
            names = ("step", "exp_avg", "exp_avg_sq")
            self.optimiser.state[self.theta] = {name: torch.as_tensor(before[name]) for name in names}

    def step(self, tape: Tape, rate: float) -> float:
        """See :class:`Descent`."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # arrays are small: more threads cost more than they bring
        try:
            self.optimiser.param_groups[0]["lr"] = rate
            moved = torch.maximum(self.start + self.scale * self.theta, self.lower)
            loss, cost = self._loss(self.origin.index_put((self.places,), moved), tape)
            self.optimiser.zero_grad()
            loss.backward()
            assert self.theta.grad is not None
            torch.nan_to_num_(self.theta.grad, 0.0, 0.0, 0.0)
            self.optimiser.step()
        finally:
            torch.set_num_threads(threads)
        return cost

    def _loss(self, vector: Any, tape: Tape) -> tuple[Any, float]:
        """Cost a period, with the Lagrange terms of the targets, and without."""
        scenario = self.rule.scenario
        candidate = self.rule.with_vector(self.space, vector)
        scored, cost = 0, self.ops.constant(0.0)
        for period, _, flows, state in periods(scenario, candidate, tape, self.ops):
            if period < self.skipped:
                continue
            last = period + 1 == scenario.tables.horizon
            cost = cost + self.ledger.net_cost(self.ledger.period(flows, last=last, closing=state)).mean()
            self.multipliers.add(flows)
            scored += 1
        loss = cost / scored
        return self.multipliers.penalised(loss, scored), float(loss.detach())

    def position(self) -> Floats:
        """See :class:`Descent`."""
        found: Floats = self.theta.detach().double().numpy()
        return found

    def state(self) -> dict[str, Any]:
        """See :class:`Descent`."""
        moments = {name: value.numpy().copy() for name, value in self.optimiser.state[self.theta].items()}
        return {"theta": self.theta.detach().numpy().copy(), **moments}


class JaxDescent:
    """Gradients by JAX: all periods one compiled program, in batches of worlds of one size."""

    library: Library = "jax"

    def __init__(self, rule: Rule, space: Space, window: tuple[int, int], programs: Programs) -> None:
        self.rule, self.space, self.window, self.programs = rule, space, window, programs
        self.multipliers = Multipliers(rule.scenario, NUMPY)

    def begin(self, here: Floats, entries: Ints, rate: float, before: dict[str, Any] | None) -> None:
        """See :class:`Descent`."""
        self.gradient = self.programs.of(self.rule, self.space, here, self.window)
        self.here, self.entries = here, entries
        none = np.zeros(len(entries))
        fresh: dict[str, Any] = {"theta": none, "step": 0, "exp_avg": none, "exp_avg_sq": none}
        self._state = fresh if before is None else before

    def step(self, tape: Tape, rate: float) -> float:
        """See :class:`Descent`."""
        space, entries, before = self.space, self.entries, self._state
        there = self.here[entries] + space.scale[entries] * before["theta"]
        lower = space.lower[entries]
        vector = self.here.copy()
        vector[entries] = np.maximum(there, lower)
        price = self.multipliers.price
        found = self.gradient(vector, tape, price)
        if self.multipliers.active:
            self.multipliers.note(found.unserved, found.demand, found.short, self.window[0] - self.window[1])
        # At its limit a number is held; where both are equal half of the derivative is on either side.
        inside = (there > lower) + 0.5 * (there == lower)
        slopes = np.nan_to_num(found.slopes[entries], nan=0.0, posinf=0.0, neginf=0.0) * space.scale[entries] * inside
        self._state = adam(before, slopes, rate)
        return found.cost - float(price @ found.unserved) / (self.window[0] - self.window[1])

    def position(self) -> Floats:
        """See :class:`Descent`."""
        found: Floats = self._state["theta"]
        return found

    def state(self) -> dict[str, Any]:
        """See :class:`Descent`."""
        return dict(self._state)


def adam(before: dict[str, Any], slopes: Floats, rate: float) -> dict[str, Any]:
    """Adam's next state (Kingma and Ba, ICLR 2015, algorithm 1): position, steps, and both moving averages."""
    first, second = BETAS
    step = before["step"] + 1
    mean = first * before["exp_avg"] + (1 - first) * slopes
    square = second * before["exp_avg_sq"] + (1 - second) * slopes**2
    moved = rate * (mean / (1 - first**step)) / (np.sqrt(square / (1 - second**step)) + EPSILON)
    return {"theta": before["theta"] - moved, "step": step, "exp_avg": mean, "exp_avg_sq": square}
