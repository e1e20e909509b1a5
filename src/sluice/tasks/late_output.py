"""Output that comes after its lease ended: kept beside the log, and shown to people."""

from dataclasses import dataclass

from sluice.base.clock import rfc3339
from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.base.ids import AgentId, LeaseId, TaskId
from sluice.base.transactions import Tx
from sluice.events.topics import task_topic
from sluice.logs.incoming import BrokenUploadError, checked_unit
from sluice.tasks import late
from sluice.tasks.changes import locked
from sluice.tasks.deps import TaskDeps
from sluice.tasks.model import ActionRecord, LateOutput, LeaseRecord
from sluice.tasks.reach import called, name_of
from sluice.wire.chunk import Chunk, ChunkError, decode_chunks
from sluice.wire.late_output import LateAnswer

KEPT = "late output kept"
"""What the task's actions call it."""


@dataclass(frozen=True, slots=True)
class SeenLateOutput:
    """Late output with the name of the agent that delivered it."""

    kept: LateOutput
    agent_name: str | None


async def take_late_output(
    deps: TaskDeps,
    *,
    agent_id: AgentId,
    task_id: TaskId,
    lease_id: LeaseId,
    body: bytes,
) -> LateAnswer:
    """Keep what the holder of an ended lease had captured before; again changes nothing.

    An empty body asks where to go on.

    Raises:
        InvalidInputError: the body is no run of chunks.
        NotFoundError: there is no such lease, or it was another agent's.
        ConflictError: the lease lasts, was reported whole, or bytes are missing before.
    """
    chunks = _chunks(task_id, body)
    async with deps.transactions.write() as tx:
        # before the task is looked for: of others' the agent learns nothing
        await _lease(deps, tx, agent_id, task_id, lease_id)
        task = await locked(deps, tx, task_id)
        lease = await _lease(deps, tx, agent_id, task_id, lease_id)
        late.check_ended(lease)
        known = await deps.late.get(tx, lease_id)
        taken = late.take(lease, known, chunks)
        if taken.data:
            await _keep(deps, tx, lease, known, taken)
        if taken.data and known is None:
            names = await deps.agents.agent_names(tx, [agent_id])
            record = ActionRecord(
                KEPT,
                called(agent_id, names, task.script),
                f"captured before its lease ended at {rfc3339(lease.ended_at)}"
                if lease.ended_at
                else "",
                deps.clock.now(),
            )
            await deps.store.add_action(tx, task_id, record)
    if taken.data:
        deps.hub.publish(task_topic(task_id))
    return LateAnswer(committed=taken.committed, open=taken.open)


def _chunks(task_id: TaskId, body: bytes) -> tuple[Chunk, ...]:
    """The body's chunks, held to the rules of uploads."""
    if not body:
        return ()
    try:
        chunks = tuple(decode_chunks(body))
        return checked_unit(task_id, 0, chunks[0].offset, chunks).chunks
    except (ChunkError, BrokenUploadError) as error:
        raise InvalidInputError(f"The body is no run of chunks: {error}.") from None


async def _lease(
    deps: TaskDeps, tx: Tx, agent_id: AgentId, task_id: TaskId, lease_id: LeaseId
) -> LeaseRecord:
    lease = await deps.store.get_lease(tx, lease_id)
    if lease is None or lease.task_id != task_id or lease.agent_id != agent_id:
        raise NotFoundError(f"There is no lease {lease_id} of {task_id}.")
    return lease


async def _keep(
    deps: TaskDeps,
    tx: Tx,
    lease: LeaseRecord,
    known: LateOutput | None,
    taken: late.Taken,
) -> None:
    newer = LateOutput(
        lease_id=lease.id,
        task_id=lease.task_id,
        agent_id=lease.agent_id,
        committed=taken.committed,
        size=(known.size if known else 0) + len(taken.data),
        lines=(known.lines if known else 0) + taken.data.count(b"\n"),
        received_at=known.received_at if known else deps.clock.now(),
    )
    await deps.late.keep(tx, newer, taken.start, taken.data)


async def list_late_output(deps: TaskDeps, *, task_id: TaskId) -> list[SeenLateOutput]:
    """What is kept of a task's leases.

    Raises:
        NotFoundError: there is no such task.
    """
    async with deps.transactions.read() as tx:
        task = await deps.store.get(tx, task_id)
        if task is None:
            raise NotFoundError(f"There is no task {task_id}.")
        found = await deps.late.of_task(tx, task_id)
        names = await deps.agents.agent_names(tx, [kept.agent_id for kept in found])
    return [
        SeenLateOutput(kept, name_of(kept.agent_id, names, task.script))
        for kept in found
    ]


async def read_late_output(
    deps: TaskDeps, *, task_id: TaskId, lease_id: LeaseId
) -> bytes:
    """The bytes that are kept of a lease.

    Raises:
        NotFoundError: there are none.
    """
    async with deps.transactions.read() as tx:
        kept = await deps.late.get(tx, lease_id)
        if kept is None or kept.task_id != task_id:
            raise NotFoundError(f"There is no late output of {lease_id} of {task_id}.")
        return await deps.late.content(tx, lease_id)
