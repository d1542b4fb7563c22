"""Reading a policy: its requests as stock, shocks and single observations vary, and a readable rule close to it.

Any callable from :class:`Observation` to a :class:`Decision` can be read: a rule, a trained
network, a bundle. :mod:`.visits` collects states that it visits; :mod:`.curves`, :mod:`.sensitivity` and :mod:`.shock` ask it
what it would do otherwise; :mod:`.fitting` fits a :class:`.rule.ReadableRule`.
"""

from .curves import Curve, order_curves
from .fitting import Line, Readable, fit_readable
from .readable_rule import ReadableRule, Term, load_readable
from .sensitivity import Sensitivity, sensitivity
from .shock import Response, Shock, demand_shock, outage, respond
from .visits import Visited, visit

__all__ = [
    "Curve",
    "Line",
    "Readable",
    "ReadableRule",
    "Response",
    "Sensitivity",
    "Shock",
    "Term",
    "Visited",
    "demand_shock",
    "fit_readable",
    "load_readable",
    "order_curves",
    "outage",
    "respond",
    "sensitivity",
    "visit",
]
