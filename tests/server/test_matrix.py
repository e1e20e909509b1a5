"""Every route and WebSocket for every kind of caller: who is let in, and what the others hear.

An admitted user or pool is stopped right where the guard has let them in, so that nothing is
changed; agents, tasks and services go on, since their routes look at what they hold.
"""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection
from starlette.routing import Route, WebSocketRoute
from typing_extensions import override
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from sluice.auth.guard import permission_of
from sluice.auth.model import Place, PoolPrincipal, Principal, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.auth.trail import NoTrail
from sluice.base.errors import ConflictError
from sluice.edge.stopping import Stopping
from sluice.server.app import build_app
from sluice.server.concepts import build_concepts
from sluice.server.parts import open_parts
from sluice.server.settings import ServerSettings
from tests.agents.house import House, open_house
from tests.server.matrix_world import CALLERS, World, build_world

# N: 401. F: 403. H: the 404 of what does not exist. I: let in.
# nobody expired revoked | outsider member read plan apply wadmin owner admin narrow
# | agent foreign_agent task other_task | pool foreign_pool | result
READS = "NNN HHIIIIIII FFFF FH F"
PLANS = "NNN HHFIIIIIF FFFF FH F"
APPLIES = "NNN HHFFIIIIF FFFF FH F"
RULES = "NNN HHFFFIIIF FFFF FH F"
"""What administrators of the workspace do."""
REVIEWS = "NNN HHIIIIIII FFFF FH I"
TRUSTED = "NNN HHFIIIIIF FFFF FH I"
KNOWS = "NNN HIIIIIIII FFFF FH F"
"""What every member of the organization may read."""
KEEPS = "NNN HFFFFFIIF FFFF FH F"
"""What owners of the organization do, and teams that may."""
AUDITS = "NNN HFFFFFIII FFFF FH F"
INSTALLATION = "NNN FFFFFFFIF FFFF FF F"
SIGNED_IN = "NNN IIIIIIIII FFFF FF F"
OWN = "NNN IIIIIIIIF FFFF FF F"
"""What a narrowed credential may not do, since it could make a wider one of itself."""
ANY = "NNN IIIIIIIII IIII II I"
REGISTERS = "NNN FFFFFFFFF FFFF II F"
WORKS = "NNN HFFFFFFFF IFFF FH F"
DELIVERS = "NNN HFFFFFFFF HFFF FH F"
"""The lease is not that agent's."""
REPORTS = "NNN HFFFFFFFF HFIF FH F"
PHASE = "NNN HFFFFFFFF FFIF FH F"
UPLOADS = "NNN HFFFFFFFF HHIF FH F"
EXECS = "NNN HFFFFFIIF FFFF II F"
"""A pool of another organization begins one of its own: the id is taken, 409."""
RECORDS = "NNN HFFFFFIIF FFIH IH F"
OPEN = ""
"""Public, or by a credential in the body; see `test_routes.py`."""


@dataclass(frozen=True)
class Call:
    """How a route is asked, and who is let in.

    Attributes:
        expected: one letter for each of `CALLERS`.
        final: what the route asks for in the end, where it declares less.
        ids: other names than usual for parameters of the path.
        whole: whether those who are let in are answered, since it is done nothing to.
    """

    expected: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    final: Permission | None = None
    ids: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False


S = {"task_id": "script_task_id"}
IN_ACME = {"organization_id": "organization"}
OF_TASK = {"task_id": "task_id"}
LEASE = {"lease_id": "lease_id"}
POLICY = {"name": "x", "source": "package terraform", "level": "advisory"}
CHECK = {
    "organization_id": "acme",
    "name": "x",
    "endpoint_url": "https://checks.example.com/x",
}
A = "/api/v1"
ORG, WS, TASK = (
    f"{A}/organizations/{{organization}}",
    f"{A}/workspaces/{{workspace_id}}",
    f"{A}/tasks/{{task_id}}",
)
WHO = f"{A}/organizations/{{id_or_name}}"
IN_WS = f"{WS}/tasks/{{task_id}}"
TEAM, POOL = f"{A}/teams/{{team_id}}", f"{A}/pools/{{pool_id}}"
AGENT, SCRIPT = f"{A}/agents/{{agent_id}}", f"{A}/scripts/{{script_id}}"
CHECKS, ATTACHED = f"{A}/run-tasks", f"{WS}/run-tasks"
USER, TOLD = f"{A}/users/{{user_id}}", f"{A}/notifications/{{notification_id}}"
RULE = f"{A}/policies/{{policy_id}}"
CONFIG = f"{A}/configuration-versions/{{configuration_version_id}}"
STATE = f"{A}/state-versions/{{state_version_id}}"


