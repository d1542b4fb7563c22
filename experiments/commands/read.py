"""``echelongym read``: a policy as curves, responses and a table; and a rule that planners can adopt.

``rule.yaml`` in the run folder is the table as a policy: every ``policy`` key takes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from echelongym.agents.reading import (
    Readable,
    demand_shock,
    fit_readable,
    order_curves,
    outage,
    respond,
    sensitivity,
    visit,
)
from echelongym.envs.core.validation import Config, Count, Flag, Positive, PositiveCount, number

from ..cli.settings import Evaluation, PolicyChoice, RunSettings
from ..cli.terminal import can_draw, finish, listed, progress, say, table, typed
from ..comparison.evaluate import Entrant, Scores, evaluate, net
from ..comparison.played import identity_of, remembered
from ..comparison.policy_choice import chosen_policy
from ..comparison.service import compare_service
from ..reading import pictures as reading_pictures
from ..reading import tables as reading_tables
from ..reading.result import Reading
from ..runs.folders import RunFolder, check_free, run_folder, scenario_argument, shown
from ..statistics import paired_comparison
from .benchmark import check_periods

_LONG = 20  # lanes in the terminal; the CSV has all


class States(Config):
    """States that are visited."""

    worlds: PositiveCount
    periods: PositiveCount


class Shocks(Config):
    """Settings of the shock and its response."""

    customer: str | None
    product: str | None
    deviations: Positive
    outage: str | None
    length: PositiveCount
    period: Count | None
    worlds: Annotated[int, number(2, integer=True)]


class TableSettings(Config):
    """Settings of the table's fit."""

    terms: Count
    position: Literal["echelon", "local"] | None
    worlds: Annotated[int, number(2, integer=True)]
    periods: PositiveCount
    seed: Count


