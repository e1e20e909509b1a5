import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import httpx2
import pytest
from fastapi import FastAPI

from sluice.auth.actions import AuthDeps, create_organization, issue_setup_token
from sluice.auth.api import build_router as auth_router
from sluice.auth.audit import AuditEntry, AuditFilter, AuditLog, Outcome
from sluice.auth.audit_api import AuditDeps, build_router
from sluice.auth.audit_entries import DETAIL_LENGTH, new_entry
from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.authenticator import Authenticator
from sluice.auth.guard import include
from sluice.auth.jwt import TokenIssuer
from sluice.auth.model import Organization
from sluice.auth.ports import AuthStore
from sluice.auth.trail import NoTrail
from sluice.base.errors import SluiceError
from sluice.base.ids import OrganizationId
from sluice.base.paging import Page
from sluice.db.engine import open_database
from sluice.db.migrate import upgrade
from sluice.edge.problems import install_problem_handlers
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.testing.open_access import OpenAccess
from tests.auth.conftest import TurnedClock
from tests.auth.test_api import NoLease
from tests.conftest import Backing

ORG = OrganizationId("org-1")
ALL = AuditFilter()


@pytest.fixture
def log(transactions: Backing) -> AuditLog:
    if transactions.kind == "memory":
        return MemoryAuditLog(transactions.memory)
    return SqlAuditLog()


def entries(clock: TurnedClock) -> list[AuditEntry]:
    """Five entries of several callers, organizations and things."""
    return [
        new_entry(clock, actor=actor, action=action, subject=subject, **rest)
        for actor, action, subject, rest in (
            ("ada", "run_task.create", "rt-1", {"organization_id": ORG}),
            ("bob", "run_task.delete", "rt-1", {"organization_id": ORG}),
            ("ada", "run_task_result.override", "rtr-1", {"organization_id": ORG}),
            ("ada", "Run_Task.create", "rt-2", {}),
            ("server", "keys.rotate", "", {"detail": {"variables": "3"}}),
        )
    ]


async def kept(
    backing: Backing, log: AuditLog, which: AuditFilter, page: Page | None = None
) -> tuple[list[AuditEntry], int]:
    async with backing.transactions.read() as tx:
        return await log.page(tx, which, page or Page())


async def test_entries_come_back_whole_the_last_first(
    transactions: Backing, log: AuditLog, clock: TurnedClock
) -> None:
    assert await kept(transactions, log, ALL) == ([], 0)
    made = entries(clock)
    clock.turn(seconds=-60)
    made.append(new_entry(clock, actor="eve", action="x.y", subject="late clock"))
    async with transactions.transactions.write() as tx:
        for entry in made:
            await log.append(tx, entry)
    assert await kept(transactions, log, ALL) == (made[::-1], 6)
    found, total = await kept(transactions, log, ALL, Page(limit=2, offset=1))
    assert (found, total) == ([made[4], made[3]], 6)
    async with transactions.transactions.read() as tx:
        found, total = await log.page(tx, ALL, Page(limit=2), before=3)
    assert (found, total) == ([made[1], made[0]], 6)


@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        (AuditFilter(organization_id=ORG), {0, 1, 2}),
        (AuditFilter(organization_id=OrganizationId("org-2")), set()),
        (AuditFilter(action="run_task"), {0, 1, 2}),
        (AuditFilter(action="run_task."), {0, 1}),
        (AuditFilter(action="run%"), set()),
        (AuditFilter(action="run_task.create"), {0}),
        (AuditFilter(actor="ada"), {0, 2, 3}),
        (AuditFilter(actor="ad"), set()),
        (AuditFilter(subject="rt-1"), {0, 1}),
        (AuditFilter(outcome=Outcome.DENIED), set()),
        (AuditFilter(outcome=Outcome.ALLOWED, subject="rt-2"), {3}),
        (AuditFilter(address="192.0.2.1"), set()),
        (AuditFilter(organization_id=ORG, actor="ada", action="run_task."), {0}),
    ],
)
async def test_entries_are_found_by_what_is_asked(
    transactions: Backing,
    log: AuditLog,
    clock: TurnedClock,
    which: AuditFilter,
    wanted: set[int],
) -> None:
    made = entries(clock)
    async with transactions.transactions.write() as tx:
        for entry in made:
            await log.append(tx, entry)
    found, total = await kept(transactions, log, which)
    assert {made.index(entry) for entry in found} == wanted
    assert total == len(wanted)


