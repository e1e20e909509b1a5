"""The hash chain of the audit log: how an entry is hashed, and what a broken chain is."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from typing_extensions import override


class Chained(Protocol):
    """An entry with its place in the chain."""

    @property
    def number(self) -> int:
        """From 1, without a gap."""
        ...

    @property
    def id(self) -> str:
        """The entry's own."""
        ...

    @property
    def at(self) -> datetime:
        """When it was made."""
        ...

    @property
    def organization_id(self) -> str | None:
        """Whose it is."""
        ...

    @property
    def actor(self) -> str:
        """Who, by name."""
        ...

    @property
    def actor_id(self) -> str:
        """Who, by id."""
        ...

    @property
    def action(self) -> str:
        """What."""
        ...

    @property
    def subject(self) -> str:
        """To what."""
        ...

    @property
    def detail(self) -> Mapping[str, str]:
        """What else is to be known."""
        ...

    @property
    def outcome(self) -> str:
        """Allowed or denied."""
        ...

    @property
    def address(self) -> str:
        """From where."""
        ...

    @property
    def request_id(self) -> str:
        """By which request."""
        ...

    @property
    def previous_hash(self) -> str:
        """The hash of the entry before."""
        ...

    @property
    def hash(self) -> str:
        """Its own, which says all of the above."""
        ...


def entry_hash(entry: Chained) -> str:
    """What ``entry.hash`` has to be: SHA-256 over all its other fields, in hexadecimal.

    The fields are one JSON object in ASCII: keys in order, no blanks, the time in UTC
    with six digits of a second.
    """
    fields = {
        "number": entry.number,
        "id": entry.id,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "organization_id": entry.organization_id,
        "actor": entry.actor,
        "actor_id": entry.actor_id,
        "action": entry.action,
        "subject": entry.subject,
        "detail": dict(entry.detail),
        "outcome": str(entry.outcome),
        "address": entry.address,
        "request_id": entry.request_id,
        "previous_hash": entry.previous_hash,
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the chain that somebody has noted: the number and hash of an entry."""

    number: int
    hash: str

    @override
    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


NOTHING = Link(0, "")
"""What comes before the first entry."""


def read_link(text: str) -> Link:
    """The link that ``NUMBER:HASH`` names.

    Raises:
        ValueError: the text is none; the message is for people.
    """
    number, _, digest = text.strip().partition(":")
    digits = set("0123456789abcdef")
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise ValueError(f"{text[:80]!r} has to be NUMBER:HASH, such as 42:9f86…")
    if len(digest) != hashlib.sha256().digest_size * 2 or set(digest) - digits:
        raise ValueError(
            f"{text[:80]!r} has to end in a hash of 64 hexadecimal digits, in lower case"
        )
    return Link(int(number), digest)


@dataclass(frozen=True, slots=True)
class Broken:
    """Where the chain is broken first, and what is wrong there, in words."""

    number: int
    what: str


class ChainCheck:
    """Takes entries in order, and says where they first are no chain.

    Args:
        noted: links that have to be in it, such as one noted long ago and the head that
            the server names; each is checked when its number comes by.
        from_start: whether the first entry has to be number 1; a file may hold the later
            part of the log alone.
        whole: whether no entry may be missing between two; a filtered export holds some
            alone, and of those only their own hashes can be told.
    """

    def __init__(
        self, *noted: Link, from_start: bool = True, whole: bool = True
    ) -> None:
        self.first: int | None = None
        self.last = NOTHING
        self._noted = sorted(
            {link for link in noted if link.number > 0}, key=lambda link: link.number
        )
        self._from_start = from_start
        self._whole = whole

    def take(self, entry: Chained) -> Broken | None:
        """The next entry; what is wrong with it or before it, if anything."""
        broken = (
            self._place(entry)
            or self._content(entry)
            or self._follows(entry)
            or self._as_noted(entry)
        )
        if broken is None:
            self.first = self.first or entry.number
            self.last = Link(entry.number, entry.hash)
        return broken

    def end(self) -> Broken | None:
        """There are no more entries; what is missing then, if anything."""
        if not self._noted:
            return None
        link = self._noted[-1]
        if link.number > self.last.number:
            return Broken(
                self.last.number + 1,
                f"the end is cut off: the log ends with entry {self.last.number}, "
                f"and it had entry {link.number}",
            )
        return Broken(link.number, "this entry was noted, and is not in the file")

    def _place(self, entry: Chained) -> Broken | None:
        wanted = self.last.number + 1
        if not entry.hash:
            return Broken(
                entry.number, "it is not in the chain: it was put in by other means"
            )
        if entry.number < wanted:
            return Broken(entry.number, "it comes twice, or out of its order")
        may_begin = self.first is None and not self._from_start
        if entry.number == wanted or may_begin or not self._whole:
            return None
        if entry.number == wanted + 1:
            return Broken(wanted, f"entry {wanted} is missing")
        last = entry.number - 1
        return Broken(wanted, f"entries {wanted} to {last} are missing")

    def _content(self, entry: Chained) -> Broken | None:
        if entry_hash(entry) == entry.hash:
            return None
        return Broken(
            entry.number, "it was changed: its content is not what its hash says"
        )

    def _follows(self, entry: Chained) -> Broken | None:
        known = entry.number == self.last.number + 1
        if not known or entry.previous_hash == self.last.hash:
            return None
        return Broken(
            entry.number,
            f"it does not follow entry {self.last.number}: one of the two was replaced, "
            "hash and all",
        )

    def _as_noted(self, entry: Chained) -> Broken | None:
        due = [link for link in self._noted if link.number == entry.number]
        for link in due:
            self._noted.remove(link)
            if link.hash != entry.hash:
                return Broken(
                    entry.number,
                    f"it is another than the one noted ({link.hash[:12]}…): the log was "
                    "written anew, from there or from before",
                )
        return None
