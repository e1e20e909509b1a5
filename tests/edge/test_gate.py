"""The small event."""

import asyncio

from sluice.edge.gate import Gate


async def test_waiting_ends_when_it_opens() -> None:
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(gate.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(one.done() for one in waiting)
        gate.set()
    assert gate.is_set()
    assert await gate.wait()
    gate.clear()
    assert not gate.is_set()


async def test_a_cancelled_waiter_disturbs_no_other() -> None:
    gate = Gate()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(gate.wait())
        second = group.create_task(gate.wait())
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        gate.set()
    assert first.cancelled()
    assert second.result()


async def test_an_open_gate_holds_nobody() -> None:
    async with asyncio.timeout(1):
        assert await Gate(is_open=True).wait()
