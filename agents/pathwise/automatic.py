"""What a pathwise policy is where its settings leave it open: network, head and start, by the scenario's kind and size."""

from __future__ import annotations

import numpy as np

from echelongym.envs.core.errors import expected
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.worlds.record_statement import recorded_series

from ..registry import RULES
from ..rules import Rule
from ..rules.base_stock import BaseStock
from ..rules.dual import CappedDualIndex
from .config import Layout
from .order_decisions.choice import lanes_to_decide

#: Pairs of a lane and a product above which a network is large: one perceptron for all of it has millions of weights, and
#: a minute is too short for a gradient of them. Shipped scenarios have at most 140 pairs, or 20,000.
LARGE = 1_000
MOST_LIVES = 10  # classes of life that a policy tells apart by itself
#: Pairs from which a set network is chosen where demand is recorded.
MANY = 32
#: Periods of demand that tell the level of a shop's slow products from chance, and are soon over where it changes.
FOUR_WEEKS = 28
#: Lanes up to which a network decides by itself when to order: each decision is tried out in simulations of its own.
MOST_DECIDED = 20


def is_large(scenario: Scenario) -> bool:
    """Whether a scenario has more than ``LARGE`` pairs of a lane and a product."""
    return scenario.tables.L * scenario.tables.P > LARGE


def is_recorded(scenario: Scenario) -> bool:
    """Whether any demand is that of a record."""
    return any(True for _ in recorded_series(scenario))


def automatic_network(scenario: Scenario) -> str:
    """The network that suits a scenario's size and demand.

    A perceptron, but none in a large one, where levels alone are learned. Where a record is all there is to learn from, a
    set network: what it learns of one lane has to hold for all of them, so it fits itself less to single weeks of the record.
    """
    if is_large(scenario):
        return "none"
    return "set" if _many_recorded(scenario) else "perceptron"


def automatic_demand_memory(scenario: Scenario) -> int:
    """Periods over which a policy keeps a mean of recent demand, 0: none: four weeks, in whole blocks of the record."""
    if is_large(scenario) or not _many_recorded(scenario):
        return 0
    block = max(series.block or 1 for series in recorded_series(scenario))
    return -(-FOUR_WEEKS // block) * block


def _many_recorded(scenario: Scenario) -> bool:
    return is_recorded(scenario) and int(scenario.tables.lane_open.sum()) >= MANY


def automatic_start(scenario: Scenario) -> Rule:
    """The rule that suits a scenario's kind, with automatic levels.

    Dual index with a cap where a node has two sources; caps where all that is not served is lost, as ordering less at a time
    is worth something there (Xin 2021); else echelon base-stock, which is optimal in a chain with backorders, and catches
    up after an outage, which with automatic caps takes long.
    """
    t = scenario.tables
    lost = bool((t.lost_share[t.mean_demand > 0] == 1).all())
    if CappedDualIndex.refusal(scenario) is None and not lost:
        return untuned("capped_dual_index", scenario)
    return untuned("capped_echelon_base_stock" if lost else "echelon_base_stock", scenario)


def automatic_head(scenario: Scenario, start: Rule | None, learn_levels: bool) -> str:
    """The head that suits a start and a scenario.

    A rule that training is told to start from is carried along: its levels are corrected, or its requests where it has
    none. By itself, ``levels``, but ``direct`` where some stock has several sources: rules of the base-stock family leave
    secondary lanes aside unless their levels are known to be good, while smooth requests weigh all lanes against each other.
    ``levels`` in a large network, where these requests cost much more than levels at first.
    """
    if start is not None:
        return "levels" if isinstance(start, BaseStock) else "residual"
    t = scenario.tables
    into = np.zeros((t.N, t.P), dtype=np.int64)
    for lane, target in enumerate(t.lane_target):
        into[target] += t.lane_open[lane]
    return "direct" if learn_levels and (into > 1).any() and not is_large(scenario) else "levels"


def is_small_perishable(scenario: Scenario) -> bool:
    """Whether goods perish, units are whole and the network is not a large one."""
    t = scenario.tables
    return bool(t.integer and t.shelf_life.any() and not is_large(scenario))


def automatic_life_classes(scenario: Scenario, learn_levels: bool) -> int:
    """Classes of life that a policy tells apart: all that can be on hand where :func:`is_small_perishable`, else none.

    None in policies for many networks, whose features must be the same for all.
    """
    t = scenario.tables
    if not learn_levels or not is_small_perishable(scenario):
        return 0
    return min(max(int(t.shelf_life.max()) - 1 - int(t.nominal_lead_time.min()), 0), MOST_LIVES)


def heads_to_try(scenario: Scenario, start: Rule | None) -> tuple[str, ...]:
    """Heads that a training has to try to know which is the better one, the usual one first; none where one is known to be.

    Of perishable goods in whole units the relaxed problem is flat round several rounded policies: corrections of levels may
    stand where a cap always binds while smooth requests move on, and the other way round.

    Parameters
    ----------
    start
        The rule that training starts from; None: what it starts from by itself.
    """
    usual = automatic_head(scenario, start, True)
    if not is_small_perishable(scenario) or usual not in ("levels", "direct"):
        return ()
    return usual, "direct" if usual == "levels" else "levels"


def order_decisions(scenario: Scenario, layout: Layout, learn_levels: bool) -> str:
    """Whether the network decides when to order: ``auto`` lets it where vehicles or orders have a fixed cost, and few lanes.

    Raises
    ------
    InputError
        If it is to, and there is no such lane, or the policy has no network, remembers anything, or is for many networks.
    """
    if layout.order_decisions == "none":
        return "none"
    number = len(lanes_to_decide(scenario))
    reason = None
    if not number:
        reason = "a scenario with a fixed cost of vehicles or orders on a lane that can be requested"
    elif layout.network not in ("perceptron", "set", "graph") or not learn_levels:
        reason = "a network perceptron, set or graph, for one scenario"
    elif layout.demand_memory:
        reason = "agent.demand_memory=0, as other orders are tried without a memory of demand"
    if layout.order_decisions == "auto":
        # Shares of what is on hand stay that.
        return "learned" if reason is None and number <= MOST_DECIDED and layout.head != "split" else "none"
    if reason is not None:
        raise expected("agent.order_decisions", "learned", f"none, or {reason}")
    return "learned"


def untuned(name: str, scenario: Scenario) -> Rule:
    """A rule with automatic numbers, caps included; only secondary lanes that mean demand needs are used."""
    rule = RULES[name](scenario).with_needed()
    space = rule.space()
    caps = np.array([group == "caps" for group in space.groups], dtype=bool)
    if not caps.any():
        return rule
    return rule.with_vector(space, np.where(caps, space.start, rule.vector(space)))
