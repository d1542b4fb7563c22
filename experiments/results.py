"""A comparison as its summary, as CSV tables and as what the terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from echelongym.agents.targets import targets_of
from echelongym.envs.kpis import Kpis
from echelongym.envs.scenario import Scenario

from .evaluate import Scores
from .runs import RunFolder
from .settings import Evaluation
from .statistics import Comparison, Estimate, interquartile_mean, seeds_comparison, seeds_interval
from .terminal import table
from .yardsticks import Bounded

BASELINE = "echelon_base_stock"


@dataclass(frozen=True, eq=False)
class Results:
    """What all policies did on common worlds, and how they compare."""

    scenario: Scenario
    evaluation: Evaluation
    scores: Sequence[Scores]
    bounded: Bounded | None = None

    @cached_property
    def versus(self) -> dict[tuple[str, str], Comparison]:
        """Every policy against every other, by the names of both."""
        return {
            (one.name, other.name): seeds_comparison(one.cost, other.cost)
            for one in self.scores
            for other in self.scores
            if one is not other
        }

    @cached_property
    def cost(self) -> dict[str, Estimate]:
        """Cost per period by policy."""
        return {one.name: seeds_interval(one.cost) for one in self.scores}

    @cached_property
    def kpis(self) -> dict[str, Kpis]:
        """Figures over worlds and training seeds by policy."""
        return {one.name: one.kpis() for one in self.scores}

    @cached_property
    def aggregated(self) -> dict[str, dict[str, Any]]:
        """``{"mean", "ci95"}`` of every figure by policy."""
        return {name: kpis.aggregate() for name, kpis in self.kpis.items()}

    @property
    def baseline(self) -> str:
        """The first echelon base-stock rule, or where there is none the first policy."""
        names = [one.name for one in self.scores]
        return next((name for name in names if name.startswith(BASELINE)), names[0])

    @property
    def best_rule(self) -> str | None:
        """The cheapest of the tuned rules, revenue counted; None if there are fewer than two.

        On these very worlds, which favours it.
        """
        tuned = [one.name for one in self.scores if one.entrant.note == "tuned"]
        net = {one.name: one.net_cost for one in self.scores}
        return min(tuned, key=lambda name: net[name]) if len(tuned) > 1 else None

    def summary(self) -> dict[str, Any]:
        """The contract's ``summary.json``, schema 1."""
        periods = self.evaluation.periods or self.scenario.horizon
        return {
            "schema": 1,
            "scenario": self.scenario.name,
            "evaluation": {
                "worlds": self.evaluation.worlds,
                "seed": self.evaluation.seed,
                "periods": periods,
                "warm_up": self.scenario.warm_up,
                "record": list(self.scenario.record_split()),
            },
            "policies": [self._policy(one) for one in self.scores],
            "bound": {} if self.bounded is None else self.bounded.to_dict(self.scores),
        }

    def _policy(self, one: Scores) -> dict[str, Any]:
        found: dict[str, Any] = {"name": one.name, "cost_per_period": self.cost[one.name].to_dict()}
        if one.profit is not None:
            found["profit_per_period"] = seeds_interval(one.profit).to_dict()
        return found | {
            "kpis": self.aggregated[one.name],
            "tuning_budget": one.entrant.tuning_budget,
            "training_seeds": list(one.entrant.training_seeds),
            "versus": {
                other: comparison.to_dict() for (name, other), comparison in self.versus.items() if name == one.name
            },
        }

    def targets(self) -> list[dict[str, Any]]:
        """One row a policy and target: the figure, its interval, and met, missed or undecided."""
        rows = []
        for one in self.scores:
            for target in targets_of(self.scenario):
                judged = target.judge(self.kpis[one.name])
                bound = {"target": judged["target"], "at_least": target.at_least}
                low, high = judged["ci95"]
                measured = {"mean": judged["mean"], "low": low, "high": high, "status": judged["status"]}
                rows.append({"policy": one.name, "name": judged["name"], **bound, **measured})
        return rows

    # Files -----------------------------------------------------------------------------------------

    def write(self, run: RunFolder) -> None:
        """``summary.json`` and all tables."""
        run.csv("worlds.csv", self._world_rows())
        run.csv("lines.csv", self._line_rows())
        run.csv("kpis.csv", self._kpi_rows())
        run.csv("versus.csv", self._versus_rows())
        run.csv("seeds.csv", self._seed_rows())
        if self.bounded is not None:
            run.csv("bounds.csv", self._bound_rows())
        if targets_of(self.scenario):
            run.csv("targets.csv", self.targets())
        run.json("summary.json", self.summary())

    def _world_rows(self) -> Iterator[dict[str, Any]]:
        """Cost of each policy (and training seed) in each world, by line."""
        for one in self.scores:
            for r, seed in enumerate(_seeds(one)):
                for world in range(one.cost.shape[1]):
                    row = {"policy": one.name, "training_seed": seed, "world": world, "cost": float(one.cost[r, world])}
                    yield row | {line: float(values[r, world]) for line, values in one.lines.items()}

    def _line_rows(self) -> Iterator[dict[str, Any]]:
        for one in self.scores:
            for line, values in one.lines.items():
                yield {"policy": one.name, "line": line, **_flat(seeds_interval(values))}

    def _kpi_rows(self) -> Iterator[dict[str, Any]]:
        """By policy, scope (total, customer ...), name within it and figure."""
        for one in self.scores:
            for scope, entries in self.aggregated[one.name].items():
                by_name = entries if scope not in ("total", "network") else {"": entries}
                for name, figures in by_name.items():
                    for kpi, found in figures.items():
                        low, high = found["ci95"]
                        place = {"policy": one.name, "scope": scope, "name": name, "kpi": kpi}
                        yield place | {"mean": found["mean"], "low": low, "high": high}

    def _versus_rows(self) -> Iterator[dict[str, Any]]:
        nothing = dict.fromkeys(("percent", "percent_low", "percent_high"))
        for (name, other), found in self.versus.items():
            percent = (
                nothing if found.percent is None else dict(zip(nothing, _flat(found.percent).values(), strict=True))
            )
            difference = _flat(found.difference)
            yield {
                "policy": name,
                "other": other,
                **difference,
                **percent,
                "probability_better": found.probability_better,
            }

    def _seed_rows(self) -> Iterator[dict[str, Any]]:
        """Each training seed by itself; the interquartile mean is over its worlds."""
        for one in self.scores:
            for r, seed in enumerate(_seeds(one)):
                cost = seeds_interval(one.cost[r])
                row = {"policy": one.name, "training_seed": seed, **_flat(cost)}
                yield row | {"interquartile_mean": interquartile_mean(one.cost[r])}

    def _bound_rows(self) -> Iterator[dict[str, Any]]:
        """Each policy's cost over whole episodes above each bound, in percent, on the bound's worlds."""
        assert self.bounded is not None
        for one in self.scores:
            for kind in self.bounded.costs:
                gap = self.bounded.gap(one, kind)
                percents = dict.fromkeys(("percent", "percent_low", "percent_high"))
                if gap.percent is not None:
                    percents = dict(zip(percents, _flat(gap.percent).values(), strict=True))
                yield {"policy": one.name, "bound": kind, **_flat(gap.difference), **percents}

    # Terminal --------------------------------------------------------------------------------------

    def show(self) -> None:
        """Print the table of policies, and that of targets if there are any."""
        worlds, seed = self.evaluation.worlds, self.evaluation.seed
        periods = self.evaluation.periods or self.scenario.horizon
        notes = ["+- and [ ]: 95 %, paired over worlds; better: share of worlds in which it costs less, ties half"]
        if self.best_rule:
            notes.append(f"best rule: {self.best_rule}, the cheapest on these very worlds")
        if any(one.profit is not None for one in self.scores):
            notes.append("cost leaves revenue out; goods are priced, so look at profit too")
        notes += [] if self.bounded is None else self.bounded.lines()
        title = f"{self.scenario.name}: {worlds} common worlds (test seed {seed}), {periods} periods"
        title += f", {self.scenario.warm_up} of them warm-up" if self.scenario.warm_up else ""
        columns = self._columns()
        rows = [[column[index] for column in columns.values()] for index in range(len(self.scores))]
        notes += self.scenario.record_split()
        table(title, list(columns), rows, notes)
        targets = self.targets()
        if targets:
            shown = [
                [
                    row["policy"],
                    f"{row['name']} {'>=' if row['at_least'] else '<='} {row['target']:g}",
                    f"{row['mean']:.4g} [{row['low']:.4g}, {row['high']:.4g}]",
                    row["status"],
                ]
                for row in targets
            ]
            table("Targets", ["policy", "target", "measured", "status"], shown)

    def _columns(self) -> dict[str, list[Any]]:
        """Columns of the table of policies by heading; those that say nothing are left out."""
        figures = [self.aggregated[one.name] for one in self.scores]
        networks = [found["network"] for found in figures]
        against = [self.versus.get((one.name, self.baseline)) for one in self.scores]
        columns: dict[str, list[Any]] = {
            "policy": [one.name for one in self.scores],
            "cost / period": [spread(self.cost[one.name]) for one in self.scores],
            f"% vs {self.baseline}": [percent(found) for found in against],
            "better": [found and f"{found.probability_better:.2f}" for found in against],
            "% vs best rule": [percent(self.versus.get((one.name, self.best_rule or ""))) for one in self.scores],
            "% above bound": [self._above(one) for one in self.scores],
            "profit / period": [one.profit is not None and spread(seeds_interval(one.profit)) for one in self.scores],
            "fill rate": [share(found["total"]["fill_rate"]["mean"]) for found in figures],
            "waste": [share(found["waste_share"]["mean"] or None) for found in networks],
            "kg CO2e / unit": [found["emissions_kg_per_unit"]["mean"] for found in networks],
            "tuned or trained": [made(one) for one in self.scores],
        }
        return {key: [cell or None for cell in column] for key, column in columns.items() if any(column)}

    def _above(self, one: Scores) -> str | None:
        """A policy above the higher bound, over whole episodes."""
        return None if self.bounded is None else percent(self.bounded.gap(one, self.bounded.best))


