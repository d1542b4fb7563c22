"""Hostile policies: rules, plans, trained policies, checkpoints, zips, bundles, run folders, names to import."""

from __future__ import annotations

import copy
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from fuzz_files import archive_edits, big_archive, header, members, write_members
from fuzz_inputs import Case
from fuzz_scenarios import TEXTS, VALUES, at, deep, kind_of, paths, put

from echelongym.agents import load_policy
from echelongym.envs import Scenario, simulate

CATEGORIES = ("rule", "plan", "trained policy", "bundle", "checkpoint", "zip", "policy name", "run folder")


@cache
def small() -> Scenario:
    """Two regions for a few periods."""
    return Scenario.load("two_region").replace(horizon=8, warm_up=2)


def use(path: Any, trust: bool = False, **parameters: Any) -> None:
    """Load a policy and run it."""
    policy = load_policy(path, small(), trust=trust, **parameters)
    simulate(small(), policy, small().sample(2, 1, "tune"))


def _data_edits(sound: Any, width: int = 1) -> Iterator[tuple[str, Any, bool]]:
    """Plain data with each value exchanged, left out or added to: (name, data, whether it must be refused)."""
    for path in paths(sound):
        if isinstance(path[-1], int) and path[-1] > width:
            continue
        for name, value, what in VALUES:
            if what in ("bad list", "object") or name in (
                "deep mapping",
                "5000 digits",
                "NaN",
                "infinity",
                "minus infinity",
                "key tuple",
            ):
                continue
            given = kind_of(at(sound, path)) if at(sound, path) is not None else "null"
            yield (
                f"{'.'.join(map(str, path))}: {name}",
                put(sound, path, value),
                given != kind_of(value) and what != "null",
            )
        changed = copy.deepcopy(sound)
        del at(changed, path[:-1])[path[-1]]
        yield f"without {'.'.join(map(str, path))}", changed, False


def _rule_cases(folder: Path) -> Iterator[Case]:
    rule = load_policy("echelon_base_stock", small())
    sound = rule.to_dict()

    def written(data: Any) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            path = place / "rule.yaml"
            path.write_text(yaml.safe_dump(data), encoding="utf-8", errors="surrogatepass")
            use(path)

        return run

    yield Case("rule", "sound", written(sound), "accepted")
    for name, data, must in _data_edits(sound):
        notes = name.startswith(("scenario", "without", "parameters"))
        yield Case("rule", name, written(data), "refused" if must and not notes else "either")
    for name, content in TEXTS:
        yield Case("rule", f"text: {name}", lambda place, content=content: use(_file(place / "rule.yaml", content)))
    for name, value, what in VALUES:
        for key in ("levels", "allocation", "position", "nope"):
            fine = what == "null" or (key == "levels" and what in ("number", "negative")) or value == {}
            yield Case("rule", f"parameter {key} = {name}",
                       lambda place, key=key, value=value: use("echelon_base_stock", **{key: value}),
                       "either" if fine else "refused")  # fmt: skip


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _plan_cases() -> Iterator[Case]:
    t = small().tables
    sound = {
        "plan": "open_loop_plan",
        "scenario": t.name,
        "network": {key: list(getattr(t, key)) for key in ("products", "nodes", "lanes", "customers")},
        "requests": np.full((8, t.L, t.P), 5.0).tolist(),
    }

    def attempt(text: str | bytes) -> Callable[[Path], None]:
        content = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        return lambda place: use(_file(place / "plan.json", content))

    yield Case("plan", "sound", attempt(json.dumps(sound)), "accepted")
    for name, data, must in _data_edits(sound, 0):
        notes = name.startswith(("scenario", "without"))
        yield Case("plan", name, attempt(json.dumps(data)), "refused" if must and not notes else "either")
    for value in (np.nan, np.inf, -1.0, 1e308, "x", None, True, [1.0], 10**400):
        changed = copy.deepcopy(sound)
        changed["requests"][0][0][0] = value
        yield Case("plan", f"a request of {str(value)[:10]}", attempt(json.dumps(changed)))
    for name, text in JSON_TEXTS:
        yield Case("plan", f"text: {name}", attempt(text))


