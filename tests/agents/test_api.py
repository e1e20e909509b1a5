"""Pools and agents over real HTTP: what is shown, what is asked, and how the agent hears it."""

import asyncio
import json
import struct
from typing import Any

import httpx2
from websockets.asyncio.client import connect

from sluice import __version__
from sluice.agents.api import PING_NOW
from sluice.auth.model import OrganizationPermission, WorkspaceLevel
from sluice.wire.agent import MAX_LOOP_WORDS, MAX_LOOPS, PING_COMMAND
from tests.agents.house import Caller, House, Job


async def ping(house: House, **fields: Any) -> Any:
    body = {"agent_id": house.agent_id, "busy": False, "plan_task_limit": 3, **fields}
    return await house.agent.post(f"/agents/{house.agent_id}/ping", body)


async def pulled(house: House, wait: float = 30) -> httpx2.Response:
    """The answer to a long poll with room for everything."""
    return await house.http.post(
        f"/api/v1/agents/{house.agent_id}/tasks/pull",
        json={"slots": {"plan": 1, "apply": 1}, "wait_seconds": wait},
        headers={"Authorization": f"Bearer {house.agent.token}"},
    )


async def the_pool(house: House) -> Any:
    (pool,) = await house.admin.get("/organizations/acme/pools")
    return pool


# --- pools -------------------------------------------------------------------------


async def test_a_pool_is_made_changed_and_removed(house: House) -> None:
    body = {"name": "gpu", "labels": {"disk": "fast"}, "max_plan_concurrency": 2}
    made = await house.admin.post("/organizations/acme/pools", body, expect=201)
    assert made["adaptive_concurrency"] is False
    assert (made["cpu_threshold"], made["mem_threshold"]) == (0.85, 0.85)
    path = f"/pools/{made['id']}"
    patch = {"name": "gpus", "adaptive_concurrency": True, "cpu_threshold": 0.6}
    changed = await house.admin.ask("PATCH", path, json=patch)
    assert changed == {**made, **patch}
    assert await house.admin.get(path) == changed
    await house.admin.ask("DELETE", path, expect=204)
    await house.admin.get(path, expect=404)


async def test_a_wrong_pool_is_refused_and_the_field_is_named(house: House) -> None:
    pool = await the_pool(house)
    for fields, named in (
        ({"labels": {"a b": "c"}}, "a b"),
        ({"labels": {"a": "c\u0000"}}, "labels"),
        ({"max_plan_concurrency": 0}, "max_plan_concurrency"),
        ({"cpu_threshold": 2}, "cpu_threshold"),
        ({"max_plans": 2}, "max_plans"),
    ):
        problem = await house.admin.ask(
            "PATCH", f"/pools/{pool['id']}", expect=422, json=fields
        )
        assert named in problem["detail"], problem
    taken = await house.admin.post(
        "/organizations/acme/pools", {"name": "idc1"}, expect=409
    )
    assert "idc1" in taken["detail"]


async def test_a_pool_in_use_is_not_removed_and_says_by_what(house: House) -> None:
    pool = await the_pool(house)
    path = f"/pools/{pool['id']}"
    problem = await house.admin.ask("DELETE", path, expect=409)
    assert "builder" in problem["detail"]
    await house.workspace("net", pool_id=pool["id"])
    problem = await house.admin.ask("DELETE", path, expect=409)
    assert "net" in problem["detail"]


async def test_a_workspace_says_which_labels_its_pool_must_have(house: House) -> None:
    workspace = await house.workspace("net", labels={"region": "idc1"})
    await house.admin.post(
        f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
    )
    assert await house.pull() is None
    pool = await the_pool(house)
    labels = {"region": "idc1", "disk": "fast"}
    await house.admin.ask("PATCH", f"/pools/{pool['id']}", json={"labels": labels})
    assert await house.pull(wait=5) is not None
    shown = await house.admin.ask(
        "PATCH", f"/workspaces/{workspace}", json={"labels": {}}
    )
    assert shown["labels"] == {}


