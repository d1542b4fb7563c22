"""Named random series: a number depends on its name alone, never on what else is drawn.

A series is named by (purpose, seed, world, process, entity) and indexed by the period. The name of
entity and process is hashed (BLAKE2b) to 128 bits once; world and period enter through a
counter-based mixer (multiply and xor-shift, as in SplitMix64 and its descendants; Steele, Lea and
Flood 2014) in NumPy, vectorised over periods, entities and worlds. Only integer operations and
IEEE sums, products, quotients and roots are used, so numbers are the same on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import expected

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]

Purpose = Literal["train", "tune", "test"]
PURPOSES = get_args(Purpose)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_HALF = np.uint64(0xD1B54A32D192ED03)
_SHIFT_32, _SHIFT_30, _SHIFT_27, _SHIFT_31 = (np.uint64(k) for k in (32, 30, 27, 31))
_SHIFT_12, _SHIFT_48 = np.uint64(12), np.uint64(48)
_ONE_BITS = np.uint64(0x3FF0000000000000)
# Periods may be negative (history): the counter starts far before period 0.
_PERIOD_ZERO = 1 << 40
# Numbers handled at a time: temporaries stay in the processor's cache.
_BLOCK = 16_384


@lru_cache(maxsize=1 << 16)
def _name_key(purpose: str, seed: int, process: str, entity: str) -> tuple[int, int]:
    name = "\x1f".join((purpose, str(seed), process, entity)).encode()
    digest = hashlib.blake2b(name, digest_size=16, person=b"echelongym.tape").digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


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

    Raises
    ------
    InputError
        On another purpose, a bad seed, or worlds that are no whole numbers >= 0.
    """

    purpose: Purpose
    seed: int
    worlds: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.purpose not in PURPOSES:
            raise expected("purpose", self.purpose, f"one of {', '.join(PURPOSES)}")
        whole = isinstance(self.seed, int | np.integer) and not isinstance(self.seed, bool)
        if not whole or self.seed < 0:
            raise expected("seed", self.seed, "a whole number >= 0")

    @property
    def batch(self) -> int:
        """Number of worlds B."""
        return len(self.worlds)

    def _world_keys(self, process: str, entities: Sequence[str]) -> tuple[Keys, Keys]:
        """Two keys (E, B) of each entity's series in each world."""
        names = [_name_key(self.purpose, int(self.seed), process, name) for name in entities]
        keys = np.array(names, dtype=np.uint64).reshape(len(names), 2)
        worlds = self.worlds.astype(np.uint64)
        first = _mix(keys[:, :1] ^ _mix(worlds * _GOLDEN + _HALF))
        second = _mix(keys[:, 1:] ^ _mix(worlds * _HALF + _GOLDEN))
        return first, second

    def bits(self, process: str, entities: Sequence[str], first: int, count: int) -> Keys:
        """Random 64-bit numbers (count, E, B) of periods ``first, first + 1, ...``."""
        start, salt = self._world_keys(process, entities)
        out = np.empty((count, *start.shape), dtype=np.uint64)
        periods = np.arange(first + _PERIOD_ZERO, first + _PERIOD_ZERO + count, dtype=np.uint64)
        steps = (periods * _GOLDEN)[:, None, None]
        rows = max(1, _BLOCK // max(start.size, 1))
        scratch = np.empty((rows, *start.shape), dtype=np.uint64)
        for row in range(0, count, rows):
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
            np.right_shift(x, _SHIFT_31, out=shifted)
            np.bitwise_xor(x, shifted, out=x)
        return out

    def uniforms(self, process: str, entities: Sequence[str], first: int, count: int) -> Floats:
        """Uniform numbers (count, E, B) in (0, 1): odd multiples of 2**-53."""
        bits = self.bits(process, entities, first, count)
        # 52 random bits become the fraction of a float in [1, 2).
        np.right_shift(bits, _SHIFT_12, out=bits)
        np.bitwise_or(bits, _ONE_BITS, out=bits)
        numbers = bits.view(np.float64)
        np.subtract(numbers, 1.0 - 2.0**-53, out=numbers)
        return numbers

    def normals(self, process: str, entities: Sequence[str], first: int, count: int) -> Floats:
        """Standard normal numbers (count, E, B): the inverse distribution of the uniforms."""
        return normal_quantile(self.uniforms(process, entities, first, count))

    def fractions(self, process: str, entities: Sequence[str], first: int, count: int) -> Floats:
        """Multiples of 1/65536 in [0, 1), (count, E, B)."""
        bits = self.bits(process, entities, first, count)
        np.right_shift(bits, _SHIFT_48, out=bits)
        return np.multiply(bits.view(np.int64), 2.0**-16)


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
    out = np.empty_like(flat)
    for start in range(0, flat.size, _BLOCK):
        part = flat[start : start + _BLOCK]
        q = part - 0.5
        z = np.multiply(q, _ratio(0.180625 - q * q, _CENTRE), out=out[start : start + _BLOCK])
        tail = np.flatnonzero(np.abs(q) > 0.425)
        if tail.size:
            p = part[tail]
            r = np.sqrt(-_log(np.minimum(p, 1.0 - p)))
            size = _ratio(r - 1.6, _MIDDLE)
            far = np.flatnonzero(r > 5.0)
            if far.size:
                size[far] = _ratio(r[far] - 5.0, _FAR)
            z[tail] = np.copysign(size, p - 0.5)
    return out.reshape(u.shape)
