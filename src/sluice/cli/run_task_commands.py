"""`sluice run-task …`: services that are asked at gates, where they are asked, and their far side."""

from typing import Annotated

import typer

from sluice.cli import words
from sluice.cli.attachment_commands import (
    attach,
    detach,
    show_attachments,
    workspace_of,
)
from sluice.cli.exit_codes import ExitCode
from sluice.cli.groups import new_group
from sluice.cli.lazy import add_brought
from sluice.cli.options import takes_records
from sluice.cli.run_task_options import (
    RunTaskChanges,
    RunTaskFields,
    RunTaskName,
    find_run_task,
)
from sluice.cli.run_task_result_commands import override, results
from sluice.cli.session import (
    InOrganization,
    Session,
    force_is_an_option,
    organization_of,
)
from sluice.wire.shapes.run_tasks import RunTask, RunTaskChange, RunTaskInput

app = new_group("Run tasks: services that are asked at gates.")
app.command("attach")(attach)
app.command("detach")(detach)
app.command("results")(results)
app.command("override")(override)


@app.command("list")
@takes_records
def list_run_tasks(
    *,
    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            metavar="NAME",
            help="Those that are attached to this workspace, and when they are asked.",
        ),
    ] = None,
    where: InOrganization,
    session: Session,
) -> None:
    """List the run tasks of an organization, or of a workspace."""
    if workspace is not None:
        show_attachments(session, workspace_of(session, workspace, where))
        return
    found = session.api.run_tasks.list(organization_of(session, where).id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "There are no run tasks yet;"
            " `sluice run-task create NAME --endpoint URL` makes one."
        )
        return
    session.console.table(
        ["NAME", "ENDPOINT", "WORKSPACES", "STATUS", "ID"],
        [
            [
                item.name,
                item.endpoint_url,
                "all" if item.is_global else str(item.workspace_count),
                "enabled" if item.enabled else "disabled",
                item.run_task_id,
            ]
            for item in found
        ],
    )


@app.command("show")
@takes_records
def show(run_task: RunTaskName, *, where: InOrganization, session: Session) -> None:
    """Show a run task; its key is never shown."""
    owner = organization_of(session, where)
    found = find_run_task(session, owner.id, run_task)
    if session.json:
        session.console.json(found)
        return
    now = session.clock.now()
    session.console.facts(
        [
            ("Name", found.name),
            ("Id", found.run_task_id),
            ("Description", found.description or "-"),
            ("Endpoint", found.endpoint_url),
            ("Status", "enabled" if found.enabled else "disabled"),
            ("Signed", _signed(found)),
            ("Timeout", words.duration(found.timeout_seconds)),
            ("Asked", _asked(found, found.workspace_count)),
            ("Callbacks", ", ".join(found.callback_allowed_cidrs) or "from anywhere"),
            ("Team", found.team_id or "-"),
            ("Created", f"{words.ago(found.created_at, now)} by {found.created_by}"),
            ("Changed", words.ago(found.updated_at, now)),
        ]
    )


@app.command("create")
@takes_records
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    endpoint: Annotated[
        str, typer.Option("--endpoint", metavar="URL", help="Where it is called.")
    ],
    values: RunTaskFields,
    where: InOrganization,
    session: Session,
) -> None:
    """Make a run task: a service that may be asked at gates."""
    owner = organization_of(session, where)
    body = RunTaskInput(
        organization_id=owner.id, name=name, endpoint_url=endpoint, **values.given()
    )
    created = session.api.run_tasks.create(body)
    if session.json:
        session.console.json(created)
        return
    session.console.good(f"Created run task {created.name} ({created.run_task_id}).")
    session.console.hint(
        f"`sluice run-task test {created.name}` sends it a verification call,"
        f" `sluice run-task attach {created.name} WORKSPACE` has a workspace ask it."
    )


@app.command("update")
@takes_records
def update(
    run_task: RunTaskName,
    *,
    changes: RunTaskChanges,
    where: InOrganization,
    session: Session,
) -> None:
    """Change a run task; what is not given stays."""
    change = RunTaskChange(**changes.given())
    found = find_run_task(session, organization_of(session, where).id, run_task)
    changed = session.api.run_tasks.update(found.run_task_id, change)
    if session.json:
        session.console.json(changed)
        return
    session.console.good(f"Changed run task {changed.name}.")


@app.command("delete")
@takes_records
def delete(
    run_task: RunTaskName,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also where it is attached.")
    ] = False,
    where: InOrganization,
    session: Session,
) -> None:
    """Forget a run task; what it said of tasks stays."""
    found = find_run_task(session, organization_of(session, where).id, run_task)
    with force_is_an_option():
        session.api.run_tasks.delete(found.run_task_id, force=force)
    if session.json:
        session.console.json({"id": found.run_task_id, "deleted": True})
        return
    session.console.good(f"Removed run task {found.name}.")


@app.command("test")
@takes_records
def test(run_task: RunTaskName, *, where: InOrganization, session: Session) -> int:
    """Send a run task a verification call; ends with 0 where it is answered with 200."""
    found = find_run_task(session, organization_of(session, where).id, run_task)
    answered = session.api.run_tasks.test(found.run_task_id)
    if session.json:
        session.console.json(answered)
    elif answered.ok:
        session.console.good(answered.message)
    else:
        session.console.bad(answered.message)
    return ExitCode.OK if answered.ok else ExitCode.FAILED


def _signed(run_task: RunTask) -> str:
    if not run_task.hmac_key_set:
        return "no"
    return "yes, as sha512=HEX" if run_task.signature_prefix else "yes"


def _asked(run_task: RunTask, workspace_count: int) -> str:
    attached = f"where it is attached ({words.count(workspace_count, 'workspace')})"
    if not run_task.is_global:
        return attached
    stages = ", ".join(run_task.global_stages)
    return f"in all workspaces at {stages} ({run_task.global_level}), and {attached}"


add_brought(app, "sluice.run_task_commands")
