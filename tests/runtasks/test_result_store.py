"""The port suite of stages, results and outcomes: memory, SQLite and PostgreSQL."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from sluice.base.ids import (
    RunTaskId,
    RunTaskOutcomeId,
    RunTaskResultId,
    TaskId,
    new_run_task_result_id,
    new_run_task_stage_id,
)
from sluice.base.transactions import Transactions
from sluice.runtasks.model import Finding, Override, Result, StageOfTask
from sluice.runtasks.result_ports import ResultStore
from sluice.runtasks.result_store import SqlResultStore
from sluice.tasks.model import Task
from sluice.tasks.ports import TaskStore
from sluice.testing.memory_results import MemoryResultStore
from sluice.wire.run_task import EnforcementLevel, ResultStatus, RunTaskStage
from sluice.wire.shapes.tasks import TaskType
from tests.conftest import Backing
from tests.tasks.conftest import Stores
from tests.tasks.conftest import stores as task_stores
from tests.tasks.factory import NOW, make_task

PRE, POST = RunTaskStage.PRE_PLAN, RunTaskStage.POST_PLAN
LATER = NOW + timedelta(seconds=10)
__all__ = ["task_stores"]


@dataclass
class World:
    """A result store with a task store beside it."""

    transactions: Transactions
    tasks: TaskStore
    store: ResultStore

    async def task(self, **fields: Any) -> Task:
        async with self.transactions.write() as tx:
            return await self.tasks.insert(tx, make_task(**fields))

    async def stage(
        self, task: Task, at: RunTaskStage, *names: str, **fields: Any
    ) -> tuple[StageOfTask, list[Result]]:
        stage = StageOfTask(new_run_task_stage_id(), task.id, at)
        results = [make_result(stage, name, **fields) for name in names]
        async with self.transactions.write() as tx:
            await self.store.add_stage(tx, stage, results)
        return stage, results

    async def save(self, result: Result, **changes: Any) -> Result:
        changed = replace(result, **changes)
        async with self.transactions.write() as tx:
            await self.store.save(tx, changed)
        return changed

    async def save_stage(self, stage: StageOfTask, **changes: Any) -> StageOfTask:
        changed = replace(stage, **changes)
        async with self.transactions.write() as tx:
            await self.store.save_stage(tx, changed)
        return changed

    async def due(self, limit: int = 10, now: Any = LATER) -> list[str]:
        async with self.transactions.write() as tx:
            found = await self.store.take_due(tx, now, limit)
            assert await self.store.is_due(tx, now) == bool(found)
        return [result.name for result in found]


def make_result(stage: StageOfTask, name: str, **fields: Any) -> Result:
    given: dict[str, Any] = {
        "id": new_run_task_result_id(),
        "stage_id": stage.id,
        "task_id": stage.task_id,
        "organization_id": "org-1",
        "workspace_id": "ws-1",
        "run_task_id": RunTaskId(f"rt-{name}"),
        "name": name,
        "stage": stage.stage,
        "level": EnforcementLevel.MANDATORY,
        "created_at": NOW,
        **fields,
    }
    return Result(**given)


@pytest.fixture
def world(transactions: Backing, task_stores: Stores) -> World:
    store: ResultStore = SqlResultStore()
    if transactions.kind == "memory":
        store = MemoryResultStore(transactions.memory, task_stores.tasks)
    return World(task_stores.transactions, task_stores.tasks, store)


async def test_all_comes_back_as_it_was_stored(world: World) -> None:
    task = await world.task()
    stage, [result] = await world.stage(task, POST, "a")
    async with world.transactions.read() as tx:
        assert await world.store.get(tx, result.id) == result
        assert await world.store.get(tx, RunTaskResultId("rtr-none")) is None
        assert await world.store.stages(tx, task.id) == [stage]
    full = await world.save(
        result,
        status=ResultStatus.FAILED,
        message="ü\nno",
        url="https://x",
        token_hash="ff",
        issued_at=NOW,
        attempts=3,
        next_call_at=NOW,
        call_lease_until=LATER,
        timeout_at=LATER,
        last_timeout_at=LATER,
        http_status=503,
        request={"a": [1, None, "✓"]},
        response={"status": "failed"},
        started_at=NOW,
        completed_at=LATER,
        override=Override("ann", "why", LATER),
    )
    told = await world.save_stage(stage, opened_at=NOW, answered_at=LATER, passed=False)
    async with world.transactions.write() as tx:
        assert await world.store.hold(tx, result.id) == full
        assert await world.store.results(tx, task.id) == [full]
        assert await world.store.stages(tx, task.id) == [told]


async def test_a_stage_is_there_once(world: World) -> None:
    task = await world.task()
    await world.stage(task, PRE, "a")
    with pytest.raises(Exception, match=r"(?i)already|unique"):
        await world.stage(task, PRE, "a")
    async with world.transactions.read() as tx:
        assert len(await world.store.results(tx, task.id)) == 1


async def test_results_stand_by_stage_and_name(world: World) -> None:
    task = await world.task()
    await world.stage(task, RunTaskStage.POST_APPLY, "a")
    await world.stage(task, POST, "b", "a")
    await world.stage(task, PRE, "z")
    async with world.transactions.read() as tx:
        found = await world.store.results(tx, task.id)
        stages = await world.store.stages(tx, task.id)
    assert [(one.stage.value, one.name) for one in found] == [
        ("pre_plan", "z"),
        ("post_plan", "a"),
        ("post_plan", "b"),
        ("post_apply", "a"),
    ]
    assert [stage.stage for stage in stages] == [PRE, POST, RunTaskStage.POST_APPLY]


async def test_what_is_due_is_given_once_while_it_is_leased(world: World) -> None:
    task = await world.task()
    _, [a, b, c] = await world.stage(task, PRE, "a", "b", "c")
    assert await world.due() == []
    await world.save(a, next_call_at=NOW + timedelta(seconds=2))
    b = await world.save(b, next_call_at=NOW + timedelta(seconds=1))
    await world.save(c, next_call_at=LATER + timedelta(seconds=1))
    assert await world.due() == ["b", "a"]
    assert await world.due(limit=1) == ["b"]
    b = await world.save(b, call_lease_until=LATER + timedelta(seconds=5))
    assert await world.due() == ["a"]
    assert await world.due(now=LATER + timedelta(seconds=6)) == ["b", "a", "c"]


async def test_what_is_overdue_is_not_final(world: World) -> None:
    task = await world.task()
    _, [a, b, c, _] = await world.stage(task, PRE, "a", "b", "c", "d")
    running = {"status": ResultStatus.RUNNING}
    await world.save(a, timeout_at=LATER, **running)
    await world.save(b, timeout_at=NOW, **running)
    await world.save(c, timeout_at=NOW, completed_at=NOW, status=ResultStatus.TIMEOUT)
    async with world.transactions.read() as tx:
        overdue = await world.store.overdue(tx, LATER, 10)
        assert [result.name for result in overdue] == ["b", "a"]
        assert len(await world.store.overdue(tx, LATER, 1)) == 1
        assert await world.store.overdue(tx, NOW - timedelta(seconds=1), 10) == []


async def test_a_stage_is_left_over_where_all_is_final(world: World) -> None:
    task = await world.task()
    stage, [a, b] = await world.stage(task, PRE, "a", "b")
    await world.stage(task, POST, "c", status=ResultStatus.SKIPPED, completed_at=NOW)
    final = {"status": ResultStatus.PASSED, "completed_at": NOW}

    async def left_over() -> list[StageOfTask]:
        async with world.transactions.read() as tx:
            return await world.store.unanswered(tx, 10)

    await world.save(a, **final)
    await world.save(b, **final)
    assert await left_over() == []
    stage = await world.save_stage(stage, opened_at=NOW)
    assert await left_over() == [stage]
    await world.save(b, status=ResultStatus.RUNNING, completed_at=None)
    assert await left_over() == []
    await world.save(b, **final)
    await world.save_stage(stage, answered_at=LATER)
    assert await left_over() == []


async def test_open_results_are_named_and_counted(world: World) -> None:
    task, other = await world.task(), await world.task()
    stage, [b, _] = await world.stage(task, PRE, "b", "a")
    await world.stage(task, POST, "later")
    await world.stage(other, PRE, "x", status=ResultStatus.SKIPPED, completed_at=NOW)
    await world.save_stage(stage, opened_at=NOW)
    await world.save(b, status=ResultStatus.RUNNING)
    async with world.transactions.read() as tx:
        ids = [task.id, other.id, TaskId("task-none")]
        assert await world.store.open_names(tx, ids) == {task.id: ["a", "b"]}
        assert await world.store.open_names(tx, []) == {}
        assert await world.store.count_open(tx) == {
            ResultStatus.RUNNING: 1,
            ResultStatus.PENDING: 2,
        }


async def test_outcomes_are_replaced_and_their_bodies_apart(world: World) -> None:
    task, other = await world.task(), await world.task()
    _, [a, b] = await world.stage(task, PRE, "a", "b")
    tags = {"Status": [{"label": "Denied", "level": "error"}]}
    first = Finding("X-1", "one", "https://x", tags, "# ü")
    async with world.transactions.write() as tx:
        await world.store.put_outcomes(tx, a.id, [first, first])
        await world.store.put_outcomes(tx, b.id, [first])
    async with world.transactions.write() as tx:
        again = [replace(first, outcome_id="X-2"), replace(first, outcome_id="X-3")]
        await world.store.put_outcomes(tx, a.id, again)
    async with world.transactions.read() as tx:
        found = await world.store.outcomes(tx, task.id)
        of_a = [outcome for outcome in found if outcome.result_id == a.id]
        assert len(found) == 3
        assert [outcome.outcome_id for outcome in of_a] == ["X-2", "X-3"]
        one = of_a[0]
        assert (one.description, one.url, one.body_bytes) == ("one", "https://x", 4)
        assert one.tags == tags
        assert await world.store.outcome_body(tx, task.id, one.id) == "# ü"
        assert await world.store.outcome_body(tx, other.id, one.id) is None
        nothing = RunTaskOutcomeId("rto-none")
        assert await world.store.outcome_body(tx, task.id, nothing) is None
        assert await world.store.outcomes(tx, other.id) == []


async def test_what_was_said_of_a_plan_is_found(world: World) -> None:
    plan = await world.task(task_type=TaskType.PLAN)
    apply = await world.task(task_type=TaskType.APPLY, plan_task_id=plan.id)
    await world.stage(apply, RunTaskStage.PRE_APPLY, "b")
    await world.stage(plan, POST, "a")
    await world.stage(await world.task(), POST, "other")
    async with world.transactions.read() as tx:
        found = await world.store.of_plan(tx, plan.id)
        assert [result.name for result in found] == ["a", "b"]
        assert await world.store.of_plan(tx, TaskId("task-none")) == []


async def test_a_change_that_fails_leaves_nothing(world: World) -> None:
    task = await world.task()
    _, [a] = await world.stage(task, PRE, "a")

    async def change_and_fail() -> None:
        async with world.transactions.write() as tx:
            await world.store.save(tx, replace(a, message="gone"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change_and_fail()
    async with world.transactions.read() as tx:
        assert await world.store.get(tx, a.id) == a
