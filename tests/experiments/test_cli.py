"""The command line: what a user types, what they read back, and what is left on disk."""

import json
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml
from shipped import WITHOUT_EXTRA

from echelongym.agents.registry import RULES
from echelongym.envs.core.errors import InputError
from echelongym.envs.core.validation import Config
from echelongym.envs.scenario.scenario import Scenario
from echelongym.experiments.cli.compose import choices, compose, groups, prepare
from echelongym.experiments.main import COMMANDS, main
from echelongym.experiments.runs.folders import RunFolder, check_free, portable, run_folder, write_csv

ONE_STORE = """
horizon: 12
warm_up: 2
nodes: {plant: {kind: supplier}, store: {holding_cost: 1.0}}
lanes: {road: {source: plant, target: store, lead_time: 1}}
customers:
  buyers:
    {sources: {store: {}}, demand: {kind: poisson, mean: 5}, lost_share: 1.0, lost_sale_cost: 9.0, targets: {fill_rate: 0.5}}
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test in a folder of its own, with the scenario of one store in ``shop/one_store.yaml``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "one_store.yaml").write_text(ONE_STORE)
    return tmp_path


def console(*words: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from echelongym.experiments.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)


# Help ----------------------------------------------------------------------------------------------


def test_help_lists_every_command_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main([]) == 0
    text = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert f"  {name} " in text
        assert command.purpose in text
        assert f"echelongym {command.example}" in text


def test_help_is_light() -> None:
    code = (
        "import sys; from echelongym.experiments.main import main; main(['--help']); main(['benchmark', '--help']);"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # Importing the package registers the environments with Gymnasium, which brings NumPy: a fifth of a second in all.
    heavy = {"torch", "hydra", "pydantic", "matplotlib", "yaml", "scipy", "pandas", "rich", "stable_baselines3"}
    assert heavy.isdisjoint(done.stderr.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_its_keys(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert COMMANDS[command].purpose in text
    for group in groups(command):
        assert f"{group}: one of {', '.join(choices(group))}" in text


def test_help_of_one_command_names_every_value(capsys: pytest.CaptureFixture[str]) -> None:
    main(["benchmark", "--help"])
    text = capsys.readouterr().out
    assert "worlds: 512 #" in text
    assert "or a path ending in .yaml" in text


# Configs -------------------------------------------------------------------------------------------

CONFIGS = Path(str(resources.files("echelongym.configs")))


def test_every_command_has_a_config_and_every_config_a_command() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == set(COMMANDS)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_top_configs_start_with_a_usage_line(path: Path) -> None:
    assert path.read_text().startswith(f"# echelongym {path.stem}")


@pytest.mark.parametrize(
    "path",
    [path for group in ("", "policy", "evaluation", "tuning") for path in sorted((CONFIGS / group).glob("*.yaml"))],
    ids=lambda path: path.stem,
)
def test_every_value_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    above = ""  # a comment on a line of its own, or on the key whose mapping this is
    for line in lines:
        if (line.startswith((" ", "-")) and "#" in above) or not line.strip() or line.startswith(("defaults", "  - ")):
            continue
        assert "#" in line or "#" in above or line.endswith(":"), f"{path.name}: {line}"
        above = line


def test_policy_group_is_the_registry_of_rules() -> None:
    assert set(choices("policy")) == set(RULES)


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("demo", "export")])
def test_defaults_fit_the_settings(command: str) -> None:
    settings = prepare(command)
    assert isinstance(settings, Config)


@pytest.mark.parametrize("scenario", WITHOUT_EXTRA)
def test_a_composed_scenario_is_the_one_that_is_loaded(scenario: str) -> None:
    assert prepare("show", [f"scenario={scenario}"]).scenario.digest == Scenario.load(scenario).digest


def test_overrides_reach_the_scenario() -> None:
    settings = prepare("benchmark", ["scenario.lanes.hub_north_express.capacity=40", "evaluation.worlds=9"])
    assert settings.scenario.lanes["hub_north_express"].capacity == 40
    assert settings.evaluation.worlds == 9


def test_overrides_may_name_keys_that_the_file_leaves_out() -> None:
    settings = prepare("show", ["scenario.lanes.dairy_hub.capacity=80", "scenario.units=integer"])
    assert settings.scenario.lanes["dairy_hub"].capacity == 80
    assert settings.scenario.units == "integer"


def test_a_mapping_replaces_what_was_there() -> None:
    changed = prepare("show", ["scenario.customers.north_shops.demand={kind: poisson, mean: 3}"]).scenario
    assert changed.customers["north_shops"].demand == {"kind": "poisson", "mean": 3}


def test_a_path_works_wherever_a_name_does() -> None:
    settings = prepare("show", ["scenario=shop/one_store.yaml", "scenario.nodes.store.holding_cost=2"])
    assert settings.scenario.name == "one_store"
    assert settings.scenario.nodes["store"].holding_cost == 2
    Path("half.yaml").write_text("{worlds: 3, seed: 1, periods: null, chunk: null}")
    assert prepare("benchmark", ["evaluation=half.yaml"]).evaluation.worlds == 3


def test_recorded_demand_is_found_beside_the_scenario() -> None:
    rows = "".join(f"{day},{day % 7}\n" for day in range(40))
    Path("shop/sales.csv").write_text(f"period,buyers\n{rows}")
    recorded = yaml.safe_load(ONE_STORE)
    recorded["customers"]["buyers"]["demand"] = {"kind": "trace", "file": "sales.csv"}
    Path("shop/recorded.yaml").write_text(yaml.safe_dump(recorded))
    scenario = prepare("show", ["scenario=shop/recorded.yaml"]).scenario
    assert scenario.sample(2).demand.max() == 6
    # What a run folder keeps can be read from anywhere.
    Path("copy").mkdir()
    Path("copy/scenario.yaml").write_text(yaml.safe_dump(portable(scenario)))
    again = Scenario.load("copy/scenario.yaml")
    assert np.array_equal(again.sample(2).demand, scenario.sample(2).demand)


# Errors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shwo"], "command 'shwo': expected one of .*did you mean 'show'"),
        (["show", "scenario=two_regin"], "scenario = 'two_regin': expected one of .*did you mean 'two_region'"),
        (["show", "scenario=none.yaml"], "scenario = 'none.yaml': expected the path of a file that exists"),
        (["show", "scenario="], "scenario = '': expected one of"),
        (["show", "two_region"], "'two_region': expected key=value; did you mean scenario=two_region"),
        (["show", "pictur=png"], "show: unknown key 'pictur'; did you mean 'picture'"),
        (["show", "picture=gif"], "show: picture = 'gif': expected 'png', 'svg' or 'pdf'"),
        (["show", "agent=ppo"], "'agent=ppo': show takes no agent"),
        (["show", "=3"], "'=3': expected key=value"),
        (["show", "picture=[png"], r"argument 'picture=\[png': expected key=value"),
        (["show", "scenario.horizon=0"], "show: scenario.horizon = 0: expected a whole number >= 1"),
        (["show", "scenario.horizon=soon"], "show: scenario.horizon = 'soon': expected a whole number"),
        (["show", "scenario.warm_up=200"], "warm_up = 200: expected fewer periods than the horizon"),
        (["show", "scenario.units=intger"], "scenario.units = 'intger': expected 'continuous' or 'integer'"),
        (["show", "scenario.lanes.hub_norht.capacity=3"], "'hub_norht': expected one of .*did you mean 'hub_north'"),
        (["show", "scenario.lanes.hub_north.capcity=3"], "unknown key 'capcity'; did you mean 'capacity'"),
        (["show", "scenario.lanes.hub_north.target=nroth"], "target = 'nroth': expected one of .*'north'"),
        (["show", "scenario.lanes.dairy_hub.lead_time=-1"], "lead_time = -1: .*expected a whole number"),
        (["show", "scenario.nodes.hub.holding_cost=-1"], "holding_cost = -1: expected a finite number >= 0"),
        (
            ["show", "scenario.customers.south_shops.demand.kind=poison"],
            "'poison': expected one of .*did you mean 'poisson'",
        ),
        (["show", "scenario.customers.south_shops.demand.mean=-2"], "mean = -2: expected"),
        (["show", "run=shop"], "run = 'shop': expected a folder that is new or empty"),
        (["benchmark", "evaluation=qick"], "evaluation = 'qick': expected one of .*did you mean 'quick'"),
        (["benchmark", "evaluation.wrlds=3"], "evaluation: unknown key 'wrlds'; did you mean 'worlds'"),
        (["benchmark", "evaluation.worlds=0"], "evaluation.worlds = 0: expected a whole number >= 1"),
        (["benchmark", "evaluation.seed=-1"], "evaluation.seed = -1: expected a whole number >= 0"),
        (["benchmark", "evaluation.periods=50"], "evaluation.periods = 50: expected more than the warm-up of 50"),
        (["benchmark", "policies=[]"], r"policies = \[\]: expected at least one policy"),
        (["benchmark", 'policies=["  "]'], r"policies.0.policy.0 = '  ': expected a rule, a path"),
        (["benchmark", 'policies=""'], "expected a rule, a path"),
        (["demo", "tuning.budget=60"], "budget = 60: expected at least .* env-periods"),
        (["demo", "workers=1e9"], 'workers = 1000000000.0: expected "auto" or a whole number >= 1 and <= 1024'),
        (["benchmark", "policies=[{polcy: x}]"], "unknown key 'polcy'; did you mean 'policy'"),
        (["benchmark", "policies=[echelon_base_stok]"], "did you mean 'echelon_base_stock'"),
        (["benchmark", "policies=[echelon_base_stock,echelon_base_stock]"], "expected each name once"),
        (["benchmark", "policies=[runs/none/*]"], r"'runs/none/\*': expected a pattern that matches"),
        (["benchmark", "policies=[none.yaml]"], "none.yaml"),
        (["benchmark", "policies=[nowhere:policy]"], "nowhere"),
        (["benchmark", "policies=[math:policy]"], "policy"),
        (["benchmark", "tuning.method=magic"], "tuning.method = 'magic': expected 'auto'"),
        (["tune", "tuning.budget=10", "tuning.cache=null"], "budget = 10: expected at least"),
        (["tune", "policy=echelon_base_stok"], "did you mean 'echelon_base_stock'"),
        (
            ["tune", "policy.parameters.level.hub=3", "tuning.cache=null"],
            "'level': expected one of .*did you mean 'levels'",
        ),
        (["simulate", "policy.parameters.levels.hbu=3"], "'hbu'.*did you mean 'hub'"),
        (["simulate", "tape=none.npz"], "none.npz"),
        (["simulate", "trace=xls"], "simulate: trace = 'xls': expected 'none', 'npz' or 'csv'"),
        (["demo", "scenario=serial", "beside=[pathwize]"], "did you mean 'pathwise'?"),
        (["demo", "scenario=serial", "rules=[base_stok]"], "rules = 'base_stok': expected one of"),
        # What newcomers type: flags, keys without their group, a learner for a policy, several values without -m.
        (["sim"], "command 'sim': expected one of .*did you mean 'simulate'"),
        (["-v"], "command '-v': .*did you mean '--version'"),
        (
            ["show", "--scenario=serial"],
            "argument '--scenario=serial': expected key=value.*did you mean scenario=serial",
        ),
        (["show", "--scenario", "serial"], "argument '--scenario': expected key=value.*did you mean scenario=serial"),
        (["show", "scenario", "=", "serial"], "argument 'scenario': expected key=value, as in scenario=beer_game"),
        (["show", "=", "serial"], "argument '=': expected key=value, with no space"),
        (["show", "shop/one_store.yml"], "expected key=value; did you mean scenario=shop/one_store.yml"),
        (["show", "scenario=serial.yaml"], "the path of a file that exists; did you mean 'serial'"),
        (["show", "scenario=shop/one_stroe.yaml"], "of a file that exists; did you mean 'shop/one_store.yaml'"),
        (["show", "scenario=serial,lost_sales"], "scenario = 'serial,lost_sales': expected one value .*add -m"),
        (["train", "seed=0,1"], "seed = '0,1': expected one value .*for a run with each of them add -m"),
        (["train", "policy=ppo"], "'policy=ppo': train takes no policy .*; did you mean agent=ppo"),
        (["train", "agent=PPO"], "agent = 'PPO': expected one of .*did you mean 'ppo'"),
        (["train", "env_steps=9"], "unknown key 'env_steps'; did you mean 'budget.env_steps'"),
        (["tune", "budget=9"], "unknown key 'budget'; did you mean 'tuning.budget'"),
        (["tune", "policy=abc"], "policy = 'abc': expected one of local_base_stock, .*, rolling_horizon"),
        (["tune", "policy=ppo"], r"policy = 'ppo': .*learners are trained: echelongym train agent=ppo"),
        (["tune", "policy=random"], "policy = 'random': expected a rule with numbers to tune"),
        (["simulate", "evaluation.worlds=1000000000"], "evaluation.worlds = 1000000000: expected a whole number"),
        (["simulate", "worlds=5"], "unknown key 'worlds'; did you mean 'evaluation.worlds'"),
        (["simulate", "nodes.hub.capacity=5"], "unknown key 'nodes'; did you mean 'scenario.nodes'"),
        (["simulate", "policy.levels.hub=5"], "unknown key 'levels'; did you mean 'parameters.levels'"),
        (
            ["simulate", "policy=abc"],
            "policy = 'abc': expected one of local_base_stock, .*rolling_horizon, .*attribute$",
        ),
        (["simulate", "policy=transshipment"], "mean 'reactive_transshipment' or 'proactive_transshipment'"),
        (["simulate", "policy=rules.py"], "policy = 'rules.py': expected rules:NAME"),
        (["simulate", "policy=sac"], "policy = 'sac': .*trained first: echelongym train scenario=two_region agent=sac"),
        (["benchmark", "policies=a,b"], r"policies = 'a,b': expected one value \(a list is '\[a,b\]'"),
        (["benchmark", "policy=random"], r"benchmark takes no policy .*; did you mean policies=\[random\]"),
        (["bound", "worlds=4"], "unknown key 'worlds'; did you mean 'bounds.worlds' or 'tuning.worlds'"),
        (["bench", "peer=/no/such/python", "scenarios=[]"], "peer = '/no/such/python': expected the path of a Python"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_used_is_said_in_a_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    before = sorted(elsewhere.rglob("*"))
    assert main(words) == 2
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert all(line.startswith("echelongym: ") for line in lines), printed.err
    assert any(re.search(message, line) for line in lines), printed.err
    assert len(lines) <= 2
    assert sorted(elsewhere.rglob("*")) == before, "nothing is left behind"


def test_the_console_reports_errors_by_its_exit_code() -> None:
    done = console("show", "scenario=two_regin")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("echelongym: scenario = 'two_regin'")
    assert "Traceback" not in done.stderr + done.stdout


def test_a_scenario_file_with_faults_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.yaml").write_text(ONE_STORE.replace("lead_time", "leadtime").replace("poisson", "poison"))
    assert main(["show", "scenario=bad.yaml"]) == 2
    assert "unknown key 'leadtime'; did you mean 'lead_time'" in capsys.readouterr().err


# Commands ------------------------------------------------------------------------------------------


def test_show_writes_tables_and_a_picture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "scenario=shop/one_store.yaml", "run=shown", "picture=svg"]) == 0
    names = {path.name for path in Path("shown").iterdir()}
    tables = {"nodes.csv", "lanes.csv", "customers.csv", "rules.csv"}
    assert names == tables | {"config.yaml", "scenario.yaml", "summary.json", "network.svg"}
    assert "store" in Path("shown/network.svg").read_text()
    # Auto level: 5 a period over the lead time and the period itself.
    assert "store,stock,road,5,10" in Path("shown/nodes.csv").read_text()
    printed = capsys.readouterr().out
    # Every rule, or why it makes no sense for one store with one lane.
    kept_rules = Path("shown/rules.csv").read_text()
    assert all(f"\n{rule}," in kept_rules for rule in RULES)
    assert "dual_index,,not here: needs a node with a second lane" in kept_rules
    assert "Results: shown" in printed
    assert "echelongym tune scenario=shown/scenario.yaml" in printed
    # The config that ran, whole: it composes to the same again.
    kept = yaml.safe_load(Path("shown/config.yaml").read_text())
    assert kept["scenario"] == Scenario.load("shop/one_store.yaml").to_dict()
    assert Scenario.load("shown/scenario.yaml").digest == Scenario.load("shop/one_store.yaml").digest


def test_results_are_where_time_and_scenario_say() -> None:
    assert main(["show", "scenario=serial"]) == 0
    (folder,) = Path("runs/show/serial").iterdir()
    assert json.loads((folder / "summary.json").read_text())["scenario"] == "serial"
    assert not Path("outputs").exists()


def test_a_sweep_runs_every_job_in_a_folder_of_its_own() -> None:
    words = ["simulate", "scenario=shop/one_store.yaml", "evaluation.worlds=2", "run=swept", "progress=false"]
    assert main([*words, "-m", "evaluation.seed=1,2", "scenario.horizon=5,6"]) == 0
    jobs = {path.name for path in Path("swept").iterdir() if path.is_dir()}
    assert jobs == {f"seed_{seed}-horizon_{horizon}" for seed in (1, 2) for horizon in (5, 6)}
    summary = json.loads(Path("swept/seed_2-horizon_6/summary.json").read_text())
    assert (summary["seed"], summary["periods"]) == (2, 6)


def test_simulate_replays_a_tape_and_keeps_its_trace() -> None:
    scenario = Scenario.load("shop/one_store.yaml")
    scenario.sample(3, seed=4, purpose="test").save("worlds.npz")
    words = ["simulate", "scenario=shop/one_store.yaml", "policy=local_base_stock", "progress=false"]
    assert main([*words, "tape=worlds.npz", "trace=npz", "run=replayed"]) == 0
    assert main([*words, "evaluation.worlds=3", "evaluation.seed=4", "trace=csv", "run=sampled"]) == 0
    replayed, sampled = (json.loads(Path(run, "summary.json").read_text()) for run in ("replayed", "sampled"))
    assert replayed["cost_per_period"] == sampled["cost_per_period"]
    assert Path("replayed/worlds.csv").read_text() == Path("sampled/worlds.csv").read_text()
    with np.load("replayed/trace.npz") as trace:
        assert trace["on_hand"].shape == (12, 3, 2, 1, 1)
        assert list(trace["nodes"]) == ["plant", "store"]
        rows = Path("sampled/trace_costs.csv").read_text().splitlines()
        holding = rows[0].split(",").index("holding")
        kept = np.array([float(row.split(",")[holding]) for row in rows[1:]]).reshape(3, 12)
        assert np.allclose(kept.T, trace["costs.holding"])
    # The mean of the periods after the warm-up is what is reported.
    assert np.isclose(kept[:, 2:].mean(), sampled["lines"]["holding"]["mean"])


def test_tune_writes_a_rule_that_policies_take(capsys: pytest.CaptureFixture[str]) -> None:
    scenario = "scenario=shop/one_store.yaml"
    words = ["tuning.worlds=8", "tuning.judged=16", "tuning.budget=4000", "tuning.cache=kept", "progress=false"]
    assert main(["tune", scenario, "policy=local_base_stock", *words, "run=tuned"]) == 0
    summary = json.loads(Path("tuned/summary.json").read_text())
    assert summary["rule"] == "local_base_stock"
    assert "policies='[tuned/rule.yaml]'" in capsys.readouterr().out
    assert Path("tuned/parameters.png").read_bytes().startswith(b"\x89PNG")
    assert main(["simulate", scenario, "policy=tuned/rule.yaml", "run=one", "progress=false"]) == 0
    level = summary["parameters"]["levels"]["store"]
    by_hand = ["policy=local_base_stock", f"policy.parameters.levels.store={level!r}"]
    assert main(["simulate", scenario, *by_hand, "run=two", "progress=false"]) == 0
    assert Path("one/worlds.csv").read_text() == Path("two/worlds.csv").read_text()
    # Tuned once: a comparison with the same settings takes it from the cache.
    policies = ["policies=[local_base_stock]", "evaluation.worlds=2", "pictures=false"]
    assert main(["benchmark", scenario, *policies, *words, "run=three"]) == 0
    assert "tuned before" in capsys.readouterr().out


def test_config_can_be_looked_at_without_running(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--cfg", "job", "scenario=serial"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["scenario"]["name"] == "serial"
    assert not Path("runs").exists()


def test_bench_measures_everything(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["seconds=0.01", "batches=[2,3]", "dynamics_batch=2", "scenarios=[serial]", "run=speed"]
    assert main(["bench", *words]) == 0
    rows = json.loads(Path("speed/summary.json").read_text())["rows"]
    kinds = {(row["kind"].partition(",")[0], row["batch"]) for row in rows}
    assert kinds == {("single", 1), ("vector", 2), ("vector", 3), ("dynamics and costs", 2)}
    assert all(row["steps_per_cpu_second"] > 0 for row in rows)
    assert "ratio" not in capsys.readouterr().out


def test_bench_compares_with_a_peer_in_its_own_environment(elsewhere: Path) -> None:
    """An interpreter that answers as one with gym-invmgmt does."""
    answer = {"package": "gym-invmgmt", "version": "0.2.1", "speeds": {"network": 2000.0, "serial": 4000.0}}
    python = elsewhere / "python"
    python.write_text(f"#!/bin/sh\necho 'a banner'\necho '{json.dumps(answer)}'\n")
    python.chmod(0o755)
    words = ["seconds=0.01", "batches=[2]", "dynamics_batch=2", "scenarios=[serial]", f"peer={python}", "run=speed"]
    assert main(["bench", *words]) == 0
    rows = json.loads(Path("speed/summary.json").read_text())["rows"]
    assert rows[-1]["scenario"] == "gym-invmgmt 0.2.1"
    assert [row["ratio"] for row in rows[-2:]] == [1.0, 2.0]
    assert rows[0]["ratio"] == pytest.approx(rows[0]["steps_per_cpu_second"] / 2000)


def test_a_missing_extra_names_the_install_line() -> None:
    code = """
