"""Tiny decision problems written out in plain Python from the contract alone, to hold the exact solvers against."""

from itertools import product
from typing import Any

Law = dict[int, float]


def perishable_optimum(
    life: int, lead: int, law: Law, holding: float, disposal: float, lost: float, purchase: float, most: int, lifo: bool
) -> float:
    """Optimal average cost of one store, lost sales, whole units of shelf life ``life`` that come after ``lead`` >= 1.

    A state is the stock by life left and what is under way. Stock at close pays holding, what is at its end of life
    then is disposed of. Orders of at most ``most`` units. Relative value iteration over all states.
    """
    fresh = life - 1 - lead  # class on arrival
    states = [
        (stock, road)
        for stock in product(range(most + 1), repeat=fresh + 1)
        for road in product(range(most + 1), repeat=lead - 1)
    ]
    values: dict[Any, float] = dict.fromkeys(states, 0.0)
    moves = {
        state: [_outcomes(state, q, law, holding, disposal, lost, purchase, lifo) for q in range(most + 1)]
        for state in states
    }
    while True:
        improved = {
            state: min(sum(p * (cost + values[following]) for p, cost, following in option) for option in moves[state])
            for state in states
        }
        changes = [improved[state] - values[state] for state in states]
        if max(changes) - min(changes) < 1e-10:
            return 0.5 * (max(changes) + min(changes))
        base = improved[states[0]]
        values = {state: value - base for state, value in improved.items()}


def _outcomes(
    state: Any, order: int, law: Law, holding: float, disposal: float, lost: float, purchase: float, lifo: bool
) -> list[tuple[float, float, Any]]:
    found = []
    for demand, probability in law.items():
        stock, road = list(state[0]), state[1]
        left = demand
        for age in range(len(stock))[:: -1 if lifo else 1]:
            taken = min(left, stock[age])
            stock[age] -= taken
            left -= taken
        cost = purchase * order + holding * sum(stock) + lost * left + disposal * stock[0]
        pipeline = (order, *road)
        following = ((*stock[1:], pipeline[-1]), pipeline[:-1])
        found.append((probability, cost, following))
    return found


def order_up_to_cost(low: int, high: int, law: Law, fixed: float, period_cost: dict[int, float]) -> float:
    """Average cost of an (s, S) rule with lead time 0: positions after ordering as a Markov chain, by power iteration."""
    positions = range(low + 1, high + 1)
    share = {y: 1.0 / len(positions) for y in positions}
    while True:
        moved = dict.fromkeys(positions, 0.0)
        for y, weight in share.items():
            for demand, p in law.items():
                moved[y - demand if y - demand > low else high] += weight * p
        if sum(abs(moved[y] - share[y]) for y in positions) < 1e-13:
            break
        share = moved
    orders = sum(weight * p for y, weight in share.items() for demand, p in law.items() if y - demand <= low)
    return fixed * orders + sum(weight * period_cost[y] for y, weight in share.items())
