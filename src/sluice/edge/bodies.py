"""Request bodies with a cap: a small one for JSON, a route's own for files, streamed to disk."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sluice.base.errors import InvalidInputError, TooLargeError

DEFAULT_CAP = 8 * 1024 * 1024
_SCOPE_KEY = "sluice.body_cap"
_WRITE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A request body that lies on disk."""

    path: Path
    size: int
    sha256: str
    md5: bytes


class BodyCap:
    """Stops reading a body at the cap: the app's own, or what the route allows by `allow`."""

    def __init__(self, app: ASGIApp, cap: int = DEFAULT_CAP) -> None:
        self._app = app
        self._cap = cap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counting ``receive``."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[_SCOPE_KEY] = self._cap
        announced = _announced(Headers(scope=scope))
        read = 0

        def check(size: int) -> None:
            limit = scope[_SCOPE_KEY]
            if size > limit:
                # An HTTPException, because FastAPI turns other errors met while it
                # reads a body into a plain 400.
                raise HTTPException(413, _detail(limit))

        async def counted() -> Message:
            nonlocal read
            check(announced)
            message = await receive()
            read += len(message.get("body", b""))
            check(read)
            return message

        await self._app(scope, counted, send)


def allow(request: Request, limit: int) -> None:
    """Let this request's body be up to ``limit`` bytes; refuse a larger announced one."""
    request.scope[_SCOPE_KEY] = limit
    if _announced(request.headers) > limit:
        raise TooLargeError(_detail(limit), limit=limit)


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body in memory, at most ``limit`` bytes.

    Raises:
        TooLargeError: it is larger.
    """
    allow(request, limit)
    pieces = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limit:
            raise TooLargeError(_detail(limit), limit=limit)
        pieces.append(piece)
    return b"".join(pieces)


@asynccontextmanager
async def body_to_file(
    request: Request, *, limit: int, directory: Path | None = None
) -> AsyncIterator[StoredBody]:
    """The body in a temporary file that is removed at the end of the block.

    Raises:
        TooLargeError: it is larger than ``limit`` bytes.
        InvalidInputError: it is shorter than announced.
    """
    allow(request, limit)
    with tempfile.NamedTemporaryFile(prefix="sluice-body-", dir=directory) as file:
        writer = _Writer(file, limit)
        async for piece in request.stream():
            await writer.add(piece)
        await writer.flush()
        announced = _announced(request.headers)
        if announced not in {0, writer.size}:
            raise InvalidInputError(
                f"The body ended after {writer.size} of {announced} bytes; send it again."
            )
        yield StoredBody(
            Path(file.name),
            writer.size,
            writer.sha256.hexdigest(),
            writer.md5.digest(),
        )


class _Writer:
    """Gathers pieces and writes them in threads, so that a slow disk blocks nobody."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file = file
        self._limit = limit
        self._pending = bytearray()
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.md5 = hashlib.md5(usedforsecurity=False)

    async def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._limit:
            raise TooLargeError(_detail(self._limit), limit=self._limit)
        self._pending += piece
        if len(self._pending) >= _WRITE_BYTES:
            await self.flush()

    async def flush(self) -> None:
        pending, self._pending = bytes(self._pending), bytearray()
        if pending:
            await asyncio.to_thread(self._write, pending)
        await asyncio.to_thread(self._file.flush)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.md5.update(data)


def _announced(headers: Headers) -> int:
    """Bytes that the body will have; 0 where it is not said."""
    given = headers.get("content-length", "")
    return int(given) if given.isascii() and given.isdigit() else 0


def _detail(limit: int) -> str:
    return (
        f"The body is larger than {limit} bytes; send less, "
        "or raise the server's setting for it."
    )
