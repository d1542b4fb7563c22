"""``echelongym generalise``: a policy on variants of a randomised scenario it has never seen, of other sizes and severities.

On every variant (purpose ``test``) rules are tuned, and the policies play the same worlds as they are (zero-shot); a rule by
name is tuned among them, too, unless its entry says ``tuned: false``. What a policy trained on the spot, by the same command,
would cost can stand beside it: the price of generality.
"""

from __future__ import annotations

import contextlib
import glob
import io
import itertools
import json
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from echelongym.agents.estimation import estimated
from echelongym.agents.loading import check_means_something, load_policy
from echelongym.agents.registry import RULES
from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.core.validation import Config, Count, Flag, Positive, PositiveCount
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.workers.cores import WITH_GRADIENTS
from echelongym.envs.workers.pieces import Piece, in_order
from echelongym.envs.workers.telling import part_of_piece

from ..cli.settings import Evaluation, RunSettings, Tuning, Workers
from ..cli.terminal import bar_of_pieces, can_draw, finish, say, typed
from ..comparison import generality
from ..comparison.entrants import ALL, Entries, entrants
from ..comparison.evaluate import Entrant, Scores, evaluate
from ..comparison.fitted_rules import expected_seconds, fitted
from ..comparison.generality import Trial, VariantFamily
from ..comparison.service import compare_service
from ..runs.folders import RunFolder, check_free, run_folder, scenario_argument, shown
from .benchmark import check_periods

_NODES = "randomise.network.nodes"


class OnTheSpot(Config):
    """A policy trained on a variant itself, for comparison."""

    agent: str | None
    cpu_seconds: Positive
    variants: PositiveCount
    seed: Count


