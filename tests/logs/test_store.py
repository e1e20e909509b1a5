"""The port suite: one behaviour in memory, on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from sluice.base.ids import TaskId, new_task_id
from sluice.base.transactions import Tx
from sluice.db.engine import connection_of
from sluice.logs.assembly import LogBacking
from sluice.logs.model import LogRecord, Unit
from sluice.wire.chunk import UNMARKED, Chunk, Kind, Source, event_chunk, placed
from sluice.wire.events import End, Note
from sluice.wire.log_flow import Head

AT = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
BYTES = bytes(range(256))


def unit_of(
    task_id: TaskId, *pieces: bytes, epoch: int = 0, offset: int = 0, line: int = 1
) -> Unit:
    chunks = []
    at, number = offset, line
    for piece in pieces:
        chunk = Chunk(at, number, Source.STDERR, Kind.OUTPUT, 1000 + at, piece)
        chunks.append(chunk)
        at, number = chunk.end, chunk.next_line
    return Unit(task_id, epoch, offset, line, at, number, tuple(chunks))


async def opened(backing: LogBacking, *units: Unit, at: datetime = AT) -> TaskId:
    task_id = units[0].task_id if units else new_task_id()
    async with backing.transactions.write() as tx:
        await backing.store.open(tx, task_id, at=at)
    for unit in units:
        [outcome] = await backing.lane.append_many([unit])
        assert outcome.accepted
    return task_id


async def record_of(backing: LogBacking, task_id: TaskId) -> LogRecord:
    async with backing.transactions.read() as tx:
        record = await backing.store.get(tx, task_id)
    assert record is not None
    return record


def the_end(record: LogRecord, status: str = "success") -> Chunk:
    end = End(record.committed, record.next_line - 1, "f" * 64, status)
    chunk = event_chunk(end, b"", source=Source.SERVER, captured_us=9)
    return placed(chunk, offset=record.committed, first_line=record.next_line)


async def seal(backing: LogBacking, task_id: TaskId, *, at: datetime = AT) -> LogRecord:
    record = await record_of(backing, task_id)
    async with backing.transactions.write() as tx:
        assert await backing.store.seal(tx, record, the_end(record), at=at)
    return await record_of(backing, task_id)


async def archive(backing: LogBacking, task_id: TaskId) -> None:
    async with backing.transactions.write() as tx:
        await backing.store.set_archived(tx, task_id, blob_key="logs/x.slz", at=AT)


@pytest.fixture(autouse=True)
async def _closed(backing: LogBacking) -> AsyncIterator[None]:
    yield
    await backing.lane.close()


# --- opening and handing over -------------------------------------------------


async def test_a_new_log_is_empty_and_opening_again_changes_nothing(
    backing: LogBacking,
) -> None:
    task_id = await opened(backing)
    unit = unit_of(task_id, b"x\n")
    await backing.lane.append_many([unit])
    async with backing.transactions.write() as tx:
        await backing.store.open(tx, task_id, at=AT + timedelta(days=3))
    record = await record_of(backing, task_id)
    assert record.head == Head(0, 2, 2)
    assert (record.day, record.opened_at) == (20778, AT)
    assert (record.sha256, record.blob_key, record.sealed_at) == (None, None, None)


async def test_there_is_no_log_before_it_is_opened(backing: LogBacking) -> None:
    task_id = new_task_id()
    async with backing.transactions.write() as tx:
        assert await backing.store.get(tx, task_id) is None
        assert await backing.store.hand_over(tx, task_id) is None
    [outcome] = await backing.lane.append_many([unit_of(task_id, b"x")])
    assert (outcome.accepted, outcome.head) == (False, None)


async def test_a_hand_over_fences_the_former_writer_off(backing: LogBacking) -> None:
    task_id = await opened(backing)
    async with backing.transactions.write() as tx:
        record = await backing.store.hand_over(tx, task_id)
    assert record is not None
    assert record.epoch == 1
    [late] = await backing.lane.append_many([unit_of(task_id, b"late")])
    assert (late.accepted, late.head) == (False, Head(1, 0, 1))
    [good] = await backing.lane.append_many([unit_of(task_id, b"good", epoch=1)])
    assert (good.accepted, good.head) == (True, Head(1, 4, 1))


async def test_many_logs_are_handed_over_at_once(backing: LogBacking) -> None:
    first, second, ended = [await opened(backing) for _ in range(3)]
    await seal(backing, ended)
    unknown = new_task_id()
    async with backing.transactions.write() as tx:
        await backing.store.hand_over(tx, second)
        records = await backing.store.hand_over_all(tx, [first, second, ended, unknown])
        assert await backing.store.hand_over_all(tx, []) == []
    assert {record.task_id: record.epoch for record in records} == {first: 1, second: 2}


# --- appending ----------------------------------------------------------------


async def test_units_are_stored_alone_or_refused_alone(backing: LogBacking) -> None:
    a = await opened(backing)
    b = await opened(backing, unit_of(new_task_id(), b"there\n"))
    c = await opened(backing)
    outcomes = await backing.lane.append_many(
        [
            unit_of(a, b"one\n", b"two"),
            unit_of(b, b"gap", offset=9, line=2),
            unit_of(c, BYTES, b"\n"),
            unit_of(new_task_id(), b"nowhere"),
        ]
    )
    assert [outcome.accepted for outcome in outcomes] == [True, False, True, False]
    assert [outcome.head for outcome in outcomes] == [
        Head(0, 7, 2),
        Head(0, 6, 2),
        Head(0, 257, 3),
        None,
    ]
    assert (await record_of(backing, a)).head == Head(0, 7, 2)
    assert (await record_of(backing, b)).head == Head(0, 6, 2)


@pytest.mark.parametrize(
    ("offset", "line", "epoch"), [(3, 2, 0), (5, 2, 0), (4, 1, 0), (4, 2, 1), (0, 1, 0)]
)
async def test_a_unit_must_begin_where_the_log_stands(
    backing: LogBacking, offset: int, line: int, epoch: int
) -> None:
    task_id = await opened(backing, unit_of(new_task_id(), b"abc\n"))
    unit = unit_of(task_id, b"more", offset=offset, line=line, epoch=epoch)
    [outcome] = await backing.lane.append_many([unit])
    assert (outcome.accepted, outcome.head) == (False, Head(0, 4, 2))
    async with backing.transactions.write() as tx:
        assert await backing.store.put(tx, unit) == outcome


async def test_put_joins_the_callers_transaction(backing: LogBacking) -> None:
    task_id = await opened(backing)

    class StopError(Exception):
        pass

    async def put_and_stop(tx: Tx) -> None:
        outcome = await backing.store.put(tx, unit_of(task_id, b"gone\n"))
        assert outcome.accepted
        raise StopError

    with pytest.raises(StopError):
        async with backing.transactions.write() as tx:
            await put_and_stop(tx)
    assert (await record_of(backing, task_id)).head == Head(0, 0, 1)
    async with backing.transactions.write() as tx:
        outcome = await backing.store.put(tx, unit_of(task_id, b"kept\n"))
    assert (outcome.accepted, outcome.head) == (True, Head(0, 5, 2))


async def test_two_writers_at_once_one_wins(backing: LogBacking) -> None:
    task_id = await opened(backing)
    outcomes = await asyncio.gather(
        *[backing.lane.append_many([unit_of(task_id, b"%d\n" % n)]) for n in range(8)]
    )
    assert sum(outcome.accepted for [outcome] in outcomes) == 1
    assert (await record_of(backing, task_id)).committed == 2


# --- reading ------------------------------------------------------------------


async def test_chunks_come_back_as_they_were(backing: LogBacking) -> None:
    note = event_chunk(Note("ada"), b"note\n", source=Source.SERVER, captured_us=77)
    output = Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 2**60, BYTES * 300, flags=UNMARKED)
    event = placed(note, offset=output.end, first_line=output.next_line)
    task_id = new_task_id()
    unit = Unit(task_id, 0, 0, 1, event.end, event.next_line, (output, event))
    await opened(backing, unit)
    record = await record_of(backing, task_id)
    assert await backing.lane.read_chunks(record, 0, 10**6) == [output, event]
    async with backing.transactions.read() as tx:
        assert await backing.store.read_chunks(tx, record, 0, 10**6) == [output, event]


@pytest.mark.parametrize(
    ("offset", "budget", "found"),
    [
        (0, 1, [0]),
        (3, 1, [0]),
        (4, 1, [4]),
        (5, 3, [4]),
        (5, 4, [4, 8]),
        (0, 100, [0, 4, 8]),
        (11, 5, [8]),
        (12, 5, []),
        (0, 0, [0]),
    ],
)
async def test_reading_begins_with_the_chunk_that_holds_the_byte(
    backing: LogBacking, offset: int, budget: int, found: list[int]
) -> None:
    task_id = await opened(
        backing, unit_of(new_task_id(), b"abc\n", b"def\n", b"ghi\n")
    )
    await opened(backing, unit_of(new_task_id(), b"another log's\n"))
    record = await record_of(backing, task_id)
    chunks = await backing.lane.read_chunks(record, offset, budget)
    assert [chunk.offset for chunk in chunks] == found
    async with backing.transactions.read() as tx:
        assert await backing.store.read_chunks(tx, record, offset, budget) == chunks


async def test_the_end_stands_at_the_logs_length(backing: LogBacking) -> None:
    task_id = await opened(backing, unit_of(new_task_id(), b"abc\n"))
    record = await seal(backing, task_id)
    [end] = await backing.lane.read_chunks(record, 4, 1)
    assert isinstance(end.event, End)
    both = await backing.lane.read_chunks(record, 0, 100)
    assert [chunk.offset for chunk in both] == [0, 4]
    empty = await seal(backing, await opened(backing))
    [only] = await backing.lane.read_chunks(empty, 0, 100)
    assert isinstance(only.event, End)


@pytest.mark.parametrize(
    ("line", "offset"), [(2, 0), (3, 2), (4, 2), (5, 9), (6, 9), (100, 9)]
)
async def test_a_line_is_found_by_the_newline_before_it(
    backing: LogBacking, line: int, offset: int
) -> None:
    # lines: 1 "a", 2 "b" + "bbb" over two chunks, 3 "c", 4 "d…", 5 "e"
    task_id = await opened(
        backing, unit_of(new_task_id(), b"a\n", b"bb", b"bb\nc\n", b"d\ne\n")
    )
    record = await seal(backing, task_id)
    async with backing.transactions.read() as tx:
        chunk = await backing.store.chunk_at_line(tx, record, line)
    assert chunk is not None
    expected = {2: 0, 3: 4, 4: 4}.get(line, offset)
    assert chunk.offset == expected


async def test_no_chunk_before_the_first_line(backing: LogBacking) -> None:
    task_id = await opened(backing, unit_of(new_task_id(), b"a\n"))
    record = await record_of(backing, task_id)
    async with backing.transactions.read() as tx:
        assert await backing.store.chunk_at_line(tx, record, 1) is None


# --- the end and after --------------------------------------------------------


async def test_a_sealed_log_takes_nothing_more(backing: LogBacking) -> None:
    task_id = await opened(backing, unit_of(new_task_id(), b"abc\n"))
    record = await seal(backing, task_id)
    assert (record.sealed, record.final_status) == (True, "success")
    assert (record.sha256, record.sealed_at) == ("f" * 64, AT)
    more = unit_of(task_id, b"more", offset=4, line=2)
    [outcome] = await backing.lane.append_many([more])
    assert (outcome.accepted, outcome.head) == (False, Head(0, 4, 2, closed=True))
    async with backing.transactions.write() as tx:
        assert await backing.store.hand_over(tx, task_id) is None
        assert not await backing.store.seal(tx, record, the_end(record), at=AT)


async def test_a_log_that_moved_on_is_not_sealed(backing: LogBacking) -> None:
    task_id = await opened(backing, unit_of(new_task_id(), b"abc\n"))
    before = await record_of(backing, task_id)
    await backing.lane.append_many([unit_of(task_id, b"d", offset=4, line=2)])
    async with backing.transactions.write() as tx:
        assert not await backing.store.seal(tx, before, the_end(before), at=AT)
    assert not (await record_of(backing, task_id)).sealed


async def test_archiving_goes_oldest_first_and_rows_follow(backing: LogBacking) -> None:
    a, b, c = [
        await opened(backing, unit_of(new_task_id(), *[b"x"] * 5)) for _ in "abc"
    ]
    await seal(backing, b, at=AT)
    await seal(backing, a, at=AT + timedelta(seconds=5))
    store = backing.store
    async with backing.transactions.read() as tx:
        late = await store.archivable(
            tx, sealed_before=AT + timedelta(hours=1), limit=9
        )
        early = await store.archivable(tx, sealed_before=AT, limit=9)
        one = await store.archivable(tx, sealed_before=AT + timedelta(hours=1), limit=1)
    assert [record.task_id for record in late] == [b, a]
    assert [record.task_id for record in early] == [b]
    assert len(one) == 1
    async with backing.transactions.write() as tx:
        assert await store.delete_chunks(tx, b, 100) == 0
    await archive(backing, b)
    await archive(backing, c)
    async with backing.transactions.write() as tx:
        assert await store.leftovers(tx, 9) == [b]
        assert await store.delete_chunks(tx, b, 4) == 4
        assert await store.delete_chunks(tx, b, 4) == 2
        assert await store.leftovers(tx, 9) == []
    archived = await record_of(backing, b)
    assert (archived.blob_key, archived.archived_at) == ("logs/x.slz", AT)
    assert (await record_of(backing, c)).archived_at is None


async def test_days_go_when_all_their_logs_are_archived(backing: LogBacking) -> None:
    days = [AT - timedelta(days=age) for age in (9, 8, 7)]
    done, half, other, fresh = [
        await opened(backing, unit_of(new_task_id(), b"x\n"), at=at)
        for at in (days[0], days[1], days[1], days[2])
    ]
    for task_id in (done, half, fresh):
        await seal(backing, task_id)
        await archive(backing, task_id)
    limit = (await record_of(backing, fresh)).day
    async with backing.transactions.write() as tx:
        dropped = await backing.store.drop_days(tx, before=limit)
    kept = [other, half, fresh]
    if getattr(backing.transactions, "dialect", "") == "postgresql":
        assert dropped == [(await record_of(backing, done)).day]
        record = await record_of(backing, done)
        assert await backing.lane.read_chunks(record, 0, 10) == []
        # the day is made anew for whoever opens a log on it
        again = await opened(backing, unit_of(new_task_id(), b"y\n"), at=days[0])
        kept.append(again)
    else:
        assert dropped == []
    for task_id in kept:
        record = await record_of(backing, task_id)
        assert await backing.lane.read_chunks(record, 0, 10) != []


async def test_partitions_are_made_by_many_at_once(backing: LogBacking) -> None:
    at = AT + timedelta(days=30)
    await asyncio.gather(
        *[opened(backing, unit_of(new_task_id(), b"x"), at=at) for _ in range(6)]
    )
    if getattr(backing.transactions, "dialect", "") == "postgresql":
        async with backing.transactions.read() as tx:
            connection = connection_of(tx)
            made = await connection.exec_driver_sql(
                "SELECT count(*) FROM pg_inherits"
                " WHERE inhparent = 'log_chunks'::regclass"
            )
            assert made.scalar_one() == 1


async def test_a_removed_log_leaves_nothing_and_names_its_object(
    backing: LogBacking,
) -> None:
    first, second = (
        unit_of(new_task_id(), b"a\n", b"b\n"),
        unit_of(new_task_id(), b"c\n"),
    )
    gone, kept = await opened(backing, first), await opened(backing, second)
    store = backing.store
    await seal(backing, gone)
    await archive(backing, gone)
    async with backing.transactions.write() as tx:
        assert await store.remove(tx, gone) == "logs/x.slz"
        assert await store.remove(tx, gone) is None
    async with backing.transactions.read() as tx:
        assert await store.get(tx, gone) is None
        left = await store.get(tx, kept)
        assert left is not None
        assert len(await store.read_chunks(tx, left, 0, 1000)) == 1
    async with backing.transactions.write() as tx:
        await store.open(tx, gone, at=AT)
        again = await store.get(tx, gone)
        assert again is not None
        assert await store.read_chunks(tx, again, 0, 1000) == []
