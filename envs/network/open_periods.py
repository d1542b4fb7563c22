"""Open periods: when each lane of a network can be asked and each node works, by their calendars."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..core.errors import expected
from ..core.typing import Bools
from .calendars import ALWAYS, LONGEST_CYCLE, together
from .entities import Lane, Node


def lane_pattern(lane: Lane) -> Bools:
    """Periods of a cycle in which a lane can be asked, by its own review period and calendar."""
    given = [one.pattern for one in (lane.review, lane.calendar) if one is not None]
    return together(*given) if given else ALWAYS


def node_pattern(nodes: Mapping[str, Node], name: str) -> Bools:
    """Periods of a cycle in which a node works; always for a customer."""
    node = nodes.get(name)
    return ALWAYS if node is None or node.calendar is None else node.calendar.pattern


def check_calendars(nodes: Mapping[str, Node], lanes: Mapping[str, Lane]) -> None:
    """Every lane has a period in which it can be asked and its source works.

    Raises
    ------
    InputError
        Naming the lane.
    """
    for name, lane in lanes.items():
        own = [one.pattern for one in (lane.review, lane.calendar) if one is not None]
        patterns = [*own, node_pattern(nodes, lane.source), node_pattern(nodes, lane.target)]
        length = math.lcm(*(len(pattern) for pattern in patterns))
        if length > LONGEST_CYCLE:
            cycles = ", ".join(str(len(pattern)) for pattern in patterns if len(pattern) > 1)
            hint = f"cycles that repeat together within {LONGEST_CYCLE} periods, source and target included"
            raise expected(f"lanes.{name}", f"cycles of {cycles}", hint)
        if not together(*patterns[:-1]).any():
            hint = f"a period in which lane and source {lane.source} are open by review and calendar"
            raise expected(f"lanes.{name}", "never open", hint)
