"""Workspaces, configurations and state wired together on one database, with their routes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
from fastapi import FastAPI

from sluice.agents.model import Pool
from sluice.agents.ports import AgentStore
from sluice.agents.store import SqlAgentStore
from sluice.auth.guard import include
from sluice.auth.keyring import KeyRing
from sluice.auth.model import Organization, Principal, TaskPrincipal, UserPrincipal
from sluice.auth.ports import AuthStore
from sluice.auth.store import SqlAuthStore
from sluice.auth.trail import NoTrail
from sluice.base.errors import UnauthorizedError
from sluice.base.ids import (
    LeaseId,
    OrganizationId,
    PoolId,
    TaskId,
    UserId,
    WorkspaceId,
)
from sluice.base.transactions import Transactions, Tx
from sluice.blobs.store import Blobs, open_local_blobs
from sluice.configs.actions import ConfigDeps
from sluice.configs.api import build_router as configs_router
from sluice.configs.belongings import ConfigurationBelongings
from sluice.configs.ports import ConfigurationStore
from sluice.configs.store import SqlConfigurationStore
from sluice.edge.bodies import BodyCap
from sluice.edge.problems import install_problem_handlers
from sluice.events.hub import Hub
from sluice.state.actions import StateDeps
from sluice.state.api import build_router as state_router
from sluice.state.belongings import StateBelongings
from sluice.state.ports import StateStore
from sluice.state.store import SqlStateStore
from sluice.testing.memory_agents import MemoryAgentStore
from sluice.testing.memory_auth import MemoryAuthStore
from sluice.testing.memory_configs import MemoryConfigurationStore
from sluice.testing.memory_state import MemoryStateStore
from sluice.testing.memory_workspaces import (
    MemoryVariableStore,
    MemoryWorkspaceStore,
)
from sluice.testing.open_access import OpenAccess
from sluice.wire.agent import Engine
from sluice.wire.shapes.workspaces import ExecutionMode, LockHolderKind
from sluice.workspaces.actions import WorkspaceDeps
from sluice.workspaces.api import build_router as workspaces_router
from sluice.workspaces.model import Lock, Variable, Workspace
from sluice.workspaces.ports import VariableStore, WorkspaceStore
from sluice.workspaces.state_locks import StateLocks
from sluice.workspaces.store import SqlVariableStore, SqlWorkspaceStore
from tests.conftest import Backing

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
ORG = OrganizationId("org-1")
OTHER_ORG = OrganizationId("org-2")
POOL = PoolId("pool-1")
FOREIGN_POOL = PoolId("pool-2")
WS = WorkspaceId("ws-1")


class TurnedClock:
    """A clock that goes on by a second each time it is asked."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        self.at += timedelta(seconds=1)
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


class Names:
    """Takes a user's name for their token; `task` is a task's token."""

    async def authenticate(self, bearer: str) -> Principal:
        if bearer == "task":
            return TaskPrincipal(TaskId("task-1"), LeaseId("lease-1"), ORG)
        if not bearer:
            raise UnauthorizedError("No token came with the request.")
        return UserPrincipal(UserId(f"user-{bearer}"), bearer, admin=False)


