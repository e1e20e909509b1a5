"""`sluice task …`: what was run, what runs, and what waits for a decision."""

from datetime import datetime
from typing import Annotated

import typer

from sluice.base.errors import NotFoundError
from sluice.cli import words
from sluice.cli.following import follow_to_end
from sluice.cli.groups import new_group
from sluice.cli.live import WatchOptions
from sluice.cli.options import takes_records
from sluice.cli.outcome import after_gate
from sluice.cli.progress import GATES, stage_name
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    organization_of,
    wanted_organization,
)
from sluice.wire.shapes.people import Organization
from sluice.wire.shapes.tasks import TERMINAL, Task, TaskRow, TaskScript, TaskStatus
from sluice.wire.shapes.workspaces import Workspace

app = new_group("Tasks: list, show, confirm, discard and cancel them.")

_DONE = {
    "confirm": "Confirmed",
    "discard": "Discarded",
    "cancel": "Cancel asked",
    "force_cancel": "Kill asked",
}

TaskId = Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; shown to others.", show_default=False)
]
Follow = Annotated[
    bool, typer.Option("--follow", "-f", help="Watch the task until it ends.")
]


@app.command("list")
@takes_records
def list_tasks(
    workspace: Annotated[
        str | None,
        typer.Argument(
            metavar="WORKSPACE", help="Name or id of a workspace; else those of all."
        ),
    ] = None,
    *,
    status: Annotated[
        TaskStatus | None, typer.Option("--status", help="Only tasks in this status.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", help="How many at most.", min=1, max=100)
    ] = 20,
    where: InOrganization,
    session: Session,
) -> None:
    """List tasks, newest first."""
    owner: Workspace | Organization
    if workspace is None:
        owner = organization_of(session, where)
        found = session.api.tasks.list_all(owner.id, status=status, limit=limit)
    else:
        wanted = wanted_organization(session, where)
        owner = find_workspace(session.api, workspace, organization=wanted)
        found = session.api.tasks.list(owner.id, status=status, limit=limit)
    if session.json:
        session.console.json(found)
        return
    if not found.tasks:
        kind = f"{status.replace('_', ' ')} tasks" if status else "tasks yet"
        session.console.hint(f"{owner.name} has no {kind}.")
        return
    names = {} if workspace else _workspace_names(session, owner.id)
    session.console.table(
        ["TASK", "TYPE", "STATUS", "CHANGES", "TOOK", "STARTED BY", "CREATED"]
        + ([] if workspace else ["WORKSPACE OR SCRIPT"]),
        [
            _row(item, session.clock.now())
            + ([] if workspace else [_belongs_to(item, names)])
            for item in found.tasks
        ],
    )
    if found.total > len(found.tasks):
        session.console.hint(
            f"{len(found.tasks)} of {found.total}; --limit shows more."
        )


def _row(item: TaskRow, now: datetime) -> list[str]:
    return [
        item.id,
        words.task_type(item.task_type, item.options),
        _standing(item),
        words.short_summary(item.summary),
        words.duration(item.duration),
        item.created_by,
        words.ago(item.created_at, now),
    ]


def _standing(item: TaskRow) -> str:
    """The task's status, with the gate at which it stands."""
    text = item.status.replace("_", " ")
    at_gate = item.status not in TERMINAL and item.stage in GATES
    return f"{text}, {stage_name(item.stage)}" if at_gate and item.stage else text


def _belongs_to(item: TaskRow, names: dict[str, str]) -> str:
    """The name of the task's workspace, or its script's."""
    if item.script is not None:
        return _script(item.script)
    return names.get(item.workspace_id or "", "-")


def _script(script: TaskScript) -> str:
    """A script's key and version; `sluice exec` runs what has a name alone."""
    return " ".join(filter(None, [script.key or script.name, script.version]))


def _workspace_names(session: Session, organization_id: str) -> dict[str, str]:
    known = session.api.workspaces.list(organization_id)
    return {workspace.id: workspace.name for workspace in known}


@app.command("show")
@takes_records
def show(task: TaskId, *, session: Session) -> None:
    """Show a task: its stages, and why it waits or how it ended."""
    found = session.api.tasks.get(task)
    if session.json:
        session.console.json(found)
        return
    session.console.facts(_facts(found, session))
    if found.stages:
        session.console.line()
        session.console.table(
            ["STAGE", "PHASE", "STATUS", "TOOK"],
            [
                [
                    stage.name.replace("_", " "),
                    stage.phase,
                    stage.status,
                    words.duration(stage.duration),
                ]
                for stage in found.stages
            ],
        )
    _next_steps(found, session)


