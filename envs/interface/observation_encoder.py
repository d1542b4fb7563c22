"""Observation encoder of learners: one flat vector of named slices, in static units."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.backend import Array, Ops, ops_of
from ..processes.demand import DemandProcess
from ..worlds.events import disturbed
from .action_decoder import KINDS, ActionDecoder, ActionRange, Decoding
from .inventory_positions import SlotRows
from .observation import Observation, View

if TYPE_CHECKING:
    from ..scenario.scenario import Scenario

# Beyond this many of its units an entry says no more.
BOUND = 50.0


class Block(NamedTuple):
    """Entries of the flat vector that come from one array."""

    name: str
    picked: NDArray[np.int64] | None  # of the flattened array; None = all of it, in order
    centre: NDArray[np.float64]  # (entries,)
    unit: NDArray[np.float64]  # (entries,)
    labels: Callable[[], Iterable[str]]  # names of the entries, made when asked for


class ObservationEncoder:
    """Encoder from an observation to flat vectors (B, size), float32: ``clip((x - centre) / unit, -50, 50)``.

    Centres and units come from the scenario alone (mean demand and flow, standard deviations, automatic levels), so
    nothing has to be learned or saved with a policy. Entries that cannot differ from one constant (stock of suppliers,
    slots that no unit reaches, availability that no disruption touches) are left out.

    Slices, in this order; each is there only if it has entries:

    ========================= =================================================================================
    ``position``              of each action's lane: echelon position (primary lanes) or what will be there when it
                              delivers (secondary lanes), less what automatic levels keep there, in standard deviations
                              of the demand covered
    ``on_hand``               by node, product and periods of life left
    ``in_transit``            by periods since dispatch, lane, product and life at dispatch
    ``backlog``               by customer, product and periods waited
    ``unfilled``              by lane and product, what last period's request lacked
    ``node_availability``     less 1; ``lane_availability`` likewise
    ``demand_history``        by customer, product and periods ago, less the mean, in standard deviations
    ``forecast``              by customer, product and periods ahead, in the same units
    ``period``                since the start of the episode, -1 at its start, 1 at the scenario's horizon
    ``season``                sine and cosine of the phase of each season that demand has, and of review and calendars
    ``lead_time``             of what ships now, where quoted
    ========================= =================================================================================

    Features of a recorded tape are not encoded.

    Attributes
    ----------
    size : entries of the flat vector.
    slices : name to slice of the flat vector.

    Example
    -------
    >>> encoder = ObservationEncoder(scenario)
    >>> flat = encoder.encode(observation)  # (B, encoder.size)
    >>> flat[:, encoder.slices["on_hand"]]
    """

    def __init__(self, scenario: Scenario) -> None:
        self.decoder = ActionDecoder(scenario)  # whose positions lead the vector
        self.tables = t = scenario.tables
        self.rows = SlotRows.usable(t)
        self.seasons = season_periods(scenario)
        self.blocks = [block for block in _blocks(scenario, self.decoder, self.seasons) if len(block.centre)]
        self.slices: dict[str, slice] = {}
        start = 0
        for block in self.blocks:
            self.slices[block.name] = slice(start, start + len(block.centre))
            start += len(block.centre)
        self.size = start
        self.centre = np.concatenate([block.centre for block in self.blocks])
        self.unit = np.concatenate([block.unit for block in self.blocks])
        self.horizon = t.horizon
        self._centre = self.centre.astype(np.float32)[:, None]
        self._scale = (1.0 / self.unit).astype(np.float32)[:, None]
        # A whole array goes in as it is, so that no index is needed.
        self._parts = [(block.name, self.slices[block.name], block.picked) for block in self.blocks]

    def __getstate__(self) -> dict[str, Any]:
        # What makes names is no function that could be written down: the names are.
        blocks = [block._replace(labels=partial(tuple, tuple(block.labels()))) for block in self.blocks]
        return {**self.__dict__, "blocks": blocks}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """One an entry, as ``on_hand[hub, milk, 3]``."""
        return tuple(f"{block.name}{label}" for block in self.blocks for label in block.labels())

    def encode(self, observation: Observation) -> Array:
        """Flat vectors (B, size) float32 of an observation in NumPy or torch, contiguous."""
        ops = ops_of(observation.on_hand)
        if ops.name == "numpy":
            return np.ascontiguousarray(self.columns(observation, ops).T)
        return self._torch(*self._seen(observation, ops))

    def columns(self, observation: Observation, ops: Ops) -> NDArray[np.float32]:
        """The same (size, B) in NumPy, of an observation that may be recorded."""
        return self.flat(*self._seen(observation, ops), ops)

    def _seen(self, observation: Observation, ops: Ops) -> tuple[View, Array]:
        """What the encoded vector is made of: a view, and positions."""
        return self._view(observation, ops), self.decoder.on(ops).positions(self.decoder.owned(observation, ops))

    def _view(self, observation: Observation, ops: Ops) -> View:
        """The arrays of an observation with the batch moved to the end."""
        arrays = {name: getattr(observation, name) for name in View._fields if name != "season"}
        turned: dict[str, Any] = {k: None if one is None else ops.moveaxis(one, 0, -1) for k, one in arrays.items()}
        rows = turned["in_transit"][ops.whole(self.rows.lane), :, ops.whole(self.rows.slot)]
        return View(**{**turned, "in_transit": rows, "season": self.season(turned["period"])})

    def flat(self, view: View, positions: Array, ops: Any) -> NDArray[np.float32]:
        """(size, B) of a NumPy view and the positions of :meth:`Decoding.positions`."""
        worlds = view.unfilled.shape[-1]
        # Memory of its own at every replay, if this is recorded.
        out = ops.zeros((self.size, worlds), np.float32)
        for name, part, picked in self._parts:
            value = positions if name == "position" else getattr(view, name)
            if value is None:  # neutral: at its centre
                out[part] = self._centre[part]
            elif picked is not None:
                out[part] = value.reshape((-1, worlds))[picked]
            elif value.ndim > 2:
                out[part].reshape(value.shape)[...] = value
            else:
                out[part] = value
        out -= self._centre
        out *= self._scale
        np.maximum(out, -BOUND, out=out)
        np.minimum(out, BOUND, out=out)
        return out

    def season(self, period: Any) -> Array:
        """(waves, B) sines and cosines of the phase of each season in a period (B,)."""
        return season_waves(period, self.seasons)

    def _torch(self, view: View, positions: Array) -> Any:
        import torch

        worlds, parts = view.unfilled.shape[-1], []
        device = view.unfilled.device
        for name, part, picked in self._parts:
            value = positions if name == "position" else getattr(view, name)
            if value is None:
                value = torch.as_tensor(self._centre[part], device=device).expand(-1, worlds)
            flat = value.reshape((-1, worlds))
            if picked is not None:
                flat = flat[torch.as_tensor(picked, device=device)]
            parts.append(flat.to(torch.float32))
        flat = torch.cat(parts, 0)
        flat = (flat - torch.as_tensor(self._centre, device=device)) * torch.as_tensor(self._scale, device=device)
        return flat.clamp(-BOUND, BOUND).T


def season_periods(scenario: Scenario) -> tuple[float, ...]:
    """Lengths of the seasons of demand and of the cycles of review periods and calendars, ascending."""
    t = scenario.tables
    found = {float(len(pattern)) for pattern in (*t.lane_pattern, *t.node_pattern) if not pattern.all()}
    for processes in scenario.demand_processes.values():
        for process in processes.values():
            if isinstance(process, DemandProcess) and process.family.season is not None:
                found.add(float(process.family.season.period))
    return tuple(sorted(found))


def season_waves(period: Any, lengths: Sequence[float]) -> Any:
    """(2 waves a season, B) sine and cosine of the phase of seasons of these lengths in a period (B,), of any backend."""
    ops = ops_of(period)
    if not lengths:
        return period[None][:0]
    turns = [ops.fmod(period, length) * (2 * np.pi / length) for length in lengths]
    return ops.stack([wave(turn) for turn in turns for wave in (ops.sin, ops.cos)])


def _blocks(scenario: Scenario, decoder: ActionDecoder, seasons: tuple[float, ...]) -> list[Block]:
    """Entries in the order of :class:`ObservationEncoder`'s docstring, and their units."""
    return [
        _position_block(decoder),
        *_stock_blocks(decoder),
        *_availability_blocks(scenario),
        *_demand_blocks(scenario),
        Block(
            "period",
            None,
            np.array([scenario.horizon / 2]),
            np.array([scenario.horizon / 2]),
            lambda: [""],
        ),
        Block(
            "season",
            None,
            np.zeros(2 * len(seasons)),
            np.ones(2 * len(seasons)),
            lambda: [f"[{wave}, {length:g}]" for length in seasons for wave in ("sin", "cos")],
        ),
        _lead_time_block(scenario),
    ]


