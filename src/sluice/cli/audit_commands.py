"""`sluice audit …`: who did what to what, for administrators."""

from dataclasses import dataclass
from typing import Annotated

import typer

from sluice.cli import words
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import Session, find_organization

app = new_group("The audit log, for administrators.")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options that say which entries are wanted."""

    organization: Annotated[
        str | None,
        typer.Option(
            "--organization",
            metavar="NAME",
            help="Only what was done in this one, by name or id; else everywhere.",
        ),
    ] = None
    action: Annotated[
        str | None,
        typer.Option(
            "--action",
            metavar="ACTION",
            help="How the action begins: `run_task.` or `keys.rotate`.",
        ),
    ] = None
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Who did it.")
    ] = None
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="ID", help="What it was done to."),
    ] = None
    limit: Annotated[
        int, typer.Option("--limit", help="How many at most.", min=1, max=100)
    ] = 20


@app.callback()
def _audit() -> None:
    """The audit log, for administrators."""


@app.command("list")
@takes_records
def list_entries(*, wanted: Wanted, session: Session) -> None:
    """List who did what to what, the last first."""
    owner = (
        find_organization(session.api, wanted.organization).id
        if wanted.organization
        else None
    )
    found = session.api.audit.list(
        organization_id=owner,
        action=wanted.action,
        actor=wanted.actor,
        subject=wanted.subject,
        limit=wanted.limit,
    )
    if session.json:
        session.console.json(found)
        return
    if not found.entries:
        session.console.hint("The audit log has no such entries.")
        return
    now = session.clock.now()
    session.console.table(
        ["WHEN", "WHO", "DID", "TO", "DETAIL"],
        [
            [
                words.ago(entry.at, now),
                entry.actor,
                entry.action,
                entry.subject,
                ", ".join(f"{name}={text}" for name, text in entry.detail.items())
                or "-",
            ]
            for entry in found.entries
        ],
    )
    if found.total > len(found.entries):
        session.console.hint(
            f"{len(found.entries)} of {found.total}; --limit shows more."
        )
