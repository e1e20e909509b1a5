"""What a phase reads and writes by its task token: configuration, state, plan, plan JSON.

Plans hold secrets: they are sealed before they become blobs. A blob's key names the
lease, so that a phase whose lease is over cannot replace what its successor stored.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from sluice.auth.model import TaskPrincipal
from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.base.ids import TaskId
from sluice.base.transactions import Tx
from sluice.configs.actions import open_archive
from sluice.events.topics import task_topic
from sluice.state.actions import (
    create_state_version,
    current_state,
    outputs,
    read_state,
)
from sluice.tasks.deps import TaskDeps
from sluice.tasks.leases import held, mark_started
from sluice.tasks.model import Lease, Task
from sluice.tasks.present import planned_outputs, summary_of
from sluice.terraform.plan_json import PlanJson, PlanJsonError, read_plan
from sluice.wire.agent import PhaseName
from sluice.wire.shapes.states import OutputValue

MAX_PLAN_BYTES = 256 * 1024 * 1024


# --- what a phase reads --------------------------------------------------------


async def open_configuration(
    deps: TaskDeps, *, caller: TaskPrincipal
) -> AsyncIterator[bytes]:
    """The configuration archive in pieces."""
    return await configuration_of(deps, task=await _begun(deps, caller))


async def open_state(deps: TaskDeps, *, caller: TaskPrincipal) -> bytes | None:
    """The workspace's state, None where there is none; remembered as the phase's base."""
    task = await _begun(deps, caller)
    version = await current_state(deps.states, workspace_id=task.home)
    if version is None:
        return None
    async with deps.transactions.write() as tx:
        await held(deps, tx, caller.task_id, caller.lease_id)
        lease = await deps.store.get_lease(tx, caller.lease_id)
        if lease is not None:
            await deps.store.save_lease(tx, replace(lease, base_state_id=version.id))
    return await read_state(deps.states, state_version_id=version.id)


async def open_plan(deps: TaskDeps, *, caller: TaskPrincipal) -> bytes:
    """The saved plan that the phase applies: its own task's, or the one it was made from."""
    task = await _begun(deps, caller)
    planned = task
    if task.plan_task_id is not None:
        async with deps.transactions.read() as tx:
            planned = await _known(deps, tx, task.plan_task_id)
    if planned.plan_blob is None:
        raise NotFoundError(f"{planned.id} has no stored plan file; plan again.")
    return await _open(deps, planned.plan_blob, _plan_name(planned.id))


async def _begun(deps: TaskDeps, caller: TaskPrincipal) -> Task:
    """The caller's task; from here on its phase counts as begun."""
    async with deps.transactions.read() as tx:
        task = await _known(deps, tx, caller.task_id)
    lease = task.lease
    if lease is not None and lease.id == caller.lease_id and lease.started:
        return task
    async with deps.transactions.write() as tx:
        task = await held(deps, tx, caller.task_id, caller.lease_id)
        return await mark_started(deps, tx, task)


# --- what a phase writes -------------------------------------------------------


async def store_plan(deps: TaskDeps, *, caller: TaskPrincipal, content: bytes) -> None:
    """Keep the plan file; storing it again replaces it.

    Raises:
        ConflictError: the phase is no plan.
    """
    lease = await _planning(deps, caller)
    key = f"plans/{caller.task_id}/{lease.id}/plan"
    await _seal(deps, key, content, _plan_name(caller.task_id))
    async with deps.transactions.write() as tx:
        task = await held(deps, tx, caller.task_id, caller.lease_id)
        await deps.store.save(tx, replace(task, plan_blob=key))


async def store_plan_json(
    deps: TaskDeps, *, caller: TaskPrincipal, content: bytes
) -> None:
    """Keep the plan JSON and take the summary from it.

    Raises:
        InvalidInputError: it is no plan JSON.
        ConflictError: the phase is no plan.
    """
    lease = await _planning(deps, caller)
    try:
        plan = await asyncio.to_thread(read_plan, content)
    except PlanJsonError as error:
        raise InvalidInputError(f"The plan JSON cannot be taken: {error}.") from error
    key = f"plans/{caller.task_id}/{lease.id}/plan.json"
    await _seal(deps, key, content, _plan_json_name(caller.task_id))
    async with deps.transactions.write() as tx:
        task = await held(deps, tx, caller.task_id, caller.lease_id)
        stored = replace(
            task,
            plan_json_blob=key,
            summary=summary_of(plan),
            has_changes=plan.has_changes,
        )
        await deps.store.save(tx, stored)
    deps.hub.publish(task_topic(caller.task_id))


