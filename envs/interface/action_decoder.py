"""Action decoder of learners: numbers in [-1, 1] to requests, one for each open lane and product, 0 being sensible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.backend import Array, NumpyOps, Ops, ops_of, replaced
from ..core.errors import InputError, unknown
from ..core.segments import Segments, members_of
from ..core.typing import Ints
from .automatic_levels import automatic_levels
from .inventory_positions import Accumulator, Forest, Later, Owned, SlotRows, Stock, every_row

if TYPE_CHECKING:
    from ..scenario.scenario import Scenario
    from .observation import Observation

KINDS = ("order_up_to", "order_up_to_local", "proportional", "allocate", "requests")
# What an action is where nobody says: smooth requests, whose effect lasts some periods, are learnt fastest.
DEFAULT_ACTION = "proportional"
# What an action of a saved model is whose file does not say: it was made when this was the default of environments.
UNSTATED_ACTION = "order_up_to"
# Share of the gap to its level that a primary lane closes in a period under ``proportional``.
GAIN = 0.5


class ActionRange(NamedTuple):
    """Meaning of an action a in [-1, 1]: ``centre + a (slope + bend a^2)``, rising in a."""

    centre: NDArray[np.float64]  # (n,) at a = 0
    slope: NDArray[np.float64]  # (n,) a unit of a around 0
    bend: NDArray[np.float64]  # (n,) slope + bend is what a = 1 adds

    def inverse(self, value: Any) -> NDArray[np.float64]:
        """The action of each value (..., n), cut to [-1, 1]: the one real root of the cubic."""
        y = np.asarray(value, dtype=np.float64) - self.centre
        bend = np.maximum(self.bend, 1e-12 * np.maximum(self.slope, 1e-300))
        root = np.sqrt(self.slope / (3 * bend))
        action = 2 * root * np.sinh(np.arcsinh(1.5 * y / (self.slope * root)) / 3)
        return np.clip(action, -1.0, 1.0)


class ActionDecoder:
    """Decoder from actions (B, size) in [-1, 1] to requests (B, L, P); beyond the bounds they are cut.

    Parameters
    ----------
    scenario
        Whose means, deviations, lead times and costs are the units.
    kind
        What an action is, :data:`DEFAULT_ACTION` (``proportional``) where nothing is said:

        ``order_up_to``
            The target of each lane's position: on the primary lane of a node its echelon position, on any
            secondary lane what will be there when the lane delivers. 0 is the automatic level
            (:func:`automatic_levels`), -1 is none, 1 is twice the level (twice the mean demand
            covered where the level is 0); around 0 a step of 1/3 is one standard deviation of the demand covered.
        ``order_up_to_local``
            The same with local positions: stock on hand and in transit, less own customers' backlog and this period's
            requests on outgoing lanes, downstream first.
        ``proportional``
            Levels as in ``order_up_to``, but a primary lane asks for its mean flow and half of what the position lacks
            beyond it: the proportional (generalised) order-up-to policy (Dejonckheere et al., European Journal of
            Operational Research 147(3), 2003). Requests are smoother, which suits lost sales, and the effect of an action
            lasts for some periods, from which learners learn faster.
        ``allocate``
            The share of the source's stock that each primary lane asks for: 0 is the share that carries the mean flow
            when stock stands at its automatic level, 1 is twice that, -1 nothing. From suppliers, whose stock has no
            limit, the target as in ``order_up_to``.
        ``requests``
            Units: 0 is the mean flow of a primary lane, 1 is twice that, -1 nothing. A secondary lane asks for nothing up
            to 0 and for twice its target's mean flow (its capacity, if less) at 1; so it does in ``allocate``.

    Attributes
    ----------
    size : number of actions.
    names : of each action its lane, ``lane/product`` where there are several products.
    range : what the actions stand for, in units, levels or shares.

    Raises
    ------
    InputError
        On another kind, or if the network has no lane that can be requested.

    Example
    -------
    >>> decoder = ActionDecoder(scenario)
    >>> decoder.names
    ('dairy_hub', 'hub_north', 'hub_north_express', 'hub_south', 'north_south', 'south_north')
    >>> requests = decoder.decode(np.zeros((4, decoder.size)), observation)  # (4, L, P) units
    """

    def __init__(self, scenario: Scenario, kind: str = DEFAULT_ACTION) -> None:
        if kind not in KINDS:
            raise unknown("action", kind, KINDS)
        t = scenario.tables
        self.tables, self.kind = t, kind
        self.lanes, self.products = np.nonzero(t.lane_open)
        self.size = len(self.lanes)
        if not self.size:
            raise InputError(f"{t.name}: lanes: expected at least one that can be requested")
        self.names = tuple(
            t.lanes[lane] if t.P == 1 else f"{t.lanes[lane]}/{t.products[p]}"
            for lane, p in zip(self.lanes, self.products, strict=True)
        )
        self.levels = automatic_levels(scenario)
        target = t.lane_target[self.lanes]
        self.primary = t.primary_lane[target, self.products] == self.lanes
        self.target = target * t.P + self.products  # (n,) cells
        self.range, self.leveled = self._ranges()
        self._backends: dict[Any, Decoding] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_backends": {}}  # a copy prepares its own

    def _ranges(self) -> tuple[ActionRange, NDArray[np.bool_]]:
        """What actions stand for, and which of them are levels of a position."""
        t, flat = self.tables, self.levels
        lanes, products, target = self.lanes, self.products, self.target
        flow = flat.flow.reshape(-1)[target]
        local = self.kind == "order_up_to_local"
        node_level = (flat.local if local else flat.echelon).reshape(-1)[target] + self._slower()[target]
        level = np.where(self.primary, node_level, flat.lane[lanes, products])
        covered = np.sqrt(t.protection[lanes]) * flat.flow_deviation.reshape(-1)[target]
        alone = local | ~self.primary
        deviation = np.where(alone, covered, flat.deviation.reshape(-1)[target])
        # At level 0 (a lateral lane, a node that is nobody's first choice) only asking for more makes sense.
        reach = np.where(level > 0, level, 2 * flow * t.protection[lanes])
        slope = np.minimum(3 * deviation, reach)
        if self.kind in ("order_up_to", "order_up_to_local", "proportional"):
            return ActionRange(level, slope, reach - slope), np.ones(self.size, dtype=bool)
        volume = np.maximum(t.volume[products], 1e-12)
        most = np.minimum(2 * flow, t.lane_capacity[lanes] / volume)
        amount = np.where(self.primary, t.mean_flow.reshape(-1)[target], 0.0)
        rise = np.where(self.primary, flow, most)
        if self.kind == "requests":
            return ActionRange(amount, rise, np.zeros(self.size)), np.zeros(self.size, dtype=bool)
        supplied = t.is_supplier[t.lane_source[lanes]]
        leveled = self.primary & supplied
        share = self._steady_share()
        centre = np.where(leveled, level, np.where(self.primary, share, 0.0))
        rise = np.where(leveled, slope, np.where(self.primary, share, rise))
        return ActionRange(centre, rise, np.where(leveled, reach - slope, 0.0)), leveled

    def _slower(self) -> NDArray[np.float64]:
        """(N * P,) units in transit in the mean on needed lanes that the primary lane would bring sooner."""
        t, found = self.tables, np.zeros(self.tables.N * self.tables.P)
        for lane, p in np.argwhere(self.levels.needed > 0):
            target = t.lane_target[lane]
            later = t.nominal_lead_time[lane] - t.nominal_lead_time[t.primary_lane[target, p]]
            found[target * t.P + p] += self.levels.needed[lane, p] * max(later, 0)
        return found

    def _steady_share(self) -> NDArray[np.float64]:
        """(n,) share of the source's stock that a lane's mean flow is of the stock after it was replenished."""
        t = self.tables
        source = t.lane_source[self.lanes]
        lane = t.primary_lane[source, self.products]
        lead = np.where(lane >= 0, t.nominal_lead_time[lane], 0)
        stock = self.levels.local[source, self.products] - t.mean_flow[source, self.products] * lead
        out = np.where(self.primary, t.mean_flow.reshape(-1)[self.target], 0.0)
        total = np.bincount(source * t.P + self.products, weights=out, minlength=t.N * t.P)
        stock = np.maximum(stock, total[source * t.P + self.products])
        return np.asarray(np.where(stock > 0, out / np.where(stock > 0, stock, 1.0), 1.0))

    def decode(self, action: Array, observation: Observation) -> Array:
        """Requests (B, L, P) of actions (B, size), NumPy or torch, as the observation is."""
        ops = ops_of(observation.on_hand)
        decoding = self.on(ops)
        on_hand = ops.moveaxis(observation.on_hand, 0, -1)
        turned = ops.cast(ops.moveaxis(ops.asarray(action), 0, -1), ops.float)
        return ops.moveaxis(decoding(turned, on_hand, self.owned(observation, ops)), -1, 0)

    def owned(self, observation: Observation, ops: Ops) -> Owned:
        """Units that nodes own, as positions are computed from."""
        arrays = (observation.on_hand, observation.in_transit, observation.backlog)
        on_hand, in_transit, backlog = (ops.moveaxis(array, 0, -1) for array in arrays)
        return self.on(ops).stock(on_hand, every_row(in_transit, ops), backlog)

    def on(self, ops: Ops, usable: bool = False) -> Decoding:
        """The decoder's arrays and arithmetic on one backend; ``usable``: on the rows that can hold units only."""
        recorder = id(ops.recording) if isinstance(ops, NumpyOps) and ops.program is not None else 0
        key = (ops.name, str(ops.float), str(getattr(ops, "device", "")), usable, recorder)
        if key not in self._backends:
            rows = SlotRows.usable(self.tables) if usable else SlotRows.every(self.tables)
            self._backends[key] = Decoding(self, ops, rows)
        return self._backends[key]


