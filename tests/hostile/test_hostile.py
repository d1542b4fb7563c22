"""Hostile inputs are refused clearly, and nothing hangs, fills memory or is accepted though it makes no sense."""

import fuzz_inputs
import pytest


def _faults(tmp_path, count):
    cases = fuzz_inputs.all_cases(tmp_path)
    cases = fuzz_inputs.sampled(cases, count) if count else cases
    return fuzz_inputs.faults(cases, fuzz_inputs.run_cases(cases))


@pytest.mark.parametrize("module", ["fuzz_scenarios", "fuzz_files", "fuzz_calls"])
def test_a_sample_of_hostile_inputs(tmp_path, monkeypatch, module):
    monkeypatch.setattr(fuzz_inputs, "MODULES", (module,))
    found = _faults(tmp_path, 12)
    assert not found, "\n".join(found)


@pytest.mark.slow
def test_all_hostile_inputs(tmp_path):
    found = _faults(tmp_path, 0)
    assert not found, "\n".join(found[:50])


def test_the_fuzzer_tells_faults_apart(tmp_path):
    def fills_memory(folder):
        return bytearray(4 << 30)

    def says(message):
        def run(folder):
            from echelongym.envs.core.errors import InputError

            raise InputError(message)

        return run

    def leaves(folder):
        import os

        os._exit(3)

    wanted = {
        "refused clearly": says("nodes.hub = 5: expected a mapping"),
        "refused unclearly": says("something went wrong"),
        "accepted though wrong": lambda folder: None,
        "hung or over memory": fills_memory,
    }
    more = [("hung or over memory", leaves), ("refused unclearly", lambda folder: {}["x"])]
    pairs = [*wanted.items(), *more]
    cases = [fuzz_inputs.Case("own", kind, attempt) for kind, attempt in pairs]
    assert [verdict.kind for verdict in fuzz_inputs.run_cases(cases)] == [kind for kind, _ in pairs]
