"""Listens to the person at the terminal: Ctrl-C as a fact to act on, and answers to questions."""

import os
import select
import signal
import termios
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from sluice.cli.console import Console

_LOOK_SECONDS = 0.2


class Interrupts:
    """Counts Ctrl-C while it is open, instead of raising wherever the program stands.

    Outside the main thread nothing is counted: there the process's owner listens.
    """

    def __init__(self) -> None:
        self.count = 0
        self._before: object = None

    def __enter__(self) -> Self:
        """Begin to count."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave Ctrl-C as it was before."""
        if callable(self._before) or isinstance(self._before, signal.Handlers):
            signal.signal(signal.SIGINT, self._before)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.count += 1


def ask(
    console: Console,
    question: str,
    *,
    interrupts: Interrupts,
    wanted: Callable[[], bool] = lambda: True,
) -> str | None:
    """One line from the terminal; None at its end, after Ctrl-C, or when no longer ``wanted``.

    What was typed before the question stood there is no answer: it is dropped. A caller that
    must tell the ends apart looks at ``interrupts.count`` and at what it waited for.
    """
    before = interrupts.count
    source = console.stdin.fileno()
    if os.isatty(source):
        termios.tcflush(source, termios.TCIFLUSH)
    console.prompt(question)
    while interrupts.count == before and wanted():
        ready, _, _ = select.select([source], [], [], _LOOK_SECONDS)
        if ready:
            answer = os.read(source, 4096)
            if not answer:
                break
            return answer.decode(errors="replace").splitlines()[0].strip()
    # the cursor stands behind the question
    console.prompt("\n")
    return None