def spread(estimate: Estimate) -> str:
    """``243.1 +- 2.4``."""
    half = (estimate.high - estimate.low) / 2
    digits = max(0, 4 - len(f"{abs(estimate.mean):.0f}"))
    return f"{estimate.mean:.{digits}f} +- {half:.{digits}f}"


def percent(comparison: Comparison | None) -> str | None:
    """``-3.20 [-3.51, -2.92]``."""
    if comparison is None or comparison.percent is None:
        return None
    found = comparison.percent
    return f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def share(value: float | None) -> str | None:
    """A share in percent; None where there is nothing to share."""
    return None if value is None or value != value else f"{100 * value:.1f} %"


def made(one: Scores) -> str:
    """How a policy came about: what its tuner simulated, or how many training seeds it has."""
    entrant = one.entrant
    if entrant.tuning_budget is not None:
        return f"{entrant.tuning_budget / 1e6:.3g} M steps"
    if entrant.training_seeds:
        return f"{len(entrant.training_seeds)} training seed{'s' if len(entrant.training_seeds) > 1 else ''}"
    return entrant.note


def _seeds(one: Scores) -> list[Any]:
    """Label of each row of the score matrices."""
    seeds = one.entrant.training_seeds
    return list(seeds) if len(seeds) == len(one.cost) else [None] * len(one.cost)


def _flat(estimate: Estimate) -> dict[str, float]:
    return {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}
