"""What can be done with attachments: a run task is asked in a workspace at a stage."""

from dataclasses import dataclass, replace

from sluice.auth.audit_entries import new_entry
from sluice.base.errors import ConflictError, InvalidInputError, NotFoundError
from sluice.base.ids import (
    RunTaskId,
    WorkspaceId,
    WorkspaceRunTaskId,
    new_workspace_run_task_id,
)
from sluice.base.paging import Page
from sluice.base.transactions import Tx
from sluice.runtasks.actions import RunTaskDeps
from sluice.runtasks.model import RunTask, WorkspaceRunTask
from sluice.wire.run_task import EnforcementLevel, RunTaskStage
from sluice.wire.shapes.run_tasks import (
    WorkspaceRunTaskChange,
    WorkspaceRunTaskInput,
)
from sluice.workspaces.model import Workspace

_FIELDS = ("stage", "enforcement_level", "enabled")


@dataclass(frozen=True, slots=True)
class Attached:
    """An attachment with its run task."""

    attachment: WorkspaceRunTask
    run_task: RunTask


async def attach_run_task(
    deps: RunTaskDeps,
    *,
    workspace_id: WorkspaceId,
    wanted: WorkspaceRunTaskInput,
    actor: str,
) -> Attached:
    """Have a run task asked in a workspace, for tasks that are made from now on.

    Raises:
        NotFoundError: there is no such workspace.
        InvalidInputError: its organization has no such run task, or the level does not go
            with the stage.
        ConflictError: it is attached there at this stage.
    """
    attachment = WorkspaceRunTask(
        id=new_workspace_run_task_id(),
        workspace_id=workspace_id,
        run_task_id=RunTaskId(wanted.run_task_id),
        stage=wanted.stage,
        enforcement_level=wanted.enforcement_level,
        enabled=wanted.enabled,
        created_at=deps.clock.now(),
    )
    _check(attachment)
    async with deps.transactions.write() as tx:
        workspace = await _held(deps, tx, workspace_id)
        run_task = await deps.store.hold(tx, attachment.run_task_id)
        if run_task is None or run_task.organization_id != workspace.organization_id:
            raise InvalidInputError(
                f"run_task_id: the organization has no run task {wanted.run_task_id!r};"
                " take one of its run tasks."
            )
        await _refuse_taken(deps, tx, attachment, run_task)
        await deps.store.attach(tx, attachment)
        detail = {name: str(getattr(attachment, name)) for name in _FIELDS[:2]}
        await _note(deps, tx, Attached(attachment, run_task), actor, "create", detail)
    return Attached(attachment, run_task)


async def list_attachments(
    deps: RunTaskDeps, *, workspace_id: WorkspaceId, page: Page
) -> tuple[list[Attached], int]:
    """A page of a workspace's attachments by name and stage, and how many there are.

    Raises:
        NotFoundError: there is no such workspace.
    """
    async with deps.transactions.read() as tx:
        if not await deps.workspaces.get_many(tx, [workspace_id]):
            raise NotFoundError(f"There is no workspace {workspace_id}.")
        found = await deps.store.attachments(tx, workspace_id)
        ids = {attachment.run_task_id for attachment in found}
        run_tasks = await deps.store.get_many(tx, ids)
    stages = list(RunTaskStage)
    shown = sorted(
        (
            Attached(attachment, run_tasks[attachment.run_task_id])
            for attachment in found
            # deleted between the two reads
            if attachment.run_task_id in run_tasks
        ),
        key=lambda one: (one.run_task.name, stages.index(one.attachment.stage)),
    )
    return shown[page.offset : page.offset + page.limit], len(shown)


