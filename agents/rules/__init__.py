"""Rules: replenishment policies with named parameters, one file a family."""

from ..planning.rolling import RollingHorizon
from .base_stock import CappedEchelonBaseStock, CappedLocalBaseStock, EchelonBaseStock, LocalBaseStock
from .critical_levels import CriticalLevels
from .dual import CappedDualIndex, DualIndex, ExpediteThreshold, SingleIndex, TailoredBaseSurge
from .just_in_time import JustInTime
from .random_requests import RandomRequests
from .reorder import CanOrder, ReorderPointOrderUpTo, ReorderPointQuantity
from .responsive import DisruptionAwareBaseStock, ForecastBaseStock, Playbook
from .rule import Rule, Space
from .sterman import AnchoringAndAdjustment
from .transshipment import ProactiveTransshipment, ReactiveTransshipment

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        LocalBaseStock,
        EchelonBaseStock,
        CappedEchelonBaseStock,
        ReorderPointOrderUpTo,
        ReorderPointQuantity,
        CanOrder,
        SingleIndex,
        DualIndex,
        CappedDualIndex,
        TailoredBaseSurge,
        ExpediteThreshold,
        ReactiveTransshipment,
        ProactiveTransshipment,
        CappedLocalBaseStock,
        CriticalLevels,
        ForecastBaseStock,
        DisruptionAwareBaseStock,
        Playbook,
        JustInTime,
        AnchoringAndAdjustment,
        RollingHorizon,
        RandomRequests,
    )
}

__all__ = [
    "RULES",
    "AnchoringAndAdjustment",
    "CanOrder",
    "CappedDualIndex",
    "CappedEchelonBaseStock",
    "CappedLocalBaseStock",
    "CriticalLevels",
    "DisruptionAwareBaseStock",
    "DualIndex",
    "EchelonBaseStock",
    "ExpediteThreshold",
    "ForecastBaseStock",
    "JustInTime",
    "LocalBaseStock",
    "Playbook",
    "ProactiveTransshipment",
    "RandomRequests",
    "ReactiveTransshipment",
    "ReorderPointOrderUpTo",
    "ReorderPointQuantity",
    "RollingHorizon",
    "Rule",
    "SingleIndex",
    "Space",
    "TailoredBaseSurge",
]
