"""A recorded period and its derivative as C: sixteen worlds at a time, forward over all periods and back again."""

from __future__ import annotations

from typing import Any

from .recording import RecordedPeriod
from .symbols import EXTREMES, Operation

WIDTH = 16  # worlds side by side

_HEAD = """
#include <string.h>
#include <stdint.h>
typedef float vf __attribute__((vector_size(64), aligned(64)));
typedef int32_t vi __attribute__((vector_size(64), aligned(64)));
#ifdef __SSE__
#include <xmmintrin.h>
/* numbers too small to matter count as 0: adding them takes a hundred times as long */
#define BRISK unsigned mode = _mm_getcsr(); _mm_setcsr(mode | 0x8040);
#define AS_BEFORE _mm_setcsr(mode);
#else
#define BRISK
#define AS_BEFORE
#endif
#define K(x) ((vf){} + (x))
#define I static inline __attribute__((always_inline))
I vf pick(vi m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }
I vf least(vf a, vf b) { return pick(a < b, a, b); }
I vf most(vf a, vf b) { return pick(a > b, a, b); }
I vf truth(vi m) { return (vf)(m & (vi)K(1.0f)); }
I vf lower(vf x) { vf t = __builtin_convertvector(__builtin_convertvector(x, vi), vf); return t - truth(t > x); }
I vf upper(vf x) { vf t = __builtin_convertvector(__builtin_convertvector(x, vi), vf); return t + truth(t < x); }
I vf expv(vf x) {
  x = least(most(x, K(-87.0f)), K(88.0f));
  vf n = lower(x * 1.44269504f + 0.5f);
  vf r = x - n * 0.693359375f + n * 2.12194440e-4f;
  vf p = K(1.9875691500e-4f);
  p = p * r + 1.3981999507e-3f; p = p * r + 8.3334519073e-3f; p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f; p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  vi e = (__builtin_convertvector(n, vi) + 127) << 23;
  return p * (vf)e;
}
I vf logv(vf x) {
  vi b = (vi)x; vi e = (b >> 23) - 126;
  vf m = (vf)((b & 0x007fffff) | 0x3f000000);
  vi s = m < 0.707106781f;
  m = m + (vf)(s & (vi)m) - 1.0f;
  vf n = __builtin_convertvector(e, vf) - truth(s);
  vf z = m * m, p = K(7.0376836292e-2f);
  p = p * m - 1.1514610310e-1f; p = p * m + 1.1676998740e-1f; p = p * m - 1.2420140846e-1f;
  p = p * m + 1.4249322787e-1f; p = p * m - 1.6668057665e-1f; p = p * m + 2.0000714765e-1f;
  p = p * m - 2.4999993993e-1f; p = p * m + 3.3333331174e-1f;
  p = p * m * z;
  return p - n * 2.12194440e-4f - z * 0.5f + m + n * 0.693359375f;
}
I vf splus(vf x) { return logv(1.0f + expv(-most(x, -x))) + most(x, K(0.0f)); }
I vf sigm(vf x) { return 1.0f / (1.0f + expv(-x)); }
I vf tanhv(vf x) { vf e = expv(2.0f * x); return (e - 1.0f) / (e + 1.0f); }
/* out = W x, eight rows at a time; entries of x are far apart, and of out if asked */
static __attribute__((noinline)) void product(const float *restrict W, long rows, long columns, const vf *restrict x,
                                              long far, vf *restrict out, long apart) {
  for (long r = 0; r < rows; r += 8) {
    const float *w[8];
    for (long j = 0; j < 8; j++) w[j] = W + (r + j < rows ? r + j : r) * columns;
    vf a = {}, b = {}, c = {}, d = {}, e = {}, f = {}, g = {}, h = {};
    for (long i = 0; i < columns; i++) {
      vf v = x[i * far];
      a += w[0][i] * v; b += w[1][i] * v; c += w[2][i] * v; d += w[3][i] * v;
      e += w[4][i] * v; f += w[5][i] * v; g += w[6][i] * v; h += w[7][i] * v;
    }
    vf s[8] = {a, b, c, d, e, f, g, h};
    for (long j = 0; j < 8 && r + j < rows; j++) out[(r + j) * apart] = s[j];
  }
}
"""

