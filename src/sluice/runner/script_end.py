"""Says how a script ended, or why it could not begin: exit code and words."""

import errno
import signal
from pathlib import Path

SIGNAL_BASE = 128


def exit_code_of(code: int) -> int:
    """An exit code as shells have it: 128 and the signal's number for what was killed."""
    return SIGNAL_BASE - code if code < 0 else code


def signal_name(number: int) -> str:
    """What people call a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def failure_of(called: str, code: int, error: str) -> str:
    """One sentence on a script that failed.

    Args:
        called: what the script is called.
        code: its exit code; negative for the signal that killed it.
        error: the line that says why, if there is one.
    """
    why = f": {error}" if error else ""
    if code < 0:
        return f"{called} was killed by {signal_name(-code)}, not by Sluice{why}"
    return f"{called} failed with exit code {code}{why}"


def start_problem(error: OSError, program: str) -> str:
    """Why a program could not be started, in words."""
    there = Path(program).is_file()
    match error.errno:
        case errno.ENOEXEC:
            return (
                f"{program} is no program, and does not begin with `#!` and the name of"
                " its interpreter"
            )
        case errno.ENOENT if there:
            return (
                f"the interpreter in the first line of {program} is not on this machine"
                " (or that line ends as on Windows)"
            )
        case errno.ENOENT:
            return f"there is no {program} on this machine"
        case errno.EACCES if there:
            return (
                f"{program} may not be run (is it executable, and its file system not"
                " mounted `noexec`?)"
            )
        case _:
            return f"{program}: {error.strerror}"
