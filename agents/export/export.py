"""Export of policies as ONNX bundles: encoding, normalisation, actor and decoding, or a rule, in one checked graph.

Everything that computes with torch tensors can be exported: rules and decoders do, as they are written once for NumPy and
PyTorch. Stocks, positions and requests are 64-bit in the graph, as they are in simulations; only the layers of a trained
network, and what they see, are 32-bit, as they were trained: there ONNX Runtime and PyTorch round differently, by some
1e-7 of a request, which a policy that overreacts may amplify in the course of an episode.
:mod:`echelongym.agents.export.bundle` reads what is written here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from echelongym.envs.core.errors import InputError, expected, missing_extra
from echelongym.envs.interface.observation import Policy
from echelongym.envs.network.signature import signature
from echelongym.envs.scenario.scenario import Scenario
from echelongym.envs.storage import journal
from echelongym.envs.storage.files import write_bytes, write_text

from ..rules.rule import Rule
from .bundle import FACTS_FILE, GRAPH_FILE, BundlePolicy, Facts, Port
from .onnx_graph import Traced, onnx_graph
from .parity import Arrays, Gap, decided, gap, in_batches, observation_of, observations

#: Largest difference that is accepted, as a share of the largest request of the lane and product (at least one unit).
TOLERANCE = 1e-5
OBSERVATIONS = 1000

# What each axis counts after the batch.
AXES = {
    "on_hand": ("nodes", "products", "life"),
    "in_transit": ("lanes", "products", "periods_under_way", "life"),
    "backlog": ("customers", "products", "periods_waited"),
    "unfilled": ("lanes", "products"),
    "node_availability": ("nodes",),
    "lane_availability": ("lanes",),
    "demand_history": ("customers", "products", "periods_ago"),
    "forecast": ("customers", "products", "periods_ahead"),
    "features": ("features",),
    "period": (),
    "lead_time": ("lanes",),
    "requests": ("lanes", "products"),
    "reserve": ("pairs", "products"),
}


@dataclass(frozen=True)
class Bundle:
    """A checked bundle that is not on disk yet."""

    graph: bytes
    facts: Facts

    def write(self, folder: Path) -> None:
        """Write both files into a folder; ``bundle.json`` last, as it makes a bundle of it."""
        write_bytes(self.graph, folder / GRAPH_FILE)
        write_text(json.dumps(self.facts.to_dict(), indent=2, allow_nan=False) + "\n", folder / FACTS_FILE)

    def save(self, folder: str | Path) -> Path:
        """Write it as a new folder, whole or not at all.

        Raises
        ------
        InputError
            If there is something at that path already.
        """
        folder = Path(folder)
        check_new(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        working = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            self.write(working)
            working.chmod(0o755)
            os.replace(working, folder)
        except BaseException:
            shutil.rmtree(working, ignore_errors=True)
            raise
        return folder

    def policy(self) -> BundlePolicy:
        """The bundle as a policy, without a detour over the disk."""
        return BundlePolicy(self.graph, self.facts)


def check_new(folder: Path) -> None:
    """Refuse a path at which there is something already.

    Raises
    ------
    InputError
        If it is a file, or a folder that is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise expected("folder", str(folder), "one that is new or empty")


def export_policy(policy: Policy, scenario: Scenario, folder: str | Path, **options: Any) -> Path:
    """Write a policy as a bundle folder, unless the check of :func:`make_bundle` fails; ``options`` are its.

    Example
    -------
    >>> folder = export_policy(load_policy("echelon_base_stock", scenario), scenario, "bundles/two_region")
    >>> policy = load_policy(folder, scenario)
    """
    check_new(Path(folder))
    return make_bundle(policy, scenario, **options).save(folder)


