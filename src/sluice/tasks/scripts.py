"""Starts scripts as tasks: kept as they are at this moment, values sealed, and queued."""

from collections.abc import Mapping

from sluice.auth.audit_calls import about
from sluice.base.errors import InvalidInputError
from sluice.base.ids import OrganizationId, PoolId, TaskId, new_task_id
from sluice.events.topics import QUEUE, task_topic
from sluice.tasks.admitting import admit
from sluice.tasks.deps import TaskDeps
from sluice.tasks.model import ScriptFacts, Task
from sluice.tasks.order import seal_script
from sluice.wire.agent import Engine, ScriptOrder
from sluice.wire.shapes.tasks import TaskType


async def start_script(  # noqa: PLR0913 - what a script task is made of, each by its name
    deps: TaskDeps,
    *,
    organization_id: OrganizationId,
    script: ScriptOrder,
    facts: ScriptFacts,
    pool_id: PoolId | None,
    labels: Mapping[str, str],
    actor: str,
    message: str = "",
    task_id: TaskId | None = None,
) -> Task:
    """Put a script into the queue; later changes of a registered script do not touch it.

    Raises:
        InvalidInputError: the pool is not one of the organization's.
        ConflictError: there is a task with this id.
        RateLimitedError: there are as many unfinished tasks as there may be.
    """
    task_id = task_id or new_task_id()
    sealed = seal_script(deps, task_id, script)
    task = Task(
        id=task_id,
        workspace_id=None,
        organization_id=organization_id,
        task_type=TaskType.SCRIPT,
        created_by=actor,
        created_at=deps.clock.now(),
        engine=Engine.TERRAFORM,
        terraform_version="",
        working_directory="",
        pool_id=pool_id,
        labels=labels,
        message=message,
        script=facts,
        sealed_script=sealed,
    )
    async with deps.transactions.write() as tx:
        if pool_id is not None:
            owner = await deps.workspaces.pools.pool_organization(tx, pool_id)
            if owner != organization_id:
                raise InvalidInputError(
                    f"pool_id: there is no pool {pool_id} in the organization."
                )
        await admit(deps, tx, organization_id=organization_id)
        await deps.log.open(tx, task.id)
        stored = await deps.store.insert(tx, task)
        about(task.id, organization_id=organization_id)
    deps.hub.publish(task_topic(stored.id))
    deps.hub.publish(QUEUE)
    return stored
