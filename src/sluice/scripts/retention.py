"""Deletes the output of scripts when its time is over; the tasks themselves stay."""

from dataclasses import dataclass
from datetime import timedelta

import structlog
from prometheus_client import CollectorRegistry, Counter

from sluice.base.clock import Clock
from sluice.base.errors import SluiceError
from sluice.base.transactions import Transactions
from sluice.scripts.model import OldLog
from sluice.scripts.ports import BlobRemoval, LateOutput, RetiredLogs, ScriptStore

LOGS_A_LOOK = 100
_logger = structlog.get_logger(__name__)


class RetentionMetrics:
    """What was deleted by one server."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.logs = Counter(
            "sluice_script_logs_removed_total",
            "Logs of scripts that were deleted because their time was over.",
            registry=registry,
        )
        self.bytes = Counter(
            "sluice_script_log_bytes_removed_total",
            "Bytes of output in these logs.",
            registry=registry,
        )


@dataclass(frozen=True, slots=True)
class RetentionDeps:
    """What deletion needs; ``days`` is how long logs are kept after their end, None for
    good.
    """

    transactions: Transactions
    scripts: ScriptStore
    logs: RetiredLogs
    late: LateOutput
    blobs: BlobRemoval
    clock: Clock
    metrics: RetentionMetrics
    days: int | None


@dataclass(frozen=True, slots=True)
class Removed:
    """How much was deleted."""

    logs: int = 0
    bytes: int = 0

    def __add__(self, other: "Removed") -> "Removed":
        """Both together."""
        return Removed(self.logs + other.logs, self.bytes + other.bytes)


async def remove_old_logs(deps: RetentionDeps) -> Removed:
    """Delete every log of a script that ended too long ago, and say how much that was.

    Any number of servers may do this at once: one of them finishes a log, and counts it.
    What a server began and did not finish, because it was killed or the blob store was
    away, the next look finishes.
    """
    total = Removed()
    if deps.days is None:
        return total
    before = deps.clock.now() - timedelta(days=deps.days)
    left: set[str] = set()
    while True:
        async with deps.transactions.read() as tx:
            found = await deps.scripts.old_logs(
                tx, ended_before=before, limit=LOGS_A_LOOK + len(left)
            )
        new = [log for log in found if log.task_id not in left]
        if not new:
            break
        for log in new:
            try:
                total += await _remove(deps, log)
            except SluiceError as error:
                left.add(log.task_id)
                _logger.warning(
                    "an old log stays for now", task_id=log.task_id, reason=error.detail
                )
    if total.logs:
        _logger.info(
            "old logs of scripts deleted",
            logs=total.logs,
            bytes=total.bytes,
            older_than_days=deps.days,
        )
    return total


async def _remove(deps: RetentionDeps, log: OldLog) -> Removed:
    """Mark it first: nobody may begin to read what is about to go."""
    task_id = log.task_id
    late = 0
    async with deps.transactions.write() as tx:
        if await deps.logs.retire(tx, task_id, at=deps.clock.now()):
            late = sum(one.size for one in await deps.late.of_task(tx, task_id))
            await deps.late.remove(tx, task_id)
    await deps.blobs.delete(log.object_key)
    async with deps.transactions.write() as tx:
        last = await deps.logs.forget_object(tx, task_id)
    if not last:
        return Removed()
    removed = Removed(1, log.size + late)
    deps.metrics.logs.inc()
    deps.metrics.bytes.inc(removed.bytes)
    return removed
