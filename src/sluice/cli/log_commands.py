"""`sluice logs`: a task's output, stored or live."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sluice.base.errors import InvalidInputError
from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.cli.following import follow_to_end
from sluice.cli.live import WatchOptions
from sluice.cli.options import takes_records
from sluice.cli.printer import Printer
from sluice.cli.session import Session
from sluice.wire.events import Stage
from sluice.wire.shapes.tasks import TERMINAL, Task

_STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Lines:
    """Options that choose lines."""

    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep reading until the task ends.")
    ] = False
    first: Annotated[
        int,
        typer.Option("--from", metavar="N", help="Begin at line N.", min=1),
    ] = 1
    stage: Annotated[
        Stage | None,
        typer.Option("--stage", metavar="STAGE", help="Only this stage's lines."),
    ] = None

    def given(self) -> list[str]:
        """The names of those that are not as they are by themselves."""
        chosen = {
            "--follow": self.follow,
            "--from": self.first > 1,
            "--stage": self.stage is not None,
        }
        return [name for name, is_given in chosen.items() if is_given]


@dataclass(frozen=True, slots=True)
class Saving:
    """Options that give the stored log as it is, instead of showing its lines."""

    download: Annotated[
        Path | None,
        typer.Option(
            "--download",
            metavar="FILE",
            help="Save the whole log as a file instead; - writes it to stdout.",
        ),
    ] = None
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="The log's bytes alone, as they are: to stdout, or with --download to FILE.",
        ),
    ] = False
    late: Annotated[
        bool,
        typer.Option(
            "--late",
            help="Output that an agent delivered after its lease had ended, instead.",
        ),
    ] = False


@takes_records
def logs(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")],
    *,
    lines: Lines,
    saving: Saving,
    session: Session,
) -> int:
    """Read a task's output: what there is so far, or with -f until it ends.

    With -f the exit code is the task's.
    """
    if saving.late:
        return _late(session, task, lines, saving)
    if saving.raw or saving.download is not None:
        return _whole(session, task, lines, saving)
    found = session.api.tasks.get(task)
    after = lines.first - 1
    if lines.follow:
        options = WatchOptions(json=session.json, after=after, stage=lines.stage)
        return follow_to_end(session, found, options)
    _print(session, found, after=after, stage=lines.stage)
    return ExitCode.OK


def _late(session: Session, task: str, lines: Lines, saving: Saving) -> int:
    """What is no part of the log because it came too late for it."""
    refused = lines.given()
    if saving.raw:
        refused.append("--raw")
    if saving.download is not None:
        refused.append("--download")
    if refused:
        raise InvalidInputError(
            f"--late shows all of what came late; leave out {' and '.join(refused)}."
        )
    found = session.api.tasks.late_output(task)
    if session.json:
        session.console.json(list(found))
        return ExitCode.OK
    if not found:
        session.console.hint("Nothing came late.")
    for kept in found:
        session.console.hint(
            f"{kept.agent_name or kept.agent_id}, received at {kept.received_at:%F %T}Z,"
            f" {kept.lines} lines ({kept.lease_id}):"
        )
        session.console.write_bytes(session.api.tasks.late_bytes(task, kept.lease_id))
    return ExitCode.OK


def _whole(session: Session, task: str, lines: Lines, saving: Saving) -> int:
    """The stored log, to stdout or into a file."""
    to_file = saving.download is not None and saving.download != _STDOUT
    refused = lines.given() + (["--json"] if session.json and not to_file else [])
    if refused:
        option = "--raw" if saving.raw else "--download"
        raise InvalidInputError(
            f"{option} gives the stored log as it is; leave out {' and '.join(refused)}."
        )
    if saving.download is not None and to_file:
        return _download(session, task, saving.download, raw=saving.raw)
    for piece in session.api.logs.download(task, raw=saving.raw):
        session.console.write_bytes(piece)
    return ExitCode.OK


def _print(session: Session, task: Task, *, after: int, stage: Stage | None) -> None:
    """Write the lines there are now."""
    printer = Printer(session.console, json=session.json, stage=stage)
    last = None
    if task.status not in TERMINAL:
        last = session.api.logs.lines_so_far(task.id)
    follower = session.api.logs.follower(task.id, after)
    if last is None or last > after:
        for frame in follower.frames():
            printer.show(frame)
            if last is not None and (follower.last_line or 0) >= last:
                break
    if last is not None:
        following = (follower.last_line or 0) + 1
        session.console.hint(
            f"The task is not over; `sluice logs -f --from {following} {task.id}` goes on."
        )


def _download(session: Session, task: str, target: Path, *, raw: bool) -> int:
    """Save the stored log; a file that is there is replaced only by a whole one."""
    if not target.parent.is_dir() or target.is_dir():
        raise InvalidInputError(f"{target} is no place for a file.")
    draft = target.with_name(f".{target.name}.part")
    count = 0
    try:
        with draft.open("wb") as file:
            for piece in session.api.logs.download(task, raw=raw):
                count += file.write(piece)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    if session.json:
        session.console.json({"task_id": task, "file": str(target), "bytes": count})
    else:
        session.console.good(f"Saved {words.size(count)} to {target}.")
    return ExitCode.OK
