"""The uplink's side of a spool: places records in the task's log and hands them out."""

import contextlib
import hashlib
import os
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from sluice.runner.spool_cap import after, within
from sluice.runner.spool_files import (
    GAP_DAMAGED,
    Cursor,
    Place,
    SpoolError,
    SpoolFiles,
    event_line,
    gap_line,
)
from sluice.runner.spool_records import (
    READ_BYTES,
    DamagedRecordError,
    cut,
    merge_all,
    read_records,
    segment_chunks,
)
from sluice.wire.agent import LogEnd, LogPosition
from sluice.wire.chunk import MAX_LIVE, Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import Gap
from sluice.wire.log_flow import capped

LOOK_AHEAD = 1024 * 1024
SHORT_READ_BYTES = 64 * 1024
LOOKS_AT_ONCE = 16
"""So many reads at most of a spool whose output is dropped, before others get their turn."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """A segment (or gap) the uplink has taken, and where in the log it begins."""

    index: int
    start: Place


class SpoolReader:
    """Reads a phase's records from any unacknowledged offset on, while they are written.

    The reader looks ahead about 1 MiB at most, so that segments far in front of the uplink
    stay droppable. Not for use by two threads, nor two readers of one spool.

    Args:
        directory: the spool.
        base: where the phase begins in its task's log.
        held_lines: look ahead about so many lines at most; None: only bytes count.

    Attributes:
        damaged: why the rest of the spool cannot be read; empty while all is well.
        behind: there is more to read than the last `refresh` took in; only of a log that
            is full.
    """

    def __init__(
        self, directory: Path, base: LogPosition, *, held_lines: int | None = None
    ) -> None:
        self.damaged = ""
        self.behind = False
        self._most_lines = held_lines
        self._files = SpoolFiles(directory)
        self._ready: deque[Chunk] = deque()
        self._descriptor = -1
        cursor = self._files.read_cursor()
        if cursor is None:
            cursor = Cursor(0, 0, base.offset, base.next_line)
            with self._files.lock():
                self._files.write_cursor(cursor)
        self._cursor = cursor
        self._taken = [_Taken(cursor.segment, cursor.place)]
        self._restart()

    def close(self) -> None:
        """Let go of the open segment."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def position(self) -> int:
        """The log offset at which the next `read` begins."""
        return self._ready[0].offset if self._ready else self._scan.offset

    @property
    def end(self) -> int:
        """The log offset after the last complete record seen (see `refresh`)."""
        return self._scan.offset

    @property
    def next_line(self) -> int:
        """The number of the line that stands at `end`."""
        return self._scan.next_line

    @property
    def held_lines(self) -> int:
        """How many lines end between `position` and `end`."""
        return self.next_line - self._ready[0].first_line if self._ready else 0

    @property
    def capped(self) -> bool:
        """Whether the log is full, so that output is dropped."""
        return self._cursor.cap is not None

    def refresh(self) -> int:
        """Look for records written since, and return `end`.

        While less than the look-ahead waits between `position` and `end`, and the reader is
        not `behind`, there is nothing behind `end`; so once the job has ended and all was
        read, `end` is the end of the phase.
        """
        looks = 0
        self.behind = False
        while not self._holds_enough() and self._look():
            looks += 1
            if self.capped and looks >= LOOKS_AT_ONCE:
                self.behind = True
                break
        return self.end

    def cap(self, *, limit: int, committed: int) -> None:
        """The server says that the log is full, at ``limit`` bytes: drop output from there.

        What was acknowledged (``committed``) stays as it is.

        Raises:
            SpoolError: as for `seek`.
        """
        cap = capped(self._cursor.cap, limit=limit, committed=committed)
        if cap == self._cursor.cap:
            return
        self._save(replace(self._cursor, cap=cap))
        del self._taken[self._taken_at(committed) + 1 :]
        self._restart()
        self.seek(committed)

    def _holds_enough(self) -> bool:
        if self.end - self.position >= LOOK_AHEAD:
            return True
        return self._most_lines is not None and self.held_lines >= self._most_lines

    def read(self, max_bytes: int, *, merge_to: int = MAX_LIVE) -> list[Chunk]:
        """The next placed chunks, at most ``max_bytes`` of data in all.

        Adjacent output of one source captured within a moment comes joined up to
        ``merge_to`` bytes (`MAX_LIVE`, or `MAX_CATCH_UP` when behind). Output is cut to
        fit; an event that does not fit comes alone.
        """
        taken: list[Chunk] = []
        room = max_bytes
        while room > 0 and self._ready:
            chunk = self._ready.popleft()
            size = min(room, merge_to)
            if chunk.kind is Kind.OUTPUT and len(chunk.data) > size:
                chunk, rest = cut(chunk, size)
                self._ready.appendleft(rest)
            elif taken and len(chunk.data) > room:
                self._ready.appendleft(chunk)
                break
            taken.append(chunk)
            room -= len(chunk.data)
        return merge_all(taken, limit=merge_to)

    def seek(self, offset: int) -> None:
        """Go on reading at a log offset the server named.

        Raises:
            SpoolError: the spool does not reach so far, no longer holds that part, or an
                event stands across the offset.
        """
        if offset < self._cursor.offset:
            raise SpoolError(
                f"the server asks for byte {offset} of the log; the agent's spool begins"
                f" at byte {self._cursor.offset}"
            )
        if offset < self.position:
            del self._taken[self._taken_at(offset) + 1 :]
            self._restart()
        while self.position < offset:
            if not self._ready and not self._look():
                raise SpoolError(
                    f"the server has {offset} bytes of the log; the agent's spool ends at"
                    f" byte {self.end}"
                )
            self._skip_to(offset)

    def release(self, acked: int) -> None:
        """All bytes before log offset ``acked`` are durable on the server.

        Segments wholly before it may be deleted by the job when it needs the space.
        """
        at = self._taken_at(acked)
        if at == 0:
            return
        del self._taken[:at]
        start = self._taken[0].start
        self._save(
            Cursor(
                self._taken[0].index,
                self._cursor.reading,
                start.offset,
                start.next_line,
                start.line_start,
                start.capped,
                self._cursor.cap,
            )
        )

    def log_end(self) -> LogEnd:
        """Where the phase's log ends, with its digest; call when everything was read.

        Reads the whole spool: call it in a thread.
        """
        return LogEnd(offset=self.end, next_line=self.next_line, sha256=self.digest())

    def digest(self) -> str | None:
        """SHA-256 of all the phase's bytes.

        None where segments are missing or damaged, or output was dropped.
        """
        if self.capped:
            return None
        indexes = self._files.indexes()
        if indexes != list(range(len(indexes))):
            return None
        digest = hashlib.sha256()
        try:
            for index in indexes:
                for chunk in segment_chunks(self._files.segment(index)):
                    digest.update(chunk.data)
        except (FileNotFoundError, DamagedRecordError):
            return None
        return digest.hexdigest()

    def _taken_at(self, offset: int) -> int:
        starts = [taken.start.offset for taken in self._taken]
        return max(0, bisect_right(starts, offset) - 1)

    def _skip_to(self, offset: int) -> None:
        while self._ready and self._ready[0].offset < offset:
            chunk = self._ready.popleft()
            if chunk.end <= offset:
                continue
            if chunk.kind is not Kind.OUTPUT:
                raise SpoolError(
                    f"the server asks for byte {offset} of the log, inside the event at"
                    f" byte {chunk.offset}"
                )
            self._ready.appendleft(cut(chunk, offset - chunk.offset)[1])

    def _restart(self) -> None:
        """Read again from the start of the last segment in ``_taken``."""
        self._ready.clear()
        self.damaged = ""
        last = self._taken[-1]
        self._scan = last.start
        self._enter(last.index)

    def _enter(self, index: int) -> None:
        """Begin a taken segment, or hand out the event of the gap in its place."""
        self.close()
        self._scan_at = 0
        self._through = index
        gap = self._files.read_gap(index)
        self._in_gap = gap is not None
        if gap is None:
            return
        self._through = gap.through
        event = Gap(gap.missing_bytes, gap.missing_lines, gap.reason)
        self._add_gap(event, gap.dropped_us)

    def _look(self) -> bool:
        """Take in more records, of the current segment or by moving to the next one."""
        # Asked for first: once the next segment is there, the current one is complete.
        complete = self._files.has(self._through + 1)
        if self._look_here():
            return True
        if not complete:
            return False
        if self.damaged:
            self._skip_damaged()
        self._take(self._through + 1)
        return True

    def _look_here(self) -> bool:
        if self._in_gap or self.damaged or not self._opened():
            return False
        try:
            chunks, self._scan_at = read_records(
                self._descriptor,
                self._scan_at,
                limit=READ_BYTES if self._most_lines is None else SHORT_READ_BYTES,
            )
        except DamagedRecordError as error:
            self.damaged = f"segment {self._through} of the spool: {error}"
            return False
        for chunk in chunks:
            self._add(chunk)
        return bool(chunks)

    def _skip_damaged(self) -> None:
        """Tell of the unreadable rest of a segment that others follow."""
        status = os.fstat(self._descriptor)
        missing = max(0, status.st_size - self._scan_at)
        self._add_gap(Gap(missing, 0, GAP_DAMAGED), status.st_mtime_ns // 1000)
        self.damaged = ""

    def _add_gap(self, gap: Gap, captured_us: int) -> None:
        line = event_line(gap_line(gap), line_start=self._scan.line_start)
        self._add(event_chunk(gap, line, source=Source.AGENT, captured_us=captured_us))

    def _opened(self) -> bool:
        """Open the current segment where that is still to do; False: it is not there yet."""
        if self._descriptor < 0:
            with contextlib.suppress(FileNotFoundError):
                path = self._files.segment(self._through)
                self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._descriptor >= 0

    def _add(self, chunk: Chunk) -> None:
        """Put a record at its place in the log."""
        cap = self._cursor.cap
        if cap is not None:
            for part, behind in within(chunk, self._scan, cap):
                self._scan = behind
                if part.data:
                    self._ready.append(part)
            return
        here = self._scan
        chunk = placed(chunk, offset=here.offset, first_line=here.next_line)
        self._scan = after(chunk, here)
        self._ready.append(chunk)

    def _take(self, index: int) -> None:
        """Take the next segment; from now on the job leaves it alone."""
        with self._files.lock():
            gap = self._files.read_gap(index)
            reading = gap.through if gap else index
            if reading > self._cursor.reading:
                self._write(replace(self._cursor, reading=reading))
        self._taken.append(_Taken(index, self._scan))
        self._enter(index)

    def _save(self, cursor: Cursor) -> None:
        with self._files.lock():
            self._write(cursor)

    def _write(self, cursor: Cursor) -> None:
        self._files.write_cursor(cursor)
        self._cursor = cursor
