"""Reads a gzip file a little at a time and stops before it unpacks to too much."""

import zlib
from typing import IO

from sluice.terraform.archive_limits import ArchiveError, ArchiveLimits

_READ_BYTES = 64 * 1024
_UNPACK_BYTES = 256 * 1024
_RATIO_FROM = 8 * 1024 * 1024
_GZIP = 31


class Gunzip:
    """The unpacked bytes of a gzip file (also of several members one after the other)."""

    def __init__(self, file: IO[bytes], limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        self._inflate = zlib.decompressobj(_GZIP)
        self._packed = b""
        self._ready = bytearray()
        self._taken = 0
        self._ended = False
        self.unpacked = 0

    def read(self, size: int) -> bytes:
        """``size`` bytes, or fewer at the end of the file."""
        while len(self._ready) < size and self._fill():
            pass
        piece = bytes(self._ready[:size])
        del self._ready[:size]
        return piece

    def read_exactly(self, size: int) -> bytes:
        """``size`` bytes.

        Raises:
            ArchiveError: the file ends before.
        """
        piece = self.read(size)
        if len(piece) < size:
            raise ArchiveError("The archive ends in the middle of an entry.")
        return piece

    def _fill(self) -> bool:
        """Unpack some more; False at the end."""
        if self._inflate.eof and not self._next_member():
            return False
        if not self._packed:
            self._packed = self._file.read(_READ_BYTES)
            self._taken += len(self._packed)
            if not self._packed:
                raise ArchiveError("The archive ends in the middle of its gzip data.")
        try:
            piece = self._inflate.decompress(self._packed, _UNPACK_BYTES)
        except zlib.error:
            raise ArchiveError(
                "The archive is no intact gzip file; pack it as .tar.gz."
            ) from None
        rest = self._inflate.unused_data if self._inflate.eof else None
        self._packed = self._inflate.unconsumed_tail if rest is None else rest
        self.unpacked += len(piece)
        self._refuse_too_much()
        self._ready += piece
        return True

    def _next_member(self) -> bool:
        """Go on with the next gzip member; zeros between or behind members are padding."""
        while not (packed := self._packed.lstrip(b"\x00")):
            packed = self._file.read(_READ_BYTES)
            self._taken += len(packed)
            if not packed:
                return False
            self._packed = packed
        self._packed = packed
        self._inflate = zlib.decompressobj(_GZIP)
        return True

    def _refuse_too_much(self) -> None:
        limits = self._limits
        if self.unpacked > limits.max_bytes:
            raise ArchiveError(
                f"The archive unpacks to more than {limits.max_bytes} bytes; "
                "leave large files out (.terraformignore)."
            )
        if (
            self.unpacked > _RATIO_FROM
            and self.unpacked > self._taken * limits.max_ratio
        ):
            raise ArchiveError(
                f"The archive unpacks to more than {limits.max_ratio} times its size, "
                "which no configuration does."
            )
