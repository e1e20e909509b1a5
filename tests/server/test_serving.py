import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from sluice.auth.keyring import encode_key, new_master_key
from sluice.base.errors import SluiceError, UnavailableError
from sluice.db.migrate import SchemaBehindError, upgrade
from sluice.server.keys import KEY_FILE
from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings, load_settings
from tests.server.conftest import signed_in


async def test_a_fresh_server_is_ready_and_takes_its_first_admin(
    server: Serving,
) -> None:
    async with signed_in(server) as client:
        assert (await client.get("/readyz")).json()["parts"] == {"database": "up"}
        made = await client.post("/api/v1/organizations", json={"name": "acme"})
        assert made.status_code == 201
        assert made.json() in (await client.get("/api/v1/organizations")).json()


async def test_what_was_stored_is_there_after_a_restart(
    settings: ServerSettings,
) -> None:
    async with serving(settings) as first, signed_in(first) as client:
        await client.post("/api/v1/organizations", json={"name": "acme"})
        headers = dict(client.headers)
    async with serving(settings) as second:
        assert second.setup_token is None
        async with httpx2.AsyncClient(
            base_url=second.url, headers=headers, trust_env=False, timeout=40
        ) as client:
            found = await client.get("/api/v1/organizations/acme")
    assert found.status_code == 200


async def test_secrets_lie_in_files_of_the_owner_alone(
    server: Serving, settings: ServerSettings
) -> None:
    key = settings.data_dir / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    assert settings.data_dir.stat().st_mode & 0o777 == 0o700


async def test_unknown_api_paths_are_problems(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/api/v1/nothing/here")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "/api/v1/nothing/here" in answer.json()["detail"]


async def test_a_json_body_over_the_cap_is_refused(
    settings: ServerSettings,
) -> None:
    small = settings.model_copy(update={"json_body_bytes": 64 * 1024})
    async with serving(small) as server, signed_in(server) as client:
        body = {"name": "x" * 100_000}
        answer = await client.post("/api/v1/organizations", json=body)
    assert answer.status_code == 413


async def test_metrics_and_openapi_are_served(client: httpx2.AsyncClient) -> None:
    metrics = (await client.get("/metrics")).text
    assert "terraform_output_active_streams" in metrics
    assert "process_resident_memory_bytes" in metrics
    paths = (await client.get("/api/v1/openapi.json")).json()["paths"]
    assert "/api/v1/organizations" in paths


async def test_an_agents_long_poll_ends_when_the_server_stops(
    settings: ServerSettings,
) -> None:
    async with serving(settings) as server, signed_in(server) as client:
        await client.post("/api/v1/organizations", json={"name": "acme"})
        pool = await client.post(
            "/api/v1/organizations/acme/pools", json={"name": "pool"}
        )
        token = await client.post(
            f"/api/v1/pools/{pool.json()['id']}/tokens", json={"name": "t"}
        )
        agent = httpx2.AsyncClient(base_url=server.url, trust_env=False, timeout=40)
        agent.headers["authorization"] = f"Bearer {token.json()['token']}"
        registered = await agent.post(
            "/api/v1/agents/register", json={"name": "a", "version": "1"}
        )
        agent.headers["authorization"] = f"Bearer {registered.json()['token']}"
        path = f"/api/v1/agents/{registered.json()['agent_id']}/tasks/pull"
        body = {"slots": {"plan": 1, "apply": 1}, "wait_seconds": 30}
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(agent.post(path, json=body))
            await asyncio.sleep(0.5)
            started = time.monotonic()
            server.http.stop()
            answer = await polling
        assert answer.status_code == 204
        assert time.monotonic() - started < 1.5
        await agent.aclose()


async def test_a_taken_port_is_one_clear_sentence(
    server: Serving, settings: ServerSettings, tmp_path: Path
) -> None:
    other = settings.model_copy(
        update={"port": server.port, "data_dir": tmp_path / "other"}
    )
    with pytest.raises(UnavailableError, match=f"{server.port}.*SLUICE_PORT"):
        async with serving(other):
            pass


async def test_postgresql_is_not_upgraded_unasked(
    settings: ServerSettings, empty_postgres_url: str
) -> None:
    on_postgres = settings.model_copy(update={"database_url": empty_postgres_url})
    with pytest.raises(SchemaBehindError, match="sluice db upgrade"):
        async with serving(on_postgres):
            pass
    await upgrade(empty_postgres_url)
    async with serving(on_postgres) as server, signed_in(server) as client:
        made = await client.post("/api/v1/organizations", json={"name": "acme"})
    assert made.status_code == 201


async def test_postgresql_is_upgraded_where_the_settings_say_so(
    settings: ServerSettings, empty_postgres_url: str
) -> None:
    changes = {"database_url": empty_postgres_url, "auto_migrate": True}
    async with serving(settings.model_copy(update=changes)) as server:
        assert server.setup_token is not None


async def test_a_wrong_key_is_refused_at_the_start(tmp_path: Path) -> None:
    settings = load_settings({"data_dir": tmp_path, "encryption_key": "short"})
    with pytest.raises(SluiceError, match="openssl rand"):
        async with serving(settings):
            pass


async def test_a_task_that_crashes_brings_the_server_down(
    settings: ServerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash(_: object) -> None:
        await asyncio.sleep(0.2)
        raise ZeroDivisionError

    monkeypatch.setattr("sluice.server.serving.watch_tasks", crash)
    with pytest.raises(ExceptionGroup) as group:
        async with asyncio.timeout(20), serving(settings):
            await asyncio.sleep(60)
    assert group.group_contains(ZeroDivisionError)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "SLUICE_DATA_DIR": str(tmp_path / "process"),
        "SLUICE_PORT": "0",
        "SLUICE_ENCRYPTION_KEY": encode_key(new_master_key()),
    }


def test_the_command_serves_until_sigterm(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "log").open("wb+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "sluice", "server"],
            env=environment,
            stdout=log,
            stderr=log,
        )
        try:
            address = ""
            deadline = time.monotonic() + 30
            while not address:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                text = (tmp_path / "log").read_text()
                found = text.partition("--url ")[2].split(" ", 1)
                address = found[0] if len(found) > 1 else ""
                time.sleep(0.05)
            answer = httpx2.get(f"{address}/readyz", trust_env=False)
            assert answer.status_code == 200
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
    text = (tmp_path / "log").read_text()
    assert "sls_" in text
    assert "Traceback" not in text


def test_a_bad_setting_is_one_line(environment: dict[str, str]) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "sluice", "server"],
        env={**environment, "SLUICE_PORT": "99999"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode != 0
    assert "SLUICE_PORT" in process.stderr
    assert process.stderr.count("\n") == 1


def test_db_upgrade_and_status(environment: dict[str, str]) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sluice", "db", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    behind = run("status")
    assert (behind.returncode, "missing e0001" in behind.stdout) == (1, True)
    assert "ran e0001" in run("upgrade", "--only", "expand").stdout
    assert "ran c0001" in run("upgrade").stdout
    assert run("status").returncode == 0
