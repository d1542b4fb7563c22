"""Tab completion, as the shells ask for it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from echelongym.experiments.cli.completion import SCRIPTS, complete
from echelongym.experiments.cli.compose import choices
from echelongym.experiments.main import COMMANDS, main


def test_commands_keys_choices_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("mine/shop.yaml").touch()
    assert complete("echelongym be", COMMANDS) == ["benchmark", "bench"]
    assert set(complete("echelongym ", COMMANDS)) >= set(COMMANDS)
    assert complete("echelongym show scenario=tw", COMMANDS) == ["scenario=two_region"]
    assert complete("echelongym show scenario=", COMMANDS) == [f"scenario={name}" for name in choices("scenario")]
    assert complete("echelongym show scenario=mi", COMMANDS) == ["scenario=mine/"]
    assert complete("echelongym show scenario=mine/s", COMMANDS) == ["scenario=mine/shop.yaml"]
    assert complete("echelongym tune scenario=two_region tuning.me", COMMANDS) == ["tuning.method="]
    assert complete("echelongym tune progress=t", COMMANDS) == ["progress=true"]
    assert complete("echelongym nothing sc", COMMANDS) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_key_that_is_offered_is_one(command: str) -> None:
    from echelongym.experiments.cli.compose import compose

    config = compose(command)
    for word in complete(f"echelongym {command} ", COMMANDS):
        place: object = config
        for part in word.removesuffix("=").split(".") if word != "--help" else []:
            assert isinstance(place, dict)
            if part in ("scenario", "policy", "experiment") and part not in place:
                break  # a group that may be left out
            place = place[part]


@pytest.mark.parametrize("shell", SCRIPTS)
def test_shells_offer_what_is_asked_for(shell: str, tmp_path: Path) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed here")
    script = {
        "bash": 'eval "$(echelongym --completion bash)"; COMP_LINE="echelongym show scenario=tw"; COMP_POINT=${#COMP_LINE}\n'
        '_echelongym; echo "${COMPREPLY[@]}"',
        "zsh": 'eval "$(echelongym --completion zsh)"; COMP_LINE="echelongym show scenario=tw"; COMP_POINT=${#COMP_LINE}\n'
        '_echelongym; echo "${COMPREPLY[@]}"',
        "fish": 'echelongym --completion fish | source; complete -C "echelongym show scenario=tw"',
    }[shell]
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    arguments = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    made = subprocess.run(
        [program, *arguments, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    # Bash cuts words at '=', where it completes as a user sees it set.
    assert made.stdout.split()[-1] in ("two_region", "scenario=two_region"), made.stderr


@pytest.mark.slow
def test_bash_completes_every_command(tmp_path: Path) -> None:
    program = shutil.which("bash")
    if program is None:
        pytest.skip("bash is not installed here")
    script = (
        'eval "$(echelongym --completion bash)"; for command in "$@"; do COMP_LINE="echelongym $command r"; '
        'COMP_POINT=${#COMP_LINE}; _echelongym 2> /dev/null; echo "$command ${COMPREPLY[@]}"; done'
    )
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    made = subprocess.run(
        [program, "--norc", "-c", script, "bash", *COMMANDS],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = dict(line.split(" ", 1) for line in made.stdout.splitlines())
    assert list(said) == list(COMMANDS), made.stderr
    for command, words in said.items():
        assert words.split() == complete(f"echelongym {command} r", COMMANDS), command
        assert {"run=", "resume="} <= set(words.split())


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--completion", "tcsh"]) == 2
    assert capsys.readouterr().err == "echelongym: --completion tcsh: expected one of bash, zsh, fish\n"
