import asyncio

import pytest

from sluice.base.transactions import Tx
from sluice.testing.memory import MemoryTransactions, reading, writing


async def test_a_transaction_keeps_what_was_written() -> None:
    transactions = MemoryTransactions()
    rows = transactions.table({"a": 1})
    async with transactions.write() as tx:
        writing(tx)
        rows["b"] = 2
    assert rows == {"a": 1, "b": 2}


async def test_an_error_undoes_all_tables() -> None:
    transactions = MemoryTransactions()
    one = transactions.table({"a": 1})
    two = transactions.table(dict[int, str]())

    async def fail() -> None:
        async with transactions.write():
            one["a"] = 2
            one["b"] = 3
            two[1] = "x"
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await fail()
    assert one == {"a": 1}
    assert two == {}


async def test_a_cancelled_transaction_is_undone() -> None:
    transactions = MemoryTransactions()
    rows = transactions.table(dict[str, int]())

    async def half() -> None:
        async with transactions.write():
            rows["a"] = 1
            await asyncio.sleep(60)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(half())
        await asyncio.sleep(0)
        assert rows == {"a": 1}
        task.cancel()
    assert rows == {}
    async with transactions.read():
        pass


async def test_transactions_do_not_see_each_other() -> None:
    transactions = MemoryTransactions()
    rows = transactions.table({"n": 0})

    async def add() -> None:
        async with transactions.write():
            before = rows["n"]
            await asyncio.sleep(0)
            rows["n"] = before + 1

    async def look() -> None:
        async with transactions.read():
            before = rows["n"]
            await asyncio.sleep(0)
            assert rows["n"] == before

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(add())
            group.create_task(look())
    assert rows == {"n": 20}


async def test_a_transaction_inside_another_is_refused() -> None:
    transactions = MemoryTransactions()
    async with transactions.read():
        with pytest.raises(RuntimeError, match="inside"):
            async with transactions.read():
                pass
    async with transactions.write():
        pass


async def test_stores_refuse_what_is_no_open_transaction_of_theirs() -> None:
    transactions = MemoryTransactions()
    with pytest.raises(TypeError, match="no in-memory"):
        reading(Tx())
    async with transactions.read() as tx:
        reading(tx)
        with pytest.raises(RuntimeError, match="only reads"):
            writing(tx)
    with pytest.raises(RuntimeError, match="over"):
        reading(tx)
