"""`sluice agent …`: on the agent's own machine, and by asking a real server."""

import fcntl
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sluice.base.errors import InvalidInputError
from sluice.cli.agent_commands import load_of
from sluice.cli.agent_status import local_status, tree_lines
from sluice.cli.settings import agent_data_directory
from sluice.wire.agent import LoopStatus
from sluice.wire.shapes.pools import Agent, AgentState
from tests.cli.conftest import Shell
from tests.cli.terminal import Place

NOW = datetime(2026, 1, 1, 10, tzinfo=UTC)
SEEN = Agent(
    id="agent-1",
    pool_id="pool-1",
    name="up",
    version="0.1.0",
    labels={},
    state=AgentState.BUSY,
    busy=True,
    plan_running_count=1,
    plan_limit=3,
    apply_running=True,
    current_tasks=["task-1"],
    draining=False,
    cpu_usage=0.838,
    mem_usage=0.05,
    registered_at=NOW,
    last_seen_at=NOW,
)
TOLD = {
    "name": "builder",
    "agent_id": "agent-1",
    "url": "http://127.0.0.1:9",
    "pid": "4711",
    "draining": "draining: ann: a new disk",
    "written_at": "2026-01-01T09:00:00Z",
    "loops": {
        "ping": {"doing": "pinging every 10 s", "since": "2026-01-01T08:00:00Z"},
        "phases/task-1": {"doing": "\u001b[31mapplying", "since": "soon"},
    },
}


def write_status(directory: Path, told: object = TOLD) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "status.json").write_text(json.dumps(told))
    (directory / "agent.lock").touch()


def test_an_agent_that_is_away_shows_no_load() -> None:
    assert load_of(SEEN) == ["1/3", "yes", "84%", "5%"]
    away = SEEN.model_copy(update={"state": AgentState.OFFLINE})
    assert load_of(away) == ["-", "-", "-", "-"]


# --- the tree ----------------------------------------------------------------------


def test_the_loops_are_drawn_as_a_tree() -> None:
    minute = (NOW - timedelta(minutes=4)).isoformat()
    loops = {
        "ping": LoopStatus(doing="pinging", since=minute),
        "phases/task-1": LoopStatus(doing="applying"),
        "phases/task-2/upload": LoopStatus(doing="sending", since="nonsense"),
    }
    assert tree_lines(loops, NOW) == [
        "├─ ping          pinging (4 min ago)",
        "└─ phases",
        "   ├─ task-1     applying",
        "   └─ task-2",
        "      └─ upload  sending",
    ]
    assert tree_lines(loops, NOW, unicode=False)[0].startswith("|- ping")
    assert tree_lines({}, NOW) == []


# --- on the agent's machine --------------------------------------------------------


