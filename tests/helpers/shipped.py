"""Shipped scenarios as parameters of tests: the large one takes tens of times as long as the others."""

import pytest

from echelongym.envs import shipped_scenarios

LARGE = "continental"
#: All but the large one.
SMALL = tuple(name for name in shipped_scenarios() if name != LARGE)
#: All; the large one among the slow tests.
SHIPPED = [*SMALL, pytest.param(LARGE, marks=pytest.mark.slow)]
#: All whose demand no extra is needed for.
WITHOUT_EXTRA = [name for name in SHIPPED if name != "grocery"]
