"""Compiling what JAX traced, and a cache of compiled programs: the same program compiles once on a machine.

JAX has a cache of its own, set by a global flag and read without a look at who may write there. This one lies where the
project keeps compiled code, and what was altered, cut off, or made for another device, processor or release counts as not
there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..core.devices import chosen_device
from ..storage.cache import cache_folder, content_digest, is_own_file, is_private
from ..storage.files import write_bytes

# Measured on every shipped scenario: without the newer emitters of loops, compiling takes half as long and programs are no
# slower; without YNN, small sums, of which a period is full, are twice as fast.
OPTIONS: dict[str, str | bool] = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_experimental_ynn_fusion_type": ""}


def compiled(function: Any, *arguments: Any) -> Any:
    """The function compiled for arguments of these shapes, from the cache where it is there.

    To be called within :func:`echelongym.envs.rollout.scan.whole_numbers`, as what it returns.

    Parameters
    ----------
    function
        Pure, of arrays or nests of arrays.
    arguments
        Examples.
    """
    import jax
    from jax.experimental import serialize_executable

    lowered = jax.jit(function).lower(*arguments)
    device = chosen_device()
    options = OPTIONS if device.platform == "cpu" else {}
    folder = _folder()
    key = ""
    if folder is not None:
        parts = [lowered.as_text(), repr(options), jax.__version__, *of_device(device), *_processor()]
        key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
        for path in sorted(folder.glob(f"{key}-*")):
            with contextlib.suppress(Exception):  # whatever is wrong with it, it is made anew
                content = path.read_bytes()
                if is_own_file(path) and path.stem == _stem(key, content):
                    return serialize_executable.deserialize_and_load(
                        content, lowered.in_tree, lowered.out_tree, device.client, [device]
                    )
                path.unlink()
    found = lowered.compile(compiler_options=options)
    if folder is not None:
        with contextlib.suppress(Exception):  # a full disk, or a program that cannot be kept
            content, _, _ = serialize_executable.serialize(found)
            path = folder / f"{_stem(key, content)}.xla"
            write_bytes(content, path)
            path.chmod(0o600)
    return found


def of_device(device: Any) -> tuple[str, ...]:
    """What a program fits on a device: its platform with the release of its driver or runtime, its kind, its number."""
    return device.platform, str(device.client.platform_version), device.device_kind, str(device.id)


def compiled_for_numbers(function: Any, *arguments: Any) -> Callable[..., Any]:
    """The function compiled as by :func:`compiled`, but with its constant arrays of real numbers as arguments.

    So one program of the cache serves all functions that differ in these numbers alone: variants of a scenario in which only
    costs, demand or capacities differ, and rules with other levels. Whole numbers stay constants, as rows are taken by them.
    """
    import jax

    traced, result = jax.make_jaxpr(function, return_shape=True)(*arguments)
    own = jax.tree_util.tree_leaves(arguments)
    constants = traced.consts
    real = [np.ndim(one) > 0 and np.dtype(one.dtype).kind == "f" for one in constants]
    numbers = [jax.device_put(one, chosen_device()) for one, is_real in zip(constants, real, strict=True) if is_real]

    def of_numbers(numbers: list[Any], own: list[Any]) -> Any:
        given = iter(numbers)
        known = [next(given) if is_real else one for one, is_real in zip(constants, real, strict=True)]
        return jax.core.eval_jaxpr(traced.jaxpr, known, *own)

    program, shape = compiled(of_numbers, numbers, own), jax.tree_util.tree_structure(result)

    def call(*arguments: Any) -> Any:
        return jax.tree_util.tree_unflatten(shape, program(numbers, jax.tree_util.tree_leaves(arguments)))

    return call


def _stem(key: str, content: bytes) -> str:
    return f"{key}-{content_digest(key, content)[:40]}"


@cache
def _processor() -> tuple[str, ...]:
    """What a compiled program fits: the release of the compiler, and the processor with all that it can do."""
    from importlib.metadata import version

    found: tuple[str, ...] = (version("jaxlib"), platform.machine(), platform.processor())
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        found += tuple(dict.fromkeys(line for line in lines if line.startswith(("model name", "flags", "Features"))))
    return found


def _folder() -> Path | None:
    """The cache's folder, if nobody else can write into it or into what it lies in: what lies there is run."""
    folder = cache_folder() / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder if is_private(folder) and os.access(folder, os.W_OK) else None
    except OSError:
        return None
