"""Devices: where programs under JAX run, what is refused, and what a kept program is kept for."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from needs import has_gpu

from echelongym.envs.compiler.xla_compiler import compiled, of_device
from echelongym.envs.core.devices import check_device, device_named, on_device
from echelongym.envs.core.errors import InputError, MissingExtra
from echelongym.envs.rollout.scan import whole_numbers

jax = pytest.importorskip("jax")


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("ECHELONGYM_CACHE", str(tmp_path))


@pytest.mark.parametrize("name", ["tpu", "GPU", "", None, 0])
def test_another_name_is_refused(name):
    with pytest.raises(InputError, match=r"device = .*: expected one of cpu, gpu"):
        check_device(name)


@pytest.mark.skipif(has_gpu(), reason="tries what is said where there is no GPU")
def test_a_gpu_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match=r"^device = 'gpu': expected one that JAX sees, which is cpu alone \(.*\)$"):
        device_named("gpu")
    with pytest.raises(InputError, match="device = 'gpu'"), on_device("gpu"):
        raise AssertionError("nothing is run")


def test_without_jax_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(MissingExtra, match=r'pip install "echelongym\[jax\]"'):
        device_named("cpu")


def test_a_kept_program_is_kept_for_its_device(tmp_path, monkeypatch):
    """Another kind of GPU, or the same under another driver, has another name in the cache."""

    def device(platform, kind, driver, number=0):
        return SimpleNamespace(
            platform=platform, device_kind=kind, id=number, client=SimpleNamespace(platform_version=driver)
        )

    keys = [
        of_device(device(*one))
        for one in [
            ("cpu", "cpu", "cpu"),
            ("gpu", "NVIDIA H200", "cuda 12"),
            ("gpu", "NVIDIA H200", "cuda 13"),
            ("gpu", "NVIDIA A100", "cuda 12"),
            ("gpu", "NVIDIA H200", "cuda 12", 1),
        ]
    ]
    assert len(set(keys)) == len(keys)
    with whole_numbers():
        assert compiled(lambda x: x + 1, np.arange(3.0))(np.arange(3.0)).tolist() == [1, 2, 3]
        monkeypatch.setattr("echelongym.envs.compiler.xla_compiler.of_device", lambda device: ("another",))
        assert compiled(lambda x: x + 1, np.arange(3.0))(np.arange(3.0)).tolist() == [1, 2, 3]
    assert len(list((tmp_path / "jax").iterdir())) == 2


SECOND = """
import jax, numpy as np
from echelongym.envs.core import devices
from echelongym.envs.compiler.xla_compiler import compiled
from echelongym.envs.rollout.scan import whole_numbers

devices.device_named = lambda name: jax.devices("cpu")[{"cpu": 0, "gpu": 1}[name]]
x = np.arange(3)
for _ in range(2):  # compiled, and from the cache
    for name in ("cpu", "gpu"):
        with devices.on_device(name), whole_numbers():
            found = compiled(lambda x: x * 2, x)(x)
            print(name, found.tolist(), found.dtype, *found.devices())
with whole_numbers():
    print(compiled(lambda x: x * 2, x)(x).devices())
"""


def test_programs_run_where_they_were_told_to(tmp_path):
    """A second device of JAX's CPU backend stands for the GPU: what is compiled, kept and run lies on it."""
    asked = "--xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": asked, "ECHELONGYM_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SECOND], env=environment, capture_output=True, text=True, check=True)
    both = ["cpu [0, 2, 4] int64 cpu:0", "gpu [0, 2, 4] int64 cpu:1"]
    assert done.stdout.splitlines() == [*both, *both, "{CpuDevice(id=0)}"]
