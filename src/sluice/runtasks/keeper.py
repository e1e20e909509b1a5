"""Answers at the gates of run tasks (`tasks.ports.GateKeeper`): what is asked, where and when."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sluice.base.clock import Clock
from sluice.base.ids import (
    RunTaskId,
    RunTaskStageId,
    TaskId,
    new_run_task_result_id,
    new_run_task_stage_id,
)
from sluice.base.transactions import Tx
from sluice.runtasks.metrics import RunTaskMetrics
from sluice.runtasks.model import Asked, Result, StageOfTask
from sluice.runtasks.ports import Definitions
from sluice.runtasks.result_ports import ResultStore
from sluice.runtasks.verdicts import verdict
from sluice.tasks.model import Gate, Task, TaskState
from sluice.wire.run_task import ResultStatus, RunTaskStage

_LetPass = Mapping[tuple[RunTaskStage, RunTaskId], str]
"""Why a run task need not be asked at a stage again."""
_DECIDED = frozenset({TaskState.CANCELED, TaskState.DISCARDED})


class RunTaskKeeper:
    """Remembers what is asked; `calls` and `callbacks` bring the answers."""

    def __init__(
        self,
        definitions: Definitions,
        store: ResultStore,
        clock: Clock,
        metrics: RunTaskMetrics,
    ) -> None:
        self._definitions = definitions
        self._store = store
        self._clock = clock
        self._metrics = metrics

    async def plan(
        self, tx: Tx, task: Task, possible: frozenset[Gate]
    ) -> frozenset[Gate]:
        """Remember all results of a new task; a stage at which all is skipped is no stop."""
        if task.workspace_id is None:
            return frozenset()
        asked = await self._definitions.asked_in(
            tx, task.organization_id, task.workspace_id
        )
        let_pass = await self._let_pass(tx, task)
        wanted = set()
        for stage in RunTaskStage:
            here = [one for one in asked if one.stage is stage]
            gate = Gate(stage.value)
            if not here or gate not in possible:
                continue
            results = await self._remember(tx, task, stage, here, let_pass)
            if any(not result.final for result in results):
                wanted.add(gate)
        return frozenset(wanted)

    async def open(self, tx: Tx, task: Task, gate: Gate) -> None:
        """The services of this stage may be called from now on."""
        now = self._clock.now()
        for stage in await self._store.stages(tx, task.id):
            if Gate(stage.stage.value) is not gate or stage.opened_at is not None:
                continue
            await self._store.save_stage(tx, replace(stage, opened_at=now))
            for result in await self._store.results(tx, task.id):
                if result.stage_id == stage.id and not result.final:
                    await self._store.save(tx, replace(result, next_call_at=now))

    async def ended(self, tx: Tx, task: Task) -> None:
        """What is open becomes `canceled`; what was never reached is `skipped`."""
        now = self._clock.now()
        opened = set()
        for stage in await self._store.stages(tx, task.id):
            if stage.opened_at is not None:
                opened.add(stage.id)
            if stage.answered_at is None:
                await self._store.save_stage(tx, replace(stage, answered_at=now))
        for known in await self._store.results(tx, task.id):
            # a claim may have changed it since: its token has to stay known
            result = known if known.final else await self._store.hold(tx, known.id)
            if result is None or result.final:
                continue
            broken_off = task.state in _DECIDED or result.stage_id in opened
            status = ResultStatus.CANCELED if broken_off else ResultStatus.SKIPPED
            last = replace(
                result,
                status=status,
                # before the first callback it is ours, about calls that failed
                message=result.message if result.response is not None else "",
                next_call_at=None,
                call_lease_until=None,
                completed_at=now,
            )
            await self._store.save(tx, last)
            self._metrics.concluded(last)

    async def describe(self, tx: Tx, tasks: Sequence[Task]) -> Mapping[TaskId, str]:
        """Which services are still to answer."""
        waiting = await self._store.open_names(tx, [task.id for task in tasks])
        return {
            task_id: f"waits for run tasks: {', '.join(names)}"
            for task_id, names in waiting.items()
        }

    async def _let_pass(self, tx: Tx, task: Task) -> _LetPass:
        """Who need not be asked again about a plan that somebody let pass at a stage."""
        if task.plan_task_id is None:
            return {}
        stages: dict[RunTaskStageId, list[Result]] = {}
        for result in await self._store.of_plan(tx, task.plan_task_id):
            stages.setdefault(result.stage_id, []).append(result)
        return {
            (result.stage, result.run_task_id): f"{_how(result)} at {result.task_id}"
            for results in stages.values()
            if _overridden(results)
            for result in results
        }

    async def _remember(
        self,
        tx: Tx,
        task: Task,
        stage: RunTaskStage,
        asked: Iterable[Asked],
        let_pass: _LetPass,
    ) -> list[Result]:
        now = self._clock.now()
        record = StageOfTask(new_run_task_stage_id(), task.id, stage)
        results = [
            _spared(_new_result(task, record, one, now), one, let_pass) for one in asked
        ]
        for result in results:
            if result.final:
                self._metrics.concluded(result)
        await self._store.add_stage(tx, record, results)
        return results


def _new_result(task: Task, stage: StageOfTask, asked: Asked, now: datetime) -> Result:
    return Result(
        id=new_run_task_result_id(),
        stage_id=stage.id,
        task_id=task.id,
        organization_id=task.organization_id,
        workspace_id=task.home,
        run_task_id=asked.run_task.id,
        name=asked.run_task.name,
        stage=stage.stage,
        level=asked.level,
        created_at=now,
        timeout_seconds=asked.run_task.timeout_seconds,
    )


def _spared(result: Result, asked: Asked, let_pass: _LetPass) -> Result:
    """A result that is skipped from the start, where there is a reason for it."""
    reason = let_pass.get((result.stage, result.run_task_id), "")
    if not asked.enabled:
        reason = "the run task is disabled"
    if not reason:
        return result
    return replace(
        result,
        status=ResultStatus.SKIPPED,
        message=reason,
        completed_at=result.created_at,
    )


def _overridden(results: Sequence[Result]) -> bool:
    """Whether a stage stopped its task and somebody let it pass."""
    given = verdict(results)
    by_hand = any(result.override is not None for result in results)
    return given is not None and given.passed and by_hand


def _how(result: Result) -> str:
    return "overridden" if result.override is not None else result.status.value
