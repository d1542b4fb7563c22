"""Composition of a command's config from its arguments: Hydra composes, pydantic checks.

Each command is a Hydra app over ``pkg://echelongym.configs``, so sweeps (``-m seed=0,1,2``), launchers and ``--cfg job``
work as Hydra's users know them. Before Hydra reads the arguments they are made friendlier:

- ``scenario=path/to/file.yaml`` works wherever a name does (so do ``policy=`` with a run folder or an import path);
- ``key=value`` may name a key that the default config leaves out (``scenario.lanes.x.capacity=40``): whether
  it exists is for pydantic to say, which knows the names and suggests the closest;
- ``key={...}`` replaces a mapping instead of merging into it (a demand process of another kind, say): words for a scenario
  mean what :mod:`echelongym.envs.scenario.overrides` says;
- ``${...}`` in a file given by path is text; only shipped configs, and words typed by the user, are interpolated.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from echelongym.envs.core.errors import InputError, shorten, unknown
from echelongym.envs.core.names import folder_name
from echelongym.envs.core.validation import validate
from echelongym.envs.interface.feasibility import check_feasible
from echelongym.envs.scenario.overrides import overridden
from echelongym.envs.scenario.scenario import Scenario, scenario_folder, scenario_path
from echelongym.envs.storage.files import read_yaml

from .hydra_interface import clean_errors
from .words import meant, meant_group, no_such_file, several_values

if TYPE_CHECKING:
    from pydantic import BaseModel

PACKAGE = "echelongym.configs"
_LONGEST_WORD, _MOST_BRACKETS = 100_000, 100
# Parts of a dotted key that Hydra's grammar knows.
_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$\-]*|0|[1-9][0-9]*")
_RESUME = ("auto", "true", "false", "True", "False")


# A name as a part of a path: ${folder_name:${scenario.name}}.
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)
# What `show` shows, as a part of a path: trainings where some are given, else the scenario.
OmegaConf.register_new_resolver(
    "shown_name", lambda trainings, name: "trainings" if trainings else folder_name(name), replace=True
)


def compose(command: str, given: Sequence[str] = ()) -> dict[str, Any]:
    """The config that ``echelongym COMMAND given...`` runs, as plain data; from within a command, too."""
    return composed(command, arguments(command, given))


def composed(command: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The config of words as Hydra reads them."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with clean_errors(), hydra.initialize_config_module(PACKAGE, job_name=command, version_base="1.3"):
            return plain(hydra.compose(command, list(overrides)))
    finally:
        GlobalHydra.instance().hydra = running


def prepare(command: str, given: Sequence[str] = ()) -> Any:
    """The validated settings that ``echelongym COMMAND given...`` runs with."""
    return checked(command, compose(command, given))


def checked(command: str, config: dict[str, Any]) -> Any:
    """Validate a composed config; unknown keys and bad values are errors that name them."""
    model: type[BaseModel] = importlib.import_module(f"echelongym.experiments.commands.{command}").Settings
    settings = validate(model, config, command)
    if isinstance(getattr(settings, "scenario", None), Scenario):
        check_feasible(settings.scenario, refuse=command != "show")  # type: ignore[attr-defined]
    return settings


def plain(config: Any) -> dict[str, Any]:
    """A composed config as plain data, interpolations resolved."""
    data: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    if isinstance(data.get("scenario"), dict):
        data["scenario"].setdefault("base_dir", str(scenario_folder()))
    return data


def arguments(command: str, given: Sequence[str], sweep: bool = False) -> list[str]:
    """Arguments of the command line as Hydra overrides; see the module docstring."""
    found: list[str] = []
    given = [_at_home(word) for word in given]
    for word in given:
        _check_word(word)
        key, equals, value = word.partition("=")
        if word.startswith(("+", "~", "hydra.", "hydra/")):
            found.append(word)
        elif not equals or not key:
            raise InputError(f"argument {word!r}: expected key=value{meant(word, groups(command), choices)}")
        elif key == "resume" and value not in _RESUME:  # the folder itself, in short
            found += [_word("run", _text(value)), "++resume=true"]
        elif key in groups():
            if key not in groups(command):
                taken = ", ".join(groups(command)) or "no group"
                keys = (*groups(command), *read_yaml(_configs() / f"{command}.yaml"))
                near = meant_group(key, value, keys, choices)
                raise InputError(f"argument {word!r}: {command} takes no {key} (but {taken}){near}")
            chosen = value.split(",") if sweep else [value]
            if not sweep and "," in value and set(value.split(",")) <= set(choices(key)):
                raise several_values(key, value)
            found.append(f"{key}={','.join(_choice(key, choice) for choice in chosen)}")
        else:
            if value.lstrip().startswith("{"):
                found.append(_word(key, "null"))
            found.append(_word(key, _text(value) if key == "run" else value))
    _check_names(command, given, sweep)
    return found


def _at_home(word: str) -> str:
    """``scenario=~/mine.yaml`` with the home folder in place of ~, which shells expand at the start of a word only."""
    return re.sub(r"(?<=[=,\[\"' ])~(?=/)", lambda _: os.path.expanduser("~"), word)


def _text(value: str) -> str:
    """A value that is a text even where it looks like a number: ``run=5`` is a folder."""
    return f"'{value}'" if isinstance(_parsed(f"run={value}"), int | float) else value


def _word(key: str, value: str) -> str:
    """``++key=value``; where Hydra's grammar has no such key (``nodes.007.initial``), a mapping that merges into one it has."""
    parts = key.split(".")
    odd = next((i for i, part in enumerate(parts) if i and not _KEY.fullmatch(part)), len(parts))
    for part in reversed(parts[odd:]):
        value = f"{{{part}: {value}}}"
    return f"++{'.'.join(parts[:odd])}={value}"


