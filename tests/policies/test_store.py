"""The port suites of policies and of what they say: memory, SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice.base.errors import ConflictError
from sluice.base.ids import PolicyId, TaskId
from sluice.policies.model import (
    Evaluation,
    Finding,
    FindingKind,
    PolicyResult,
    PolicyStatus,
)
from sluice.wire.run_task import EnforcementLevel
from tests.policies.conftest import DENY, WARN, Policies
from tests.tasks.world import ORG


async def test_policies_come_back_as_stored(policies: Policies) -> None:
    workspace = await policies.world.workspace()
    full = await policies.add(
        "full",
        source="package ü\n",
        workspace_id=workspace.id,
        description="says\nno",
        enabled=False,
        level=EnforcementLevel.ADVISORY,
    )
    plain = await policies.add("plain")
    async with policies.world.transactions.write() as tx:
        assert await policies.store.get(tx, full.id) == full
        assert await policies.store.hold(tx, plain.id) == plain
        assert await policies.store.get(tx, PolicyId("none")) is None
        assert await policies.store.hold(tx, PolicyId("none")) is None


async def test_a_workspace_has_its_own_and_the_organizations(
    policies: Policies,
) -> None:
    one, other = await policies.world.workspace(), await policies.world.workspace()
    for name in ("b", "A", "a"):
        await policies.add(name)
    await policies.add("Z", workspace_id=one.id)
    await policies.add("a", workspace_id=one.id)
    await policies.add("c", workspace_id=other.id)
    assert await policies.listed(one.id) == ["A", "a", "b", "Z", "a"]
    assert await policies.listed(other.id) == ["A", "a", "b", "c"]
    async with policies.world.transactions.read() as tx:
        found = await policies.store.of_organization(tx, ORG)
    assert [policy.name for policy in found] == ["A", "a", "b"]


async def test_a_name_is_unique_for_its_owner(policies: Policies) -> None:
    first, second = await policies.add("one"), await policies.add("two")
    with pytest.raises(ConflictError, match="a policy one already"):
        await policies.add("one")
    with pytest.raises(ConflictError, match="a policy one already"):
        async with policies.world.transactions.write() as tx:
            await policies.store.save(tx, replace(second, name="one"))
    async with policies.world.transactions.read() as tx:
        assert await policies.store.get(tx, first.id) == first
        assert await policies.store.get(tx, second.id) == second


async def test_policies_are_changed_and_deleted(policies: Policies) -> None:
    made = await policies.add("rule")
    changed = replace(made, name="other", source=WARN, enabled=False)
    async with policies.world.transactions.write() as tx:
        await policies.store.save(tx, changed)
        assert await policies.store.get(tx, made.id) == changed
        await policies.store.delete(tx, made.id)
        await policies.store.delete(tx, made.id)
        assert await policies.store.get(tx, made.id) is None


async def asked(policies: Policies, name: str = "rule") -> PolicyResult:
    """What a new task has to pass."""
    workspace = await policies.world.workspace()
    await policies.add(name, workspace_id=workspace.id)
    task = await policies.world.create(workspace)
    (result,) = await policies.results(task.id)
    return result


async def test_results_come_back_as_stored(policies: Policies) -> None:
    result = await asked(policies)
    now = policies.world.clock.now()
    done = replace(
        result,
        status=PolicyStatus.FAILED,
        findings=(
            Finding(FindingKind.DENY, "ü\n", "a.b", "high", "https://x"),
            Finding(FindingKind.WARN, "w"),
        ),
        left_out=3,
        error="e",
        completed_at=now,
    )
    async with policies.world.transactions.write() as tx:
        await policies.evaluations.save_results(tx, [done])
        await policies.evaluations.save_results(tx, [])
    assert await policies.results(result.task_id) == [done]
    async with policies.world.transactions.read() as tx:
        assert await policies.evaluations.sources(tx, result.task_id) == {
            result.digest: DENY
        }
        assert await policies.evaluations.results(tx, TaskId("none")) == []
        names = await policies.evaluations.open_names(tx, [result.task_id])
    assert names == {}


async def test_an_evaluation_is_claimed_by_one_until_its_time_is_over(
    policies: Policies,
) -> None:
    first, second = await asked(policies, "one"), await asked(policies, "two")
    now = policies.world.clock.now()
    later = now + timedelta(seconds=20)
    async with policies.world.transactions.write() as tx:
        store = policies.evaluations
        assert await store.claim(tx, now=now, until=later) is None
        for number, result in enumerate((second, first)):
            due = now - timedelta(seconds=5 - number)
            opened = Evaluation(result.task_id, opened_at=due, due_at=due)
            await store.save(tx, opened)
        names = await store.open_names(tx, [first.task_id, second.task_id])
    assert names == {first.task_id: ["one"], second.task_id: ["two"]}
    taken = []
    for _ in range(3):
        async with policies.world.transactions.write() as tx:
            taken.append(await store.claim(tx, now=now, until=later))
    claimed = taken[0]
    assert claimed is not None
    assert claimed.task_id == second.task_id
    assert (claimed.attempts, claimed.due_at) == (1, later)
    assert taken[1] is not None
    assert taken[1].task_id == first.task_id
    assert taken[2] is None
    async with policies.world.transactions.write() as tx:
        again = await store.claim(tx, now=later, until=later + timedelta(seconds=20))
        assert again is not None
        assert again.attempts == 2
        # the first holder is fenced off, the second goes on
        holders = {second.task_id: claimed, first.task_id: taken[1]}
        assert not await store.put_off(tx, holders[again.task_id], until=later)
        assert await store.put_off(tx, again, until=later)
        await store.save(tx, replace(again, due_at=None, closed_at=later))
        assert not await store.put_off(tx, again, until=later)
        assert await store.get(tx, again.task_id) == replace(
            again, due_at=None, closed_at=later
        )
        assert not await store.put_off(tx, Evaluation(TaskId("none")), until=later)
