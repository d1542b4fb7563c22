"""Pieces of work for tests of workers, in a module that a worker process can import."""

import os
import signal
import time

import numpy as np

from echelongym.envs.workers.cores import asked, in_worker
from echelongym.envs.workers.telling import tell


def noise(seed):
    """Numbers that depend on the seed alone."""
    tell(0.5, f"half of {seed}")
    return np.random.default_rng(seed).normal(size=5)


def place(seed):
    """Process that does this, what is asked for within it, and the threads of its libraries."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NPROC")
    return os.getpid(), in_worker(), asked(), asked(4), {os.environ.get(name) for name in names}


def deaf(seconds):
    """Work that waits, in a process that Ctrl-C of the terminal reaches, too."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(seconds)
    return "done"


def refused(seconds):
    """Work that is refused after a while."""
    time.sleep(seconds)
    raise ValueError("refused")
