"""A real terraform stops at gates, while somebody watches: markers come live, lines gapless."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from sluice.base.ids import TaskId
from sluice.server import concepts
from sluice.server.settings import ServerSettings
from sluice.tasks.deps import TaskDeps
from sluice.tasks.gates import Verdict
from sluice.tasks.model import Gate
from sluice.testing.memory_keeper import AskStatus, MemoryKeeper
from tests.agents.house import House, archive, open_house
from tests.e2e.stack import Process, talking

ORDER = [
    Gate.PRE_PLAN,
    Gate.COST_ESTIMATION,
    Gate.POST_PLAN,
    Gate.POLICY_CHECK,
    Gate.PRE_APPLY,
    Gate.POST_APPLY,
]
PASSED = Verdict(passed=True)


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> MemoryKeeper:
    """Stands beside the server's own keepers, at every gate."""
    if shutil.which("terraform") is None:
        pytest.skip("terraform is not on PATH")
    beside = MemoryKeeper(list(Gate))

    def with_keeper(**fields: Any) -> TaskDeps:
        return TaskDeps(**{**fields, "keepers": (*fields["keepers"], beside)})

    monkeypatch.setattr(concepts, "TaskDeps", with_keeper)
    return beside


@contextmanager
def real_agent(house: House, root: Path) -> Iterator[Process]:
    """An agent of the house's pool, as a process."""
    (root / "terraformrc").write_text("disable_checkpoint = true\n")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("SLUICE_", "TF_"))
    }
    env = kept | {
        "XDG_CONFIG_HOME": str(root / "config"),
        "XDG_CACHE_HOME": str(root / "cache"),
        "TF_CLI_CONFIG_FILE": str(root / "terraformrc"),
        "CHECKPOINT_DISABLE": "1",
        "SLUICE_URL": house.serving.url,
        "SLUICE_POOL_TOKEN": house.pool_token,
        "SLUICE_AGENT_NAME": "real",
        "SLUICE_AGENT_DATA_DIR": str(root / "agent"),
    }
    argv = [sys.executable, "-m", "sluice", "agent"]
    process = Process(argv, env, root / "agent.log")
    try:
        yield process
    finally:
        process.stop()


@dataclass
class Watcher:
    """Follows a task's output over one connection, from its first line."""

    lines: dict[int, str] = field(default_factory=dict)
    marks: list[tuple[str, str]] = field(default_factory=list)
    completed: str = ""

    async def follow(self, house: House, task_id: str) -> None:
        address = house.serving.url.replace("http", "ws", 1)
        async with connect(
            f"{address}/api/v1/tasks/{task_id}/output/stream?format=batch",
            additional_headers={"Authorization": f"Bearer {house.admin.token}"},
            max_size=None,
            proxy=None,
        ) as socket:
            async for message in socket:
                self.take(json.loads(message))

    def take(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "batch":
                for number, line in enumerate(frame["lines"], frame["first_line"]):
                    self.add(number, line[3])
            case "stage_marker":
                self.add(frame["line_num"], frame["line"])
                self.marks.append((frame["stage"], frame["status"]))
            case "completed":
                self.completed = frame["status"]
            case _:
                pass

    def add(self, number: int, text: str) -> None:
        assert number == len(self.lines) + 1, f"gap before line {number}"
        self.lines[number] = text

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for _, line in sorted(self.lines.items()))


@dataclass
class Story:
    """One task in a house, and who watches it."""

    house: House
    keeper: MemoryKeeper
    task_id: str
    workspace_id: str
    watcher: Watcher

    async def task(self) -> dict[str, Any]:
        return await self.house.admin.get(f"/tasks/{self.task_id}")

    async def until(self, what: str, probe: Callable[[], object]) -> None:
        """Wait until ``probe`` says so; a machine may be slow."""
        try:
            async with asyncio.timeout(90):
                while not probe():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            task = await self.task()
            raise AssertionError(f"waited in vain for {what}: {task}") from None

    async def at(self, gate: Gate) -> dict[str, Any]:
        """The task, once it stands at the gate and the watcher has seen it come there."""

        def stands() -> bool:
            found = [(ask.task_id, ask.gate) for ask in self.keeper.standing()]
            return (self.task_id, gate) in found

        await self.until(f"the gate {gate}", stands)
        begin = (gate.value, "begin")
        await self.until(f"{begin} live", lambda: begin in self.watcher.marks)
        assert (gate.value, "end") not in self.watcher.marks
        task = await self.task()
        assert (task["status"], task["stage"]) == ("running", gate.value)
        assert task["reason"] == f"waits for the test at {gate}"
        return task

    async def answer(self, gate: Gate) -> None:
        tasks = self.house.serving.concepts.tasks
        task_id = TaskId(self.task_id)
        assert await self.keeper.answer(tasks, task_id, gate, PASSED)

    async def raw(self) -> str:
        here = f"/tasks/{self.task_id}/logs/download?raw=true"
        content: bytes = await self.house.admin.get(here)
        return content.decode()

    async def confirm(self) -> None:
        assert (await self.task())["status"] == "apply_pending"
        await self.house.admin.post(f"/tasks/{self.task_id}/confirm", {"reason": "ok"})