async def store_state(deps: TaskDeps, *, caller: TaskPrincipal, content: bytes) -> None:
    """Keep the state that an apply left; the same again changes nothing.

    Raises:
        ConflictError: the phase is no apply, or serial or lineage do not follow.
    """
    async with deps.transactions.write() as tx:
        task = await held(deps, tx, caller.task_id, caller.lease_id)
    if task.lease is None or task.lease.phase is not PhaseName.APPLY:
        raise ConflictError(f"{task.id} is not applying; only an apply writes state.")
    await create_state_version(
        deps.states,
        workspace_id=task.home,
        content=content,
        created_by=task.created_by,
        task_id=task.id,
    )


async def _planning(deps: TaskDeps, caller: TaskPrincipal) -> Lease:
    async with deps.transactions.write() as tx:
        task = await held(deps, tx, caller.task_id, caller.lease_id)
    if task.lease is None or task.lease.phase is not PhaseName.PLAN:
        raise ConflictError(f"{task.id} is not planning; only a plan writes plans.")
    return task.lease


# --- what people and reviewers read --------------------------------------------


async def configuration_of(deps: TaskDeps, *, task: Task) -> AsyncIterator[bytes]:
    """The task's configuration archive in pieces.

    Raises:
        NotFoundError: it has none.
    """
    if task.configuration_version_id is None:
        raise NotFoundError(f"{task.id} has no configuration.")
    return await open_archive(
        deps.configs, configuration_version_id=task.configuration_version_id
    )


async def plan_json_of(deps: TaskDeps, *, task: Task) -> bytes:
    """The stored plan JSON as terraform wrote it, with its secrets.

    Raises:
        NotFoundError: none was stored.
    """
    source = task
    if task.plan_json_blob is None and task.plan_task_id is not None:
        async with deps.transactions.read() as tx:
            source = await _known(deps, tx, task.plan_task_id)
    if source.plan_json_blob is None:
        raise NotFoundError(
            f"{task.id} has no plan JSON (yet); it comes with the plan."
        )
    return await _open(deps, source.plan_json_blob, _plan_json_name(source.id))


async def plan_of(deps: TaskDeps, *, task: Task) -> PlanJson:
    """What the task's plan would do, masked.

    Raises:
        NotFoundError: no plan JSON was stored.
    """
    content = await plan_json_of(deps, task=task)
    return await asyncio.to_thread(read_plan, content)


async def outputs_of(deps: TaskDeps, *, task: Task) -> list[OutputValue]:
    """The outputs of the state the task made while that is current, else those it planned."""
    state = await current_state(deps.states, workspace_id=task.home)
    if state is not None and state.task_id == task.id:
        return await outputs(deps.states, workspace_id=task.home)
    return planned_outputs(await plan_of(deps, task=task))


async def _seal(deps: TaskDeps, key: str, content: bytes, name: str) -> None:
    sealed = await asyncio.to_thread(deps.keyring.seal, content, name)
    await deps.blobs.put(key, sealed)


async def _open(deps: TaskDeps, key: str, name: str) -> bytes:
    sealed = await deps.blobs.get(key)
    return await asyncio.to_thread(deps.keyring.open, sealed, name)


async def _known(deps: TaskDeps, tx: Tx, task_id: TaskId) -> Task:
    task = await deps.store.get(tx, task_id)
    if task is None:
        raise NotFoundError(f"There is no task {task_id}.")
    return task


def _plan_name(task_id: TaskId) -> str:
    return f"plan:{task_id}"


def _plan_json_name(task_id: TaskId) -> str:
    return f"plan-json:{task_id}"
