"""Everything the verbs of tasks stand on, in memory or on a database, and a scripted agent."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sluice.agents.actions import AgentDeps, register
from sluice.agents.dispatcher import Dispatcher
from sluice.agents.model import Pool
from sluice.agents.store import SqlAgentStore
from sluice.auth.actions import AuthDeps
from sluice.auth.jwt import TokenIssuer
from sluice.auth.keyring import KeyRing, new_master_key
from sluice.auth.model import AgentPrincipal, Organization, PoolPrincipal, TaskPrincipal
from sluice.auth.store import SqlAuthStore
from sluice.base.clock import to_micros
from sluice.base.ids import (
    AgentId,
    ConfigurationVersionId,
    LeaseId,
    OrganizationId,
    PoolId,
    TaskId,
    TokenId,
    WorkspaceId,
    new_configuration_version_id,
    new_workspace_id,
)
from sluice.base.transactions import Transactions
from sluice.blobs.store import Blobs, open_local_blobs
from sluice.configs.actions import ConfigDeps
from sluice.configs.model import ConfigurationVersion
from sluice.configs.store import SqlConfigurationStore
from sluice.events.hub import Hub
from sluice.state.actions import StateDeps
from sluice.state.store import SqlStateStore
from sluice.tasks import actions, task_data
from sluice.tasks.belongings import WorkspaceTasks
from sluice.tasks.deps import TaskDeps
from sluice.tasks.late_store import SqlLateOutputStore
from sluice.tasks.matching import Claimant
from sluice.tasks.model import ScriptFacts, Task
from sluice.tasks.ports import GateKeeper
from sluice.tasks.store import SqlTaskStore
from sluice.testing.memory_agents import MemoryAgentStore
from sluice.testing.memory_auth import MemoryAuthStore
from sluice.testing.memory_configs import MemoryConfigurationStore
from sluice.testing.memory_late_output import MemoryLateOutputStore
from sluice.testing.memory_state import MemoryStateStore
from sluice.testing.memory_tasks import MemoryTaskStore
from sluice.testing.memory_workspaces import MemoryVariableStore, MemoryWorkspaceStore
from sluice.wire.agent import (
    Engine,
    LogEnd,
    PhaseOrder,
    PhaseOutcome,
    PhaseResult,
    RegisterRequest,
    ScriptOrder,
    Slots,
    StageReport,
)
from sluice.wire.chunk import Chunk, Kind, Source, event_chunk
from sluice.wire.events import (
    Stage,
    StageBegin,
    StageEnd,
    StageOutcome,
    marker_line,
)
from sluice.wire.shapes.configs import ConfigurationStatus
from sluice.wire.shapes.tasks import TaskInput, TaskType
from sluice.wire.shapes.workspaces import ExecutionMode
from sluice.workspaces.actions import WorkspaceDeps
from sluice.workspaces.model import Workspace
from sluice.workspaces.state_locks import StateLocks
from sluice.workspaces.store import SqlVariableStore, SqlWorkspaceStore
from tests.conftest import Backing
from tests.tasks.logbook import MemoryLogBook

ORG = OrganizationId("org-1")
POOL = PoolId("pool-1")
BOTH = Slots(plan=3, apply=1)
PLAN_JSON = Path(__file__).parents[1] / "terraform" / "data" / "plan_second.json"


class TurnedClock:
    """A clock that stands until it is turned."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    def turn(self, **by: float) -> None:
        self.at += timedelta(**by)