def _position_block(decoder: ActionDecoder) -> Block:
    t, levels = decoder.tables, decoder.levels
    flow = t.mean_flow.reshape(-1)[decoder.target]
    lane = t.primary_lane[t.lane_target[decoder.lanes], decoder.products]
    lead = np.where(lane >= 0, t.nominal_lead_time[lane], 0)
    later = np.maximum(lead - t.nominal_lead_time[decoder.lanes], 0)  # periods of flow that come too late
    level = np.where(
        decoder.primary,
        levels.echelon.reshape(-1)[decoder.target],
        levels.local.reshape(-1)[decoder.target] - later * flow,
    )
    covered = np.sqrt(t.protection[decoder.lanes])
    unit = np.where(
        decoder.primary,
        levels.deviation.reshape(-1)[decoder.target],
        levels.flow_deviation.reshape(-1)[decoder.target] * covered,
    )
    return Block("position", None, level - flow, _usable(unit), lambda: [f"[{name}]" for name in decoder.names])


def _stock_blocks(decoder: ActionDecoder) -> list[Block]:
    """On hand, in transit, backlog and unfilled."""
    t, levels = decoder.tables, decoder.levels
    ages = np.arange(t.A)
    fresh = ages == t.fresh_class[:, None]  # (P, A)
    lives = np.where(t.shelf_life[:, None] > 0, ages <= t.fresh_class[:, None], fresh)
    supplied = t.is_supplier[t.lane_source] | (t.lane_source < 0)
    lead = np.where(t.primary_lane >= 0, t.nominal_lead_time[np.maximum(t.primary_lane, 0)], 0)
    standing = np.maximum(levels.local - t.mean_flow * lead, 0.5 * t.mean_flow)
    shape = (t.N, t.P, t.A)
    on_hand = _block(
        "on_hand",
        t.stocked[:, :, None] & lives,
        np.broadcast_to((standing / lives.sum(1))[:, :, None], shape),
        np.broadcast_to((levels.flow_deviation * np.sqrt(lead + 1))[:, :, None], shape),
        (t.nodes, t.products, _numbers(t.A) if t.A > 1 else None),
    )
    rows = SlotRows.usable(t)
    lane, target = rows.lane, t.lane_target[rows.lane]
    can = t.lane_carries[lane][:, :, None] & np.where(supplied[lane][:, None, None], fresh, lives)
    primary = t.primary_lane[target] == lane[:, None]  # (M, P)
    classes = np.where(supplied[lane][:, None], 1, lives.sum(1))
    usual = (rows.slot < t.nominal_lead_time[lane] - 1)[:, None]
    flow = primary * usual * t.mean_flow[target] / classes
    deviation = np.maximum(levels.flow_deviation, 0.25 * levels.flow)[target]
    shape = (len(lane), t.P, t.A)
    row_names = tuple(f"{t.lanes[i]}, {k}" for i, k in zip(rows.lane, rows.slot, strict=True))
    in_transit = _block(
        "in_transit",
        can,
        np.broadcast_to(flow[:, :, None], shape),
        np.broadcast_to(deviation[:, :, None], shape),
        (row_names, t.products, _numbers(t.A) if t.A > 1 else None),
    )
    waits = (t.lost_share < 1) & (t.mean_demand > 0) & (t.patience != 0)
    waited = np.arange(t.W)
    counted = np.where(t.patience[..., None] < 0, waited == 0, (waited > 0) & (waited <= t.patience[..., None]))
    shape = (t.C, t.P, t.W)
    backlog = _block(
        "backlog",
        waits[..., None] & counted,
        np.zeros(shape),
        np.broadcast_to(np.maximum(t.demand_sd, 0.25 * t.mean_demand)[..., None], shape),
        (t.customers, t.products, _numbers(t.W) if t.W > 1 else None),
    )
    unfilled = _block("unfilled", t.lane_open, np.zeros((t.L, t.P)), levels.flow[t.lane_target], (t.lanes, t.products))
    return [on_hand, in_transit, backlog, unfilled]


