"""Decides whether a run of `sluice exec` may have a task, and what is then known of its script."""

from dataclasses import replace

import msgspec

from sluice.base.clock import rfc3339
from sluice.base.errors import ConflictError
from sluice.base.ids import OrganizationId, PoolId
from sluice.tasks.model import ScriptFacts, Task, TaskState
from sluice.wire.exec import ExecRequest, Writer
from sluice.wire.script_mark import SaidLine, ScriptMark
from sluice.wire.shapes.tasks import TaskType


def facts_of(wanted: ExecRequest) -> ScriptFacts:
    """A script of which nothing is known but what its runner says."""
    name = wanted.name or wanted.script_path.rsplit("/", 1)[-1] or "script"
    return renewed(ScriptFacts(name=name), wanted)


def renewed(known: ScriptFacts, wanted: ExecRequest) -> ScriptFacts:
    """The facts with what the runner says; what it leaves out stays."""
    return replace(
        known,
        path=wanted.script_path or known.path,
        process_id=wanted.process_id or known.process_id,
        floor=wanted.floor or known.floor,
        host=wanted.host or known.host,
        run_id=wanted.run_id,
        records=wanted.writer is Writer.RECORDS,
    )


def mark_of(task: Task) -> ScriptMark:
    """What the log of the task says of its script from the beginning."""
    script = task.script
    if script is None:
        return ScriptMark()
    return ScriptMark(
        process_id=script.process_id, script_path=script.path, floor=script.floor
    )


def filled(record: SaidLine, start: ScriptMark) -> SaidLine:
    """The record with what the run said of its script, where the record does not say it."""
    return msgspec.structs.replace(
        record,
        process_id=record.process_id or start.process_id,
        script_path=record.script_path or start.script_path,
    )


def same_run(task: Task, wanted: ExecRequest) -> bool:
    """Whether the task is, or was, this very run.

    Raises:
        ConflictError: it is, but its log has another writer.
    """
    script = task.script
    if script is None or script.run_id != wanted.run_id:
        return False
    if script.records is not (wanted.writer is Writer.RECORDS):
        writer = Writer.RECORDS if script.records else Writer.UPLOAD
        raise ConflictError(
            f"The run {wanted.run_id} of {task.id} began with the writer `{writer}`;"
            " it cannot change it."
        )
    return True


def check_owner(task: Task, organization_id: OrganizationId) -> None:
    """Refuse a task that is no script of this organization.

    Raises:
        ConflictError: it is not; nothing of another organization's task is told.
    """
    if task.organization_id != organization_id:
        raise ConflictError(
            f"The id {task.id} is taken by another organization; choose another."
        )
    if task.task_type is not TaskType.SCRIPT:
        raise ConflictError(
            f"{task.id} is a `{task.task_type}` task; only scripts run by `sluice exec`."
        )


def check_pool(task: Task, pool_id: PoolId | None) -> None:
    """Refuse a task that another pool runs, ran, or is to run; nothing of it is told.

    ``pool_id`` is the pool for which the caller speaks, if any.

    Raises:
        ConflictError: it is.
    """
    if pool_id in (None, task.pool_id):
        return
    if task.pool_id is not None or task.labels:
        raise ConflictError(
            f"{task.id} is a task for another pool than {pool_id}; run it with a token"
            " of that pool, or with a user's."
        )


def check_free(task: Task, holder: str) -> None:
    """Refuse a task that has ended, or that somebody holds.

    ``holder`` is what the holder of its lease is called.

    Raises:
        ConflictError: one of these; the detail says which.
    """
    if task.terminal:
        raise ConflictError(
            f"{task.id} has ended (it is `{task.status}`) and cannot run again; choose"
            " another id.",
            task_status=task.status.value,
        )
    if task.state is not TaskState.QUEUED:
        run = task.script.run_id if task.script else ""
        since = rfc3339(task.started_at) if task.started_at else "a while"
        raise ConflictError(
            f"{task.id} is held by {holder}{f' (run {run})' if run else ''} since"
            f" {since}; wait for its end, or cancel it.",
            task_status=task.status.value,
        )
