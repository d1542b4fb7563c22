"""Limits of service as commands say them: targets that no policy can meet, each alone or all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from echelongym.agents.planning.joint_service_limit import JointServiceLimit, joint_service_limit
from echelongym.agents.planning.service_limit import ServiceLimit, service_limits
from echelongym.envs.core.errors import InputError
from echelongym.envs.scenario.scenario import Scenario

from ..cli.terminal import say


@dataclass(frozen=True)
class ServiceLimits:
    """The most that any policy serves."""

    alone: Sequence[ServiceLimit] = ()  # by target
    joint: JointServiceLimit | None = None  # of the targets that can be met alone; None where nothing is known

    @property
    def beyond_reach(self) -> set[str]:
        """Names of the targets that no policy can meet, whatever becomes of others."""
        return {limit.target.name for limit in self.alone if limit.beyond_reach}

    @property
    def texts(self) -> list[str]:
        """A line for everything that is beyond reach."""
        found = [limit.text for limit in self.alone if limit.beyond_reach]
        return found if self.joint is None else [*found, self.joint.text]

    def to_dict(self) -> dict[str, Any]:
        """Fields of a summary."""
        return {
            "service_limits": [limit.to_dict() for limit in self.alone],
            "joint_service_limit": None if self.joint is None else self.joint.to_dict(),
        }


def said_limits(scenario: Scenario, seed: int = 0, purpose: str = "tune", periods: int | None = None) -> ServiceLimits:
    """The most that any policy serves; what is beyond reach is said, a line each."""
    try:
        alone = service_limits(scenario, seed=seed, purpose=purpose, periods=periods)
        within = [limit.target for limit in alone if not limit.beyond_reach]
        found = ServiceLimits(alone, joint_service_limit(scenario, within, seed, purpose, periods))
    except InputError:  # what is wrong with the worlds is said by who draws them
        return ServiceLimits()
    for text in found.texts:
        say(text)
    return found
