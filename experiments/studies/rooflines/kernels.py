"""The kernels of rooflines, filled with the numbers of the scenario that they are written for."""

from __future__ import annotations

import ctypes
import math
import platform
from typing import Any, ClassVar

import numpy as np

from echelongym.envs.compiler.c_compiler import library
from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.dynamics import Dynamics
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.tape import Tape

from . import chain_source, lost_sales_source, production_source, warehouse_source

#: What the package's own code may not: contracted and reordered where results of positive numbers stay what they are.
#: Not -ffast-math, which would change how the whole process treats tiny numbers.
_FLAGS = (
    "-O3",
    "-ffp-contract=fast",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-ffinite-math-only",
    "-fassociative-math",
)
_MOST = 16  # periods of lead time that a kernel has room for
_WIDE = ("-mprefer-vector-width=512",)


def _loaded(text: str) -> ctypes.CDLL:
    wide = _WIDE if platform.machine() in ("x86_64", "AMD64") else ()
    return library(text, hold=False, more=(*_FLAGS, *wide))


def _pointer(array: Any) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)


def _opening(scenario: Scenario) -> tuple[Floats, list[Floats]]:
    """Stock (N, P) at the start, and each lane's ring (_MOST, P): units by the period, modulo lead time, they are due in."""
    t = scenario.tables
    dynamics = Dynamics(t)
    state = dynamics.initial(1)
    under_way = dynamics.in_transit(state)[:, :, :, 0, 0]  # (L, P, K), slot k dispatched k + 1 periods ago
    rings = []
    for lane, lead in enumerate(t.nominal_lead_time):
        ring = np.zeros((_MOST, t.P))
        for slot in range(int(lead) - 1):
            ring[lead - slot - 1] = under_way[lane, :, slot]
        rings.append(ring)
    return np.asarray(state.on_hand[:, :, 0, 0], dtype=np.float64), rings


def _alias(chances: Floats, bits: int) -> tuple[Ints, Ints]:
    """Walker's alias table: of each cell the chance to be itself, as a whole number of so many bits, and its alias."""
    size = len(chances)
    scaled, alias = chances / chances.sum() * size, np.arange(size)
    small, large = [i for i in range(size) if scaled[i] < 1], [i for i in range(size) if scaled[i] >= 1]
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = high
        scaled[high] -= 1 - scaled[low]
        if scaled[high] < 1:
            small.append(large.pop())
    return np.minimum(np.rint(np.clip(scaled, 0, 1) * 2.0**bits), 2.0**bits - 1).astype(np.int64), alias


def _poisson(mean: float, cells: int) -> Floats:
    return np.array([math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(cells)])


