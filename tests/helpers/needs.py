"""What tests need of the machine that they run on, with the reason given where it is missing."""

import sys

import pytest

from echelongym.envs.compiler.c_compiler import compiler
from echelongym.envs.core.errors import is_installed

needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def has_gpu() -> bool:
    """Whether JAX sees a GPU; it loads JAX, so it is asked by tests of devices alone."""
    if not is_installed("jax"):
        return False
    import jax

    return any(one.platform == "gpu" for one in jax.devices())
