"""Generality of a policy: its cost on unseen variants of randomised scenarios, against rules tuned on each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from echelongym.envs.core.typing import Floats
from echelongym.envs.gym.render import literal_text
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.world_sample import ANY, NON_NEGATIVE, cost_limits

from ..cli.terminal import table
from ..figures.network import COLOURS
from ..figures.writing import write_picture
from ..runs.folders import RunFolder
from ..statistics import Comparison, Estimate, mean_interval, seeds_comparison, seeds_interval
from .evaluate import Scores, net
from .service import ALIKE, MISSES, UNEQUAL, ServiceComparison, compare_service

_DPI = 150


@dataclass(frozen=True, eq=False)
class VariantFamily:
    """A family that variants are drawn from: the one given, or with a size, a severity or other changes."""

    label: str
    family: Scenario
    size: int | None = None  # nodes of every variant; None: as the family draws them
    severity: float = 1.0  # factor on the mean length of every random disruption

    def variant(self, number: int, seed: int) -> Scenario:
        """A variant (purpose ``test``), its random disruptions ``severity`` times as long on average."""
        found = self.family.variant(number, seed, "test")
        if self.severity == 1.0:
            return found
        data = found.to_dict()["disruptions"]
        for disruption in data.values():
            when = disruption["when"]
            if "mean_down" in when:
                when["mean_down"] = max(when["mean_down"] * self.severity, 1.0)
        return found.replace(disruptions=data, name=f"{found.name}_severity_{self.severity:g}")


@dataclass(frozen=True, eq=False)
class Trial:
    """All policies on common worlds of one variant."""

    cell: VariantFamily
    number: int
    scenario: Scenario
    reference: Scores  # a rule tuned on this very variant
    scores: tuple[Scores, ...]
    spot: Scores | None = None  # a policy trained on this very variant
    spot_seconds: float | None = None  # CPU-seconds that its training took

    @property
    def nodes(self) -> int:
        """Nodes of the network, suppliers included."""
        return len(self.scenario.nodes)


def versus(one: Scores, other: Scores) -> Comparison:
    """One policy against another in the worlds of a variant."""
    return seeds_comparison(net(one), net(other), sample=one.sample)


def percents(one: Scores, other: Scores) -> Floats:
    """(R,) how much more each training seed costs than the other policy, in percent of the other's mean cost."""
    base = float(net(other).mean())
    found: Floats = 100.0 * (net(one).mean(axis=1) - base) / abs(base)
    return found


def over_variants(pairs: Sequence[tuple[Scores, Scores]]) -> Estimate | None:
    """Mean of the percentages over variants, for (policy, other policy) of each.

    The variants are the sample: the interval, Student's t over them, is for the family, and holds what the worlds of each add.
    Of several training seeds it is that of :func:`.statistics.seeds_interval`, variants in the place of worlds. Of a single
    variant it is the paired interval over worlds, and says nothing about others.
    """
    if not pairs:
        return None
    if len(pairs) == 1:
        return versus(*pairs[0]).percent
    matrix = np.stack([percents(one, other) for one, other in pairs], axis=1)  # (R, variants)
    costs = [net(one) for pair in pairs for one in pair]
    limits = (-100.0, np.inf) if cost_limits(*costs) == NON_NEGATIVE else ANY
    return mean_interval(matrix[0], limits=limits) if len(matrix) == 1 else seeds_interval(matrix, limits=limits)


