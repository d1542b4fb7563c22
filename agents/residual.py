"""Starting rules of learners: their requests are corrected by actions (residual), or imitated by the actor (clone).

Residual policy learning (Silver, Allen, Tenenbaum and Kaelbling 2018, arXiv 1812.06298): with all actions zero the policy
*is* the rule, so a training begins at the cost of the rule, tuned or not, and the action kind keeps its units.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echelongym.envs.core.backend import Array, ops_of
from echelongym.envs.core.errors import InputError, expected, unknown
from echelongym.envs.interface.action_decoder import ActionDecoder
from echelongym.envs.interface.observation import Decision, Observation
from echelongym.envs.network.signature import check_network
from echelongym.envs.scenario.scenario import Scenario

from .registry import RULES
from .rule_files import remarked, rule_from_file
from .rules import Rule

#: Starts of a learner that name no rule: automatic levels, and the best tuned rule, which it finds by itself.
ZERO, AUTO = "zero", "auto"


def starting_rule(start: str, scenario: Scenario) -> Rule | None:
    """The rule that ``start`` names: one of the registry (with automatic levels), or a ``rule.yaml``.

    None for ``zero`` and ``auto``.

    Raises
    ------
    InputError
        If there is no such rule, it is for another network, or it keeps memory between periods.
    """
    if start in (ZERO, AUTO):
        return None
    if start not in RULES and not start.endswith((".yaml", ".yml")):
        raise unknown("agent.start", start, (AUTO, ZERO, *RULES, "the path of a rule.yaml"))
    rule = (
        remarked(RULES[start](scenario).with_needed()) if start in RULES else rule_from_file(Path(start), scenario, {})
    )
    if hasattr(rule, "start") or rule.reference:
        raise expected("agent.start", start, "a rule that decides from the observation alone")
    return rule


def rule_from_dict(data: dict[str, Any], scenario: Scenario, where: str) -> Rule:
    """The rule that :meth:`Rule.to_dict` was called on.

    Raises
    ------
    InputError
        If it is none, or of another network.
    """
    name = data.get("rule") if isinstance(data, dict) else None
    parameters = data.get("parameters") if isinstance(data, dict) else None
    if not isinstance(name, str) or name not in RULES or not isinstance(parameters, dict):
        raise InputError(f"{where}: holds no rule that is known")
    check_network(data.get("network", {}), scenario.tables, where)
    return RULES[name](scenario, **parameters)


class Residual:
    """Actions that correct a rule: ``requests = max(rule's requests + amount(action), 0)``, its reserve as it is.

    ``amount`` is what the action decoder of the same kind adds to its zero action, in units: for levels
    ``slope a + bend a^3`` (a step of 1/3 is one standard deviation of the demand covered; half of it for ``proportional``),
    for ``requests`` the mean flow times a, for ``allocate`` a share of the source's stock. To a rule that orders up to levels,
    amounts are shifts of its levels.
    """

    def __init__(self, decoder: ActionDecoder, rule: Rule) -> None:
        self.decoder, self.rule = decoder, rule

    def decode(self, action: Array, observation: Observation) -> Decision:
        """The decision for actions (B, size), NumPy or torch, as the observation is."""
        ops, t = ops_of(observation.on_hand), self.decoder.tables
        decoding = self.decoder.on(ops)
        turned = ops.cast(ops.moveaxis(ops.asarray(action), 0, -1), ops.float)
        turned = ops.minimum(ops.maximum(turned, -1.0), 1.0)
        amount = turned * (turned * turned * decoding.bend + decoding.slope) * decoding.gain
        if decoding.kind == "allocate":
            stock = ops.total(ops.moveaxis(observation.on_hand, 0, -1), 2).reshape((-1, amount.shape[-1]))
            amount[decoding.shared] = amount[decoding.shared] * stock[decoding.shared_sources]
        if decoding.cells is not None:
            placed = ops.zeros((t.L * t.P, amount.shape[-1]), amount.dtype)
            placed[decoding.cells] = amount
            amount = placed
        decision = self.rule(observation)
        amount = ops.moveaxis(amount.reshape((t.L, t.P, -1)), -1, 0)
        return Decision(ops.maximum(decision.requests + amount, 0), decision.reserve)