JSON_TEXTS: list[tuple[str, bytes]] = [
    ("empty", b""), ("null", b"null"), ("list", b"[]"), ("number", b"5"), ("cut", b'{"a": '), ("not UTF-8", b'{"a": "\xff"}'),
    ("deep", b"[" * 100_000), ("deep and closed", b"[" * 50_000 + b"]" * 50_000), ("NUL", b'{"a": "\x00"}'),
    ("long number", b'{"schema": ' + b"9" * 100_000 + b"}"), ("long float", b'{"schema": 1e' + b"9" * 1000 + b"}"),
    ("byte-order mark", b"\xef\xbb\xbf{}"), ("UTF-16", "{}".encode("utf-16")), ("NaN", b'{"a": NaN}'), ("binary", bytes(range(256))),
]  # fmt: skip


@cache
def trained() -> dict[str, dict[str, bytes]]:
    """Sound policy files: an actor, a recurrent one, a pathwise policy."""
    import tempfile

    from echelongym.agents.learners import learner_config
    from echelongym.agents.pathwise.config import PathwiseConfig
    from echelongym.agents.pathwise.policy import make_policy, save_pathwise
    from echelongym.agents.sb3.actor import Actor, ActorPolicy, constant_policy
    from echelongym.agents.sb3.policy_file import save_actor

    found = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        blank = constant_policy(small(), "order_up_to")
        actor = Actor([blank.encoder.size, 5, blank.decoder.size])
        save_actor(place / "a.npz", ActorPolicy(small(), actor, "order_up_to", {"seed": 1}))
        found["actor"] = members(place / "a.npz")
        settings = PathwiseConfig(**{**learner_config("pathwise").model_dump(), "hidden": (4,)})
        save_pathwise(place / "p.npz", make_policy(small(), settings))
        found["pathwise"] = members(place / "p.npz")
    return found


def _npy_text(data: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.array(json.dumps(data)), allow_pickle=False)
    return stream.getvalue()


def _trained_cases() -> Iterator[Case]:
    def attempt(write: Callable[[Path], Any]) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            write(place / "policy.npz")
            use(place / "policy.npz")

        return run

    for kind, sound in trained().items():
        config = json.loads(str(np.lib.format.read_array(io.BytesIO(sound["config.npy"]))))
        weights = [name for name in sound if name != "config.npy"]
        yield Case(
            "trained policy", f"{kind}: sound", attempt(lambda path, s=sound: write_members(path, s)), "accepted"
        )
        for big in (weights[0], "config.npy"):
            for name, write in archive_edits(sound, big):
                loose = "bytes changed" in name or name in (
                    "data too many",
                    "header of type <f2",
                    "header of type <f16",
                )
                yield Case("trained policy", f"{kind}: {big}: {name}", attempt(write), "either" if loose else "refused")
        for name, data, must in _data_edits({k: v for k, v in config.items() if k != "scenario"}, 1):
            notes = name.split(".")[0].split(":")[0] in ("facts", "digest")
            data = {**data, "scenario": config["scenario"]}
            parts = {**sound, "config.npy": _npy_text(data)}
            yield Case("trained policy", f"{kind}: {name}", attempt(lambda path, parts=parts: write_members(path, parts)),
                       "refused" if must and not notes and "without" not in name else "either")  # fmt: skip
        for name, value, _ in VALUES[:40]:
            try:
                parts = {**sound, "config.npy": _npy_text({**config, "digest": "x", "scenario": value})}
            except (TypeError, ValueError, RecursionError):
                continue
            shared = kind == "pathwise"
            yield Case("trained policy", f"{kind}: scenario: {name}", attempt(lambda path, parts=parts: write_members(path, parts)),
                       "either" if shared else "refused")  # fmt: skip
        for member in weights:
            array = np.lib.format.read_array(io.BytesIO(sound[member]))
            for name, value in (("NaN", array * np.nan), ("infinite", array + np.inf), ("turned", array.T if array.ndim > 1 else array[:-1]),
                                ("complex", array * 1j), ("text", array.astype(str)), ("boolean", array > 0),
                                ("larger", np.concatenate([array, array])), ("scalar", np.float32(1.0)), ("left out", None)):  # fmt: skip
                stream = io.BytesIO()
                np.lib.format.write_array(stream, np.asarray(value), allow_pickle=True)
                parts = {
                    k: v for k, v in {**sound, member: stream.getvalue()}.items() if value is not None or k != member
                }
                square = array.ndim == 2 and array.shape[0] == array.shape[1] and name == "turned"
                loose = square or array.size == 0 or (array.dtype.kind != "f")
                yield Case("trained policy", f"{kind}: weights {member}: {name}",
                           attempt(lambda path, parts=parts: write_members(path, parts)), "either" if loose else "refused")  # fmt: skip


