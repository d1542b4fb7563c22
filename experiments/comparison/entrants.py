"""Entrants of a comparison: rules (tuned first), tuned rules, run folders, bundles, import paths."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from echelongym.agents.learners import label
from echelongym.agents.loading import load_policy
from echelongym.agents.registry import RULES
from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.names import Label
from echelongym.envs.core.validation import Config, Flag
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import read_yaml

from ..cli.settings import USUAL_RULE, PolicyName, Tuning
from ..cli.terminal import listed
from .evaluate import Entrant
from .fitted_rules import RULE_FILE, Beside, budget_of, fit_all

ALL = "all"


class PolicyEntry(Config):
    """One entry of the list ``policies``.

    A text alone stands for ``policy``: the name of a rule, the path of a tuned rule's YAML, of a run folder or of a
    bundle, or ``package.module:thing``. A list of run folders, or a pattern such as ``runs/train/serial/*/seed_*``, are
    training seeds of one policy; ``all`` stands for every rule that makes sense for the scenario, planners left out.
    ``parameters`` are a rule's that tuning leaves as they are; ``tuned: false`` leaves a rule its automatic levels.
    """

    policy: Annotated[
        tuple[PolicyName, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)
    ]
    name: Label | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    tuned: Flag = True

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """As it is written: ``tuned`` only where it says something."""
        found: dict[str, Any] = handler(self)
        return {key: value for key, value in found.items() if key != "tuned" or not value}


def _entry(value: Any) -> Any:
    return {"policy": value} if isinstance(value, str | list | tuple) else value


def _entries(value: Any) -> Any:
    """One policy alone stands for a list of one."""
    return (value,) if isinstance(value, str | dict) else value


Entries = Annotated[tuple[Annotated[PolicyEntry, BeforeValidator(_entry)], ...], BeforeValidator(_entries)]


def entrants(
    entries: Sequence[PolicyEntry],
    scenario: Scenario,
    tuning: Tuning | None,
    trust: bool = False,
    show_progress: bool = True,
    beside: Beside | None = None,
) -> list[Entrant]:
    """Load everything that is to be compared; rules by name are tuned, unless ``tuning`` is None.

    Parameters
    ----------
    beside
        Other work that workers do beside the tuning.

    Raises
    ------
    InputError
        If something cannot be loaded or was made for another network, if two have one name, or there is nothing at all.
    """
    if not entries:
        raise expected("policies", [], "at least one policy")
    entries = _every(entries, scenario)
    # Cheap first: a path that does not exist is to be found out before an hour of tuning.
    sources = [_sources(entry) for entry in entries]
    names = [entry.name or _called(entry, paths) for entry, paths in zip(entries, sources, strict=True)]
    for name in names:
        if names.count(name) > 1:
            raise expected("policies", name, "each name once; give others as {policy: ..., name: ...}")
    loaded = [
        None
        if tuning is not None and entry.tuned and paths[0] in RULES
        else _loaded(name, entry, paths, scenario, trust)
        for name, entry, paths in zip(names, entries, sources, strict=True)
    ]
    places = [place for place, entrant in enumerate(loaded) if entrant is None]
    jobs = [(sources[place][0], entries[place].parameters) for place in places]
    for place, (rule, spent) in zip(places, fit_all(scenario, jobs, tuning, show_progress, beside), strict=True):
        note = "reference" if rule.reference else "tuned"
        held = entries[place].parameters
        loaded[place] = Entrant(names[place], (rule,), (), spent, note, sources[place][0], held)
    return [entrant for entrant in loaded if entrant is not None]


def beside_the_usual_rule(policy: str) -> str:
    """Value of ``policies`` that compares a policy with the usual rule, or has it alone where it goes by that name."""
    return listed(policy) if _name([policy]) == USUAL_RULE else listed(USUAL_RULE, policy)


def _every(entries: Sequence[PolicyEntry], scenario: Scenario) -> list[PolicyEntry]:
    """The entries, ``all`` replaced by every rule that makes sense for the scenario and is not named beside it."""
    named = {text for entry in entries for text in entry.policy if entry.name is None}
    found: list[PolicyEntry] = []
    for entry in entries:
        if entry.policy != (ALL,):
            found.append(entry)
            continue
        for name, rule in RULES.items():
            if name not in named and not rule.reference and not rule.slow and rule.refusal(scenario) is None:
                found.append(PolicyEntry(policy=(name,), parameters=entry.parameters, tuned=entry.tuned))
    return found


def _sources(entry: PolicyEntry) -> list[str]:
    """Paths and names of an entry, patterns resolved."""
    found: list[str] = []
    if not entry.policy:
        raise expected("policies", [], "a rule, a path or package.module:thing for each policy")
    for text in entry.policy:
        if not isinstance(text, str) or not text:
            raise expected("policies", text, "a rule, a path or package.module:thing")
        if glob.has_magic(text):
            matches = sorted(glob.glob(text), key=_natural)
            if not matches:
                raise expected("policies", text, "a pattern that matches a path")
            found += matches
        else:
            found.append(text)
    if len(found) > 1:
        rules = [text for text in found if text in RULES]
        if rules:
            raise expected("policies", list(entry.policy), "run folders; a rule has no training seeds")
    return found


def _natural(path: str) -> list[Any]:
    """Sort key by which seed_10 comes after seed_9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path)]


def _loaded(name: str, entry: PolicyEntry, paths: list[str], scenario: Scenario, trust: bool) -> Entrant:
    policies = tuple(load_policy(path, scenario, trust=trust, **entry.parameters) for path in paths)
    rule = _rule_file(paths[0])
    if paths[0] in RULES:
        return Entrant(name, policies, note="untuned", source=paths[0])
    if rule is not None:
        budget = budget_of(rule)
        held = (_config(paths[0]).get("policy") or {}).get("parameters") or {}
        return Entrant(name, policies, (), budget, "" if budget is None else "tuned", paths[0], held)
    seeds = [config.get("seed") for config in map(_config, paths)]
    known = tuple(seed for seed in seeds if isinstance(seed, int))
    if len(paths) > 1 and len(set(known)) < len(paths):
        raise InputError(
            f"policies: {', '.join(paths)}: expected run folders of different training seeds, found seeds {seeds}"
        )
    return Entrant(name, policies, training_seeds=known, source=paths[0])


def _config(path: str) -> dict[str, Any]:
    """Config of a run folder; empty where there is none."""
    config = Path(path) / "config.yaml"
    return read_yaml(config) if config.is_file() else {}


def _called(entry: PolicyEntry, paths: list[str]) -> str:
    """What an entry without a name is called: a rule that is to stay untuned says so."""
    return _name(paths) if entry.tuned or paths[0] not in RULES else f"{_name(paths)} (untuned)"


def _name(paths: list[str]) -> str:
    """What a policy is called where nobody said: the rule, the learner that was trained, else the last part of the path."""
    agent = _config(paths[0]).get("agent")
    kind = _label(agent) if isinstance(agent, dict) else None
    if isinstance(kind, str):
        return kind if len(paths) > 1 else f"{kind} ({Path(paths[0]).name})"
    if paths[0] in RULES or ":" in paths[0]:
        return paths[0].rpartition(":")[2]
    rule = _rule_file(paths[0])
    if rule is not None:
        made_by_tune = rule.name == RULE_FILE and rule.is_file()
        return str(read_yaml(rule).get("rule")) if made_by_tune else rule.stem
    return Path(paths[0]).name or paths[0]


def _label(agent: dict[str, Any]) -> Any:
    """What a learner is called: see :func:`echelongym.agents.learners.label`."""
    return label(SimpleNamespace(**agent)) if isinstance(agent.get("kind"), str) else None


def _rule_file(path: str) -> Path | None:
    """The YAML of a rule that a path means: the file itself, or the one in a run folder of ``tune``."""
    if Path(path).suffix in (".yaml", ".yml"):
        return Path(path)
    file = Path(path) / RULE_FILE
    return file if file.is_file() else None
