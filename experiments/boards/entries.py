"""Entries of the boards, one file of ``configs/board`` a source: instances with protocol and published numbers."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from echelongym.agents.registry import RULES
from echelongym.envs.core.errors import InputError, closest, expected, shorten
from echelongym.envs.core.validation import (
    Config,
    Count,
    Flag,
    NonNegative,
    Positive,
    PositiveCount,
    number,
    validate,
)
from echelongym.envs.scenario.overrides import overridden
from echelongym.envs.scenario.scenario import Scenario, scenario_folder
from echelongym.envs.storage.files import read_yaml
from echelongym.envs.storage.journal import fingerprint

ALL = "all"
PACKAGE = "echelongym.configs"


class Publication(Config):
    """Where numbers were published."""

    authors: str
    """Family names."""
    year: PositiveCount
    """Of publication."""
    published_in: str
    """Journal with volume, or the number of a preprint."""


class Protocol(Config):
    """How the published numbers were measured, and how they are measured here."""

    measure: Literal["long_run", "average", "total"]
    """``long_run``: the exact average a period; ``average``: simulated, a period; ``total``: simulated, all that count."""
    theirs: str
    """Their own protocol in a few words: periods, warm-up, replications."""
    profit: Flag = False
    """Whether numbers are profits, so that more is better."""
    multiple: Positive = 1.0
    """Numbers are so many times the cost a period, as those of a discounted sum are, about."""
    periods: PositiveCount | None = None
    """Periods that count in a world; left out: those of the scenario."""
    warm_up: Count | None = None
    """Periods before them; left out: those of the scenario."""
    worlds: PositiveCount = 1000
    """Worlds that are simulated here."""
    tolerance: Annotated[float, number(0.0, 0.2)] = 0.0
    """Share of a published number within which ours counts as the same."""
    rounding: NonNegative = 0.0
    """Half of the last digit that is printed, which is added to that, as are two standard errors where they are published."""


class Rerun(Config):
    """What is run here."""

    how: Literal["optimum", "best", "stated", "tuned", "trained"]
    """``optimum`` of all policies, exact; ``best`` whole-number parameters of a rule, exact; a rule with ``stated``
    parameters; a rule as the tuner leaves it (``tuned``); a learner of ours (``trained``)."""
    policy: str | None = None
    """The rule, or the learner (a name of ``configs/agent``); none for an optimum."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the rule as stated, or those that stay as they are while the others are searched for."""
    changes: dict[str, Any] = Field(default_factory=dict)
    """Dotted keys of ``configs/train.yaml`` (``agent.periods``, ``validation.worlds``) that are not the defaults."""
    cpu_seconds: Positive = 30.0
    """Budget of a training."""
    seeds: tuple[Count, ...] = (0,)
    """Training seeds."""
    exactly: Flag = False
    """Whether the cost is that of the Markov chain rather than of simulated worlds; ``optimum`` and ``best`` are so."""

    @model_validator(mode="after")
    def _check(self) -> Rerun:
        if (self.how == "optimum") != (self.policy is None):
            raise ValueError(f"policy = {self.policy!r}: expected none for an optimum, and a name for anything else")
        if self.how in ("best", "stated", "tuned") and self.policy not in RULES:
            raise ValueError(f"policy = {self.policy!r}: expected a rule{closest(self.policy, RULES)}")
        if not self.seeds:
            raise ValueError("seeds: expected at least one")
        if self.how == "stated" and not self.parameters:
            raise ValueError("parameters: expected those that are stated")
        if self.changes and self.how != "trained":
            raise ValueError(f"changes = {shorten(self.changes)}: expected none but of a learner")
        return self


class PublishedNumber(Config):
    """One number as it was published."""

    name: str
    """What it is of: the optimum, a rule, a learner."""
    value: Annotated[float, number(low=-1e15)]
    """The number, in the units of the protocol."""
    error: NonNegative = 0.0
    """Its standard error, as published."""
    kind: Literal["optimum", "rule", "learner", "bound"]
    """What it is."""
    rerun: Rerun | None = None
    """What is run here to reproduce it; none for a learner, which one of ours is held against."""
    context: str = ""
    """Why it is no more than context: another protocol, another model."""
    why: str = ""
    """Why it is not reproduced, as far as that is known."""
    gains_over: str = ""
    """The published rule that its source says this learner is better than: a claim, which tuned rules are held against."""
    tolerance: Annotated[float, number(0.0, 0.2)] | None = None
    """In place of the board's."""

    @model_validator(mode="after")
    def _check(self) -> PublishedNumber:
        if self.rerun is None and not self.context and self.kind != "learner":
            raise ValueError(f"{self.name}: expected rerun, or context with the reason why there is none")
        if self.rerun is not None and (self.rerun.how == "optimum") != (self.kind == "optimum"):
            raise ValueError(
                f"{self.name}: kind = {self.kind!r}: expected optimum where, and only where, that is rerun"
            )
        if self.rerun is not None and self.kind == "learner":
            raise ValueError(f"{self.name}: rerun: expected none, as a published learner is held against ours")
        return self


class OwnRun(Config):
    """Something of ours that is run beside the published numbers: a learner, or a rule that they lack."""

    name: str
    """What it is called."""
    rerun: Rerun
    """What is run."""


