"""Rules: replenishment policies with named parameters, one file a family."""

from .base_stock import CappedEchelonBaseStock, CappedLocalBaseStock, EchelonBaseStock, LocalBaseStock
from .critical_levels import CriticalLevels, HoldBackLevels
from .dual import CappedDualIndex, DualIndex, ExpediteThreshold, SingleIndex, TailoredBaseSurge
from .just_in_time import JustInTime
from .random_requests import RandomRequests
from .reorder import CanOrder, CappedReorderPointOrderUpTo, ReorderPointOrderUpTo, ReorderPointQuantity
from .responsive import DisruptionAwareBaseStock, ForecastBaseStock, Playbook
from .rule import Rule, Space
from .sterman import AnchoringAndAdjustment
from .transshipment import ProactiveTransshipment, ReactiveTransshipment

__all__ = [
    "AnchoringAndAdjustment",
    "CanOrder",
    "CappedDualIndex",
    "CappedEchelonBaseStock",
    "CappedLocalBaseStock",
    "CappedReorderPointOrderUpTo",
    "CriticalLevels",
    "DisruptionAwareBaseStock",
    "DualIndex",
    "EchelonBaseStock",
    "ExpediteThreshold",
    "ForecastBaseStock",
    "HoldBackLevels",
    "JustInTime",
    "LocalBaseStock",
    "Playbook",
    "ProactiveTransshipment",
    "RandomRequests",
    "ReactiveTransshipment",
    "ReorderPointOrderUpTo",
    "ReorderPointQuantity",
    "Rule",
    "SingleIndex",
    "Space",
    "TailoredBaseSurge",
]
