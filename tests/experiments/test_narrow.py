"""At 80 columns: heads of tables are whole, and the lines of progress keep the time left."""

import io
import time
from types import SimpleNamespace

import rich.console
from rich.console import Console

from echelongym.agents.tuning import progress as tuning_progress
from echelongym.experiments.cli import terminal
from echelongym.experiments.main import main
from echelongym.experiments.training import progress as training_progress

HEADS = [
    "policy",
    "cost / period",
    "% vs echelon_base_stock",
    "better",
    "% vs best rule",
    "fill rate",
    "kg CO2e / unit",
]
HEADS += ["tuned or trained"]
ROW = [
    "capped_echelon_base_stock",
    "44.87 +- 0.27",
    "+0.07 [+0.02, +0.11]",
    0.38,
    "+0.07 [+0.02, +0.11]",
    "98.1 %",
    0.196,
]


def printed(monkeypatch, width, *table):
    out = io.StringIO()
    monkeypatch.setattr(terminal, "console", lambda stderr=False: Console(file=out, width=width, highlight=False))
    terminal.table(*table)
    return out.getvalue()


def test_heads_are_whole_in_80_columns(monkeypatch):
    text = printed(monkeypatch, 80, "title", HEADS, [[*ROW, "0.379 M steps"]] * 2)
    for word in " ".join(HEADS).split():
        assert word in text
    for cell in ("44.87", "0.38", "98.1 %", "0.196"):
        assert cell in text
    assert max(map(len, text.splitlines())) <= 80
    wide = printed(monkeypatch, 250, "title", HEADS, [[*ROW, "0.379 M steps"]] * 2)
    assert "  ".join(HEADS[-2:]) in wide


def test_no_interval_and_no_name_is_broken_in_80_columns(monkeypatch):
    heads = ["policy", "cost / period", "% vs echelon_base_stock", "% vs best rule", "% above bound"]
    interval = "+172.47 [+139.18, +205.76] *!"
    rows = [["ppo (2026-11-28_06-56-22-seed_0)", "44.31 [41.13, 47.50]", interval, interval, interval]] * 2
    for width in (80, 100, 132, 180):
        text = printed(monkeypatch, width, "title", heads, rows)
        assert max(map(len, text.splitlines())) <= width
        assert text.count("[+139.18, +205.76] *!") == 6
        assert text.count("[41.13, 47.50]") == 2
        assert "(2026-11-28_06-56-22-seed_0)" in text
    targets = [["shoppers_31782.fill_rate >= 0.95", *3 * ["0.9589 [0.9193, 0.9795] undecided"]]]
    text = printed(
        monkeypatch, 80, "Targets", ["target", "echelon_base_stock", "capped_echelon_base_stock", "ppo"], targets
    )
    assert "shoppers_31782.fill_rate" in text
    assert text.count("[0.9193, 0.9795]") == 3


def test_bars_have_a_rate_or_a_share_and_the_time_left(monkeypatch):
    for unit, parts in (("worlds", ("2/4", "worlds/s", "0:00:0")), ("", ("50%", "0:00:0"))):
        out = io.StringIO()
        made = Console(file=out, width=80, force_terminal=True, force_interactive=True, color_system=None)
        monkeypatch.setattr(terminal, "console", lambda stderr=False, made=made: made)
        with terminal.progress("with that price", 4.0 if unit else 1.0, unit) as advance:
            for _ in range(4):
                advance(1.0 if unit else 0.25)
                time.sleep(0.11)  # bars are drawn ten times a second
        lines = [line for line in out.getvalue().replace("\r", "\n").splitlines() if parts[0] in line]
        assert lines, out.getvalue()
        assert all(part in lines[-1] for part in parts[:-1])
        assert "0:00:0" in out.getvalue()
        assert unit or "/s" not in out.getvalue()


def test_the_bar_of_a_tuning_keeps_the_cost(monkeypatch):
    out = io.StringIO()
    made = Console(file=out, width=80, force_terminal=True, force_interactive=True, color_system=None)
    monkeypatch.setattr(rich.console, "Console", lambda **given: made)
    with tuning_progress.progress_of(True, "tune capped_echelon_base_stock", 100, None) as report:
        report(50, "best 302.45, 1 target missed")
        time.sleep(0.11)
    lines = [line for line in out.getvalue().replace("\r", "\n").splitlines() if "50%" in line]
    assert "best 302.45, 1 target missed" in lines[-1]


def test_the_line_of_a_training_keeps_its_time_left(monkeypatch):
    out = io.StringIO()
    made = Console(file=out, width=80, force_terminal=True, force_interactive=True, color_system=None)
    monkeypatch.setattr(training_progress, "console", lambda stderr=False: made)
    monkeypatch.setattr(training_progress, "costs", lambda row, marks: "cost 123.4, best 120.1 (-3.2 %), " + 60 * "x")
    settings = SimpleNamespace(progress=True, agent=SimpleNamespace(kind="ppo"), scenario=SimpleNamespace(name="shop"))
    monkeypatch.setattr(training_progress, "label", lambda agent: "ppo")
    run = SimpleNamespace(csv=lambda *given: None)
    with training_progress.reported(settings, run, None) as report:
        for share in (0.1, 0.2, 0.3):
            report(SimpleNamespace(env_steps=int(100 * share), share=share, curve=[{}]))
    lines = [line for line in out.getvalue().replace("\r", "\n").splitlines() if "30%" in line]
    assert lines
    assert ":" in lines[-1].split("%")[1][:10]  # the time left, in full
    assert "cost 123.4" in lines[-1]


def test_messages_name_what_was_typed(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line, parts in (
        ("benchmark scenario=lost_sales policies=nope.yaml", ("'nope.yaml'", "path of a file that exists")),
        ("benchmark scenario=lost_sales policies=3", ("policies = 3", "a list")),
        ("export policy=runs/nothing", ("policy = 'runs/nothing'", "folder of a run")),
        ("simulate scenario=lost_sales policy=runs/nothing", ("'runs/nothing'", "run folder")),
        ("tune scenario=lost_sales policy=ppo", ("policy = 'ppo'", "train agent=ppo")),
    ):
        assert main(line.split()) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert all(part in said for part in parts), said
        assert "tuple" not in said
