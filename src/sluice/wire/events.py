"""What a log says besides output: events, carried by chunks in the same order as the output.

An event chunk's bytes are the line a person reads (none for `end`); its header carries
one of these records as JSON, so that truncation can never look like success.
"""

from datetime import datetime
from enum import StrEnum

import msgspec


class Stage(StrEnum):
    """A named step of a task, in the order in which they come (spec/1, "Stages")."""

    PRE_PLAN = "pre_plan"
    FETCHING = "fetching"
    INIT = "init"
    PLANNING = "planning"
    SAVING_PLAN = "saving_plan"
    COST_ESTIMATION = "cost_estimation"
    POST_PLAN = "post_plan"
    POLICY_CHECK = "policy_check"
    PRE_APPLY = "pre_apply"
    RESTORING_PLAN = "restoring_plan"
    APPLYING = "applying"
    SAVING_STATE = "saving_state"
    POST_APPLY = "post_apply"
    RUNNING = "running"


class StageOutcome(StrEnum):
    """How a stage ended."""

    COMPLETED = "completed"
    FAILED = "failed"


class StageBegin(msgspec.Struct, frozen=True, tag="stage_begin", tag_field="event"):
    """A stage begins."""

    stage: Stage
    phase: str


class StageEnd(msgspec.Struct, frozen=True, tag="stage_end", tag_field="event"):
    """A stage has ended, well or badly."""

    stage: Stage
    phase: str
    outcome: StageOutcome


class Progress(msgspec.Struct, frozen=True, tag="progress", tag_field="event"):
    """So much of so many is done (resources, steps)."""

    done: int
    total: int


class Gap(msgspec.Struct, frozen=True, tag="gap", tag_field="event"):
    """Output is missing here, and how much of it."""

    missing_bytes: int
    missing_lines: int
    reason: str


class Capped(msgspec.Struct, frozen=True, tag="capped", tag_field="event"):
    """The log reached its limit; output that comes after is not stored."""

    limit_bytes: int
    from_byte: int = 0


class AgentLost(msgspec.Struct, frozen=True, tag="agent_lost", tag_field="event"):
    """The agent was not heard of for the length of its lease."""

    agent_id: str
    lease_id: str


class Note(msgspec.Struct, frozen=True, tag="note", tag_field="event"):
    """The platform tells the reader something (who confirmed, what is waited for)."""

    actor: str = ""
    error: bool = False


class End(msgspec.Struct, frozen=True, tag="end", tag_field="event"):
    """The log ends here: its size, its lines, the SHA-256 of its bytes, the task's status."""

    total_bytes: int
    total_lines: int
    sha256: str
    status: str


Event = StageBegin | StageEnd | Progress | Gap | Capped | AgentLost | Note | End

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """An event as compact JSON, for a chunk's header."""
    return _encoder.encode(event)


def decode_event(meta: bytes) -> Event:
    """The event of a chunk's header.

    Raises:
        msgspec.DecodeError: the bytes are no event.
    """
    try:
        return _decoder.decode(meta)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def capped_line(event: Capped) -> bytes:
    """The line a person reads where a log's output ends before the task does."""
    text = (
        f"===== output from byte {event.from_byte} of this log on is not stored: it has"
        f" reached its limit of {event.limit_bytes} bytes, which the server's setting"
        " log_bytes_per_task (SLUICE_LOG_BYTES_PER_TASK) raises; the task goes on ====="
    )
    return text.encode() + b"\n"


def marker_line(stage: Stage, edge: str, at: datetime) -> bytes:
    """The marker a person reads (spec/1), with its newline; ``edge`` is BEGIN or END."""
    stamp = at.strftime("%Y-%m-%d %H:%M:%S.") + f"{at.microsecond // 1000:03d}"
    return f"========== {stage.value.upper()} {edge} at {stamp} ==========\n".encode()
