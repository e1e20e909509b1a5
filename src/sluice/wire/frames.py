"""WebSocket frames as a server sends them (RFC 6455): unmasked, built once for many readers."""

from collections.abc import Iterator

FRAGMENT_BYTES = 1024 * 1024
"""Longer messages go in fragments, so that pings find a place between them."""

SLICE_BYTES = 256 * 1024

_FIN = 0x80
_TEXT = 0x01
_CONTINUATION = 0x00
_MEDIUM, _LARGE = 126, 127


def text_message(payload: bytes) -> bytes:
    """One whole text message, ready to be written."""
    return b"".join(text_message_pieces([payload]))


def text_message_pieces(parts: list[bytes]) -> list[bytes]:
    """The same of a payload that is in parts: what `text_message` gives, not yet joined."""
    size = sum(map(len, parts))
    if size <= FRAGMENT_BYTES:
        return [_head(_FIN | _TEXT, size), *parts]
    payload = b"".join(parts)
    pieces = []
    opcode = _TEXT
    for at in range(0, len(payload), FRAGMENT_BYTES):
        piece = payload[at : at + FRAGMENT_BYTES]
        fin = _FIN if at + FRAGMENT_BYTES >= len(payload) else 0
        pieces += [_head(fin | opcode, len(piece)), piece]
        opcode = _CONTINUATION
    return pieces


def text_messages(frames: bytes) -> Iterator[bytes]:
    """The payloads of whole text messages that `text_message` built."""
    parts: list[bytes] = []
    for start, body, end in _walk(frames):
        parts.append(frames[body:end])
        if frames[start] & _FIN:
            yield b"".join(parts)
            parts.clear()


def slices(frames: bytes, size: int = SLICE_BYTES) -> Iterator[memoryview]:
    """The same bytes in pieces of whole frames, each of about ``size``; nothing is copied."""
    view = memoryview(frames)
    at = 0
    for _, _, end in _walk(frames):
        if end - at >= size:
            yield view[at:end]
            at = end
    if at < len(frames):
        yield view[at:]


def _head(first: int, size: int) -> bytes:
    if size < _MEDIUM:
        return bytes((first, size))
    if size < 1 << 16:
        return bytes((first, _MEDIUM)) + size.to_bytes(2, "big")
    return bytes((first, _LARGE)) + size.to_bytes(8, "big")


def _walk(frames: bytes) -> Iterator[tuple[int, int, int]]:
    """Begin, begin of the payload, and end of each frame."""
    at = 0
    while at < len(frames):
        size = frames[at + 1]
        body = at + 2
        if size >= _MEDIUM:
            width = 2 if size == _MEDIUM else 8
            size = int.from_bytes(frames[body : body + width], "big")
            body += width
        yield at, body, body + size
        at = body + size
