"""State of a network and its dynamics over one period: pure, batched, one source for NumPy and PyTorch."""

from ..core.segments import Segments
from .period import Dynamics
from .state import Arrivals, Exogenous, Flows, State, opening_backlog

__all__ = ["Arrivals", "Dynamics", "Exogenous", "Flows", "Segments", "State", "opening_backlog"]
