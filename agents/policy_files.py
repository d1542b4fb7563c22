"""Policy files: one format and one reader for the policies of all learners; nothing in a file is ever executed.

One ``policy.npz`` is a whole policy: arrays of weights, and beside them ``config``, JSON with ``kind`` (whose policy it is),
``schema``, ``network``, ``digest`` and ``scenario`` (trained on: its means and deviations stay the units of inputs and outputs
wherever the policy is run), ``rule`` (that it starts from or corrects, if any), ``layout`` (what the weights are of) and
``facts`` (what is known of its training).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.envs.core.errors import InputError, expected, shorten
from echelongym.envs.core.plain import check_plain
from echelongym.envs.network.signature import check_network, is_complete, signature
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_bytes
from echelongym.envs.storage.outside_files import parse_json, read_npz, text_of

from .origin import scenario_within
from .rules import Rule

_SCHEMA = 3


@dataclass(frozen=True, eq=False)
class PolicyFile:
    """Content of a policy file.

    Attributes
    ----------
    config
        Plain data, as the head of this module says.
    arrays
        Weights by name.
    """

    path: Path
    config: dict[str, Any]
    arrays: dict[str, Any]

    def trained_on(self, scenario: Scenario) -> Scenario:
        """The scenario that the policy was trained on, where it is to run on ``scenario``.

        Raises
        ------
        InputError
            If their networks differ (the first difference is named).
        """
        config, where = self.config, str(self.path)
        check_network(config["network"], scenario.tables, where)
        if config["digest"] == scenario.digest and is_complete(config["network"]):
            return scenario
        trained = scenario_within(config["scenario"], scenario, where, config["digest"])
        # Files of earlier versions give names alone; the scenario that they hold says the rest.
        check_network(signature(trained.tables), scenario.tables, where)
        return trained


def write_policy(
    path: Path, kind: str, policy: Any, weights: Mapping[str, Any], layout: dict[str, Any], rule: Rule | None
) -> None:
    """Write a policy file, whole or not at all.

    Parameters
    ----------
    policy
        With ``scenario`` (trained on) and ``facts``.
    weights
        Arrays by name.
    """
    config = {
        "schema": _SCHEMA,
        "kind": kind,
        "network": signature(policy.scenario.tables),
        "digest": policy.scenario.digest,
        "scenario": policy.scenario.to_dict(),
        "rule": None if rule is None else rule.to_dict(),
        "layout": layout,
        "facts": policy.facts,
    }
    stream = io.BytesIO()
    np.savez(stream, config=np.array(json.dumps(config)), **weights)
    write_bytes(stream.getvalue(), path)


def read_policy(path: Path, scenario: Scenario, kinds: Mapping[str, Callable[[PolicyFile, Scenario], Any]]) -> Any:
    """The policy of a file for a scenario.

    Parameters
    ----------
    kinds
        What makes the policy of a file, by the kind of policy.

    Raises
    ------
    InputError
        If the file is none, is damaged, is of another kind, or was trained on another network and is for that alone.
    """
    try:
        arrays = read_npz(path, "policy")
        config = parse_json(text_of(arrays, "config", str(path)), f"{path}: config")
        del arrays["config"]
        check_plain(config, f"{path}: config")
        config = _of_this_version(config)
        if config["schema"] != _SCHEMA:
            raise expected("schema", config["schema"], f"{_SCHEMA}", str(path))
        if config["kind"] not in kinds:
            raise expected("kind", config["kind"], " or ".join(kinds), str(path))
        return kinds[config["kind"]](PolicyFile(path, config, arrays), scenario)
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RuntimeError) as error:
        raise InputError(f"{path}: is no policy file, or a damaged one: {shorten(str(error))}") from None


def _of_this_version(config: dict[str, Any]) -> dict[str, Any]:
    """The same in the schema of this version: 0.1.0 had one for each kind, in words of its own."""
    if config["schema"] == 1 and config.get("kind") == "pathwise":
        layout, rule = {**config["config"], "shared": config["shared"]}, config["rule"]
        if rule is not None:
            rule = {"rule": rule["name"], "parameters": rule["parameters"], "network": config["network"]}
        return {**config, "schema": _SCHEMA, "layout": layout, "rule": rule}
    if config["schema"] == 2 and "kind" not in config:
        layout = {**config["actor"], "action": config["action"]}
        return {**config, "schema": _SCHEMA, "kind": "stable_baselines3", "layout": layout}
    return config
