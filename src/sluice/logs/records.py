"""Reads a log as structured messages, a page at a time, and turns records into chunks."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from msgspec.structs import replace

from sluice.base.clock import from_micros, rfc3339
from sluice.logs.grading import flagged, parts
from sluice.logs.history import LogView
from sluice.logs.levels import Level
from sluice.logs.lines import Assembler, Run
from sluice.logs.look_back import look_back, mark_before
from sluice.logs.script_dialects import (
    INSTALL_LEVELS,
    RECORD_LEVELS,
    RECORD_SOURCES,
    SUCCESS_STATUS,
    progress_number,
    stretches,
)
from sluice.wire.chunk import MAX_LIVE, Chunk, Kind
from sluice.wire.progress import ProgressState, finished
from sluice.wire.progress import after_line as progress_after
from sluice.wire.script_mark import SaidLine, ScriptMark, encode_mark, mark_after
from sluice.wire.script_stream import (
    InstallMessage,
    RecordLevel,
    RecordMetadata,
    RecordSource,
    ScriptRecord,
)

BLOCK_BYTES = 256 * 1024
LINE_BYTES = 256
"""So long is a line, for how much to read at first."""

_MILLISECOND = 1000
_NOTHING = ProgressState()


# --- reading ----------------------------------------------------------------


async def line_count(view: LogView) -> int:
    """How many lines a log has; one that is not whole counts once the log has ended."""
    record = view.record
    if not record.sealed:
        return record.next_line - 1
    last = await view.locate(record.next_line)
    return record.next_line - 1 + (last.offset < record.committed)


async def install_messages(
    view: LogView, after_line: int, limit: int
) -> list[InstallMessage]:
    """Up to ``limit`` messages of the lines behind line ``after_line``.

    Read is about as much as they have; the chunks themselves say what was known there.
    """
    messages: list[InstallMessage] = []
    async for run in _runs(view, after_line, limit):
        messages += _installed(run)
        if len(messages) >= limit:
            break
    return messages[:limit]


async def script_records(
    view: LogView,
    *,
    source: RecordSource | None = None,
    level: RecordLevel | None = None,
    page: int,
    size: int,
) -> tuple[list[ScriptRecord], int]:
    """A page (from 0) of a log's records, and how many there are in all.

    Without a filter no more is read than the page. With one the whole log is, in blocks,
    because nothing else says how many there are.
    """
    task_id = str(view.record.task_id)
    if source is None and level is None:
        total = await line_count(view)
        first = page * size
        wanted = _Page(task_id, 0, min(size, max(0, total - first)))
        if wanted.size:
            async for run in _runs(view, first, wanted.size):
                wanted.take(run, level)
                if wanted.full:
                    break
        return wanted.records, total
    wanted = _Page(task_id, page * size, size)
    async for run in _runs(view, 0, view.record.next_line):
        if source is None or RECORD_SOURCES[run.source] is source:
            wanted.take(run, level)
    return wanted.records, wanted.seen


async def progress_at_end(view: LogView) -> ProgressState:
    """What is known after the last line of output, one that is not whole included.

    Reads the end of the log only. A script that ended well is at 100.
    """
    record = view.record
    mark = await mark_before(view.read, record.committed)
    state = _NOTHING if mark is None else _state_of(progress_after(mark, mark.begun))
    if record.sealed and record.final_status == SUCCESS_STATUS:
        state = finished(state)
    return state


@dataclass(slots=True)
class _Page:
    """Collects ``size`` records from number ``skip`` on, and counts them all."""

    task_id: str
    skip: int
    size: int
    seen: int = 0
    records: list[ScriptRecord] = field(default_factory=list)

    @property
    def full(self) -> bool:
        return len(self.records) >= self.size

    def take(self, run: Run, level: RecordLevel | None) -> None:
        """Count the run's records of that level, and keep those of the page."""
        count = run.next_line - run.first_line
        if level is None and (self.full or self.seen + count <= self.skip):
            self.seen += count
            return
        line = run.first_line
        for begin, end, graded in parts(run):
            count = run.text.count(b"\n", begin, end) + 1
            if level is None or RECORD_LEVELS[graded] is level:
                if not self.full and self.seen + count > self.skip:
                    self._keep(run, run.text[begin:end], line, graded)
                self.seen += count
            line += count

    def _keep(self, run: Run, text: bytes, line: int, level: Level) -> None:
        at = rfc3339(from_micros(run.captured_us))
        own = run.mark if run.event is None else None
        metadata = (
            RecordMetadata()
            if own is None
            else RecordMetadata(own.process_id, own.script_path)
        )
        first = max(0, self.skip - self.seen)
        last = first + self.size - len(self.records)
        for number, message in enumerate(_lines(text)[first:last], line + first):
            self.records.append(
                ScriptRecord(
                    self.task_id,
                    at,
                    RECORD_SOURCES[run.source],
                    RECORD_LEVELS[level],
                    message,
                    number,
                    metadata,
                )
            )