async def test_only_keepers_of_pools_rule_over_pools_and_agents(house: House) -> None:
    bob = await house.member("bob", level=WorkspaceLevel.ADMIN)
    pool = await the_pool(house)
    await bob.get(f"/pools/{pool['id']}")
    await bob.get(f"/agents/{house.agent_id}/status")
    await bob.ask("PATCH", f"/pools/{pool['id']}", expect=403, json={})
    await bob.ask("DELETE", f"/pools/{pool['id']}", expect=403)
    await bob.ask("DELETE", f"/agents/{house.agent_id}", expect=403)
    for verb in ("drain", "resume"):
        await bob.post(f"/agents/{house.agent_id}/{verb}", {}, expect=403)
    kim = await house.member("kim", OrganizationPermission.MANAGE_POOLS)
    await kim.ask("PATCH", f"/pools/{pool['id']}", json={})
    await kim.post(f"/agents/{house.agent_id}/drain", {})


# --- what is shown of agents -------------------------------------------------------


async def test_an_agents_state_has_the_names_of_the_protocol(house: House) -> None:
    await ping(
        house,
        busy=True,
        plan_tasks_running=2,
        plan_task_limit=3,
        apply_task_running=False,
        current_tasks=["task-1", "task-2"],
        cpu_usage=0.41,
        mem_usage=0.52,
    )
    (listed,) = await house.admin.get("/organizations/acme/agents")
    shown = await house.admin.get(f"/agents/{house.agent_id}")
    assert {**listed, "loops": {}} == shown
    assert shown["name"] == "builder"
    assert shown["pool_name"] == "idc1"
    assert shown["state"] == "busy"
    assert shown["busy"] is True
    assert shown["plan_running_count"] == 2
    assert shown["plan_limit"] == 3
    assert shown["apply_running"] is False
    assert shown["current_tasks"] == ["task-1", "task-2"]
    assert shown["draining"] is False
    assert (shown["cpu_usage"], shown["mem_usage"]) == (0.41, 0.52)
    assert shown["unreachable_since"] is None
    assert shown["advice"] == ""


async def test_the_live_status_tree_is_shown_as_it_was_told(house: House) -> None:
    loops = {
        "ping": {"doing": "pinging every 10 s", "since": "2026-11-21T10:00:00Z"},
        "phases/task-1": {"doing": "applying", "since": "2026-11-21T10:00:01Z"},
    }
    await ping(house, loops=loops)
    status = await house.admin.get(f"/agents/{house.agent_id}/status")
    assert status["loops"] == loops
    assert (status["id"], status["name"]) == (house.agent_id, "builder")
    shown = await house.admin.get(f"/agents/{house.agent_id}")
    assert shown["loops"] == loops
    assert status["told_at"] == shown["last_seen_at"]
    await ping(house)
    status = await house.admin.get(f"/agents/{house.agent_id}/status")
    assert status["loops"] == {}


async def test_too_long_a_tree_is_cut_and_the_ping_counts(house: House) -> None:
    loops = {
        f"{number:03} \u0000": {"doing": "\u0000 " + "x" * 5000}
        for number in range(300)
    }
    await ping(house, loops=loops)
    status = await house.admin.get(f"/agents/{house.agent_id}/status")
    assert len(status["loops"]) == MAX_LOOPS
    assert "000 \N{REPLACEMENT CHARACTER}" in status["loops"]
    assert {len(one["doing"]) for one in status["loops"].values()} == {MAX_LOOP_WORDS}


async def test_unknown_agents_are_not_found(house: House) -> None:
    for path in ("/agents/agent-none", "/agents/agent-none/status"):
        await house.admin.get(path, expect=404)
    await house.admin.post("/agents/agent-none/drain", {}, expect=404)
    await house.admin.ask("DELETE", "/agents/agent-none", expect=404)


async def test_a_living_agent_is_not_removed(house: House) -> None:
    path = f"/agents/{house.agent_id}"
    problem = await house.admin.ask("DELETE", path, expect=409)
    assert "is alive" in problem["detail"]


# --- other versions ----------------------------------------------------------------


