"""``echelongym export``: a policy written as an ONNX bundle, which ``benchmark`` takes like any policy.

The run folder is the bundle: ``policy.onnx`` and ``bundle.json`` beside ``config.yaml``, ``scenario.yaml`` and
``summary.json``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import Config, Count, Flag, Positive, number
from echelongym.envs.scenario.scenario import Scenario

from ..cli.settings import USUAL_RULE, PolicyChoice
from ..cli.terminal import finish, listed, say, table, typed
from ..comparison.policy_choice import chosen_policy
from ..runs.folders import check_free, portable, run_folder, scenario_argument, shown

if TYPE_CHECKING:
    from echelongym.agents.export.bundle import BundlePolicy
    from echelongym.agents.export.export import Bundle

_SCENARIO = "scenario.yaml"
_TIMED = 300  # decisions that the latency is the median of


class Check(Config):
    """Settings of the check of a bundle before it is written."""

    observations: Annotated[int, number(2, integer=True)]
    seed: Count
    tolerance: Positive


class Settings(Config):
    """Settings of ``export``; see ``configs/export.yaml``."""

    scenario: Scenario | None = None  # the group's null choice leaves the key out
    policy: PolicyChoice
    check: Check
    trust: Flag
    run: str
    resume: Flag | Literal["auto"] = "auto"

    def to_dict(self) -> dict[str, Any]:
        """The resolved config as plain data, the form of ``config.yaml``."""
        scenario = None if self.scenario is None else portable(self.scenario)
        return {"scenario": scenario, **self.model_dump(mode="json", exclude={"scenario"})}


def run(settings: Settings, folder: Path) -> Path:
    """Export, check, print and write; returns the run folder.

    Raises
    ------
    InputError
        If the policy cannot be loaded or exported, the check fails, or the run folder is taken.
    MissingExtra
        If onnx, onnxscript or ONNX Runtime is not installed.
    """
    check_free(folder)
    scenario = scenario_of(settings)
    settings = settings.model_copy(update={"scenario": scenario})
    from echelongym.agents.export.export import make_bundle

    policy = chosen_policy(settings.policy, scenario, settings.trust)
    started, check = time.monotonic(), settings.check
    bundle = make_bundle(policy, scenario, check.observations, check.seed, check.tolerance)
    seconds = time.monotonic() - started
    summary = _summary(bundle, seconds, latency(bundle.policy(), scenario))
    _show(summary)
    with run_folder(folder, settings.to_dict(), scenario) as out:
        bundle.write(out.path)
        out.json("summary.json", summary)
    name = scenario_argument(scenario, out.path)
    following = typed("benchmark", scenario=name, policies=listed(USUAL_RULE, shown(out.path)))
    finish(out.path, following, ["policy.onnx", "bundle.json"])
    return out.path


def scenario_of(settings: Settings) -> Scenario:
    """The scenario asked for, else the one in the run folder that the policy comes from.

    Raises
    ------
    InputError
        If there is neither.
    """
    if settings.scenario is not None:
        return settings.scenario
    path = Path(settings.policy.name)
    beside = (path if path.is_dir() else path.parent) / _SCENARIO
    if not path.exists() or not beside.is_file():
        raise expected(
            "policy",
            settings.policy.name,
            f"the folder of a run, which has a {_SCENARIO}; for a rule or a file say for which scenario=... it is",
        )
    return Scenario.load(beside)


def latency(policy: BundlePolicy, scenario: Scenario) -> float:
    """Median microseconds of a decision for one world, on one thread."""
    from echelongym.agents.export.parity import observation_of, observations

    observation = observation_of(observations(policy, scenario, 2, 0), slice(0, 1))
    taken = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        policy(observation)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1e6


def _summary(bundle: Bundle, seconds: float, microseconds: float) -> dict[str, Any]:
    facts = bundle.facts
    return {
        "schema": 1,
        "scenario": facts.scenario,
        "digest": facts.digest,
        "policy": facts.policy,
        "parity": facts.parity,
        "bytes": len(bundle.graph),
        "export_seconds": round(seconds, 2),
        "decision_microseconds": round(microseconds, 1),
    }


def _show(summary: dict[str, Any]) -> None:
    parity = summary["parity"]
    say(
        f"{summary['policy']['name']} on {summary['scenario']}: {summary['bytes'] / 1e3:.0f} kB, "
        f"{summary['export_seconds']:.1f} s, {summary['decision_microseconds']:.0f} microseconds a decision."
    )
    rows = [
        [f"ONNX Runtime - {title}", parity[key]["units"], parity[key]["relative"]] for key, title in _TRUTHS.items()
    ]
    sizes = ", ".join(map(str, parity["batch_sizes"]))
    notes = [
        f"{parity['observations']} observations, in batches of {sizes}",
        f"accepted: {parity['tolerance']:g} of the largest request of the lane and product",
    ]
    table("Largest difference", ["", "units", "of largest request"], rows, notes)


_TRUTHS = {"torch": "PyTorch", "native": "policy itself"}
