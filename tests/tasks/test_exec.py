"""Scripts that run outside agents: begin, records, end, and what becomes of lost runs."""

import asyncio
from itertools import product
from typing import Any

import pytest

from sluice.auth.model import Organization, PoolPrincipal, TaskPrincipal
from sluice.base.errors import (
    ConflictError,
    FencedError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
)
from sluice.base.ids import LeaseId, OrganizationId, PoolId, TaskId, TokenId
from sluice.tasks import actions, exec_rules
from sluice.tasks.exec import (
    end_exec,
    exec_organization,
)
from sluice.tasks.leases import REPEAT_FOR
from sluice.tasks.model import ScriptFacts, TaskState
from sluice.tasks.present import task_resource
from sluice.wire.agent import PhaseOutcome
from sluice.wire.exec import ExecEnd, ExecRequest, ExecResponse, Writer
from sluice.wire.script_mark import mark_of
from sluice.wire.shapes.tasks import StageStatus, TaskStatus, TaskType
from tests.tasks.runs import NAME, Run, begin
from tests.tasks.world import ORG, POOL, World

OTHER_ORG = OrganizationId("org-2")


async def uploading(world: World, **fields: Any) -> Run:
    return Run(world, await begin(world, **fields))


async def recording(world: World, **fields: Any) -> Run:
    return Run(world, await begin(world, writer=Writer.RECORDS, **fields))


# --- begin -------------------------------------------------------------------


async def test_a_run_makes_its_task_and_ends_it(world: World) -> None:
    run = await uploading(
        world,
        script_path="/opt/app/deploy.sh",
        process_id=77,
        host="k8s-7",
        floor="WARN",
    )
    assert run.answer.agent_id.startswith("exec-")
    assert (run.answer.log.offset, run.answer.log.next_line) == (0, 1)
    task = await world.task(NAME)
    assert (task.state, task.task_type) == (TaskState.RUNNING, TaskType.SCRIPT)
    assert task.lease is not None
    assert task.lease.started, "it may have begun from the first moment on"
    assert task.script == ScriptFacts(
        name="deploy.sh",
        path="/opt/app/deploy.sh",
        process_id=77,
        floor="WARN",
        run_id="run-1",
        host="k8s-7",
    )
    details = await actions.get_task_details(world.tasks, task_id=NAME)
    shown = task_resource(details)
    assert shown.agent_name == "sluice exec on k8s-7"
    assert shown.script is not None
    assert shown.script.name == "deploy.sh"
    await run.upload(b"one\ntwo\n")
    done = await run.finish()
    assert (done.status, done.exit_code) == (TaskStatus.SUCCESS, 0)
    assert (done.log.script_lines, done.log.script_last_line) == (2, "two")
    assert world.logs.status(NAME) == "success"


async def test_agents_are_not_given_what_a_run_holds(world: World) -> None:
    agent = await world.agent()
    await uploading(world)
    await world.nothing(agent)


async def test_the_same_run_is_the_same_again(world: World) -> None:
    run = await uploading(world)
    await run.upload(b"one\n")
    world.clock.turn(seconds=50)
    again = await begin(world, process_id=5)
    first = run.answer
    assert again.model_copy(update={"task_token": ""}) == first.model_copy(
        update={"task_token": ""}
    )
    task = await world.task(NAME)
    assert task.lease is not None
    assert (task.lease.expires_at - world.clock.now()).total_seconds() == 60
    assert task.script is not None
    assert task.script.process_id == 5
    await run.upload(b"two\n")
    assert (await run.finish()).status is TaskStatus.SUCCESS


async def test_another_run_is_refused_and_told_who_holds_the_task(
    world: World,
) -> None:
    await uploading(world, host="k8s-7")
    with pytest.raises(ConflictError) as refused:
        await begin(world, "run-2")
    assert "is held by sluice exec on k8s-7 (run run-1)" in refused.value.detail
    await world.script(task_id=TaskId("nightly"))
    await world.claim(await world.agent())
    with pytest.raises(ConflictError, match="is held by agent builder since"):
        await begin(world, task_id=TaskId("nightly"))


