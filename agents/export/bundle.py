"""Bundles: a policy as one ONNX graph with the names of its network, run without PyTorch and without this package's rules.

A bundle is a folder with ``policy.onnx`` and ``bundle.json``. The graph takes named observation arrays, batch first and in
units, and gives ``requests`` (B, L, P) in units, and ``reserve`` (B, S, P) where the policy decides one. Nothing in a
bundle is pickled. :mod:`export` writes bundles; here they are only read, with NumPy and ONNX Runtime.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from echelongym.envs.core.backend import ops_of
from echelongym.envs.core.errors import InputError, expected, missing_extra, shorten
from echelongym.envs.core.validation import Config, number, validate
from echelongym.envs.interface.observation import Decision, Observation, observation_shapes
from echelongym.envs.network.signature import check_network, is_complete
from echelongym.envs.rollout.called_policy import called
from echelongym.envs.rollout.recordable import Recordable
from echelongym.envs.storage.outside_files import read_content, read_json

if TYPE_CHECKING:
    from echelongym.envs.scenario.scenario import Scenario

SCHEMA = 1
MOST_GRAPH = 2 << 30  # bytes, what ONNX allows one file
GRAPH_FILE, FACTS_FILE = "policy.onnx", "bundle.json"


class Port(Config):
    """One named array that goes into or comes out of the graph."""

    name: str
    axes: tuple[str, ...]  # what each axis counts; nodes, lanes ... are in the order of the bundle's network
    shape: tuple[Literal["batch"] | Annotated[int, number(0, integer=True)], ...]  # the first is the batch, of any size
    dtype: Literal["float64", "int64"]


class Facts(Config):
    """Content of ``bundle.json`` beside its schema number."""

    policy: dict[str, Any]  # what it is: a rule with its parameters, an actor ...
    scenario: str
    digest: str  # of the scenario it was checked on
    units: Literal["continuous", "integer"]
    network: dict[str, Any]  # its signature: names in their order, ends of lanes, pairs, products carried, units
    pairs: tuple[tuple[str, str], ...]  # (source, customer), the order of `reserve`
    observation: tuple[Port, ...]  # inputs, those that the policy reads
    decision: tuple[Port, ...]  # outputs
    sha256: str  # of policy.onnx
    opset: Annotated[int, number(1, integer=True)]
    parity: dict[str, Any]  # how far ONNX Runtime, PyTorch and the policy itself were apart
    versions: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """The content of ``bundle.json``."""
        return {"schema": SCHEMA, **self.model_dump(mode="json")}


class BundlePolicy:
    """The policy of a bundle; it keeps nothing between periods.

    Parameters
    ----------
    graph
        Content of ``policy.onnx``.
    facts
        What is known of it.
    where
        What errors call it.

    Raises
    ------
    InputError
        If the graph cannot be read.
    MissingExtra
        If ONNX Runtime is not installed.
    """

    def __init__(self, graph: bytes, facts: Facts, where: str = GRAPH_FILE) -> None:
        self.facts, self.where = facts, where
        self.session = open_session(graph, where)
        self.inputs = [(port.name, np.dtype(port.dtype)) for port in facts.observation]
        self.outputs = [port.name for port in facts.decision]
        found = ([one.name for one in self.session.get_inputs()], [one.name for one in self.session.get_outputs()])
        listed = ([name for name, _ in self.inputs], self.outputs)
        if found != listed:
            raise InputError(f"{where}: has inputs and outputs {found}: expected those of {FACTS_FILE}, {listed}")

    def __call__(self, observation: Observation) -> Decision:
        """Requests (B, L, P), and the reserve (B, S, P) if it decides one; tensors if the observation is of tensors.

        Raises
        ------
        InputError
            If the observation has not the shapes and types that the graph takes, or the graph cannot be run.
        """
        ops = ops_of(observation.on_hand)
        feeds = {
            port.name: self._fed(port, getattr(observation, port.name, None), ops) for port in self.facts.observation
        }
        sizes = {name: len(array) for name, array in feeds.items()}
        if len(set(sizes.values())) > 1:
            raise expected("worlds of the observation", sizes, "as many in each array", self.where)
        try:
            values = self.session.run(self.outputs, feeds)
        except Exception as error:  # its errors share no other base
            raise InputError(f"{self.where}: the graph cannot be run: {shorten(str(error))}") from None
        found = dict(zip(self.outputs, values, strict=True))
        return Decision(**{name: ops.asarray(value) for name, value in found.items()})

    def recordable(self, dtype: Any) -> Recordable | None:
        """What a compiled rollout records of it: all but the graph, which ONNX Runtime goes on computing."""
        reads, decides = (
            {port.name: (tuple(port.shape[1:]), np.dtype(port.dtype)) for port in ports}
            for ports in (self.facts.observation, self.facts.decision)
        )
        return called(self, type(self), reads, decides)  # type: ignore[arg-type]

    def _fed(self, port: Port, value: Any, ops: Any) -> np.ndarray[Any, Any]:
        """One array of the observation in the shape and type that the graph takes."""
        try:
            array = np.asarray(ops.numpy(value))
        except (TypeError, ValueError, AttributeError):
            array = np.asarray(None)
        wanted = ", ".join(map(str, ("worlds", *port.shape[1:])))
        if array.dtype.kind not in "biuf" or array.shape[1:] != tuple(port.shape[1:]) or not array.ndim:
            found = f"{array.dtype} of shape {array.shape}" if array.dtype.kind in "biuf" else shorten(value)
            raise InputError(f"{self.where}: observation.{port.name} is {found}: expected numbers of shape ({wanted})")
        dtype = np.dtype(port.dtype)
        if dtype.kind == "i" and array.dtype.kind == "f" and not (array == np.floor(array)).all():
            raise InputError(f"{self.where}: observation.{port.name} has fractions: expected whole numbers")
        return np.ascontiguousarray(array, dtype)


def is_bundle(path: str | Path) -> bool:
    """Whether a folder looks like a bundle."""
    return (Path(path) / FACTS_FILE).is_file()


def load_bundle(path: str | Path, scenario: Scenario) -> BundlePolicy:
    """The policy in a bundle folder.

    The scenario may differ from the one it was exported with in numbers (demand, costs, capacities), not in names, in the
    shapes of observations that the policy reads, or in units.

    Raises
    ------
    InputError
        If a file is missing, damaged or of an unknown schema, or the bundle is for another network (the first name that
        differs is said).
    MissingExtra
        If ONNX Runtime is not installed.

    Example
    -------
    >>> policy = load_bundle("runs/export/two_region/2026-11-01_12-00-00", scenario)
    >>> outcome = simulate(scenario, policy, tape)
    """
    folder = Path(path)
    facts = read_facts(folder)
    where = str(folder / FACTS_FILE)
    # Bundles of earlier versions have names alone in `network`, and the pairs beside it.
    check_network({"pairs": facts.pairs, **facts.network}, scenario.tables, where)
    if not is_complete(facts.network):
        warnings.warn(
            f"{where}: exported by an earlier version: names and pairs agree, ends of lanes were not compared; "
            "export the policy anew to have them compared",
            stacklevel=2,
        )
    _check_observation(facts, scenario, where)
    if not (folder / GRAPH_FILE).exists():
        raise InputError(f"{folder / GRAPH_FILE}: cannot be read: No such file or directory")
    graph = read_content(folder / GRAPH_FILE, "policy", MOST_GRAPH)
    if hashlib.sha256(graph).hexdigest() != facts.sha256:
        raise InputError(
            f"{folder / GRAPH_FILE}: {len(graph)} bytes with another SHA-256 than {FACTS_FILE} says: "
            "expected the file as it was exported; it is truncated or was changed"
        )
    return BundlePolicy(graph, facts, str(folder / GRAPH_FILE))


def read_facts(folder: Path) -> Facts:
    """``bundle.json`` of a bundle folder.

    Raises
    ------
    InputError
        If it is missing, damaged or of an unknown schema.
    """
    path = folder / FACTS_FILE
    if not path.is_file():
        raise expected("policy", str(folder), f"a bundle: a folder with {GRAPH_FILE} and {FACTS_FILE}")
    data = read_json(path, "policy")
    if not isinstance(data, dict):
        raise expected("(file)", data, "a mapping", str(path))
    if (schema := data.pop("schema", None)) != SCHEMA:
        raise expected("schema", schema, f"{SCHEMA}, the only one this version reads", str(path))
    return validate(Facts, data, str(path))


def _check_observation(facts: Facts, scenario: Scenario, where: str) -> None:
    """Refuse a scenario whose observations do not fit."""
    if facts.units != scenario.units:
        raise InputError(
            f"{where}: units = {facts.units!r}: expected {scenario.units!r}, as scenario {scenario.name!r} has"
        )
    shapes = observation_shapes(scenario.tables)
    for port in (*facts.observation, *facts.decision):
        if port.shape[:1] != ("batch",):
            raise InputError(f"{where}: {port.name}: shape {list(port.shape)}: expected the batch as its first axis")
    for port in facts.observation:
        here = shapes.get(port.name)
        if here is None or tuple(port.shape[1:]) != here:
            raise InputError(
                f"{where}: observation {port.name} has shape {list(port.shape[1:])} a world: expected "
                f"{'nothing of that name' if here is None else list(here)}, as scenario {scenario.name!r} has"
            )


def open_session(graph: bytes, where: str, threads: int = 1) -> Any:
    """An ONNX Runtime session on the CPU; one thread, as policies are small.

    Raises
    ------
    InputError
        If the graph cannot be read.
    MissingExtra
        If ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise missing_extra("onnxruntime", "onnx") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no other base
        raise InputError(
            f"{where}: is no ONNX graph that can be run, or a damaged one: {shorten(str(error))}"
        ) from None


__all__ = [
    "FACTS_FILE",
    "GRAPH_FILE",
    "SCHEMA",
    "BundlePolicy",
    "Facts",
    "Port",
    "is_bundle",
    "load_bundle",
    "open_session",
    "read_facts",
]
