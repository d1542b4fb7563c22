"""At 80 columns: heads of tables are whole, and the lines of progress keep the time left."""

import io
from types import SimpleNamespace

from rich.console import Console

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