async def test_an_ended_task_does_not_run_again(world: World) -> None:
    run = await uploading(world)
    await run.finish()
    again = await begin(world)
    assert again.lease_id == run.lease_id, "so that the end can be reported again"
    assert (await run.finish()).status is TaskStatus.SUCCESS
    with pytest.raises(ConflictError) as refused:
        await begin(world, "run-2")
    assert refused.value.extra == {"task_status": "success"}
    world.clock.turn(seconds=REPEAT_FOR.total_seconds() + 1)
    with pytest.raises(ConflictError, match="has ended"):
        await begin(world)


async def test_a_queued_script_can_be_run_outside(world: World) -> None:
    queued = await world.script(pool_id=POOL)
    run = await uploading(world, task_id=queued.id, name="mine", pool_id=POOL)
    task = await world.task(queued.id)
    assert task.script is not None
    assert (task.script.key, task.script.name) == ("hello", "hello")
    assert task.script.run_id == "run-1"
    await world.nothing(await world.agent())
    assert (await run.finish()).status is TaskStatus.SUCCESS


async def test_a_pools_token_takes_its_own_pools_scripts_alone(world: World) -> None:
    other = await world.pool("other")
    bound = await world.script(pool_id=other)
    labelled = await world.script(labels={"region": "eu"})
    for task in (bound, labelled):
        with pytest.raises(ConflictError, match="for another pool"):
            await begin(world, task_id=task.id, pool_id=POOL)
    free = await world.script()
    await begin(world, task_id=free.id, pool_id=POOL)
    made = await begin(world, task_id=TaskId("new"), pool_id=POOL)
    assert (await world.task(TaskId(made.task_id))).pool_id == POOL
    for run_id, name in product(("run-1", "run-2"), ("new", free.id)):
        with pytest.raises(ConflictError) as refused:
            await begin(world, run_id, task_id=TaskId(name), pool_id=other)
        assert "for another pool" in refused.value.detail, "who knows its run or not"
        assert "run-1" not in refused.value.detail


async def test_tasks_of_others_are_not_run(world: World) -> None:
    workspace = await world.workspace()
    plan = await world.create(workspace)
    with pytest.raises(ConflictError, match="only scripts run by"):
        await begin(world, task_id=plan.id)
    await uploading(world)
    with pytest.raises(ConflictError) as refused:
        await begin(world, organization_id=OTHER_ORG)
    assert refused.value.detail == (
        "The id task123 is taken by another organization; choose another."
    )


async def test_many_begin_at_once_and_one_has_it(world: World) -> None:
    async def attempt(number: int) -> str:
        try:
            answer = await begin(world, f"run-{number % 4}")
        except ConflictError:
            return ""
        return answer.lease_id

    found = await asyncio.gather(*(attempt(number) for number in range(12)))
    leases = [lease for lease in found if lease]
    assert len(leases) == 3, "one of four runs, each of its attempts"
    assert len(set(leases)) == 1
    assert world.logs.rows[NAME].epoch == 1


async def test_the_writer_of_a_run_stays(world: World) -> None:
    await uploading(world)
    with pytest.raises(ConflictError, match="began with the writer `upload`"):
        await begin(world, writer=Writer.RECORDS)


async def test_for_which_organization_a_user_begins(world: World) -> None:
    async def found(wanted: str | None = None, task_id: TaskId = NAME) -> str:
        return await exec_organization(world.tasks, task_id=task_id, wanted=wanted)

    assert await found() == ORG
    assert await found("default") == ORG
    assert await found(ORG) == ORG
    with pytest.raises(NotFoundError):
        await found("none")
    await uploading(world)
    async with world.transactions.write() as tx:
        second = Organization(OTHER_ORG, "second", world.clock.now())
        await world.agents.auth.store.add_organization(tx, second)
    assert await found() == ORG, "the task's own"
    with pytest.raises(InvalidInputError, match=r"several \(default, second\)"):
        await found(task_id=TaskId("new"))
    assert await found("second", TaskId("new")) == OTHER_ORG


