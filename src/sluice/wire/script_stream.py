"""What is said of a script's lines, one message a line: spec/2, spec/4 and spec/5."""

from enum import StrEnum

import msgspec


class InstallLevel(StrEnum):
    """How grave a line of an installer is."""

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    SUCCESS = "SUCCESS"


class RecordLevel(StrEnum):
    """How grave a record of a script is."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


class RecordSource(StrEnum):
    """Who wrote a record: the script, or whoever runs it for somebody."""

    STDOUT = "stdout"
    STDERR = "stderr"
    AGENT = "agent"


class InstallMessage(msgspec.Struct, frozen=True):
    """A line of an installer's log, with what is known of its progress after the line.

    ``progress`` is 0 and ``total_steps`` is 0 as long as the script has not said.
    """

    timestamp: str
    level: InstallLevel
    message: str
    progress: float | int
    step: str
    current_step: int
    total_steps: int
    line_num: int


class InstallCompleted(
    msgspec.Struct, frozen=True, omit_defaults=True, tag="completed", tag_field="type"
):
    """The last message: the task's status, and 100 where the script ended well."""

    timestamp: str
    status: str
    progress: int | None = None


class AgentLine(msgspec.Struct, frozen=True):
    """A line as viewers of agents get it."""

    task_id: str
    timestamp: str
    level: str
    line: str


class RecordMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """Which process wrote a record; 0 and empty for lines of the platform."""

    process_id: int = 0
    script_path: str = ""


class ScriptRecord(
    msgspec.Struct, frozen=True, rename="camel", tag="log", tag_field="type"
):
    """A line of a script as a record."""

    task_id: str
    timestamp: str
    source: RecordSource
    level: RecordLevel
    message: str
    line_number: int
    metadata: RecordMetadata
