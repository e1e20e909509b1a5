"""Open streams end soon after their caller's rights have, on every server, without Redis."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin

from sluice.base.ids import TokenId, UserId
from sluice.server.serving import Serving, serving
from sluice.server.settings import ServerSettings
from tests.server.conftest import signed_in
from tests.server.sign_in_rig import COOKIE, NAME, PASSWORD, log_in, page, put_user

WAIT = 60


@dataclass
class Place:
    """Two servers on one database, a task that waits, and its viewer's page."""

    first: Serving
    second: Serving
    admin: httpx2.AsyncClient
    browser: httpx2.AsyncClient
    user_id: str
    task_id: str

    @property
    def path(self) -> str:
        return f"/api/v1/tasks/{self.task_id}/output/stream"

    @property
    def cookie(self) -> str:
        return self.browser.cookies[COOKIE]

    @asynccontextmanager
    async def by_cookie(self, server: Serving) -> AsyncIterator[ClientConnection]:
        """A page's WebSocket, past its first frame."""
        headers = {"Cookie": f"{COOKIE}={self.cookie}"}
        async with opened(server, self.path, headers, server.url) as socket:
            yield socket

    @asynccontextmanager
    async def by_token(
        self, server: Serving, token: str
    ) -> AsyncIterator[ClientConnection]:
        """A program's WebSocket, past its first frame."""
        headers = {"Authorization": f"Bearer {token}"}
        async with opened(server, self.path, headers, None) as socket:
            yield socket

    async def token(self) -> str:
        """An API token of the viewer's."""
        made = await self.browser.post("/api/v1/tokens", json={"name": "t"})
        assert made.status_code == 201, made.text
        found: str = made.json()["token"]
        return found


@asynccontextmanager
async def opened(
    server: Serving, path: str, headers: dict[str, str], origin: str | None
) -> AsyncIterator[ClientConnection]:
    address = server.url.replace("http", "ws", 1) + path
    async with connect(
        address,
        additional_headers=headers,
        origin=None if origin is None else Origin(origin),
        proxy=None,
    ) as socket:
        async with asyncio.timeout(WAIT):
            assert json.loads(await socket.recv())["type"] == "connected"
        yield socket


async def ended(socket: ClientConnection) -> tuple[int, str, str]:
    """Close code, reason, and the code of the last frame; within 5 s and what CI needs."""
    last = ""
    async with asyncio.timeout(WAIT):
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                said = json.loads(message)
                last = said.get("code", "") if said["type"] == "stream_error" else ""
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or "", last


@pytest.fixture
async def place(settings: ServerSettings) -> AsyncIterator[Place]:
    many = settings.model_copy(
        update={"streams_per_user": 100, "streams_per_minute_per_address": 1000}
    )
    async with (
        serving(many) as first,
        serving(many) as second,
        signed_in(first) as admin,
        page(first) as browser,
    ):
        user_id = await put_user(admin)
        joined = await admin.post(
            "/api/v1/organizations/default/members",
            json={"user": NAME, "role": "member"},
        )
        assert joined.status_code == 201, joined.text
        await log_in(browser)
        yield Place(first, second, admin, browser, user_id, await waiting_task(admin))


async def waiting_task(admin: httpx2.AsyncClient) -> str:
    """A script's task in a pool without agents: its stream stays open."""
    pool = await admin.post(
        "/api/v1/organizations/default/pools", json={"name": "empty"}
    )
    assert pool.status_code == 201, pool.text
    made = await admin.post(
        "/api/v1/organizations/default/scripts",
        json={"key": "wait", "body": "#!/bin/sh\n", "pool_id": pool.json()["id"]},
    )
    assert made.status_code == 201, made.text
    started = await admin.post("/v1/soft/install", json={"key": "wait"})
    assert started.status_code < 300, started.text
    found: str = started.json()["task_id"]
    return found


async def log_out(place: Place) -> None:
    assert (await place.browser.post("/api/v1/auth/logout")).status_code == 204


async def disable(place: Place) -> None:
    path = f"/api/v1/users/{place.user_id}/disable"
    assert (await place.admin.post(path)).status_code == 200


async def take_out(place: Place) -> None:
    path = f"/api/v1/organizations/default/members/{place.user_id}"
    assert (await place.admin.delete(path)).status_code == 204


