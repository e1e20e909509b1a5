"""`sluice run-task attach` and `detach`: where run tasks are asked."""

from dataclasses import dataclass
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli.options import takes_records
from sluice.cli.run_task_options import RunTaskName, find_run_task
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    wanted_organization,
)
from sluice.wire.run_task import EnforcementLevel, RunTaskStage
from sluice.wire.shapes.run_tasks import WorkspaceRunTask, WorkspaceRunTaskInput
from sluice.wire.shapes.workspaces import Workspace

WorkspaceName = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="Name or id of the workspace.")
]


@dataclass(frozen=True, slots=True)
class AttachOptions:
    """When a run task is asked, and what its failure does."""

    stage: Annotated[
        RunTaskStage, typer.Option("--stage", help="When it is asked.")
    ] = RunTaskStage.POST_PLAN
    level: Annotated[
        EnforcementLevel,
        typer.Option("--level", help="What a failure does: warn, or stop the task."),
    ] = EnforcementLevel.ADVISORY
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Attach it without asking it yet.")
    ] = False


@takes_records
def attach(
    run_task: RunTaskName,
    workspace: WorkspaceName,
    *,
    options: AttachOptions,
    where: InOrganization,
    session: Session,
) -> None:
    """Ask a run task in a workspace, for tasks that are made from now on."""
    owner = workspace_of(session, workspace, where)
    found = find_run_task(session, owner.organization_id, run_task)
    body = WorkspaceRunTaskInput(
        run_task_id=found.run_task_id,
        stage=options.stage,
        enforcement_level=options.level,
        enabled=not options.disabled,
    )
    attached = session.api.workspace_run_tasks.create(owner.id, body)
    if session.json:
        session.console.json(attached)
        return
    session.console.good(
        f"Attached {found.name} to {owner.name}: {attached.stage},"
        f" {attached.enforcement_level} ({attached.workspace_run_task_id})."
    )


@takes_records
def detach(
    run_task: RunTaskName,
    workspace: WorkspaceName,
    *,
    stage: Annotated[
        RunTaskStage | None,
        typer.Option("--stage", help="Where it is attached at several stages."),
    ] = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Ask a run task no more in a workspace; tasks under way are not touched."""
    owner = workspace_of(session, workspace, where)
    found = _attachment(session, owner, run_task, stage)
    attachment_id = found.workspace_run_task_id
    session.api.workspace_run_tasks.delete(owner.id, attachment_id)
    if session.json:
        session.console.json({"id": attachment_id, "deleted": True})
        return
    session.console.good(
        f"Detached {found.run_task.name} from {owner.name} ({found.stage})."
    )


def show_attachments(session: Session, owner: Workspace) -> None:
    """Write a workspace's attachments."""
    found = session.api.workspace_run_tasks.list(owner.id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            f"No run task is attached to {owner.name};"
            f" `sluice run-task attach RUN_TASK {owner.name}` attaches one."
        )
        return
    session.console.table(
        ["NAME", "STAGE", "LEVEL", "STATUS", "ID"],
        [
            [
                item.run_task.name,
                item.stage,
                item.enforcement_level,
                "enabled" if item.enabled else "disabled",
                item.workspace_run_task_id,
            ]
            for item in found
        ],
    )


def workspace_of(session: Session, wanted: str, where: InOrganization) -> Workspace:
    """The workspace of this name or id.

    Raises:
        NotFoundError: there is none.
    """
    organization = wanted_organization(session, where)
    return find_workspace(session.api, wanted, organization=organization)


def _attachment(
    session: Session, owner: Workspace, wanted: str, stage: RunTaskStage | None
) -> WorkspaceRunTask:
    of_it = [
        item
        for item in session.api.workspace_run_tasks.list(owner.id)
        if wanted in {item.run_task.name, item.run_task.run_task_id}
        and stage in {None, item.stage}
    ]
    match of_it:
        case [only]:
            return only
        case []:
            at = f" at {stage}" if stage else ""
            raise NotFoundError(
                f"No run task {wanted!r} is attached to {owner.name}{at};"
                f" `sluice run-task list --workspace {owner.name}` shows what is."
            )
        case _:
            stages = ", ".join(item.stage for item in of_it)
            raise InvalidInputError(
                f"{wanted} is attached to {owner.name} at {stages}; say which with --stage."
            )
