"""Fit of a readable rule to a policy: level, share of the gap, cap, and up to three numbers to look up, lane by lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Floats
from echelongym.envs.interface.inventory_positions import Forest
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage import journal

from .clipped import Fit, fit_clipped
from .level import WORTH, base_fit, positions_of, spread, used, weight_of_disturbed, with_cap, with_gain
from .named import Feature, LaneCell, columns, lane_cells, named_features, season_length, season_part, season_parts
from .readable_rule import POSITIONS, ReadableRule, Term, reader
from .sensitivity import TINY
from .visits import Visited, counted, visit

TERMS = 3
TRIED = 4  # features that are tried for a term: those that go best with what is not explained yet
DIGITS = 6


@dataclass(frozen=True, eq=False)
class Line:
    """Line of the table: the reading of one lane cell.

    Attributes
    ----------
    looks_at
        ``echelon``, ``local`` or ``expedited``, as in :class:`echelongym.agents.reading.curves.Curve`.
    level
        Units; None where nothing was ever asked for.
    gain, cap
        Share of the gap asked for; most units, None without a cap.
    terms
        In the order in which they were chosen, the most telling first.
    explained
        Share of the variance of requests over visited states (of the policy undisturbed) that the line explains.
    explained_by_level
        The same with level and cap alone.
    requests
        Mean units a period, as visited.
    """

    cell: LaneCell
    looks_at: str
    level: float | None
    gain: float
    cap: float | None
    terms: tuple[Term, ...]
    explained: float
    explained_by_level: float
    requests: float


@dataclass(frozen=True, eq=False)
class Readable:
    """Fitted readable rule: a table of lines, and the rule that it is."""

    lines: tuple[Line, ...]
    rule: ReadableRule

    @property
    def explained(self) -> float:
        """Share explained over all lanes, each weighted by the units that it asks for."""
        weight = np.array([line.requests for line in self.lines])
        total = float(weight.sum())
        return float(weight @ [line.explained for line in self.lines]) / total if total else 1.0


def fit_readable(
    scenario: Scenario,
    policy: Callable[[Observation], Decision],
    terms: int = TERMS,
    worlds: int = 64,
    moments: int = 32,
    seed: int = 0,
    position: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Readable:
    """Read a policy as a rule that planners can adopt.

    The policy is simulated on worlds of purpose ``tune``, in every second one disturbed (its requests multiplied by
    random factors), so that what it does in shortage and overstock is read as well. For every lane the squared error
    of ``clip(gain (level + terms - position), 0, cap)`` is minimised; terms are chosen one by one, each the one that
    explains most (forward selection), as long as it explains a percent of the variance. Of other
    products, and of demand below other nodes than the lane's target, nothing is looked up.

    Parameters
    ----------
    terms
        Most terms of a lane.
    worlds, moments, seed
        Worlds, periods of each that are looked at, and the seed.
    position
        What primary lanes look at, ``echelon`` or ``local``; None: from which more is explained.
    progress
        Called with (steps done, steps in all).

    Raises
    ------
    InputError
        As of :func:`echelongym.agents.reading.visits.visit`; for fewer than 2 worlds or terms below 0.
    """
    if worlds < 2:
        raise expected("worlds", worlds, "a whole number >= 2")
    if terms < 0:
        raise expected("terms", terms, "a whole number >= 0")
    cells = lane_cells(scenario.tables)
    # Without a stock node above another, both positions are the same.
    several = int(Forest(scenario.tables).depth.max(initial=0)) > 1
    tried = (position,) if position is not None else POSITIONS if several else POSITIONS[:1]
    total = scenario.horizon + len(cells) * len(tried)
    report = None if progress is None else (lambda done, _: progress(done, total))
    visited = visit(scenario, policy, worlds, moments, seed, "tune", disturbed=True, progress=report)
    steps = counted(progress, total, scenario.horizon)
    best: tuple[float, Readable] | None = None
    for one in tried:
        samples = _Samples(visited, one)
        lines, left = [], 0.0
        for cell in cells:
            line, unexplained = _kept_line(samples, cell, one, terms)
            lines.append(line)
            left += line.requests * unexplained
            next(steps)
        left /= max(sum(line.requests for line in lines), TINY)
        # Where both say the same, up to rounding, it is said of echelons.
        if best is None or left < best[0] - 1e-6:
            best = left, Readable(tuple(lines), _rule(scenario, lines, one, samples))
    assert best is not None
    return best[1]


class _Samples:
    """Visited states as columns: positions, requests and features."""

    def __init__(self, visited: Visited, position: str) -> None:
        t = self.tables = visited.tables
        asked = used(visited)
        self.rule = reader(visited.scenario, asked, position)
        self.used = asked
        self.requests = visited.requests.reshape((visited.states, -1)).T  # (L * P, M)
        self.positions = positions_of(visited, self.rule)
        self.plain = np.concatenate([np.arange(moment.worlds) % 2 == 0 for moment in visited.moments])
        features = named_features(visited.scenario)
        arrays = {name: visited.array(name) for name in dict.fromkeys(one.array for one in features)}
        numbers = [one for one in features if not season_length(one.name)]
        values = columns(numbers, arrays)
        varies = values.std(axis=0) > TINY
        self.numbers: list[Feature] = [one for one, kept in zip(numbers, varies, strict=True) if kept]
        self.typical = values[self.plain].mean(axis=0)[varies]
        self.values: Floats = values[:, varies] - self.typical
        self.scale = self.values.std(axis=0)
        self.period = arrays["period"] if "period" in arrays else visited.array("period")
        self.seasons = [one for one in features if season_length(one.name)]
        standing = np.asarray(visited.array("on_hand").sum(axis=3), dtype=np.float64).reshape((visited.states, -1))
        self.standing = standing.T  # (N * P, M)
        self.whole, self.fingerprint = t.integer, visited.fingerprint

    def season(self, one: Feature) -> tuple[Floats, NDArray[np.int64]]:
        """(M, k) which part of a season each state is in, of the k parts that any state is in; and these."""
        length = season_length(one.name)
        part = season_part(self.period, length, season_parts(length))
        seen = np.unique(part)
        return np.asarray(part[:, None] == seen, dtype=np.float64), seen


def _kept_line(samples: _Samples, cell: LaneCell, position: str, terms: int) -> tuple[Line, float]:
    """:func:`_line` as a step of the journal, where one is kept."""
    known = {one.name: one for one in (*samples.numbers, *samples.seasons)}

    def compute() -> list[Any]:
        line, left = _line(samples, cell, position, terms)
        found = {one.name: getattr(line, one.name) for one in fields(line) if one.name not in ("cell", "terms")}
        chosen = [[one.cell, one.feature.name, one.per_unit, one.typical, one.add] for one in line.terms]
        return [found, chosen, left]

    inputs = [samples.fingerprint, list(cell), position, terms]
    found, chosen, left = journal.step("reading: a line of the table", inputs, compute)
    lines = tuple(Term(k, known[name], per_unit, typical, tuple(add)) for k, name, per_unit, typical, add in chosen)
    return Line(cell, terms=lines, **found), float(left)


def _line(samples: _Samples, cell: LaneCell, position: str, terms: int) -> tuple[Line, float]:
    """A line, and the share of what there is to explain that it leaves, disturbed states included."""
    t = samples.tables
    number = cell.lane * t.P + cell.product
    target = int(t.lane_target[cell.lane])
    kind = position if t.primary_lane[target, cell.product] == cell.lane else "expedited"
    units = samples.requests[number]
    if not samples.used[number]:
        return Line(cell, kind, None, 1.0, None, (), 1.0, 1.0, 0.0), 0.0
    fitter = _Fitter(samples, cell, samples.positions[number], units)
    base = fitter.base()
    best = base
    chosen: list[Feature] = []
    while len(chosen) < terms:
        step = fitter.best_addition(best, chosen)
        if step is None:
            break
        best, feature = fitter.refined(step[0]), step[1]
        chosen.append(feature)
    best, chosen = fitter.without_needless(best, chosen)
    best = fitter.refined(best) if chosen else best
    level, found = _written(samples, best, chosen)
    if samples.whole and best.gain == 1 and not found:
        level = float(np.rint(level))
    explained = fitter.explained(best)
    cap = None if best.cap is None else _rounded(best.cap)
    mean = float(units[samples.plain].mean())
    line = Line(
        cell,
        kind,
        _rounded(level),
        _rounded(best.gain),
        cap,
        _of_cell(found, number),
        explained,
        fitter.explained(base),
        mean,
    )
    return line, best.loss / max(fitter.total, TINY)


class _Fitter:
    """The fit of one lane cell: what is tried, and what it leaves unexplained."""

    def __init__(self, samples: _Samples, cell: LaneCell, position: Floats, units: Floats) -> None:
        self.samples, self.position, self.units = samples, position, units
        self.weight = np.where(samples.plain, 1.0, weight_of_disturbed(units, samples.plain))
        self.total = spread(units, self.weight)
        self.one = np.ones((len(units), 1))
        near = (-1, int(samples.tables.lane_target[cell.lane]))
        own = [one.product in (-1, cell.product) and one.below in near for one in samples.numbers]
        self.numbers = np.flatnonzero(own)  # features that may be terms

    def explained(self, fit: Fit) -> float:
        """Share of the variance over undisturbed states; 1 where nothing varies and the fit is exact."""
        plain = self.samples.plain
        left = float(((self.units - fit.predicted)[plain] ** 2).sum())
        total = float(((self.units[plain] - self.units[plain].mean()) ** 2).sum())
        if total <= TINY:
            return 1.0 if left <= TINY * max(len(plain), 1) else 0.0
        return 1.0 - left / total

    def base(self) -> Fit:
        """Level, cap and gain without terms."""
        return base_fit(self.position, self.units, self.weight)

    def fitted(self, design: Floats, fit: Fit, start: Fit | None = None) -> Fit:
        """A fit with the cap of another, and a gain other than its own if that explains enough more."""
        found = fit_clipped(design, self.position, self.units, self.weight, fit.cap, fit.gain, start)
        return with_gain(found, self.position, self.units, self.weight)

    def best_addition(self, fit: Fit, chosen: Sequence[Feature]) -> tuple[Fit, Feature] | None:
        """The feature that explains most beyond a fit, and the fit with it; None if none is worth it."""
        if fit.loss <= 1e-12 * max(self.total, TINY):
            return None
        samples = self.samples
        active = fit.active
        if active.sum() <= fit.design.shape[1] + 2:
            return None
        tried: list[Feature] = []
        if len(self.numbers):
            values = samples.values[np.ix_(active, self.numbers)]
            residual = (self.units - fit.predicted)[active]
            # What goes with the columns already there is taken out first.
            basis = np.linalg.qr(np.column_stack([fit.design[active], self.position[active]]))[0]
            residual = residual - basis @ (basis.T @ residual)
            free = values - basis @ (basis.T @ values)
            size = np.sqrt((free**2).sum(axis=0))
            usable = size > 1e-6 * samples.scale[self.numbers] * np.sqrt(len(values))
            score = np.where(usable, np.abs(free.T @ residual) / np.where(usable, size, 1.0), 0.0)
            order = np.argsort(-score, kind="stable")[:TRIED]
            tried = [samples.numbers[self.numbers[i]] for i in order if score[i] > 0]
        tried += samples.seasons
        best: tuple[Fit, Feature] | None = None
        for feature in tried:
            if feature in chosen:
                continue
            design = np.concatenate([fit.design, self._column(feature)], axis=1)
            found = self.fitted(design, fit, fit)
            if found.loss < (fit.loss - WORTH * self.total if best is None else best[0].loss):
                best = found, feature
        return best

    def refined(self, fit: Fit) -> Fit:
        """The same terms with cap and gain chosen anew, as they look different without what terms explain."""
        found = with_cap(fit, self.position, self.units, self.weight)
        return with_gain(found, self.position, self.units, self.weight)

    def without_needless(self, fit: Fit, chosen: Sequence[Feature]) -> tuple[Fit, list[Feature]]:
        """A fit without the terms that others, chosen after them, made superfluous."""
        kept = list(chosen)
        for feature in chosen[:-1]:
            others = [one for one in kept if one != feature]
            design = np.concatenate([self.one, *(self._column(one) for one in others)], axis=1)
            found = self.fitted(design, fit)
            if found.loss < fit.loss + WORTH * self.total:
                fit, kept = found, others
        return fit, kept

    def _column(self, one: Feature) -> Floats:
        """(M, k) columns of a feature, k = 1 but for a season."""
        samples = self.samples
        if season_length(one.name):
            return samples.season(one)[0][:, 1:]
        return samples.values[:, [samples.numbers.index(one)]]


def _written(samples: _Samples, fit: Fit, chosen: Sequence[Feature]) -> tuple[float, tuple[Term, ...]]:
    """Level and terms in units of the level, from the numbers of a fit, which are in units requested."""
    level, place, found = fit.coefficients[0] / fit.gain, 1, []
    for feature in chosen:
        length = season_length(feature.name)
        if length:
            seen, parts = samples.season(feature)[1], season_parts(length)
            known = np.concatenate([[0.0], fit.coefficients[place : place + len(seen) - 1] / fit.gain])
            # Parts that no state is in lie between their neighbours.
            add = np.interp(np.arange(parts), seen, known, period=parts)
            level += float(add.mean())
            found.append(Term(-1, feature, add=tuple(_rounded(float(x)) for x in add - add.mean())))
            place += len(seen) - 1
        else:
            typical = float(samples.typical[samples.numbers.index(feature)])
            per_unit = float(fit.coefficients[place] / fit.gain)
            found.append(Term(-1, feature, _rounded(per_unit), _rounded(typical)))
            place += 1
    return float(level), tuple(found)


def _of_cell(terms: Sequence[Term], number: int) -> tuple[Term, ...]:
    return tuple(term._replace(cell=number) for term in terms)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _rule(scenario: Scenario, lines: Sequence[Line], position: str, samples: _Samples) -> ReadableRule:
    """The rule of a table."""
    t = scenario.tables
    given: dict[str, Any] = {name: {} for name in ("levels", "caps", "gains", "keep_levels")}
    empty = ReadableRule(scenario, position=position)
    further = {name: empty.groups[name].allowed for name in empty.further_groups}

    def put(group: str, entity: str, product: int, value: float) -> None:
        place = given.setdefault(group, {})
        if t.P == 1:
            place[entity] = value
        else:
            place.setdefault(entity, {})[t.products[product]] = value

    for line in lines:
        lane, product = line.cell.lane, line.cell.product
        number, name = lane * t.P + product, t.lanes[lane]
        primary = line.looks_at != "expedited"
        if line.level is None:
            if primary:  # a primary lane always has a level; a cap of 0 keeps it from asking
                put("caps", name, product, 0.0)
            continue
        if primary:
            put("levels", t.nodes[t.lane_target[lane]], product, line.level)
        else:
            put(next(group for group, allowed in further.items() if allowed[number]), name, product, line.level)
        if line.gain != 1:
            put("gains", name, product, line.gain)
        if line.cap is not None:
            put("caps", name, product, line.cap)
    for cell in np.flatnonzero(empty.groups["keep_levels"].allowed):
        put("keep_levels", t.nodes[cell // t.P], int(cell % t.P), _kept(samples, further["lateral_levels"], int(cell)))
    rule = ReadableRule(scenario, position=position, **{name: numbers for name, numbers in given.items() if numbers})
    terms = tuple(term for line in lines for term in line.terms)
    return rule if not terms else ReadableRule(scenario, **(rule.parameters | {"terms": _terms(rule, terms)}))


def _terms(rule: ReadableRule, terms: tuple[Term, ...]) -> dict[str, Any]:
    rule.terms = terms
    return rule._written_terms()


def _kept(samples: _Samples, lateral: NDArray[np.bool_], cell: int) -> float:
    """What a node keeps for itself where it helps others out: the least that it was left with, nearly."""
    t = samples.tables
    lanes, products = np.divmod(np.arange(t.L * t.P), t.P)
    leaving = lateral & (t.lane_source[lanes] * t.P + products == cell)
    out = samples.requests[leaving].sum(axis=0)
    helped = out > TINY
    if not helped.any():
        return float(samples.rule.values["keep_levels"][cell])
    return _rounded(max(float(np.percentile((samples.standing[cell] - out)[helped], 5)), 0.0))
