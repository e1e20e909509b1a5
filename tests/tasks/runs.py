"""Runs of scripts outside agents, as `sluice exec` makes them."""

from typing import Any

from sluice.auth.model import TaskPrincipal, UserPrincipal
from sluice.base.ids import LeaseId, TaskId, UserId
from sluice.tasks import actions
from sluice.tasks.exec import begin_exec, end_exec, post_records
from sluice.tasks.model import Task
from sluice.wire.agent import LogEnd, PhaseOutcome, PhaseResult
from sluice.wire.chunk import Chunk, Kind, Source
from sluice.wire.exec import ExecEnd, ExecRequest, ExecResponse
from sluice.wire.script_mark import SaidLine
from tests.tasks.world import ORG, World

NAME = TaskId("task123")
ANN = UserPrincipal(UserId("user-ann"), "ann", admin=False)


async def begin(world: World, run: str = "run-1", **fields: Any) -> ExecResponse:
    """A run begins."""
    who = {
        "task_id": fields.pop("task_id", NAME),
        "organization_id": fields.pop("organization_id", ORG),
        "pool_id": fields.pop("pool_id", None),
        "actor": "ann",
    }
    wanted = ExecRequest(run_id=run, **fields)
    return await begin_exec(world.tasks, wanted=wanted, **who)


class Run:
    """A run whose log is uploaded, or handed in as records."""

    def __init__(self, world: World, answer: ExecResponse) -> None:
        self.world = world
        self.answer = answer
        self.task_id = TaskId(answer.task_id)
        self.lease_id = LeaseId(answer.lease_id)
        self.caller = TaskPrincipal(self.task_id, self.lease_id, ORG)
        self.written = b""

    async def upload(self, data: bytes) -> None:
        chunk = Chunk(0, 1, Source.STDOUT, Kind.OUTPUT, 1, data)
        self.world.logs.append(self.task_id, self.answer.log.epoch, [chunk])
        self.written += data

    async def finish(
        self, outcome: PhaseOutcome = PhaseOutcome.SUCCEEDED, code: int = 0
    ) -> Task:
        end = LogEnd(
            offset=self.answer.log.offset + len(self.written),
            next_line=self.answer.log.next_line + self.written.count(b"\n"),
        )
        result = PhaseResult(
            lease_id=self.lease_id, outcome=outcome, exit_code=code, log_end=end
        )
        await actions.finish_phase(
            self.world.tasks, task_id=self.task_id, result=result
        )
        return await self.world.task(self.task_id)

    async def say(self, *messages: str, level: str = "", caller: Any = ANN) -> int:
        records = [
            SaidLine(source=Source.STDOUT, message=text, captured_us=1, level=level)
            for text in messages
        ]
        written = await post_records(
            self.world.tasks, task_id=self.task_id, records=records, caller=caller
        )
        return written.next_line

    async def end(self, code: int = 0, error: str = "") -> Task:
        ended = ExecEnd(lease_id=self.lease_id, exit_code=code, error=error)
        await end_exec(
            self.world.tasks, task_id=self.task_id, ended=ended, caller=self.caller
        )
        return await self.world.task(self.task_id)
