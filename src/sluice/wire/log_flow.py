"""Both ends of a log's upload, as pure rules: compare-and-append by byte offset.

The sender offers bytes at an offset under an epoch (the lease's fencing number); the
receiver's committed offset is the truth. Acknowledged means durable.

====================================  =========================================
receiver's state                      answer
====================================  =========================================
offset == committed                   append, then `ok` with the new offset
offset + length <= committed          `ok`: already there
gap or straddle                       `refused` with the committed offset
another epoch                         `wrong_epoch`: the sender stops
log closed                            `closed`: the sender stops
checksum does not fit                 `corrupt`: nothing stored, send again
length 0                              a probe: `ok` with the committed offset
output beyond the log's limit         `full` with the limit: what fits was stored
====================================  =========================================

A log that is full takes no more output, but the sender goes on: it fills the log up to the
limit, puts one `capped` event there, drops all further output, and sends what else there
is to say (stages, notes) as long as that stays within `EVENT_ROOM` of the limit.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

import msgspec

WINDOW = 8 * 1024 * 1024
WATCHED_BYTES = 64 * 1024
UNWATCHED_BYTES = 256 * 1024
WATCHED_SECONDS = 0.01
UNWATCHED_SECONDS = 1.0
EVENT_ROOM = 256 * 1024
"""So many bytes of events may stand behind the limit of a log."""


class AckStatus(StrEnum):
    """What the receiver says to an upload."""

    OK = "ok"
    REFUSED = "refused"
    WRONG_EPOCH = "wrong_epoch"
    CLOSED = "closed"
    CORRUPT = "corrupt"
    FULL = "full"


class StreamMode(StrEnum):
    """The rhythm of an upload (spec/4, "Log upload")."""

    AUTO = "auto"
    REALTIME = "realtime"
    BATCH = "batch"


class Ack(msgspec.Struct, frozen=True):
    """The receiver's answer; ``committed`` and ``next_line`` are durable.

    ``command`` is `cancel` or `force_cancel` where the task's agent is asked to stop;
    ``limit`` the log's limit in bytes where it is full.
    """

    status: AckStatus
    committed: int
    next_line: int
    watched: bool = False
    command: str = ""
    limit: int | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Cap:
    """From where on a sender drops output, because the log is full.

    Attributes:
        at: the offset at which output ends and the `capped` event stands.
        limit: the log's limit, as the receiver named it.
        room_end: no event goes beyond this offset.
    """

    at: int
    limit: int
    room_end: int


@dataclass(frozen=True, slots=True)
class Head:
    """Where a log stands: what the receiver knows to be durable."""

    epoch: int
    committed: int
    next_line: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What a sender offers: ``length`` bytes at ``offset`` under ``epoch``."""

    epoch: int
    offset: int
    length: int
    intact: bool = True


def capped(known: Cap | None, *, limit: int, committed: int) -> Cap:
    """The sender's cap once the receiver said `full`; saying it again changes nothing.

    A receiver whose limit was lowered meanwhile takes fewer events; what it has stays.
    """
    room_end = max(limit + EVENT_ROOM, committed)
    if known is None:
        return Cap(max(limit, committed), limit, room_end)
    return replace(known, room_end=min(known.room_end, room_end))


class Verdict(StrEnum):
    """What the receiver does with an offer."""

    APPEND = "append"
    ALREADY_THERE = "already_there"
    REFUSE = "refuse"
    WRONG_EPOCH = "wrong_epoch"
    CLOSED = "closed"
    CORRUPT = "corrupt"


def judge(head: Head, offer: Offer) -> Verdict:
    """The receiver's rule. A late duplicate is fine even after the log closed."""
    if not offer.intact:
        return Verdict.CORRUPT
    if offer.epoch != head.epoch:
        return Verdict.WRONG_EPOCH
    if offer.offset + offer.length <= head.committed:
        return Verdict.ALREADY_THERE
    if head.closed:
        return Verdict.CLOSED
    if offer.offset == head.committed:
        return Verdict.APPEND
    return Verdict.REFUSE


def answer(
    verdict: Verdict, head: Head, *, watched: bool = False, command: str = ""
) -> Ack:
    """The acknowledgement of a verdict; for `APPEND`, ``head`` is the one after it."""
    match verdict:
        case Verdict.APPEND | Verdict.ALREADY_THERE:
            status = AckStatus.OK
        case Verdict.REFUSE:
            status = AckStatus.REFUSED
        case Verdict.WRONG_EPOCH:
            status = AckStatus.WRONG_EPOCH
        case Verdict.CLOSED:
            status = AckStatus.CLOSED
        case Verdict.CORRUPT:
            status = AckStatus.CORRUPT
        case _:
            assert_never(verdict)
    return Ack(status, head.committed, head.next_line, watched, command)


