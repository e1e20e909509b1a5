"""Reads the entries of a tar stream: plain files, directories and links, nothing else.

An own reader over `tarfile`'s header parser, so that nothing is seeked, guessed or held in
memory for a hostile file, and so that the check on the server and the extraction on an
agent see the very same entries.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sluice.terraform.archive_limits import ArchiveError
from sluice.terraform.gunzip import Gunzip

BLOCK = tarfile.BLOCKSIZE
_MAX_META = 1024 * 1024
_ZEROS = bytes(BLOCK)
_COPY_BYTES = 256 * 1024
_SET_ID_BITS = 0o7000


class Kind(StrEnum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symbolic link"
    HARDLINK = "hard link"


_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
}
_REFUSED = {
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as its headers say, not yet judged."""

    name: str
    kind: Kind
    size: int
    target: str
    executable: bool


@dataclass(slots=True)
class _Meta:
    """What extension headers say of the entry that follows."""

    name: str | None = None
    target: str | None = None
    size: int | None = None
    pending: bool = False


class TarEntries:
    """The entries of a tar stream in order; a file's bytes are read while it is current."""

    def __init__(self, stream: Gunzip) -> None:
        self._stream = stream
        self._left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        """All entries; what was not read of a file is skipped.

        Raises:
            ArchiveError: broken, or an entry of a kind that is not taken.
        """
        meta = _Meta()
        while (block := self._next_block()) is not None:
            header = _header(block)
            if header.type in _EXTENSIONS:
                self._extend(meta, header)
                continue
            entry = _entry(header, meta)
            meta = _Meta()
            self._left = entry.size
            self._padding = -entry.size % BLOCK
            yield entry
            for _ in self.content():
                pass
            self._stream.read_exactly(self._padding)
        if meta.pending:
            raise ArchiveError("The archive ends in the middle of an entry.")
        self._drain()

    def content(self) -> Iterator[bytes]:
        """The bytes of the current entry that were not read yet."""
        while self._left:
            piece = self._stream.read_exactly(min(self._left, _COPY_BYTES))
            self._left -= len(piece)
            yield piece

    def _next_block(self) -> bytes | None:
        block = self._stream.read(BLOCK)
        if not block or block == _ZEROS:
            return None
        if len(block) < BLOCK:
            raise ArchiveError("The archive ends in the middle of an entry.")
        return block

    def _drain(self) -> None:
        """Read to the end, so that the checksum of the whole is checked."""
        while piece := self._stream.read(_COPY_BYTES):
            if piece.strip(b"\x00"):
                raise ArchiveError(
                    "The archive has data behind its end; was it joined from several?"
                )

    def _extend(self, meta: _Meta, header: tarfile.TarInfo) -> None:
        if not 0 <= header.size <= _MAX_META:
            raise ArchiveError(f"The archive has a header of {header.size} bytes.")
        data = self._stream.read_exactly(header.size)
        self._stream.read_exactly(-header.size % BLOCK)
        match header.type:
            case tarfile.XHDTYPE:
                _take_records(meta, data)
                meta.pending = True
            case tarfile.XGLTYPE:
                _refuse_global(data)
            case tarfile.GNUTYPE_LONGNAME:
                meta.name, meta.pending = _text(data.rstrip(b"\x00")), True
            case _:
                meta.target, meta.pending = _text(data.rstrip(b"\x00")), True


_EXTENSIONS = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}


def _header(block: bytes) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except UnicodeDecodeError:
        raise ArchiveError("The archive has a name that is not UTF-8.") from None
    except (tarfile.HeaderError, ValueError):
        raise ArchiveError(
            "The archive is no intact tar file; pack it as .tar.gz."
        ) from None


def _entry(header: tarfile.TarInfo, meta: _Meta) -> Entry:
    name = header.name if meta.name is None else meta.name
    size = header.size if meta.size is None else meta.size
    kind = _KINDS.get(header.type)
    if kind is None:
        what = _REFUSED.get(header.type, f"of an unknown kind ({header.type!r})")
        raise ArchiveError(
            f"{name!r} is {what}; only files, directories and links are taken."
        )
    if size < 0 or (size and kind is not Kind.FILE):
        raise ArchiveError(f"{name!r} is a {kind} of {size} bytes.")
    if kind is Kind.FILE and header.mode & _SET_ID_BITS:
        raise ArchiveError(f"{name!r} has a set-user-id, set-group-id or sticky bit.")
    return Entry(
        name=name,
        kind=kind,
        size=size,
        target=header.linkname if meta.target is None else meta.target,
        executable=bool(header.mode & 0o100),
    )


def _take_records(meta: _Meta, data: bytes) -> None:
    for key, value in _records(data):
        if key.startswith(b"GNU.sparse."):
            raise ArchiveError("The archive has a sparse file.")
        match key:
            case b"path":
                meta.name = _text(value)
            case b"linkpath":
                meta.target = _text(value)
            case b"size":
                meta.size = _number(value)
            case _:
                pass


def _refuse_global(data: bytes) -> None:
    """Global headers may carry a comment (`git archive` writes one), but name no entry."""
    for key, _ in _records(data):
        if key in {b"path", b"linkpath", b"size"} or key.startswith(b"GNU.sparse."):
            raise ArchiveError("The archive has a global header that names an entry.")


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The records ``length key=value\\n`` of a pax header."""
    begin = 0
    while begin < len(data):
        digits, blank, _ = data[begin : begin + 12].partition(b" ")
        length = _number(digits) if blank else 0
        record = data[begin + len(digits) + 1 : begin + length]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or begin + length > len(data):
            raise ArchiveError("The archive has a pax header that cannot be read.")
        yield key, value[:-1]
        begin += length


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise ArchiveError("The archive has a pax header that cannot be read.")
    return int(digits)


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ArchiveError("The archive has a name that is not UTF-8.") from None
