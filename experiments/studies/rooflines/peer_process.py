"""The process that measures peers: started once, asked in every turn."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from echelongym.envs.core.errors import expected

from . import peers


class PeerProcess:
    """Interpreter of an environment that has other packages; without one nothing is asked.

    Attributes
    ----------
    versions
        Of the packages that it can measure.
    missing
        Why others cannot be measured.

    Raises
    ------
    InputError
        If there is no such interpreter, or it does not run the script.
    """

    def __init__(self, python: str | None) -> None:
        self.versions: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        self._process: subprocess.Popen[str] | None = None
        if python is None:
            return
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [python, str(Path(peers.__file__).resolve())]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                env=environment,
            )  # fmt: skip
        except OSError as error:
            raise expected("peer", python, f"the path of a Python interpreter ({error.strerror})") from None
        try:
            said = self._answer()
            self.versions, self.missing = said["versions"], said["missing"]
        except (ValueError, TypeError, KeyError):
            self.close()
            raise expected("peer", python, "a Python interpreter with other packages, see --help") from None

    def figure(self, name: str, seconds: float) -> float | None:
        """Env-steps per CPU-second of a peer; None where it is not there."""
        if self._process is None or name not in self.versions:
            return None
        stream: IO[str] = self._process.stdin  # type: ignore[assignment]
        try:
            stream.write(f"{name}\t{seconds:g}\n")
            stream.flush()
            return float(self._answer())
        except (OSError, ValueError, TypeError):  # it has ended
            self.missing[name] = "its process ended"
            self.versions.pop(name)
            return None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> Any:
        assert self._process is not None
        stream: IO[str] = self._process.stdout  # type: ignore[assignment]
        return json.loads(stream.readline())
