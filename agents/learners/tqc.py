"""The learner ``tqc``: its settings, and what trains it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import Count, number

from ..pathwise.config import Width
from ..sb3.settings import SoftActorCritic
from ..sb3.training import StableBaselinesRun


class TQCConfig(SoftActorCritic):
    """Truncated quantile critics (Kuznetsov et al. 2020, arXiv 2005.04269); of sb3-contrib."""

    algorithm = "sb3_contrib:TQC"
    network_fields = ("n_critics", "n_quantiles")
    kind: Literal["tqc"] = "tqc"
    n_critics: Annotated[int, number(1, 1_000, integer=True)]
    n_quantiles: Width  # that each critic tells of the return
    top_quantiles_to_drop_per_net: Count

    @model_validator(mode="after")
    def _quantiles_left(self) -> Self:
        if self.top_quantiles_to_drop_per_net >= self.n_quantiles:
            wanted = f"less than n_quantiles = {self.n_quantiles}"
            raise expected("top_quantiles_to_drop_per_net", self.top_quantiles_to_drop_per_net, wanted)
        return self


CONFIG = TQCConfig
RUN = StableBaselinesRun
