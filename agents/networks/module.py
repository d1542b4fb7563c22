"""Torch modules that own the parameters of a definition in :mod:`layers`: for optimisers, checkpoints and graphs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from echelongym.envs.core.backend import ops_of

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU, "elu": nn.ELU}


class OwnedParameters(Mapping[str, torch.Tensor]):
    """Parameters of a tree of modules by name, looked up anew each time: others may take their places."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[dict[str, Any], str]] = {}

    def add(self, name: str, owner: nn.Module, leaf: str) -> None:
        """Note where a parameter is."""
        self._places[name] = owner._parameters, leaf

    def __getitem__(self, name: str) -> torch.Tensor:
        owner, leaf = self._places[name]
        found: torch.Tensor = owner[leaf]
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def own(module: nn.Module, definition: Any) -> OwnedParameters:
    """Give a module the parameters of a definition: dots in names are modules within it, values are drawn in their order."""
    found = OwnedParameters()
    for name, start in definition.starts():
        *path, leaf = name.split(".")
        owner = module
        for part in path:
            if part not in owner._modules:
                owner.add_module(part, nn.Module())
            owner = owner.get_submodule(part)
        drawn = torch.zeros(start.shape)
        if start.bound is not None:
            drawn.uniform_(-start.bound, start.bound)
        owner.register_parameter(leaf, nn.Parameter(drawn))
        found.add(name, owner, leaf)
    return found


class Layers(nn.Module):
    """A layer or network of :mod:`layers` as a module: tensors in, tensors out."""

    def __init__(self, definition: Any) -> None:
        super().__init__()
        self.definition = definition
        self.weights = own(self, definition)

    def forward(self, *values: torch.Tensor) -> Any:
        """What the definition makes of its inputs."""
        return self.definition(self.weights, *values, ops_of(values[0]))
