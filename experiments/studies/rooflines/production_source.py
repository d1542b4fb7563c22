"""C source of OR-Gym's network (``production_network``), one world at a time, its requests drawn beforehand."""

SOURCE = r"""
#include <stdint.h>

#define LANES 11
#define NODES 6         // factories 4, 5, 6; distributors 2, 3; retailer
#define CELLS 64        // of the alias table
#define MOST 16         // longest lead time
#define OUT __attribute__((visibility("default")))

typedef struct {
    double stock[NODES], capacity[3], holding[NODES], by_unit[LANES], in_transit[LANES], backorder, price;
    uint64_t chance[CELLS], alias[CELLS];
} numbers;
typedef struct { double stock[NODES], road[LANES][MOST], on_road[LANES], backlog; } state;

// In the order of the scenario: into the retailer (2), from factory 4 (2), 5 (1) and 6 (2), raw materials (4).
static const int lead[LANES] = {5, 3, 9, 11, 10, 12, 13, 0, 2, 3, 0};
static const int target[LANES] = {5, 5, 3, 4, 3, 3, 4, 0, 1, 1, 2};

static inline double smaller(double a, double b) { return a < b ? a : b; }

static inline double period(state *s, const numbers *n, long t, const double *asked, double demand) {
    double cost = 0, sent[LANES];
    for (int l = 0; l < LANES; l++)
        if (lead[l]) {
            double due = s->road[l][t % lead[l]];
            s->stock[target[l]] += due;
            s->on_road[l] -= due;
        }
    // Distributors and factory 5 have one lane each; factories 4 and 6 fill their first lane first.
    sent[0] = smaller(asked[0], s->stock[3]);
    sent[1] = smaller(asked[1], s->stock[4]);
    sent[2] = smaller(asked[2], s->stock[0]);
    sent[3] = smaller(asked[3], s->stock[0] - sent[2]);
    sent[4] = smaller(asked[4], s->stock[1]);
    sent[5] = smaller(asked[5], s->stock[2]);
    sent[6] = smaller(asked[6], s->stock[2] - sent[5]);
    double four = sent[2] + sent[3], six = sent[5] + sent[6];
    if (four > n->capacity[0]) sent[2] *= n->capacity[0] / four, sent[3] *= n->capacity[0] / four;
    sent[4] = smaller(sent[4], n->capacity[1]);
    if (six > n->capacity[2]) sent[5] *= n->capacity[2] / six, sent[6] *= n->capacity[2] / six;
    for (int l = 7; l < LANES; l++) sent[l] = asked[l];
    s->stock[3] -= sent[0];
    s->stock[4] -= sent[1];
    s->stock[0] -= sent[2] + sent[3];
    s->stock[1] -= sent[4];
    s->stock[2] -= sent[5] + sent[6];
    for (int l = 0; l < LANES; l++) {
        if (lead[l]) {
            s->road[l][t % lead[l]] = sent[l];
            s->on_road[l] += sent[l];
            cost += n->in_transit[l] * s->on_road[l];
        } else
            s->stock[target[l]] += sent[l];
        cost += n->by_unit[l] * sent[l];
    }
    double wanted = demand + s->backlog, served = smaller(wanted, s->stock[5]);
    s->stock[5] -= served;
    s->backlog = wanted - served;
    for (int k = 0; k < NODES; k++) cost += n->holding[k] * s->stock[k];
    return cost + n->backorder * s->backlog - n->price * served;
}

// Costs less revenue (worlds,) summed over all periods; requests (rows, LANES) in turn, a demand (worlds, periods) or none.
OUT double play(const numbers *n, long worlds, long periods, const double *requests, long rows, uint64_t seed,
                const double *tape, double *costs) {
    double all = 0;
    long row = 0;
    for (long world = 0; world < worlds; world++) {
        state s = {{0}};
        double cost = 0;
        for (int k = 0; k < NODES; k++) s.stock[k] = n->stock[k];
        for (long t = 0; t < periods; t++) {
            double demand;
            if (tape) demand = tape[world * periods + t];
            else {  // splitmix64, and Walker's alias method
                uint64_t z = (seed += 0x9E3779B97F4A7C15ull);
                z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
                z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
                z ^= z >> 31;
                uint64_t cell = z & (CELLS - 1);
                demand = (double)((z >> 32) < n->chance[cell] ? cell : n->alias[cell]);
            }
            cost += period(&s, n, t, requests + LANES * row, demand);
            if (++row == rows) row = 0;
        }
        if (costs) costs[world] = cost;
        all += cost;
    }
    return all;
}
"""