def calls(expected: str, *routes: str, **asked: Any) -> dict[str, Call]:
    """Routes that are asked in the same way."""
    return dict.fromkeys(routes, Call(expected, **asked))


MATRIX: dict[str, Call] = {
    **calls(
        OPEN,
        "GET /healthz",
        "GET /readyz",
        "GET /metrics",
        "GET /embed.js",
        "GET /.well-known/openid-configuration",
        "GET /.well-known/jwks",
        f"GET {A}/openapi.json",
        f"POST {A}/auth/setup",
        f"POST {A}/auth/login",
        f"POST {A}/auth/login/token",
        f"GET {A}/auth/methods",
        f"GET {A}/auth/oidc/login",
        f"GET {A}/auth/oidc/callback",
        f"PATCH {A}/task-results/{{result_id}}/callback",
        f"PATCH {A}/run-task-results/{{result_id}}/callback",
    ),
    **calls(ANY, f"GET {A}/auth/me"),
    **calls(
        SIGNED_IN,
        f"POST {A}/auth/token",
        f"GET {A}/tokens",
        f"GET {A}/organizations",
        f"GET {A}/terraform/streams/stats",
        f"GET {A}/auth/session",
        f"GET {A}/auth/sessions",
        f"POST {A}/auth/logout",
        f"POST {A}/auth/tickets",
    ),
    # a narrowed credential may end itself
    **calls(OWN, f"DELETE {A}/tokens/{{token_id}}", final=Permission.MANAGE_OWN),
    **calls(
        OWN,
        f"POST {A}/tokens",
        f"POST {A}/tokens/{{token_id}}/rotate",
        f"DELETE {A}/auth/sessions",
        f"DELETE {A}/auth/sessions/{{session_id}}",
        f"PUT {A}/auth/password",
    ),
    **calls(
        INSTALLATION,
        f"GET {A}/users",
        f"POST {A}/users",
        f"GET {USER}",
        f"PATCH {USER}",
        f"DELETE {USER}",
        f"POST {USER}/disable",
        f"POST {USER}/enable",
        f"POST {USER}/password",
        f"GET {USER}/tokens",
        f"POST {USER}/tokens",
        f"DELETE {USER}/tokens/{{token_id}}",
        f"POST {A}/organizations",
        f"GET {A}/audit/head",
    ),
    # --- organizations
    **calls(
        KNOWS,
        f"GET {WHO}",
        f"GET {WHO}/permissions",
        f"GET {WHO}/members",
        f"GET {WHO}/teams",
        f"GET {TEAM}",
        f"GET {TEAM}/members",
        f"GET {ORG}/workspaces",
        f"GET {ORG}/tasks",
        f"GET {ORG}/pools",
        f"GET {ORG}/agents",
        f"GET {ORG}/scripts",
        f"GET {ORG}/price-file",
        f"GET {POOL}",
        f"GET {AGENT}",
        f"GET {AGENT}/status",
        f"GET {SCRIPT}",
        f"GET {CHECKS}/{{run_task_id}}",
        f"GET {RULE}",
    ),
    **calls(KNOWS, f"GET {CHECKS}", f"GET {A}/policies", query=IN_ACME),
    **calls(
        KEEPS,
        f"PATCH {WHO}",
        f"POST {WHO}/members",
        f"PATCH {WHO}/members/{{user_id}}",
        f"DELETE {WHO}/members/{{user_id}}",
        f"POST {WHO}/teams",
        f"PATCH {TEAM}",
        f"DELETE {TEAM}",
        f"POST {TEAM}/members",
        f"DELETE {TEAM}/members/{{user_id}}",
        f"POST {ORG}/workspaces",
        f"POST {ORG}/pools",
        f"PATCH {POOL}",
        f"DELETE {POOL}",
        f"GET {POOL}/tokens",
        f"POST {POOL}/tokens",
        f"DELETE {POOL}/tokens/{{token_id}}",
        f"DELETE {AGENT}",
        f"POST {AGENT}/drain",
        f"POST {AGENT}/resume",
        f"POST {ORG}/scripts",
        f"PATCH {SCRIPT}",
        f"DELETE {SCRIPT}",
        f"PUT {ORG}/price-file",
        f"DELETE {ORG}/price-file",
        f"PUT {CHECKS}/{{run_task_id}}",
        f"DELETE {CHECKS}/{{run_task_id}}",
        f"POST {CHECKS}/{{run_task_id}}/test",
        f"PUT {RULE}",
        f"DELETE {RULE}",
        f"POST {RULE}/check",
        f"GET {ORG}/notifications",
        f"POST {ORG}/notifications",
    ),
    **calls(KEEPS, f"POST {CHECKS}", body=CHECK),
    **calls(KEEPS, f"POST {A}/policies", query=IN_ACME, body=POLICY),
    **calls(KEEPS, "POST /v1/soft/install", body={"key": "s", "organization": "acme"}),
    **calls(AUDITS, f"GET {A}/audit", f"GET {A}/audit/export", query=IN_ACME),
    # --- workspaces and their tasks
    **calls(
        READS,
        f"GET {WS}",
        f"GET {WS}/permissions",
        f"GET {WS}/variables",
        f"GET {WS}/state-versions",
        f"GET {WS}/state-versions/current",
        f"GET {WS}/outputs",
        f"GET {WS}/tasks",
        f"GET {ATTACHED}",
        f"GET {CONFIG}",
        f"GET {STATE}",
        f"GET {TASK}",
        f"GET {TASK}/outputs",
        f"GET {TASK}/late-output",
        f"GET {TASK}/late-output/{{lease_id}}",
        f"GET {TASK}/output/sse",
        f"GET {TASK}/output/follow",
        f"GET {TASK}/logs",
        f"GET {TASK}/logs/download",
        f"WS {TASK}/output/stream",
        "WS /ws/tasks/{task_id}",
        f"GET {IN_WS}/run-task-results",
        f"GET {IN_WS}/run-task-results/outcomes/{{outcome_id}}/body",
        f"GET {IN_WS}/policy-results",
        f"GET {IN_WS}/cost-estimate",
    ),
    **calls(
        READS,
        "GET /v1/log/history",
        "GET /v1/log/status",
        "WS /v1/log/ws",
        "WS /ws/logs",
        query=OF_TASK,
    ),
    **calls(
        READS,
        "GET /v1/soft/getlog",
        query={"fn": "task_id", "organization": "organization"},
        whole=True,
    ),
    **calls(
        PLANS,
        f"POST {WS}/configuration-versions",
        f"PUT {CONFIG}/upload",
        f"GET {CONFIG}/download",
        f"GET {STATE}/download",
        f"GET {WS}/state-backend",
        f"LOCK {WS}/state-backend",
        f"UNLOCK {WS}/state-backend",
        f"POST {WS}/tasks",
        f"POST {TASK}/cancel",
    ),
    **calls(
        APPLIES,
        f"POST {WS}/lock",
        f"POST {WS}/unlock",
        f"POST {WS}/state-versions",
        f"POST {WS}/state-versions/{{state_version_id}}/rollback",
        f"POST {WS}/state-backend",
        f"DELETE {WS}/state-backend",
        f"POST {TASK}/confirm",
        f"POST {TASK}/discard",
        f"POST {TASK}/force-cancel",
    ),
    **calls(
        RULES,
        f"PATCH {WS}",
        f"DELETE {WS}",
        f"POST {WS}/force-unlock",
        f"POST {WS}/variables",
        f"PATCH {WS}/variables/{{variable_id}}",
        f"DELETE {WS}/variables/{{variable_id}}",
        f"GET {WS}/access",
        f"PUT {WS}/access/teams/{{team_id}}",
        f"DELETE {WS}/access/teams/{{team_id}}",
        f"PUT {WS}/access/users/{{user_id}}",
        f"DELETE {WS}/access/users/{{user_id}}",
        f"POST {ATTACHED}",
        f"PUT {ATTACHED}/{{workspace_run_task_id}}",
        f"DELETE {ATTACHED}/{{workspace_run_task_id}}",
        f"POST {IN_WS}/run-task-results/{{result_id}}/override",
        f"GET {WS}/notifications",
        f"POST {WS}/notifications",
    ),
    **calls(
        RULES,
        f"GET {TOLD}",
        f"PUT {TOLD}",
        f"DELETE {TOLD}",
        f"POST {TOLD}/test",
        f"GET {TOLD}/deliveries",
        f"POST {TOLD}/deliveries/{{delivery_id}}/redeliver",
        body={},
        final=Permission.ADMIN_WORKSPACE,
    ),
    **calls(REVIEWS, f"GET {IN_WS}/resource-changes"),
    **calls(TRUSTED, f"GET {IN_WS}/plan-json", f"GET {IN_WS}/configuration"),
    # --- agents, their phases, and scripts that run outside them
    **calls(REGISTERS, f"POST {A}/agents/register"),
    **calls(WORKS, f"POST {AGENT}/ping", body={"agent_id": "a", "busy": False}),
    **calls(WORKS, f"POST {AGENT}/tasks/pull", body={"slots": {"plan": 0, "apply": 0}}),
    **calls(
        DELIVERS, f"POST {AGENT}/tasks/{{task_id}}/late-output", query=LEASE, ids=S
    ),
    **calls(
        REPORTS,
        f"POST {AGENT}/tasks/{{task_id}}/started",
        body={"lease_id": "lease_id"},
        ids=S,
    ),
    **calls(
        REPORTS,
        f"POST {AGENT}/tasks/{{task_id}}/finish",
        # more log than there is, so that the run goes on
        body={
            "lease_id": "lease_id",
            "outcome": "succeeded",
            "log_end": {"offset": 10**6, "next_line": 100},
        },
        ids=S,
    ),
    **calls(
        PHASE,
        f"GET {TASK}/configuration",
        f"GET {TASK}/state",
        f"PUT {TASK}/state",
        f"GET {TASK}/plan-file",
        f"PUT {TASK}/plan-file",
        f"PUT {TASK}/plan-json",
        ids=S,
    ),
    **calls(UPLOADS, f"PATCH {TASK}/log", query=LEASE, ids=S),
    **calls(UPLOADS, "WS /ws/agent/logs", query={"task_id": "script_task_id", **LEASE}),
    **calls(EXECS, f"POST {TASK}/exec", body={"run_id": "run-9"}, ids=S),
    **calls(RECORDS, f"POST {TASK}/logs", body={"message": "x"}, ids=S),
    # the last: the task's token ends with the run
    **calls(
        PHASE,
        f"POST {TASK}/exec/end",
        body={"lease_id": "lease_id", "exit_code": 0},
        ids=S,
    ),
}


