"""A spool for a script's output: each chunk says where the script was when it began."""

from collections.abc import Sequence

from msgspec.structs import replace
from typing_extensions import override

from sluice.runner.spool import SpoolWriter
from sluice.wire.chunk import Chunk, Kind
from sluice.wire.script_mark import ScriptMark, encode_mark, mark_after

_LONGEST_PATH = 4096


class ScriptSpool(SpoolWriter):
    """A spool whose output chunks bear a `ScriptMark`, kept up to date by what they say."""

    _mark = ScriptMark()

    def begin(self, *, process_id: int, script_path: str, floor: str = "") -> None:
        """The script runs: say which process it is.

        Args:
            process_id: its process.
            script_path: the script.
            floor: the lowest level that is shown live; empty for all.
        """
        self._mark = replace(
            self._mark,
            process_id=process_id,
            script_path=script_path[:_LONGEST_PATH],
            floor=floor,
        )

    @override
    def append(self, chunks: Sequence[Chunk]) -> None:
        super().append([self._marked(chunk) for chunk in chunks])

    def _marked(self, chunk: Chunk) -> Chunk:
        if chunk.kind is Kind.EVENT:
            if chunk.data and self._mark.begun:
                self._mark = mark_after(self._mark, b"\n")
            return chunk
        meta = encode_mark(self._mark)
        self._mark = mark_after(self._mark, chunk.data)
        return Chunk(
            chunk.offset,
            chunk.first_line,
            chunk.source,
            chunk.kind,
            chunk.captured_us,
            chunk.data,
            meta,
            chunk.flags,
        )
