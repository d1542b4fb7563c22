"""Own rule in a benchmark: a function as a policy, and the command that compares it with a rule of the package."""

from pathlib import Path

import numpy as np

from echelongym.envs import Decision, Observation
from echelongym.experiments.main import main


def smoothed(seen: Observation) -> Decision:
    """Order half of what is missing to 26 units, at most 5: less nervous than a base-stock rule."""
    position = seen.on_hand[:, 1].sum(-1) + seen.in_transit.sum((1, 3, 4))  # (worlds, products) at the store
    requests = np.zeros(seen.unfilled.shape)  # (worlds, lanes, products)
    requests[:, 0] = np.clip(np.ceil((26 - position) / 2), 0, 5)
    return Decision(requests)


if __name__ == "__main__":
    # Commands look for `own_rule:smoothed` in the folder in which they are called.
    Path("own_rule.py").write_text(Path(__file__).read_text())
    words = "scenario=lost_sales policies=[echelon_base_stock,own_rule:smoothed] evaluation.worlds=64"
    quick = "tune=false open_loop=false bounds=none pictures=false progress=false run=compared"
    assert main(["benchmark", *words.split(), *quick.split()]) == 0
