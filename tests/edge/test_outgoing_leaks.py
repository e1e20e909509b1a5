import asyncio
import gc
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from sluice.edge import outgoing_network
from sluice.edge.outgoing import Outgoing, OutgoingFailedError
from tests.edge.calls import LOOPBACK, NAME, descriptors, gone, opened, post, settled
from tests.edge.far_side import far_side


def _runs_on_both_loops(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Cancellation is delivered otherwise by uvloop, on which the server runs."""
    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(work())


def test_cancelled_calls_leave_no_socket() -> None:
    async def cancelled() -> None:
        async with far_side(None) as far:
            before = descriptors()
            async with opened() as client:
                url = f"http://127.0.0.1:{far.port}/"
                async with asyncio.TaskGroup() as group:
                    calls = [group.create_task(post(client, url)) for _ in range(100)]
                    async with asyncio.timeout(30):
                        while len(far.heads) < 100:
                            await asyncio.sleep(0.01)
                    for call in calls:
                        call.cancel()
                await gone(far)
                await settled(before)

    _runs_on_both_loops(cancelled)


def test_calls_cancelled_at_any_moment_leave_no_socket() -> None:
    async def cancelled() -> None:
        async with far_side() as far:
            before = descriptors()
            async with opened() as client:
                url = f"http://127.0.0.1:{far.port}/"
                for ticks in range(60):
                    async with asyncio.TaskGroup() as group:
                        call = group.create_task(post(client, url))
                        for _ in range(ticks):
                            await asyncio.sleep(0)
                        call.cancel()
                # the client still works, and its pool holds no dead place
                assert await post(client, url) == 200
            await gone(far)
            await settled(before)

    _runs_on_both_loops(cancelled)


def test_a_handshake_that_never_ends_leaves_no_socket() -> None:
    async def hanging() -> None:
        came = gone = 0

        async def mute(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            nonlocal came, gone
            came += 1
            await reader.read()  # until the other side is gone
            gone += 1
            writer.transport.abort()

        async def until(connections: int) -> None:
            while came < connections:
                await asyncio.sleep(0.02)

        server = await asyncio.start_server(mute, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with (
            server,
            Outgoing(allowed_cidrs=LOOPBACK) as client,
            asyncio.timeout(60),
        ):
            with pytest.raises(OutgoingFailedError):
                await post(client, url, timeout=1.0)
            await until(1)
            async with asyncio.TaskGroup() as group:
                call = group.create_task(post(client, url))
                await until(2)
                call.cancel()
            while gone < 2:
                await asyncio.sleep(0.02)

    gc.disable()  # it must not be the collector that closes them
    try:
        _runs_on_both_loops(hanging)
    finally:
        gc.enable()


async def test_a_thousand_calls_share_a_bounded_pool_and_leave_nothing() -> None:
    async with far_side() as far:
        before, threads = descriptors(), threading.active_count()
        async with opened(connections=50) as client:
            url = f"http://localhost:{far.port}/"
            async with asyncio.TaskGroup() as group:
                calls = [
                    group.create_task(post(client, url, timeout=120))
                    for _ in range(1000)
                ]
            assert [call.result() for call in calls] == [200] * 1000
            assert far.most <= 50
            assert threading.active_count() <= threads + 8
        await settled(before)
        async with asyncio.timeout(30):
            while threading.active_count() > threads:
                await asyncio.sleep(0.05)


async def test_a_full_pool_lets_wait_only_so_long() -> None:
    async with far_side(None) as far, opened(connections=2) as client:
        url = f"http://127.0.0.1:{far.port}/"
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(post(client, url)) for _ in range(2)]
            async with asyncio.timeout(30):
                while len(far.heads) < 2:
                    await asyncio.sleep(0.01)
            with pytest.raises(OutgoingFailedError):
                await post(client, url, timeout=0.3)
            assert len(far.connections) == 2
            for call in calls:
                call.cancel()


async def test_closing_fails_what_is_under_way_and_what_comes_later() -> None:
    async with far_side(None) as far:
        client = opened()
        url = f"http://127.0.0.1:{far.port}/"
        async with asyncio.TaskGroup() as group:
            call = group.create_task(_failure(client, url))
            async with asyncio.timeout(30):
                while not far.heads:
                    await asyncio.sleep(0.01)
            await client.close()
        assert isinstance(call.result(), OutgoingFailedError)
        with pytest.raises(OutgoingFailedError, match="the server stops"):
            await post(client, url)
        await gone(far)


async def test_closing_fails_calls_that_wait_for_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = threading.Event()

    def stuck(host: str, port: int) -> list[object]:
        free.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    monkeypatch.setattr(outgoing_network, "_resolved", stuck)
    client = Outgoing()
    try:
        async with asyncio.TaskGroup() as group:
            # more than there are threads, so some wait for a thread
            calls = [
                group.create_task(_failure(client, f"https://{NAME}/"))
                for _ in range(20)
            ]
            await asyncio.sleep(0.2)
            await client.close()
            free.set()
    finally:
        free.set()
    assert {type(call.result()) for call in calls} == {OutgoingFailedError}


_ENDS_WITH_A_LOOKUP = """
import asyncio, sys, time
from sluice.edge import outgoing_network
from sluice.edge.outgoing import Outgoing, OutgoingFailedError

def silent(host, port):
    time.sleep(300)

async def call():
    async with Outgoing() as client:
        try:
            await client.post("https://scan.example.com/", body=b"", headers={}, timeout=0.2)
        except OutgoingFailedError:
            print("given up")

outgoing_network._resolved = silent
asyncio.run(call())
"""


async def test_a_silent_name_server_does_not_keep_a_process_from_ending() -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _ENDS_WITH_A_LOOKUP, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            said, _ = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert (said, child.returncode) == (b"given up\n", 0)


async def _failure(client: Outgoing, url: str) -> Exception | None:
    try:
        await post(client, url)
    except OutgoingFailedError as error:
        return error
    return None
