"""State of a network and its dynamics over one period: pure, batched, one source for NumPy and PyTorch."""

from ..core.segments import Segments
from ..worlds.tape_arrays import Exogenous
from .period import Dynamics
from .state import Arrivals, Flows, State, demand_seen, opening

__all__ = ["Arrivals", "Dynamics", "Exogenous", "Flows", "Segments", "State", "demand_seen", "opening"]