class WarehouseKernel:
    """One warehouse and its stores under echelon base-stock levels.

    Parameters
    ----------
    scenario
        ``one_warehouse``, or another one of the same form: one product, a supplier, a warehouse that all stores are supplied
        from, lost sales, normal demand with one correlation between all.
    levels
        (1 + stores,) echelon level of the warehouse, and those of the stores.
    dtype
        ``float32`` or ``float64``.
    """

    def __init__(self, scenario: Scenario, levels: Floats, dtype: type[Any] = np.float64) -> None:
        t = scenario.tables
        self.scenario, self.dtype, self.stores = scenario, dtype, t.C
        leads = ", ".join(str(int(lead)) for lead in t.nominal_lead_time)
        real = "float" if dtype is np.float32 else "double"
        head = f"#define REAL {real}\n#define STORES {t.C}\n#define LEADS {{{leads}}}\n"
        self._library = _loaded(head + warehouse_source.SOURCE)
        self._library.play.restype = self._library.differentiate.restype = ctypes.c_double
        self.width = int(self._library.width())
        stock, rings = _opening(scenario)
        demand = [one.demand for one in scenario.customers.values()]
        mean, deviation = ([float(one[key]) for one in demand] for key in ("mean", "standard_deviation"))
        common = float(scenario.to_dict()["correlation"]["demand"])
        holding, lost = t.holding_cost[1:, 0], t.lost_sale_cost[:, 0]
        parts = [levels, holding, lost, mean, deviation, stock[1:], *rings, [common]]
        self._numbers = np.concatenate([np.asarray(part, dtype=np.float64).ravel() for part in parts]).astype(dtype)
        self._trails: Any = None

    def packed(self, tape: Tape) -> Any:
        """The demand of a tape as the kernel reads it: blocks of worlds, then periods, stores and worlds of a block."""
        history = len(tape.demand) - tape.periods
        demand = np.asarray(tape.demand[history:, :, :, 0], dtype=self.dtype)  # (T, B, C)
        blocks = demand.reshape(tape.periods, -1, self.width, self.stores)
        return np.ascontiguousarray(blocks.transpose(1, 0, 3, 2))

    def costs(self, worlds: int, periods: int, skipped: int, seed: int = 0, tape: Any = None) -> Floats:
        """(worlds,) cost a period; worlds are a multiple of ``width``, drawn or those of a packed tape."""
        found = np.empty(worlds, self.dtype)
        self._play(worlds, periods, skipped, seed, tape, found)
        return found.astype(np.float64) / (periods - skipped)

    def play(self, worlds: int, periods: int, skipped: int, seed: int = 0, tape: Any = None) -> float:
        """Mean cost a period."""
        return float(self._play(worlds, periods, skipped, seed, tape, None)) / (worlds * (periods - skipped))

    def _play(self, worlds: int, periods: int, skipped: int, seed: int, tape: Any, found: Any) -> float:
        numbers = (_pointer(self._numbers), *map(ctypes.c_long, (worlds, periods, skipped)), ctypes.c_uint64(seed))
        return float(self._library.play(*numbers, _pointer(tape), _pointer(found)))

    def gradient(
        self, worlds: int, periods: int, skipped: int, seed: int = 0, tape: Any = None
    ) -> tuple[float, Floats]:
        """Mean cost a period, and its gradient (1 + stores,) in the levels."""
        bytes_in_all = periods * int(self._library.trail_bytes())
        if self._trails is None or self._trails.nbytes < bytes_in_all:
            self._trails = np.zeros(bytes_in_all, np.uint8)
        slopes = np.zeros(self.stores + 1)
        numbers = (_pointer(self._numbers), *map(ctypes.c_long, (worlds, periods, skipped)), ctypes.c_uint64(seed))
        cost = self._library.differentiate(*numbers, _pointer(tape), _pointer(self._trails), _pointer(slopes))
        counted = worlds * (periods - skipped)
        return float(cost) / counted, slopes / counted


class LostSalesKernel:
    """One store with lost sales and Poisson demand under a base-stock level, in whole units (``lost_sales``)."""

    _CELLS: ClassVar[int] = 32

    def __init__(self, scenario: Scenario, level: int) -> None:
        t = scenario.tables
        lead = int(t.nominal_lead_time[0])
        self._library = _loaded(f"#define LEAD {lead}\n" + lost_sales_source.SOURCE)
        self._library.play.restype = None
        self.width = int(self._library.width())
        stock, rings = _opening(scenario)
        demand = next(iter(scenario.customers.values())).demand
        chance, alias = _alias(_poisson(float(demand["mean"]), self._CELLS), 27)
        parts = [[level], stock[1], rings[0][:lead, 0], chance, alias]
        self._numbers = np.concatenate([np.asarray(part, dtype=np.int64) for part in parts]).astype(np.int32)
        self._holding, self._lost = float(t.holding_cost[1, 0]), float(t.lost_sale_cost[0, 0])

    def packed(self, tape: Tape) -> Any:
        """The demand of a tape as the kernel reads it: blocks of worlds, then periods and worlds of a block."""
        history = len(tape.demand) - tape.periods
        demand = np.asarray(tape.demand[history:, :, 0, 0], dtype=np.int16)
        return np.ascontiguousarray(demand.reshape(tape.periods, -1, self.width).transpose(1, 0, 2))

    def play(self, worlds: int, periods: int, skipped: int, seed: int = 0, tape: Any = None) -> float:
        """Mean cost a period; worlds are a multiple of ``width``, drawn or those of a packed tape."""
        sums = np.zeros(2, np.int64)
        numbers = (_pointer(self._numbers), *map(ctypes.c_long, (worlds, periods, skipped)), ctypes.c_uint64(seed))
        self._library.play(*numbers, _pointer(tape), _pointer(sums))
        cost = self._holding * float(sums[0]) + self._lost * float(sums[1])
        return cost / (worlds * (periods - skipped))


