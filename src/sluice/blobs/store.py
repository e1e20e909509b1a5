"""Immutable blobs under string keys: a local directory by default, or S3."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.exceptions import NotFoundError as ObjectMissingError
from obstore.store import LocalStore, S3Store

from sluice.base.errors import NotFoundError, UnavailableError

STREAM_BYTES = 1024 * 1024
RETRY_FOR = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class S3Settings:
    """How to reach a bucket; empty fields are taken from the environment or the instance."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key_id: str = ""
    secret_access_key: str = field(default="", repr=False)
    virtual_hosted: bool = False
    allow_http: bool = False


class BlobMissingError(NotFoundError):
    """A blob that the database names is not in the blob store; restore it from a backup."""

    code = "blob_missing"
    title = "Stored content is missing"


class Blobs:
    """Whole blobs in, whole blobs or ranges out. Putting the same key again replaces it.

    A put is atomic: readers see the former content, or none, until it is complete. When
    it returns, the content survives a power cut (a local store's files are synced here,
    since the object store library only renames them into place).
    """

    def __init__(
        self, store: LocalStore | S3Store, *, directory: Path | None = None
    ) -> None:
        self._store = store
        self._directory = directory

    async def put(self, key: str, data: bytes | Path) -> None:
        """Store ``data`` (bytes, or a file's content, streamed in parts)."""
        try:
            await self._store.put_async(key, data)
            if self._directory is not None:
                await asyncio.to_thread(_sync, self._directory / key)
        except (BaseError, OSError) as error:
            raise _away(key, error) from error

    async def get(self, key: str) -> bytes:
        """A blob's whole content; for small blobs."""
        try:
            result = await self._store.get_async(key)
            return bytes(await result.bytes_async())
        except (BaseError, OSError) as error:
            raise _away(key, error) from error

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        """``length`` bytes from ``start``; fewer where the blob ends before."""
        if length <= 0:
            return b""
        try:
            found = await self._store.get_range_async(key, start=start, length=length)
            return bytes(found)
        except (BaseError, OSError) as error:
            if start >= await self.size(key):
                return b""
            raise _away(key, error) from error

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """A blob's content in pieces, whatever its size."""
        try:
            result = await self._store.get_async(key)
            async for piece in result.stream(min_chunk_size=STREAM_BYTES):
                yield bytes(piece)
        except (BaseError, OSError) as error:
            raise _away(key, error) from error

    async def size(self, key: str) -> int:
        """How many bytes a blob has."""
        try:
            meta = await self._store.head_async(key)
        except (BaseError, OSError) as error:
            raise _away(key, error) from error
        return meta["size"]

    async def exists(self, key: str) -> bool:
        """Whether there is such a blob."""
        try:
            await self.size(key)
        except BlobMissingError:
            return False
        return True

    async def delete(self, key: str) -> None:
        """Remove a blob; one that is not there is fine."""
        try:
            await self._store.delete_async(key)
        except (FileNotFoundError, ObjectMissingError):
            return
        except (BaseError, OSError) as error:
            raise _away(key, error) from error


def open_local_blobs(directory: Path) -> Blobs:
    """Blobs in a local directory, made where it is missing and kept from other users."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Blobs(LocalStore(prefix=directory), directory=directory)


def open_s3_blobs(settings: S3Settings) -> Blobs:
    """Blobs in an S3 bucket, or in what speaks its protocol."""
    options = {
        "endpoint": settings.endpoint,
        "region": settings.region,
        "access_key_id": settings.access_key_id,
        "secret_access_key": settings.secret_access_key,
    }
    store = S3Store(
        settings.bucket,
        prefix=settings.prefix or None,
        config={key: value for key, value in options.items() if value},  # type: ignore[arg-type]
        virtual_hosted_style_request=settings.virtual_hosted,
        client_options={"allow_http": settings.allow_http},
        retry_config={"max_retries": 4, "retry_timeout": RETRY_FOR},
    )
    return Blobs(store)


def _sync(path: Path) -> None:
    for synced in (path, path.parent):
        descriptor = os.open(synced, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _away(key: str, error: Exception) -> NotFoundError | UnavailableError:
    if isinstance(error, FileNotFoundError | ObjectMissingError):
        return BlobMissingError(
            f"The stored content {key} is missing from the blob store; "
            "restore it from a backup."
        )
    return UnavailableError(
        f"The blob store cannot be used for {key} ({_first_line(error)}); "
        "look at its settings and try again."
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:200]
