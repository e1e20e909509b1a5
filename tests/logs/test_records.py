"""Structured messages of a log, a page at a time, on each kind of store."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.logs.archiver import archive_log
from sluice.logs.assembly import LogBacking, LogSystem
from sluice.logs.history import LogView
from sluice.logs.records import (
    install_messages,
    line_count,
    progress_at_end,
    record_chunks,
    script_records,
)
from sluice.wire.chunk import MAX_LIVE, UNMARKED, Chunk, Source
from sluice.wire.progress import ProgressState
from sluice.wire.script_mark import SaidLine, ScriptMark, mark_of
from sluice.wire.script_stream import RecordLevel, RecordMetadata, RecordSource
from tests.logs.harness import Agent, new_log
from tests.logs.scripts import (
    NOW_US,
    PATH,
    Marker,
    in_place,
    known_after,
    note,
    output,
    runs_of,
)

TEXT = (
    b"[1/4] Fetching\nfetched\nERROR: one\n[2/4] Unpacking\nWARN: slow\n"
    b"[DEBUG] x\n[SUCCESS] unpacked\n[3/4] Configuring\n"
)


async def script_log(
    system: LogSystem, backing: LogBacking, chunks: Sequence[Chunk]
) -> Agent:
    """A log into which a script's agent has uploaded these."""
    agent = Agent(system, await new_log(system, backing))
    marker = Marker()
    for chunk in chunks:
        await agent.send(marker.marked(chunk))
    return agent


async def archived(system: LogSystem, agent: Agent) -> LogView:
    """The log once its rows have gone to the archive."""
    view = await system.logs.view(agent.task_id)
    await archive_log(system.archiver.parts, view.record)
    return await system.logs.view(agent.task_id)


async def test_messages_of_an_installer(system: LogSystem, backing: LogBacking) -> None:
    cut = [TEXT[:20], TEXT[20:45], TEXT[45:46], TEXT[46:]]
    agent = await script_log(system, backing, [output(piece) for piece in cut])
    view = await system.logs.view(agent.task_id)
    messages = await install_messages(view, 0, 1000)
    assert [one.message for one in messages] == TEXT.decode().splitlines()
    assert [one.line_num for one in messages] == list(range(1, 9))
    assert [one.level for one in messages[2:7]] == [
        "ERROR",
        "INFO",
        "WARN",
        "INFO",
        "SUCCESS",
    ]
    known = known_after(TEXT)
    assert [
        (one.progress, one.step, one.current_step, one.total_steps) for one in messages
    ] == [known[number] for number in range(1, 9)]
    # any page of them says the same
    await system.logs.seal(agent.task_id, "success")
    for view in (
        await system.logs.view(agent.task_id),
        await archived(system, agent),
    ):
        for after in range(9):
            page = await install_messages(view, after, 3)
            assert page == messages[after : after + 3]
        assert await install_messages(view, 50, 3) == []
        assert await line_count(view) == 8


async def test_a_page_begins_with_an_event(
    system: LogSystem, backing: LogBacking
) -> None:
    chunks = [
        output(b"[2/4] Unpacking"),
        note(b"\nstopped\n"),
        note(b"really\n"),
        output(b"x\n"),
    ]
    agent = await script_log(system, backing, chunks)
    view = await system.logs.view(agent.task_id)
    for after in range(4):
        [one] = await install_messages(view, after, 1)
        assert (one.progress, one.step, one.total_steps) == (25, "Unpacking", 4)


