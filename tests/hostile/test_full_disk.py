"""A disk that takes no more: every command ends in one line that names the file, and leaves no half-written one."""

import contextlib
import json
import sys
import zipfile

import pytest

from echelongym.experiments.main import main

resource = pytest.importorskip("resource", reason="limits on files are a thing of POSIX")
SMALL = """
nodes: {plant: {kind: supplier}, store: {holding_cost: 1}}
lanes: {road: {source: plant, target: store, lead_time: 0}}
customers: {shoppers: {sources: {store: {}}, demand: {kind: poisson, mean: 5}, lost_share: 1, lost_sale_cost: 9}}
horizon: 12
"""
FEW = ["evaluation.worlds=2"]
TUNING = ["tuning.worlds=2", "tuning.judged=2", "tuning.budget=50"]
ALONE = ["tune=false", "open_loop=false"]
COMMANDS = {
    "show": [],
    "simulate": [*FEW, "trace=npz"],
    "tune": [*TUNING, "tuning.cache=null"],
    "benchmark": [*FEW, "policies=[local_base_stock]", *ALONE, "bounds=none"],
    "bound": ["bounds.worlds=2", "bounds.penalty=false", "workers=1", "bounds.cache=cache", *ALONE],
    "read": [*FEW, "states.worlds=2", "states.periods=2", "shock.worlds=2", "table.worlds=2", "table.periods=2"],
    "export": ["check.observations=4"],
    "exact": [],
    "train": ["agent=pathwise", "budget.env_steps=40", "agent.worlds=2", "agent.periods=4", "validation.worlds=2",
              "bound=false", "reference=automatic", "tensorboard=false"],
}  # fmt: skip
QUICK = ("show", "simulate", "tune")


@contextlib.contextmanager
def files_of_at_most(count):
    """No file may grow beyond some bytes: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _is_whole(path):
    if path.suffix == ".json":
        json.loads(path.read_text())
    if path.suffix in (".npz", ".zip", ".pt"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
    if path.suffix == ".png":
        assert path.read_bytes()[-8:-4] == b"IEND"
    assert path.suffix != ".tmp"


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS sends a signal")
@pytest.mark.parametrize("command", [
    *QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS if name not in QUICK)
])  # fmt: skip
def test_every_command_ends_in_one_line(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    words = [command, "scenario=small.yaml", "run=made", "progress=false", *COMMANDS[command]]
    words = [word for word in words if not (word == "progress=false" and command in ("show", "export"))]
    failed = 0
    for most in (0, 1_500, 6_000, 20_000, 80_000, 1 << 30):
        capsys.readouterr()
        with files_of_at_most(most):
            code = main(words)
        said = [line for line in capsys.readouterr().err.splitlines() if line]
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.name != "lock" and path.suffix != ".steps":
                _is_whole(path)
        if not code:
            break
        failed += 1
        assert code == 2, said
        assert len(said) == 1, said
        assert "cannot be written: File too large" in said[0]
        assert command == "train" or not (tmp_path / "made").exists()
    assert failed >= 2
    assert code == 0, said  # what could not be written before stands in the way of nothing
    assert (tmp_path / "made" / "config.yaml").is_file()
