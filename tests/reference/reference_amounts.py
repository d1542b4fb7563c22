"""Arithmetic of the reference simulator: amounts as floats, or as whole numbers computed exactly."""

import math
from fractions import Fraction

GRID = 65536  # shares are rounded to multiples of 1/GRID where units are whole
MOST_COINS = 127  # units up to which the law of coins is exact
SMALL = 1e-9  # less than this is dust of floating point where the question is whether any unit is there


class Continuous:
    """Any amount: floats, proportions as they come."""

    dtype, zero, half = float, 0.0, 0.5
    read = fraction = staticmethod(float)

    @staticmethod
    def something(units):
        return units > SMALL

    @staticmethod
    def round_mean(units):
        return float(units)

    @staticmethod
    def round_request(units, batch):
        return math.floor(units / batch + 0.5) * batch if batch else units

    @staticmethod
    def share(share, units, u):
        return share * units

    @staticmethod
    def capacity(capacity, availability, where):
        return capacity_today(capacity, availability, where)

    @staticmethod
    def cut(amounts, volume, capacity):
        """Amounts keyed by (lane, product), all scaled alike until their volume fits."""
        total = sum(units * volume[p] for (_, p), units in amounts.items())
        if capacity is None or total <= capacity:
            return amounts
        return {key: units * capacity / total for key, units in amounts.items()}

    @staticmethod
    def divide(supply, claims, u):
        """Everything claimed if it is there, else shares in proportion to the claims."""
        total = sum(claims)
        if total <= supply:
            return list(claims)
        return [supply * claim / total for claim in claims]

    @staticmethod
    def take_oldest(shelf, totals, u):
        """Take sum(totals) off the shelf (by life class, changed in place), oldest first; each taker gets the same mix."""
        need, taken = sum(totals), []
        for life, units in enumerate(shelf):
            taken.append(min(units, need))
            need -= taken[-1]
            shelf[life] -= taken[-1]
        everything = sum(taken)
        if everything == 0:
            return [[0.0] * len(shelf) for _ in totals]
        return [[units / everything * total for units in taken] for total in totals]


class Whole:
    """Whole units: Python integers and exact fractions; a random number decides where the rounding falls."""

    dtype, zero, half = int, 0, Fraction(1, 2)

    @staticmethod
    def fraction(number):
        return Fraction(number)  # a float is a binary fraction: exact

    @staticmethod
    def something(units):
        return units > 0

    @staticmethod
    def read(units):
        return half_up(units)

    @staticmethod
    def round_mean(units):
        return half_up(units)

    @staticmethod
    def round_request(units, batch):
        if not batch:
            return half_up(units)
        return half_up(Fraction(units) / Fraction(batch)) * int(batch)

    @staticmethod
    def share(share, units, u):
        share = Fraction(half_up(Fraction(share) * GRID), GRID)
        return math.floor(share * units + u)

    @staticmethod
    def heads(chance, units, u):
        """The least number of heads whose distribution function, to the nearest 1/GRID, exceeds u; from the units' law."""
        chance = Fraction(half_up(Fraction(chance) * GRID), GRID)
        few, found, reached = min(units, MOST_COINS), 0, Fraction(0)
        while True:
            reached += math.comb(few, found) * chance**found * (1 - chance) ** (few - found)
            if u < Fraction(half_up(reached * GRID), GRID):
                break
            found += 1
        if units <= MOST_COINS:
            return found
        spread = float(found - MOST_COINS * chance) * math.sqrt(units / MOST_COINS)
        return min(max(half_up(float(units * chance) + spread), 0), units)

    @staticmethod
    def capacity(capacity, availability, where):
        capacity = None if capacity is None else as_written(capacity)
        return capacity_today(capacity, as_written(availability), where)

    @staticmethod
    def cut(amounts, volume, capacity):
        total = sum(units * as_written(volume[p]) for (_, p), units in amounts.items())
        if capacity is None or total <= capacity:
            return amounts
        return {key: math.floor(units * capacity / total) for key, units in amounts.items()}

    @staticmethod
    def divide(supply, claims, u):
        """Claim i of running sums R_i gets floor(s R_i / R + u) - floor(s R_(i-1) / R + u) of a scarce supply s."""
        total = sum(claims)
        if total <= supply:
            return list(claims)
        parts, running = [], 0
        for claim in claims:
            before = math.floor(Fraction(supply * running, total) + u)
            running += claim
            parts.append(math.floor(Fraction(supply * running, total) + u) - before)
        return parts

    @staticmethod
    def take_oldest(shelf, totals, u):
        """Each class in turn, oldest first, is dealt over what every taker is still owed."""
        owed, ages = list(totals), [[0] * len(shelf) for _ in totals]
        for life, units in enumerate(shelf):
            taken = min(units, sum(owed))
            shelf[life] -= taken
            for i, part in enumerate(Whole.divide(taken, owed, u)):
                ages[i][life] = part
                owed[i] -= part
        return ages


def half_up(number):
    return math.floor(Fraction(number) + Fraction(1, 2))


def as_written(number):
    """The decimal that a user wrote, exactly: 0.3 is three tenths."""
    return Fraction(str(float(number)))


def capacity_today(capacity, availability, where):
    """Capacity times availability; None is no limit."""
    if capacity is not None:
        return capacity * availability
    if availability not in (0, 1):
        raise ValueError(f"{where}: availability {float(availability)} without a capacity, expected 0 or 1")
    return None if availability == 1 else 0
