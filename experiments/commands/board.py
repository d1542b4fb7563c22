"""``echelongym board``: published instances, listed or re-run, with a ledger of what was reproduced and the page of records."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from echelongym.agents.learners import learner_config
from echelongym.agents.training import LearnerConfig
from echelongym.envs.core.errors import expected, require, unknown
from echelongym.envs.core.validation import Config, Count, Flag, Positive, PositiveCount
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_text
from echelongym.envs.workers.cores import WITH_GRADIENTS, Workers
from echelongym.envs.workers.pieces import Piece, as_done

from ..boards import records as kept
from ..boards.entries import BoardEntry, Rerun, select, shipped
from ..boards.ledger import NOT_RUN, LedgerLine, command, lines
from ..boards.page import interval, number, page
from ..boards.records import LEDGER, OwnRecord, Records
from ..boards.reruns import Means, expected_work, rerun
from ..cli.launching import typed_words
from ..cli.settings import Tuning
from ..cli.terminal import bar_of_pieces, finish, say, table, typed
from ..runs.claims import NEUTRAL
from ..runs.folders import RunFolder, check_free, run_folder, shown, write_csv

PAGE, TABLE = "boards.md", "boards.csv"
_NEUTRAL = (*NEUTRAL, "instances", "trainings", "ledger")  # words that change no number


def _names(value: Any) -> Any:
    found = () if value is None else (value,) if isinstance(value, str) else value
    if not isinstance(found, list | tuple) or not all(isinstance(one, str) for one in found):
        raise ValueError("expected a name, a list of names, or all")
    return tuple(found)


class Settings(Config):
    """Settings of ``board``; see ``configs/board.yaml``."""

    instances: Annotated[tuple[str, ...], BeforeValidator(_names)]
    trainings: Flag
    cpu_seconds: Positive | None
    seeds: tuple[Count, ...] | None
    worlds: PositiveCount | None
    seed: Count
    states: PositiveCount
    tuning: Tuning
    ledger: str | None
    workers: Workers = "auto"
    progress: Flag
    run: str
    resume: Flag | Literal["auto"] = "auto"


def run(settings: Settings, folder: Path) -> Path:
    """List or re-run, print and write; returns the run folder.

    Where a ledger is named it is brought up to date in both cases: with what was found, and with the entries as they are.

    Raises
    ------
    InputError
        Before any work, for a name that no instance has, an entry that cannot be used, or a folder that is taken.
    MissingExtra
        If a learner is to be trained and PyTorch is not installed.
    """
    check_free(folder)
    entries = shipped()
    place = None if settings.ledger is None else Path(settings.ledger)
    before: Records = {} if place is None else kept.valid(entries, kept.read(place))
    if not settings.instances:
        _show_list(entries, before)
        with run_folder(folder, settings.model_dump(mode="json")) as out:
            _write(out, entries, before)
        if place is not None:
            _publish(place, entries, before, {})
        finish(out.path, typed("board", instances=entries[0].name), [LEDGER, TABLE, PAGE])
        return out.path
    chosen = [_changed(entry, settings) for entry in select(settings.instances, entries)]
    jobs = [
        (entry, name, what)
        for entry in chosen
        for name, what in entry.reruns.items()
        if settings.trainings or what.how != "trained"
    ]
    if not jobs:
        raise expected("instances", ", ".join(settings.instances), "one of which something can be run")
    _check(jobs)
    with run_folder(folder, settings.model_dump(mode="json")) as out:
        found = _run_all(jobs, settings, out.path)
        _write(out, chosen, found)
    told = lines(chosen, found)
    _show(told, found)
    if place is not None:
        # Read again, as another run may have entered something meanwhile.
        _publish(place, entries, {**kept.read(place), **kept.valid(entries, found)}, found)
    finish(out.path, typed("board"), [LEDGER, TABLE, PAGE])
    return out.path


def _changed(entry: BoardEntry, settings: Settings) -> BoardEntry:
    """The entry with other worlds, budgets or training seeds, where the user asks for them."""
    protocol, instance = entry.of.protocol, entry.instance
    if settings.worlds is not None:
        protocol = protocol.model_copy(update={"worlds": settings.worlds})
    update: dict[str, Any] = {}
    if settings.cpu_seconds is not None:
        update["cpu_seconds"] = settings.cpu_seconds
    if settings.seeds:
        update["seeds"] = settings.seeds
    if update:
        ours = tuple(
            one.model_copy(update={"rerun": one.rerun.model_copy(update=update)}) if one.rerun.how == "trained" else one
            for one in instance.ours
        )
        instance = instance.model_copy(update={"ours": ours})
    return BoardEntry(entry.board, entry.name, entry.of.model_copy(update={"protocol": protocol}), instance)


def _check(jobs: Sequence[tuple[BoardEntry, str, Rerun]]) -> None:
    """Load every scenario and learner before the first of them takes minutes."""
    for entry, _, what in jobs:
        entry.scenario()
        if what.how == "trained":
            require("torch")
            _learner(entry, what)


def _learner(entry: BoardEntry, what: Rerun) -> LearnerConfig:
    """The learner with the entry's changes.

    Raises
    ------
    InputError
        For a learner or a key that there is not.
    """
    where = f"{entry.board}.yaml: instances.{entry.name}"
    config = learner_config(str(what.policy), where).model_dump()
    own = {key.partition(".")[2]: value for key, value in what.changes.items() if key.startswith("agent.")}
    for key in what.changes:
        if key.partition(".")[0] not in ("agent", "validation", "tuning"):
            raise unknown("changes", key, ("agent.KEY", "validation.KEY", "tuning.KEY"), where)
    made: LearnerConfig = learner_config({**config, **own}, where)
    return made


def _run_all(jobs: Sequence[tuple[BoardEntry, str, Rerun]], settings: Settings, folder: Path) -> Records:
    """Every job, side by side where there are workers; each says what came out, and is kept for a run that goes on."""
    means = Means(settings.tuning, settings.seed, settings.states, _train, folder / "trained")
    pieces = []
    for entry, name, what in jobs:
        key = [entry.digest(name), name, settings.seed, settings.states, settings.tuning.model_dump(mode="json")]
        pieces.append(Piece(_one, (entry, name, what, means, _typed(entry)), expected_work(entry, what, means), key))
    found: dict[int, OwnRecord] = {}
    with bar_of_pieces("instances", pieces, settings.progress) as bar:
        for place, value in as_done(pieces, sum(piece.share for piece in pieces), WITH_GRADIENTS, bar):
            found[place] = record = OwnRecord.model_validate(value)
            say(f"{record.instance}: {record.name}: {interval(record) or record.error}")
    return {(found[place].instance, found[place].name): found[place] for place in sorted(found)}


def _one(entry: BoardEntry, name: str, what: Rerun, means: Means, again: str) -> dict[str, Any]:
    """One job, as plain data."""
    found = rerun(entry, name, what, means)
    if not isinstance(found.get("parameters", {}), dict):
        found.pop("parameters")
    return kept.made(entry, name, what, found, again).model_dump(mode="json")


def _typed(entry: BoardEntry) -> str:
    """The command that runs this instance again, with what the user changed that can change results."""
    words = [word for word in typed_words() if word.lstrip("+").partition("=")[0] not in _NEUTRAL]
    return " ".join([command(entry), *map(shlex.quote, words)])


def _train(scenario: Scenario, what: Rerun, seed: int, folder: Path) -> tuple[Path, float]:
    """A training as by ``echelongym train``: its run folder, and the CPU-seconds that it took."""
    from .train import train

    settings: dict[str, Any] = {"validation": {}, "tuning": {}}
    agent = learner_config(str(what.policy)).model_dump()
    for key, value in what.changes.items():
        group, _, name = key.partition(".")
        (agent if group == "agent" else settings[group])[name] = value
    # What train says to a user who called it does not belong here.
    with contextlib.redirect_stdout(io.StringIO()):
        budget = {"cpu_seconds": what.cpu_seconds}
        plain = {"reference": "automatic", "bound": False, "progress": False, "tensorboard": False}
        done = (folder / "summary.json").is_file()  # before the process was killed
        made = folder if done else train(scenario, agent, folder, seed=seed, budget=budget, **settings, **plain)
    return made, float(json.loads((made / "summary.json").read_text(encoding="utf-8"))["cpu_seconds"])


def _write(out: RunFolder, entries: Sequence[BoardEntry], found: Records) -> None:
    told = [line.to_dict() for line in lines(entries, found)]
    out.json(LEDGER, kept.document(found, told))
    out.csv(TABLE, told)
    write_text(page(entries, found), out / PAGE)


def _publish(place: Path, entries: Sequence[BoardEntry], found: Records, new: Records) -> None:
    """Bring the ledger in a folder up to date; each file is written whole or not at all."""
    found = kept.valid(entries, found)
    told = [line.to_dict() for line in lines(entries, found)]
    write_text(json.dumps(kept.document(found, told), indent=1, allow_nan=False) + "\n", place / LEDGER)
    write_csv(place / TABLE, told)
    write_text(page(entries, found), place / PAGE)
    fresh = sum(key in found for key in new)
    say(f"Ledger: {shown(place)} ({fresh} new of {len(found)} records; {', '.join((LEDGER, TABLE, PAGE))})")
    if fresh < len(new):
        say(f"  {len(new) - fresh} are not entered, as worlds, budgets or seeds are not those of the entries")


def _show_list(entries: Sequence[BoardEntry], records: Records) -> None:
    rows = []
    for entry in entries:
        statuses = [line.status for line in lines([entry], records)]
        told = {status: statuses.count(status) for status in statuses if status != NOT_RUN}
        rows.append(
            [
                entry.board,
                entry.name,
                entry.instance.title,
                ", ".join(f"{one.name} {number(one.value)}" for one in entry.instance.published),
                ", ".join(f"{count} {status}" for status, count in told.items()),
            ]
        )
    table("Published instances", ["board", "instance", "title", "published", "ledger"], rows)


def _show(told: Sequence[LedgerLine], records: Records) -> None:
    rows = [
        [
            f"{line.entry.name}: {line.published.name}",
            number(line.published.value),
            "" if line.record is None else interval(line.record),
            "" if line.percent is None else f"{line.percent:+.2f} %",
            line.status,
            line.why,
        ]
        for line in told
    ]
    table("Ledger", ["number", "published", "ours", "difference", "status", "why"], rows)
    shown_already = {(line.entry.name, line.record.name) for line in told if line.record is not None}
    ours = [record for key, record in records.items() if key not in shown_already]
    if ours:
        rows = [[f"{one.instance}: {one.name}", interval(one) or one.error, f"{one.cpu_seconds:.1f}"] for one in ours]
        table("Beside them", ["ours", "value", "CPU-seconds"], rows)


__all__ = ["Settings", "run"]
