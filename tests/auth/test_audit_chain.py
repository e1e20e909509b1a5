"""Attacks on the chain of the audit log, on both databases and in memory."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from sluice.auth.audit import AuditEntry, AuditFilter, AuditLog
from sluice.auth.audit_entries import new_entry
from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.tables import audit_entries, audit_head
from sluice.base.errors import SluiceError
from sluice.base.ids import OrganizationId
from sluice.base.transactions import Transactions
from sluice.db.engine import Database, connection_of, open_database
from sluice.db.migrate import Half, upgrade
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.wire.audit_chain import Broken, ChainCheck, Link, entry_hash
from tests.auth.conftest import TurnedClock
from tests.conftest import Backing

ALL = AuditFilter()
COLUMNS = audit_entries.c


async def written(
    transactions: Transactions, log: AuditLog, clock: TurnedClock, count: int = 5
) -> None:
    for number in range(count):
        entry = new_entry(
            clock,
            actor="ada",
            action="user.create",
            subject=f"user-{number}",
            organization_id=OrganizationId("org-1"),
            detail={"name": f"ümlaut {number}", "b": "x", "a": "y"},
        )
        async with transactions.write() as tx:
            await log.append(tx, entry)
        clock.turn(seconds=0.000123)


async def chain(transactions: Transactions, log: AuditLog) -> Sequence[AuditEntry]:
    async with transactions.read() as tx:
        return await log.after(tx, ALL, number=0, limit=10_000)


async def verdict(
    transactions: Transactions, log: AuditLog, *noted: Link
) -> Broken | None:
    """What `sluice audit verify` says of the log."""
    async with transactions.read() as tx:
        head = await log.head(tx)
    check = ChainCheck(head, *noted)
    for entry in await chain(transactions, log):
        broken = check.take(entry)
        if broken:
            return broken
    return check.end()


@pytest.fixture
def log(transactions: Backing) -> AuditLog:
    if transactions.kind == "memory":
        return MemoryAuditLog(transactions.memory)
    return SqlAuditLog()


async def test_entries_are_a_chain_from_the_first(
    transactions: Backing, log: AuditLog, clock: TurnedClock
) -> None:
    opened = transactions.transactions
    assert await verdict(opened, log) is None
    await written(opened, log, clock)
    found = await chain(opened, log)
    assert [entry.number for entry in found] == [1, 2, 3, 4, 5]
    assert found[0].previous_hash == ""
    assert all(entry.hash == entry_hash(entry) for entry in found)
    async with opened.read() as tx:
        assert await log.head(tx) == Link(5, found[-1].hash)
    assert await verdict(opened, log, Link(3, found[2].hash)) is None


async def test_entries_of_one_transaction_follow_each_other(
    transactions: Backing, log: AuditLog, clock: TurnedClock
) -> None:
    opened = transactions.transactions
    made = [
        new_entry(clock, actor="a", action="a.b", subject=str(number))
        for number in range(3)
    ]
    async with opened.write() as tx:
        for entry in made:
            await log.append(tx, entry)
    assert list(await chain(opened, log)) == made
    assert await verdict(opened, log) is None


async def test_a_rollback_leaves_no_hole(
    transactions: Backing, log: AuditLog, clock: TurnedClock
) -> None:
    opened = transactions.transactions
    await written(opened, log, clock, 2)

    async def crash() -> None:
        async with opened.write() as tx:
            entry = new_entry(clock, actor="a", action="a.b", subject="s")
            await log.append(tx, entry)
            raise SluiceError("crash")

    with pytest.raises(SluiceError):
        await crash()
    await written(opened, log, clock, 2)
    assert [entry.number for entry in await chain(opened, log)] == [1, 2, 3, 4]
    assert await verdict(opened, log) is None


async def test_many_at_once_make_one_chain(
    transactions: Backing, log: AuditLog, clock: TurnedClock
) -> None:
    opened = transactions.transactions

    async def some() -> None:
        await written(opened, log, clock, 5)

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(some())
    found = await chain(opened, log)
    assert [entry.number for entry in found] == list(range(1, 101))
    assert await verdict(opened, log) is None


async def test_lists_go_on_from_a_number(
    transactions: Backing, log: AuditLog, clock: TurnedClock
) -> None:
    opened = transactions.transactions
    began = clock.now()
    await written(opened, log, clock)
    async with opened.read() as tx:
        late = AuditFilter(since=began + timedelta(microseconds=123))
        early = AuditFilter(until=began + timedelta(microseconds=123))
        assert [e.number for e in await log.after(tx, late, number=3, limit=1)] == [4]
        assert [e.number for e in await log.after(tx, early, number=0, limit=9)] == [1]


# --- somebody with the rights of the database's owner --------------------------------


@pytest.fixture
async def attacked(database: Database, clock: TurnedClock) -> Database:
    """A log of nine entries whose triggers are gone."""
    await written(database, SqlAuditLog(), clock, 9)
    async with database.write() as tx:
        connection = connection_of(tx)
        if database.dialect == "postgresql":
            statement = text("ALTER TABLE audit_entries DISABLE TRIGGER USER")
            await connection.execute(statement)
        else:
            for verb in ("update", "delete"):
                await connection.execute(text(f"DROP TRIGGER audit_entries_no_{verb}"))
    return database


async def run(database: Database, *statements: object) -> None:
    async with database.write() as tx:
        for statement in statements:
            await connection_of(tx).execute(statement)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", "audit-other"),
        ("at", None),
        ("organization_id", None),
        ("actor", "eve"),
        ("actor_id", "user-9"),
        ("action", "user.delete"),
        ("subject", "user-9"),
        ("detail", {}),
        ("outcome", "denied"),
        ("address", "192.0.2.1"),
        ("request_id", "r"),
        ("previous_hash", "0" * 64),
        ("hash", "0" * 64),
        ("hash", ""),
    ],
)
async def test_no_field_can_be_changed(
    attacked: Database, clock: TurnedClock, column: str, value: object
) -> None:
    given = clock.now() if column == "at" else value
    change = update(audit_entries).where(COLUMNS.number == 4).values({column: given})
    await run(attacked, change)
    broken = await verdict(attacked, SqlAuditLog())
    assert broken is not None
    assert broken.number == 4


async def test_a_missing_entry_is_named(attacked: Database) -> None:
    await run(attacked, delete(audit_entries).where(COLUMNS.number == 4))
    broken = await verdict(attacked, SqlAuditLog())
    assert broken == Broken(4, "entry 4 is missing")
    await run(attacked, delete(audit_entries).where(COLUMNS.number.in_([5, 6])))
    broken = await verdict(attacked, SqlAuditLog())
    assert broken == Broken(4, "entries 4 to 6 are missing")


async def test_a_cut_end_is_named(attacked: Database) -> None:
    found = await chain(attacked, SqlAuditLog())
    await run(attacked, delete(audit_entries).where(COLUMNS.number > 6))
    broken = await verdict(attacked, SqlAuditLog())
    assert broken is not None
    assert (broken.number, "cut off" in broken.what) == (7, True)
    # with the head put back, too, only what was noted elsewhere tells
    head = update(audit_head).values(number=6, hash=found[5].hash)
    await run(attacked, head)
    assert await verdict(attacked, SqlAuditLog()) is None
    broken = await verdict(attacked, SqlAuditLog(), Link(9, found[8].hash))
    assert broken is not None
    assert (broken.number, "cut off" in broken.what) == (7, True)


async def test_two_cannot_change_places(attacked: Database) -> None:
    moves = [(4, 100), (5, 4), (100, 5)]
    await run(
        attacked,
        *(
            update(audit_entries).where(COLUMNS.number == a).values(number=b)
            for a, b in moves
        ),
    )
    broken = await verdict(attacked, SqlAuditLog())
    assert broken is not None
    assert broken.number == 4


async def test_nothing_can_be_put_in(attacked: Database, clock: TurnedClock) -> None:
    """Behind the last one without a place in the chain, or with a hash of its own."""
    row = {
        "number": 10,
        "id": "audit-forged",
        "at": clock.now(),
        "actor": "eve",
        "action": "a.b",
        "subject": "s",
        "detail": {},
    }
    await run(attacked, insert(audit_entries).values(row))
    broken = await verdict(attacked, SqlAuditLog())
    assert broken is not None
    assert (broken.number, "not in the chain" in broken.what) == (10, True)
    forged = update(audit_entries).where(COLUMNS.number == 10).values(hash="f" * 64)
    await run(attacked, forged)
    broken = await verdict(attacked, SqlAuditLog())
    assert broken is not None
    assert broken.number == 10


async def test_a_chain_written_anew_is_no_longer_the_noted_one(
    attacked: Database,
) -> None:
    before = await chain(attacked, SqlAuditLog())
    head = Link(before[3].number, before[3].hash)
    for entry in before[4:]:
        forged = replace(
            entry,
            actor="eve" if entry.number == 5 else entry.actor,
            previous_hash=head.hash,
        )
        head = Link(entry.number, entry_hash(forged))
        await run(
            attacked,
            update(audit_entries)
            .where(COLUMNS.number == entry.number)
            .values(
                actor=forged.actor, previous_hash=forged.previous_hash, hash=head.hash
            ),
        )
    await run(attacked, update(audit_head).values(number=head.number, hash=head.hash))
    assert await verdict(attacked, SqlAuditLog()) is None
    assert await verdict(attacked, SqlAuditLog(), Link(4, before[3].hash)) is None
    broken = await verdict(attacked, SqlAuditLog(), Link(7, before[6].hash))
    assert broken is not None
    assert (broken.number, "written anew" in broken.what) == (7, True)


async def test_an_entry_replaced_hash_and_all_is_named(attacked: Database) -> None:
    entry = (await chain(attacked, SqlAuditLog()))[3]
    forged = replace(entry, actor="eve")
    await run(
        attacked,
        update(audit_entries)
        .where(COLUMNS.number == 4)
        .values(actor="eve", hash=entry_hash(forged)),
    )
    broken = await verdict(attacked, SqlAuditLog())
    assert broken is not None
    assert (broken.number, "does not follow entry 4" in broken.what) == (5, True)


async def test_a_lost_head_is_found_again(
    attacked: Database, clock: TurnedClock
) -> None:
    await run(attacked, delete(audit_head))
    await written(attacked, SqlAuditLog(), clock, 1)
    assert (await chain(attacked, SqlAuditLog()))[-1].number == 10
    assert await verdict(attacked, SqlAuditLog()) is None


# --- what the database refuses --------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entries SET actor = 'eve'",
        "UPDATE audit_entries SET hash = ''",
        "DELETE FROM audit_entries WHERE number = 2",
        "DELETE FROM audit_entries",
        "TRUNCATE audit_entries",
    ],
)
async def test_the_database_refuses_changes(
    empty_database_url: str, clock: TurnedClock, statement: str
) -> None:
    await upgrade(empty_database_url)
    database = open_database(empty_database_url)
    await written(database, SqlAuditLog(), clock)
    with pytest.raises(DBAPIError, match=r"never changed|syntax"):
        await run(database, text(statement))
    assert len(await chain(database, SqlAuditLog())) == 5
    assert await verdict(database, SqlAuditLog()) is None
    await database.close()


# --- what older servers wrote -----------------------------------------------------------


def _old_rows(connection: Connection, *names: str) -> None:
    """As a server of the last version appends: the database numbers its rows."""
    for name in names:
        connection.execute(
            text(
                "INSERT INTO audit_entries (id, at, actor, action, subject, detail)"
                " VALUES (:id, '2026-11-01 10:00:00+00:00', 'ada', 'a.b', 's', '{}')"
            ),
            {"id": name},
        )


async def test_what_older_servers_wrote_is_taken_into_the_chain(
    empty_database_url: str, clock: TurnedClock
) -> None:
    await upgrade(empty_database_url, Half.EXPAND)
    database, log = open_database(empty_database_url), SqlAuditLog()

    async def by_an_old_server(*names: str) -> None:
        async with database.write() as tx:
            await connection_of(tx).run_sync(_old_rows, *names)

    await by_an_old_server("audit-1", "audit-2")
    await written(database, log, clock, 2)
    assert await verdict(database, log) is None
    assert [entry.number for entry in await chain(database, log)] == [1, 2, 3, 4]
    if database.dialect == "postgresql":
        # a server of the last version runs on beside the first new one
        await by_an_old_server("audit-3")
        await written(database, log, clock, 1)
        broken = await verdict(database, log)
        assert broken is not None
        assert "not in the chain" in broken.what
    async with database.write() as tx:
        await log.take_in_older(tx)
    assert await verdict(database, log) is None
    numbers = [entry.number for entry in await chain(database, log)]
    assert numbers == list(range(1, len(numbers) + 1))
    async with database.write() as tx:
        assert await log.take_in_older(tx) == 0
        query = select(COLUMNS.id).order_by(COLUMNS.number)
        first = await connection_of(tx).scalar(query)
    assert first == "audit-1"
    await database.close()
