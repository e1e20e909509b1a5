"""Which transaction carries the entry of a request, on every kind of transactions."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sluice.auth.audit import AuditEntry, AuditFilter, AuditLog
from sluice.auth.audit_calls import about, aside
from sluice.auth.audit_entries import new_entry
from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.audit_trail import AuditTrail, RecordCalls
from sluice.auth.model import SITE, UserPrincipal
from sluice.auth.permissions import Permission
from sluice.base.errors import ConflictError
from sluice.base.ids import TokenId, UserId
from sluice.testing.memory_audit import MemoryAuditLog
from tests.auth.conftest import TurnedClock
from tests.conftest import Backing

ANN = UserPrincipal(
    UserId("user-1"), "ann", admin=False, credential_id=TokenId("tok-1")
)
Endpoint = Callable[[Request], Awaitable[Response]]


class Rig:
    """Routes of one test behind the layer that records calls."""

    def __init__(self, backing: Backing, clock: TurnedClock) -> None:
        self.transactions = backing.transactions
        self.clock = clock
        self.log: AuditLog = SqlAuditLog()
        if backing.kind == "memory":
            self.log = MemoryAuditLog(backing.memory)
        self.trail = AuditTrail(self.log, self.transactions, clock)
        self.transactions.watch = self.trail

    @asynccontextmanager
    async def asked(self, create_thing: Endpoint) -> AsyncIterator[Response]:
        """The answer of a route that lets `ann` in and then does what a test says."""

        async def guarded(request: Request) -> Response:
            request.scope["endpoint"] = create_thing
            self.trail.begin(request, ANN, Permission.PLAN, SITE)
            return await create_thing(request)

        app = Starlette(routes=[Route("/things/{thing_id}", guarded, methods=["POST"])])
        app.add_middleware(RecordCalls, trail=self.trail)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(
            transport=transport, base_url="http://t"
        ) as client:
            yield await client.post("/things/thing-1")  # type: ignore[misc]

    async def write(self) -> None:
        async with self.transactions.write():
            pass

    async def kept(self) -> list[AuditEntry]:
        async with self.transactions.read() as tx:
            return list(await self.log.after(tx, AuditFilter(), number=0, limit=100))


@pytest.fixture
def rig(transactions: Backing, clock: TurnedClock) -> Rig:
    return Rig(transactions, clock)


async def test_the_first_transaction_carries_the_entry(rig: Rig) -> None:
    seen: list[int] = []

    async def create_thing(request: Request) -> Response:
        await rig.write()
        seen.append(len(await rig.kept()))
        await rig.write()
        return PlainTextResponse("done")

    async with rig.asked(create_thing):
        [entry] = await rig.kept()
    assert seen == [1]
    assert (entry.actor, entry.actor_id) == ("ann", "user-1")
    assert (entry.action, entry.subject) == ("thing.create", "thing-1")
    assert entry.address == "127.0.0.1"
    assert entry.detail["credential_id"] == "tok-1"


async def test_what_is_rolled_back_carries_nothing(rig: Rig) -> None:
    async def create_thing(request: Request) -> Response:
        with pytest.raises(ConflictError):
            await fails()
        assert await rig.kept() == []
        await rig.write()
        return PlainTextResponse("done")

    async def fails() -> None:
        async with rig.transactions.write() as tx:
            entry = new_entry(rig.clock, actor="ann", action="a.b", subject="s")
            await rig.log.append(tx, entry)
            raise ConflictError("no")

    async with rig.asked(create_thing):
        assert [one.action for one in await rig.kept()] == ["thing.create"]


async def test_what_writes_nothing_is_an_entry_before_the_answer(rig: Rig) -> None:
    async def create_thing(request: Request) -> Response:
        return PlainTextResponse("done")

    async with rig.asked(create_thing):
        assert [one.action for one in await rig.kept()] == ["thing.create"]


@pytest.mark.parametrize("status", [400, 409, 500])
async def test_what_fails_is_no_entry(rig: Rig, status: int) -> None:
    async def create_thing(request: Request) -> Response:
        return PlainTextResponse("no", status)

    async with rig.asked(create_thing):
        assert await rig.kept() == []


async def test_what_the_route_itself_forbids_is_denied(rig: Rig) -> None:
    async def create_thing(request: Request) -> Response:
        return PlainTextResponse("no", 403)

    async with rig.asked(create_thing):
        [entry] = await rig.kept()
    assert (entry.action, entry.outcome) == ("thing.create", "denied")


async def test_an_entry_of_the_actions_own_takes_its_place(rig: Rig) -> None:
    async def create_thing(request: Request) -> Response:
        async with rig.transactions.write() as tx:
            entry = new_entry(
                rig.clock, actor="ann", action="odd.do", subject="s", detail={"a": "b"}
            )
            await rig.log.append(tx, entry)
        await rig.write()
        return PlainTextResponse("done")

    async with rig.asked(create_thing):
        [entry] = await rig.kept()
    assert (entry.action, entry.actor_id) == ("odd.do", "user-1")
    assert entry.address == "127.0.0.1"
    assert entry.detail["a"] == "b"


async def test_a_first_look_carries_nothing(rig: Rig) -> None:
    async def create_thing(request: Request) -> Response:
        with aside():
            await rig.write()
        assert await rig.kept() == []
        about("thing-2", name="x")
        await rig.write()
        return PlainTextResponse("done")

    async with rig.asked(create_thing):
        [entry] = await rig.kept()
    assert (entry.subject, entry.detail["name"]) == ("thing-2", "x")


async def test_what_a_request_starts_carries_nothing(rig: Rig) -> None:
    """Neither while it runs nor after its answer."""
    counts: list[int] = []

    async def create_thing(request: Request) -> Response:
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.write())
        counts.append(len(await rig.kept()))
        return PlainTextResponse("done", background=BackgroundTask(after))

    async def after() -> None:
        await rig.write()
        about("too late")
        counts.append(len(await rig.kept()))

    async with rig.asked(create_thing):
        assert [one.subject for one in await rig.kept()] == ["thing-1"]
    assert counts == [0, 1]


async def test_outside_of_requests_nothing_is_carried(rig: Rig) -> None:
    await rig.write()
    about("nobody's")
    assert await rig.kept() == []
