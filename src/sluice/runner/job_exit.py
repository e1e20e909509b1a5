"""Waits for the end of a phase process that may be nobody's child here."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_SECONDS = 1.0
TOLD_LOOK_SECONDS = 10.0


class JobExit:
    """The system tells of the end; where it cannot, the process is looked at again soon.

    Args:
        descriptor: becomes readable when the process ends; -1 for none.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ended = asyncio.Event()

    async def wait(self) -> None:
        """Until the process has ended, or it is time to look whether it has."""
        listening = self._descriptor >= 0 and not self._ended.is_set()
        if not listening:
            await asyncio.sleep(LOOK_SECONDS)
            return
        try:
            async with asyncio.timeout(TOLD_LOOK_SECONDS):
                await self._ended.wait()
        except TimeoutError:
            return

    def tell(self) -> None:
        """The process has ended (called by the loop)."""
        self._ended.set()
        asyncio.get_running_loop().remove_reader(self._descriptor)


@contextmanager
def job_exit(pid: int | None) -> Iterator[JobExit]:
    """Watch a process while the block runs."""
    descriptor = -1 if pid is None else _opened(pid)
    watch = JobExit(descriptor)
    if descriptor < 0:
        yield watch
        return
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, watch.tell)
    try:
        yield watch
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _opened(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
