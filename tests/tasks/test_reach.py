"""Who holds a lease, what it is called, and when it counts as silent."""

from dataclasses import replace
from datetime import timedelta

from sluice.base.ids import AgentId, new_exec_id
from sluice.tasks.model import ScriptFacts, TaskState
from sluice.tasks.reach import (
    Silence,
    called,
    is_exec,
    name_of,
    silent_since,
    unreachable_words,
)
from sluice.wire.agent import PhaseName
from tests.tasks.factory import AGENT, NOW, make_lease, make_script, make_task

NAMES = {AGENT: "idc1-a"}


def test_agents_are_called_by_their_names() -> None:
    assert called(AGENT, NAMES, None) == "agent idc1-a"
    assert called(AgentId("agent-9"), NAMES, None) == "agent agent-9"
    assert name_of(AgentId("agent-9"), NAMES, None) is None


def test_runs_outside_agents_are_called_by_their_host() -> None:
    run = new_exec_id()
    assert is_exec(run)
    assert not is_exec(AGENT)
    assert called(run, NAMES, ScriptFacts("x", host="k8s-7")) == "sluice exec on k8s-7"
    assert called(run, NAMES, ScriptFacts("x")) == "sluice exec"
    assert name_of(run, NAMES, None) == "sluice exec"


def test_a_holder_is_silent_after_a_while_or_when_it_is_lost() -> None:
    task = make_task(TaskState.APPLYING, lease=make_lease(PhaseName.APPLY))

    def since(seconds: float, lost: bool = False) -> object:
        now = NOW + timedelta(seconds=seconds)
        return silent_since(replace(task, agent_lost=lost), now, lease_seconds=60)

    assert since(0) is None
    assert since(35) is None
    assert since(35.1) == NOW
    assert since(10, lost=True) == NOW
    assert silent_since(make_task(), NOW, lease_seconds=60) is None


def test_the_words() -> None:
    lease = make_lease(PhaseName.SCRIPT)
    silence = Silence(make_script(TaskState.RUNNING, lease=lease), "agent idc1-a", NOW)
    assert unreachable_words(silence, "[3/7] unpacking") == (
        "agent idc1-a is unreachable since 2026-11-21T10:00:00.000Z;"
        ' last line received: "[3/7] unpacking"'
    )
    assert unreachable_words(silence, "").endswith("no line was received yet")
    long = unreachable_words(silence, "y" * 500)
    assert long.endswith(f'"{"y" * 200}"')