class ProductionKernel:
    """OR-Gym's network with its parameters (``production_network``) under requests given beforehand.

    Parameters
    ----------
    requests
        (rows, lanes) units, which the periods of all worlds take in turn.
    """

    _CELLS: ClassVar[int] = 64

    def __init__(self, scenario: Scenario, requests: Floats) -> None:
        t = scenario.tables
        self._library = _loaded(production_source.SOURCE)
        self._library.play.restype = ctypes.c_double
        stock, _ = _opening(scenario)
        suppliers = len(stock) - 6
        by_unit = (t.purchase_cost + t.lane_transport_cost)[:, 0]
        numbers = [stock[suppliers:, 0], t.node_capacity[suppliers : suppliers + 3], t.holding_cost[suppliers:, 0]]
        numbers += [by_unit, t.in_transit_cost[:, 0], t.backorder_cost[:, 0], t.price[:, 0]]
        demand = next(iter(scenario.customers.values())).demand
        table = _alias(_poisson(float(demand["mean"]), self._CELLS), 32)
        parts = [np.concatenate(numbers, dtype=np.float64).view(np.uint8), *(one.view(np.uint8) for one in table)]
        self._numbers = np.concatenate(parts)
        self._requests = np.ascontiguousarray(requests, dtype=np.float64)

    def costs(self, worlds: int, periods: int, seed: int = 0, tape: Tape | None = None) -> Floats:
        """(worlds,) cost less revenue a period, of worlds drawn or those of a tape."""
        found = np.empty(worlds)
        demand = None
        if tape is not None:
            history = len(tape.demand) - tape.periods
            demand = np.ascontiguousarray(np.asarray(tape.demand[history:, :, 0, 0], dtype=np.float64).T)
        self._library.play(
            _pointer(self._numbers), ctypes.c_long(worlds), ctypes.c_long(periods), _pointer(self._requests),
            ctypes.c_long(len(self._requests)), ctypes.c_uint64(seed), _pointer(demand), _pointer(found),
        )  # fmt: skip
        return found / periods


class ChainKernel:
    """A chain of echelons under echelon base-stock levels, with many products in a storage that they share.

    Parameters
    ----------
    scenario
        A scenario that :func:`.large.chain` makes.
    levels
        (echelons, products) echelon levels.
    dtype
        ``float32`` or ``float64``.
    """

    _BLOCK: ClassVar[int] = 64
    _CELLS: ClassVar[int] = 32
    _LONGEST: ClassVar[int] = 4

    def __init__(self, scenario: Scenario, levels: Floats, dtype: type[Any] = np.float64) -> None:
        t = scenario.tables
        leads = ", ".join(str(int(lead)) for lead in t.nominal_lead_time)
        real = "float" if dtype is np.float32 else "double"
        head = f"#define REAL {real}\n#define ECHELONS {t.L}\n#define LEADS {{{leads}}}\n"
        self._library = _loaded(head + chain_source.SOURCE)
        self._library.play.restype = ctypes.c_double
        self.dtype, self._asked, self.products = dtype, t.P, -(-t.P // self._BLOCK) * self._BLOCK
        stock, rings = _opening(scenario)
        self._levels, self._stock = self._filled(levels), self._filled(stock[1:])
        self._under_way = self._filled(np.stack(rings)[:, : self._LONGEST])
        numbers = [t.holding_cost[1:, 0], t.storage_capacity[1:], t.overflow_cost[1:], t.lost_sale_cost[0, :1]]
        demand = next(iter(scenario.customers.values())).demand
        table = (one.astype(np.uint32) for one in _alias(_poisson(float(demand["mean"]), self._CELLS), 27))
        parts = [np.concatenate(numbers, dtype=np.float64).view(np.uint8), *(one.view(np.uint8) for one in table)]
        self._numbers = np.concatenate(parts)

    def _filled(self, array: Any) -> Any:
        """An array (..., products) filled up with products that nobody asks for and nobody stocks."""
        width = [(0, 0)] * (array.ndim - 1) + [(0, self.products - array.shape[-1])]
        return np.ascontiguousarray(np.pad(array, width), dtype=self.dtype)

    def packed(self, tape: Tape) -> Any:
        """The demand of a tape as the kernel reads it: (worlds, periods, products)."""
        history = len(tape.demand) - tape.periods
        return self._filled(np.asarray(tape.demand[history:, :, 0, :]).transpose(1, 0, 2))

    def costs(self, worlds: int, periods: int, skipped: int, seed: int = 0, tape: Any = None) -> Floats:
        """(worlds,) cost a period, of worlds drawn or those of a packed tape.

        Raises
        ------
        MemoryError
            If there is not enough of it.
        """
        found = np.empty(worlds)
        sizes = map(ctypes.c_long, (worlds, periods, skipped))
        arrays = map(_pointer, (self._levels, self._stock, self._under_way))
        done = self._library.play(
            _pointer(self._numbers), ctypes.c_long(self.products), ctypes.c_long(self._asked), *arrays,
            *sizes, ctypes.c_uint64(seed), _pointer(tape), _pointer(found),
        )  # fmt: skip
        if done < 0:
            raise MemoryError(f"{self.products} products")
        return found / (periods - skipped)
