""":class:`Config` → :class:`Plan`: what has to be computed, merged, ordered, costed and printed. Free of torch."""

from __future__ import annotations

from ava.plan.cost import Cost
from ava.plan.passes import PASSES, PlannedTerm
from ava.plan.plan import ENGINES, Engine, Plan

__all__ = ["ENGINES", "PASSES", "Cost", "Engine", "Plan", "PlannedTerm"]
