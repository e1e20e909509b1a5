"""The gate `policy_check`: what is asked, what is answered, exactly once."""

import asyncio
from dataclasses import replace

from sluice.policies.model import PolicyStatus
from sluice.tasks import actions
from sluice.tasks.model import Gate, Task, TaskState
from sluice.wire.run_task import EnforcementLevel
from sluice.wire.shapes.tasks import TaskType
from tests.policies.conftest import DENY, WARN, Policies

PLANNED = (
    "package terraform\nimport rego.v1\n"
    'deny contains sprintf("%s in %s", [c.address, data.sluice.workspace.name]) if {\n'
    "  some c in input.resource_changes\n"
    '  "delete" in c.change.actions\n}\n'
    "warn contains data.sluice.task.type if input.terraform_version\n"
)


async def at_gate(policies: Policies, **fields: object) -> Task:
    """A task that has planned and stands at the gate."""
    agent = await policies.world.agent()
    workspace = await policies.world.workspace(name="prod")
    task = await policies.world.planned(agent, workspace, **fields)
    assert task.state is TaskState.AT_GATE
    assert task.gate is Gate.POLICY_CHECK
    return task


def log_of(policies: Policies, task: Task) -> str:
    return policies.world.logs.rows[task.id].data.decode()


async def test_without_policies_no_task_stops(policies: Policies) -> None:
    agent = await policies.world.agent()
    await policies.add("off", enabled=False)
    other = await policies.world.workspace()
    await policies.add("elsewhere", workspace_id=other.id)
    task = await policies.world.planned(agent, await policies.world.workspace())
    assert task.state is TaskState.APPLY_PENDING
    assert await policies.results(task.id) == []
    assert not await policies.evaluate()


async def test_a_script_is_asked_nothing(policies: Policies) -> None:
    await policies.add("rule")
    task = await policies.world.script()
    assert task.gates == frozenset()


async def test_what_passes_goes_on_with_its_warnings(policies: Policies) -> None:
    await policies.add("warns", WARN)
    task = await at_gate(policies)
    assert await policies.world.reason(task.id) == "waits for policies: warns"
    assert await policies.evaluate()
    done = await policies.world.task(task.id)
    assert done.state is TaskState.APPLY_PENDING
    (result,) = await policies.results(task.id)
    assert result.status is PolicyStatus.PASSED
    assert result.completed_at is not None
    assert "policy warns (mandatory) passed with warnings: look" in log_of(
        policies, task
    )
    assert not await policies.evaluate()


async def test_a_mandatory_policy_stops_its_task_and_is_named(
    policies: Policies,
) -> None:
    await policies.add("must", PLANNED)
    await policies.add("should", DENY, level=EnforcementLevel.ADVISORY)
    task = await at_gate(policies)
    await policies.evaluate()
    done = await policies.world.task(task.id)
    assert done.state is TaskState.FAILED
    assert done.error.startswith("stopped by a mandatory policy: must: ")
    assert "in prod" in done.error
    assert "should" not in done.error
    found = {item.name: item for item in await policies.results(task.id)}
    assert found["must"].status is found["should"].status is PolicyStatus.FAILED
    assert [one.message for one in found["must"].findings][-1] == "plan_and_apply"
    log = log_of(policies, task)
    assert "policy must (mandatory) failed: " in log
    assert "policy should (advisory) failed: no" in log


async def test_sensitive_values_of_a_plan_are_masked(policies: Policies) -> None:
    tells = (
        "package terraform\nimport rego.v1\n"
        "deny contains json.marshal(c.change.after) if some c in input.resource_changes"
    )
    await policies.add("tells", tells)
    task = await at_gate(policies)
    await policies.evaluate()
    (result,) = await policies.results(task.id)
    said = " ".join(item.message for item in result.findings)
    assert "(sensitive value)" in said
    for text in (
        said,
        log_of(policies, task),
        (await policies.world.task(task.id)).error,
    ):
        assert "hunter2xyz" not in text


async def test_an_advisory_failure_stops_nothing(policies: Policies) -> None:
    await policies.add("should", DENY, level=EnforcementLevel.ADVISORY)
    task = await at_gate(policies, task_type=TaskType.PLAN)
    await policies.evaluate()
    assert (await policies.world.task(task.id)).state is TaskState.SUCCESS


