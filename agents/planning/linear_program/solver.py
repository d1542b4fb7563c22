"""Solver of linear programs (HiGHS): one thread, warm starts, and a reason where there is no optimum."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echelongym.envs.core.errors import InputError, expected
from echelongym.envs.core.typing import Floats

from .assembly import LinearProblem

METHODS = ("choose", "simplex", "ipm", "pdlp")


@dataclass(frozen=True, eq=False)
class LinearOptimum:
    """An optimum."""

    objective: float  # offset included
    values: Floats  # (columns,)
    prices: Floats  # (rows,) change of the objective per unit of a right-hand side
    seconds: float  # in the solver
    iterations: int


class Solver:
    """Solver of programs one after another, in one thread.

    Parameters
    ----------
    method
        ``simplex`` (dual simplex; the one that profits from a warm start), ``ipm`` (interior point with crossover, often
        faster on a large program from scratch) or ``choose`` (HiGHS decides).
    warm
        Start from the basis of the last program where the matrix is the same object; right-hand sides, bounds and costs
        may have changed.

    near
        Whether programs are near the one that a warm start comes from: then dual simplex does without steepest edges,
        which take longer to set up than they save.

    Raises
    ------
    InputError
        For an unknown method; from :meth:`solve`, if a program has no finite optimum.
    RuntimeError
        From :meth:`solve`, if HiGHS stops short of an optimum, with its status.
    """

    def __init__(self, method: str = "simplex", warm: bool = True, near: bool = False) -> None:
        import highspy

        if method not in METHODS:
            raise expected("method", method, f"one of {', '.join(METHODS)}")
        self.warm = warm
        self._module = highspy
        self._highs: Any = highspy.Highs()
        for option, value in (("output_flag", False), ("threads", 1), ("solver", method)):
            self._highs.setOptionValue(option, value)
        if near:
            self._highs.setOptionValue("simplex_dual_edge_weight_strategy", 0)
        self._last: LinearProblem | None = None

    def solve(self, problem: LinearProblem, basis: Any = None) -> LinearOptimum:
        """Optimum of a program.

        Parameters
        ----------
        basis
            Where to start from, of :meth:`basis` after a program with the same matrix; None: from the last one's, if the
            matrix is the same object.

        Raises
        ------
        InputError
            If the program has no feasible point or no finite optimum.
        RuntimeError
            If HiGHS refuses the program or finds no optimum.
        """
        started = time.perf_counter()
        if self.warm and self._last is not None and problem.matrix is self._last.matrix:
            self._change(problem)
        else:
            self._pass(problem)
        if basis is not None:
            self._check(self._highs.setBasis(basis), "setBasis")
        self._highs.run()
        if self._highs.getModelStatus() != self._module.HighsModelStatus.kOptimal:
            # From nothing it may be found; and if there is none, presolve tells why.
            self._highs.clearSolver()
            self._highs.run()
        return self._read(problem, started)

    def basis(self) -> Any:
        """Basis of the last solution, to start another world's program from."""
        return self._highs.getBasis()

    def forget(self) -> None:
        """Drop the basis, so that the next program starts without one."""
        self._highs.clearSolver()

    def _pass(self, problem: LinearProblem) -> None:
        highspy, matrix = self._module, problem.matrix
        program = highspy.HighsLp()
        program.num_row_, program.num_col_ = matrix.shape
        program.offset_ = problem.offset
        program.col_cost_, program.col_lower_, program.col_upper_ = problem.cost, problem.lower, problem.upper
        program.row_lower_, program.row_upper_ = problem.row_lower, problem.row_upper
        program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        program.a_matrix_.num_row_, program.a_matrix_.num_col_ = matrix.shape
        program.a_matrix_.start_ = matrix.indptr
        program.a_matrix_.index_ = matrix.indices
        program.a_matrix_.value_ = matrix.data
        self._highs.clearModel()
        self._check(self._highs.passModel(program), "passModel")
        self._last = problem

    def _change(self, problem: LinearProblem) -> None:
        """Tell HiGHS what differs from the last program."""
        highs, last = self._highs, self._last
        assert last is not None
        if problem.cost is not last.cost:
            at = np.flatnonzero(problem.cost != last.cost).astype(np.int32)
            self._check(highs.changeColsCost(len(at), at, problem.cost[at]), "changeColsCost")
        other = (problem.lower != last.lower) | (problem.upper != last.upper)
        at = np.flatnonzero(other).astype(np.int32)
        self._check(highs.changeColsBounds(len(at), at, problem.lower[at], problem.upper[at]), "changeColsBounds")
        other = (problem.row_lower != last.row_lower) | (problem.row_upper != last.row_upper)
        at = np.flatnonzero(other).astype(np.int32)
        rows = problem.row_lower[at], problem.row_upper[at]
        self._check(highs.changeRowsBounds(len(at), at, *rows), "changeRowsBounds")
        self._check(highs.changeObjectiveOffset(problem.offset), "changeObjectiveOffset")
        self._last = problem

    def _check(self, status: Any, what: str) -> None:
        if status == self._module.HighsStatus.kError:
            raise RuntimeError(f"HiGHS refused {what}: a cost, bound or entry of the program is not a usable number")

    def _read(self, problem: LinearProblem, started: float) -> LinearOptimum:
        highs, states = self._highs, self._module.HighsModelStatus
        status = highs.getModelStatus()
        if status in (states.kUnbounded, states.kUnboundedOrInfeasible):
            raise InputError(
                "the program has no finite optimum: expected every unit to cost more on its way in than the "
                "terminal_value it stands for at the end"
            )
        if status == states.kInfeasible:
            raise InputError("the program has no feasible point: expected a state and data >= 0 that fit together")
        if status != states.kOptimal:
            raise RuntimeError(f"HiGHS found no optimum: {highs.modelStatusToString(status)}")
        info, solution = highs.getInfo(), highs.getSolution()
        return LinearOptimum(
            float(info.objective_function_value),
            np.asarray(solution.col_value, dtype=np.float64),
            np.asarray(solution.row_dual, dtype=np.float64),
            time.perf_counter() - started,
            int(info.simplex_iteration_count),
        )


def plain_basis(basis: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A basis as the status of each column and of each row, by number."""
    columns, rows = ([one.value for one in found] for found in (basis.col_status, basis.row_status))
    return np.array(columns, dtype=np.uint8), np.array(rows, dtype=np.uint8)


def basis_of(columns: NDArray[np.uint8], rows: NDArray[np.uint8]) -> Any:
    """The basis that :func:`plain_basis` gave."""
    import highspy

    states = [highspy.HighsBasisStatus(number) for number in range(5)]
    basis = highspy.HighsBasis()
    basis.col_status, basis.row_status = [states[one] for one in columns], [states[one] for one in rows]
    basis.valid, basis.alien, basis.was_alien = True, False, False
    return basis
