"""How the guard finds the place of a request: by path, by query, or late by the route itself."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import APIRouter, Depends, FastAPI, Request
from starlette.requests import HTTPConnection
from typing_extensions import override

from sluice.auth.access import Access, Locator
from sluice.auth.guard import (
    check,
    include,
    may_read,
    permit,
    permit_named,
    require,
    visible_organizations,
    visible_workspaces,
)
from sluice.auth.model import (
    SITE,
    AgentPrincipal,
    Place,
    Principal,
    UserPrincipal,
    WorkspaceLevel,
)
from sluice.auth.permissions import Permission
from sluice.auth.trail import NoTrail
from sluice.base.errors import SluiceError
from sluice.base.ids import AgentId, OrganizationId, PoolId, WorkspaceId
from sluice.base.transactions import Tx
from sluice.edge.problems import install_problem_handlers
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_access import MemoryAccessStore
from sluice.testing.memory_auth import MemoryAuthStore
from tests.support.who import People

WS = WorkspaceId("ws-1")
Late = Annotated[Principal, Depends(require(Permission.PLAN, late=True))]


@dataclass
class Remembered(NoTrail):
    """What the audit log would be told."""

    told: list[tuple[str, Permission, Place]] = field(default_factory=list)

    @override
    def begin(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        place: Place,
    ) -> None:
        """In."""
        self.told.append(("in", permission, place))

    @override
    async def denied(
        self,
        connection: HTTPConnection,
        principal: Principal,
        permission: Permission,
        error: SluiceError,
        *,
        place: Place = SITE,
    ) -> None:
        """Out."""
        self.told.append((error.code, permission, place))


def build_router(own: OrganizationId) -> APIRouter:
    router = APIRouter()

    @router.get("/late")
    async def late(caller: Late, request: Request, what: str = "") -> str:
        entered = await permit_named(request, workspace_id=what)
        assert entered is not caller or not isinstance(caller, UserPrincipal)
        check(entered, Permission.PLAN)
        return entered.actor

    @router.get("/late-by-place")
    async def late_by_place(_: Late, request: Request) -> str:
        return (await permit(request, Place(own, WS), Permission.APPLY)).actor

    @router.get("/forgetful")
    async def forgetful(caller: Late) -> str:
        check(caller, Permission.PLAN)
        return "in"

    @router.get("/by-query")
    @router.get("/by-path/{workspace_id}")
    async def by_either(
        caller: Annotated[Principal, Depends(require(Permission.READ))],
    ) -> str:
        return caller.actor

    @router.get("/seen/{organization}")
    async def seen(
        _: Annotated[Principal, Depends(require(Permission.READ))], request: Request
    ) -> dict[str, object]:
        organizations = await visible_organizations(request)
        return {
            "workspaces": sorted(await visible_workspaces(request) or ()),
            "organizations": len(organizations or ()),
            "reads": [
                name
                for name in ("ws-1", "ws-2", "ws-9", "ws-0")
                if await may_read(request, workspace_id=name)
            ],
        }

    return router


@dataclass
class Known:
    """Bearers by what they are called."""

    callers: dict[str, Principal]

    async def authenticate(self, bearer: str) -> Principal:
        """Whoever has this name."""
        return self.callers[bearer]


@dataclass
class Rig:
    """An application with one member, who has level `plan` in one workspace."""

    http: httpx2.AsyncClient
    trail: Remembered
    here: Place

    async def get(self, path: str, caller: str = "bob") -> tuple[int, Any]:
        """The status, and the detail or answer."""
        headers = {"authorization": f"Bearer {caller}"}
        answer = await self.http.get(path, headers=headers)
        said = answer.json()
        is_problem = answer.status_code >= 400
        return answer.status_code, said["detail"] if is_problem else said


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    transactions = MemoryTransactions()
    store = MemoryAuthStore(transactions)
    people = People(transactions, store)
    own = await people.organization("acme")
    foreign = await people.organization("globex")
    bob = await people.user("bob")
    await people.member(own, bob)
    await people.grant(own, WS, WorkspaceLevel.PLAN, user_id=bob)
    places = {
        "acme": Place(own),
        "ws-1": Place(own, WS),
        "ws-2": Place(own, WorkspaceId("ws-2")),
        "ws-9": Place(foreign, WorkspaceId("ws-9")),
    }

    async def locate(tx: Tx, value: str) -> Place | None:
        return places.get(value)

    app = FastAPI(openapi_url=None)
    app.state.trail = trail = Remembered()
    app.state.access = Access(
        transactions,
        MemoryAccessStore(store.who),
        {
            "organization": Locator("organization", locate),
            "workspace_id": Locator("workspace", locate),
        },
    )
    app.state.authenticator = Known(
        {
            "bob": UserPrincipal(bob, "bob", admin=False),
            "agent": AgentPrincipal(AgentId("agent-1"), PoolId("p"), own),
        }
    )
    install_problem_handlers(app)
    include(app, build_router(own))
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://t") as http:
        yield Rig(http, trail, Place(own, WS))


async def test_a_late_place_lets_in_who_may(rig: Rig) -> None:
    assert await rig.get("/late?what=ws-1") == (200, "bob")
    assert rig.trail.told == [("in", Permission.PLAN, rig.here)]


@pytest.mark.parametrize("name", ["ws-2", "ws-9", "ws-0"])
async def test_a_late_place_is_hidden_from_who_may_not_read_it(
    rig: Rig, name: str
) -> None:
    said = await rig.get(f"/late?what={name}")
    assert said == (404, f"There is no workspace {name}.")
    [(code, permission, _)] = rig.trail.told
    assert (code, permission) == ("not_found", Permission.PLAN)


async def test_a_late_route_may_ask_for_more_than_it_declares(rig: Rig) -> None:
    status, detail = await rig.get("/late-by-place")
    assert (status, "`apply`" in detail) == (403, True)
    assert [told[:2] for told in rig.trail.told] == [("forbidden", Permission.APPLY)]


async def test_who_forgets_to_ask_gets_nothing_done(rig: Rig) -> None:
    """Before it asked, a late route has a caller without any permission."""
    assert (await rig.get("/forgetful"))[0] == 403
    # nor does a query that names a place help
    assert (await rig.get("/forgetful?workspace_id=ws-1"))[0] == 403


async def test_machines_are_judged_before_a_late_route_runs(rig: Rig) -> None:
    status, detail = await rig.get("/late?what=ws-1", "agent")
    assert (status, "`plan`" in detail) == (403, True)


async def test_the_query_says_where_only_if_the_path_does_not(rig: Rig) -> None:
    assert await rig.get("/by-path/ws-1") == (200, "bob")
    assert await rig.get("/by-query?workspace_id=ws-1") == (200, "bob")
    assert (await rig.get("/by-query?workspace_id=ws-9"))[0] == 404
    assert (await rig.get("/by-path/ws-9?workspace_id=ws-1"))[0] == 404
    # the installation as a whole is nobody's to read but the administrators'
    assert (await rig.get("/by-query"))[0] == 403


async def test_lists_learn_what_their_reader_may_see(rig: Rig) -> None:
    status, seen = await rig.get("/seen/acme")
    assert status == 200
    assert seen == {"workspaces": ["ws-1"], "organizations": 1, "reads": ["ws-1"]}