@app.command("confirm")
@takes_records
def confirm(
    task: TaskId, *, reason: Reason = "", follow: Follow = False, session: Session
) -> int:
    """Apply the plan that waits for confirmation."""
    changed = session.api.tasks.confirm(task, reason)
    return _decided(session, changed, f"Confirmed {task}.", follow=follow)


@app.command("discard")
@takes_records
def discard(task: TaskId, *, reason: Reason = "", session: Session) -> int:
    """Drop the plan that waits for confirmation."""
    changed = session.api.tasks.discard(task, reason)
    return _decided(session, changed, f"Discarded {task}.", follow=False)


@app.command("cancel")
@takes_records
def cancel(
    task: TaskId,
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Kill its process now; state may be lost."),
    ] = False,
    reason: Reason = "",
    follow: Follow = False,
    session: Session,
) -> int:
    """Stop a task at a safe point, keeping its state."""
    if force:
        changed = session.api.tasks.force_cancel(task, reason)
        text = f"{task} is being killed."
    else:
        changed = session.api.tasks.cancel(task, reason)
        text = f"Cancel of {task} requested."
    if changed.status is TaskStatus.CANCELED:
        text = f"Canceled {task}."
    if changed.status is TaskStatus.SUCCESS:
        text = f"{task} was applied before; nobody is waited for any more."
    return _decided(session, changed, text, follow=follow)


def _decided(session: Session, task: Task, text: str, *, follow: bool) -> int:
    """Tell what was done; with ``follow`` the exit code is the task's."""
    session.console.good(text)
    if follow:
        return follow_to_end(session, task, WatchOptions(json=session.json))
    if session.json:
        session.console.json(task)
    return 0


def _facts(task: Task, session: Session) -> list[tuple[str, str]]:
    now = session.clock.now()
    facts = [
        ("Task", task.id),
        ("Type", words.task_type(task.task_type, task.options)),
        ("Status", _status(task)),
        *_owner_of(task, session),
        ("Started by", f"{task.created_by}, {words.ago(task.created_at, now)}"),
        ("Took", words.duration(task.duration)),
    ]
    optional = [
        ("Message", task.message),
        ("Plan", words.summary(task.summary) if task.summary else ""),
        ("Agent", task.agent_name or ""),
        ("Exit code", "" if task.exit_code is None else str(task.exit_code)),
        ("Targets", " ".join(task.options.targets)),
        ("Replaces", " ".join(task.options.replace)),
        ("Error", task.error),
    ]
    facts += [(name, value) for name, value in optional if value]
    facts += [
        (
            _DONE.get(item.action, item.action.replace("_", " ").capitalize()),
            f"{item.actor}, {words.ago(item.at, now)}"
            + (f": {item.reason}" if item.reason else ""),
        )
        for item in task.actions
    ]
    return facts


def _owner_of(task: Task, session: Session) -> list[tuple[str, str]]:
    """The workspace it belongs to, or the script that it is."""
    if task.script is not None:
        return [("Script", _script(task.script))]
    if task.workspace_id is None:
        return []
    try:
        name = session.api.workspaces.get(task.workspace_id).name
    except NotFoundError:
        name = f"{task.workspace_id}, which is gone"
    return [("Workspace", name)]


def _status(task: Task) -> str:
    text = task.status.replace("_", " ")
    if task.stage and task.status not in TERMINAL:
        text += f", {task.stage.replace('_', ' ')}"
    if task.reason.startswith(text):
        return task.reason
    return f"{text}: {task.reason}" if task.reason else text


def _next_steps(task: Task, session: Session) -> None:
    if task.can_confirm:
        session.console.hint(
            f"\n`sluice task confirm {task.id}` applies it, `sluice task discard {task.id}` drops it."
        )
    elif found := after_gate(task):
        session.console.hint(f"\n{found}")
    elif task.status not in TERMINAL:
        session.console.hint(f"\n`sluice logs -f {task.id}` follows it.")
    elif task.gate_overridden:
        session.console.hint(
            f"\nIt was let pass at {task.gate}: `sluice apply --plan {task.id}` applies its plan."
        )
