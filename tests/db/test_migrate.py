from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from sluice.db import migrate
from sluice.db.engine import Database, connection_of, open_database
from sluice.db.migrate import (
    DatabaseUnusableError,
    Half,
    SchemaAheadError,
    SchemaBehindError,
    pending,
    require_current,
    upgrade,
)
from sluice.testing.processes import free_port
from sluice.testing.schema import declared_tables

FOLDER = Path(migrate.__file__).parent / "migrations"
EXPAND = sorted(path.stem[:5] for path in (FOLDER / "expand").glob("e*.py"))
CONTRACT = sorted(path.stem[:5] for path in (FOLDER / "contract").glob("c*.py"))


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    opened = open_database(empty_database_url)
    yield opened
    await opened.close()


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, declared_tables()))


async def test_migrated_tables_are_the_declared_ones(
    empty_database_url: str, database: Database
) -> None:
    await upgrade(empty_database_url)
    async with database.read() as tx:
        assert await connection_of(tx).run_sync(differences) == []


async def test_a_missing_column_would_be_noticed(
    empty_database_url: str, database: Database
) -> None:
    await upgrade(empty_database_url)
    async with database.write() as tx:
        drop = text("ALTER TABLE tasks DROP COLUMN message")
        await connection_of(tx).execute(drop)
    async with database.read() as tx:
        assert await connection_of(tx).run_sync(differences) != []


async def test_upgrading_twice_changes_nothing(empty_database_url: str) -> None:
    done = await upgrade(empty_database_url)
    assert in_order(done)
    assert await upgrade(empty_database_url) == []


def in_order(done: list[str]) -> bool:
    """Whether every migration is there once, each after those that it builds upon."""
    halves = [[name for name in done if name[0] == letter] for letter in "ec"]
    return (
        halves == [EXPAND, CONTRACT]
        and len(done) == len(EXPAND) + len(CONTRACT)
        and done.index("e0001") < done.index("c0001")
    )


def test_migrations_are_numbered_without_gaps() -> None:
    assert EXPAND[:2] == ["e0001", "e0002"]
    assert [f"e{number:04}" for number, _ in enumerate(EXPAND, 1)] == EXPAND
    assert [f"c{number:04}" for number, _ in enumerate(CONTRACT, 1)] == CONTRACT


async def test_two_at_once_run_each_migration_once(empty_database_url: str) -> None:
    done: list[list[str]] = []

    async def one() -> None:
        done.append(await upgrade(empty_database_url))

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)
    first, second, whole = sorted(done, key=len)
    assert (first, second) == ([], [])
    assert in_order(whole)


async def test_the_server_needs_expand_and_not_contract(
    empty_database_url: str, database: Database
) -> None:
    with pytest.raises(SchemaBehindError, match="sluice db upgrade"):
        await require_current(database)
    assert await upgrade(empty_database_url, Half.EXPAND) == EXPAND
    await require_current(database)
    assert await pending(database) == CONTRACT
    assert await upgrade(empty_database_url, Half.CONTRACT) == CONTRACT
    assert await pending(database) == []


async def test_contract_does_not_run_before_what_it_depends_on(
    empty_database_url: str,
) -> None:
    assert await upgrade(empty_database_url, Half.CONTRACT) == CONTRACT
    assert await upgrade(empty_database_url) == EXPAND[1:]
    assert await upgrade(empty_database_url) == []


async def test_a_database_from_the_future_is_refused(
    empty_database_url: str, database: Database
) -> None:
    await upgrade(empty_database_url)
    async with database.write() as tx:
        change = text(
            "UPDATE alembic_version SET version_num = 'e9999'"
            " WHERE version_num LIKE 'e%'"
        )
        await connection_of(tx).execute(change)
    with pytest.raises(SchemaAheadError, match="e9999"):
        await require_current(database)


async def test_a_failing_migration_leaves_nothing_behind(
    empty_database_url: str, database: Database
) -> None:
    async with database.write() as tx:
        await connection_of(tx).execute(text("CREATE TABLE tasks (id INTEGER)"))
    with pytest.raises(DatabaseUnusableError, match="tasks"):
        await upgrade(empty_database_url)
    async with database.read() as tx:
        names = await connection_of(tx).run_sync(lambda c: inspect(c).get_table_names())
    assert names == ["tasks"]


async def test_chunks_are_partitioned_on_postgresql(
    empty_database_url: str, database: Database
) -> None:
    await upgrade(empty_database_url)
    if database.dialect != "postgresql":
        return
    kind = text("SELECT relkind FROM pg_class WHERE relname = 'log_chunks'")
    async with database.read() as tx:
        found = (await connection_of(tx).execute(kind)).scalar_one()
    assert found in {"p", b"p"}


async def test_a_database_that_is_not_there_is_one_clear_sentence() -> None:
    with pytest.raises(DatabaseUnusableError, match="SLUICE_DATABASE_URL"):
        await upgrade(f"postgresql+asyncpg://nobody@127.0.0.1:{free_port()}/none")
    with pytest.raises(DatabaseUnusableError, match="SLUICE_DATABASE_URL"):
        await upgrade("sqlite+aiosqlite:////no/such/place/x.db")


async def test_a_database_that_refuses_is_one_clear_sentence(
    empty_postgres_url: str,
) -> None:
    with pytest.raises(DatabaseUnusableError, match="nowhere"):
        await upgrade(empty_postgres_url.rsplit("/", 1)[0] + "/nowhere")
