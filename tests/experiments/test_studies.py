"""Studies: each is told of in the documentation, and bad input ends one in a single line."""

import importlib
import json
from pathlib import Path

import pytest
from checkout import CHECKOUT

from echelongym.experiments.studies import published_paths
from echelongym.experiments.studies.console import start

ROOM = CHECKOUT / "experiments" / "studies"
STUDIES = sorted(path.stem for path in ROOM.glob("*.py") if path.stem not in ("__init__", "console"))


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_named_where_it_is_used(name: str) -> None:
    """By the documentation whose table it prints, or by the test whose truth it has recorded."""
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md"), *(CHECKOUT / "tests" / "envs").rglob("*.py")]
    assert any(f"echelongym.experiments.studies.{name}" in page.read_text(encoding="utf-8") for page in pages)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("engine_speed --rows sngle", "row = 'sngle': expected one of single, vector, "),
        ("engine_speed --seconds none", "seconds = 'none': expected a number above 0"),
        ("engine_speed --json nowhere/speed.json", "json = 'nowhere/speed.json': expected a file in a folder"),
        ("engine_speed --peer /no/such/python", "peer = '/no/such/python': expected the path of a Python interpreter"),
        ("learned_optima nowhere", "instance = 'nowhere': expected one of all, lost_sales"),
        ("learned_optima cells ten", "CPU-seconds = 'ten': expected a number above 0"),
        ("pathwise_speed lst_sales", "did you mean 'lost_sales'?"),
        ("planning_speed lost_sales 1", "worlds = '1': expected a whole number of 2 or more"),
        ("planning_speed lost_sales 2 horizon", "parameter = 'horizon': expected NAME=VALUE"),
        ("device_check --device tpu", "device = 'tpu': expected one of cpu, gpu"),
        ("device_check --device cpu --worlds 0", "worlds = '0': expected a whole number of 1 or more"),
        (
            "device_check --device cpu --json nowhere/found.json",
            "json = 'nowhere/found.json': expected a file in a folder",
        ),
        ("published_paths none.json", "none.json': expected peer_networks.json"),
        ("published_paths", "the following arguments are required: paths"),
        ("record_peer_networks nowhere none.json", "FOLDER = 'nowhere': expected the folder with"),
    ],
)
def test_bad_input_is_one_line(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *rest = words.split()
    monkeypatch.setattr("sys.argv", [name, *rest])
    with pytest.raises(SystemExit) as ended:
        start(importlib.import_module(f"echelongym.experiments.studies.{name}").main)
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert not printed.out
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_perfect_information_earns_what_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No policy earns more than perfect information, which earns what gym-invmgmt publishes less the holding that differs.

    843.0 in this form of the network; tests of the peer networks account for the difference from 845.7.
    """
    facts = CHECKOUT / "tests" / "helpers" / "peer_networks.json"
    monkeypatch.setattr("sys.argv", ["published_paths", str(facts), "local_base_stock"])
    start(published_paths.main)
    best, rule = (float(line[32:].split("[")[0]) for line in capsys.readouterr().out.splitlines())
    published = json.loads(facts.read_text())["published"]["backlog"]
    assert best == pytest.approx(sum(published) / len(published), rel=0.005)
    assert rule < best
