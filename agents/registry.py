"""Registry of rules and planners by name: what ``policy=NAME`` can be without a file."""

from .planning.rolling import RollingHorizon
from .rules.base_stock import CappedEchelonBaseStock, CappedLocalBaseStock, EchelonBaseStock, LocalBaseStock
from .rules.critical_levels import CriticalLevels, HoldBackLevels
from .rules.dual import CappedDualIndex, DualIndex, ExpediteThreshold, SingleIndex, TailoredBaseSurge
from .rules.just_in_time import JustInTime
from .rules.random_requests import RandomRequests
from .rules.reorder import CanOrder, CappedReorderPointOrderUpTo, ReorderPointOrderUpTo, ReorderPointQuantity
from .rules.responsive import DisruptionAwareBaseStock, ForecastBaseStock, Playbook
from .rules.rule import Rule
from .rules.sterman import AnchoringAndAdjustment
from .rules.transshipment import ProactiveTransshipment, ReactiveTransshipment

RULES: dict[str, type[Rule]] = {
    rule.name: rule
    for rule in (
        LocalBaseStock,
        EchelonBaseStock,
        CappedEchelonBaseStock,
        ReorderPointOrderUpTo,
        CappedReorderPointOrderUpTo,
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
        HoldBackLevels,
        ForecastBaseStock,
        DisruptionAwareBaseStock,
        Playbook,
        JustInTime,
        AnchoringAndAdjustment,
        RollingHorizon,
        RandomRequests,
    )
}
