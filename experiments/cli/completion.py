"""Tab completion: the script that a shell loads once, and what it then asks for each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from echelongym.envs.scenario.overrides import dotted

from .compose import choices, groups

# Bash cuts words at '=', so that only what follows the last one is to be completed; zsh's bash completion does not.
_BASH = """_echelongym() {
  local line="${COMP_LINE:0:$COMP_POINT}"
  local current="${line##* }" IFS=$'\\n'
  COMPREPLY=($(echelongym --complete "$line" 2> /dev/null))
  if [[ -n "$BASH_VERSION" ]]; then
    [[ "$current" == *=* && "$COMP_WORDBREAKS" == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${current%=*}="}")
    [[ "${#COMPREPLY[@]}" -eq 1 && "${COMPREPLY[0]}" == *[=./] ]] && compopt -o nospace
  fi
  return 0
}
complete -o default -F _echelongym echelongym"""
SCRIPTS = {
    "bash": _BASH,
    "zsh": f"autoload -Uz compinit bashcompinit && compinit -u && bashcompinit\n{_BASH}",
    "fish": "complete -c echelongym -f -a '(echelongym --complete (commandline -cp))'",
}


def complete(line: str, commands: Mapping[str, Any]) -> list[str]:
    """The words that may stand where a command line ends: commands, keys, choices and paths, each as a whole word.

    Parameters
    ----------
    line
        What was typed so far, ``echelongym`` included; an open last word is what is to be completed.
    commands
        Names of all commands.
    """
    *before, current = line.split(" ")
    words = [word for word in before if word]
    if len(words) < 2:
        return [name for name in (*commands, "--help", "--version", "--completion") if name.startswith(current)]
    command = words[1]
    if command == "--completion":
        return [name for name in SCRIPTS if name.startswith(current)]
    if command not in commands:
        return []
    key, equals, value = current.partition("=")
    if equals:
        options = [option for option in _options(command, key) if option.startswith(value)]
        return [f"{key}={option}" for option in options or _paths(value)]
    found = dict.fromkeys(f"{name}=" for name in (*groups(command), *_keys(command)))
    return [name for name in (*found, "--help") if name.startswith(current)]


def _options(command: str, key: str) -> tuple[str, ...]:
    if key in groups(command):
        return choices(key)
    if key in ("policies", "rules"):
        return choices("policy")
    if key == "instances":
        return ("all", *choices("board"))
    value = dict(dotted(_defaults(command))).get(key)
    if key == "resume":
        return ("auto", "true", "false")
    return ("true", "false") if isinstance(value, bool) else ()


def _paths(value: str) -> Iterator[str]:
    """Folders, scenario files and other files that begin with what was typed."""
    folder, slash, start = value.rpartition("/")
    place = Path(folder + slash if slash else ".").expanduser()
    if not place.is_dir():
        return
    for path in sorted(place.iterdir()):
        if path.name.startswith(start) and (start.startswith(".") or not path.name.startswith(".")):
            yield f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"


def _keys(command: str) -> Iterator[str]:
    """Dotted keys of a command, those of its groups' usual choices included; the scenario's own are too many."""
    yield from (key for key, _ in dotted(_defaults(command)))


def _defaults(command: str) -> dict[str, Any]:
    from importlib import resources

    from echelongym.envs.core.yaml_reading import read_yaml

    folder = Path(str(resources.files("echelongym.configs")))
    data = read_yaml(folder / f"{command}.yaml")
    chosen = [entry for entry in data.pop("defaults", []) if isinstance(entry, dict)]
    for group, choice in (item for entry in chosen for item in entry.items()):
        if group != "scenario" and choice is not None and (folder / group / f"{choice}.yaml").is_file():
            own = data.get(group)
            data[group] = read_yaml(folder / group / f"{choice}.yaml") | (own if isinstance(own, dict) else {})
    return data
