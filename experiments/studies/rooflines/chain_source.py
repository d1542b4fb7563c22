"""C source of a chain of echelons with a storage that all products share: lost sales at its end, echelon base-stock."""

#: Before it, ``REAL`` (float or double), ``ECHELONS`` and ``LEADS`` (periods by lane, from the supplier on) are defined.
SOURCE = r"""
#include <stdint.h>
#include <stdlib.h>

#define CELLS 32        // of the alias table
#define LONGEST 4       // lead time
#define BLOCK 64        // products drawn side by side; their number is filled up to a multiple
#define OUT __attribute__((visibility("default")))

typedef REAL real;
typedef struct { uint32_t word[4][BLOCK]; } random_words;
typedef struct {
    double holding[ECHELONS], storage[ECHELONS], overflow[ECHELONS], lost;
    uint32_t chance[CELLS], alias[CELLS];
} numbers;

static const int lead[ECHELONS] = LEADS;

static void seeded(random_words *r, uint64_t seed) {
    for (int k = 0; k < 4; k++)
        for (int w = 0; w < BLOCK; w++) {  // splitmix64
            uint64_t z = (seed += 0x9E3779B97F4A7C15ull);
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
            r->word[k][w] = (uint32_t)(z >> 32);
        }
}

// xoshiro128+ (Blackman and Vigna), its words turned round, and Walker's alias method.
static inline void drawn(random_words *r, const numbers *n, real *demand) {
    for (int w = 0; w < BLOCK; w++) {
        uint32_t a = r->word[0][w], b = r->word[1][w], c = r->word[2][w], d = r->word[3][w], sum = a + d;
        uint32_t shifted = b << 9;
        c ^= a; d ^= b; b ^= c; a ^= d; c ^= shifted;
        r->word[0][w] = a; r->word[1][w] = b; r->word[2][w] = c; r->word[3][w] = (d << 11) | (d >> 21);
        sum = (sum << 16) | (sum >> 16);
        uint32_t cell = sum & 31;
        demand[w] = (real)(int32_t)((sum >> 5) < n->chance[cell] ? cell : n->alias[cell]);
    }
}

// Costs (worlds,) summed over the periods behind `skipped`, and their sum, which is less than nothing where there is no memory.
// Levels and stock (ECHELONS, products), units on the way (ECHELONS, LONGEST, products) by when they are due, a demand (worlds,
// periods, products) or none. `products` is a multiple of BLOCK, of which the first are asked for.
OUT double play(const numbers *n, long products, long asked, const real *level, const real *opening, const real *under_way,
                long worlds, long periods, long skipped, uint64_t seed, const real *tape, double *costs) {
    real *memory = aligned_alloc(64, sizeof(real) * (size_t)products * (ECHELONS * (2 + LONGEST) + 1));
    if (!memory) return -1;
    real *stock = memory, *position = stock + ECHELONS * products, *road = position + ECHELONS * products;
    real *made = road + ECHELONS * LONGEST * products;
    double all = 0;
    random_words r;
    seeded(&r, seed);
    for (long world = 0; world < worlds; world++) {
        double cost = 0;
        for (int k = ECHELONS - 1; k >= 0; k--)
            for (long p = 0; p < products; p++) {
                stock[k * products + p] = opening[k * products + p];
                position[k * products + p] = opening[k * products + p];
                if (k + 1 < ECHELONS) position[k * products + p] += position[(k + 1) * products + p];
                for (int slot = 0; slot < LONGEST; slot++) {
                    long place = (k * LONGEST + slot) * products + p;
                    road[place] = under_way[place];
                    position[k * products + p] += under_way[place];
                }
            }
        for (long t = 0; t < periods; t++) {
            const real *demand = made;
            if (tape) demand = tape + (world * periods + t) * products;
            else {
                for (long p = 0; p < products; p += BLOCK) drawn(&r, n, made + p);
                for (long p = asked; p < products; p++) made[p] = 0;
            }
            real held[ECHELONS] = {0}, lost = 0;
            for (long first = 0; first < products; first += BLOCK) {
                for (int k = ECHELONS - 1; k >= 0; k--) {  // goods that arrive now can go on
                    real *restrict mine = stock + k * products + first;
                    const real *restrict due = road + (k * LONGEST + t % lead[k]) * products + first;
                    for (int p = 0; p < BLOCK; p++) mine[p] += due[p];
                }
                for (int k = ECHELONS - 1; k >= 0; k--) {
                    real *restrict place = position + k * products + first;
                    real *restrict above = stock + (k - 1) * products + first;
                    real *restrict sent = road + (k * LONGEST + t % lead[k]) * products + first;
                    const real *restrict up = level + k * products + first;
                    if (k)
                        for (int p = 0; p < BLOCK; p++) {
                            real order = up[p] - place[p];
                            order = order > 0 ? order : 0;
                            order = order < above[p] ? order : above[p];
                            above[p] -= order;
                            sent[p] = order;
                            place[p] += order;
                        }
                    else
                        for (int p = 0; p < BLOCK; p++) {
                            real order = up[p] - place[p];
                            order = order > 0 ? order : 0;
                            sent[p] = order;
                            place[p] += order;
                        }
                }
                real *restrict last = stock + (ECHELONS - 1) * products + first;
                for (int p = 0; p < BLOCK; p++) {
                    real wanted = demand[first + p], sold = wanted < last[p] ? wanted : last[p];
                    last[p] -= sold;
                    lost += wanted - sold;
                    for (int k = 0; k < ECHELONS; k++) position[k * products + first + p] -= sold;
                }
                for (int k = 0; k < ECHELONS; k++)
                    for (int p = 0; p < BLOCK; p++) held[k] += stock[k * products + first + p];
            }
            if (t < skipped) continue;
            cost += n->lost * (double)lost;
            for (int k = 0; k < ECHELONS; k++) {
                double over = (double)held[k] - n->storage[k];
                cost += n->holding[k] * (double)held[k] + n->overflow[k] * (over > 0 ? over : 0);
            }
        }
        if (costs) costs[world] = cost;
        all += cost;
    }
    free(memory);
    return all;
}
"""
