"""The wire forms of scripts: what a reader gets for any bytes at all."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.logs.dialects import DIALECTS, Dialect, DialectName
from sluice.logs.lines import Run
from sluice.wire.chunk import Source
from sluice.wire.events import Note, Stage, StageBegin
from sluice.wire.frames import text_messages
from sluice.wire.script_mark import ScriptMark
from sluice.wire.script_stream import (
    AgentLine,
    InstallCompleted,
    InstallMessage,
    ScriptRecord,
)
from sluice.wire.stream import Completed, Connected, StreamError, decode_frame

NOW_US = 1_760_211_000_123_456
STAMP = "2025-10-11T19:30:00.123Z"
TASK = 'task_"1'
MARK = ScriptMark(process_id=4711, script_path="/srv/install.sh")
FORMS: dict[DialectName, tuple[type, str]] = {
    DialectName.INSTALL: (InstallMessage, "message"),
    DialectName.AGENT: (AgentLine, "line"),
    DialectName.SCRIPT: (ScriptRecord, "message"),
}


def dialect_of(name: DialectName) -> Dialect:
    return DIALECTS[name].of(TASK)


def run_of(text: bytes, first_line: int = 1, **more: Any) -> Run:
    given_ = {"captured_us": NOW_US, "source": Source.STDOUT, "mark": MARK, **more}
    next_line = first_line + text.count(b"\n") + 1
    return Run(0, len(text) + 1, first_line, next_line, text=text, **given_)


def said(name: DialectName, *runs: Run) -> list[Any]:
    """Messages, each of the form that the dialect promises and of nothing more."""
    dialect = dialect_of(name)
    form, _ = FORMS[name]
    messages = list(text_messages(dialect.wrap(dialect.segments(runs))))
    decoded: list[Any] = [
        msgspec.json.decode(message, type=form) for message in messages
    ]
    for message, one in zip(messages, decoded, strict=True):
        assert json.loads(message) == json.loads(msgspec.json.encode(one))
    return decoded


@pytest.mark.parametrize("name", FORMS)
@given(st.binary(max_size=200), st.booleans())
def test_messages_give_back_the_text(
    name: DialectName, text: bytes, script: bool
) -> None:
    run = run_of(text, 7, mark=MARK if script else None)
    _, field = FORMS[name]
    expected = text.decode("utf-8", "replace").split("\n")
    messages = said(name, run)
    assert [getattr(message, field) for message in messages] == expected
    assert len(dialect_of(name).segments([run])) == 1


@pytest.mark.parametrize("name", FORMS)
def test_markers_and_notes_are_messages_too(name: DialectName) -> None:
    runs = [
        run_of(b"===== RUNNING BEGIN", 1, event=StageBegin(Stage.RUNNING, "script")),
        run_of(b"a", 2),
        run_of(b"one\ntwo", 3, event=Note(error=True), source=Source.SERVER),
    ]
    _, field = FORMS[name]
    assert [getattr(message, field) for message in said(name, *runs)] == [
        "===== RUNNING BEGIN",
        "a",
        "one",
        "two",
    ]


def test_an_installers_message() -> None:
    text = (
        b"fine\n[3/7] Unpacking\n[SUCCESS] \xe2\x98\x83\n[DEBUG] x\nWARN: y\nERROR: z"
    )
    [first, *rest] = said(DialectName.INSTALL, run_of(text, 11))
    assert first == InstallMessage(STAMP, "INFO", "fine", 0, "", 0, 0, 11)  # type: ignore[arg-type]
    assert [
        (message.level, message.progress, message.step, message.line_num)
        for message in rest
    ] == [
        ("INFO", 28.57, "Unpacking", 12),
        ("SUCCESS", 28.57, "Unpacking", 13),
        ("INFO", 28.57, "Unpacking", 14),
        ("WARN", 28.57, "Unpacking", 15),
        ("ERROR", 28.57, "Unpacking", 16),
    ]
    assert {(message.current_step, message.total_steps) for message in rest} == {(3, 7)}


def test_an_installers_message_goes_on_from_what_was_known() -> None:
    mark = ScriptMark(progress=40, step='Un"packing', current_step=3, total_steps=7)
    dialect = dialect_of(DialectName.INSTALL)
    [message] = text_messages(dialect.wrap(dialect.segments([run_of(b"x", mark=mark)])))
    assert message == (
        b'{"timestamp":"2025-10-11T19:30:00.123Z","level":"INFO","message":"x",'
        b'"progress":40,"step":"Un\\"packing","current_step":3,"total_steps":7,'
        b'"line_num":1}'
    )


def test_what_the_platform_says_is_no_progress() -> None:
    run = run_of(b"[5/7] 99%", event=Note(), source=Source.SERVER)
    [message] = said(DialectName.INSTALL, run)
    assert (message.progress, message.step) == (0, "")


def test_an_agents_line() -> None:
    text = b"fine\nERROR: no\n[SUCCESS] there\n[DEBUG] x"
    assert said(DialectName.AGENT, run_of(text, source=Source.STDERR)) == [
        AgentLine(TASK, STAMP, "info", "fine"),
        AgentLine(TASK, STAMP, "error", "ERROR: no"),
        AgentLine(TASK, STAMP, "info", "[SUCCESS] there"),
        AgentLine(TASK, STAMP, "debug", "[DEBUG] x"),
    ]
    # of anything but scripts, stderr is grave
    run = run_of(b"fine", source=Source.STDERR, mark=None)
    assert [message.level for message in said(DialectName.AGENT, run)] == ["error"]


def test_a_scripts_record() -> None:
    dialect = dialect_of(DialectName.SCRIPT)
    run = run_of(b"ERROR: no", 5, source=Source.STDERR)
    [message] = text_messages(dialect.wrap(dialect.segments([run])))
    assert json.loads(message) == {
        "type": "log",
        "taskId": TASK,
        "timestamp": STAMP,
        "source": "stderr",
        "level": "ERROR",
        "message": "ERROR: no",
        "lineNumber": 5,
        "metadata": {"processId": 4711, "scriptPath": "/srv/install.sh"},
    }


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        (Source.STDOUT, "stdout"),
        (Source.STDERR, "stderr"),
        (Source.AGENT, "agent"),
        (Source.SERVER, "agent"),
    ],
)
def test_a_record_says_who_wrote_it(source: Source, shown: str) -> None:
    [record] = said(DialectName.SCRIPT, run_of(b"x", source=source))
    assert record.source == shown
    [note] = said(DialectName.SCRIPT, run_of(b"x", source=source, event=Note()))
    assert (note.source, note.metadata.process_id) == (shown, 0)


@pytest.mark.parametrize(
    ("floor", "levels"),
    [
        ("", ["DEBUG", "INFO", "INFO", "WARN", "ERROR"]),
        ("odd", ["DEBUG", "INFO", "INFO", "WARN", "ERROR"]),
        ("DEBUG", ["DEBUG", "INFO", "INFO", "WARN", "ERROR"]),
        ("info", ["INFO", "INFO", "WARN", "ERROR"]),
        ("WARNING", ["WARN", "ERROR"]),
        ("ERROR", ["ERROR"]),
    ],
)
def test_records_below_the_floor_are_left_out(floor: str, levels: list[str]) -> None:
    text = b"[DEBUG] x\nfine\n[SUCCESS] y\nWARN: z\nERROR: no"
    run = run_of(text, mark=ScriptMark(floor=floor))
    records = said(DialectName.SCRIPT, run)
    assert [record.level for record in records] == levels
    assert [record.line_number for record in records] == list(range(6 - len(levels), 6))
    # the other forms have them all, and the platform's own lines are always there
    assert len(said(DialectName.INSTALL, run)) == 5
    assert len(said(DialectName.AGENT, run)) == 5
    note = run_of(b"x", mark=ScriptMark(floor=floor), event=Note())
    assert len(said(DialectName.SCRIPT, note)) == 1


def test_a_run_whose_lines_are_all_left_out_still_has_its_place() -> None:
    run = run_of(b"a\nb", 3, mark=ScriptMark(floor="ERROR"))
    dialect = dialect_of(DialectName.SCRIPT)
    [segment] = dialect.segments([run])
    assert (segment.start, segment.end) == (run.start, run.end)
    assert (segment.first_line, segment.next_line) == (3, 5)
    assert dialect.wrap([segment]) == b""


@pytest.mark.parametrize("name", FORMS)
def test_what_the_writer_said_of_a_record_counts(name: DialectName) -> None:
    run = run_of(b"ERROR: quoted\nfine", mark=ScriptMark(level="WARN"))
    assert {message.level.lower() for message in said(name, run)} == {"warn"}


@pytest.mark.parametrize("name", FORMS)
def test_frames_that_are_no_lines(name: DialectName) -> None:
    message = dialect_of(name).message
    for frame in (
        Connected(TASK, "client", STAMP),
        StreamError("idle", "nothing came"),
        Completed(STAMP, "failed"),
    ):
        [payload] = text_messages(message(frame))
        assert decode_frame(payload) == frame
    [payload] = text_messages(message(Completed(STAMP, "success")))
    assert decode_frame(payload) == Completed(STAMP, "success")
    assert ("progress" in json.loads(payload)) is (name is DialectName.INSTALL)


def test_an_installer_that_ended_well_is_at_100() -> None:
    message = dialect_of(DialectName.INSTALL).message
    [payload] = text_messages(message(Completed(STAMP, "success")))
    assert msgspec.json.decode(payload, type=InstallCompleted) == InstallCompleted(
        STAMP, "success", 100
    )


def test_batches_know_no_success() -> None:
    dialect = dialect_of(DialectName.BATCH)
    run = run_of(b"[SUCCESS] there\nERROR: no", source=Source.STDERR)
    [message] = text_messages(dialect.wrap(dialect.segments([run])))
    assert [line[2] for line in json.loads(message)["lines"]] == ["info", "error"]
