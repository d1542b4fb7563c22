"""Origin of worlds drawn from a record, kept beside their arrays: without it they look independent."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import expected
from .recorded_blocks import RecordedBlocks, recorded_blocks, replayed_demands
from .source import WorldSource

#: Arrays of a tape's file that hold it.
KEYS = ("drawn", "blocks")


@dataclass(frozen=True, eq=False)
class Drawn:
    """Records that B worlds were drawn from.

    Attributes
    ----------
    blocks
        Records that worlds are strung together from, with how often each world draws each block.
    replayed
        Recorded files that are replayed in order, the same in all worlds.
    """

    blocks: tuple[RecordedBlocks, ...] = ()
    replayed: tuple[str, ...] = ()

    def of(self, place: Any) -> Drawn:
        """Records of some worlds by their place in the batch."""
        return Drawn(tuple(one.of(place) for one in self.blocks), self.replayed)

    def arrays(self) -> dict[str, Any]:
        """As arrays of a file: a JSON text and, where there are blocks, their counts (B, blocks of all records)."""
        said = {"records": [one.to_dict() for one in self.blocks], "replayed": list(self.replayed)}
        found: dict[str, Any] = {"drawn": np.array(json.dumps(said), dtype=np.str_)}
        if self.blocks:
            found["blocks"] = np.concatenate([one.counts for one in self.blocks], axis=1)
        return found


def drawn_from(
    scenario: WorldSource, worlds: Sequence[int], seed: int, purpose: str, periods: int | None = None
) -> Drawn:
    """Records that worlds of a scenario are drawn from; arguments as of ``Scenario.sample``."""
    in_order = (process.trace.file for process in replayed_demands(scenario) if process.series.block is None)
    return Drawn(recorded_blocks(scenario, worlds, seed, purpose, periods), tuple(dict.fromkeys(in_order)))


def read_drawn(arrays: Mapping[str, Any], worlds: int, where: str) -> Drawn | None:
    """Records that a file names (:meth:`Drawn.arrays`); None where it names none.

    Raises
    ------
    InputError
        If it says what no tape that was saved says, or something of another number of worlds.
    """
    if "drawn" not in arrays:
        return None
    text, counts = arrays["drawn"], arrays.get("blocks", np.zeros((worlds, 0), np.int64))
    try:
        said = json.loads(str(text)) if text.ndim == 0 and text.dtype.kind == "U" else {}
        records, replayed = said["records"], said["replayed"]
        names = [str(one["file"]) for one in records] + [str(name) for name in replayed]
        sizes = [(int(one["block"]), int(one["blocks"])) for one in records]
        steps = [str(one.get("period", "")) for one in records]
        if not isinstance(records, list) or not isinstance(replayed, list) or min(map(min, sizes), default=1) < 1:
            raise ValueError
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise expected("drawn", text.tolist(), "the text that a saved tape has there", where) from None
    width = sum(size for _, size in sizes)
    if counts.ndim != 2 or counts.shape != (worlds, width) or counts.dtype.kind not in "iu" or (counts < 0).any():
        hint = f"whole numbers >= 0 of {worlds} worlds and {width} blocks"
        raise expected("blocks", f"{counts.dtype} {counts.shape}", hint, where)
    edges = np.cumsum([size for _, size in sizes])[:-1]
    parts = np.split(counts.astype(np.int64), edges, axis=1) if sizes else []
    told = zip(names[: len(sizes)], sizes, parts, steps, strict=True)
    blocks = tuple(RecordedBlocks(name, block, part, step) for name, (block, _), part, step in told)
    return Drawn(blocks, tuple(names[len(sizes) :]))
