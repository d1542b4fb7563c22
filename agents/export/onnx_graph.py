"""A policy as a torch module over named arrays, and that module as an ONNX model."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from echelongym.envs.core.errors import InputError
from echelongym.envs.interface.observation import OBSERVATION_NAMES, Decision, Observation, Policy

from .parity import OUTPUTS, Arrays

TRACED = 4  # worlds that a graph is traced on; any number other than 0 and 1 leaves the batch free


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
        """Decision of the torch module for NumPy arrays.

        Raises
        ------
        InputError
            If the policy cannot be run on tensors.
        """
        try:
            with torch.no_grad():
                found = self(*_tensors(arrays, self.names))
        except Exception as error:  # whatever a policy that was written for NumPy alone may raise
            raise _not_torch(name, brief(error)) from error
        if not all(torch.is_tensor(value) for value in found):
            raise _not_torch(name, "its requests are no tensor")
        return {key: value.numpy() for key, value in zip(OUTPUTS, found, strict=False)}


def _tensors(arrays: Arrays, names: Sequence[str], rows: slice = slice(None)) -> tuple[torch.Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(arrays[name][rows])) for name in names)


def _not_torch(name: str, reason: str) -> InputError:
    return InputError(
        f"policy {name}: cannot be computed with torch tensors ({reason}): expected a rule, a trained policy, or a "
        "function of array operations that torch has too"
    )


def brief(error: Exception) -> str:
    """Kind and first line of an error that somebody else raised."""
    line = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {line[:120]}"


def onnx_graph(module: Traced, arrays: Arrays, outputs: tuple[str, ...], name: str) -> Any:
    """The ONNX model; its inputs are the arrays that the policy reads.

    Raises
    ------
    InputError
        If what the policy does cannot be written as a graph, or works for one number of worlds alone.
    """
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
                f"policy {name}: cannot be written as an ONNX graph ({brief(error)}): expected array operations that do "
                "not depend on values"
            ) from error
    assert program is not None
    _simplify(program.model)
    model = program.model_proto
    _strip(model)
    for value in (*model.graph.input, *model.graph.output):
        if not value.type.tensor_type.shape.dim[0].dim_param:
            raise InputError(
                f"policy {name}: {value.name} is bound to one number of worlds: expected any number to work"
            )
    onnx.checker.check_model(model)
    return model


def _simplify(model: Any) -> None:
    """Fold constants and drop what is there twice or for nothing.

    These passes and no others: the exporter's own ``optimize`` also takes any constant below 1e-8 for zero, and drops
    the tolerance that a rule adds before it rounds down or compares.
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
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
    ):
        part.doc_string = ""
        del part.metadata_props[:]


def _asks_batch(node: Any) -> bool:
    """Whether a node only wants to know how many worlds there are."""
    return node.op_type == "Shape" and {one.name: one.i for one in node.attribute} in (
        {"start": 0, "end": 1},
        {"end": 1},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own inner life."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
