"""Random functions of arrays: every operation that a program may record, on shapes with the batch in any place.

A function's choices hang on its seed and on shapes alone, so that it does the same when recorded and when not.
"""

import numpy as np

SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-310, 1e300, 0.5, 1.5, 2.5)


def bits(array):
    """What tells two arrays apart: every bit, but for NaN, of which one is as good as another."""
    if array is None or array.dtype.kind != "f":
        return array
    return np.where(np.isnan(array), np.nan, array), np.signbit(np.where(np.isnan(array), 1, array))


def assert_same(mine, theirs, what=""):
    if mine is None or theirs is None:
        assert mine is theirs, what
        return
    assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape), what
    if mine.dtype.kind == "f":
        for one, two in zip(bits(mine), bits(theirs), strict=True):
            np.testing.assert_array_equal(one, two, err_msg=what)
    else:
        np.testing.assert_array_equal(mine, theirs, err_msg=what)


def random_inputs(rng, batch):
    """Floats of both sizes with everything strange in them, whole numbers of either sign with zeros, truths, bytes."""
    shapes = [(3, 2, batch), (4, batch), (2, 3, batch), (batch, 5)]
    floats = [rng.normal(0, 5, shape).round(int(rng.integers(0, 6))) for shape in shapes]
    for array in floats:
        strange = rng.random(array.shape) < 0.1
        array[strange] = rng.choice(SPECIAL, int(strange.sum()))
    whole = [rng.integers(-4, 5, (3, 2, batch)), rng.integers(-(2**62), 2**62, (4, batch))]
    truths, small = rng.random((3, 1, batch)) < 0.5, rng.integers(0, 256, (2, batch)).astype(np.uint8)
    return [*floats, floats[0].clip(-1e30, 1e30).astype(np.float32), *whole, truths, small, None]


