"""Networks, scenarios, tapes, one period of dynamics, costs and the Gymnasium environments over them.

Importing it (or ``echelongym`` alone) registers ``echelongym/Network-v1`` and one id per shipped scenario with Gymnasium.
"""

from echelongym.registration import register_envs, registered_ids

from .core.errors import CompilationWarning, InputError, MissingExtra, NetworkWarning
from .gym.checker import check_vector_env
from .gym.env import NetworkEnv, NetworkVectorEnv
from .gym.settings import EnvSettings
from .interface.observation import Decision, Observation, Policy
from .interface.observation_encoder import ActionDecoder, ObservationEncoder
from .network.entities import Customer, Lane, Node, Product
from .network.network import Network
from .scenario.randomise import variants
from .scenario.scenario import Scenario, shipped_scenarios
from .simulate import Outcome, simulate
from .worlds.tape import Tape

__all__ = [
    "ActionDecoder",
    "CompilationWarning",
    "Customer",
    "Decision",
    "EnvSettings",
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
