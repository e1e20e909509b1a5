"""Servers and databases that tests share; each is started by the first test that asks."""

import asyncio
import shutil
import signal
import uuid
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from sluice.db.engine import Database, connection_of, open_database
from sluice.testing.memory import MemoryTransactions
from sluice.testing.moto import Moto, moto
from sluice.testing.postgres import NoPostgresError, Postgres, postgres
from sluice.testing.redis import NoRedisError, Redis, redis
from sluice.testing.schema import declared_tables

KINDS = ("memory", "sqlite", "postgresql")

# machines are shared: how long an example takes says nothing
settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shared")

# What a shell starts in the background ignores these two, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio alone."""
    return "asyncio"


def run_apart(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine to its end in a thread, so in a loop of its own."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, work).result()


async def create_tables(database: Database) -> None:
    """All declared tables, without Alembic."""
    async with database.write() as tx:
        await connection_of(tx).run_sync(declared_tables().create_all)


# --- servers ------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL server of this test run (of this xdist worker)."""
    try:
        with postgres() as server:
            yield server
    except NoPostgresError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A Redis server of this test run."""
    try:
        with redis() as server:
            yield server
    except NoRedisError as error:
        pytest.skip(str(error))


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """URL of a Redis that other tests of this worker use as well."""
    return redis_server.url


@pytest.fixture(scope="session")
def moto_server() -> Iterator[Moto]:
    """moto's AWS for this test run."""
    with moto() as server:
        yield server


@pytest.fixture
def s3_endpoint(moto_server: Moto) -> str:
    """Endpoint of an S3 (and of all AWS that moto knows); take a bucket of your own."""
    return moto_server.endpoint


@pytest.fixture
def s3_bucket(moto_server: Moto) -> str:
    """A new bucket at `s3_endpoint`."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    moto_server.create_bucket(name)
    return name


# --- databases ----------------------------------------------------------------


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables, to be copied."""
    path = tmp_path_factory.mktemp("template") / "sluice.db"

    async def fill() -> None:
        database = open_database(f"sqlite+aiosqlite:///{path}")
        await create_tables(database)
        await database.close()

    run_apart(fill())
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """URL of a fresh SQLite database with all tables."""
    path = tmp_path / "sluice.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite+aiosqlite:///{path}"


async def execute(server: Postgres, statement: str) -> None:
    """Run one statement that may stand in no transaction."""
    engine = create_async_engine(
        server.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres) -> str:
    """Name of a PostgreSQL database with all tables, to be copied."""

    async def fill() -> None:
        await execute(postgres_server, "CREATE DATABASE template_sluice")
        database = open_database(postgres_server.url("template_sluice"))
        await create_tables(database)
        await database.close()

    run_apart(fill())
    return "template_sluice"


def _fresh(server: Postgres, template: str) -> Iterator[str]:
    name = f"t_{uuid.uuid4().hex}"
    run_apart(execute(server, f"CREATE DATABASE {name} TEMPLATE {template}"))
    yield server.url(name)
    run_apart(execute(server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def postgres_url(postgres_server: Postgres, postgres_template: str) -> Iterator[str]:
    """URL of a fresh PostgreSQL database with all tables."""
    yield from _fresh(postgres_server, postgres_template)


@pytest.fixture
def empty_postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """URL of a fresh PostgreSQL database without tables (for migrations)."""
    yield from _fresh(postgres_server, "template0")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """URL of a fresh database with all tables; the test runs on each kind."""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a fresh database without tables; the test runs on each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("empty_postgres_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A fresh database with all tables; the test runs on each kind."""
    opened = open_database(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite_database(sqlite_url: str) -> AsyncIterator[Database]:
    """A fresh SQLite database with all tables."""
    opened = open_database(sqlite_url)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres_database(postgres_url: str) -> AsyncIterator[Database]:
    """A fresh PostgreSQL database with all tables."""
    opened = open_database(postgres_url)
    yield opened
    await opened.close()


@dataclass(frozen=True, slots=True)
class Backing:
    """What a port suite runs on: `memory`, `sqlite` or `postgresql`."""

    kind: str
    transactions: MemoryTransactions | Database

    @property
    def memory(self) -> MemoryTransactions:
        """The in-memory transactions (only where `kind` is `memory`)."""
        assert isinstance(self.transactions, MemoryTransactions)
        return self.transactions


@pytest.fixture(params=KINDS)
def backing_url(request: pytest.FixtureRequest) -> str:
    """A URL, or the empty string for memory; `transactions` builds on it."""
    if request.param == "memory":
        return ""
    name = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(name))


@pytest.fixture
async def transactions(backing_url: str) -> AsyncIterator[Backing]:
    """Fresh transactions for a port suite; the test runs on all three kinds.

    The store is picked by `.kind`: `MemoryXStore(transactions.memory)` or `SqlXStore()`.
    """
    if not backing_url:
        yield Backing("memory", MemoryTransactions())
        return
    opened = open_database(backing_url)
    yield Backing(opened.dialect, opened)
    await opened.close()