@dataclass(frozen=True, eq=False)
class VariantResult:
    """One policy on the variants of one cell."""

    cell: VariantFamily
    policy: str
    trials: tuple[tuple[Trial, Scores], ...]

    @cached_property
    def percent(self) -> Estimate | None:
        """Against the rule tuned on each variant; negative is cheaper."""
        return over_variants([(one, trial.reference) for trial, one in self.trials])

    @cached_property
    def fill_rates(self) -> tuple[float, float]:
        """Mean fill rate over variants, of the policy and of the rule tuned on each."""
        return tuple(  # type: ignore[return-value]
            float(np.mean([getattr(one, key) for one in self.service])) for key in ("fill_rate", "other")
        )

    @cached_property
    def service(self) -> list[ServiceComparison]:
        """Service of the policy beside the rule tuned on each variant, variant by variant."""
        return [compare_service(trial.scenario, one, trial.reference) for trial, one in self.trials]

    @property
    def unequal(self) -> int:
        """Number of variants in which the two serve unequally."""
        return sum(one.serves != ALIKE for one in self.service)

    @property
    def missing(self) -> int:
        """Number of variants in which one of the two misses a target."""
        return sum(bool(one.missed or one.other_missed) for one in self.service)

    @property
    def mark(self) -> str:
        """Symbol behind a percentage that cannot stand alone."""
        return (UNEQUAL if self.unequal else "") + (MISSES if self.missing else "")

    @cached_property
    def price(self) -> Estimate | None:
        """The price of generality: against a policy trained on each variant itself; None where none was."""
        return over_variants([(one, trial.spot) for trial, one in self.trials if trial.spot is not None])

    @cached_property
    def spot_seconds(self) -> float | None:
        """Mean CPU-seconds of the trainings on the spot."""
        spent = [trial.spot_seconds for trial, _ in self.trials if trial.spot_seconds is not None]
        return float(np.mean(spent)) if spent else None

    @cached_property
    def each(self) -> list[float]:
        """Percentage of each variant, over training seeds."""
        return [float(percents(one, trial.reference).mean()) for trial, one in self.trials]

    @property
    def cheaper(self) -> int:
        """Number of variants in which the policy costs less than the tuned rule, on average over worlds and seeds."""
        return sum(one < 0 for one in self.each)

    @property
    def nodes(self) -> tuple[int, int]:
        """Nodes of the smallest and of the largest network."""
        sizes = [trial.nodes for trial, _ in self.trials]
        return min(sizes), max(sizes)

    def to_dict(self) -> dict[str, Any]:
        """The form of the summary."""
        return {
            "family": self.cell.label,
            "size": self.cell.size,
            "severity": self.cell.severity,
            "nodes": list(self.nodes),
            "variants": len(self.trials),
            "policy": self.policy,
            "percent": None if self.percent is None else self.percent.to_dict(),
            "lowest": min(self.each),
            "highest": max(self.each),
            "fill_rate": self.fill_rates[0],
            "fill_rate_of_tuned_rule": self.fill_rates[1],
            "variants_cheaper": self.cheaper,
            "variants_served_unequally": self.unequal,
            "variants_missing_targets": self.missing,
            "comparable": not self.mark,
            "price_of_generality_percent": None if self.price is None else self.price.to_dict(),
            "cpu_seconds_on_the_spot": self.spot_seconds,
        }

    def row(self) -> dict[str, Any]:
        """The form of ``families.csv``."""
        data = self.to_dict()
        low, high = data.pop("nodes")
        percent, price = data.pop("percent"), data.pop("price_of_generality_percent")
        return {
            **{key: data[key] for key in ("family", "size", "severity")},
            "fewest_nodes": low,
            "most_nodes": high,
            **{key: data[key] for key in ("variants", "policy")},
            **_ends("percent", percent),
            **{key: data[key] for key in ("lowest", "highest")},
            **{key: data[key] for key in ("variants_cheaper", "fill_rate", "fill_rate_of_tuned_rule")},
            **{key: data[key] for key in ("variants_served_unequally", "variants_missing_targets", "comparable")},
            **_ends("price_of_generality_percent", price),
            "cpu_seconds_on_the_spot": data["cpu_seconds_on_the_spot"],
        }


def _ends(name: str, estimate: dict[str, Any] | None) -> dict[str, Any]:
    low, high = (None, None) if estimate is None else estimate["ci95"]
    return {name: None if estimate is None else estimate["mean"], f"{name}_low": low, f"{name}_high": high}


def lines(trials: Sequence[Trial]) -> list[VariantResult]:
    """One line a cell and policy, in the order of the trials."""
    found: dict[tuple[str, str], list[tuple[Trial, Scores]]] = {}
    for trial in trials:
        for one in trial.scores:
            found.setdefault((trial.cell.label, one.name), []).append((trial, one))
    return [VariantResult(pairs[0][0].cell, policy, tuple(pairs)) for (_, policy), pairs in found.items()]


