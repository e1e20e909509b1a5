"""`sluice policy …`: rules in Rego that plans have to pass."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sluice.base.errors import InvalidInputError, NotFoundError
from sluice.cli import ansi, words
from sluice.cli.exit_codes import ExitCode
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import (
    InOrganization,
    Session,
    find_workspace,
    organization_of,
    wanted_organization,
)
from sluice.wire.run_task import EnforcementLevel
from sluice.wire.shapes.policies import (
    PolicyCheck,
    PolicyCheckInput,
    PolicyInfo,
    PolicyInput,
    PolicyMessage,
)

app = new_group("Policies: rules in Rego that plans have to pass.")

PolicyName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name (or id) of the policy.")
]


@dataclass(frozen=True, slots=True)
class OfOwner:
    """The options that say whose policies are meant."""

    workspace: Annotated[
        str | None,
        typer.Option(
            "--workspace",
            metavar="NAME",
            help="Policies of this workspace, instead of the whole organization's.",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class PolicyRules:
    """What a policy has beside its text; what is not given stays as it is."""

    mandatory: Annotated[
        bool | None,
        typer.Option(
            "--mandatory/--advisory",
            help="Whether a failure stops the task; a new policy is advisory.",
        ),
    ] = None
    enabled: Annotated[
        bool | None,
        typer.Option("--enabled/--disabled", help="Whether new tasks have to pass it."),
    ] = None
    description: Annotated[
        str | None,
        typer.Option("--description", help="What it is for.", show_default=False),
    ] = None

    def given(self) -> dict[str, Any]:
        """The rules that were given, by their names in the API."""
        level = None
        if self.mandatory is not None:
            level = EnforcementLevel.ADVISORY
            if self.mandatory:
                level = EnforcementLevel.MANDATORY
        named = {
            "level": level,
            "enabled": self.enabled,
            "description": self.description,
        }
        return {name: value for name, value in named.items() if value is not None}


@app.command("list")
@takes_records
def list_policies(*, of: OfOwner, where: InOrganization, session: Session) -> None:
    """List an organization's policies, or all that hold in a workspace."""
    found = session.api.policies.list(**_owner(session, of, where))
    if session.json:
        session.console.json(found)
        return
    if not found:
        session.console.hint(
            "There are no policies yet; `sluice policy set NAME FILE` makes one."
        )
        return
    now = session.clock.now()
    session.console.table(
        ["NAME", "LEVEL", "HOLDS IN", "CHANGED", "ID"],
        [
            [
                item.name if item.enabled else f"{item.name} (off)",
                item.level.value,
                item.workspace_id or "all workspaces",
                words.ago(item.updated_at, now),
                item.id,
            ]
            for item in found
        ],
    )


@app.command("set")
@takes_records
def set_policy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Its text, in Rego.")],
    *,
    rules: PolicyRules,
    of: OfOwner,
    where: InOrganization,
    session: Session,
) -> None:
    """Make a policy from a file, or replace the one of this name."""
    owner = _owner(session, of, where)
    values = {"name": name, "source": _text(file), **rules.given()}
    old = _own(session, owner, name)
    if old is None:
        kept = session.api.policies.create(PolicyInput(**values), **owner)
    else:
        before = {
            "name": old.name,
            "description": old.description,
            "level": old.level,
            "enabled": old.enabled,
        }
        body = PolicyInput(**{**before, **values, "name": old.name})
        kept = session.api.policies.replace(old.id, body)
    if session.json:
        session.console.json(kept)
        return
    done = "Made" if old is None else "Replaced"
    session.console.good(f"{done} the {kept.level} policy {kept.name} ({kept.id}).")


@app.command("show")
@takes_records
def show(
    policy: PolicyName, *, of: OfOwner, where: InOrganization, session: Session
) -> None:
    """Show a policy's text."""
    found = session.api.policies.get(_find(session, of, where, policy).id)
    if session.json:
        session.console.json(found)
        return
    session.console.text(found.source)


