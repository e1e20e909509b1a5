"""Scripts' output followed live in each wire form, on each kind of store."""

import asyncio
import json
from collections.abc import Iterable

import pytest

from sluice.base.ids import TaskId
from sluice.logs.archiver import archive_log
from sluice.logs.assembly import LogBacking, LogSystem
from sluice.logs.dialects import DialectName
from sluice.logs.tails import from_line
from sluice.wire.chunk import Chunk, Source
from sluice.wire.frames import text_messages
from sluice.wire.script_mark import ScriptMark, mark_of
from tests.logs.harness import Agent, frames_of, new_log
from tests.logs.scripts import PATH, Marker, in_place, known_after, note, output

NAMES = (DialectName.INSTALL, DialectName.AGENT, DialectName.SCRIPT)
FIELDS = {
    DialectName.INSTALL: ("message", "line_num"),
    DialectName.AGENT: ("line", ""),
    DialectName.SCRIPT: ("message", "lineNumber"),
}
STEPS = [
    output(b"[1/3] Fetching\n"),
    output(b"fetched 1 of "),
    output(b"1\nERROR: no\n", Source.STDERR),
    output(b"[2/3] Unp"),
    output(b"acking\n"),
    note(b"a word of the agent\n"),
    output(b"\r10%\r55%"),
    note(b"\nanother\n"),
    output(b"[3/3] Configuring\n[SUCCESS] there\nno newline"),
]


class Script:
    """A script's agent, which uploads what it is told."""

    def __init__(self, system: LogSystem, task_id: TaskId, floor: str = "") -> None:
        self.task_id = task_id
        self._agent = Agent(system, task_id)
        self._marker = Marker(ScriptMark(process_id=7, script_path=PATH, floor=floor))

    async def write(self, chunks: Iterable[Chunk]) -> None:
        for chunk in chunks:
            await self._agent.send(self._marker.marked(chunk))


class Watcher:
    """Follows in one wire form from a line, through pushes and without."""

    def __init__(
        self, system: LogSystem, task_id: TaskId, name: DialectName, after: int = 0
    ) -> None:
        self.name = name
        self.messages: list[dict] = []
        self.ready = asyncio.Event()
        self._system = system
        self._task_id = task_id
        self._after = after

    async def run(self) -> None:
        reading = self._system.tails.read(
            self._task_id, self.name, from_line(self._after)
        )
        async with reading as reader:
            reader.push = self._take
            self.ready.set()
            while (payload := await reader.next()) is not None:
                self._take(payload)
            # the next line is where the log stands, whatever was left out
            self.line = reader.line

    def _take(self, payload: bytes) -> bool:
        self.messages += [json.loads(text) for text in text_messages(payload)]
        return True

    @property
    def lines(self) -> list[str]:
        return [message[FIELDS[self.name][0]] for message in self.messages]


def shown(chunks: Iterable[Chunk]) -> list[str]:
    whole = b"".join(chunk.data for chunk in chunks)
    return whole.decode().removesuffix("\n").split("\n")