async def change_attachment(
    deps: RunTaskDeps,
    *,
    workspace_id: WorkspaceId,
    attachment_id: WorkspaceRunTaskId,
    change: WorkspaceRunTaskChange,
    actor: str,
) -> Attached:
    """Change when a run task is asked and what a failure does; tasks under way keep theirs.

    Raises:
        NotFoundError: the workspace has no such attachment.
        InvalidInputError: the level does not go with the stage.
        ConflictError: the run task is attached there at this stage already.
    """
    async with deps.transactions.write() as tx:
        await _held(deps, tx, workspace_id)
        old = await _attached(deps, tx, workspace_id, attachment_id)
        given = change.model_dump(exclude_none=True)
        attachment = replace(old.attachment, **given)
        _check(attachment)
        new = replace(old, attachment=attachment)
        changed = [
            name
            for name in _FIELDS
            if getattr(attachment, name) != getattr(old.attachment, name)
        ]
        if not changed:
            return old
        await _refuse_taken(deps, tx, attachment, old.run_task)
        await deps.store.save_attachment(tx, attachment)
        detail = {name: str(getattr(attachment, name)) for name in _FIELDS[:2]}
        detail["changed"] = ", ".join(changed)
        await _note(deps, tx, new, actor, "update", detail)
    return new


async def detach_run_task(
    deps: RunTaskDeps,
    *,
    workspace_id: WorkspaceId,
    attachment_id: WorkspaceRunTaskId,
    actor: str,
) -> None:
    """Forget an attachment; tasks under way are not touched.

    Raises:
        NotFoundError: the workspace has no such attachment.
    """
    async with deps.transactions.write() as tx:
        await _held(deps, tx, workspace_id)
        old = await _attached(deps, tx, workspace_id, attachment_id)
        await deps.store.detach(tx, attachment_id)
        detail = {"stage": old.attachment.stage.value}
        await _note(deps, tx, old, actor, "delete", detail)


def _check(attachment: WorkspaceRunTask) -> None:
    mandatory = attachment.enforcement_level is EnforcementLevel.MANDATORY
    if mandatory and attachment.stage is RunTaskStage.POST_APPLY:
        raise InvalidInputError(
            "enforcement_level: post_apply is advisory only, since nothing is left to"
            " stop; take advisory, or an earlier stage."
        )


async def _refuse_taken(
    deps: RunTaskDeps, tx: Tx, wanted: WorkspaceRunTask, run_task: RunTask
) -> None:
    for other in await deps.store.attachments(tx, wanted.workspace_id):
        same = (other.run_task_id, other.stage) == (wanted.run_task_id, wanted.stage)
        if same and other.id != wanted.id:
            raise ConflictError(
                f"The run task {run_task.name} is attached to this workspace at"
                f" {wanted.stage} already ({other.id}); change that attachment, or detach it first."
            )


async def _held(deps: RunTaskDeps, tx: Tx, workspace_id: WorkspaceId) -> Workspace:
    workspace = await deps.workspaces.hold(tx, workspace_id)
    if workspace is None:
        raise NotFoundError(f"There is no workspace {workspace_id}.")
    return workspace


async def _attached(
    deps: RunTaskDeps,
    tx: Tx,
    workspace_id: WorkspaceId,
    attachment_id: WorkspaceRunTaskId,
) -> Attached:
    attachment = await deps.store.get_attachment(tx, workspace_id, attachment_id)
    if attachment is not None:
        run_task = await deps.store.get(tx, attachment.run_task_id)
        if run_task is not None:
            return Attached(attachment, run_task)
    raise NotFoundError(
        f"The workspace {workspace_id} has no attachment {attachment_id}."
    )


async def _note(
    deps: RunTaskDeps,
    tx: Tx,
    attached: Attached,
    actor: str,
    verb: str,
    detail: dict[str, str],
) -> None:
    attachment, run_task = attached.attachment, attached.run_task
    entry = new_entry(
        deps.clock,
        actor=actor,
        action=f"workspace_run_task.{verb}",
        subject=attachment.id,
        organization_id=run_task.organization_id,
        detail={
            "workspace_id": attachment.workspace_id,
            "run_task_id": run_task.id,
            "name": run_task.name,
            **detail,
        },
    )
    await deps.audit.append(tx, entry)