def _check_word(word: str) -> None:
    """Refuse what Hydra's grammar cannot read without ending in an error of its own."""
    if len(word) > _LONGEST_WORD:
        raise InputError(f"argument {shorten(word, 60)}: expected at most {_LONGEST_WORD:,} characters")
    if word.startswith("run=") and not _names_folder(word[4:]):
        raise InputError(f"argument {shorten(word)}: expected run=FOLDER, a folder that is new or empty")
    if not word.isprintable():
        raise InputError(f"argument {shorten(word)}: expected printable signs in one line")
    if re.search(r"\d{401}", word) or max(word.count("["), word.count("{"), word.count("(")) > _MOST_BRACKETS:
        raise InputError(f"argument {shorten(word, 60)}: expected numbers of at most 400 digits, and fewer brackets")
    if word.lstrip("+~").startswith(("hydra.job.chdir", "hydra.run.dir", "hydra.sweep.dir")):
        raise InputError(f"argument {shorten(word)}: expected run=FOLDER, which names the folder for the results")


def _names_folder(value: str) -> bool:
    """Whether a folder of its own could have this name, or each of a sweep's: the root has none, nor the working folder."""
    if value[:1] in ("{", "[") or value.lower() in ("", "null", "true", "false"):
        return False
    return all(os.path.basename(os.path.normpath(one.strip("'\""))) not in ("", ".", "..") for one in value.split(","))


def _check_names(command: str, given: Sequence[str], sweep: bool) -> None:
    """Words for a scenario that its file does not fit are refused as from Python."""
    words = [word for word in given if word.startswith("scenario.") and "=" in word]
    if not words or "scenario" not in groups(command):
        return
    changes = [(word.partition("=")[0].removeprefix("scenario."), _parsed(word)) for word in words]
    chosen = [word.partition("=")[2] for word in given if word.startswith("scenario=")]
    usual = _by_experiment("scenario", given, sweep) or _default("scenario", command)
    scenarios = usual if not chosen else chosen[-1].split(",") if sweep else chosen[-1:]
    for scenario in scenarios:
        data = read_yaml(scenario_path(scenario))
        for key, value in changes:
            data = overridden(data, {key: value}, "scenario.")