async def new_password(place: Place) -> None:
    answer = await place.admin.post(
        f"/api/v1/users/{place.user_id}/password",
        json={"new_password": PASSWORD + " more"},
    )
    assert answer.status_code == 204


async def expire(place: Place) -> None:
    """The session's end comes, as after its hours."""
    deps = place.first.concepts.auth
    from sqlalchemy import update

    from sluice.auth.tables import tokens
    from sluice.db.engine import connection_of

    async with deps.transactions.write() as tx:
        past = deps.clock.now() - timedelta(seconds=1)
        await connection_of(tx).execute(
            update(tokens).where(tokens.c.kind == "session").values(expires_at=past)
        )


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (log_out, 4401),
        (disable, 4401),
        (take_out, 4403),
        (new_password, 4401),
        (expire, 4401),
    ],
)
async def test_what_ends_a_right_ends_streams_on_both_servers(
    place: Place, event: Callable[[Place], Awaitable[None]], code: int
) -> None:
    async with (
        place.by_cookie(place.first) as one,
        place.by_cookie(place.second) as two,
    ):
        await event(place)
        for socket in (one, two):
            closed, reason, last = await ended(socket)
            assert closed == code
            assert reason
            assert last == {4401: "unauthorized", 4403: "forbidden"}[code]


async def test_others_streams_go_on(place: Place) -> None:
    token = await place.token()
    async with (
        place.by_cookie(place.first) as gone,
        place.by_token(place.first, token) as stays,
    ):
        await log_out(place)
        assert (await ended(gone))[0] == 4401
        await place.first.concepts.signing_in.live.look()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await stays.recv()


async def test_a_revoked_token_ends_its_streams_and_its_jwts(place: Place) -> None:
    token = await place.token()
    bearer = {"authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(
        base_url=place.first.url, trust_env=False, timeout=40
    ) as client:
        jwt = (await client.post("/api/v1/auth/token", headers=bearer)).json()["token"]
        async with (
            place.by_token(place.second, token) as one,
            place.by_token(place.first, jwt) as two,
        ):
            out = await client.post("/api/v1/auth/logout", headers=bearer)
            assert out.status_code == 204
            assert (await ended(one))[0] == 4401
            assert (await ended(two))[0] == 4401


@pytest.mark.parametrize("query", ["output/sse", "output/follow"])
async def test_streams_over_http_end_too(place: Place, query: str) -> None:
    path = f"/api/v1/tasks/{place.task_id}/{query}"
    said = b""
    whole = True
    headers = {"accept": "text/event-stream"}
    async with asyncio.timeout(WAIT):
        async with place.browser.stream("GET", path, headers=headers) as answer:
            assert answer.status_code == 200
            await log_out(place)
            try:
                async for piece in answer.aiter_raw():
                    said += piece
            except httpx2.RemoteProtocolError:
                whole = False
    assert b"completed" not in said
    if query == "output/sse":
        assert b"unauthorized" in said
    else:
        assert not whole


async def test_a_ticket_opens_one_socket_once(place: Place) -> None:
    made = await place.browser.post("/api/v1/auth/tickets")
    assert made.status_code == 201, made.text
    ticket = made.json()["ticket"]
    assert ticket.startswith("slt_")
    async with opened(place.second, f"{place.path}?ticket={ticket}", {}, None) as one:
        status, body = await refusal(place.first, f"{place.path}?ticket={ticket}")
        assert status == 401
        assert ticket not in body
        await log_out(place)
        assert (await ended(one))[0] == 4401


async def test_a_ticket_is_redeemed_by_one_of_many(place: Place) -> None:
    ticket = (await place.browser.post("/api/v1/auth/tickets")).json()["ticket"]
    servers = [place.first, place.second] * 3
    found = await asyncio.gather(
        *(refusal(server, f"{place.path}?ticket={ticket}") for server in servers)
    )
    assert sorted(status for status, _ in found) == [101] + [401] * 5