def make_bundle(
    policy: Policy, scenario: Scenario, count: int = OBSERVATIONS, seed: int = 0, tolerance: float = TOLERANCE
) -> Bundle:
    """Export a policy and check the graph in ONNX Runtime against torch, and against the policy as simulations run it.

    Parameters
    ----------
    policy
        Decides from the observation alone, with operations that torch tensors know: any rule, an actor, a function.
    scenario
        Its network, and the worlds that observations for the check come from.
    count, seed
        Observations (at least 2), and the seed of these worlds.
    tolerance
        Largest difference accepted, as a share of the largest number decided for the same lane and product, at least one
        unit.

    Raises
    ------
    InputError
        If the policy keeps memory, is random or cannot be traced, or the difference is larger than the tolerance.
    MissingExtra
        If onnx, onnxscript or ONNX Runtime is not installed.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise missing_extra(package, "onnx")
    if count < 2:
        raise expected("observations", count, "at least 2")
    name = str(describe(policy)["name"])
    _check_stateless(policy, name)
    arrays = observations(policy, scenario, count, seed)
    native = decided(policy(observation_of(arrays)))
    again = decided(policy(observation_of(arrays)))
    if any(not np.array_equal(native[key], again[key]) for key in native):
        raise InputError(
            f"policy {name}: decides differently on the same observation: expected one that is not random and remembers "
            "nothing, as a bundle cannot"
        )
    module = Traced(policy, arrays)
    in_torch = module.decide(arrays, name)
    made_from = journal.fingerprint([repr(describe(policy)), arrays, native, in_torch])
    model = _graph(module, arrays, tuple(in_torch), name, made_from)
    facts = _facts(policy, scenario, model, arrays, in_torch)
    bundle = Bundle(model.SerializeToString(), facts)
    parity = _parity(bundle.policy(), arrays, in_torch, native, tolerance, name)
    return Bundle(bundle.graph, facts.model_copy(update={"parity": parity}))


def _graph(module: Traced, arrays: Arrays, outputs: tuple[str, ...], name: str, made_from: str) -> Any:
    """The ONNX model; a step of the journal, where one is kept."""
    import onnx

    def compute() -> Any:
        return np.frombuffer(onnx_graph(module, arrays, outputs, name).SerializeToString(), dtype=np.uint8)

    return onnx.load_from_string(journal.step("export: graph", made_from, compute).tobytes())


def _check_stateless(policy: Policy, name: str) -> None:
    if isinstance(policy, BundlePolicy):
        raise InputError(f"policy {name}: is a bundle already: expected a policy that computes with torch")
    if hasattr(policy, "start"):
        raise InputError(
            f"policy {name}: has start(worlds), so it keeps memory between periods: expected one that decides from the "
            "observation alone, as a bundle has no memory"
        )


def _parity(
    policy: BundlePolicy, arrays: Arrays, in_torch: Arrays, native: Arrays, tolerance: float, name: str
) -> dict[str, Any]:
    """Measured differences, all below the tolerance."""
    sizes = sorted({1, 7, len(next(iter(arrays.values())))})
    made_from = journal.fingerprint([policy.facts.sha256, arrays])
    decisions = {
        size: journal.step("export: decisions in batches", [made_from, size], partial(in_batches, policy, arrays, size))
        for size in sizes
    }
    gaps: dict[str, Gap] = {}
    for kind, truth in (("torch", in_torch), ("native", native)):
        for size in sizes:
            found = gap(decisions[size], truth)
            if not found.relative <= tolerance:
                raise InputError(
                    f"policy {name}: ONNX Runtime and {'torch' if kind == 'torch' else 'the policy itself'} differ at "
                    f"{found.where}, in batches of {size}, by {found.units:.3g} units, {found.relative:.3g} of the largest: "
                    f"expected no more than the tolerance of {tolerance:g}; nothing was written"
                )
            if kind not in gaps or found.relative >= gaps[kind].relative:
                gaps[kind] = found
    return {
        "observations": max(sizes),
        "batch_sizes": sizes,
        "tolerance": tolerance,
        **{kind: found.to_dict() for kind, found in gaps.items()},
    }


def _facts(policy: Policy, scenario: Scenario, model: Any, arrays: Arrays, outputs: Arrays) -> Facts:
    t = scenario.tables
    graph = model.SerializeToString()

    def ports(names: Sequence[str], values: Arrays) -> tuple[Port, ...]:
        return tuple(
            Port(
                name=name,
                axes=("batch", *AXES[name]),
                shape=("batch", *values[name].shape[1:]),
                dtype=str(values[name].dtype),
            )
            for name in names
        )

    return Facts(
        policy=describe(policy),
        scenario=scenario.name,
        digest=scenario.digest,
        units=scenario.units,
        network=signature(t),
        pairs=t.pairs,
        observation=ports([value.name for value in model.graph.input], arrays),
        decision=ports(list(outputs), outputs),
        sha256=hashlib.sha256(graph).hexdigest(),
        opset=next(one.version for one in model.opset_import if one.domain == ""),
        parity={},
        versions={name: metadata.version(name) for name in ("echelongym", "torch", "onnx", "onnxruntime", "numpy")},
    )


def describe(policy: Any) -> dict[str, Any]:
    """Description of a policy as plain data with at least ``kind`` and ``name``."""
    if isinstance(policy, Rule):
        return {"kind": "rule", "name": policy.name, "parameters": policy.parameters}
    if isinstance(policy, BundlePolicy):
        return {**policy.facts.policy, "kind": "bundle"}
    facts = getattr(policy, "facts", None)
    if isinstance(getattr(policy, "actor", None), nn.Module) and isinstance(facts, dict):
        trained = {"action": policy.action, "trained_on": policy.scenario.digest, **facts}
        return {"kind": "actor", "name": str(facts.get("agent", "actor")), **trained}
    name = getattr(policy, "__qualname__", None) or type(policy).__qualname__
    return {"kind": "function", "name": str(name)}


__all__ = ["OBSERVATIONS", "TOLERANCE", "Bundle", "describe", "export_policy", "make_bundle"]
