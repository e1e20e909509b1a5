"""Looks up, for tasks whose agent cannot be reached, what the words of their reason need."""

from collections.abc import Sequence

import structlog

from sluice.base.errors import SluiceError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.tasks.deps import TaskDeps
from sluice.tasks.model import Task
from sluice.tasks.reach import Silence, called, silent_since, unreachable_words

LOOK_BACK = 64 * 1024
"""So many bytes at the log's end are looked at for its last line."""

_logger = structlog.get_logger(__name__)


async def silences(deps: TaskDeps, tx: Tx, tasks: Sequence[Task]) -> list[Silence]:
    """Those of the tasks whose holder is not heard of."""
    now = deps.clock.now()
    found = [
        (task, task.lease.agent_id, since)
        for task in tasks
        for since in (silent_since(task, now, lease_seconds=deps.lease_seconds),)
        if since is not None and task.lease is not None
    ]
    if not found:
        return []
    agent_ids = sorted({agent_id for _, agent_id, _ in found})
    names = await deps.agents.agent_names(tx, agent_ids)
    return [
        Silence(task, called(agent_id, names, task.script), since)
        for task, agent_id, since in found
    ]


async def unreachable_reasons(
    deps: TaskDeps, silent: Sequence[Silence]
) -> dict[TaskId, str]:
    """The reason of each of these tasks; reads logs, so call it outside transactions."""
    return {
        silence.task.id: unreachable_words(
            silence, await _last_line(deps, silence.task.id)
        )
        for silence in silent
    }


async def _last_line(deps: TaskDeps, task_id: TaskId) -> str:
    try:
        end = (await deps.log.head(task_id)).committed
        return await deps.log.last_line(task_id, max(0, end - LOOK_BACK), end)
    except SluiceError as error:
        # the reason is worth more without its last line than none at all
        _logger.warning("no last line", task_id=task_id, detail=error.detail)
        return ""
