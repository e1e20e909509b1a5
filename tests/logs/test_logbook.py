"""Writing logs: uploads, the server's own lines, the end, and what others ask of stored output."""

import asyncio
import hashlib

import pytest

from sluice.base.errors import ConflictError, NotFoundError
from sluice.base.ids import new_task_id
from sluice.logs.assembly import LogBacking, LogSystem
from sluice.wire.chunk import Source, encode_chunk, event_chunk
from sluice.wire.events import AgentLost, End, Note, Stage, StageBegin
from sluice.wire.log_flow import Ack, AckStatus
from tests.logs.harness import (
    NOW_US,
    Agent,
    expected_lines,
    frames_of,
    lines_of,
    new_log,
    output,
    read_text,
)


async def handed_over(system: LogSystem, backing: LogBacking) -> Agent:
    """An agent with the log in its hands."""
    task_id = await new_log(system, backing)
    async with backing.transactions.write() as tx:
        at = await system.logs.hand_over(tx, task_id)
    return Agent(system, task_id, at.epoch, at.offset, at.next_line)


# --- uploads --------------------------------------------------------------------


async def test_an_acknowledgement_means_durable(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(system, backing)
    ack = await agent.say(b"one\ntwo")
    assert ack == Ack(AckStatus.OK, 7, 2)
    assert (await system.logs.head(agent.task_id)).committed == 7


async def test_a_crash_between_commit_and_acknowledgement_repeats_nothing(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(system, backing)
    at, payload = agent.place([output(b"one\n"), output(b"two\n")])
    logs, task_id = system.logs, agent.task_id
    # the answer of the first is never heard
    await logs.append(task_id, 1, at, payload)
    probe = await logs.append(task_id, 1, 0, b"")
    assert probe == Ack(AckStatus.OK, 8, 3)
    again = await logs.append(task_id, 1, at, payload)
    assert again == Ack(AckStatus.OK, 8, 3)
    await logs.seal(task_id, "success")
    assert await read_text(system, task_id) == b"one\ntwo\n"


async def test_what_does_not_fit_is_answered_with_the_truth(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(system, backing)
    await agent.say(b"one\n")
    logs, task_id = system.logs, agent.task_id
    behind = Agent(system, task_id, 1, 2, 1)
    at, straddle = behind.place([output(b"e\nmore")])
    assert await logs.append(task_id, 1, at, straddle) == Ack(AckStatus.REFUSED, 4, 2)
    at, payload = agent.place([output(b"two\n")])
    assert await logs.append(task_id, 0, at, payload) == Ack(
        AckStatus.WRONG_EPOCH, 4, 2
    )
    assert await logs.append(task_id, 0, 0, b"") == Ack(AckStatus.WRONG_EPOCH, 4, 2)
    broken = payload[:-1] + b"?"
    assert await logs.append(task_id, 1, at, broken) == Ack(AckStatus.CORRUPT, 4, 2)
    wrong_line = Agent(system, task_id, 1, 4, 9)
    at, payload = wrong_line.place([output(b"x")])
    assert (await logs.append(task_id, 1, at, payload)).status is AckStatus.CORRUPT
    assert (await logs.head(task_id)).committed == 4


async def test_appends_may_follow_each_other_before_they_are_stored(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(system, backing)
    pending = []
    for number in range(100):
        at, payload = agent.place([output(b"%d\n" % number)])
        pending.append(await system.logs.offer(agent.task_id, 1, at, payload))
    acks = [await one.ack() for one in pending]
    assert {ack.status for ack in acks} == {AckStatus.OK}
    assert [ack.committed for ack in acks] == sorted(ack.committed for ack in acks)
    assert acks[-1].next_line == 101


async def test_nobody_uploads_to_a_log_that_is_not_there(system: LogSystem) -> None:
    payload = encode_chunk(output(b"x"))
    for body in (payload, b""):
        with pytest.raises(NotFoundError):
            await system.logs.append(new_task_id(), 0, 0, body)


async def test_events_of_an_upload_are_pointed_out(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(system, backing)
    begin = StageBegin(Stage.INIT, "plan")
    event = event_chunk(begin, b"INIT\n", source=Source.AGENT, captured_us=NOW_US)
    at, payload = agent.place([output(b"a\n"), event])
    pending = await system.logs.offer(agent.task_id, 1, at, payload)
    assert [chunk.event for chunk in pending.events] == [begin]
    assert pending.size == 7
    await pending.ack()


# --- the server's own lines ------------------------------------------------------


async def test_the_servers_lines_begin_lines(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    logs = system.logs
    async with backing.transactions.write() as tx:
        await logs.note(tx, task_id, "queued", actor="ada")
        await logs.note(tx, task_id, "two\nlines\n", error=True)
        at = await logs.hand_over(tx, task_id)
    agent = Agent(system, task_id, at.epoch, at.offset, at.next_line)
    await agent.say(b"no newline")
    async with backing.transactions.write() as tx:
        await logs.hand_over(tx, task_id)
        await logs.event(tx, task_id, AgentLost("a-1", "l-1"), b"the agent is lost\n")
    await logs.seal(task_id, "failed")
    whole = b"queued\ntwo\nlines\nno newline\nthe agent is lost\n"
    assert await read_text(system, task_id) == whole
    frames = await frames_of(system, task_id)
    assert lines_of(frames) == expected_lines(whole)
    levels = [line[1:3] for frame in frames for line in frame["lines"]]
    assert levels == [
        ["server", "info"],
        ["server", "error"],
        ["server", "error"],
        ["stdout", "info"],
        ["server", "error"],
    ]


async def test_a_note_moves_no_cursor(system: LogSystem, backing: LogBacking) -> None:
    task_id = await new_log(system, backing)
    async with backing.transactions.write() as tx:
        await system.logs.note(tx, task_id, "a service said \x1b[2J\x9b1A\x07ok\r")
    await system.logs.seal(task_id, "failed")
    assert await read_text(system, task_id) == b"a service said  [2J 1A ok \n"


async def test_a_note_is_undone_with_its_transaction(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)

    class StopError(Exception):
        pass

    async def note_and_stop() -> None:
        async with backing.transactions.write() as tx:
            await system.logs.note(tx, task_id, "never")
            raise StopError

    with pytest.raises(StopError):
        await note_and_stop()
    assert (await system.logs.head(task_id)).committed == 0


async def test_an_ended_log_takes_no_notes_and_no_writer(
    system: LogSystem, backing: LogBacking
) -> None:
    task_id = await new_log(system, backing)
    await system.logs.seal(task_id, "success")
    with pytest.raises(ConflictError, match="has ended"):
        async with backing.transactions.write() as tx:
            await system.logs.note(tx, task_id, "late")
    with pytest.raises(ConflictError, match="has ended"):
        async with backing.transactions.write() as tx:
            await system.logs.hand_over(tx, task_id)
    with pytest.raises(NotFoundError):
        async with backing.transactions.write() as tx:
            await system.logs.hand_over(tx, new_task_id())


# --- the end --------------------------------------------------------------------


async def test_the_end_says_what_the_log_is(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(system, backing)
    whole = b"one\ntwo\nthree" * 1000
    await agent.say(whole)
    for _ in range(3):
        await system.logs.seal(agent.task_id, "success")
    view = await system.logs.view(agent.task_id)
    assert view.record.sha256 == hashlib.sha256(whole).hexdigest()
    end = (await view.read(view.record.committed))[-1].event
    assert end == End(len(whole), 2001, view.record.sha256 or "", "success")
    late = await system.logs.append(agent.task_id, 1, *agent.place([output(b"x")]))
    assert late.status is AckStatus.CLOSED


async def test_sealing_waits_for_what_is_being_written(
    system: LogSystem, backing: LogBacking
) -> None:
    agent = await handed_over(system, backing)

    async def write() -> None:
        for number in range(30):
            await agent.say(b"%d\n" % number)

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        await asyncio.sleep(0)
    await asyncio.gather(
        *[system.logs.seal(agent.task_id, "success") for _ in range(3)]
    )
    view = await system.logs.view(agent.task_id)
    chunks = await view.read(0)
    assert sum(isinstance(chunk.event, End) for chunk in chunks) == 1


# --- what others ask ------------------------------------------------------------


async def test_a_part_has_its_own_hash(system: LogSystem, backing: LogBacking) -> None:
    agent = await handed_over(system, backing)
    whole = bytes(range(256)) * 40
    for at in range(0, len(whole), 1000):
        await agent.send(output(whole[at : at + 1000]))
    for start, end in ((0, len(whole)), (0, 0), (999, 1001), (1500, 9000)):
        found = await system.logs.digest(agent.task_id, start, end)
        assert found == hashlib.sha256(whole[start:end]).hexdigest()


@pytest.mark.parametrize(
    ("pieces", "last"),
    [
        ([b"one\ntwo\n"], "two"),
        ([b"one\ntwo"], "two"),
        ([b"one\n", b"\n  \n"], "one"),
        ([b"one\n\xff\xc3\xa9\n"], "\ufffd\xe9"),
        ([], ""),
        ([b"x" * 900], "x" * 500),
        ([b"far away\n" + b"\n" * 200_000], "far away"),
    ],
)
async def test_the_last_line_of_output(
    system: LogSystem, backing: LogBacking, pieces: list[bytes], last: str
) -> None:
    agent = await handed_over(system, backing)
    for piece in pieces:
        await agent.say(piece)
    note = event_chunk(Note(), b"\nnot output\n", source=Source.AGENT, captured_us=1)
    await agent.send(note)
    end = agent.offset
    assert await system.logs.last_line(agent.task_id, 0, end) == last
    assert await system.logs.last_line(agent.task_id, end, end) == ""
