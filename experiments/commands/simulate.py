"""``echelongym simulate``: run one policy over sampled or recorded worlds, and keep what happened if wanted."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from echelongym.envs.core.devices import Device
from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import Flag
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import Outcome, simulate
from echelongym.envs.storage.files import write_bytes
from echelongym.envs.worlds.memory import worlds_that_fit
from echelongym.envs.worlds.tape import Tape
from echelongym.envs.worlds.world_sample import WorldSample, sample_of, sample_of_tape

from ..cli.settings import Evaluation, PolicyChoice, RunSettings, Workers
from ..cli.terminal import finish, progress, table, typed
from ..comparison.entrants import beside_the_usual_rule
from ..comparison.parts import simulate_worlds
from ..comparison.played import identity_of, remembered
from ..comparison.policy_choice import chosen_policy
from ..runs.folders import RunFolder, check_free, run_folder, scenario_argument
from ..statistics import cost_interval
from .benchmark import check_periods

# Arrays of a trace by the tables they make up: (columns of the index after world and period, names of the arrays).
_BY_LANE = ("requests", "shipped", "received", "returned")


class Settings(RunSettings):
    """Settings of ``simulate``; see ``configs/simulate.yaml``."""

    policy: PolicyChoice
    evaluation: Evaluation
    tape: str | None
    trace: Literal["none", "npz", "csv"]
    device: Device = "cpu"
    trust: Flag
    workers: Workers = "auto"
    progress: Flag


def run(settings: Settings, folder: Path) -> Path:
    """Simulate, print costs and KPIs, write them; returns the run folder.

    Raises
    ------
    InputError
        If the policy or tape cannot be loaded or is for another network, or the run folder is taken.
    """
    check_free(folder)
    if settings.device != "cpu" and settings.trace != "none":
        raise expected("trace", settings.trace, f"none where the device is {settings.device}")
    scenario, chosen = settings.scenario, settings.evaluation
    check_periods(scenario, chosen)
    policy = chosen_policy(settings.policy, scenario, settings.trust)
    identity = identity_of(policy, settings.policy.name, 0, settings.policy.name)
    tape = None if settings.tape is None else Tape.load(settings.tape).check(scenario)
    if tape is None:
        worlds_that_fit(scenario, chosen.worlds, chosen.periods or scenario.horizon)  # refuses what does not
        sample = sample_of(scenario, chosen.worlds, chosen.seed, "test", chosen.periods)
    else:
        sample = sample_of_tape(tape)
    traced = settings.trace != "none"
    if tape is None:
        shows, worlds = settings.progress, range(sample.worlds)
        outcome = simulate_worlds(scenario, policy, worlds, chosen, traced, shows, identity, settings.device)
    else:
        batch, total = float(tape.batch), float(tape.batch * tape.periods)
        decided = remembered(policy, identity)
        with progress("simulating", total, "env-steps", settings.progress) as advance:
            outcome = simulate(
                scenario,
                policy if settings.device != "cpu" else decided,
                tape,
                traced,
                progress=lambda done, periods: advance(batch),
                device=settings.device,
            )
    summary = summarise(settings, outcome, sample)
    _show(summary, sample)
    with run_folder(folder, settings.to_dict(), scenario) as out:
        rows = ({"world": w, **{k: float(v[b]) for k, v in _by_world(outcome)}} for b, w in enumerate(outcome.worlds))
        out.csv("worlds.csv", rows)
        if settings.trace != "none":
            write_trace(out, scenario, outcome, settings.trace)
        out.json("summary.json", summary)
    policies = beside_the_usual_rule(settings.policy.name)
    trust = {"trust": "true"} if settings.trust else {}
    following = typed("benchmark", scenario=scenario_argument(scenario, out.path), policies=policies, **trust)
    finish(
        out.path, following, ["summary.json", "worlds.csv", *([f"trace ({settings.trace})"] if outcome.trace else [])]
    )
    return out.path


def _by_world(outcome: Outcome) -> Iterator[tuple[str, Any]]:
    yield "cost", outcome.cost_per_period
    yield from outcome.costs.items()


def summarise(settings: Settings, outcome: Outcome, sample: WorldSample) -> dict[str, Any]:
    """The run as plain data: cost, its lines, KPIs; means and 95 % intervals over worlds, and what they are about."""

    def estimate(values: Any) -> dict[str, Any]:
        return cost_interval(values, sample).to_dict()

    return {
        "schema": 1,
        "scenario": settings.scenario.name,
        "policy": settings.policy.name,
        "worlds": len(outcome.worlds),
        "seed": settings.evaluation.seed if settings.tape is None else None,
        "tape": settings.tape,
        "periods": outcome.periods + outcome.warm_up,
        "warm_up": outcome.warm_up,
        "simulated_on": outcome.simulated_on,
        "record": [] if settings.tape is not None else list(settings.scenario.record_split()),
        "intervals": sample.to_dict(),
        "cost_per_period": estimate(outcome.cost_per_period),
        "profit_per_period": None if outcome.profit_per_period is None else estimate(outcome.profit_per_period),
        "lines": {line: estimate(values) for line, values in outcome.costs.items()},
        "kpis": outcome.figures().aggregate(sample),
    }


def _show(summary: dict[str, Any], sample: WorldSample) -> None:
    lines = [("total", summary["cost_per_period"])]
    lines += [(line, found) for line, found in summary["lines"].items() if found["mean"]]
    worlds = "one history" if sample.one_history else f"{sample.worlds} world{'s' if sample.worlds > 1 else ''}"
    title = f"{summary['policy']} on {summary['scenario']}, {worlds}: cost per period"
    _table(title, "line", lines, sample, summary["record"])
    figures = {**summary["kpis"]["total"], **summary["kpis"]["network"]}
    shown = {name: found for name, found in figures.items() if found["mean"] == found["mean"]}
    _table("Service and flows", "figure", list(shown.items()), sample, sample.notes())


def _table(
    title: str, of: str, rows: Sequence[tuple[str, dict[str, Any]]], sample: WorldSample, notes: Sequence[str] = ()
) -> None:
    """Means with the intervals that there are: none, one, or two where worlds are drawn from a record."""
    columns = {of: [name for name, _ in rows], "mean": [found["mean"] for _, found in rows]}
    if sample.kind != "none":
        label = f"95 %, over {sample.over}" if sample.over else "95 %"
        columns[label] = [_interval(found["ci95"]) for _, found in rows]
    if sample.has_record:
        columns["95 %, this record"] = [_interval(found.get("ci95_record")) for _, found in rows]
    table(title, list(columns), list(zip(*columns.values(), strict=True)), notes)


def _interval(ends: Sequence[float | None] | None) -> str | None:
    low, high = ends or (None, None)
    return None if low is None or high is None or low != low else f"[{low:.4g}, {high:.4g}]"


def write_trace(out: RunFolder, scenario: Scenario, outcome: Outcome, form: str) -> None:
    """Every period: ``trace.npz`` with the arrays of ``outcome.trace``, or tables by node, lane, customer and cost."""
    trace = outcome.trace
    if form == "npz":
        arrays = {name: np.asarray(value) for name, value in vars(trace).items() if name != "costs"}
        arrays |= {f"costs.{line}": np.asarray(value) for line, value in trace.costs.items()}
        t = scenario.tables
        arrays |= {name: np.array(getattr(t, name)) for name in ("products", "nodes", "lanes", "customers")}
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        write_bytes(stream.getvalue(), out / "trace.npz")
        return
    t = scenario.tables
    on_hand = {"on_hand": trace.on_hand.sum(axis=-1), "disposed": trace.disposed}
    out.csv("trace_nodes.csv", _long(t, outcome, "node", t.nodes, on_hand))
    lanes = {name: getattr(trace, name) for name in _BY_LANE} | {"in_transit": trace.in_transit.sum(axis=(-1, -2))}
    out.csv("trace_lanes.csv", _long(t, outcome, "lane", t.lanes, lanes))
    served = np.zeros_like(trace.lost)
    for pair, customer in enumerate(t.pair_customer):
        served[:, :, customer] += trace.served[:, :, pair]
    customers = {"demand": trace.demand, "served": served, "lost": trace.lost, "backlog": trace.backlog.sum(axis=-1)}
    out.csv("trace_customers.csv", _long(t, outcome, "customer", t.customers, customers))
    out.csv("trace_costs.csv", _cost_rows(outcome))


def _long(
    t: Tables, outcome: Outcome, key: str, names: tuple[str, ...], arrays: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """One row a world, period, entity and product, from arrays (T, B, entities, P)."""
    periods = len(next(iter(arrays.values())))
    for b, world in enumerate(outcome.worlds):
        for period in range(periods):
            for e, name in enumerate(names):
                for p, product in enumerate(t.products):
                    place = {"world": world, "period": period, key: name, "product": product}
                    yield place | {column: float(values[period, b, e, p]) for column, values in arrays.items()}


def _cost_rows(outcome: Outcome) -> Iterator[dict[str, Any]]:
    costs = outcome.trace.costs
    periods = len(next(iter(costs.values())))
    for b, world in enumerate(outcome.worlds):
        for period in range(periods):
            yield {"world": world, "period": period} | {line: float(costs[line][period, b]) for line in costs}
