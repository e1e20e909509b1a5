"""Runs a program and takes its output: block reads, masked, cut into chunks, in order."""

import contextlib
import fcntl
import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sluice.base.clock import Clock, to_micros
from sluice.runner.cancel_ladder import Ladder, explain, next_signal, signalled
from sluice.runner.line_cutter import LineCutter
from sluice.runner.masker import Masker, Secrets
from sluice.runner.phase_dir import CancelRequest
from sluice.wire.chunk import Chunk, Kind, Source

PIPE_BYTES = 1024 * 1024
READ_BYTES = 192 * 1024
# A process that writes line by line is read in larger blocks when we wait a little.
COALESCE_SECONDS = 0.005
BUSY_BYTES = 128 * 1024
PARTIAL_LINE_SECONDS = 0.1
LOOK_SECONDS = 0.2
# Who can be nudged need not look so often: in vain that costs more than all the rest.
NUDGED_LOOK_SECONDS = 0.5
BEHIND_SECONDS = 0.02


class Sink(Protocol):
    """Where captured chunks go (the spool)."""

    def append(self, chunks: Sequence[Chunk]) -> None:
        """Keep these chunks, in order."""
        ...


class Surroundings(Protocol):
    """What a capture asks and tells while it goes on."""

    def cancel_request(self) -> CancelRequest | None:
        """The wish that the program stop, if there is one."""
        ...

    def note(self, text: str) -> None:
        """Say something to the reader of the log."""
        ...


class Tap(Protocol):
    """Sees a program's output as it came, before it is masked."""

    @property
    def behind(self) -> bool:
        """Whether it can take no more now; then the program waits, as for any reader."""
        ...

    def take(self, source: Source, data: bytes) -> None:
        """Take the next bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run.

    Attributes:
        argv: program and arguments.
        cwd: directory to run in.
        environment: its whole environment.
        stdout_file: takes standard output instead of the log (for machine output).
        stdin: descriptor of its standard input; None for this process's own.
    """

    argv: Sequence[str]
    cwd: Path
    environment: Mapping[str, str]
    stdout_file: Path | None = None
    stdin: int | None = subprocess.DEVNULL


@dataclass(frozen=True, slots=True)
class Graces:
    """How long a program may take to stop, and others to let go of its output (seconds)."""

    interrupt: float
    terminate: float
    drain: float


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: exit code (negative: by that signal), and whether it was told to."""

    code: int
    canceled: bool


@dataclass(slots=True)
class _Stream:
    """One pipe with what stands between it and the sink."""

    descriptor: int
    source: Source
    masker: Masker
    cutter: LineCutter = field(default_factory=LineCutter)
    last_read: float = 0.0


class Capture:
    """Runs programs one after another, each with its output going to one sink.

    Args:
        sink: where chunks go.
        secrets: what to mask.
        clock: for capture times and graces.
        surroundings: asked for a wish to stop, told what happens.
        graces: how long things may take.
        nudge: a descriptor that becomes readable when there is a wish to stop; -1 for none.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        secrets: Secrets,
        clock: Clock,
        surroundings: Surroundings,
        graces: Graces,
        nudge: int = -1,
    ) -> None:
        self.sink = sink
        self.secrets = secrets
        self.clock = clock
        self.surroundings = surroundings
        self.graces = graces
        self.nudge = nudge

    def run(
        self,
        command: Command,
        *,
        on_stderr: Callable[[bytes], None] | None = None,
        on_start: Callable[[int], None] | None = None,
        tap: Tap | None = None,
    ) -> Ended:
        """Run a program to its end; all its output is in the sink when this returns.

        Args:
            command: what to run.
            on_stderr: sees standard error too, masked.
            on_start: told the process's id, before anything is read.
            tap: sees all output, unmasked.

        Raises:
            OSError: the program could not be started.
        """
        with _start(command, self.secrets) as (process, streams):
            if on_start is not None:
                on_start(process.pid)
            return _Run(self, process, streams, on_stderr, tap).to_end()


