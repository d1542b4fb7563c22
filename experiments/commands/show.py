"""``echelongym show``: a scenario as tables, and its network as a picture; or trainings as a table and their curves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator

from echelongym.agents.budget import objective
from echelongym.agents.registry import RULES
from echelongym.envs.core.errors import expected
from echelongym.envs.core.validation import Config
from echelongym.envs.interface.feasibility import problems
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.randomise import check
from echelongym.envs.scenario.ranges import Range
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate

from ..cli.launching import typed_words
from ..cli.settings import USUAL_RULE, PolicyChoice, PolicyName, RunSettings
from ..cli.terminal import can_draw, cell, finish, say, table, typed
from ..comparison.played import identity_of, remembered
from ..comparison.policy_choice import chosen_policy
from ..comparison.service_limits import said_limits
from ..figures.network import draw_network
from ..runs.folders import RunFolder, check_free, run_folder, scenario_argument
from ..training.run_records import TrainingRecord, found_in
from ..training.seeds_table import next_line, show_trainings
from .train import validation_periods

_LONG = 30  # rows of a table in the terminal; the CSV has all
_NOTHING: tuple[Any, ...] = (None, "", 0, 0.0)
_SHOWN = {
    "nodes": (
        "node kind primary_lane mean_flow auto_level initial_on_hand holding_cost capacity storage_capacity open_days"
    ).split(),
    "lanes": (
        "lane source target mode lead_time longest open_days primary capacity minimum_order unit_cost fixed_cost emissions_kg"
    ).split(),
    "customers": (
        "customer segment region sources mean_demand deviation lost_share lost_sale_cost backorder_cost opening_backlog price"
    ).split(),
}


def _several(value: Any) -> Any:
    """One name alone stands for a list of one."""
    return (value,) if isinstance(value, str) else value


class Settings(RunSettings):
    """Settings of ``show``; see ``configs/show.yaml``."""

    trainings: Annotated[tuple[str, ...] | None, BeforeValidator(_several)]
    policies: Annotated[tuple[PolicyName, ...], BeforeValidator(_several)]
    picture: Literal["png", "svg", "pdf"]


def run(settings: Settings, folder: Path) -> Path:
    """Print the tables, write them as CSV and the network as a picture; returns the run folder."""
    check_free(folder)
    if settings.trainings:
        return _trainings(settings, settings.trainings, folder)
    if settings.policies:
        raise expected("show: policies", list(settings.policies), "trainings=FOLDER beside them")
    scenario = settings.scenario
    t = scenario.tables
    sections = {"nodes": node_rows(t), "lanes": lane_rows(t), "customers": customer_rows(t)}
    say(headline(scenario))
    for line in scenario.record_split():
        say(line)
    said_limits(scenario)
    for name, rows in sections.items():
        _print(name, rows)
    varied = variation_rows(scenario)
    if varied:
        notes = ["scenario.variant=0, 1, ... is one of them; what is shown above is the scenario without"]
        table("What varies", ["value", "numbers", "drawn from"], [list(row.values()) for row in varied], notes)
    found = rule_rows(scenario)
    table("Rules", ["rule", "numbers to tune", "what it does, or why not here"], [list(row.values()) for row in found])
    with run_folder(folder, settings.to_dict(), scenario) as run:
        _write(run, scenario, sections, f"network.{settings.picture}")
        run.csv("rules.csv", found)
        if varied:
            run.csv("randomise.csv", varied)
    argument = scenario_argument(scenario, run.path)
    following = typed("tune", scenario=argument, policy=_rule(scenario))
    if any(problem.fatal for problem in problems(scenario)):  # every other command would refuse it
        following = typed("show", scenario=argument)
    elif scenario.randomise is not None:
        following = typed("generalise", scenario=argument)
    finish(
        run.path,
        following,
        ["tables", *(["network picture"] if (run.path / f"network.{settings.picture}").is_file() else [])],
    )
    return run.path


def _trainings(settings: Settings, names: Sequence[str], folder: Path) -> Path:
    """Show trainings: their table, and cost against CPU-seconds; returns the run folder.

    Raises
    ------
    InputError
        If a folder holds no finished training, or policies are to be run on trainings of several scenarios.
    """
    given = [word for word in typed_words() if word.lstrip("+~").startswith(("scenario=", "scenario."))]
    if given:
        raise expected("show: trainings", ", ".join(names), f"no {given[0]} beside them: the scenario is theirs")
    found = found_in(names)
    scenario = Scenario.load(found[0].folder / "scenario.yaml")
    more = _costs(settings.policies, scenario, found)
    shown = settings.model_copy(update={"scenario": scenario})
    with run_folder(folder, shown.to_dict(), scenario) as out:
        written = show_trainings(found, out, f"learning.{settings.picture}", more)
    finish(out.path, next_line(found) or typed("show", trainings=names[0]), written)
    return out.path


def _costs(policies: Sequence[str], scenario: Scenario, trainings: Sequence[TrainingRecord]) -> dict[str, float]:
    """Mean cost of policies in the validation worlds of the trainings, by name."""
    worlds = {repr(((one.summary or {})["digest"], (one.summary or {})["validation"])) for one in trainings}
    if policies and len(worlds) > 1:
        raise expected("show: policies", list(policies), "trainings on one scenario, with the same validation worlds")
    found = {}
    for name in policies:
        policy = chosen_policy(PolicyChoice(name=name, parameters={}), scenario)
        asked = remembered(policy, identity_of(policy, name, 0, name))  # plans are kept if this is stopped
        chosen = (trainings[0].summary or {})["validation"]
        tape = scenario.sample(chosen["worlds"], chosen["seed"], "validate", validation_periods(scenario))
        found[name] = float(objective(simulate(scenario, asked, tape, kpis=False)).mean())
        say(f"{name}: cost per period {cell(found[name])} in {chosen['worlds']} validation worlds")
    return found


def _rule(scenario: Scenario) -> str:
    """The rule that people begin with, or the first that makes sense where that one does not."""
    usable = (name for name, rule in RULES.items() if rule.refusal(scenario) is None and not rule.reference)
    return USUAL_RULE if RULES[USUAL_RULE].refusal(scenario) is None else next(usable, USUAL_RULE)


def _print(name: str, rows: list[dict[str, Any]]) -> None:
    """A section in the terminal: the columns that matter and say something; the CSV has all."""
    notes = [f"... and {len(rows) - _LONG} more, see {name}.csv"] if len(rows) > _LONG else []
    used = [key for key in _SHOWN[name] if any(row[key] not in _NOTHING for row in rows)]
    if rows:
        headings = [key.replace("_", " ") for key in used]
        table(name.capitalize(), headings, [[brief(row[key]) for key in used] for row in rows[:_LONG]], notes)


def brief(value: Any) -> Any:
    """Numbers of many products as their range."""
    if isinstance(value, list) and len(value) > 2 and all(isinstance(item, float) for item in value):
        return f"{min(value):.3g} to {max(value):.3g}"
    return value


def _write(run: RunFolder, scenario: Scenario, sections: dict[str, list[dict[str, Any]]], picture: str) -> None:
    for name, rows in sections.items():
        run.csv(f"{name}.csv", [{key: flat(value) for key, value in row.items()} for row in rows])
    if can_draw():
        draw_network(scenario, run / picture)
    t = scenario.tables
    sizes = {"nodes": t.N, "lanes": t.L, "customers": t.C, "products": t.P, "pairs": t.S}
    run.json("summary.json", {"schema": 1, "scenario": t.name, "digest": scenario.digest, "sizes": sizes})


def headline(scenario: Scenario) -> str:
    """Headline of a scenario, in two lines."""
    t = scenario.tables
    kinds = (
        f"{t.N} nodes, {t.L} lanes, {t.C} customers, {t.P} product{'s' if t.P > 1 else ''} ({', '.join(t.products)})"
    )
    features = [f"disruption {name}" for name in scenario.disruptions]
    features += [f"shelf life of {name} {life} periods" for name, life in _named(t.products, t.shelf_life) if life]
    features += [f"forecast of {t.F} periods, skill {scenario.forecast.skill:g}"] if t.F else []
    features += [f"{what} ordered {how}" for what, how in _ordering(t)]
    features += ["lost demand is not seen"] if t.censored else []
    features += ["today's lead times are seen"] if t.quoted else []
    time = f"{scenario.units} units; {t.horizon} periods, the first {t.warm_up} left out of figures"
    return f"{t.name}: {kinds}; {time}.\n{'; '.join(features) or 'no disruptions, no forecast'}."


def _ordering(t: Tables) -> Iterator[tuple[str, str]]:
    """Lanes with a minimum order, and lanes and nodes with closed days, each with what it has."""
    for k, name in enumerate(t.lanes):
        least, days = float(t.minimum_order[k].max()), open_days(t.lane_pattern[k])
        said = [f"in at least {least:g} units"] if least else []
        said += [f"on days {days}"] if days else []
        if said:
            yield f"lane {name}:", " ".join(said)


def variation_rows(scenario: Scenario) -> list[dict[str, Any]]:
    """One row a pattern of ``randomise`` and a key of its network: how many numbers it draws, and from what."""
    variation = scenario.randomise
    if variation is None:
        return []
    rows = [] if variation.network is None else list(_network_rows(variation.network))
    matched = check(scenario)
    rows += [(pattern, len(matched[pattern]), str(draw)) for pattern, draw in variation.values.items()]
    return [{"value": value, "numbers": numbers, "drawn_from": drawn} for value, numbers, drawn in rows]


def _network_rows(given: Config, prefix: str = "network.") -> Iterator[tuple[str, Any, str]]:
    for key in type(given).model_fields:
        value = getattr(given, key)
        if isinstance(value, Config) and not isinstance(value, Range):
            yield from _network_rows(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", None, str(value)


def node_rows(t: Tables) -> list[dict[str, Any]]:
    """One row a node. ``auto_level`` is mean flow x (lead time of the primary lane + its review period), by product."""
    lasts = np.where(t.primary_lane >= 0, t.protection[np.maximum(t.primary_lane, 0)], 1) if t.L else 1
    auto = np.where(t.primary_lane >= 0, t.mean_flow * lasts, 0.0)
    return [
        {
            "node": name,
            "kind": "supplier" if t.is_supplier[n] else "stock",
            "primary_lane": distinct([t.lanes[k] if k >= 0 else None for k in t.primary_lane[n]]),
            "mean_flow": by_product(t, t.mean_flow[n]),
            "auto_level": by_product(t, auto[n]),
            "initial_on_hand": by_product(t, t.initial_on_hand[n]),
            "holding_cost": by_product(t, t.holding_cost[n]),
            "disposal_cost": by_product(t, t.disposal_cost[n]),
            "capacity": finite(t.node_capacity[n]),
            "open_days": open_days(t.node_pattern[n]),
            "storage_capacity": finite(t.storage_capacity[n]),
            "overflow_cost": float(t.overflow_cost[n]),
            "fixed_cost": float(t.node_fixed_cost[n]),
        }
        for n, name in enumerate(t.nodes)
    ]


def lane_rows(t: Tables) -> list[dict[str, Any]]:
    """One row a lane. ``longest`` lead time with disruptions; ``unit_cost`` is purchase and transport."""
    return [
        {
            "lane": name,
            "source": t.nodes[t.lane_source[k]] if t.lane_source[k] >= 0 else t.customers[t.lane_customer[k]],
            "target": t.nodes[t.lane_target[k]],
            "mode": t.lane_mode[k],
            "lead_time": span(t.lead_time_values[k]),
            "mean_lead_time": float(t.lead_time_values[k] @ t.lead_time_probabilities[k]),
            "longest": int(t.max_lead_time[k]),
            "minimum_order": by_product(t, t.minimum_order[k], t.lane_carries[k]),
            "open_days": open_days(t.lane_pattern[k]),
            "primary": bool((t.primary_lane == k).any()),
            "products": None
            if t.lane_carries[k].all()
            else [p for p, on in _named(t.products, t.lane_carries[k]) if on],
            "capacity": finite(t.lane_capacity[k]),
            "unit_cost": by_product(t, t.purchase_cost[k] + t.lane_transport_cost[k], t.lane_carries[k]),
            "purchase_cost": by_product(t, t.purchase_cost[k], t.lane_carries[k]),
            "transport_cost": by_product(t, t.lane_transport_cost[k], t.lane_carries[k]),
            "in_transit_cost": by_product(t, t.in_transit_cost[k], t.lane_carries[k]),
            "fixed_cost": float(t.lane_fixed_cost[k]),
            "vehicle_volume": finite(t.vehicle_volume[k]),
            "distance_km": float(t.distance_km[k]),
            "emissions_kg": by_product(t, t.lane_emissions[k], t.lane_carries[k]),
            "fixed_emissions_kg": float(t.lane_fixed_emissions[k]),
        }
        for k, name in enumerate(t.lanes)
    ]


def customer_rows(t: Tables) -> list[dict[str, Any]]:
    """One row a customer; ``mean_demand`` a period over seasons, ``deviation`` its standard deviation."""
    return [
        {
            "customer": name,
            "segment": t.segment[c],
            "region": t.region[c],
            "sources": [source for source, customer in t.pairs if customer == name],
            "mean_demand": by_product(t, t.mean_demand[c]),
            "deviation": by_product(t, t.demand_sd[c]),
            "lost_share": by_product(t, t.lost_share[c]),
            "lost_sale_cost": by_product(t, t.lost_sale_cost[c]),
            "backorder_cost": by_product(t, t.backorder_cost[c]),
            "price": by_product(t, t.price[c]),
            "patience": distinct([int(life) if life >= 0 else None for life in t.patience[c]]),
            "priority": int(t.customer_priority[c]),
            "opening_backlog": by_product(t, t.opening_backlog[c]),
        }
        for c, name in enumerate(t.customers)
    ]


def rule_rows(scenario: Scenario) -> list[dict[str, Any]]:
    """One row a rule: the size of what a tuner would choose, and what it does or why it makes no sense here."""
    rows = []
    for name, rule in RULES.items():
        reason = rule.refusal(scenario)
        size = rule.size(scenario) if reason is None else None
        does = (rule.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")
        said = " ".join(does.split()) if reason is None else f"not here: {reason}"
        rows.append({"rule": name, "numbers": size, "what": said})
    return rows


def span(values: Any) -> Any:
    """A number, or ``1-3``."""
    low, high = int(min(values)), int(max(values))
    return low if low == high else f"{low}-{high}"


def by_product(t: Tables, values: Any, chosen: Any = None) -> Any:
    """One number where all products (or those chosen) agree, else all of them."""
    found = [float(value) for value in (values if chosen is None else values[chosen])]
    return found[0] if len(set(found)) == 1 else found


def distinct(values: Sequence[Any]) -> Any:
    """Distinct values, each once."""
    found = list(dict.fromkeys(value for value in values if value is not None))
    return found[0] if len(found) == 1 else (found or None)


def open_days(pattern: Any) -> str | None:
    """``0 2 4 of 7``; None where every period is open."""
    if pattern.all():
        return None
    return f"{' '.join(str(day) for day in pattern.nonzero()[0])} of {len(pattern)}"


def finite(value: float) -> float | None:
    """None for what is not limited."""
    return float(value) if np.isfinite(value) else None


def flat(value: Any) -> Any:
    """A cell of a CSV table."""
    if isinstance(value, list):
        return " ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
    return value


def _named(names: Sequence[str], values: Any) -> list[tuple[str, Any]]:
    return list(zip(names, values, strict=True))
