"""What lies in a spool directory: segments, gaps, the cursor, and who may touch which.

The job appends to the last segment; the uplink reads behind it. Two short critical
sections under ``spool/lock`` keep them apart:

- the uplink *takes* the next segment (writes the cursor) before it opens it;
- the job *drops* segments when the quota is reached: those wholly acknowledged are
  deleted, those not yet taken are replaced by a gap.
"""

import json
import os
import re
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from sluice.runner.phase_dir import file_lock, write_json_atomic
from sluice.runner.spool_records import DamagedRecordError, segment_chunks
from sluice.wire.events import Gap
from sluice.wire.log_flow import Cap

_NAME = re.compile(r"seg-(\d{6,})(\.gap)?")

GAP_QUOTA = "the spool on the agent's disk was full"
GAP_DAMAGED = "the agent's disk damaged them"


class SpoolError(Exception):
    """The spool does not hold what is asked of it; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the task's log.

    Attributes:
        offset: byte offset.
        next_line: number of the line in which the byte there stands.
        line_start: whether that byte begins its line.
        capped: whether the `capped` event stands before it, so that output is dropped.
    """

    offset: int
    next_line: int
    line_start: bool = True
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far the uplink is.

    Attributes:
        segment: the first segment that may still be needed; all before are acknowledged.
        reading: the last segment the uplink has taken.
        offset: the log offset at the start of ``segment``.
        next_line: the line number there.
        line_start: whether ``segment`` starts at the beginning of a line.
        capped: whether output of ``segment`` is dropped from its beginning on.
        cap: where output ends, once the server said that the log is full.
    """

    segment: int
    reading: int
    offset: int
    next_line: int
    line_start: bool = True
    capped: bool = False
    cap: Cap | None = None

    @property
    def place(self) -> Place:
        """The place in the log at which ``segment`` begins."""
        return Place(self.offset, self.next_line, self.line_start, self.capped)


@dataclass(frozen=True, slots=True)
class GapFile:
    """What stands for dropped segments up to and including ``through``."""

    through: int
    missing_bytes: int
    missing_lines: int
    dropped_us: int
    reason: str = GAP_QUOTA


def gap_line(gap: Gap) -> bytes:
    """The line a person reads where output is missing."""
    text = (
        f"===== {gap.missing_bytes} bytes ({gap.missing_lines} lines) of output are"
        f" missing here: {gap.reason} ====="
    )
    return text.encode() + b"\n"


def event_line(line: bytes, *, line_start: bool) -> bytes:
    """An event's bytes: on a line of its own, whatever stands before it."""
    return line if line_start else b"\n" + line


class SpoolFiles:
    """The files of one spool directory by name; no state of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def segment(self, index: int) -> Path:
        """The file of a segment."""
        return self.directory / f"seg-{index:06d}"

    def gap(self, index: int) -> Path:
        """The file that replaces dropped segments beginning with ``index``."""
        return self.directory / f"seg-{index:06d}.gap"

    def lock(self) -> AbstractContextManager[None]:
        """Held for the moments in which segments are taken or dropped."""
        return file_lock(self.directory / "lock")

    def indexes(self) -> list[int]:
        """All segments and gaps there are, in order."""
        found = (_NAME.fullmatch(entry.name) for entry in os.scandir(self.directory))
        return sorted({int(match[1]) for match in found if match})

    def has(self, index: int) -> bool:
        """Whether there is a segment, or a gap in its place."""
        return self.segment(index).exists() or self.gap(index).exists()

    def next_index(self) -> int:
        """The index a new segment gets."""
        indexes = self.indexes()
        if not indexes:
            return 0
        gap = self.read_gap(indexes[-1])
        return (gap.through if gap else indexes[-1]) + 1

    def ends_with_newline(self) -> bool:
        """Whether what is written next begins a line (true of an empty spool)."""
        for index in reversed(self.indexes()):
            last = self._last_byte(index)
            if last:
                return last == b"\n"
        return True

    def _last_byte(self, index: int) -> bytes:
        """The last byte of a segment's data; a gap's event ends its line."""
        if self.gap(index).exists():
            return b"\n"
        last = b""
        try:
            for chunk in segment_chunks(self.segment(index)):
                last = chunk.data[-1:] or last
        except DamagedRecordError:
            return b"\n"  # the reader puts a gap event there
        return last

    def read_gap(self, index: int) -> GapFile | None:
        """The gap that begins at ``index``, if there is one."""
        try:
            return GapFile(**json.loads(self.gap(index).read_bytes()))
        except FileNotFoundError:
            return None

    def write_gap(self, index: int, gap: GapFile) -> None:
        """Replace the segments ``index`` to ``gap.through`` (call under the lock)."""
        write_json_atomic(self.gap(index), json.dumps(asdict(gap)))

    def read_cursor(self) -> Cursor | None:
        """How far the uplink is; None before its first step.

        Raises:
            SpoolError: the cursor cannot be read.
        """
        path = self.directory / "cursor"
        try:
            known = json.loads(path.read_bytes())
            cap = known.pop("cap", None)
            return Cursor(**known, cap=Cap(**cap) if cap else None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError) as error:
            raise SpoolError(f"{path} cannot be read: {error}") from error

    def write_cursor(self, cursor: Cursor) -> None:
        """Say how far the uplink is (call under the lock)."""
        write_json_atomic(self.directory / "cursor", json.dumps(asdict(cursor)))
