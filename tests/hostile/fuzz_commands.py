"""Hostile commands: every setting of every command as data, and words of the command line."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_inputs import Case, Nonsense, unclear
from fuzz_scenarios import GOOD_TEXT, VALUES, at, kind_of, paths, put

from echelongym.envs import InputError

CATEGORIES = ("settings", "command line", "full run")
COMMANDS = (
    "show",
    "tune",
    "train",
    "benchmark",
    "bound",
    "exact",
    "generalise",
    "read",
    "simulate",
    "export",
    "demo",
    "bench",
    "board",
)
# The least that a command can be made to do.
QUICK = {
    "show": [], "simulate": ["evaluation.worlds=2"], "exact": ["states=3000"], "export": ["check.observations=4"],
    "tune": ["tuning.worlds=2", "tuning.judged=2", "tuning.budget=50", "tuning.cache=null"],
    "benchmark": ["evaluation.worlds=2", "policies=[local_base_stock]", "tune=false", "open_loop=false", "bounds=none", "pictures=false"],
    "bound": ["bounds.worlds=2", "bounds.penalty=false", "workers=1", "bounds.cache=null", "tune=false", "open_loop=false", "exact=false"],
    "read": ["evaluation.worlds=2", "states.worlds=2", "states.periods=2", "shock.worlds=2", "table.worlds=2", "table.periods=2"],
    "train": ["agent=pathwise", "budget.env_steps=40", "agent.worlds=2", "agent.periods=4", "validation.worlds=2", "bound=false",
              "reference=automatic"],
    "generalise": ["variants=1", "sizes=[null]", "severities=[1]", "evaluation.worlds=2", "rules=[]"],
    "demo": ["evaluation.worlds=2", "training.cpu_seconds=1", "rules=[echelon_base_stock]", "tuning.budget=60"],
    "bench": ["scenarios=[lost_sales]", "batches=[1]", "dynamics_batch=2", "seconds=0.01"],
    "board": ["instances=lost_sales_1_4", "trainings=false", "tuning.cache=null"],
}  # fmt: skip


@cache
def composed(command: str) -> dict[str, Any]:
    """The settings of a command on a small scenario, as plain data."""
    from echelongym.experiments.cli.compose import compose, groups

    words = list(QUICK[command])
    if "scenario" in groups(command) and command != "generalise":
        words += ["scenario=lost_sales", "scenario.horizon=6", "scenario.warm_up=1"]
    try:
        return compose(command, words)
    except InputError:
        return compose(command, [word for word in words if not word.startswith("scenario.")])


def _settings_cases() -> Iterator[Case]:
    from echelongym.experiments.cli.compose import checked

    for command in COMMANDS:
        data = composed(command)
        own = {key: value for key, value in data.items() if key != "scenario"}
        for path in paths(own):
            if path[0] in ("run", "progress") and len(path) > 1:
                continue
            given = at(own, path)
            for name, value, what in VALUES:
                same = given is None or what == "null" or kind_of(given) == kind_of(value)
                boolean = isinstance(given, bool)
                must = what in ("bad text", "bad number", "object", "bad list", "bad mapping", "negative") or not same
                if boolean:
                    must = what not in ("boolean", "null")
                if path[0] in ("policies", "rules", "scenarios", "policy", "changes") and what in (
                    "list",
                    "text",
                    "mapping",
                ):
                    must = False
                if path == ("resume",) and what == "boolean":
                    must = False  # auto, true or false
                if path[-1] in ("log_std_init",) and what == "negative":
                    must = False
                if path[-1] in ("ent_coef", "env_steps") and what in ("text", "number"):
                    must = False
                if path[-1] in ("parameters", "changes") or given is None:
                    must = must and what in ("object", "bad list", "bad text")

                def run(place: Path, command: str = command, path: Any = path, value: Any = value) -> None:
                    checked(command, put({**own_of(command)}, path, value))

                yield Case(
                    "settings", f"{command}: {'.'.join(map(str, path))}: {name}", run, "refused" if must else "either"
                )
        for name, value, _ in VALUES:
            yield Case(
                "settings",
                f"{command}: {name} in place of all",
                lambda place, command=command, value=value: checked(command, value),
            )


def own_of(command: str) -> dict[str, Any]:
    """The settings as they are before anything is changed."""
    return composed(command)


def line(words: list[str], place: Path) -> None:
    """Run ``echelongym WORDS`` in a folder: an InputError with what it said if it refused, Nonsense if it said too much."""
    from echelongym.experiments.main import main

    os.chdir(place)
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            code = main(words)
        except SystemExit as error:
            raise Nonsense(f"left by SystemExit {error.code}: {said.getvalue()[-200:]}") from None
    text = said.getvalue().strip()
    if "Traceback" in text:
        raise RuntimeError(f"a traceback: {text[-300:]}")
    if code == 2:
        lines = [part.removeprefix("echelongym: ") for part in text.splitlines() if part.startswith("echelongym: ")]
        if not lines:
            raise RuntimeError(f"exit code 2 and no word: {text[-200:]}")
        left = [path for path in place.rglob("*") if path.is_file() and "runs" in path.parts]
        if left:
            raise RuntimeError(f"left {left[0].relative_to(place)} behind ({lines[0][:200]})")
        raise InputError("\n".join(lines))
    if code:
        raise RuntimeError(f"exit code {code}: {text[-300:]}")
    for path in place.rglob("summary.json"):
        json.loads(path.read_text())
        if re.search(r"NaN|Infinity", path.read_text()):
            raise Nonsense("NaN in summary.json")


WORDS = ["", " ", "=", "==", "=1", "a", "a=", "a.b", "a=b=c", "+", "+a", "++", "~", "~a", "~scenario", "-", "--", "---", "--nope", "-m", "-x", "--cfg",
         "--cfg nope", "--config-dir=/", "--config-name=nope", "--config-path=/etc", "--info", "--resolve", "--package=x", "--experimental-rerun=x",
         "scenario", "scenario=", "scenario=null", "scenario=[]", "scenario={}", "scenario=[two_region]", "scenario=nope", "scenario=/etc/passwd",
         "scenario=nope.yaml", "scenario=a,b", "scenario=two_region,serial", "scenario=../two_region", "scenario=instances/tiny_warehouse",
         "scenario=x.yaml.yaml", "scenario='", "scenario=\"", "scenario=\x00", "scenario=\x1b[31m", "scenario=é", "scenario=a b", "scenario=$HOME",
         "scenario=${x}", "scenario=${oc.env:HOME}", "scenario=???", "scenario.horizon=", "scenario.horizon=null", "scenario.horizon=-1",
         "scenario.horizon=nan", "scenario.horizon=inf", "scenario.horizon=1e308", "scenario.horizon=1e400", "scenario.horizon=true",
         "scenario.horizon=[1", "scenario.horizon={a", "scenario.horizon=(1)", "scenario.horizon=1_0", "scenario.horizon=0x10", "scenario.horizon='6'",
         "scenario.horizon=" + "9" * 400, "scenario.horizon=" + "9" * 6000, "scenario.horizon=" + "[" * 300 + "]" * 300, "scenario.horizon=${x}",
         "scenario.horizon=${scenario.horizon}", "scenario.horizon=???", "scenario.horizon=${oc.env:NOPE}", "scenario.horizon=range(1,3)",
         "scenario.horizon=choice(1,2)", "scenario.horizon=glob(*)", "scenario.name=", "scenario.name=../../x", "scenario.name=a/b", "scenario.name=\x1b[31m",
         "scenario.name=" + "x" * 500, "scenario.name=.", "scenario.name=..", "scenario.name=null", "scenario.name=5", "scenario.name=${oc.env:HOME}",
         "scenario.nodes=null", "scenario.nodes=5", "scenario.nodes={}", "scenario.nodes.x=5", "scenario.lanes.x.y.z=5", "scenario.nope=1", "scenario.=1",
         "scenario..x=1", ".x=1", "scenario.nodes.store.holding_cost=1e12", "scenario.base_dir=/", "scenario.customers={a: {}}", "nope=1", "nope.x=1",
         "run=", "run=null", "run=[]", "run={}", "run=5", "run=/", "run=/proc/x", "run=/dev/null", "run=/dev/null/x", "run=.", "run=..", "run=" + "x" * 300,
         "run=" + "x/" * 3000, "run=a\x00b", "run=a\x1b[31m", "run=~", "run=${oc.env:HOME}", "run=${nope}", "run=true", "run='a b'", "run=/sys/x", "run=file",
         "run=file/x", "hydra.run.dir=/proc/x", "hydra.nope=1", "hydra/launcher=nope", "hydra/sweeper=nope", "hydra=nope", "hydra.mode=NOPE",
         "hydra.job.chdir=true", "progress=maybe", "progress=null", "progress=5", "trust=maybe", "trust=null", "é=1", "\x00=1", "a b=1", "[]=1", "{}=1",
         "1=2", "null=1", "true=1", "__class__=1", "x" * 5000 + "=1", "a=" + "x" * 100_000]  # fmt: skip
SPECIFIC = {
    "simulate": ["policy=", "policy=null", "policy=[]", "policy=nope", "policy=builtins:exit", "policy=os:abort", "policy=os:system", "policy=nope:x",
                 "policy=nope.yaml", "policy=.", "policy=/", "policy=/etc/passwd", "policy=file", "policy.name=", "policy.name=5", "policy.parameters=5",
                 "policy.parameters={a: 1}", "policy.parameters.levels=nan", "policy.parameters.levels=abc", "policy.parameters.levels={x: 1}",
                 "tape=nope", "tape=file", "tape=.", "tape=[]", "tape=/dev/zero", "tape=", "trace=nope", "trace=", "evaluation=nope", "evaluation=null",
                 "evaluation.worlds=0", "evaluation.worlds=-1", "evaluation.worlds=1e12", "evaluation.worlds=1e308", "evaluation.worlds=null",
                 "evaluation.worlds=[2]", "evaluation.seed=-1", f"evaluation.seed={2**70}", "evaluation.seed=1.5", "evaluation.periods=0",
                 "evaluation.periods=1e9", "evaluation.periods=1e12", "evaluation.periods=1", "evaluation.chunk=0", "evaluation.chunk=-5",
                 "policy=echelon_base_stock.yaml", "policy=all", "policy=open_loop_plan,x", "policy='[echelon_base_stock]'"],
    "benchmark": ["policies=", "policies=null", "policies=[]", "policies=[[]]", "policies=[[[]]]", "policies=[null]", "policies=[5]", "policies=[true]",
                  "policies=['']", "policies=[{}]", "policies=[{policy: []}]", "policies=[{policy: null}]", "policies=[{policy: 5}]", "policies=['builtins:exit']",
                  "policies=['os:system']", "policies=['os:abort']", "policies=nope.yaml", "policies=nope", "policies=[nope]", "policies=['*']",
                  "policies=['nope/*']", "policies=[[local_base_stock,local_base_stock]]", "policies=[local_base_stock,local_base_stock]",
                  "policies=[{policy: local_base_stock, name: ''}]", "policies=[{policy: local_base_stock, name: 5}]", "policies={a: b}", "policies=[/]",
                  "policies=[.]", "policies=[file]", "policies=['\x1b[31m']", "policies=[{policy: local_base_stock, parameters: 5}]",
                  "policies=[{policy: local_base_stock, parameters: {levels: nan}}]", "policies=[{policy: local_base_stock, name: '../x'}]",
                  "policies=[{policy: local_base_stock, name: 'a\x1bb'}]", "evaluation.worlds=1e12", "evaluation.worlds=0", "bounds.worlds=-1", "bounds=nope",
                  "workers=1e9", "workers=0", "tuning.budget=-1", "evaluation.chunk=1e15"],
    "tune": ["policy=nope", "policy=open_loop_plan", "policy=builtins:exit", "policy=random", "policy.parameters={levels: 5}", "policy.parameters={nope: 5}",
             "tuning.worlds=0", "tuning.worlds=1e12", "tuning.judged=1e12", "tuning.budget=0", "tuning.budget=1e300", "tuning.method=nope",
             "tuning.tolerance=nan", "tuning.cache=5", "tuning.cache=/proc/x", "tuning.cache=file", "tuning.seed=-1", f"tuning.seed={2**70}",
             "tuning.refit=1e9", "workers=1e9"],
    "train": ["agent=nope", "agent=null", "agent.kind=nope", "agent.kind=[]", "agent.worlds=0", "agent.worlds=1e12", "agent.hidden=[]", "agent.hidden=[0]",
              "agent.hidden=[1e9]", "agent.hidden=x", "agent.learning_rate=nan", "agent.learning_rate=1e300", "agent.start=nope", "agent.start=builtins:exit",
              "agent.start=file", "budget.env_steps=-1", "budget.env_steps=nope", "budget.env_steps=null", "budget.cpu_seconds=nan", "budget.cpu_seconds=-1",
              "seed=-1", f"seed={2**70}", "seed=1.5", "seed=null", "seed=[0]", "resume=true", "threads=0", "threads=1e9", "validation.worlds=0",
              "validation.worlds=1e12", "validation.times=0", "validation.times=1e12", "checkpoint_seconds=-1", "checkpoint_seconds=nan", "action=nope",
              "reference=nope", "experiment=nope", "tensorboard=5", "agent.periods=1e9", "agent.periods=0", "agent.due_periods=1e9"],
    "bound": ["policies=[[]]", "policies=[nope]", "bounds.worlds=0", "bounds.worlds=1e12", "states=0", "states=1e15", "seed=-1", f"seed={2**70}", "bounds.steps=-1",
              "workers=0", "workers=1e9", "bounds.cache=/proc/x", "bounds.cache=file"],
    "exact": ["method=nope", "states=0", "states=-1", "states=1e300", "search=5", "policy=nope", "policy=builtins:exit", "policy.parameters=5"],
    "export": ["policy=nope", "policy=.", "policy=file", "policy=builtins:exit", "policy=os:system", "policy=random", "check.observations=0",
               "check.observations=1e12", "check.observations=1", "check.seed=-1", f"check.seed={2**70}", "check.tolerance=nan", "check.tolerance=-1"],
    "read": ["policy=nope", "policy=builtins:exit", "states.worlds=0", "states.worlds=1e12", "states.periods=0", "states.periods=1e9", "shock.customer=nope",
             "shock.product=nope", "shock.deviations=nan", "shock.deviations=1e300", "shock.outage=nope", "shock.length=0", "shock.length=1e12",
             "shock.period=-1", "shock.period=1e12", "table.terms=-1", "table.terms=1e9", "table.position=nope", "table.worlds=1e12", f"table.seed={2**70}"],
    "generalise": ["policies=[]", "policies=[[]]", "policies=[nope]", "rules=[nope]", "rules=5", "variants=0", "variants=1e9", "seed=-1", "sizes=[]",
                   "sizes=[0]", "sizes=[1]", "sizes=[1e9]", "sizes=[x]", "sizes=5", "severities=[]", "severities=[0]", "severities=[nan]", "severities=[1e308]",
                   "severities=[-1]", "changes=5", "changes={a: 5}", "changes={a: {}}", "changes={'../x': {horizon: 5}}", "changes={a: {nope: 1}}",
                   "on_the_spot.agent=nope", "on_the_spot.variants=0", "on_the_spot.cpu_seconds=nan", "scenario=two_region"],
    "demo": ["rules=[]", "rules=[nope]", "rules=5", "training.cpu_seconds=nan", "training.cpu_seconds=-1", "training.seeds=0", "training.seeds=1e9",
             "training.first_seed=-1", "workers=0", "workers=1e9", "agent=nope"],
    "bench": ["scenarios=[]", "scenarios=[nope]", "scenarios=5", "batches=[]", "batches=[0]", "batches=[1e12]", "batches=x", "dynamics_batch=0",
              "dynamics_batch=1e12", "seconds=0", "seconds=nan", "seconds=-1", "peer=nope", "peer=/etc/passwd", "peer=."],
    "show": [],
    "board": ["instances=nope", "instances=5", "instances=[]", "instances=[5]", "instances={a: 5}", "instances='*'", "instances=''", "trainings=5", "seeds=[]",
              "seeds=[-1]", "seeds=5", "cpu_seconds=0", "cpu_seconds=nan", "worlds=0", "worlds=1e300", "seed=-1", "states=0", "ledger=file", "ledger=/proc/x",
              "workers=0", "workers=1e9"],
}  # fmt: skip
RIGHT = {"scenario=two_region,serial", "~scenario", "-m", "--info", "--resolve", "--cfg job", "progress=true", "scenario=two_region", "run=5", "run=true",
         "scenario.horizon=0x10", "scenario.horizon=1_0", "run='a b'", "run=~", "run=.", "--package=x"}  # fmt: skip
LOOSE = ("hydra", "+", "~", "-", "run=x", "scenario.nodes.store", "policies=['*']", "policies=[{policy: local_base_stock, name:", "tuning.cache", "tape=",
         "scenario.horizon='6'", "scenario.horizon=range", "scenario.horizon=${scenario", "evaluation.periods=null", "workers", "workers", "bounds.worlds=0",
         "policy=random", "evaluation.chunk", "scenario.name", "agent.hidden=[]", "agent.start=file", "changes={a: {}}", "budget.env_steps=null", "states=1e15",
         "states=0", "tuning.budget", "table.terms", "resume", "bounds.cache", "tensorboard", "agent.learning_rate=1e300", "checkpoint_seconds", "shock.deviations=1e300",
         "threads", "validation.times", "workers", "scenario.horizon=choice", "training.seeds", "run=${oc", "rules=[]", "policies=['nope", "scenario=$", "a=", "run=a",
         "changes={'", "run=..", "severities=[1e308]", "tuning.refit", "scenario=a,", "policy.parameters={levels", "policies=[.]", "policy=open_loop_plan", "--cfg", "")  # fmt: skip


def _line_cases() -> Iterator[Case]:
    def attempt(command: str, words: list[str]) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            (place / "file").write_text("in the way")
            (place / "small.yaml").write_text(GOOD_TEXT)
            usual = QUICK[command]
            given = {word.partition("=")[0] for word in words}
            kept = [word for word in usual if word.partition("=")[0] not in given]
            scenario = (
                [] if command in ("generalise", "bench", "board") or "scenario" in given else ["scenario=small.yaml"]
            )
            line([command, *scenario, *kept, *words], place)

        return run

    for command in COMMANDS:
        if command not in ("demo", "train", "generalise", "read", "bench"):
            yield Case(
                "command line",
                f"{command}: sound",
                attempt(command, []),
                "accepted" if command != "exact" else "either",
            )
        for word in SPECIFIC[command]:
            yield Case("command line", f"{command} {word[:60]!r}", attempt(command, [word]), "either")
    for command in ("show", "simulate", "tune", "benchmark"):
        for word in WORDS:
            yield Case(
                "command line",
                f"{command} {word[:60]!r}",
                attempt(command, word.split(" ") if word.startswith("-") else [word]),
                "either",
            )
    for words in ([], [""], ["nope"], ["\x1b[31m"], ["--nope"], ["show", "--help", "x"], ["x" * 10_000], ["é"], ["\udc80"], ["SHOW"], ["help", "x"],
                  ["-h", "x"], ["--version", "x"], ["--install-completion"], ["completion"], ["completion", "nope"]):  # fmt: skip
        yield Case("command line", f"{words!r}"[:60], lambda place, words=words: line(words, place), "either")
    for words in (
        ["seed=0,1"],
        ["seed=0,x"],
        ["seed=range(0,3)"],
        ["scenario=small.yaml,nope"],
        ["nope=1,2"],
        ["run=a,b"],
        ["evaluation.worlds=2,0"],
    ):
        yield Case("command line", f"simulate -m {words}", attempt("simulate", ["-m", *words]), "either")
    rng = np.random.default_rng(11)
    signs = list("=.,[]{}()'\"\\$:?*~+-!@#%^&|<>`; \t\n\x00\x1b\u202e0aé")
    for k in range(120):
        word = "".join(rng.choice(signs, int(rng.integers(1, 12))))
        for prefix in ("", "run=", "scenario.name="):
            yield Case(
                "command line",
                f"simulate random {prefix}{word!r} ({k})",
                attempt("simulate", [prefix + word]),
                "either",
            )


def cases(folder: Path) -> list[Case]:
    """All of this module."""
    _ = unclear
    return [*_settings_cases(), *_line_cases()]