@app.command("delete")
@takes_records
def delete(
    policy: PolicyName, *, of: OfOwner, where: InOrganization, session: Session
) -> None:
    """Forget a policy; what it said of tasks stays."""
    found = _find(session, of, where, policy)
    session.api.policies.delete(found.id)
    if session.json:
        session.console.json({"id": found.id, "deleted": True})
        return
    session.console.good(f"Removed the policy {found.name}.")


@dataclass(frozen=True, slots=True)
class TriedOn:
    """What a policy is tried on."""

    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            help="A plan as `terraform show -json` writes it.",
        ),
    ] = None
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="ID", help="A task whose plan is stored."),
    ] = None
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="A text to try instead of the policy's own.",
        ),
    ] = None

    def body(self) -> PolicyCheckInput:
        """The request.

        Raises:
            InvalidInputError: neither a plan nor a task is named, or both.
        """
        if (self.plan is None) == (self.task is None):
            raise InvalidInputError(
                "Say what to try the policy on: either --plan FILE or --task ID."
            )
        return PolicyCheckInput(
            plan=None if self.plan is None else _plan(self.plan),
            task_id=self.task,
            source=None if self.file is None else _text(self.file),
        )


@app.command("check")
@takes_records
def check(
    policy: PolicyName,
    *,
    on: TriedOn,
    of: OfOwner,
    where: InOrganization,
    session: Session,
) -> int:
    """Try a policy on a plan; exit code 1 where it fails or cannot be judged."""
    body = on.body()
    found = _find(session, of, where, policy)
    said = session.api.policies.check(found.id, body)
    if session.json:
        session.console.json(said)
    else:
        _show(session, found, said)
    return ExitCode.OK if said.status == "passed" else ExitCode.FAILED


def _show(session: Session, policy: PolicyInfo, said: PolicyCheck) -> None:
    for item in said.messages:
        session.console.line(_line(item))
    if said.left_out:
        session.console.hint(f"{said.left_out} more messages are left out.")
    if said.status == "passed":
        session.console.good(f"{policy.name} passed.")
    elif said.status == "failed":
        session.console.bad(f"{policy.name} failed.")
    else:
        session.console.bad(f"{policy.name} could not be judged: {said.error}.")


def _line(item: PolicyMessage) -> str:
    severity = f" [{item.severity}]" if item.severity else ""
    link = f" ({item.url})" if item.url else ""
    return ansi.words(f"{item.kind}{severity}: {item.message}{link}")


# --- which one -------------------------------------------------------------------


def _owner(session: Session, of: OfOwner, where: InOrganization) -> dict[str, str]:
    """The parameter that names the owner."""
    if of.workspace is None:
        return {"organization_id": organization_of(session, where).id}
    organization = wanted_organization(session, where)
    found = find_workspace(session.api, of.workspace, organization=organization)
    return {"workspace_id": found.id}


def _find(
    session: Session, of: OfOwner, where: InOrganization, wanted: str
) -> PolicyInfo:
    owner = _owner(session, of, where)
    known = session.api.policies.list(**owner)
    # a workspace's own come last, and hide the organization's of the same name
    for policy in reversed(known):
        if wanted in {policy.name, policy.id}:
            return policy
    names = ", ".join(policy.name for policy in known) or "none"
    raise NotFoundError(f"There is no policy {wanted!r}; there is {names}.")


def _own(session: Session, owner: dict[str, str], name: str) -> PolicyInfo | None:
    workspace_id = owner.get("workspace_id")
    for policy in session.api.policies.list(**owner):
        if policy.workspace_id == workspace_id and name in {policy.name, policy.id}:
            return policy
    return None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is no text in UTF-8.") from None


def _plan(path: Path) -> dict[str, Any]:
    try:
        plan = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{path} is no JSON: {error}.") from None
    if not isinstance(plan, dict):
        raise InvalidInputError(
            f"{path} is no plan; write one by `terraform show -json PLAN`."
        )
    return plan
