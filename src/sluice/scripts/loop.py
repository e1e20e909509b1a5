"""Looks each hour for logs of scripts whose time is over, and deletes them."""

import asyncio
from typing import NoReturn

import structlog

from sluice.scripts.retention import RetentionDeps, remove_old_logs

EVERY_SECONDS = 3600.0
_logger = structlog.get_logger(__name__)


async def keep_retention(deps: RetentionDeps) -> NoReturn:
    """Run until cancelled; a database that is away for a while does not end it."""
    _logger.info("logs of scripts are deleted when they are old", days=deps.days)
    try:
        while True:
            await look(deps)
            await asyncio.sleep(EVERY_SECONDS)
    finally:
        _logger.info("logs of scripts are no longer looked after")


async def look(deps: RetentionDeps) -> None:
    """Delete what is old; what cannot be done now is done by a later look."""
    try:
        await remove_old_logs(deps)
    except Exception:  # the loop outlives a database that is away
        _logger.exception("old logs of scripts cannot be deleted")
