"""Tables of a policy that was read: rows of CSV files, the planner's page, lines of the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.agents.reading import Curve, Line, Readable, Response, Sensitivity, Term
from echelongym.agents.reading.named import season_length
from echelongym.agents.reading.shock import Band
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage.files import write_text

from ..cli.settings import Evaluation
from ..cli.terminal import cell
from ..comparison.service import ServiceComparison
from ..statistics import Comparison
from .result import Reading

FORMULA = "asks for: gain x (level + terms - position), at least 0, at most the cap; position: of the echelon or local"
SHORT = ("lane", "looks at", "level", "gain", "cap", "level moves with", "explained %", "units a period")
_KEPT = 1e-9  # rows of the sensitivity table whose numbers are all smaller are left out


def by_requests(lines: Sequence[Line]) -> list[int]:
    """Places of lines, the busiest lane first; those that never ask are last."""
    return [int(i) for i in np.argsort([-line.requests for line in lines], kind="stable")]


def short_row(line: Line) -> list[Any]:
    """One line of the table for the terminal and the planner's page."""
    if line.level is None:
        return [line.cell.name, line.looks_at, None, None, None, "never asks", None, 0.0]
    moves = "; ".join(term_text(term) for term in line.terms)
    return [line.cell.name, line.looks_at, line.level, line.gain, line.cap, moves, 100 * line.explained, line.requests]


def term_text(term: Term) -> str:
    """``demand_history[shops] above 5: +0.8 each``, or the range of a season."""
    if term.add:
        return f"{term.feature.name} by {min(term.add):+.3g} to {max(term.add):+.3g}"
    return f"{term.feature.name} above {term.typical:.4g}: {term.per_unit:+.3g} each"