async def test_what_cannot_be_judged_stops_like_a_failure(policies: Policies) -> None:
    broken = "package t\nimport rego.v1\ndeny contains 1 if count(input.format_version) / 0 == 1"
    await policies.add("broken", broken)
    await policies.add("fine", WARN)
    task = await at_gate(policies)
    await policies.evaluate()
    done = await policies.world.task(task.id)
    assert done.state is TaskState.FAILED
    assert "broken: could not be judged" in done.error
    assert [item.status for item in await policies.results(task.id)] == [
        PolicyStatus.ERROR,
        PolicyStatus.PASSED,
    ]


async def test_a_task_is_judged_by_what_held_when_it_was_made(
    policies: Policies,
) -> None:
    kept = await policies.add("kept", WARN)
    gone = await policies.add("gone", WARN)
    agent = await policies.world.agent()
    workspace = await policies.world.workspace()
    task = await policies.world.create(workspace)
    async with policies.world.transactions.write() as tx:
        await policies.store.save(tx, replace(kept, source=DENY, name="changed"))
        await policies.store.delete(tx, gone.id)
    await policies.add("new", DENY)
    await (await policies.world.claim(agent)).run_plan()
    await policies.evaluate()
    assert (await policies.world.task(task.id)).state is TaskState.APPLY_PENDING
    names = [item.name for item in await policies.results(task.id)]
    assert names == ["gone", "kept"]


async def test_a_canceled_task_is_answered_no_more(policies: Policies) -> None:
    await policies.add("must")
    task = await at_gate(policies)
    await actions.cancel(policies.world.tasks, task_id=task.id, actor="ann", reason="")
    assert (await policies.world.task(task.id)).state is TaskState.CANCELED
    (result,) = await policies.results(task.id)
    assert result.status is PolicyStatus.CANCELED
    assert not await policies.evaluate()


async def test_a_task_that_fails_before_has_skipped_its_policies(
    policies: Policies,
) -> None:
    from sluice.wire.agent import PhaseOutcome

    await policies.add("must")
    agent = await policies.world.agent()
    task = await policies.world.create(await policies.world.workspace())
    phase = await policies.world.claim(agent)
    await phase.started()
    await phase.finish(PhaseOutcome.FAILED, error="no")
    (result,) = await policies.results(task.id)
    assert result.status is PolicyStatus.SKIPPED


async def test_a_plan_without_json_is_an_error(policies: Policies) -> None:
    await policies.add("must")
    task = await at_gate(policies)
    async with policies.world.transactions.write() as tx:
        held = await policies.world.tasks.store.lock(tx, task.id)
        assert held is not None
        await policies.world.tasks.store.save(tx, replace(held, plan_json_blob=None))
    await policies.evaluate()
    (result,) = await policies.results(task.id)
    assert result.status is PolicyStatus.ERROR
    assert "no plan JSON" in result.error


async def test_what_a_killed_server_left_is_done_again_and_answered_once(
    policies: Policies,
) -> None:
    """The first evaluation dies between its judgement and its answer."""
    await policies.add("must", PLANNED)
    task = await at_gate(policies)
    now, world = policies.world.clock.now(), policies.world
    async with world.transactions.write() as tx:
        dead = await policies.evaluations.claim(tx, now=now, until=now)
    assert dead is not None
    world.clock.turn(seconds=30)
    assert await policies.evaluate()
    done = await world.task(task.id)
    assert done.state is TaskState.FAILED
    evaluation = await policies.evaluation(task.id)
    assert evaluation is not None
    assert evaluation.attempts == 2
    # what the first one would still say is not taken
    from sluice.policies import evaluating

    before = log_of(policies, task)
    await evaluating._answer(policies.deps, dead, [])
    assert log_of(policies, task) == before
    assert await world.task(task.id) == done


async def test_two_servers_answer_once(policies: Policies) -> None:
    await policies.add("must", PLANNED)
    task = await at_gate(policies)
    done = await asyncio.gather(policies.evaluate(), policies.evaluate())
    assert sorted(done) == [False, True]
    assert log_of(policies, task).count("policy must (mandatory) failed") == 1


async def test_what_never_comes_to_an_end_is_an_error_in_the_end(
    policies: Policies,
) -> None:
    await policies.add("must")
    task = await at_gate(policies)
    world = policies.world
    for _ in range(5):
        async with world.transactions.write() as tx:
            now = world.clock.now()
            assert await policies.evaluations.claim(tx, now=now, until=now)
    await policies.evaluate()
    assert (await world.task(task.id)).state is TaskState.FAILED
    (result,) = await policies.results(task.id)
    assert "5 attempts" in result.error
