from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from sluice.auth.actions import (
    AuthDeps,
    create_organization,
    issue_setup_token,
    list_organizations,
)
from sluice.auth.api import build_router
from sluice.auth.authenticator import Authenticator
from sluice.auth.guard import include
from sluice.auth.jwt import TokenIssuer
from sluice.auth.ports import AuthStore
from sluice.auth.trail import NoTrail
from sluice.base.ids import LeaseId, TaskId
from sluice.edge.problems import install_problem_handlers
from sluice.testing.open_access import OpenAccess
from tests.auth.conftest import TurnedClock
from tests.conftest import Backing


class NoLease:
    async def is_current(self, task_id: TaskId, lease_id: LeaseId) -> bool:
        return False


@pytest.fixture
def deps(transactions: Backing, store: AuthStore, clock: TurnedClock) -> AuthDeps:
    issuer = TokenIssuer([bytes(32)], clock)
    return AuthDeps(transactions.transactions, store, issuer, clock)


@pytest.fixture
async def client(deps: AuthDeps) -> AsyncIterator[httpx2.AsyncClient]:
    app = FastAPI(openapi_url=None)
    app.state.access = OpenAccess()
    app.state.trail = NoTrail()
    app.state.authenticator = Authenticator(
        deps.transactions, deps.store, deps.issuer, NoLease(), deps.clock
    )
    install_problem_handlers(app)
    include(app, build_router(deps))
    transport = httpx2.ASGITransport(app)
    base = "http://t/api/v1"
    async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
        yield client


@pytest.fixture
async def admin(client: httpx2.AsyncClient, deps: AuthDeps) -> httpx2.AsyncClient:
    secret = await issue_setup_token(deps)
    answer = await client.post("/auth/setup", json={"token": secret, "name": "ada"})
    assert answer.status_code == 201
    client.headers["authorization"] = f"Bearer {answer.json()['token']}"
    return client


async def test_the_setup_token_makes_one_admin_and_then_nothing(
    client: httpx2.AsyncClient, deps: AuthDeps
) -> None:
    secret = await issue_setup_token(deps)
    body = {"token": secret, "name": "ada"}
    first = await client.post("/auth/setup", json=body)
    assert first.status_code == 201
    second = await client.post("/auth/setup", json={**body, "name": "eve"})
    assert second.status_code == 401
    headers = {"authorization": f"Bearer {first.json()['token']}"}
    me = (await client.get("/auth/me", headers=headers)).json()
    assert {"admin", "manage_own"} <= set(me.pop("permissions"))
    assert me == {
        "id": first.json()["user_id"],
        "name": "ada",
        "kind": "user",
        "admin": True,
    }
    assert await issue_setup_token(deps) is None


async def test_of_two_starts_tokens_whichever_comes_first_ends_both(
    client: httpx2.AsyncClient, deps: AuthDeps
) -> None:
    former = await issue_setup_token(deps)
    present = await issue_setup_token(deps)
    taken = await client.post("/auth/setup", json={"token": former, "name": "ada"})
    assert taken.status_code == 201
    refused = await client.post("/auth/setup", json={"token": present, "name": "eve"})
    assert refused.status_code == 401


async def test_the_first_admin_finds_an_organization(
    admin: httpx2.AsyncClient,
) -> None:
    found = (await admin.get("/organizations")).json()
    assert [item["name"] for item in found] == ["default"]


async def test_setup_leaves_organizations_as_they_are(
    client: httpx2.AsyncClient, deps: AuthDeps
) -> None:
    await create_organization(deps, name="acme")
    secret = await issue_setup_token(deps)
    answer = await client.post("/auth/setup", json={"token": secret, "name": "ada"})
    assert answer.status_code == 201
    assert [item.name for item in await list_organizations(deps)] == ["acme"]


