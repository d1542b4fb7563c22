"""The graph network on a flat observation: each entry goes to the node, lane or customer that it is about.

Nodes of the graph are the network's nodes and its customers, edges its lanes and its (source, customer) pairs; their
features are the entries of :class:`ObservationEncoder`, in its units, and a few constants that
tell one from another. WeightsByName are shared by all nodes and by all edges (:class:`GraphNetwork`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.typing import Floats, Ints
from echelongym.envs.interface.automatic_levels import automatic_levels, faced
from echelongym.envs.interface.observation_encoder import ObservationEncoder
from echelongym.envs.network.tables import Tables
from echelongym.envs.scenario.scenario import Scenario

from .layers import GraphNetwork
from .module import Layers

# By block of the encoder: whose entries they are, and the axes of the array behind it.
_AXES = {
    "on_hand": ("node", "NPA"),
    "in_transit": ("edge", "MPA"),
    "backlog": ("customer", "CPW"),
    "unfilled": ("edge", "LP"),
    "node_availability": ("node", "N"),
    "lane_availability": ("edge", "L"),
    "demand_history": ("customer", "CPH"),
    "forecast": ("customer", "CPF"),
    "lead_time": ("edge", "L"),
}


@dataclass(frozen=True, eq=False)
class GraphLayout:
    """Places of a flat vector's entries in the graph; plain arrays, made by :func:`graph_layout`.

    An index ``size`` (one beyond the last entry) stands for a constant 0: a feature that the entity does not have.
    """

    size: int  # of the flat vector
    nodes: Ints  # (f, N + C) entry of each feature and node or customer
    edges: Ints  # (g, L + S) entry of each feature and lane or pair
    node_facts: Floats  # (r, N + C) constants
    edge_facts: Floats  # (s, L + S) constants
    source: Ints  # (L + S,) node or customer each edge comes from
    target: Ints  # (L + S,)
    open_edges: Ints  # (E,) edges that have actions
    action_edge: Ints  # (n,) place of each action's edge among them
    action_product: Ints  # (n,)
    products: int


def graph_layout(scenario: Scenario) -> GraphLayout:
    """The layout of a scenario's observations, as its encoder has them."""
    encoder, t = ObservationEncoder(scenario), scenario.tables
    size = encoder.size
    node_rows: dict[Any, Ints] = {}
    edge_rows: dict[Any, Ints] = {}

    def put(rows: dict[Any, Ints], feature: Any, entity: int, entry: int) -> None:
        if feature not in rows:
            rows[feature] = np.full(t.N + t.C if rows is node_rows else t.L + t.S, size, dtype=np.int64)
        rows[feature][entity] = entry

    for block in encoder.blocks:
        start, count = encoder.slices[block.name].start, len(block.centre)
        if block.name == "position":
            for i, (lane, p) in enumerate(zip(encoder.decoder.lanes, encoder.decoder.products, strict=True)):
                put(edge_rows, ("position", int(p)), int(lane), start + i)
        elif block.name in _AXES:
            kind, axes = _AXES[block.name]
            shape = [len(encoder.rows.lane) if axis == "M" else getattr(t, axis) for axis in axes]
            picked = np.arange(count) if block.picked is None else block.picked
            for i, place in enumerate(zip(*np.unravel_index(picked, shape), strict=True)):
                entity, rest = int(place[0]), place[1:]
                if axes[0] == "M":
                    entity, rest = int(encoder.rows.lane[entity]), (encoder.rows.slot[entity], *rest)
                rows = edge_rows if kind == "edge" else node_rows
                put(rows, (block.name, *map(int, rest)), entity + (t.N if kind == "customer" else 0), start + i)
        else:  # of the whole network: every node knows it
            for i in range(count):
                for entity in range(t.N + t.C):
                    put(node_rows, (block.name, i), entity, start + i)
    node_facts, edge_facts = _facts(scenario)
    open_edges, action_edge = np.unique(encoder.decoder.lanes, return_inverse=True)
    customers = np.where(t.lane_customer >= 0, t.N + t.lane_customer, -1)
    return GraphLayout(
        size,
        np.array(list(node_rows.values())),
        np.array(list(edge_rows.values())),
        node_facts,
        edge_facts,
        np.concatenate([np.where(t.lane_source >= 0, t.lane_source, customers), t.pair_source]),
        np.concatenate([t.lane_target, t.N + t.pair_customer]),
        open_edges,
        action_edge,
        encoder.decoder.products,
        t.P,
    )


