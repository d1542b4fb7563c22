"""Observations and decisions of a policy. Public arrays are batch first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..core.backend import Array, Ops
from ..core.errors import InputError, expected
from ..core.plain import real_array
from ..core.validation import MOST
from ..dynamics.state import State
from ..network.tables import Tables
from ..worlds.tape_arrays import Exogenous


@dataclass(frozen=True, eq=False)
class Observation:
    """Observation: the state at the start of a period (after arrivals), before its demand is known.

    B worlds, N nodes, L lanes, C customers, P products, A life classes, W waiting classes, K slots
    in transit, H periods of history, F forecast slots, X features; units unless said otherwise.
    """

    on_hand: Array  # (B, N, P, A) by periods of life left beyond this one
    in_transit: Array  # (B, L, P, K, A) slot k was dispatched k + 1 periods ago
    backlog: Array  # (B, C, P, W) by periods waited
    unfilled: Array  # (B, L, P) requested last period, not shipped
    node_availability: Array  # (B, N) share of capacity now
    lane_availability: Array  # (B, L) share of capacity now
    demand_history: Array  # (B, C, P, H) slot h is h + 1 periods ago
    forecast: Array  # (B, C, P, F) slot j is j periods ahead, 0 = this period
    features: Array  # (B, X) whatever the tape carries
    period: Array  # (B,) periods since the start, whole
    lead_time: Array | None = None  # (B, L) periods, of what ships now, where quoted


# Names in the order in which encoders and exported policies list them.
OBSERVATION_NAMES = (
    "on_hand",
    "in_transit",
    "backlog",
    "unfilled",
    "node_availability",
    "lane_availability",
    "demand_history",
    "forecast",
    "features",
    "period",
    "lead_time",
)


class View(NamedTuple):
    """Observation as the dynamics hold it: entity first, batch last; None where neutral."""

    on_hand: Array  # (N, P, A, B)
    in_transit: Array  # (L, P, K, A, B), or (M, P, A, B) the rows that can hold units
    backlog: Array  # (C, P, W, B)
    unfilled: Array  # (L, P, B)
    node_availability: Array | None  # (N, B)
    lane_availability: Array | None  # (L, B)
    demand_history: Array  # (C, P, H, B)
    forecast: Array | None  # (C, P, F, B)
    features: Array | None  # (X, B)
    period: Any  # (B,), or (1,) or a number where all worlds are in step
    lead_time: Array | None  # (L, B); None where not quoted, too
    season: Array | None = None  # (waves, B) or (waves, 1) sines and cosines of the period, for encoders


def viewed(
    tables: Tables,
    state: State,
    in_transit: Array,
    exogenous: Exogenous,
    history: Array,
    period: Any,
    season: Array | None = None,
) -> View:
    """What policies see of a state, the exogenous data of its period and the demand before it."""
    return View(
        on_hand=state.on_hand,
        in_transit=in_transit,
        backlog=state.backlog,
        unfilled=state.unfilled,
        node_availability=exogenous.node_availability,
        lane_availability=exogenous.lane_availability,
        demand_history=history,
        forecast=exogenous.forecast,
        features=exogenous.features,
        period=period,
        lead_time=exogenous.lead_time if tables.quoted else None,
        season=season,
    )


class Observer:
    """Observer of B worlds: observations from views, with what is neutral written out.

    Parameters
    ----------
    tables, ops, worlds
        The compiled scenario, the backend and B.
    """

    def __init__(self, tables: Tables, ops: Ops, worlds: int) -> None:
        t = tables
        self.ops = ops
        self.start = ops.zeros((worlds,), ops.int)
        one = ops.zeros((1, 1), ops.float) + 1
        self.neutral: dict[str, Array] = {
            "node_availability": one + ops.zeros((worlds, t.N), ops.float),
            "lane_availability": one + ops.zeros((worlds, t.L), ops.float),
            "forecast": ops.zeros((worlds, t.C, t.P, t.F), ops.float),
            "features": ops.zeros((worlds, 0), ops.float),
        }
        if t.quoted:
            self.neutral["lead_time"] = ops.whole(t.nominal_lead_time[None]) + ops.zeros((worlds, t.L), ops.int)

    def __call__(self, view: View) -> Observation:
        """The observation, batch first: views of the same memory."""

        def turned(name: str) -> Any:
            value = getattr(view, name)
            return self.neutral.get(name) if value is None else self.ops.moveaxis(value, -1, 0)

        arrays = {name: turned(name) for name in OBSERVATION_NAMES if name != "period"}
        return Observation(**arrays, period=self.start + view.period)


@dataclass(frozen=True, eq=False)
class Decision:
    """Decision: units requested on each lane now, and optionally what each pair must leave on hand."""

    requests: Array  # (B, L, P) units >= 0
    reserve: Array | None = None  # (B, S, P) units >= 0


class Policy(Protocol):
    """Policy: any callable from an observation of B worlds to a decision for each.

    Memory, if it has any, is its own; where it has a method ``start(worlds)``, that is called with B before the first
    period and clears it.
    """

    def __call__(self, observation: Observation, /) -> Decision:
        """Requests (B, L, P), and a reserve (B, S, P) if wanted."""
        ...


def observation_shapes(tables: Tables, features: int = 0) -> dict[str, tuple[int, ...]]:
    """Shape of each named observation array without the batch axis."""
    t = tables
    shapes: dict[str, tuple[int, ...]] = {
        "on_hand": (t.N, t.P, t.A),
        "in_transit": (t.L, t.P, t.K, t.A),
        "backlog": (t.C, t.P, t.W),
        "unfilled": (t.L, t.P),
        "node_availability": (t.N,),
        "lane_availability": (t.L,),
        "demand_history": (t.C, t.P, t.H),
        "forecast": (t.C, t.P, t.F),
        "features": (features,),
        "period": (),
    }
    if t.quoted:
        shapes["lead_time"] = (t.L,)
    return shapes


def checked_requests(decision: Any, tables: Tables, worlds: int, ops: Ops) -> Decision:
    """A decision ready for the dynamics: entity first, batch last, finite and >= 0.

    Raises
    ------
    InputError
        If it is no Decision, or an array has the wrong shape, NaN, infinite or negative entries.
    """
    if not isinstance(decision, Decision):
        raise expected("decision", decision, "a Decision(requests, reserve=None) from the policy")
    t = tables
    requests = _checked(decision.requests, "requests", (worlds, t.L, t.P), ops)
    if decision.reserve is None:
        return Decision(requests)
    return Decision(requests, _checked(decision.reserve, "reserve", (worlds, t.S, t.P), ops))


def _checked(value: Array, field: str, shape: tuple[int, ...], ops: Ops) -> Array:
    if type(value) is not np.ndarray or value.dtype.kind not in "fiu":
        value = _real(value, f"decision.{field}", ops)
    array = ops.asarray(value)
    if tuple(array.shape) != shape:
        raise InputError(
            f"decision.{field} has shape {tuple(array.shape)}: expected {shape} (worlds, lanes or pairs, products)"
        )
    # One pass finds a negative entry, NaN (no comparison holds), infinity and what no world holds alike.
    if not bool(((array >= 0) & (array <= MOST)).all()):
        flat = ops.numpy(array)
        bad = np.argwhere(~((flat >= 0) & (flat <= MOST)))[0]
        found = float(flat[tuple(bad)])
        most = f" and at most {MOST:.1e}" if found > MOST else ""
        raise expected(f"decision.{field}{[int(i) for i in bad]}", found, f"a finite number >= 0{most}")
    # Contiguous, as the order of sums follows the order in memory.
    return ops.contiguous(ops.moveaxis(array, 0, -1))


def _real(value: Any, field: str, ops: Ops) -> Any:
    """What is no array of numbers yet: a tensor of numbers as it is, lists as an array."""
    if ops.name == "torch" and hasattr(value, "is_complex"):
        if value.is_complex() or str(value.dtype) == "torch.bool":
            raise expected(field, str(value.dtype), "a tensor of real numbers")
        return value
    return real_array(value, field)
