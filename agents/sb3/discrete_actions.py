"""Discrete actions: a short list of actions for learners that choose among a few, as deep Q-networks do.

Each of them is a whole action (one number for each open lane and product), so the decoder of any kind turns it into requests.
The list holds, in this order: nothing (all zero); every value of ``values`` on all lanes together; every value on one lane
and product alone, the others at zero. With one lane it is a grid of that lane's action.

It can say *order more everywhere* and *order more on this lane*, each in the steps given; it cannot set two lanes to
different values in one period, nor anything between two steps. As levels are positions, what one period leaves out the next
one can make up for. Around a tuned rule (``start: rule.yaml``, ``start_as: residual``) each is a correction of the
rule, which is how networks of many lanes are best learnt with it.

No action needs to be masked: whatever is requested is allowed, and the network ships what it can. Where a lane cannot be
asked (its ``review`` or calendar, a closed or failed source) nothing is shipped; elsewhere requests are cut to capacities and
stock and rounded to batches and minimum orders (:mod:`echelongym.envs.dynamics.ship`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def move_table(size: int, values: Sequence[float]) -> NDArray[np.float32]:
    """Table (K, size) of K discrete actions in [-1, 1], from V values: K = 1 + V for one lane, else 1 + V (size + 1)."""
    together = np.repeat(np.array(values, dtype=np.float32)[:, None], size, axis=1)
    alone = [value * np.eye(size, dtype=np.float32)[i] for i in range(size) for value in values] if size > 1 else []
    return np.vstack([np.zeros((1, size), dtype=np.float32), together, *alone]).astype(np.float32)