async def test_an_entry_is_gone_with_its_transaction(
    transactions: Backing, log: AuditLog, clock: TurnedClock
) -> None:
    async def fail_after_it() -> None:
        async with transactions.transactions.write() as tx:
            await log.append(tx, entries(clock)[0])
            raise SluiceError("undone")

    with pytest.raises(SluiceError, match="undone"):
        await fail_after_it()
    assert await kept(transactions, log, ALL) == ([], 0)


def test_details_can_be_stored_and_are_no_documents(clock: TurnedClock) -> None:
    detail = {"name": "a\0b", "message": "x" * 10_000}
    entry = new_entry(clock, actor="a", action="a.b", subject="s", detail=detail)
    assert entry.detail["name"] == "a\ufffdb"
    assert len(entry.detail["message"]) == DETAIL_LENGTH
    assert entry.detail["message"].endswith("x…")
    assert (entry.at, entry.organization_id) == (clock.now(), None)
    assert entry.id.startswith("audit-")


async def test_the_migrated_table_numbers_its_rows(
    empty_database_url: str, clock: TurnedClock
) -> None:
    await upgrade(empty_database_url)
    database = open_database(empty_database_url)
    made = entries(clock)
    log = SqlAuditLog()
    for entry in made:
        async with database.write() as tx:
            await log.append(tx, entry)
    async with database.read() as tx:
        assert await log.page(tx, ALL, Page()) == (made[::-1], 5)
    await database.close()


# --- the route -------------------------------------------------------------------


@pytest.fixture
def deps(transactions: Backing, store: AuthStore, clock: TurnedClock) -> AuthDeps:
    issuer = TokenIssuer([bytes(32)], clock)
    return AuthDeps(transactions.transactions, store, issuer, clock)


