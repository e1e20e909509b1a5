"""Sends stored output as text: whole, in ranges, or not at all where the client has it."""

import hashlib
from collections.abc import AsyncIterator, Sequence

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from sluice.logs.history import LogView
from sluice.tasks.log_texts import (
    Piece,
    UnsatisfiableRangeError,
    byte_range,
    cut,
    length_of,
)

_TEXT = "text/plain; charset=utf-8"


def ranged(
    request: Request,
    view: LogView,
    pieces: Sequence[Piece],
    *,
    attachment: str | None = None,
) -> Response:
    """The pieces as text, whole or the asked range, or nothing where the client has it.

    ``attachment`` is the name under which browsers store it; without one they show it.
    """
    size = length_of(pieces)
    etag = _etag(view, pieces)
    headers = {
        "accept-ranges": "bytes",
        "etag": etag,
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
    }
    if attachment is not None:
        headers["content-disposition"] = f'attachment; filename="{attachment}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range")
    if asked and request.headers.get("if-range", etag) == etag:
        try:
            found = byte_range(asked, size)
        except UnsatisfiableRangeError:
            headers["content-range"] = f"bytes */{size}"
            return Response(status_code=416, headers=headers)
        if found is not None:
            start, end = found
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
            return _bytes(request, view, cut(pieces, start, end), 206, headers)
    return _bytes(request, view, pieces, 200, headers)


def _bytes(
    request: Request,
    view: LogView,
    pieces: Sequence[Piece],
    status: int,
    headers: dict[str, str],
) -> Response:
    headers = {**headers, "content-length": str(length_of(pieces))}
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=_TEXT)
    return StreamingResponse(
        _raw(view, pieces), status_code=status, headers=headers, media_type=_TEXT
    )


async def _raw(view: LogView, pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        async for data in view.pieces(piece.start, piece.end):
            yield data


def _etag(view: LogView, pieces: Sequence[Piece]) -> str:
    """Changes whenever the text does: its words, and which bytes of the log it has."""
    digest = hashlib.sha256(view.record.task_id.encode())
    for piece in pieces:
        if isinstance(piece, bytes):
            digest.update(piece)
        else:
            digest.update(f"\0{piece.start}-{piece.end}\0".encode())
    return f'"{digest.hexdigest()[:32]}"'
