"""Seals every stored secret anew under the present key, beside running servers.

A pass looks at every value and seals anew what another key has sealed; passes are made until
one finds nothing to do, which is the proof that no former key is needed. A value goes back
only in the place of the very bytes that were read, so that whatever a server writes meanwhile
stays; it may be cut off at any moment and run again.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sluice.auth.audit import AuditLog
from sluice.auth.audit_entries import new_entry
from sluice.auth.keyring import KeyRing, UnsealError
from sluice.base.clock import Clock
from sluice.base.errors import SluiceError
from sluice.blobs.store import BlobMissingError, Blobs
from sluice.db.engine import Database
from sluice.server.sealed_places import (
    BLOBS,
    COLUMNS,
    Found,
    SealedBlobs,
    SealedColumn,
    SealedMap,
)

PASSES = 5
"""After so many, some server still seals with a former key."""

PAGE = 20


@dataclass(frozen=True, slots=True)
class ResealDeps:
    """What sealing anew needs."""

    database: Database
    blobs: Blobs
    keyring: KeyRing
    audit: AuditLog
    clock: Clock


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value that cannot be opened: what it is, whose, and why not."""

    kind: str
    name: str
    whose: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resealed:
    """What was done.

    Attributes:
        counts: how many values were sealed anew, by kind.
        unreadable: what stays as it was.
        settled: whether a last look found nothing more to do.
    """

    counts: dict[str, int]
    unreadable: Sequence[Unreadable]
    settled: bool

    @property
    def done(self) -> bool:
        """Whether no former key is needed any more."""
        return self.settled and not self.unreadable


class _Pass:
    """One look at everything; what it seals anew is counted in ``counts`` at once."""

    def __init__(self, counts: dict[str, int]) -> None:
        self.unreadable: list[Unreadable] = []
        self.found_nothing = True
        self._counts = counts

    def sealed(self, kind: str, number: int) -> None:
        """Count values that were sealed anew."""
        self._counts[kind] += number
        self.found_nothing = self.found_nothing and not number

    def overtaken(self) -> None:
        """Note that a value was changed by somebody else meanwhile."""
        self.found_nothing = False

    def refuse(self, kind: str, found: Found, error: SluiceError) -> None:
        """Note a value that stays as it is."""
        self.unreadable.append(Unreadable(kind, found.name, found.whose, error.detail))


async def reseal_all(deps: ResealDeps, *, actor: str) -> Resealed:
    """Seal everything anew, and put that into the audit log, also where it is cut off.

    Raises:
        UnavailableError: the blob store is away; running it again goes on.
    """
    counts = {place.kind: 0 for place in (*COLUMNS, *BLOBS)}
    this = _Pass(counts)
    try:
        for _ in range(PASSES):
            this = _Pass(counts)
            await _look(deps, this)
            if this.found_nothing:
                break
    except (asyncio.CancelledError, SluiceError):
        await _record(deps, actor, Resealed(counts, this.unreadable, settled=False))
        raise
    done = Resealed(counts, this.unreadable, settled=this.found_nothing)
    await _record(deps, actor, done)
    return done


async def _look(deps: ResealDeps, this: _Pass) -> None:
    for place in COLUMNS:
        await _columns(deps, place, this)
    for blobs in BLOBS:
        await _blobs(deps, blobs, this)


async def _record(deps: ResealDeps, actor: str, done: Resealed) -> None:
    detail = {kind: str(number) for kind, number in done.counts.items() if number}
    detail["unreadable"] = str(len(done.unreadable))
    detail["former_keys_needed"] = "no" if done.done else "yes"
    entry = new_entry(
        deps.clock, actor=actor, action="keys.rotate", subject="keys", detail=detail
    )
    async with deps.database.write() as tx:
        await deps.audit.append(tx, entry)


# --- values in rows ------------------------------------------------------------------


async def _columns(
    deps: ResealDeps, place: SealedColumn | SealedMap, this: _Pass
) -> None:
    after: str | None = ""
    while after is not None:
        async with deps.database.read() as tx:
            page = await place.outdated(tx, deps.keyring.mark, after, PAGE)
        anew = [
            (found, sealed)
            for found in page.found
            if (sealed := await _anew(deps, place.kind, found, this)) is not None
        ]
        if anew:
            await _put_back(deps, place, anew, this)
        after = page.after


async def _anew(deps: ResealDeps, kind: str, found: Found, this: _Pass) -> bytes | None:
    try:
        return await asyncio.to_thread(deps.keyring.reseal, found.sealed, found.name)
    except UnsealError as error:
        this.refuse(kind, found, error)
        return None


async def _put_back(
    deps: ResealDeps,
    place: SealedColumn | SealedMap,
    anew: Sequence[tuple[Found, bytes]],
    this: _Pass,
) -> None:
    replaced = 0
    async with deps.database.write() as tx:
        for found, sealed in anew:
            replaced += await place.replace(tx, found, sealed)
    this.sealed(place.kind, replaced)
    if replaced < len(anew):
        this.overtaken()


# --- blobs ---------------------------------------------------------------------------


async def _blobs(deps: ResealDeps, place: SealedBlobs, this: _Pass) -> None:
    after: str | None = ""
    while after is not None:
        async with deps.database.read() as tx:
            page = await place.named(tx, after, PAGE)
        async with asyncio.TaskGroup() as group:
            looks = [
                group.create_task(_beginning(deps, found.key)) for found in page.found
            ]
        for found, look in zip(page.found, looks, strict=True):
            await _blob(deps, place, found, look.result(), this)
        after = page.after


async def _beginning(deps: ResealDeps, key: str) -> bytes | SluiceError:
    try:
        return await deps.blobs.get_range(key, 0, len(deps.keyring.mark))
    except SluiceError as error:
        return error


async def _blob(
    deps: ResealDeps,
    place: SealedBlobs,
    found: Found,
    first: bytes | SluiceError,
    this: _Pass,
) -> None:
    """Put a blob in its own place: a put is atomic, and readers see one or the other."""
    try:
        if isinstance(first, SluiceError):
            raise first
        if first == deps.keyring.mark:
            return
        sealed = await deps.blobs.get(found.key)
        anew = await asyncio.to_thread(deps.keyring.reseal, sealed, found.name)
        await deps.blobs.put(found.key, anew)
    except (BlobMissingError, UnsealError) as error:
        async with deps.database.read() as tx:
            still_named = await place.is_named(tx, found)
        if still_named:
            this.refuse(place.kind, found, error)
        return
    this.sealed(place.kind, 1)
    async with deps.database.read() as tx:
        gone = await place.is_gone(tx, found)
    if gone:
        # it was deleted with its row while it was sealed anew, and is not to come back
        await deps.blobs.delete(found.key)
