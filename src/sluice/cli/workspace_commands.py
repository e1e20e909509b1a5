"""`sluice workspace …`: settings and locks."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.keyboard import Interrupts, ask
from sluice.cli.labels import changed_labels, label_words
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    force_is_an_option,
    organization_of,
    wanted_organization,
)
from sluice.wire.agent import Engine
from sluice.wire.shapes.workspaces import (
    ExecutionMode,
    Workspace,
    WorkspaceInput,
    WorkspacePatch,
)

app = new_group("Workspaces and their locks.")

_ANY_POOL = "any"

Name = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="Name or id of the workspace.")
]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; shown to others.", show_default=False)
]


@dataclass(frozen=True, slots=True)
class WorkspaceSettings:
    """The settings a workspace has; what is not given stays as it is."""

    mode: Annotated[
        ExecutionMode | None,
        typer.Option("--mode", help="Whether its tasks may apply."),
    ] = None
    auto_apply: Annotated[
        bool | None,
        typer.Option(
            "--auto-apply/--no-auto-apply", help="Apply plans without asking."
        ),
    ] = None
    working_directory: Annotated[
        str | None,
        typer.Option(
            "--working-directory", metavar="DIR", help="Where in the upload to run."
        ),
    ] = None
    terraform_version: Annotated[
        str | None,
        typer.Option(
            "--terraform-version",
            metavar="VERSION",
            help="A version, a constraint such as '~> 1.11', or latest.",
        ),
    ] = None
    engine: Annotated[
        Engine | None, typer.Option("--engine", help="Which program runs.")
    ] = None
    pool: Annotated[
        str | None,
        typer.Option(
            "--pool", metavar="NAME", help="The pool whose agents serve it, or any."
        ),
    ] = None

    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="KEY=VALUE",
            help="A label that a pool must have to serve it; may be repeated.",
        ),
    ] = None

    def given(self, *, no_labels: bool = False) -> dict[str, Any]:
        """The settings that were given, by their names in the API, without the pool."""
        named = {
            "labels": changed_labels(self.label, none=no_labels),
            "execution_mode": self.mode,
            "auto_apply": self.auto_apply,
            "working_directory": self.working_directory,
            "terraform_version": self.terraform_version,
            "engine": self.engine,
        }
        return {name: value for name, value in named.items() if value is not None}


@app.command("list")
@takes_records
def list_workspaces(*, where: InOrganization, session: Session) -> None:
    """List the workspaces of an organization."""
    owner = organization_of(session, where)
    found = session.api.workspaces.list(owner.id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            f"{owner.name} has no workspaces yet; `sluice workspace create NAME` makes one, "
            "and so does `sluice plan DIR`."
        )
        return
    session.console.table(
        ["NAME", "MODE", "ENGINE", "VERSION", "LOCK", "ID"],
        [
            [
                item.name,
                _mode(item),
                item.engine,
                item.terraform_version,
                item.lock.holder if item.lock else "-",
                item.id,
            ]
            for item in found
        ],
    )


@app.command("create")
@takes_records
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    *,
    settings: WorkspaceSettings,
    where: InOrganization,
    session: Session,
) -> None:
    """Make a new workspace."""
    owner = organization_of(session, where)
    values = {"name": name, **settings.given()}
    if settings.pool is not None:
        values["pool_id"] = _pool_id(session, owner.id, settings.pool)
    created = session.api.workspaces.create(owner.id, WorkspaceInput(**values))
    if session.json:
        session.console.json(created)
        return
    session.console.good(f"Created workspace {created.name} ({created.id}).")


@app.command("show")
@takes_records
def show(workspace: Name, *, where: InOrganization, session: Session) -> None:
    """Show a workspace's settings and lock."""
    found = _workspace(session, workspace, where)
    if session.json:
        session.console.json(found)
        return
    facts = [
        ("Name", found.name),
        ("Id", found.id),
        ("Mode", _mode(found)),
        ("Engine", f"{found.engine} {found.terraform_version}"),
        ("Working directory", found.working_directory or "the upload's root"),
        ("Pool", found.pool_id or _any_pool(found)),
        ("Lock", _lock(found, session)),
        ("Created", words.ago(found.created_at, session.clock.now())),
    ]
    if found.state_diverged:
        facts.append(("State", f"diverged: {found.state_diverged}"))
    session.console.facts(facts)