class _Run:
    """One program while it runs. Reads never wait for anything but the program."""

    def __init__(
        self,
        capture: Capture,
        process: subprocess.Popen[bytes],
        streams: list[_Stream],
        on_stderr: Callable[[bytes], None] | None,
        tap: Tap | None,
    ) -> None:
        self._sink = capture.sink
        self._clock = capture.clock
        self._around = capture.surroundings
        self._graces = capture.graces
        self._nudge = capture.nudge
        self._process = process
        self._streams = streams
        self._on_stderr = on_stderr
        self._tap = tap
        self._ladder = Ladder(capture.graces.interrupt, capture.graces.terminate)
        self._code: int | None = None
        self._exited_at = 0.0
        self._read_at = 0.0
        self._looked_at = 0.0
        self._busy = True
        self._selector = selectors.DefaultSelector()
        self._exit = select.poll()

    def to_end(self) -> Ended:
        """Read until the program is gone and its output closed."""
        with self._selector, _exit_descriptor(self._process.pid) as exit_descriptor:
            for stream in self._streams:
                self._selector.register(stream.descriptor, selectors.EVENT_READ, stream)
            if exit_descriptor >= 0:
                self._selector.register(exit_descriptor, selectors.EVENT_READ, None)
                self._exit.register(exit_descriptor, select.POLLIN)
            if self._nudge >= 0:
                self._selector.register(self._nudge, selectors.EVENT_READ, None)
            while self._streams or self._code is None:
                self._round(exit_descriptor)
        return Ended(self._code, canceled=self._ladder.sent is not None)

    def _round(self, exit_descriptor: int) -> None:
        self._coalesce()
        ready = self._ready(exit_descriptor)
        self._read([key.data for key, _ in ready if key.data is not None])
        self._flush_partial_lines()
        now = self._clock.monotonic()
        if self._code is None and self._has_exited(ready, exit_descriptor):
            self._exited_at = now
        if self._nudged(ready) or now - self._looked_at >= LOOK_SECONDS / 2:
            self._looked_at = now
            self._heed_cancel(now)
            self._give_up_draining(now)

    def _nudged(self, ready: list[tuple[selectors.SelectorKey, int]]) -> bool:
        """Whether somebody says that there is a wish to stop."""
        if not any(key.fd == self._nudge for key, _ in ready):
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._nudge, PIPE_BYTES)
        return True

    def _coalesce(self) -> None:
        """Wait a moment after a small read, so that the next one takes more.

        Not when the program ends: whoever waits for it need not wait for us.
        """
        if self._busy or self._code is not None:
            return
        rest = self._read_at + COALESCE_SECONDS - self._clock.monotonic()
        if rest > 0:
            self._exit.poll(rest * 1000)

    def _ready(self, exit_descriptor: int) -> list[tuple[selectors.SelectorKey, int]]:
        """What there is to read; nothing of a running program while the tap is behind."""
        if self._tap is None or not self._tap.behind or self._code is not None:
            return self._selector.select(self._patience(exit_descriptor))
        time.sleep(BEHIND_SECONDS)
        return [each for each in self._selector.select(0) if each[0].data is None]

    def _patience(self, exit_descriptor: int) -> float:
        """How long to wait for output."""
        patience = LOOK_SECONDS if exit_descriptor >= 0 else LOOK_SECONDS / 4
        if exit_descriptor >= 0 and self._is_calm:
            patience = NUDGED_LOOK_SECONDS
        now = self._clock.monotonic()
        for stream in self._streams:
            if stream.cutter.pending:
                due = stream.last_read + PARTIAL_LINE_SECONDS - now
                patience = min(patience, max(0.0, due))
        return patience

    @property
    def _is_calm(self) -> bool:
        """Whether nothing is due by itself: who wants something nudges."""
        return self._nudge >= 0 and self._code is None and self._ladder.sent is None

    def _read(self, streams: list[_Stream]) -> None:
        total = 0
        chunks: list[Chunk] = []
        for stream in streams:
            data = _read_block(stream.descriptor)
            if data is None:
                continue
            total += len(data)
            stream.last_read = self._clock.monotonic()
            if data:
                if self._tap is not None:
                    self._tap.take(stream.source, data)
                chunks += self._chunks(stream, stream.masker.feed(data))
            else:
                chunks += self._close(stream)
        if streams:
            self._read_at = self._clock.monotonic()
            self._busy = total >= BUSY_BYTES
        self._sink.append(chunks)

    def _chunks(self, stream: _Stream, shown: bytes) -> list[Chunk]:
        if not shown:
            return []
        if stream.source is Source.STDERR and self._on_stderr is not None:
            self._on_stderr(shown)
        return self._dated(stream.source, stream.cutter.add(shown))

    def _dated(self, source: Source, pieces: list[bytes]) -> list[Chunk]:
        now = to_micros(self._clock.now())
        return [Chunk(0, 1, source, Kind.OUTPUT, now, piece) for piece in pieces]

    def _close(self, stream: _Stream) -> list[Chunk]:
        """The stream has ended: let out what masker and cutter hold."""
        self._selector.unregister(stream.descriptor)
        self._streams.remove(stream)
        os.close(stream.descriptor)
        chunks = self._chunks(stream, stream.masker.finish())
        return chunks + self._dated(stream.source, stream.cutter.flush())

    def _flush_partial_lines(self) -> None:
        """Show an unfinished line (a prompt, a bar) after a moment of silence."""
        now = self._clock.monotonic()
        for stream in self._streams:
            silent = now - stream.last_read >= PARTIAL_LINE_SECONDS
            if stream.cutter.pending and silent:
                self._sink.append(self._dated(stream.source, stream.cutter.flush()))

    def _has_exited(
        self, ready: list[tuple[selectors.SelectorKey, int]], exit_descriptor: int
    ) -> bool:
        if exit_descriptor >= 0:
            if not any(key.fd == exit_descriptor for key, _ in ready):
                return False
            self._selector.unregister(exit_descriptor)
            self._exit.unregister(exit_descriptor)
            if self._ladder.sent is not None:
                # While the program is not reaped yet, its group's number is its own.
                self._signal(signal.SIGKILL)
        self._code = self._process.poll()
        return self._code is not None

    def _heed_cancel(self, now: float) -> None:
        if self._code is not None:
            return
        request = self._around.cancel_request()
        step = next_signal(self._ladder, request, now) if request else None
        if request is None or step is None:
            return
        self._signal(step)
        self._ladder = signalled(self._ladder, step, now)
        self._around.note(explain(self._ladder, request))

    def _signal(self, number: signal.Signals) -> None:
        """Signal the program and all it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _give_up_draining(self, now: float) -> None:
        """Something the program left behind holds its output open: do not wait for it."""
        if self._code is None or now - self._exited_at < self._graces.drain:
            return
        if self._streams:
            self._around.note(
                "The program ended, but something it started still holds its output"
                f" open; what that writes after {self._graces.drain:g} s is not kept."
            )
        for stream in list(self._streams):
            self._sink.append(self._close(stream))


def _read_block(descriptor: int) -> bytes | None:
    try:
        return os.read(descriptor, READ_BYTES)
    except BlockingIOError:
        return None


@contextlib.contextmanager
def _start(
    command: Command, secrets: Secrets
) -> Iterator[tuple[subprocess.Popen[bytes], list[_Stream]]]:
    """Start the program in a process group of its own, with a pipe for each output."""
    with contextlib.ExitStack() as mine:
        writers: dict[Source, int] = {}
        streams: list[_Stream] = []
        for source in (Source.STDOUT, Source.STDERR):
            if source is Source.STDOUT and command.stdout_file is not None:
                writers[source] = _open_output(command.stdout_file)
            else:
                reader, writers[source] = _pipe()
                streams.append(_Stream(reader, source, Masker(secrets)))
            mine.callback(os.close, writers[source])
        try:
            process = subprocess.Popen(  # noqa: S603 - the caller chose the program
                command.argv,
                stdin=command.stdin,
                stdout=writers[Source.STDOUT],
                stderr=writers[Source.STDERR],
                cwd=command.cwd,
                env=dict(command.environment),
                process_group=0,
            )
        except OSError:
            for stream in streams:
                os.close(stream.descriptor)
            raise
    yield process, streams


def _open_output(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with contextlib.suppress(AttributeError, OSError):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reader, writer


@contextlib.contextmanager
def _exit_descriptor(pid: int) -> Iterator[int]:
    """A descriptor that becomes readable when the process exits; -1 where there is none."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        yield -1
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)
