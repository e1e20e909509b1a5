"""Follows a task that is already there to its end, for the commands that only watch."""

from sluice.cli.exit_codes import ExitCode
from sluice.cli.live import Ending, Watch, WatchOptions
from sluice.cli.outcome import after_gate, code_of_task, sentence
from sluice.cli.session import Session
from sluice.wire.shapes.tasks import Task


def follow_to_end(session: Session, task: Task, options: WatchOptions) -> int:
    """Watch a task until it ends or the person leaves; the exit code.

    Raises:
        SluiceError: the server refuses, or stays away too long.
    """
    watch = Watch(
        session.api, session.console, task, clock=session.clock, options=options
    )
    watched = watch.run()
    if watched.ending is Ending.DETACHED:
        return ExitCode.INTERRUPTED
    code = code_of_task(watched.task)
    tell = session.console.good if code is ExitCode.OK else session.console.bad
    tell(sentence(watched.task))
    if found := after_gate(watched.task):
        session.console.hint(found)
    return code
