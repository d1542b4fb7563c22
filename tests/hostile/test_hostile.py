"""Hostile inputs are refused clearly, and nothing hangs, fills memory or is accepted though it makes no sense."""

import os
import subprocess
import sys

import fuzz_inputs
import pytest

CATEGORIES = ("own",)  # of the cases below, which a fresh interpreter reads from this module


def tried(*words):
    """Exit code and lines of the fuzzer in a fresh interpreter: this one may hold JAX, whose threads no fork survives."""
    command = [sys.executable, fuzz_inputs.__file__, *words]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "os.fork()" not in done.stderr, done.stderr
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("module", ["fuzz_scenarios", "fuzz_files", "fuzz_calls"])
def test_a_sample_of_hostile_inputs(module):
    code, lines = tried("--sample", "12", "--modules", module)
    assert not code, "\n".join(lines)


@pytest.mark.slow
def test_all_hostile_inputs():
    code, lines = tried()
    assert not code, "\n".join(lines[:50])


def cases(folder):
    """Cases of which each is named as what it is to be found to be."""

    def fills_memory(folder):
        return bytearray(4 << 30)

    def says(message):
        def run(folder):
            from echelongym.envs.core.errors import InputError

            raise InputError(message)

        return run

    def leaves(folder):
        os._exit(3)

    yield fuzz_inputs.Case("own", "refused clearly", says("nodes.hub = 5: expected a mapping"))
    yield fuzz_inputs.Case("own", "refused unclearly", says("something went wrong"))
    yield fuzz_inputs.Case("own", "accepted though wrong", lambda folder: None)
    yield fuzz_inputs.Case("own", "hung or over memory", fills_memory)
    yield fuzz_inputs.Case("own", "hung or over memory", leaves)
    yield fuzz_inputs.Case("own", "refused unclearly", lambda folder: {}["x"])


def test_the_fuzzer_tells_faults_apart(tmp_path):
    code, lines = tried("--modules", "test_hostile", "--messages")
    assert code == 1
    told = [line.split(": ")[:3] for line in lines[: len(list(cases(tmp_path)))]]
    assert told == [[case.name, "own", case.name] for case in cases(tmp_path)]