_FORWARD = {"": "s", "relu": "most(s, K(0.0f))", "elu": "pick(s > 0.0f, s, expv(s) - 1.0f)", "tanh": "tanhv(s)"}
_BACK = {
    "": "a",
    "relu": "pick(y_ > 0.0f, a, K(0.0f))",
    "elu": "pick(y_ > 0.0f, a, a * (y_ + 1.0f))",
    "tanh": "a * (1.0f - y_ * y_)",
}


def source(made: RecordedPeriod) -> str:
    """The text of a library with one function ``run``."""
    needed = _needed(made)
    parts = [_HEAD]
    for number, layer in enumerate(made.layers):
        parts.append(_layer(number, layer.inputs, layer.outputs, layer.activation))
    sizes = [(one.inputs, one.outputs, one.calls) for one in made.layers]
    arguments = ", ".join(
        f"const float *W{k}, const float *Z{k}, const float *B{k}, vf *X{k}, vf *Y{k}, vf *G{k}"
        for k in range(len(sizes))
    )
    passed = ", ".join(f"W{k}, Z{k}, B{k}, X{k}, Y{k}, G{k}" for k in range(len(sizes)))
    more, given = (f", {arguments}", f", {passed}") if sizes else ("", "")
    rows, states, outputs = made.rows, len(made.start), len(made.outputs)
    common = (
        f"const vf *restrict s, const float *restrict e, long stride, const float *restrict p, long t, long T{more}"
    )
    parts.append(f"static void forward({common}, vf *restrict n, vf *restrict o) {{\n{_forward(made, needed, sizes)}}}")
    parts.append(
        f"static void back({common}, vf *restrict as, vf *restrict ap, vf w) {{\n{_back(made, needed, sizes)}}}"
    )
    parts.append(f"""
__attribute__((visibility("default")))
void run(const float *first, const float *e, long stride, const float *p, long T, long skip, float w, vf *S, vf *sums,
         vf *ap, int derive{more}) {{
  BRISK
  vf o[{outputs}];
  for (int i = 0; i < {states}; i++) S[i] = K(first[i]);
  for (long t = 0; t < T; t++) {{
    forward(S + t * {states}, e + t * {rows} * stride, stride, p, t, T{given}, S + (t + 1) * {states}, o);
    if (t >= skip) for (int i = 0; i < {outputs}; i++) sums[i] += o[i];
  }}
  if (!derive) {{ AS_BEFORE return; }}
  vf as[{max(states, 1)}]; memset(as, 0, sizeof as);
  for (long t = T - 1; t >= 0; t--)
    back(S + t * {states}, e + t * {rows} * stride, stride, p, t, T{given}, as, ap, K(t >= skip ? w : 0.0f));
  AS_BEFORE
}}""")
    return "\n".join(parts)


def _needed(made: RecordedPeriod) -> list[bool]:
    """Which nodes anything that matters depends on."""
    needed = [False] * len(made.graph.nodes)
    waiting = [one for one in (*made.following, *made.outputs) if isinstance(one, Operation)]
    called = [False] * len(made.calls)
    while waiting:
        node = waiting.pop()
        if needed[node.number]:
            continue
        needed[node.number] = True
        if node.operation == "input":
            continue
        if node.operation == "layer":
            call = int(node.arguments[0])
            if not called[call]:
                called[call] = True
                waiting += [one for one in made.calls[call].inputs if isinstance(one, Operation)]
            continue
        waiting += [one for one in node.arguments if isinstance(one, Operation)]
    return needed


def _layer(number: int, inputs: int, outputs: int, activation: str) -> str:
    """Forward and back through a layer; entries of what it keeps are ``far`` apart."""
    return f"""
static __attribute__((noinline)) void layer{number}(const float *restrict W, const float *restrict B, const vf *x, vf *y,
                                                    long far) {{
  product(W, {outputs}, {inputs}, x, far, y, far);
  for (long o = 0; o < {outputs}; o++) {{ vf s = y[o * far] + B[o]; y[o * far] = {_FORWARD[activation]}; }}
}}
static __attribute__((noinline)) void back{number}(const float *restrict Z, const vf *y, vf *g, vf *owed, long far) {{
  for (long o = 0; o < {outputs}; o++) {{ vf a = g[o * far], y_ = y[o * far]; g[o * far] = {_BACK[activation]}; }}
  if (owed) product(Z, {inputs}, {outputs}, g, far, owed, 1);
}}"""