# --- lost runs ---------------------------------------------------------------


async def test_a_lost_run_waits_and_goes_on(world: World) -> None:
    run = await uploading(world, host="k8s-7")
    await run.upload(b"one\n")
    world.clock.turn(seconds=61)
    await actions.expire_leases(world.tasks)
    lost = await world.task(NAME)
    assert (lost.agent_lost, lost.state) == (True, TaskState.RUNNING)
    reason = await world.reason(NAME)
    assert "lost during the script: sluice exec on k8s-7 is unreachable" in reason
    assert reason.endswith('last line received: "one"')
    again = await begin(world)
    assert again.lease_id == run.lease_id
    assert not (await world.task(NAME)).agent_lost
    await run.upload(b"two\n")
    done = await run.finish()
    assert (done.status, world.logs.text(NAME)) == (TaskStatus.SUCCESS, "one\ntwo\n")


async def test_a_run_that_stays_away_fails(world: World) -> None:
    run = await uploading(world)
    world.clock.turn(seconds=61)
    await actions.expire_leases(world.tasks)
    world.clock.turn(seconds=world.tasks.lost_script_seconds)
    await actions.expire_leases(world.tasks)
    failed = await world.task(NAME)
    assert failed.status is TaskStatus.FAILED
    assert "sluice exec was not heard of since" in failed.error
    with pytest.raises(ConflictError, match="has ended"):
        await begin(world)
    with pytest.raises(FencedError):
        await run.finish()


async def test_a_canceled_run_hears_of_it(world: World) -> None:
    run = await uploading(world)
    await actions.cancel(world.tasks, task_id=NAME, actor="ann", reason="no")
    assert await actions.command_for_task(world.tasks, task_id=NAME) == "cancel"
    done = await run.finish(PhaseOutcome.CANCELED, code=143)
    assert (done.status, done.exit_code) == (TaskStatus.CANCELED, 143)


# --- records -----------------------------------------------------------------


async def test_records_are_written_by_the_server(world: World) -> None:
    run = await recording(world, script_path="/s.sh", process_id=9, floor="WARN")
    assert await run.say("one", "two\nlines") == 4
    assert await run.say("three", caller=run.caller) == 5
    assert world.logs.text(NAME) == "one\ntwo\nlines\nthree\n"
    marks = [mark_of(chunk) for chunk in world.logs.rows[NAME].chunks]
    assert all(
        mark is not None
        and (mark.process_id, mark.script_path, mark.floor) == (9, "/s.sh", "WARN")
        for mark in marks
    )
    details = await actions.get_task_details(world.tasks, task_id=NAME)
    assert [(s.stage, s.status) for s in details.stages] == [
        ("running", StageStatus.RUNNING)
    ]
    assert task_resource(details).stage == "running"
    done = await run.end()
    assert (done.status, done.exit_code) == (TaskStatus.SUCCESS, 0)
    assert (done.log.script_lines, done.log.script_last_line) == (4, "three")
    assert world.logs.status(NAME) == "success"
    details = await actions.get_task_details(world.tasks, task_id=NAME)
    assert details.stages[0].status is StageStatus.COMPLETED


async def test_ending_again_changes_nothing(world: World) -> None:
    run = await recording(world)
    ended = await run.end(code=3)
    assert ended.error == "The script ended with exit code 3."
    assert await run.end(code=0) == ended
    results = await asyncio.gather(*(run.end(code=3) for _ in range(3)))
    assert results == [ended] * 3


async def test_a_canceled_run_of_records_is_canceled(world: World) -> None:
    run = await recording(world)
    await actions.cancel(world.tasks, task_id=NAME, actor="ann", reason="")
    assert (await run.end(code=143)).status is TaskStatus.CANCELED