@dataclass
class World:
    """The verbs' dependencies, with what tests need to look behind them."""

    transactions: Transactions
    clock: TurnedClock
    logs: MemoryLogBook
    tasks: TaskDeps
    agents: AgentDeps
    blobs: Blobs

    # --- people ---

    async def workspace(self, **fields: Any) -> Workspace:
        """A workspace with an uploaded configuration."""
        workspace = Workspace(
            id=new_workspace_id(),
            organization_id=ORG,
            name=f"w{len(self.logs.rows)}-{new_workspace_id()[-4:]}",
            execution_mode=ExecutionMode.PLAN_AND_APPLY,
            auto_apply=False,
            working_directory="",
            terraform_version="1.11.4",
            engine=Engine.TERRAFORM,
            pool_id=None,
            created_at=self.clock.now(),
        )
        workspace = replace(workspace, **fields)
        async with self.transactions.write() as tx:
            await self.tasks.workspaces.store.add(tx, workspace)
        await self.configuration(workspace.id)
        return workspace

    async def configuration(
        self, workspace_id: WorkspaceId, content: bytes = b"archive"
    ) -> ConfigurationVersionId:
        self.clock.turn(milliseconds=1)
        version_id = new_configuration_version_id()
        key = f"configs/{version_id}.tar.gz"
        await self.blobs.put(key, content)
        version = ConfigurationVersion(
            id=version_id,
            workspace_id=workspace_id,
            status=ConfigurationStatus.UPLOADED,
            error="",
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            blob_key=key,
            created_by="ann",
            created_at=self.clock.now(),
        )
        async with self.transactions.write() as tx:
            await self.tasks.configs.store.add(tx, version)
        return version_id

    async def create(
        self,
        workspace: Workspace,
        task_type: TaskType = TaskType.PLAN_AND_APPLY,
        **fields: Any,
    ) -> Task:
        wanted = TaskInput(task_type=task_type, **fields)
        return await actions.create_task(
            self.tasks, workspace_id=workspace.id, wanted=wanted, actor="ann"
        )

    async def script(self, **fields: Any) -> Task:
        """A script in the queue."""
        wanted: dict[str, Any] = {
            "script": ScriptOrder(name="hello", body="echo hello", timeout_seconds=60),
            "facts": ScriptFacts(name="hello", key="hello", version="1.2"),
            "pool_id": None,
            "labels": {},
            "organization_id": ORG,
            "actor": "ann",
        }
        return await actions.start_script(self.tasks, **{**wanted, **fields})

    async def task(self, task_id: TaskId) -> Task:
        return await actions.get_task(self.tasks, task_id=task_id)

    async def reason(self, task_id: TaskId) -> str:
        return (await actions.get_task_details(self.tasks, task_id=task_id)).reason

    async def fresh(self, workspace: Workspace) -> Workspace:
        async with self.transactions.read() as tx:
            found = await self.tasks.workspaces.store.get(tx, workspace.id)
        assert found is not None
        return found

    async def tasks_workspace(self, phase: "Phase") -> Workspace:
        task = await self.task(phase.task_id)
        async with self.transactions.read() as tx:
            found = await self.tasks.workspaces.store.get(tx, task.home)
        assert found is not None
        return found

    # --- agents ---

    async def pool(self, name: str, **fields: Any) -> PoolId:
        """One more pool of the organization."""
        pool = Pool(PoolId(f"pool-{name}"), ORG, name, self.clock.now(), **fields)
        async with self.transactions.write() as tx:
            await self.agents.store.add_pool(tx, pool)
        return pool.id

    async def agent(
        self, name: str = "builder", pool_id: PoolId = POOL
    ) -> AgentPrincipal:
        """A registered agent of a pool."""
        answer = await register(
            self.agents,
            caller=PoolPrincipal(pool_id, ORG, TokenId("tok-1")),
            wanted=RegisterRequest(name=name, version="0.1"),
        )
        return AgentPrincipal(AgentId(answer.agent_id), pool_id, ORG)

    async def order(
        self, agent: AgentPrincipal, slots: Slots = BOTH
    ) -> PhaseOrder | None:
        """What the agent is given, where there is something for it."""
        orders = await actions.claim_phases(
            self.tasks, claimants=[claimant(agent, slots)]
        )
        return orders.get(agent.agent_id)

    async def claim(self, agent: AgentPrincipal, slots: Slots = BOTH) -> "Phase":
        order = await self.order(agent, slots)
        assert order is not None
        return Phase(self, order)

    async def nothing(self, agent: AgentPrincipal, slots: Slots = BOTH) -> None:
        assert await self.order(agent, slots) is None

    async def planned(
        self, agent: AgentPrincipal, workspace: Workspace, **fields: Any
    ) -> Task:
        """A task whose plan is done."""
        task = await self.create(workspace, **fields)
        phase = await self.claim(agent)
        assert phase.order.task_id == task.id
        await phase.run_plan()
        return await self.task(task.id)


