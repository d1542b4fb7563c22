"""C forms of numbers and ufuncs, with results equal to NumPy's bit by bit.

What is not in these tables stays with NumPy: functions whose last bit depends on the library (``exp``, ``power``), and
casts that C leaves undefined.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

TYPES = {"f8": "double", "f4": "float", "i8": "int64_t", "i4": "int32_t", "u1": "uint8_t", "b1": "uint8_t"}

PRELUDE = """\
#include <math.h>
#include <stdint.h>
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif
#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
#define EXTREMES(T, S) \\
static inline T maximum_##S(T a, T b) { T c = a > b ? a : b; return a != a ? a : c; } \\
static inline T minimum_##S(T a, T b) { T c = a < b ? a : b; return a != a ? a : c; }
EXTREMES(double, f8)
EXTREMES(float, f4)
EXTREMES(int64_t, i8)
EXTREMES(int32_t, i4)
EXTREMES(uint8_t, u1)
/* Division rounded down, without the processor's own instruction, which takes one number at a time: the nearest double is
   close, the rest is divided once more, and what rounding may leave is one step. */
static inline int64_t divided(int64_t a, int64_t d, int64_t *rest) {
  const double y = (double)d;
  const double x = (double)a / y, most = 9223372036854774784.0;
  int64_t q = (int64_t)(x < most ? x : most);
  int64_t r = a - q * d;
  const int64_t e = (int64_t)((double)r / y);
  q += e;
  r -= e * d;
  const int64_t under = (r != 0) & ((r < 0) != (d < 0));
  q -= under;
  r += under * d;
  const int64_t over = d < 0 ? r <= d : r >= d;
  *rest = r - over * d;
  return q + over;
}
static inline int64_t quotient_i8(int64_t a, int64_t b) {
  int64_t r;
  const int64_t q = divided(a, (b == 0) | (b == -1) ? 1 : b, &r);
  return b == 0 ? 0 : b == -1 ? -a : q;
}
static inline int64_t modulo_i8(int64_t a, int64_t b) {
  int64_t r;
  divided(a, (b == 0) | (b == -1) ? 1 : b, &r);
  return r;
}
static inline int32_t quotient_i4(int32_t a, int32_t b) { return b == -1 ? -a : (int32_t)quotient_i8(a, b); }
static inline int32_t modulo_i4(int32_t a, int32_t b) { return (int32_t)modulo_i8(a, b); }
static inline int64_t clipped(int64_t i, int64_t n) { return i < 0 ? 0 : i < n ? i : n - 1; }
static inline int64_t wrapped(int64_t i, int64_t n) { return clipped(i < 0 ? i + n : i, n); }
"""

_COMPARE = {
    "equal": "({0} == {1})",
    "not_equal": "({0} != {1})",
    "less": "({0} < {1})",
    "less_equal": "({0} <= {1})",
    "greater": "({0} > {1})",
    "greater_equal": "({0} >= {1})",
}
_SUMS = {"add": "({0} + {1})", "subtract": "({0} - {1})", "multiply": "({0} * {1})", "square": "({0} * {0})"}
_LOGIC = {
    "logical_and": "(({0} != 0) & ({1} != 0))",
    "logical_or": "(({0} != 0) | ({1} != 0))",
    "logical_xor": "(({0} != 0) ^ ({1} != 0))",
    "logical_not": "({0} == 0)",
}
_BITS = {"bitwise_and": "({0} & {1})", "bitwise_or": "({0} | {1})", "bitwise_xor": "({0} ^ {1})"}
_WHOLE = {
    **_COMPARE,
    **_SUMS,
    **_LOGIC,
    **_BITS,
    "maximum": "maximum_#({0}, {1})",
    "minimum": "minimum_#({0}, {1})",
    "invert": "(~{0})",
    **dict.fromkeys(("positive", "floor", "ceil", "trunc", "rint"), "({0})"),
}
#: By the kind of number in the ufunc's loop; {0} and {1} are its operands, ``@`` the suffix of the type.
_TERMS = {
    "f": {
        **_COMPARE,
        **_SUMS,
        **_LOGIC,
        "divide": "({0} / {1})",
        "reciprocal": "(1 / {0})",
        "positive": "({0})",
        "negative": "(-{0})",
        "absolute": "__builtin_fabs@({0})",
        "floor": "__builtin_floor@({0})",
        "ceil": "__builtin_ceil@({0})",
        "trunc": "__builtin_trunc@({0})",
        "rint": "__builtin_rint@({0})",
        "sqrt": "__builtin_sqrt@({0})",
        "maximum": "maximum_#({0}, {1})",
        "minimum": "minimum_#({0}, {1})",
        "isnan": "({0} != {0})",
        "isfinite": "({0} - {0} == 0)",
        "isinf": "(({0} == {0}) & ({0} - {0} != 0))",
    },
    "i": {
        **_WHOLE,
        "negative": "(-{0})",
        "absolute": "({0} < 0 ? -{0} : {0})",
        "floor_divide": "quotient_#({0}, {1})",
        "remainder": "modulo_#({0}, {1})",
    },
    "u": _WHOLE,
    "b": {
        **_COMPARE,
        **_LOGIC,
        **_BITS,
        "add": "({0} | {1})",
        "multiply": "({0} & {1})",
        "maximum": "({0} | {1})",
        "minimum": "({0} & {1})",
        "invert": "({0} ^ 1)",
    },
}


def code(dtype: np.dtype[Any]) -> str:
    """``f8``, ``i8``, ``b1``: kind and bytes."""
    return f"{dtype.kind}{dtype.itemsize}"


def known(dtype: np.dtype[Any]) -> bool:
    """Whether numbers of a type can be handled."""
    return code(dtype) in TYPES and dtype.isnative


def cast(text: str, source: np.dtype[Any], target: np.dtype[Any]) -> str | None:
    """A value in another type; None where C does not say what comes out."""
    if source == target:
        return text
    if target.kind == "b":
        return f"({text} != 0)"
    if source.kind == "f" and target.kind != "f" and target.itemsize < 8:
        return None
    if source.kind == "b" and target.kind == "f":
        # By a whole number as wide, from which compilers convert several at a time.
        return f"(({TYPES[code(target)]})(int{8 * target.itemsize}_t){text})"
    return f"(({TYPES[code(target)]}){text})"


def literal(value: Any, dtype: np.dtype[Any]) -> str | None:
    """A number as a constant of a type; None if it does not fit."""
    try:
        number = np.asarray(value).astype(dtype, casting="unsafe")
    except (TypeError, ValueError, OverflowError):
        return None
    if isinstance(value, int) and (number != value or abs(value) > 2**53):
        return None
    if dtype.kind != "f":
        # The smallest integer has no constant of its own.
        text = f"(INT64_C({int(number) + 1}) - 1)" if int(number) < 0 else f"INT64_C({int(number)})"
        return f"(({TYPES[code(dtype)]}){text})"
    plain = float(number)
    if math.isfinite(plain):
        return f"({plain.hex()}{'f' if dtype.itemsize == 4 else ''})"
    sign = "-" if np.signbit(number) else ""
    return f"({sign}({TYPES[code(dtype)]}){'NAN' if math.isnan(plain) else 'INFINITY'})"


def term(name: str, loop: tuple[np.dtype[Any], ...]) -> str | None:
    """C expression of a ufunc on operands of its loop's types; None if it stays with NumPy."""
    kinds = {code(dtype) for dtype in loop[:-1]}
    if len(kinds) != 1 or not all(known(dtype) for dtype in loop):
        return None
    text = _TERMS[loop[0].kind].get(name)
    if text is None:
        return None
    return text.replace("@", "f" if loop[0].itemsize == 4 else "").replace("#", code(loop[0]))
