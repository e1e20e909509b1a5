"""The servers that tests start are real and are gone afterwards."""

import asyncio
import os
from pathlib import Path

import pytest
from obstore.store import S3Store
from sqlalchemy import inspect, text

from sluice.db.engine import Database, connection_of, open_database
from sluice.testing.moto import Moto
from sluice.testing.processes import StartError, free_port, listens, running
from sluice.testing.redis import redis
from sluice.testing.schema import declared_tables
from tests.conftest import Backing


def test_a_server_is_gone_after_its_block() -> None:
    with redis() as server:
        assert listens(server.port)
    assert not listens(server.port)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_does_not_start_says_what_it_printed(tmp_path: Path) -> None:
    command = ["/bin/sh", "-c", "echo no such option; exit 3"]
    never = running(command, log=tmp_path / "log", ready=lambda: False)
    with pytest.raises(StartError, match=r"(?s)ended with 3.*no such option"), never:
        pass


def test_free_ports_are_free() -> None:
    assert not listens(free_port())


async def test_each_test_has_a_database_with_all_tables(database: Database) -> None:
    async with database.write() as tx:
        connection = connection_of(tx)
        names = await connection.run_sync(lambda c: inspect(c).get_table_names())
        assert set(declared_tables().tables) <= set(names)
        # a second run of this test would meet this row if databases were shared
        count = await connection.scalar(text("SELECT count(*) FROM organizations"))
        assert count == 0
        await connection.execute(
            text("INSERT INTO organizations VALUES ('org-1', 'one', '2026-01-01')")
        )


async def test_and_the_next_one_has_none_of_its_rows(database: Database) -> None:
    async with database.read() as tx:
        found = await connection_of(tx).scalar(
            text("SELECT count(*) FROM organizations")
        )
    assert found == 0


async def test_an_empty_database_has_no_tables(empty_database_url: str) -> None:
    database = open_database(empty_database_url)
    async with database.read() as tx:
        names = await connection_of(tx).run_sync(lambda c: inspect(c).get_table_names())
    await database.close()
    assert names == []


async def test_port_suites_run_on_every_kind(transactions: Backing) -> None:
    async with transactions.transactions.write() as tx:
        assert tx is not None
    assert transactions.kind in {"memory", "sqlite", "postgresql"}


def test_moto_takes_objects(moto_server: Moto, s3_bucket: str) -> None:
    store = S3Store(
        s3_bucket,
        endpoint=moto_server.endpoint,
        region="us-east-1",
        access_key_id="any",
        secret_access_key="any",
        client_options={"allow_http": True},
    )
    store.put("a/b", b"some bytes")
    assert bytes(store.get("a/b").bytes()) == b"some bytes"


async def test_loops_are_asyncio() -> None:
    assert asyncio.get_running_loop().is_running()
