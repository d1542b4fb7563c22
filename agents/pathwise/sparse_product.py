"""PyTorch's product of a constant sparse matrix and a dense one, with its derivative and a form for graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from echelongym.envs.core.typing import Floats, Ints


def sparse_product(
    places: Ints, values: Floats, constant: torch.Tensor, shape: tuple[int, int]
) -> Callable[[torch.Tensor], torch.Tensor]:
    """From columns (inputs, B) to ``matrix @ column + constant``, the matrix of a shape given by its entries."""

    def compressed(where: Ints, shape: tuple[int, ...]) -> torch.Tensor:
        entries = torch.from_numpy(values).to(constant.dtype)
        with warnings.catch_warnings():  # that compressed matrices are new in PyTorch
            warnings.simplefilter("ignore")
            found = torch.sparse_coo_tensor(torch.from_numpy(where.copy()), entries, shape, check_invariants=False)
            return found.coalesce().to_sparse_csr().to(constant.device)

    forward, backward = compressed(places, shape), compressed(places[::-1], shape[::-1])
    # The same for graphs that know no sparse matrices.
    rows, columns = (torch.from_numpy(part.copy()).to(constant.device) for part in places)
    weights = torch.from_numpy(values[:, None]).to(constant)

    def product(column: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_exporting():
            weighed = column.index_select(0, columns) * weights
            return constant.expand(-1, column.shape[-1]).index_add(0, rows, weighed)
        found: torch.Tensor = _Product.apply(column, forward, backward)
        return found + constant

    return product


class _Product(torch.autograd.Function):
    """A sparse matrix times a dense one, with the turned sparse matrix at hand for gradients."""

    @staticmethod
    def forward(context: Any, column: torch.Tensor, matrix: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        """(rows, B)."""
        context.turned = turned
        return torch.mm(matrix, column)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """With respect to the dense one."""
        return torch.mm(context.turned, gradient.contiguous()), None, None
