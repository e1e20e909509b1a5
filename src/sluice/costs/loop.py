"""Estimates tasks that come to the gate `cost_estimation`, one after the other.

It looks every other second by itself: a lost wake-up delays and never stalls.
"""

from typing import NoReturn

import structlog

from sluice.costs.answering import estimate_next
from sluice.costs.deps import CostDeps
from sluice.events.topics import GATES

EVERY_SECONDS = 2.0
_logger = structlog.get_logger(__name__)


async def watch_costs(deps: CostDeps) -> NoReturn:
    """Run until cancelled; a database that is away for a while does not end it."""
    _logger.info("estimating costs")
    try:
        with deps.tasks.hub.subscribe(GATES) as woken:
            while True:
                if not await look(deps):
                    await woken.wait(EVERY_SECONDS)
    finally:
        _logger.info("no longer estimating costs")


async def look(deps: CostDeps) -> bool:
    """Estimate one task; False where there was none, or it could not be done."""
    try:
        return await estimate_next(deps)
    except Exception:  # the loop outlives a database or a blob store that is away
        _logger.exception("costs cannot be estimated")
        return False
