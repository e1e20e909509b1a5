"""Exit codes of the `sluice` command: stable, so that scripts may rely on them."""

from enum import IntEnum

from sluice.base.errors import SluiceError


class ExitCode(IntEnum):
    """What a command's exit code means; `docs/reference/exit-codes.md` repeats it."""

    OK = 0
    """The command did what was asked; a followed task succeeded."""

    FAILED = 1
    """The task failed, a check of `sluice doctor` failed, or the request failed for a
    reason that has no code of its own."""

    USAGE = 2
    """The command line, a file it names or the input it sends cannot be taken."""

    NOT_APPLIED = 3
    """The task was canceled, its plan discarded, or left waiting for confirmation."""

    NOT_ALLOWED = 4
    """Not signed in, or signed in without the permission."""

    NOT_FOUND = 5
    """There is no such task, workspace, variable, state version or pool."""

    CONFLICT = 6
    """The thing is in a state in which this cannot be done, or its lock is held."""

    UNREACHABLE = 7
    """No answer came from the server, or it said that it cannot answer now."""

    HAS_CHANGES = 8
    """With `--detailed-exitcode`: the plan succeeded and has changes."""

    INTERNAL = 70
    """A fault in the command itself; `SLUICE_DEBUG=1` shows where."""

    INTERRUPTED = 130
    """Ended by Ctrl-C; a task that was followed goes on on the server."""

    BROKEN_PIPE = 141
    """Whoever read the output stopped reading (`sluice logs … | head`)."""


_BY_STATUS = {
    400: ExitCode.USAGE,
    401: ExitCode.NOT_ALLOWED,
    403: ExitCode.NOT_ALLOWED,
    404: ExitCode.NOT_FOUND,
    409: ExitCode.CONFLICT,
    410: ExitCode.NOT_FOUND,
    413: ExitCode.USAGE,
    422: ExitCode.USAGE,
    423: ExitCode.CONFLICT,
    429: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
}


def code_of_error(error: SluiceError) -> ExitCode:
    """The exit code of a named error."""
    return _BY_STATUS.get(error.status, ExitCode.FAILED)