class RandomFunction:
    """``function(*inputs)``: results of ``length`` random operations, one of them added up in an array of its own."""

    def __init__(self, seed, ops, batch, length=50):
        self.seed, self.ops, self.batch, self.length = seed, ops, batch, length
        self.held = np.zeros((3, 1, batch))

    def __call__(self, *inputs):
        self.rng = np.random.default_rng(self.seed)
        self.pool = [one for one in inputs if one is not None]
        operations = [getattr(self, name) for name in dir(type(self)) if name.startswith("do_")]
        with np.errstate(all="ignore"):
            for _ in range(self.length):
                found = operations[self.rng.integers(len(operations))]()
                if found is not None and 0 < found.size < 200 * self.batch and 0 < found.ndim < 6:
                    self.pool.append(found)
            np.add(self.held, self.pool[0][:, :1], out=self.held)
        return [*self.pool[-12:], self.held, None]

    def chance(self, share):
        return self.rng.random() < share

    def any(self, kinds="fiub"):
        found = [one for one in self.pool if one.dtype.kind in kinds]
        # Mostly what came last, so that results build on each other.
        return found[max(len(found) - 1 - int(self.rng.geometric(0.15)), 0)]

    def operand(self, kinds):
        """An array, a number of Python or of NumPy."""
        if self.chance(0.75):
            return self.any(kinds)
        number = [3, 0.5, 2, 1e-12, np.float64(1.5), np.array(2.0), True, np.float32(0.1)][self.rng.integers(8)]
        return int(number) if kinds == "i" else number

    def pair(self, kinds):
        """Two operands that fit together, the first an array."""
        for _ in range(20):
            one, two = self.any(kinds), self.operand(kinds)
            try:
                np.broadcast_shapes(one.shape, getattr(two, "shape", ()))
            except ValueError:
                continue
            return one, two
        return one, one

    def place(self, shape):
        """An index of slices and numbers that leaves the last axis alone."""
        index = []
        for size in shape[:-1]:
            kind = self.rng.integers(5)
            start, stop = sorted(self.rng.integers(0, size + 1, 2).tolist())
            one = slice(start, stop) if start < stop else slice(None)
            index.append([slice(None), slice(None, None, -1), one, slice(None, None, 2), start % size][kind])
        return tuple(index)

    # Operations ---------------------------------------------------------------------------------

    def do_arithmetic(self):
        one, two = self.pair("fiu")
        name = ["add", "subtract", "multiply", "divide", "maximum", "minimum"][self.rng.integers(6)]
        swap = self.chance(0.3) and not isinstance(two, int | float)
        return getattr(np, name)(two, one) if swap else getattr(np, name)(one, two)

    do_more_arithmetic = do_arithmetic

    def do_whole(self):
        one, two = self.pair("i")
        name = ["floor_divide", "remainder", "bitwise_and", "maximum"][self.rng.integers(4)]
        return getattr(np, name)(one, two)

    def do_unary(self):
        name = ["floor", "ceil", "negative", "absolute", "sqrt", "square", "trunc", "rint"][self.rng.integers(8)]
        return getattr(np, name)(self.any("f"))

    def do_unknown(self):
        return np.exp(self.any("f")) if self.chance(0.3) else None

    def do_compare(self):
        name = ["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"][self.rng.integers(6)]
        return getattr(np, name)(*self.pair("fiub"))

    def do_logic(self):
        if self.chance(0.3):
            return np.logical_not(self.any("fb"))
        return [np.logical_and, np.logical_or, np.add, np.multiply][self.rng.integers(4)](*self.pair("b"))

    def do_test(self):
        return [np.isnan, np.isfinite, np.isinf][self.rng.integers(3)](self.any("f"))

    def do_where(self):
        one = self.any("fi")
        masks = [mask for mask in self.pool if mask.dtype.kind == "b" and mask.shape == one.shape]
        mask = masks[-1] if masks else one > 0
        return np.where(mask, one, 0.0 if self.chance(0.5) else one[::-1])

    def do_masked(self):
        one = self.any("fi").copy()
        np.add(one, one[::-1], out=one, where=one > 1)
        return one

    def do_view(self):
        one = self.any()
        return one[self.place(one.shape)] if one.ndim > 1 else None

    def do_turn(self):
        one = self.any()
        return np.moveaxis(one, int(self.rng.integers(one.ndim)), int(self.rng.integers(one.ndim)))

    def do_broadcast(self):
        one = self.any()
        return one[:, None] if self.chance(0.7) else one[..., None]

    def do_reshape(self):
        one = self.any()
        return one.reshape((-1, one.shape[-1])) if one.ndim > 1 else None

    def do_look_up(self):
        one = self.any()
        places = self.rng.integers(0, one.shape[0], int(self.rng.integers(1, 6)))
        if self.chance(0.3):
            places = places - one.shape[0]
        if one.ndim > 2 and self.chance(0.4):
            second = self.rng.integers(0, one.shape[1], len(places))
            return one[:, second] if self.chance(0.5) else one[places, second]
        return one[places]

    def do_put(self):
        one = self.any().copy()
        if self.chance(0.5):
            places = self.rng.permutation(one.shape[0])[: int(self.rng.integers(1, one.shape[0] + 1))]
            one[places] = one[places[::-1]] if self.chance(0.5) else one[0]
        elif one.ndim > 1:
            place = self.place(one.shape)
            one[place] = one[place][..., ::-1] if self.chance(0.3) else True
        return one

    def do_put_twice(self):
        one = self.any().copy()
        one[np.array([0, one.shape[0] - 1, 0])] = np.array([1, 2, 3], one.dtype).reshape((3, *[1] * (one.ndim - 1)))
        return one

    def do_join(self):
        one = self.any()
        axis = int(self.rng.integers(one.ndim))
        if self.chance(0.5):
            return np.concatenate([one, one[::-1], one], axis=axis)
        return np.stack([one, one], axis=axis)

    def do_sum(self):
        one = self.any("fi")
        name = ["add", "add", "maximum", "minimum"][self.rng.integers(4)]
        return getattr(np, name).reduce(one, axis=int(self.rng.integers(one.ndim)), keepdims=self.chance(0.2))

    def do_count(self):
        one = self.any("b")
        return np.add.reduce(one, axis=0)

    def do_running(self):
        one = self.any("fi")
        return np.add.accumulate(one, axis=int(self.rng.integers(one.ndim)))

    def do_long_sums(self):
        one = np.concatenate([self.any("fi")] * 9, axis=0)
        if one.ndim == 1:
            return None
        return np.add.accumulate(one, axis=0) if self.chance(0.5) else np.add.reduce(one, axis=0)

    def do_type(self):
        if self.chance(0.4):
            return self.any().astype([np.float64, np.float32][self.rng.integers(2)])
        one = self.any("f")
        # What is no number, or too large for the type, may become anything.
        return np.where(np.absolute(one) < 1e6, one, 0.0).astype([np.int64, np.bool_][self.rng.integers(2)])

    def do_zeros(self):
        one = self.any()
        found = self.ops.zeros(one.shape, one.dtype)
        found[:1] = one[:1]
        return found

    def do_in_place(self):
        one = self.any("fi").copy()
        one += 2
        np.multiply(one, one, out=one)
        if one.ndim > 1 and one.shape[0] > 1:
            one[1:] -= one[:-1]
        return one
