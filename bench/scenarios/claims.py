"""Scenario 9: how many phases a second 16 agents are given, and whether none is given twice."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from logging import ERROR
from pathlib import Path

import structlog
from sqlalchemy import text

from bench.measure import median, spread
from bench.report import Report, Side
from sluice.agents.actions import register
from sluice.agents.model import Pool
from sluice.agents.pulling import pull
from sluice.auth.model import AgentPrincipal, Organization, PoolPrincipal
from sluice.base.ids import (
    AgentId,
    OrganizationId,
    PoolId,
    TokenId,
    WorkspaceId,
    new_task_id,
    new_variable_id,
)
from sluice.base.transactions import Tx
from sluice.db.engine import Database, connection_of
from sluice.server.commands import run_loop
from sluice.server.concepts import Concepts, build_concepts
from sluice.server.parts import open_parts, prepare_database
from sluice.server.settings import ServerSettings
from sluice.tasks.model import LogFigures, Task, TaskState
from sluice.tasks.rows import task_values
from sluice.tasks.tables import tasks
from sluice.testing.postgres import postgres
from sluice.wire.agent import Engine, PullRequest, RegisterRequest, Slots
from sluice.wire.shapes.tasks import TaskType
from sluice.wire.shapes.workspaces import (
    ExecutionMode,
    VariableCategory,
)
from sluice.workspaces.model import Variable, Workspace
from sluice.workspaces.sealing import with_value

LIMIT = 500
CLAIMERS = 16
TASKS = 1600
EACH = 10
"""So many phases an agent takes; then its claimer goes on as another one."""

_ORG, _POOL = OrganizationId("org-bench"), PoolId("pool-bench")
_PAST = 5_000
"""So many ended tasks lie in the database already."""


def tell(report: Report) -> None:
    """Print the figures beside their targets."""
    sides: dict[str, Side] = {"SQLite": on_sqlite, "PostgreSQL": on_postgresql}
    for name, found in report.run(**sides).items():
        rates = found["claims_per_s"]
        report.least(f"9 phases claimed by 16 agents on {name}, per s", rates, LIMIT)
        ratio = median(rates) / LIMIT
        report.row(f"9 the same on {name}, ratio to the limit", f"{ratio:.2f}")
        report.row(f"9 CPU for one on {name}, ms", spread(found["cpu_ms_each"], 2))
        report.row(f"9 an agent alone on {name}, ms", spread(found["alone_ms"]))
        wrong = int(sum(found["twice"]) + sum(found["left"]))
        what = f"9 phases claimed twice or never on {name}"
        report.row(what, str(wrong), "0", met=wrong == 0)


def on_sqlite() -> dict[str, float]:
    """Claims per second on SQLite, every commit synced."""
    with _directory() as root:
        return run_loop(_claims(ServerSettings(data_dir=root)))


def on_postgresql() -> dict[str, float]:
    """The same on a PostgreSQL on this machine."""
    with _directory() as root, postgres(durable=True) as server:
        settings = ServerSettings(
            data_dir=root, database_url=server.url("postgres"), auto_migrate=True
        )
        return run_loop(_claims(settings))


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sluice-claims-") as name:
        yield Path(name)


async def _claims(settings: ServerSettings) -> dict[str, float]:
    # what a server says to people in between would be timed, too
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(ERROR))
    parts = open_parts(settings)
    try:
        await prepare_database(parts)
        concepts = build_concepts(parts)
        waiting_tasks = await _furnish(parts.database, concepts)
        async with parts.database.write() as tx:
            # what PostgreSQL does by itself within a minute
            await connection_of(tx).execute(text("ANALYZE"))
        agents = [await _agent(concepts, at) for at in range(TASKS // EACH)]
        waiting = list(reversed(agents))
        given: list[str] = []
        alone: list[float] = []

        async def claim(agent: AgentPrincipal) -> bool:
            begun = time.perf_counter()
            wanted = PullRequest(slots=Slots(plan=EACH, apply=1), wait_seconds=10)
            pulled = await pull(
                concepts.agents, caller=agent, wanted=wanted, gone=_never
            )
            if pulled.order is None:
                return False
            alone.append(time.perf_counter() - begun)
            given.append(pulled.order.task_id)
            return True

        async def claimer() -> None:
            while waiting:
                agent = waiting.pop()
                for _ in range(EACH):
                    if not await claim(agent):
                        return

        async with asyncio.TaskGroup() as group:
            loop = group.create_task(concepts.agents.dispatcher.run())
            first = waiting.pop()
            for _ in range(EACH):
                await claim(first)
            single = sorted(alone)[len(alone) // 2]
            cpu, begun = time.process_time(), time.perf_counter()
            async with asyncio.TaskGroup() as crowd:
                for _ in range(CLAIMERS):
                    crowd.create_task(claimer())
            seconds = time.perf_counter() - begun
            cpu = time.process_time() - cpu
            loop.cancel()
    finally:
        await parts.close()
    if set(given) - waiting_tasks:
        raise RuntimeError("a task was given that is none")
    return {
        "claims_per_s": (len(given) - EACH) / seconds,
        "alone_ms": single * 1000,
        "cpu_ms_each": cpu * 1000 / (len(given) - EACH),
        "twice": len(given) - len(set(given)),
        "left": len(waiting_tasks - set(given)),
    }


async def _never() -> bool:
    return False


async def _agent(concepts: Concepts, number: int) -> AgentPrincipal:
    answer = await register(
        concepts.agents,
        caller=PoolPrincipal(_POOL, _ORG, TokenId("tok-bench")),
        wanted=RegisterRequest(name=f"agent-{number}", version="0.1.0"),
    )
    return AgentPrincipal(AgentId(answer.agent_id), _POOL, _ORG)


async def _furnish(database: Database, concepts: Concepts) -> set[str]:
    """An organization with a past, and 4 tasks in each of many workspaces."""
    now = concepts.tasks.clock.now()
    plan = Task(
        id=new_task_id(),
        workspace_id=None,
        organization_id=_ORG,
        task_type=TaskType.PLAN,
        created_by="ann",
        created_at=now,
        engine=Engine.TERRAFORM,
        terraform_version="1.11.4",
        working_directory="",
    )
    async with database.write() as tx:
        await concepts.auth.store.add_organization(tx, Organization(_ORG, "bench", now))
        await concepts.agents.store.add_pool(
            tx, Pool(_POOL, _ORG, "bench", now, max_plan_concurrency=EACH)
        )
        await concepts.workspaces.store.add(tx, _workspace(0, plan))
        await connection_of(tx).execute(
            tasks.insert(), [task_values(_ended(plan, at)) for at in range(1, _PAST)]
        )
        return {
            task_id
            for number in range(1, TASKS // 4 + 1)
            for task_id in await _fill(tx, concepts, _workspace(number, plan), plan)
        }


def _ended(plan: Task, sequence: int) -> Task:
    return replace(
        plan,
        id=new_task_id(),
        workspace_id=WorkspaceId("ws-0"),
        sequence=sequence,
        state=TaskState.SUCCESS,
        completed_at=plan.created_at,
        log=LogFigures(sealed=True),
    )


async def _fill(
    tx: Tx, concepts: Concepts, workspace: Workspace, plan: Task
) -> list[str]:
    """A workspace with 5 variables (2 of them secret), a plan to apply and 3 plans."""
    await concepts.workspaces.store.add(tx, workspace)
    for number in range(5):
        empty = Variable(
            id=new_variable_id(),
            workspace_id=workspace.id,
            key=f"v{number}",
            category=VariableCategory.TERRAFORM,
            hcl=False,
            sensitive=number < 2,
            value=None,
            sealed=None,
            description="",
            updated_at=plan.created_at,
        )
        variable = with_value(concepts.workspaces.keyring, empty, "x" * 40)
        await concepts.workspaces.variables.add(tx, variable)
    made: list[str] = []
    for kind in (TaskType.PLAN_AND_APPLY, *[TaskType.PLAN] * 3):
        task = replace(
            plan, id=new_task_id(), workspace_id=workspace.id, task_type=kind
        )
        made.append((await concepts.tasks.store.insert(tx, task)).id)
        await concepts.tasks.log.open(tx, task.id)
    return made


def _workspace(number: int, plan: Task) -> Workspace:
    return Workspace(
        id=WorkspaceId(f"ws-{number}"),
        organization_id=_ORG,
        name=f"w{number}",
        execution_mode=ExecutionMode.PLAN_AND_APPLY,
        auto_apply=False,
        working_directory="",
        terraform_version="1.11.4",
        engine=Engine.TERRAFORM,
        pool_id=None,
        created_at=plan.created_at,
    )