async def test_a_page_reads_no_more_than_it_needs(
    system: LogSystem, backing: LogBacking, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [output(b"line %d\n" % number * 2000) for number in range(40)]
    agent = await script_log(system, backing, many)
    view = await system.logs.view(agent.task_id)
    read = 0
    whole = LogView.read

    async def counted(view: LogView, offset: int, budget: int) -> list[Chunk]:
        nonlocal read
        chunks = await whole(view, offset, budget)
        read += sum(len(chunk.data) for chunk in chunks)
        return chunks

    monkeypatch.setattr(LogView, "read", counted)
    size = view.record.committed
    assert len(await install_messages(view, 60_000, 100)) == 100
    records, total = await script_records(view, page=300, size=100)
    assert (len(records), total) == (100, 80_000)
    assert (await progress_at_end(view)) == ProgressState()
    assert read < size / 4


async def test_records_of_a_script(system: LogSystem, backing: LogBacking) -> None:
    chunks = [
        output(b"out\nERROR: no\n"),
        output(b"quiet\nWARN: slow\n", Source.STDERR),
        note(b"from the agent\n"),
        output(b"[SUCCESS] done\n[DEBUG] x\nlast"),
    ]
    agent = await script_log(system, backing, chunks)
    view = await system.logs.view(agent.task_id)
    assert await line_count(view) == 7
    await system.logs.seal(agent.task_id, "success")
    for view in (
        await system.logs.view(agent.task_id),
        await archived(system, agent),
    ):
        records, total = await script_records(view, page=0, size=100)
        assert [
            (one.line_number, one.source, one.level, one.message) for one in records
        ] == [
            (1, "stdout", "INFO", "out"),
            (2, "stdout", "ERROR", "ERROR: no"),
            (3, "stderr", "INFO", "quiet"),
            (4, "stderr", "WARN", "WARN: slow"),
            (5, "agent", "INFO", "from the agent"),
            (6, "stdout", "INFO", "[SUCCESS] done"),
            (7, "stdout", "DEBUG", "[DEBUG] x"),
            (8, "stdout", "INFO", "last"),
        ]
        assert total == 8 == await line_count(view)
        assert {one.task_id for one in records} == {agent.task_id}
        assert records[0].timestamp == "2023-11-14T22:13:20.123Z"
        assert records[0].metadata == RecordMetadata(4711, PATH)
        assert records[4].metadata == RecordMetadata()
        await _pages_are_what_filters_leave(view, records)


async def _pages_are_what_filters_leave(view: LogView, records: list) -> None:
    for source in (None, *RecordSource):
        for level in (None, *RecordLevel):
            wanted = [
                one
                for one in records
                if source in {None, one.source} and level in {None, one.level}
            ]
            for size in (1, 3, 100):
                for page in range(4):
                    found, total = await script_records(
                        view, source=source, level=level, page=page, size=size
                    )
                    assert found == wanted[page * size : (page + 1) * size]
                    assert total == len(wanted)


async def test_a_log_that_has_nothing_yet(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await script_log(system, backing, [])
    view = await system.logs.view(agent.task_id)
    assert await line_count(view) == 0
    assert await install_messages(view, 0, 10) == []
    assert await script_records(view, page=0, size=10) == ([], 0)
    assert await script_records(view, level=RecordLevel.INFO, page=0, size=10) == (
        [],
        0,
    )
    assert await progress_at_end(view) == ProgressState()


async def test_lines_that_came_after_the_look_are_not_shown(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await script_log(system, backing, [output(b"a\nb\n")])
    view = await system.logs.view(agent.task_id)
    await agent.send(Marker().marked(output(b"c\nd\n")))
    assert [one.message for one in await install_messages(view, 0, 10)] == ["a", "b"]
    records, total = await script_records(
        view, source=RecordSource.STDOUT, page=0, size=10
    )
    assert (len(records), total) == (2, 2)


@pytest.mark.parametrize(
    ("chunks", "status", "known"),
    [
        ([output(b"x\n")], "", (None, "", 0, 0)),
        ([output(b"[2/4] a\n"), output(b"x\n")], "", (25, "a", 2, 4)),
        ([output(b"[2/4] a\n60%")], "", (60, "a", 2, 4)),
        ([output(b"[2/4] a\n\r10%"), output(b"\r60%")], "", (60, "a", 2, 4)),
        ([output(b"[2/4] a"), note(b"\nx\n"), note(b"99%\n")], "", (25, "a", 2, 4)),
        ([output(b"[4/4] a\n100%\n")], "", (99, "a", 4, 4)),
        ([output(b"[4/4] a\n100%\n")], "failed", (99, "a", 4, 4)),
        ([output(b"[4/4] a\n")], "success", (100, "a", 4, 4)),
        ([note(b"x\n")], "success", (100, "", 0, 0)),
    ],
)
async def test_progress_at_the_end_of_a_log(
    system: LogSystem,
    backing: LogBacking,
    chunks: list[Chunk],
    status: str,
    known: tuple[float | None, str, int, int],
) -> None:
    agent = await script_log(system, backing, chunks)
    view = await system.logs.view(agent.task_id)
    if status:
        await system.logs.seal(agent.task_id, status)
        view = await archived(system, agent)
    progress, step, current, total = known
    assert await progress_at_end(view) == ProgressState(
        progress=progress, step=step, current_step=current, total_steps=total
    )


async def test_the_log_of_no_script_knows_no_progress(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = Agent(system, await new_log(system, backing))
    await agent.say(b"[2/4] x\nError: no\n")
    view = await system.logs.view(agent.task_id)
    assert await progress_at_end(view) == ProgressState()
    [_, one] = await install_messages(view, 0, 10)
    assert (one.level, one.progress) == ("ERROR", 25)


# --- records that are handed in -------------------------------------------------


def said(message: str, at: int = NOW_US, **more: object) -> SaidLine:
    given_ = {"source": Source.STDOUT, "process_id": 7, "script_path": "/x", **more}
    return SaidLine(message=message, captured_us=at, **given_)  # type: ignore[arg-type]


def test_records_become_output_that_says_the_same() -> None:
    chunks = record_chunks(
        [
            said("one"),
            said("two"),
            said("ERROR: quoted", level="INFO"),
            said("bad", level="ERROR", source=Source.STDERR),
            said("several\nlines\n"),
            said("", at=NOW_US + 5000),
            said("half a pair \ud800", at=NOW_US + 5001),
        ]
    )
    assert [(chunk.source, chunk.captured_us, chunk.data) for chunk in chunks] == [
        (Source.STDOUT, NOW_US, b"one\ntwo\n"),
        (Source.STDOUT, NOW_US, b"ERROR: quoted\n"),
        (Source.STDERR, NOW_US, b"bad\n"),
        (Source.STDOUT, NOW_US, b"several\nlines\n"),
        (Source.STDOUT, NOW_US + 5000, b"\nhalf a pair ?\n"),
    ]
    marks = [mark_of(chunk) for chunk in chunks]
    assert [mark and mark.level for mark in marks] == ["", "INFO", "ERROR", "", ""]
    assert {(mark.process_id, mark.script_path) for mark in marks if mark} == {
        (7, "/x")
    }
    assert all(chunk.flags & UNMARKED for chunk in chunks)


def test_records_go_on_from_what_was_known() -> None:
    before = ScriptMark(progress=50, step="x", current_step=3, total_steps=4, floor="W")
    first, second = record_chunks(
        [said("[4/4] y"), said("z", at=NOW_US + 5000)], before
    )
    assert mark_of(first) == ScriptMark(
        progress=50,
        step="x",
        current_step=3,
        total_steps=4,
        floor="W",
        process_id=7,
        script_path="/x",
    )
    mark = mark_of(second)
    assert mark is not None
    assert (mark.progress, mark.step, mark.current_step) == (75, "y", 4)


messages = st.lists(
    st.sampled_from(["", "a", "[1/2] b", "x" * 40_000, "line\n" * 20_000, "é\r"]),
    max_size=6,
)


@given(messages, st.integers(0, 3))
def test_no_record_is_lost_and_no_chunk_is_large(texts: list[str], step: int) -> None:
    records = [
        said(text, at=NOW_US + number * step * 1000)
        for number, text in enumerate(texts)
    ]
    chunks = record_chunks(records)
    assert all(0 < len(chunk.data) <= MAX_LIVE for chunk in chunks)
    whole = b"".join(chunk.data for chunk in chunks)
    assert whole == "".join(text.removesuffix("\n") + "\n" for text in texts).encode()
    # each mark is what the output before it said
    placed = in_place(chunks, Marker(ScriptMark(process_id=7, script_path="/x")))
    assert [mark_of(chunk) for chunk in chunks] == [mark_of(one) for one in placed]
    assert b"\n".join(run.text for run in runs_of(placed)) == whole.removesuffix(b"\n")
