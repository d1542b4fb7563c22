"""Provenance of a training: the software and the machine it ran on."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

from echelongym.envs.compiler import c_compiler as native_build

from .sources import tree


def environment(threads: int) -> dict[str, Any]:
    """The summary's ``environment``: where it is the same, too, a budget in steps alone gives the same policy.

    Sums of floating-point numbers depend on the order in which they are taken, and that on the compiler, PyTorch's kernels
    for the processor at hand, and the number of threads.

    Parameters
    ----------
    threads
        Of PyTorch.
    """
    import torch

    return {
        "echelongym": tree(),  # digest of the source
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "torch_kernels": torch.backends.cpu.get_cpu_capability(),
        "compiler": native_build.compiler(),
        "threads": threads,
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
    }


def _processor() -> str:
    """The model of the processor, as far as the system says."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
