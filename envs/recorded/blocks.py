"""The block bootstrap: worlds strung together from blocks of consecutive recorded periods.

Blocks of b periods are drawn with replacement (Kuensch, Annals of Statistics 17, 1989), from those that do not overlap
(Carlstein, Annals of Statistics 14, 1986). They begin at multiples of b counted from the start of the file, so that
``block: 7`` keeps weekdays in place, and one draw of blocks serves every series of the file, so that what customers and
products have in common is kept.
"""

from __future__ import annotations

import numpy as np

from ..core.typing import Floats, Ints


def whole_blocks(window: tuple[int, int], block: int) -> Ints:
    """First periods of the blocks that lie whole within ``window``, multiples of ``block``."""
    first, last = window
    return np.arange(-(-first // block) * block, last - block + 2, block, dtype=np.int64)


def block_starts(uniforms: Floats, window: tuple[int, int], block: int) -> Ints:
    """First period of the block that each of ``uniforms`` (any shape, in [0, 1)) picks, all equally likely."""
    starts = whole_blocks(window, block)
    return starts[np.minimum((uniforms * len(starts)).astype(np.int64), len(starts) - 1)]


def block_positions(starts: Ints, block: int, history: int, horizon: int) -> Ints:
    """Periods of the record that the periods of a world show.

    Parameters
    ----------
    starts
        First period of each block, ``(blocks, worlds)``, as from :func:`block_starts`.
    block
        Periods in a block.
    history
        Periods before period 0, which begins a block.
    horizon
        Periods from period 0 on.

    Returns
    -------
    ``(history + horizon, worlds)`` indices into the record.
    """
    steps = np.arange(block, dtype=np.int64)[None, :, None]
    rows = (starts[:, None, :] + steps).reshape(-1, starts.shape[1])
    skipped = -history % block
    return rows[skipped : skipped + history + horizon]


def replayed(window: tuple[int, int], first: int, count: int) -> Ints:
    """Periods of the record that rows show when the window is replayed in order, ``(count,)``.

    Period 0 of a world is the first period of the window, history is what the record has before it. -1 marks rows for
    which the record has nothing to show: those before its begin, and those beyond the end of the window, which may be
    looked ahead at but not played.
    """
    begin, last = window
    rows = np.arange(begin + first, begin + first + count, dtype=np.int64)
    return np.where((rows >= 0) & (rows <= last), rows, -1)
