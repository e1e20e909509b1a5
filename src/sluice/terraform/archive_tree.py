"""Which names and links an archive may have, so that nothing lands outside its directory.

The rules look at one entry at a time and at those before it, so that every part of an
archive that was taken is safe by itself:

- a name is relative, without `..`, and taken once (a directory may be named again);
- nothing lies under a file or a link;
- a symbolic link climbs at most to the archive's root, by `..` at its beginning alone. What
  lies above it are real directories, so this cannot lead out, whatever other links do;
- a hard link names a file that came before.
"""

from dataclasses import dataclass

from sluice.terraform.archive_limits import ArchiveError, ArchiveLimits
from sluice.terraform.tar_entries import Entry, Kind

Path = tuple[str, ...]

_MAX_NAME = 255
_MAX_PATH = 4000
_MAX_DEPTH = 100


@dataclass(frozen=True, slots=True)
class Admitted:
    """An entry that may be made; ``target`` is a hard link's file."""

    path: Path
    entry: Entry
    target: Path = ()


class ArchiveTree:
    """What came so far, and the judge of what comes next."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._kinds: dict[Path, Kind] = {}

    def __len__(self) -> int:
        """How many entries there are, implied directories included."""
        return len(self._kinds)

    def admit(self, entry: Entry) -> Admitted | None:
        """The entry's place; None for the root itself.

        Raises:
            ArchiveError: it may not be there.
        """
        path = _path(entry.name, _shown(entry.name))
        if not path:
            if entry.kind is not Kind.DIRECTORY:
                raise ArchiveError(f"{_shown(entry.name)} is no name for a file.")
            return None
        self._admit_parents(path, entry)
        present = self._kinds.get(path)
        if present is not None and {present, entry.kind} != {Kind.DIRECTORY}:
            raise ArchiveError(
                f"{_shown(entry.name)} is in the archive twice; pack it again."
            )
        target: Path = ()
        if entry.kind is Kind.SYMLINK:
            _refuse_leading_out(path, entry)
        if entry.kind is Kind.HARDLINK:
            target = self._file_of(entry)
        self._add(path, Kind.FILE if entry.kind is Kind.HARDLINK else entry.kind)
        return Admitted(path, entry, target)

    def _admit_parents(self, path: Path, entry: Entry) -> None:
        for depth in range(1, len(path)):
            parent = path[:depth]
            kind = self._kinds.get(parent)
            if kind is None:
                self._add(parent, Kind.DIRECTORY)
            elif kind is not Kind.DIRECTORY:
                raise ArchiveError(
                    f"{_shown(entry.name)} lies under {_shown('/'.join(parent))}, "
                    f"which is a {kind}."
                )

    def _file_of(self, entry: Entry) -> Path:
        target = _path(
            entry.target, f"The target of the hard link {_shown(entry.name)}"
        )
        if self._kinds.get(target) is not Kind.FILE:
            raise ArchiveError(
                f"{_shown(entry.name)} is a hard link to {_shown(entry.target)}, "
                "which is no file that came before it."
            )
        return target

    def _add(self, path: Path, kind: Kind) -> None:
        self._kinds[path] = kind
        if len(self._kinds) > self._limits.max_entries:
            raise ArchiveError(
                f"The archive has more than {self._limits.max_entries} entries; "
                "leave out what is not needed (.terraformignore)."
            )


def _path(name: str, what: str) -> Path:
    """The parts of a relative name; empty for the root."""
    _refuse_odd(name, what)
    if name.startswith("/"):
        raise ArchiveError(f"{what} is an absolute path.")
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise ArchiveError(f"{what} has `..` in its path.")
    if len(parts) > _MAX_DEPTH or any(len(part.encode()) > _MAX_NAME for part in parts):
        raise ArchiveError(f"{what} is too deep or too long for a path.")
    return parts


def _refuse_odd(name: str, what: str) -> None:
    if not name:
        raise ArchiveError(f"{what} is empty.")
    if len(name.encode()) > _MAX_PATH:
        raise ArchiveError(f"{what} is too deep or too long for a path.")
    if any(character < " " or character == "\x7f" for character in name):
        raise ArchiveError(f"{what} has a control character in its name.")
    if "\\" in name:
        raise ArchiveError(
            f"{what} has a backslash in its name; pack with forward slashes."
        )


def _refuse_leading_out(path: Path, entry: Entry) -> None:
    what = f"The target of the link {_shown(entry.name)}"
    _refuse_odd(entry.target, what)
    if entry.target.startswith("/"):
        raise ArchiveError(f"{what}, {_shown(entry.target)}, is an absolute path.")
    parts = [part for part in entry.target.split("/") if part not in {"", "."}]
    climbs = 0
    while climbs < len(parts) and parts[climbs] == "..":
        climbs += 1
    if climbs >= len(path):
        raise ArchiveError(
            f"{what}, {_shown(entry.target)}, lies outside of the archive."
        )
    if ".." in parts[climbs:]:
        raise ArchiveError(
            f"{what}, {_shown(entry.target)}, has `..` behind a name; "
            "write the shortest way."
        )


def _shown(name: str) -> str:
    """A name for a message: control characters escaped, cut where it is very long."""
    text = repr(name)
    return text if len(text) <= 200 else text[:200] + "…"