@cache
def bundle() -> dict[str, bytes]:
    """Files of a sound bundle."""
    import tempfile

    from echelongym.agents.export.export import export_policy

    with tempfile.TemporaryDirectory() as name:
        export_policy(load_policy("echelon_base_stock", small()), small(), Path(name) / "b")
        return {path.name: path.read_bytes() for path in (Path(name) / "b").iterdir()}


def _resealed(files: dict[str, bytes], graph: bytes) -> dict[str, bytes]:
    """The bundle with another graph, whose digest is right."""
    import hashlib

    facts = json.loads(files["bundle.json"])
    facts["sha256"] = hashlib.sha256(graph).hexdigest()
    return {**files, "policy.onnx": graph, "bundle.json": json.dumps(facts).encode()}


def _bundle_cases() -> Iterator[Case]:
    import onnx

    files = bundle()

    def attempt(changed: dict[str, bytes]) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            for name, content in changed.items():
                (place / name).write_bytes(content)
            use(place)

        return run

    yield Case("bundle", "sound", attempt(files), "accepted")
    facts = json.loads(files["bundle.json"])
    checked = ("schema", "network", "pairs", "observation", "decision", "units", "sha256", "opset")
    for name, data, must in _data_edits(facts, 0):
        key = name.split(".")[0].split(":")[0]
        try:
            content = json.dumps(data).encode("utf-8", "surrogatepass")
        except (TypeError, ValueError):
            continue
        yield Case("bundle", f"facts: {name}", attempt({**files, "bundle.json": content}),
                   "refused" if must and key in checked else "either")  # fmt: skip
    for name, text in JSON_TEXTS:
        yield Case("bundle", f"facts as text: {name}", attempt({**files, "bundle.json": text}))
    graph = files["policy.onnx"]
    for name in files:
        if name in ("policy.onnx",):
            yield Case("bundle", f"without {name}", attempt({k: v for k, v in files.items() if k != name}))
    rng = np.random.default_rng(3)
    for cut in (0, 1, 10, len(graph) // 2, len(graph) - 1):
        yield Case("bundle", f"graph cut at {cut}", attempt({**files, "policy.onnx": graph[:cut]}))
        yield Case("bundle", f"graph cut at {cut}, sealed anew", attempt(_resealed(files, graph[:cut])), "either")
    for k in range(60):
        spoilt = bytearray(graph)
        for place in rng.integers(0, len(graph), 1 + k % 4):
            spoilt[place] ^= int(rng.integers(1, 256))
        yield Case(
            "bundle", f"graph with {1 + k % 4} bytes changed ({k})", attempt({**files, "policy.onnx": bytes(spoilt)})
        )
        yield Case(
            "bundle",
            f"graph with {1 + k % 4} bytes changed ({k}), sealed anew",
            attempt(_resealed(files, bytes(spoilt))),
            "either",
        )
    for name, made in _graphs(onnx, onnx.load_from_string(graph)):
        yield Case("bundle", f"graph: {name}", attempt(_resealed(files, made)))
    yield Case(
        "bundle", "files that are folders", lambda place: [os.mkdir(place / name) for name in files] and use(place)
    )
    yield Case("bundle", "facts of a gigabyte", lambda place: _sparse(place / "bundle.json", 1 << 30) and use(place))
    yield Case("bundle", "a graph of 20 GB", lambda place: (
        _file(place / "bundle.json", files["bundle.json"]), _sparse(place / "policy.onnx", 20 << 30), use(place)))  # fmt: skip


def _sparse(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def _graphs(onnx: Any, model: Any) -> Iterator[tuple[str, bytes]]:
    """ONNX graphs that are well-formed and wrong."""
    from onnx import TensorProto, helper

    outputs = [value.name for value in model.graph.output]

    def with_initializer(tensor: Any) -> bytes:
        other = onnx.ModelProto()
        other.CopyFrom(model)
        other.graph.initializer.append(tensor)
        other.graph.node.append(helper.make_node("Identity", [tensor.name], [f"{tensor.name}_used"]))
        return bytes(other.SerializeToString())

    for location in ("/etc/passwd", "../../../../etc/passwd", "policy.onnx", "nope.bin", "/dev/zero"):
        tensor = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        yield f"data in {location}", with_initializer(tensor)
    yield (
        "a huge tensor without data",
        with_initializer(TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=[1 << 40])),
    )

    def constant(value: Any, kind: str = "huge") -> bytes:
        other = onnx.ModelProto()
        other.CopyFrom(model)
        for node in other.graph.node:
            for k, name in enumerate(node.output):
                if name == outputs[0]:
                    node.output[k] = "was"
        if kind == "huge":
            other.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [len(value)], value))
            other.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], [outputs[0]]))
        else:
            array = np.asarray(value, dtype=np.float64)
            other.graph.initializer.append(helper.make_tensor("fixed", TensorProto.DOUBLE, array.shape, array.ravel()))
            other.graph.node.append(helper.make_node("Identity", ["fixed"], [outputs[0]]))
        return bytes(other.SerializeToString())

    L = small().tables.L
    yield "allocates terabytes", constant([1 << 20, 1 << 20, 2])
    yield "allocates ten gigabytes", constant([1 << 10, 1 << 10, 1 << 11])
    yield "another shape", constant(np.ones((2, L + 1, 1)), "value")
    yield "NaN", constant(np.full((2, L, 1), np.nan), "value")
    yield "negative", constant(np.full((2, L, 1), -1.0), "value")
    yield "infinite", constant(np.full((2, L, 1), np.inf), "value")
    for name in ("Loop", "NoSuchOperator"):
        other = onnx.ModelProto()
        other.CopyFrom(model)
        other.graph.node.append(helper.make_node(name, [model.graph.input[0].name], ["zzz"]))
        yield f"operator {name}", bytes(other.SerializeToString())
    yield "endless loop", _endless(onnx, model)
    other = onnx.ModelProto()
    other.CopyFrom(model)
    other.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    yield "a further input", bytes(other.SerializeToString())
    other = onnx.ModelProto()
    other.CopyFrom(model)
    other.opset_import[0].version = 9999
    yield "opset 9999", bytes(other.SerializeToString())


