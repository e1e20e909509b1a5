"""The settings of scripts' logs: what each of them changes."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from sluice.scripts.retention import remove_old_logs
from tests.scripts.site import Site, open_site
from tests.tasks.world import TurnedClock


def socket_of(site: Site, path: str) -> connect:
    return connect(
        site.url.replace("http", "ws", 1) + path,
        additional_headers={"Authorization": f"Bearer {site.token}"},
        proxy=None,
    )


async def refusal(site: Site, path: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        async with socket_of(site, path):
            pass
    response = refused.value.response
    return response.status_code, json.loads(bytes(response.body or b""))


async def hello(socket: ClientConnection) -> None:
    assert json.loads(await socket.recv())["type"] == "connected"


async def test_without_realtime_pages_read_the_history(tmp_path: Path) -> None:
    async with open_site(tmp_path, log_realtime_enabled=False) as site:
        await site.script("nginx")
        run = await site.running("nginx")
        await run.write("one\n")
        status, problem = await refusal(site, f"/v1/log/ws?task_id={run.task_id}")
        assert status == 503
        assert "log_realtime_enabled" in problem["detail"]
        assert "/v1/log/history" in problem["detail"]
        answer = await site.user.get(f"/v1/log/history?task_id={run.task_id}")
        assert answer.json()["total"] == 1
        for path in (f"/ws/logs?task_id={run.task_id}", f"/ws/tasks/{run.task_id}"):
            async with socket_of(site, path) as socket:
                await hello(socket)
        await run.finish()


async def test_so_many_viewers_of_a_script_and_no_more(tmp_path: Path) -> None:
    async with open_site(tmp_path, log_max_clients_per_task=2) as site:
        await site.script("nginx")
        run = await site.running("nginx")
        other = await site.running("nginx")
        address = f"/v1/log/ws?task_id={run.task_id}"
        async with socket_of(site, address) as one, socket_of(site, address) as two:
            await hello(one)
            await hello(two)
            for path in (
                address,
                f"/ws/logs?task_id={run.task_id}",
                f"/ws/tasks/{run.task_id}",
                f"/api/v1/tasks/{run.task_id}/output/stream",
            ):
                status, problem = await refusal(site, path)
                assert status == 429, path
                assert "log_max_clients_per_task" in problem["detail"]
            async with socket_of(site, f"/v1/log/ws?task_id={other.task_id}") as free:
                await hello(free)
        # their places are free again
        async with asyncio.timeout(30):
            while True:
                try:
                    async with socket_of(site, address) as again:
                        await hello(again)
                        break
                except InvalidStatus:
                    await asyncio.sleep(0.05)
        await run.finish()
        await other.finish()


async def test_a_viewer_without_traffic_is_told_and_let_go(tmp_path: Path) -> None:
    async with open_site(
        tmp_path, log_websocket_timeout=2, heartbeat_seconds=600
    ) as site:
        await site.script("nginx")
        run = await site.running("nginx")
        await run.write("one\n")
        async with socket_of(site, f"/v1/log/ws?task_id={run.task_id}") as socket:
            messages = [json.loads(message) async for message in socket]
        assert [one.get("type", "line") for one in messages] == [
            *("connected", "line", "stream_error")
        ]
        assert messages[-1]["code"] == "idle"
        assert socket.close_code == 1001
        await run.write("two\n")
        await run.finish()
        address = f"/v1/log/ws?task_id={run.task_id}&after=1"
        async with socket_of(site, address) as socket:
            rest = [json.loads(message) async for message in socket]
        assert rest[1]["message"] == "two", "it goes on where it was"


async def test_the_log_of_a_script_goes_when_its_time_is_over(tmp_path: Path) -> None:
    """The whole way: archived by the server's own loop, then deleted, then 410."""
    async with open_site(tmp_path) as site:
        await site.script("nginx")
        run = await site.running("nginx")
        await run.write("one\ntwo\n")
        await run.finish()
        await site.sealed(run.task_id)
        clock = TurnedClock()
        clock.at = site.serving.parts.clock.now() + timedelta(days=8)
        later = replace(site.serving.concepts.retention, clock=clock)
        assert later.days == 7
        async with asyncio.timeout(60):
            while (await remove_old_logs(later)).logs == 0:
                await asyncio.sleep(0.2)
        answer = await site.user.get(f"/v1/log/history?task_id={run.task_id}")
        assert (answer.status_code, answer.json()["code"]) == (410, "gone")
        answer = await site.user.get(f"/api/v1/tasks/{run.task_id}")
        assert answer.json()["status"] == "success"
        metrics = (await site.nobody.get("/metrics")).text
        assert "sluice_script_logs_removed_total 1.0" in metrics
        assert list((tmp_path / "blobs").rglob("*.slz")) == []
