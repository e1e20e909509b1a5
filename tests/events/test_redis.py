import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from redis.asyncio import Redis as Client

from sluice.base.errors import UnavailableError
from sluice.events.hub import Hub
from sluice.events.redis import CHANNEL, RedisRelay
from sluice.testing.processes import free_port
from sluice.testing.redis import redis


@asynccontextmanager
async def relayed(url: str) -> AsyncIterator[tuple[Hub, RedisRelay]]:
    hub = Hub()
    relay = RedisRelay(hub, url)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(relay.run())
        try:
            yield hub, relay
        finally:
            task.cancel()


async def until_connected(*relays: RedisRelay) -> None:
    async with asyncio.timeout(20):
        while not all(relay.connected for relay in relays):
            await asyncio.sleep(0.01)


async def test_a_topic_reaches_the_other_process(redis_url: str) -> None:
    async with relayed(redis_url) as (here, one), relayed(redis_url) as (there, two):
        await until_connected(one, two)
        with there.subscribe("task:7") as waiting, there.subscribe("task:8") as other:
            here.publish("task:7")
            assert await waiting.wait(5)
            assert not await other.wait(0.05)


async def test_many_topics_all_arrive(redis_url: str) -> None:
    async with relayed(redis_url) as (here, one), relayed(redis_url) as (there, two):
        await until_connected(one, two)
        topics = [f"log:{number}" for number in range(2000)]
        with there.subscribe(topics[0]) as first, there.subscribe(topics[-1]) as last:
            for topic in topics:
                here.publish(topic)
            assert await first.wait(5)
            assert await last.wait(5)


async def test_ones_own_wake_ups_do_not_come_back(redis_url: str) -> None:
    async with relayed(redis_url) as (hub, relay):
        await until_connected(relay)
        with hub.subscribe("task:7") as waiting:
            hub.publish("task:7")
            assert await waiting.wait(1)
            assert not await waiting.wait(0.3)


async def test_foreign_messages_on_the_channel_do_no_harm(redis_url: str) -> None:
    async with relayed(redis_url) as (here, one), relayed(redis_url) as (there, two):
        await until_connected(one, two)
        client = Client.from_url(redis_url)
        await client.publish(CHANNEL, b"\xc1 rubbish")
        await client.publish(CHANNEL, msgspec.msgpack.encode({"a": 1}))
        await client.aclose()
        with there.subscribe("task:7") as waiting:
            here.publish("task:7")
            assert await waiting.wait(5)


async def test_without_redis_local_wake_ups_work_and_readiness_says_so() -> None:
    async with relayed(f"redis://127.0.0.1:{free_port()}/0") as (hub, relay):
        with hub.subscribe("task:7") as waiting:
            hub.publish("task:7")
            assert await waiting.wait(1)
        await asyncio.sleep(0.3)
        with pytest.raises(UnavailableError, match="away"):
            await relay.check()


async def test_a_redis_that_comes_back_is_used_again() -> None:
    port = free_port()
    with redis(port) as server:
        url = server.url
        async with relayed(url) as (here, one), relayed(url) as (there, two):
            await until_connected(one, two)
            await check_crossing(here, there)
    async with relayed(url) as (here, one), relayed(url) as (there, two):
        await asyncio.sleep(0.3)
        assert not one.connected
        with redis(port):
            await until_connected(one, two)
            await one.check()
            await check_crossing(here, there)


async def test_a_redis_that_dies_in_between_is_found_again() -> None:
    port = free_port()
    async with asyncio.timeout(60):
        url = f"redis://127.0.0.1:{port}/0"
        async with relayed(url) as (here, one), relayed(url) as (there, two):
            for _ in range(2):
                with redis(port):
                    await until_connected(one, two)
                    await check_crossing(here, there)
                here.publish("task:while-away")


async def check_crossing(here: Hub, there: Hub) -> None:
    """A topic published here, again and again, reaches a waiter there."""
    with there.subscribe("task:7") as waiting:
        for _ in range(100):
            here.publish("task:7")
            if await waiting.wait(0.2):
                return
    raise AssertionError("no wake-up arrived")
