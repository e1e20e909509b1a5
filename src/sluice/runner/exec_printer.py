"""Prints a script's output byte for byte, as soon as it comes, without holding the script up
for longer than whoever reads it does.
"""

import contextlib
import os
import select
import threading
from collections import deque

from sluice.wire.chunk import Source

HELD_BYTES = 256 * 1024

_DESCRIPTORS = {Source.STDOUT: 1, Source.STDERR: 2}


class Printer:
    """Writes to standard output and error from a thread of its own, in one order.

    Whoever does not read makes the script wait, as in any pipe; whoever has gone away does
    not: what cannot be printed any more is still sent and stored. Use with `with`; leaving
    waits until everything is out, or `abandon` is called.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[int, bytes]] = deque()
        self._held = 0
        self._broken: set[int] = set()
        self._ending = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Printer":
        """Begin to print."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Wait until everything is out."""
        self.finish()

    @property
    def behind(self) -> bool:
        """Whether so much waits that no more should come."""
        return self._held > HELD_BYTES

    def take(self, source: Source, data: bytes) -> None:
        """Print output of the script."""
        self._put(_DESCRIPTORS[source], data)

    def say(self, text: str) -> None:
        """Print a line of our own on standard error."""
        line = f"sluice: {' '.join(text.split())}\n"
        self._put(2, line.encode("utf-8", "replace"))

    def abandon(self) -> None:
        """Print no more; whatever waits is dropped."""
        with self._changed:
            self._broken |= {1, 2}
            self._queue.clear()
            self._held = 0
            self._ending = True
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything so far is out, or nothing can be printed any more."""
        with self._changed:
            while self._held and not {1, 2} <= self._broken:
                self._changed.wait()

    def finish(self) -> None:
        """Wait until everything is out, and print no more."""
        self.flush()
        with self._changed:
            self._ending = True
            self._changed.notify_all()

    def _put(self, descriptor: int, data: bytes) -> None:
        with self._changed:
            if descriptor not in self._broken:
                self._queue.append((descriptor, data))
                self._held += len(data)
                self._changed.notify_all()

    def _run(self) -> None:
        while (item := self._next()) is not None:
            descriptor, data = item
            if descriptor not in self._broken:
                self._write(descriptor, data)
            with self._changed:
                self._held = max(0, self._held - len(data))
                self._changed.notify_all()

    def _next(self) -> tuple[int, bytes] | None:
        with self._changed:
            while not self._queue and not self._ending:
                self._changed.wait()
            return self._queue.popleft() if self._queue else None

    def _write(self, descriptor: int, data: bytes) -> None:
        view = memoryview(data)
        while view and descriptor not in self._broken:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                # somebody who shares it made it so; the wait is theirs
                with contextlib.suppress(OSError):
                    select.select([], [descriptor], [], 0.2)
            except OSError:
                self._broken.add(descriptor)
