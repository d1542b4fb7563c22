"""Settings of pathwise training: what ``configs/agent/pathwise*.yaml`` say, which hold all defaults."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from echelongym.envs.core.devices import Device
from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import Config, Count, Positive, PositiveCount, Share, number

from ..training import LearnerConfig

KIND = "pathwise"  # of checkpoints and policy files
Width = Annotated[int, number(1, 65_536, integer=True)]
WorldCount = Annotated[int, number(1, 10**6, integer=True)]  # played side by side
StartShare = Annotated[float, number(0.0, 0.9)]
GradientLibrary = Literal["auto", "compiled", "jax", "torch"]
SHARED_NETWORKS = ("set", "graph")  # whose weights do for any network of nodes and lanes


class Layout(Config):
    """Layout of a policy: the part of its settings that goes into its file."""

    network: Literal["auto", "none", "perceptron", "set", "graph", "recurrent"]
    hidden: Annotated[tuple[Width, ...], Field(max_length=100)]
    activation: Literal["tanh", "relu", "elu"]
    rounds: Annotated[int, number(1, 1_000, integer=True)]  # of messages along lanes; graph only
    due_periods: (
        Annotated[int, number(1, 1_000, integer=True)] | None
    )  # units in transit are told apart by periods until due, up to this
    features: Literal["auto", "own", "network"] = (
        "own"  # what a stock shows: itself, or also what is above and beside it
    )
    life_classes: Annotated[int, number(0, 1_000, integer=True)] | None = (
        0  # perishable units on hand are told apart by periods of life left, up to this; 0: by whether any is left
    )
    demand_memory: Literal["auto"] | Annotated[int, number(0, 10_000, integer=True)] = 0  # periods; see Features
    head: Literal["auto", "levels", "direct", "split", "residual"]
    reach: Positive  # what an output of 1 is, in standard deviations (levels) or mean flows
    order_decisions: Literal["auto", "none", "learned"] = "none"  # whether the network decides when to order

    @model_validator(mode="after")
    def _some_width(self) -> Self:
        if not self.hidden:
            raise expected("hidden", self.hidden, "at least one width")
        return self


class PathwiseConfig(Layout, LearnerConfig):
    """Settings of pathwise training, gradients through the simulator; ``null`` leaves a choice to the scenario."""

    usual_env_steps = 20_000_000  # that usually suffice: half a minute where gradients are compiled

    kind: Literal["pathwise"] = "pathwise"
    start: str  # a rule by name, the path of a tuned one, or auto
    start_share: StartShare = 0.2  # of the budget, to tune rules with where start is auto
    worlds: WorldCount | None  # of a gradient
    periods: Annotated[int, number(1, 10**6, integer=True)] | None  # of a gradient, those skipped included
    skipped: Count | None  # first periods left out of the loss
    learning_rate: Positive
    level_learning_rate: Positive  # of levels and caps, in standard deviations
    final_learning_rate: Share
    warm_up: Share  # share of the budget over which the learning rate rises
    max_grad_norm: Positive
    average: Annotated[float, number(0.0, 1.0)]  # share of the iterations so far that weights are averaged over
    final_worlds: Positive  # worlds of a gradient at the end, as a multiple of those at the start
    smoothing: Annotated[float, number(0.0, 10.0)]  # of fixed and vehicle costs, in mean flows
    level_drift: Annotated[float, number(0.0, 100.0)] = (
        1.0  # of levels of recorded demand, as a multiple of the record's
    )
    variants: PositiveCount  # of a randomised scenario, trained on in turn
    gradient: GradientLibrary = "auto"  # what takes gradients
    device: Device = "cpu"  # where JAX takes them
    variant_steps: PositiveCount  # gradients of each before another takes its place

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.periods is not None and self.skipped is not None and self.skipped >= self.periods:
            raise expected("skipped", self.skipped, f"fewer than the {self.periods} periods")
        if self.device != "cpu" and self.gradient in ("compiled", "torch"):
            raise expected("device", self.device, f"cpu where the gradient is {self.gradient}")
        return self
