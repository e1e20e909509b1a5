"""What an agent hears when it delivers output that it captured before its lease ended."""

from sluice.wire.agent import Message

MAX_LATE_BYTES = 16 * 1024 * 1024
"""So much is kept of one lease."""


class LateAnswer(Message):
    """How far the late output of a lease is kept; it is durable.

    Attributes:
        committed: offset, as the lease's own chunks count, at which to go on.
        open: whether more is taken. Not after a chunk from behind the lease's end, nor
            when as much is kept as can be.
    """

    committed: int
    open: bool
