"""Two organizations with one of everything, and one of every kind of caller."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx2

from sluice.auth.model import (
    UNLIMITED,
    ResultPrincipal,
    Role,
    Scope,
    WorkspaceLevel,
)
from sluice.auth.tokens import hash_secret
from sluice.base.clock import SystemClock
from sluice.base.ids import (
    AgentId,
    LeaseId,
    NotificationId,
    OrganizationId,
    PolicyId,
    RunTaskId,
    RunTaskResultId,
    RunTaskStageId,
    TaskId,
    UserId,
    VariableId,
    WorkspaceId,
)
from sluice.notifications.model import Notification
from sluice.policies.model import Policy
from sluice.runtasks.model import Result, StageOfTask
from sluice.wire.notification import NotificationKind
from sluice.wire.run_task import EnforcementLevel, ResultStatus, RunTaskStage
from tests.agents.house import Caller, House, Json
from tests.runtasks.definitions import make_attachment, make_run_task
from tests.support.who import People

CALLERS = [
    "nobody",
    "expired",
    "revoked",
    "outsider",
    "member",
    "read",
    "plan",
    "apply",
    "wadmin",
    "owner",
    "admin",
    "narrow",
    "agent",
    "foreign_agent",
    "task",
    "other_task",
    "pool",
    "foreign_pool",
    "result",
]
"""In the order of the letters in the matrix.

