"""How much an archive may hold, and the error that refuses one."""

from dataclasses import dataclass

from sluice.base.errors import InvalidInputError


class ArchiveError(InvalidInputError):
    """A configuration's archive is unsafe or broken; the detail names the entry and why."""

    code = "bad_archive"
    title = "Archive refused"


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Caps on a configuration's archive; the server and the agents apply the same.

    Attributes:
        max_entries: files, directories and links, also those only implied by a path.
        max_bytes: bytes of the unpacked archive, headers and padding included.
        max_ratio: unpacked to packed bytes, looked at beyond 8 MiB.
    """

    max_entries: int = 50_000
    max_bytes: int = 1024 * 1024 * 1024
    max_ratio: int = 200


@dataclass(frozen=True, slots=True)
class ArchiveSummary:
    """What an archive holds: entries of all kinds, and the bytes of its files."""

    entries: int
    files: int
    file_bytes: int
