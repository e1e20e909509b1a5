"""`sluice logs`: a task's output, stored or live."""

from pathlib import Path
from typing import Annotated

import typer

from sluice.cli import words
from sluice.cli.exit_codes import ExitCode
from sluice.cli.live import Ending, Watch, WatchOptions
from sluice.cli.options import takes_records
from sluice.cli.outcome import code_of_task, sentence
from sluice.cli.printer import Printer
from sluice.cli.pump import FramePump
from sluice.cli.session import Session
from sluice.client.stream import Link
from sluice.wire.events import Stage
from sluice.wire.resources import TERMINAL, Task
from sluice.wire.stream import Completed

# stored lines come without a pause; a pause is the head
_CAUGHT_UP_SECONDS = 1.0


@takes_records
def logs(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Id of the task.")],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep reading until the task ends.")
    ] = False,
    first: Annotated[
        int,
        typer.Option("--from", metavar="N", help="Begin at line N.", min=1),
    ] = 1,
    stage: Annotated[
        Stage | None,
        typer.Option("--stage", metavar="STAGE", help="Only this stage's lines."),
    ] = None,
    download: Annotated[
        Path | None,
        typer.Option(
            "--download", metavar="FILE", help="Save the whole log as a file instead."
        ),
    ] = None,
    session: Session,
) -> int:
    """Read a task's output: what there is so far, or with -f until it ends.

    With -f the exit code is the task's.
    """
    if download is not None:
        return _download(session, task, download)
    found = session.api.tasks.get(task)
    if follow:
        return _follow(session, found, after=first - 1, stage=stage)
    _print(session, found, after=first - 1, stage=stage)
    return ExitCode.OK


def _follow(session: Session, task: Task, *, after: int, stage: Stage | None) -> int:
    options = WatchOptions(json=session.json, after=after, stage=stage)
    watch = Watch(
        session.api, session.console, task, clock=session.clock, options=options
    )
    watched = watch.run()
    if watched.ending is Ending.DETACHED:
        return ExitCode.INTERRUPTED
    code = code_of_task(watched.task)
    tell = session.console.good if code is ExitCode.OK else session.console.bad
    tell(sentence(watched.task))
    return code


def _print(session: Session, task: Task, *, after: int, stage: Stage | None) -> None:
    """Write the lines there are now; a task that still runs is read up to its last line."""
    printer = Printer(session.console, json=session.json, stage=stage)
    with FramePump(session.api, task.id, after) as pump:
        while True:
            item = pump.take(_CAUGHT_UP_SECONDS if task.status not in TERMINAL else 60)
            if item is None:
                break
            if isinstance(item, Link):
                continue
            printer.show(item)
            if isinstance(item, Completed):
                return
    session.console.hint(
        f"The task is not over; `sluice logs -f --from {pump.last_line + 1} {task.id}` goes on."
    )


def _download(session: Session, task: str, target: Path) -> int:
    """Save the stored log; a file that is there is replaced only by a whole one."""
    draft = target.with_name(f".{target.name}.part")
    count = 0
    try:
        with draft.open("wb") as file:
            for piece in session.api.logs.download(task):
                count += file.write(piece)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    if session.json:
        session.console.json({"task_id": task, "file": str(target), "bytes": count})
    else:
        session.console.good(f"Saved {words.size(count)} to {target}.")
    return ExitCode.OK
