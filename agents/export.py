"""Policies written as ONNX bundles: encoding, normalisation, actor and decoding, or a rule, in one checked graph.

Everything that computes with torch tensors can be exported: rules and decoders do, as they are written once for NumPy and
PyTorch. Stocks, positions and requests are 64-bit in the graph, as they are in simulations; only the layers of a trained
network are 32-bit, as they were trained. :mod:`echelongym.agents.bundle` reads what is written here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.errors import InputError, expected, missing_extra, shorten
from echelongym.envs.files import write_bytes, write_text
from echelongym.envs.observation import OBSERVATION_NAMES, Decision, Observation, Policy
from echelongym.envs.scenario import Scenario

from .bundle import FACTS_FILE, GRAPH_FILE, BundlePolicy, Facts, Port
from .parity import OUTPUTS, Arrays, Gap, decided, gap, in_batches, observation_of, observations
from .rules.rule import NETWORK, Rule

#: Largest difference that is accepted, as a share of the largest request of the lane and product (at least one unit).
TOLERANCE = 1e-5
OBSERVATIONS = 1000
TRACED = 4  # worlds that a graph is traced on; any number other than 0 and 1 leaves the batch free

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
    """Refuse a path where something lies.

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
    model = _graph(module, arrays, tuple(in_torch), name)
    facts = _facts(policy, scenario, model, arrays, in_torch)
    bundle = Bundle(model.SerializeToString(), facts)
    parity = _parity(bundle.policy(), arrays, in_torch, native, tolerance, name)
    return Bundle(bundle.graph, facts.model_copy(update={"parity": parity}))


def _check_stateless(policy: Policy, name: str) -> None:
    if isinstance(policy, BundlePolicy):
        raise InputError(f"policy {name}: is a bundle already: expected a policy that computes with torch")
    if hasattr(policy, "start"):
        raise InputError(
            f"policy {name}: has start(worlds), so it keeps memory between periods: expected one that decides from the "
            "observation alone, as a bundle has no memory"
        )