class Doorstep(NoTrail):
    """Stops who was let in with the permission that the route asks for in the end."""

    wanted: Permission | None = None

    @override
    def begin(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        place: Place,
    ) -> None:
        """They are in."""
        if permission is self.wanted and isinstance(
            principal, UserPrincipal | PoolPrincipal
        ):
            raise ConflictError("let in")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    settings = ServerSettings(
        data_dir=tmp_path,
        port=0,
        shutdown_seconds=2,
        lease_seconds=3600,
        requests_per_minute_per_address=0,
        requests_per_minute_per_credential=0,
        requests_per_minute_per_organization=0,
        failed_credentials_per_minute_per_address=0,
        streams_per_minute_per_address=100_000,
    )
    async with open_house(settings) as house:
        # without a network between: there are thousands of calls
        transport = httpx2.ASGITransport(app_of(house))
        async with httpx2.AsyncClient(
            transport=transport, base_url=house.serving.url
        ) as inside:
            yield await build_world(house, inside)


def app_of(house: House) -> FastAPI:
    app = house.serving.http.config.app
    assert isinstance(app, FastAPI)
    return app


def routes_of(app: FastAPI) -> dict[str, Permission]:
    """What every method of every path declares."""
    found = {}
    for route in app.router.routes:
        permission = permission_of(route)
        assert permission is not None, route
        if isinstance(route, WebSocketRoute):
            found[f"WS {route.path}"] = permission
        elif isinstance(route, Route):
            for method in set(route.methods or ()) - {"HEAD"}:
                found[f"{method} {route.path}"] = permission
    return found


