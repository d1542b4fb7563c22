"""C source of the drawing of worlds: each function does, number by number, what the NumPy form beside its caller does.

Arrays are given by the address of their first element. Their last axis runs over worlds without gaps, or has a step of 0
where all worlds are alike; the step from row to row is given in elements. Operations and their order are those of the NumPy
forms, so results are the same to the last bit (tested).
"""

SOURCE = r"""
#include <stdint.h>
#include <string.h>
#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif
typedef uint64_t u64;
typedef int64_t i64;
enum { BLOCK = 512 };

static inline double as_double(u64 x) { double y; memcpy(&y, &x, 8); return y; }
static inline u64 as_bits(double x) { u64 y; memcpy(&y, &x, 8); return y; }
static inline double fraction(u64 x) { return as_double((x >> 12) | 0x3FF0000000000000ull) - (1.0 - 0x1p-53); }

#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLES 1
typedef double v4 __attribute__((vector_size(32)));
typedef i64 w4 __attribute__((vector_size(32)));
#define LOAD(v, place) memcpy(&v, place, 32)
#define MIX __builtin_shufflevector
#endif

static inline double cubic_at(const double *c, double x) { return ((c[0] * x + c[1]) * x + c[2]) * x + c[3]; }

/* Bits into normal numbers, in place. The first bit is the side of the median; the others are the probability p / 2 beyond,
   whose quantile is a cubic: exponent and first bits of p name it, the rest is the place in it. */
static void normals(u64 *x, i64 n, const double *cubic) {
  i64 bin[BLOCK];
  double place[BLOCK];
  for (i64 i = 0; i < n; i++) {
    const u64 side = (u64)((i64)x[i] >> 63);
    const u64 p = as_bits(fraction((x[i] ^ side) << 1));
    bin[i] = 4 * ((i64)(p >> 46) - ((1023 - 53) << 6));
    place[i] = as_double((p & 0x00003FFFFFFFFFFFull) | 0x3FF0000000000000ull) - 1.0;
    x[i] = side & 0x8000000000000000ull;
  }
  i64 i = 0;
#ifdef SHUFFLES
  for (; i + 4 <= n; i += 4) { /* four cubics, transposed: a vector for each power */
    v4 a, b, c, d, at;
    w4 sign;
    LOAD(a, cubic + bin[i]); LOAD(b, cubic + bin[i + 1]); LOAD(c, cubic + bin[i + 2]); LOAD(d, cubic + bin[i + 3]);
    LOAD(at, place + i); LOAD(sign, x + i);
    const v4 e = MIX(a, b, 0, 4, 2, 6), f = MIX(a, b, 1, 5, 3, 7), g = MIX(c, d, 0, 4, 2, 6), h = MIX(c, d, 1, 5, 3, 7);
    const v4 third = MIX(e, g, 0, 1, 4, 5), second = MIX(f, h, 0, 1, 4, 5);
    const v4 first = MIX(e, g, 2, 3, 6, 7), constant = MIX(f, h, 2, 3, 6, 7);
    sign ^= (w4)(((third * at + second) * at + first) * at + constant);
    memcpy(x + i, &sign, 32);
  }
#endif
  for (; i < n; i++) x[i] ^= as_bits(cubic_at(cubic + bin[i], place[i]));
}

/* Numbers (count, width) of series with two keys each: 0 bits, 1 uniform, 2 normal, 3 fractions. */
EXPORT void numbers(i64 kind, const u64 *start, const u64 *salt, i64 width, u64 first, i64 count, const double *cubic,
                    u64 *out) {
  for (i64 row = 0; row < count; row++) {
    const u64 step = (first + (u64)row) * 0x9E3779B97F4A7C15ull;
    for (i64 begin = 0; begin < width; begin += BLOCK) {
      const i64 n = width - begin < BLOCK ? width - begin : BLOCK;
      const u64 *s = start + begin, *t = salt + begin;
      u64 *o = out + row * width + begin;
      for (i64 i = 0; i < n; i++) {
        u64 x = step + s[i];
        x ^= x >> 32;
        x = (x * 0xBF58476D1CE4E5B9ull) ^ t[i];
        x ^= x >> 30;
        o[i] = x * 0x94D049BB133111EBull;
      }
      if (kind == 1) for (i64 i = 0; i < n; i++) o[i] = as_bits(fraction(o[i]));
      if (kind == 2) normals(o, n, cubic);
      if (kind == 3) for (i64 i = 0; i < n; i++) o[i] = as_bits((double)(i64)(o[i] >> 48) * 0x1p-16);
    }
  }
}

/* Scores of an AR(1) process, that share a part with their group; row `zero` is that of period 0. */
EXPORT void correlate(double *own, i64 own_row, const double *common, i64 common_row, i64 rows, i64 worlds, i64 zero,
                      double alone, double shared, double keep, double fresh) {
  if (common) for (i64 r = 0; r < rows; r++) {
    double *x = own + r * own_row;
    const double *y = common + r * common_row;
    for (i64 i = 0; i < worlds; i++) x[i] = x[i] * alone + shared * y[i];
  }
  if (keep == 0.0) return;
  for (i64 r = zero + 1; r < rows; r++) {
    double *x = own + r * own_row, *y = x - own_row;
    for (i64 i = 0; i < worlds; i++) x[i] = fresh * x[i] + keep * y[i];
  }
  for (i64 r = zero - 1; r >= 0; r--) {
    double *x = own + r * own_row, *y = x + own_row;
    for (i64 i = 0; i < worlds; i++) x[i] = fresh * x[i] + keep * y[i];
  }
}

static inline void put(void *out, i64 whole, i64 place, double value) {
  if (whole) ((i64 *)out)[place] = (i64)value; else ((double *)out)[place] = value;
}

/* Quantiles of a smooth law, scaled: 0 clipped normal (a: spread, b: centre), 1 linear (a: width, b: low), 2 joined cubics
   (a: knots a unit of score, b: place of score 0; `knots` (4, intervals)). */
EXPORT void smooth(i64 kind, double a, double b, const double *knots, i64 intervals, const double *argument, i64 argument_row,
                   i64 rows, i64 worlds, const double *season, const double *effect, i64 effect_row, i64 effect_world,
                   i64 rounds, i64 whole, void *out, i64 out_row) {
  double drawn[BLOCK];
  for (i64 r = 0; r < rows; r++) for (i64 begin = 0; begin < worlds; begin += BLOCK) {
    const i64 n = worlds - begin < BLOCK ? worlds - begin : BLOCK;
    const double *x = argument + r * argument_row + begin;
    if (kind == 0) for (i64 i = 0; i < n; i++) { double y = x[i] * a + b; drawn[i] = y > 0.0 ? y : 0.0; }
    if (kind == 1) for (i64 i = 0; i < n; i++) drawn[i] = x[i] * a + b;
    if (kind == 2) for (i64 i = 0; i < n; i++) {
      double place = x[i] * a + b;
      place = place > 0.0 ? place : 0.0;
      place = place < 2.0 * b ? place : 2.0 * b;
      i64 k = (i64)place;
      k = k < intervals - 1 ? k : intervals - 1;
      const double *c = knots + k;
      place -= (double)k;
      double y = ((c[0] * place + c[intervals]) * place + c[2 * intervals]) * place + c[3 * intervals];
      drawn[i] = y > 0.0 ? y : 0.0;
    }
    if (season) { const double f = season[r]; for (i64 i = 0; i < n; i++) drawn[i] *= f; }
    if (effect) {
      const double *e = effect + r * effect_row + begin * effect_world;
      for (i64 i = 0; i < n; i++) drawn[i] *= e[i * effect_world];
    }
    if (rounds) for (i64 i = 0; i < n; i++) drawn[i] = __builtin_floor(drawn[i] + 0.5);
    const i64 to = r * out_row + begin;
    if (whole) { i64 *o = (i64 *)out + to; for (i64 i = 0; i < n; i++) o[i] = (i64)drawn[i]; }
    else memcpy((double *)out + to, drawn, 8 * (size_t)n);
  }
}

/* Values of discrete laws by guide tables. */
EXPORT void look_up(const double *argument, i64 argument_row, i64 rows, i64 worlds, const i64 *laws, i64 laws_row,
                    i64 laws_world, i64 bins, double rate, double offset, i64 score, const i64 *lowest, const i64 *highest,
                    const uint8_t *full, const double *edges, const double *values, i64 whole, void *out, i64 out_row) {
  for (i64 r = 0; r < rows; r++) {
    const double *x = argument + r * argument_row;
    for (i64 i = 0; i < worlds; i++) {
      double place = x[i] * rate;
      if (score) {
        place += offset;
        place = place > 0.0 ? place : 0.0;
        place = place < (double)(bins - 1) ? place : (double)(bins - 1);
      }
      const i64 bin = (i64)place + laws[r * laws_row + i * laws_world] * bins;
      i64 found = lowest[bin];
      if (full[bin]) {
        i64 high = highest[bin];
        while (found < high) {
          const i64 middle = (found + high) >> 1;
          if (edges[middle] < x[i]) found = middle + 1; else high = middle;
        }
      } else found += x[i] > edges[found];
      put(out, whole, r * out_row + i, values[found]);
    }
  }
}

/* A few numbers (rows, series, worlds) of each of many series by the edges of its law; `starts` of a law's edges, to which its
   own number is added for its values; `cells` of the series in a row of `out`. */
EXPORT void few(const double *numbers, i64 rows, i64 series, i64 worlds, const i64 *laws, const i64 *starts,
                const double *edges, const double *values, const i64 *cells, i64 whole, void *out, i64 out_row) {
  for (i64 r = 0; r < rows; r++) for (i64 k = 0; k < series; k++) {
    const i64 law = laws[k], first = starts[law], last = starts[law + 1];
    for (i64 i = 0; i < worlds; i++) {
      const double x = numbers[(r * series + k) * worlds + i];
      i64 low = first, high = last;
      while (low < high) {
        const i64 middle = (low + high) >> 1;
        if (edges[middle] < x) low = middle + 1; else high = middle;
      }
      put(out, whole, r * out_row + cells[k] * worlds + i, values[low + law]);
    }
  }
}

/* Looks ahead at demand: `noise` becomes the bridge of this lead, of which `before` is the one of the lead before. */
EXPORT void look(const void *demand, i64 whole, i64 demand_row, const double *mean, const double *spread, i64 step,
                 double *noise, const double *before, i64 noise_row, i64 rows, i64 from, i64 count, i64 worlds, double known,
                 double scale, double ratio, double *out, i64 out_row) {
  for (i64 r = 0; r < rows; r++) {
    double *z = noise ? noise + r * noise_row : 0;
    if (z) for (i64 i = 0; i < worlds; i++) z[i] *= scale;
    if (z && before) { const double *b = before + r * noise_row; for (i64 i = 0; i < worlds; i++) z[i] += b[i] * ratio; }
    if (r < from || r >= from + count) continue;
    const double m = mean[r * step], s = spread[r * step];
    double *o = out + (r - from) * out_row;
    const i64 *w = (const i64 *)demand + r * demand_row;
    const double *d = (const double *)demand + r * demand_row;
    if (whole) for (i64 i = 0; i < worlds; i++) o[i] = ((double)w[i] - m) * known + m;
    else for (i64 i = 0; i < worlds; i++) o[i] = (d[i] - m) * known + m;
    if (z) for (i64 i = 0; i < worlds; i++) o[i] += z[i] * s;
  }
}

/* A chain of two states, row by row from the first, which is given. */
EXPORT void chain(const double *uniforms, i64 uniforms_row, i64 rows, i64 worlds, double fall, double stay, uint8_t *out,
                  i64 out_row) {
  for (i64 r = 1; r < rows; r++) {
    const double *u = uniforms + r * uniforms_row;
    const uint8_t *was = out + (r - 1) * out_row;
    uint8_t *is = out + r * out_row;
    for (i64 i = 0; i < worlds; i++) is[i] = (u[i] < fall && !was[i]) | (u[i] < stay && was[i]);
  }
}

/* One entity's numbers times an amount where an event is active. */
EXPORT void affect(double *out, i64 out_row, i64 rows, i64 worlds, const uint8_t *active, i64 active_row, i64 active_world,
                   double amount) {
  for (i64 r = 0; r < rows; r++) {
    double *o = out + r * out_row;
    const uint8_t *a = active + r * active_row;
    if (active_world) for (i64 i = 0; i < worlds; i++) o[i] *= a[i] ? amount : 1.0;
    else if (a[0]) for (i64 i = 0; i < worlds; i++) o[i] *= amount;
  }
}

/* Values of a law with few values, by how many edges a number is beyond; stretched, if there is a factor, and rounded up. */
EXPORT void lead_times(const double *uniforms, i64 uniforms_row, i64 rows, i64 worlds, const double *edges, i64 count,
                       const i64 *values, i64 *out, i64 out_row) {
  for (i64 r = 0; r < rows; r++) {
    const double *u = uniforms + r * uniforms_row;
    i64 *o = out + r * out_row;
    for (i64 i = 0; i < worlds; i++) o[i] = 0;
    for (i64 k = 0; k < count; k++) for (i64 i = 0; i < worlds; i++) o[i] += u[i] > edges[k];
    for (i64 i = 0; i < worlds; i++) o[i] = values[o[i]];
  }
}

EXPORT void stretch(i64 *out, i64 out_row, i64 rows, i64 worlds, const double *factor, i64 factor_row, i64 factor_world) {
  for (i64 r = 0; r < rows; r++) {
    i64 *o = out + r * out_row;
    const double *f = factor + r * factor_row;
    for (i64 i = 0; i < worlds; i++) o[i] = (i64)__builtin_ceil((double)o[i] * f[i * factor_world] - 1e-9);
  }
}

/* Units of a record at its periods, -1 being a period that it does not show. */
EXPORT void replay(const double *units, i64 periods, i64 in_order, double mean, const i64 *positions, i64 positions_row,
                   i64 positions_world, i64 rows, i64 worlds, const double *effect, i64 effect_row, i64 effect_world,
                   i64 rounds, i64 whole, void *out, i64 out_row) {
  for (i64 r = 0; r < rows; r++) for (i64 i = 0; i < worlds; i++) {
    const i64 at = positions[r * positions_row + i * positions_world];
    double drawn = units[at < 0 ? 0 : at < periods ? at : periods - 1];
    if (in_order && at < 0) drawn = mean;
    if (effect) drawn *= effect[r * effect_row + i * effect_world];
    if (rounds) drawn = __builtin_floor(drawn + 0.5);
    put(out, whole, r * out_row + i, drawn);
  }
}
"""
