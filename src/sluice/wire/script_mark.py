"""What stands beside a script's output: each of its chunks says where the script was.

So a reader that begins anywhere knows the progress, the process and the levels without
having read what came before.
"""

from typing import TypeVar

import msgspec
from msgspec.structs import replace

from sluice.wire.chunk import Chunk, Kind, Source
from sluice.wire.progress import ProgressState, after_line, after_text, begun_line

_MAX_META = 0xFFFF
_NEWLINE = b"\n"


class ScriptMark(
    ProgressState,
    frozen=True,
    omit_defaults=True,
    kw_only=True,
    tag="script",
    tag_field="mark",
):
    """What was known where a chunk of a script's output begins.

    Progress and step are those after the last whole line before it.

    Attributes:
        process_id: the script's process.
        script_path: the script.
        level: set where who wrote the lines said how grave they are, whatever they say.
        floor: the lowest level that live viewers of the script's own form are sent;
            empty: all lines.
        begun: of the line in which the chunk begins, as much as its progress needs;
            empty where the chunk begins a line.
    """

    process_id: int = 0
    script_path: str = ""
    level: str = ""
    floor: str = ""
    begun: bytes = b""


Mark = TypeVar("Mark", bound=ScriptMark)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[ScriptMark] = msgspec.json.Decoder(ScriptMark)


def encode_mark(mark: ScriptMark) -> bytes:
    """A mark as compact JSON, for the header of an output chunk.

    Raises:
        ValueError: it has no room there (a monstrous path).
    """
    meta = _encoder.encode(mark)
    if len(meta) > _MAX_META:
        raise ValueError(f"a mark of {len(meta)} bytes has no room beside a chunk")
    return meta


def decode_mark(meta: bytes) -> ScriptMark | None:
    """The mark of an output chunk; None where there is none that is known here."""
    if not meta:
        return None
    try:
        return _decoder.decode(meta)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def mark_of(chunk: Chunk) -> ScriptMark | None:
    """The mark of a chunk; None for events, and for output of anything but scripts."""
    if not chunk.meta or chunk.kind is not Kind.OUTPUT:
        return None
    return decode_mark(chunk.meta)


def mark_after(mark: ScriptMark, data: bytes) -> ScriptMark:
    """What is known once ``data`` came behind the place of ``mark``."""
    if not data:
        return mark
    first = data.find(_NEWLINE)
    if first < 0:
        return replace(mark, begun=begun_line(mark.begun, data))
    if mark.begun:
        mark = after_line(mark, mark.begun + data[:first])
        begin = first + 1
    else:
        begin = 0
    last = data.rfind(_NEWLINE)
    if last > begin:
        mark = after_text(mark, data[begin:last])
    begun = begun_line(b"", data[last + 1 :])
    return mark if begun == mark.begun else replace(mark, begun=begun)


def meta_after(meta: bytes, data: bytes) -> bytes:
    """The header of output that follows ``data``, which has the header ``meta``."""
    mark = decode_mark(meta)
    return meta if mark is None else encode_mark(mark_after(mark, data))


class SaidLine(msgspec.Struct, frozen=True, kw_only=True):
    """One record that a script's agent hands in, with what it says of it.

    Attributes:
        source: who wrote it.
        level: how grave it is; empty leaves that to the text.
        message: the text, one line or more.
        captured_us: when it was written, microseconds since 1970 UTC.
        process_id: the script's process.
        script_path: the script.
    """

    source: Source
    message: str
    captured_us: int
    level: str = ""
    process_id: int = 0
    script_path: str = ""
