"""Named random series: a number depends on its name alone, never on what else is drawn.

A series is named by (purpose, seed, world, process, entity) and indexed by the period. The name of
entity and process is hashed (BLAKE2b) to 128 bits once; world and period enter through a
counter-based mixer (multiply and xor-shift, as in SplitMix64 and its descendants; Steele, Lea and
Flood 2014) in NumPy, vectorised over periods, entities and worlds. Only integer operations and
IEEE sums, products, quotients and roots are used, so numbers are the same on any machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..core.errors import expected
from ..core.typing import Floats
from .compiled import kernels

Keys = NDArray[np.uint64]

Purpose = Literal["train", "tune", "test"]
PURPOSES = get_args(Purpose)
#: Two more, for learners: the series of train and tune worlds, of recorded demand with periods apart from one another
#: (:mod:`.recorded.windows`), so that a checkpoint is chosen on what was not trained on.
APART: dict[str, Purpose] = {"learn": "train", "validate": "tune"}

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(0xD1B54A32D192ED03)
_SHIFT_32, _SHIFT_30, _SHIFT_27, _SHIFT_31 = (np.uint64(k) for k in (32, 30, 27, 31))
_SHIFT_1, _SHIFT_12, _SHIFT_46, _SHIFT_48 = (np.uint64(k) for k in (1, 12, 46, 48))
_ONE_BITS = np.uint64(0x3FF0000000000000)  # exponent of a float in [1, 2)
_FRACTION = np.uint64(0x00003FFFFFFFFFFF)  # of a float, its first six bits left out
_FIRST_BIN = (1023 - 53) << 6  # exponent and first six bits of 2**-53
_SIGN = np.uint64(1 << 63)
# Periods may be negative (history): the counter starts far before period 0.
_PERIOD_ZERO = 1 << 40
_HASH: dict[str, Any] = {"digest_size": 16, "person": b"echelongym.tape"}
# Numbers handled at a time: temporaries stay in the processor's cache.
_BLOCK = 16_384


@lru_cache(maxsize=1024)
def _name_keys(purpose: str, seed: int, process: str, entities: tuple[str, ...]) -> Keys:
    """Two keys (2, E, 1) of each series' name."""
    begun = hashlib.blake2b("\x1f".join((purpose, str(seed), process, "")).encode(), **_HASH)
    digests = []
    for entity in entities:
        whole = begun.copy()
        whole.update(entity.encode())
        digests.append(whole.digest())
    keys = np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    return np.ascontiguousarray(keys.reshape(-1, 2).T)[:, :, None]


def _mix(x: Keys) -> Keys:
    x = (x ^ (x >> _SHIFT_30)) * _FIRST
    x = (x ^ (x >> _SHIFT_27)) * _SECOND
    return x ^ (x >> _SHIFT_31)


@dataclass(frozen=True)
class Streams:
    """All series of a batch of worlds.

    Parameters
    ----------
    purpose
        ``train``, ``tune`` or ``test``: series of different purposes never overlap.
    seed
        Any whole number >= 0.
    worlds
        World indices (B,), each >= 0.
    recorded
        Purpose whose periods of records are shown, ``learn`` and ``validate`` among them; left out: ``purpose``.

    Raises
    ------
    InputError
        On another purpose, a bad seed, or worlds that are no whole numbers >= 0.
    """

    purpose: Purpose
    seed: int
    worlds: NDArray[np.int64]
    recorded: str | None = None

    @classmethod
    def of(cls, purpose: str, seed: int, worlds: NDArray[np.int64]) -> Streams:
        """The series of a purpose, ``learn`` and ``validate`` among them."""
        return cls(APART.get(purpose, purpose) if isinstance(purpose, str) else purpose, seed, worlds, purpose)  # type: ignore[arg-type]

    @property
    def shown(self) -> str:
        """Purpose whose periods of records are shown."""
        return self.recorded or self.purpose

    def __post_init__(self) -> None:
        if not isinstance(self.purpose, str) or self.purpose not in PURPOSES:
            raise expected("purpose", self.purpose, f"one of {', '.join(PURPOSES)}")
        whole = isinstance(self.seed, int | np.integer) and not isinstance(self.seed, bool)
        if not whole or not 0 <= self.seed < 1 << 63:
            raise expected("seed", self.seed, "a whole number >= 0 and below 2^63")

    @property
    def batch(self) -> int:
        """Number of worlds B."""
        return len(self.worlds)

    @cached_property
    def _mixed_worlds(self) -> Keys:
        worlds = self.worlds.astype(np.uint64)
        mixed = _mix(np.stack([worlds * _GOLDEN + _HALF, worlds * _HALF + _GOLDEN]))
        return mixed[:, None, :]

    def _world_keys(self, process: str, entities: Sequence[str]) -> tuple[Keys, Keys]:
        """Two keys (E, B) of each entity's series in each world."""
        names = _name_keys(self.purpose, int(self.seed), process, tuple(entities))
        first, second = _mix(names ^ self._mixed_worlds)
        return first, second

    def bits(self, process: str, entities: Sequence[str], first: int, count: int) -> Keys:
        """Random 64-bit numbers (count, E, B) of periods ``first, first + 1, ...``; use high bits."""
        return self._numbers("bits", process, entities, first, count)

    def uniforms(
        self, process: str, entities: Sequence[str], first: int, count: int, memory: Keys | None = None
    ) -> Floats:
        """Uniform numbers (count, E, B) in (0, 1): odd multiples of 2**-53; in ``memory`` (numbers,) if it is given."""
        return self._numbers("uniforms", process, entities, first, count, memory).view(np.float64)

    def normals(
        self, process: str, entities: Sequence[str], first: int, count: int, memory: Keys | None = None
    ) -> Floats:
        """Standard normal numbers (count, E, B): the quantiles of :meth:`uniforms`, to 1e-10; ``memory`` as there."""
        return self._numbers("normals", process, entities, first, count, memory).view(np.float64)

    def fractions(self, process: str, entities: Sequence[str], first: int, count: int) -> Floats:
        """Multiples of 1/65536 in [0, 1), (count, E, B)."""
        return self._numbers("fractions", process, entities, first, count).view(np.float64)

    def _numbers(
        self, kind: str, process: str, entities: Sequence[str], first: int, count: int, memory: Keys | None = None
    ) -> Keys:
        keys = self._world_keys(process, entities)
        shape = (count, *keys[0].shape)
        out = np.empty(shape, np.uint64) if memory is None else memory[: math.prod(shape)].reshape(shape)
        compiled = kernels(out.size)
        if compiled is None:
            _draw(keys, first + _PERIOD_ZERO, _FINISHES[kind](), out)
        else:
            compiled.numbers(kind, keys, first + _PERIOD_ZERO, _cubics(), out)
        return out


