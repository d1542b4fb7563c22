"""The command line of a study: its docstring as help, and bad input told in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from echelongym.envs.core.errors import InputError, MissingExtra, printable


class StudyParser(argparse.ArgumentParser):
    """Parser of a study's arguments; what is wrong with them is told in one line, without the usage.

    Parameters
    ----------
    about
        Docstring of the study, printed by ``--help`` as it stands.
    """

    def __init__(self, about: str | None) -> None:
        super().__init__(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str) -> NoReturn:
        """Print one line and end with exit code 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def start(study: Callable[[], None]) -> None:
    """Run a study; an error in what the user wrote ends it with one line and exit code 2."""
    try:
        study()
    except (InputError, MissingExtra) as error:
        print(printable(str(error)), file=sys.stderr)
        sys.exit(2)
