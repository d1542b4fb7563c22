"""Interface to Hydra: the flags a user may give, and its complaints as one line that names the key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from echelongym.envs.core.errors import InputError, closest, expected

from .words import several_values

#: Flags of Hydra that mean something for a command, each by its short name, too.
_FLAGS = {"--multirun": "-m", "--cfg": "-c", "--resolve": "--resolve", "--package": "-p", "--info": "-i"}
#: Those that take a value, as a word of its own or after ``=``, and what it may be; None: anything.
_VALUES: dict[str, tuple[str, ...] | None] = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--package": None,
}
_LONG = {short: flag for flag, short in _FLAGS.items()}


def split_flags(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags, which Hydra wants first, and all other words.

    Raises
    ------
    InputError
        For a flag that does not exist, lacks its value or has a wrong one, or needs another flag beside it.
    """
    flags: list[str] = []
    words: list[str] = []
    waiting = list(given)
    while waiting:
        word = waiting.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = _LONG.get(name, name)
        if flag not in _FLAGS or (equals and flag not in _VALUES):
            raise InputError(
                f"argument {word!r}: expected key=value, or a flag: -m or --cfg job{_meant(word, waiting)}"
            )
        flags.append(flag)
        if flag in _VALUES:
            known = _VALUES[flag]
            value = value if equals else waiting.pop(0) if waiting else ""
            if not value or (known is not None and value not in known):
                wanted = "the name of a key" if known is None else f"one of {', '.join(known)}"
                raise expected(f"flag {flag}", value, f"{wanted}, as in {flag} {known[0] if known else 'evaluation'}")
            flags.append(value)
    for flag in ("--resolve", "--package"):
        if flag in flags and "--cfg" not in flags:
            raise InputError(f"flag {flag}: expected --cfg job beside it")
    return flags, words


def _meant(word: str, following: Sequence[str]) -> str:
    """What a user will have meant by a flag that there is not."""
    name, equals, _ = word.partition("=")
    near = closest(name, _FLAGS)
    if near:
        return near
    if equals:
        return f"; did you mean {word.lstrip('-')}?"
    key = name.lstrip("-")
    values = [one for one in following[:1] if not one.startswith("-") and "=" not in one]
    return f"; did you mean {key if len(key) > 1 else 'key'}={(*values, 'VALUE')[0]}?"


@contextmanager
def clean_errors() -> Iterator[None]:
    """Context that turns complaints of Hydra and OmegaConf into one line of an InputError."""
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except OverrideParseException as error:
        word = str(error.override).removeprefix("++")
        raise InputError(f"argument {word!r}: expected key=value ({_first_line(error)})") from None
    except OmegaConfBaseException as error:
        raise InputError(_of_omegaconf(error)) from None
    except HydraException as error:
        several = re.match(r"Ambiguous value for argument '\+*([^=]*)=(.*)'", str(error))
        if several:
            raise several_values(*several.groups()) from None
        inner = error.__cause__
        if isinstance(inner, OmegaConfBaseException):
            raise InputError(_of_omegaconf(inner)) from None
        cause = f" ({_first_line(inner)})" if inner else ""
        raise InputError(f"{_first_line(error)}{cause}".replace("++", "")) from None


def _of_omegaconf(error: BaseException) -> str:
    """The complaint about a value, with the key that has it in front."""
    from omegaconf.errors import InterpolationKeyError, MissingMandatoryValue

    said = _first_line(error)
    key = getattr(error, "full_key", None) or "config"
    if isinstance(error, MissingMandatoryValue):
        return f"{key} = ???: expected a value"
    if "ecursive interpolation" in said:
        return f"{key}: expected a value, not an interpolation (${{...}}) that leads back to itself"
    if isinstance(error, InterpolationKeyError):
        named = re.search(r"'(.*?)'", said)
        return f"{key} = ${{{named[1] if named else '...'}}}: expected the name of a key in the braces"
    return f"{key}: {said}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
