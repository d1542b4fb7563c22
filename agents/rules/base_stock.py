"""Base-stock rules: every lane raises a position to a level; local or echelon, with or without a cap per lane."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from echelongym.envs.core.backend import NUMPY, Array, Ops, half_up, ops_of
from echelongym.envs.core.errors import expected
from echelongym.envs.core.typing import Bools, Floats
from echelongym.envs.interface.automatic_levels import automatic_levels
from echelongym.envs.interface.inventory_positions import Accumulator, Forest, Owned, Stock, cover
from echelongym.envs.interface.observation import Decision, Observation, Policy
from echelongym.envs.rollout.recordable import Recordable

from .allocation import cut_to_shares, lent, step_positions
from .needed_lanes import asked_at_most, levels_after_primary
from .request_order import (
    Cells,
    Shift,
    Step,
    StepNumbers,
    is_lateral,
    is_numbers,
    numbers_of,
    plan_steps,
    rows_of,
    with_arrays,
)
from .rule import Group, Rule

ALLOCATIONS = ("proportional", "equalise", "marginal")
ORDER_TIMINGS = ("before_shipping", "after_shipping")
ALIASES = {"fair_share": "proportional", "equal_fractile": "equalise"}


class _Plan:
    """What a rule computes with on one backend: index arrays of its steps, and their numbers once known."""

    def __init__(self, rule: BaseStock, ops: Ops) -> None:
        t, forest = rule.tables, rule.forest
        self.stock = Stock(t, ops, rows_of(t))
        self.accumulate = Accumulator(t, forest, ops) if rule.echelon else None
        self.steps = plan_steps(
            t, forest, rule.used, rule.echelon, ops, rule.full, rule.order_timing == ORDER_TIMINGS[0]
        )
        self.spread = ops.constant(rule.spread[:, None])
        self.wanted: list[Any] = [None] * len(self.steps)
        if rule.allocation == "marginal":
            self.wanted = [step_positions(t, forest, rule.echelon, rule.spread, step, ops) for step in self.steps]


class BaseStock(Rule):
    """Base-stock rule: every period, each lane requests what its target's position lacks of a level.

    *Primary lane* of a node: request = max(level - position, 0), the position as in the contract. Local: stock and
    all in transit, less the backlog of the node's own customers and this period's requests on its outgoing lanes,
    computed downstream first. Echelon: stock of the node and its primary descendants and all in transit into them,
    less the backlog of customers whose first source is among them.

    *Every secondary lane* has a position of its own, the expedited inventory position: what the target itself owns,
    less what arrives later than the lane would bring it (nominal lead times). Faster lanes ask first, and what they ask
    counts for slower ones: for one store with a slow and a fast source this is the dual-index rule (Veeraraghavan and
    Scheller-Wolf, Operations Research 56(4), 2008), with a cap on the slow lane the capped one. A lateral lane (from a
    stock node that is not above its target) besides asks for no more than its source has above ``keep_levels``.
    Secondary lanes without a level are not used.

    Parameters
    ----------
    levels
        Units by node (and product); left out: :func:`echelongym.envs.interface.automatic_levels.automatic_levels`.
    express_levels, lateral_levels
        Units by secondary lane (and product); left out or None: the lane is not used (but see :meth:`with_needed`).
    keep_levels
        Units on hand, less backlog, that a node with lateral lanes keeps for itself, by node (and product); left out:
        its mean flow over its primary lead time and one period. Lateral lanes share what is above in proportion.
    caps
        Most units a lane asks for in a period, by lane (and product); left out: none. Capped rules only.
    allocation
        How stock of a node that cannot fill all requests on primary lanes is shared. ``proportional`` (or
        ``fair_share``): the network shares it in proportion to requests. ``equalise`` (or ``equal_fractile``): requests
        are cut so that the shortfalls left, in standard deviations of demand over the target's position, are level.
        ``marginal``: requests are cut so that each unit goes where the newsvendor cost expected falls most.
    """

    echelon: bool  # whether primary lanes look at echelon positions
    capped: ClassVar[bool] = False
    full: ClassVar[bool] = False  # whether lanes from above all look at the primary lane's position, nothing left out
    primary_group: ClassVar[str] = "levels"  # what primary lanes raise positions to
    further_groups: ClassVar[tuple[str, ...]] = ("express_levels", "lateral_levels")  # a number here: the lane is used
    order_timing: str = "after_shipping"  # whether positions count this period's requests on outgoing lanes
    shifts: ClassVar[bool] = False  # whether levels move with what is observed, see _shift
    learned: Callable[[Observation], Shift] | None = None  # what a learner adds to levels and caps

    def __init__(self, scenario: Any, **parameters: Any) -> None:
        self.allocation = "proportional"
        self.used: Bools = np.zeros(0, dtype=bool)  # (L * P,) lane cells that ask at all
        self.most: Floats = np.zeros(0)  # (L * P,) units that each asks for at most, see asked_at_most
        self._plans: dict[tuple[str, ...], _Plan] = {}
        super().__init__(scenario, **parameters)
        self._reset()

    def with_needed(self) -> Self:
        """See :meth:`Rule.with_needed`."""
        automatic = ~self._given[self.primary_group][self._cells.target]
        chosen = (self._cells.auto.needed.reshape(-1) > 0) & automatic & ~self._given["express_levels"]
        chosen &= ~np.isfinite(np.asarray(self.values["express_levels"]))
        if not chosen.any():
            return self
        level = self.groups["express_levels"].start
        level = np.rint(level) if self.tables.integer else level
        other = copy.copy(self)
        other.values = self.values | {"express_levels": np.where(chosen, level, self.values["express_levels"])}
        other._reset()
        return other

    def _options(self) -> tuple[str, ...]:
        return ("allocation",)

    def _set_options(self, options: dict[str, Any]) -> None:
        self.allocation = options.get("allocation", self.allocation)
        if isinstance(self.allocation, str):
            self.allocation = ALIASES.get(self.allocation, self.allocation)
        if not isinstance(self.allocation, str) or self.allocation not in ALLOCATIONS:
            raise expected(f"{self.name} allocation", self.allocation, " or ".join((*ALLOCATIONS, *ALIASES)))

    def _get_options(self) -> dict[str, Any]:
        return {"allocation": self.allocation}

    def _make_groups(self) -> list[Group]:
        t = self.tables
        self.forest = forest = Forest(t)
        auto = automatic_levels(self.scenario)
        spread = auto.deviation if self.echelon else np.maximum(cover(t, forest, False)[1], auto.flow_deviation)
        self.spread = spread.reshape(-1)
        round_up = np.rint if t.integer else np.asarray
        level = np.asarray(round_up(auto.echelon if self.echelon else auto.local)).reshape(-1)
        fed = forest.primary >= 0
        flow, flow_spread = auto.flow.reshape(-1), auto.flow_deviation.reshape(-1)
        # By lane cell: its target and source, and whether it is a secondary lane or even a lateral one.
        lanes, products = np.divmod(np.arange(t.L * t.P), t.P)
        target = t.lane_target[lanes] * t.P + products
        source = t.lane_source[lanes] * t.P + products
        opened = t.lane_open.reshape(-1)
        further = opened & (forest.primary[target] != np.arange(t.L * t.P))
        lateral = further & np.array([is_lateral(t, forest, cell) for cell in range(t.L * t.P)], dtype=bool)
        lends = np.zeros(t.N * t.P, dtype=bool)
        lends[source[lateral]] = True
        keep = np.asarray(round_up(cover(t, forest, False)[0])).reshape(-1)
        never = np.full(t.L * t.P, -np.inf)
        short = levels_after_primary(t, forest, auto)
        groups = [
            Group(self.primary_group, t.nodes, fed, np.where(fed, level, -np.inf), level, self.spread),
            Group("express_levels", t.lanes, further & ~lateral, never, short, flow_spread[target]),
            Group("lateral_levels", t.lanes, lateral, never, short, flow_spread[target]),
            Group("keep_levels", t.nodes, lends, keep, flow + flow_spread, flow_spread),
        ]
        if self.capped:
            start = (flow + 1.5 * flow_spread)[target]
            groups.append(Group("caps", t.lanes, opened, -never, start, flow_spread[target], 0.0))
        cells = self._cells = Cells(auto, target, source, opened, further, lateral, fed, flow, flow_spread)
        return groups + self._more_groups(cells)

    # What subclasses add -------------------------------------------------------------------------

    def _more_groups(self, cells: Cells) -> list[Group]:
        """Further groups, by node or by lane."""
        return []

    def _constants(self, ops: Ops) -> dict[str, Any]:
        """What ``_shift`` and ``_reserve`` compute with on one backend; made once, and anew for other parameters."""
        return {}

    def _shift(self, observation: Observation, constants: dict[str, Any], ops: Ops) -> Shift:
        """What is added to levels now; classes that say anything set ``shifts``. Rounded where units are whole."""
        return Shift()

    def _ask(self, step: Step, numbers: StepNumbers, gap: Array, owned: Owned, ops: Ops) -> Array:
        """(n, B) units asked for, before what sources keep and caps; ``gap`` (n, B) is level less position."""
        return ops.maximum(gap, 0)

    def _sharable(self, on_hand: Array, constants: dict[str, Any], ops: Ops) -> Array:
        """(N, P, B) units that lanes may take, of ``on_hand`` (N, P, A, B)."""
        return ops.total(on_hand, 2)

    def _reserve(self, observation: Observation, constants: dict[str, Any], ops: Ops) -> Array | None:
        """(B, S, P) units that each pair leaves on hand, None for none."""
        return None

    # ---------------------------------------------------------------------------------------------

    def _free(self, group: str) -> Bools:
        """Caps only of lanes that are used or may be."""
        free = super()._free(group)
        if group == "caps":
            free &= self.used | np.any([self._free(name) for name in self.further_groups], axis=0)
        return free

    def _reset(self) -> None:
        primary = self.forest.primary
        used = np.zeros(self.tables.L * self.tables.P, dtype=bool)
        used[primary[primary >= 0]] = True
        for name in self.further_groups:
            values = self.values[name]
            # Not known yet: the lanes in use are those of what the vector stands for.
            if ops_of(values).name in ("jax", "symbols"):
                used = self.used
            elif isinstance(values, np.ndarray):
                used |= np.isfinite(values)
            else:
                used |= values.detach().cpu().isfinite().numpy()
        if not np.array_equal(used, self.used):
            self.used, self.most = used, asked_at_most(self.tables, self.forest, used)
            self._plans = {}
        self._numbers: dict[tuple[str, ...], list[StepNumbers]] = {}
        self._made: dict[tuple[str, ...], dict[str, Any]] = {}  # see _constants

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P)."""
        t = self.tables
        ops = ops_of(observation.on_hand)
        key = (ops.name, str(observation.on_hand.dtype), str(getattr(observation.on_hand, "device", "")))
        if key not in self._numbers:
            self._prepare(key, observation.on_hand.dtype, ops)
        plan, numbers = self._plans[key], self._numbers[key]
        standing = ops.moveaxis(observation.on_hand, 0, -1)
        under_way = ops.moveaxis(ops.moveaxis(observation.in_transit, 0, -1), 2, 1)  # (L, K, P, A, B)
        rows = under_way.reshape((-1, *under_way.shape[2:]))
        owned = plan.stock(standing, rows, ops.moveaxis(observation.backlog, 0, -1))
        own = owned.position
        position = own if plan.accumulate is None else plan.accumulate(own)
        shift = Shift()
        if self.shifts:
            shift = self._shift(observation, self._made[key], ops)
            if standing.dtype == ops.int:
                shift = Shift(*(None if units is None else ops.to_int(half_up(units, ops)) for units in shift))
        if self.learned is not None:
            shift = shift.plus(self.learned(observation))
        requests = None
        for step, number, wanted in zip(plan.steps, numbers, plan.wanted, strict=True):
            looked_at = position if step.primary or (self.full and not step.lateral) else own
            request = self._asked(step, number, looked_at, owned, shift, ops)
            asked = request
            if step.lends_again:
                owned = owned._replace(standing=step.left(owned.standing, request))
            if step.followed:
                own = step.moved(own, request)
                position = own if plan.accumulate is None else plan.accumulate(own)
            if step.scarce is not None and self.allocation != "proportional":
                looked_at = looked_at if shift.demand is None else looked_at - shift.demand
                stock = self._sharable(standing, self._made[key], ops)
                asked = cut_to_shares(step, request, stock, requests, plan.spread, looked_at, wanted, ops)
            if not step.all_lanes:
                others = ops.zeros((t.L * t.P, asked.shape[-1]), asked.dtype) if requests is None else requests
                asked = ops.put(others, step.lanes, asked)
            requests = asked
        if requests is None:
            requests = ops.zeros((t.L * t.P, standing.shape[-1]), standing.dtype)
        reserve = self._reserve(observation, self._made[key], ops)
        return Decision(ops.moveaxis(requests.reshape((t.L, t.P, -1)), -1, 0), reserve)

    def recordable(self, dtype: Any) -> Recordable | None:
        """See :meth:`Rule.recordable`; None where a learner adds to the numbers."""
        if not self.pure or self.learned is not None or not all(map(is_numbers, self.values.values())):
            return None
        key = (NUMPY.name, str(dtype), "")
        if key not in self._numbers:
            self._prepare(key, dtype, NUMPY)
        mine: dict[str, Array] = {}
        with_arrays(self._numbers[key], self._made[key], mine.setdefault)
        shapes = tuple((name, array.shape, str(array.dtype)) for name, array in mine.items())
        structure = (type(self), self.tables, self._settled(), self.used.tobytes(), tuple(self._made[key]), shapes)

        def on(ops: Ops) -> Callable[[Sequence[Array]], Policy]:
            own, there = copy.copy(self), (ops.name, *key[1:])
            own._forget()
            own._prepare(there, dtype, ops)

            def recorded(numbers: Sequence[Array]) -> Policy:
                given = dict(zip(mine, numbers, strict=True))
                swapped = with_arrays(own._numbers[there], own._made[there], lambda name, _: given[name])
                own._numbers[there], own._made[there] = swapped
                return own

            return recorded

        return Recordable(structure, list(mine.values()), on)

    def _forget(self) -> None:
        """Drop what was made for a backend."""
        self._plans, self._numbers, self._made = {}, {}, {}

    def _asked(self, step: Step, numbers: StepNumbers, position: Array, owned: Owned, shift: Shift, ops: Ops) -> Array:
        """(n, B) units that the lanes of a step ask for."""
        gap = numbers.level - position[step.targets]
        if step.later is not None:
            gap = gap + step.later(owned.rows)
        if step.primary and shift.nodes is not None:
            gap = gap + shift.nodes[step.targets]
        elif not step.primary and shift.lanes is not None:
            gap = gap + shift.lanes[step.lanes]
        request = self._ask(step, numbers, gap, owned, ops)
        if numbers.keep is not None:
            surplus = ops.maximum(owned.standing[step.limited] - numbers.keep, 0)
            request = lent(ops, request, surplus, step.by_source)
        if numbers.cap is not None:
            cap = numbers.cap if shift.caps is None else ops.maximum(numbers.cap + shift.caps[step.lanes], 0)
            request = ops.minimum(request, cap)
        return request

    def _prepare(self, key: tuple[str, ...], dtype: Any, ops: Ops) -> None:
        if dtype not in (ops.int, ops.float):
            ops = type(ops)(dtype)
        if key not in self._plans:
            self._plans[key] = _Plan(self, ops)
        self._numbers[key] = numbers_of(self, self._plans[key].steps, ops, dtype)
        self._made[key] = self._constants(ops)