class Settings(RunSettings):
    """Settings of ``generalise``; see ``configs/generalise.yaml``."""

    policies: Entries
    rules: tuple[str, ...]
    variants: PositiveCount
    seed: Count
    sizes: tuple[PositiveCount | None, ...]
    severities: tuple[Positive, ...]
    changes: dict[str, dict[str, Any]]
    on_the_spot: OnTheSpot
    history: PositiveCount | None = None
    evaluation: Evaluation
    tuning: Tuning
    trust: Flag
    workers: Workers = "auto"
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Tune rules on every variant, play, compare, print and write; returns the run folder.

    Raises
    ------
    InputError
        Before any work, if the scenario is not randomised, has no size or severity to change, a policy cannot be loaded
        for a variant, or the run folder is taken.
    """
    check_free(folder)
    found = cells(settings)
    _check(settings, found)
    reference = f"tuned {settings.rules[0]}"
    with run_folder(folder, settings.to_dict(), settings.scenario) as out:
        trials = _trials(settings, found, out)
        result = generality.lines(trials)
        generality.write(out, trials, result)
        if can_draw():
            generality.draw(out / "generality.png", result, reference)
        out.json("summary.json", _summary(settings, result))
    generality.show(result, reference, _notes(settings, trials))
    argument = scenario_argument(settings.scenario, out.path)
    following = f"{typed('show', scenario=argument)} 'scenario.variant={{number: 0, purpose: test}}'"
    finish(out.path, following, ["families.csv", "variants.csv", "summary.json", "generality.png"])
    return out.path


def cells(settings: Settings) -> list[VariantFamily]:
    """The families that variants are drawn from: every size with every severity, then each of the changes.

    Raises
    ------
    InputError
        If the scenario cannot be changed so.
    """
    family = settings.scenario
    if family.randomise is None:
        raise expected("scenario", family.name, "a randomised one (key randomise), such as distribution_family")
    found = []
    for size, severity in itertools.product(settings.sizes, settings.severities):
        changed = family if size is None else _sized(family, size)
        label = f"size {'as given' if size is None else size}"
        found.append(VariantFamily(f"{label}, severity {severity:g}", changed, size, severity))
    for name, changes in settings.changes.items():
        found.append(VariantFamily(name, family.with_overrides(changes)))
    if not found:
        raise expected("sizes", list(settings.sizes), "at least one size and severity, or changes")
    if max(settings.severities, default=1.0) != 1.0 or min(settings.severities, default=1.0) != 1.0:
        _check_severity(family)
    return found


def _sized(family: Scenario, size: int) -> Scenario:
    if family.randomise is None or family.randomise.network is None:
        raise expected("sizes", size, f"null, as {family.name} draws no networks (randomise.network)")
    return family.with_overrides({_NODES: size})


def _check_severity(family: Scenario) -> None:
    if not any(disruption.when.random for disruption in family.disruptions.values()):
        raise expected("severities", "other than 1", f"[1], as {family.name} has no random disruption")


def _check(settings: Settings, found: Sequence[VariantFamily]) -> None:
    """Load everything once for every family: what cannot be loaded is to be found out before an hour of tuning."""
    if not settings.policies:
        raise expected("policies", [], "at least one policy")
    if not settings.rules:
        raise expected("rules", [], "at least one, to compare with")
    for rule in settings.rules:
        if rule not in RULES:
            raise unknown("rules", rule, RULES)
    if any(entry.policy == (ALL,) for entry in settings.policies):
        raise expected("policies", ALL, "policies by name or path")
    spot = settings.on_the_spot.agent
    if spot is not None:
        from echelongym.agents.learners import learner_config

        learner_config(spot)
    for text in (name for entry in settings.policies for name in entry.policy if not glob.has_magic(name)):
        check_means_something(text, settings.scenario)
    for cell in found:
        scenario = cell.variant(0, settings.seed)
        check_periods(scenario, settings.evaluation)
        try:
            for rule in settings.rules:
                RULES[rule](scenario)
            entrants(settings.policies, _known(settings, scenario), None, settings.trust)
        except InputError as error:
            raise InputError(f"{cell.label}, variant 0: {error}") from None


def _trials(settings: Settings, found: Sequence[VariantFamily], out: RunFolder) -> list[Trial]:
    """All variants of all families, side by side where there are workers; each says what came out."""
    pieces = []
    for cell in found:
        seconds = len(settings.rules) * expected_seconds(cell.variant(0, settings.seed), settings.tuning)
        for number in range(settings.variants):
            spot = settings.on_the_spot.agent is not None and number < settings.on_the_spot.variants
            share = seconds + (settings.on_the_spot.cpu_seconds if spot else 0.0)
            pieces.append(Piece(_trial, (settings, cell, number, out.path), share))
    trials = []
    expected = sum(piece.share for piece in pieces)
    with bar_of_pieces("variants", pieces, settings.progress) as bar:
        for trial in in_order(pieces, expected, WITH_GRADIENTS, bar, None if settings.tuning.device == "cpu" else 1):
            say(_line(trial, settings.variants))
            trials.append(trial)
    return trials


def _trial(settings: Settings, cell: VariantFamily, number: int, out: Path) -> Trial:
    """One variant: rules are tuned, a policy trained where one is wanted, and all are run on common worlds."""
    scenario = cell.variant(number, settings.seed)
    with part_of_piece(0.0, 0.8):
        tuned = [fitted(scenario, rule, {}, settings.tuning, show_progress=False) for rule in settings.rules]
    compared = [
        Entrant(
            f"tuned {one.rule.name}", (one.rule,), tuning_budget=one.env_periods, note="tuned", source=one.rule.name
        )
        for one in tuned
    ]
    known = _known(settings, scenario)
    compared += entrants(settings.policies, known, settings.tuning, settings.trust, show_progress=False)
    seconds = None
    if settings.on_the_spot.agent is not None and number < settings.on_the_spot.variants:
        name = re.sub(r"[^a-z0-9]+", "_", f"{cell.label} variant {number}".lower())
        trained, seconds = _trained(settings, scenario, out / "trained" / name)
        compared.append(trained)
    scores = evaluate(scenario, compared, settings.evaluation, show_progress=False)
    # Policies are not looked at any more, and not every one can be handed on by a worker.
    scores = [replace(one, entrant=replace(one.entrant, policies=())) for one in scores]
    others = scores[1:] if seconds is None else scores[1:-1]
    return Trial(cell, number, scenario, scores[0], tuple(others), None if seconds is None else scores[-1], seconds)


def _known(settings: Settings, scenario: Scenario) -> Scenario:
    """A variant as the policies know it."""
    return scenario if settings.history is None else estimated(scenario, settings.history, settings.seed)


def _line(trial: Trial, count: int) -> str:
    """What came out, while the rest is being done."""

    def said(one: Scores) -> str:
        percent = float(generality.percents(one, trial.reference).mean())
        return f"{one.name} {percent:+.2f} % ({compare_service(trial.scenario, one, trial.reference).rates})"

    others = [*trial.scores, *([] if trial.spot is None else [trial.spot])]
    place = f"{trial.cell.label}: variant {trial.number + 1} of {count}, {trial.nodes} nodes"
    return f"{place}: {', '.join(map(said, others))} to {trial.reference.name}"


def _trained(settings: Settings, scenario: Scenario, folder: Path) -> tuple[Entrant, float]:
    """A policy trained on a variant, and the CPU-seconds that took."""
    from .train import train

    spot = settings.on_the_spot
    assert spot.agent is not None
    started = time.process_time()
    # What train says to a user who called it does not belong here.
    with contextlib.redirect_stdout(io.StringIO()):
        budget = {"cpu_seconds": spot.cpu_seconds}
        plain = {"reference": "automatic", "bound": False, "progress": False}
        done = (folder / "summary.json").is_file()  # before the process was killed
        made = folder if done else train(scenario, spot.agent, folder, seed=spot.seed, budget=budget, **plain)
    seconds = _seconds(made) or time.process_time() - started
    policy = load_policy(made, scenario, trust=settings.trust)
    name = f"{spot.agent} trained on the spot"
    return Entrant(name, (policy,), training_seeds=(spot.seed,), source=shown(made)), seconds


def _seconds(path: Path) -> float | None:
    """CPU-seconds of the training in a run folder; None where it does not say."""
    file = path / "summary.json"
    if not file.is_file():
        return None
    found = json.loads(file.read_text(encoding="utf-8")).get("cpu_seconds")
    return float(found) if isinstance(found, int | float) else None


def _cost_of_training(settings: Settings) -> dict[str, list[float]]:
    """CPU-seconds that the policies' own trainings took, by run folder pattern, where known."""
    import glob

    spent: dict[str, list[float]] = {}
    for entry in settings.policies:
        folders = [Path(path) for text in entry.policy for path in sorted(glob.glob(text))]
        found = [seconds for seconds in map(_seconds, folders) if seconds is not None]
        if found:
            spent[entry.name or ", ".join(entry.policy)] = found
    return spent


