"""The nouns of logs: frozen records, built from rows in one place."""

from dataclasses import dataclass
from datetime import datetime

from sluice.base.errors import InvalidInputError
from sluice.base.ids import TaskId
from sluice.wire.chunk import Chunk
from sluice.wire.log_flow import Head

SECONDS_A_DAY = 86_400


class RefusedOutputError(InvalidInputError):
    """The database will never take this output; the sender must not send it again."""

    code = "refused_output"
    title = "Output refused"


@dataclass(frozen=True, slots=True)
class LogRecord:
    """One task's log as stored.

    Attributes:
        task_id: whose output it is.
        day: UTC day of its opening, in days since 1970; its chunks lie under this day.
        epoch: fencing number of who may write.
        committed: durable bytes.
        next_line: number of the line in which the next byte will stand.
        sealed: whether the `end` event is in.
        sha256: hash of all its bytes, once sealed.
        final_status: the task's status as the `end` event tells it.
        blob_key: the archived object, once there is one.
        opened_at: when it was opened.
        sealed_at: when it ended.
        archived_at: when the object was checked; from then on it is read instead of rows.
        removed_at: when its time was over; from then on nobody reads it.
    """

    task_id: TaskId
    day: int
    epoch: int
    committed: int
    next_line: int
    sealed: bool
    sha256: str | None
    final_status: str | None
    blob_key: str | None
    opened_at: datetime
    sealed_at: datetime | None
    archived_at: datetime | None
    removed_at: datetime | None = None

    @property
    def head(self) -> Head:
        """Where the log stands, as the upload rules see it."""
        return Head(self.epoch, self.committed, self.next_line, self.sealed)


@dataclass(frozen=True, slots=True)
class Position:
    """A place at the start of a line: its byte offset and the line's number."""

    offset: int
    line: int


@dataclass(frozen=True, slots=True)
class Unit:
    """Consecutive chunks of one log that are stored together or not at all.

    They are stored only if the log stands at (``epoch``, ``offset``, ``first_line``).
    """

    task_id: TaskId
    epoch: int
    offset: int
    first_line: int
    end: int
    next_line: int
    chunks: tuple[Chunk, ...]

    @property
    def after(self) -> Head:
        """Where the log stands once this is stored."""
        return Head(self.epoch, self.end, self.next_line)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit: stored or refused, and where the log stands now.

    ``head`` is None where there is no such log.
    """

    accepted: bool
    head: Head | None


def day_of(at: datetime) -> int:
    """Days since 1970 in UTC."""
    return int(at.timestamp()) // SECONDS_A_DAY
