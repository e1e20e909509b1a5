"""Checks, unpacks and packs a configuration's tar.gz; both ends use the same rules."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from sluice.terraform.archive_limits import (
    ArchiveError,
    ArchiveLimits,
    ArchiveSummary,
)
from sluice.terraform.archive_pack import create_archive
from sluice.terraform.archive_tree import Admitted, ArchiveTree
from sluice.terraform.gunzip import Gunzip
from sluice.terraform.tar_entries import Kind, TarEntries

__all__ = [
    "ArchiveError",
    "ArchiveLimits",
    "ArchiveSummary",
    "check_archive",
    "create_archive",
    "extract_archive",
]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CLASHES = {errno.EEXIST, errno.ENOTDIR, errno.ELOOP}
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def check_archive(path: Path, limits: ArchiveLimits) -> ArchiveSummary:
    """Read an archive to its end without writing anything.

    Raises:
        ArchiveError: it is broken, unsafe, too large, or has no file in it.
    """
    files = 0
    file_bytes = 0
    tree = ArchiveTree(limits)
    with path.open("rb") as file:
        for entry in TarEntries(Gunzip(file, limits)):
            tree.admit(entry)
            if entry.kind is Kind.FILE:
                files += 1
                file_bytes += entry.size
    if not files:
        raise ArchiveError("The archive holds no file.")
    return ArchiveSummary(len(tree), files, file_bytes)


def extract_archive(path: Path, dest: Path, limits: ArchiveLimits) -> None:
    """Unpack into ``dest``, an empty directory that nobody else can write to.

    Files and directories belong to their owner alone; of the modes only the owner's
    execute bit counts. After an error what was made so far is left to be removed.

    Raises:
        ArchiveError: it is broken, unsafe or too large.
    """
    dest.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(dest.iterdir()):
        raise ArchiveError(f"{dest} is not empty; unpack into an empty directory.")
    tree = ArchiveTree(limits)
    root = os.open(dest, _DIRECTORY)
    try:
        with path.open("rb") as file:
            entries = TarEntries(Gunzip(file, limits))
            for entry in entries:
                admitted = tree.admit(entry)
                if admitted is not None:
                    _make(root, admitted, entries)
    finally:
        os.close(root)


def _make(root: int, admitted: Admitted, entries: TarEntries) -> None:
    """Make one entry. On top of the rules no link is ever followed on the way to it."""
    entry = admitted.entry
    name = admitted.path[-1]
    try:
        with _opened(root, admitted.path[:-1]) as parent:
            match entry.kind:
                case Kind.DIRECTORY:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o700, dir_fd=parent)
                case Kind.FILE:
                    mode = 0o700 if entry.executable else 0o600
                    made = os.open(name, _NEW_FILE, mode, dir_fd=parent)
                    with os.fdopen(made, "wb") as file:
                        file.writelines(entries.content())
                case Kind.SYMLINK:
                    os.symlink(entry.target, name, dir_fd=parent)
                case Kind.HARDLINK:
                    _link(root, admitted.target, name, parent)
    except OSError as error:
        if error.errno not in _CLASHES:
            raise
        raise ArchiveError(
            f"{entry.name!r} meets another entry of the same name on this file system: "
            f"{error.strerror}."
        ) from error


def _link(root: int, target: tuple[str, ...], name: str, parent: int) -> None:
    with _opened(root, target[:-1]) as source:
        os.link(
            target[-1],
            name,
            src_dir_fd=source,
            dst_dir_fd=parent,
            follow_symlinks=False,
        )


@contextlib.contextmanager
def _opened(root: int, path: tuple[str, ...]) -> Iterator[int]:
    """The directory under ``root``, made where it is missing, opened step by step."""
    current = os.dup(root)
    try:
        for name in path:
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=current)
            below = os.open(name, _DIRECTORY, dir_fd=current)
            os.close(current)
            current = below
        yield current
    finally:
        os.close(current)