def table_rows(lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """One row a lane cell; columns for as many terms as any line has."""
    most = max((len(line.terms) for line in lines), default=0)
    for line in lines:
        row: dict[str, Any] = {
            "lane": line.cell.name,
            "looks_at": line.looks_at,
            "level": line.level,
            "gain": line.gain,
            "cap": line.cap,
        }
        for place in range(most):
            term = line.terms[place] if place < len(line.terms) else None
            plain = term is not None and not term.add
            row[f"term_{place + 1}"] = None if term is None else term.feature.name
            row[f"per_unit_{place + 1}"] = term.per_unit if term is not None and plain else None
            row[f"typical_{place + 1}"] = term.typical if term is not None and plain else None
        row |= {"explained": line.explained, "explained_by_level": line.explained_by_level}
        yield row | {"units_per_period": line.requests}


def season_rows(lines: Sequence[Line], t: Tables) -> list[dict[str, Any]]:
    """One row a lane cell and part of a season: its level there."""
    found = []
    for line in lines:
        for term in line.terms:
            if not term.add or line.level is None:
                continue
            length = season_length(term.feature.name)
            edges = np.ceil(np.arange(len(term.add) + 1) * length / len(term.add)).astype(int)
            for part, add in enumerate(term.add):
                place = {"lane": line.cell.name, "season": length, "from": int(edges[part])}
                found.append(place | {"to": int(edges[part + 1]) - 1, "level": line.level + add})
    return found


def level_rows(curves: Sequence[Curve]) -> Iterator[dict[str, Any]]:
    """One row a curve: what was read off it."""
    for one in curves:
        low, high = one.up_to_band or (None, None)
        yield {
            "lane": one.cell.name,
            "looks_at": one.looks_at,
            "up_to": one.up_to,
            "up_to_10": low,
            "up_to_90": high,
            "slope": one.slope,
            "cap": one.cap,
            "asks_below": one.asks_below,
        }


def curve_rows(curves: Sequence[Curve]) -> Iterator[dict[str, Any]]:
    """One row a point of a curve."""
    for one in curves:
        for g, position in enumerate(one.position):
            row: dict[str, Any] = {"lane": one.cell.name, "looks_at": one.looks_at, "position": float(position)}
            for name, values in (("request", one.request), ("level", one.level)):
                row |= {f"{name}_{share}": _given(v) for share, v in zip((10, 50, 90), values[g], strict=True)}
            yield row | {"states": int(one.states[g])}


def sensitivity_rows(found: Sensitivity) -> Iterator[dict[str, Any]]:
    """One row an observation and lane cell, the most telling observation first; what does nothing is left out."""
    for e in found.order():
        for n, one in enumerate(found.cells):
            if abs(found.per_unit[e, n]) <= _KEPT and found.effect[e, n] <= _KEPT:
                continue
            yield {
                "observation": found.entries[e].name,
                "lane": one.name,
                "per_unit": float(found.per_unit[e, n]),
                "per_unit_asking": _given(found.per_unit_asking[e, n]),
                "deviation": float(found.deviation[e]),
                "per_deviation": float(found.per_deviation[e, n]),
                "effect": float(found.effect[e, n]),
                "share": float(found.share[e, n]),
            }


def shock_rows(response: Response) -> Iterator[dict[str, Any]]:
    """One row a series and period after the shock."""
    series: list[tuple[str, str, Band, Any]] = []
    series += [("requests", one.name, response.requests, n) for n, one in enumerate(response.cells)]
    series += [("on_hand", name, response.on_hand, n) for n, name in enumerate(response.nodes)]
    series += [(name, "", getattr(response, name), ...) for name in ("waiting", "fill_rate", "cost")]
    for name, of, band, place in series:
        rows = [values if place is ... else values[:, place] for values in band]
        for after in range(len(rows[0])):
            mean, low, high = (float(row[after]) for row in rows)
            yield {"series": name, "of": of, "after": after, "mean": mean, "low": _given(low), "high": _given(high)}


def shock_text(response: Response) -> str:
    """Effect of a shock, in a line; without an interval where all worlds are one history."""
    busiest = int(np.argmax(np.abs(response.total_requests.mean)))
    total, peak, after = response.total_requests, response.peak, response.peak_after[busiest]
    low, high = float(response.total_cost.low), float(response.total_cost.high)
    interval = f" [{low:.4g}, {high:.4g}]" if low == low else ""
    return (
        f"{response.shock.text}: requests on {response.cells[busiest].name} change by {total.mean[busiest]:+.4g} units in all "
        f"({peak[busiest]:+.4g} at the peak, {after} period{'s' if after != 1 else ''} after; settled after "
        f"{response.settled_after[busiest]}), and it costs {float(response.total_cost.mean):.4g}{interval}."
    )


def cost_texts(reading: Reading) -> list[str]:
    """Cost of reading, in a line; where the rule has terms, in another what it costs to leave them out.

    Fill rates stand beside a cost where the two serve unequally or miss a target.
    """
    sample = reading.sample
    where = f"{sample.worlds} common worlds, 95 %" if sample.kind != "none" else str(sample.reason)
    where += f", {reading.service.rates}"
    found = [f"cost of this rule, less that of the policy: {_percent(reading.comparison)} ({where})"]
    found += _unequal(reading.service)
    if reading.plain_comparison is not None and reading.plain_service is not None:
        beside = f" ({reading.plain_service.rates})"
        found.append(f"of a rule fitted without terms: {_percent(reading.plain_comparison)}{beside}")
        found += _unequal(reading.plain_service)
    return found + (sample.notes() if sample.kind != "none" else [])


def _unequal(service: ServiceComparison) -> list[str]:
    """What is to be said where a percentage cannot stand alone."""
    found = [f"it {service.text}: the percentage is not at equal service"] if service.text else []
    if service.missed:
        found.append(f"it misses {', '.join(service.missed)}")
    return found


def _percent(comparison: Comparison) -> str:
    found, unit = comparison.percent, " %"
    if found is None:
        found, unit = comparison.difference, ""
    return f"{found.mean:+.3f}{unit}" + (f" [{found.low:+.3f}, {found.high:+.3f}]" if found.known else "")


def write_markdown(path: Path, name: str, scenario: Scenario, readable: Readable, costs: Sequence[str]) -> None:
    """The planner's page."""
    lines = [readable.lines[place] for place in by_requests(readable.lines)]
    text = [f"# {name} on {scenario.name}, read as a rule", ""]
    text += [
        "Every period, each lane asks for `gain x (level + terms - position)` units: not below 0, not above its cap.",
        "",
    ]
    text += [_positions(readable), ""]
    text += [
        f"Measured: {'; '.join(costs)}. Explained of the variance of requests, all lanes: {100 * readable.explained:.1f} %.",
        "",
    ]
    text += _markdown(SHORT, [short_row(line) for line in lines])
    seasons = season_rows(lines, scenario.tables)
    if seasons:
        text += ["", "## Levels by season", ""]
        text += _markdown(("lane", "season", "from", "to", "level"), [list(row.values()) for row in seasons])
    write_text("\n".join(text) + "\n", path)


def _positions(readable: Readable) -> str:
    said = {
        "echelon": "*echelon*: stock of the lane's target and of all below it that it feeds, with what is in transit to them, "
        "less the units that their customers wait for",
        "local": "*local*: stock of the lane's target and what is in transit to it, less the units that its customers wait for "
        "and what its own lanes ask for in the same period",
        "expedited": "*expedited*: the target's own stock, and the goods in transit to it, that are there when this lane "
        "would deliver",
    }
    used = dict.fromkeys(line.looks_at for line in readable.lines if line.level is not None)
    return "Positions: " + "; ".join(said[kind] for kind in used) + ". What faster lanes ask for first counts as well."


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    ruled = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return ruled + [f"| {' | '.join(cell(item) for item in row)} |" for row in rows]


def summary(name: str, scenario: Scenario, reading: Reading, evaluation: Evaluation) -> dict[str, Any]:
    """The content of ``summary.json``."""
    found = reading.sensitivity
    return {
        "schema": 1,
        "scenario": scenario.name,
        "digest": scenario.digest,
        "policy": name,
        "table": {
            "explained": reading.readable.explained,
            "versus_policy": reading.comparison.to_dict() | reading.service.to_dict(),
            "intervals": reading.sample.to_dict(),
            "without_terms": _plain(reading),
            "worlds": reading.sample.worlds,
            "seed": evaluation.seed,
            "lines": list(table_rows(reading.readable.lines)),
        },
        "levels": list(level_rows(reading.curves)),
        "sensitivity": {
            one.name: [
                {"observation": found.entries[e].name, "share": found.share[e, n], "per_unit": found.per_unit[e, n]}
                for e in np.argsort(-found.share[:, n], kind="stable")[:5]
                if found.share[e, n] > 0
            ]
            for n, one in enumerate(found.cells)
        },
        "shocks": {kind: _shock(response) for kind, response in reading.responses.items()},
    }


def _plain(reading: Reading) -> dict[str, Any] | None:
    if reading.plain is None or reading.plain_comparison is None or reading.plain_service is None:
        return None
    versus = reading.plain_comparison.to_dict() | reading.plain_service.to_dict()
    return {"explained": reading.plain.explained, "versus_policy": versus}


def _shock(response: Response) -> dict[str, Any]:
    total = response.total_requests
    low, high = response.total_cost.low, response.total_cost.high
    return {
        "what": response.shock.text,
        "period": response.shock.period,
        "units": response.shock.units,
        "intervals": response.sample.to_dict(),
        "cost": {"mean": response.total_cost.mean, "ci95": [low, high]},
        "requests": {
            one.name: {
                "total": {"mean": total.mean[n], "ci95": [total.low[n], total.high[n]]},
                "peak": response.peak[n],
                "peak_after": response.peak_after[n],
                "settled_after": response.settled_after[n],
            }
            for n, one in enumerate(response.cells)
        },
    }


def _given(value: Any) -> float | None:
    """None for what is not there."""
    return float(value) if np.isfinite(value) else None
