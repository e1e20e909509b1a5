"""A script's output as its agent hands it in, and what must be known of each line."""

from collections.abc import Iterable, Sequence

from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.logs.lines import Assembler, Run
from sluice.logs.model import Position
from sluice.logs.script_dialects import stretches
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import Note
from sluice.wire.progress import ProgressState, after_line
from sluice.wire.script_mark import ScriptMark, encode_mark, mark_after

PATH = "/srv/install.sh"
NOW_US = 1_700_000_000_123_000

Known = tuple[float | None, str, int, int]

lines = st.lists(
    st.sampled_from(
        [
            b"[1/3] Fetching",
            b"[2/3] Unpacking",
            b"[3/3] Configuring",
            b"::progress value=40 step=2/5::Explicit",
            b"Step 4/5: Last but one",
            b"\r10%\r 20%\r 55%",
            b"\x1b[32m70%\x1b[0m",
            b"ERROR: no",
            b"WARN: slow",
            b"[DEBUG] x",
            b"[SUCCESS] there",
            b"plain",
            b"\xff\x7f",
            b"",
        ]
    ),
    max_size=12,
)


class Marker:
    """Gives each chunk of a script's output its mark, as an agent does."""

    def __init__(self, mark: ScriptMark | None = None) -> None:
        self.mark = mark or ScriptMark(process_id=4711, script_path=PATH)

    def marked(self, chunk: Chunk) -> Chunk:
        """The chunk with what is known where it begins."""
        if chunk.kind is Kind.EVENT:
            if self.mark.begun and b"\n" in chunk.data:
                self.mark = mark_after(self.mark, b"\n")
            return chunk
        meta = encode_mark(self.mark)
        self.mark = mark_after(self.mark, chunk.data)
        return replace(chunk, meta=meta)


def output(data: bytes, source: Source = Source.STDOUT, at: int = NOW_US) -> Chunk:
    """Output without its mark and place."""
    return Chunk(0, 1, source, Kind.OUTPUT, at, data)


def note(line: bytes) -> Chunk:
    """A line of the agent, which begins one."""
    return event_chunk(Note(), line, source=Source.AGENT, captured_us=NOW_US)


def in_place(chunks: Iterable[Chunk], marker: Marker | None = None) -> list[Chunk]:
    """Chunks one behind the other, each with its mark."""
    marker = marker or Marker()
    found: list[Chunk] = []
    at, line = 0, 1
    for chunk in chunks:
        here = placed(marker.marked(chunk), offset=at, first_line=line)
        found.append(here)
        at, line = here.end, here.next_line
    return found


def cut(data: bytes, cuts: Sequence[int]) -> list[Chunk]:
    """Output in chunks that end at ``cuts``."""
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {len(data)})
    starts = [0, *ends]
    return [
        output(data[start:end])
        for start, end in zip(starts, ends, strict=False)
        if end > start
    ]


def runs_of(chunks: Iterable[Chunk], start: Position | None = None) -> list[Run]:
    """All runs of chunks."""
    assembler = Assembler(start or Position(0, 1))
    runs = [run for chunk in chunks for run in assembler.feed(chunk)]
    return runs + assembler.finish()


def known_of(state: ProgressState) -> Known:
    """What is known, to compare."""
    return (state.progress, state.step, state.current_step, state.total_steps)


def known_by_line(runs: Iterable[Run]) -> dict[int, Known]:
    """What runs say is known after each line."""
    known = {}
    for run in runs:
        for stretch in stretches(run):
            for number in range(stretch.text.count(b"\n") + 1):
                known[stretch.first_line + number] = known_of(stretch.state)
    return known


def known_after(data: bytes) -> dict[int, Known]:
    """What is known after each line of plain output."""
    state = ProgressState()
    texts = data.split(b"\n")
    if not texts[-1]:
        texts.pop()
    known = {}
    for number, text in enumerate(texts, 1):
        state = after_line(state, text)
        known[number] = known_of(state)
    return known