`outsider` owns another organization; `member` has no workspace; `read` to `wadmin` have
that level in the one workspace; `narrow` is a token of the administrator for reading.
"""


@dataclass
class World:
    """What exists in the organization `acme`, by the names that parameters have."""

    house: House
    inside: httpx2.AsyncClient
    ids: dict[str, str]
    tokens: dict[str, str]


async def build_world(house: House, inside: httpx2.AsyncClient) -> World:
    """Make it all, through the API where that is the shortest way."""
    auth = house.serving.concepts.auth
    people = People(auth.transactions, auth.store)
    ids = await _things(house)
    acme = OrganizationId(ids["organization_id"])
    globex = await people.organization("globex")
    team = await people.team(acme)
    tokens = await _users(people, acme, WorkspaceId(ids["workspace_id"]), globex)
    ids |= {"team_id": team, "user_id": await people.user("someone")}
    tokens |= await _machines(house, ids)
    tokens["admin"] = house.admin.token
    return World(house, inside, ids, tokens)


async def _users(
    people: People, acme: OrganizationId, inside: WorkspaceId, globex: OrganizationId
) -> dict[str, str]:
    tokens = {"nobody": ""}

    async def user(name: str, role: Role | None = None) -> UserId:
        made = await people.user(name)
        if role is not None:
            await people.member(acme, made, role)
        tokens[name] = await people.token(made)
        return made

    now = datetime.now(UTC)
    owner = await user("owner", Role.OWNER)
    tokens["expired"] = await people.token(owner, expires_at=now - timedelta(days=1))
    tokens["revoked"] = await people.token(owner, revoked_at=now)
    await people.member(globex, await user("outsider"), Role.OWNER)
    await user("member", Role.MEMBER)
    for level in WorkspaceLevel:
        name = "wadmin" if level is WorkspaceLevel.ADMIN else level.value
        user_id = await user(name, Role.MEMBER)
        await people.grant(acme, inside, level, user_id=user_id)
    chief = await people.user("chief", admin=True)
    scope = Scope(level=WorkspaceLevel.READ)
    assert scope != UNLIMITED
    tokens["narrow"] = await people.token(chief, scope)
    return tokens


async def _things(house: House) -> dict[str, str]:
    """Everything that paths name."""
    admin, concepts = house.admin, house.serving.concepts
    acme = (await admin.get("/organizations/acme"))["id"]
    inside = await house.workspace("prod")
    here = f"/workspaces/{inside}"
    task = await admin.post(f"{here}/tasks", {"task_type": "plan"}, expect=201)
    state = (
        b'{"version": 4, "serial": 1, "lineage": "l", "outputs": {}, "resources": []}'
    )
    version = await admin.ask(
        "POST", f"{here}/state-versions", content=state, expect=201
    )
    variable = await admin.post(
        f"{here}/variables", {"key": "a", "value": "b"}, expect=201
    )
    script = await admin.post(
        "/organizations/acme/scripts", {"key": "s", "body": "#!/bin/sh\n"}, expect=201
    )
    pool = (await admin.get("/organizations/acme/pools"))[0]
    now = SystemClock().now()
    run_task = make_run_task("checks", organization_id=acme)
    attachment = make_attachment(run_task, workspace_id=WorkspaceId(inside))
    policy = Policy(
        id=PolicyId("pol-1"),
        organization_id=acme,
        workspace_id=None,
        name="p",
        description="",
        source="package terraform",
        level=EnforcementLevel.ADVISORY,
        enabled=True,
        created_by="ann",
        created_at=now,
        updated_at=now,
    )
    notification = Notification(
        id=NotificationId("ntf-1"),
        organization_id=acme,
        workspace_id=WorkspaceId(inside),
        name="n",
        kind=NotificationKind.EMAIL,
        triggers=(),
        enabled=True,
        leased_until=now,
        created_by="ann",
        created_at=now,
        updated_at=now,
    )
    async with concepts.auth.transactions.write() as tx:
        await concepts.run_tasks.store.add(tx, run_task)
        await concepts.run_tasks.store.attach(tx, attachment)
        await concepts.policies.store.add(tx, policy)
        await concepts.notifications.store.add(tx, notification)
    return {
        "organization": "acme",
        "id_or_name": "acme",
        "organization_id": acme,
        "workspace_id": inside,
        "variable_id": VariableId(variable["id"]),
        "configuration_version_id": task["configuration_version_id"],
        "state_version_id": version["id"],
        "workspace_run_task_id": attachment.id,
        "task_id": TaskId(task["id"]),
        "policy_id": policy.id,
        "pool_id": pool["id"],
        "agent_id": AgentId(house.agent_id),
        "script_id": script["id"],
        "run_task_id": RunTaskId(run_task.id),
        "notification_id": notification.id,
        "token_id": "token-x",
        "session_id": "session-x",
        "outcome_id": "outcome-x",
        "delivery_id": "delivery-x",
    }


async def _machines(house: House, ids: dict[str, str]) -> dict[str, str]:
    """Tokens of agents, pools, tasks, and of a service at a gate; adds their ids."""
    admin = house.admin
    pool = await admin.post("/organizations/globex/pools", {"name": "p"}, expect=201)
    issued = await admin.post(f"/pools/{pool['id']}/tokens", {"name": "t"}, expect=201)
    foreign = Caller(house.http, issued["token"])
    agent = await foreign.post("/agents/register", {"name": "b", "version": "0.1"})
    registrant = Caller(house.http, house.pool_token)

    async def begun(task_id: str) -> Json:
        body = {"run_id": "run-1", "writer": "records"}
        return dict(await registrant.post(f"/tasks/{task_id}/exec", body))

    run, other = await begun("script-run"), await begun("another-run")
    ids |= {"script_task_id": "script-run", "lease_id": LeaseId(run["lease_id"])}
    ids["result_id"], result = await _result(house, ids)
    return {
        "agent": house.agent.token,
        "foreign_agent": agent["token"],
        "task": run["task_token"],
        "other_task": other["task_token"],
        "pool": house.pool_token,
        "foreign_pool": foreign.token,
        "result": result,
    }


async def _result(house: House, ids: Mapping[str, str]) -> tuple[str, str]:
    """A run task's result that waits for its service, and the token of that."""
    now = SystemClock().now()
    task_id, acme = TaskId(ids["task_id"]), OrganizationId(ids["organization_id"])
    result_id = RunTaskResultId("rtr-1")
    asking = house.serving.concepts.asking
    token = asking.tokens.result(
        ResultPrincipal(result_id, task_id, acme), issued_at=now, ttl=3600
    )
    stage = StageOfTask(RunTaskStageId("rts-1"), task_id, RunTaskStage.PRE_PLAN, now)
    result = Result(
        id=result_id,
        stage_id=stage.id,
        task_id=task_id,
        organization_id=acme,
        workspace_id=WorkspaceId(ids["workspace_id"]),
        run_task_id=RunTaskId(ids["run_task_id"]),
        name="checks",
        stage=stage.stage,
        level=EnforcementLevel.ADVISORY,
        created_at=now,
        status=ResultStatus.RUNNING,
        token_hash=hash_secret(token),
        issued_at=now,
        timeout_at=now + timedelta(hours=1),
        last_timeout_at=now + timedelta(hours=1),
        started_at=now,
    )
    async with asking.tasks.transactions.write() as tx:
        await asking.store.add_stage(tx, stage, [result])
    return result_id, token