def _draw(keys: tuple[Keys, Keys], first: int, finish: Callable[[Keys], None] | None, out: Keys) -> None:
    """Random bits ``out`` (count, E, B) by the keys (E, B) of series; ``finish`` changes each block of them in place."""
    start, salt = keys
    periods = np.arange(first, first + len(out), dtype=np.uint64)
    steps = (periods * _GOLDEN)[:, None, None]
    rows = max(1, _BLOCK // max(start.size, 1))
    scratch = np.empty((rows, *start.shape), dtype=np.uint64)
    for row in range(0, len(out), rows):
        x = out[row : row + rows]
        shifted = scratch[: len(x)]
        np.add(steps[row : row + rows], start, out=x)
        np.right_shift(x, _SHIFT_32, out=shifted)
        np.bitwise_xor(x, shifted, out=x)
        np.multiply(x, _FIRST, out=x)
        np.bitwise_xor(x, salt, out=x)
        np.right_shift(x, _SHIFT_30, out=shifted)
        np.bitwise_xor(x, shifted, out=x)
        np.multiply(x, _SECOND, out=x)
        if finish is not None:
            finish(x.reshape(-1))


def _make_fractions(bits: Keys) -> None:
    """Turn bits into multiples of 1/65536, in place."""
    np.right_shift(bits, _SHIFT_48, out=bits)
    np.multiply(bits.view(np.int64), 2.0**-16, out=bits.view(np.float64))


def _make_uniform(bits: Keys) -> None:
    """Turn bits into floats in (0, 1), in place."""
    # 52 random bits become the fraction of a float in [1, 2).
    np.right_shift(bits, _SHIFT_12, out=bits)
    np.bitwise_or(bits, _ONE_BITS, out=bits)
    numbers = bits.view(np.float64)
    np.subtract(numbers, 1.0 - 2.0**-53, out=numbers)


class _Normals:
    """Turns bits into normal numbers, in place, by a table of cubics.

    The first bit is the side of the median, the others the probability p/2 beyond. Every power of
    two of p is cut into 64 bins, so that bins are finest where the quantile is steepest and no tail
    needs a case of its own; the exponent and first bits of p as a float are the bin.
    """

    def __init__(self) -> None:
        self._cubic = _cubics_by_power()
        self._side = np.empty(0, np.int64)
        self._bin = np.empty(0, np.int64)
        self._value = np.empty(0)

    def __call__(self, bits: Keys) -> None:
        size = len(bits)
        if len(self._side) < size:
            self._side, self._bin = np.empty((2, size), np.int64)
            self._value = np.empty(size)
        side, index, value = self._side[:size], self._bin[:size], self._value[:size]
        np.right_shift(bits.view(np.int64), 63, out=side)  # all ones above the median
        np.bitwise_xor(bits, side.view(np.uint64), out=bits)
        np.left_shift(bits, _SHIFT_1, out=bits)
        _make_uniform(bits)
        np.right_shift(bits, _SHIFT_46, out=index.view(np.uint64))
        np.subtract(index, _FIRST_BIN, out=index)
        np.bitwise_and(bits, _FRACTION, out=bits)
        np.bitwise_or(bits, _ONE_BITS, out=bits)
        place = bits.view(np.float64)
        np.subtract(place, 1.0, out=place)
        total = self._cubic[0].take(index)
        for coefficients in self._cubic[1:]:
            np.multiply(total, place, out=total)
            np.take(coefficients, index, out=value, mode="clip")
            np.add(total, value, out=total)
        np.bitwise_and(side.view(np.uint64), _SIGN, out=side.view(np.uint64))
        np.bitwise_xor(total.view(np.uint64), side.view(np.uint64), out=bits)


# How bits become numbers of each kind.
_FINISHES: dict[str, Callable[[], Callable[[Keys], None] | None]] = {
    "bits": lambda: None,
    "uniforms": lambda: _make_uniform,
    "normals": _Normals,
    "fractions": lambda: _make_fractions,
}


@lru_cache(maxsize=1)
def _cubics() -> Floats:
    """Coefficients (bins, 4), highest power first, of the quantile of p/2 for p in (0, 1)."""
    octaves = np.ldexp(1.0, np.arange(-53, 0))[:, None, None]
    thirds = 1.0 + (np.arange(64)[:, None] + np.arange(4) / 3.0) / 64.0
    f0, f1, f2, f3 = normal_quantile(0.5 * octaves * thirds).reshape(-1, 4).T
    # Newton's differences over thirds of a bin, then powers of the place in it, from 0 to 1/64.
    d1, d2, d3 = f1 - f0, f2 - 2.0 * f1 + f0, f3 - 3.0 * f2 + 3.0 * f1 - f0
    cubic = np.stack([4.5 * d3, 4.5 * (d2 - d3), 3.0 * (d1 - d2 / 2.0 + d3 / 3.0), f0])
    return np.ascontiguousarray((cubic * 64.0 ** np.arange(3, -1, -1)[:, None]).T)


@lru_cache(maxsize=1)
def _cubics_by_power() -> Floats:
    """The same (4, bins)."""
    return np.ascontiguousarray(_cubics().T)


# Wichura (1988), Algorithm AS 241, PPND16: numerators and denominators, highest power first.
_CENTRE = (
    (
        2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
        13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608,
    ),
    (
        5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
        5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0,
    ),
)  # fmt: skip
_MIDDLE = (
    (
        7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177,
        1.27045825245236838258, 3.64784832476320460504, 5.7694972214606914055,
        4.6303378461565452959, 1.42343711074968357734,
    ),
    (
        1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966,
        0.14810397642748007459, 0.68976733498510000455, 1.6763848301838038494,
        2.05319162663775882187, 1.0,
    ),
)  # fmt: skip
_FAR = (
    (
        2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386,
        0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358,
        5.4637849111641143699, 6.6579046435011037772,
    ),
    (
        2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5,
        7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531,
        0.59983220655588793769, 1.0,
    ),
)  # fmt: skip


def _ratio(x: Floats, pair: tuple[tuple[float, ...], tuple[float, ...]]) -> Floats:
    above, below = (np.full_like(x, coefficients[0]) for coefficients in pair)
    for up, down in zip(pair[0][1:], pair[1][1:], strict=True):
        np.multiply(above, x, out=above)
        np.add(above, up, out=above)
        np.multiply(below, x, out=below)
        np.add(below, down, out=below)
    return np.divide(above, below, out=above)


def _log(x: Floats) -> Floats:
    """Natural logarithm from sums and products alone, to 1e-15: the same on any machine."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.70710678118654752
    mantissa = np.where(low, 2.0 * mantissa, mantissa)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.full_like(x, 1.0 / 25.0)
    for odd in range(23, 0, -2):
        series = series * square + 1.0 / odd
    return (exponent - low) * 0.69314718055994531 + 2.0 * s * series


def normal_quantile(u: Floats) -> Floats:
    """Inverse of the standard normal distribution (Wichura 1988, AS 241), to about 1e-15.

    Parameters
    ----------
    u
        Probabilities strictly between 0 and 1, of any shape.
    """
    flat = np.ascontiguousarray(u).reshape(-1)
    q = flat - 0.5
    z = q * _ratio(0.180625 - q * q, _CENTRE)
    tail = np.flatnonzero(np.abs(q) > 0.425)
    if tail.size:
        p = flat[tail]
        r = np.sqrt(-_log(np.minimum(p, 1.0 - p)))
        size = _ratio(r - 1.6, _MIDDLE)
        far = np.flatnonzero(r > 5.0)
        if far.size:
            size[far] = _ratio(r[far] - 5.0, _FAR)
        z[tail] = np.copysign(size, p - 0.5)
    return z.reshape(u.shape)
