"""A server with a user who has a password, and clients that behave as browsers do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from sluice.server.serving import Serving
from tests.server.conftest import signed_in

NAME = "grace"
PASSWORD = "four words make sense"
COOKIE = "sluice_session"


async def put_user(admin: httpx2.AsyncClient, *, name: str = NAME) -> str:
    """A user with `PASSWORD`; their id."""
    made = await admin.post("/api/v1/users", json={"name": name})
    made.raise_for_status()
    user_id: str = made.json()["id"]
    answer = await admin.post(
        f"/api/v1/users/{user_id}/password", json={"new_password": PASSWORD}
    )
    assert answer.status_code == 204, answer.text
    return user_id


async def log_in(
    client: httpx2.AsyncClient, *, name: str = NAME, password: str = PASSWORD
) -> httpx2.Response:
    """Sign in as a page does; the client keeps the cookie, and sends the CSRF token."""
    answer = await client.post(
        "/api/v1/auth/login", json={"name": name, "password": password}
    )
    if answer.status_code == 200:
        client.headers["x-csrf-token"] = answer.json()["csrf_token"]
    return answer


@asynccontextmanager
async def page(server: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser's client: it keeps cookies and names its page's origin."""
    async with httpx2.AsyncClient(
        base_url=server.url,
        trust_env=False,
        timeout=40,
        headers={"origin": server.url, "sec-fetch-site": "same-origin"},
    ) as client:
        yield client


@asynccontextmanager
async def admin_of(server: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the first administrator."""
    async with signed_in(server) as client:
        yield client