@asynccontextmanager
async def story(root: Path, keeper: MemoryKeeper) -> AsyncIterator[Story]:
    """A plan_and_apply that an agent is ready for, followed until its log ends."""
    settings = ServerSettings(data_dir=root / "server", port=0, shutdown_seconds=2)
    async with open_house(settings) as house:
        workspace = await house.workspace("gates")
        made = await house.admin.post(
            f"/workspaces/{workspace}/configuration-versions", expect=201
        )
        upload = made["upload_url"].removeprefix("/api/v1")
        await house.admin.put(upload, archive({"main.tf": talking(20, 0)}))
        with real_agent(house, root):
            task = await house.admin.post(
                f"/workspaces/{workspace}/tasks",
                {"task_type": "plan_and_apply"},
                expect=201,
            )
            told = Story(house, keeper, task["id"], workspace, Watcher())
            async with asyncio.TaskGroup() as group:
                following = group.create_task(told.watcher.follow(house, task["id"]))
                yield told
                async with asyncio.timeout(90):
                    await following


def marks_of(gates: list[Gate]) -> list[tuple[str, str]]:
    return [(gate.value, edge) for gate in gates for edge in ("begin", "end")]


async def test_a_plan_and_apply_stops_at_all_six_gates(
    tmp_path: Path, keeper: MemoryKeeper
) -> None:
    async with story(tmp_path, keeper) as told:
        for gate in ORDER:
            task = await told.at(gate)
            flags = ("can_confirm", "can_discard", "can_cancel", "can_force_cancel")
            assert [task[flag] for flag in flags] == [False, False, True, False]
            if gate is Gate.PRE_PLAN:
                assert task["started_at"] is None, "an agent got it before its gate"
            await told.answer(gate)
            if gate is Gate.POLICY_CHECK:
                await told.confirm()
        await told.until("the log's end", lambda: told.watcher.completed)
        raw = await told.raw()
    watcher = told.watcher
    assert watcher.completed == "success"
    assert raw == watcher.text
    phases = {
        Gate.PRE_PLAN: ["fetching", "init", "planning", "saving_plan"],
        Gate.PRE_APPLY: [
            *("fetching", "init", "restoring_plan", "applying", "saving_state")
        ],
    }
    expected = []
    for gate in ORDER:
        expected += marks_of([gate])
        for stage in phases.get(gate, []):
            expected += [(stage, "begin"), (stage, "end")]
    assert watcher.marks == expected
    text = watcher.text
    assert "line 20 of 20" in text
    assert text.index("POLICY_CHECK END") < text.index("confirmed by ann")
    assert text.index("confirmed by ann") < text.index("PRE_APPLY BEGIN")
    assert text.index("Apply complete!") < text.index("POST_APPLY BEGIN")


async def test_a_cancel_before_the_apply_leaves_the_infrastructure_alone(
    tmp_path: Path, keeper: MemoryKeeper
) -> None:
    keeper.stops_at = frozenset({Gate.PRE_APPLY})
    async with story(tmp_path, keeper) as told:
        await told.until("the plan", lambda: "saving_plan" in dict(told.watcher.marks))
        async with asyncio.timeout(90):
            while (await told.task())["status"] != "apply_pending":
                await asyncio.sleep(0.05)
        await told.confirm()
        await told.at(Gate.PRE_APPLY)
        await told.house.admin.post(f"/tasks/{told.task_id}/cancel", {"reason": "no"})
        await told.until("the log's end", lambda: told.watcher.completed)
        task = await told.task()
        space = await told.house.admin.get(f"/workspaces/{told.workspace_id}")
        states = await told.house.admin.get(
            f"/workspaces/{told.workspace_id}/state-versions"
        )
        raw = await told.raw()
    assert (task["status"], task["reason"]) == ("canceled", "canceled by ann: no")
    assert space["lock"] is None
    assert not states["state_versions"] if isinstance(states, dict) else not states
    assert told.watcher.completed == "canceled"
    assert told.watcher.marks[-2:] == marks_of([Gate.PRE_APPLY])
    assert raw == told.watcher.text
    asks = keeper.asks(TaskId(told.task_id))
    assert asks[Gate.PRE_APPLY].status is AskStatus.CANCELED
