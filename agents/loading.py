"""Loading of policies by name or path: rules, tuned rules, trained policies, exported bundles, and a user's own code."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import expected, naming_extras, unknown
from echelongym.envs.core.plain import check_plain
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import as_path

from .imported import imported_policy
from .learners import learners
from .origin import POLICY_FILE
from .policy_files import read_policy
from .registry import RULES
from .rule_files import remarked, rule_from_file


def load_policy(name: str | Path, scenario: Scenario, trust: bool = False, **parameters: Any) -> Callable[..., Any]:
    """A policy for a scenario.

    Parameters
    ----------
    name
        A rule by name (``echelon_base_stock``); the YAML file of a rule (of ``echelongym tune``, say); the folder of a
        run of ``echelongym train``; ``open_loop_plan`` (made now, some twenty seconds) or the JSON file of one; the
        folder of an exported bundle; a Stable-Baselines3 zip (``trust=True`` only, as such files can run code); or
        ``package.module:attribute``: a function from observation to decision, a policy object, or a class or factory
        that takes the scenario (and ``parameters``).
    scenario
        What it decides for; a policy made for another network is refused, unless its weights are shared by nodes and
        lanes (``agent=pathwise_graph`` trained on a randomised scenario): that one decides for any network.
    trust
        Whether a pickle may be loaded from a path.
    parameters
        Of a rule or a factory; for a rule from a file they replace those of the file. A rule by name without them has
        automatic levels here: only ``echelongym`` commands take what was tuned. Of a zip: ``action`` and ``normalize``
        (:func:`echelongym.agents.sb3.zip_files.load_sb3_policy`).

    Raises
    ------
    InputError
        If there is no such policy, it is for another network, or a parameter does not fit.
    MissingExtra
        If it needs a package of an extra that is not installed (trained policies need ``train``).
    """
    if not isinstance(scenario, Scenario):
        raise expected("scenario", scenario, "a Scenario, as Scenario.load gives")
    text = str(as_path(name, "policy")) if not isinstance(name, str) else name
    check_plain(parameters, "parameters")
    if text in RULES:
        rule = RULES[text](scenario, **parameters)
        return remarked(rule if parameters else rule.with_needed())
    if text == "open_loop_plan":
        from .planning.open_loop import plan_open_loop

        return plan_open_loop(scenario, **parameters)
    with naming_extras():
        return _from_elsewhere(text, scenario, trust, parameters)


def _from_elsewhere(text: str, scenario: Scenario, trust: bool, parameters: dict[str, Any]) -> Callable[..., Any]:
    """A policy that is no rule: from a path, or imported."""
    path = as_path(text, "policy")
    if path.suffix == ".json":
        from .planning.open_loop import OpenLoopPlan

        if parameters:
            raise expected("parameters", parameters, f"none, as {path} is a plan")
        return OpenLoopPlan.load(scenario, path)
    if path.suffix in (".yaml", ".yml"):
        return rule_from_file(path, scenario, parameters)
    check_means_something(text, scenario)
    if path.exists():
        return _from_path(path, scenario, trust, parameters)
    return imported_policy(text, scenario, parameters)


def check_means_something(text: str, scenario: Scenario) -> None:
    """Refuse a text that is neither a rule's name nor a path at which there is something, nor an import path.

    Raises
    ------
    InputError
        If it is none of these.
    """
    path = as_path(text, "policy")
    if text in RULES or text == "open_loop_plan" or path.suffix in (".json", ".yaml", ".yml"):
        return
    if path.suffix == ".py" and ":" not in text:
        raise expected("policy", text, f"{path.stem}:NAME, the function in {path.name} that decides")
    if path.exists() or (":" in text and "/" not in text):
        return
    if "/" in text:
        raise expected("policy", text, "the path of a run folder, a rule.yaml, a bundle or a policy file that exists")
    if text in learners():
        how = f"echelongym train scenario={shlex.quote(scenario.name)} agent={text}"
        raise expected("policy", text, f"the folder of a trained policy, as a learner is trained first: {how}")
    known = (*RULES, "open_loop_plan", "a .yaml file", "a run folder", "a bundle", "package.module:attribute")
    raise unknown("policy", text, known)


def _from_path(path: Path, scenario: Scenario, trust: bool, parameters: dict[str, Any]) -> Callable[..., Any]:
    if path.is_file() and path.suffix == ".zip":
        from .sb3.zip_files import load_sb3_policy

        return load_sb3_policy(path, scenario, trust=trust, **parameters)
    if parameters:
        raise expected("parameters", parameters, f"none, as {path} is a policy with parameters of its own")
    if path.is_dir():
        from .export.bundle import is_bundle, load_bundle

        if is_bundle(path):
            return load_bundle(path, scenario)
        rule = path / "rule.yaml"
        if rule.is_file():
            return rule_from_file(rule, scenario, {})
        path = path / POLICY_FILE
        if not path.is_file():
            raise expected("policy", str(path.parent), f"a run folder of train, with a {POLICY_FILE} in it")
    policy: Callable[..., Any] = read_policy(
        path, scenario, {one.run.kind: one.run.load for one in learners().values()}
    )
    return policy
