"""`sluice audit …`: who did what to what, and whether that is still all of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.cli.groups import new_group
from sluice.cli.options import takes_records
from sluice.cli.session import Session, find_organization
from sluice.client.audit_api import AuditQuery, entry_of_line
from sluice.wire.audit_chain import Broken, ChainCheck, Link, read_link
from sluice.wire.shapes.audit import AuditEntry

app = new_group("The audit log: who did what to what.")


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
        str | None,
        typer.Option("--actor", metavar="NAME", help="Who did it, by name or id."),
    ] = None
    subject: Annotated[
        str | None,
        typer.Option("--subject", metavar="ID", help="What it was done to."),
    ] = None
    outcome: Annotated[
        str | None,
        typer.Option(
            "--outcome", metavar="OUTCOME", help="Only what was `allowed`, or `denied`."
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="IP", help="From where it was done."),
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="From then on, as 2026-11-21T10:00:00Z."
        ),
    ] = None
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Before then.")
    ] = None


@app.callback()
def _audit() -> None:
    """The audit log: who did what to what."""


@app.command("list")
@takes_records
def list_entries(
    *,
    wanted: Wanted,
    limit: Annotated[
        int, typer.Option("--limit", help="How many at most.", min=1, max=100)
    ] = 20,
    before: Annotated[
        int | None,
        typer.Option(
            "--before", metavar="NUMBER", help="Only those before this number.", min=1
        ),
    ] = None,
    session: Session,
) -> None:
    """List who did what to what, the last first."""
    found = session.api.audit.list(_query(session, wanted), limit=limit, before=before)
    if session.json:
        session.console.json(found)
        return
    if not found.entries:
        session.console.hint("The audit log has no such entries.")
        return
    now = session.clock.now()
    session.console.table(
        ["WHEN", "WHO", "DID", "TO", "OUTCOME", "FROM", "DETAIL"],
        [
            [
                words.ago(entry.at, now),
                entry.actor,
                entry.action,
                entry.subject or "-",
                entry.outcome,
                entry.address or "-",
                ", ".join(f"{name}={text}" for name, text in entry.detail.items())
                or "-",
            ]
            for entry in found.entries
        ],
    )
    if found.next is not None and found.total > len(found.entries):
        session.console.hint(
            f"{len(found.entries)} of {found.total}; --limit shows more, "
            f"--before {found.next} the next."
        )


@app.command("export")
@takes_records
def export_entries(
    *,
    wanted: Wanted,
    jsonl: Annotated[
        bool, typer.Option("--jsonl", help="As lines of JSON, the only way for now.")
    ] = True,
    after: Annotated[
        int,
        typer.Option(
            "--after",
            metavar="NUMBER",
            help="Go on behind the entry of this number, the last one that you have.",
            min=0,
        ),
    ] = 0,
    session: Session,
) -> None:
    """Write entries to stdout, the first first, with their numbers and hashes."""
    for line in session.api.audit.export(_query(session, wanted), after=after):
        session.console.line(line)


@app.command("verify")
@takes_records
def verify_entries(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(
            help="An export to check, instead of the server's log.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect",
            metavar="NUMBER:HASH",
            help="A head that was noted before: it has to stand in the log still.",
        ),
    ] = None,
    filtered: Annotated[
        bool,
        typer.Option(
            "--filtered",
            help="The file holds some entries alone: check each by itself.",
        ),
    ] = False,
    session: Session,
) -> ExitCode:
    """Check that no entry was changed, taken out or put in, and print the chain's head."""
    noted = [_expected(expect)] if expect is not None else []
    if file is not None:
        with file.open(encoding="utf-8", errors="replace") as lines:
            check = ChainCheck(*noted, from_start=False, whole=not filtered)
            return _told(session, check, _checked(check, lines))
    if filtered:
        raise InvalidInputError("--filtered is for files; name one.")
    head = session.api.audit.head()
    check = ChainCheck(*noted, Link(head.number, head.hash))
    return _told(session, check, _checked(check, session.api.audit.export()))


def _checked(check: ChainCheck, lines: Iterable[str]) -> Broken | None:
    for entry in _entries(lines):
        broken = check.take(entry)
        if broken is not None:
            return broken
    return check.end()


def _entries(lines: Iterable[str]) -> Iterator[AuditEntry]:
    return (entry_of_line(line) for line in lines if line.strip())


def _told(session: Session, check: ChainCheck, broken: Broken | None) -> ExitCode:
    """Say what was found: the head on stdout, all else on stderr."""
    console, first = session.console, check.first
    if session.json:
        console.json(
            {
                "whole": broken is None,
                "first": first,
                "head": str(check.last) if first else None,
                "broken": broken and {"number": broken.number, "what": broken.what},
            }
        )
    elif broken is not None:
        console.bad(f"Broken at entry {broken.number}: {broken.what}.")
    elif first is None:
        console.hint("There are no entries.")
    else:
        console.good(
            f"Entries {first} to {check.last.number} are as they were written."
        )
        if first > 1:
            console.hint(f"Entries before {first} are not in the file.")
        console.line(str(check.last))
    return ExitCode.OK if broken is None else ExitCode.FAILED


def _expected(text: str) -> Link:
    try:
        return read_link(text)
    except ValueError as error:
        raise InvalidInputError(f"--expect: {error}.") from None


def _query(session: Session, wanted: Wanted) -> AuditQuery:
    owner = (
        find_organization(session.api, wanted.organization).id
        if wanted.organization
        else None
    )
    return AuditQuery(
        organization_id=owner,
        action=wanted.action,
        actor=wanted.actor,
        subject=wanted.subject,
        outcome=wanted.outcome,
        address=wanted.address,
        since=wanted.since,
        until=wanted.until,
    )
