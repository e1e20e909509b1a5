"""The keeper of gates for tests refuses what no keeper should ever see."""

import pytest

from sluice.tasks.model import Gate
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_keeper import AskStatus, MemoryKeeper
from tests.tasks.factory import make_task

BOTH = frozenset({Gate.PRE_PLAN, Gate.POST_PLAN})


async def test_it_stops_where_it_is_told_and_a_task_may_come() -> None:
    transactions = MemoryTransactions()
    keeper = MemoryKeeper([Gate.POST_PLAN, Gate.PRE_APPLY], transactions=transactions)
    task = make_task()
    async with transactions.write() as tx:
        assert await keeper.plan(tx, task, BOTH) == {Gate.POST_PLAN}
        assert keeper.standing() == []
        await keeper.open(tx, task, Gate.PRE_PLAN)
        await keeper.open(tx, task, Gate.POST_PLAN)
    assert [ask.gate for ask in keeper.standing()] == [Gate.POST_PLAN]
    with pytest.raises(AssertionError, match="came to post_plan again"):
        async with transactions.write() as tx:
            await keeper.open(tx, task, Gate.POST_PLAN)


async def test_what_is_left_at_the_end_is_canceled_or_skipped_once() -> None:
    transactions = MemoryTransactions()
    keeper = MemoryKeeper(BOTH, transactions=transactions)
    task = make_task()
    async with transactions.write() as tx:
        await keeper.plan(tx, task, BOTH)
        await keeper.open(tx, task, Gate.PRE_PLAN)
        await keeper.ended(tx, task)
    found = {gate: ask.status for gate, ask in keeper.asks(task.id).items()}
    assert found == {
        Gate.PRE_PLAN: AskStatus.CANCELED,
        Gate.POST_PLAN: AskStatus.SKIPPED,
    }
    with pytest.raises(AssertionError, match="ended twice"):
        async with transactions.write() as tx:
            await keeper.ended(tx, task)


async def test_it_forgets_what_a_failed_transaction_did() -> None:
    transactions = MemoryTransactions()
    keeper = MemoryKeeper(BOTH, transactions=transactions)
    task = make_task()

    async def fail() -> None:
        async with transactions.write() as tx:
            await keeper.plan(tx, task, BOTH)
            raise RuntimeError("the task cannot be stored")

    with pytest.raises(RuntimeError, match="cannot be stored"):
        await fail()
    assert keeper.asks(task.id) == {}
