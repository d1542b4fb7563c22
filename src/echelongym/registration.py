"""Gymnasium ids: one for any scenario, and one for each that is shipped."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

NAMESPACE = "echelongym"
VERSION = 1


def env_id(scenario: str) -> str:
    """Id of a shipped scenario: ``two_region`` is ``echelongym/TwoRegion-v1``."""
    name = "".join(part.capitalize() for part in scenario.split("_"))
    return f"{NAMESPACE}/{name}-v{VERSION}"


def registered_ids() -> dict[str, str]:
    """Id to scenario, for all shipped scenarios."""
    folder = Path(str(files("echelongym.configs"))) / "scenario"
    return {env_id(path.stem): path.stem for path in sorted(folder.glob("*.yaml"))}


def register_envs() -> None:
    """Register ``echelongym/Network-v1`` (give it ``scenario=...``) and one id per shipped scenario."""
    from gymnasium import register
    from gymnasium.envs.registration import registry

    entries = {
        "entry_point": "echelongym.envs.gym.env:NetworkEnv",
        "vector_entry_point": "echelongym.envs.gym.env:NetworkVectorEnv",
    }
    general = f"{NAMESPACE}/Network-v{VERSION}"
    for name, scenario in {general: None, **registered_ids()}.items():
        if name not in registry:
            # The horizon truncates in the env itself, so no limit is set here.
            register(name, **entries, kwargs={} if scenario is None else {"scenario": scenario})  # type: ignore[arg-type]
