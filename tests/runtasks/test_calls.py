"""When services are called, called again and given up; on memory, SQLite and PostgreSQL."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sluice.auth.tokens import hash_secret
from sluice.base.errors import (
    ConflictError,
    ForbiddenError,
    GoneError,
    UnauthorizedError,
)
from sluice.base.ids import TaskId
from sluice.edge.outgoing import OutgoingFailedError, OutgoingRefusedError
from sluice.runtasks.callbacks import admit_callback
from sluice.runtasks.calls import claim_calls, make_call
from sluice.runtasks.deadlines import answer_left_over, end_overdue
from sluice.runtasks.result_tokens import OpenResults
from sluice.runtasks.schedule import LEASE, LONGEST, TRIES
from sluice.runtasks.sealing import with_key
from sluice.tasks import actions
from sluice.tasks.gate_actions import open_gates
from sluice.tasks.model import TaskState
from sluice.wire.run_task import ResultStatus, RunTaskStage, verify
from sluice.wire.shapes.tasks import TaskType
from tests.conftest import Backing
from tests.runtasks.rig import ADVISORY, Rig, Sent, make_rig

PRE = RunTaskStage.PRE_PLAN


@pytest.fixture
async def rig(transactions: Backing, tmp_path: Path) -> Rig:
    return await make_rig(transactions, tmp_path)


async def test_a_service_is_called_once_and_its_verdict_counts(rig: Rig) -> None:
    task = await rig.at_gate()
    assert task.state is TaskState.AT_GATE
    assert await rig.call() == 1
    assert await rig.call() == 0
    result = await rig.only(task)
    assert (result.status, result.attempts) == (ResultStatus.RUNNING, 1)
    assert (result.http_status, result.next_call_at) == (200, None)
    [sent] = rig.sender.sent
    assert sent.payload["task_result_id"] == result.id
    assert result.request == {
        key: value for key, value in sent.payload.items() if key != "access_token"
    }
    await rig.say(sent, "passed", "all well")
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED
    assert "run task checks (mandatory) passed: all well\n" in rig.log(task)
    [stage] = await rig.stages(task)
    assert stage.passed is True
    assert rig.counted("sluice_run_task_calls_total", outcome="taken") == 1
    results = rig.counted(
        "sluice_run_task_results_total", stage="pre_plan", status="passed"
    )
    assert results == 1
    took = rig.counted("sluice_run_task_duration_seconds_count", stage="pre_plan")
    assert took == 1


async def test_all_of_a_stage_are_waited_for_and_the_strictest_counts(
    rig: Rig,
) -> None:
    task = await rig.at_gate("a", "b", "c")
    assert await rig.world.reason(task.id) == "waits for run tasks: a, b, c"
    assert await rig.call() == 3
    said = {sent.url: sent for sent in rig.sender.sent}
    await rig.say(said["https://b.example.com/check"], "failed", "no")
    await rig.say(said["https://a.example.com/check"], "passed")
    still = await rig.world.task(task.id)
    assert still.state is TaskState.AT_GATE
    assert await rig.world.reason(task.id) == "waits for run tasks: c"
    await rig.say(said["https://c.example.com/check"], "passed")
    ended = await rig.world.task(task.id)
    assert ended.state is TaskState.FAILED
    assert ended.error == "run task b (mandatory) failed: no"
    assert ended.reason == "failed: run task b (mandatory) failed: no"


async def test_an_advisory_failure_lets_the_task_go_on(rig: Rig) -> None:
    workspace = await rig.world.workspace()
    await rig.attach(workspace, "style", PRE, ADVISORY)
    task = await rig.world.create(workspace)
    await open_gates(rig.deps.tasks)
    await rig.call()
    await rig.say(rig.sender.sent[0], "failed", "ugly")
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED
    assert "run task style (advisory) failed: ugly" in rig.log(task)


@pytest.mark.parametrize(
    "answer", [503, 429, 302, OutgoingFailedError("no answer: refused.")]
)
async def test_a_call_that_is_not_taken_is_made_again_and_given_up(
    rig: Rig, answer: int | Exception
) -> None:
    rig.sender.answer = answer
    task = await rig.at_gate()
    await rig.call()
    first = await rig.only(task)
    assert first.status is ResultStatus.RUNNING
    assert first.message.startswith("try 1 of 5: ")
    for _ in range(200):
        await rig.turn(seconds=2)
        if (await rig.only(task)).final:
            break
    last = await rig.only(task)
    assert last.status is ResultStatus.ERROR
    assert last.attempts == len(rig.sender.sent) == TRIES
    assert timedelta(minutes=2) < rig.clock.now() - task.created_at
    assert rig.clock.now() - task.created_at < timedelta(minutes=6)
    tokens = {sent.token for sent in rig.sender.sent}
    bodies = {sent.body for sent in rig.sender.sent}
    assert len(tokens) == len(bodies) == 1
    ended = await rig.world.task(task.id)
    assert ended.state is TaskState.FAILED
    assert ended.error.startswith("run task checks (mandatory) could not be asked: ")
    with pytest.raises(GoneError, match="its call was given up"):
        await rig.say(rig.sender.sent[0], "passed")


@pytest.mark.parametrize(
    "answer", [410, 404, 401, OutgoingRefusedError("10.0.0.1 is not called.")]
)
async def test_a_call_that_is_refused_is_not_made_again(
    rig: Rig, answer: int | Exception
) -> None:
    rig.sender.answer = answer
    task = await rig.at_gate()
    await rig.call()
    result = await rig.only(task)
    assert (result.status, result.attempts) == (ResultStatus.ERROR, 1)
    assert (await rig.world.task(task.id)).state is TaskState.FAILED
    await rig.turn(minutes=10)
    assert len(rig.sender.sent) == 1
    assert rig.counted("sluice_run_task_calls_total", outcome="refused") == 1


async def test_a_call_that_is_taken_at_last_counts(rig: Rig) -> None:
    rig.sender.answer = 500
    task = await rig.at_gate()
    await rig.call()
    rig.sender.answer = 202
    await rig.turn(seconds=20)
    result = await rig.only(task)
    assert (result.http_status, result.attempts) == (202, 2)
    assert (result.message, result.next_call_at) == ("", None)
    await rig.say(rig.sender.sent[0], "passed")
    assert (await rig.only(task)).status is ResultStatus.PASSED


@pytest.mark.parametrize("answer", [200, 500])
@pytest.mark.parametrize("status", ["passed", "failed", "running"])
async def test_a_callback_before_the_answer_counts(
    rig: Rig, status: str, answer: int
) -> None:
    async def calls_back(sent: Sent) -> None:
        await rig.say(sent, status, "early")

    rig.sender.answer, rig.sender.meanwhile = answer, calls_back
    task = await rig.at_gate()
    await rig.call()
    result = await rig.only(task)
    assert result.status == ResultStatus(status)
    assert (result.message, result.http_status) == ("early", answer)
    assert result.next_call_at is None
    await rig.turn(minutes=5)
    assert len(rig.sender.sent) == 1


async def test_a_call_that_nobody_ended_is_made_again_the_same(rig: Rig) -> None:
    task = await rig.at_gate()
    [lost] = await claim_calls(rig.deps, 10)
    assert await rig.call() == 0
    rig.clock.turn(seconds=LEASE.total_seconds() - 1)
    assert await rig.call() == 0
    rig.clock.turn(seconds=1)
    assert await rig.call() == 1
    result = await rig.only(task)
    assert result.attempts == 2
    assert result.timeout_at == lost.timeout_at
    [sent] = rig.sender.sent
    assert sent.payload["task_result_id"] == lost.id
    assert hash_secret(sent.token) == lost.token_hash == result.token_hash
    # the one who was thought lost comes back late: the same body, and no harm done
    rig.sender.answer = 500
    await make_call(rig.deps, lost)
    again = await rig.only(task)
    assert (again.http_status, again.next_call_at) == (200, None)
    assert rig.sender.sent[1].body == sent.body
    await rig.say(sent, "passed")
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED


async def test_silence_is_a_timeout_and_progress_puts_it_off(rig: Rig) -> None:
    task = await rig.at_gate()
    await rig.call()
    [sent] = rig.sender.sent
    for _ in range(5):
        await rig.turn(seconds=599)
        await rig.say(sent, "running", "still at it")
    assert (await rig.only(task)).status is ResultStatus.RUNNING
    await rig.turn(seconds=600)
    result = await rig.only(task)
    assert result.status is ResultStatus.TIMEOUT
    assert result.message == "nothing was heard of it for 600 seconds"
    assert (await rig.world.task(task.id)).state is TaskState.FAILED
    timeouts = rig.counted("sluice_run_task_callback_timeouts_total", stage="pre_plan")
    assert timeouts == 1
    with pytest.raises(GoneError, match="its time is over"):
        await rig.say(sent, "passed")


async def test_progress_for_ever_ends_after_an_hour(rig: Rig) -> None:
    task = await rig.at_gate()
    await rig.call()
    [sent] = rig.sender.sent
    for _ in range(11):
        await rig.turn(seconds=300)
        await rig.say(sent, "running")
    await rig.turn(seconds=299)
    assert (await rig.only(task)).status is ResultStatus.RUNNING
    await rig.turn(seconds=1)
    result = await rig.only(task)
    assert result.status is ResultStatus.TIMEOUT
    assert result.message == "it was not done 60 minutes after the call"
    assert result.timeout_at == result.last_timeout_at
    assert rig.clock.now() - (result.started_at or rig.clock.now()) == LONGEST


async def test_a_deadline_counts_before_anybody_has_looked(rig: Rig) -> None:
    task = await rig.at_gate()
    await rig.call()
    [sent] = rig.sender.sent
    result = await rig.only(task)
    alive = OpenResults(rig.world.transactions, rig.store, rig.clock)
    assert await alive.is_open(result.id, hash_secret(sent.token))
    assert not await alive.is_open(result.id, hash_secret("other"))
    rig.clock.turn(seconds=600)
    assert not await alive.is_open(result.id, hash_secret(sent.token))
    with pytest.raises(GoneError):
        await rig.say(sent, "passed")
    await end_overdue(rig.deps)
    assert (await rig.only(task)).status is ResultStatus.TIMEOUT


async def test_a_cancel_cancels_what_is_open_and_its_token_dies(rig: Rig) -> None:
    task = await rig.at_gate("a", "b")
    await rig.call()
    said = {sent.url: sent for sent in rig.sender.sent}
    a, b = said["https://a.example.com/check"], said["https://b.example.com/check"]
    await rig.say(a, "passed")
    await actions.cancel(rig.deps.tasks, task_id=task.id, actor="ann", reason="")
    assert [result.status for result in await rig.results(task)] == [
        ResultStatus.PASSED,
        ResultStatus.CANCELED,
    ]
    with pytest.raises(GoneError, match="its task has ended"):
        await rig.say(b, "passed")
    with pytest.raises(ConflictError):
        await rig.say(a, "failed")
    alive = OpenResults(rig.world.transactions, rig.store, rig.clock)
    found = (await rig.results(task))[1]
    assert not await alive.is_open(found.id, hash_secret(b.token))
    await rig.turn(minutes=70)
    assert len(rig.sender.sent) == 2


async def test_a_cancel_while_a_call_is_made_stays_a_cancel(rig: Rig) -> None:
    task = await rig.at_gate()

    async def cancels(sent: Sent) -> None:
        await actions.cancel(rig.deps.tasks, task_id=task.id, actor="ann", reason="")

    rig.sender.meanwhile, rig.sender.answer = cancels, 503
    await rig.call()
    assert (await rig.only(task)).status is ResultStatus.CANCELED
    assert (await rig.world.task(task.id)).state is TaskState.CANCELED


async def test_a_run_task_that_is_gone_cannot_be_asked(rig: Rig) -> None:
    task = await rig.at_gate()
    run_task_id = (await rig.only(task)).run_task_id
    async with rig.world.transactions.write() as tx:
        await rig.definitions.delete(tx, run_task_id)
    await rig.call()
    result = await rig.only(task)
    assert result.status is ResultStatus.ERROR
    assert "was deleted before it was asked" in result.message
    assert rig.sender.sent == []


async def test_calls_are_signed_with_the_key_of_today(rig: Rig) -> None:
    task = await rig.at_gate()
    rig.sender.answer = 500
    await rig.call()
    run_task_id = (await rig.only(task)).run_task_id
    async with rig.world.transactions.write() as tx:
        run_task = await rig.definitions.hold(tx, run_task_id)
        assert run_task is not None
        keyed = with_key(rig.deps.keyring, run_task, "secret")
        await rig.definitions.save(tx, replace(keyed, signature_prefix=True))
    await rig.turn(seconds=20)
    plain, signed = rig.sender.sent
    assert plain.headers["X-TFC-Task-Signature"] == ""
    signature = signed.headers["X-TFC-Task-Signature"]
    assert signature.startswith("sha512=")
    assert verify("secret", signed.body, signature)
    assert plain.headers["webhook-id"] == signed.headers["webhook-id"]


async def test_what_a_crash_left_unanswered_is_answered(rig: Rig) -> None:
    task = await rig.at_gate()
    result = await rig.only(task)
    done = replace(
        result,
        status=ResultStatus.PASSED,
        next_call_at=None,
        completed_at=rig.clock.now(),
    )
    async with rig.world.transactions.write() as tx:
        await rig.store.save(tx, done)
    await answer_left_over(rig.deps)
    assert (await rig.world.task(task.id)).state is TaskState.QUEUED
    await answer_left_over(rig.deps)
    [stage] = await rig.stages(task)
    assert stage.passed is True


async def test_a_token_of_another_result_is_none(rig: Rig) -> None:
    await rig.at_gate("a", "b")
    await rig.call()
    a, b = rig.sender.sent
    with pytest.raises(UnauthorizedError):
        await admit_callback(
            rig.deps,
            result_id=a.payload["task_result_id"],
            token=b.token,
            address="127.0.0.1",
        )


async def test_calls_are_claimed_up_to_the_limit(rig: Rig) -> None:
    await rig.at_gate(*(f"r{number}" for number in range(7)))
    assert len(await claim_calls(rig.deps, 3)) == 3
    assert len(await claim_calls(rig.deps, 50)) == 4
    assert await claim_calls(rig.deps, 50) == []


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("2001:db8::7", True),
        ("11.1.2.3", False),
        ("2001:db9::7", False),
        ("", False),
        ("testclient", False),
    ],
)
async def test_callbacks_come_from_the_ranges_that_are_named(
    rig: Rig, address: str, *, admitted: bool
) -> None:
    workspace = await rig.world.workspace()
    ranges = ("10.0.0.0/8", "2001:db8::/32")
    await rig.attach(workspace, "checks", PRE, callback_allowed_cidrs=ranges)
    await rig.world.create(workspace)
    await open_gates(rig.deps.tasks)
    await rig.call()
    [sent] = rig.sender.sent

    async def admit() -> None:
        await admit_callback(
            rig.deps,
            result_id=sent.payload["task_result_id"],
            token=sent.token,
            address=address,
        )

    if admitted:
        await admit()
        return
    with pytest.raises(ForbiddenError, match="callback_allowed_cidrs"):
        await admit()


async def test_verdicts_and_cancels_at_once_leave_no_doubt(rig: Rig) -> None:
    workspace = await rig.world.workspace()
    for name in ("a", "b", "c"):
        await rig.attach(workspace, name, PRE)
    tasks = [await rig.world.create(workspace, TaskType.PLAN) for _ in range(6)]
    await open_gates(rig.deps.tasks)
    while await rig.call():
        pass

    async def say(sent: Sent) -> None:
        with suppress(GoneError, ConflictError):
            await rig.say(sent, "passed")

    async def cancel(task_id: TaskId) -> None:
        with suppress(ConflictError):
            await actions.cancel(
                rig.deps.tasks, task_id=task_id, actor="ann", reason=""
            )

    await asyncio.gather(
        *(say(sent) for sent in rig.sender.sent),
        *(say(sent) for sent in reversed(rig.sender.sent)),
        *(cancel(task.id) for task in tasks),
        *(end_overdue(rig.deps) for _ in range(3)),
    )
    for task in tasks:
        ended = await rig.world.task(task.id)
        statuses = {result.status for result in await rig.results(task)}
        assert ended.state is TaskState.CANCELED
        assert statuses <= {ResultStatus.PASSED, ResultStatus.CANCELED}
        passed = rig.log(task).count("(mandatory) passed")
        found = [result.status for result in await rig.results(task)]
        assert passed == found.count(ResultStatus.PASSED)