def variant_rows(trials: Sequence[Trial]) -> Iterator[dict[str, Any]]:
    """The form of ``variants.csv``: one row a variant and policy, the reference and what was trained on the spot among them."""
    for trial in trials:
        spot = () if trial.spot is None else (trial.spot,)
        for one in (trial.reference, *trial.scores, *spot):
            percent = None if one is trial.reference else versus(one, trial.reference).percent
            yield {
                "family": trial.cell.label,
                "variant": trial.number,
                "scenario": trial.scenario.name,
                "nodes": trial.nodes,
                "severity": trial.cell.severity,
                "policy": one.name,
                "training_seeds": len(one.entrant.training_seeds) or None,
                "tuning_budget": one.entrant.tuning_budget,
                "cost_per_period": float(one.cost.mean()),
                "fill_rate": fill_rate(one),
                **_ends("percent", None if percent is None else percent.to_dict()),
                "cpu_seconds_on_the_spot": trial.spot_seconds if one is trial.spot else None,
            }


def fill_rate(one: Scores) -> float:
    """Share of new demand served in its own period, over customers and training seeds."""
    return float(np.mean([figures["total"]["fill_rate"].pooled for figures in one.figures]))


def show(found: Sequence[VariantResult], reference: str, notes: Sequence[str]) -> None:
    """Print the table."""
    priced = any(line.price is not None for line in found)
    headings = ["family", "nodes", "variants", "policy", "% to tuned rule", "95 %", "lowest", "highest", "cheaper in"]
    headings += ["fill rate", "of tuned rule"]
    rows = []
    for line in found:
        low, high = line.nodes
        row: list[Any] = [
            line.cell.label,
            f"{low}" if low == high else f"{low} to {high}",
            len(line.trials),
            line.policy,
        ]
        mean, ends = _brief(line.percent)
        row += [
            f"{mean} {line.mark}".strip(),
            ends,
            f"{min(line.each):+.1f}",
            f"{max(line.each):+.1f}",
            f"{line.cheaper} of {len(line.trials)}",
        ]
        row += [f"{100 * rate:.1f} %" for rate in line.fill_rates]
        rows.append([*row, *_brief(line.price), line.spot_seconds] if priced else row)
    if priced:
        headings += ["% to trained on the spot", "95 %", "its CPU-s"]
    said = list(notes)
    if any(UNEQUAL in line.mark for line in found):
        said.append(
            f"{UNEQUAL} serves unequally in some variants (variants.csv): the percentage is no saving at equal service"
        )
    if any(MISSES in line.mark for line in found):
        said.append(f"{MISSES} one of the two misses a target in some variants")
    table(f"Cost beside {reference}, negative is cheaper", headings, rows, said)


def _brief(estimate: Estimate | None) -> tuple[str, str]:
    if estimate is None:
        return "", ""
    ends = f"[{estimate.low:+.2f}, {estimate.high:+.2f}]" if estimate.known else ""
    return f"{estimate.mean:+.2f}", ends


def write(run: RunFolder, trials: Sequence[Trial], found: Sequence[VariantResult]) -> None:
    """Write the tables."""
    run.csv("variants.csv", variant_rows(trials))
    run.csv("families.csv", (line.row() for line in found))


@literal_text
def draw(path: Path, found: Sequence[VariantResult], reference: str) -> None:
    """Percent to the tuned rule by family: a point and its 95 % interval a policy, a faint point a variant."""
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(line.cell.label for line in found))
    names = list(dict.fromkeys(line.policy for line in found))
    figure = Figure(figsize=(max(6.5, 1.5 + 0.45 * len(names) * len(labels)), 4.4), layout="constrained")
    axes = figure.add_subplot()
    step = 0.8 / len(names)
    for line in found:
        index = names.index(line.policy)
        place = labels.index(line.cell.label) + (index - (len(names) - 1) / 2) * step
        colour = COLOURS[index % len(COLOURS)]
        first = line.cell.label == labels[0]
        if line.percent is not None:
            reach = [[line.percent.mean - line.percent.low], [line.percent.high - line.percent.mean]]
            label = line.policy if first else None
            axes.errorbar(
                [place], [line.percent.mean], yerr=np.nan_to_num(reach), fmt="o", color=colour, capsize=3, label=label
            )
        axes.plot([place + 0.12 * step] * len(line.each), line.each, ".", color=colour, alpha=0.35, markersize=4)
    axes.axhline(0.0, color="black", linewidth=1)
    axes.set_xticks(range(len(labels)), [label.replace(", ", "\n") for label in labels])
    axes.set_xlim(-0.5, len(labels) - 0.5)
    axes.set_ylabel(f"cost, % to {reference}")
    axes.grid(axis="y", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    write_picture(figure, path, _DPI)


__all__ = ["Trial", "VariantFamily", "VariantResult", "draw", "lines", "over_variants", "percents", "show", "write"]
