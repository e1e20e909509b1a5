"""Runs one program to its end, and leaves none of its processes behind."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice.receiver.ports import ReviewError


@dataclass(frozen=True, slots=True)
class Program:
    """A program and its surroundings.

    Attributes:
        argv: program and arguments.
        directory: where it runs.
        environment: all of its environment.
        output: file that takes its standard output; None sends it to our standard error.
    """

    argv: Sequence[str]
    directory: Path
    environment: Mapping[str, str]
    output: Path | None = None


async def run_program(program: Program) -> int:
    """Its exit code; canceled, it is killed with all that it started.

    Raises:
        ReviewError: it cannot be started.
    """
    with contextlib.ExitStack() as stack:
        output = 2
        if program.output is not None:
            output = stack.enter_context(program.output.open("wb")).fileno()
        try:
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                cwd=program.directory,
                env=dict(program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                start_new_session=True,
            )
        except OSError as error:
            raise ReviewError(
                f"{program.argv[0]} cannot be started ({error.strerror})."
            ) from None
        try:
            return await process.wait()
        finally:
            # the group outlives its leader where something in it stayed
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
