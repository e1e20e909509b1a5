"""Random lives of many tasks: whatever people, agents and clocks do, the rules hold."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sluice.auth.model import AgentPrincipal
from sluice.base.errors import SluiceError
from sluice.base.ids import TaskId
from sluice.base.paging import Page
from sluice.tasks import actions, task_data
from sluice.tasks.gate_actions import open_gates
from sluice.tasks.gates import Verdict
from sluice.tasks.loop import look_at_logs
from sluice.tasks.model import Gate, Task, TaskState
from sluice.tasks.ports import TaskFilter
from sluice.testing.memory import MemoryTransactions
from sluice.testing.memory_keeper import AskStatus, MemoryKeeper
from sluice.wire.agent import PhaseName, PhaseOutcome, Slots
from sluice.wire.events import StageBegin, StageEnd
from sluice.wire.exec import Writer
from sluice.wire.shapes.tasks import TaskType
from sluice.workspaces.actions import lock_workspace, unlock_workspace
from sluice.workspaces.model import Workspace
from tests.conftest import Backing
from tests.tasks.factory import LEASED
from tests.tasks.late import Late
from tests.tasks.runs import Run, begin
from tests.tasks.world import Phase, World, make_world

TYPES = [
    TaskType.PLAN,
    TaskType.PLAN_AND_APPLY,
    TaskType.PLAN_AND_APPLY,
    TaskType.SCRIPT,
    TaskType.APPLY,
]
GATED = [
    TaskType.PLAN,
    TaskType.PLAN_AND_APPLY,
    TaskType.PLAN_AND_APPLY,
    TaskType.APPLY,
    TaskType.APPLY,
]
BEFORE = {
    PhaseName.PLAN: {Gate.PRE_PLAN},
    PhaseName.APPLY: set(Gate) - {Gate.POST_APPLY},
    PhaseName.SCRIPT: set(),
}
"""The gates that have to be passed before an agent is given a phase."""


class Life:
    """One world that random things happen to."""

    def __init__(
        self, world: World, keeper: MemoryKeeper, seed: int, *, scripts: bool = True
    ) -> None:
        self.scripts = scripts
        """Without them more of the tasks come far on their way past the gates."""
        self.world = world
        self.keeper = keeper
        self.answered = Counter[tuple[TaskId, Gate]]()
        self.dice = random.Random(seed)
        self.phases: list[Phase] = []
        self.epochs: dict[str, int] = {}
        self.runs: list[Run] = []
        self.begun: dict[str, str] = {}
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
            self.look: 2,
            self.answer: 4,
            self.override: 1,
            self.work: 2,
            self.finish: 3,
            self.run_outside: 1,
            self.work_outside: 2,
            self.deliver_late: 1,
            self.ask: 2,
            self.wait: 1,
            self.ping: 1,
            self.lock: 1,
        }
        if not self.scripts:
            for verb in (self.run_outside, self.work_outside, self.deliver_late):
                del verbs[verb]
            verbs |= {self.claim: 4, self.work: 6, self.finish: 4, self.wait: 0}
        (verb,) = self.dice.choices(list(verbs), list(verbs.values()))
        try:
            await verb()
        except SluiceError as error:
            if error.status >= 500:
                raise

    async def create(self) -> None:
        tasks = await self.tasks()
        if len([task for task in tasks if not task.terminal]) >= 8:
            return
        gates = self.dice.sample(sorted(Gate), self.dice.choice([0, 0, 1, 3, 6]))
        self.keeper.stops_at = frozenset(gates)
        workspace = self.dice.choice(self.workspaces)
        task_type = self.dice.choice(TYPES if self.scripts else GATED)
        if task_type is TaskType.SCRIPT:
            await self.world.script()
        elif task_type is TaskType.APPLY:
            plans = [task for task in tasks if task.plan_blob and task.terminal]
            if plans:
                plan = self.dice.choice(plans)
                (home,) = [w for w in self.workspaces if w.id == plan.workspace_id]
                await self.world.create(home, task_type, plan_task_id=plan.id)
        else:
            await self.world.create(workspace, task_type)

    async def look(self) -> None:
        await open_gates(self.world.tasks)

    async def answer(self) -> None:
        """Somebody answers; now and then for a gate at which the task does not stand."""
        standing = self.keeper.standing()
        asks = [(ask.task_id, ask.gate) for ask in standing]
        if not asks or self.dice.random() < 0.2:
            tasks = await self.tasks()
            if not tasks:
                return
            asks = [(self.dice.choice(tasks).id, self.dice.choice(sorted(Gate)))]
        task_id, gate = self.dice.choice(asks)
        stood = any((ask.task_id, ask.gate) == (task_id, gate) for ask in standing)
        verdict = Verdict(passed=self.dice.random() < 0.8, text="no")
        counted = await self.keeper.answer(self.world.tasks, task_id, gate, verdict)
        assert counted is stood
        self.answered[task_id, gate] += counted

    async def override(self) -> None:
        """A plan that failed at a gate is let pass there."""
        failed = [
            task
            for task in await self.tasks()
            if task.state is TaskState.FAILED and task.gate and task.plan_blob
        ]
        if failed:
            async with self.world.transactions.write() as tx:
                store = self.world.tasks.store
                task = await store.lock(tx, self.dice.choice(failed).id)
                assert task is not None
                await store.save(tx, replace(task, gate_overridden=True))

    async def claim(self) -> None:
        order = await self.world.order(
            self.dice.choice(self.agents),
            self.dice.choice([Slots(plan=1, apply=1), Slots(plan=1), Slots(apply=1)]),
        )
        if order is not None:
            before = self.epochs.get(order.task_id, 0)
            assert order.log.epoch > before, "an epoch was given twice"
            assert order.task_id not in self.begun, "a begun script was given again"
            asks = self.keeper.asks(TaskId(order.task_id))
            for gate in BEFORE[order.phase] & asks.keys():
                assert asks[gate].status is AskStatus.PASSED, f"{gate} was left out"
            self.epochs[order.task_id] = order.log.epoch
            self.phases.append(Phase(self.world, order))

    def phase(self) -> Phase:
        """One of all phases there were; without scripts one of those given last."""
        return self.dice.choice(self.phases if self.scripts else self.phases[-4:])

    async def work(self) -> None:
        if not self.phases:
            return
        phase = self.phase()
        await phase.started()
        if phase.order.phase is PhaseName.SCRIPT:
            self.begun[phase.task_id] = phase.lease_id
        await phase.write(b"line\n")
        if phase.order.phase is PhaseName.PLAN:
            await task_data.store_plan(
                self.world.tasks, caller=phase.caller, content=b"plan"
            )

    async def finish(self) -> None:
        if not self.phases:
            return
        phase = self.phase()
        often = 1 if self.scripts else 9
        await phase.finish(
            self.dice.choice([*PhaseOutcome, *[PhaseOutcome.SUCCEEDED] * often]),
            error="broken",
            has_changes=self.dice.choice([True, True, False]),
            exit_code=self.dice.choice([0, 1]),
        )

    async def run_outside(self) -> None:
        """A run begins, anew or again, on a new or a queued task."""
        waiting = [
            task.id
            for task in await self.tasks()
            if task.task_type is TaskType.SCRIPT and not task.terminal
        ]
        task_id = TaskId(f"run-{len(self.runs) % 5}")
        if waiting and self.dice.random() < 0.5:
            task_id = self.dice.choice(waiting)
        answer = await begin(
            self.world,
            self.dice.choice(["one", "two"]),
            task_id=task_id,
            writer=self.dice.choice(list(Writer)),
        )
        before = self.begun.setdefault(task_id, answer.lease_id)
        assert before == answer.lease_id, "a begun script was given again"
        if all(run.lease_id != answer.lease_id for run in self.runs):
            self.epochs[task_id] = answer.log.epoch
            self.runs.append(Run(self.world, answer))

    async def work_outside(self) -> None:
        if not self.runs:
            return
        run = self.dice.choice(self.runs)
        task = await self.world.task(run.task_id)
        assert task.script is not None
        code = self.dice.choice([0, 0, 3])
        if task.script.records:
            await run.say("said")
            if self.dice.random() < 0.5:
                await run.end(code)
            return
        await run.upload(b"said\n")
        if self.dice.random() < 0.5:
            outcome = PhaseOutcome.FAILED if code else PhaseOutcome.SUCCEEDED
            await run.finish(outcome, code)

    async def deliver_late(self) -> None:
        if not self.phases:
            return
        phase = self.dice.choice(self.phases)
        before = self.world.logs.text(phase.task_id)
        lease = await actions.get_lease(self.world.tasks, lease_id=phase.lease_id)
        (agent,) = [a for a in self.agents if a.agent_id == lease.agent_id]
        late = Late(self.world, agent, phase)
        answer = await late.deliver()
        again = await late.deliver(late.body(answer.committed, b"late\n"))
        assert again.committed - answer.committed in (0, 5)
        assert self.world.logs.text(phase.task_id) == before

    async def ask(self) -> None:
        tasks = await self.tasks()
        if tasks:
            verbs = [actions.confirm, actions.discard, actions.cancel]
            verb = self.dice.choice([*verbs, actions.confirm, actions.force_cancel])
            task = self.dice.choice(tasks)
            if not self.scripts and self.dice.random() < 0.8:
                verb = actions.confirm
                waiting = [t for t in tasks if t.state is TaskState.APPLY_PENDING]
                task = self.dice.choice(waiting or tasks)
            await verb(self.world.tasks, task_id=task.id, actor="ann", reason="")

    async def wait(self) -> None:
        days = self.dice.random() < 0.05
        seconds = 90_000 if days else self.dice.choice([1, 10, 30, 70])
        self.world.clock.turn(seconds=seconds)
        await actions.expire_leases(self.world.tasks)
        await open_gates(self.world.tasks)
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
            begun = [t for t in mine if t.blocks_others and t.started_at is not None]
            assert len(begun) <= 1, "two tasks hold one workspace"
            lock = (await self.world.fresh(workspace)).lock
            holder = lock.id if lock and lock.kind == "task" else None
            assert holder == (begun[0].id if begun else None)
        for task in tasks:
            assert (task.lease is not None) is (task.state in LEASED)
            if task.state is TaskState.RUNNING:
                assert task.task_type is TaskType.SCRIPT
            if task.id in self.begun and not task.terminal:
                assert task.lease is not None
                assert task.lease.id == self.begun[task.id]
            sealed = self.world.logs.status(task.id)
            assert sealed == (task.status.value if task.terminal else None)
            assert task.log.sealed is task.terminal
            if task.task_type is TaskType.PLAN:
                assert task.state is not TaskState.APPLYING
            self.check_gates(task)
        assert max(self.answered.values(), default=0) <= 1, "two answers counted"

    def check_gates(self, task: Task) -> None:
        asks = self.keeper.asks(task.id)
        assert task.gates == asks.keys()
        at = {task.gate} if task.state is TaskState.AT_GATE else set()
        opened = {gate for gate, ask in asks.items() if ask.status is AskStatus.OPEN}
        assert opened == at
        if task.terminal:
            assert all(ask.status is not AskStatus.PENDING for ask in asks.values())
        names = {gate.value for gate in asks}
        marks = [
            (event.stage.value, isinstance(event, StageBegin))
            for event in self.world.logs.events(task.id)
            if isinstance(event, StageBegin | StageEnd) and event.stage.value in names
        ]
        assert len(marks) == len(set(marks)), "a gate was opened twice"
        ends = [stage for stage, begins in marks if not begins]
        begins = [stage for stage, begins in marks if begins]
        assert begins == [*ends, *(gate.value for gate in opened)]


@pytest.mark.parametrize("seed", range(30))
async def test_random_lives_in_memory(seed: int, tmp_path: Path) -> None:
    await live(Backing("memory", MemoryTransactions()), tmp_path, seed, steps=150)


@pytest.mark.parametrize("seed", range(20))
async def test_random_lives_past_gates_in_memory(seed: int, tmp_path: Path) -> None:
    backing = Backing("memory", MemoryTransactions())
    await live(backing, tmp_path, seed, steps=400, scripts=False)


async def test_random_lives_past_gates_on_databases(
    transactions: Backing, tmp_path: Path
) -> None:
    await live(transactions, tmp_path, seed=7, steps=300, scripts=False)


async def test_random_lives_on_databases(transactions: Backing, tmp_path: Path) -> None:
    await live(transactions, tmp_path, seed=99, steps=120)


async def live(
    backing: Backing, directory: Path, seed: int, steps: int, *, scripts: bool = True
) -> None:
    memory = backing.memory if backing.kind == "memory" else None
    keeper = MemoryKeeper(transactions=memory)
    world = await make_world(backing, directory, keepers=[keeper])
    life = Life(world, keeper, seed, scripts=scripts)
    await life.prepare()
    for _ in range(steps):
        await life.act()
        await life.check()
    assert any(task.terminal for task in await life.tasks()), "nothing happened"