class Phase:
    """A scripted phase: what an agent and its job do, without terraform."""

    def __init__(self, world: World, order: PhaseOrder) -> None:
        self.world = world
        self.order = order
        self.task_id = TaskId(order.task_id)
        self.lease_id = LeaseId(order.lease_id)
        self.caller = TaskPrincipal(
            self.task_id, self.lease_id, OrganizationId(order.organization_id)
        )
        self.written = b""
        self.reports: list[StageReport] = []

    async def started(self) -> None:
        await actions.phase_started(
            self.world.tasks, task_id=self.task_id, lease_id=self.lease_id
        )

    async def write(self, data: bytes, source: Source = Source.STDOUT) -> None:
        chunk = Chunk(0, 1, source, Kind.OUTPUT, self.now_us, data)
        await self._upload(chunk)

    async def begin(self, stage: Stage) -> None:
        event = StageBegin(stage, self.order.phase.value)
        line = marker_line(stage, "BEGIN", self.world.clock.now())
        await self._upload(self._event(event, line))
        self.reports.append(StageReport(stage=stage, started_at=self.world.clock.now()))

    async def end(
        self, stage: Stage, outcome: StageOutcome = StageOutcome.COMPLETED
    ) -> None:
        event = StageEnd(stage, self.order.phase.value, outcome)
        line = marker_line(stage, "END", self.world.clock.now())
        await self._upload(self._event(event, line))
        self.reports[-1] = self.reports[-1].model_copy(
            update={"outcome": outcome, "completed_at": self.world.clock.now()}
        )

    async def stage(self, stage: Stage, output: bytes = b"", **took: float) -> None:
        await self.begin(stage)
        if output:
            await self.write(output)
        self.world.clock.turn(**(took or {"milliseconds": 100}))
        await self.end(stage)

    def _event(self, event: StageBegin | StageEnd, line: bytes) -> Chunk:
        return event_chunk(event, line, source=Source.AGENT, captured_us=self.now_us)

    @property
    def now_us(self) -> int:
        return to_micros(self.world.clock.now())

    async def _upload(self, chunk: Chunk) -> None:
        self.world.logs.append(self.task_id, self.order.log.epoch, [chunk])
        self.written += chunk.data
        await actions.record_events(
            self.world.tasks, task_id=self.task_id, chunks=[chunk]
        )

    def result(
        self, outcome: PhaseOutcome = PhaseOutcome.SUCCEEDED, **fields: Any
    ) -> PhaseResult:
        end = LogEnd(
            offset=self.order.log.offset + len(self.written),
            next_line=self.order.log.next_line + self.written.count(b"\n"),
            sha256=hashlib.sha256(self.written).hexdigest(),
        )
        return PhaseResult(
            lease_id=self.lease_id,
            outcome=outcome,
            **{"log_end": end, "stages": self.reports, **fields},
        )

    async def finish(
        self, outcome: PhaseOutcome = PhaseOutcome.SUCCEEDED, **fields: Any
    ) -> Task:
        await actions.finish_phase(
            self.world.tasks,
            task_id=self.task_id,
            result=self.result(outcome, **fields),
        )
        return await self.world.task(self.task_id)

    async def run_plan(self, *, has_changes: bool = True) -> Task:
        """A plan as it goes well: stages, plan file, plan JSON, result."""
        await self.started()
        await self.stage(Stage.FETCHING)
        await self.stage(Stage.INIT, b"Terraform has been initialized.\n")
        await self.stage(Stage.PLANNING, b"Plan: 1 to add.\n\n")
        await task_data.open_state(self.world.tasks, caller=self.caller)
        await task_data.store_plan(
            self.world.tasks, caller=self.caller, content=b"PLAN \x00 hunter2xyz"
        )
        await task_data.store_plan_json(
            self.world.tasks, caller=self.caller, content=PLAN_JSON.read_bytes()
        )
        await self.stage(Stage.SAVING_PLAN)
        return await self.finish(has_changes=has_changes)

    async def run_script(self, output: bytes = b"hello\n", code: int = 0) -> Task:
        """A script from its start to its report."""
        await self.started()
        await self.begin(Stage.RUNNING)
        await self.write(output)
        ended = StageOutcome.FAILED if code else StageOutcome.COMPLETED
        await self.end(Stage.RUNNING, ended)
        outcome = PhaseOutcome.FAILED if code else PhaseOutcome.SUCCEEDED
        return await self.finish(outcome, exit_code=code)

    async def run_apply(self, *, serial: int = 1) -> Task:
        """An apply as it goes well: stages, state, result."""
        await self.started()
        await self.stage(Stage.FETCHING)
        await self.stage(Stage.APPLYING, b"Apply complete!\n")
        await task_data.store_state(
            self.world.tasks, caller=self.caller, content=state_of(serial)
        )
        await self.stage(Stage.SAVING_STATE)
        return await self.finish()


