"""Words and flags of the command line that cannot be used end in one line, and leave nothing behind."""

import importlib
import os
import pkgutil
import typing

import pydantic
import pytest

import echelongym
from echelongym.envs import InputError
from echelongym.envs.core.validation import Config
from echelongym.experiments.cli.compose import prepare
from echelongym.experiments.cli.hydra_interface import split_flags
from echelongym.experiments.main import main

SMALL = """
nodes: {plant: {kind: supplier}, store: {holding_cost: 1}}
lanes: {road: {source: plant, target: store}}
customers: {shoppers: {sources: {store: {}}, demand: {kind: poisson, mean: 5}, lost_share: 1, lost_sale_cost: 9}}
horizon: 12
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "small.yaml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capfd, *words):
    code = main(words)
    return code, [line for line in capfd.readouterr().err.splitlines() if line.startswith("echelongym: ")]


@pytest.mark.parametrize(("words", "wanted"), [
    (["--resolve"], ["--resolve", "--cfg job"]),
    (["--experimental-rerun=x"], ["--experimental-rerun=x", "--cfg job"]),
    (["--config-name=train"], ["--config-name=train"]),
    (["--config-dir", "."], ["--config-dir"]),
    (["-sc", "install=bash"], ["-sc"]),
    (["--cfg", "nope"], ["--cfg", "'nope'", "job, hydra, all"]),
    (["--cfg"], ["--cfg", "job, hydra, all"]),
    (["--multirn"], ["did you mean '--multirun'?"]),
    (["--horizon", "9"], ["'--horizon'", "did you mean horizon=9?"]),
    (["run=/"], ["run=/", "folder"]),
    (["run=x/.."], ["run=x/..", "folder"]),
    (["scenario.name=${scenario.name}"], ["scenario.name", "leads back to itself"]),
    (["evaluation.worlds=${evaluation.worlds}"], ["evaluation.worlds", "leads back to itself"]),
    (["evaluation.worlds=${nope}"], ["evaluation.worlds = ${nope}", "name of a key"]),
    (["evaluation.worlds=???"], ["evaluation.worlds = ???", "expected a value"]),
    (["scenario.horizon=[1"], ["scenario.horizon=[1"]),
    (["progress=1"], ["progress = 1", "true or false"]),
    (["trust=yes"], ["trust = 'yes'", "true or false"]),
    (["-m", "seed=0,1"], ["'seed'"]),
    (["-m", "evaluation.seed=range(0,0)"], ["evaluation.seed=range(0,0)", "at least one value"]),
    (["-m", "evaluation.worlds=2,0"], ["evaluation.worlds = 0"]),
    (["-m", "scenario.horizon=${scenario.horizon},5"], ["scenario.horizon", "leads back to itself"]),
    (["-m", "run=/,x"], ["run=/,x"]),
])  # fmt: skip
def test_one_line_names_the_word(place, capfd, words, wanted):
    code, lines = said(capfd, "simulate", "scenario=small.yaml", *words)
    assert code == 2
    assert len(lines) == 1
    assert all(word in lines[0] for word in wanted), lines
    assert [path.name for path in place.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize(("given", "flags", "words"), [
    (["-m", "a=1", "b=2"], ["--multirun"], ["a=1", "b=2"]),
    (["a=1", "-c", "job", "--resolve", "b=2"], ["--cfg", "job", "--resolve"], ["a=1", "b=2"]),
    (["--cfg=job", "--package=evaluation"], ["--cfg", "job", "--package", "evaluation"], []),
])  # fmt: skip
def test_flags_stand_anywhere(given, flags, words):
    assert split_flags(given) == (flags, words)


@pytest.mark.parametrize("name", ["5", "1e3", "007", "nan"])
def test_a_run_may_be_called_like_a_number(place, name):
    settings = prepare("simulate", ["scenario=small.yaml", f"run={name}"])
    assert settings.run == name


def _models(model=Config):
    for one in model.__subclasses__():
        yield one
        yield from _models(one)


def _parts(annotation):
    return {annotation}.union(*(_parts(one) for one in typing.get_args(annotation) if not isinstance(one, str)))


def test_true_and_false_are_the_only_booleans_of_any_setting():
    for module in pkgutil.walk_packages(echelongym.__path__, "echelongym."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    seen = 0
    for model in set(_models()):
        for field in model.model_fields.values():
            annotation = typing.Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation
            if bool not in _parts(annotation):
                continue
            seen += 1
            adapter = pydantic.TypeAdapter(annotation)
            assert adapter.validate_python(True) is True
            for value in (0, 1, 1.0, "yes", "true", "on"):
                with pytest.raises(pydantic.ValidationError):
                    adapter.validate_python(value)
    assert seen > 30


@pytest.mark.parametrize(("command", "words", "wanted"), [
    ("demo", ["agent.learning_rate=-1"], ["agent", "learning_rate"]),
    ("demo", ["agent.nope=1"], ["agent", "nope"]),
    ("demo", ["training.seeds=1e9"], ["training.seeds"]),
    ("train", ["threads=1e9"], ["threads"]),
    ("bench", ["batches=[]"], ["batches"]),
    ("tune", ["tuning.refresh=0"], ["tuning.refresh = 0", "true or false"]),
])  # fmt: skip
def test_settings_are_checked_before_any_work(command, words, wanted):
    with pytest.raises(InputError) as caught:
        prepare(command, words)
    assert all(word in str(caught.value) for word in wanted), str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of Unix")
def test_a_word_that_is_there_but_of_another_kind_is_not_offered_again(place, capfd):
    """A pipe where a scenario is wanted, and a file where a folder is."""
    os.mkfifo("s.yaml")
    assert said(capfd, "simulate", "scenario=s.yaml") == (
        2,
        ["echelongym: scenario = 's.yaml': expected the path of a file, which this is not"],
    )
    (place / "table.csv").write_text("")
    code, (line,) = said(capfd, "simulate", "scenario=lost_sales", "evaluation.worlds=2", "run=table.csv/made")
    assert (code, line) == (
        2,
        "echelongym: run = 'table.csv/made': expected a new name in a folder, which table.csv is not",
    )