@app.command("update")
@takes_records
def update(
    workspace: Name,
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="A new name.", show_default=False)
    ] = None,
    settings: WorkspaceSettings,
    no_labels: Annotated[
        bool, typer.Option("--no-labels", help="Take all labels away.")
    ] = False,
    where: InOrganization,
    session: Session,
) -> None:
    """Change a workspace's settings; what is not given stays, labels are replaced together."""
    values = settings.given(no_labels=no_labels)
    if name is not None:
        values["name"] = name
    found = _workspace(session, workspace, where)
    if settings.pool is not None:
        values["pool_id"] = _pool_id(session, found.organization_id, settings.pool)
    if not values:
        raise InvalidInputError("Nothing to change was given; see --help.")
    changed = session.api.workspaces.update(found.id, WorkspacePatch(**values))
    if session.json:
        session.console.json(changed)
        return
    session.console.good(f"Changed workspace {changed.name}.")


@app.command("delete")
@takes_records
def delete(
    workspace: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Also where its state has resources; they stay, unmanaged.",
        ),
    ] = False,
    where: InOrganization,
    session: Session,
) -> None:
    """Remove a workspace with its variables, tasks and state."""
    found = _workspace(session, workspace, where)
    if not yes:
        _be_sure(session, found)
    with force_is_an_option():
        session.api.workspaces.delete(found.id, force=force)
    if session.json:
        session.console.json({"id": found.id, "deleted": True})
        return
    session.console.good(f"Removed workspace {found.name}.")


@app.command("lock")
@takes_records
def lock(
    workspace: Name, *, reason: Reason = "", where: InOrganization, session: Session
) -> None:
    """Take a workspace's lock, so that no task changes anything."""
    found = _workspace(session, workspace, where)
    locked = session.api.workspaces.lock(found.id, reason)
    _tell_lock(session, locked, f"Locked workspace {locked.name}.")


@app.command("unlock")
@takes_records
def unlock(workspace: Name, *, where: InOrganization, session: Session) -> None:
    """Release your own lock on a workspace."""
    found = _workspace(session, workspace, where)
    freed = session.api.workspaces.unlock(found.id)
    _tell_lock(session, freed, f"Unlocked workspace {freed.name}.")


@app.command("force-unlock")
@takes_records
def force_unlock(
    workspace: Name, *, reason: Reason = "", where: InOrganization, session: Session
) -> None:
    """Release a workspace's lock, whoever holds it."""
    found = _workspace(session, workspace, where)
    holder = f", which {found.lock.holder} held" if found.lock else ""
    freed = session.api.workspaces.force_unlock(found.id, reason)
    _tell_lock(session, freed, f"Unlocked workspace {freed.name}{holder}.")


def _tell_lock(session: Session, workspace: Workspace, text: str) -> None:
    if session.json:
        session.console.json(workspace)
        return
    session.console.good(text)


def _be_sure(session: Session, workspace: Workspace) -> None:
    console = session.console
    if session.json or not console.interactive:
        raise InvalidInputError(
            f"Removing {workspace.name} needs --yes where there is no terminal to ask at."
        )
    console.say(
        f"This removes workspace {workspace.name} with its variables, tasks, logs and state. "
        "It cannot be undone."
    )
    with Interrupts() as interrupts:
        answer = ask(
            console, "Type the workspace's name to go on: ", interrupts=interrupts
        )
    if answer != workspace.name:
        raise InvalidInputError("Nothing was removed: the name was not repeated.")


def _workspace(session: Session, wanted: str, where: InOrganization) -> Workspace:
    return find_workspace(
        session.api, wanted, organization=wanted_organization(session, where)
    )


def _pool_id(session: Session, organization_id: str, wanted: str) -> str | None:
    if wanted == _ANY_POOL:
        return None
    from sluice.cli.pool_commands import find_pool

    return find_pool(session.api, organization_id, wanted).id


def _any_pool(workspace: Workspace) -> str:
    if not workspace.labels:
        return "any"
    return f"any with {label_words(workspace.labels)}"


def _mode(workspace: Workspace) -> str:
    if workspace.execution_mode is ExecutionMode.PLAN_ONLY:
        return "plan only"
    return (
        "plan and apply, without asking" if workspace.auto_apply else "plan and apply"
    )


def _lock(workspace: Workspace, session: Session) -> str:
    held = workspace.lock
    if held is None:
        return "free"
    reason = f": {held.reason}" if held.reason else ""
    return f"{held.holder}, {words.ago(held.locked_at, session.clock.now())}{reason}"
