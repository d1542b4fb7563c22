"""Learning from the environments takes one thread of PyTorch, unless somebody has decided otherwise."""

import os
import subprocess
import sys

import pytest

MAKE = "import gymnasium, echelongym; gymnasium.make('echelongym/LostSales-v1')"
SHOW = "import torch; print(torch.get_num_threads())"


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has one thread anyway")
@pytest.mark.parametrize(
    ("lines", "variable", "threads"),
    [
        (("import torch", MAKE, SHOW), None, 1),  # the order of the README: Stable-Baselines3 brings PyTorch first
        ((MAKE, SHOW), None, 1),
        (("import torch", MAKE, SHOW), "2", 2),
        (("import torch", MAKE, "torch.set_num_threads(3)", MAKE, SHOW), None, 3),
    ],
)
def test_threads(lines, variable, threads):
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    environment |= {} if variable is None else {"OMP_NUM_THREADS": variable}
    command = [sys.executable, "-c", "; ".join(lines)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(threads)]
