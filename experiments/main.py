"""The console entry ``echelongym COMMAND key=value ...``: finds the command, composes its config, reports errors.

A command is a module with

- ``Settings``, a pydantic model without defaults: ``configs/COMMAND.yaml`` has them, a comment beside each;
- ``run(settings, folder)``, which does the work and leaves its results in ``folder`` (see :mod:`.runs`).

Nothing heavy is imported here: ``echelongym --help`` has to be there at once, and a command imports what it needs.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from .import_path import leave_local_settings, leave_working_folder


@dataclass(frozen=True)
class Command:
    """One line of the table: where a command lives and what it is for."""

    purpose: str
    example: str

    def module(self, name: str) -> Any:
        """The command's module, imported now."""
        return importlib.import_module(f"echelongym.experiments.commands.{name}")


COMMANDS = {
    "show": Command("print a scenario as tables and draw its network", "show scenario=two_region"),
    "tune": Command(
        "fit the parameters of a rule to a scenario", "tune scenario=one_warehouse policy=echelon_base_stock"
    ),
    "train": Command("train a learner on a scenario", "train scenario=one_warehouse agent=ppo -m seed=0,1,2"),
    "benchmark": Command(
        "compare policies on common worlds",
        "benchmark scenario=two_region policies='[echelon_base_stock,capped_echelon_base_stock]' evaluation.worlds=512",
    ),
    "bound": Command("bound what any policy can reach", "bound scenario=one_warehouse bounds.worlds=128"),
    "exact": Command(
        "solve a small or well-structured scenario", "exact scenario=dual_sourcing policy=capped_dual_index"
    ),
    "generalise": Command(
        "run policies on unseen variants of a randomised scenario, zero-shot",
        "generalise scenario=distribution_family sizes=[null,50] severities=[1,3] variants=4",
    ),
    "read": Command(
        "read a policy: order-up-to curves, response to a shock, sensitivities, a table to adopt",
        "read scenario=one_warehouse policy=runs/train/one_warehouse/NAME",
    ),
    "simulate": Command("run one policy and keep what happened", "simulate scenario=serial policy=local_base_stock"),
    "export": Command("write a policy as an ONNX bundle", "export policy=runs/train/one_warehouse/NAME"),
    "board": Command(
        "re-run published instances and keep the ledger of their numbers", "board instances=zheng_federgruen"
    ),
    "demo": Command("tune, train, benchmark and draw: the main job in one go", "demo scenario=grocery"),
    "bench": Command("measure environment steps per CPU-second", "bench"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, or 2 after an error in what the user wrote."""
    leave_working_folder()
    leave_local_settings()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if given[0] in ("--version", "-V", "version"):
        print(metadata.version("echelongym"))
        return 0
    if given[0] in ("--completion", "--complete"):
        return _completion(given)
    name, *rest = given
    if name not in COMMANDS:
        near = [one for one in COMMANDS if len(name) > 1 and one.startswith(name)]
        near = near or difflib.get_close_matches(name.lower(), COMMANDS, n=1)
        near = near or (["--version"] if name == "-v" else [])
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        return _complain(f"command {name[:60]!r}: expected one of {', '.join(COMMANDS)}{hint} (echelongym --help)")
    if {"-h", "--help"} & set(rest):
        print(manual(name))
        return 0
    return _run(name, rest)


def _completion(given: Sequence[str]) -> int:
    """``--completion SHELL`` prints the script that a shell loads, which calls ``--complete LINE``."""
    from .cli.completion import SCRIPTS, complete

    flag, *rest = given
    if flag == "--complete":
        for word in complete(rest[0] if rest else "", COMMANDS):
            print(word)
        return 0
    if len(rest) != 1 or rest[0] not in SCRIPTS:
        return _complain(f"--completion {' '.join(rest)}: expected one of {', '.join(SCRIPTS)}")
    print(SCRIPTS[rest[0]])
    return 0


def _run(name: str, rest: list[str]) -> int:
    # Arrays are small: several threads of NumPy or PyTorch would spend their time waiting for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from echelongym.envs.core.errors import InputError, MissingExtra

    from .cli.hydra_jobs import launch

    try:
        launch(name, rest)
    except (InputError, MissingExtra) as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        from .cli.launching import at_work

        _complain(f"stopped; to go on: echelongym {at_work()}" if at_work() else "stopped")
        return 130
    except MemoryError as error:
        what = f" ({error})" if str(error) else ""
        return _complain(f"out of memory{what}: try fewer worlds or periods, or a smaller evaluation.chunk")
    except OSError as error:
        return _complain(f"{error.filename or name}: {error.strerror or error}")
    except SystemExit as error:  # of Hydra, once it has shown what a flag asks for
        return 0 if not error.code else _complain(f"{name}: ended with exit code {error.code}", 1)
    except Exception as error:
        return _unexpected(name, error)
    return 0


def _unexpected(name: str, error: Exception) -> int:
    """The last resort: one line, and a report for whoever mends it."""
    import tempfile
    import traceback

    from echelongym.agents.imported import told

    with tempfile.NamedTemporaryFile(
        "w", prefix="echelongym-", suffix=".txt", delete=False, encoding="utf-8"
    ) as report:
        report.write("".join(traceback.format_exception(error)))
    return _complain(f"{name}: ended in {told(error)}; the whole report is in {report.name}", 1)


def overview() -> str:
    """Text of ``echelongym --help``."""
    width = max(map(len, COMMANDS))
    lines = ["echelongym COMMAND key=value ...", "", "Commands:"]
    lines += [f"  {name:<{width}}  {command.purpose}" for name, command in COMMANDS.items()]
    lines += ["", "Examples:"]
    lines += [f"  echelongym {command.example}" for command in COMMANDS.values()]
    lines += [
        "",
        "Any value of the scenario can be changed: scenario.lanes.hub_north_express.capacity=40",
        "A scenario is a name or a path ending in .yaml; echelongym COMMAND --help lists a command's keys.",
        'Tab completion: eval "$(echelongym --completion bash)" (or zsh); fish: echelongym --completion fish | source',
    ]
    return "\n".join(lines)


def manual(name: str) -> str:
    """Text of ``echelongym COMMAND --help``: the config file with its comments, and the choices of its groups."""
    folder = Path(str(resources.files("echelongym.configs")))
    text = (folder / f"{name}.yaml").read_text(encoding="utf-8")
    lines = [f"echelongym {name}: {COMMANDS[name].purpose}", "", "Keys, with their defaults:", ""]
    lines += [f"  {line}" for line in text.splitlines() if line]
    paths = {"scenario": ", or a path ending in .yaml", "policy": ", or a path, or package.module:thing"}
    for group, choice in _groups(text):
        choices = ", ".join(sorted(path.stem for path in (folder / group).glob("*.yaml")))
        lines += ["", f"{group}: one of {choices}{paths.get(group, '')}"]
        if group != "scenario" and choice != "null":  # a scenario is its own long story
            content = (folder / group / f"{choice}.yaml").read_text(encoding="utf-8")
            lines += [f"  {line}" for line in content.splitlines() if line]
    lines += ["", f"Example: echelongym {COMMANDS[name].example}", "", "--cfg job shows the config that would run."]
    return "\n".join(lines)


def _groups(text: str) -> list[tuple[str, str]]:
    """Groups in the defaults list of a config, and what is chosen of each."""
    defaults = re.search(r"^defaults:(.*?)\n(?=\S)", text, re.DOTALL | re.MULTILINE)
    return re.findall(r"(\w+): *(\w+)", re.sub("#.*", "", defaults[1])) if defaults else []


def _complain(message: str, code: int = 2) -> int:
    from echelongym.envs.core.errors import printable

    for line in message.split("\n"):
        print(f"echelongym: {printable(line)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