import sys
from importlib import metadata
known = metadata.version
def version(name):
    if name.startswith("completejourney"):
        raise metadata.PackageNotFoundError(name)
    return known(name)
metadata.version = version
from echelongym.experiments.main import main
sys.exit(main(["demo", "scenario=grocery"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'pip install "echelongym[grocery]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_demo_tunes_trains_and_compares(workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["scenario=shop/one_store.yaml", "tuning.worlds=8", "tuning.judged=8", "tuning.budget=2000", "run=demo"]
    words += [
        "training.cpu_seconds=8",
        "training.seeds=2",
        "evaluation.worlds=8",
        f"workers={workers}",
        "progress=false",
    ]
    assert main(["demo", *words]) == 0
    summary = json.loads(Path("demo/summary.json").read_text())
    names = [policy["name"] for policy in summary["policies"]]
    rules = ["echelon_base_stock", "capped_echelon_base_stock"]
    assert names == [*rules, "pathwise", "ppo", "rolling_horizon (untuned)"]
    assert [policy["training_seeds"] for policy in summary["policies"][2:]] == [[0, 1], [0, 1], []]
    assert summary["bound"]["best"] == "perfect_information"
    assert all(policy["tuning_budget"] for policy in summary["policies"][:2])
    assert {"cost_by_line.png", "network.png"} <= {path.name for path in Path("demo").iterdir()}
    assert "echelongym export policy=runs/train/one_store/demo-seed_0" in capsys.readouterr().out


# Run folders ---------------------------------------------------------------------------------------


def test_a_run_folder_is_whole_or_not_there(elsewhere: Path) -> None:
    def fail(run: RunFolder) -> None:
        run.json("summary.json", {"half": True})
        raise RuntimeError("power cut")

    target = elsewhere / "runs" / "one"
    with pytest.raises(RuntimeError, match="power cut"), run_folder(target, {}) as run:
        fail(run)
    assert not target.exists()
    assert list(target.parent.iterdir()) == []
    with run_folder(target, {"key": 1}) as run:
        run.json("summary.json", {"value": float("nan"), "array": np.arange(2)})
        assert not target.exists()
    assert json.loads((target / "summary.json").read_text()) == {"value": None, "array": [0, 1]}
    assert yaml.safe_load((target / "config.yaml").read_text()) == {"key": 1}


def test_work_that_is_done_is_not_lost_to_a_folder_that_filled(elsewhere: Path) -> None:
    target = elsewhere / "run"
    with run_folder(target, {}) as run:
        target.mkdir()
        (target / "other.txt").write_text("of another run")
    assert run.path == elsewhere / "run-2"
    assert (target / "other.txt").exists()
    with pytest.raises(InputError, match="run = 'run': expected a folder that is new or empty"):
        check_free(target)


def test_tables_hold_what_they_were_given(elsewhere: Path) -> None:
    write_csv(
        elsewhere / "t.csv", [{"name": "a, b", "value": 1 / 3, "none": None}, {"name": "c", "value": 2.0, "none": 1}]
    )
    assert (elsewhere / "t.csv").read_text() == 'name,value,none\n"a, b",0.3333333333,\nc,2,1\n'


def test_composing_works_within_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from echelongym.experiments.commands import show

    found = []
    monkeypatch.setattr(show, "run", lambda settings, folder: found.append(compose("train")["seed"]))
    assert main(["show", "scenario=serial"]) == 0
    assert found == [0]


def test_composing_leaves_hydra_as_it_was() -> None:
    assert compose("benchmark", ["evaluation=quick"])["evaluation"]["worlds"] == 64
    assert compose("benchmark")["evaluation"]["worlds"] == 512
