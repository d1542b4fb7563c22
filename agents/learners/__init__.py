"""The learners, a module each, found by themselves: its settings (``CONFIG``) and what trains it (``RUN``).

``configs/agent/NAME.yaml`` holds the defaults of each. CONTRIBUTING says how one is added.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module, resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import PlainValidator

from echelongym.envs.core.errors import unknown
from echelongym.envs.core.validation import validate
from echelongym.envs.storage.files import read_yaml

from ..training import LearnerConfig, TrainingRun


class Learner(NamedTuple):
    """Settings and training run of a learner, as its module says."""

    config: type[LearnerConfig]
    run: type[TrainingRun]


def learners() -> dict[str, Learner]:
    """All learners by kind: every module of this package, none of which imports PyTorch before it trains."""
    found = {}
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda one: one.name):
        own = import_module(f"{__name__}.{module.name}")
        found[own.CONFIG.model_fields["kind"].default] = Learner(own.CONFIG, own.RUN)
    return found


def run_of(learner: LearnerConfig) -> type[TrainingRun]:
    """Training run of a learner of these settings."""
    return learners()[learner.kind].run


def _settings(value: Any) -> LearnerConfig:
    if isinstance(value, LearnerConfig):
        return value
    known, kind = learners(), value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in known:
        raise unknown("kind", kind if isinstance(value, Mapping) else value, known)
    return known[kind].config.model_validate(dict(value))


#: Settings of any learner, told apart by their ``kind``.
AnyLearner = Annotated[Any, PlainValidator(_settings)]


def learner_config(agent: str | Mapping[str, Any], where: str = "agent") -> Any:
    """A learner's settings: the name of a file in ``configs/agent``, or plain data with a ``kind``.

    Raises
    ------
    InputError
        On an unknown name, kind or key, or a value out of range: one line for each fault.
    """
    if isinstance(agent, str):
        agent = _read(agent, where)
    kind = agent.get("kind") if isinstance(agent, Mapping) else agent
    known = learners()
    if not isinstance(agent, Mapping) or not isinstance(kind, str) or kind not in known:
        raise unknown(f"{where}.kind", kind, known)
    return validate(known[kind].config, dict(agent), where)


def _read(name: str, where: str) -> dict[str, Any]:
    """A file of ``configs/agent``, with what it takes from others (its ``defaults``)."""
    folder = Path(str(resources.files("echelongym.configs"))) / "agent"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        raise unknown(where, name, names)
    data: dict[str, Any] = read_yaml(folder / f"{name}.yaml")
    for base in data.pop("defaults", []):
        data = data if base == "_self_" else {**_read(base, where), **data}
    return data


def label(learner: Any) -> str:
    """Label of a learner: its kind, and the network where there is a choice and it is not the usual one."""
    network = getattr(learner, "network", "auto")
    return str(learner.kind) if network in ("auto", "perceptron") else f"{learner.kind}_{network}"