class Traced(nn.Module):
    """A policy as a torch module from observation arrays, in the order of ``names``, to the arrays of its decision.

    Arrays without entries (a forecast of no periods) are no inputs: they are made here.
    """

    def __init__(self, policy: Policy, arrays: Arrays) -> None:
        super().__init__()
        self.policy = policy
        self.names = tuple(name for name, value in arrays.items() if value.size)
        self.empty = {name: value.shape[1:] for name, value in arrays.items() if not value.size}
        actor = getattr(policy, "actor", None)
        if isinstance(actor, nn.Module):
            self.actor = actor  # so that its weights are the graph's
        self.eval()

    def forward(self, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Requests, and the reserve if there is one."""
        given: dict[str, Any] = dict.fromkeys(OBSERVATION_NAMES) | dict(zip(self.names, arrays, strict=True))
        for name, shape in self.empty.items():
            given[name] = torch.zeros((arrays[0].shape[0], *shape), dtype=torch.float64)
        decision: Decision = self.policy(Observation(**given))
        return tuple(value for name in OUTPUTS if (value := getattr(decision, name)) is not None)

    def decide(self, arrays: Arrays, name: str) -> Arrays:
        """What torch gives for NumPy arrays.

        Raises
        ------
        InputError
            If the policy cannot be run on tensors.
        """
        try:
            with torch.no_grad():
                found = self(*_tensors(arrays, self.names))
        except Exception as error:  # whatever a policy that was written for NumPy alone may raise
            raise _not_torch(name, error) from error
        if not all(torch.is_tensor(value) for value in found):
            raise _not_torch(name, "its requests are no tensor")
        return {key: value.numpy() for key, value in zip(OUTPUTS, found, strict=False)}


def _tensors(arrays: Arrays, names: Sequence[str], rows: slice = slice(None)) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(arrays[name][rows])) for name in names)


def _not_torch(name: str, reason: object) -> InputError:
    return InputError(
        f"policy {name}: cannot be computed with torch tensors ({shorten(str(reason).strip().partition(chr(10))[0])}): "
        "expected a rule, a trained policy, or a function of array operations that torch has too"
    )


def _graph(module: Traced, arrays: Arrays, outputs: tuple[str, ...], name: str) -> Any:
    """The ONNX model; its inputs are the arrays that the policy reads."""
    import onnx

    batch = torch.export.Dim("batch")
    with _quiet(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                _tensors(arrays, module.names, slice(TRACED)),
                dynamo=True,
                external_data=False,
                input_names=list(module.names),
                output_names=list(outputs),
                dynamic_shapes=(tuple({0: batch} for _ in module.names),),
                optimize=False,
                verbose=False,
            )
        except Exception as error:  # the exporter's own, and whatever tracing meets
            raise InputError(
                f"policy {name}: cannot be written as an ONNX graph ({shorten(str(error).strip().partition(chr(10))[0])}): "
                "expected array operations that do not depend on values"
            ) from error
    assert program is not None
    _simplify(program.model)
    model = program.model_proto
    _strip(model)
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise InputError(f"policy {name}: {value.name} is bound to one number of worlds: expected any number to work")
    onnx.checker.check_model(model)
    return model


def _simplify(model: Any) -> None:
    """Fold constants and drop what is there twice or for nothing.

    These passes and no others: the exporter's own ``optimize`` also takes any constant below 1e-8 for zero, and drops
    the hair that a rule adds before it rounds down or compares.
    """
    from onnx_ir.passes import common
    from onnxscript import optimizer

    optimizer.inline(model)
    optimizer.fold_constants(model, onnx_shape_inference=True)
    optimizer.remove_unused_nodes(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.DeduplicateInitializersPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    optimizer.remove_unused_nodes(model)


def _strip(model: Any) -> None:
    """Drop inputs that the policy does not read, and notes on where in the source each node comes from."""
    inputs = [value.name for value in model.graph.input]
    readers = {name: [node for node in model.graph.node if name in node.input] for name in inputs}
    read = [name for name in inputs if not all(_asks_batch(node) for node in readers[name])] or inputs[:1]
    for name in set(inputs) - set(read):
        for node in readers[name]:
            node.input[0] = read[0]  # any array knows the size of the batch
    for value in [value for value in model.graph.input if value.name not in read]:
        model.graph.input.remove(value)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def _asks_batch(node: Any) -> bool:
    """Whether a node only wants to know how many worlds there are."""
    return node.op_type == "Shape" and {one.name: one.i for one in node.attribute} in ({"start": 0, "end": 1}, {"end": 1})


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own inner life."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)


def _parity(
    policy: BundlePolicy, arrays: Arrays, in_torch: Arrays, native: Arrays, tolerance: float, name: str
) -> dict[str, Any]:
    """Measured differences, all below the tolerance."""
    sizes = sorted({1, 7, len(next(iter(arrays.values())))})
    gaps: dict[str, Gap] = {}
    for kind, truth in (("torch", in_torch), ("native", native)):
        for size in sizes:
            found = gap(in_batches(policy, arrays, size), truth)
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
                dtype=str(values[name].dtype),  # type: ignore[arg-type]
            )
            for name in names
        )

    return Facts(
        policy=describe(policy),
        scenario=scenario.name,
        digest=scenario.digest,
        units=scenario.units,
        network={key: getattr(t, key) for key in NETWORK},
        pairs=t.pairs,
        observation=ports([value.name for value in model.graph.input], arrays),
        decision=ports(list(outputs), outputs),
        sha256=hashlib.sha256(graph).hexdigest(),
        opset=next(one.version for one in model.opset_import if one.domain == ""),
        parity={},
        versions={name: metadata.version(name) for name in ("echelongym", "torch", "onnx", "onnxruntime", "numpy")},
    )


def describe(policy: Any) -> dict[str, Any]:
    """What a policy is, as plain data with at least ``kind`` and ``name``."""
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
