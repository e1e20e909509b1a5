"""Decides what is kept of output that arrives after its lease ended.

Lines that an agent had captured before count as output of the task and are kept, beside
the log: others may have written there since. The rule is that of uploads, by offset.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sluice.base.clock import to_micros
from sluice.base.errors import ConflictError
from sluice.tasks.model import LateOutput, LeaseOutcome, LeaseRecord
from sluice.wire.chunk import Chunk
from sluice.wire.late_output import MAX_LATE_BYTES


@dataclass(frozen=True, slots=True)
class Taken:
    """What a delivery adds: bytes from ``start`` on; ``open`` as in `LateAnswer`."""

    start: int
    data: bytes
    open: bool

    @property
    def committed(self) -> int:
        """Offset after it."""
        return self.start + len(self.data)


def check_ended(lease: LeaseRecord) -> None:
    """Refuse late output of a lease that lasts, or whose phase was reported whole.

    Raises:
        ConflictError: there is nothing late about it.
    """
    if lease.outcome is None:
        raise ConflictError(
            f"The lease {lease.id} lasts; upload its output into the task's log."
        )
    if lease.outcome is LeaseOutcome.FINISHED:
        raise ConflictError(
            f"The phase of lease {lease.id} was reported with its whole log; there is no"
            " late output of it."
        )


def take(
    lease: LeaseRecord, known: LateOutput | None, chunks: Iterable[Chunk]
) -> Taken:
    """What of ``chunks`` is new and was captured before the lease ended.

    Raises:
        ConflictError: bytes are missing before them; ``committed`` says where to go on.
    """
    start = at = known.committed if known else _end_of(lease)
    room = MAX_LATE_BYTES - (known.size if known else 0)
    ended_us = None if lease.ended_at is None else to_micros(lease.ended_at)
    taken: list[bytes] = []
    for chunk in chunks:
        if chunk.end <= at:
            continue
        if chunk.offset > at:
            raise ConflictError(
                f"The late output of {lease.id} is kept up to byte {at}; go on there.",
                committed=at,
            )
        late = ended_us is not None and chunk.captured_us > ended_us
        data = chunk.data[at - chunk.offset :]
        if late or len(data) > room:
            return Taken(start, b"".join(taken), open=False)
        taken.append(data)
        at, room = chunk.end, room - len(data)
    return Taken(start, b"".join(taken), open=True)


def _end_of(lease: LeaseRecord) -> int:
    return lease.log_offset if lease.log_end is None else lease.log_end
