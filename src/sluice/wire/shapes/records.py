"""Records of a script's output as clients post them (spec/5, "Message")."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from sluice.base.clock import to_micros
from sluice.wire.chunk import Source
from sluice.wire.script_mark import SaidLine
from sluice.wire.script_stream import RecordLevel, RecordSource
from sluice.wire.shapes.base import Resource
from sluice.wire.texts import storable

MAX_MESSAGE = 64 * 1024
MAX_RECORDS = 10_000

_LATEST_US = 253_402_300_000_000_000
"""A moment before the end of the year 9999, the last that a time can show."""

_LEVELS = {"WARNING": "WARN", "TRACE": "DEBUG", "FATAL": "ERROR", "CRITICAL": "ERROR"}


def _upper(value: object) -> object:
    if not isinstance(value, str):
        return value
    return _LEVELS.get(value.upper(), value.upper())


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _readable(value: object) -> object:
    return storable(value) if isinstance(value, str) else value


_SOURCES = {
    RecordSource.STDOUT: Source.STDOUT,
    RecordSource.STDERR: Source.STDERR,
    RecordSource.AGENT: Source.AGENT,
}

Level = Annotated[RecordLevel | None, BeforeValidator(_upper)]
Text = Annotated[str, BeforeValidator(_readable)]


class _Camel(BaseModel):
    """JSON names as spec/5 has them; what is not known here is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class RecordMetadata(_Camel):
    """Which process of which script wrote the record."""

    process_id: int = Field(default=0, alias="processId", ge=0, lt=2**31)
    script_path: Text = Field(default="", alias="scriptPath", max_length=4096)


class Record(_Camel):
    """One record; a missing level is read off the text, a missing time is now.

    `type`, `taskId` and `lineNumber` are not looked at: the route names the task, and the
    server counts the lines.
    """

    message: Text = Field(max_length=MAX_MESSAGE)
    timestamp: datetime | None = None
    source: Annotated[RecordSource, BeforeValidator(_lower)] = RecordSource.STDOUT
    level: Level = None
    metadata: RecordMetadata = RecordMetadata()

    def said(self, now: datetime) -> SaidLine:
        """The record as the log takes it; ``now`` for one without a usable time."""
        return SaidLine(
            source=_SOURCES[self.source],
            message=self.message,
            captured_us=min(max(0, to_micros(self._written_at(now))), _LATEST_US),
            level=self.level.value if self.level else "",
            process_id=self.metadata.process_id,
            script_path=self.metadata.script_path,
        )

    def _written_at(self, now: datetime) -> datetime:
        if self.timestamp is None:
            return now
        if self.timestamp.tzinfo is None:
            return self.timestamp.replace(tzinfo=UTC)
        return self.timestamp


Records = Annotated[list[Record], Field(min_length=1, max_length=MAX_RECORDS)]


def _form(given: object) -> str:
    return "records" if isinstance(given, list) else "record"


RecordOrRecords = Annotated[
    Annotated[Record, Tag("record")] | Annotated[Records, Tag("records")],
    Discriminator(_form),
]
"""What may be posted; its form is settled first, so that faults speak of that one alone."""


class RecordKept(Resource):
    """One record is stored."""

    id: str


class RecordsKept(Resource):
    """A list of records is stored; ``next_line`` is the number of the line that follows."""

    accepted: int
    next_line: int
