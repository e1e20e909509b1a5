"""`sluice state …`: a workspace's state and its versions."""

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    force_is_an_option,
    wanted_organization,
)
from sluice.wire.shapes.states import OutputValue, StateVersion
from sluice.wire.shapes.workspaces import Workspace

app = new_group("Read, store and roll back a workspace's state.")

Name = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="Name or id of the workspace.")
]
Serial = Annotated[
    str | None,
    typer.Option(
        "--version",
        metavar="ID|SERIAL",
        help="A version by id or serial number.",
        show_default="the newest",
    ),
]
_PAGE = 100


class _Resource(msgspec.Struct, frozen=True):
    type: str
    name: str
    mode: str = "managed"
    module: str = ""
    instances: list[object] = []

    @property
    def address(self) -> str:
        """The address, without the keys of single instances."""
        data = "data." if self.mode == "data" else ""
        module = f"{self.module}." if self.module else ""
        return f"{module}{data}{self.type}.{self.name}"


class _State(msgspec.Struct, frozen=True):
    resources: list[_Resource] = []


@app.command("list")
@takes_records
def list_versions(
    workspace: Name,
    *,
    limit: Annotated[
        int, typer.Option("--limit", help="How many at most.", min=1, max=_PAGE)
    ] = 20,
    where: InOrganization,
    session: Session,
) -> None:
    """List a workspace's state versions, newest first."""
    owner = _workspace(session, workspace, where)
    found = session.api.states.list(owner.id, limit=limit)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(f"{owner.name} has no state yet; an apply makes it.")
        return
    now = session.clock.now()
    session.console.table(
        ["SERIAL", "RESOURCES", "SIZE", "BY", "STORED", "ID"],
        [
            [
                str(item.serial),
                str(item.resource_count) if item.size_bytes else "deleted",
                words.size(item.size_bytes),
                _by(item),
                words.ago(item.created_at, now),
                item.id,
            ]
            for item in found
        ],
    )


@app.command("show")
@takes_records
def show(
    workspace: Name,
    *,
    version: Serial = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Show a state version and the resources in it."""
    found = _version(session, _workspace(session, workspace, where), version)
    if session.json:
        session.console.json(found)
        return
    resources = _resources(session.api.states.download(found.id))
    session.console.facts(
        [
            ("Id", found.id),
            ("Serial", str(found.serial)),
            ("Lineage", found.lineage),
            ("Written by", f"terraform {found.terraform_version}"),
            (
                "Stored",
                f"by {_by(found)}, {words.ago(found.created_at, session.clock.now())}",
            ),
            ("Size", words.size(found.size_bytes)),
            ("SHA-256", found.sha256),
        ]
    )
    session.console.line()
    session.console.table(
        ["RESOURCE", "INSTANCES"],
        [[item.address, str(len(item.instances))] for item in resources],
    )


@app.command("pull")
@takes_records
def pull(
    workspace: Name,
    *,
    version: Serial = None,
    where: InOrganization,
    session: Session,
) -> None:
    """Write a state to stdout, byte for byte as terraform wrote it."""
    found = _version(session, _workspace(session, workspace, where), version)
    content = session.api.states.download(found.id)
    session.console.write_bytes(content)


@app.command("push")
@takes_records
def push(
    workspace: Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A state file; - reads stdin.")
    ],
    *,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also a state of another lineage or older serial."
        ),
    ] = False,
    where: InOrganization,
    session: Session,
) -> None:
    """Store a state file as the newest version."""
    owner = _workspace(session, workspace, where)
    content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    with force_is_an_option():
        stored = session.api.states.push(owner.id, content, force=force)
    _stored(session, stored, f"Stored state serial {stored.serial} of {owner.name}")


@app.command("rollback")
@takes_records
def rollback(
    workspace: Name,
    version: Annotated[
        str, typer.Argument(metavar="ID|SERIAL", help="The version to go back to.")
    ],
    *,
    where: InOrganization,
    session: Session,
) -> None:
    """Make an old state the newest one again; the versions between are kept."""
    owner = _workspace(session, workspace, where)
    old = _version(session, owner, version)
    stored = session.api.states.rollback(owner.id, old.id)
    text = f"Stored serial {old.serial} of {owner.name} again as serial {stored.serial}"
    _stored(session, stored, text)


@app.command("outputs")
@takes_records
def outputs(workspace: Name, *, where: InOrganization, session: Session) -> None:
    """Show the outputs of the newest state; sensitive values are never shown."""
    owner = _workspace(session, workspace, where)
    found = session.api.states.outputs(owner.id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(f"The state of {owner.name} has no outputs.")
        return
    session.console.facts((item.name, _value(item)) for item in found)


def _version(session: Session, owner: Workspace, wanted: str | None) -> StateVersion:
    """The version with this id or serial; the newest where none is wanted."""
    if wanted is not None and not wanted.isdigit():
        return session.api.states.get(wanted)
    offset = 0
    while True:
        page = session.api.states.list(owner.id, limit=_PAGE, offset=offset)
        for version in page:
            if wanted is None or version.serial == int(wanted):
                return version
        if len(page) < _PAGE:
            break
        offset += _PAGE
    if wanted is None:
        raise NotFoundError(f"{owner.name} has no state yet; an apply makes it.")
    raise NotFoundError(
        f"{owner.name} has no state of serial {wanted}; `sluice state list {owner.name}` "
        "shows those there are."
    )


def _resources(content: bytes) -> list[_Resource]:
    try:
        return msgspec.json.decode(content, type=_State).resources
    except msgspec.DecodeError as error:
        raise InvalidInputError(
            f"The state is not in terraform's form: {error}."
        ) from error


def _stored(session: Session, stored: StateVersion, text: str) -> None:
    if session.json:
        session.console.json(stored)
        return
    session.console.good(f"{text} ({stored.id}).")


def _workspace(session: Session, wanted: str, where: InOrganization) -> Workspace:
    organization = wanted_organization(session, where)
    return find_workspace(session.api, wanted, organization=organization)


def _by(version: StateVersion) -> str:
    return version.task_id or version.created_by


def _value(output: OutputValue) -> str:
    if output.sensitive:
        return "(sensitive)"
    if isinstance(output.value, str) and output.value.isprintable():
        return output.value
    return msgspec.json.encode(output.value).decode()