async def test_a_setup_token_ends_after_a_day(
    client: httpx2.AsyncClient, deps: AuthDeps, clock: TurnedClock
) -> None:
    token = await issue_setup_token(deps)
    clock.turn(hours=24)
    late = await client.post("/auth/setup", json={"token": token})
    assert late.status_code == 401
    fresh = await issue_setup_token(deps)
    taken = await client.post("/auth/setup", json={"token": fresh})
    assert taken.status_code == 201


async def test_an_api_token_is_no_setup_token(admin: httpx2.AsyncClient) -> None:
    secret = admin.headers["authorization"].removeprefix("Bearer ")
    answer = await admin.post("/auth/setup", json={"token": secret})
    assert answer.status_code == 401


async def test_an_api_token_buys_a_jwt(admin: httpx2.AsyncClient) -> None:
    answer = await admin.post("/auth/token")
    assert answer.status_code == 200
    headers = {"authorization": f"Bearer {answer.json()['token']}"}
    me = await admin.get("/auth/me", headers=headers)
    assert me.json()["name"] == "ada"


async def test_own_tokens_are_made_listed_and_revoked(
    admin: httpx2.AsyncClient, clock: TurnedClock
) -> None:
    clock.turn(seconds=1)
    body = {"name": "ci", "expires_in_days": 30}
    made = await admin.post("/tokens", json=body)
    assert made.status_code == 201
    listed = (await admin.get("/tokens")).json()
    assert [token["name"] for token in listed] == ["first", "ci"]
    assert "token" not in listed[0]
    assert "hash" not in listed[0]
    headers = {"authorization": f"Bearer {made.json()['token']}"}
    assert (await admin.get("/auth/me", headers=headers)).status_code == 200
    gone = await admin.delete(f"/tokens/{made.json()['id']}")
    assert gone.status_code == 204
    assert (await admin.get("/auth/me", headers=headers)).status_code == 401
    again = await admin.delete(f"/tokens/{made.json()['id']}")
    assert again.status_code == 404


async def test_nobody_revokes_anothers_token(admin: httpx2.AsyncClient) -> None:
    bob = (await admin.post("/users", json={"name": "bob"})).json()
    token = (await admin.post(f"/users/{bob['id']}/tokens", json={"name": "x"})).json()
    assert (await admin.delete(f"/tokens/{token['id']}")).status_code == 404


async def test_users_are_made_by_admins_alone(admin: httpx2.AsyncClient) -> None:
    bob = (await admin.post("/users", json={"name": "bob"})).json()
    assert bob["admin"] is False
    taken = await admin.post("/users", json={"name": "bob"})
    assert (taken.status_code, taken.json()["code"]) == (409, "conflict")
    listed = (await admin.get("/users")).json()
    assert [user["name"] for user in listed] == ["ada", "bob"]
    token = (await admin.post(f"/users/{bob['id']}/tokens", json={"name": "x"})).json()
    headers = {"authorization": f"Bearer {token['token']}"}
    for method, path in [("GET", "/users"), ("POST", "/users")]:
        body = {"name": "eve"} if method == "POST" else None
        answer = await admin.request(method, path, headers=headers, json=body)
        assert answer.status_code == 403
    missing = await admin.post("/users/user-none/tokens", json={"name": "x"})
    assert missing.status_code == 404


async def test_organizations_are_found_by_id_and_by_name(
    admin: httpx2.AsyncClient,
) -> None:
    made = await admin.post("/organizations", json={"name": "acme"})
    assert made.status_code == 201
    acme = made.json()
    assert (await admin.get("/organizations/acme")).json() == acme
    assert (await admin.get(f"/organizations/{acme['id']}")).json() == acme
    assert acme in (await admin.get("/organizations")).json()
    assert (await admin.get("/organizations/none")).status_code == 404
    taken = await admin.post("/organizations", json={"name": "acme"})
    assert taken.status_code == 409


async def test_a_bad_body_names_its_field(admin: httpx2.AsyncClient) -> None:
    answer = await admin.post("/organizations", json={"name": "a b", "color": 1})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "invalid_input"
    assert {fault["field"] for fault in problem["errors"]} == {"name", "color"}
