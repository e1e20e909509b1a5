"""Decides whether the holder of a task's lease can be reached, and says in words that it cannot."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluice.base.clock import rfc3339
from sluice.base.ids import AgentId
from sluice.tasks.model import ScriptFacts, Task
from sluice.tasks.queue import ALIVE_SECONDS

LINE_SHOWN = 200
"""So much of the last line is shown."""

_EXEC = "exec-"


@dataclass(frozen=True, slots=True)
class Silence:
    """The holder of a task's lease is not heard of."""

    task: Task
    holder: str
    since: datetime


def is_exec(agent_id: AgentId) -> bool:
    """Whether the id stands for a run of `sluice exec`, not for an agent."""
    return agent_id.startswith(_EXEC)


def name_of(
    agent_id: AgentId, names: Mapping[AgentId, str], script: ScriptFacts | None
) -> str | None:
    """What lists show as the agent's name; None where it is not known."""
    if is_exec(agent_id):
        host = script.host if script else ""
        return f"sluice exec on {host}" if host else "sluice exec"
    return names.get(agent_id)


def called(
    agent_id: AgentId, names: Mapping[AgentId, str], script: ScriptFacts | None
) -> str:
    """What sentences call the holder of a lease."""
    name = name_of(agent_id, names, script)
    if is_exec(agent_id) and name is not None:
        return name
    return f"agent {name or agent_id}"


def silent_since(task: Task, now: datetime, *, lease_seconds: float) -> datetime | None:
    """When the holder was last heard of, if that is too long ago; None while all is well.

    A lease that ran out says it too, however short leases are.
    """
    if task.lease is None:
        return None
    heard = task.lease.expires_at - timedelta(seconds=lease_seconds)
    quiet = (now - heard).total_seconds() > ALIVE_SECONDS
    return heard if quiet or task.agent_lost else None


def unreachable_words(silence: Silence, last_line: str) -> str:
    """The reason of a task whose agent cannot be reached, with what it said last."""
    said = "no line was received yet"
    if last_line:
        said = f'last line received: "{last_line[:LINE_SHOWN]}"'
    task = silence.task
    if task.agent_lost:
        return f"{task.reason}; {said}"
    words = f"{silence.holder} is unreachable since {rfc3339(silence.since)}; {said}"
    return f"{task.reason}; {words}" if task.reason else words
