"""Rollouts under JAX: policy, dynamics, costs and indicators of all periods as one program, on the CPU or a GPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..accounts.kpis import KpiAccumulator, windows
from ..accounts.ledger import Ledger
from ..compiler.xla_compiler import compiled
from ..core.backend import Array
from ..core.devices import chosen_device
from ..core.errors import InputError
from ..core.jax_backend import JaxOps
from ..core.named_tuples import mapped
from ..dynamics import Exogenous, Flows, State
from ..dynamics.playback import unusual_lead_times
from ..interface.observation import Policy
from ..network.tables import Tables
from ..worlds.memory import state_bytes
from ..worlds.tape import Tape
from .rollout import Sums
from .scan import Scan, whole_numbers
from .tape_part import parts
from .traced_kpis import TracedKpis
from .xla_policy import PolicyArrays, TracedPolicy, cannot_trace, filled_up, policy_arrays, recorded_of

if TYPE_CHECKING:
    from ..scenario.scenario import Scenario

#: Programs that are kept.
KEPT = 16
#: Most worlds that run together, by platform: as many as stay in the cache of a processor, as many as fill a GPU.
TOGETHER = {"cpu": 256}
MOST_TOGETHER, LEAST_TOGETHER = 65_536, 16
#: Share of a GPU's memory that worlds may take, and copies of a period's state that may be needed at the same time.
SHARE, COPIES = 0.4, 12


class XlaRollout:
    """A policy over tapes of one form, as a program that is compiled when it is first run.

    Parameters
    ----------
    scenario
        What is simulated.
    policy
        Recordable, or without memory; recordable policies share one program for all numbers that they may have.
    tape
        The first one; it has been checked.
    dtype
        Floating type of continuous worlds.
    kpis
        Whether key performance indicators are wanted.
    worlds
        That run together.

    Raises
    ------
    InputError
        If the policy has memory that it cannot hand over, or does something that JAX cannot trace.
    """

    def __init__(self, scenario: Scenario, policy: Policy, tape: Tape, dtype: Any, kpis: bool, worlds: int) -> None:
        t = scenario.tables
        self.scenario, self.tables, self.worlds, self.periods = scenario, t, worlds, tape.periods
        self.scan = Scan(scenario, worlds, tape.periods, JaxOps(dtype), unusual_lead_times(t, tape.exogenous))
        ops = self.scan.ops
        self.wide = JaxOps()
        self.ledger = Ledger(t, ops)
        self.within = windows(scenario)
        self.kpis = TracedKpis(t, ops, self.within, tape.periods - t.warm_up) if kpis else None
        self._policy = TracedPolicy(policy, t, worlds, ops)
        self._program: Any = None

    def run(self, policy: Policy, tape: Tape, progress: Callable[[int, int], None] | None = None) -> Sums | None:
        """All periods of all worlds; None if the policy decides what does not fit.

        Parameters
        ----------
        policy
            As the one that the rollout was made for, perhaps with other numbers.
        tape
            As the one that the rollout was made for, perhaps with other worlds.
        progress
            Called once for each period, with (periods done, periods in all).
        """
        t, told = self.tables, 0
        lines = {line: np.zeros(tape.batch) for line in self._lines}
        before = np.zeros(tape.batch)
        whole = KpiAccumulator(t, tape.batch, self.within, t.warm_up) if self.kpis is not None else None
        with whole_numbers():
            for (start, stop), arguments in zip(
                parts(tape.batch, self.worlds), self.arguments(policy, tape), strict=True
            ):
                found = as_numpy(self.program(arguments)(*arguments))
                mine = slice(0, stop - start)
                if found["misfit"][mine].any():
                    return None
                for line in lines:
                    lines[line][start:stop] = found["lines"][line][mine]
                before[start:stop] = found["before"][mine]
                if whole is not None and self.kpis is not None:
                    demand = tape.exogenous.demand[t.H + t.warm_up :, ..., start:stop]
                    self.kpis.hand_over(found["kpis"], whole, slice(start, stop), demand)
                while progress is not None and told < tape.periods * stop // tape.batch:
                    told += 1
                    progress(told, tape.periods)
        return Sums(lines, before, whole)

    def arguments(self, policy: Policy, tape: Tape) -> Iterator[tuple[Any, ...]]:
        """Arguments of the program, for some worlds of the tape after the other."""
        ops, places = self.scan.ops, list(parts(tape.batch, self.worlds))
        given = policy_arrays(recorded_of(policy, self.tables, ops), tape, places, self.worlds, ops)
        opening = mapped(lambda one: None if one is None else one.value, self.scan.dynamics.initial(1))
        for worlds, of_policy in zip(self._placed(tape), given, strict=True):
            yield of_policy, worlds, opening

    def _placed(self, tape: Tape) -> Iterator[Exogenous]:
        """Some worlds of a tape after the other; those on a GPU stay there for the next who plays the tape, if they fit."""
        device = chosen_device()
        key = (device, self.worlds, str(self.scan.ops.float))
        known = _on_device.get(tape)
        if known is not None and known[0] == key:
            yield from known[1]
            return
        arrays = self.scan.arrays(tape)
        size = sum(one.value.nbytes for one in arrays if one is not None)
        stays = keeps_tapes(device) and size < SHARE / 2 * (memory_of(device) or np.inf)
        placed = []
        for start, stop in parts(tape.batch, self.worlds):
            part = mapped(partial(some_worlds, start=start, stop=stop, size=self.worlds), arrays)
            if stays:
                part = self.scan.ops.jax.device_put(part, device)
                placed.append(part)
            yield part
        if stays:
            _on_device.clear()  # one tape at a time
            _on_device[tape] = (key, placed)

    def program(self, arguments: Any) -> Any:
        """The compiled program; made for arguments like these where it is not there.

        Raises
        ------
        InputError
            If the policy does something that JAX cannot trace.
        """
        if self._program is None:
            self._program = self._compiled(arguments)
        return self._program

    def _compiled(self, arguments: Any) -> Any:
        try:
            with np.errstate(all="ignore"):  # of constants that are no numbers, which ``misfit`` tells of
                return compiled(self._traced, *arguments)
        except InputError as error:
            raise InputError(str(error)) from None  # without what JAX adds to it
        except MemoryError:
            raise
        except Exception as error:
            raise cannot_trace(self._policy.policy, error) from error

    @property
    def _lines(self) -> tuple[str, ...]:
        return self.ledger.lines or ("holding",)

    # Traced --------------------------------------------------------------------------------------

    def _traced(self, given: PolicyArrays, arrays: Exogenous, opening: State) -> dict[str, Any]:
        ops, wide, t, worlds = self.scan.ops, self.wide, self.tables, self.worlds

        def boxed(array: Any) -> Any:
            return None if array is None else ops.box(array)

        def repeated(array: Any) -> Any:
            return None if array is None else ops.box(ops.jnp.broadcast_to(array, (*array.shape[:-1], worlds)))

        policy = self._policy

        def look(kept: Any, period: Array, flows: Flows, closing: State) -> tuple[Any, None]:
            lines = self.ledger.period(flows, last=True, closing=closing)
            if "terminal" in lines:
                lines["terminal"] = ops.where(period == self.periods - 1, lines["terminal"], 0)
            counts = period >= t.warm_up
            net = self.ledger.net_cost(lines)
            found = {
                "lines": {
                    line: total + wide.where(counts, wide.box(lines[line].value), 0) if line in lines else total
                    for line, total in kept["lines"].items()
                },
                "before": kept["before"] + wide.where(counts, 0, wide.box(net.value)),
                "misfit": policy.misfit + kept["misfit"],
            }
            if self.kpis is not None:
                found["kpis"] = self.kpis.add(kept["kpis"], flows, period - t.warm_up, counts)
            return found, None

        def zeros() -> Array:
            return wide.zeros((worlds,), wide.float)

        nothing: dict[str, Any] = {
            "lines": {line: zeros() for line in self._lines},
            "before": zeros(),
            "misfit": ops.zeros((worlds,), ops.int),
        }
        if self.kpis is not None:
            nothing["kpis"] = self.kpis.nothing(worlds)
        kept, _ = self.scan.run(
            policy.deciding(given),
            mapped(boxed, arrays),
            mapped(repeated, opening),
            look,
            nothing,
            policy.opening(given),
        )
        if "waiting" in kept.get("kpis", {}):
            del kept["kpis"]["waiting"]["joined"]  # the rows of all periods are asked for by nobody
        return bare(kept)


def some_worlds(array: Any, start: int, stop: int, size: int) -> Any:
    """Worlds ``start`` to ``stop`` of a boxed array (..., B), the last of them again until they are ``size``."""
    if array is None:
        return None
    value = array.value[..., start:stop]
    return filled_up(value, size)


def bare(nested: Any) -> Any:
    """Nested dicts of arrays out of their boxes."""
    return {name: bare(one) for name, one in nested.items()} if isinstance(nested, dict) else nested.value


def as_numpy(nested: Any) -> Any:
    """Nested dicts of arrays as arrays of NumPy, brought from the device."""
    if isinstance(nested, dict):
        return {name: as_numpy(one) for name, one in nested.items()}
    return np.asarray(nested)


# Programs that are kept ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Kept:
    """A rollout, and what its key is the identity of."""

    rollout: XlaRollout
    tables: Tables
    policy: Policy


_kept: OrderedDict[Any, _Kept] = OrderedDict()
_lock = Lock()
#: The tape that was played last on a GPU: what its arrays were placed for, and where they are.
_on_device: WeakKeyDictionary[Tape, tuple[Any, list[Exogenous]]] = WeakKeyDictionary()


def keeps_tapes(device: Any) -> bool:
    """Whether arrays are worth keeping on a device: they must be brought there, and it has memory of its own."""
    return str(device.platform) != "cpu"


def memory_of(device: Any) -> int:
    """Bytes of memory that JAX may use of a device; 0 where it does not say."""
    stats: Any = device.memory_stats() or {}
    return int(stats.get("bytes_limit", 0))


def roll_out(
    scenario: Scenario,
    policy: Policy,
    tape: Tape,
    ops: JaxOps,
    kpis: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Sums | None:
    """Run a policy over a tape on the device that was chosen; None if it decides what does not fit.

    Raises
    ------
    InputError
        If the policy has memory that it cannot hand over, or does something that JAX cannot trace.
    """
    t, tape = scenario.tables, tape.check(scenario)
    with whole_numbers():
        device = chosen_device()
        ops = JaxOps() if t.integer else ops
        recorded = recorded_of(policy, t, ops)
        structure = ("itself", id(policy)) if recorded is None else recorded.structure
        there = tuple((one.shape[1:-1] if one is not None else None) for one in tape.exogenous)
        worlds = worlds_together(t, tape, device)
        vary = unusual_lead_times(t, tape.exogenous)
        key = (id(t), structure, there, tape.periods, worlds, vary, str(ops.float), kpis, device)
        with _lock:
            if key not in _kept:
                rollout = XlaRollout(scenario, policy, tape, ops.float, kpis, worlds)
                _kept[key] = _Kept(rollout, t, policy)
            _kept.move_to_end(key)
            rollout = _kept[key].rollout
            try:
                found = rollout.run(policy, tape, progress)
            except InputError:
                _kept.pop(key)
                raise
            while len(_kept) > KEPT:
                _kept.popitem(last=False)
    return found


def worlds_together(tables: Tables, tape: Tape, device: Any) -> int:
    """Number of worlds of a program: a power of two, so that few programs serve tapes of any size."""
    most = TOGETHER.get(device.platform, MOST_TOGETHER)
    if memory_of(device):
        exogenous = sum(one[..., 0].size for one in tape.exogenous if one is not None)
        waiting = tape.periods * tables.C * tables.P
        each = 8 * (exogenous + 2 * waiting) + COPIES * state_bytes(tables, 1)
        most = min(most, int(SHARE * memory_of(device) / each))
    found = LEAST_TOGETHER
    while found < min(tape.batch, most) and 2 * found <= max(most, LEAST_TOGETHER):
        found *= 2
    return found