class SomeTasks:
    """Tasks as workspaces know them: those that have not ended, by a set."""

    def __init__(self) -> None:
        self.going: set[TaskId] = set()
        self.blobs: list[str] = []

    async def unfinished(self, tx: Tx, task_id: TaskId) -> bool:
        return task_id in self.going

    async def hindrance(self, tx: Tx, workspace_id: WorkspaceId) -> str | None:
        return f"{len(self.going)} tasks have not ended" if self.going else None

    async def clear(self, tx: Tx, workspace_id: WorkspaceId) -> list[str]:
        return self.blobs


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores of one kind."""

    auth: AuthStore
    agents: AgentStore
    workspaces: WorkspaceStore
    variables: VariableStore
    configs: ConfigurationStore
    states: StateStore


def stores_on(backing: Backing) -> Stores:
    """Memory stores, or those on a database."""
    if backing.kind != "memory":
        return Stores(
            SqlAuthStore(),
            SqlAgentStore(),
            SqlWorkspaceStore(),
            SqlVariableStore(),
            SqlConfigurationStore(),
            SqlStateStore(),
        )
    memory = backing.memory
    return Stores(
        MemoryAuthStore(memory),
        MemoryAgentStore(memory),
        MemoryWorkspaceStore(memory),
        MemoryVariableStore(memory),
        MemoryConfigurationStore(memory),
        MemoryStateStore(memory),
    )


async def fill(transactions: Transactions, stores: Stores) -> None:
    """Two organizations with a pool each, and the workspace `WS` in the first one."""
    async with transactions.write() as tx:
        for organization, name in ((ORG, "acme"), (OTHER_ORG, "other")):
            await stores.auth.add_organization(
                tx, Organization(organization, name, NOW)
            )
        await stores.agents.add_pool(tx, Pool(POOL, ORG, "idc", NOW))
        await stores.agents.add_pool(tx, Pool(FOREIGN_POOL, OTHER_ORG, "idc", NOW))
        await stores.workspaces.add(tx, make_workspace())


def make_workspace(
    workspace_id: WorkspaceId = WS,
    name: str = "hello",
    organization_id: OrganizationId = ORG,
) -> Workspace:
    """A plain workspace."""
    return Workspace(
        id=workspace_id,
        organization_id=organization_id,
        name=name,
        execution_mode=ExecutionMode.PLAN_AND_APPLY,
        auto_apply=False,
        working_directory="",
        terraform_version="latest",
        engine=Engine.TERRAFORM,
        pool_id=None,
        created_at=NOW,
    )


def make_lock(holder: str = "ann", kind: LockHolderKind = LockHolderKind.USER) -> Lock:
    """A lock with a reason."""
    return Lock("lock-1", holder, kind, "maintenance", NOW)


@dataclass(frozen=True, slots=True)
class Rig:
    """All deps, and clients on the routes."""

    backing: Backing
    stores: Stores
    blobs: Blobs
    directory: Path
    workspaces: WorkspaceDeps
    configs: ConfigDeps
    states: StateDeps
    tasks: SomeTasks
    hub: Hub
    keyring: KeyRing
    app: FastAPI = field(default_factory=lambda: FastAPI(openapi_url=None))

    @property
    def transactions(self) -> Transactions:
        return self.backing.transactions

    async def variables(self, workspace_id: WorkspaceId = WS) -> list[Variable]:
        """A workspace's variables, many workspaces' at once as claims read them."""
        async with self.transactions.read() as tx:
            found = await self.stores.variables.list_many(tx, [workspace_id])
        return found[workspace_id]

    @asynccontextmanager
    async def client(self, user: str = "ann") -> AsyncIterator[httpx2.AsyncClient]:
        """Requests of one user."""
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app),
            base_url="http://t/api/v1",
            headers={"authorization": f"Bearer {user}"},
        ) as client:
            yield client

    def blob_files(self) -> list[str]:
        """Keys of all blobs that there are."""
        return sorted(
            str(path.relative_to(self.directory))
            for path in self.directory.rglob("*")
            if path.is_file()
        )


async def build_rig(backing: Backing, tmp_path: Path) -> Rig:
    """Everything on fresh stores, with `WS` in place."""
    stores = stores_on(backing)
    await fill(backing.transactions, stores)
    directory = tmp_path / "blobs"
    blobs = open_local_blobs(directory)
    clock = TurnedClock()
    hub = Hub()
    keyring = KeyRing([bytes(range(32))])
    tasks = SomeTasks()
    locks = StateLocks(stores.workspaces)
    rig = Rig(
        backing,
        stores,
        blobs,
        directory,
        WorkspaceDeps(
            transactions=backing.transactions,
            store=stores.workspaces,
            variables=stores.variables,
            organizations=stores.auth,
            pools=stores.agents,
            tasks=tasks,
            belongings=(
                tasks,
                ConfigurationBelongings(stores.configs),
                StateBelongings(stores.states),
            ),
            blobs=blobs,
            keyring=keyring,
            clock=clock,
            hub=hub,
        ),
        ConfigDeps(backing.transactions, stores.configs, locks, blobs, clock),
        StateDeps(
            backing.transactions, stores.states, locks, blobs, keyring, clock, hub
        ),
        tasks,
        hub,
        keyring,
    )
    rig.app.state.access = OpenAccess()
    rig.app.state.trail = NoTrail()
    rig.app.state.authenticator = Names()
    rig.app.add_middleware(BodyCap)
    install_problem_handlers(rig.app)
    for router in (
        workspaces_router(rig.workspaces),
        configs_router(rig.configs),
        state_router(rig.states),
    ):
        include(rig.app, router)
    return rig