def _name(one: Any) -> str:
    return f"v{one.number}" if isinstance(one, Operation) else f"K({_float(one)})"


def _float(value: float) -> str:
    return f"{float(value)!r}f" if "e" in repr(float(value)) or "." in repr(float(value)) else f"{float(value)!r}.0f"


def _expression(node: Operation) -> str:
    arguments = node.arguments
    if node.operation == "input":
        kind, place = arguments
        if kind == "state":
            return f"s[{place}]"
        return f"K(p[{place}])" if kind == "parameter" else f"*(const vf *)(e + {place} * stride)"
    names = [_name(one) for one in arguments]
    return {
        "add": "{0} + {1}",
        "sub": "{0} - {1}",
        "mul": "{0} * {1}",
        "div": "{0} / {1}",
        "min": "least({0}, {1})",
        "max": "most({0}, {1})",
        "at_most": "least({0}, {1})",
        "at_least": "most({0}, {1})",
        "lt": "truth({0} < {1})",
        "le": "truth({0} <= {1})",
        "eq": "truth({0} == {1})",
        "select": "pick({0} != K(0.0f), {1}, {2})",
        "floor": "lower({0})",
        "ceil": "upper({0})",
        "exp": "expv({0})",
        "log": "logv({0})",
        "stop": "{0}",
        "softplus": "splus({0})",
    }[node.operation].format(*names)


def _values(made: RecordedPeriod, needed: list[bool], sizes: list[Any], forward: bool) -> list[str]:
    """Statements that compute all nodes; layers are run forward, and read back from memory afterwards."""
    lines, done = [], set()
    for node in made.graph.nodes:
        if not needed[node.number]:
            continue
        if node.operation == "layer":
            number, unit = int(node.arguments[0]), int(node.arguments[1])
            call = made.calls[number]
            k, calls = call.layer, sizes[call.layer][2]
            here, far = f"{call.number} * T + t", f"({calls} * T)"
            if forward and number not in done:
                lines += [f"  X{k}[{i} * {far} + {here}] = {_name(one)};" for i, one in enumerate(call.inputs)]
                lines.append(f"  layer{k}(W{k}, B{k}, X{k} + {here}, Y{k} + {here}, {far});")
                done.add(number)
            lines.append(f"  const vf v{node.number} = Y{k}[{unit} * {far} + {here}];")
            continue
        lines.append(f"  const vf v{node.number} = {_expression(node)};")
    return lines


def _forward(made: RecordedPeriod, needed: list[bool], sizes: list[Any]) -> str:
    lines = _values(made, needed, sizes, True)
    lines += [f"  n[{i}] = {_name(one)};" for i, one in enumerate(made.following)]
    lines += [f"  o[{i}] = {_name(one)};" for i, one in enumerate(made.outputs)]
    return "\n".join(lines) + "\n"


def _slopes(node: Operation, a: str) -> list[tuple[Any, str]]:
    """What each operand gets of the derivative ``a``; at a kink as PyTorch has it."""
    x = node.arguments
    names = [_name(one) for one in x]
    if node.operation == "add":
        return [(x[0], a), (x[1], a)]
    if node.operation == "sub":
        return [(x[0], a), (x[1], f"-{a}")]
    if node.operation == "mul":
        return [(x[0], f"{a} * {names[1]}"), (x[1], f"{a} * {names[0]}")]
    if node.operation == "div":
        return [(x[0], f"{a} / {names[1]}"), (x[1], f"-{a} * v{node.number} / {names[1]}")]
    if node.operation in EXTREMES:
        sign = "<" if node.operation in ("min", "at_most") else ">"
        tie = a if node.operation.startswith("at_") else f"0.5f * {a}"
        tie = f"pick({names[0]} == {names[1]}, {tie}, K(0.0f))"
        return [
            (one, f"pick({names[i]} {sign} {names[1 - i]}, {a}, {tie})")
            for i, one in enumerate(x)
            if isinstance(one, Operation)
        ]
    if node.operation == "select":
        chosen = f"{names[0]} != K(0.0f)"
        return [(x[1], f"pick({chosen}, {a}, K(0.0f))"), (x[2], f"pick({chosen}, K(0.0f), {a})")]
    if node.operation == "exp":
        return [(x[0], f"{a} * v{node.number}")]
    if node.operation == "log":
        return [(x[0], f"{a} / {names[0]}")]
    if node.operation == "softplus":
        return [(x[0], f"{a} * sigm({names[0]})")]
    return []  # flat: comparisons, whole numbers, and what asked for no derivative


