"""Result of reading a policy, as the command ``read`` writes, prints and draws it."""

from __future__ import annotations

from dataclasses import dataclass

from echelongym.agents.reading import Curve, Readable, Response, Sensitivity
from echelongym.envs.worlds.world_sample import WorldSample

from ..comparison.fitted_rules import RULE_FILE
from ..comparison.service import ServiceComparison
from ..statistics import Comparison

_PLAIN = "rule_without_terms.yaml"


@dataclass(frozen=True, eq=False)
class Reading:
    """Reading of a policy: all that was found."""

    curves: tuple[Curve, ...]
    sensitivity: Sensitivity
    responses: dict[str, Response]  # demand, and outage where there is one
    readable: Readable
    comparison: Comparison  # of the table with the policy, by cost less revenue
    plain: Readable | None  # a table without terms, where the other has any
    plain_comparison: Comparison | None
    sample: WorldSample  # what the worlds of the comparison are a sample of
    service: ServiceComparison  # of the table with the policy
    plain_service: ServiceComparison | None

    @property
    def rules(self) -> dict[str, Readable]:
        """Tables by the file that their rule is written to, the one that costs least first."""
        if self.plain is None or self.plain_comparison is None:
            return {RULE_FILE: self.readable}
        both = {RULE_FILE: self.readable, _PLAIN: self.plain}
        cheaper = self.plain_comparison.difference.mean < self.comparison.difference.mean
        return dict(reversed(both.items())) if cheaper else both
