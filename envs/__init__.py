"""The world: networks, scenarios, tapes, one period of dynamics, costs and the Gymnasium environments over them.

Importing it (or ``echelongym`` alone) registers ``echelongym/Network-v1`` and one id per shipped scenario with Gymnasium.
"""

from echelongym.registration import register_envs, registered_ids

from .checker import check_vector_env
from .encoding import ActionDecoder, ObservationEncoder
from .env import NetworkEnv, NetworkVectorEnv
from .errors import InputError, MissingExtra, NetworkWarning
from .network import Customer, Lane, Network, Node, Product
from .observation import Decision, Observation, Policy
from .scenario import Scenario, shipped_scenarios
from .simulate import Outcome, simulate
from .tape import Tape
from .variation import variants

__all__ = [
    "ActionDecoder",
    "Customer",
    "Decision",
    "InputError",
    "Lane",
    "MissingExtra",
    "Network",
    "NetworkEnv",
    "NetworkVectorEnv",
    "NetworkWarning",
    "Node",
    "Observation",
    "ObservationEncoder",
    "Outcome",
    "Policy",
    "Product",
    "Scenario",
    "Tape",
    "check_vector_env",
    "register_envs",
    "registered_ids",
    "shipped_scenarios",
    "simulate",
    "variants",
]
