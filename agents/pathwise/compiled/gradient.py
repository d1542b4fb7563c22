"""Losses and gradients by compiled code: the same numbers as :class:`Unroll`'s, many times faster.

A period of a small network is some two hundred PyTorch calls forward and as many back, and each costs microseconds
whatever it does. Here the period and its derivative are C, sixteen worlds at a time; the first gradient is compared with
PyTorch's. Where there is no compiler, or a policy or network has no such form, PyTorch does it all; ``reason`` says why.
``ECHELONGYM_NATIVE=0`` switches it off.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np
import torch

from echelongym.envs.compiler.c_compiler import CannotCompile, Faulty, library, reason_of
from echelongym.envs.scenario.scenario import Scenario

from ...tuning.gradient import GradientWindow
from ..gradients.training_worlds import training_worlds
from ..gradients.unroll import Unroll
from ..heads import LevelsHead
from ..module import PathwiseActor
from ..order_decisions.head import quantities
from .c_source import WIDTH, source
from .period import exogenous_rows, record
from .recording import CannotRecord, Layer, RecordedPeriod

EPSILON = float(np.finfo(np.float32).eps)
#: Share of the norm of a gradient by which the two may differ: roundings of single precision. Measured over 63 policies of the
#: shipped scenarios and 200 random networks: 0.9 roundings in the middle, 9 in 99 of 100, 54 at most.
AGREEMENT = 128 * EPSILON
#: Share of the loss by which the two may differ; there it was 7e-7 at most. More is allowed as rounding may call for one
#: vehicle more, and of few worlds and periods that is seen.
VALUES = 1e-4
DRAWS = 3
COMPARED = 32  # periods that the first gradient is compared in
MOST_NODES = 3_000  # a period of more is not compiled: that would take minutes
MOST_CELLS = 200  # lanes times products; more are never below that, and recording them takes long


class NativeUnroll(Unroll):
    """Unrolled cost by compiled code; takes what :class:`Unroll` takes, and the actor it is for."""

    def __init__(
        self, scenario: Scenario, window: GradientWindow, seed: int, smoothing: float, actor: PathwiseActor
    ) -> None:
        super().__init__(scenario, window, seed, smoothing)
        self.reason = ""
        self._run: Any = None
        if os.environ.get("ECHELONGYM_NATIVE") == "0":
            self.reason = "ECHELONGYM_NATIVE=0"
            return
        try:
            self._prepare(actor)
            self._compare(actor)
        except Exception as error:  # whatever it is, it would only have made things faster
            self.reason = reason_of(error, (CannotRecord, CannotCompile))
        if self.reason:
            self._run = None
        if self.native:
            self.library = "compiled"

    @property
    def native(self) -> bool:
        """Whether compiled code is used."""
        return self._run is not None

    def _prepare(self, actor: PathwiseActor) -> None:
        if self.window.periods == self.scenario.horizon and self.scenario.tables.terminal_value.any():
            raise CannotRecord("a terminal value")
        cells = self.scenario.tables.L * self.scenario.tables.P
        if cells > MOST_CELLS:
            raise CannotRecord(f"{cells} lanes times products")
        self.made: RecordedPeriod = record(actor.definition, self.ledger.smoothing, self.scenario)  # type: ignore[attr-defined]
        if len(self.made.graph.nodes) > MOST_NODES:
            raise CannotRecord(f"{len(self.made.graph.nodes)} operations a period")
        self._run = library(source(self.made), False, ("-ffp-contract=fast",)).run
        self._run.restype = None
        self.start = np.array([*self.made.start, 0.0], dtype=np.float32)

    def _compare(self, actor: PathwiseActor) -> None:
        """Hold the first gradient against PyTorch's, of few worlds and periods and at weights that are not zero.

        Two gradients of single precision differ by what was rounded, and where rounding puts a number on the other side of a
        kink (a stock-out, a capacity), by the part of one world and period. A fault shows at any weights, such a kink not at
        those of several draws: of three one is to agree.
        """
        apart = float("inf")
        for draw in range(DRAWS):
            loss, native_loss, apart = self._apart(actor, draw)
            if abs(loss - native_loss) <= VALUES * abs(loss) and apart <= 1.0:
                self.apart = apart
                return
        raise Faulty(
            f"what was compiled does not agree: gradients are {apart:.2g} times as far apart as rounding explains, "
            f"losses are {loss:.6g} and {native_loss:.6g}"
        )

    def _apart(self, actor: PathwiseActor, draw: int) -> tuple[float, float, float]:
        """Both losses, and the distance of both gradients as a multiple of the one that is allowed."""
        window, self.window = self.window, GradientWindow(WIDTH, min(self.window.periods, COMPARED), 0)
        kept = {name: value.clone() for name, value in actor.state_dict().items()}
        generator = torch.Generator().manual_seed(1 + draw)
        with torch.no_grad():
            for one in actor.parameters():
                one.add_(0.05 * torch.randn(one.shape, generator=generator))
        try:
            found = []
            for way in (super().gradient, self.gradient):
                for one in actor.parameters():
                    one.grad = None
                prices = self.multipliers.price.copy()
                loss = way(actor, 0, WIDTH)
                self.multipliers._clear()
                self.multipliers.price = prices
                parts = [torch.zeros_like(one) if one.grad is None else one.grad for one in actor.parameters()]
                found.append((loss, torch.cat([part.reshape(-1) for part in parts])))
        finally:
            self.window = window
            actor.load_state_dict(kept)
            for one in actor.parameters():
                one.grad = None
        (loss, gradient), (native_loss, native_gradient) = found
        # Where gradients of all periods cancel, what is left is below the last digit of the loss.
        allowed = AGREEMENT * float(gradient.norm()) + EPSILON * abs(loss)
        return loss, native_loss, float((gradient - native_gradient).norm()) / max(allowed, 1e-30)

    def gradient(self, actor: PathwiseActor, first: int, worlds: int) -> float:
        """The loss; gradients are put where PyTorch puts them."""
        if self._run is None:
            return super().gradient(actor, first, worlds)
        worlds = -(-worlds // WIDTH) * WIDTH
        tape = training_worlds(self.scenario, first, worlds, self.seed, self.window.periods, self.levels)
        rows = _aligned(exogenous_rows(self.made, tape, self.scenario))
        return self._gradient(actor, rows, worlds)

    def _gradient(self, actor: PathwiseActor, rows: Any, worlds: int) -> float:
        made, (T, skipped) = self.made, (self.window.periods, self.window.skipped)
        scored, states = T - skipped, len(made.start)
        numbers = self._numbers(actor)
        memory = _empty((T + 1) * max(states, 1) * WIDTH)
        sums, slopes = _zeros(len(made.outputs) * WIDTH), _zeros(max(made.parameters, 1) * WIDTH)
        layers = [_LayerMemory(layer, actor, T) for layer in made.layers]
        arguments = [_pointer(one) for layer in layers for one in layer.arrays]
        for block in range(0, worlds, WIDTH):
            self._run(
                _pointer(self.start), ctypes.c_void_p(rows.ctypes.data + 4 * block), ctypes.c_long(worlds),
                _pointer(numbers), ctypes.c_long(T), ctypes.c_long(skipped), ctypes.c_float(1.0 / (scored * worlds)),
                _pointer(memory), _pointer(sums), _pointer(slopes), ctypes.c_int(1), *arguments,
            )  # fmt: skip
            for layer in layers:
                layer.add()
        for layer in layers:
            _put(layer.weight, layer.by_weight)
            _put(layer.bias, layer.by_bias)
        self._put_numbers(actor, slopes.reshape(-1, WIDTH).sum(1, dtype=np.float64))
        found = sums.reshape(-1, WIDTH).sum(1, dtype=np.float64) / worlds
        self._note(found[1:], scored)
        return float(found[0] / scored)

    def _numbers(self, actor: PathwiseActor) -> Any:
        """Learned numbers of the head and Lagrange multipliers of the targets, as the compiled code takes them."""
        with torch.no_grad():
            numbers = actor.definition.head.numbers(actor.owned, self.ops)
        own = np.zeros(0) if numbers is None else np.asarray(numbers)
        prices = self.multipliers.price if self.multipliers.active else np.zeros(0)
        return np.concatenate([own, prices, [0.0]]).astype(np.float32)

    def _put_numbers(self, actor: PathwiseActor, slopes: Any) -> None:
        head = quantities(actor.definition.head)
        for one in actor.levels():
            slope = slopes[: len(one)]
            if isinstance(head, LevelsHead):
                free = head.fixed[head.moving] + head.space.scale[head.moving] * one.detach().double().numpy()
                slope = slope * head.space.scale[head.moving] * (free >= head.space.lower[head.moving])
            _put(one, slope)

    def _note(self, found: Any, scored: int) -> None:
        """Tell the multipliers what was missed."""
        if self.multipliers.active:
            unserved, demand, short = found.reshape(3, -1)
            self.multipliers.note(unserved, demand, short, scored)


class _LayerMemory:
    """What a layer needs, sees and owes in all periods of sixteen worlds, and its gradient so far."""

    def __init__(self, layer: Layer, actor: PathwiseActor, periods: int) -> None:
        self.weight, self.bias = (actor.owned[name] for name in layer.names)
        weight = np.ascontiguousarray(self.weight.detach().numpy())
        self.outputs, self.inputs = weight.shape
        self.seen, made, self.owed = (
            _zeros(size * layer.calls * periods * WIDTH) for size in (self.inputs, self.outputs, self.outputs)
        )  # zeros, as nothing is owed where no output of a call is used
        bias = np.ascontiguousarray(self.bias.detach().numpy())
        self.arrays = (weight, np.ascontiguousarray(weight.T), bias, self.seen, made, self.owed)
        self.by_weight, self.by_bias = np.zeros(weight.shape), np.zeros((self.outputs, 1))

    def add(self) -> None:
        """Add the gradient of the worlds that were run last."""
        owed = self.owed.reshape(self.outputs, -1)
        # By torch, as its threads are those that were asked for.
        product = torch.from_numpy(owed) @ torch.from_numpy(self.seen.reshape(self.inputs, -1)).T
        self.by_weight += product.numpy()
        self.by_bias += owed.sum(1, keepdims=True)


def _put(parameter: Any, gradient: Any) -> None:
    parameter.grad = torch.from_numpy(np.asarray(gradient, dtype=np.float32).reshape(parameter.shape))


def _empty(size: int) -> Any:
    """Memory of so many numbers that begins where vectors may."""
    raw = np.empty(size + 32, dtype=np.float32)
    first = (-(raw.ctypes.data // 4)) % 16
    return raw[first : first + size]


def _zeros(size: int) -> Any:
    found = _empty(size)
    found[:] = 0.0
    return found


def _aligned(rows: Any) -> Any:
    if rows.ctypes.data % 64 == 0:
        return rows
    found = _empty(rows.size).reshape(rows.shape)
    found[:] = rows
    return found


def _pointer(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
