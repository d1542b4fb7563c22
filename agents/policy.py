"""Policies by name or path: rules, tuned rules, trained policies, exported bundles, and a user's own code."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from echelongym.envs.errors import InputError, expected, naming_extras, unknown
from echelongym.envs.files import read_yaml
from echelongym.envs.observation import Decision, Observation
from echelongym.envs.scenario import Scenario

from .rules import RULES, Rule, check_network

#: What a rule's file holds; further keys are notes.
_RULE_KEYS = ("rule", "scenario", "network", "parameters")
#: What a run folder of ``train`` holds.
POLICY_FILE = "policy.npz"


class Policy(Protocol):
    """Any callable from an observation of B worlds to a decision for each.

    Memory, if it has any, is its own; where it has a method ``start(worlds)``, that is called with B before the first
    period and clears it.
    """

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P), and a reserve (B, S, P) if wanted."""
        ...


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
        Of a rule or a factory; for a rule from a file they replace those of the file.

    Raises
    ------
    InputError
        If there is no such policy, it is for another network, or a parameter does not fit.
    MissingExtra
        If it needs a package of an extra that is not installed (trained policies need ``train``).
    """
    text = str(name)
    if text in RULES:
        return RULES[text](scenario, **parameters)
    if text == "open_loop_plan":
        from .planning.open_loop import plan_open_loop

        return plan_open_loop(scenario, **parameters)
    with naming_extras():
        return _from_elsewhere(text, scenario, trust, parameters)


def _from_elsewhere(text: str, scenario: Scenario, trust: bool, parameters: dict[str, Any]) -> Callable[..., Any]:
    """A policy that is no rule: from a path, or imported."""
    path = Path(text).expanduser()
    if path.suffix == ".json":
        from .planning.open_loop import OpenLoopPlan

        if parameters:
            raise expected("parameters", parameters, f"none, as {path} is a plan")
        return OpenLoopPlan.load(scenario, path)
    if path.suffix in (".yaml", ".yml"):
        return _rule_from_file(path, scenario, parameters)
    if path.exists():
        return _from_path(path, scenario, trust, parameters)
    if ":" in text and "/" not in text:
        return _imported(text, scenario, parameters)
    known = (*RULES, "open_loop_plan", "a .yaml file", "a run folder", "a bundle", "package.module:attribute")
    raise unknown("policy", text, known)


def _rule_from_file(path: Path, scenario: Scenario, parameters: dict[str, Any]) -> Rule:
    if not path.is_file():
        raise expected("policy", str(path), "the path of a file that exists")
    data = read_yaml(path)
    for key in _RULE_KEYS:
        if key not in data:
            raise InputError(f"{path}: {key}: expected this key, as in the file of a rule")
    kinds = RULES
    if data["rule"] == "readable":  # of `echelongym read`
        from .reading.rule import ReadableRule

        kinds = {**RULES, ReadableRule.name: ReadableRule}
    if data["rule"] not in kinds:
        raise unknown("rule", data["rule"], kinds, str(path))
    check_network(data["network"], scenario.tables, str(path))
    return kinds[data["rule"]](scenario, **{**(data["parameters"] or {}), **parameters})


def _from_path(path: Path, scenario: Scenario, trust: bool, parameters: dict[str, Any]) -> Callable[..., Any]:
    if parameters:
        raise expected("parameters", parameters, f"none, as {path} is a policy with parameters of its own")
    if path.is_dir():
        from .bundle import is_bundle, load_bundle

        if is_bundle(path):
            return load_bundle(path, scenario)
        rule = path / "rule.yaml"
        if rule.is_file():
            return _rule_from_file(rule, scenario, {})
    from .pathwise.policy import is_pathwise, load_pathwise

    file = path / POLICY_FILE if path.is_dir() else path
    if is_pathwise(file):
        return load_pathwise(file, scenario)
    from .sb3 import load_sb3_policy

    return load_sb3_policy(path, scenario, trust=trust)


def _imported(text: str, scenario: Scenario, parameters: dict[str, Any]) -> Callable[..., Any]:
    """What ``package.module:attribute`` names; a module beside the user counts."""
    module_name, _, attribute = text.partition(":")
    try:
        with _modules_here():
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise  # the module is there, but something it imports is not
        raise expected("policy", text, f"a module that can be imported ({error})") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [key for key in vars(found) if not key.startswith("_")] if hasattr(found, "__dict__") else []
            raise unknown("policy", text, [f"{module_name}:{key}" for key in known] or ["an attribute that exists"])
        found = getattr(found, part)
    return _made(found, text, scenario, parameters)


@contextlib.contextmanager
def _modules_here() -> Iterator[None]:
    """The working folder is searched for modules, last, so that nothing in it hides what is installed; then no longer."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        if here in sys.path:  # the last of equal ones: another may be there by the user's will
            del sys.path[len(sys.path) - 1 - sys.path[::-1].index(here)]


def _made(found: Any, text: str, scenario: Scenario, parameters: dict[str, Any]) -> Callable[..., Any]:
    """A policy from what was imported: itself, or made by calling it with the scenario."""
    if not callable(found):
        raise expected("policy", text, "a callable")
    takes_observation = not inspect.isclass(found) and _first_parameter(found) not in ("scenario",)
    if takes_observation:
        if parameters:
            raise expected("parameters", parameters, f"none, as {text} takes an observation and nothing else")
        policy: Callable[..., Any] = found
        return policy
    made = found(scenario, **parameters)
    if not callable(made):
        raise expected("policy", text, f"a factory of callables; it gave {made!r}")
    result: Callable[..., Any] = made
    return result


def _first_parameter(function: Any) -> str:
    """Name of the first parameter of a function or callable object: ``scenario`` marks a factory."""
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ""
    return names[0] if names else ""
