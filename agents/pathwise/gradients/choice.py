"""What takes a policy's gradients: the choice between code compiled for a small network, JAX and PyTorch."""

from __future__ import annotations

from echelongym.envs.compiler.c_compiler import reason_of
from echelongym.envs.core.errors import InputError, is_installed, require
from echelongym.envs.scenario.scenario import Scenario

from ...tuning.gradient import GradientWindow
from ..compiled.gradient import NativeUnroll
from ..config import GradientLibrary
from ..module import PathwiseActor
from .jax_program import JaxProgram
from .unroll import Unroll

Gradients = Unroll | JaxProgram


def gradients_of(
    library: GradientLibrary,
    scenario: Scenario,
    window: GradientWindow,
    seed: int,
    smoothing: float,
    actor: PathwiseActor,
    device: str = "cpu",
) -> Gradients:
    """Gradients of a policy's cost in a scenario of continuous units; compiled, where anything is, before the first is taken.

    ``auto`` is ``compiled`` where the network is small enough: a world's period as scalar C, several times as fast as JAX on
    such networks. Else JAX, where it is installed and can trace the policy, and PyTorch where not. On a GPU it is JAX.

    Raises
    ------
    InputError
        For a choice by name that cannot do it.
    MissingExtra
        For JAX by name where it is not installed.
    """
    arguments = scenario, window, seed, smoothing, actor
    if library == "torch":
        return Unroll(scenario, window, seed, smoothing)
    if library == "jax" or device != "cpu":
        require("jax")
        return JaxProgram(*arguments, device)
    compiled = NativeUnroll(*arguments)
    if compiled.native:
        return compiled
    if library == "compiled":
        raise InputError(
            f"agent.gradient: compiled: expected auto, jax or torch, as there is no such code: {compiled.reason}"
        )
    if is_installed("jax"):
        try:
            return JaxProgram(*arguments)
        except Exception as error:  # whatever it is, PyTorch gives the same numbers
            compiled.reason += f"; by JAX: {reason_of(error, (InputError,))}"
    return compiled