class Settings(RunSettings):
    """Settings of ``read``; see ``configs/read.yaml``."""

    policy: PolicyChoice
    evaluation: Evaluation
    states: States
    shock: Shocks
    table: TableSettings
    trust: Flag
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Read the policy, print the table, write and draw all; returns the run folder.

    Raises
    ------
    InputError
        If the policy cannot be loaded, knows the future, or is for another network; a name of the shock does not
        exist; or the run folder is taken.
    """
    check_free(folder)
    check_periods(settings.scenario, settings.evaluation)
    chosen = settings.policy
    policy = chosen_policy(chosen, settings.scenario, settings.trust)
    reading = read(settings, policy)
    with run_folder(folder, settings.to_dict(), settings.scenario) as out:
        names = _write(settings, reading, out)
    _show(settings, reading)
    trust = {"trust": "true"} if settings.trust else {}
    rule, scenario = shown(out.path / next(iter(reading.rules))), scenario_argument(settings.scenario, out.path)
    following = typed("benchmark", scenario=scenario, policies=listed(chosen.name, rule), **trust)
    finish(out.path, following, names)
    return out.path


def read(settings: Settings, policy: Callable[..., Any]) -> Reading:
    """The reading without printing and writing."""
    scenario, chosen, hit = settings.scenario, settings.states, settings.shock
    # Names that do not exist are to be found out before anything is simulated.
    shocks = {"demand": demand_shock(scenario, hit.customer, hit.product, hit.deviations, hit.period)}
    stop = outage(scenario, hit.outage, hit.length, hit.period)
    if stop is not None:
        shocks["outage"] = stop
    seed, name = settings.evaluation.seed, settings.policy.name
    asked = remembered(policy, identity_of(policy, name, 0, name))
    with _share("visiting states", settings.progress) as step:
        visited = visit(scenario, asked, chosen.worlds, chosen.periods, seed, progress=step)
    with _share("sensitivity", settings.progress) as step:
        moved = sensitivity(visited, progress=step)
    responses = {}
    for kind, shock in shocks.items():
        with _share(f"response to a shock of {kind}", settings.progress) as step:
            responses[kind] = respond(scenario, asked, shock, hit.worlds, seed, progress=step)
    readable = _table(settings, asked, settings.table.terms)
    plain = _table(settings, asked, 0) if any(line.terms for line in readable.lines) else None
    with _share("order-up-to curves", settings.progress) as step:
        curves = order_curves(visited, readable.rule.position, progress=step)
    played, *fitted = _played(settings, [policy, *(one.rule for one in (readable, plain) if one is not None)])
    sample = played.sample
    against = [paired_comparison(net(one)[0], net(played)[0], sample) for one in fitted]
    served = [compare_service(scenario, one, played) for one in fitted]
    second = (against[1], served[1]) if plain is not None else (None, None)
    return Reading(curves, moved, responses, readable, against[0], plain, second[0], sample, served[0], second[1])


def _table(settings: Settings, policy: Callable[..., Any], terms: int) -> Readable:
    chosen = settings.table
    title = "table" if terms else "table without terms"
    with _share(title, settings.progress) as step:
        return fit_readable(
            settings.scenario, policy, terms, chosen.worlds, chosen.periods, chosen.seed, chosen.position, step
        )


def _played(settings: Settings, policies: Sequence[Callable[..., Any]]) -> list[Scores]:
    """What each policy does on the common worlds."""
    sources = [settings.policy.name, *[""] * len(policies)]
    compared = [Entrant(str(k), (policy,), source=sources[k]) for k, policy in enumerate(policies)]
    return evaluate(settings.scenario, compared, settings.evaluation, settings.progress)


def _write(settings: Settings, reading: Reading, out: RunFolder) -> list[str]:
    """Tables and pictures; returns what to say was written."""
    name, scenario = settings.policy.name, settings.scenario
    lines, costs = reading.readable.lines, reading_tables.cost_texts(reading)
    out.csv("levels.csv", reading_tables.level_rows(reading.curves))
    out.csv("curves.csv", reading_tables.curve_rows(reading.curves))
    out.csv("sensitivity.csv", reading_tables.sensitivity_rows(reading.sensitivity))
    out.csv("table.csv", reading_tables.table_rows(lines))
    reading_tables.write_markdown(out / "table.md", name, scenario, reading.readable, costs)
    for file, one in reading.rules.items():
        one.rule.save(out / file, read_from={"policy": name, "explained": round(one.explained, 4)})
    seasons = reading_tables.season_rows(lines, scenario.tables)
    if seasons:
        out.csv("seasons.csv", seasons)
    title = f"{name} on {scenario.name}"
    important = reading_tables.by_requests(lines)
    drawn = can_draw()
    if drawn:
        reading_pictures.curves(out / "curves.png", title, reading.curves, lines, important)
        reading_pictures.heat_map(out / "sensitivity.png", title, reading.sensitivity, important)
    for kind, response in reading.responses.items():
        out.csv(f"shock_{kind}.csv", reading_tables.shock_rows(response))
        if drawn:
            reading_pictures.response(out / f"shock_{kind}.png", title, response)
    out.json("summary.json", reading_tables.summary(name, scenario, reading, settings.evaluation))
    pictures = [f"{2 + len(reading.responses)} pictures"] if drawn else []
    return ["table.md", *sorted(reading.rules), "summary.json", "tables", *pictures]


def _show(settings: Settings, reading: Reading) -> None:
    lines = reading.readable.lines
    rows = [reading_tables.short_row(lines[place]) for place in reading_tables.by_requests(lines)]
    notes = [f"... and {len(rows) - _LONG} more, see table.csv"] if len(rows) > _LONG else []
    notes += [reading_tables.FORMULA, *reading_tables.cost_texts(reading)]
    title = f"{settings.policy.name} on {settings.scenario.name}, read as a rule"
    table(title, reading_tables.SHORT, rows[:_LONG], notes)
    for response in reading.responses.values():
        say(reading_tables.shock_text(response))


@contextmanager
def _share(title: str, enabled: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar for a callback that is told how many steps are done and how many there are."""
    done = 0.0
    with progress(title, 1.0, "", enabled) as advance:

        def step(now: int, total: int) -> None:
            nonlocal done
            advance(now / total - done)
            done = now / total

        yield step


__all__ = ["Reading", "Settings", "read", "run"]
