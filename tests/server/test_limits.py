"""Limits as people meet them: over HTTP and WebSockets of a real server."""

from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest

from sluice.logs.incoming import join_upload
from sluice.server.serving import serving
from sluice.server.settings import ServerSettings, load_settings
from sluice.wire.chunk import Chunk, Kind, Source, encode_chunk
from sluice.wire.log_flow import AckStatus
from tests.scripts.site import Site, client_of, open_site
from tests.server.conftest import signed_in
from tests.server.raw_socket import Handshake, asked, upgraded, wire

RATES = {
    "requests_per_minute_per_address": 0,
    "failed_credentials_per_minute_per_address": 0,
    "requests_per_minute_per_credential": 0,
    "requests_per_minute_per_organization": 0,
}


def limited(settings: ServerSettings, **changes: int) -> ServerSettings:
    return settings.model_copy(update={**RATES, **changes})


async def refused(client: httpx2.AsyncClient, path: str, most: int) -> httpx2.Response:
    """The first refusal, which comes after ``most`` answers, or at the turn of a minute
    after some more.
    """
    for number in range(10 * most):
        answer = await client.get(path)
        if answer.status_code == 429:
            assert number >= most
            return answer
        assert answer.status_code == 200, answer.text
    raise AssertionError("nothing was refused")


async def test_a_credential_has_its_limit_and_another_its_own(
    settings: ServerSettings,
) -> None:
    given = limited(settings, requests_per_minute_per_credential=20)
    async with serving(given) as server, signed_in(server) as client:
        made = await client.post("/api/v1/users", json={"name": "bob"})
        issued = await client.post(
            f"/api/v1/users/{made.json()['id']}/tokens", json={"name": "t"}
        )
        answer = await refused(client, "/api/v1/auth/me", 15)
        async with client_of(server.url, issued.json()["token"]) as bob:
            assert (await bob.get("/api/v1/auth/me")).status_code == 200
        problem = answer.json()
        assert problem["setting"] == "requests_per_minute_per_credential"
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert answer.headers["content-type"] == "application/problem+json"
        # what watches the server goes on
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await client.get(path)).status_code == 200
        counted = (await client.get("/metrics")).text
        assert 'sluice_rate_limit_refusals_total{limit="credential"}' in counted


async def test_an_organization_has_its_limit(settings: ServerSettings) -> None:
    given = limited(settings, requests_per_minute_per_organization=10)
    async with serving(given) as server, signed_in(server) as client:
        for name in ("acme", "other"):
            await client.post("/api/v1/organizations", json={"name": name})
        answer = await refused(client, "/api/v1/organizations/acme/pools", 10)
        assert answer.json()["setting"] == "requests_per_minute_per_organization"
        found = await client.get("/api/v1/organizations/other/pools")
        assert found.status_code == 200
        assert found.headers["ratelimit-policy"] == '"organization";q=10;w=60'


async def test_wrong_credentials_are_slowed_down_and_right_ones_go_on(
    settings: ServerSettings,
) -> None:
    given = limited(settings, failed_credentials_per_minute_per_address=5)
    async with serving(given) as server, signed_in(server) as client:
        assert (await client.get("/api/v1/auth/me")).status_code == 200
        async with client_of(server.url, "slu_" + "x" * 40) as guesser:
            statuses = [
                (await guesser.get("/api/v1/auth/me")).status_code for _ in range(20)
            ]
        assert set(statuses) == {401, 429}
        assert statuses[:5] == [401] * 5
        assert (await client.get("/api/v1/auth/me")).status_code == 200


async def test_sockets_count_for_their_address_before_anything_is_read(
    settings: ServerSettings,
) -> None:
    given = limited(settings, requests_per_minute_per_address=4)
    async with serving(given) as server:
        statuses = [
            await asked(server.port, Handshake("/ws/logs?task_id=x")) for _ in range(12)
        ]
        assert set(statuses) == {401, 429}
        # a body is not waited for
        async with wire(server.port) as line:
            await line.send(
                b"POST /api/v1/auth/setup HTTP/1.1\r\nHost: x\r\n"
                b"Content-Length: 1000\r\n\r\n"
            )
            assert await line.status() in {429, 401, 0, 422}


async def test_agents_and_tasks_are_never_refused(tmp_path: Path) -> None:
    rates = {
        **RATES,
        "requests_per_minute_per_address": 200,
        "requests_per_minute_per_credential": 100,
        "requests_per_minute_per_organization": 100,
    }
    async with open_site(tmp_path / "data", **rates) as site:
        await site.script("hello")
        run = await site.running("hello")
        for number in range(300):
            await run.write(f"line {number}\n")
        await run.finish()


# --- live streams -----------------------------------------------------------------


