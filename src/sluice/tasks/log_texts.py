"""Lays stored output out as a text: which part of the log is plan or apply, and the words around it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sluice.base.clock import rfc3339
from sluice.logs.model import LogRecord
from sluice.tasks.model import Task
from sluice.tasks.present import duration_of
from sluice.wire.shapes.tasks import TaskType


class Wanted(StrEnum):
    """Which part of a task's output is asked for."""

    ALL = "all"
    PLAN = "plan"
    APPLY = "apply"
    SCRIPT = "script"


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a log: its bytes, and the number of its first line."""

    name: str
    start: int
    end: int
    first_line: int

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.end - self.start


def parts_of(task: Task, record: LogRecord, wanted: Wanted) -> list[Part]:
    """The parts of a task's log that exist and are asked for, in order.

    Where both exist, the plan's ends where the log was handed over for the apply.
    """
    apply_at, apply_line = task.log.apply_offset, task.log.apply_line
    end = record.committed
    match task.task_type:
        case TaskType.APPLY:
            parts = [Part("apply", 0, end, 1)]
        case TaskType.SCRIPT:
            parts = [Part("script", 0, end, 1)]
        case TaskType.PLAN_AND_APPLY if apply_at is not None and apply_line is not None:
            parts = [
                Part("plan", 0, apply_at, 1),
                Part("apply", apply_at, end, apply_line),
            ]
        case _:
            parts = [Part("plan", 0, end, 1)]
    return [part for part in parts if wanted in {Wanted.ALL, part.name}]


def names_of(task: Task) -> tuple[str, ...]:
    """The parts that the JSON form of a task's output names, whether they exist or not."""
    if task.task_type is TaskType.SCRIPT:
        return ("plan", "apply", "script")
    return ("plan", "apply")


Piece = bytes | Part


def plain_text(parts: Sequence[tuple[Part, bool]], error: str) -> list[Piece]:
    """The text of `format=text`; each part says whether it ends with a newline."""
    pieces: list[Piece] = []
    for part, whole in parts:
        pieces.append(f"=== {part.name.upper()} OUTPUT ===\n".encode())
        pieces += _body(part, whole)
    if error:
        pieces.append(f"=== ERROR ===\n{error}\n".encode())
    return pieces


def download_text(task: Task, parts: Sequence[tuple[Part, bool]]) -> list[Piece]:
    """The text of a download: a head, and each part under its name."""
    head = [
        f"Task ID: {task.id}",
        f"Task Type: {task.task_type}",
        f"Status: {task.status}",
        f"Created: {rfc3339(task.created_at)}",
    ]
    if task.completed_at is not None:
        head.append(f"Completed: {rfc3339(task.completed_at)}")
    duration = duration_of(task)
    if duration is not None:
        head.append(f"Duration: {duration:.0f}s")
    head.append("=" * 80)
    pieces: list[Piece] = ["".join(f"{line}\n" for line in head).encode()]
    for part, whole in parts:
        pieces.append(f"{part.name.upper()} OUTPUT:\n{'-' * 80}\n".encode())
        pieces += _body(part, whole)
    if task.error:
        pieces.append(f"ERROR:\n{'-' * 80}\n{task.error}\n".encode())
    return pieces


def length_of(pieces: Sequence[Piece]) -> int:
    """Bytes of a text."""
    return sum(_size(piece) for piece in pieces)


def cut(pieces: Sequence[Piece], start: int, end: int) -> list[Piece]:
    """The bytes of a text from ``start`` up to ``end``."""
    found: list[Piece] = []
    at = 0
    for piece in pieces:
        size = _size(piece)
        low, high = max(start - at, 0), min(end - at, size)
        if low < high:
            found.append(_slice(piece, low, high))
        at += size
    return found


class UnsatisfiableRangeError(ValueError):
    """The range asked for lies beyond the text."""


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Begin and end (exclusive) of a `Range` header; None where it asks for all.

    Several ranges at once, and what is no range of bytes, are answered with all.

    Raises:
        UnsatisfiableRangeError: nothing of it exists.
    """
    unit, _, given = header.partition("=")
    first, dash, last = given.strip().partition("-")
    first, last = first.strip(), last.strip()
    numbers = all(not one or (one.isascii() and one.isdigit()) for one in (first, last))
    if (
        unit.strip().lower() != "bytes"
        or not dash
        or not numbers
        or not (first or last)
    ):
        return None
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start = int(first)
        end = min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise UnsatisfiableRangeError(header)
    return start, end


def _body(part: Part, whole: bool) -> list[Piece]:  # noqa: FBT001 - a fact, not a switch
    if not part.size:
        return []
    return [part] if whole else [part, b"\n"]


def _size(piece: Piece) -> int:
    return piece.size if isinstance(piece, Part) else len(piece)


def _slice(piece: Piece, low: int, high: int) -> Piece:
    if isinstance(piece, Part):
        start = piece.start
        return Part(piece.name, start + low, start + high, piece.first_line)
    return piece[low:high]
