"""C source of one store with lost sales and base-stock, in whole units of sixteen bits."""

#: Before it, ``LEAD`` (periods) is defined.
SOURCE = r"""
#include <stdint.h>

#define W 128           // worlds side by side
#define CELLS 32        // of the alias table
#define OUT __attribute__((visibility("default")))

typedef int16_t units;
typedef struct { uint32_t word[4][W]; } random_words;
typedef struct { int32_t level, stock, transit[LEAD]; uint32_t chance[CELLS], alias[CELLS]; } numbers;

static void seeded(random_words *r, uint64_t seed) {
    for (int k = 0; k < 4; k++)
        for (int w = 0; w < W; w++) {  // splitmix64
            uint64_t z = (seed += 0x9E3779B97F4A7C15ull);
            z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
            z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
            r->word[k][w] = (uint32_t)(z >> 32);
        }
}

// Demand from a word: a cell by its last five bits, that cell or its alias by the others (Walker's alias method).
#if defined(__GNUC__) && !defined(__clang__) && defined(__AVX512F__)
typedef uint32_t words __attribute__((vector_size(64), aligned(4), may_alias));
static inline void chosen(const numbers *n, const uint32_t *u, units *demand) {
    const words *chance = (const words *)n->chance, *alias = (const words *)n->alias;
    words low = chance[0], high = chance[1], first = alias[0], second = alias[1];
    for (int w = 0; w < W; w += 16) {
        words x = *(const words *)(u + w), cell = x & 31, other = __builtin_shuffle(first, second, cell);
        words itself = (words)((x >> 5) < __builtin_shuffle(low, high, cell)), found = (cell & itself) | (other & ~itself);
        for (int k = 0; k < 16; k++) demand[w + k] = (units)found[k];
    }
}
#else
static inline void chosen(const numbers *n, const uint32_t *u, units *demand) {
    for (int w = 0; w < W; w++) {
        uint32_t cell = u[w] & 31;
        demand[w] = (units)((u[w] >> 5) < n->chance[cell] ? cell : n->alias[cell]);
    }
}
#endif

// xoshiro128+ (Blackman and Vigna), a stream a world; its lowest bits are weak: the words are turned round.
static inline void drawn(random_words *r, const numbers *n, units *demand) {
    uint32_t out[W];
    for (int w = 0; w < W; w++) {
        uint32_t a = r->word[0][w], b = r->word[1][w], c = r->word[2][w], d = r->word[3][w], sum = a + d;
        out[w] = (sum << 16) | (sum >> 16);
        uint32_t shifted = b << 9;
        c ^= a; d ^= b; b ^= c; a ^= d; c ^= shifted;
        r->word[0][w] = a; r->word[1][w] = b; r->word[2][w] = c; r->word[3][w] = (d << 11) | (d >> 21);
    }
    chosen(n, out, demand);
}

// Units (2,) held and lost in all worlds, summed over the periods behind `skipped`.
OUT void play(const numbers *n, long worlds, long periods, long skipped, uint64_t seed, const units *tape, int64_t *sums) {
    random_words r;
    seeded(&r, seed);
    sums[0] = sums[1] = 0;
    for (long first = 0; first < worlds; first += W) {
        units stock[W], position[W], transit[LEAD][W], held[W], lost[W];
        for (int w = 0; w < W; w++) {
            int all = n->stock;
            for (int k = 0; k < LEAD; k++) all += n->transit[k], transit[k][w] = (units)n->transit[k];
            stock[w] = (units)n->stock, position[w] = (units)all, held[w] = lost[w] = 0;
        }
        int slot = 0;
        units level = (units)n->level;
        for (long t = 0; t < periods; t++) {
            units made[W], counts = t >= skipped ? -1 : 0;
            const units *restrict demand = made;
            if (tape) demand = tape + first * periods + t * W;
            else drawn(&r, n, made);
            units *restrict due = transit[slot];
            slot = slot + 1 == LEAD ? 0 : slot + 1;
            for (int w = 0; w < W; w++) {
                units here = stock[w] + due[w], order = level - position[w];
                order = order > 0 ? order : 0;
                due[w] = order;
                units left = here > demand[w] ? here - demand[w] : 0;
                units lacked = demand[w] > here ? demand[w] - here : 0;
                position[w] += order - (demand[w] - lacked);
                stock[w] = left;
                held[w] += left & counts;
                lost[w] += lacked & counts;
            }
        }
        for (int w = 0; w < W; w++) sums[0] += held[w], sums[1] += lost[w];
    }
}

OUT long width(void) { return W; }
"""