@pytest.fixture
def few(tmp_path: Path) -> dict[str, object]:
    return {"streams_per_user": 3, "log_max_clients_per_task": 5}


async def watched(site: Site) -> str:
    await site.script("hello")
    run = await site.running("hello")
    await run.write("one\n")
    return run.task_id


async def test_a_user_has_so_many_streams_over_all_credentials(
    tmp_path: Path, few: dict[str, object]
) -> None:
    async with open_site(tmp_path / "data", **few) as site, AsyncExitStack() as stack:
        task_id = await watched(site)
        admin = site.admin.headers["authorization"].removeprefix("Bearer ")
        me = (await site.admin.get("/api/v1/auth/me")).json()
        second = await site.admin.post(
            f"/api/v1/users/{me['id']}/tokens", json={"name": "second"}
        )
        tokens = [admin, second.json()["token"]]
        paths = [
            f"/ws/logs?task_id={task_id}",
            f"/v1/log/ws?task_id={task_id}",
            f"/api/v1/tasks/{task_id}/output/stream",
        ]
        port = site.serving.port
        for number, path in enumerate(paths):
            await stack.enter_async_context(
                upgraded(port, Handshake(path, tokens[number % 2]))
            )
        for token in tokens:
            assert await asked(port, Handshake(paths[0], token)) == 429


async def test_a_task_has_so_many_streams_and_refused_ones_leave_no_trace(
    tmp_path: Path,
) -> None:
    given = {"streams_per_user": 100, "log_max_clients_per_task": 2}
    async with open_site(tmp_path / "data", **given) as site:
        task_id = await watched(site)
        token = site.admin.headers["authorization"].removeprefix("Bearer ")
        stream = Handshake(f"/ws/logs?task_id={task_id}", token)
        port = site.serving.port
        async with upgraded(port, stream), upgraded(port, stream):
            for _ in range(20):
                assert await asked(port, stream) == 429
            stats = await site.admin.get("/api/v1/terraform/streams/stats")
            assert stats.json()["streams"][0]["clients_count"] == 2


async def test_an_address_opens_so_many_streams_a_minute(tmp_path: Path) -> None:
    given = {"streams_per_minute_per_address": 5, "log_max_clients_per_task": 100}
    async with open_site(tmp_path / "data", **given) as site:
        task_id = await watched(site)
        token = site.admin.headers["authorization"].removeprefix("Bearer ")
        stream = Handshake(f"/ws/logs?task_id={task_id}", token)
        statuses = [await asked(site.serving.port, stream) for _ in range(6)]
        assert statuses == [101] * 5 + [429]


async def test_an_idle_stream_is_closed(tmp_path: Path) -> None:
    given = {"log_websocket_timeout": 0.3, "heartbeat_seconds": 60}
    async with open_site(tmp_path / "data", **given) as site:
        task_id = await watched(site)
        token = site.admin.headers["authorization"].removeprefix("Bearer ")
        stream = Handshake(f"/ws/logs?task_id={task_id}", token)
        async with upgraded(site.serving.port, stream) as line:
            assert await line.closed_with() is not None


# --- quotas -----------------------------------------------------------------------


async def test_one_task_too_many_is_refused_with_the_numbers(tmp_path: Path) -> None:
    given = {"tasks_unfinished_per_organization": 2}
    async with open_site(tmp_path / "data", **given) as site:
        await site.script("hello")
        for _ in range(2):
            await site.install("hello")
        answer = await site.user.post("/v1/soft/install", json={"key": "hello"})
        assert answer.status_code == 429
        problem = answer.json()
        assert (problem["limit"], problem["unfinished"]) == (2, 2)
        assert problem["setting"] == "tasks_unfinished_per_organization"
        assert answer.headers["retry-after"] == "60"


async def test_a_full_log_is_answered_as_such_also_to_patch(tmp_path: Path) -> None:
    async with open_site(tmp_path / "data", log_bytes_per_task=8) as site:
        await site.script("hello")
        run = await site.running("hello")
        await run.write("one\ntwo\n")
        said = Chunk(8, 3, Source.STDOUT, Kind.OUTPUT, 1, b"three\n")
        message = join_upload(run.order.log.epoch, 8, encode_chunk(said))
        ack = await site.agent.api.patch_log(
            run.order.task_token, run.task_id, run.order.lease_id, message
        )
        assert (ack.status, ack.committed, ack.limit) == (AckStatus.FULL, 8, 8)
        await run.finish()


def test_defaults_are_generous() -> None:
    given = load_settings({"port": 0})
    assert given.requests_per_minute_per_credential >= 6000
    assert given.requests_per_minute_per_address >= 12_000
    assert given.log_bytes_per_task == 1024**3
    assert given.tasks_running_per_organization == 0