def _parsed(word: str) -> Any:
    """The value of a word as Hydra reads it; None where it has several, for a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    try:
        with clean_errors():
            override = OverridesParser.create().parse_override(f"++value={word.partition('=')[2]}")
    except InputError as error:
        raise InputError(f"argument {shorten(word)}: {str(error).partition(': ')[2]}") from None
    return None if override.is_sweep_override() else override.value()


def _by_experiment(group: str, given: Sequence[str], sweep: bool) -> list[str]:
    """The choices of a group that the experiments named in the arguments make."""
    named = [word.partition("=")[2] for word in given if word.startswith("experiment=")]
    found = []
    for name in named[-1].split(",") if sweep and named else named[-1:]:
        path = Path(name) if name.endswith((".yaml", ".yml")) else _configs() / "experiment" / f"{name}.yaml"
        for entry in read_yaml(path).get("defaults", []):
            choice = entry.get(f"override /{group}") if isinstance(entry, dict) else None
            found += [] if choice is None else [str(_configs() / group / f"{choice}.yaml")]
    return found


def _default(group: str, command: str) -> list[str]:
    """The choice of a group that a command makes by itself, if any."""
    entries = read_yaml(_configs() / f"{command}.yaml")["defaults"]
    return [entry[group] for entry in entries if isinstance(entry, dict) and entry.get(group) is not None]


@cache
def groups(command: str | None = None) -> tuple[str, ...]:
    """Names of all config groups, or of those that a command takes."""
    folder = _configs()
    if command is None:
        return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] not in "_."))
    defaults = read_yaml(folder / f"{command}.yaml").get("defaults", [])
    return tuple(key for entry in defaults if isinstance(entry, dict) for key in entry)


def choices(group: str) -> tuple[str, ...]:
    """Names of the configs in a group."""
    return tuple(sorted(path.stem for path in (_configs() / group).glob("*.yaml")))


def _configs() -> Path:
    return Path(str(resources.files(PACKAGE)))


def _choice(group: str, value: str) -> str:
    """The name Hydra knows a choice by; what is no shipped name is read and registered under one."""
    if value in choices(group):
        return value
    if value.endswith((".yaml", ".yml")) and group != "policy":
        path = Path(value)
        if not path.is_file():
            raise no_such_file(group, value, choices(group))
        data = read_yaml(path)
        if group == "scenario":
            data = {"name": path.stem, **data, "base_dir": str(path.parent.resolve())}
        named = [key for entry in data.get("defaults") or () for key in (entry if isinstance(entry, dict) else [entry])]
        if any("hydra" in str(key) for key in (*data, *named)):
            # Such settings name Python functions that Hydra would call.
            raise InputError(f"{value}: hydra: expected no settings of Hydra in a file; give them as arguments")
    elif group == "policy" and value:
        data = {**read_yaml(_configs() / group / f"{_PLAIN_POLICY}.yaml"), "name": value}
    else:
        raise unknown(group, value, (*choices(group), "a path ending in .yaml"))
    from hydra.core.config_store import ConfigStore

    digest = hashlib.sha256(f"{Path.cwd()}:{value}".encode()).hexdigest()[:8]
    name = f"{re.sub(r'[^A-Za-z0-9_]+', '_', Path(value).stem)}-{digest}"
    with clean_errors():
        package = "_global_" if group == "experiment" else None  # an experiment is a change of everything else
        ConfigStore.instance().store(group=group, name=name, node=_literal(data), package=package)
    return name


def _literal(value: Any) -> Any:
    """Plain data in which OmegaConf finds no interpolation: ``${oc.env:SECRET}`` in a file a user was sent stays text."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", value)
    return value


# The config of a policy given by path: a rule's without parameters of its own.
_PLAIN_POLICY = "echelon_base_stock"