def _notes(settings: Settings, trials: Sequence[Trial]) -> list[str]:
    scope = "intervals over variants" if settings.variants > 1 else "intervals over worlds, of one variant"
    notes = [
        f"{settings.variants} variants a family (purpose test, seed {settings.seed}), "
        f"{settings.evaluation.worlds} common worlds each; {scope}"
    ]
    if settings.variants > 1 and any(trial.reference.sample.blocks for trial in trials):
        notes.append("all variants draw demand from the same record: intervals say nothing of another season")
    if settings.history is not None:
        notes.append(
            f"policies estimate demand laws and lead times from {settings.history} periods that went before; the tuned rules "
            "know them"
        )
    for name, spent in _cost_of_training(settings).items():
        notes.append(f"{name}: trained in {', '.join(f'{seconds:.0f}' for seconds in spent)} CPU-seconds, once for all")
    return notes


def _summary(settings: Settings, result: Sequence[generality.VariantResult]) -> dict[str, Any]:
    return {
        "schema": 1,
        "scenario": settings.scenario.name,
        "digest": settings.scenario.digest,
        "rules": list(settings.rules),
        "variants": {"count": settings.variants, "purpose": "test", "seed": settings.seed},
        "history": settings.history,
        "evaluation": settings.evaluation.model_dump(),
        "cpu_seconds_of_training": _cost_of_training(settings),
        "families": [line.to_dict() for line in result],
    }


__all__ = ["OnTheSpot", "Settings", "cells", "run"]