@pytest.fixture
async def admin(deps: AuthDeps, log: AuditLog) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the routes of callers and of the audit log, signed in as `ada`."""
    app = FastAPI(openapi_url=None)
    app.state.access = OpenAccess()
    app.state.trail = NoTrail()
    app.state.authenticator = Authenticator(
        deps.transactions, deps.store, deps.issuer, NoLease(), deps.clock
    )
    install_problem_handlers(app)
    include(app, auth_router(deps))
    include(app, build_router(AuditDeps(deps, log)))
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://t/api/v1"
    ) as client:
        body = {"token": await issue_setup_token(deps), "name": "ada"}
        made = (await client.post("/auth/setup", json=body)).json()
        client.headers["authorization"] = f"Bearer {made['token']}"
        yield client


@pytest.fixture
async def acme(deps: AuthDeps) -> Organization:
    return await create_organization(deps, name="acme")


async def test_administrators_read_the_log(
    admin: httpx2.AsyncClient,
    acme: Organization,
    deps: AuthDeps,
    log: AuditLog,
    clock: TurnedClock,
) -> None:
    made = [
        new_entry(
            clock,
            actor="ada",
            action="run_task.create",
            subject=f"rt-{number}",
            organization_id=acme.id,
            detail={"name": "checkov"},
        )
        for number in range(3)
    ]
    made.append(new_entry(clock, actor="server", action="keys.rotate", subject="x"))
    async with deps.transactions.write() as tx:
        for entry in made:
            await log.append(tx, entry)
    answer = await admin.get("/audit", params={"limit": 2})
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["total"], shown["limit"], shown["offset"]) == (4, 2, 0)
    assert [entry["subject"] for entry in shown["entries"]] == ["x", "rt-2"]
    assert shown["next"] == 3
    hashes = {shown["entries"][1].pop(name) for name in ("hash", "previous_hash")}
    assert {len(text) for text in hashes} == {64}
    assert shown["entries"][1] == {
        "number": 3,
        "id": made[2].id,
        "at": "2026-11-21T10:00:00Z",
        "organization_id": acme.id,
        "actor": "ada",
        "action": "run_task.create",
        "subject": "rt-2",
        "detail": {"name": "checkov"},
        "actor_id": "",
        "outcome": "allowed",
        "address": "",
        "request_id": "",
    }
    for given in (acme.id, "acme"):
        owned = await admin.get("/audit", params={"organization_id": given})
        assert owned.json()["total"] == 3
    for params, total in (
        ({"action": "keys."}, 1),
        ({"actor": "ada"}, 3),
        ({"subject": "rt-1"}, 1),
        ({"subject": "rt-1", "actor": "server"}, 0),
        ({"offset": "3"}, 4),
        ({"before": "3"}, 4),
        ({"outcome": "allowed"}, 4),
        ({"outcome": "denied"}, 0),
        ({"address": "192.0.2.1"}, 0),
        ({"from": "2026-11-21T10:00:00Z"}, 4),
        ({"from": "2026-11-21T10:00:01Z"}, 0),
        ({"to": "2026-11-21T10:00:00Z"}, 0),
        ({"to": "2026-11-21T12:00:01+02:00"}, 4),
    ):
        assert (await admin.get("/audit", params=params)).json()["total"] == total


async def test_the_log_is_exported_and_goes_on_from_a_number(
    admin: httpx2.AsyncClient, deps: AuthDeps, log: AuditLog, clock: TurnedClock
) -> None:
    async with deps.transactions.write() as tx:
        for entry in entries(clock):
            await log.append(tx, entry)
    answer = await admin.get("/audit/export")
    assert answer.headers["content-type"] == "application/jsonl"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["number"] for line in lines] == [1, 2, 3, 4, 5]
    head = (await admin.get("/audit/head")).json()
    assert head == {"number": 5, "hash": lines[-1]["hash"]}
    rest = await admin.get("/audit/export", params={"after": 3, "actor": "ada"})
    assert [json.loads(line) for line in rest.text.splitlines()] == [lines[3]]
    assert (await admin.get("/audit/export", params={"after": 5})).text == ""


@pytest.mark.parametrize(
    ("params", "status", "named"),
    [
        ({"organization_id": "none"}, 404, "none"),
        ({"organization_id": ""}, 422, "organization_id"),
        ({"limit": "101"}, 422, "limit"),
        ({"offset": "-1"}, 422, "offset"),
        ({"before": "0"}, 422, "before"),
        ({"outcome": "maybe"}, 422, "outcome"),
        ({"from": "yesterday"}, 422, "from"),
        ({"to": "0001-01-01T00:00:00+14:00"}, 422, "time"),
    ],
)
async def test_what_cannot_be_asked_is_named(
    admin: httpx2.AsyncClient, params: dict[str, str], status: int, named: str
) -> None:
    answer = await admin.get("/audit", params=params)
    assert answer.status_code == status
    assert named in answer.text


async def test_others_do_not_read_the_log(admin: httpx2.AsyncClient) -> None:
    bob = (await admin.post("/users", json={"name": "bob"})).json()
    token = (await admin.post(f"/users/{bob['id']}/tokens", json={"name": "x"})).json()
    for params, status in (({}, 403), ({"organization_id": "none"}, 404)):
        headers = {"authorization": f"Bearer {token['token']}"}
        answer = await admin.get("/audit", params=params, headers=headers)
        assert answer.status_code == status
    answer = await admin.get("/audit", headers={"authorization": ""})
    assert answer.status_code == 401


def test_times_of_entries_are_the_clocks(clock: TurnedClock) -> None:
    entry = new_entry(clock, actor="a", action="a.b", subject="s")
    assert entry.at == datetime(2026, 11, 21, 10, tzinfo=UTC)
