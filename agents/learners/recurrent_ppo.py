"""The learner ``recurrent_ppo``: its settings, and what trains it."""

from __future__ import annotations

from typing import Literal

from ..pathwise.config import Width
from ..sb3.settings import Clipped
from ..sb3.training import StableBaselinesRun


class RecurrentPPOConfig(Clipped):
    """Recurrent PPO: a long short-term memory (LSTM) between observation and actor; of sb3-contrib."""

    algorithm = "sb3_contrib:RecurrentPPO"
    policy_class = "MlpLstmPolicy"
    network_fields = ("lstm_hidden_size",)
    kind: Literal["recurrent_ppo"] = "recurrent_ppo"
    lstm_hidden_size: Width


CONFIG = RecurrentPPOConfig
RUN = StableBaselinesRun