async def test_where_a_ticket_opens_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    ticket = (await place.browser.post("/api/v1/auth/tickets")).json()["ticket"]
    token = await place.token()
    async with httpx2.AsyncClient(
        base_url=place.first.url, trust_env=False, timeout=40
    ) as client:
        plain = await client.get(f"/api/v1/auth/me?ticket={ticket}")
        assert plain.status_code == 401
        bearer = {"authorization": f"Bearer {ticket}"}
        assert (await client.get("/api/v1/auth/me", headers=bearer)).status_code == 401
    for query in (
        f"ticket={token}",
        f"token={token}",
        f"access_token={token}",
        f"ticket={place.cookie}",
        "ticket=slt_unknown",
        "ticket=",
    ):
        status, body = await refusal(place.first, f"{place.path}?{query}")
        assert status == 401, query
        assert query.partition("=")[2] not in body or query == "ticket="
    await log_out(place)
    status, _ = await refusal(place.first, f"{place.path}?ticket={ticket}")
    assert status == 401
    shown = "".join(capsys.readouterr())
    assert ticket not in shown
    assert token not in shown


async def test_a_late_ticket_opens_nothing(place: Place) -> None:
    ticket = (await place.browser.post("/api/v1/auth/tickets")).json()["ticket"]
    from sqlalchemy import update

    from sluice.auth.tables import tokens
    from sluice.db.engine import connection_of

    deps = place.first.concepts.auth
    async with deps.transactions.write() as tx:
        await connection_of(tx).execute(
            update(tokens)
            .where(tokens.c.kind == "ticket")
            .values(expires_at=tokens.c.created_at)
        )
    status, _ = await refusal(place.first, f"{place.path}?ticket={ticket}")
    assert status == 401


@pytest.mark.parametrize("origin", [None, "https://evil.example.com", "null"])
async def test_the_cookie_opens_sockets_of_known_pages_alone(
    place: Place, origin: str | None
) -> None:
    headers = {"Cookie": f"{COOKIE}={place.cookie}"}
    status, _ = await refusal(place.first, place.path, headers, origin)
    assert status == 403


async def refusal(
    server: Serving,
    path: str,
    headers: dict[str, str] | None = None,
    origin: str | None = None,
) -> tuple[int, str]:
    """Status and body of a handshake; 101 where it is taken."""
    try:
        async with opened(server, path, headers or {}, origin):
            return 101, ""
    except InvalidStatus as refused:
        response = refused.response
        return response.status_code, bytes(response.body or b"").decode()


async def test_many_viewers_are_judged_by_few_queries(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 of one token are one; 2,000 tokens are some queries, however many places."""
    live = place.first.concepts.signing_in.live
    auth = place.first.concepts.auth
    from sluice.auth.access import Access
    from sluice.auth.model import StoredToken, TokenKind, UserPrincipal
    from sluice.auth.permissions import Permission

    async with auth.transactions.write() as tx:
        now = auth.clock.now()
        for number in range(2000):
            await auth.store.add_token(
                tx,
                StoredToken(
                    TokenId(f"tok-{number}"),
                    TokenKind.USER,
                    place.user_id,
                    None,
                    "t",
                    f"hash-{number}",
                    now,
                ),
            )
    access: Access = place.first.concepts.access
    caller = UserPrincipal(UserId(place.user_id), NAME, admin=False)
    _, where = await access.enter(caller, {"task_id": place.task_id})
    told: list[int] = []

    class Connection:
        """As much of a request as a look needs."""

        def __init__(self, number: int) -> None:
            principal = replace(caller, credential_id=TokenId(f"tok-{number}"))
            self.state = self
            self.principal = principal
            self.place = where
            self.permission = Permission.READ

    from contextlib import ExitStack

    queries = 0
    from sqlalchemy import event

    engine = auth.transactions.engine.sync_engine  # type: ignore[attr-defined]

    def count(*_: object) -> None:
        nonlocal queries
        queries += 1

    with ExitStack() as stack:
        for number in range(2000):
            for same in (0, number):
                stack.enter_context(
                    live.watch(
                        Connection(same),  # type: ignore[arg-type]
                        lambda _, number=number: told.append(number),  # type: ignore[misc]
                    )
                )
        assert len(live) == 2000
        event.listen(engine, "before_cursor_execute", count)
        try:
            await live.look()
        finally:
            event.remove(engine, "before_cursor_execute", count)
        assert told == []
        async with auth.transactions.write() as tx:
            await auth.store.revoke_token(tx, TokenId("tok-7"), auth.clock.now())
        await live.look()
        assert set(told) == {7}
    # other loops of the server may ask something meanwhile
    assert queries < 40
    assert len(live) == 0
