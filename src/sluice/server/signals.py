"""SIGTERM and SIGINT as events: the first asks for an orderly end, the next for a quick one."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """What was asked for so far."""

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.end_now = asyncio.Event()

    def received(self) -> None:
        """One more signal."""
        if self.end.is_set():
            self.end_now.set()
        self.end.set()


@contextmanager
def handled_signals() -> Iterator[Signals]:
    """Take signals over while the block runs (in the main thread)."""
    loop = asyncio.get_running_loop()
    signals = Signals()
    for number in _SIGNALS:
        loop.add_signal_handler(number, signals.received)
    try:
        yield signals
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
