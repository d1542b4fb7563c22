"""Settings of evolution: what ``configs/agent/cma_es.yaml`` says, which holds all defaults."""

from __future__ import annotations

from typing import Annotated, Literal

from echelongym.envs.core.validation import Positive, number

from ..pathwise.config import Layout, StartShare, WorldCount
from ..training import LearnerConfig

KIND = "cma_es"  # of checkpoints; its policy files are those of pathwise training


class EvolutionConfig(Layout, LearnerConfig):
    """Settings of evolution; ``null`` and ``auto`` leave a choice to the size of what is searched."""

    usual_env_steps = 100_000_000  # that usually suffice: small networks simulate some ten million a CPU-second

    kind: Literal["cma_es"] = "cma_es"
    start: str  # a rule by name, the path of a tuned one, or auto
    start_share: StartShare = 0.2  # of the budget, to tune rules with where start is auto
    sigma: Positive  # first standard deviation of weights, times the root of a layer's inputs
    level_sigma: Positive  # first standard deviation of levels, caps and other numbers of the rule, in their scales
    population: Annotated[int, number(4, 10_000, integer=True)] | None  # candidates of a generation
    worlds: WorldCount  # of a generation, the same for all its candidates
    final_worlds: Positive  # worlds of a generation at the end, as a multiple of those at the start
    covariance: Literal["auto", "full", "diagonal"]  # what is learned of how numbers vary together