async def test_records_keep_the_lease(world: World) -> None:
    run = await recording(world)
    for _ in range(4):
        world.clock.turn(seconds=40)
        await run.say("still here")
        await actions.expire_leases(world.tasks)
    assert not (await world.task(NAME)).agent_lost
    world.clock.turn(seconds=61)
    await actions.expire_leases(world.tasks)
    assert (await world.task(NAME)).agent_lost
    await run.say("back again")
    assert not (await world.task(NAME)).agent_lost


async def test_errors_are_remembered(world: World) -> None:
    run = await recording(world)
    await run.say("fine", level="INFO")
    assert not (await world.task(NAME)).log.has_errors
    await run.say("broken", level="ERROR")
    await run.say("broken", level="ERROR")
    assert (await world.task(NAME)).log.has_errors


async def test_a_run_that_uploads_takes_no_records(world: World) -> None:
    run = await uploading(world)
    with pytest.raises(ConflictError, match="uploads its log itself"):
        await run.say("x")
    with pytest.raises(ConflictError, match="uploads its log itself"):
        await run.end()


async def test_nobody_uploads_where_the_server_writes(world: World) -> None:
    run = await recording(world)
    with pytest.raises(ConflictError):
        await run.upload(b"x\n")
    await run.say("y")
    assert world.logs.text(NAME) == "y\n"


async def test_records_need_a_run(world: World) -> None:
    with pytest.raises(NotFoundError):
        await Run(world, await _unknown(world)).say("x")
    queued = await world.script()
    run = await recording(world)
    run.task_id = queued.id
    with pytest.raises(ConflictError, match="begin a run with POST"):
        await run.say("x")
    workspace = await world.workspace()
    run.task_id = (await world.create(workspace)).id
    with pytest.raises(ConflictError, match="does not run by `sluice exec`"):
        await run.say("x")
    run.task_id = NAME
    await run.end()
    with pytest.raises(ConflictError, match="has ended"):
        await run.say("late")


async def _unknown(world: World) -> ExecResponse:
    answer = await begin(world, task_id=TaskId("other"))
    return answer.model_copy(update={"task_id": "task-none"})


async def test_whose_records_are_taken(world: World) -> None:
    run = await recording(world, pool_id=POOL)
    token = TokenId("tok")
    await run.say("own pool", caller=PoolPrincipal(POOL, ORG, token))
    for stranger in (
        PoolPrincipal(PoolId("pool-2"), ORG, token),
        PoolPrincipal(POOL, OTHER_ORG, token),
        TaskPrincipal(TaskId("task-x"), run.lease_id, ORG),
    ):
        with pytest.raises(NotFoundError):
            await run.say("x", caller=stranger)
    with pytest.raises(ForbiddenError):
        await run.say("x", caller=TaskPrincipal(NAME, LeaseId("lease-x"), ORG))
    assert world.logs.text(NAME) == "own pool\n"


async def test_only_the_holder_ends_a_run(world: World) -> None:
    run = await recording(world)
    stranger = TaskPrincipal(NAME, LeaseId("lease-x"), ORG)
    ended = ExecEnd(lease_id=run.lease_id, exit_code=0)
    with pytest.raises(ForbiddenError):
        await end_exec(world.tasks, task_id=NAME, ended=ended, caller=stranger)
    unknown = ExecEnd(lease_id="lease-x", exit_code=0)
    with pytest.raises(NotFoundError):
        await end_exec(world.tasks, task_id=NAME, ended=unknown, caller=stranger)
    world.clock.turn(seconds=61)
    await actions.expire_leases(world.tasks)
    await actions.force_cancel(world.tasks, task_id=NAME, actor="ann", reason="")
    with pytest.raises(FencedError):
        await run.end()
    with pytest.raises(ConflictError):
        await run.say("late")


# --- rules -------------------------------------------------------------------


def test_names_of_scripts_that_have_none() -> None:
    def name(**fields: str) -> str:
        return exec_rules.facts_of(ExecRequest(run_id="r", **fields)).name

    assert name() == "script"
    assert name(script_path="./deploy.sh") == "deploy.sh"
    assert name(script_path="/a/", name="") == "script"
    assert name(script_path="./x", name="nightly") == "nightly"
