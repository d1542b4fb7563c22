"""Results of a comparison: its summary, CSV tables and what the terminal shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from echelongym.agents.service_targets import targets_of
from echelongym.envs.accounts.estimators import Ratio
from echelongym.envs.accounts.kpis import Kpis
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.world_sample import WorldSample, cost_limits

from ..cli.settings import Evaluation
from ..cli.terminal import table
from ..runs.folders import RunFolder
from ..statistics import Comparison, Estimate, interquartile_mean, seeds_comparison, seeds_interval
from .bounds import Bounded
from .evaluate import Entrant, Scores
from .result_cells import estimated, made, percent, share, some
from .service import MISSES, UNEQUAL, ServiceComparison, compare_service, missed_targets
from .service_limits import ServiceLimits

BASELINE = "echelon_base_stock"
UNEVEN = (
    1.0  # skewness of what recorded blocks add to a difference, beyond which its interval is said to hold less often
)


@dataclass(frozen=True, eq=False)
class Results:
    """Results of all policies on common worlds, and how they compare."""

    scenario: Scenario
    evaluation: Evaluation
    scores: Sequence[Scores]
    bounded: Bounded | None = None
    limits: ServiceLimits = field(default_factory=ServiceLimits)

    @property
    def tuned_but_missing(self) -> Entrant | None:
        """The tuned rule that percentages are given against, or else the first, that misses a target; None if none does."""
        missing = [one for one in self.scores if one.entrant.note == "tuned" and self.missed[one.name]]
        return min(missing, key=lambda one: one.name != self.baseline).entrant if missing else None

    @property
    def sample(self) -> WorldSample:
        """Sample that the common worlds are."""
        return self.scores[0].sample

    @cached_property
    def versus(self) -> dict[tuple[str, str], Comparison]:
        """Every policy against every other, by the names of both."""
        return {
            (one.name, other.name): seeds_comparison(one.cost, other.cost, sample=self.sample)
            for one in self.scores
            for other in self.scores
            if one is not other
        }

    @cached_property
    def service(self) -> dict[tuple[str, str], ServiceComparison]:
        """Whether two policies serve alike, by the names of both."""
        return {
            (one.name, other.name): compare_service(self.scenario, one, other)
            for one in self.scores
            for other in self.scores
            if one is not other
        }

    @cached_property
    def missed(self) -> dict[str, tuple[str, ...]]:
        """Targets that each policy misses beyond doubt."""
        return {one.name: missed_targets(self.scenario, self.kpis[one.name], self.sample) for one in self.scores}

    @cached_property
    def cost(self) -> dict[str, Estimate]:
        """Cost per period by policy."""
        return {one.name: self.interval(one.cost) for one in self.scores}

    def interval(self, values: Any) -> Estimate:
        """Mean of a (seeds, worlds) matrix of money, with what these worlds say of it."""
        return seeds_interval(values, sample=self.sample, limits=cost_limits(values))

    @cached_property
    def kpis(self) -> dict[str, Kpis]:
        """Figures over worlds and training seeds by policy."""
        return {one.name: one.kpis() for one in self.scores}

    @cached_property
    def aggregated(self) -> dict[str, dict[str, Any]]:
        """``{"mean", "ci95"}`` of every figure by policy."""
        return {name: kpis.aggregate(self.sample) for name, kpis in self.kpis.items()}

    @property
    def baseline(self) -> str:
        """The first echelon base-stock rule, or where there is none the first policy."""
        names = [one.name for one in self.scores]
        return next((name for name in names if name.startswith(BASELINE)), names[0])

    @property
    def best_rule(self) -> str | None:
        """The cheapest of the tuned rules that miss fewest targets, revenue counted; None if there are fewer than two.

        On these very worlds, which favours it. A rule tuned on cost alone is none of them.
        """
        tuned = [one.name for one in self.scores if one.entrant.note == "tuned"]
        net = {one.name: one.net_cost for one in self.scores}
        return min(tuned, key=lambda name: (len(self.missed[name]), net[name])) if len(tuned) > 1 else None

    def summary(self) -> dict[str, Any]:
        """The contract's ``summary.json``, schema 1."""
        periods = self.evaluation.periods or self.scenario.horizon
        return {
            "schema": 1,
            "scenario": self.scenario.name,
            "evaluation": {
                "worlds": self.sample.worlds,
                "seed": self.evaluation.seed,
                "periods": periods,
                "warm_up": self.scenario.warm_up,
                "record": list(self.scenario.record_split()),
            },
            "intervals": self.sample.to_dict(),
            **self.limits.to_dict(),
            "policies": [self._policy(one) for one in self.scores],
            "bound": {} if self.bounded is None else self.bounded.to_dict(self.scores),
        }

    def _policy(self, one: Scores) -> dict[str, Any]:
        found: dict[str, Any] = {"name": one.name, "cost_per_period": self.cost[one.name].to_dict()}
        if one.profit is not None:
            found["profit_per_period"] = self.interval(one.profit).to_dict()
        return found | {
            "kpis": self.aggregated[one.name],
            "simulated_on": dict(one.simulated_on),
            "tuning_budget": one.entrant.tuning_budget,
            "training_seeds": list(one.entrant.training_seeds),
            "versus": {
                other: comparison.to_dict() | self.service[name, other].to_dict()
                for (name, other), comparison in self.versus.items()
                if name == one.name
            },
        }

    def targets(self) -> list[dict[str, Any]]:
        """One row a policy and target: the figure, its interval, and met, missed or undecided."""
        rows = []
        for one in self.scores:
            for target in targets_of(self.scenario):
                judged = target.judge(self.kpis[one.name], self.sample)
                bound = {"target": judged["target"], "at_least": target.at_least}
                measured = {**Estimate.of(judged).flat(), "interval": self.sample.kind, "status": judged["status"]}
                measured["beyond_reach"] = judged["name"] in self.limits.beyond_reach
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
                yield {"policy": one.name, "line": line, **self._flat(self.interval(values))}

    def _kpi_rows(self) -> Iterator[dict[str, Any]]:
        """By policy, scope (total, customer ...), name within it and figure."""
        for one in self.scores:
            for scope, entries in self.aggregated[one.name].items():
                by_name = entries if scope not in ("total", "network") else {"": entries}
                for name, figures in by_name.items():
                    for kpi, found in figures.items():
                        place = {"policy": one.name, "scope": scope, "name": name, "kpi": kpi}
                        yield place | self._flat(Estimate.of(found))

    def _versus_rows(self) -> Iterator[dict[str, Any]]:
        for (name, other), found in self.versus.items():
            yield {
                "policy": name,
                "other": other,
                **found.difference.flat(),
                **self._percent_columns(found),
                "probability_better": found.probability_better,
                **self.service[name, other].columns(),
                "interval": self.sample.kind,
            }

    def _flat(self, estimate: Estimate) -> dict[str, Any]:
        """Columns of an estimate, and what its interval is about."""
        return {**estimate.flat(), "interval": self.sample.kind}

    def _percent_columns(self, found: Comparison) -> dict[str, Any]:
        if found.percent is not None:
            return found.percent.flat("percent")
        record = ("percent_record_low", "percent_record_high") if self.sample.has_record else ()
        return dict.fromkeys(("percent", "percent_low", "percent_high", *record))

    def _seed_rows(self) -> Iterator[dict[str, Any]]:
        """Each training seed by itself; the interquartile mean is over its worlds."""
        for one in self.scores:
            for r, seed in enumerate(_seeds(one)):
                row = {"policy": one.name, "training_seed": seed, **self._flat(self.interval(one.cost[r]))}
                yield row | {"interquartile_mean": interquartile_mean(one.cost[r])}

    def _bound_rows(self) -> Iterator[dict[str, Any]]:
        """Each policy's cost over whole episodes above each bound, in percent, on the bound's worlds."""
        assert self.bounded is not None
        for one in self.scores:
            for kind in self.bounded.costs:
                gap = self.bounded.gap(one, kind)
                yield {"policy": one.name, "bound": kind, **gap.difference.flat(), **self._percent_columns(gap)} | {
                    "interval": self.sample.kind
                }

    # Terminal --------------------------------------------------------------------------------------

    def show(self) -> None:
        """Print the table of policies, and that of targets if there are any."""
        columns = self._columns()
        rows = [[column[index] for column in columns.values()] for index in range(len(self.scores))]
        table(self._title(), list(columns), rows, self._notes())
        targets = self.targets()
        if targets:
            shown: dict[str, dict[str, str]] = {}
            for row in targets:
                wanted = f"{row['name']} {'>=' if row['at_least'] else '<='} {row['target']:g}"
                wanted += " (beyond reach)" if row["beyond_reach"] else ""
                within = "" if row["low"] is None else f" [{row['low']:.4g}, {row['high']:.4g}]"
                shown.setdefault(wanted, {})[row["policy"]] = f"{row['mean']:.4g}{within} {row['status']}"
            names = [one.name for one in self.scores]
            notes = [f"no interval: {self.sample.reason}"] if self.sample.reason else []
            table("Targets", ["target", *names], [[key, *map(row.get, names)] for key, row in shown.items()], notes)

    def _title(self) -> str:
        periods = self.evaluation.periods or self.scenario.horizon
        worlds = f"{self.sample.worlds} common world{'s' if self.sample.worlds > 1 else ''}"
        if self.sample.one_history:
            worlds = "one history"
        title = f"{self.scenario.name}: {worlds} (test seed {self.evaluation.seed}), {periods} periods"
        return title + (f", {self.scenario.warm_up} of them warm-up" if self.scenario.warm_up else "")

    def _notes(self) -> list[str]:
        """What is said below the table of policies."""
        notes = self.sample.notes()
        if self.sample.kind != "none":
            notes.insert(0, "[ ]: 95 %, paired over worlds; better: share of worlds in which it costs less, ties half")
        if self.sample.has_record:
            notes += self._record_notes()
        if self.best_rule:
            notes.append(f"best rule: {self.best_rule}, the cheapest on these very worlds")
        if any(one.profit is not None for one in self.scores):
            notes.append("cost leaves revenue out; goods are priced, so look at profit too")
        notes += self._device_notes() + self._service_notes() + ([] if self.bounded is None else self.bounded.lines())
        return [*notes, *self.scenario.record_split()]

    def _device_notes(self) -> list[str]:
        """What was simulated elsewhere than usual, and what was not."""
        away = [one for one in self.scores if one.simulated_on["device"] != "cpu"]
        if not away:
            return []
        here = [one.name for one in self.scores if one.simulated_on["device"] == "cpu"]
        how = "simulated on {device} by {backend} in {precision} precision".format(**away[0].simulated_on)
        return [
            how + (f"; on cpu, as {away[0].simulated_on['backend']} cannot run it: {', '.join(here)}" if here else "")
        ]

    def _record_notes(self) -> list[str]:
        """The narrower intervals, of other worlds of the same record."""
        found = []
        for one in self.scores:
            cost, against = self.cost[one.name].record, self.versus.get((one.name, self.baseline))
            if cost is not None:
                percent = None if against is None or against.percent is None else against.percent.record
                versus = "" if percent is None else f", {percent[0]:+.2f} to {percent[1]:+.2f} %"
                found.append(f"{one.name} {cost[0]:.4g} to {cost[1]:.4g}{versus}")
        notes = [f"other worlds of these very blocks: {'; '.join(found)}"] if found else []
        uneven = [one.name for one in self.scores if abs(self._skewness(one)) > UNEVEN]
        if uneven:
            said = f"few of the {self.sample.over} decide, so fewer than 95 of 100 such intervals hold the truth"
            notes.append(f"{', '.join(uneven)} against {self.baseline}: {said}")
        return notes

    def _skewness(self, one: Scores) -> float:
        """Skewness of what recorded blocks add to a policy's percentage of the baseline."""
        base = next(other for other in self.scores if other.name == self.baseline).cost.mean(axis=0)
        return self.sample.skewness(Ratio(one.cost.mean(axis=0) - base, base).residuals())

    def _service_notes(self) -> list[str]:
        """What the marks on percentages stand for."""
        found = []
        unequal = [one.name for one in self.scores if UNEQUAL in self._mark(one.name, self.baseline)]
        unequal += (
            []
            if not self.best_rule
            else [
                one.name
                for one in self.scores
                if UNEQUAL in self._mark(one.name, self.best_rule) and one.name not in unequal
            ]
        )
        for name in unequal:
            against = [self.service[name, other] for other in self._others if (name, other) in self.service]
            said = next(one.text for one in against if one.text)
            found.append(f"{UNEQUAL} {name} {said}: not at equal service")
        by_missed: dict[tuple[str, ...], list[str]] = {}
        for name, names in self.missed.items():
            if names:
                by_missed.setdefault(names, []).append(name)
        for names, who in by_missed.items():
            found.append(f"{MISSES} target missed: {some(names)}, by {', '.join(who)}")
        tuned = [self.missed[one.name] for one in self.scores if one.entrant.note == "tuned"]
        beyond = [name for name in tuned[0] if all(name in names for names in tuned)] if tuned else []
        if beyond:
            found.append(f"no rule tuned here meets {some(beyond)}")
        found += [text[:1].lower() + text[1:].rstrip(".") for text in self.limits.texts]
        return found

    @property
    def _others(self) -> list[str]:
        """Policies that percentages are given against."""
        return list(dict.fromkeys([self.baseline, *([self.best_rule] if self.best_rule else [])]))

    def _mark(self, name: str, other: str) -> str:
        return self.service[name, other].mark if (name, other) in self.service else ""

    def _columns(self) -> dict[str, list[Any]]:
        """Columns of the table of policies by heading; those that say nothing are left out."""
        figures = [self.aggregated[one.name] for one in self.scores]
        networks = [found["network"] for found in figures]
        against = [self.versus.get((one.name, self.baseline)) for one in self.scores]
        columns: dict[str, list[Any]] = {
            "policy": [one.name for one in self.scores],
            "cost / period": [estimated(self.cost[one.name]) for one in self.scores],
            "fill rate": [share(found["total"]["fill_rate"]["mean"]) for found in figures],
            f"% vs {self.baseline}": [self._versus(one.name, self.baseline) for one in self.scores],
            "better": [
                None if found is None or found.probability_better is None else f"{found.probability_better:.2f}"
                for found in against
            ],
            "% vs best rule": [self._versus(one.name, self.best_rule or "") for one in self.scores],
            "% above bound": [self._above(one) for one in self.scores],
            "profit / period": [one.profit is not None and estimated(self.interval(one.profit)) for one in self.scores],
            "waste": [share(found["waste_share"]["mean"] or None) for found in networks],
            "kg CO2e / unit": [found["emissions_kg_per_unit"]["mean"] for found in networks],
            "tuned or trained": [made(one) for one in self.scores],
        }
        return {key: [cell or None for cell in column] for key, column in columns.items() if any(column)}

    def _versus(self, name: str, other: str) -> str | None:
        """A percentage, marked where it cannot stand alone."""
        said = percent(self.versus.get((name, other)))
        mark = self._mark(name, other)
        return f"{said} {mark}" if said and mark else said

    def _above(self, one: Scores) -> str | None:
        """A policy above the higher bound, over whole episodes."""
        return None if self.bounded is None else percent(self.bounded.gap(one, self.bounded.best))


def _seeds(one: Scores) -> list[Any]:
    """Label of each row of the score matrices."""
    seeds = one.entrant.training_seeds
    return list(seeds) if len(seeds) == len(one.cost) else [None] * len(one.cost)