def _facts(scenario: Scenario) -> tuple[Floats, Floats]:
    """Constants of nodes with customers and of lanes with pairs, each about 1 in size."""
    t, levels = scenario.tables, automatic_levels(scenario)
    penalty, _, _ = faced(t)
    holding = t.holding_cost
    variation = levels.flow_deviation / levels.flow
    scale = float(levels.flow[~t.is_supplier].mean()) if (~t.is_supplier).any() else 1.0
    ratio = np.where(penalty + holding > 0, penalty / np.where(penalty + holding > 0, penalty + holding, 1.0), 0.5)
    customer = _by_customer(t)
    nodes = [
        np.concatenate([t.is_supplier, np.zeros(t.C)]),
        np.concatenate([np.zeros(t.N), np.ones(t.C)]),
        *np.hstack([np.log(np.maximum(levels.flow / scale, 1e-3)).T, customer[0].T]),
        *np.hstack([variation.T, customer[1].T]),
        *np.hstack([ratio.T, customer[2].T]),
    ]
    lead = np.maximum(t.nominal_lead_time.mean(), 1.0)
    first = np.array([(t.primary_lane[t.lane_target[lane]] == lane).any() for lane in range(t.L)], dtype=np.float64)
    edges = [
        np.concatenate([np.zeros(t.L), np.ones(t.S)]),
        np.concatenate([t.nominal_lead_time / lead, np.zeros(t.S)]),
        np.concatenate([first, (t.pair_rank == 0).any(1)]),
    ]
    return np.array(nodes, dtype=np.float64), np.array(edges, dtype=np.float64)


def _by_customer(t: Tables) -> tuple[Floats, Floats, Floats]:
    """(C, P) each: log of demand over its mean, variation, share that a unit short has in its cost and a unit held."""
    mean = np.where(t.mean_demand > 0, t.mean_demand, 1.0)
    short = t.lost_share * (t.lost_sale_cost + t.price) + (1 - t.lost_share) * t.backorder_cost
    holding = t.holding_cost[np.maximum(t.first_source, 0), np.arange(t.P)]
    total = np.where(short + holding > 0, short + holding, 1.0)
    return np.log(np.maximum(mean / mean.mean(), 1e-3)), t.demand_sd / mean, short / total


class GraphFeatures(nn.Module):
    """Features of each lane that can be requested, and of the whole network: (B, size) to (B, width).

    ``width`` is ``hidden`` times the lanes plus one; the last ``hidden`` are the mean over all nodes and customers.
    """

    def __init__(self, layout: GraphLayout, hidden: int, rounds: int) -> None:
        super().__init__()
        self.hidden, self.rounds = hidden, rounds
        self.width = hidden * (len(layout.open_edges) + 1)
        facts = (layout.node_facts, layout.edge_facts)
        definition = GraphNetwork(
            "",
            len(layout.nodes) + len(facts[0]),
            len(layout.edges) + len(facts[1]),
            hidden,
            rounds,
            layout.source,
            layout.target,
            layout.nodes.shape[1],
        )
        self.network = Layers(definition)
        for name, index, fact in (("node", layout.nodes, facts[0]), ("edge", layout.edges, facts[1])):
            self.register_buffer(f"_{name}_entries", torch.from_numpy(index.reshape(-1)), persistent=False)
            constants = torch.from_numpy(fact.astype(np.float32))[:, :, None]
            self.register_buffer(f"_{name}_facts", constants, persistent=False)
        self._shapes = (layout.nodes.shape, layout.edges.shape)
        self.register_buffer("_open", torch.from_numpy(layout.open_edges), persistent=False)

    def _features(self, padded: torch.Tensor, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        entries, facts = getattr(self, f"_{name}_entries"), getattr(self, f"_{name}_facts")
        seen = padded.index_select(0, entries).reshape(*shape, -1)
        return torch.cat([seen, facts.expand(-1, -1, seen.shape[-1])], 0)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Features (B, width) of flat observations (B, size)."""
        flat = observation.T
        padded = torch.cat([flat, torch.zeros_like(flat[:1])], 0)
        nodes = self._features(padded, "node", self._shapes[0])
        edges = self._features(padded, "edge", self._shapes[1])
        node, edge = self.network(nodes, edges)
        opened = edge.index_select(1, self._open)
        both = torch.cat([opened, node.mean(1, keepdim=True)], 1)  # (hidden, E + 1, B)
        return both.permute(2, 1, 0).reshape(-1, self.width)


class SharedHead(nn.Module):
    """Head that is shared by all lanes: features of :class:`GraphFeatures` (B, width) to actions (B, n), 0 at first.

    It reads what is known of the lane and of the whole, so the number of parameters does not depend on that of lanes.
    """

    def __init__(self, layout: GraphLayout, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.first = nn.Linear(2 * hidden, hidden)
        self.last = nn.Linear(hidden, layout.products)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        picked = layout.action_edge * layout.products + layout.action_product
        self.register_buffer("_picked", torch.from_numpy(picked), persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Actions (B, n)."""
        known = features.reshape(features.shape[0], -1, self.hidden)
        lanes, whole = known[:, :-1], known[:, -1:]
        both = torch.cat([lanes, whole.expand(-1, lanes.shape[1], -1)], 2)
        found: torch.Tensor = self.last(torch.tanh(self.first(both)))
        return found.flatten(1).index_select(1, self._picked)  # type: ignore[arg-type]
