"""Policies of a user's own: ``package.module:attribute``, imported when they are named, from the working folder, too.

Whatever goes wrong in that code while it is imported or makes a policy is one line that names file and line; the error
itself is its cause. What cannot be a policy (Python's own modules, functions of C) is refused before it is called.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from echelongym.envs.core.errors import InputError, MissingExtra, expected, printable, shorten, unknown
from echelongym.envs.scenario.scenario import Scenario

_NAMES = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def imported_policy(text: str, scenario: Scenario, parameters: dict[str, Any]) -> Callable[..., Any]:
    """Policy that ``package.module:attribute`` names; a module in the working folder counts.

    Raises
    ------
    InputError
        If there is no such module or attribute, it is none of a function, class or object written in Python, its import
        or its making of a policy fails, or what it makes cannot be called.
    """
    module_name, _, attribute = text.partition(":")
    if not _NAMES.fullmatch(module_name) or not _NAMES.fullmatch(attribute):
        raise expected("policy", text, "package.module:attribute, both of them names in Python")
    if module_name.partition(".")[0] in sys.stdlib_module_names:
        raise expected("policy", text, f"a module of your own; {module_name} is one of Python's")
    try:
        with _modules_here(), _own_errors(text, f"importing {module_name}"):
            found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise InputError(
                f"policy = {shorten(text)}: {module_name} imports {error.name}, which is not installed"
            ) from error
        raise expected("policy", text, f"a module that can be imported ({error})") from None
    for part in attribute.split("."):
        if not _has(found, part):
            known = [key for key in vars(found) if not key.startswith("_")] if hasattr(found, "__dict__") else []
            raise unknown("policy", text, [f"{module_name}:{key}" for key in known] or ["an attribute that exists"])
        found = getattr(found, part)
    return _made(found, text, scenario, parameters)


def _has(found: Any, part: str) -> bool:
    try:
        return hasattr(found, part)
    except Exception:  # a __getattr__ of the user's that raises
        return False


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


@contextlib.contextmanager
def _own_errors(text: str, doing: str) -> Iterator[None]:
    """Errors of the user's code, and its leaving the program, as one line."""
    try:
        yield
    except (InputError, MissingExtra, ModuleNotFoundError):
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"policy = {shorten(text)}: {doing} ended in {told(error)}") from error


def told(error: BaseException) -> str:
    """An error of somebody else's code in one line: type, words, and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" ({Path(error.filename).name}, line {error.lineno})"
    words = printable(error.msg if isinstance(error, SyntaxError) else str(error).partition("\n")[0])[:200]
    return f"{type(error).__name__}{': ' if words else ''}{words}{where}"


def _made(found: Any, text: str, scenario: Scenario, parameters: dict[str, Any]) -> Callable[..., Any]:
    """A policy from what was imported: itself, or made by calling it with the scenario."""
    if not callable(found):
        raise expected("policy", text, "a callable")
    if not _written_in_python(found):
        raise expected("policy", text, "a function, class or object written in Python")
    takes_observation = not inspect.isclass(found) and _first_parameter(found) not in ("scenario",)
    if takes_observation:
        if parameters:
            raise expected("parameters", parameters, f"none, as {text} takes an observation and nothing else")
        if inspect.isfunction(found) and not _takes_one(found):
            raise expected("policy", text, "a function of an observation, or of a scenario (named so)")
        policy: Callable[..., Any] = found
        return policy
    with _own_errors(text, "making it"):
        made = found(scenario, **parameters)
    if not callable(made):
        raise expected("policy", text, f"a factory of callables; it gave {shorten(made)}")
    result: Callable[..., Any] = made
    return result


def _written_in_python(found: Any) -> bool:
    """Whether calling it runs Python code; a function of C takes no observation, and may end the process."""
    if inspect.isclass(found):
        return bool(found.__module__ != "builtins")
    if inspect.isroutine(found):
        return inspect.isfunction(found) or inspect.ismethod(found)
    return inspect.isfunction(inspect.getattr_static(type(found), "__call__", None))


def _takes_one(function: Any) -> bool:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        return False
    return True


def _first_parameter(function: Any) -> str:
    """Name of the first parameter of a function or callable object: ``scenario`` marks a factory."""
    try:
        names = list(inspect.signature(function).parameters)
    except Exception:  # none that can be known, or an attribute of the user's that raises
        return ""
    return names[0] if names else ""