async def test_fields_that_are_not_known_are_ignored(house: House) -> None:
    """As from an agent that is newer, or so much older that it has no status tree."""
    registrant = Caller(house.http, house.pool_token)
    answer = await registrant.post(
        "/agents/register",
        {"name": "newer", "version": __version__, "moods": {"today": "good"}},
    )
    await ping(house, moods=["good"], loops={"ping": {"doing": "x", "mood": "good"}})
    answer = await ping(house)
    assert answer["commands"] == []
    agent = Caller(house.http, answer["token"])
    path = f"/agents/{house.agent_id}/tasks/pull"
    body = {"slots": {"plan": 1, "gpu": 2}, "wait_seconds": 0, "mood": "good"}
    await agent.post(path, body, expect=204)


async def test_a_version_that_does_not_fit_is_refused_with_both_versions(
    house: House,
) -> None:
    registrant = Caller(house.http, house.pool_token)
    major, minor = (int(part) for part in __version__.split(".")[:2])
    newer = f"{major}.{minor + 2}.0"
    problem = await registrant.post(
        "/agents/register", {"name": "new", "version": newer}, expect=409
    )
    assert (problem["agent_version"], problem["server_version"]) == (newer, __version__)
    assert "Upgrade the server first" in problem["detail"]
    (only,) = await house.admin.get("/organizations/acme/agents")
    assert only["name"] == "builder"


# --- drain and resume --------------------------------------------------------------


async def test_a_drain_is_kept_and_shown_and_asked_by_the_ping(house: House) -> None:
    path = f"/agents/{house.agent_id}"
    asked = await house.admin.post(f"{path}/drain", {"reason": "a new disk"})
    assert (asked["state"], asked["draining"]) == ("draining", True)
    assert (asked["drain"]["by"], asked["drain"]["reason"]) == ("ann", "a new disk")
    answer = await ping(house)
    expected = {"type": "drain", "task_id": None, "reason": "ann: a new disk"}
    assert answer["commands"] == [expected]
    answer = await ping(house, draining=True)
    assert answer["commands"] == []
    resumed = await house.admin.post(f"{path}/resume", {})
    assert resumed["drain"] is None
    answer = await ping(house, draining=True)
    assert [one["type"] for one in answer["commands"]] == ["resume"]
    await ping(house)
    assert (await house.admin.get(path))["draining"] is False


async def test_a_waiting_poll_ends_early_so_that_the_agent_pings(house: House) -> None:
    async with asyncio.timeout(25), asyncio.TaskGroup() as group:
        waiting = group.create_task(pulled(house))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await house.admin.post(f"/agents/{house.agent_id}/drain", {})
    answer = waiting.result()
    assert answer.status_code == 204
    assert {name: answer.headers[name] for name in PING_NOW} == PING_NOW


async def test_a_drain_between_two_polls_is_heard_by_the_second(house: House) -> None:
    await house.admin.post(f"/agents/{house.agent_id}/drain", {})
    async with asyncio.timeout(25):
        answer = await pulled(house)
    assert {name: answer.headers[name] for name in PING_NOW} == PING_NOW
    quiet = await pulled(house, wait=0)
    assert not PING_NOW.keys() & {name.title() for name in quiet.headers}


async def test_an_open_upload_tells_the_agent_to_ping(house: House) -> None:
    workspace = await house.workspace("net")
    await house.admin.post(
        f"/workspaces/{workspace}/tasks", {"task_type": "plan"}, expect=201
    )
    job: Job = await house.work()
    log = job.order["log"]
    address = house.serving.url.replace("http", "ws", 1)
    async with (
        asyncio.timeout(25),
        connect(
            f"{address}/ws/agent/logs?task_id={job.order['task_id']}",
            additional_headers={"Authorization": f"Bearer {job.caller.token}"},
            proxy=None,
        ) as socket,
    ):
        await socket.send(struct.pack("<QQ", log["epoch"], log["offset"]))
        assert json.loads(await socket.recv())["command"] == ""
        for verb in ("drain", "resume"):
            await house.admin.post(f"/agents/{house.agent_id}/{verb}", {})
            told = json.loads(await socket.recv())
            assert (told["status"], told["command"]) == ("ok", PING_COMMAND)
            assert told["committed"] == log["offset"]
        await socket.send(struct.pack("<QQ", log["epoch"], log["offset"]))
        assert json.loads(await socket.recv())["command"] == ""