async def _runs(view: LogView, after: int, lines: int) -> AsyncIterator[Run]:
    """Runs of the lines behind line ``after``, as the log stood when the view was opened."""
    record = view.record
    if after >= record.next_line:
        return
    assembler = Assembler(await view.locate(after + 1))
    budget = min(BLOCK_BYTES, LINE_BYTES * max(lines, 1))
    while assembler.head < record.committed:
        at = assembler.head
        chunks = await view.read(at, min(budget, record.committed - at))
        await look_back(view.read, assembler, chunks)
        for chunk in chunks:
            if chunk.offset < record.committed:
                for run in assembler.feed(chunk):
                    yield run
        if assembler.head == at:
            break
        # others get their turn between two blocks, however fast they are read
        await asyncio.sleep(0)
    if record.sealed:
        for run in assembler.finish():
            yield run


def _installed(run: Run) -> Iterator[InstallMessage]:
    at = rfc3339(from_micros(run.captured_us))
    for stretch in stretches(run):
        state = stretch.state
        for number, message in enumerate(_lines(stretch.text), stretch.first_line):
            yield InstallMessage(
                at,
                INSTALL_LEVELS[stretch.level],
                message,
                progress_number(state),
                state.step,
                state.current_step,
                state.total_steps,
                number,
            )


def _lines(text: bytes) -> list[str]:
    return text.decode("utf-8", "replace").split("\n")


def _state_of(mark: ScriptMark) -> ProgressState:
    return ProgressState(
        progress=mark.progress,
        step=mark.step,
        current_step=mark.current_step,
        total_steps=mark.total_steps,
    )


# --- writing ----------------------------------------------------------------


def record_chunks(
    records: Iterable[SaidLine], before: ScriptMark | None = None
) -> list[Chunk]:
    """Output that says what the records say, in order; its place is set by `placed`.

    Records that agree in all but their text share chunks.

    Args:
        records: what is to be stored.
        before: what is known where they go (`mark_before`).
    """
    chunks: list[Chunk] = []
    mark = before or ScriptMark()
    for _, alike in groupby(records, key=_likeness):
        said = list(alike)
        first = said[0]
        mark = replace(
            mark,
            level=first.level,
            process_id=first.process_id,
            script_path=first.script_path,
        )
        for data in _cut(b"".join(_line_bytes(one.message) for one in said)):
            chunk = Chunk(
                0,
                1,
                first.source,
                Kind.OUTPUT,
                first.captured_us,
                data,
                encode_mark(mark),
            )
            chunks.append(flagged(chunk))
            mark = mark_after(mark, data)
    return chunks


def _likeness(record: SaidLine) -> tuple[object, ...]:
    # nobody is shown less than a millisecond
    return (
        record.source,
        record.level,
        record.process_id,
        record.script_path,
        record.captured_us // _MILLISECOND,
    )


def _line_bytes(message: str) -> bytes:
    return message.removesuffix("\n").encode("utf-8", "replace") + b"\n"


def _cut(data: bytes) -> Iterator[bytes]:
    """Pieces of at most `MAX_LIVE` bytes, cut behind a newline where there is one."""
    at = 0
    while at < len(data):
        end = at + MAX_LIVE
        if end < len(data):
            end = data.rfind(b"\n", at, end) + 1 or end
        yield data[at:end]
        at = end
