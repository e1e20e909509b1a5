"""Random lives of many tasks: whatever people, agents and clocks do, the rules hold."""

import random
from pathlib import Path

import pytest

from sluice.auth.model import AgentPrincipal
from sluice.base.errors import SluiceError
from sluice.base.paging import Page
from sluice.tasks import actions, task_data
from sluice.tasks.loop import look_at_logs
from sluice.tasks.model import Task, TaskState
from sluice.tasks.ports import TaskFilter
from sluice.testing.memory import MemoryTransactions
from sluice.wire.agent import PhaseName, PhaseOutcome, Slots
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.actions import lock_workspace, unlock_workspace
from sluice.workspaces.model import Workspace
from tests.conftest import Backing
from tests.tasks.world import Phase, World, make_world

TYPES = [TaskType.PLAN, TaskType.PLAN_AND_APPLY, TaskType.PLAN_AND_APPLY]


class Life:
    """One world that random things happen to."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.phases: list[Phase] = []
        self.epochs: dict[str, int] = {}
        self.agents: list[AgentPrincipal] = []
        self.workspaces: list[Workspace] = []

    async def prepare(self) -> None:
        self.agents = [await self.world.agent(name) for name in "abc"]
        self.workspaces = [
            await self.world.workspace(auto_apply=auto) for auto in (True, False)
        ]

    async def tasks(self) -> list[Task]:
        listing = await actions.list_tasks(
            self.world.tasks, which=TaskFilter(), page=Page(100)
        )
        return [task for task, _ in listing.tasks]

    async def act(self) -> None:
        verbs = {
            self.create: 1,
            self.claim: 3,
            self.work: 2,
            self.finish: 3,
            self.ask: 2,
            self.wait: 1,
            self.ping: 1,
            self.lock: 1,
        }
        (verb,) = self.dice.choices(list(verbs), list(verbs.values()))
        try:
            await verb()
        except SluiceError as error:
            if error.status >= 500:
                raise

    async def create(self) -> None:
        if len([t for t in await self.tasks() if not t.terminal]) < 8:
            workspace = self.dice.choice(self.workspaces)
            await self.world.create(workspace, self.dice.choice(TYPES))

    async def claim(self) -> None:
        order = await actions.claim_phase(
            self.world.tasks,
            agent=self.dice.choice(self.agents),
            slots=self.dice.choice(
                [Slots(plan=1, apply=1), Slots(plan=1), Slots(apply=1)]
            ),
        )
        if order is not None:
            before = self.epochs.get(order.task_id, 0)
            assert order.log.epoch > before, "an epoch was given twice"
            self.epochs[order.task_id] = order.log.epoch
            self.phases.append(Phase(self.world, order))

    async def work(self) -> None:
        if not self.phases:
            return
        phase = self.dice.choice(self.phases)
        await phase.started()
        await phase.write(b"line\n")
        if phase.order.phase is PhaseName.PLAN:
            await task_data.store_plan(
                self.world.tasks, caller=phase.caller, content=b"plan"
            )

    async def finish(self) -> None:
        if not self.phases:
            return
        phase = self.dice.choice(self.phases)
        await phase.finish(
            self.dice.choice([*PhaseOutcome, PhaseOutcome.SUCCEEDED]),
            error="broken",
            has_changes=self.dice.choice([True, True, False]),
        )

    async def ask(self) -> None:
        tasks = await self.tasks()
        if tasks:
            verbs = [actions.confirm, actions.discard, actions.cancel]
            verb = self.dice.choice([*verbs, actions.confirm, actions.force_cancel])
            task = self.dice.choice(tasks)
            await verb(self.world.tasks, task_id=task.id, actor="ann", reason="")

    async def wait(self) -> None:
        self.world.clock.turn(seconds=self.dice.choice([1, 10, 30, 70]))
        await actions.expire_leases(self.world.tasks)
        await look_at_logs(self.world.tasks)

    async def ping(self) -> None:
        for phase in self.phases:
            await actions.renew_lease(
                self.world.tasks, task_id=phase.task_id, lease_id=phase.lease_id
            )

    async def lock(self) -> None:
        workspace = self.dice.choice(self.workspaces)
        if self.dice.random() < 0.3:
            await lock_workspace(
                self.world.tasks.workspaces,
                workspace_id=workspace.id,
                actor="ann",
                reason="",
            )
        else:
            await unlock_workspace(
                self.world.tasks.workspaces, workspace_id=workspace.id, actor="ann"
            )

    async def check(self) -> None:
        tasks = await self.tasks()
        for workspace in self.workspaces:
            mine = [t for t in tasks if t.workspace_id == workspace.id and t.needs_lock]
            begun = [t for t in mine if not t.terminal and t.started_at is not None]
            assert len(begun) <= 1, "two tasks hold one workspace"
            lock = (await self.world.fresh(workspace)).lock
            holder = lock.id if lock and lock.kind == "task" else None
            assert holder == (begun[0].id if begun else None)
        for task in tasks:
            leased = task.state in (TaskState.PLANNING, TaskState.APPLYING)
            assert (task.lease is not None) is leased
            sealed = self.world.logs.status(task.id)
            assert sealed == (task.status.value if task.terminal else None)
            assert task.log.sealed is task.terminal
            if task.task_type is TaskType.PLAN:
                assert task.state is not TaskState.APPLYING


@pytest.mark.parametrize("seed", range(30))
async def test_random_lives_in_memory(seed: int, tmp_path: Path) -> None:
    await live(Backing("memory", MemoryTransactions()), tmp_path, seed, steps=150)


async def test_random_lives_on_databases(transactions: Backing, tmp_path: Path) -> None:
    await live(transactions, tmp_path, seed=99, steps=120)


async def live(backing: Backing, directory: Path, seed: int, steps: int) -> None:
    life = Life(await make_world(backing, directory), seed)
    await life.prepare()
    for _ in range(steps):
        await life.act()
        await life.check()
    assert any(task.terminal for task in await life.tasks()), "nothing happened"