class LocalBaseStock(BaseStock):
    """Base-stock control of every node by its own position.

    Parameters
    ----------
    order_timing
        ``after_shipping``: positions are less this period's requests on outgoing lanes, so that what is shipped is ordered
        at once. ``before_shipping``: they are not, and it is ordered a period later, as where a warehouse orders before it
        knows what it will ship (Gijsbrechts, Boute, Van Mieghem and Zhang, Manufacturing & Service Operations Management
        24(3), 2022).
    """

    name = "local_base_stock"
    pure = True
    echelon = False

    def _options(self) -> tuple[str, ...]:
        return (*super()._options(), "order_timing")

    def _set_options(self, options: dict[str, Any]) -> None:
        super()._set_options(options)
        self.order_timing = options.get("order_timing", self.order_timing)
        if self.order_timing not in ORDER_TIMINGS:
            raise expected(f"{self.name} order_timing", self.order_timing, " or ".join(ORDER_TIMINGS))

    def _get_options(self) -> dict[str, Any]:
        usual = self.order_timing == LocalBaseStock.order_timing
        return super()._get_options() | ({} if usual else {"order_timing": self.order_timing})


class CappedLocalBaseStock(LocalBaseStock):
    """Local base-stock with a cap on what each lane asks for in a period (Xin, Operations Research 69(1), 2021)."""

    name = "capped_local_base_stock"
    pure = True
    capped = True


class EchelonBaseStock(BaseStock):
    """Base-stock control of every node by the position of its echelon (Clark and Scarf 1960)."""

    name = "echelon_base_stock"
    pure = True
    echelon = True


class CappedEchelonBaseStock(BaseStock):
    """Echelon base-stock with a cap on what each lane asks for in a period (Xin, Operations Research 69(1), 2021)."""

    name = "capped_echelon_base_stock"
    pure = True
    echelon = True
    capped = True
