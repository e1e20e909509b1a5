"""The script as a child: who gets which signal, who has the terminal, and who is reaped."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})

# The rest of the script's processes may not know what these mean, and would die of them.
_FOR_ONE = frozenset({signal.SIGUSR1, signal.SIGUSR2})


def heard() -> list[signal.Signals]:
    """The signals to pass on: all but those that we were started to ignore (`nohup`)."""
    return [one for one in FORWARDED if signal.getsignal(one) is not signal.SIG_IGN]


class Child:
    """The script's process, which leads a group of its own, from before it is there.

    Attributes:
        sent: the signals that were passed on.
        ended: it is gone.
    """

    def __init__(self) -> None:
        self.sent: set[signal.Signals] = set()
        self.ended = False
        self._pid = 0
        self._waiting: list[signal.Signals] = []
        self._lock = threading.Lock()
        self._terminal = Terminal()

    def begin(self, pid: int) -> None:
        """It runs; signals that came before are passed on now."""
        self._terminal.give(pid)
        with self._lock:
            self._pid = pid
            waiting, self._waiting = self._waiting, []
        for number in waiting:
            self.forward(number)

    def end(self) -> None:
        """It is gone, and its number may be somebody else's."""
        self._terminal.take_back()
        with self._lock:
            self.ended = True
            self._pid = 0

    def forward(self, number: signal.Signals) -> None:
        """Pass a signal on: to the whole group, as a terminal would."""
        with self._lock:
            self.sent.add(number)
            if not self._pid:
                if not self.ended:
                    self._waiting.append(number)
                return
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if number in _FOR_ONE:
                    os.kill(self._pid, number)
                else:
                    os.killpg(self._pid, number)

    def look(self) -> None:
        """Something changed about a child of ours: heed Ctrl-Z, and reap what was adopted."""
        pid = self._pid
        if pid and self._terminal.given and _has_stopped(pid):
            self._stop_too(pid)
        if os.getpid() == 1 and (pid or self.ended):
            reap_others(pid)

    def _stop_too(self, pid: int) -> None:
        """Stop as the script did, so that the shell has the terminal; then go on with it."""
        self._terminal.take_back()
        os.kill(os.getpid(), signal.SIGSTOP)
        self._terminal.give(pid)


class Terminal:
    """The terminal on standard input, if we have it to give.

    Attributes:
        given: the script has it.
    """

    def __init__(self) -> None:
        self.given = False
        self._ours = _is_ours()

    def give(self, group: int) -> None:
        """Put the script's group in the foreground, so that keys reach it and not us."""
        if not self._ours:
            return
        with _undisturbed(), contextlib.suppress(OSError):
            os.tcsetpgrp(0, group)
            self.given = True
        # it may have been stopped for reading before it had the terminal
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGCONT)

    def take_back(self) -> None:
        """Put ourselves in the foreground again."""
        if not self.given:
            return
        self.given = False
        with _undisturbed(), contextlib.suppress(OSError):
            os.tcsetpgrp(0, os.getpgrp())


def reap_others(script: int) -> None:
    """As the first process of a container: let go of adopted children that have ended.

    The script itself is left to who waits for it.
    """
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == script:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)


def _has_stopped(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG) is not None
    except ChildProcessError:
        return False


def _is_ours() -> bool:
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Who takes the terminal from the background is stopped, unless it blocks that signal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
