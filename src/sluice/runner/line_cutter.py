"""Decides where a stream of bytes is cut into chunks: behind a newline where there is one."""

from sluice.wire.chunk import MAX_CATCH_UP, MAX_LIVE

_UTF8_MAX = 4
_CONTINUATION = 0x80
_LEAD = 0xC0


class LineCutter:
    """Keeps the unfinished last line until it ends, grows long, or is asked for."""

    def __init__(self) -> None:
        self._pending = b""

    @property
    def pending(self) -> bool:
        """Whether an unfinished line waits."""
        return bool(self._pending)

    def add(self, data: bytes) -> list[bytes]:
        """Take bytes; returns the pieces that may be stored now, in order."""
        if self._pending:
            data = self._pending + data
        end = data.rfind(b"\n") + 1
        if len(data) - end > MAX_LIVE:
            end = before_character(data, len(data))
        self._pending = data[end:]
        return _pieces(data if end == len(data) else data[:end])

    def flush(self) -> list[bytes]:
        """The unfinished line as it stands."""
        data, self._pending = self._pending, b""
        return _pieces(data)


def _pieces(data: bytes) -> list[bytes]:
    if 0 < len(data) <= MAX_CATCH_UP:
        return [data]
    pieces: list[bytes] = []
    at = 0
    while len(data) - at > MAX_CATCH_UP:
        limit = at + MAX_CATCH_UP
        end = data.rfind(b"\n", at, limit) + 1 or before_character(data, limit)
        pieces.append(data[at:end])
        at = end
    if at < len(data):
        pieces.append(data[at:])
    return pieces


def before_character(data: bytes, end: int) -> int:
    """``end``, or a little less where that would cut a UTF-8 character in two."""
    for back in range(1, min(_UTF8_MAX, end) + 1):
        byte = data[end - back]
        if byte < _CONTINUATION:
            return end
        if byte >= _LEAD:
            length = 2 + (byte >= 0xE0) + (byte >= 0xF0)
            return end - back if length > back else end
    return end