async def test_every_route_has_its_row(settings: ServerSettings) -> None:
    parts = open_parts(settings)
    app = build_app(parts, build_concepts(parts), Stopping(lambda: None))
    await parts.close()
    declared = routes_of(app)
    assert set(declared) ^ set(MATRIX) == set()
    public = {name for name, wanted in declared.items() if wanted is Permission.PUBLIC}
    assert public == {name for name, call in MATRIX.items() if call.expected == OPEN}


async def test_everybody_is_let_in_where_they_may_and_nowhere_else(
    world: World,
) -> None:
    app = app_of(world.house)
    declared = routes_of(app)
    app.state.trail = doorstep = Doorstep()
    wrong = []
    for route, call in MATRIX.items():
        if call.expected == OPEN:
            continue
        doorstep.wanted = None if call.whole else call.final or declared[route]
        letters = call.expected.replace(" ", "")
        for name, expected in zip(CALLERS, letters, strict=True):
            answer = await ask(world, route, call, world.tokens[name])
            if letter_of(answer) != expected:
                wrong.append(f"{route}: {name} {expected}, not {answer}")
    assert not wrong, "\n".join(wrong)


async def test_what_is_hidden_sounds_like_what_is_not_there(world: World) -> None:
    """The whole answers are the same, but for the names that were given."""
    # a member knows the organization
    absent = {
        "outsider": _absent(world),
        "member": _absent(world, "organization", "organization_id", "id_or_name"),
    }
    told_apart = []
    for route, call in MATRIX.items():
        letters = dict(zip(CALLERS, call.expected.replace(" ", ""), strict=False))
        for name in ("outsider", "member"):
            if letters.get(name) != "H" or call.body is not None:
                continue
            known = await ask(world, route, call, world.tokens[name])
            unknown = await ask(absent[name], route, call, world.tokens[name])
            as_if = unknown[1]
            for value in world.ids.values():
                as_if = as_if.replace(f"{value}x", value)
            if (unknown[0], as_if) != known:
                told_apart.append(f"{route}: {name} {known}, not {unknown}")
    assert not told_apart, "\n".join(told_apart)