class Instance(Config):
    """A published instance."""

    title: str
    """In a few words."""
    scenario: str
    """Name of a shipped scenario, ``instances/NAME`` included."""
    overrides: dict[str, Any] = Field(default_factory=dict)
    """What dotted keys of the scenario are replaced by."""
    stores: PositiveCount = 1
    """Numbers are of one store, where the cost of so many was divided by their number."""
    published: tuple[PublishedNumber, ...]
    """What was published."""
    ours: tuple[OwnRun, ...] = ()
    """What is run beside it."""
    assumptions: tuple[str, ...] = ()
    """What was assumed of this instance alone."""

    @model_validator(mode="after")
    def _check(self) -> Instance:
        if not self.published:
            raise ValueError("published: expected at least one number")
        names = [*(one.name for one in self.published), *(one.name for one in self.ours)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name!r}: expected each name once")
        rules = [one.name for one in self.published if one.kind == "rule"]
        for one in self.published:
            if one.gains_over and (one.kind != "learner" or one.gains_over not in rules):
                raise ValueError(
                    f"{one.name}: gains_over = {one.gains_over!r}: expected a rule published beside a learner"
                )
        return self


class PublishedBoard(Config):
    """The published numbers of one source."""

    title: str
    """In a few words."""
    source: Publication
    """Where they were published."""
    protocol: Protocol
    """How they were measured."""
    assumptions: tuple[str, ...] = ()
    """What was assumed where the source leaves something open."""
    instances: dict[str, Instance]
    """By name."""


@dataclass(frozen=True)
class BoardEntry:
    """One instance of a board, by its name."""

    board: str
    name: str
    of: PublishedBoard
    instance: Instance

    @property
    def protocol(self) -> Protocol:
        """The board's."""
        return self.of.protocol

    @property
    def factor(self) -> float:
        """What the cost a period (or, of ``total``, the cost of all that count) is multiplied by."""
        return self.of.protocol.multiple / self.instance.stores

    @property
    def assumptions(self) -> tuple[str, ...]:
        """The board's and its own."""
        return (*self.of.assumptions, *self.instance.assumptions)

    @property
    def reruns(self) -> dict[str, Rerun]:
        """What is run, by the name of the published number, or of our own run."""
        found = {one.name: one.rerun for one in self.instance.published if one.rerun is not None}
        return found | {one.name: one.rerun for one in self.instance.ours}

    def scenario(self) -> Scenario:
        """The scenario, as rules are tuned and learners trained on.

        Raises
        ------
        InputError
            If there is no such scenario, or the overrides do not fit it.
        """
        path = _scenario_file(self)
        try:
            return Scenario.load(path, self.instance.overrides).replace(name=self.name)
        except InputError as error:
            raise InputError(f"{self.board}.yaml: instances.{self.name}: {error}") from None

    def digest(self, name: str) -> str:
        """Fingerprint of what a run here hangs on: the scenario as it is written, the protocol, what is run."""
        data = overridden(read_yaml(_scenario_file(self)), self.instance.overrides)
        protocol = self.protocol.model_dump(mode="json", exclude={"theirs", "tolerance", "rounding"})
        return fingerprint((data, protocol, self.instance.stores, self.reruns[name].model_dump(mode="json")))[:16]


def board_folder() -> Path:
    """The folder of the boards that come with the package."""
    return Path(str(resources.files(PACKAGE))) / "board"


@cache
def shipped() -> tuple[BoardEntry, ...]:
    """Every instance of the boards that come with the package."""
    return load(board_folder())


def load(folder: Path) -> tuple[BoardEntry, ...]:
    """Every instance of the boards in a folder, by board and in the order of its file.

    Raises
    ------
    InputError
        For an entry that cannot be read, or two of the same name.
    """
    found: list[BoardEntry] = []
    for path in sorted(folder.glob("*.yaml")):
        board = validate(PublishedBoard, read_yaml(path), path.name)
        found += [BoardEntry(path.stem, name, board, one) for name, one in board.instances.items()]
    names = [*(entry.name for entry in found), *dict.fromkeys(entry.board for entry in found)]
    for name in names:
        if names.count(name) > 1 or name == ALL:
            raise expected("instances", name, "a name that no other instance or board has")
    return tuple(found)


def select(words: Sequence[str], entries: Sequence[BoardEntry]) -> list[BoardEntry]:
    """Instances that names, names of boards, patterns and ``all`` mean, in the order of the boards.

    Raises
    ------
    InputError
        For a word that means none.
    """
    chosen: set[str] = set()
    for word in words:
        meant = {entry.name for entry in entries if word in (ALL, entry.board) or fnmatch.fnmatchcase(entry.name, word)}
        if not meant:
            boards = list(dict.fromkeys(entry.board for entry in entries))
            near = closest(word, [*boards, *(entry.name for entry in entries)])
            raise expected("instances", word, f"an instance, a board ({', '.join(boards)}), a pattern or all{near}")
        chosen |= meant
    return [entry for entry in entries if entry.name in chosen]


def by_board(entries: Sequence[BoardEntry]) -> Iterator[tuple[PublishedBoard, list[BoardEntry]]]:
    """Boards, each with its instances."""
    for name in dict.fromkeys(entry.board for entry in entries):
        mine = [entry for entry in entries if entry.board == name]
        yield mine[0].of, mine


def _scenario_file(entry: BoardEntry) -> Path:
    path = scenario_folder() / f"{entry.instance.scenario}.yaml"
    if not path.is_file():
        folder = scenario_folder()
        names = [one.relative_to(folder).with_suffix("").as_posix() for one in folder.rglob("*.yaml")]
        where = f"{entry.board}.yaml: instances.{entry.name}"
        near = closest(entry.instance.scenario, names)
        raise expected("scenario", entry.instance.scenario, f"a scenario of configs/scenario{near}", where)
    return path


__all__ = [
    "BoardEntry",
    "Instance",
    "OwnRun",
    "Protocol",
    "PublishedBoard",
    "PublishedNumber",
    "Rerun",
    "load",
    "select",
    "shipped",
]
