"""Suggestions for words of the command line that no command takes as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from echelongym.envs.core.errors import InputError, closest, expected


def meant(word: str, groups: Sequence[str], choices: Callable[[str], Sequence[str]]) -> str:
    """``; did you mean scenario=two_region?`` for a word without a key, where it can be told what it is for."""
    for group in groups:
        if word in choices(group) or (group == "scenario" and word.endswith((".yaml", ".yml"))):
            return f"; did you mean {group}={word}?"
    if word == "=" or word.endswith("=") or word.startswith("="):
        return ", with no space beside the sign ="
    return f", as in {word}={next(iter(choices(word)), 'NAME')}" if word in groups else ""


def meant_group(key: str, value: str, keys: Sequence[str], choices: Callable[[str], Sequence[str]]) -> str:
    """``; did you mean agent=ppo?`` for a group that the command does not take, where another key has such a value."""
    if key == "policy" and "policies" in keys:
        return f"; did you mean policies=[{value}]?"
    for group in keys:
        if group != "policies" and value in choices(group):
            return f"; did you mean {group}={value}?"
    return ""


def no_such_file(group: str, value: str, choices: Sequence[str]) -> InputError:
    """The error for a path at which there is no file, with the file or choice that has nearly this name."""
    path = Path(value)
    if path.exists():
        return expected(group, value, "the path of a file, which this is not")
    beside = [str(one) for one in sorted(path.parent.glob("*.y*ml")) if one.is_file()] if path.parent.is_dir() else []
    near = f"; did you mean {path.stem!r}?" if path.stem in choices else closest(value, beside)
    return expected(group, value, f"the path of a file that exists{near}")


def several_values(key: str, value: str) -> InputError:
    """The error for ``key=a,b`` without ``-m``."""
    return expected(
        key, value, "one value (a list is '[a,b]', in brackets and quotes); for a run with each of them add -m"
    )
