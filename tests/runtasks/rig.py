"""Tasks with run tasks that a scripted sender calls, under a clock to turn."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from sluice.auth.audit_store import SqlAuditLog
from sluice.auth.jwt import TokenIssuer
from sluice.base.ids import new_run_task_id, new_workspace_run_task_id
from sluice.runtasks.callbacks import admit_callback, take_callback
from sluice.runtasks.calls import claim_calls, make_call
from sluice.runtasks.deadlines import end_overdue
from sluice.runtasks.deps import AskingDeps
from sluice.runtasks.keeper import RunTaskKeeper
from sluice.runtasks.metrics import RunTaskMetrics
from sluice.runtasks.model import Result, RunTask, StageOfTask
from sluice.runtasks.ports import RunTaskStore
from sluice.runtasks.result_ports import ResultStore
from sluice.runtasks.result_store import SqlResultStore
from sluice.runtasks.store import SqlRunTaskStore
from sluice.tasks.gate_actions import open_gates
from sluice.tasks.model import Task
from sluice.testing.memory_audit import MemoryAuditLog
from sluice.testing.memory_results import MemoryResultStore
from sluice.testing.memory_run_tasks import MemoryRunTaskStore
from sluice.wire.run_task import EnforcementLevel, RunTaskStage
from sluice.workspaces.model import Workspace
from tests.conftest import Backing
from tests.runtasks.definitions import make_attachment, make_run_task
from tests.tasks.world import TurnedClock, World, make_world

MANDATORY, ADVISORY = EnforcementLevel.MANDATORY, EnforcementLevel.ADVISORY
Answer = int | Exception


@dataclass
class Sent:
    """One call as it left."""

    url: str
    body: bytes
    headers: Mapping[str, str]

    @property
    def payload(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def token(self) -> str:
        return str(self.payload["access_token"])


async def _nothing(sent: Sent) -> None:
    pass


@dataclass
class ScriptedSender:
    """Answers calls as a test says; ``meanwhile`` happens before each answer."""

    answer: Answer = 200
    sent: list[Sent] = field(default_factory=list)
    meanwhile: Callable[[Sent], Awaitable[None]] = _nothing

    async def post(
        self,
        url: str,
        *,
        body: bytes,
        headers: Mapping[str, str],
        timeout: float,
    ) -> int:
        call = Sent(url, body, headers)
        self.sent.append(call)
        await self.meanwhile(call)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@dataclass
class Rig:
    """All that asking stands on, and shorthands for what happens to it."""

    world: World
    deps: AskingDeps
    definitions: RunTaskStore
    sender: ScriptedSender
    registry: CollectorRegistry

    @property
    def clock(self) -> TurnedClock:
        return self.world.clock

    @property
    def store(self) -> ResultStore:
        return self.deps.store

    async def attach(
        self,
        workspace: Workspace,
        name: str,
        stage: RunTaskStage,
        level: EnforcementLevel = MANDATORY,
        **fields: Any,
    ) -> RunTask:
        """A run task that is asked in a workspace at one stage."""
        run_task = make_run_task(name, id=new_run_task_id(), **fields)
        attachment = make_attachment(
            run_task,
            stage,
            level,
            id=new_workspace_run_task_id(),
            workspace_id=workspace.id,
        )
        async with self.world.transactions.write() as tx:
            await self.definitions.add(tx, run_task)
            await self.definitions.attach(tx, attachment)
        return run_task

    async def at_gate(self, *names: str, **fields: Any) -> Task:
        """A task that waits for mandatory run tasks of these names before its plan.

        Nobody attends to it, so a failure ends it.
        """
        workspace = await self.world.workspace()
        for name in names or ("checks",):
            await self.attach(workspace, name, RunTaskStage.PRE_PLAN)
        task = await self.world.create(workspace, **{"auto_apply": True, **fields})
        await open_gates(self.deps.tasks)
        return await self.world.task(task.id)

    async def results(self, task: Task) -> list[Result]:
        async with self.world.transactions.read() as tx:
            return await self.store.results(tx, task.id)

    async def stages(self, task: Task) -> Sequence[StageOfTask]:
        async with self.world.transactions.read() as tx:
            return await self.store.stages(tx, task.id)

    async def only(self, task: Task) -> Result:
        [result] = await self.results(task)
        return result

    async def call(self) -> int:
        """Make all calls that are due; how many there were."""
        claimed = await claim_calls(self.deps, 50)
        for result in claimed:
            await make_call(self.deps, result)
        return len(claimed)

    async def say(self, sent: Sent, status: str, message: str = "") -> Result:
        """A callback about a call."""
        result_id = sent.payload["task_result_id"]
        body = json.dumps({"status": status, "message": message}).encode()
        await admit_callback(
            self.deps, result_id=result_id, token=sent.token, address="127.0.0.1"
        )
        return await take_callback(
            self.deps, result_id=result_id, token=sent.token, content=body
        )

    async def turn(self, **by: float) -> None:
        """Time passes; what is overdue ends, and what is due is called."""
        self.clock.turn(**by)
        await end_overdue(self.deps)
        await self.call()

    def log(self, task: Task) -> str:
        return self.world.logs.rows[task.id].data.decode()

    def counted(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


async def make_rig(backing: Backing, directory: Path) -> Rig:
    """A rig with one organization and no run tasks."""
    world = await make_world(backing, directory)
    store: ResultStore = SqlResultStore()
    definitions: RunTaskStore = SqlRunTaskStore()
    memory = backing.kind == "memory"
    if memory:
        store = MemoryResultStore(backing.memory, world.tasks.store)
        definitions = MemoryRunTaskStore(backing.memory)
    registry = CollectorRegistry()
    metrics = RunTaskMetrics(registry)
    keeper = RunTaskKeeper(definitions, store, world.clock, metrics)
    world.tasks = replace(world.tasks, keepers=(keeper,))
    issuer = world.tasks.tokens
    assert isinstance(issuer, TokenIssuer)
    sender = ScriptedSender()
    deps = AskingDeps(
        tasks=world.tasks,
        definitions=definitions,
        store=store,
        tokens=issuer,
        sender=sender,
        keyring=world.tasks.keyring,
        audit=MemoryAuditLog(backing.memory) if memory else SqlAuditLog(),
        metrics=metrics,
        public_url="https://sluice.example.com",
    )
    return Rig(world, deps, definitions, sender, registry)