class Decoding:
    """A decoder on one backend: entity first, batch last."""

    def __init__(self, decoder: ActionDecoder, ops: Ops, rows: SlotRows) -> None:
        t = decoder.tables
        self.ops, self.tables, self.kind, self.size = ops, t, decoder.kind, decoder.size
        self.stock = Stock(t, ops, rows)
        forest = Forest(t)
        self.accumulate = Accumulator(t, forest, ops)
        self.centre, self.slope, self.bend = (ops.constant(part[:, None]) for part in decoder.range)
        self.straight = not decoder.range.bend.any()
        self.needs_positions_alone = decoder.kind in ("order_up_to", "proportional")
        gain = np.where(decoder.primary & (decoder.kind == "proportional"), GAIN, 1.0)
        steady = (1 - gain) * t.mean_flow.reshape(-1)[decoder.target]
        self.gain, self.steady = (ops.constant(part[:, None]) for part in (gain, steady))
        cells = decoder.lanes * t.P + decoder.products
        self.cells = None if self.size == t.L * t.P else ops.index(cells)
        first, further = np.flatnonzero(decoder.primary), np.flatnonzero(~decoder.primary)
        self.first, self.further = ops.index(first), ops.index(further) if len(further) else None
        self.first_targets = ops.index(decoder.target[first])
        self.further_targets = ops.index(decoder.target[further])
        self.later = Later(t, cells[further], ops, rows)
        # What secondary lanes ask for into each cell that has a primary lane counts for that.
        helpers, group = members_of(decoder.target[further], decoder.target[first], t.N * t.P)
        helped, group = np.unique(group, return_inverse=True)
        self.helped = ops.index(helped) if len(helped) else None
        if len(helped):
            self.helpers, self.by_helped = ops.index(helpers), Segments(group, len(helped), ops)
        self.local = _LocalOrder(decoder, forest, ops) if decoder.kind == "order_up_to_local" else None
        if decoder.kind == "allocate":
            source = t.lane_source[decoder.lanes]
            shared = np.flatnonzero(decoder.primary & ~decoder.leveled)
            self.leveled = np.flatnonzero(decoder.leveled)
            self.level_targets = ops.index(decoder.target[self.leveled])
            self.shared = ops.index(shared)
            self.shared_sources = ops.index((source * t.P + decoder.products)[shared])
            self.leveled = ops.index(self.leveled)

    def positions(self, owned: Owned) -> Array:
        """(size, B) position that each action's lane looks at: echelon or local, or expedited on secondary lanes."""
        echelon = self.accumulate(owned.position)
        if self.further is None:
            return echelon[self.first_targets]
        return self._joined(echelon[self.first_targets], self._short(owned))

    def _short(self, owned: Owned) -> Array:
        """(further, B) what will be there when a secondary lane delivers."""
        position = owned.position[self.further_targets]
        return position - self.later(owned.rows) if self.later.any else position

    def _joined(self, first: Array, further: Array) -> Array:
        out = self.ops.zeros((self.size, first.shape[-1]), first.dtype)
        return self.ops.put(self.ops.put(out, self.first, first), self.further, further)

    def target(self, action: Array) -> Array:
        """(size, B) what actions (size, B) stand for."""
        action = self.ops.minimum(self.ops.maximum(action, -1.0), 1.0)
        if self.straight:
            return action * self.slope + self.centre
        return action * (action * action * self.bend + self.slope) + self.centre

    def __call__(self, action: Array, on_hand: Array, owned: Any, positions: Array | None = None) -> Array:
        """Requests (L, P, B) of actions (size, B).

        ``on_hand`` (N, P, A, B) and ``owned`` (:class:`Owned`) are what the observation says; ``positions`` saves
        computing :meth:`positions` again, and where :attr:`needs_positions_alone` ``owned``, too.
        """
        ops, t = self.ops, self.tables
        wanted = self.target(action)
        if self.kind == "requests":
            asked = ops.maximum(wanted, 0)
        elif self.kind == "allocate":
            asked = self._allocated(wanted, on_hand, owned)
        elif self.local is not None:
            asked = self._local(wanted, owned)
        else:
            positions = self.positions(owned) if positions is None else positions
            asked = self._helped(ops.maximum(self._closing(wanted - positions), 0), wanted, positions)
        if self.cells is None:
            return asked.reshape((t.L, t.P, -1))
        requests = ops.zeros((t.L * t.P, asked.shape[-1]), asked.dtype)
        return ops.put(requests, self.cells, asked).reshape((t.L, t.P, -1))

    def _closing(self, gap: Array, *places: Any) -> Array:
        """What is asked for where so much is missing; ``places`` pick the lanes, one after another."""
        if self.kind != "proportional":
            return gap
        gain, steady = self.gain, self.steady
        for place in places:
            gain, steady = gain[place], steady[place]
        return gap * gain + steady

    def _helped(self, asked: Array, wanted: Array, positions: Array) -> Array:
        """Primary lanes ask for what secondary lanes into the same node leave missing."""
        if self.helped is None:
            return asked
        helping = self.by_helped.sum(asked[self.further][self.helpers])
        first = asked[self.first]
        gap = wanted[self.first][self.helped] - positions[self.first][self.helped] - helping
        closed = self.ops.maximum(self._closing(gap, self.first, self.helped), 0)
        return self._joined(replaced(self.ops, first, self.helped, closed), asked[self.further])

    def _allocated(self, wanted: Array, on_hand: Array, owned: Owned) -> Array:
        ops = self.ops
        asked = ops.maximum(wanted, 0)
        stock = ops.total(on_hand, 2).reshape((-1, asked.shape[-1]))
        asked = ops.put(asked, self.shared, asked[self.shared] * stock[self.shared_sources])
        echelon = self.accumulate(owned.position)
        return ops.put(asked, self.leveled, ops.maximum(wanted[self.leveled] - echelon[self.level_targets], 0))

    def _local(self, wanted: Array, owned: Owned) -> Array:
        """Downstream first: what a node's own lanes are asked for lowers its position."""
        assert self.local is not None
        ops = self.ops
        asked = wanted * 0
        if self.further is not None:
            asked = ops.put(asked, self.further, ops.maximum(wanted[self.further] - self._short(owned), 0))
        for items, targets, outgoing, by_target, helpers, by_item in self.local.levels:
            gap = wanted[items] - owned.position[targets]
            if outgoing is not None:
                gap = gap + by_target.sum(asked[outgoing])
            if helpers is not None:
                gap = gap - by_item.sum(asked[helpers])
            asked = ops.put(asked, items, ops.maximum(gap, 0))
        return asked


class _LocalOrder:
    """Primary lanes by depth, deepest first, with the lanes out of and the secondary lanes into their targets."""

    def __init__(self, decoder: ActionDecoder, forest: Forest, ops: Ops) -> None:
        t = decoder.tables
        source = t.lane_source[decoder.lanes] * t.P + decoder.products
        into = np.where(decoder.primary, -1, decoder.target)
        depth = forest.depth[decoder.target]
        self.levels: list[tuple[Any, Any, Any, Any, Any, Any]] = []
        for number in range(int(depth.max(initial=0)), 0, -1):
            items = np.flatnonzero(decoder.primary & (depth == number))
            if not len(items):
                continue
            targets = decoder.target[items]
            found, by_target = _grouped(members_of(source, targets, t.N * t.P), len(targets), ops)
            helpers, by_item = _grouped(members_of(into, targets, t.N * t.P), len(targets), ops)
            self.levels.append((ops.index(items), ops.index(targets), found, by_target, helpers, by_item))


def _grouped(members: tuple[Ints, Ints], count: int, ops: Ops) -> tuple[Any, Segments | None]:
    """Index of members one after another, and their groups; None where there are none."""
    found, group = members
    if not len(found):
        return None, None
    return ops.index(found), Segments(group, count, ops)