@dataclass(frozen=True, slots=True)
class Sender:
    """The sending side: what is acknowledged, what is on its way, and the rhythm.

    Attributes:
        epoch: fencing number of the lease.
        base: offset at which this sender's bytes begin.
        acked: highest offset the receiver called durable.
        sent: offset just after what was last put on the wire.
        last_sent_at: monotonic seconds of that; None before the first.
        watched: whether somebody reads along.
        mode: forced rhythm, or `auto`.
        open: the connection is up and the first answer came.
        stopped: why nothing may be sent any more; empty while it may.
        unwatched_seconds: the rhythm while nobody watches.
    """

    epoch: int
    base: int
    acked: int
    sent: int
    last_sent_at: float | None = None
    watched: bool = False
    mode: StreamMode = StreamMode.AUTO
    open: bool = False
    stopped: str = ""
    unwatched_seconds: float = UNWATCHED_SECONDS


@dataclass(frozen=True, slots=True)
class Send:
    """Send now, from ``offset``, at most ``limit`` bytes."""

    offset: int
    limit: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to send yet; look again after ``seconds`` (None: when something happens)."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Stop:
    """This sender has no right to go on; ``reason`` is for people."""

    reason: str


def new_sender(
    *,
    epoch: int,
    base: int,
    mode: StreamMode = StreamMode.AUTO,
    unwatched_seconds: float = UNWATCHED_SECONDS,
) -> Sender:
    """A sender that has sent nothing of its phase yet."""
    return Sender(
        epoch=epoch,
        base=base,
        acked=base,
        sent=base,
        mode=mode,
        unwatched_seconds=unwatched_seconds,
    )


def on_ack(sender: Sender, ack: Ack, *, end: int) -> Sender:
    """Take an answer in. ``end`` is the offset just after the last byte in the spool.

    The first answer of a connection is that to the probe; it opens the sender.
    """
    match ack.status:
        case AckStatus.WRONG_EPOCH:
            return replace(sender, stopped="another lease writes this log now")
        case AckStatus.CLOSED:
            return replace(sender, stopped="the log is closed")
        case AckStatus.OK | AckStatus.REFUSED | AckStatus.CORRUPT | AckStatus.FULL:
            pass
        case _:
            assert_never(ack.status)
    if ack.committed < sender.acked:
        reason = (
            f"the server has {ack.committed} bytes of this log but had"
            f" acknowledged {sender.acked}"
        )
        return replace(sender, stopped=reason)
    if ack.committed > end:
        reason = f"the server has {ack.committed} bytes, the spool only {end}"
        return replace(sender, stopped=reason)
    again = not sender.open or ack.status is not AckStatus.OK
    return replace(
        sender,
        acked=ack.committed,
        sent=ack.committed if again else max(sender.sent, ack.committed),
        watched=ack.watched,
        open=True,
    )


def on_sent(sender: Sender, *, length: int, now: float) -> Sender:
    """``length`` bytes were put on the wire at monotonic ``now``."""
    return replace(sender, sent=sender.sent + length, last_sent_at=now)


def on_disconnect(sender: Sender) -> Sender:
    """The connection is gone: what was not acknowledged counts as not sent."""
    return replace(sender, sent=sender.acked, open=False, last_sent_at=None)


def next_step(
    sender: Sender, *, end: int, now: float, flush: bool = False
) -> Send | Wait | Stop:
    """What to do now. ``end`` as for `on_ack`; ``flush`` sends what is there at once."""
    if sender.stopped:
        return Stop(sender.stopped)
    waiting = end - sender.sent
    room = WINDOW - (sender.sent - sender.acked)
    if not sender.open or waiting <= 0 or room <= 0:
        return Wait(None)
    fast = sender.mode is StreamMode.REALTIME or (
        sender.mode is StreamMode.AUTO and sender.watched
    )
    seconds = WATCHED_SECONDS if fast else sender.unwatched_seconds
    enough = WATCHED_BYTES if fast else UNWATCHED_BYTES
    since = None if sender.last_sent_at is None else now - sender.last_sent_at
    if flush or waiting >= enough or since is None or since >= seconds:
        return Send(sender.sent, min(room, UNWATCHED_BYTES))
    return Wait(seconds - since)
