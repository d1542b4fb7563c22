"""Drawing in compiled code: the functions of :mod:`.c_kernels` as Python calls, where there is a C compiler.

They are compiled once on a machine and taken from the cache from then on. What is drawn is the same with and without them,
to the last bit.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
from typing import Any

import numpy as np

from ..compiler.c_compiler import CannotCompile, Faulty, NotMade, library, reason_of
from ..core.typing import Bools, Floats, NumpyArray
from .c_kernels import SOURCE

#: Numbers drawn in NumPy before what the cache does not hold is compiled: they take about as long as compiling.
PATIENCE = 40_000_000
_CALL = 1_000  # numbers that take as long as a call
#: What the random numbers of a series are made into, by the number that the source knows it by.
KINDS = {"bits": 0, "uniforms": 1, "normals": 2, "fractions": 3}
#: A smooth law: its kind, two numbers, and the knots (4, intervals) of joined cubics.
Form = tuple[int, float, float, Floats | None]
CLIPPED, LINEAR, JOINED = range(3)

_PARAMETERS = {"u64": ctypes.c_uint64, "i64": ctypes.c_int64, "double": ctypes.c_double}


class Kernels:
    """The compiled functions, which write into the array named ``out`` (or ``own``, ``noise``).

    Arrays (n, B) may have any step from row to row; between worlds there are no gaps. Arrays (n, 1) hold for all worlds.

    Parameters
    ----------
    made
        Only if they have been compiled before, by whatever process.

    Raises
    ------
    CannotCompile
        If there is no compiler, or it fails; ``NotMade``, if they are only wanted from the cache and are not there.
    """

    def __init__(self, made: bool) -> None:
        compiled = library(SOURCE, hold=False, made=made)
        self._call: dict[str, Any] = {}
        for name, parameters in re.findall(r"EXPORT void (\w+)\(([^)]*)\)", SOURCE):
            function = self._call[name] = getattr(compiled, name)
            function.restype = None
            function.argtypes = [
                ctypes.c_void_p if "*" in one else _PARAMETERS[one.split()[0]] for one in parameters.split(",")
            ]

    def numbers(
        self, kind: str, keys: tuple[NumpyArray, NumpyArray], first: int, cubic: Floats, out: NumpyArray
    ) -> None:
        """Numbers (n, ...) of series with two keys (...) each, contiguous; see :class:`.series.Streams`."""
        start, salt = keys
        addresses = _address(start), _address(salt), start.size
        self._call["numbers"](KINDS[kind], *addresses, first, len(out), _address(cubic), _address(out))

    def correlate(
        self, own: Floats, common: Floats | None, zero: int, shares: tuple[float, float], memory: tuple[float, float]
    ) -> None:
        """Scores of a series; see :func:`.correlation.correlated_scores`."""
        group = (None, 0) if common is None else _rows(common)
        self._call["correlate"](*_rows(own), *group, *own.shape, zero, *shares, *memory)

    def smooth(
        self,
        law: Form,
        argument: Floats,
        season: Floats | None,
        effect: Floats | None,
        rounds: bool,
        out: NumpyArray,
    ) -> None:
        """Quantiles of a law (its kind, two numbers, its knots), times season (n,) and effect, and rounded half up."""
        kind, first, second, knots = law
        table = (None, 0) if knots is None else (_address(knots), knots.shape[1])
        scale = None if season is None else _address(season)
        scaled = (None, 0, 0) if effect is None else _broadcast(effect)
        whole = out.dtype.kind == "i"
        self._call["smooth"](
            kind, first, second, *table, *_rows(argument), *argument.shape, scale, *scaled, rounds, whole, *_rows(out)
        )

    def look_up(
        self,
        argument: Floats,
        laws: NumpyArray,
        bins: tuple[int, float, float, bool],
        tables: tuple[NumpyArray, ...],
        out: NumpyArray,
    ) -> None:
        """Values of discrete laws; see :class:`.inverse.InverseTables`."""
        places = (*_rows(argument), *argument.shape, *_broadcast(laws))
        self._call["look_up"](*places, *bins, *map(_address, tables), out.dtype.kind == "i", *_rows(out))

    def few(
        self, numbers: Floats, laws: NumpyArray, tables: tuple[NumpyArray, ...], cells: NumpyArray, out: NumpyArray
    ) -> None:
        """Values (n, E, B) of discrete laws, into ``cells`` (E,) of ``out`` (n, cells, B); see :class:`.few.FewLaws`."""
        known = (*map(_address, (laws, *tables)), _address(cells))
        self._call["few"](_address(numbers), *numbers.shape, *known, out.dtype.kind == "i", *_rows(out))

    def look(
        self,
        demand: NumpyArray,
        moments: tuple[Floats, Floats],
        noise: Floats | None,
        before: Floats | None,
        slot: int,
        weights: tuple[float, float, float],
        out: Floats,
    ) -> None:
        """Looks (n, B) ahead of one series and lead; see :func:`.forecast.sample_forecasts`."""
        mean, spread = map(_address, moments)
        older = None if before is None else _address(before)
        bridge = (None, None, 0) if noise is None else (_address(noise), older, _rows(noise)[1])
        rows, worlds = demand.shape
        self._call["look"](
            _address(demand), demand.dtype.kind == "i", _rows(demand)[1], mean, spread, _rows(moments[0])[1],
            *bridge, rows, slot, len(out), worlds, *weights, *_rows(out),
        )  # fmt: skip

    def lead_times(self, uniforms: Floats, edges: Floats, values: NumpyArray, out: NumpyArray) -> None:
        """Lead times (n, B) by their probabilities; see :func:`.lead_time.sample_lead_times`."""
        places = (*_rows(uniforms), *uniforms.shape)
        self._call["lead_times"](*places, _address(edges), len(edges), _address(values), *_rows(out))

    def stretch(self, factor: Floats, out: NumpyArray) -> None:
        """Stretch lead times ``out`` (n, B) by a factor (n, B or 1) and round them up."""
        self._call["stretch"](*_rows(out), *out.shape, *_broadcast(factor))

    def replay(
        self,
        units: Floats,
        mean: float | None,
        positions: NumpyArray,
        effect: Floats | None,
        rounds: bool,
        out: NumpyArray,
    ) -> None:
        """Units of a record (periods,) at ``positions`` (n, B or 1); ``mean`` stands in for what it does not show."""
        scaled = (None, 0, 0) if effect is None else _broadcast(effect)
        record = _address(units), len(units), mean is not None, mean or 0.0
        places = (*record, *_broadcast(positions), *out.shape, *scaled)
        self._call["replay"](*places, rounds, out.dtype.kind == "i", *_rows(out))

    def chain(self, uniforms: Floats, fall: float, stay: float, out: Bools) -> None:
        """States of a chain, from ``out[0]`` on; see :func:`.worlds.events.active_periods`."""
        self._call["chain"](*_rows(uniforms), *uniforms.shape, fall, stay, *_rows(out))

    def affect(self, out: Floats, active: Bools, amount: float) -> None:
        """Multiply ``out`` (n, B) by an amount where an event is active (n, B or 1)."""
        self._call["affect"](*_rows(out), *out.shape, *_broadcast(active), amount)


def _address(array: NumpyArray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


def _rows(array: NumpyArray) -> tuple[int, int]:
    """Address, and elements from row to row."""
    return _address(array), array.strides[0] // array.itemsize


def _broadcast(array: NumpyArray) -> tuple[int, int, int]:
    """Address, elements from row to row and from world to world."""
    return (*_rows(array), 0 if array.shape[1] == 1 else array.strides[1] // array.itemsize)


def _agrees(compiled: Kernels) -> bool:
    """Whether random numbers come out as Python computes them, one by one: 11 of each kind, by cubics made up for it."""
    start, salt = (
        np.arange(1, 12, dtype=np.uint64) * np.uint64(odd) for odd in (0x2545F4914F6CDD1D, 0xDA942042E4DD58B5)
    )
    cubic = np.sqrt(np.arange(1.0, 53 * 64 * 4 + 1)).reshape(-1, 4)
    for kind in KINDS:
        found = np.empty((1, 11), np.uint64 if kind == "bits" else np.float64)
        compiled.numbers(kind, (start, salt), 3, cubic, found)
        for one, key, value in zip(start.tolist(), salt.tolist(), found[0].tolist(), strict=True):
            x = (3 * 0x9E3779B97F4A7C15 + one) % 2**64
            x = ((x ^ x >> 32) * 0xBF58476D1CE4E5B9 % 2**64) ^ key
            x = (x ^ x >> 30) * 0x94D049BB133111EB % 2**64
            beyond = x >> 63
            p = _uniform((x ^ beyond * (2**64 - 1)) << 1 & 2**64 - 1)
            fraction, exponent = math.frexp(p)
            place = (2.0 * fraction - 1.0) * 64.0
            c3, c2, c1, c0 = cubic[64 * (exponent + 52) + int(place)].tolist()
            at = math.fmod(place, 1.0) / 64.0
            quantile = ((c3 * at + c2) * at + c1) * at + c0
            expected = (x, _uniform(x), -quantile if beyond else quantile, (x >> 48) / 65536.0)[KINDS[kind]]
            if value != expected:
                return False
    return True


def _uniform(bits: int) -> float:
    return (bits >> 12) / 2.0**52 + 2.0**-53


class _Known:
    """What is known of the compiled functions in this process."""

    found: Kernels | None = None
    asked = False  # whether the cache was looked into
    failed = False
    drawn = 0  # numbers, without them


def kernels(numbers: int) -> Kernels | None:
    """The compiled functions, for drawing so many numbers; None where NumPy is to do it.

    They are looked for in the cache at once, and compiled when a process has drawn many numbers without them.
    """
    if _Known.found is None and not _Known.failed:
        _Known.drawn += numbers + _CALL
        if _Known.asked and _Known.drawn < PATIENCE:
            return None
        try:
            found = Kernels(made=_Known.drawn < PATIENCE)
            if not _agrees(found):
                raise Faulty("what was compiled does not draw what Python draws")
            _Known.found = found
        except NotMade:
            pass
        except Exception as error:  # whatever it is, it would only have made things faster
            _Known.failed = True
            reason_of(error, (CannotCompile,))
        _Known.asked = True
    return None if os.environ.get("ECHELONGYM_NATIVE") == "0" else _Known.found