def test_a_status_is_live_while_the_agent_holds_its_directory(tmp_path: Path) -> None:
    assert local_status(tmp_path) is None
    write_status(tmp_path)
    told = local_status(tmp_path)
    assert told is not None
    assert not told.running
    with (tmp_path / "agent.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = local_status(tmp_path)
    assert told is not None
    assert told.running
    assert told.loops["ping"].doing == "pinging every 10 s"
    (tmp_path / "agent.lock").unlink()
    told = local_status(tmp_path)
    assert told is not None
    assert not told.running


@pytest.mark.parametrize("content", [[], {"name": "x"}, {"written_at": 1, "loops": 2}])
def test_a_file_that_is_no_status_is_named(tmp_path: Path, content: object) -> None:
    write_status(tmp_path, content)
    with pytest.raises(InvalidInputError, match=r"status\.json is no status"):
        local_status(tmp_path)


def test_the_agents_directory_is_found_as_the_agent_finds_it(tmp_path: Path) -> None:
    base = {"XDG_DATA_HOME": "/share", "XDG_CONFIG_HOME": str(tmp_path)}
    assert agent_data_directory(base) == Path("/share/sluice/agent")
    (tmp_path / "sluice").mkdir()
    file = tmp_path / "sluice" / "agent.toml"
    file.write_text('agent_data_dir = "/var/lib/agent"\n')
    assert agent_data_directory(base) == Path("/var/lib/agent")
    given = base | {"SLUICE_AGENT_DATA_DIR": "/given"}
    assert agent_data_directory(given) == Path("/given")
    file.write_text("agent_data_dir = ")
    with pytest.raises(InvalidInputError, match=r"agent\.toml cannot be read"):
        agent_data_directory(base)
    other = tmp_path / "other.toml"
    other.write_text('agent_data_dir = "/other"\n')
    named = base | {"SLUICE_AGENT_CONFIG": str(other)}
    assert agent_data_directory(named) == Path("/other")


def test_the_status_of_this_machines_agent_needs_no_server(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write_status(tmp_path / "share" / "sluice" / "agent")
    done = place.run("agent", "status")
    assert done.returncode == 0, done.stderr
    assert "The agent is not running" in done.stderr
    assert "builder (agent-1)" in done.stdout
    assert "ann: a new disk" in done.stdout
    assert "task-1" in done.stdout
    assert "\x1b[31m" not in done.stdout
    with (tmp_path / "share/sluice/agent/agent.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = place.run("agent", "status", "--json")
    told = json.loads(done.stdout)
    assert told["running"] is True
    assert told["loops"]["ping"]["doing"] == "pinging every 10 s"
    done = place.run("agent", "status", "--data-dir", str(tmp_path / "none"))
    assert done.returncode == 5
    assert "No agent has written" in done.stderr


# --- running one is what it is without a command -----------------------------------


def test_without_a_command_it_runs_an_agent(tmp_path: Path) -> None:
    place = Place(tmp_path)
    done = place.run("agent", "--url", "http://127.0.0.1:9", "--name", "x")
    assert done.returncode == 2
    assert "SLUICE_POOL_TOKEN" in done.stderr
    done = place.run("agent", "lsit")
    assert done.returncode == 2
    assert "Did you mean 'list'?" in done.stderr
    done = place.run("agent", "--help")
    for word in ("--data-dir", "SIGTERM", "resume"):
        assert word in done.stdout


# --- by asking a server ------------------------------------------------------------


async def ping(shell: Shell, **fields: Any) -> None:
    house = shell.house
    body = {"agent_id": house.agent_id, "busy": False, "plan_task_limit": 3, **fields}
    await house.agent.post(f"/agents/{house.agent_id}/ping", body)


async def test_agents_are_listed_and_shown(shell: Shell) -> None:
    loops = {"ping": {"doing": "pinging every 10 s", "since": "2026-01-01T08:00:00Z"}}
    await ping(shell, busy=True, current_tasks=["task-1"], loops=loops)
    for command in (["agents"], ["agent", "list"]):
        listed = await shell.ok(*command)
        assert "builder" in listed
        assert "idc1" in listed
        assert "busy" in listed
    (one,) = json.loads(await shell.ok("agent", "list", "--json"))
    assert one["current_tasks"] == ["task-1"]
    for name in ([], ["builder"], [one["id"]]):
        text = await shell.ok("agent", "status", *name)
        assert "ping  pinging every 10 s" in text
        assert "task-1" in text
    details = json.loads(await shell.ok("agent", "status", "builder", "--json"))
    assert details["loops"] == loops
    missing = await shell.said("agent", "status", "nobody", code=5)
    assert "there is builder" in missing


async def test_an_agent_is_drained_and_resumed(shell: Shell) -> None:
    said = await shell.said("agent", "drain", "builder", "--reason", "a new disk")
    assert "builder takes no more work." in said
    text = await shell.ok("agent", "status", "builder")
    assert "by ann, just now: a new disk" in text
    resumed = json.loads(await shell.ok("agent", "resume", "builder", "--json"))
    assert resumed["drain"] is None
    refused = await shell.said("agent", "remove", "builder", code=6)
    assert "is alive" in refused


async def test_two_agents_of_one_name_are_told_apart_by_their_ids(
    shell: Shell,
) -> None:
    body = {"name": "builder", "version": "0.1", "instance": "dir-2"}
    answer = await shell.house.http.post(
        "/api/v1/agents/register",
        json=body,
        headers={"Authorization": f"Bearer {shell.house.pool_token}"},
    )
    second = answer.json()["agent_id"]
    refused = await shell.said("agent", "drain", "builder", code=6)
    assert second in refused
    assert shell.house.agent_id in refused
    several = await shell.said("agent", "status", code=2)
    assert "say which" in several
    await shell.said("agent", "drain", second)
    first = await shell.house.admin.get(f"/agents/{shell.house.agent_id}")
    assert not first["draining"]
