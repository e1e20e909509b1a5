"""Stored output as text: parts, words around them, and ranges of the whole."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.base.ids import TaskId
from sluice.logs.model import LogRecord
from sluice.tasks.log_texts import (
    Part,
    Piece,
    UnsatisfiableRangeError,
    Wanted,
    byte_range,
    cut,
    download_text,
    length_of,
    names_of,
    parts_of,
    plain_text,
)
from sluice.tasks.model import LogFigures, TaskState
from sluice.wire.shapes.tasks import TaskType
from tests.tasks.log_server import a_task

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
RECORD = LogRecord(
    TaskId("task-1"), 1, 1, 500, 30, True, "x", "success", None, AT, AT, None
)


def task(**fields: Any) -> Any:
    return a_task(TaskId("task-1"), **fields)


PLAN, APPLY = Part("plan", 0, 200, 1), Part("apply", 200, 500, 12)
SCRIPT = Part("script", 0, 500, 1)


@pytest.mark.parametrize(
    ("fields", "wanted", "parts"),
    [
        ({"task_type": TaskType.PLAN}, Wanted.ALL, [Part("plan", 0, 500, 1)]),
        ({"task_type": TaskType.PLAN}, Wanted.APPLY, []),
        ({}, Wanted.ALL, [Part("plan", 0, 500, 1)]),
        (
            {"log": LogFigures(apply_offset=200, apply_line=12)},
            Wanted.ALL,
            [PLAN, APPLY],
        ),
        ({"log": LogFigures(apply_offset=200, apply_line=12)}, Wanted.PLAN, [PLAN]),
        ({"log": LogFigures(apply_offset=200, apply_line=12)}, Wanted.APPLY, [APPLY]),
        (
            {
                "task_type": TaskType.APPLY,
                "log": LogFigures(apply_offset=20, apply_line=2),
            },
            Wanted.ALL,
            [Part("apply", 0, 500, 1)],
        ),
        ({"task_type": TaskType.SCRIPT}, Wanted.ALL, [SCRIPT]),
        ({"task_type": TaskType.SCRIPT}, Wanted.SCRIPT, [SCRIPT]),
        ({"task_type": TaskType.SCRIPT}, Wanted.PLAN, []),
        ({}, Wanted.SCRIPT, []),
    ],
)
def test_which_parts_there_are(
    fields: dict[str, Any], wanted: Wanted, parts: list[Part]
) -> None:
    assert parts_of(task(**fields), RECORD, wanted) == parts


def test_which_parts_the_json_names() -> None:
    assert names_of(task()) == ("plan", "apply")
    assert names_of(task(task_type=TaskType.SCRIPT)) == ("plan", "apply", "script")


def shown(pieces: list[Piece]) -> str:
    return "".join(
        f"<{piece.start}-{piece.end}>" if isinstance(piece, Part) else piece.decode()
        for piece in pieces
    )


def test_the_plain_text() -> None:
    text = shown(plain_text([(PLAN, True), (APPLY, False)], "it broke"))
    assert text == (
        "=== PLAN OUTPUT ===\n<0-200>=== APPLY OUTPUT ===\n<200-500>\n"
        "=== ERROR ===\nit broke\n"
    )
    assert (
        shown(plain_text([(replace(PLAN, end=0), True)], "")) == "=== PLAN OUTPUT ===\n"
    )


def test_the_download() -> None:
    ended = task(
        state=TaskState.FAILED,
        started_at=AT,
        completed_at=AT.replace(minute=5),
        error="it broke",
    )
    text = shown(download_text(ended, [(PLAN, True)]))
    assert text == (
        "Task ID: task-1\nTask Type: plan_and_apply\nStatus: failed\n"
        "Created: 2026-11-21T10:00:00.000Z\nCompleted: 2026-11-21T10:05:00.000Z\n"
        f"Duration: 300s\n{'=' * 80}\n"
        f"PLAN OUTPUT:\n{'-' * 80}\n<0-200>ERROR:\n{'-' * 80}\nit broke\n"
    )
    running = shown(download_text(task(), []))
    assert "Completed" not in running
    assert "Duration" not in running


@given(st.lists(st.integers(0, 20)), st.integers(0, 200), st.integers(0, 200))
def test_any_range_is_a_slice(sizes: list[int], start: int, end: int) -> None:
    pieces: list[Piece] = []
    whole = b""
    log = bytes(range(256))
    at = 0
    for number, size in enumerate(sizes):
        if number % 2:
            pieces.append(Part("plan", at, at + size, 1))
            whole += log[at : at + size]
            at += size
        else:
            pieces.append(b"w" * size)
            whole += b"w" * size
    found = b"".join(
        log[piece.start : piece.end] if isinstance(piece, Part) else piece
        for piece in cut(pieces, start, end)
    )
    assert found == whole[start:end]
    assert length_of(pieces) == len(whole)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=90-", (90, 100)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("Bytes = 5-5", (5, 6)),
        ("bytes=0-1,3-4", None),
        ("bytes=9-5", None),
        ("bytes=-", None),
        ("bytes=x-9", None),
        ("lines=0-9", None),
        ("bytes", None),
    ],
)
def test_ranges(header: str, found: tuple[int, int] | None) -> None:
    assert byte_range(header, 100) == found


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=500-600", "bytes=-0"])
def test_ranges_of_nothing(header: str) -> None:
    with pytest.raises(UnsatisfiableRangeError):
        byte_range(header, 100)