async def test_marks_survive_the_way_to_the_disk_and_to_the_archive(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    await Script(system, task_id).write(STEPS)
    expected = [
        (chunk.offset, mark_of(chunk))
        for chunk in in_place(STEPS, Marker(ScriptMark(process_id=7, script_path=PATH)))
    ]
    await system.logs.seal(task_id, "success")
    for _ in ("rows", "archive"):
        view = await system.logs.view(task_id)
        found = [
            (chunk.offset, mark_of(chunk))
            for chunk in await view.read(0, 1_000_000)
            if chunk.data
        ]
        assert found == expected
        async with backing.transactions.read() as tx:
            rows = await backing.store.read_chunks(tx, view.record, 0, 1_000_000)
        if view.record.archived_at is None:
            assert [mark_of(chunk) for chunk in rows if chunk.data] == [
                mark for _, mark in expected
            ]
            await archive_log(system.archiver.parts, view.record)


async def test_every_form_shows_the_same_lines_live_and_later(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    script = Script(system, task_id)
    async with asyncio.TaskGroup() as group:
        watchers = [Watcher(system, task_id, name) for name in NAMES]
        for watcher in watchers:
            group.create_task(watcher.run())
            await watcher.ready.wait()
        for chunk in STEPS:
            await script.write([chunk])
            await asyncio.sleep(0.005)
        await system.logs.seal(task_id, "success")
    for watcher in watchers:
        assert watcher.lines == shown(STEPS)
        ids = {one.get("taskId", one.get("task_id")) for one in watcher.messages}
        assert ids == {None if watcher.name is DialectName.INSTALL else task_id}
        assert await frames_of(system, task_id, dialect=watcher.name) == (
            watcher.messages
        )
    view = await system.logs.view(task_id)
    await archive_log(system.archiver.parts, view.record)
    for watcher in watchers:
        for after in range(len(watcher.messages) + 1):
            frames = await frames_of(system, task_id, after, watcher.name)
            assert frames == watcher.messages[after:]


async def test_an_installers_messages_say_what_was_known_after_each_line(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    script = Script(system, task_id)
    async with asyncio.TaskGroup() as group:
        await script.write(STEPS[:5])
        # comes when the next that is written is an event, which does not say it
        late = Watcher(system, task_id, DialectName.INSTALL, 4)
        group.create_task(late.run())
        await late.ready.wait()
        await script.write(STEPS[5:])
        await system.logs.seal(task_id, "success")
    messages = await frames_of(system, task_id, dialect=DialectName.INSTALL)
    assert late.messages == messages[4:]
    known = known_after(b"".join(chunk.data for chunk in STEPS))
    assert [
        (one["progress"], one["step"], one["current_step"], one["total_steps"])
        for one in messages
    ] == list(known.values())
    assert [one["line_num"] for one in messages] == list(known)


async def test_lines_below_the_floor_are_not_sent_and_not_waited_for(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    script = Script(system, task_id, floor="ERROR")
    async with asyncio.TaskGroup() as group:
        watchers = [Watcher(system, task_id, name) for name in NAMES]
        for watcher in watchers:
            group.create_task(watcher.run())
            await watcher.ready.wait()
        for chunk in STEPS:
            await script.write([chunk])
            await asyncio.sleep(0.005)
        await system.logs.seal(task_id, "failed")
    install, agent, records = watchers
    assert install.lines == agent.lines == shown(STEPS)
    assert records.lines == ["ERROR: no", "a word of the agent", "another"]
    assert [one["lineNumber"] for one in records.messages] == [3, 5, 7]
    assert len({watcher.line for watcher in watchers}) == 1
    later = await frames_of(system, task_id, dialect=DialectName.SCRIPT)
    assert later == records.messages
    assert await frames_of(system, task_id, 3, DialectName.SCRIPT) == later[1:]


async def test_a_script_that_says_nothing_worth_sending(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    script = Script(system, task_id, floor="ERROR")
    async with asyncio.TaskGroup() as group:
        watcher = Watcher(system, task_id, DialectName.SCRIPT)
        group.create_task(watcher.run())
        await watcher.ready.wait()
        for number in range(20):
            await script.write([output(b"quiet %d\n" % number)])
        await system.logs.seal(task_id, "success")
    assert watcher.messages == []
    assert watcher.line == 21
    assert await frames_of(system, task_id, dialect=DialectName.SCRIPT) == []


@pytest.mark.parametrize("name", NAMES)
async def test_other_logs_can_be_watched_so_too(
    system: LogSystem, backing: LogBacking, name: DialectName
) -> None:
    task_id = await new_log(system, backing)
    agent = Agent(system, task_id)
    async with asyncio.TaskGroup() as group:
        watcher = Watcher(system, task_id, name)
        group.create_task(watcher.run())
        await watcher.ready.wait()
        await agent.send(note(b"begin\n"))
        await agent.say(b"Error: no\nPlan: 1 to add\n")
        await agent.send(note(b"end\n"))
        await system.logs.seal(task_id, "success")
    assert watcher.lines == ["begin", "Error: no", "Plan: 1 to add", "end"]
    assert await frames_of(system, task_id, dialect=name) == watcher.messages
    levels = [message["level"].lower() for message in watcher.messages]
    assert levels == ["info", "error", "info", "info"]
