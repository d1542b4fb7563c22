"""Expected demand, lead times and availability in the coming periods, from what a planner observes; one outlook a world."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from echelongym.envs.core.backend import half_up
from echelongym.envs.core.typing import Bools, Floats, Ints
from echelongym.envs.interface.observation import Observation
from echelongym.envs.processes.replay import ReplayedDemand
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.closed_days import Calendars
from echelongym.envs.worlds.disruption import When, active_within, hits
from echelongym.envs.worlds.record_statement import playable

from .linear_program.outlook import Outlook, Standing

#: Training worlds from which the pattern of recorded blocks (weekdays, say) is read.
RECORDED_WORLDS = 256


class Expectations:
    """Expected demand, lead times and availabilities of a scenario.

    - Demand: the process's mean in each period, season included; of recorded demand, the mean of each place in a block
      over training worlds. A forecast, where the scenario has one, takes the place of the mean as far as it looks (a look
      is the conditional mean). Scheduled disruptions scale it; random ones are not foreseen.
    - Calendars are known: when lanes can be asked, and that nothing arrives on closed days.
    - Lead times are nominal, stretched by scheduled disruptions; today's are those quoted, where they are. What is in
      transit on a lane of random lead time is expected after the mean of the lead times still possible, rounded up.
    - Availability: scheduled disruptions are known. What is short of that now stays so for the mean duration left of the
      random disruptions that could be at work, which have no memory; everything else is expected to work. Yields are 1.

    Parameters
    ----------
    scenario
        The scenario.
    periods
        Number of periods T looked at, this one included.
    """

    def __init__(self, scenario: Scenario, periods: int) -> None:
        self.scenario, self.periods = scenario, periods
        t = self.tables = scenario.tables
        self._means = np.zeros((0, t.C, t.P))
        self._lasting = {kind: np.zeros(size) for kind, size in (("nodes", t.N), ("lanes", t.L))}
        # Effects of disruptions of set periods: when, entities, amount; by what they change. Dates are not foreseen.
        self._set: dict[tuple[str, str], list[tuple[When, Ints, float]]] = {}
        for hit in hits(scenario):
            if hit.when.periods is not None:
                self._set.setdefault((hit.kind, hit.key), []).append((hit.when, hit.entities, hit.amount))
            elif hit.key == "availability":
                lasting = self._lasting[hit.kind]
                lasting[hit.entities] = np.maximum(lasting[hit.entities], float(hit.when.mean_down or 1.0))
        self.slot_lead_time = self._slots()
        self._calendars = Calendars(t)

    # Demand --------------------------------------------------------------------------------------

    def mean_demand(self, first: int) -> Floats:
        """(T, C, P) expected demand of the periods from ``first`` on, without a forecast."""
        end = first + self.periods
        if end > len(self._means):
            self._means = self._expected(max(end, 2 * len(self._means), self.tables.horizon + self.periods))
        return self._means[first:end]

    def _expected(self, count: int) -> Floats:
        """(count, C, P) expected demand from period 0 on."""
        t = self.tables
        found = np.zeros((count, t.C, t.P))
        for c, customer in enumerate(t.customers):
            for p, product in enumerate(t.products):
                process = self.scenario.demand_processes[customer].get(product)
                if process is None:
                    continue
                if isinstance(process, ReplayedDemand) and process.series.block:
                    found[:, c, p] = self._recorded[np.arange(count) % process.series.block, c, p]
                else:
                    found[:, c, p] = process.moments(0, count)[0]
        found *= self.scheduled("customers", "demand_factor", 0, t.C, count)[..., None]
        return found

    @cached_property
    def _recorded(self) -> Floats:
        """(longest block, C, P) mean demand of each place in a block of recorded periods, in training worlds."""
        t = self.tables
        plain = self.scenario.replace(disruptions={}, randomise=None) if self.scenario.disruptions else self.scenario
        tape = plain.sample(worlds=RECORDED_WORLDS, seed=0, purpose="train", periods=playable(plain, "train"))
        mean = np.asarray(tape.demand[tape.history :], dtype=np.float64).mean(1)  # (T, C, P)
        blocks = np.zeros((t.C, t.P), dtype=np.int64)
        for c, customer in enumerate(t.customers):
            for p, product in enumerate(t.products):
                process = self.scenario.demand_processes[customer].get(product)
                if isinstance(process, ReplayedDemand):
                    blocks[c, p] = process.series.block or 0
        found = np.zeros((int(blocks.max(initial=1)), t.C, t.P))
        for c, p in np.argwhere(blocks > 0):
            for place in range(blocks[c, p]):
                days = mean[place :: blocks[c, p], c, p]
                found[place, c, p] = days.mean() if len(days) else t.mean_demand[c, p]
        return found

    # Disruptions ---------------------------------------------------------------------------------

    def scheduled(self, kind: str, key: str, first: int, size: int, count: int = 0) -> Floats:
        """(count or T, size) product of the effects of disruptions of set times."""
        count = count or self.periods
        found, periods = np.ones((count, size)), np.arange(first, first + count)
        for when, chosen, amount in self._set.get((kind, key), []):
            assert when.periods is not None
            active = active_within(periods, when.periods, when.every)
            if active.any():
                found[np.ix_(active, chosen)] *= amount
        return found

    def _available(self, kind: str, now: Floats, first: int) -> Floats | None:
        """(T, size) availability expected, given today's (size,)."""
        expected = self.scheduled(kind, "availability", first, len(now))
        works = self._calendars.open(kind, first, self.periods)
        if works is not None:
            expected = expected * works
        usual = expected[0] > 0
        short = np.where(usual, now / np.where(usual, expected[0], 1.0), 1.0)
        lasts = np.arange(self.periods)[:, None] < np.maximum(half_up(self._lasting[kind]), 1)
        found: Floats = np.minimum(expected * np.where(lasts, short, 1.0), 1.0)
        found[0] = now
        return None if (found == 1).all() else found

    # Lead times ----------------------------------------------------------------------------------

    def _slots(self) -> Ints:
        """(L, K) lead time expected of what was dispatched k + 1 periods ago and is still in transit."""
        t = self.tables
        found = np.empty((t.L, t.K), dtype=np.int64)
        for lane in range(t.L):
            values, chances = t.lead_time_values[lane], t.lead_time_probabilities[lane]
            for slot in range(t.K):
                possible: Bools = values > slot + 1
                weight = chances[possible].sum()
                mean = (values[possible] @ chances[possible]) / weight if weight > 0 else slot + 2
                found[lane, slot] = int(np.ceil(mean - 1e-9))
        return found

    def lead_time(self, first: int, quoted: Ints | None) -> Ints:
        """(T, L) lead times expected of what ships in the periods from ``first`` on."""
        factor = self.scheduled("lanes", "lead_time_factor", first, self.tables.L)
        found = np.ceil(self.tables.nominal_lead_time * factor - 1e-9).astype(np.int64)
        found = self._calendars.arriving(found, np.arange(first, first + self.periods))
        if quoted is not None:
            found[0] = quoted
        return found

    # Together ------------------------------------------------------------------------------------

    def outlook(self, observation: Observation, world: int, demand: Floats | None = None) -> Outlook:
        """Outlook on the periods from now on in one world of a batch; ``demand`` (T, C, P) replaces the expected."""
        first = int(observation.period[world])
        quoted = None if observation.lead_time is None else np.asarray(observation.lead_time[world])
        return Outlook(
            self.demand(observation, world) if demand is None else demand,
            self.lead_time(first, quoted),
            self._available("nodes", np.asarray(observation.node_availability[world], dtype=np.float64), first),
            self._available("lanes", np.asarray(observation.lane_availability[world], dtype=np.float64), first),
        )

    def demand(self, observation: Observation, world: int) -> Floats:
        """(T, C, P) expected demand, the forecast first."""
        found = self.mean_demand(int(observation.period[world])).copy()
        slots = min(self.tables.F, self.periods)
        if slots:
            looks = np.moveaxis(np.asarray(observation.forecast[world], dtype=np.float64), -1, 0)  # (F, C, P)
            found[:slots] = np.maximum(looks[:slots], 0.0)
        return found

    def standing(self, observation: Observation, world: int) -> Standing:
        """Opening state of the plan in one world of a batch."""
        sent = int(observation.period[world]) - np.arange(self.tables.K) - 1
        return Standing(
            np.asarray(observation.on_hand[world], dtype=np.float64),
            np.asarray(observation.in_transit[world], dtype=np.float64),
            self._calendars.arriving(self.slot_lead_time, sent, lanes=0),
            np.asarray(observation.backlog[world], dtype=np.float64),
        )
