"""One request of every family of routes that people change things with, or read secrets by."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sluice.auth.model import OrganizationPermission, WorkspaceLevel
from sluice.server.settings import ServerSettings
from tests.agents.house import Caller, House, archive, open_house
from tests.state.states import state

Entry = dict[str, Any]
PRICES = '{"price": [{"type": "x", "monthly": 1}]}'
RULES = 'package p\n\ndeny contains "never" if {\n\tfalse\n}\n'
LOCK = {
    "ID": "1",
    "Operation": "OperationTypeApply",
    "Info": "",
    "Who": "ann@desk",
    "Version": "1.11.4",
    "Created": "2026-11-21T10:00:00Z",
    "Path": "",
}


@dataclass
class Walk:
    """A server, and the requests made of it, each of which is one entry."""

    house: House
    driven: set[tuple[str, str]] = field(default_factory=set)
    last: int = 0

    async def entries(self) -> list[Entry]:
        """What came since the last look, the first first."""
        path = "/audit?limit=100"
        listed = (await self.house.admin.get(path))["entries"]
        found = [entry for entry in listed[::-1] if entry["number"] > self.last]
        self.last = listed[0]["number"] if listed else 0
        return found

    async def does(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        action: str,
        subject: str | None = None,
        by: Caller | None = None,
        expect: int = 200,
        **kwargs: Any,
    ) -> Any:
        """Ask, and demand exactly one entry that says so; `*` takes any subject."""
        if body is not None:
            kwargs["json"] = body
        caller = by or self.house.admin
        answer = await caller.ask(method, path, expect=expect, **kwargs)
        found = await self.entries()
        assert [entry["action"] for entry in found] == [action], (path, found)
        [entry] = found
        wanted = answer["id"] if subject is None else subject
        assert wanted in {"*", entry["subject"]}, (path, entry)
        assert entry["outcome"] == "allowed"
        assert entry["address"] == "127.0.0.1"
        assert entry["actor_id"], entry
        assert entry["request_id"]
        route = entry["detail"].get("route")
        if route is not None:
            self.driven.add(tuple(route.split(" ", 1)))
        return answer


@asynccontextmanager
async def walking(settings: ServerSettings) -> AsyncIterator[Walk]:
    """A server with an organization, a pool and an agent; what made them is looked at."""
    async with open_house(settings) as house:
        walk = Walk(house)
        await walk.entries()
        yield walk


async def people(walk: Walk) -> None:
    """Users, organizations, members, teams and tokens."""
    acme = await walk.house.admin.get("/organizations/acme")
    acme_id, does = acme["id"], walk.does
    bob = await does(
        "POST", "/users", {"name": "bob"}, action="user.create", expect=201
    )
    there = f"/users/{bob['id']}"
    await does("PATCH", there, {"name": "rob"}, action="user.update")
    await does(
        "POST", f"{there}/disable", action="user.disable", subject=bob["id"], expect=200
    )
    await does(
        "POST", f"{there}/enable", action="user.enable", subject=bob["id"], expect=200
    )
    token = await does(
        "POST",
        f"{there}/tokens",
        {"name": "x"},
        action="token.create",
        expect=201,
    )
    other = await does(
        "POST",
        "/organizations",
        {"name": "b"},
        action="organization.create",
        expect=201,
    )
    await does(
        "PATCH",
        f"/organizations/{other['id']}",
        {"name": "c"},
        action="organization.rename",
        subject=other["id"],
    )
    members = "/organizations/acme/members"
    await does(
        "POST",
        members,
        {"user": "rob"},
        action="member.add",
        subject=bob["id"],
        expect=201,
    )
    await does(
        "PATCH",
        f"{members}/{bob['id']}",
        {"role": "owner"},
        action="member.update",
        subject=bob["id"],
    )
    team = await does(
        "POST",
        f"/organizations/{acme_id}/teams",
        {"name": "ops"},
        action="team.create",
        expect=201,
    )
    at = f"/teams/{team['id']}"
    await does("PATCH", at, {"name": "dev"}, action="team.update")
    await does(
        "POST",
        f"{at}/members",
        {"user": bob["id"]},
        action="team_member.add",
        subject=bob["id"],
        expect=201,
    )
    await does(
        "DELETE",
        f"{at}/members/{bob['id']}",
        action="team_member.remove",
        subject=bob["id"],
        expect=204,
    )
    rob = Caller(walk.house.http, token["token"])
    own = await does(
        "POST", "/tokens", {"name": "own"}, action="token.create", by=rob, expect=201
    )
    new = await does(
        "POST", f"/tokens/{own['id']}/rotate", action="token.rotate", by=rob, expect=201
    )
    await does(
        "DELETE",
        f"/tokens/{new['id']}",
        action="token.revoke",
        subject=new["id"],
        by=rob,
        expect=204,
    )
    await does("POST", "/auth/token", action="access_token.issue", subject="", by=rob)
    await does("DELETE", at, action="team.delete", subject=team["id"], expect=204)
    await does(
        "DELETE",
        f"{members}/{bob['id']}",
        action="member.remove",
        subject=bob["id"],
        expect=204,
    )


async def pools_and_scripts(walk: Walk) -> None:
    """Pools, their tokens and agents; scripts and price files."""
    does, acme = walk.does, "/organizations/acme"
    pool = await does(
        "POST", f"{acme}/pools", {"name": "p2"}, action="pool.create", expect=201
    )
    at = f"/pools/{pool['id']}"
    await does("PATCH", at, {"name": "p3"}, action="pool.update")
    token = await does(
        "POST", f"{at}/tokens", {"name": "t"}, action="pool_token.issue", expect=201
    )
    registrant = Caller(walk.house.http, token["token"])
    agent = await does(
        "POST",
        "/agents/register",
        {"name": "second", "version": "0.1"},
        action="agent.register",
        subject="*",
        by=registrant,
    )
    agent_id = agent["agent_id"]
    for verb in ("drain", "resume"):
        await does(
            "POST",
            f"/agents/{agent_id}/{verb}",
            {},
            action=f"agent.{verb}",
            subject=agent_id,
        )
    await does(
        "DELETE",
        f"{at}/tokens/{token['id']}",
        action="pool_token.end",
        subject=token["id"],
        expect=204,
    )
    pool = await does(
        "POST", f"{acme}/pools", {"name": "none"}, action="pool.create", expect=201
    )
    at = f"/pools/{pool['id']}"
    await does("DELETE", at, action="pool.delete", subject=pool["id"], expect=204)
    script = await does(
        "POST",
        f"{acme}/scripts",
        {"key": "nginx", "body": "#!/bin/sh\ntrue\n"},
        action="script.create",
        expect=201,
    )
    at = f"/scripts/{script['id']}"
    await does("PATCH", at, {"name": "n"}, action="script.update")
    await does("DELETE", at, action="script.delete", subject=script["id"], expect=204)
    prices = f"{acme}/price-file"
    content = {"content": PRICES, "format": "json"}
    await does("PUT", prices, content, action="price_file.set", subject="*")
    await does("DELETE", prices, action="price_file.delete", subject="*", expect=204)


async def workspaces(walk: Walk) -> None:
    """A workspace from its begin to its end: variables, lock, states, configuration, tasks."""
    does = walk.does
    made = await does(
        "POST",
        "/organizations/acme/workspaces",
        {"name": "w"},
        action="workspace.create",
        expect=201,
    )
    ws = made["id"]
    at = f"/workspaces/{ws}"
    await does("PATCH", at, {"name": "v"}, action="workspace.update")
    variable = await does(
        "POST",
        f"{at}/variables",
        {"key": "k", "value": "hunter2", "sensitive": True},
        action="variable.create",
        expect=201,
    )
    one = f"{at}/variables/{variable['id']}"
    await does("PATCH", one, {"value": "hunter3"}, action="variable.update")
    await does(
        "DELETE", one, action="variable.delete", subject=variable["id"], expect=204
    )
    for verb in ("lock", "unlock", "lock", "force-unlock"):
        action = f"workspace.{verb.replace('-', '_')}"
        await does("POST", f"{at}/{verb}", {}, action=action, subject=ws)
    await _states(walk, at)
    await _tasks(walk, at)
    await does("DELETE", at, action="workspace.delete", subject=ws, expect=204)


async def _states(walk: Walk, at: str) -> None:
    does, ws = walk.does, at.rpartition("/")[2]
    first = await does(
        "POST",
        f"{at}/state-versions",
        content=state(1),
        action="state_version.upload",
        expect=201,
    )
    await does(
        "GET",
        f"/state-versions/{first['id']}/download",
        action="state_version.download",
        subject=first["id"],
    )
    await does(
        "POST",
        f"{at}/state-versions",
        content=state(2),
        action="state_version.upload",
        expect=201,
    )
    await does(
        "POST",
        f"{at}/state-versions/{first['id']}/rollback",
        action="state_version.roll_back",
        expect=201,
    )
    backend = f"{at}/state-backend"
    await does("GET", backend, action="state.read", subject=ws)
    await does("LOCK", backend, LOCK, action="state.lock", subject=ws)
    await does(
        "POST", f"{backend}?ID=1", content=state(9), action="state.write", subject="*"
    )
    await does("UNLOCK", backend, LOCK, action="state.unlock", subject=ws)
    await does("DELETE", backend, action="state.delete", subject=ws)


async def _tasks(walk: Walk, at: str) -> None:
    does = walk.does
    version = await does(
        "POST",
        f"{at}/configuration-versions",
        action="configuration_version.create",
        expect=201,
    )
    there = f"/configuration-versions/{version['id']}"
    await does(
        "PUT",
        f"{there}/upload",
        content=archive({"main.tf": "# nothing\n"}),
        action="configuration_version.upload",
        subject=version["id"],
    )
    await does(
        "GET",
        f"{there}/download",
        action="configuration_version.download",
        subject=version["id"],
    )
    task = await does(
        "POST", f"{at}/tasks", {"task_type": "plan"}, action="task.create", expect=201
    )
    await does(
        "GET",
        f"{at}/tasks/{task['id']}/configuration",
        action="configuration.get",
        subject=task["id"],
    )
    await does("POST", f"/tasks/{task['id']}/cancel", {}, action="task.cancel")


async def runs(walk: Walk) -> None:
    """Tasks of scripts and of plans that are confirmed and discarded; sessions."""
    does, house = walk.does, walk.house
    key = {"key": "nginx", "body": "#!/bin/sh\ntrue\n"}
    await house.admin.post("/organizations/acme/scripts", key, expect=201)
    ws = await house.workspace("planned")
    await walk.entries()
    answer = await house.http.post(
        "/v1/soft/install",
        json={"key": "nginx", "organization": "acme"},
        headers={"Authorization": f"Bearer {house.admin.token}"},
    )
    assert answer.status_code == 200, answer.text
    [entry] = await walk.entries()
    assert entry["action"] == "task.install"
    assert entry["subject"].startswith("task-")
    job = await house.work()
    await job.started()
    await job.finish()
    for verb in ("confirm", "discard"):
        task = await does(
            "POST",
            f"/workspaces/{ws}/tasks",
            {"task_type": "plan_and_apply"},
            action="task.create",
            expect=201,
        )
        job = await house.work()
        await job.started()
        await job.caller.put(f"{job.here}/plan-file", b"PLAN")
        await job.caller.put(f"{job.here}/plan-json", b'{"format_version":"1.2"}')
        await job.finish(has_changes=True)
        # what agents do is in the tasks' logs
        assert await walk.entries() == []
        at = f"/workspaces/{ws}/tasks/{task['id']}/plan-json"
        await does("GET", at, action="plan_json.get", subject=task["id"])
        await does("POST", f"/tasks/{task['id']}/{verb}", {}, action=f"task.{verb}")
        if verb == "confirm":
            job = await house.work()
            await job.started()
            await job.finish()


async def judges(walk: Walk) -> None:
    """Policies, whose actions write entries of their own; grants to teams and users."""
    does = walk.does
    policy = await does(
        "POST",
        "/policies?organization_id=acme",
        {"name": "p", "source": RULES},
        action="policy.create",
        expect=201,
    )
    at = f"/policies/{policy['id']}"
    body = {"name": "p", "source": RULES, "enabled": False}
    await does("PUT", at, body, action="policy.update", subject=policy["id"])
    await does("DELETE", at, action="policy.delete", subject=policy["id"], expect=204)
    member = await walk.house.member("eve")
    eve = (await member.get("/auth/me"))["id"]
    ws = await walk.house.workspace("granted")
    await walk.entries()
    grant = f"/workspaces/{ws}/access/users/{eve}"
    await does("PUT", grant, {"level": "plan"}, action="grant.set", subject=eve)
    await does("DELETE", grant, action="grant.delete", subject=eve, expect=204)


async def outsiders(walk: Walk) -> tuple[Caller, Caller]:
    """A member of the organization who may read, and an owner of nothing at all."""
    reader = await walk.house.member("reader", level=WorkspaceLevel.READ)
    auditor = await walk.house.member("auditor", OrganizationPermission.READ_AUDIT)
    await walk.entries()
    return reader, auditor