def _availability_blocks(scenario: Scenario) -> list[Block]:
    """Of the nodes and lanes that a disruption can stop."""
    t = scenario.tables
    hit, blocks = disturbed(scenario), []
    for name, entities in (("node_availability", t.nodes), ("lane_availability", t.lanes)):
        mask = hit.get(name, np.zeros(len(entities), dtype=bool))
        blocks.append(_block(name, mask, np.ones(len(mask)), np.ones(len(mask)), (entities,)))
    return blocks


def _demand_blocks(scenario: Scenario) -> list[Block]:
    """Demand history and forecasts, in standard deviations of a period's demand."""
    t = scenario.tables
    deviation = np.where(t.demand_sd > 0, t.demand_sd, 0.25 * t.mean_demand)
    blocks = []
    for name, count in (("demand_history", t.H), ("forecast", t.F)):
        shape = (t.C, t.P, count)
        blocks.append(
            _block(
                name,
                np.broadcast_to((t.mean_demand > 0)[..., None], shape),
                np.broadcast_to(t.mean_demand[..., None], shape),
                np.broadcast_to(deviation[..., None], shape),
                (t.customers, t.products, _numbers(count)),
            )
        )
    return blocks


def _lead_time_block(scenario: Scenario) -> Block:
    t = scenario.tables
    seen = t.lead_time_random & t.quoted
    return _block("lead_time", seen, t.nominal_lead_time.astype(np.float64), np.ones(t.L), (t.lanes,))


def _block(
    name: str,
    kept: NDArray[np.bool_],
    centre: NDArray[np.float64],
    unit: NDArray[np.float64],
    axes: tuple[tuple[str, ...] | None, ...],
) -> Block:
    """The kept entries of one array; ``axes`` names each axis, None where it says nothing."""
    kept = np.array(kept)  # may be a view that keeps a large array alive

    def labels() -> Iterator[str]:
        for place in np.argwhere(kept).tolist():
            yield "[" + ", ".join(axis[i] for axis, i in zip(axes, place, strict=True) if axis is not None) + "]"

    picked = None if kept.all() else np.flatnonzero(kept)
    return Block(name, picked, centre[kept].astype(np.float64), _usable(unit[kept]), labels)


def _numbers(count: int) -> tuple[str, ...]:
    return tuple(str(i) for i in range(count))


def _usable(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """A unit of 0 (nothing varies) is read as 1."""
    return np.where(unit > 0, unit, 1.0)


__all__ = [
    "BOUND",
    "KINDS",
    "ActionDecoder",
    "ActionRange",
    "Block",
    "Decoding",
    "ObservationEncoder",
    "SlotRows",
]
