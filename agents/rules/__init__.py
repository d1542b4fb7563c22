"""Rules: replenishment policies with named parameters, one file a family."""

from .base_stock import CappedEchelonBaseStock, EchelonBaseStock, LocalBaseStock
from .rule import Rule, Space, check_network

RULES: dict[str, type[Rule]] = {rule.name: rule for rule in (LocalBaseStock, EchelonBaseStock, CappedEchelonBaseStock)}

__all__ = [
    "RULES",
    "CappedEchelonBaseStock",
    "EchelonBaseStock",
    "LocalBaseStock",
    "Rule",
    "Space",
    "check_network",
]
