"""Table and picture at the end of a sweep of trainings, held against the records in its run folders."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from echelongym.envs.core.errors import InputError
from echelongym.experiments.commands import train as training
from echelongym.experiments.figures.learning import LearningCurve, LearningLine, Panel, band, learning_curves, limits
from echelongym.experiments.main import main
from echelongym.experiments.training.run_records import varied

WORDS = ["scenario=lost_sales", "scenario.horizon=12", "scenario.warm_up=2", "budget.env_steps=128", "run=sweep"]
WORDS += ["validation.worlds=2", "progress=false", "tensorboard=false", "reference=automatic", "bound=false"]
WORDS += ["agent.worlds=16", "agent.periods=8", "agent.hidden=[4]", "workers=1"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def curve(*points):
    return LearningCurve(*np.array(points, dtype=float).T)


# Bands ---------------------------------------------------------------------------------------------


def test_band_of_constant_curves_is_their_constants():
    found = band([curve((0, cost), (1 + cost, cost), (5, cost)) for cost in (2.0, 3.0, 7.0)])
    assert (found.mean == 4.0).all()
    assert (found.low == 2.0).all()
    assert (found.high == 7.0).all()


def test_curves_are_steps_that_hold_their_last_value():
    """By hand: one falls to 4 at second 2 and to 2 at 6, the other begins at 1, falls to 6 at 4 and ends there."""
    found = band([curve((0, 10), (2, 4), (6, 2)), curve((1, 8), (4, 6))])
    assert found.seconds.tolist() == [1, 2, 4, 6]
    assert found.mean.tolist() == [9, 6, 5, 4]
    assert found.low.tolist() == [8, 4, 4, 2]
    assert found.high.tolist() == [10, 8, 6, 6]


def test_one_curve_is_its_own_band():
    one = curve((0.5, 3), (1, 2), (4, 1))
    found = band([one])
    assert found.seconds.tolist() == one.seconds.tolist()
    assert found.mean.tolist() == found.low.tolist() == found.high.tolist() == one.costs.tolist()


def test_mean_lies_in_the_band_and_ends_at_the_mean_of_the_ends():
    rng = np.random.default_rng(0)
    for _ in range(50):
        curves = [
            LearningCurve(np.sort(rng.random(size)) * 9, np.minimum.accumulate(rng.random(size)))
            for size in rng.integers(1, 9, rng.integers(1, 6))
        ]
        found = band(curves)
        assert (found.low <= found.mean + 1e-12).all()
        assert (found.mean <= found.high + 1e-12).all()
        assert found.mean[-1] == pytest.approx(np.mean([one.costs[-1] for one in curves]))
        assert (np.diff(found.mean) <= 1e-12).all()  # of curves that fall


def test_an_early_cost_far_above_does_not_flatten_the_picture():
    line = LearningLine("ppo", [curve((0, 1000), (1, 6), (2, 5))])
    panel = Panel("shop", "cost", [line], {"rule": 5.5}, ("bound", 4.0))
    low, high, cut = limits(panel, [band(line.curves)])
    assert cut
    assert low < 4.0
    assert 5.5 < high < 20
    flat = Panel("shop", "cost", [LearningLine("ppo", [curve((0, 5), (1, 5))])], {"rule": 5.0})
    low, high, cut = limits(flat, [band(flat.lines[0].curves)])
    assert low < 5.0 < high
    assert not cut


def test_names_in_the_legend_are_drawn_below_the_panel_and_do_not_overlap(tmp_path, monkeypatch):
    from echelongym.experiments.figures import learning

    seen = []
    monkeypatch.setattr(learning, "write_picture", lambda figure, path, dots: seen.append(figure))
    lines = [
        LearningLine(f"a learner with a long name {k}", [curve((0, 9 - k), (2, 5)), curve((0, 8), (3, 4))])
        for k in range(4)
    ]
    panels = [Panel("shop", "cost", lines, {"tuned rule: 5": 5.0, "planner: 4.9": 4.9}, ("bound: 4", 4.0))] * 2
    learning_curves(tmp_path / "x.png", panels)
    (figure,) = seen
    figure.draw_without_rendering()
    boxes = [axes.get_legend().get_window_extent() for axes in figure.axes]
    assert not boxes[0].overlaps(boxes[1])
    for axes, legend in zip(figure.axes, boxes, strict=True):
        texts = [text.get_window_extent() for text in axes.get_legend().get_texts()]
        assert len(texts) == 7
        assert not any(one.overlaps(other) for k, one in enumerate(texts) for other in texts[:k])
        assert not any(legend.overlaps(other.get_window_extent()) for other in figure.axes)
        assert legend.y1 < axes.xaxis.label.get_window_extent().y0
        assert legend.x0 >= 0
        assert legend.x1 <= figure.bbox.width


# What varies ---------------------------------------------------------------------------------------


def test_a_learner_stands_for_all_its_settings_and_a_seed_for_nothing():
    ppo = {"agent": {"kind": "ppo", "rate": 1}, "seed": 0, "run": "a", "budget": {"cpu_seconds": 2}}
    sac = {"agent": {"kind": "sac", "buffer": 9}, "seed": 1, "run": "b", "budget": {"cpu_seconds": 2}}
    assert varied([ppo, {**ppo, "seed": 1}]) == [{}, {}]
    assert varied([ppo, sac]) == [{"agent": "ppo"}, {"agent": "sac"}]
    quick = {**ppo, "agent": {"kind": "ppo", "rate": 2}, "budget": {"cpu_seconds": 4}}
    assert varied([ppo, quick]) == [
        {"agent.rate": 1, "budget.cpu_seconds": 2},
        {"agent.rate": 2, "budget.cpu_seconds": 4},
    ]
    assert [set(one) for one in varied([ppo, quick, sac])] == [{"agent", "agent.rate", "budget.cpu_seconds"}] * 3


# Sweeps --------------------------------------------------------------------------------------------


def test_table_of_a_sweep_is_that_of_its_run_folders(capsys):
    assert main(["train", *WORDS, "-m", "agent=pathwise,pathwise_set", "seed=0,1"]) == 0
    said = capsys.readouterr().out
    assert said.count("All trainings") == 1
    table = json.loads(Path("sweep/trainings.json").read_text())
    assert [row["settings"] for row in table["rows"]] == [{"agent": "pathwise"}, {"agent": "pathwise_set"}]
    with Path("sweep/trainings.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name, row, line in zip(("pathwise", "pathwise_set"), table["rows"], rows, strict=True):
        costs, seconds, percents = [], [], []
        for seed in (0, 1):
            folder = Path(f"sweep/agent_{name}-seed_{seed}")
            with (folder / "progress.csv").open() as file:
                best = [float(one["best_cost_per_period"]) for one in csv.DictReader(file)][-1]
            costs.append(best)
            found = json.loads((folder / "summary.json").read_text())
            seconds.append(found["cpu_seconds"])
            percents.append(100 * (best / found["reference"]["cost_per_period"]["mean"] - 1))
            assert (folder / "learning.png").stat().st_size > 1000
        assert row["seeds"] == [0, 1]
        assert row["cost_mean"] == pytest.approx(np.mean(costs))
        assert (row["cost_lowest"], row["cost_highest"]) == pytest.approx((min(costs), max(costs)))
        assert row["cpu_seconds"] == pytest.approx(np.mean(seconds))
        assert row["percent_of_reference"] == pytest.approx(np.mean(percents))
        assert line["agent"] == name
        assert line["seeds"] == "0 1"
        assert float(line["cost_mean"]) == pytest.approx(np.mean(costs))
    assert Path("sweep/learning.png").read_bytes().startswith(b"\x89PNG")
    # The same from the folder of the sweep, and from run folders that are named.
    assert main(["show", "trainings=sweep", "run=again"]) == 0
    assert Path("again/trainings.csv").read_bytes() == Path("sweep/trainings.csv").read_bytes()
    assert Path("again/learning.png").read_bytes() == Path("sweep/learning.png").read_bytes()
    some = "[sweep/agent_pathwise-seed_1,sweep/agent_pathwise-seed_0]"
    assert main(["show", f"trainings={some}", "policies=[echelon_base_stock]", "picture=svg", "run=some"]) == 0
    alone = json.loads(Path("some/trainings.json").read_text())["rows"]
    assert [row["seeds"] for row in alone] == [[0, 1]]
    assert alone[0]["cost_mean"] == table["rows"][0]["cost_mean"]
    # The reference is this very rule, with automatic levels, in these very worlds.
    reference = json.loads(Path("sweep/agent_pathwise-seed_0/summary.json").read_text())["reference"]
    assert f"echelon_base_stock: {reference['cost_per_period']['mean']:.4g}" in Path("some/learning.svg").read_text()


@pytest.mark.slow
def test_a_sweep_that_was_stopped_is_taken_up_and_ends_with_its_table(monkeypatch, capsys):
    run, begun = training.run, []

    def stopped(settings, folder, named=True):
        begun.append(settings.seed)
        if begun == [0, 1]:
            raise KeyboardInterrupt
        return run(settings, folder, named)

    monkeypatch.setattr(training, "run", stopped)
    assert main(["train", *WORDS, "-m", "agent=pathwise", "seed=0,1,2"]) == 130
    assert not Path("sweep/trainings.json").exists()
    assert main(["train", *WORDS, "-m", "agent=pathwise", "seed=0,1,2"]) == 0
    assert begun == [0, 1, 1, 2]
    assert capsys.readouterr().out.count("All trainings") == 1
    assert json.loads(Path("sweep/trainings.json").read_text())["rows"][0]["seeds"] == [0, 1, 2]


def test_a_job_that_fails_is_a_row_and_the_others_are_done(monkeypatch, capsys):
    run = training.run

    def failing(settings, folder, named=True):
        if settings.seed == 1:
            raise InputError("agent.start = 'gone.yaml': expected a file")
        return run(settings, folder, named)

    monkeypatch.setattr(training, "run", failing)
    words = ["train", *WORDS, "-m", "agent=pathwise", "seed=0,1"]
    assert main(words) == 2
    told = capsys.readouterr()
    assert "1: failed" in told.out
    assert "sweep/seed_1: failed: agent.start = 'gone.yaml': expected a file" in told.out
    assert told.err.strip().count("\n") == 0
    assert "1 of 2 jobs failed" in told.err
    table = json.loads(Path("sweep/trainings.json").read_text())
    assert table["rows"][0]["seeds"] == [0]
    assert [one["failure"] is None for one in table["trainings"]] == [True, False]
    monkeypatch.setattr(training, "run", run)
    assert main(words) == 0  # the same words go on with what failed, and pass over what is done
    assert capsys.readouterr().out.count("is finished already") == 1
    assert json.loads(Path("sweep/trainings.json").read_text())["rows"][0]["seeds"] == [0, 1]


def test_where_every_job_fails_there_is_no_table(monkeypatch, capsys):
    def failing(settings, folder, named=True):
        raise InputError(f"seed {settings.seed}: no")

    monkeypatch.setattr(training, "run", failing)
    assert main(["train", *WORDS, "-m", "agent=pathwise", "seed=0,1"]) == 2
    assert "seed 0: no" in capsys.readouterr().err
    assert not Path("sweep").exists()


# Run folders that are named ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trainings=nowhere"], "trainings = 'nowhere': expected the run folder of a finished training"),
        (["trainings=nowhere", "scenario=serial"], "expected no scenario=serial beside them"),
        (["policies=[echelon_base_stock]"], "expected trainings=FOLDER beside them"),
    ],
)
def test_what_cannot_be_shown_is_one_line(words, said, capsys):
    assert main(["show", *words]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.strip().count("\n") == 0
    assert not Path("runs").exists()
