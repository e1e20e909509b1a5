"""The job's side of a spool: appends records, keeps to the quota, outlives a full disk."""

import contextlib
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sluice.base.clock import Clock, to_micros
from sluice.runner.spool_files import (
    Cursor,
    GapFile,
    SpoolError,
    SpoolFiles,
    event_line,
    gap_line,
)
from sluice.wire.chunk import (
    Chunk,
    Source,
    encode_chunk,
    event_chunk,
)
from sluice.wire.events import Event, Gap

RESERVE_BYTES = 256 * 1024
HEAD_SHARE = 4

_NO_CURSOR = Cursor(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """How much disk a spool may take, and in pieces of what size.

    At the quota, segments that the server has wholly are deleted first; then the first
    quarter (and whatever the uplink is reading) is kept, and of the rest the newest.
    """

    spool_bytes: int = 1024 * 1024 * 1024
    segment_bytes: int = 16 * 1024 * 1024

    @property
    def head_segments(self) -> int:
        """How many of the first segments are never dropped before they are uploaded."""
        return max(1, self.spool_bytes // HEAD_SHARE // self.segment_bytes)


@dataclass(slots=True)
class _Segment:
    """What one segment of this writer holds."""

    index: int
    size: int = 0
    data_bytes: int = 0
    lines: int = 0


@dataclass(slots=True)
class _Lost:
    """Output that could not be written since the last record that could."""

    data_bytes: int = 0
    lines: int = 0
    reason: str = ""


class SpoolWriter:
    """Appends chunks to a phase's spool; never raises for want of space.

    What cannot be written is counted and told in the log by a `gap` event as soon as
    something can be written again.

    Args:
        directory: the spool directory.
        clock: for the time of events.
        limits: quota and segment size.
        wake: descriptor of the phase's FIFO, poked after each append; -1 for none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        clock: Clock,
        limits: SpoolLimits | None = None,
        wake: int = -1,
    ) -> None:
        self._files = SpoolFiles(directory)
        self._clock = clock
        self._limits = limits or SpoolLimits()
        self._wake = wake
        self._lost = _Lost()
        self._kept: list[_Segment] = []
        self._gap_first = -1
        self._line_start = self._files.ends_with_newline()
        self._reserve = directory / "reserve"
        self._set_aside()
        self._current = _Segment(self._files.next_index())
        self._descriptor = self._create(self._current.index)

    def append(self, chunks: Sequence[Chunk]) -> None:
        """Write chunks in order, with one call to the system, and wake the uplink."""
        if not chunks:
            return
        if self._lost.data_bytes:
            chunks = [self._gap(), *chunks]
        records = [encode_chunk(chunk) for chunk in chunks]
        size = sum(map(len, records))
        if self._current.size and self._current.size + size > (
            self._limits.segment_bytes
        ):
            self._roll()
        written = self._write(records)
        self._account(chunks, records, written)
        self._poke()

    def event(
        self, event: Event, line: bytes, *, source: Source = Source.AGENT
    ) -> None:
        """Write an event; ``line`` (with its newline) stands on a line of its own."""
        start = self._line_start or self._lost.data_bytes > 0
        data = event_line(line, line_start=start)
        now = to_micros(self._clock.now())
        self.append([event_chunk(event, data, source=source, captured_us=now)])

    def close(self) -> None:
        """Tell of what is missing, if anything, using the space set aside for that."""
        with contextlib.suppress(OSError):
            self._reserve.unlink()
        if self._lost.data_bytes:
            gap = self._gap()
            record = encode_chunk(gap)
            written = self._write([record])
            self._account([gap], [record], written)
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
        self._poke()

    def _gap(self) -> Chunk:
        event = Gap(self._lost.data_bytes, self._lost.lines, self._lost.reason)
        line = event_line(gap_line(event), line_start=self._line_start)
        now = to_micros(self._clock.now())
        return event_chunk(event, line, source=Source.AGENT, captured_us=now)

    def _write(self, records: list[bytes]) -> int:
        """Write whole records; returns how many of them got to the disk."""
        data = records[0] if len(records) == 1 else b"".join(records)
        done, error = self._write_bytes(data)
        if error is not None and _is_full(error) and self._make_room(len(data) - done):
            more, error = self._write_bytes(memoryview(data)[done:])
            done += more
        if error is None:
            return len(records)
        if not self._lost.reason:
            self._lost.reason = _reason(error)
        return self._keep_whole(records, done)

    def _write_bytes(self, data: bytes | memoryview) -> tuple[int, OSError | None]:
        view = memoryview(data)
        done = 0
        while done < len(view):
            try:
                done += os.write(self._descriptor, view[done:])
            except OSError as error:
                return done, error
        return done, None

    def _keep_whole(self, records: list[bytes], done: int) -> int:
        """Cut the segment after the last record that got there whole."""
        whole = length = 0
        while whole < len(records) and length + len(records[whole]) <= done:
            length += len(records[whole])
            whole += 1
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._current.size + length)
        return whole

    def _account(
        self, chunks: Sequence[Chunk], records: list[bytes], written: int
    ) -> None:
        """Take note of what was written and what was lost."""
        reason = self._lost.reason
        if self._lost.data_bytes and written:
            self._lost = _Lost()
        for chunk, record in zip(chunks[:written], records, strict=False):
            self._current.size += len(record)
            self._current.data_bytes += len(chunk.data)
            self._current.lines += chunk.newlines
            if chunk.data:
                self._line_start = chunk.data.endswith(b"\n")
        for chunk in chunks[written:]:
            if isinstance(chunk.event, Gap):
                continue  # it stands for what is counted already
            self._lost.reason = reason
            self._lost.data_bytes += len(chunk.data)
            self._lost.lines += chunk.newlines

    def _roll(self) -> None:
        """Begin the next segment, after making room for it under the quota."""
        try:
            descriptor = self._create(self._current.index + 1)
        except OSError:
            return  # no space for a file: go on in this one
        os.close(self._descriptor)
        self._descriptor = descriptor
        self._kept.append(self._current)
        self._current = _Segment(self._current.index + 1)
        held = sum(segment.size for segment in self._kept)
        excess = held + self._limits.segment_bytes - self._limits.spool_bytes
        if excess > 0:
            self._make_room(excess)

    def _make_room(self, wanted: int) -> bool:
        """Drop segments by the rules of `spool_files`; returns whether any could be."""
        freed = 0
        with contextlib.suppress(OSError), self._files.lock():
            try:
                cursor = self._files.read_cursor() or _NO_CURSOR
            except SpoolError:
                return False
            while freed < wanted and (segment := self._droppable(cursor)):
                self._drop(segment, uploaded=segment.index < cursor.segment)
                freed += segment.size
        return freed > 0

    def _droppable(self, cursor: Cursor) -> _Segment | None:
        """The segment to lose next: an uploaded one, else the oldest between the parts."""
        if self._kept and self._kept[0].index < cursor.segment:
            return self._kept[0]
        protected = max(cursor.reading, self._limits.head_segments - 1)
        return next((kept for kept in self._kept if kept.index > protected), None)

    def _drop(self, segment: _Segment, *, uploaded: bool) -> None:
        if not uploaded:
            self._leave_gap(segment)
        self._files.segment(segment.index).unlink(missing_ok=True)
        self._kept.remove(segment)

    def _leave_gap(self, segment: _Segment) -> None:
        """Put a gap in the segment's place, or let the gap before it grow."""
        cursor = self._files.read_cursor() or _NO_CURSOR
        first = self._gap_first
        before = self._files.read_gap(first) if first > cursor.reading else None
        if before is None or before.through != segment.index - 1:
            first, before = segment.index, GapFile(segment.index - 1, 0, 0, 0)
        gap = GapFile(
            through=segment.index,
            missing_bytes=before.missing_bytes + segment.data_bytes,
            missing_lines=before.missing_lines + segment.lines,
            dropped_us=to_micros(self._clock.now()),
        )
        self._files.write_gap(first, gap)
        self._gap_first = first

    def _set_aside(self) -> None:
        """Keep a little space for the last words (the gap, the result)."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        with (
            contextlib.suppress(OSError),
            open(os.open(self._reserve, flags, 0o600), "wb") as file,
        ):
            file.write(bytes(RESERVE_BYTES))

    def _create(self, index: int) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._files.segment(index), flags, 0o600)

    def _poke(self) -> None:
        if self._wake >= 0:
            with contextlib.suppress(OSError):
                os.write(self._wake, b"\0")


def _is_full(error: OSError) -> bool:
    return error.errno in {errno.ENOSPC, errno.EDQUOT}


def _reason(error: OSError) -> str:
    if _is_full(error):
        return "the agent's disk was full"
    return f"the agent's disk could not be written ({error.strerror})"
