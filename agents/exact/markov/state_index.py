"""State index: states numbered in the order in which they are met."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.typing import Ints


class StateNumbers:
    """Numbers 0, 1, 2 ... for distinct 64-bit keys."""

    def __init__(self) -> None:
        self._sorted = np.zeros(0, dtype=np.int64)
        self._number = np.zeros(0, dtype=np.int64)
        self.count = 0

    def find(self, keys: Ints) -> Ints:
        """Number of each key, -1 where it was never added."""
        if not self.count:
            return np.full(len(keys), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._sorted, keys), self.count - 1)
        return np.where(self._sorted[place] == keys, self._number[place], -1)

    def add(self, keys: Ints) -> tuple[Ints, Ints]:
        """Number of each key, and the positions in ``keys`` of those that were new, in the order of their numbers."""
        distinct, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        numbers = self.find(distinct)
        fresh = np.flatnonzero(numbers < 0)
        fresh = fresh[np.argsort(first[fresh], kind="stable")]
        numbers[fresh] = self.count + np.arange(len(fresh))
        if len(fresh):
            merged = np.concatenate([self._sorted, distinct[fresh]])
            order = np.argsort(merged, kind="stable")
            self._sorted = merged[order]
            self._number = np.concatenate([self._number, numbers[fresh]])[order]
            self.count += len(fresh)
        return numbers[inverse.reshape(-1)], first[fresh]


class Registry:
    """Numbers for distinct vectors of ``width`` small whole numbers.

    Vectors are told apart by a 64-bit hash, and every match is checked in full.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        generator = np.random.default_rng(20_240_229)
        odd = generator.integers(0, 2**62, size=max(width, 1), dtype=np.int64) * 2 + 1
        self._multipliers = odd[:width]
        self._numbers = StateNumbers()
        self._store = np.zeros((1024, width), dtype=np.int32)

    def __len__(self) -> int:
        return self._numbers.count

    @property
    def vectors(self) -> NDArray[np.int32]:
        """(count, width) by number."""
        return self._store[: self._numbers.count]

    def _keys(self, vectors: NDArray[Any]) -> Ints:
        keys = np.zeros(len(vectors), dtype=np.int64)
        with np.errstate(over="ignore"):
            for column, multiplier in enumerate(self._multipliers):
                keys += vectors[:, column].astype(np.int64) * multiplier
        return keys ^ (keys >> 29)

    def add(self, vectors: NDArray[Any]) -> Ints:
        """Number of each row of ``vectors`` (n, width).

        Raises
        ------
        ArithmeticError
            If two states have one hash.
        """
        numbers, fresh = self._numbers.add(self._keys(vectors))
        count = self._numbers.count
        if count > len(self._store):
            grown = np.zeros((2 * count, self.width), dtype=np.int32)
            grown[: count - len(fresh)] = self._store[: count - len(fresh)]
            self._store = grown
        self._store[count - len(fresh) : count] = vectors[fresh]
        if not np.array_equal(self._store[numbers], vectors):
            raise ArithmeticError("two states with one hash")
        return numbers

    def find(self, vectors: NDArray[Any]) -> Ints:
        """Number of each row, -1 where it is not there."""
        numbers = self._numbers.find(self._keys(vectors))
        same = (self._store[np.maximum(numbers, 0)] == vectors).all(axis=1)
        return np.where(same, numbers, -1)