def _endless(onnx: Any, model: Any) -> bytes:
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"])], "body",
        [helper.make_tensor_value_info("k", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, [])],
    )  # fmt: skip
    other = onnx.ModelProto()
    other.CopyFrom(model)
    other.graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    other.graph.initializer.append(helper.make_tensor("many", TensorProto.INT64, [], [2**62]))
    other.graph.node.append(helper.make_node("Loop", ["many", "yes"], [], body=body))
    return bytes(other.SerializeToString())


def _checkpoint_cases() -> Iterator[Case]:
    from echelongym.agents.checkpoint_files import read_checkpoint

    sound = {
        "schema": 3,
        "kind": "pathwise",
        "facts": json.dumps({"env_steps": 1, "cpu_seconds": 0.5}),
        "best": {},
        "state": {"weights": torch.zeros(3)},
    }
    stream = io.BytesIO()
    torch.save(sound, stream)
    content = stream.getvalue()
    rng = np.random.default_rng(9)
    made: list[tuple[str, Callable[[Path], Any], bool]] = [("sound", lambda path: path.write_bytes(content), False)]
    for cut in (0, 1, 100, len(content) // 2, len(content) - 5):
        made.append((f"cut at {cut}", lambda path, cut=cut: path.write_bytes(content[:cut]), True))
    for k in range(40):
        spoilt = bytearray(content)
        for place in rng.integers(0, len(content), 1 + k % 5):
            spoilt[place] ^= int(rng.integers(1, 256))
        made.append((f"{1 + k % 5} bytes changed ({k})", lambda path, s=bytes(spoilt): path.write_bytes(s), False))
    for name, data in (
        ("None", None), ("a number", 5), ("a list", [1]), ("a tensor", torch.zeros(2)), ("no mapping of texts", {1: 2}),
        ("schema of text", {**sound, "schema": "1"}), ("facts no JSON", {**sound, "facts": "{"}), ("facts a number", {**sound, "facts": 5}), ("nothing spent", {**sound, "facts": "{}"}),
        ("facts deep", {**sound, "facts": "[" * 100_000}), ("no facts", {"schema": 3, "kind": "pathwise"}), ("state a list", {**sound, "state": [1]}),
    ):  # fmt: skip
        made.append((name, lambda path, data=data: torch.save(data, path), True))
    made.append(("code", lambda path: torch.save({"a": print, "b": os.system}, path), True))
    made.append(("text", lambda path: path.write_text("hello"), True))
    made.append(
        (
            "pickle of old",
            lambda path: path.write_bytes(b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03."),
            True,
        )
    )
    for name, write, must in made:
        for kind in ("stable_baselines3", "pathwise"):

            def run(place: Path, write: Any = write, kind: str = kind) -> None:
                write(place / "checkpoint_000000000001.pt")
                read_checkpoint(place / "checkpoint_000000000001.pt", kind)

            yield Case("checkpoint", f"{kind}: {name}", run, "refused" if must else "either")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    storage = next(name for name in parts if name.endswith("data/0"))

    def inflated(place: Path) -> None:
        path = place / "checkpoint_000000000001.pt"
        big_archive(path, storage, b"", 3 << 30, {k: v for k, v in parts.items() if k != storage})
        read_checkpoint(path, "pathwise")

    yield Case("checkpoint", "inflates to gigabytes", inflated)


def _zip_cases() -> Iterator[Case]:
    def attempt(write: Callable[[Path], Any], trust: bool = True) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            write(place / "model.zip")
            use(place / "model.zip", trust=trust)

        return run

    sound = {"data": json.dumps({"clip_range": 0.2}).encode(), "policy.pth": b"", "pytorch_variables.pth": b"",
             "_stable_baselines3_version": b"2.3.0"}  # fmt: skip
    for trust in (True, False):
        yield Case("zip", f"nothing in it, trust={trust}", attempt(lambda path: write_members(path, {}), trust))
        yield Case("zip", f"no model, trust={trust}", attempt(lambda path: write_members(path, sound), trust))
    for name, text in JSON_TEXTS:
        yield Case(
            "zip", f"data: {name}", attempt(lambda path, text=text: write_members(path, {**sound, "data": text}))
        )
    for name, value, _ in VALUES[:37]:
        for key in ("clip_range", "policy_class", "observation_space", "policy_kwargs"):
            try:
                text = json.dumps({"clip_range": 0.2, key: value}).encode("utf-8", "surrogatepass")
            except (TypeError, ValueError, RecursionError):
                continue
            yield Case(
                "zip", f"{key}: {name}", attempt(lambda path, text=text: write_members(path, {**sound, "data": text}))
            )
    for name, write in archive_edits(sound, "data"):
        if "header" not in name:
            yield Case("zip", name, attempt(write))
    yield Case("zip", "inflates to gigabytes", attempt(lambda path: big_archive(path, "data", b"", 3 << 30, {})))
    if real := _real_zip():
        with zipfile.ZipFile(io.BytesIO(real)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        yield Case("zip", "sound", attempt(lambda path: path.write_bytes(real)), "accepted")
        yield Case("zip", "sound, not trusted", attempt(lambda path: path.write_bytes(real), False))
        for member, content in parts.items():
            fine = member in (
                "system_info.txt",
                "_stable_baselines3_version",
                "policy.optimizer.pth",
                "pytorch_variables.pth",
            )
            for name, other in (
                ("empty", b""),
                ("cut", content[: len(content) // 2]),
                ("text", b"hello"),
                ("left out", None),
            ):
                left = {k: v for k, v in {**parts, member: other}.items() if v is not None}
                yield Case("zip", f"{member} {name}", attempt(lambda path, left=left: write_members(path, left)),
                           "either" if fine else "refused")  # fmt: skip
        rng = np.random.default_rng(1)
        for k in range(20):
            spoilt = bytearray(real)
            for place in rng.integers(0, len(real), 1 + k % 5):
                spoilt[place] ^= int(rng.integers(1, 256))
            yield Case(
                "zip",
                f"{1 + k % 5} bytes changed ({k})",
                attempt(lambda path, s=bytes(spoilt): path.write_bytes(s)),
                "either",
            )
        data = json.loads(parts["data"])
        for key in data:
            for name, value in (("null", None), ("text", "x"), ("list", [1]), ("left out", Odd)):
                left = {**data, key: value}
                if value is Odd:
                    del left[key]
                text = json.dumps(left).encode()
                yield Case("zip", f"data.{key}: {name}",
                           attempt(lambda path, text=text: write_members(path, {**parts, "data": text})), "either")  # fmt: skip


class Odd:
    """Marks what is left out."""


@cache
def _real_zip() -> bytes:
    from echelongym.agents.learners import learner_config
    from echelongym.agents.sb3.actor import ActorPolicy
    from echelongym.agents.sb3.models import SB3VecEnv, actor_module, make_model, model_zip
    from echelongym.envs.gym.vector_env import NetworkVectorEnv

    config = learner_config("ppo").model_copy(update={"hidden": (4,), "worlds": 2, "n_steps": 8, "batch_size": 16})
    env = SB3VecEnv(NetworkVectorEnv(small(), num_envs=2, autoreset_mode="SAME_STEP", info="none"))
    model, _ = make_model(config, env, seed=1)
    return model_zip(model, config, ActorPolicy(small(), actor_module(model)))


def _name_cases() -> Iterator[Case]:
    names = ["", " ", ".", "..", "/", "/etc/passwd", "/dev/zero", "nope", "nope.yaml", "nope.zip", "nope.json", "nope.npz", "echelon_base",
             "builtins:exit", "builtins:quit", "sys:exit", "os:abort", "os:system", "os:_exit", "builtins:print", "builtins:input",
             "builtins:int", "builtins:dict", "builtins:object", "builtins:len", "math:pi", "math:nope", "math:", ":", ":x", "a:b:c",
             "nope:x", "os.path:join", "os:path", "json:loads", "numpy:zeros", "itertools:count", "builtins:open", "time:sleep",
             "signal:pause", "builtins:eval", "builtins:breakpoint", "antigravity:x", "this:s", "..:x", "a..b:c", ".a:b", "é:x", "a b:c", "1:2",
             "echelongym.agents:nope", "x" * 5000, "x" * 5000 + ":y", "a\x00b", "a\x00b:c", "a\x1b[31m", "a\nb", "a\udc80b", "~", "~/nope",
             "open_loop_plan ", "all", "[]", "{}", "null", "runs", "http://localhost/x", "file:///etc/passwd", "C:\\x", "*", "[", "sb3:x",
             "functools:partial", "threading:Event", "os:fork", "builtins:Exception", "builtins:KeyboardInterrupt", "faulthandler:_sigsegv"]  # fmt: skip
    for name in names:
        yield Case("policy name", f"{name[:40]!r}", lambda place, name=name: use(name))
        yield Case("policy name", f"{name[:40]!r} with a parameter", lambda place, name=name: use(name, gain=1.0))
    for name, value, what in VALUES:
        if what not in ("text", "bad text", "empty"):
            yield Case("policy name", name, lambda place, value=value: use(value))
    modules = {
        "raises": "raise ValueError('no')", "exits": "import sys; sys.exit(3)", "syntax": "def x(:", "imports": "import nope_nope",
        "undefined": "x = y", "none": "x = None", "number": "x = 5", "no_arguments": "def x(): pass",
        "factory_raises": "def x(scenario): raise KeyError('a')", "factory_none": "def x(scenario): return None",
        "class_raises": "class x:\n    def __init__(self, scenario): raise TypeError('b')", "abstract": "import abc\nclass x(abc.ABC):\n"
        "    @abc.abstractmethod\n    def f(self): ...", "class_two": "class x:\n    def __init__(self, a, b): pass",
        "returns_none": "def x(observation): return None", "returns_dict": "def x(observation): return {}",
        "start_number": "class P:\n    start = 5\n    def __call__(self, o): ...\nx = P()",
    }  # fmt: skip
    for name, source in modules.items():

        def run(place: Path, name: str = name, source: str = source) -> None:
            os.chdir(place)
            (place / f"hostile_{name}.py").write_text(source)
            use(f"hostile_{name}:x")

        yield Case("policy name", f"a module that {name.replace('_', ' ')}", run)


def _folder_cases() -> Iterator[Case]:
    """Folders that look like runs."""

    def made(files: dict[str, bytes]) -> Callable[[Path], None]:
        def run(place: Path) -> None:
            for name, content in files.items():
                (place / name).write_bytes(content)
            use(place)

        return run

    yield Case("run folder", "empty", made({}))
    for name in ("policy.npz", "rule.yaml", "bundle.json", "config.yaml", "summary.json"):
        for kind, content in (("empty", b""), ("text", b"hello"), ("binary", bytes(range(256)))):
            yield Case("run folder", f"{name} {kind}", made({name: content}))
        yield Case("run folder", f"{name} a folder", lambda place, name=name: os.mkdir(place / name) or use(place))
        yield Case(
            "run folder",
            f"{name} a link to nothing",
            lambda place, name=name: os.symlink("gone", place / name) or use(place),
        )
        yield Case(
            "run folder",
            f"{name} a device",
            lambda place, name=name: os.symlink("/dev/zero", place / name) or use(place),
        )
        yield Case("run folder", f"{name} a pipe", lambda place, name=name: os.mkfifo(place / name) or use(place))
    yield Case("run folder", "a policy whose header lies", lambda place: (
        write_members(place / "policy.npz", {"config.npy": header((1 << 42,), "<U1")}), use(place)))  # fmt: skip
    _ = deep


def cases(folder: Path) -> list[Case]:
    """All of this module."""
    makers = (_plan_cases, _trained_cases, _bundle_cases, _checkpoint_cases, _zip_cases, _name_cases, _folder_cases)
    return [*_rule_cases(folder), *(case for make in makers for case in make())]
