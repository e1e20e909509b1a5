"""How grave the lines of a run are: what its writer said, else what stands in the text."""

from collections.abc import Iterator

from msgspec.structs import replace

from sluice.logs.levels import (
    Level,
    default_level,
    marked_lines,
    named_level,
    unmarked,
)
from sluice.logs.lines import Run
from sluice.logs.tool_levels import tool_marks, tool_unmarked
from sluice.wire.chunk import UNMARKED, Chunk
from sluice.wire.script_mark import mark_of


def plain_level(run: Run) -> Level:
    """The level of the run's lines that do not say otherwise."""
    if run.mark is None or run.event is not None:
        return default_level(run.source, run.event)
    # programs write anything at all to stderr: of a script it says nothing
    return named_level(run.mark.level) or Level.INFO


def graded(run: Run) -> list[tuple[int, int, Level]]:
    """(begin, end, level) of each line that has another level than `plain_level`."""
    if run.unmarked:
        return []
    if run.mark is None or run.event is not None:
        return marked_lines(run.text, default_level(run.source, run.event))
    return [] if named_level(run.mark.level) else tool_marks(run.text)


def parts(run: Run) -> Iterator[tuple[int, int, Level]]:
    """The run's text as (begin, end, level) of whole lines in a row that are equally grave."""
    plain = plain_level(run)
    at = 0
    for begin, end, level in graded(run):
        if begin > at:
            yield at, begin - 1, plain
        yield begin, end, level
        at = end + 1
    if at <= len(run.text):
        yield at, len(run.text), plain


def flagged(chunk: Chunk) -> Chunk:
    """The chunk, saying whether `graded` finds nothing in its lines.

    Most chunks have no grave line: found out once, nobody looks for one again.
    """
    flags = UNMARKED if _says_nothing(chunk) else 0
    return chunk if chunk.flags == flags else replace(chunk, flags=flags)


def _says_nothing(chunk: Chunk) -> bool:
    mark = mark_of(chunk)
    if mark is None:
        return unmarked(chunk.data)
    return named_level(mark.level) is not None or tool_unmarked(chunk.data)
