"""Behaviour cloning: an actor fitted to the actions that a rule would take in the states that the rule visits.

The decoder is inverted: the action of a lane is the one that asks for what the rule requests. A rule that raises the same
positions to constant levels is met exactly by constant actions. Where a rule requests nothing every lower action would do
as well, so there an actor is only asked not to be above.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.base_class import BaseAlgorithm

from echelongym.envs.core.backend import ops_of
from echelongym.envs.dynamics.rounding import dust_of
from echelongym.envs.interface.action_decoder import ActionDecoder
from echelongym.envs.interface.observation import Observation
from echelongym.envs.interface.observation_encoder import ObservationEncoder
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.simulate import simulate
from echelongym.envs.worlds.record_statement import playable

from ..rules import Rule

WORLDS, STEPS, BATCH, LEARNING_RATE = 32, 800, 512, 5e-3


class Wanted(NamedTuple):
    """Actions of a rule, as a decoder would read them."""

    action: NDArray[np.float32]  # (B, n)
    at_most: NDArray[np.bool_]  # (B, n) any lower action does the same


def actions_of(decoder: ActionDecoder, observation: Observation, requests: NDArray[Any]) -> Wanted:
    """The actions that a decoder turns into ``requests`` (B, L, P), as near as its bounds of [-1, 1] allow."""
    ops = ops_of(observation.on_hand)
    decoding, owned = decoder.on(ops), decoder.owned(observation, ops)
    asked = np.moveaxis(requests, 0, -1)[decoder.lanes, decoder.products]  # (n, B)
    nothing = asked <= _least(decoder, requests.dtype)
    if decoder.kind == "requests":
        value = asked + 0.0
    elif decoder.kind == "allocate":
        value = asked + 0.0
        stock = observation.on_hand.sum(-1).reshape((len(requests), -1)).T
        there = stock[decoding.shared_sources]
        value[decoding.shared] = value[decoding.shared] / np.where(there > 0, there, 1.0)
        nothing[decoding.shared] |= there <= 0
        value[decoding.leveled] += decoding.accumulate(owned.position)[decoding.level_targets]
    else:
        gap = (asked - decoding.steady) / decoding.gain
        value = gap + (_local_positions(decoder, owned, asked) if decoding.local else decoding.positions(owned))
        if decoding.helped is not None and decoding.local is None:  # what secondary lanes into the same node bring
            primary = np.flatnonzero(decoder.primary)[decoding.helped]
            value[primary] += decoding.by_helped.sum(asked[decoding.further][decoding.helpers])
    return Wanted(decoder.range.inverse(value.T).astype(np.float32), nothing.T)


def _least(decoder: ActionDecoder, dtype: Any) -> Any:
    """Units, one number or (n, 1), up to which nothing is asked for in arithmetic of a type."""
    dust = dust_of(decoder.tables, dtype)
    return dust if isinstance(dust, float) else dust[decoder.target // decoder.tables.P][:, None]


def _local_positions(decoder: ActionDecoder, owned: Any, asked: NDArray[Any]) -> NDArray[Any]:
    """(n, B) local positions, less what outgoing lanes are asked for, plus what secondary lanes into the node bring."""
    t, decoding = decoder.tables, decoder.on(ops_of(asked))
    cells = np.zeros((t.N * t.P, asked.shape[1]))
    source = t.lane_source[decoder.lanes] * t.P + decoder.products
    np.subtract.at(cells, source, asked)
    out = (owned.position + cells)[decoder.target]
    helping = np.zeros_like(cells)
    further = np.flatnonzero(~decoder.primary)
    np.add.at(helping, decoder.target[further], asked[further])
    out += helping[decoder.target]
    if len(further):
        out[further] = decoding._short(owned)
    return out


def demonstrations(
    rule: Rule, scenario: Scenario, action: str, seed: int, worlds: int = WORLDS
) -> tuple[NDArray[np.float32], Wanted]:
    """Demonstrations by a rule: flat observations (T, B, size), and its actions and bounds (T, B, n)."""
    encoder, decoder = ObservationEncoder(scenario), ActionDecoder(scenario, action)
    seen: list[NDArray[np.float32]] = []
    done: list[Wanted] = []

    def watched(observation: Observation) -> Any:
        decision = rule(observation)
        seen.append(encoder.encode(observation))
        done.append(actions_of(decoder, observation, np.asarray(decision.requests)))
        return decision

    simulate(scenario, watched, scenario.sample(worlds, seed, "learn", playable(scenario, "learn")), kpis=False)
    return np.stack(seen), Wanted(np.stack([one.action for one in done]), np.stack([one.at_most for one in done]))


def clone(model: BaseAlgorithm, rule: Rule, scenario: Scenario, action: str, seed: int) -> float:
    """Fit a model's actor to a rule; returns the root of the mean squared distance left, in units of the action.

    The random states that training draws from are left as they were.
    """
    observations, wanted = demonstrations(rule, scenario, action, seed)
    recurrent = hasattr(model.policy, "lstm_actor")
    seen, acted, at_most = (torch.from_numpy(np.ascontiguousarray(one)) for one in (observations, *wanted))
    if not recurrent:
        seen, acted, at_most = (one.flatten(0, 1) for one in (seen, acted, at_most))
    generator = torch.Generator().manual_seed(seed)
    policy: Any = model.policy
    learner = torch.optim.Adam((policy.actor if hasattr(policy, "actor") else policy).parameters(), lr=LEARNING_RATE)
    steps = STEPS if not recurrent else STEPS // 10
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(learner, steps)
    for _ in range(steps):
        if recurrent:  # whole episodes of some worlds
            picked = torch.randperm(seen.shape[1], generator=generator)[:8]
            x, y, bound = seen[:, picked], acted[:, picked], at_most[:, picked]
        else:
            picked = torch.randint(len(seen), (min(BATCH, len(seen)),), generator=generator)
            x, y, bound = seen[picked], acted[picked], at_most[picked]
        loss = _distance(_deterministic(policy, x), y, bound)
        learner.zero_grad()
        loss.backward()
        learner.step()
        schedule.step()
    learner.zero_grad(set_to_none=True)
    if hasattr(policy, "actor_target"):
        policy.actor_target.load_state_dict(policy.actor.state_dict())
    with torch.no_grad():
        return float(_distance(_deterministic(policy, seen), acted, at_most).sqrt())


def _distance(found: torch.Tensor, wanted: torch.Tensor, at_most: torch.Tensor) -> torch.Tensor:
    """Mean squared distance; where a lower action does as well only what is above counts."""
    gap = found - wanted
    return torch.where(at_most, gap.clamp(min=0.0), gap).square().mean()


def _deterministic(policy: Any, flat: torch.Tensor) -> torch.Tensor:
    """Actions of flat observations (B, size), or of whole episodes (T, B, size) of a policy with memory."""
    if hasattr(policy, "lstm_actor"):
        periods, worlds = flat.shape[:2]
        known = policy.features_extractor(flat.flatten(0, 1)).reshape((periods, worlds, -1))
        latent = policy.mlp_extractor.forward_actor(policy.lstm_actor(known)[0])
        found: torch.Tensor = policy.action_net(latent)
    elif hasattr(policy, "actor"):
        found = policy.actor(flat, deterministic=True) if hasattr(policy.actor, "latent_pi") else policy.actor(flat)
    else:
        found = policy.get_distribution(flat).distribution.mean
    return found
