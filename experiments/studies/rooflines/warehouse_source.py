"""C source of one warehouse and its stores: lost sales, echelon base-stock, forward and backward."""

#: Before it, ``REAL`` (float or double), ``STORES`` and ``LEADS`` (periods by lane, the warehouse's first) are defined.
SOURCE = r"""
#include <stdint.h>
#include <string.h>

#define W 32            // worlds side by side
#define LANES (STORES + 1)
#define PAIRS ((STORES + 2) / 2)
#define MOST 16         // longest lead time
#define OUT __attribute__((visibility("default")))

typedef REAL real;
typedef struct { uint32_t word[4][W]; } random_words;
typedef struct {
    real level[LANES], holding[LANES], lost[STORES], mean[STORES], deviation[STORES], stock[LANES], transit[LANES][MOST];
    real common;  // correlation of demand between stores
} numbers;

static const int lead[LANES] = LEADS;

static void seeded(random_words *r, uint64_t seed) {
    for (int k = 0; k < 4; k++)
        for (int w = 0; w < W; w++) {  // splitmix64
            uint64_t z = (seed += 0x9E3779B97F4A7C15ull);
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
            r->word[k][w] = (uint32_t)(z >> 32);
        }
}

// xoshiro128+ (Blackman and Vigna), a stream a world
static inline void next(random_words *r, uint32_t *out) {
    for (int w = 0; w < W; w++) {
        uint32_t a = r->word[0][w], b = r->word[1][w], c = r->word[2][w], d = r->word[3][w];
        out[w] = a + d;
        uint32_t shifted = b << 9;
        c ^= a; d ^= b; b ^= c; a ^= d; c ^= shifted;
        r->word[0][w] = a; r->word[1][w] = b; r->word[2][w] = c; r->word[3][w] = (d << 11) | (d >> 21);
    }
}

// Two standard normals from two words (Box and Muller): the radius from 24 bits; the angle within an eighth of the circle
// from 24, its place on the circle from three of the others.
static inline void normals(random_words *r, float *one, float *two) {
    uint32_t u[W], v[W];
    next(r, u);
    next(r, v);
    for (int w = 0; w < W; w++) {
        float x = ((float)(int32_t)(u[w] >> 8) + 0.5f) * 5.9604645e-8f;
        union { float f; int32_t i; } bits = {.f = x};
        int32_t exponent = (bits.i - 0x3f3504f3) >> 23;  // mantissa in [sqrt(1/2), sqrt(2))
        bits.i -= exponent << 23;
        float m = bits.f - 1.0f;  // log(1 + m), the polynomial of Cephes' logf
        float p = 7.0376836292e-2f;
        p = p * m - 1.1514610310e-1f; p = p * m + 1.1676998740e-1f; p = p * m - 1.2420140846e-1f;
        p = p * m + 1.4249322787e-1f; p = p * m - 1.6668057665e-1f; p = p * m + 2.0000714765e-1f;
        p = p * m - 2.4999993993e-1f; p = p * m + 3.3333331174e-1f;
        float log = m + m * m * (p * m - 0.5f) + 0.693147181f * (float)exponent;
        float radius = __builtin_sqrtf(-2.0f * log);
        float angle = ((float)(int32_t)(v[w] >> 8) - 8388607.5f) * 9.3623837e-8f;  // pi / 4 at most
        float square = angle * angle;
        float sine = -1.6666654611e-1f + square * (8.3321608736e-3f - square * 1.9515295891e-4f);
        sine = angle * (1.0f + square * sine);
        float cosine = -1.388731625493765e-3f + square * 2.443315711809948e-5f;
        cosine = 1.0f - 0.5f * square + square * square * (4.166664568298827e-2f + square * cosine);
        float a = v[w] & 32 ? sine : cosine, b = v[w] & 32 ? cosine : sine;
        one[w] = radius * (v[w] & 64 ? -a : a);
        two[w] = radius * (v[w] & 128 ? -b : b);
    }
}

// Demand of a period: normal, one common factor, cut at nothing.
static inline void drawn(random_words *r, const numbers *n, real (*demand)[W]) {
    float z[2 * PAIRS][W];
    for (int k = 0; k < PAIRS; k++) normals(r, z[2 * k], z[2 * k + 1]);
    float own = __builtin_sqrtf(1.0f - (float)n->common), common = __builtin_sqrtf((float)n->common);
    for (int i = 0; i < STORES; i++)
        for (int w = 0; w < W; w++) {
            float x = (float)n->mean[i] + (float)n->deviation[i] * (common * z[STORES][w] + own * z[i][w]);
            demand[i][w] = x > 0 ? x : 0;
        }
}

typedef struct { real stock[LANES][W], position[LANES][W], transit[LANES][MOST][W]; } state;
// What the way back has to know of a period.
typedef struct { real asked[STORES][W], share[W], total[W], lacked[STORES][W], raised[W]; } trail;

static void started(state *s, const numbers *n) {
    real all = 0;
    for (int l = LANES - 1; l >= 0; l--) {
        real sum = n->stock[l];
        for (int k = 0; k < lead[l]; k++) sum += n->transit[l][k];
        all += sum;
        for (int w = 0; w < W; w++) {
            s->stock[l][w] = n->stock[l];
            s->position[l][w] = l ? sum : all;
            for (int k = 0; k < lead[l]; k++) s->transit[l][k][w] = n->transit[l][k];
        }
    }
}

static inline void period(state *s, const numbers *n, int t, const real (*restrict demand)[W], real *restrict cost,
                          real weight, trail *kept) {
    real asked[STORES][W], total[W], share[W], sold[W], now[W];
    real (*restrict wanted)[W] = kept ? kept->asked : asked;
    int slot = t % lead[0];
    for (int w = 0; w < W; w++) {
        s->stock[0][w] += s->transit[0][slot][w];
        real order = n->level[0] - s->position[0][w];
        if (kept) kept->raised[w] = order;
        order = order > 0 ? order : 0;
        s->transit[0][slot][w] = order;
        s->position[0][w] += order;
        total[w] = sold[w] = 0;
    }
    for (int i = 0; i < STORES; i++)
        for (int w = 0; w < W; w++) {
            real x = n->level[i + 1] - s->position[i + 1][w];
            wanted[i][w] = x > 0 ? x : 0;
            total[w] += wanted[i][w];
        }
    for (int w = 0; w < W; w++) {
        share[w] = total[w] > s->stock[0][w] ? s->stock[0][w] / total[w] : 1;
        s->stock[0][w] -= share[w] * total[w];
        s->stock[0][w] = s->stock[0][w] > 0 ? s->stock[0][w] : 0;
        if (kept) kept->share[w] = share[w], kept->total[w] = total[w];
        now[w] = n->holding[0] * s->stock[0][w];
    }
    for (int i = 0; i < STORES; i++) {
        real *restrict due = s->transit[i + 1][t % lead[i + 1]];
        for (int w = 0; w < W; w++) {
            real stock = s->stock[i + 1][w] + due[w], shipped = wanted[i][w] * share[w];
            due[w] = shipped;
            real short_of = demand[i][w] - stock, lost = short_of > 0 ? short_of : 0, served = demand[i][w] - lost;
            if (kept) kept->lacked[i][w] = short_of;
            stock -= served;
            s->stock[i + 1][w] = stock;
            s->position[i + 1][w] += shipped - served;
            sold[w] += served;
            now[w] += n->holding[i + 1] * stock + n->lost[i] * lost;
        }
    }
    for (int w = 0; w < W; w++) {
        s->position[0][w] -= sold[w];
        cost[w] += weight * now[w];
    }
}

// Costs (W,) of so many periods, summed over those behind `skipped`: for all worlds, and their sum.
OUT double play(const numbers *n, long worlds, long periods, long skipped, uint64_t seed, const real *tape, real *costs) {
    double all = 0;
    random_words r;
    seeded(&r, seed);
    for (long first = 0; first < worlds; first += W) {
        state s;
        real cost[W] = {0};
        started(&s, n);
        for (long t = 0; t < periods; t++) {
            real made[STORES][W];
            const real (*demand)[W] = (const real (*)[W])made;
            if (tape) demand = (const real (*)[W])(tape + (first * periods + t * W) * STORES);
            else drawn(&r, n, made);
            period(&s, n, (int)t, demand, cost, t >= skipped, 0);
        }
        for (int w = 0; w < W; w++) {
            if (costs) costs[first + w] = cost[w];
            all += (double)cost[w];
        }
    }
    return all;
}

// The same with the gradient in the levels; `trails` has room for all periods.
OUT double differentiate(const numbers *n, long worlds, long periods, long skipped, uint64_t seed, const real *tape,
                         trail *trails, double *slopes) {
    double all = 0;
    real sums[LANES][W] = {{0}};
    random_words r;
    seeded(&r, seed);
    for (long first = 0; first < worlds; first += W) {
        state s;
        real cost[W] = {0};
        started(&s, n);
        for (long t = 0; t < periods; t++) {
            real made[STORES][W];
            const real (*demand)[W] = (const real (*)[W])made;
            if (tape) demand = (const real (*)[W])(tape + (first * periods + t * W) * STORES);
            else drawn(&r, n, made);
            period(&s, n, (int)t, demand, cost, t >= skipped, trails + t);
        }
        for (int w = 0; w < W; w++) all += (double)cost[w];
        memset(&s, 0, sizeof s);  // from here on derivatives
        for (long t = periods - 1; t >= 0; t--) {
            const trail *k = trails + t;
            real weight = t >= skipped, by_share[W];
            for (int w = 0; w < W; w++) {
                s.stock[0][w] += weight * n->holding[0];
                by_share[w] = 0;
            }
            real by_asked[STORES][W];
            for (int i = 0; i < STORES; i++) {
                real *restrict due = s.transit[i + 1][t % lead[i + 1]];
                for (int w = 0; w < W; w++) {
                    real stock = s.stock[i + 1][w] + weight * n->holding[i + 1];
                    real sold = -s.position[i + 1][w] - s.position[0][w] - weight * n->lost[i];
                    stock = k->lacked[i][w] > 0 ? sold : stock;
                    real shipped = due[w] + s.position[i + 1][w] - s.stock[0][w];
                    due[w] = s.stock[i + 1][w] = stock;
                    by_asked[i][w] = shipped * k->share[w];
                    by_share[w] += shipped * k->asked[i][w];
                }
            }
            real by_total[W];
            for (int w = 0; w < W; w++) {
                real inverse = k->share[w] < 1 ? by_share[w] / k->total[w] : 0;
                s.stock[0][w] += inverse;
                by_total[w] = -inverse * k->share[w];
            }
            for (int i = 0; i < STORES; i++)
                for (int w = 0; w < W; w++) {
                    real slope = k->asked[i][w] > 0 ? by_asked[i][w] + by_total[w] : 0;
                    sums[i + 1][w] += slope;
                    s.position[i + 1][w] -= slope;
                }
            real *restrict due = s.transit[0][t % lead[0]];
            for (int w = 0; w < W; w++) {
                real slope = k->raised[w] > 0 ? due[w] + s.position[0][w] : 0;
                sums[0][w] += slope;
                s.position[0][w] -= slope;
                due[w] = s.stock[0][w];
            }
        }
    }
    for (int l = 0; l < LANES; l++) {
        slopes[l] = 0;
        for (int w = 0; w < W; w++) slopes[l] += (double)sums[l][w];
    }
    return all;
}

OUT long trail_bytes(void) { return sizeof(trail); }
OUT long width(void) { return W; }
"""