def claimant(agent: AgentPrincipal, slots: Slots = BOTH) -> Claimant:
    """An agent as it asks for work."""
    return Claimant(agent.agent_id, agent.organization_id, agent.pool_id, slots)


def state_of(serial: int, lineage: str = "line-1") -> bytes:
    """A state file with one output."""
    return json.dumps(
        {
            "version": 4,
            "terraform_version": "1.11.4",
            "serial": serial,
            "lineage": lineage,
            "outputs": {"said": {"value": serial, "type": "number"}},
            "resources": [],
        }
    ).encode()


async def make_world(
    backing: Backing, directory: Path, keepers: Sequence[GateKeeper] = ()
) -> World:
    """A world with one organization and one pool."""
    clock, hub, keys = TurnedClock(), Hub(), [new_master_key()]
    memory = backing.kind == "memory"
    transactions: Transactions = backing.transactions
    blobs = open_local_blobs(directory / "blobs")
    keyring, issuer = KeyRing(keys), TokenIssuer(keys, clock)
    spaces = MemoryWorkspaceStore(backing.memory) if memory else SqlWorkspaceStore()
    store = MemoryTaskStore(backing.memory, spaces) if memory else SqlTaskStore()
    auth = MemoryAuthStore(backing.memory) if memory else SqlAuthStore()
    agent_store = MemoryAgentStore(backing.memory) if memory else SqlAgentStore()
    logs = MemoryLogBook(backing.memory if memory else None)
    late = MemoryLateOutputStore(backing.memory) if memory else SqlLateOutputStore()
    belongings = WorkspaceTasks(store, logs, late)
    workspaces = WorkspaceDeps(
        transactions=transactions,
        store=spaces,
        variables=MemoryVariableStore(backing.memory) if memory else SqlVariableStore(),
        organizations=auth,
        pools=agent_store,
        tasks=belongings,
        belongings=(belongings,),
        blobs=blobs,
        keyring=keyring,
        clock=clock,
        hub=hub,
    )
    locks = StateLocks(spaces)
    configs = ConfigDeps(
        transactions=transactions,
        store=MemoryConfigurationStore(backing.memory)
        if memory
        else SqlConfigurationStore(),
        workspaces=locks,
        blobs=blobs,
        clock=clock,
    )
    states = StateDeps(
        transactions=transactions,
        store=MemoryStateStore(backing.memory) if memory else SqlStateStore(),
        locks=locks,
        blobs=blobs,
        keyring=keyring,
        clock=clock,
        hub=hub,
    )
    tasks = TaskDeps(
        transactions=transactions,
        store=store,
        log=logs,
        agents=agent_store,
        tokens=issuer,
        keyring=keyring,
        blobs=blobs,
        workspaces=workspaces,
        configs=configs,
        states=states,
        hub=hub,
        clock=clock,
        late=late,
        keepers=keepers,
    )
    agents = AgentDeps(
        transactions=transactions,
        store=agent_store,
        tokens=issuer,
        auth=AuthDeps(transactions, auth, issuer, clock),
        tasks=tasks,
        hub=hub,
        clock=clock,
        dispatcher=Dispatcher(tasks, hub),
    )
    async with transactions.write() as tx:
        await auth.add_organization(tx, Organization(ORG, "default", clock.now()))
        await agent_store.add_pool(tx, Pool(POOL, ORG, "idc1", clock.now()))
    return World(transactions, clock, logs, tasks, agents, blobs)