def _back(made: RecordedPeriod, needed: list[bool], sizes: list[Any]) -> str:
    lines = _values(made, needed, sizes, False)
    owed: dict[int, list[str]] = {}

    def give(one: Any, text: str) -> None:
        if isinstance(one, Operation):
            owed.setdefault(one.number, []).append(text)

    for i, one in enumerate(made.following):
        if isinstance(one, Operation):
            lines.append(f"  const vf r{i} = as[{i}];")
            give(one, f"r{i}")
    give(made.outputs[0], "w")
    # Prices make missed demand cost; the outputs behind the first are only counted.
    waiting: dict[int, dict[int, str]] = {}
    remaining = _units(made, needed)
    ends: list[str] = []
    for node in reversed(made.graph.nodes):
        if not needed[node.number]:
            continue
        terms = owed.pop(node.number, [])
        if node.operation == "layer":
            number, unit = int(node.arguments[0]), int(node.arguments[1])
            if terms:
                waiting.setdefault(number, {})[unit] = " + ".join(terms)
            remaining[number] -= 1
            if remaining[number] == 0:
                lines += _back_layer(made, number, waiting.pop(number, {}), sizes, give)
            continue
        if not terms:
            continue
        if node.operation == "input":
            kind, place = node.arguments
            if kind == "state":
                ends.append(f"  as[{place}] = {' + '.join(terms)};")
            elif kind == "parameter":
                ends.append(f"  ap[{place}] += {' + '.join(terms)};")
            continue
        name = f"a{node.number}"
        slopes = [(one, text) for one, text in _slopes(node, name) if isinstance(one, Operation)]
        if slopes:
            lines.append(f"  const vf {name} = {' + '.join(terms)};")
            for one, text in slopes:
                give(one, f"({text})")
    used = {line.split("[")[1].split("]")[0] for line in ends if line.lstrip().startswith("as[")}
    ends += [f"  as[{i}] = K(0.0f);" for i in range(len(made.start)) if str(i) not in used]
    return "\n".join([*lines, *ends]) + "\n"


def _units(made: RecordedPeriod, needed: list[bool]) -> dict[int, int]:
    """How many needed outputs each call of a layer has."""
    found: dict[int, int] = {}
    for node in made.graph.nodes:
        if node.operation == "layer" and needed[node.number]:
            found[int(node.arguments[0])] = found.get(int(node.arguments[0]), 0) + 1
    return found


def _back_layer(made: RecordedPeriod, number: int, owed: Any, sizes: list[Any], give: Any) -> list[str]:
    """A call's derivatives: kept for the weights, and handed on to its inputs."""
    call = made.calls[number]
    k, (inputs, outputs, calls) = call.layer, sizes[call.layer]
    here, far = f"{call.number} * T + t", f"({calls} * T)"
    handed_on = any(isinstance(one, Operation) for one in call.inputs)
    lines = [f"  vf b{number}[{inputs}];"] if handed_on else []
    for unit in range(outputs):
        lines.append(f"  G{k}[{unit} * {far} + {here}] = {owed.get(unit, 'K(0.0f)')};")
    lines.append(f"  back{k}(Z{k}, Y{k} + {here}, G{k} + {here}, {f'b{number}' if handed_on else '0'}, {far});")
    for i, one in enumerate(call.inputs):
        give(one, f"b{number}[{i}]")
    return lines
