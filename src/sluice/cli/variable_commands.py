"""`sluice variable …`: values for a workspace's tasks."""

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    wanted_organization,
)
from sluice.wire.shapes.workspaces import (
    Variable,
    VariableCategory,
    VariableInput,
    VariablePatch,
    Workspace,
)

app = new_group("Variables of a workspace.")

Name = Annotated[
    str, typer.Argument(metavar="WORKSPACE", help="Name or id of the workspace.")
]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The variable's name.")]
Env = Annotated[
    bool, typer.Option("--env", help="An environment variable, not terraform's.")
]


@dataclass(frozen=True, slots=True)
class SetOptions:
    """How a variable is kept and passed on; flags that are absent leave a present one as it is."""

    env: Env = False
    hcl: Annotated[
        bool, typer.Option("--hcl", help="The value is an expression, not text.")
    ] = False
    sensitive: Annotated[
        bool, typer.Option("--sensitive", help="Keep it sealed; never show it again.")
    ] = False
    description: Annotated[
        str | None,
        typer.Option("--description", help="What it is for.", show_default=False),
    ] = None

    def changes(self) -> dict[str, object]:
        """What of a present variable is to change, besides its value."""
        wanted = {
            "hcl": self.hcl or None,
            "sensitive": self.sensitive or None,
            "description": self.description,
        }
        return {name: value for name, value in wanted.items() if value is not None}


@app.command("list")
@takes_records
def list_variables(workspace: Name, *, where: InOrganization, session: Session) -> None:
    """List variables; sensitive values are never shown."""
    owner = _workspace(session, workspace, where)
    found = session.api.variables.list(owner.id)
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            f"{owner.name} has no variables; `sluice variable set {owner.name} KEY VALUE` sets one."
        )
        return
    now = session.clock.now()
    session.console.table(
        ["KEY", "KIND", "VALUE", "SET"],
        [
            [item.key, _kind(item), _shown(item), words.ago(item.updated_at, now)]
            for item in found
        ],
    )


@app.command("set")
@takes_records
def set_variable(
    workspace: Name,
    key: Key,
    value: Annotated[
        str, typer.Argument(metavar="VALUE", help="The value; - reads it from stdin.")
    ],
    *,
    options: SetOptions,
    where: InOrganization,
    session: Session,
) -> None:
    """Set a variable, new or present."""
    owner = _workspace(session, workspace, where)
    text = _from_stdin() if value == "-" else value
    category = VariableCategory.ENV if options.env else VariableCategory.TERRAFORM
    present = _find(session.api.variables.list(owner.id), key, category)
    if present is None:
        body = VariableInput(
            key=key,
            value=text,
            category=category,
            hcl=options.hcl,
            sensitive=options.sensitive,
            description=options.description or "",
        )
        stored = session.api.variables.create(owner.id, body)
    else:
        patch = VariablePatch(**options.changes(), value=text)
        stored = session.api.variables.update(owner.id, present.id, patch)
    if session.json:
        session.console.json(stored)
        return
    verb = "Set" if present is None else "Changed"
    session.console.good(f"{verb} {_kind(stored)} variable {key} of {owner.name}.")


@app.command("delete")
@takes_records
def delete(
    workspace: Name,
    key: Key,
    *,
    env: Env = False,
    where: InOrganization,
    session: Session,
) -> None:
    """Remove a variable."""
    owner = _workspace(session, workspace, where)
    category = VariableCategory.ENV if env else VariableCategory.TERRAFORM
    present = _find(session.api.variables.list(owner.id), key, category)
    if present is None:
        kind = "environment" if env else "terraform"
        raise NotFoundError(
            f"{owner.name} has no {kind} variable {key!r}; `sluice variable list {owner.name}` "
            "shows those there are."
        )
    session.api.variables.delete(owner.id, present.id)
    if session.json:
        session.console.json({"id": present.id, "deleted": True})
        return
    session.console.good(f"Removed {_kind(present)} variable {key} of {owner.name}.")


def _find(
    variables: list[Variable], key: str, category: VariableCategory
) -> Variable | None:
    same = (item for item in variables if item.key == key)
    return next((item for item in same if item.category is category), None)


def _from_stdin() -> str:
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            "The value on stdin is no UTF-8 text; encode it, for instance with base64."
        ) from error
    # `echo value | sluice variable set … -` adds one newline that nobody means
    return text.removesuffix("\n").removesuffix("\r")


def _workspace(session: Session, wanted: str, where: InOrganization) -> Workspace:
    organization = wanted_organization(session, where)
    return find_workspace(session.api, wanted, organization=organization)


def _kind(variable: Variable) -> str:
    kind = "environment" if variable.category is VariableCategory.ENV else "terraform"
    return f"{kind} (HCL)" if variable.hcl else kind


def _shown(variable: Variable) -> str:
    if variable.value is None:
        return "(sensitive)"
    first, *more = variable.value.splitlines() or [""]
    return f"{first[:60]}…" if more or len(first) > 60 else first
