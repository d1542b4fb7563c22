"""Feasibility of a network: places without a way from a supplier, and capacity below mean demand, named before a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..core.errors import InputError, warn
from ..core.typing import Bools, Floats
from ..network.tables import Tables
from .inventory_positions import Forest

if TYPE_CHECKING:
    from ..scenario.scenario import Scenario

_NAMED = 5  # entities that a line names
_HAIR = 1e-6  # of a volume or demand: rounding of the linear program


_FOUND: WeakKeyDictionary[Tables, list[Problem]] = WeakKeyDictionary()


class Problem(NamedTuple):
    """Problem of a network: one thing that cannot work, in one line."""

    text: str
    fatal: bool  # customers whose every unit is lost or waits for ever, whatever anybody decides


def check_feasible(scenario: Scenario, refuse: bool = True) -> None:
    """Warn of everything that cannot work; refuse what makes a run senseless.

    Parameters
    ----------
    refuse
        Whether a customer whom nothing can ever reach is an error; False: a warning like the others.

    Raises
    ------
    InputError
        Naming customers without a way from a supplier who have no initial stock to live on either.
    """
    found = _known(scenario)
    fatal = [one.text for one in found if one.fatal]
    if fatal and refuse:
        raise InputError("\n".join(f"{scenario.name}: {text}" for text in fatal))
    for one in found:
        warn(f"{scenario.name}: {one.text}")


def _known(scenario: Scenario) -> list[Problem]:
    """The same as :func:`problems`, looked for once, as whoever runs a scenario many times asks before each."""
    tables = scenario.tables
    if tables not in _FOUND:
        _FOUND[tables] = problems(scenario)
    return _FOUND[tables]


def problems(scenario: Scenario) -> list[Problem]:
    """Everything that cannot work.

    - Customers with demand for a product that no way leads to from a supplier: over lanes that carry it, of a capacity
      above 0, within its shelf life. Fatal where no initial stock that is given as a number can reach them either.
    - Stock nodes that no way from a supplier leads to.
    - Capacities that carry less than mean demand, however it is routed: a linear program of mean flows, volumes and
      capacities of lanes and nodes. Disruptions only make it worse.
    """
    t = scenario.tables
    given = np.array([node.initial != "auto" for node in scenario.nodes.values()])
    fed = _reached(t, t.is_supplier[:, None] & np.ones((t.N, t.P), dtype=bool))
    from_opening_stock = _reached(t, given[:, None] & ~t.is_supplier[:, None] & (t.initial_on_hand > 0))
    demanded = t.mean_demand > 0
    served, living = _any_source(t, fed), _any_source(t, from_opening_stock)
    found = []
    for lost in (True, False):
        without = demanded & ~served & (~living if lost else living)
        if without.any():
            ending = "is lost or waits for ever" if lost else "but what initial stock holds is lost or waits for ever"
            causes = _causes(t, without, fed)
            text = (
                f"customers {_cells(t, t.customers, without)}: no way from a supplier ({causes}): all demand {ending}"
            )
            found.append(Problem(text, lost))
    idle = ~fed.any(axis=1) & ~t.is_supplier & ~_feeds(t, demanded & ~served)
    if idle.any():
        names = _names([t.nodes[n] for n in np.flatnonzero(idle)])
        found.append(Problem(f"nodes {names}: no way from a supplier: nothing ever arrives", False))
    capacity = _capacity(t, fed, demanded & served)
    return found + ([capacity] if capacity else [])


# Ways ------------------------------------------------------------------------------------------------------------------


def _reached(t: Tables, start: Bools) -> Bools:
    """(N, P) cells that units come to from the cells of ``start``, fresh there, within their shelf life."""
    age = np.where(start, 0.0, np.inf)
    last = np.where(t.shelf_life > 0, t.shelf_life - 1.0, np.inf)
    shortest = np.array([float(min(values)) for values in t.lead_time_values])
    lanes = np.flatnonzero((t.lane_capacity > 0) & (t.lane_source >= 0)) if t.L else np.zeros(0, dtype=np.int64)
    ships = t.node_capacity > 0
    returns = np.flatnonzero(t.lane_customer >= 0)
    for _ in range(t.N + t.C + 1):
        before = age.copy()
        for lane in lanes:
            source = t.lane_source[lane]
            if ships[source]:
                arrives = np.where(t.lane_open[lane], age[source] + shortest[lane], np.inf)
                target = t.lane_target[lane]
                age[target] = np.minimum(age[target], np.where(arrives <= last, arrives, np.inf))
        for lane in returns:
            sold = _any_source(t, np.isfinite(age))[t.lane_customer[lane]]
            back = (
                t.lane_carries[lane] & (t.return_share[lane] * t.recovery[lane] > 0) & sold & (shortest[lane] <= last)
            )
            target = t.lane_target[lane]
            age[target] = np.minimum(age[target], np.where(back, shortest[lane], np.inf))
        if (age == before).all():
            break
    return np.isfinite(age)


def _any_source(t: Tables, cells: Bools) -> Bools:
    """(C, P) customers with a source among the cells (N, P)."""
    found = np.zeros((t.C, t.P), dtype=bool)
    np.logical_or.at(found, t.pair_customer, t.pair_carries & cells[t.pair_source])
    return found


def _feeds(t: Tables, customers: Bools) -> Bools:
    """(N,) nodes from which lanes and sources lead to one of the customers (C, P)."""
    found = np.zeros((t.N, t.P), dtype=bool)
    for pair in range(t.S):
        found[t.pair_source[pair]] |= t.pair_carries[pair] & customers[t.pair_customer[pair]]
    for _ in range(t.N):
        before = found.sum()
        for lane in np.flatnonzero(t.lane_source >= 0):
            found[t.lane_source[lane]] |= found[t.lane_target[lane]] & t.lane_carries[lane]
        if found.sum() == before:
            break
    return np.asarray(found.any(axis=1))


def _causes(t: Tables, customers: Bools, fed: Bools) -> str:
    """Where the ways to customers end: nodes that no lane leads into, or that nothing comes to by the lanes there are."""
    above = _feeds(t, customers) & ~fed.all(axis=1) & ~t.is_supplier
    into = np.zeros(t.N, dtype=bool)
    into[t.lane_target[t.lane_open.any(axis=1)]] = True
    ends = [t.nodes[n] for n in np.flatnonzero(above & ~into)]
    if ends:
        return f"no lane leads into {_names(ends)}"
    places = _names([t.nodes[n] for n in np.flatnonzero(above)])
    return f"nothing comes to {places} by its lanes, within capacity and shelf life"


# Capacity --------------------------------------------------------------------------------------------------------------


def carried_share(tables: Tables, forest: Forest) -> Floats:
    """(N, P) share of a cell's mean flow that its primary lane can carry: 1 where no capacity is in the way.

    Capacities of a lane and of its source are shared by all that mean flows send over them. A source that is short itself,
    without a second lane from above, passes on no more than its own share.
    """
    t = tables
    share = np.ones((t.N, t.P))
    lane_load, node_load = np.zeros(t.L), np.zeros(t.N)
    fed = t.primary_lane >= 0
    volume, lanes = (t.mean_flow * t.volume)[fed], t.primary_lane[fed]
    np.add.at(lane_load, lanes, volume)
    np.add.at(node_load, t.lane_source[lanes], volume)
    if not (np.isfinite(t.lane_capacity).any() or np.isfinite(t.node_capacity).any()):
        return share
    lane_most, node_most = t.mean_capacity
    lane_share = np.where(lane_load > lane_most, lane_most / np.where(lane_load > 0, lane_load, 1.0), 1.0)
    node_share = np.where(node_load > node_most, node_most / np.where(node_load > 0, node_load, 1.0), 1.0)
    flat = share.reshape(-1)
    limited = ~np.repeat(t.is_supplier, t.P)
    for cells in forest.by_depth[1:]:
        above = forest.parent[cells]
        lane, source = forest.primary[cells] // t.P, above // t.P
        passed = np.where(limited[above], flat[above], 1.0)
        for cell in np.unique(above[passed < 1.0]).tolist():
            if seconds(t, forest, *divmod(cell, t.P)):
                passed[above == cell] = 1.0
        flat[cells] = np.minimum(np.minimum(lane_share[lane], node_share[source]), passed)
    return share


def seconds(tables: Tables, forest: Forest, node: int, product: int) -> list[int]:
    """Lanes into a node beside its primary one from a supplier or a node above it, of a capacity above 0, cheapest first."""
    t = tables
    cell = node * t.P + product
    above = set(forest.ancestors(cell))
    found = []
    into = t.lanes_into[node]
    for lane in into[t.lane_open[into, product] & (t.lane_capacity[into] > 0)]:
        source = int(t.lane_source[lane])
        if lane != t.primary_lane[node, product] and (t.is_supplier[source] or source * t.P + product in above):
            found.append(int(lane))
    cost = t.purchase_cost + t.lane_transport_cost
    return sorted(found, key=lambda lane: (cost[lane, product], lane))


def _capacity(t: Tables, fed: Bools, demanded: Bools) -> Problem | None:
    """The line that says what capacity lets through of mean demand (C, P), if that is less."""
    limited = np.isfinite(t.lane_capacity[t.lane_source >= 0]).any() or np.isfinite(t.node_capacity).any()
    total = float(t.mean_demand[demanded].sum())
    if not limited or total <= 0 or _primary_lanes_suffice(t, fed, demanded):
        return None
    through, full = _most_served(t, demanded)
    short = np.zeros_like(demanded)
    short[demanded] = t.mean_demand[demanded] - through[demanded] > _HAIR * t.mean_demand[demanded] + _HAIR * total
    if not short.any():
        return None
    most, wanted = float(through[short].sum()), float(t.mean_demand[short].sum())
    by = f" of {_names(full)}" if full else ""
    text = (
        f"customers {_cells(t, t.customers, short)}: mean demand of {wanted:.4g} units a period, of which the capacity{by} "
        f"lets through {most:.4g} at most, by all ways together"
    )
    return Problem(text, False)


def _primary_lanes_suffice(t: Tables, fed: Bools, demanded: Bools) -> bool:
    """Whether mean demand fits through first sources and primary lanes, as it usually does: then nothing is solved."""
    chains = t.served_above
    supplied = chains.items[np.repeat(t.is_supplier, t.P)[chains.cells]]
    if not np.isin(np.flatnonzero(demanded), supplied).all():
        return False
    return bool((carried_share(t, Forest(t)) >= 1 - _HAIR).all())


def _most_served(t: Tables, demanded: Bools) -> tuple[Floats, list[str]]:
    """(C, P) units a period that can reach customers in the mean, and names of the lanes and nodes that stand in the way."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    lanes = np.argwhere(t.lane_open)
    pairs = np.array([(s, p) for s, p in np.argwhere(t.pair_carries) if demanded[t.pair_customer[s], p]]).reshape(
        (-1, 2)
    )
    count = len(lanes) + len(pairs)
    entries: list[tuple[int, int, float]] = []
    bounds: list[float] = []
    names: list[str | None] = []

    def row(terms: Iterable[tuple[int, float]], bound: float, name: str | None) -> None:
        entries.extend((len(bounds), column, value) for column, value in terms)
        bounds.append(bound)
        names.append(name)

    into: dict[tuple[int, int], list[tuple[int, float]]] = {}
    for column, (lane, p) in enumerate(lanes.tolist()):
        into.setdefault((int(t.lane_source[lane]), int(p)), []).append((column, 1.0))
        into.setdefault((int(t.lane_target[lane]), int(p)), []).append((column, -1.0))
    for column, (s, p) in enumerate(pairs.tolist(), len(lanes)):
        into.setdefault((int(t.pair_source[s]), int(p)), []).append((column, 1.0))
        for lane in np.flatnonzero(t.lane_customer == t.pair_customer[s]).tolist():
            back = float(t.return_share[lane, p] * t.recovery[lane, p])
            if back > 0 and t.lane_carries[lane, p]:
                into.setdefault((int(t.lane_target[lane]), int(p)), []).append((column, -back))
    for (node, _), terms in into.items():
        if not t.is_supplier[node]:
            row(terms, 0.0, None)
    lane_most, node_most = t.mean_capacity
    limited = np.flatnonzero(np.isfinite(t.lane_capacity) & (t.lane_source >= 0)).tolist()
    for lane in limited:
        terms = [(k, float(t.volume[p])) for k, (one, p) in enumerate(lanes) if one == lane]
        row(terms, float(lane_most[lane]), f"lane {t.lanes[lane]}")
    for node in np.flatnonzero(np.isfinite(t.node_capacity)).tolist():
        terms = [(k, float(t.volume[p])) for k, (one, p) in enumerate(lanes) if t.lane_source[one] == node]
        row(terms, float(node_most[node]), f"node {t.nodes[node]}")
    for c, p in np.argwhere(demanded).tolist():
        own = [(k, 1.0) for k, (s, q) in enumerate(pairs, len(lanes)) if q == p and t.pair_customer[s] == c]
        row(own, float(t.mean_demand[c, p]), None)
    rows, columns, values = zip(*entries, strict=True)
    matrix = csr_array((values, (rows, columns)), shape=(len(bounds), count))
    gain = np.concatenate([np.zeros(len(lanes)), np.ones(len(pairs))])
    solved: Any = linprog(-gain, A_ub=matrix, b_ub=bounds, method="highs")
    served = np.zeros((t.C, t.P))
    if solved.x is None:  # a network of numbers that HiGHS cannot handle says nothing
        return t.mean_demand.copy(), []
    np.add.at(served, (t.pair_customer[pairs[:, 0]], pairs[:, 1]), solved.x[len(lanes) :])
    full = [
        name for name, price in zip(names, solved.ineqlin.marginals, strict=True) if name is not None and price < -_HAIR
    ]
    return served, full


# Words -----------------------------------------------------------------------------------------------------------------


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _cells(t: Tables, entities: Sequence[str], cells: Bools) -> str:
    """Names of entities, with products where it is not all that there are."""
    found = []
    for e in np.flatnonzero(cells.any(axis=1)).tolist():
        products = [t.products[p] for p in np.flatnonzero(cells[e])]
        found.append(entities[e] if len(products) == t.P else f"{entities[e]} ({_names(products)})")
    return _names(found)
