"""Packs a directory into a configuration's tar.gz; the same files give the same bytes."""

import gzip
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from sluice.terraform.archive_limits import (
    ArchiveError,
    ArchiveLimits,
    ArchiveSummary,
)
from sluice.terraform.archive_tree import ArchiveTree
from sluice.terraform.tar_entries import Entry, Kind
from sluice.terraform.terraform_ignore import (
    FILE_NAME,
    Rule,
    is_ignored,
    is_never_sent,
    parse_rules,
)

_TYPES = {
    Kind.FILE: tarfile.REGTYPE,
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def create_archive(
    directory: Path, target: IO[bytes], limits: ArchiveLimits | None = None
) -> ArchiveSummary:
    """Pack ``directory`` into ``target``, less what `.terraformignore` and the rules for
    local files leave out. Times, owners and all of the modes but "executable" are left
    out too, so that nothing but the content decides the archive's bytes.

    Raises:
        ArchiveError: a link leads out of the directory, a file cannot be read, a name
            cannot be taken, or there is nothing (or too much) to pack.
    """
    return _Packer(directory, limits or ArchiveLimits()).pack(target)


@dataclass(slots=True)
class _Packer:
    root: Path
    limits: ArchiveLimits
    rules: list[Rule] = field(default_factory=list)
    files: int = 0
    file_bytes: int = 0

    def pack(self, target: IO[bytes]) -> ArchiveSummary:
        ignore = self.root / FILE_NAME
        if ignore.is_file():
            self.rules = parse_rules(ignore.read_text(encoding="utf-8-sig"))
        tree = ArchiveTree(self.limits)
        with (
            gzip.GzipFile(filename="", fileobj=target, mode="wb", mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for entry in self._entries(()):
                tree.admit(entry)
                self._add(tar, entry)
        if not self.files:
            raise ArchiveError(f"{self.root} holds no file to upload.")
        return ArchiveSummary(len(tree), self.files, self.file_bytes)

    def _entries(self, place: tuple[str, ...]) -> Iterator[Entry]:
        """What is below ``place`` and goes along, in the order of names."""
        for item in self._listed(place):
            parts = (*place, item.name)
            ignored = is_ignored(parts, self.rules)
            if is_never_sent(parts) or (ignored and not self._may_keep):
                continue
            if item.is_dir(follow_symlinks=False):
                if not ignored and item.name != ".terraform":
                    yield self._entry(parts, Kind.DIRECTORY)
                yield from self._entries(parts)
            elif not ignored:
                yield from self._leaf(item, parts)

    def _listed(self, place: tuple[str, ...]) -> list[os.DirEntry[str]]:
        directory = self.root.joinpath(*place)
        try:
            with os.scandir(directory) as scan:
                return sorted(scan, key=lambda item: item.name)
        except OSError as error:
            raise ArchiveError(
                f"{directory} cannot be read: {error.strerror}."
            ) from error

    @property
    def _may_keep(self) -> bool:
        """Whether a rule could take back something in a directory that is left out."""
        return any(rule.keep for rule in self.rules)

    def _leaf(self, item: os.DirEntry[str], parts: tuple[str, ...]) -> Iterator[Entry]:
        """A file or a link; sockets, pipes and devices stay here."""
        if item.is_symlink():
            if item.name != ".terraform":
                yield self._entry(parts, Kind.SYMLINK, target=self._inside(parts))
        elif item.is_file(follow_symlinks=False):
            yield self._entry(parts, Kind.FILE)

    def _entry(self, parts: tuple[str, ...], kind: Kind, target: str = "") -> Entry:
        return Entry("/".join(parts), kind, size=0, target=target, executable=False)

    def _inside(self, parts: tuple[str, ...]) -> str:
        """The shortest relative way to what a link names."""
        link = self.root.joinpath(*parts)
        root = os.path.realpath(self.root)
        parent = os.path.realpath(link.parent)
        named = os.path.realpath(os.path.join(parent, os.readlink(link)))
        if os.path.commonpath([root, named]) != root:
            raise ArchiveError(
                f"{'/'.join(parts)} is a link to {os.readlink(link)}, outside of "
                f"{self.root}; copy what it names, or list it in {FILE_NAME}."
            )
        return os.path.relpath(named, parent)

    def _add(self, tar: tarfile.TarFile, entry: Entry) -> None:
        header = tarfile.TarInfo(entry.name)
        header.type = _TYPES[entry.kind]
        header.mode = 0o755 if entry.kind is Kind.DIRECTORY else 0o644
        if entry.kind is not Kind.FILE:
            header.linkname = entry.target
            tar.addfile(header)
            return
        try:
            self._add_file(tar, header)
        except OSError as error:
            raise ArchiveError(
                f"{entry.name} cannot be packed: {error.strerror or error}."
            ) from error

    def _add_file(self, tar: tarfile.TarFile, header: tarfile.TarInfo) -> None:
        with os.fdopen(os.open(self.root / header.name, _READ), "rb") as file:
            status = os.fstat(file.fileno())
            header.size = status.st_size
            if status.st_mode & stat.S_IXUSR:
                header.mode = 0o755
            self.files += 1
            self.file_bytes += header.size
            if self.file_bytes > self.limits.max_bytes:
                raise ArchiveError(
                    f"{self.root} holds more than {self.limits.max_bytes} bytes; "
                    f"list what is not needed in {FILE_NAME}."
                )
            tar.addfile(header, file)