def _absent(world: World, *kept: str) -> World:
    """The same callers with names of what is not there."""
    ids = {
        name: value if name in kept else f"{value}x"
        for name, value in world.ids.items()
    }
    return replace(world, ids=ids)


Answer = tuple[int, str]
HIDDEN = re.compile(
    r'"There is no [a-z ]+ [\w-]+( of [\w-]+|; give the [^"]+)?\.?"'
    r'|"No script is registered under the key '
)
"""What is said of what is not there, or of what nobody may know of."""


def letter_of(answer: Answer) -> str:
    status, body = answer
    hidden = HIDDEN.search(body)
    match status:
        case 401:
            return "N"
        case 403:
            return "F"
        case 404 if hidden:
            return "H"
        case 500:
            return "?"
        case _:
            return "I"


async def ask(world: World, route: str, call: Call, token: str) -> Answer:
    method, path = route.split(" ")
    names = {name: call.ids.get(name, name) for name in re.findall(r"{(\w+)}", path)}
    for name, known in names.items():
        path = path.replace(f"{{{name}}}", world.ids[known])
    query = {name: world.ids[known] for name, known in call.query.items()}
    headers = {"authorization": f"Bearer {token}"} if token else {}
    if method == "WS":
        return await knock(world, path, query, headers)
    body = None
    if call.body is not None:
        body = {
            name: world.ids.get(value, value) if name == "lease_id" else value
            for name, value in call.body.items()
        }
    answer = await world.inside.request(
        method, path, params=query, headers=headers, json=body
    )
    return answer.status_code, answer.text


async def knock(
    world: World, path: str, query: dict[str, str], headers: dict[str, str]
) -> Answer:
    address = world.house.serving.url.replace("http", "ws", 1) + path
    address += "?" + "&".join(f"{name}={value}" for name, value in query.items())
    try:
        async with connect(address, additional_headers=headers, proxy=None):
            return 101, ""
    except InvalidStatus as refused:
        body = bytes(refused.response.body or b"").decode()
        return refused.response.status_code, body
